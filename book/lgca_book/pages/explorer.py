"""The interactive explorer: one fragment of HTML whose data `explorer.js` draws, and a still for those without it."""

from __future__ import annotations

import base64
import html
import json
from io import BytesIO
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from IPython.display import HTML
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from lgca_book.pages.pictures import BOX_COLOURS, panels

if TYPE_CHECKING:
    from lgca_book.studies.explorer_data import Exploration

KIND_NAMES = {
    "lgca": "LGCA right, WCA wrong",
    "wca": "WCA right, LGCA wrong",
    "both": "both right",
    "neither": "both wrong",
}


def fragment(exploration: Exploration, name: str = "explorer") -> HTML:
    """The explorer as part of a page: its data, and the place where `_static/explorer.js` builds it.

    Args:
        name: the fragment's id, unlike any other on its page.
    """
    looks = {
        "kinds": KIND_NAMES,
        "weights": [to_hex(colour) for colour in plt.get_cmap(BOX_COLOURS)([i / 8 for i in range(9)])],
        "classes": [to_hex(colour) for colour in sns.color_palette("colorblind")],
    }
    return HTML(
        f'<div class="explorer" id="{html.escape(name)}">'
        f'<script type="application/json" class="explorer-data">{exploration.json()}</script>'
        f'<script type="application/json" class="explorer-looks">{json.dumps(looks)}</script>'
        "<noscript><p>The explorer needs JavaScript, which this browser does not run. The figure below shows the "
        "steps of the first picture.</p></noscript></div>"
    )


def kinds(exploration: Exploration) -> pd.DataFrame:
    """How many pictures of the record are of each kind, and how many of those are shown."""
    shown = [picture.kind for picture in exploration.pictures]
    rows = [
        {"who is right": KIND_NAMES[kind], "in the record": count, "shown": shown.count(kind)}
        for kind, count in exploration.counts.items()
    ]
    return pd.DataFrame(rows)


def rule(exploration: Exploration) -> str:
    """How the pictures were chosen, as Markdown."""
    said = (
        "As many pictures are shown on which LGCA alone is right as on which WCA alone is, and the others in equal "
        "parts. Among those of a kind the surest are taken, a class at a time: first the surest picture of each class, "
        "then the second surest. A picture is as sure as the less sure of its two answers, by how far ahead the best "
        f"class is. The rule knows the record's answers and margins with seed {exploration.seed}, and nothing else."
    )
    if not exploration.recorded:
        said += (
            " **The numbers of boxes or of steps are not the record's**, so its answers, by which the pictures were "
            "chosen, need not be those shown."
        )
    return said


def cost(exploration: Exploration) -> str:
    """What the two methods took for what is seen, as Markdown."""
    wca, lgca = exploration.passes["wca"], exploration.passes["lgca"]
    return (
        f"What is seen here took WCA {wca} encoder passes a picture and LGCA {lgca}, the whole picture included: "
        f"{lgca / wca:.2f} times as many."
    )


def still(exploration: Exploration, number: int = 0) -> Figure:
    """All steps of one picture side by side, for print and for browsers without scripts."""
    shown = exploration.pictures[number]
    content = base64.b64decode(shown.source.partition(",")[2])
    picture = Image.open(BytesIO(content)).resize((shown.width, shown.height))
    return panels(picture, [(torch.tensor(step.boxes), torch.tensor(step.weights)) for step in shown.lgca], size=2.3)


def still_alt(exploration: Exploration, number: int = 0) -> str:
    """The same in words."""
    shown = exploration.pictures[number]
    counts = ", ".join(str(len(step.boxes)) for step in shown.lgca)
    return (
        f"{exploration.classes[shown.label]}, drawn once a step with that step's boxes over it, {counts} of them: "
        "fewer and larger from step to step, the heavier ones brighter"
    )
