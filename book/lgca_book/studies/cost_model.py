"""What LGCA costs: the theorem's count and bound, counted passes, measured time and memory.

Theorem (arXiv 2511.00419's claim, with its constant): LGCA with N first boxes, T expansions and 0 < rho < 1 runs

    1 + sum_{t=0..T} ceil(rho^t N)  <=  1 + N / (1 - rho) + T

encoder passes a picture, so O(N + T), and O(N) for any T up to N; WCA runs 1 + N.

Axes: B pictures looked at together, N crops of a picture, T expansions, C classes, P sentences a class, D width.
Measured tables are tidy: ``what`` was timed, against which ``symbol`` (an axis) and its ``value``, ``ms`` (median of
the repeats), ``fastest`` and ``slowest`` in milliseconds. All that is compared takes turns, so that a machine that is
busy for a while slows everything and not one thing; the first turn of each is not counted.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from lgca_core.class_vectors import class_matrix, logits
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.machine import money, peak_growth
from lgca_core.lgca import LGCA, exact_share
from lgca_core.pixels.pictures import open_picture
from lgca_core.views import Views
from lgca_core.wca import WCA

Result = TypeVar("Result")


# ---- passes ------------------------------------------------------------------------------------------------


def passes(n: int, steps: int, rho: float) -> int:
    """Encoder passes a picture, ``1 + sum_{t=0..T} ceil(rho^t N)``, exactly."""
    return LGCA(n=n, steps=steps, rho=rho, start="wca").passes()


def passes_bound(n: int, steps: int, rho: float) -> float:
    """The theorem's bound, ``1 + N / (1 - rho) + T``; infinite for rho = 1."""
    if rho == 1:
        return math.inf
    # Exact until here: the nearest float to a number that is not below an integer is not below it either.
    return float(1 + n / (1 - exact_share(rho)) + steps)


# ---- time --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """Seconds a picture: the median, the fastest and the slowest of the repeats; and passes a picture, counted."""

    seconds: float
    fastest: float
    slowest: float
    passes: float


def time_per_image(
    look: WCA | LGCA,
    encoder: Encoder,
    pictures: Sequence[Image.Image],
    *,
    repeats: int = 5,
    seed: int = 0,
    class_matrix: Tensor | None = None,
) -> Timing:
    """Time of pictures -> vectors, crops cut and encoded, nothing carried over; after one run that is not counted.

    Raises LgcaError without pictures or repeats.
    """
    (timing,) = _timings([look], encoder, pictures, repeats=repeats, seed=seed, class_matrix=class_matrix)
    return timing


def time_table(
    looks: Mapping[str, WCA | LGCA],
    encoder: Encoder,
    pictures: Sequence[Image.Image],
    *,
    repeats: int = 5,
) -> pd.DataFrame:
    """One row a look: method, n, passes (by formula), counted (as run), ms (median a picture), fastest, slowest.

    The looks take turns, so that a machine that is busy for a while slows them all and not one.
    """
    timings = _timings([*looks.values()], encoder, pictures, repeats=repeats)
    return pd.DataFrame(
        {
            "method": name,
            "n": look.n,
            "passes": look.passes(),
            "counted": timing.passes,
            "ms": 1000 * timing.seconds,
            "fastest": 1000 * timing.fastest,
            "slowest": 1000 * timing.slowest,
        }
        for (name, look), timing in zip(looks.items(), timings, strict=True)
    )


def _timings(
    looks: Sequence[WCA | LGCA],
    encoder: Encoder,
    pictures: Sequence[Image.Image],
    *,
    repeats: int,
    seed: int = 0,
    class_matrix: Tensor | None = None,
) -> list[Timing]:
    """Seconds and passes a picture."""
    jobs = [partial(_look, look, encoder, pictures, seed, class_matrix) for look in looks]
    timings = []
    for turns in _in_turns(jobs, len(pictures), repeats):
        seconds, counted = zip(*turns, strict=True)
        timings.append(Timing(statistics.median(seconds), min(seconds), max(seconds), statistics.fmean(counted)))
    return timings


def _look(
    look: WCA | LGCA, encoder: Encoder, pictures: Sequence[Any], seed: int, class_matrix: Tensor | None = None
) -> tuple[float, float]:
    """Seconds and passes a picture of looking at all of them together."""
    identities = [str(b) for b in range(len(pictures))]
    before = encoder.image_passes
    start = time.perf_counter()
    views = Views(encoder, pictures)  # a fresh one: it remembers what it encoded
    if isinstance(look, LGCA):
        look.vectors(views, identities, seed, class_matrix)
    else:
        look.vectors(views, identities, seed)
    if encoder.device.type == "cuda":
        torch.cuda.synchronize(encoder.device)
    seconds = time.perf_counter() - start
    return seconds / len(pictures), (encoder.image_passes - before) / len(pictures)


