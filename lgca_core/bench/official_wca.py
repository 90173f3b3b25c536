"""Agreement with WCA's released code: it runs as it is, out of a user's checkout, and ours beside it on the same boxes.

Only what the code is given is ours: the embedded encoder in place of OpenAI's weights, pictures and sentences of the
aviary, a working folder for its configuration. Its own preprocessing, crops, cache, weights, sums and scores are left
alone, and read off as they are made. None of its code is here. Axes: B pictures, M crops in a pool, R runs of N crops.
"""

import contextlib
import importlib
import io
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import e
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import packaging.version
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from lgca_core.bench.harness import Say
from lgca_core.bench.record import begin_with_encoder
from lgca_core.boxes import whole
from lgca_core.class_vectors import encode_classes, logits
from lgca_core.data.manifest import Item, every_nth
from lgca_core.data.table import open_dataset
from lgca_core.encoder import Encoder
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.statistics import paired_interval
from lgca_core.files import sha256_of
from lgca_core.pixels.cropping import crops
from lgca_core.pixels.pictures import open_picture
from lgca_core.prompts.class_prompts import prompts_of_dataset
from lgca_core.views import Views
from lgca_core.wca import WCA, cosine, encode_with_whole, weigh

POOL, N, RUNS = 100, 60, 20
"""M, N and R of the released configurations, but for ImageNet's, whose M is 60."""

DATA_SET = "aviary"
THEIRS = ("main", "helper", "utils", "clip", "my_datasets")
"""Modules and packages of the released code."""


@dataclass
class OfficialRun:
    """What the released code made of some pictures with one seed.

    Attributes:
        boxes: the squares it cut, (B, M, 4) int64, as top, left, height, width.
        identical: how many of its B (1 + M) crops, whole pictures among them, equal ours in every value.
        saliency: its cosines of crops and picture, (B, M). choices: the numbers it drew, (R, N).
        scores: its scores in every run, (R, B, C).
    """

    boxes: Tensor
    identical: int = 0
    saliency: Tensor = field(default_factory=lambda: torch.empty(0))
    choices: Tensor = field(default_factory=lambda: torch.empty(0))
    scores: Tensor = field(default_factory=lambda: torch.empty(0))


