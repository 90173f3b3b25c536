"""What chat models answer, read leniently: which sentences are said of which class, and what belongs to none."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from lgca_core.errors import LgcaError
from lgca_core.prompts import lenient_json
from lgca_core.prompts.lenient_json import Pairs, Text
from lgca_core.prompts.names import fold, listed

NAMING = ("class", "class_name", "classname", "name", "label", "category", "title")
"""Keys of an object whose value names its class."""

BOLD, ITEM, INLINE = (
    7,
    8,
    1000,
)  # ranks below a heading's 1 to 6: a bold line, an item (and its indent), `name: sentence`


class AmbiguousName(LgcaError):
    """A name in an answer could mean several of the classes."""


@dataclass
class Answer:
    """The sentences of an answer.

    Attributes:
        table: class, as it was asked for -> its sentences, none twice.
        unread: number of a line (from 1) and what stands there that belongs to no class, in order.
        unknown: names of classes that were not asked for, as the answer spells them.
        repeated: how many sentences a class had said already.
        cut: whether the answer breaks off.
    """

    table: dict[str, list[str]] = field(default_factory=dict)
    unread: list[tuple[int, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    repeated: int = 0
    cut: bool = False

    def add(self, name: str, sentence: str) -> None:
        """Keep a sentence, unless its class has said it, in whichever case and spacing."""
        said = self.table.setdefault(name, [])
        if same_sentence(sentence) in map(same_sentence, said):
            self.repeated += 1
        else:
            said.append(sentence)

    def merge(self, other: "Answer") -> None:
        """Take over another answer's sentences."""
        for name, sentences in other.table.items():
            for sentence in sentences:
                self.add(name, sentence)


def same_sentence(sentence: str) -> str:
    """What two spellings of one sentence share."""
    return " ".join(sentence.split()).casefold()


def read_answer(text: str, classes: Sequence[str]) -> Answer:
    """Read what a chat model wrote about some classes.

    JSON, whole or broken off, in fences or prose: objects of lists, lists of objects, lists of strings below a name.
    Lists and lines below headings, bold names or names with a colon; ``name: sentence`` lines; tables with a class a
    row or a column. Names are compared as :func:`~lgca_core.prompts.names.match` does.

    Raises:
        AmbiguousName: a name could mean several of the classes.
    """
    return _Reading(text, classes).answer


_MARK = re.compile(r"^(\s*)(?:[-*+•‣◦▪–—]|\(?\d{1,4}[.):]|\(?[a-zA-Z][.)])\s+(?=\S)")
_HEADING = re.compile(r"^\s{0,3}(#{1,6})\s*(.*?)\s*#*\s*$")
_BOLD = re.compile(r"^\s*(?:\*\*|__)(.+?)(?:\*\*|__)\s*[:：]?\s*$")
_RULE = re.compile(r"^[\W_]*$|^\s*(?:```|~~~).*$")
_BETWEEN_CELLS = re.compile(r"^\s*\|?[\s:|-]*-[\s:|-]*\|?\s*$")
_INLINE = re.compile(r"^(.{1,120}?)\s*(?:[:：=]|\s[-–—]|->|→)\s+(\S.*)$")
_SENTENCES = re.compile(r"(?<=[^\W\d_]{3}[.!?])\s+(?=[A-Z“\"])")
_LEAD = re.compile(
    r"^(?:\w+ ){0,8}?(?:for|of|about|class|name|label|category)(?: \d+)?(?:\s*[:：]\s*| )(?:an? |the )?",
    re.IGNORECASE,
)
_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL)
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "\u00a0": " ", "\u200b": None})


