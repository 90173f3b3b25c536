"""One look for all pages: colours that colour-blind readers tell apart, figures and data to download, honest labels."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pandas.io.formats.style import Styler

if TYPE_CHECKING:
    from lgca_core.data.manifest import Manifest
    from lgca_core.encoder import Encoder
    from lgca_core.evaluation.record import Dataset, Record

OURS = "LGCA (our reading)"
"""LGCA as figures and tables call it: of its paper only the abstract was at hand."""

NAMES = {
    "clip": "CLIP",
    "clip-e": "CLIP-E",
    "clip-d": "CLIP-D",
    "waffle": "Waffle",
    "cupl": "CuPL",
    "cupl-weighted": "CuPL, weighted sentences",
    "wca": "WCA",
    "wca-released": "WCA, as released",
    "lgca": f"{OURS}, equal crops",
    "lgca-equal": f"{OURS}, equal passes",
    "gc": "GC, our adaptation",
    "bifta": "BiFTA",
    "lazsl": "LaZSL",
    "lazsl-d": "LaZSL, descriptors",
}
"""How pages call the methods of `methods.METHODS`."""

LGCAS = ("lgca", "lgca-equal")

NOT_AVAILABLE = "not available"
"""Stands for a value that nobody published, or nobody ran."""

PROFILES = {"embedded": "embedded world", "full": "real CLIP, real pictures", "own": "your own record"}


def use_style() -> None:
    """Set the book's plotting style: seaborn's colour-blind palette on a light grid, crisp on dense screens."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.95)
    plt.rcParams.update({"figure.dpi": 110, "savefig.bbox": "tight", "axes.titlesize": "medium"})


def subplots(*grid: int, **settings: Any) -> tuple[Figure, Any]:
    """A figure that only its caller shows: a notebook would draw one that pyplot still holds a second time."""
    figure, axes = plt.subplots(*grid, **settings)
    plt.close(figure)
    return figure, axes


def name(method: str) -> str:
    """A method's name on a page; its settings, if the method carries some, follow: "LGCA, equal passes; steps=1"."""
    base, *settings = method.split(":")
    return "; ".join([NAMES.get(base, base), *settings])


def minus(number: str) -> str:
    """A number as text, with a true minus sign."""
    return number.replace("-", "−")


def signed(share: float) -> str:
    """A difference of shares in points, with a true minus sign; what rounds to zero has none."""
    text = minus(f"{100 * share:+.1f}")
    return "0.0" if text in ("+0.0", "−0.0") else text


def with_sign(value: float, digits: int) -> str:
    """A number with its sign, a true minus; what rounds to zero has none."""
    text = minus(f"{value:+.{digits}f}")
    return text if round(value, digits) else text[1:]


def gain(row: pd.Series) -> str:
    """A row's `difference` in points with its 95 % interval: "+1.2 (−0.3 to +2.7)"."""
    low, high = signed(row["difference_low"]), signed(row["difference_high"])
    return f"{signed(row['difference'])} ({low} to {high})"


def over_classes(row: pd.Series) -> str:
    """The 95 % interval of a row's difference with the classes drawn too, in points; a dash where it is not known."""
    low, high = row["classes_low"], row["classes_high"]
    return "–" if math.isnan(low) else f"{signed(low)} to {signed(high)}"


def p_value(p: float) -> str:
    """A p value as tables show it; a dash where there is no comparison."""
    return "–" if math.isnan(p) else ("< 0.001" if p < 0.001 else f"{p:.3f}")


def bold(column: pd.Series, where: NDArray[np.bool_]) -> list[str]:
    """For `Styler.apply`: which cells of a column are bold."""
    return ["font-weight: 700" if marked else "" for marked in where]


def simple_table(
    table: pd.DataFrame, caption: str, formats: Mapping[str, str] | None = None, *, compact: bool = False
) -> Styler:
    """A tidy frame as a page's table, without its index; `compact` where there are many columns."""
    return (
        table.style.set_table_attributes(f'class="dataframe{" compact" if compact else ""}"')
        .hide(axis="index")
        .format(dict(formats or {}))
        .set_caption(caption)
    )


