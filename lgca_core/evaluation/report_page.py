"""A report as one page of HTML that needs nothing else, or as Markdown. All it is given is text, whatever it holds."""

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO

import pandas as pd
from PIL import Image

from lgca_core.evaluation.report import MOST_CLASSES, HardPicture, RecordReport

SIDE = 360
"""Longest side of a picture on the page, in pixels."""

STYLE = """
:root{color-scheme:light dark;--paper:#fdfdfb;--ink:#1c1c1a;--soft:#6a6963;--line:#dddbd3;--panel:#f4f3ee;
--good:#1f7a5c;--bad:#b5472f;--mark:#f2b134}
@media(prefers-color-scheme:dark){:root{--paper:#161715;--ink:#e8e6df;--soft:#a09e95;--line:#34352f;--panel:#1f201d;
--good:#55b892;--bad:#e0795f;--mark:#f2b134}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:74rem;padding:1.5rem clamp(1rem,4vw,3rem) 4rem;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0}h2{font-size:1.2rem;margin:2.6rem 0 .6rem}
h1,h2,p,figcaption,dd{overflow-wrap:anywhere}td,th{overflow-wrap:break-word}
p{max-width:46rem}.soft,figcaption{color:var(--soft);font-size:.9rem}
.scroll{overflow:auto;max-height:32rem;border:1px solid var(--line);border-radius:6px}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .7rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
td:not(.n){min-width:6.5rem;max-width:22rem}
tr:last-child td{border-bottom:0}th{position:sticky;top:0;background:var(--panel);font-weight:600;vertical-align:bottom}
.n{text-align:right;white-space:nowrap}.best td{font-weight:600}
.bar{display:inline-block;width:5rem;height:.55rem;background:var(--line);border-radius:3px;margin-right:.5rem}
.bar i{display:block;height:100%;background:var(--good);border-radius:3px}
figure{margin:1rem 0}figure.scroll{max-height:none;padding:.6rem}svg{max-width:100%;height:auto;display:block}
svg text{fill:var(--ink);font:11px system-ui,sans-serif}
.axis{stroke:var(--line)}.even{stroke:var(--soft);stroke-dasharray:4 4}.hit{fill:var(--good)}.miss{fill:var(--bad)}
.floor{fill:var(--panel)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,15rem),1fr));gap:1.2rem;align-items:start}
.grid figure{margin:0;border:1px solid var(--line);border-radius:6px;overflow:hidden;background:var(--panel)}
.grid figcaption{padding:.6rem .8rem;color:var(--ink)}.shot{position:relative;line-height:0}
.shot img{width:100%;height:auto}.shot svg{position:absolute;inset:0;width:100%;height:100%}
.shot rect{fill:none;stroke:var(--mark);stroke-opacity:.55;vector-effect:non-scaling-stroke}
dl{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.25rem 1rem;font-size:.9rem}
dt{color:var(--soft)}
dd{margin:0}@media(max-width:34rem){dl{grid-template-columns:1fr}dd{margin-bottom:.5rem}th,td{padding:.35rem .5rem}
.bar{display:none}table{font-size:.84rem}th.n{white-space:normal}}
"""


