"""A classifier of one's own pictures: classes in words and an encoder once, then pictures in any form, by any method.

The command ``lgca classify`` is this, so that both say the same of a picture. Axes: B pictures, C classes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lgca_core.data.manifest import AS_IT_IS, Conversion
from lgca_core.encoder import Encoder
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.any_pictures import one_by_one, read_ahead, read_picture
from lgca_core.evaluation.explanation import ExplainedStep, Explanation
from lgca_core.evaluation.jobs import Job, prepare_jobs
from lgca_core.kinds import checked
from lgca_core.lgca import LGCA
from lgca_core.methods import METHODS, Settings, check_methods, find
from lgca_core.prompts.own_classes import prompts_of_classes
from lgca_core.views import Views
from lgca_core.wca import WCA

AHEAD = 4
"""Pictures that are read while others are looked at."""
PIXELS = 1 << 26
"""Of the pictures that are looked at together, so that memory is bounded however large they are: 200 MB."""

ScoreArray = NDArray[np.float64]


@checked
class ZeroShotClassifier:
    """Names what is in pictures, out of classes that are given in words. The classes are encoded once, here.

        classifier = ZeroShotClassifier("ViT-B-32-quickgelu:openai", ["heron", "egret", "stork"])
        classifier.predict("holiday.jpg")                    # 'heron'
        classifier.predict_proba(["a.jpg", "b.jpg"])         # (2, 3), each row sums to 1

    Pictures may be paths, PIL pictures, arrays and tensors: (H, W), (H, W, 1, 3 or 4) or (1, 3 or 4, H, W), uint8 or
    float from 0 to 1, on any device; what is not RGB becomes it as `open_picture` says. **One** of them gives one
    answer: a name, a list, a row. **Many** give a list of answers or rows: a list or tuple, a generator, a DataLoader
    (of batches, or of pairs of pictures and labels, which are passed over), or an array or tensor of four axes. Many
    are taken in as they are needed, so that memory does not grow with their number.

    A picture's boxes are keyed by its contents: those of its file, else of its pixels. So a path, and what
    `PIL.Image.open` makes of it, are scored alike, and as ``lgca classify`` does with the same options; pixels that
    were changed, or came as an array, are a picture of their own: a method that draws crops draws others of it.

    Args:
        encoder: an `Encoder`, or what `load_encoder` takes, which then gets `device`, `precision` and `batch_size`.
        classes: names, two or more and all different, in the order of the columns; or a mapping from names to
            sentences, which are then the `descriptions`.
        descriptions: class name -> sentences; names are looked up as written, then without regard to case and
            underscores. Without them a method that wants some reads `templates` instead, as :attr:`notes` says.
        method: a name of `METHODS`, with settings or without, as in ``"lgca:n=20"``.
        seed: keys the crops.
        independent: what :meth:`predict_proba` gives unless it is told: for each class by itself, instead of shares.
        templates: sentences with ``{}`` for the name. descriptors: class name -> short descriptors.
        wca, lgca: settings that a name does not set.
        scale_grey, on_white: how pictures become RGB, as `open_picture` says.

    Attributes:
        classes_: names of the classes, (C,), as arrays of scores have them.
        notes: what a user should know of the prompts.
        encoder, method, seed: as given.

    Raises:
        LgcaError: anything of the above is of the wrong kind or missing, an encoder that cannot be loaded.
    """

    def __init__(
        self,
        encoder: Encoder | str,
        classes: Any,
        descriptions: Any = None,
        method: str = "lgca",
        seed: int = 0,
        *,
        independent: bool = False,
        templates: Any = None,
        descriptors: Any = None,
        wca: WCA | None = None,
        lgca: LGCA | None = None,
        device: Any = "auto",
        precision: Any = "float32",
        batch_size: int | None = None,
        scale_grey: bool = False,
        on_white: bool = False,
    ) -> None:
        check_methods([method])
        if seed < 0:
            raise LgcaError(f"seed must be 0 or more, not {seed}")
        if isinstance(classes, Mapping):
            if descriptions is not None:
                raise LgcaError("give the sentences as classes or as descriptions, not both")
            classes, descriptions = list(classes), classes
        said = prompts_of_classes(
            classes, {method: find(method).prompts}, templates, descriptions=descriptions, descriptors=descriptors
        )
        if isinstance(encoder, str):
            encoder = load_encoder(encoder, device=device, precision=precision, batch_size=batch_size)
        if independent:
            scale_and_bias(encoder, independent=True)
        self.conversion = Conversion(scale_grey, on_white)
        self.encoder, self.method, self.seed, self.independent = encoder, method, seed, independent
        self.classes_: NDArray[np.object_] = np.array(said.classes, dtype=object)
        jobs, _ = prepare_jobs(encoder, said, [method], [seed], Settings(wca or WCA(), lgca or LGCA()))
        [self._job], self.notes = jobs, (*said.notes, *jobs.notes)

    def scores(self, pictures: Any) -> ScoreArray:
        """Logits of pictures, (B, C) float64, or of one, (C,), in cosine units: a unit class vector (or a mean of unit
        sentences) times a mean of unit crops.

        Raises LgcaError for the first picture that cannot be read.
        """
        one, each = one_by_one(pictures)
        rows: list[ScoreArray] = []
        for source, found in answers(self.encoder, [self._job], each, conversion=self.conversion):
            if isinstance(found, LgcaError):
                raise found if one else LgcaError(f"picture {len(rows)} (counted from 0): {found}") from found
            del source  # let go of the picture
            rows.append(found[0].double().numpy())
        return rows[0] if one else np.stack(rows) if rows else np.empty((0, len(self.classes_)))

    def predict_proba(self, pictures: Any, *, independent: bool | None = None) -> ScoreArray:
        """Probabilities of pictures, (B, C) float64, or of one, (C,).

        Shares that sum to 1: the softmax over classes of the model's own scale times the scores. ``independent``: for
        each class by itself, the sigmoid of that and the bias of a model that was trained so (SigLIP).

        Raises LgcaError as :meth:`scores`, and for an encoder that does not say its scale, or its bias where it is
        needed.
        """
        independent = self.independent if independent is None else independent
        scale_and_bias(self.encoder, independent=independent)
        return probabilities(self.encoder, self.scores(pictures), independent=independent)

    def predict(self, pictures: Any) -> Any:
        """Names of the best classes, a list of B, or of one picture the name; of equal scores the first class wins.

        Raises LgcaError as :meth:`scores`.
        """
        best = self.classes_[self.scores(pictures).argmax(axis=-1)]
        return best if isinstance(best, str) else best.tolist()

    def top_k(self, pictures: Any, k: int = 5) -> Any:
        """The k best classes with their scores, best first: B lists of (name, score), or of one picture the list.

        All classes where there are fewer than k. Raises LgcaError as :meth:`scores`, and for a k below 1.
        """
        if k < 1:
            raise LgcaError(f"k, how many classes to give, must be at least 1, got {k}")
        scores = self.scores(pictures)
        rows = [[(self.classes_[c], float(row[c])) for c in ranked(row)[:k]] for row in np.atleast_2d(scores)]
        return rows[0] if scores.ndim == 1 else rows if len(scores) else []

    def explain(self, picture: Any) -> Explanation:
        """What the method saw in one picture: boxes, weights and scores of each step, to be read or plotted.

        Raises:
            LgcaError: the picture cannot be read, or the method's scores are no weighted sum of boxes.
        """
        one, each = one_by_one(picture)
        if not one:
            raise LgcaError("explain takes one picture: give them one by one")
        looks = self._job.scorer.looks
        if looks is None:
            can = ", ".join(name for name in METHODS if name.partition("-")[0] in _EXPLAINED)
            raise LgcaError(f"what {self.method} sees cannot be shown as weighted boxes: choose one of {can}")
        found = read_picture(next(each), self.conversion)
        if isinstance(found, LgcaError):
            raise found
        image, identity = found
        views = Views(self.encoder, [image])
        scores, _ = self._job.answers(self._job.scorer.scores(views, [identity]))  # (1, C)
        total = scores[0].double().numpy()
        steps = tuple(
            ExplainedStep(
                look.boxes.cpu().numpy(),
                look.weights.cpu().numpy(),
                look.share,
                self._job.answers(look.scores[None])[0][0].double().numpy(),
            )
            for look in looks(views, identity)
        )
        known = self.encoder.logit_scale is not None
        shares = probabilities(self.encoder, total, independent=self.independent) if known else None
        return Explanation(image, self.method, tuple(self.classes_), steps, total, shares)


_EXPLAINED = ("clip", "waffle", "cupl", "wca", "lgca")


# ---- scores and probabilities ------------------------------------------------------------------------------


def ranked(scores: ScoreArray) -> list[int]:
    """Classes by their scores (C,), best first; of equal ones the first class."""
    return np.argsort(-scores, kind="stable").tolist()


def scale_and_bias(encoder: Encoder, *, independent: bool = False) -> tuple[float, float]:
    """What an encoder's cosines are multiplied by, and what is added for independent probabilities, else 0.

    Raises LgcaError where the encoder does not say.
    """
    if encoder.logit_scale is None:
        raise LgcaError(
            f"the encoder {encoder.name} does not say its scale, which probabilities need: "
            "give Encoder(..., logit_scale=100.0), with its own number, or look at scores"
        )
    if not independent:
        return encoder.logit_scale, 0.0
    if encoder.logit_bias is None:
        raise LgcaError(
            f"the encoder {encoder.name} has no bias, which independent probabilities need: choose a model that was "
            "trained with a sigmoid, such as SigLIP, or leave independent out"
        )
    return encoder.logit_scale, encoder.logit_bias


def probabilities(encoder: Encoder, scores: ScoreArray, *, independent: bool = False) -> ScoreArray:
    """ScoreArray (..., C) -> probabilities (..., C): softmax(scale scores), or sigmoid(scale scores + bias).

    Raises LgcaError as :func:`scale_and_bias`.
    """
    scale, bias = scale_and_bias(encoder, independent=independent)
    logits = torch.from_numpy(scale * scores + bias)
    return logits.sigmoid().numpy() if independent else logits.softmax(dim=-1).numpy()


def answers(
    encoder: Encoder,
    jobs: Sequence[Job],
    pictures: Iterable[object],
    *,
    ahead: int = AHEAD,
    conversion: Conversion = AS_IT_IS,
) -> Iterator[tuple[object, list[Tensor] | LgcaError]]:
    """Each picture with its scores (C,), one tensor a job, or with what is wrong with it, in their order.

    Pictures are looked at in as many as fill a batch of the encoder, and no more than PIXELS; none is lost to another.

    Args:
        pictures: paths, or whatever `as_picture` takes.
        ahead: how many are read meanwhile. With 0 each is answered before the next is asked for.
        conversion: how they become RGB.
    """
    passes = min(job.scorer.passes or 32 for job in jobs)
    most = max(1, encoder.batch_size // passes) if ahead else 1
    waiting: list[tuple[object, Image.Image, str]] = []

    def look() -> Iterator[tuple[object, list[Tensor] | LgcaError]]:
        together = _looked_at(encoder, jobs, waiting)
        yield from zip([source for source, *_ in waiting], together, strict=True)
        waiting.clear()

    pixels = 0
    for source, found in read_ahead(lambda source: (source, read_picture(source, conversion)), pictures, ahead):
        if isinstance(found, LgcaError):
            yield from look()
            pixels = 0
            yield source, found
            continue
        image, identity = found
        if pixels + image.width * image.height > PIXELS:
            yield from look()
            pixels = 0
        waiting.append((source, image, identity))
        pixels += image.width * image.height
        if len(waiting) == most:
            yield from look()
            pixels = 0
    yield from look()


def _looked_at(
    encoder: Encoder, jobs: Sequence[Job], waiting: Sequence[tuple[object, Image.Image, str]]
) -> list[list[Tensor] | LgcaError]:
    """The scores of each picture; where they fail together each is tried alone, so that the others have theirs."""
    if not waiting:
        return []
    views = Views(encoder, [image for _, image, _ in waiting])
    identities = [identity for *_, identity in waiting]
    try:
        by_job = [job.answers(job.scorer.scores(views, identities))[0] for job in jobs]  # J x (B, C)
    except LgcaError as error:
        if len(waiting) == 1:
            return [error]
        return [found for one in waiting for found in _looked_at(encoder, jobs, [one])]
    return [list(of_picture) for of_picture in zip(*by_job, strict=True)]
