"""The user's own prompt files: JSON of class names and their sentences, and lists of templates."""

import json
from collections.abc import Sequence
from pathlib import Path

from lgca_core.errors import LgcaError
from lgca_core.prompts.names import listed, match, nearest


def read_descriptions(path: Path | str, classes: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Sentences of every class from a JSON file ``{"class name": ["sentence", ...], ...}``.

    Looked up by name, never by position: first as written, then as :func:`fold` compares (a folder ``red_finch``
    finds ``Red finch``). Sentences keep their order, and are trimmed.

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
    table = _read_table(path)
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


def _read_table(path: Path) -> dict[str, object]:
    table = _read_json(path, _FORM)
    if not isinstance(table, dict):
        raise LgcaError(f"{path} holds a JSON {type(table).__name__}, not an object of the form {_FORM}")
    return table


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


_FORM = '{"class name": ["sentence", ...]}'


def _sentences(path: Path, key: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(sentence, str) for sentence in value):
        raise LgcaError(f"{path}: {key!r} must map to a list of sentences, as in {_FORM}")
    sentences = [sentence.strip() for sentence in value if sentence.strip()]
    if not sentences:
        raise LgcaError(f"{path}: the class {key!r} has no descriptions: write at least one sentence")
    return sentences