def to_html(report: RecordReport) -> str:
    """One page, with its pictures inside; it loads nothing and runs nothing."""
    dataset, record = report.record.dataset, report.record
    read = dataset.count - len(record.skipped)
    title = f"{dataset.name}: {report.method}"
    numbers = [heading for heading in report.table[0] if heading != "method"]
    best = max(report.table, key=lambda row: float(row["top-1 %"]))
    parts = [
        f"<h1>{_text(dataset.name)}</h1>",
        f"<p>{read} pictures of {len(dataset.classes)} classes, {_text(record.encoder.name)} on "
        f"{_text(record.device)}, {record.utc:%Y-%m-%d %H:%M} UTC. "
        f"Below the first table: <b>{_text(report.method)}</b>.</p>",
        *(f'<p class="soft">{_text(note)}</p>' for note in report.notes),
        "<h2>Methods</h2>",
        _table(report.table, numbers, [row is best for row in report.table]),
        '<p class="soft">Intervals are 95 % bootstrap intervals over pictures. Balanced: the mean of the classes’ '
        "accuracies.</p>",
        "<h2>Classes</h2>",
        _classes(report.classes),
        "<h2>What is taken for what</h2>",
        *_confusions(report),
        *_calibration(report),
        "<h2>The hardest pictures</h2>",
        _gallery(report.pictures) if report.pictures else "<p>Every picture is right in every seed.</p>",
        *_skipped(report),
        "<h2>What ran</h2>",
        "<dl>" + "".join(f"<dt>{_text(name)}</dt><dd>{_text(said)}</dd>" for name, said in report.facts.items()),
        "</dl>",
    ]
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title, isolated=False)}</title>\n<style>{STYLE}</style></head>\n<body>\n"
    )
    return head + "\n".join(parts) + "\n</body></html>\n"


def _text(value: object, *, isolated: bool = True) -> str:
    """Text of HTML: nothing in it is markup, is unseen, or turns what stands beside it about."""
    said = html.escape(visible(str(value)))
    return f"<bdi>{said}</bdi>" if isolated and not said.isascii() else said


def visible(text: str) -> str:
    """Characters that are not shown, of control or direction, and halves of pairs, as escapes."""
    joiners = "\u200c\u200d"  # parts of words in some scripts, and of emoji
    return "".join(c if c.isprintable() or c in joiners else c.encode("unicode_escape").decode("ascii") for c in text)


def _table(rows: Sequence[Mapping[str, str]], numbers: Iterable[str], best: Sequence[bool]) -> str:
    right = set(numbers)

    def row(cells: Mapping[str, str], tag: str) -> str:
        attribute = {True: ' class="n"', False: ""}
        return "".join(f"<{tag}{attribute[name in right]}>{_text(cell)}</{tag}>" for name, cell in cells.items())

    head = row({name: name for name in rows[0]}, "th")
    body = "".join(f"<tr{' class=best' if of else ''}>{row(cells, 'td')}</tr>" for cells, of in zip(rows, best))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _classes(classes: pd.DataFrame) -> str:
    rows = []
    for row in classes.itertuples():
        bar = f'<span class="bar"><i style="width:{100 * row.accuracy:.1f}%"></i></span>'
        taken = f"{_text(row.taken_for)} {100 * row.taken_for_share:.0f} %" if row.taken_for is not None else ""
        rows.append(
            f'<tr><td>{_text(row.label_name)}</td><td class="n">{row.pictures}</td>'
            f'<td class="n">{bar}{100 * row.accuracy:.1f}</td><td>{taken}</td></tr>'
        )
    head = '<th>class</th><th class="n">pictures</th><th class="n">accuracy %</th><th>mostly taken for</th>'
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _confusions(report: RecordReport) -> list[str]:
    if report.pairs.empty:
        return ["<p>No class is taken for another.</p>"]
    drawn = [] if report.confusion is None else [_heat(report)]
    told = [
        {
            "class": row.label_name,
            "taken for": row.prediction_name,
            "pictures": f"{row.times:g}",
            "% of the class": f"{100 * row.share:.1f}",
        }
        for row in report.pairs.itertuples()
    ]
    many = f" Of more than {MOST_CLASSES} classes the whole matrix is not drawn." if report.confusion is None else ""
    note = f'<p class="soft">The most frequent pairs; pictures are a mean over seeds.{many}</p>'
    return [*drawn, note, _table(told, ["pictures", "% of the class"], [False] * len(told))]


