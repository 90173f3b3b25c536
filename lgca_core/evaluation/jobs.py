"""The methods and seeds of a run, each ready to score pictures and keeping its answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from lgca_core.box_plans import ahead
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.alike import notes_on_classes, notes_on_cuts
from lgca_core.evaluation.dataset_reader import pool_of, sentence_vectors
from lgca_core.evaluation.predictions import RANKED, TOP
from lgca_core.evaluation.record import Run
from lgca_core.evaluation.store.store import Store
from lgca_core.methods import Scorer, Settings, Texts, check_methods, find
from lgca_core.prompts import sentences as prompt
from lgca_core.prompts.class_prompts import ClassPrompts, Kind


@dataclass
class Job:
    """One method with one seed.

    ``columns`` (C,) gives the scorer's class of each class: classes that are described alike are scored once, so that
    they tie exactly. ``width`` is D, of its vectors.
    """

    method: str
    seed: int
    scorer: Scorer
    columns: Tensor
    width: int
    logit_scale: float | None = None  # the encoder's
    passes: int = 0  # of the encoder for this method alone, so far
    kept: list[dict[str, Tensor]] = field(default_factory=list)  # columns of the predictions, a table a chunk

    def answers(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The scorer's logits (B, C') -> logits of all classes (B, C), and how far the best is ahead (B,).

        Raises LgcaError where they are not finite.
        """
        scores = scores.float().cpu()[:, self.columns]
        if not scores.isfinite().all():
            raise LgcaError(
                f"the scores of {self.method} are not finite: choose another precision, or lower temperatures"
            )
        top = scores.topk(min(2, scores.shape[1]), dim=1).values
        return scores, top[:, 0] - top[:, -1]

    def keep(self, scores: Tensor, passes: int) -> None:
        """Remember the answers to a chunk of pictures; of equal logits the first class wins."""
        scores, margins = self.answers(scores)
        ranked, classes = scores.sort(dim=1, descending=True, stable=True)
        best = functional.pad(ranked[:, :TOP], (0, max(0, TOP - ranked.shape[1])), value=torch.nan)
        classes = functional.pad(classes[:, :TOP], (0, max(0, TOP - classes.shape[1])), value=-1).int()
        columns = {"margin": margins} | dict(zip(RANKED, classes.T))
        columns |= {f"score_{rank}": column for rank, column in enumerate(best.T, start=1)}
        if self.logit_scale is not None:
            columns["probability"] = (self.logit_scale * ranked.double()).softmax(dim=1)[:, 0].float()
        self.kept.append(columns)
        self.passes += passes

    def kept_column(self, name: str) -> Tensor:
        """A column of the predictions over all pictures so far, (n,)."""
        return torch.cat([columns[name] for columns in self.kept])

    def run(self, correct: int, total: int) -> Run:
        """Its run as a record keeps it."""
        return Run(
            method=self.method,
            seed=self.seed,
            config={"prompts": find(self.method).prompts} | self.scorer.config,
            correct=correct,
            total=total,
            passes_per_image=self.passes / total,
        )


class Jobs(list[Job]):
    """The jobs of a run, with notes for the user on what the encoder cannot tell apart or does not read."""

    notes: tuple[str, ...] = ()


def prepare_jobs(
    encoder: Encoder,
    prompts: ClassPrompts,
    methods: Sequence[str],
    seeds: Sequence[int],
    settings: Settings,
    store: Store | None = None,
    dataset: str | None = None,
) -> tuple[Jobs, str]:
    """Every method and seed, ready to score, with notes for the user; and the hash of all prompts."""
    check_methods(methods)
    runs = [(method, seed) for method in methods for seed in (seeds if find(method).seeded else (0,))]
    read: dict[tuple[Kind, int], list[list[str]]] = {}
    for method, seed in runs:
        if (key := _reads(method, seed)) not in read:
            read[key] = prompts.of(find(method).prompts, method=method, seed=seed)
    anchors = [anchor for [anchor] in prompt.plain(prompts.classes)]

    @cache
    def encoded(sentences: tuple[str, ...]) -> dict[str, Tensor]:
        """Each list by itself, so that a vector does not depend, in its last bits, on which other methods run."""
        return dict(zip(sentences, sentence_vectors(encoder, sentences, store, dataset=dataset), strict=True))

    @cache
    def texts(key: tuple[Kind, int], anchored: bool) -> tuple[Texts, Tensor]:
        """The texts of the classes that differ in what is read of them, and which of these each class is: (C,)."""
        of_class = [(tuple(said), anchor if anchored else "") for said, anchor in zip(read[key], anchors, strict=True)]
        distinct = {of: number for number, of in enumerate(dict.fromkeys(of_class))}
        flat = [sentence for said, _ in distinct for sentence in said]
        vectors = encoded(tuple(dict.fromkeys(flat)))
        t, t0 = torch.stack([vectors[sentence] for sentence in flat]), None
        if anchored:
            vectors = encoded(tuple(dict.fromkeys(anchors))) | vectors
            t0 = torch.stack([vectors[anchor] for _, anchor in distinct])
        shared = Texts([said for said, _ in distinct], t, [anchor for _, anchor in distinct], t0)
        return shared, torch.tensor([distinct[of] for of in of_class])

    jobs = Jobs()
    shown: dict[str, tuple[Texts, Tensor]] = {}
    for method, seed in runs:
        shared, columns = texts(_reads(method, seed), find(method).anchored)
        scorer = find(method).prepare(shared, seed, settings)
        width = shared.t.shape[1]
        jobs.append(Job(method, seed, scorer, columns, width, encoder.logit_scale))
        shown.setdefault(method, (shared, columns))
    said: dict[str, str] = {}
    vectors: dict[str, Tensor] = {}
    for shared, columns in shown.values():
        for c, number in enumerate(columns.tolist()):
            for sentence in shared.prompts[number]:
                said.setdefault(sentence, prompts.classes[c])
        vectors |= zip((sentence for of_class in shared.prompts for sentence in of_class), shared.t, strict=True)
    jobs.notes = (*notes_on_classes(prompts.classes, shown), *notes_on_cuts(encoder, said, vectors))
    return jobs, prompt.digest({f"{kind}#{seed}": said for (kind, seed), said in read.items()})


def boxes_by_pool(jobs: Sequence[Job]) -> dict[str, int]:
    """How many boxes of a picture go into each pool of the jobs' plans, about.

    Boxes that follow from what is seen are as many as the method's passes leave; where these vary, as many as it draws.
    """
    boxes: dict[str, int] = {}
    for job in jobs:
        drawn = {pool_of(plan): plan.get("n", 1) for plan in job.scorer.plans if ahead(plan)}
        seen = max(0, job.scorer.passes - sum(drawn.values())) if job.scorer.passes else sum(drawn.values())
        follow = {pool_of(plan): seen for plan in job.scorer.plans if not ahead(plan)}
        for name, n in (drawn | follow).items():
            boxes[name] = max(boxes.get(name, 0), n)
    return boxes


def _reads(method: str, seed: int) -> tuple[Kind, int]:
    """The prompts that a method reads, and their seed: 0 unless they depend on it, as only Waffle's do."""
    kind = find(method).prompts
    return kind, seed if kind == "waffle" else 0
