"""What the page on GOAL draws and tabulates, and its sentences that follow the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pandas.io.formats.style import Styler
from PIL import Image

from lgca_book import style
from lgca_book.pages.arms import both_intervals
from lgca_book.studies.goal_arms import START
from lgca_book.studies.related_arms import differs
from lgca_core.related.captions.captioned import Box, CaptionedPicture, Truth
from lgca_core.related.goal.geometry import PatchGrid
from lgca_core.related.goal.train import Outcome

NAMES = {
    START: "no tuning",
    "global": "global",
    "local": "local",
    "global-local": "global + local",
    "goal": "GOAL",
    "random-boxes": "GOAL, random boxes",
    "region-size": "GOAL, boxes as released",
    "full-matrix": "GOAL, full matrix",
    "bfloat16-weights": "GOAL, bfloat16 weights",
    "three-pairs": "GOAL, three pairs a picture",
}
"""How the page calls the arms; others by what the command line calls them."""

ORDER = tuple(NAMES)
"""The arms in the order of tables."""

COMPARED = {
    ("goal", "random-boxes"): "Right boxes instead of random ones",
    ("goal", "region-size"): "Right boxes instead of those of the released code",
    ("goal", "global-local"): "Token similarity, added to both contrastive losses",
    ("random-boxes", "global-local"): "Token similarity with random boxes, added likewise",
    ("global-local", "global"): "The local loss, added to the global one",
    ("goal", "global"): "Both additions together",
    ("full-matrix", "goal"): "All pairs of rows instead of the diagonal",
    ("three-pairs", "goal"): "Three pairs a picture instead of one",
    ("bfloat16-weights", "goal"): "Weights in bfloat16 instead of float32",
    ("global", "start"): "Tuning on long captions at all",
}
"""What is compared, and what each difference is of."""

CHANGES = (
    ("goal", START),
    ("goal", "global"),
    ("goal", "global-local"),
    ("goal", "random-boxes"),
    ("global", START),
)
"""Pairs of encoders with which methods are compared."""

METHODS = ("clip", "cupl", "wca", "lgca-equal")
"""How the aviary's test pictures are classified with the arms' encoders."""

REGIONS = {"true": "the parts' own boxes", "grid": "quadrants, centre, eight squares"}

RULES = {"right": "right", "region-size": "as released", "random": "random"}


def arm_name(arm: str) -> str:
    """An arm's name on the page."""
    return NAMES.get(arm, arm)


def example(
    pictures: Sequence[CaptionedPicture], grid: PatchGrid, width: int, height: int
) -> tuple[CaptionedPicture, Truth]:
    """The first picture and truth, after the first picture, for which the released rule finds patches at all."""
    for picture in pictures[1:]:
        for truth in picture.truths:
            if truth.box and grid.by_rule("region-size", truth.box, width, height).any():
                return picture, truth
    return pictures[0], next(truth for truth in pictures[0].truths if truth.box)


def places(
    picture: Image.Image, sentence: str, box: Box, grid: PatchGrid, seed: int, key: str
) -> tuple[Figure, pd.DataFrame]:
    """The picture with a sentence's region, and the patches that stand for it by each rule; as a figure and a table."""
    figure, axes = style.subplots(1, len(RULES), figsize=(7.2, 2.9), layout="constrained")
    rows = []
    for ax, (rule, said) in zip(axes, RULES.items(), strict=True):
        mask = grid.by_rule(rule, box, picture.width, picture.height, seed=seed, key=key)  # type: ignore[arg-type]
        patches = mask.view(grid.side, grid.side).numpy()
        shade = np.zeros((grid.side, grid.side, 4))
        shade[patches] = (*sns.color_palette()[1], 0.55)
        across = (0, picture.width, picture.height, 0)
        ax.imshow(picture, extent=across)
        ax.imshow(shade, extent=across, interpolation="nearest")
        x1, y1, x2, y2 = box
        ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor="black", linewidth=2.2))
        ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor="white", linewidth=1))
        ax.set_title(f"{said}: {int(mask.sum())} of {grid.side**2}")
        ax.set_axis_off()
        rows.append({"rule": said, "patches": int(mask.sum()), "sentence": sentence})
    return figure, pd.DataFrame(rows)


def localisation_table(tables: Mapping[str, pd.DataFrame]) -> Styler:
    """`localisation_table` of all sentences that have a region, a row a kind of regions."""
    rows = [
        {
            "regions": kind,
            "sentences": int(of.loc["all", "sentences"]),
            "found, IoU ≥ 0.5": of.loc["all", "found"],
            "any candidate would do": of.loc["all", "reachable"],
            "mean IoU": of.loc["all", "iou"],
            "covered": of.loc["all", "covered"],
            "covered by chance": of.loc["all", "chance"],
        }
        for kind, of in tables.items()
    ]
    shares = {"found, IoU ≥ 0.5": "{:.0%}", "any candidate would do": "{:.0%}", "covered": "{:.0%}"}
    formats = shares | {"mean IoU": "{:.2f}", "covered by chance": "{:.0%}", "sentences": "{:,}"}
    return style.simple_table(pd.DataFrame(rows), "Did a sentence find the region that it speaks of?", formats)