def _in_turns(jobs: Sequence[Callable[[], Result]], pictures: int, repeats: int) -> list[tuple[Result, ...]]:
    """What each job returns, `repeats` times; a first turn of each is not counted."""
    if pictures < 1 or repeats < 1:
        raise LgcaError(f"timing needs pictures and repeats, got {pictures} and {repeats}")
    rounds = [[job() for job in jobs] for _ in range(1 + repeats)][1:]
    return list(zip(*rounds, strict=True))


def with_crops(
    encoder: Encoder, pictures: Sequence[Image.Image], values: Sequence[int], *, repeats: int = 5
) -> pd.DataFrame:
    """Milliseconds a picture against N, of WCA, of LGCA from N boxes, and of LGCA at no more passes than WCA from N."""
    looks: dict[tuple[str, int], WCA | LGCA] = {}
    for n in values:
        wca = WCA(n=n)
        looks["WCA", n] = wca
        looks["LGCA, equal crops", n] = LGCA(n=n)
        looks["LGCA, equal passes", n] = LGCA().at_passes(wca.passes())
    return _against("N", looks, encoder, pictures, repeats)


def with_steps(
    encoder: Encoder, pictures: Sequence[Image.Image], values: Sequence[int], *, n: int = 60, repeats: int = 5
) -> pd.DataFrame:
    """Milliseconds a picture against T, of LGCA from N boxes."""
    return _against("T", {(f"LGCA, N = {n}", t): LGCA(n=n, steps=t) for t in values}, encoder, pictures, repeats)


def _against(
    symbol: str,
    looks: Mapping[tuple[str, int], WCA | LGCA],
    encoder: Encoder,
    pictures: Sequence[Image.Image],
    repeats: int,
) -> pd.DataFrame:
    table = time_table(
        {f"{what} {value}": look for (what, value), look in looks.items()}, encoder, pictures, repeats=repeats
    )
    kinds = pd.DataFrame(list(looks), columns=["what", "value"])
    return pd.concat([kinds.assign(symbol=symbol), table.drop(columns="method")], axis="columns")


def with_pictures(
    encoder: Encoder, pictures: Sequence[Image.Image], values: Sequence[int], *, n: int = 15, repeats: int = 5
) -> pd.DataFrame:
    """Milliseconds in all against B, how many pictures are looked at together, of WCA and LGCA from N boxes.

    Raises:
        LgcaError: there are fewer pictures than the largest value.
    """
    if max(values) > len(pictures):
        raise LgcaError(f"{max(values)} pictures are to be looked at together, but only {len(pictures)} are given")
    asked = [(what, b) for b in values for what in ("WCA", "LGCA")]
    looks: dict[str, WCA | LGCA] = {"WCA": WCA(n=n), "LGCA": LGCA(n=n)}
    jobs = [partial(_look, looks[what], encoder, pictures[:b], 0) for what, b in asked]
    turns = [[b * seconds for seconds, _ in of] for (_, b), of in zip(asked, _in_turns(jobs, len(pictures), repeats))]
    return _measured([(f"{what}, N = {n}", "B", b) for what, b in asked], turns)


def double_sum(k: Tensor, w: Tensor, t: Tensor, v: Tensor) -> Tensor:
    """WCA's score as it is defined: crops k (N, D), weights w (N,), sentences t (C, P, D), weights v (C, P) -> (C,)."""
    cosines = k @ t.flatten(0, 1).T  # (N, C P)
    return ((w @ cosines).view(v.shape) * v).sum(dim=-1)


def with_texts(
    symbol: str,
    values: Sequence[int],
    *,
    width: int,
    fixed: int,
    n: int = 60,
    pictures: int = 2,
    repeats: int = 5,
    device: torch.device | str = "cpu",
) -> pd.DataFrame:
    """Milliseconds against P or C (`symbol`), the other one `fixed`, with sentences and crops that are encoded already.

    Three things: the class matrix, of all classes; the score of a picture as the double sum over crops and sentences;
    and the same score factored, one vector a picture against one a class. The vectors are random: only their number and
    width tell on the time.

    Raises:
        LgcaError: `symbol` is another than "P" and "C".
    """
    if symbol not in ("P", "C"):
        raise LgcaError(f"the texts of the classes have the axes 'P' and 'C', not {symbol!r}")
    asked, jobs, shares = [], [], []
    for value in values:
        classes, sentences = (fixed, value) if symbol == "P" else (value, fixed)
        for what, (job, of) in _text_jobs(classes, sentences, width, n, pictures, torch.device(device)).items():
            asked.append((what, symbol, value))
            jobs.append(partial(_seconds, job, torch.device(device)))
            shares.append(of)
    turns = [[seconds / of for seconds in own] for own, of in zip(_in_turns(jobs, pictures, repeats), shares)]
    return _measured(asked, turns)