def plate(figure: Figure, title: str, alt: str, data: pd.DataFrame | None = None, *, pixels: bool = False) -> HTML:
    """A figure as a page shows it, with itself as SVG and its data as CSV to download.

    Args:
        title: what the downloaded files are called, such as "figure3".
        alt: the figure in words, for those who do not see it.
        data: what is drawn, in tidy form.
        pixels: shown as WebP, for pictures; curves are shown as SVG.
    """
    vector = _rendered(figure, "svg", metadata={"Date": None}, dpi=72)  # of pictures in it
    shown = _data_uri("image/webp", _pixels(figure)) if pixels else _data_uri("image/svg+xml", vector)
    files = {"svg": _data_uri("image/svg+xml", vector)}
    if data is not None:
        files["csv"] = _data_uri("text/csv", data.to_csv(index=False, float_format="%.6g").encode())
    links = " ".join(
        f'<a download="{html.escape(title)}.{kind}" href="{uri}">{kind.upper()}</a>' for kind, uri in files.items()
    )
    width = round(figure.get_figwidth() * 100)
    return HTML(
        f'<figure class="plate"><img src="{shown}" alt="{html.escape(alt)}" style="width: {width}px">'
        f"<figcaption>Download: {links}</figcaption></figure>"
    )


def _rendered(figure: Figure, kind: str, **settings: Any) -> bytes:
    buffer = BytesIO()
    with plt.rc_context({"svg.hashsalt": "lgca"}):  # or its marks are named at random
        figure.savefig(buffer, format=kind, **settings)
    return buffer.getvalue()


def _pixels(figure: Figure) -> bytes:
    return _rendered(figure, "webp", dpi=160, pil_kwargs={"quality": 88, "method": 6})


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def badge(
    profile: str,
    *sources: Record | Manifest | Encoder,
    wanted: str | None = None,
    how: str = "",
) -> HTML:
    """The badge under a page's title: the profile, and the records read or the pictures and encoder used.

    Args:
        sources: of a page that reads records, these; of one that computes, its manifest and its encoder.
        wanted: the profile that the book was built for, where it is another: the page then stands in for one on
            results that are not there.
        how: the command that would make them.
    """
    from lgca_core.evaluation.record import Record

    records: dict[str, list[str]] = {}  # those of one day, commit and encoder are told together
    told = []
    for source in sources:
        if isinstance(source, Record):
            records.setdefault(_made(source), []).append(_pictures(source.dataset, source.dataset.count))
        else:
            told.append(_told(source))
    for made, sets in records.items():
        told.append(f"{made}: {', '.join(dict.fromkeys(sets))}")
    label = f'<span class="profile profile-{profile}">{PROFILES[profile]}</span>'
    said = f'<p class="built">{label} {"; ".join(told)}.</p>'
    if wanted not in (None, profile) and profile != "own":
        said += (
            f'<p class="built instead">There is no record on {PROFILES[str(wanted)]} for this page yet, so it shows '
            f"the {PROFILES[profile]}. To get one: <code>{html.escape(how)}</code></p>"
        )
    return HTML(said)


def _told(source: Manifest | Encoder) -> str:
    from lgca_core.data.manifest import Manifest

    if isinstance(source, Manifest):
        return _pictures(source, len(source.items))
    return f"encoder <code>{source.name}</code>, {source.precision}, on {source.device.type}"


def _made(record: Record) -> str:
    commit = "outside a checkout" if record.commit is None else f"commit <code>{record.commit[:10]}</code>"
    changed = ", with changes not yet committed" if record.dirty else ""
    encoder = f"encoder <code>{record.encoder.name}</code>, {record.encoder.precision}"
    return f"evaluated {record.utc:%Y-%m-%d} ({commit}{changed}) with {encoder}"


def _pictures(of: Manifest | Dataset, count: int) -> str:
    return f"<code>{of.name}</code>, {count:,} pictures in {len(of.classes):,} classes"
