"""WCA's released code beside ours, as `lgca bench official-wca` recorded it, and what else that code does otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from lgca_book.pages.speed import machine
from lgca_book.studies.wca_released import PoolVariance
from lgca_book.style import minus, simple_table
from lgca_core.data.sources import SOURCES

HOW = "`lgca bench official-wca --checkout DIR`"

ELSEWHERE: dict[str, Any] = {
    "pictures": 200, "seeds": 6, "pool": 100, "n": 60, "runs": 20,
    "crops": {"compared": 121_200, "identical": 121_200},
    "largest_difference": {"weights": 3.1e-6, "logits": 3.6e-7},
    "predictions": {"compared": 24_000, "differ": 0},
    "own_boxes": {"points": 0.07, "interval": [-0.62, 0.76]},
    "hidden_share": {"share": 0.19, "interval": [0.16, 0.22]},
    "half": {"compared": 1000, "differ": 10, "softmax_input": 0.068},
}  # fmt: skip
"""What such a run found elsewhere, of which there is no record: told as such where no record is here."""


def agreement(record: Mapping[str, Any]) -> Styler:
    """What was compared, and how far apart the two are."""
    crops, predictions, apart = record["crops"], record["predictions"], record["largest_difference"]
    own = record["own_boxes"]
    rows = {
        "crops equal in every value": f"{crops['identical']:,} of {crops['compared']:,}",
        "weights of crops, largest difference": _small(apart["weights"]),
        "scores, largest difference": _small(apart["logits"]),
        "predictions that differ": f"{predictions['differ']:,} of {predictions['compared']:,}",
        "on boxes of our own: accuracy, points": f"{_signed(own['points'])} {_interval(own['interval'], _signed)}",
    }
    table = pd.DataFrame({"compared": list(rows), "released code and ours": list(rows.values())})
    return simple_table(table, "WCA's released code and ours, on its own boxes where not said otherwise")


def sentence_about_agreement(record: Mapping[str, Any]) -> str:
    """What ran beside what, and how to run it again."""
    size = (
        f"{record['pictures']} pictures of the embedded world with {record['seeds']} seeds, {record['pool']} crops a "
        f"picture and {record['runs']} draws of {record['n']}"
    )
    if "utc" not in record:
        return (
            "**Measured elsewhere**, and not recorded here: the code as it is, with the embedded encoder in place of "
            f"OpenAI's, on {size}. {HOW}, with a copy of `github.com/tmlr-group/WCA`, does it again, and its record "
            "takes the place of these numbers."
        )
    code = ", ".join(f"<code>{name}</code> {sha256[:8]}" for name, sha256 in record["code"].items())
    return (
        f"Run on {record['utc'][:10]} on {machine(record)}: the code itself ({code}), as it is, with the embedded "
        f"encoder in place of OpenAI's, on {size}. To run it again: {HOW}, with a copy of `github.com/tmlr-group/WCA`."
    )


def sentence_about_hidden_accuracy(record: Mapping[str, Any]) -> str:
    """The share of the variance of accuracy that no draw shows, measured, beside that of a mean, by formula."""
    if record["hidden_share"]["share"] is None:
        return f"Of accuracy the share is *not available*: {HOW} measures it."
    found, law = record["hidden_share"], PoolVariance(record["n"], record["pool"])
    return (
        "All that is of a mean, or of a margin. Accuracy counts signs of margins, most of which no draw turns: in "
        f"accuracy the share that no draw shows was {found['share']:.0%} "
        f"{_interval(found['interval'], _percent)}, against {law.hidden_share:.0%} in a mean ({record['n']} "
        f"crops out of {record['pool']}, {record['pictures']} pictures, {record['seeds']} pools of {record['runs']} "
        "draws: the run of the released code above)."
    )


def others(record: Mapping[str, Any]) -> Styler:
    """What else the released code does otherwise than this project."""
    told = record["half"]
    half = (
        f"{1000 * told['differ'] / told['compared']:.1f} of 1,000 predictions; what enters the softmax over crops is "
        f"off by up to {told['softmax_input']:.3f}"
    )
    unset = [title for name, title in (("imagenet-r", "-R"), ("imagenet-a", "-A"), ("imagenet-sketch", "-Sketch"))
             if SOURCES[name].released_pool is None]  # fmt: skip
    rows = [
        ("precision", "half on a GPU, sums included", "single, sums of scores double", half),
        (
            "EXIF orientation",
            "ignored",
            "honoured: boxes are those of the upright picture",
            "photographs taken upright",
        ),
        ("side of a crop", "rounded down", "rounded", "at most one pixel"),
        (
            "a second `--seed`",
            "cuts no new crops: the name of the file that keeps them has no seed",
            "cuts new ones",
            "the seed of every run after the first",
        ),
        ("the ±", "divided by the number of draws", "by one less", f"{_deviations(20):.1%} of it, of 20 draws"),
        (
            "Places365",
            f"α = {SOURCES['places365'].alpha}, which names a file as elsewhere",
            f"as written: U({SOURCES['places365'].alpha}, 0.9)",
            "the least crop",
        ),
        (
            f"ImageNet{', '.join(unset)}",
            "no configuration",
            "the settings of the other data sets",
            "which settings the published values have",
        ),
    ]
    table = pd.DataFrame(rows, columns=["", "released code", "here", "what it moves"])
    table[["", "released code"]] = table[["", "released code"]].replace(r"`([^`]*)`", r"<code>\1</code>", regex=True)
    return simple_table(table, "What else the released code does otherwise").set_properties(
        **{"white-space": "normal", "text-align": "left", "min-width": "9rem"}
    )


def _deviations(draws: int) -> float:
    """How much smaller a deviation is that divides by the number of draws."""
    return 1 - ((draws - 1) / draws) ** 0.5


def _small(value: float) -> str:
    return "0" if value == 0 else minus(f"{value:.1e}".replace("e-0", "e-"))


def _signed(points: float) -> str:
    return minus(f"{points:+.2f}")


def _percent(share: float) -> str:
    return minus(f"{share:.0%}")


def _interval(ends: tuple[float, float], form: Any) -> str:
    return f"({form(ends[0])} to {form(ends[1])})"
