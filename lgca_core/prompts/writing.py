"""Files of sentences that chat models wrote: answers merged in, asked for until they are whole, and where from."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lgca_core.errors import LgcaError
from lgca_core.prompts.answers import AmbiguousName, Answer, read_answer
from lgca_core.prompts.asking import Wanted, in_batches, prompt_for
from lgca_core.prompts.chat import ChatServer, Unanswered
from lgca_core.prompts.files import check_names, read_own, write_own
from lgca_core.prompts.names import fold, listed

ROUNDS = 3  # times that a class without enough sentences is asked for


def utc() -> str:
    """Date and time now, as a file notes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Sentences:
    """The sentences of some classes in a file, and what it says of where they come from.

    A file has one kind of sentences. What it says of other classes is kept.
    """

    file: Path
    classes: Sequence[str]
    wanted: Wanted = "descriptions"
    table: dict[str, list[str]] = field(default_factory=dict)
    sources: list[dict[str, object]] = field(default_factory=list)

    @classmethod
    def of(cls, file: Path, classes: Sequence[str], wanted: Wanted = "descriptions") -> "Sentences":
        """What is in a file already, or none.

        Raises:
            LgcaError: names are wrong (:func:`~lgca_core.prompts.files.check_names`), or the file is of another kind or
                no such file.
        """
        check_names(classes)
        found, about = read_own(file)
        kind, sources = about.get("kind", wanted), about.get("sources", [])
        if kind != wanted:
            raise LgcaError(f"{file} holds {kind}, not {wanted}: name another file")
        if not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
            raise LgcaError(f"{file}: what it says under '_about' of its sources is no list of objects: remove it")
        loose: dict[str, list[str]] = {}
        for name in classes:
            loose.setdefault(fold(name), []).append(name)
        made = cls(file, classes, wanted, {name: [] for name in classes}, sources)
        for entry, sentences in found.items():
            several = loose.get(fold(entry), [])
            name = entry if entry in classes or len(several) != 1 else several[0]
            made.table.setdefault(name, []).extend(sentences)
        return made

    def short(self, least: int) -> list[str]:
        """The classes with fewer sentences than `least`, in their order."""
        return [name for name in self.classes if len(self.table[name]) < least]

    @property
    def others(self) -> list[str]:
        """Classes of the file that were not asked for."""
        return [name for name in self.table if name not in set(self.classes)]

    def add(self, answer: Answer, source: Mapping[str, object]) -> list[str]:
        """Take in an answer, noting `source` for the classes that gained something; returns these."""
        whole = Answer({name: list(self.table[name]) for name in answer.table})
        whole.merge(answer)
        gained = [name for name, said in whole.table.items() if len(said) > len(self.table[name])]
        answer.repeated += whole.repeated
        self.table |= whole.table
        if gained:
            same = next((s for s in self.sources if {**s, "classes": 0} == {**source, "classes": 0}), None)
            if same is None:
                self.sources.append({**source, "classes": gained})
            else:
                known = list(same["classes"]) if isinstance(same["classes"], list) else []
                same["classes"] = list(dict.fromkeys([*known, *gained]))
        return gained

    def save(self) -> None:
        """Write the classes that have sentences. Raises LgcaError where the place cannot be written."""
        said = {name: sentences for name, sentences in self.table.items() if sentences}
        write_own(self.file, said, {"kind": self.wanted, "sources": self.sources})


def source_of_answer(text: str, model: str | None) -> dict[str, object]:
    """What a file notes of an answer that was read from a file."""
    named: dict[str, object] = {} if model is None else {"model": model}
    return named | {"date": utc(), "answer_sha256": hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()}


def write_sentences(
    sentences: Sentences,
    server: ChatServer,
    *,
    count: int = 10,
    about: str = "",
    batch: int = 10,
    progress: Callable[[int, int], None] = lambda done, total: None,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Ask a server for what the classes lack, some at a time, and save the file after each answer.

    A class that still has fewer than `count` sentences is asked for again, :data:`ROUNDS` times in all. What the
    file has already is kept, so that a run that was killed goes on where it was.

    Args:
        progress: called with (classes with enough sentences, classes).
        report: called with a line on each answer that could not be read.

    Raises:
        LgcaError: the server fails, or the file cannot be written; what was answered before is in the file.
    """
    total = len(sentences.classes)
    began, template = utc(), prompt_for(["{class}"], count=count, about=about, wanted=sentences.wanted)
    source = {"model": server.model, "server": server.url, "date": began, "prompt": template}
    progress(total - len(sentences.short(count)), total)
    for _ in range(ROUNDS):
        for part in in_batches(sentences.short(count), batch):
            prompt = prompt_for(part, sentences.classes, count=count, about=about, wanted=sentences.wanted)
            try:
                answer = read_answer(server.answer(prompt), part)
            except (Unanswered, AmbiguousName) as error:
                report(f"{listed(part)}: {error}")
                continue
            for name in answer.table:
                del answer.table[name][max(0, count - len(sentences.table[name])) :]
            if sentences.add(answer, source):
                sentences.save()
            if lacking := [name for name in part if not sentences.table[name]]:
                report(f"{listed(lacking)}: nothing in the answer could be read as sentences of it")
            progress(total - len(sentences.short(count)), total)
