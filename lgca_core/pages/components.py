"""The ablation: what each component of a method is worth, and each of our own choices."""

from __future__ import annotations

import pandas as pd
from pandas.io.formats.style import Styler

from lgca_core.ablation import SETTINGS
from lgca_core.pages.base import bold, gain, name, p_value, simple_table
from lgca_core.pages.differences import sentences


def labelled(parts: pd.DataFrame) -> pd.DataFrame:
    """`ablation.parts` as figures and sentences take it: its comparisons, with names for people."""
    rows = parts[parts["method"] != parts["full"]]
    label = [f"{row.component}, {row.change}" for row in rows.itertuples()]
    return rows.assign(full=rows["full"].map(name), label=label).reset_index(drop=True)


def parts_table(parts: pd.DataFrame, full: str, caption: str) -> Styler:
    """The rows of `ablation.parts` that belong to one full method; the best and those tied with it in bold."""
    rows = parts[parts["full"] == full].reset_index(drop=True)
    own = rows["method"] == full
    shown = _against(rows)
    shown.insert(0, "component", rows["component"].mask(own, f"{name(full)}: the full method"))
    shown.insert(1, "change", rows["change"].mask(own, "–"))
    return simple_table(shown, caption).apply(bold, where=rows["tied"].to_numpy(), subset=["top-1, %"])


def choices_table(choices: pd.DataFrame, caption: str) -> Styler:
    """`ablation.choices`: a row a value that we might have chosen; the first of a setting can be linked to."""
    first = ~choices["component"].duplicated()
    question = [
        f'<span id="{anchor(row.component)}">{SETTINGS[row.component]}</span>' if once else SETTINGS[row.component]
        for row, once in zip(choices.itertuples(), first)
    ]
    setting = [f"<code>{component}</code>: {change}" for component, change in choices[["component", "change"]].values]
    shown = _against(choices)
    shown.insert(0, "question", question)
    shown.insert(1, "setting", setting)
    return simple_table(shown, caption)


def anchor(setting: str) -> str:
    """Where :func:`choices_table` has the first row of a setting: "choice-whole-image"."""
    return f"choice-{setting.replace('_', '-')}"


def verdict(parts: pd.DataFrame) -> str:
    """Which components matter, a paragraph of Markdown a full method, whichever way it came out."""
    rows = labelled(parts)
    top1 = parts.loc[parts["method"] == parts["full"]].set_index("full")["top1"]
    return "\n\n".join(
        f"**{name(full)}**, {100 * share:.1f}&nbsp;% in full. {sentences(rows[rows['full'] == name(full)], 'label')}"
        for full, share in top1.items()
    )


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
