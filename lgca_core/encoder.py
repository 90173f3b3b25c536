"""An image-text model as two functions to unit vectors, with the preprocessing that it expects.

Axes: n crops or sentences, S input side in pixels, D embedding width.
"""

import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.errors import LgcaError
from lgca_core.kinds import checked
from lgca_core.pixels.cropping import normalised
from lgca_core.pixels.gpu_streams import to_device
from lgca_core.pixels.pillow_weights import Interpolation, Resize, ResizeMode

_counting = threading.Lock()


@dataclass(frozen=True, eq=False)
class Parts:
    """A model of open_clip, and the two parts of the configuration that it was built of, as open_clip writes them."""

    model: Any
    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any]


@checked
@dataclass(eq=False)
class Encoder:
    """An image-text model: f (crops) and g (sentences) of *The method*, and the preprocessing that they expect.

    Any model will do. ``image`` takes (n, 3, S, S), already ``(pixel / 255 - mean) / std``, and ``text``
    takes a list of n strings; both return (n, D) vectors of any length, on any device, in any float type.

    Attributes:
        size: S, side of the square input in pixels.
        mean, std: of the three channels, for pixels scaled to [0, 1].
        name, sha256, activation, precision: for the record; ``sha256`` is that of the weights. A store goes by
            them, and by ``architecture``, a hash of what the model is built from besides its weights.
        device: where ``image`` wants its crops, and where the vectors are returned.
        batch_size: most crops or sentences in one call; halved when the device's memory does not hold so many.
        workers: batches of crops encoded side by side in threads, for a CPU; the vectors do not depend on it. More
            than one pays where torch itself runs one thread (``OMP_NUM_THREADS=1``).
        streams: chunks of pictures looked at side by side, see `gpu_streams.map_in_streams`. With more than one,
            ``image`` is called from several threads, on a GPU each with a stream of its own.
        pixels, tokenizer: the type that ``image`` takes; what ``text`` reads sentences by, as open_clip's, or None.
        interpolation, resize_mode: how a box is resized to S, see `resize`.
        logit_scale, logit_bias: what the model multiplies a cosine by (100 for CLIP) and adds to it; None where it
            does not say. A model with a bias was trained on each class by itself: a sigmoid gives its probability.
        image_passes, text_passes: crops and sentences encoded so far.
        parts: open_clip's model and what it was built of, for those who train it further; None for other models.
    """

    image: Callable[[Tensor], Tensor]
    text: Callable[[list[str]], Tensor]
    size: int
    mean: Sequence[float]
    std: Sequence[float]
    name: str = "custom"
    sha256: str | None = None
    architecture: str | None = None
    activation: str | None = None
    precision: str = "float32"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch_size: int = 64
    workers: int = 1
    streams: int = 1
    pixels: torch.dtype = torch.float32
    interpolation: Interpolation = "bicubic"
    resize_mode: ResizeMode = "shortest"
    logit_scale: float | None = None
    logit_bias: float | None = None
    image_passes: int = 0
    text_passes: int = 0
    tokenizer: Any = None
    parts: Parts | None = None

    def __post_init__(self) -> None:
        self.device = torch.device(self.device)
        if self.device.type == "mps":
            raise LgcaError("an encoder's vectors cannot stay on mps, which has no float64: name the device cpu")
        for name, value in (("batch size", self.batch_size), ("workers", self.workers), ("streams", self.streams)):
            if value < 1:
                raise LgcaError(f"{name} must be at least 1, got {value}")
        if self.size < 1 or len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise LgcaError(
                f"an encoder needs an input side of 1 pixel or more and three means and positive deviations, "
                f"got size {self.size}, mean {self.mean}, std {self.std}"
            )

    @property
    def resize(self) -> Resize:
        """How a box of a picture becomes a crop."""
        return Resize(self.interpolation, self.resize_mode)

    def encode_crops(self, crops: Tensor) -> Tensor:
        """Crops (n, 3, S, S) uint8 on any device -> unit vectors (n, D) float32; counts n image passes."""
        expected = (3, self.size, self.size)
        if crops.dtype != torch.uint8:
            raise LgcaError(f"crops are {crops.dtype}, the encoder takes torch.uint8: cut them with crops")
        if crops.shape[1:] != expected:
            raise LgcaError(f"crops are {tuple(crops.shape[1:])}, the encoder takes {expected}: cut them to its size")

        def run(part: Tensor) -> Tensor:  # (<= batch_size, 3, S, S) -> (<= batch_size, D)
            return self.image(normalised(to_device(part, self.device), self.mean, self.std, self.pixels))

        def encode(part: Tensor) -> Tensor:
            return self._unit(self._within_memory(run, part), len(part))

        parts = crops.split(self.batch_size)
        if self.workers > 1 and len(parts) > 1 and self.device.type == "cpu":  # on a GPU they would leave its stream
            with ThreadPoolExecutor(self.workers) as pool:
                out = list(pool.map(encode, parts))
        else:
            out = [encode(part) for part in parts]
        with _counting:
            self.image_passes += len(crops)
        return torch.cat(out)  # (n, D)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> unit vectors (n, D) float32, in their order; each distinct one is encoded, and counted, once.

        Sentences of like length share a batch, so that a short batch can be cut short.
        """
        if not texts:
            raise LgcaError("there are no sentences to encode: give at least one")
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        out = []
        batch_size = self.batch_size
        for start in range(0, len(distinct), batch_size):
            part = distinct[start : start + batch_size]
            out.append(self._unit(self._within_memory(self.text, part), len(part)))
            self.text_passes += len(part)
        row = {text: i for i, text in enumerate(distinct)}
        return torch.cat(out)[[row[text] for text in texts]]  # (n, D)

    def _within_memory(self, run: Callable[[Any], Tensor], part: Any) -> Tensor:
        """``run(part)``, in halves where the device's memory does not hold it, now or as seen before."""
        half = -(-len(part) // 2)
        if len(part) <= self.batch_size:
            try:
                with torch.inference_mode():
                    return run(part)
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
            self.halve_batches(len(part))  # past the handler, whose traceback holds on to memory
        return torch.cat([self._within_memory(run, part[:half]), self._within_memory(run, part[half:])])

    def halve_batches(self, n: int) -> None:
        """Go on with batches of half of n, which the device's memory did not hold; a warning says so."""
        half = -(-n // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.batch_size = min(self.batch_size, half)  # another thread may have learnt of less
        full = f"the device's memory does not hold {n} inputs at once: going on with {half}"
        warnings.warn(full, RuntimeWarning, stacklevel=5)

    def _unit(self, vectors: Tensor, n: int) -> Tensor:
        # Outside inference mode, so that what leaves is an ordinary tensor.
        if vectors.ndim != 2 or len(vectors) != n:
            raise LgcaError(
                f"the encoder {self.name} made of {n} inputs vectors of shape {tuple(vectors.shape)}: "
                f"its functions must return ({n}, D)"
            )
        return F.normalize(vectors.detach().to(self.device).float(), dim=-1)
