"""A caption's sentences, by their places in it: a rule of ours that knows the usual traps, and the released one."""

import re
from typing import Literal

from lgca_core.errors import LgcaError

Rule = Literal["ours", "released"]

CLOSERS = "\"'”’»)]}"
OPENERS = "\"'“‘«([{"
_END = re.compile(rf"(?P<mark>\.(?: \.)+|[.!?…]+|[。！？]+)(?P<closers>[{re.escape(CLOSERS)}]*)")
_WORD_BEFORE = re.compile(r"[^\W_][\w.&]*$")
_ENTRY = re.compile(r"(\d+|[^\W_])[.)]")
_LINES = re.compile(r"\n\s*")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEVER = _words("mr mrs ms dr prof rev hon gen col capt lt sgt e.g i.e cf vs viz approx ca incl esp")
"""After these a stop never ends a sentence."""
IN_NAMES = _words("St Mt Ft Ave Blvd Rd Inc Ltd Co Corp Jr Sr Dept Jan Feb Aug Sept Oct Nov Dec")
"""After these it does where a word follows that opens sentences, as in ``on Main St. The door``."""
AT_THE_END = _words("etc al a.m p.m")
"""After these it does where no small letter follows."""
BEFORE_NUMBERS = _words("no nos fig figs vol pp p ch sec c est approx ca art")
"""After these it does not where a digit follows, as in ``No. 5``."""
UNITS = _words("m cm mm km ft in yd yds mi kg g lb lbs oz l ml min sec hr hrs sq cu")
"""After a number and one of these it does not where a small letter follows, as in ``3 ft. tall``."""
STARTERS = _words(
    "the a an it its it's this that these those there they their he she his her in on at to from behind above "
    "below beneath under near next beside between around along across over through within with while when "
    "where here as and but also another other each both all some several many most no one two three four five "
    "only to of for"
)
"""Words that open sentences and seldom follow an abbreviation as part of a name."""


def split_sentences(text: str, *, rule: Rule = "ours") -> list[tuple[int, int]]:
    """Places [start, end) of the sentences of a text, in order; ``text[start:end]`` has no outer white space.

    ``rule="ours"``: a sentence ends with ``. ! ? …`` (and the quotes or brackets that close after them) before white
    space, at a blank line, or at a line end before a word that opens sentences; not after an abbreviation or an
    initial, in a number, inside a pair of brackets or double quotes, or after a list's number. Sentences do not overlap
    and every character that is not white space belongs to one.

    ``rule="released"``: GOAL as released: cut at every ``.``, which belongs to none, stripped, empty ones left out.

    Raises LgcaError for another rule.
    """
    if rule == "released":
        pieces = re.finditer(r"[^.]+", text)
        return [place for piece in pieces if (place := _stripped(text, *piece.span())) is not None]
    if rule != "ours":
        raise LgcaError(f'sentences are split by the rule "ours" or "released", not {rule!r}')
    places: list[tuple[int, int]] = []
    start = 0
    for end in [*_ends(text), len(text)]:
        place = _stripped(text, start, end)
        if place is None:
            continue
        said = any(map(str.isalnum, text[start:end]))
        if end < len(text) and (not (said or places) or _ENTRY.fullmatch(text, *place)):
            continue  # only marks so far, or the number of a list's entry: it goes on
        if not said and places:
            place = places.pop()[0], place[1]  # lone marks belong to what is before them
        places.append(place)
        start = end
    return places


def _stripped(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The place without outer white space; None where nothing else is in it."""
    piece = text[start:end]
    if not piece.strip():
        return None
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def _ends(text: str) -> list[int]:
    """Where sentences end, as far as what is around the mark tells."""
    marks = {match.end() for match in _END.finditer(text) if _ends_sentence(text, match)}
    blank = set()
    for line in _LINES.finditer(text):
        if line.group().count("\n") > 1:
            blank.add(line.start())
        elif text[line.end() : line.end() + 1] in set("-*•–") or _next_word(text, line.end()) in STARTERS:
            marks.add(line.start())
    inside = bytearray(len(text) + 1)
    for opened, closed in _pairs(text):
        inside[opened + 1 : closed + 1] = b"1" * (closed - opened)
    return sorted({end for end in marks if not inside[end]} | blank)


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    mark, closers = match["mark"], match["closers"]
    before, after = text[max(0, match.start() - 40) : match.start()], text[match.end() : match.end() + 40]
    if mark[0] in "。！？" or not after:
        return True
    following = after.lstrip().lstrip(OPENERS)[:1]
    if not after[0].isspace():
        # A blank was forgotten, as in "grass.The sky"; else it stands in a number, an address or a name.
        joined = re.match(r"[A-Z][a-z]*\s", after) and re.search(r"[a-z]{2}$", before)
        return (
            bool(joined)
            and not closers
            and _last_word(before).lower() not in NEVER
            and _last_word(before) not in IN_NAMES
        )
    if following.islower() and (closers or mark.startswith(("..", ". .", "…"))):
        return False
    if mark != ".":
        return True
    written, opens = _last_word(before), _next_word(text, match.end()) in STARTERS and following.isupper()
    word = written.lower()
    if word in AT_THE_END:
        return not following.islower()
    if word in NEVER or (following.isdigit() and word in BEFORE_NUMBERS):
        return False
    if written in IN_NAMES or re.fullmatch(r"(\w{1,2}\.)+\w", word):
        return opens
    if len(word) == 1 and before[-1:].isupper():  # an initial, unless it is the letter on a shirt
        return opens
    return not (following.islower() and word in UNITS and re.search(r"\d\s*\w+$", before))


def _last_word(before: str) -> str:
    found = _WORD_BEFORE.search(before)
    return found.group() if found else ""


def _next_word(text: str, at: int) -> str:
    return re.split(r"[^\w'’]", text[at : at + 40].lstrip().lstrip(OPENERS), maxsplit=1)[0].lower().replace("’", "'")


def _pairs(text: str) -> list[tuple[int, int]]:
    """Places of brackets and double quotes that open and close within a paragraph: (opening, closing)."""
    found = []
    for paragraph in re.finditer(r"(?:[^\n]|\n(?![^\S\n]*\n))+", text):
        opened: list[tuple[str, int]] = []
        for mark in re.finditer(r'[()\[\]“”"]', paragraph.group()):
            sign, at = mark.group(), paragraph.start() + mark.start()
            if sign == '"':
                leads = not text[at + 1 : at + 2].isspace() and (at == 0 or text[at - 1] in "([“ \t\n")
                sign = "“" if leads and ("“", '"') not in [(kind, text[place]) for kind, place in opened] else "”"
            if sign in "([“":
                opened.append((sign, at))
                continue
            wanted = {")": "(", "]": "[", "”": "“"}[sign]
            last = next((n for n in reversed(range(len(opened))) if opened[n][0] == wanted), None)
            if last is not None:
                found.append((opened[last][1], at))
                del opened[last:]
    return found
