"""The classes of single pictures, best first, by any method."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lgca_core.data.folders import file_hash
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.jobs import prepare_jobs
from lgca_core.lgca import LGCA
from lgca_core.methods import Settings
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.read_ahead import views_of_files
from lgca_core.wca import WCA


def classify(
    pictures: Sequence[Path | str],
    prompts: ClassPrompts,
    encoder: Encoder,
    method: str = "lgca",
    *,
    seed: int = 0,
    wca: WCA | None = None,
    lgca: LGCA | None = None,
) -> Iterator[list[tuple[str, float]]]:
    """The classes of each picture with their logits, best first, one picture at a time.

    A logit is in cosine units: a unit class vector (or a mean of unit sentences) times a mean of unit crops.
    Its boxes are those that an evaluation draws for the same file and seed.

    Raises:
        LgcaError: fewer than two classes, one given twice, or as :func:`evaluate` raises.
    """
    classes = prompts.classes
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise LgcaError(f"at least two different classes are needed, not {list(classes)}")
    [job], _ = prepare_jobs(encoder, prompts, [method], [seed], Settings(wca or WCA(), lgca or LGCA()))
    for [at], views in views_of_files(encoder, pictures, chunk=1):
        scores, _ = job.answers(job.scorer.scores(views, [file_hash(pictures[at])]))  # (1, C)
        order = scores[0].argsort(descending=True, stable=True).tolist()
        yield [(classes[c], float(scores[0, c])) for c in order]
