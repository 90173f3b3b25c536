"""JSON as chat models write it: with comments, trailing or missing commas, curly or single quotes, or broken off."""

import re
from typing import NamedTuple

CLOSING = {'"': '"', "'": "'", "“": '”“"', "„": '“”"', "‘": "’'", "’": "’'", "«": "»"}
DEPTH = 40  # of lists and objects within each other

_BEGINS = re.compile(r"""[\[{](?=\s*(?://|/\*|\#|[\[{"“„‘«\]}]|'|[\w-]+["']?\s*:|\.\.\.|…|$))""", re.MULTILINE)
_BLANK = re.compile(r"(?:\s|//[^\n]*|\#[^\n]*|/\*.*?\*/|\.\.\.|…)*", re.DOTALL)
_AFTER = re.compile(r"[^\S\n]*(?:[,:;=\]}\n]|//|/\*|\#|$)")
_KEY = re.compile(r"[^\W\d][\w -]*?(?=\s*:)")
_SCALAR = re.compile(r"-?\d[\d.eE+-]*|true|false|null|True|False|None")


class Text(str):
    """A string, and the number of characters before it in the text that it was read from."""

    at: int

    def __new__(cls, value: str, at: int) -> "Text":
        made = super().__new__(cls, value)
        made.at = at
        return made


class Found(NamedTuple):
    """A value (str, None for what is no text, list, or list of pairs for an object), and where in the text it lies."""

    value: object
    start: int
    end: int
    cut: bool  # whether the text ends before the value does


class Pairs(list[tuple[Text, object]]):
    """An object: its keys, which may occur twice, and values."""


def find_json(text: str, start: int = 0) -> Found | None:
    """The first list or object in a text from a position on, or None."""
    for begin in _BEGINS.finditer(text, start):
        reader = _Reader(text, begin.start())
        try:
            value = reader.value(0)
        except _NotJson:
            continue
        if not reader.cut or _says(value):
            return Found(value, begin.start(), reader.at, reader.cut)
    return None


def _says(value: object) -> bool:
    """Whether there is a text in a value, or an object's key."""
    return isinstance(value, Text) or (isinstance(value, list) and any(map(_says, value))) or isinstance(value, Pairs)


class _NotJson(Exception):
    pass


class _Reader:
    def __init__(self, text: str, at: int) -> None:
        self.text, self.at, self.cut = text, at, False

    def next(self) -> str:
        """The next character that is neither blank nor comment; empty at the end."""
        blank = _BLANK.match(self.text, self.at)
        assert blank is not None
        self.at = blank.end()
        return self.text[self.at : self.at + 1]

    def value(self, depth: int) -> object:
        sign = self.next()
        if depth > DEPTH:
            raise _NotJson
        if sign == "{":
            return self.members(depth)
        if sign == "[":
            return self.elements(depth)
        if sign in CLOSING:
            return self.string()
        if scalar := _SCALAR.match(self.text, self.at):
            self.at = scalar.end()
            return None
        if sign == "":
            self.cut = True
            return None
        raise _NotJson

    def ends(self, sign: str) -> bool:
        """Whether a list or object ends here, after the commas that stand before its end; so it does with the text."""
        while (found := self.next()) in (",", ";") and found:
            self.at += 1
        if found == sign:
            self.at += 1
        elif not found:
            self.cut = True
        return found in (sign, "")

    def elements(self, depth: int) -> list[object]:
        self.at += 1
        values = []
        while not self.ends("]"):
            values.append(self.value(depth + 1))
        return values

    def members(self, depth: int) -> Pairs:
        self.at += 1
        pairs = Pairs()
        while not self.ends("}"):
            bare = _KEY.match(self.text, self.at)
            if self.next() in CLOSING:
                key = self.string()
            elif bare:
                key, self.at = Text(bare.group(), bare.start()), bare.end()
            else:
                raise _NotJson
            if key is None or not self.next():
                self.cut = True
                break
            if self.next() not in (":", "="):
                raise _NotJson
            self.at += 1
            pairs.append((key, self.value(depth + 1)))
        return pairs

    def string(self) -> Text | None:
        """A string; a quote within it that neither punctuation nor a line's end follows belongs to it. None if cut."""
        begin, closing = self.at, CLOSING[self.text[self.at]]
        at = begin + 1
        while at < len(self.text):
            sign = self.text[at]
            if sign == "\\":
                at += 2
                continue
            if sign in closing and _AFTER.match(self.text, at + 1):
                self.at = at + 1
                return Text(_unescaped(self.text[begin + 1 : at]), begin)
            at += 1
        self.at, self.cut = len(self.text), True
        return None


def _unescaped(raw: str) -> str:
    """With JSON's escapes resolved, and others, such as a quote's, left out."""

    def sign(match: re.Match[str]) -> str:
        kind, code = match[1], match[2]
        return chr(int(code, 16)) if code else {"n": " ", "t": " ", "r": " ", "b": "", "f": ""}.get(kind, kind)

    text = re.sub(r"\\(u([0-9a-fA-F]{4})|.)", sign, raw, flags=re.DOTALL)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # pairs of surrogates joined