def sentence_about_boxes(pictures: Sequence[CaptionedPicture], width: int, height: int) -> str:
    """How large the parts are of which sentences speak."""
    boxes = [truth.box for picture in pictures for truth in picture.truths if truth.box]
    share = float(np.median([(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes])) / (width * height)
    return (
        f"Parts of a bird are small (the median box is {share:.1%} of the picture), so quadrants and squares can point "
        f"towards one, hardly at it."
    )


def arms_table(table: pd.DataFrame) -> Styler:
    """`goal_arms.arms_table` as the page shows it."""
    shown = pd.DataFrame(
        {
            "arm": table["arm"].map(arm_name),
            "seeds": table["seeds"].map(str),
            "R@1, %": [
                f"{100 * row['r1']:.1f}" + ("" if pd.isna(row["std"]) else f" ± {100 * row['std']:.1f}")
                for _, row in table.iterrows()
            ],
            "image → text": table["image_to_text"].map("{:.1%}".format),
            "text → image": table["text_to_image"].map("{:.1%}".format),
            "R@5": table["r5"].map("{:.1%}".format),
            "weights moved": table["moved"].map(lambda of: "–" if pd.isna(of) else f"{of:.1%}"),
            "s a step": table["seconds"].map(lambda of: "–" if pd.isna(of) else f"{of:.2f}"),
        }
    )
    return style.simple_table(shown, "Retrieval with long captions, held-out species", compact=True)


def sentence_about_location(frame: pd.DataFrame) -> str:
    """Whether right boxes are better than random ones, in Markdown, whichever way it came out."""
    found = frame[(frame["arm"] == "goal") & (frame["baseline"] == "random-boxes")]
    if found.empty:
        return f"*Whether the location matters is {style.NOT_AVAILABLE}: an arm has no record.*"
    row = found.iloc[0]
    said = (
        f"Right boxes minus random ones: {both_intervals(row)} points of R@1 (95 % intervals, the first over queries)."
    )
    if differs(found).iloc[0] and row["difference"] > 0:
        return f"**The location matters here.** {said}"
    if differs(found).iloc[0]:
        return f"**Random boxes do better than right ones here.** {said}"
    added = frame[(frame["arm"] == "goal") & (frame["baseline"] == "global-local")]
    worth = ""
    if len(added) and not differs(added).iloc[0]:
        worth = f" Nor can what it adds to the other two losses be told from zero: {both_intervals(added.iloc[0])}."
    return (
        f"**Right and random boxes cannot be told apart: on this evidence token similarity is a regulariser, not a "
        f"localiser.** {said}{worth}"
    )


def sentences_about_terms(frame: pd.DataFrame) -> str:
    """A line for each of :data:`COMPARED`, in Markdown."""
    lines = []
    for (arm, baseline), what in COMPARED.items():
        rows = frame[(frame["arm"] == arm) & (frame["baseline"] == baseline)] if len(frame) else frame
        if rows.empty:
            lines.append(f"- {what}: {style.NOT_AVAILABLE}")
            continue
        kind = "" if differs(rows).iloc[0] else " (cannot be told from zero)"
        lines.append(f"- {what}: {both_intervals(rows.iloc[0])} points{kind}")
    return "\n".join(lines)


def sentence_about_moved(moved: Mapping[str, Outcome]) -> str:
    """What share of the weights a short training moved in both precisions, in Markdown."""
    full, half = moved["goal"], moved["bfloat16-weights"]
    return (
        f"After {full.steps} steps, **{full.moved:.0%}** of the float32 weights have moved, and **{half.moved:.0%}** "
        f"of those in bfloat16 (of weights that were not zero)."
    )


def sentence_about_published(published: pd.DataFrame) -> str:
    """What each loss is worth by GOAL's table and by its successor's, in Markdown."""
    own = _on_docci(published)
    values = own[own["direction"] == "T2I"].set_index("arm")["value"]
    named = {
        "GOAL's table": ("Global fine-tuning", "GOAL w/o TSL", "GOAL"),
        "its successor's": tuple(f"FAST-GOAL ablation: {of}" for of in ("Global", "w/o TSL", "full")),
    }
    told = [
        f"{table}, the local loss adds {style.signed((values[without] - values[base]) / 100)} points of text-to-image "
        f"R@1 and token similarity {style.signed((values[full] - values[without]) / 100)}"
        for table, (base, without, full) in named.items()
    ]
    return f"By {'; by '.join(told)}."


def _on_docci(published: pd.DataFrame) -> pd.DataFrame:
    kept = (published["dataset"] == "DOCCI") & (published["backbone"] == "ViT-B/16") & (published["metric"] == "R@1")
    return published[kept & published["split"].str.contains("trained on DOCCI")]


def published_table(published: pd.DataFrame) -> Styler:
    """Published R@1 of the arms on DOCCI with ViT-B/16, each row with its source."""
    keys = ["source", "split", "arm"]
    wide = _on_docci(published).pivot_table(index=keys, columns="direction", values="value", sort=False).reset_index()
    shown = wide[["arm", "T2I", "I2T", "split", "source"]].rename(
        columns={"T2I": "text → image, %", "I2T": "image → text, %", "split": "pictures"}
    )
    formats = {"text → image, %": "{:.2f}", "image → text, %": "{:.2f}"}
    return style.simple_table(shown, "As published: DOCCI, ViT-B/16, R@1", formats, compact=True)
