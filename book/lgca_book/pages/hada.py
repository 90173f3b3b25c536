"""What the page on HADA draws and tabulates, and its sentences that follow the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from torch import Tensor

from lgca_book import style
from lgca_book.pages.arms import VERDICTS, both_intervals
from lgca_book.studies.hada_arms import WAYS
from lgca_core.aviary.recipe import Sees
from lgca_core.encoder import Encoder
from lgca_core.related.hada.graph import AS_RELEASED, ClsAttention
from lgca_core.related.hada.items import SplitFeatures
from lgca_core.related.hada.train import HadaOutcome

FIRST, SECOND = "aviary-shape", "aviary-colour"
SEES: dict[str, Sees] = {FIRST: "shape", SECOND: "colour"}
"""The two encoders that are fused, and what each sees."""

NAMES = {
    "first": "shape alone",
    "second": "colour alone",
    "score-sum": "sum of scores",
    "pooled": "linear layer",
    "pooled-w": "linear layer + w",
    "hada": "HADA",
    "hada-w": "HADA + w",
    "no-cross": "HADA without cross edges",
    "no-cls": "HADA without CLS-CLS edges",
    "all-one": "HADA with all edges 1",
    "learned": "HADA with learned edges",
    "mean-loop": "HADA with the released loop",
    "released": "HADA's released first stage",
    "lavis": "HADA as in LAVIS",
    "copies": "HADA with tokens that say nothing",
    "three-third": "third alone",
    "three-score-sum": "sum of three scores",
    "three-hada": "HADA of three",
}
"""How the page calls the arms; others by what the command line calls them."""

ORDER = tuple(NAMES)
"""The arms in the order of tables."""

METHODS = ("clip", "cupl", "wca", "lgca-equal")
"""How the aviary's test pictures are classified with each encoder."""

CHANGES = (("hada", "first"), ("hada", "second"), ("score-sum", "second"), ("hada", "score-sum"))
"""Pairs of encoders with which methods are compared."""

QUESTIONS = {
    "Does fusion beat each encoder alone?": [("hada", "first"), ("hada", "second")],
    "Does a sum of the two scores beat them?": [("score-sum", "first"), ("score-sum", "second")],
    "Does the graph beat that sum?": [("hada", "score-sum"), ("hada-w", "score-sum")],
    "Does it beat a linear layer over the encoders' own vectors?": [("hada", "pooled"), ("hada-w", "pooled-w")],
    "What does the learned share w add?": [("hada-w", "hada"), ("pooled-w", "pooled")],
    "Do edges from the other encoder's tokens matter?": [("hada", "no-cross")],
    "Does the edge between the two CLS matter?": [("hada", "no-cls")],
    "Do the edges' weights matter, or does learning them?": [("hada", "all-one"), ("learned", "hada")],
    "What does the released code's loop cost?": [("mean-loop", "hada")],
    "What does its first stage cost, all faults together?": [("released", "hada")],
    "What does its version for LAVIS cost?": [("lavis", "hada")],
    "Are the encoders' tokens better than tokens that say nothing?": [("hada", "copies")],
    "Does the graph win where tokens say nothing, as it must not?": [("copies", "pooled")],
    "Do three encoders help?": [
        ("three-hada", "hada"),
        ("three-hada", "three-score-sum"),
        ("three-hada", "three-third"),
    ],
}
"""What the page asks, and the differences that answer it: arm minus baseline."""

COMPARED = tuple(dict.fromkeys(pair for pairs in QUESTIONS.values() for pair in pairs))


class Fault(NamedTuple):
    """A fault of the released code, what it does, and the arm that has it."""

    what: str
    does: str
    arm: str | None = None


FAULTS = (
    Fault(
        "The loop's weight of 1.1",
        "is replaced by the mean of the other incoming weights, so it depends on the item's length",
        "mean-loop",
    ),
    Fault("The queue", "begins full of random vectors, which count as negatives until they are replaced", "released"),
    Fault("A constant of 1e-4", "stands within the softmax of the hard negatives, where it does nothing", "released"),
    Fault("The copies that teach", "are set to training: they have dropout, and norms of their own", "released"),
    Fault("The matching head", "ends in a norm and a dropout on the logit: a dropped one says one half", "released"),
    Fault(
        "HADA in LAVIS",
        "gives the graph model 1's tokens twice: model 2 never enters it, and a vector depends on others in its batch",
        "lavis",
    ),
    Fault("The second stage's copies", "are made before weights are loaded: random weights teach it"),
    Fault(
        "The temperature", "is a new tensor after a resumption, which the optimiser does not know: it learns no more"
    ),
    Fault("The second stage", "loads strictly, so it refuses the weights of the first, which has norms"),
    Fault("HADA in LAVIS", "runs both encoders in its data loader, so on every item in every epoch"),
    Fault("Logging", "divides by a hundredth of an epoch, which is zero for fewer than 100 batches: it crashes"),
    Fault("Features", "are joined item by item, in a time that grows with the square of the items"),
)
"""Of HADA as released."""