def _heat(report: RecordReport) -> str:
    """The confusion as squares: rows are classes, columns what they are taken for."""
    assert report.confusion is not None
    names, n = report.record.dataset.classes, len(report.confusion)
    cell, left = max(14, min(34, 560 // n)), 150
    squares, labels = [], []
    for r in range(n):
        y = r * cell
        labels.append(f'<text x="{left - 6}" y="{y + cell / 2 + 4}" text-anchor="end">{_short(names[r])}</text>')
        x = left + (r + 0.5) * cell
        labels.append(f'<text transform="translate({x + 4} {n * cell + 8}) rotate(60)">{_short(names[r])}</text>')
        for c in range(n):
            share = report.confusion[r, c]
            if share > 0:
                said = f"{visible(names[r])} → {visible(names[c])}: {100 * share:.1f} %"
                squares.append(
                    f'<rect class="{"hit" if r == c else "miss"}" x="{left + c * cell}" y="{y}" width="{cell - 1}" '
                    f'height="{cell - 1}" fill-opacity="{0.12 + 0.88 * share:.3f}">'
                    f"<title>{html.escape(said)}</title></rect>"
                )
    frame = f'<rect x="{left}" y="0" width="{n * cell}" height="{n * cell}" class="floor"/>'
    width, height = left + n * cell + 90, n * cell + 140
    return (
        '<figure class="scroll">'
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'style="min-width:{min(width, 520)}px" aria-label="confusion">{frame}{"".join(squares)}{"".join(labels)}</svg>'
        "</figure><p class='soft'>Rows: the class; columns: what it was taken for. Green is right.</p>"
    )


def _short(name: str) -> str:
    return html.escape(visible(name if len(name) <= 22 else name[:21] + "…"))


def _calibration(report: RecordReport) -> list[str]:
    if report.reliability.empty:
        why = "the encoder does not say by what its scores are scaled, or the record is of before that was kept"
        return ["<h2>Calibration</h2>", f"<p>Not available: {why}.</p>"]
    side, left, base = 300, 46, 310
    bars, most = [], report.reliability["count"].max()
    for row in report.reliability.itertuples():
        x, width, high = left + row.low * side, (row.high - row.low) * side, row.accuracy * side
        said = f"{row.count} answers of probability {row.probability:.3f}: {100 * row.accuracy:.1f} % right"
        bars.append(
            f'<rect class="hit" x="{x:.1f}" y="{base - high:.1f}" width="{width - 1:.1f}" height="{high:.1f}" '
            f'fill-opacity="{0.35 + 0.65 * row.count / most:.2f}"><title>{said}</title></rect>'
        )
    ticks = "".join(
        f'<text x="{left + t * side}" y="{base + 16}" text-anchor="middle">{t:g}</text>'
        f'<text x="{left - 8}" y="{base - t * side + 4}" text-anchor="end">{t:g}</text>'
        for t in (0, 0.5, 1)
    )
    chart = (
        f'<figure><svg viewBox="0 0 370 350" width="370" role="img" aria-label="calibration">{"".join(bars)}'
        f'<path class="axis" fill="none" d="M{left} 10V{base}H{left + side}"/>'
        f'<path class="even" fill="none" d="M{left} {base}L{left + side} 10"/>{ticks}'
        f'<text x="{left + side / 2}" y="{base + 34}" text-anchor="middle">probability</text>'
        f'<text transform="translate(12 {base - side / 2}) rotate(-90)" text-anchor="middle">right</text></svg>'
        "<figcaption>How often answers of a probability are right; on the broken line they would be as often as they "
        "say. Faint bars hold few answers.</figcaption></figure>"
    )
    return ["<h2>Calibration</h2>", chart]


def _gallery(pictures: Sequence[HardPicture]) -> str:
    return f'<div class="grid">{"".join(map(_shot, pictures))}</div>'


def _shot(picture: HardPicture) -> str:
    said = (
        f"<b>{_text(picture.label)}</b>, taken for <b>{_text(picture.prediction)}</b>"
        f"{f' in {100 * picture.wrong:.0f} % of the seeds' if picture.wrong < 1 else ''}"
        f'<br><span class="soft">{_text(picture.path)}</span>'
    )
    if picture.missing:
        said += f'<br><span class="soft">not drawn: {_text(picture.missing)}</span>'
    if picture.image is None:
        return f"<figure><figcaption>{said}</figcaption></figure>"
    width, height = picture.image.size
    rects = "".join(f'<rect x="{x}" y="{y}" width="{w}" height="{h}"/>' for y, x, h, w in picture.boxes)
    return (
        f'<figure><div class="shot"><img src="{_data(picture.image)}" alt="{html.escape(visible(picture.label))}">'
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">{rects}</svg></div>'
        f"<figcaption>{said}</figcaption></figure>"
    )


def _data(image: Image.Image) -> str:
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    stream = BytesIO()
    small.save(stream, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _skipped(report: RecordReport) -> list[str]:
    if not (skipped := report.record.skipped):
        return []
    rows = [{"picture": of.path, "why it was skipped": of.reason} for of in skipped]
    return ["<h2>Skipped</h2>", _table(rows, [], [False] * len(rows))]


# ---- Markdown ----------------------------------------------------------------------------------------------


def to_markdown(report: RecordReport) -> str:
    """The same in Markdown: tables alone, since not every reader of it shows pictures that are inside."""
    record, dataset = report.record, report.record.dataset
    read = dataset.count - len(record.skipped)
    classes = [
        {
            "class": row.label_name,
            "pictures": str(row.pictures),
            "accuracy %": f"{100 * row.accuracy:.1f}",
            "mostly taken for": row.taken_for or "",
        }
        for row in report.classes.itertuples()
    ]
    pairs = [
        {"class": row.label_name, "taken for": row.prediction_name, "pictures": f"{row.times:g}"}
        for row in report.pairs.itertuples()
    ]
    bins = [
        {
            "probability": f"{row.low:.3f} to {row.high:.3f}",
            "answers": str(row.count),
            "mean probability": f"{row.probability:.3f}",
            "right %": f"{100 * row.accuracy:.1f}",
        }
        for row in report.reliability.itertuples()
    ]
    pictures = [{"picture": of.path, "class": of.label, "taken for": of.prediction} for of in report.pictures]
    skipped = [{"picture": of.path, "why it was skipped": of.reason} for of in record.skipped]
    parts = [
        f"# {as_markdown(dataset.name)}",
        f"{read} pictures of {len(dataset.classes)} classes, {as_markdown(record.encoder.name)} on "
        f"{as_markdown(record.device)}. Below the first table: {as_markdown(report.method)}.",
        *_section("Methods", report.table),
        *_section("Classes", classes),
        *_section("What is taken for what", pairs, "No class is taken for another."),
        *_section("Calibration", bins, "Not available: there are no probabilities."),
        *_section("The hardest pictures", pictures, "Every picture is right in every seed."),
        *(_section("Skipped", skipped) if skipped else []),
        *_section("What ran", [{"of the record": name, "": said} for name, said in report.facts.items()]),
    ]
    return "\n\n".join(parts) + "\n"


def _section(title: str, rows: Sequence[Mapping[str, str]], nothing: str = "None.") -> list[str]:
    return [f"## {title}", markdown_table(rows) if rows else nothing]


def markdown_table(rows: Sequence[Mapping[str, str]], right: Iterable[str] = ()) -> str:
    """Rows that share their keys, which are the headings; those in `right` are over numbers. Cells are text."""
    rule = ["---:" if heading in set(right) else "---" for heading in rows[0]]
    lines = [map(as_markdown, rows[0]), rule, *(map(as_markdown, row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_markdown(value: object) -> str:
    """Text of Markdown, in a table or out of one."""
    return re.sub(r"([\\`*_\[\]|#~$!])", r"\\\1", html.escape(visible(str(value)), quote=False))
