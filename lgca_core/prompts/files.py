"""The user's own prompt files: JSON of class names and their sentences, and lists of templates."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lgca_core.errors import LgcaError
from lgca_core.files import write_whole
from lgca_core.prompts.names import listed, match, nearest

ABOUT = "_about"
"""The key under which a file says where its sentences come from. No class can have this name; readers pass it over."""


def check_names(classes: Sequence[str]) -> None:
    """Raise LgcaError where there is no class, one has no name or the reserved one, or one is given twice."""
    if not classes:
        raise LgcaError("there are no classes: name at least one")
    for name in classes:
        if not name.strip() or name == ABOUT:
            raise LgcaError(f"a class cannot be called {name!r}, {'a blank' if name != ABOUT else _KEPT}: rename it")
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if list(classes).count(name) > 1)
        raise LgcaError(f"the class {twice!r} is given twice: name it once")


def read_descriptions(path: Path | str, classes: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Sentences of every class from a JSON file ``{"class name": ["sentence", ...], ...}``.

    Looked up by name, never by position: first as written, then as :func:`fold` compares (a folder ``red_finch``
    finds ``Red finch``). Sentences keep their order, and are trimmed. :data:`ABOUT` is no class.

    Args:
        classes: names in the data set's order; a name that occurs twice shares its sentences. None takes
            every class of the file, in its order.

    Returns:
        Class name, as in `classes` -> its sentences, in that order.

    Raises:
        LgcaError: the file is missing, no UTF-8, no JSON or of another shape; a name occurs twice; a class
            has no sentences; the file describes classes that are not asked for (the nearest name is
            suggested).
    """
    path = Path(path)
    table, _ = _read_table(path)
    if classes is not None and ABOUT in classes:
        check_names([ABOUT])
    classes = list(table) if classes is None else classes
    if not classes:
        raise LgcaError(f"{path} describes no class: it must have the form {_FORM}")
    found = match(classes, table, str(path))
    asked = set(found.values())
    if unknown := [entry for entry in table if entry not in asked]:
        raise LgcaError(
            f"{path} describes {listed(unknown)}, which the data set does not have"
            f"{nearest(unknown[0], found)}: remove or rename"
        )
    return {name: _sentences(path, entry, table[entry]) for name, entry in found.items()}


def read_templates(path: Path | str) -> list[str]:
    """Templates from a JSON file ``["a photo of a {}.", ...]``; :func:`templates` checks each.

    Raises:
        LgcaError: the file is missing, no JSON, or of another shape.
    """
    path = Path(path)
    found = _read_json(path, '["a photo of a {}.", ...]')
    if not isinstance(found, list) or not found or not all(isinstance(template, str) for template in found):
        raise LgcaError(f'{path} does not hold templates: it must have the form ["a photo of a {{}}.", ...]')
    return found


def read_own(path: Path) -> tuple[dict[str, list[str]], dict[str, object]]:
    """The sentences of a file that may be short of some, and what it says of itself; both empty where it is not there.

    Raises:
        LgcaError: as :func:`read_descriptions`, but a class may have no sentences.
    """
    if not path.exists():
        return {}, {}
    table, about = _read_table(path)
    return {name: _sentences(path, name, value, least=0) for name, value in table.items()}, about


def write_own(path: Path, table: Mapping[str, Sequence[str]], about: Mapping[str, object]) -> None:
    """Write what :func:`read_descriptions` reads, all or nothing. Raises LgcaError where that fails."""
    whole = {ABOUT: dict(about)} | {name: list(sentences) for name, sentences in table.items()}
    try:
        write_whole(path, (json.dumps(whole, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise LgcaError(f"{path} cannot be written ({error.strerror}): name another file") from error


def _read_table(path: Path) -> tuple[dict[str, object], dict[str, object]]:
    table = _read_json(path, _FORM)
    if not isinstance(table, dict):
        raise LgcaError(f"{path} holds a JSON {type(table).__name__}, not an object of the form {_FORM}")
    about = table.pop(ABOUT, {})
    if not isinstance(about, dict):
        raise LgcaError(f"{path}: a class cannot be called {ABOUT!r}, {_KEPT}: rename it")
    return table, about


def _read_json(path: Path, form: str) -> object:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        table = dict(pairs)
        if len(table) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in table if keys.count(key) > 1)
            raise LgcaError(f"{path}: {twice!r} occurs twice: merge the two")
        return table

    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=unique)
    except FileNotFoundError:
        raise LgcaError(f"{path} does not exist: give a JSON file of the form {form}") from None
    except OSError as error:
        raise LgcaError(f"{path} cannot be read ({error.strerror}): give a JSON file of the form {form}") from error
    except UnicodeDecodeError as error:
        raise LgcaError(f"{path} is not UTF-8 text: save it as JSON of the form {form}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        where = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else "nested too deep"
        raise LgcaError(f"{path} is not JSON ({where}): it must have the form {form}") from error


_KEPT = "the key under which a file says where its sentences come from"
_FORM = '{"class name": ["sentence", ...]}'


def _sentences(path: Path, key: str, value: object, *, least: int = 1) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(sentence, str) for sentence in value):
        raise LgcaError(f"{path}: {key!r} must map to a list of sentences, as in {_FORM}")
    sentences = [sentence.strip() for sentence in value if sentence.strip()]
    if len(sentences) < least:
        raise LgcaError(f"{path}: the class {key!r} has no descriptions: write at least one sentence")
    return sentences
