"""How class names are read out, compared where spelling differs, and suggested where one is not found."""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence

from lgca_core.errors import LgcaError


def wordify(name: str) -> str:
    """A class name as it is read out: underscores become spaces."""
    return " ".join(name.replace("_", " ").split())


def fold(name: str) -> str:
    """A name without case, underscores, hyphens and runs of spaces: how names are compared where spelling differs.

    Letters that Unicode writes in one piece or in several, as file systems do, are the same. Otherwise as lenient as
    published files force, no more: Food-101 has the folder ``apple_pie`` and sentences of ``apple pie``, CUB the folder
    ``Black_footed_Albatross`` and sentences of ``Black-footed Albatross``, torchvision's Pets the class
    ``American Bulldog`` and descriptors of ``american bulldog``.
    """
    return unicodedata.normalize("NFC", wordify(name.replace("-", " ")).casefold())


def match(names: Iterable[str], table: Iterable[str], where: str, what: str = "descriptions") -> dict[str, str]:
    """Look every class name up among the entries of a table: as written, else by :func:`fold`.

    Args:
        names: one that occurs twice is looked up once.
        where, what: the file and what it holds, for the sentence that says what is wrong.

    Returns:
        Class name -> name in the table, in the order of the classes.

    Raises:
        LgcaError: a class finds nothing (the nearest entry that nobody asked for is suggested), or several entries; two
            names find the same one, so that they could not be told apart.
    """
    table = list(dict.fromkeys(table))
    loose: dict[str, list[str]] = {}
    for entry in table:
        loose.setdefault(fold(entry), []).append(entry)
    entries = set(table)
    candidates = {name: [name] if name in entries else loose.get(fold(name), []) for name in names}
    for name, several in candidates.items():
        if len(several) > 1:
            raise LgcaError(f"{where}: {listed(several)} could all mean the class {name!r}: keep one of them")
    if missing := [name for name, found in candidates.items() if not found]:
        asked = {entry for found in candidates.values() for entry in found}
        hint = nearest(missing[0], [entry for entry in table if entry not in asked] or table)
        raise LgcaError(f"{where} has no {what} for {listed(missing)}{hint}")
    by_entry: dict[str, str] = {}
    for name, [entry] in candidates.items():
        if (other := by_entry.setdefault(entry, name)) != name:
            raise LgcaError(
                f"{where}: the classes {other!r} and {name!r} cannot be told apart, both find the entry {entry!r}: "
                "rename one, or give each its own entry"
            )
    return {name: entry for name, [entry] in candidates.items()}


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names for a sentence: the first few, quoted, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def nearest(name: str, names: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` where something is near, else nothing."""
    by_fold = {fold(other): other for other in names}
    close = difflib.get_close_matches(fold(name), by_fold, n=1, cutoff=0.75)
    return f" (did you mean {by_fold[close[0]]!r}?)" if close else ""
