"""Data of the interactive explorer: pictures that a rule picks from a record, and all that LGCA and WCA saw of them.

The numbers are those of the record: class vectors and crops are rounded as they were there, and a picture whose answer
comes out differently is an error. Axes: T + 1 steps, n_t boxes at step t, C classes, R classes shown.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from typing import Any, Literal

import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from lgca_book.studies import sweeps
from lgca_core.class_vectors import class_matrix
from lgca_core.data.manifest import Item, Manifest
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.record import Record
from lgca_core.lgca import LGCA, Trace
from lgca_core.pixels.pictures import open_picture
from lgca_core.prompts.sentences import plain
from lgca_core.views import Views, unit_from_float16
from lgca_core.wca import WCA

Kind = Literal["lgca", "wca", "both", "neither"]
KINDS: tuple[Kind, ...] = ("lgca", "wca", "both", "neither")
"""Which of the two methods is right."""

DIGITS = 7  # of what is handed out: scores differ in the third digit, float32 ends at the eighth
LONGEST_SIDE = 448  # pixels of a picture on the page


@dataclass(frozen=True)
class Verdict:
    """Answer of one vector: ``scores`` (R,) of the classes shown, in cosine units; ``best`` and ``second`` of all
    classes, and ``margin``, by how much the best is ahead."""

    scores: list[float]
    best: int
    second: int
    margin: float


@dataclass(frozen=True)
class Step:
    """One step of one picture.

    Attributes:
        boxes: n_t x [top, left, height, width], pixels of the picture.
        saliency, weights: (n_t,); the weights sum to 1.
        alone: (n_t,), the best class of each crop by itself.
        became: (n_t,), the box of the next step that each grew into; None for one that was not kept.
        step: what u_t alone says. so_far: what the method would say if it stopped after this step.
    """

    boxes: list[list[int]]
    saliency: list[float]
    weights: list[float]
    alone: list[int]
    became: list[int | None]
    step: Verdict
    so_far: Verdict


@dataclass(frozen=True)
class Picture:
    """One picture and what the methods saw of it.

    Attributes:
        key: its path in the data set. source: the picture as a data URI, at most 448 pixels long.
        width, height: pixels of the original, which boxes are counted in.
        label: its true class. kind: who is right.
        shown: (R,) classes whose scores are given, the true one first, then rivals by LGCA's score, best first.
        lgca: T + 1 steps. wca: one step. whole: what the whole picture says, against the same class vectors.
    """

    key: str
    source: str
    width: int
    height: int
    label: int
    kind: Kind
    shown: list[int]
    lgca: list[Step]
    wca: list[Step]
    whole: Verdict


@dataclass(frozen=True)
class Exploration:
    """Pictures to explore; classes are indices into ``classes``.

    Attributes:
        counts: how many pictures of the record are of each kind. passes: encoder passes a picture of each method.
        recorded: whether the settings are the record's, so that the answers were compared with it and are the same.
    """

    dataset: str
    encoder: str
    seed: int
    classes: list[str]
    counts: dict[Kind, int]
    passes: dict[str, int]
    recorded: bool
    pictures: list[Picture]

    def data(self) -> dict[str, Any]:
        """All fields in dicts, lists, strings and numbers."""
        return asdict(self)

    def json(self) -> str:
        """:meth:`data` as JSON that can stand inside an HTML page."""
        text = json.dumps(self.data(), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.replace("<", "\\u003c")

    def boxes(self) -> pd.DataFrame:
        """Every box, a row each: ``picture``, ``method``, ``step``, ``box``, ``top``, ``left``, ``height``, ``width``,
        ``saliency``, ``weight``, ``became`` (empty for a box not kept), ``alone`` (the crop's best class)."""
        rows = [
            {"picture": picture.key, "method": method, "step": t, "box": i}
            | dict(zip(("top", "left", "height", "width"), step.boxes[i]))
            | {"saliency": step.saliency[i], "weight": step.weights[i], "became": step.became[i]}
            | {"alone": self.classes[step.alone[i]]}
            for picture in self.pictures
            for method, steps in (("lgca", picture.lgca), ("wca", picture.wca))
            for t, step in enumerate(steps)
            for i in range(len(step.boxes))
        ]
        return pd.DataFrame(rows).astype({"became": "Int64"})


def explore(
    record: Record,
    predictions: pd.DataFrame,
    manifest: Manifest,
    encoder: Encoder,
    sentences: Sequence[Sequence[str]],
    *,
    methods: Sequence[str] = ("wca", "lgca"),
    seed: int = 0,
    pictures: int = 12,
    n: int | None = None,
    steps: int | None = None,
    rivals: int = 4,
) -> Exploration:
    """Pictures that :func:`choose` picks from a record, traced.

    Args:
        record, predictions: as `record.load` gives them, of `manifest` and `encoder`.
        sentences: descriptions of each class, C x P_c.
        methods: WCA's and LGCA's names in the record, whose settings they bring along.
        n, steps: other numbers of boxes and expansions than the record's; None for its own.
        rivals: how many classes are shown beside the true one; more where more of them win somewhere.

    Raises:
        LgcaError: the record is of other pictures, of another encoder, or of no such methods and seed; no picture is to
            be shown; or the answers are not those of the record.
    """
    _check(record, manifest, encoder)
    wca, lgca = _settings(record, methods, seed)
    own = wca, lgca
    if n is not None:
        wca, lgca = replace(wca, n=n), replace(lgca, n=n)
    if steps is not None:
        lgca = replace(lgca, steps=steps)
    recorded = own == (wca, lgca)
    verdicts = answers_side_by_side(predictions, *methods, seed=seed)
    by_key = {manifest.key(item): item for item in manifest.items}
    items = [by_key[key] for key in choose(verdicts, pictures)]
    if not items:
        raise LgcaError("the record has no picture of the kinds to be shown: ask for more pictures")

    rounded = record.parameters.get("features") == "float16"
    anchors = [anchor for [anchor] in plain(manifest.classes)]
    vectors = encoder.encode_texts([sentence for of_class in sentences for sentence in of_class] + anchors)
    if rounded:  # as a store gives them
        vectors = unit_from_float16(vectors.half())
    matrix = class_matrix(
        vectors[: -len(anchors)],
        [len(of_class) for of_class in sentences],
        anchors=vectors[-len(anchors) :],
        temperature=lgca.text_temperature,
        renormalise=lgca.renormalise,
    )  # (C, D)
    opened = [open_picture(item.path) for item in items]
    views = Views(encoder, opened, float16=rounded)
    identities = [item.identity for item in items]
    seen = [(look, look.trace(views, identities, seed, class_matrix=matrix)) for look in (wca, lgca)]
    shown = [
        _picture(b, manifest.key(item), picture, item, seen, matrix, rivals)
        for b, (item, picture) in enumerate(zip(items, opened))
    ]
    if recorded:
        _agree(shown, verdicts)
    return Exploration(
        dataset=manifest.name,
        encoder=encoder.name,
        seed=seed,
        classes=list(manifest.classes),
        counts={kind: int((verdicts["kind"] == kind).sum()) for kind in KINDS},
        passes={"wca": wca.passes(), "lgca": lgca.passes()},
        recorded=recorded,
        pictures=shown,
    )


def answers_side_by_side(predictions: pd.DataFrame, wca: str, lgca: str, *, seed: int) -> pd.DataFrame:
    """Two methods on each picture, a row each, by path: ``label``, ``wca`` and ``lgca`` (their answers), ``kind`` (who
    is right), ``sure`` (the smaller of their two margins).

    Raises:
        LgcaError: the predictions lack one of the methods with this seed.
    """
    own = predictions[predictions["seed"] == seed]
    of = {name: own[own["method"] == method].set_index("path") for name, method in (("wca", wca), ("lgca", lgca))}
    for name, method in (("wca", wca), ("lgca", lgca)):
        if of[name].empty:
            raise LgcaError(f"the record has no predictions of {method!r} with seed {seed}")
    table = pd.DataFrame(
        {
            "label": of["wca"]["label"],
            "wca": of["wca"]["prediction"],
            "lgca": of["lgca"]["prediction"],
            "sure": of["wca"]["margin"].combine(of["lgca"]["margin"], min),
        }
    )
    return table.assign(kind=[_kind(row.label, row.wca, row.lgca) for row in table.itertuples()])


def choose(verdicts: pd.DataFrame, pictures: int) -> list[str]:
    """Which pictures are shown, kind by kind: paths.

    As many on which LGCA alone is right as on which WCA alone is, a third of all each where there are so many, and the
    rest in equal parts of those on which both are right and neither is. Within a kind, the surest of each class, then
    the second surest of each class, and so on; the surest first, where a picture is as sure as the less sure of its two
    answers. A tie goes by path. `verdicts` is what :func:`compare` gives.

    Raises:
        LgcaError: less than one picture is to be shown.
    """
    if pictures < 1:
        raise LgcaError(f"at least one picture must be shown, not {pictures}")
    of_kind = {kind: verdicts[verdicts["kind"] == kind] for kind in KINDS}
    alone = min(pictures // 3, len(of_kind["lgca"]), len(of_kind["wca"]))
    rest = pictures - 2 * alone
    wanted = {"lgca": alone, "wca": alone, "both": rest - rest // 2, "neither": rest // 2}
    chosen: list[str] = []
    for kind, frame in of_kind.items():
        ordered = frame.sort_index().sort_values("sure", ascending=False, kind="stable")
        place = ordered.groupby("label").cumcount()
        chosen += ordered.loc[place.sort_values(kind="stable").index].index[: wanted[kind]].tolist()
    return chosen


def _check(record: Record, manifest: Manifest, encoder: Encoder) -> None:
    if record.dataset.manifest_sha256 != manifest.sha256:
        raise LgcaError(f"the record is of other pictures than {manifest.name} holds: evaluate them anew")
    if record.encoder.weights_sha256 != encoder.sha256:
        raise LgcaError(f"the record is of {record.encoder.name}, whose weights are not those of {encoder.name}")


def _settings(record: Record, methods: Sequence[str], seed: int) -> tuple[LGCA, LGCA]:
    """WCA, as LGCA that never expands, and LGCA, as they were when the record was made."""
    if len(methods) != 2:
        raise LgcaError(f"the explorer compares two methods, WCA and LGCA, not {len(methods)}")
    runs = {run.method: run for run in record.runs if run.seed == seed}
    for method in methods:
        if method not in runs:
            raise LgcaError(f"the record has no method {method!r} with seed {seed}")
    wca, lgca = (sweeps.settings_of(runs[method]) for method in methods)
    if not isinstance(wca, WCA) or not isinstance(lgca, LGCA) or wca.pool is not None:
        raise LgcaError(
            f"the explorer compares WCA with LGCA, with crops of their own: not {methods[0]!r} with {methods[1]!r}"
        )
    for name in ("text_temperature", "renormalise"):
        if getattr(wca, name) != getattr(lgca, name):
            raise LgcaError(f"{methods[0]} and {methods[1]} differ in {name}, so they score other class vectors")
    never_expands = LGCA(
        n=wca.n,
        steps=0,
        start=(wca.alpha, wca.beta),
        image_temperature=wca.image_temperature,
        text_temperature=wca.text_temperature,
        renormalise=wca.renormalise,
    )
    return never_expands, lgca


def _kind(label: int, wca: int, lgca: int) -> Kind:
    if wca == lgca == label:
        return "both"
    return "wca" if wca == label else "lgca" if lgca == label else "neither"


def _picture(
    b: int,
    key: str,
    picture: Image.Image,
    item: Item,
    seen: Sequence[tuple[LGCA, Trace]],
    matrix: Tensor,
    rivals: int,
) -> Picture:
    """Picture b of what WCA and LGCA saw."""
    (wca, of_wca), (lgca, of_lgca) = seen
    own = _scores(wca, of_wca, b, matrix), _scores(lgca, of_lgca, b, matrix)
    whole = of_lgca.whole[b] @ matrix.T  # (C,)
    final = own[1][1][-1]  # (C,)
    shown = _shown(torch.cat([*own[0], *own[1], whole[None]]), final, item.label, rivals)
    steps = [
        [
            _step(trace, b, t, matrix, _verdict(alone[t], shown), _verdict(so_far[t], shown))
            for t in range(len(trace.steps))
        ]
        for trace, (alone, so_far) in zip((of_wca, of_lgca), own)
    ]
    return Picture(
        key=key,
        source=_source(picture),
        width=picture.width,
        height=picture.height,
        label=item.label,
        kind=_kind(item.label, steps[0][-1].so_far.best, steps[1][-1].so_far.best),
        shown=shown,
        wca=steps[0],
        lgca=steps[1],
        whole=_verdict(whole, shown),
    )


def _scores(look: LGCA, trace: Trace, b: int, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of each step alone, and of the method if it stopped after each step: (T + 1, C) both."""
    u = [step.vector[b : b + 1] for step in trace.steps]  # (T + 1) x (1, D)
    stopped = [
        replace(look, steps=t, start=look.range())._sum(trace.whole[b : b + 1], u[: t + 1]) for t in range(len(u))
    ]
    return torch.cat(u) @ matrix.T, torch.cat(stopped) @ matrix.T


def _shown(scores: Tensor, final: Tensor, label: int, rivals: int) -> list[int]:
    """The true class, then those that come nearest to winning anywhere in scores (K, C), all winners among them."""
    behind = (scores.max(dim=1, keepdim=True).values - scores).min(dim=0).values  # (C,), 0 for a winner
    behind[label] = float("inf")
    count = min(max(rivals, int((behind == 0).sum())), len(behind) - 1)
    nearest = behind.argsort(stable=True)[:count].tolist()
    return [label, *sorted(nearest, key=lambda c: -float(final[c]))]


def _step(trace: Trace, b: int, t: int, matrix: Tensor, step: Verdict, so_far: Verdict) -> Step:
    own = trace.steps[t]
    became: list[int | None] = [None] * own.boxes.shape[1]
    for new, old in enumerate(own.kept[b].tolist()):
        became[old] = new
    return Step(
        boxes=own.boxes[b].tolist(),
        saliency=_digits(own.saliency[b]),
        weights=_digits(own.weights[b]),
        alone=(own.vectors[b] @ matrix.T).argmax(dim=1).tolist(),
        became=became,
        step=step,
        so_far=so_far,
    )


def _verdict(scores: Tensor, shown: Sequence[int]) -> Verdict:
    """Scores (C,); of equal ones the first class wins, as in a record."""
    ranked = scores.argsort(descending=True, stable=True).tolist()
    best, second = ranked[0], ranked[min(1, len(ranked) - 1)]  # of one class, itself
    return Verdict(
        scores=_digits(scores[list(shown)]),
        best=best,
        second=second,
        margin=round(float(scores[best] - scores[second]), DIGITS),
    )


def _digits(values: Tensor) -> list[float]:
    return [round(value, DIGITS) for value in values.tolist()]


def _source(picture: Image.Image) -> str:
    small = picture.copy()
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    small.save(buffer, "WEBP", quality=88, method=6)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _agree(pictures: Sequence[Picture], verdicts: pd.DataFrame) -> None:
    """Raises LgcaError where the answers are not the record's."""
    for picture in pictures:
        answers = {"wca": picture.wca[-1].so_far.best, "lgca": picture.lgca[-1].so_far.best}
        for name, answer in answers.items():
            if answer != (told := int(verdicts.loc[picture.key, name])):
                raise LgcaError(
                    f"{picture.key}: {name} answers class {answer} here and {told} in the record, which was made with "
                    "other sentences, another precision or other code: evaluate anew"
                )