def seen_figure(pixels: Tensor, encoder: Encoder) -> Figure:
    """Pictures (n, 3, S, S), normalised for ``encoder``, as they are and as each encoder sees them."""
    from lgca_core.aviary.sees import project  # imports open_clip, whose warnings `load_encoder` silences

    mean, std = (torch.tensor([*of]).view(3, 1, 1) for of in (encoder.mean, encoder.std))
    looks: dict[str, Sees] = {"as painted": "all", "by aviary-colour": "colour", "by aviary-shape": "shape"}
    figure, axes = style.subplots(len(looks), len(pixels), figsize=(1.75 * len(pixels), 5.6), layout="constrained")
    for line, (said, sees) in zip(axes, looks.items(), strict=True):
        for ax, picture in zip(line, project(pixels, sees), strict=True):
            if sees == "shape":  # one number a pixel, of no natural range
                ax.imshow(picture[0].numpy(), cmap="gray", interpolation="nearest")
            else:
                shown = (picture * std + mean).clamp(0, 1)
                ax.imshow(shown.permute(1, 2, 0).numpy(), interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set_visible(False)
        line[0].set_ylabel(said, fontsize="small")
    return figure


_LEFT: dict[str, Sees] = {"detail": "colour", "colour": "shape"}
"""What is taken away, and what is left."""


@torch.inference_mode()
def blindness(encoders: Mapping[str, Encoder], pixels: Tensor) -> pd.DataFrame:
    """A row an encoder: how much its vectors of pictures (n, 3, S, S) change without detail, and without colour.

    Columns ``encoder``, ``detail``, ``colour``: the mean cosine of each picture's vector with and without it, both less
    the mean vector of the pictures, which all of them share.
    """
    from lgca_core.aviary.sees import project

    rows = []
    for name, encoder in encoders.items():
        vectors = encoder.image(pixels).float()
        middle = vectors.mean(0)
        row: dict[str, str | float] = {"encoder": name}
        for lost, sees in _LEFT.items():
            left = encoder.image(project(pixels, sees)).float()
            row[lost] = float(torch.cosine_similarity(vectors - middle, left - middle).mean())
        rows.append(row)
    return pd.DataFrame(rows)


def blindness_table(frame: pd.DataFrame) -> Styler:
    """`blindness` as the page shows it."""
    shown = frame.rename(columns={"detail": "detail taken away", "colour": "colour taken away"})
    formats = dict.fromkeys(shown.columns[1:], "{:.3f}")
    return style.simple_table(shown, "Cosine of a picture's vector with that of what is left", formats)


def loops_table(lengths: Sequence[tuple[int, int]]) -> Styler:
    """What the loop of each CLS weighs as released, by the numbers of tokens of both models."""
    layer = ClsAttention(1, 1, 1, edges=AS_RELEASED)
    rows = []
    for sizes in lengths:
        loops = []
        for m, place in enumerate((0, sizes[0])):
            _, weight = layer.incoming(m, sizes, torch.ones(1, sum(sizes), dtype=torch.bool))
            loops.append(float(weight[0, place]))
        rows.append({"tokens of the two": f"{sizes[0]} and {sizes[1]}", "first CLS": loops[0], "second CLS": loops[1]})
    formats = dict.fromkeys(("first CLS", "second CLS"), "{:.3f}")
    return style.simple_table(pd.DataFrame(rows), "What the loop weighs as released; 1.1 was meant", formats)


def sentence_about_store(of: SplitFeatures, names: Sequence[str]) -> str:
    """How many tokens a picture has by each encoder, and what they take."""
    told = []
    for name, seen in zip(names, of.pictures, strict=True):
        tokens = float((seen.starts[:, 2] - seen.starts[:, 1]).mean())
        width = seen.widths[0]
        told.append(f"{tokens:.0f} tokens of {width} by `{name}` ({2 * tokens * width / 1000:.0f} kB)")
    kept = 2 * 577 * 768
    return (
        f"A picture is {' and '.join(told)}, kept as float16 so that no encoder runs twice on an item. By ALBEF, one "
        f"of the two models of the released code, a picture of Flickr30k is 577 tokens of 768, {kept / 1e6:.1f} MB so, "
        f"and its 31,000 pictures {31_000 * kept / 1e9:.0f} GB: with real models the store is what HADA costs."
    )


def arms_table(table: pd.DataFrame) -> Styler:
    """`hada_arms.arms_table` as the page shows it: RSum and cost."""
    shown = pd.DataFrame(
        {
            "arm": table["arm"].map(NAMES).fillna(table["arm"]),
            "seeds": [_dash(row["seeds"], "{:.0f}", row["parameters"]) for _, row in table.iterrows()],
            "RSum of 600": [_spread(row) for _, row in table.iterrows()],
            "95 % over pictures": [f"{100 * row['low']:.1f} to {100 * row['high']:.1f}" for _, row in table.iterrows()],
            "trained parameters": table["parameters"].map("{:,}".format),
            "s an epoch": table["seconds"].map(lambda of: _dash(of, "{:.1f}")),
            "w": table["w"].map(lambda of: _dash(of, "{:.2f}")),
        }
    )
    return style.simple_table(shown, "Retrieval both ways, held-out species", compact=True)


def recalls_table(table: pd.DataFrame) -> Styler:
    """The six recalls of every arm."""
    shown = pd.DataFrame({"arm": table["arm"].map(NAMES).fillna(table["arm"])})
    for way in WAYS:
        k, _, direction = way.partition(" ")
        arrow = "i → t" if direction == "image to text" else "t → i"
        shown[f"{k} {arrow}"] = table[way].map("{:.1%}".format)
    return style.simple_table(shown, "The recalls that RSum adds up; i is a picture, t a caption", compact=True)


def _spread(row: pd.Series) -> str:
    return f"{100 * row['rsum']:.1f}" + ("" if pd.isna(row["std"]) else f" ± {100 * row['std']:.1f}")


def _dash(value: float, form: str, where: object = True) -> str:
    return "–" if pd.isna(value) or not where else form.format(value)


def _row(frame: pd.DataFrame, arm: str, baseline: str) -> pd.Series | None:
    found = frame[(frame["arm"] == arm) & (frame["baseline"] == baseline)]
    return None if found.empty else found.iloc[0]


def verdict(row: pd.Series) -> str:
    """A comparison in a clause, whichever way it came out, in Markdown."""
    arm, baseline = (NAMES.get(row[which], row[which]) for which in ("arm", "baseline"))
    return f"{arm} **{VERDICTS[row['verdict']]}** {baseline}: {both_intervals(row)}"


def answers(frame: pd.DataFrame) -> str:
    """A line for each of :data:`QUESTIONS`, in Markdown."""
    if frame.empty:
        return f"*Answers are {style.NOT_AVAILABLE}: `make related` makes the records of the arms.*"
    lines = []
    for asked, pairs in QUESTIONS.items():
        found = [verdict(row) for row in (_row(frame, *pair) for pair in pairs) if row is not None]
        lines.append(f"- *{asked}* {'. '.join(map(_sentence, found or [style.NOT_AVAILABLE]))}.")
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def finding(frame: pd.DataFrame, stronger: str | None) -> str:
    """What the page found, in Markdown; ``stronger`` is the better of the two encoders alone."""
    rows = {pair: _row(frame, *pair) for pair in COMPARED}
    alone = None if stronger is None else rows["hada", stronger]
    if alone is None or rows["hada", "score-sum"] is None or rows["hada", "pooled"] is None:
        return f"*Whether two encoders are better than one is {style.NOT_AVAILABLE}: an arm has no record.*"
    clauses = [
        f"**{VERDICTS[row['verdict']]}** {said}: {style.gain(row)}"
        for row, said in (
            (alone, f"the better of its two encoders, {NAMES[str(stronger)]}"),
            (rows["hada", "score-sum"], "the sum of their scores, whose shares were tuned on other species"),
            (rows["hada", "pooled"], "a linear layer over their own vectors"),
        )
        if row is not None
    ]
    told = [f"Here HADA {'; it '.join(clauses)}."]
    share = rows["hada-w", "score-sum"]
    if share is not None:
        told.append(
            f"With the learned share of the stronger encoder it **{VERDICTS[share['verdict']]}** the sum of scores: "
            f"{style.gain(share)}."
        )
    if (control := sentence_about_control(frame)) is not None:
        told.append(control)
    told.append(
        "Numbers are differences of RSum in points of 600, with 95 % intervals over pictures; better or worse is only "
        "what the intervals over trainings, below, say as well."
    )
    return " ".join(told)


def sentence_about_control(frame: pd.DataFrame) -> str | None:
    """Whether the graph wins where its tokens say nothing new, and so what it gains elsewhere."""
    control, tokens = _row(frame, "copies", "pooled"), _row(frame, "hada", "copies")
    if control is None or tokens is None:
        return None
    gained = {
        "better": "its own tokens are worth",
        "worse": "with its own tokens it does worse:",
        "open": "its own tokens make no difference that can be told:",
    }[tokens["verdict"]]
    rest = f"{gained} {style.gain(tokens)}"
    if control["verdict"] == "better":
        return (
            f"Given tokens that say nothing new, the graph still beats the linear layer ({style.gain(control)}), so "
            f"that gain is not the tokens'; {rest}."
        )
    return (
        f"Given tokens that say nothing new, the graph does not beat the linear layer ({style.gain(control)}); {rest}."
    )


def faults(frame: pd.DataFrame) -> str:
    """Lists of :data:`FAULTS`, one an arm with what it costs here, in Markdown."""
    lines = []
    for arm in dict.fromkeys(fault.arm for fault in FAULTS):
        found = [fault for fault in FAULTS if fault.arm == arm]
        if arm is None:
            lines.append("- Without an arm:")
        else:
            row = _row(frame, arm, "hada")
            points = style.NOT_AVAILABLE if row is None else f"**{style.gain(row)}**"
            lines.append(f"- Arm *{arm}*{', all together' if len(found) > 1 else ''}: {points}")
        lines += [f"  - **{fault.what}** {fault.does}." for fault in found]
    return "\n".join(lines)


def sentence_about_order(table: pd.DataFrame) -> str:
    """By how much RSum changes where the evaluation's batches are in another order, in Markdown."""
    found = table[table["reshuffled"].notna()] if len(table) else table
    if found.empty:
        return f"*What another order of the evaluation's batches changes is {style.NOT_AVAILABLE}.*"
    moved = found[found["reshuffled"].map(style.signed) != style.signed(0.0)]
    told = [f"{NAMES.get(row['arm'], row['arm'])} by {style.signed(row['reshuffled'])}" for _, row in moved.iterrows()]
    rest = len(found) - len(moved)
    said = [f"{', '.join(told)} points of 600"] if told else []
    said += [f"{rest} arms by nothing"] if rest else []
    noise = (
        " (The tokens that say nothing are noise drawn by an item's place.)" if "copies" in set(moved["arm"]) else ""
    )
    return f"With the evaluation's batches in another order, RSum changes: {', and '.join(said)}.{noise}"


def sentence_about_published(published: pd.DataFrame) -> str:
    """What is claimed of HADA, as points of 600 and a recall, in Markdown."""
    told = [
        f"on {row['dataset']} with {row['backbone']} {row['value']:g} of 600 points of RSum, "
        f"{row['value'] / 6:.1f} a recall"
        for _, row in _gains(published).iterrows()
    ]
    return f"HADA minus the better of its two models: {'; '.join(told)}."


def published_table(published: pd.DataFrame) -> Styler:
    """Published RSum of single models, and what HADA adds to the better of two, each with its source."""
    both = pd.concat([published[published["metric"] == "RSum"], _gains(published)])
    single = both["metric"] == "RSum"
    signs = np.where(single, "", "+")
    shown = pd.DataFrame(
        {
            "what": np.where(single, both["arm"], "HADA of " + both["backbone"] + " minus the better"),
            "pictures": both["dataset"],
            "RSum, of 600": [f"{sign}{value:.2f}" for sign, value in zip(signs, both["value"], strict=True)],
            "a recall": [f"{sign}{value / 6:.2f}" for sign, value in zip(signs, both["value"], strict=True)],
            "source": both["source"].str.partition(" (sum")[0],
        }
    )
    caption = "As published; sums of single models are ours, HADA's own recalls are not available"
    return style.simple_table(shown, caption, compact=True)


def _gains(published: pd.DataFrame) -> pd.DataFrame:
    return published[published["metric"] == "RSum difference"]


def sentence_about_short(outcome: HadaOutcome, found: Mapping[str, float]) -> str:
    """What the page's own training came to, in Markdown; ``found``: RSum of each system, 0 to 6, on the validation."""
    told = ", ".join(f"{name} {100 * rsum:.0f}" for name, rsum in found.items())
    return f"After {outcome.steps} steps, RSum of 600 on some pictures of the validation species: {told}."
