"""The ablation: what each component of a method is worth, and each of our own choices."""

from __future__ import annotations

import pandas as pd
from pandas.io.formats.style import Styler

from lgca_book.pages.differences import outcomes
from lgca_book.studies.ablation import SETTINGS
from lgca_book.style import bold, gain, name, p_value, simple_table


def changed(parts: pd.DataFrame) -> pd.DataFrame:
    """The comparisons of `ablation.parts`, as figures and sentences take them: ``full`` by its name on a page."""
    rows = parts[parts["method"] != parts["full"]]
    return rows.assign(full=rows["full"].map(name)).reset_index(drop=True)


def parts_table(parts: pd.DataFrame, full: str) -> Styler:
    """The rows of `ablation.parts` that belong to one full method; the best and those tied with it in bold."""
    rows = parts[parts["full"] == full].reset_index(drop=True)
    shown = _against(rows)
    shown.insert(0, name(full), rows["change"].mask(rows["method"] == full, "in full"))
    caption = f"{name(full)}: one part changed at a time; differences to it in full"
    return simple_table(shown, caption, compact=True).apply(bold, where=rows["tied"].to_numpy(), subset=["top-1, %"])


def choices_table(choices: pd.DataFrame, caption: str) -> Styler:
    """`ablation.choices`: a row a value that we might have chosen; the first of a setting can be linked to."""
    first = ~choices["component"].duplicated()
    asked = [
        f'<span id="{anchor(row.component)}">{SETTINGS[row.component]}</span>' if once else SETTINGS[row.component]
        for row, once in zip(choices.itertuples(), first)
    ]
    chosen = [
        f"{question}<br><code>{component}</code>: {change}"
        for question, (component, change) in zip(asked, choices[["component", "change"]].values)
    ]
    shown = _against(choices)
    shown.insert(0, "choice", chosen)
    return simple_table(shown, caption, compact=True)


def anchor(setting: str) -> str:
    """Where :func:`choices_table` has the first row of a setting: "choice-whole-image"."""
    return f"choice-{setting.replace('_', '-')}"


def verdict(parts: pd.DataFrame) -> str:
    """Which components matter, a list in Markdown a full method, whichever way it came out."""
    rows = changed(parts)
    top1 = parts.loc[parts["method"] == parts["full"]].set_index("full")["top1"]
    return "\n\n".join(
        f"**{name(full)}**, {100 * share:.1f}&nbsp;% in full:\n\n"
        + outcomes(rows[rows["full"] == name(full)], "change", numbers=False)
        for full, share in top1.items()
    )


def choices_verdict(choices: pd.DataFrame) -> str:
    """Which of our choices matter, a list in Markdown, whichever way it came out."""
    label = [f"`{component}` {change}" for component, change in choices[["component", "change"]].values]
    return outcomes(choices.assign(label=label), "label", numbers=False)


def _against(rows: pd.DataFrame) -> pd.DataFrame:
    """The numbers of a table's rows: what each scores, what it costs, and how it differs from its full method."""
    return pd.DataFrame(
        {
            "top-1, %": [f"{100 * share:.1f}" for share in rows["top1"]],
            "difference, points": ["–" if pd.isna(row["difference"]) else gain(row) for _, row in rows.iterrows()],
            "p (Holm)": rows["p_holm"].map(p_value),
            "first crops": ["–" if pd.isna(crops) else str(crops) for crops in rows["crops"]],
            "passes": [f"{passes:.0f}" for passes in rows["passes"]],
            "seeds": rows["seeds"],
        }
    )