def compare_with_checkout(checkout: Path, pictures: int, seeds: int, report: Say) -> dict[str, Any]:
    """Run the released code and ours with every seed, and count where they differ: the record.

    Raises LgcaError where `checkout` does not hold that code.
    """
    if missing := [name for name in ("main.py", "helper.py", "clip/clip.py") if not (checkout / name).is_file()]:
        raise LgcaError(f"{checkout} has no {missing[0]}: give --checkout a copy of github.com/tmlr-group/WCA")
    encoder = load_encoder("aviary", device="cpu")
    manifest = open_dataset("aviary")
    items = every_nth(manifest, max(1, len(manifest.items) // pictures))[:pictures]
    sentences = prompts_of_dataset("aviary", manifest).descriptions
    assert sentences is not None
    classes = list(manifest.classes)
    anchors = [f"a photo of a {name}." for name in classes]
    matrix = encode_classes(encoder, sentences, anchors=anchors, renormalise=True)  # (C, D)
    texts = [*anchors, *(text for of_class in sentences for text in of_class)]
    vectors = dict(zip(texts, encoder.encode_texts(texts)))
    labels = torch.tensor([item.label for item in items])
    said = dict(zip(classes, map(list, sentences)))
    theirs, half, ours, own = [], [], [], []
    for seed in range(seeds):
        seen: list[Tensor] = []  # in half precision the same crops come again: the encoder need not
        theirs.append(run_official(checkout, items, encoder, said, vectors, seed, seen))
        report(f"seed {seed}: the released code, {theirs[-1].identical} crops equal ours")
        half.append(run_official(checkout, items, encoder, said, vectors, seed, seen, torch.float16))
        assert torch.equal(half[-1].boxes, theirs[-1].boxes)
        ours.append(score_the_same(items, encoder, matrix, theirs[-1]))
        own.append(score_own_boxes(items, encoder, matrix, seed))
        report(f"seed {seed}: the same in half precision, ours on its boxes, ours on boxes of our own")
    predicted = np.stack([run.scores.argmax(dim=2).numpy() for run in theirs])  # (seeds, R, B)
    same = np.stack([scores.argmax(dim=2).numpy() for _, scores in ours])
    rough = np.stack([run.scores.argmax(dim=2).numpy() for run in half])
    hits, own_hits = predicted == labels.numpy(), np.stack(own) == labels.numpy()
    flat, own_flat = hits.reshape(-1, len(items)), own_hits.reshape(-1, len(items))
    return begin_with_encoder("official-wca", "aviary", encoder) | {
        "code": {name: sha256_of(checkout / name) for name in ("main.py", "helper.py")},
        "pictures": len(items),
        "seeds": seeds,
        "pool": POOL,
        "n": N,
        "runs": RUNS,
        "crops": {"compared": seeds * len(items) * (1 + POOL), "identical": sum(run.identical for run in theirs)},
        "largest_difference": {
            "weights": max(_weights_apart(run, weights) for run, (weights, _) in zip(theirs, ours)),
            "logits": max(float((run.scores - scores).abs().max()) for run, (_, scores) in zip(theirs, ours)),
        },
        "predictions": {"compared": predicted.size, "differ": int((predicted != same).sum())},
        "own_boxes": {
            "points": 100 * float(own_flat.mean() - flat.mean()),
            "interval": [100 * end for end in paired_interval(own_flat, flat)],
        },
        "hidden_share": hidden_share(hits),
        "half": {
            "compared": predicted.size,
            "differ": int((predicted != rough).sum()),
            "softmax_input": max(
                float((_sharp(a.saliency).float() - _sharp(b.saliency)).abs().max()) for a, b in zip(half, theirs)
            ),
        },
    }


def _sharp(saliency: Tensor) -> Tensor:
    """What the released code puts into its softmax over crops, in its own precision."""
    return saliency * torch.exp(torch.tensor(4.0))


def _weights_apart(run: OfficialRun, ours: Tensor) -> float:
    theirs = _sharp(run.saliency[:, run.choices]).softmax(dim=-1)  # (B, R, N)
    return float((theirs - ours).abs().max())


def hidden_share(hits: NDArray[np.bool_], resamples: int = 10_000) -> dict[str, Any]:
    """The share of the variance of accuracy that no run of one pool shows: 0..1, with its 95 % bootstrap interval over
    pictures; None where no picture ever flips.

    Args:
        hits: (pools, R, B); pictures flip independently of each other, since each has pools of its own.
    """
    runs = hits.shape[1]
    shown = hits.var(axis=1, ddof=1).mean(axis=0)  # (B,)
    hidden = hits.mean(axis=1).var(axis=0, ddof=1) - shown / runs  # what a mean over runs still has is taken off
    if not hidden.sum() + shown.sum():
        return {"share": None, "interval": None}
    again = np.random.default_rng(0).integers(hits.shape[2], size=(resamples, hits.shape[2]))
    parts = hidden[again].sum(axis=1), shown[again].sum(axis=1)
    with np.errstate(invalid="ignore"):
        low, high = np.nanpercentile(parts[0] / (parts[0] + parts[1]), [2.5, 97.5])
    share = float(hidden.sum() / (hidden.sum() + shown.sum()))
    return {"share": share, "interval": [float(low), float(high)]}


# ---- ours --------------------------------------------------------------------------------------------------


def score_the_same(items: Sequence[Item], encoder: Encoder, matrix: Tensor, run: OfficialRun) -> tuple[Tensor, Tensor]:
    """Our weights (B, R, N) and scores (R, B, C) on the boxes and choices of a run."""
    weights, scores = [], []
    for item, boxes in zip(items, run.boxes):
        k0, k = encode_with_whole(Views(encoder, [open_picture(item.path)]), [boxes])  # (1, D), (1, M, D)
        saliency = cosine(k, k0)[0]  # (M,)
        w, u = weigh(k[0][run.choices], saliency[run.choices], e**4)  # (R, N), (R, D)
        weights.append(w)
        scores.append(logits(F.normalize(u, dim=-1), matrix))  # (R, C)
    return torch.stack(weights), torch.stack(scores, dim=1)


def score_own_boxes(items: Sequence[Item], encoder: Encoder, matrix: Tensor, seed: int) -> NDArray[np.int64]:
    """Our predictions, (R, B), on pools of our own, another for every seed."""
    released = WCA.as_released(POOL)
    rows = []
    for item in items:
        views = Views(encoder, [open_picture(item.path)])
        vectors = [released.vectors(views, [f"{item.identity}, {seed}"], run) for run in range(RUNS)]
        rows.append(logits(torch.cat(vectors), matrix).argmax(dim=1).numpy())
    return np.stack(rows, axis=1)


# ---- the released code -------------------------------------------------------------------------------------


def run_official(
    checkout: Path,
    items: Sequence[Item],
    encoder: Encoder,
    said: dict[str, list[str]],
    vectors: dict[str, Tensor],
    seed: int,
    seen: list[Tensor],
    precision: torch.dtype = torch.float32,
) -> OfficialRun:
    """The released code's main program on these pictures, class names and sentences, with a seed of its own.

    Args:
        vectors: of every sentence and every class's plain prompt, (D,) each.
        seen: what the encoder made of its batches of crops, in order. Where it is empty they are encoded and put there.
        precision: of all vectors that leave the encoder, float16 as that code has them on a GPU.
    """
    watch = _Watch(items, encoder)
    drawn: list[Tensor] = []
    scores: list[Tensor] = []
    with _loaded(checkout, said) as (main, helper, clip):
        process = clip._transform(encoder.size)

        known, batch = bool(seen), itertools.count()

        def see(pixels: Tensor) -> Tensor:
            if not known:
                with torch.no_grad():
                    seen.append(torch.cat([encoder.image(part) for part in pixels.split(encoder.batch_size)]))
            return seen[next(batch)].to(precision)

        def read(tokens: "_Sentences") -> Tensor:
            return torch.stack([vectors[text] for text in tokens.texts]).to(precision)

        model = SimpleNamespace(
            encode_image=see, encode_text=read, eval=lambda: None, requires_grad_=lambda wanted: None
        )
        clip.load = lambda *arguments, **settings: (model, lambda image: watch.processed(image, process(image)))
        clip.tokenize = lambda texts, **settings: _Sentences([texts] if isinstance(texts, str) else list(texts))
        helper.load_dataset = lambda data_path, dataset_name, custom_loader: watch.dataset(custom_loader)
        make_params, precompute, accuracy = (
            v2.RandomCrop.make_params,
            main.load_precomputed_features,
            main.accuracy,
        )

        def noted(crop: Any, inputs: list[Any]) -> dict[str, Any]:
            made = make_params(crop, inputs)
            watch.boxes[-1].append([made[name] for name in ("top", "left", "height", "width")])
            return made

        def drawing(*arguments: Any, **settings: Any) -> Tensor:
            drawn.append(torch.randint(*arguments, **settings))
            return drawn[-1]

        def scored(output: Tensor, *rest: Any) -> float:
            scores.append(output.float())
            return accuracy(output, *rest)

        kept: list[Tensor] = []

        def precomputed(*arguments: Any, **settings: Any) -> Any:
            found = precompute(*arguments, **settings)
            kept.append(found[0][:, :, -1])
            return found

        main.load_precomputed_features, main.accuracy, main.torch = precomputed, scored, _Drawing(drawing)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            v2.RandomCrop.make_params = noted
            try:
                main.main(dataset_name=DATA_SET, num_workers=0, seed=seed, device="cpu")
            finally:
                v2.RandomCrop.make_params = make_params
    if len(drawn) != RUNS or len(kept) != 1 or len(scores) != RUNS + 1:
        raise LgcaError(f"{checkout} does not run as WCA's released code does: give --checkout its commit dfb4e6f")
    return OfficialRun(torch.tensor(watch.boxes), watch.identical, kept[0], torch.stack(drawn), torch.stack(scores[1:]))


@dataclass
class _Sentences:
    """Sentences where the released code has tokens: the encoder reads them itself."""

    texts: list[str]

    def to(self, device: Any) -> "_Sentences":
        return self


class _Drawing:
    """torch, but that what it draws is noted."""

    def __init__(self, randint: Any) -> None:
        self.randint = randint

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


class _Watch:
    """Looks on while pictures are cut: boxes as they are drawn, crops as they are processed."""

    def __init__(self, items: Sequence[Item], encoder: Encoder) -> None:
        self.items, self.encoder = items, encoder
        self.boxes: list[list[list[int]]] = []
        self.identical = 0
        self.processing: list[Tensor] = []

    def dataset(self, loader: Any) -> "torch.utils.data.Dataset[Any]":
        watch = self

        class Pictures(torch.utils.data.Dataset[Any]):
            def __len__(self) -> int:
                return len(watch.items)

            def __getitem__(self, at: int) -> tuple[Tensor, int]:
                watch.boxes.append([])
                watch.processing = []
                made = loader(str(watch.items[at].path))
                watch.compare(watch.items[at], watch.boxes[-1])
                return made, watch.items[at].label

        return Pictures()

    def processed(self, image: Image.Image, pixels: Tensor) -> Tensor:
        self.processing.append(pixels)
        return pixels

    def compare(self, item: Item, boxes: list[list[int]]) -> None:
        picture = open_picture(item.path)
        asked = torch.cat([whole(picture.height, picture.width), torch.tensor(boxes)])
        ours = crops(picture, asked, self.encoder.size)
        mean, std = (torch.tensor(of)[:, None, None] for of in (self.encoder.mean, self.encoder.std))
        theirs = ((torch.stack(self.processing) * std + mean) * 255).round()  # levels again: far from a half
        self.identical += int((theirs == ours).flatten(1).all(dim=1).sum())


@contextlib.contextmanager
def _loaded(checkout: Path, said: dict[str, list[str]]) -> Iterator[Sequence[Any]]:
    """The code's modules ``main``, ``helper`` and ``clip.clip``, in a working folder of its own without any cache.

    Afterwards no module of it is left. `fire` and `pkg_resources`, which it imports, need not be installed.
    """
    stand_ins = {"fire": ModuleType("fire"), "pkg_resources": ModuleType("pkg_resources")}
    stand_ins["pkg_resources"].packaging = packaging  # type: ignore[attr-defined]
    before, path, here = dict(sys.modules), list(sys.path), Path.cwd()
    method = {"name": "ours", "enabled": True, "image_scale": 4.0, "text_scale": 2.0}
    settings = {
        "model_size": "ViT-B/32", "batch_size": 32, "dataset": DATA_SET, "data_path": DATA_SET, "alpha": 0.5,
        "n_samples": POOL, "n_run": RUNS, "patch_n": N, "methods": [{"ours": method}],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for file, content in (
            (f"cfgs/{DATA_SET}.yaml", settings),  # JSON is YAML
            (f"features/{DATA_SET}/{DATA_SET}.json", list(said)),
            (f"prompts/{DATA_SET}/cupl.json", said),
        ):
            (Path(folder) / file).parent.mkdir(parents=True)
            (Path(folder) / file).write_text(json.dumps(content), encoding="utf-8")
        try:
            for name in [name for name in sys.modules if name.split(".")[0] in THEIRS]:
                del sys.modules[name]
            for name, module in stand_ins.items():
                sys.modules.setdefault(name, module)
            sys.path.insert(0, str(checkout.resolve()))
            os.chdir(folder)
            yield [importlib.import_module(name) for name in ("main", "helper", "clip.clip")]
        finally:
            os.chdir(here)
            sys.path[:] = path
            for name in [name for name in sys.modules if name.split(".")[0] in THEIRS]:
                del sys.modules[name]
            for name in stand_ins:
                if name not in before:
                    sys.modules.pop(name, None)
            sys.modules.update({name: before[name] for name in before if name.split(".")[0] in THEIRS})