class _Reading:
    def __init__(self, text: str, classes: Sequence[str]) -> None:
        self.answer = Answer()
        self._exact = set(classes)
        self._loose: dict[str, list[str]] = {}
        for name in dict.fromkeys(classes):
            self._loose.setdefault(fold(name), []).append(name)
        self._only = classes[0] if len(set(classes)) == 1 else None
        self._class: str | None = None  # of what comes next
        self._stranger: str | None = None  # a heading that is no class's
        self._rank = 0
        self._items = False  # whether the section has list items
        self._open: list[tuple[str, str]] = []  # the item that the next line may continue: (class, text)
        self._table = False
        self._columns: list[str | None] = []  # classes of a table's columns
        text = _THOUGHT.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text.lstrip("\ufeff"))
        self._text = text.replace("\r\n", "\n").replace("\r", "\n")
        self._starts = [0, *(match.end() for match in re.finditer("\n", self._text))]
        self._read()
        self._close()
        self.answer.unread.sort()

    def _line(self, at: int) -> int:
        return bisect_right(self._starts, at)

    def _read(self) -> None:
        """Lines up to each JSON value, the value, and the lines after the last."""
        at = 0
        while found := lenient_json.find_json(self._text, at):
            self._lines(at, found.start)
            self._close()
            self._walk(found.value, self._class, None if isinstance(found.value, Pairs) else self._stranger)
            self.answer.cut |= found.cut
            at = found.end
            rest = re.compile(r"[^\S\n]*[,;]?").match(self._text, at)
            at = rest.end() if rest else at
        self._lines(at, len(self._text))

    # ---- names ----------------------------------------------------------------------------------------

    def _named(self, text: str) -> str | None:
        """The class that a text names, with whatever a model puts around a name."""
        plain = _plain(text)
        bare = _LEAD.sub("", _plain(plain.strip(" :：={,")))
        for spelt in dict.fromkeys((text, plain, plain.strip(" :：={,"), bare)):
            numbered = re.sub(r"^\(?\d{1,4}[.):]\s*", "", spelt)
            for name in (spelt, numbered, re.sub(r"\s*\([^()]*\)\s*$", "", numbered)):
                if name in self._exact:
                    return name
                several = self._loose.get(fold(_plain(name)), [])
                if len(several) > 1:
                    raise AmbiguousName(
                        f"{name!r} in the answer could mean each of the classes {listed(several)}: spell it as one"
                    )
                if several:
                    return several[0]
        return None

    def _stray(self, at: int, text: str, stranger: str | None = None) -> None:
        self.answer.unread.append((self._line(at), " ".join(text.split())))
        if stranger and stranger not in self.answer.unknown:
            self.answer.unknown.append(stranger)

    def _say(self, name: str, text: str) -> None:
        if sentence := _plain(text):
            self.answer.add(name, sentence)

    # ---- JSON -----------------------------------------------------------------------------------------

    def _walk(self, value: object, name: str | None, stranger: str | None = None) -> None:
        if isinstance(value, Text):
            if name is None and stranger is None:
                name = self._only
            if name is not None:
                self._say(name, value)
            else:
                self._stray(value.at, value, stranger)
        elif isinstance(value, Pairs):
            self._walk_pairs(value, name, stranger)
        elif isinstance(value, list):
            for element in value:
                self._walk(element, name, stranger)

    def _walk_pairs(self, pairs: Pairs, name: str | None, stranger: str | None) -> None:
        naming = [(key, value) for key, value in pairs if key.casefold() in NAMING and isinstance(value, Text)]
        if naming and len(pairs) > 1 and not any(self._named(key) for key, _ in pairs if key.casefold() not in NAMING):
            saying, given = naming[0]
            named = self._named(given)
            for key, value in pairs:
                if key is not saying:
                    self._walk(value, named, None if named else str(given))
            return
        for key, value in pairs:
            if (named := self._named(key)) is not None:
                self._walk(value, named)
            elif name is None and stranger is None and not self._names_within(value):
                self._walk(value, None, str(key))
            else:
                self._walk(value, name, stranger)

    def _names_within(self, value: object) -> bool:
        """Whether an object or list says its classes itself."""
        if isinstance(value, Pairs):
            return any(
                self._named(key) is not None or key.casefold() in NAMING or self._names_within(inner)
                for key, inner in value
            )
        return isinstance(value, list) and any(self._names_within(inner) for inner in value)

    # ---- lines ----------------------------------------------------------------------------------------

    def _lines(self, start: int, end: int) -> None:
        lines = self._text[start:end].split("\n")
        for number, line in enumerate(lines):
            following = next((other for other in lines[number + 1 :] if other.strip()), "")
            self._take(line, following, start)
            start += len(line) + 1

    def _take(self, line: str, following: str, at: int) -> None:
        heads = "|" in line and "|" in following and _BETWEEN_CELLS.match(following) is not None
        self._table = "|" in line and (self._table or heads or line.lstrip().startswith("|"))
        if not self._table:
            self._columns = []
        if _RULE.match(line):
            self._close()
        elif self._table:
            self._row(line, heads, at)
        elif heading := _HEADING.match(line):
            self._section(heading[2], len(heading[1]), at)
        elif re.match(r"^\s*(?:=+|-{2,})\s*$", following) and (named := self._named(line)):
            self._enter(named, 1)
        elif bold := _BOLD.match(line):
            self._section(bold[1], BOLD, at)
        elif mark := _MARK.match(line):
            self._item(line[mark.end() :], len(mark[1].expandtabs()), following, at)
        else:
            self._prose(line, at)

    def _enter(self, name: str | None, rank: int, stranger: str | None = None) -> None:
        self._close()
        self._class, self._rank, self._stranger, self._items = name, rank, stranger, False

    def _section(self, title: str, rank: int, at: int) -> None:
        named = self._named(title) or self._named(re.sub(r"^(?:an?|the) ", "", _plain(title), flags=re.IGNORECASE))
        inline = None if named else _INLINE.match(_plain(title))
        if named:
            self._enter(named, rank)
        elif inline and (named := self._named(inline[1])):
            self._enter(named, rank)
            self._say(named, inline[2])
        elif self._class is None or rank <= self._rank:
            self._enter(None, rank, _plain(title).rstrip(" :："))

    def _item(self, text: str, indent: int, following: str, at: int) -> None:
        deeper = _MARK.match(following)
        leads = deeper is not None and len(deeper[1].expandtabs()) > indent
        if (named := self._named(text)) is not None:
            self._enter(named, ITEM + indent)
        elif (leads or text.rstrip().endswith((":", ":**"))) and (self._class is None or ITEM + indent <= self._rank):
            self._enter(None, ITEM + indent, _plain(text).rstrip(" :："))
        elif not leads:
            if self._class is not None and self._rank >= ITEM and indent < self._rank - ITEM:
                self._enter(None, 0)  # an item outside the one that named the class
            self._items = True
            self._sentence(text, at)

    def _prose(self, line: str, at: int) -> None:
        text = line.strip()
        if (named := self._named(text)) is not None:
            self._enter(named, BOLD)
        elif self._open and not _INLINE.match(text) and (line[:1].isspace() or text[:1].islower()):
            name, begun = self._open.pop()
            self._open.append((name, f"{begun} {text}"))
        elif text.endswith((":", ":**", ":*", "：")):
            if len(text.split()) <= 4 and not (self._class is not None and self._rank < BOLD):
                self._enter(None, BOLD, _plain(text).rstrip(" :："))
            else:
                self._stray(at, text)
        elif self._items and not self._says_of_whom(text):
            self._stray(at, text)
        else:
            self._sentence(text, at, split=True)

    def _says_of_whom(self, text: str) -> bool:
        inline = _INLINE.match(_plain(text))
        return inline is not None and self._named(inline[1]) is not None

    def _sentence(self, text: str, at: int, *, split: bool = False) -> None:
        """A line that says something: of the class that it begins with, else of the section's."""
        inline = _INLINE.match(text if _plain(text) == text else _plain(text))
        if inline and (named := self._named(inline[1])) is not None:
            self._close()
            if self._class is None or self._rank >= INLINE or named != self._class:
                self._enter(named, INLINE)
            self._open = [(named, inline[2])]
            return
        name = self._class
        if name is None and self._only is not None and (not split or self._stranger is not None):
            name = None if self._stranger else self._only
        if name is None or (self._rank >= INLINE and inline):
            stranger = _plain(inline[1]) if inline and len(inline[1].split()) <= 4 and name else self._stranger
            self._stray(at, text, stranger)
            return
        self._close()
        *whole, last = _SENTENCES.split(text) if split else [text]
        for sentence in whole:
            self._say(name, sentence)
        self._open = [(name, last)]

    def _close(self) -> None:
        for name, text in self._open:
            self._say(name, text)
        self._open = []

    def _row(self, line: str, heads: bool, at: int) -> None:
        self._close()
        inner = line.strip().removeprefix("|")
        inner = inner if inner.endswith("\\|") else inner.removesuffix("|")
        cells = [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]
        if heads:
            columns = [self._named(cell) for cell in cells]
            self._columns = columns if any(columns) else []
            return
        if self._columns:
            for name, cell in zip(self._columns, cells, strict=False):
                if name is not None:
                    self._cell(name, cell)
                elif cell and not _number(cell):
                    self._stray(at, cell)
            return
        filled = [cell for cell in cells if cell and not _number(cell)]
        naming = next((cell for cell in filled if self._named(cell) is not None), None)
        if naming is None and cells[0] and not _number(cells[0]) and len(filled) > 1:
            naming = cells[0]  # of a class that was not asked for
        if naming is not None:
            self._enter(self._named(naming), BOLD, _plain(naming))
        for cell in filled:
            if cell is not naming and self._class is not None:
                self._cell(self._class, cell)
            elif cell is not naming:
                self._stray(at, cell, self._stranger)

    def _cell(self, name: str, cell: str) -> None:
        for part in re.split(r"<br\s*/?>|\s*[•]\s*", cell):
            if part.strip():
                self._say(name, _MARK.sub("", part))


def _number(cell: str) -> bool:
    return re.fullmatch(r"[#\d.)(]+", cell) is not None


def _plain(text: str) -> str:
    """A text without Markdown's marks and the quotes around it, in one line, its quotes straight."""
    text = " ".join(text.translate(_QUOTES).split())
    text = re.sub(r"(\*\*\*|\*\*|__|`)(?=\S)(.+?)(?<=\S)\1", r"\2", text)
    text = re.sub(r"(?<![\w*])\*(?=\S)([^*]+?)(?<=\S)\*(?![\w*])", r"\1", text)
    for _ in range(2):
        text = re.sub(r'^(["\'])(.+?)\1\s*[,;]?$', r"\2", text.strip())
    return text.strip()