def _text_jobs(
    classes: int, sentences: int, width: int, n: int, pictures: int, device: torch.device
) -> dict[str, tuple[Callable[[], object], int]]:
    """What is timed, as it is called, and of how many pictures one call is."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return F.normalize(torch.randn(*shape, width, generator=generator), dim=-1).to(device)

    t, anchors, k = drawn(classes, sentences), drawn(classes), drawn(pictures, n)
    flat, counts = t.flatten(0, 1), [sentences] * classes
    v = torch.softmax((t * anchors[:, None]).sum(dim=-1), dim=-1)  # (C, P)
    w = torch.full((pictures, n), 1 / n, device=device)
    matrix = class_matrix(flat, counts, anchors=anchors, renormalise=False)
    return {
        "class matrix": (lambda: class_matrix(flat, counts, anchors=anchors, renormalise=False), 1),
        "score, double sum": (lambda: [double_sum(k[b], w[b], t, v) for b in range(pictures)], pictures),
        "score, factored": (lambda: logits((w[..., None] * k).sum(dim=1), matrix), pictures),
    }


def _seconds(job: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    job()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _measured(asked: Sequence[tuple[str, str, int]], turns: Sequence[Sequence[float]]) -> pd.DataFrame:
    """Seconds of each turn -> a row for each thing asked."""
    frame = pd.DataFrame(asked, columns=["what", "symbol", "value"])
    for column, of in (("ms", statistics.median), ("fastest", min), ("slowest", max)):
        frame[column] = [1000 * of(own) for own in turns]
    return frame


def grid(n: Sequence[int], steps: Sequence[int]) -> dict[str, LGCA]:
    """LGCA with every combination, named "N=.., T=.."."""
    return {f"N={crops}, T={t}": LGCA(n=crops, steps=t) for crops in n for t in steps}


def against_bound(table: pd.DataFrame, looks: Mapping[str, LGCA]) -> pd.DataFrame:
    """Of a `time_table` of `looks`: setting, formula, counted, bound of the theorem, and times WCA's passes."""
    bound = [passes_bound(look.n, look.steps, look.rho) for look in looks.values()]
    return pd.DataFrame(
        {
            "setting": table["method"],
            "formula": table["passes"],
            "counted": table["counted"],
            "bound": bound,
            "times WCA's": table["passes"] / (table["n"] + 1),
        }
    )


# ---- memory ------------------------------------------------------------------------------------------------


def memory_table(
    encoder: Encoder, paths: Sequence[Path], symbol: str, values: Sequence[int], *, fixed: int
) -> pd.DataFrame:
    """How far memory grows while pictures are looked at as WCA does, against N or B; see :func:`peak_growth`.

    Args:
        paths: pictures, at least as many as are looked at together; each is decoded within what is measured.
        symbol: "N" (then `fixed` pictures together) or "B" (then `fixed` crops of each).

    Returns:
        Columns: ``symbol``, ``value``, ``passes`` (of the B pictures), ``grown`` (bytes, NaN where they are not known),
        ``held`` (bytes of the decoded pictures and of all vectors, by arithmetic).

    Raises:
        LgcaError: another symbol; too few pictures.
    """
    if symbol not in ("N", "B"):
        raise LgcaError(f"memory is measured against 'N' or 'B', not {symbol!r}")
    asked = [(value, fixed) if symbol == "N" else (fixed, value) for value in values]
    if max(b for _, b in asked) > len(paths):
        raise LgcaError(f"{max(b for _, b in asked)} pictures are to be looked at, but only {len(paths)} are given")
    width = encoder.encode_texts([""]).shape[1]

    def look(n: int, b: int) -> int:
        pictures = [open_picture(path) for path in paths[:b]]
        _look(WCA(n=n), encoder, pictures, 0)
        return sum(picture.height * picture.width for picture in pictures)

    look(2 * encoder.batch_size, 1)  # what is set aside once is there before
    rows = []
    for value, (n, b) in zip(values, asked):
        pixels, grown = peak_growth(partial(look, n, b), encoder.device)
        held = 3 * pixels + 4 * width * b * (1 + n)
        rows.append({"symbol": symbol, "value": value, "passes": b * (1 + n), "grown": grown, "held": held})
    return pd.DataFrame(rows)


# ---- what it comes to --------------------------------------------------------------------------------------


def thousand(frame: pd.DataFrame, n: int, price_per_hour: float | None = None) -> pd.DataFrame:
    """Seconds and money for 1000 pictures, from what :func:`with_crops` measured at N.

    Columns: ``what``, ``passes``, ``seconds``, ``fastest``, ``slowest``, ``money``.
    """
    rows = frame[frame["value"] == n]
    if rows.empty:
        raise LgcaError(f"nothing was timed with N = {n}: it was with {sorted(set(frame['value']))}")
    # A millisecond a picture is a second a thousand.
    told = rows[["what", "passes", "ms", "fastest", "slowest"]].rename(columns={"ms": "seconds"}).reset_index(drop=True)
    return told.assign(money=[money(seconds, price_per_hour) for seconds in told["seconds"]])
