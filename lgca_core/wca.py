"""WCA, weighted visual-text cross alignment (arXiv 2406.02915): one vector a picture, from N random squares.

    s(x, c) = sum_i sum_j w_i v_cj <k_i, t_cj> = < sum_i w_i k_i , sum_j v_cj t_cj >

The right-hand side is computed: its image half here, its class half in `class_vectors`. Axes: B pictures, N crops
of a picture, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import e, inf

import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.box_plans import WHOLE, Plan, draw, squares
from lgca_core.boxes import whole
from lgca_core.errors import LgcaError
from lgca_core.kinds import checked
from lgca_core.seeding import generator
from lgca_core.views import Views

POOL_SEED = 0


@checked
@dataclass(frozen=True)
class WCA:
    """Weighted visual-text cross alignment, with the paper's settings.

    Attributes:
        n: N, crops of a picture.
        alpha, beta: range of a crop's side, as a share of the picture's shorter side.
        image_temperature: of the softmax over crops.
        text_temperature: of the softmax over a class's sentences, for `class_vectors.class_matrix`.
        renormalise: image and class vectors scaled to unit length. For a picture it changes no prediction, for a
            class it does.
        pool: None draws N crops anew for every seed. A number draws that many once a picture, and a seed chooses N of
            them with replacement, the same indices for all pictures. The released code calls such choices its twenty
            runs; its own seed draws the pool.

    Raises LgcaError for settings out of range.
    """

    n: int = 60
    alpha: float = 0.5
    beta: float = 0.9
    image_temperature: float = e**4
    text_temperature: float = e**2
    renormalise: bool = False
    pool: int | None = None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise LgcaError(f"n, the number of crops, must be at least 1, got {self.n}")
        if self.pool is not None and self.pool < 1:
            raise LgcaError(f"pool, the number of crops to choose from, must be at least 1, got {self.pool}")
        if not 0 < self.alpha <= self.beta <= 1:
            raise LgcaError(f"crop range ({self.alpha}, {self.beta}) must satisfy 0 < alpha <= beta <= 1")
        check_temperatures(self.image_temperature, self.text_temperature)

    @classmethod
    def as_written(cls) -> "WCA":
        """The paper's text: U(0.5, 0.9), independent crops, no re-normalisation."""
        return cls()

    @classmethod
    def as_released(cls, pool: int = 100) -> "WCA":
        """The published code (github.com/tmlr-group/WCA, dfb4e6f): U(0.1, 0.9), re-normalised, 60 of a pool of crops
        with replacement.

        Args:
            pool: 100 in the code's configurations but ImageNet's, which has 60.

        Apart from it: that code rounds a crop's side down, takes no notice of a photograph's EXIF orientation, and on
        a GPU computes in half precision. Here a side is rounded, a photograph is turned upright, and sums are float32.
        """
        return cls(alpha=0.1, renormalise=True, pool=pool)

    def boxes(self, height: int, width: int, seed: int, identity: str) -> Tensor:
        """The squares of one picture: (N, 4) int64. ``identity`` names the picture by its contents."""
        drawn = draw(self.drawn(seed), height, width, identity)  # (N, 4) or (pool, 4)
        if self.pool is None:
            return drawn
        chosen = generator(seed, "wca pool").integers(self.pool, size=self.n)  # (N,), whatever the picture
        return drawn[torch.from_numpy(chosen)]

    def drawn(self, seed: int) -> Plan:
        """The plan of the squares: of a pool all that a seed can choose from, so that every seed has the same."""
        if self.pool is None:
            return squares(self.n, self.alpha, self.beta, seed)
        return squares(self.pool, self.alpha, self.beta, POOL_SEED)

    def plans(self, seed: int) -> tuple[Plan, ...]:
        """The boxes asked for, see `box_plans`. Temperatures and scaling decide none of them."""
        return WHOLE, self.drawn(seed)

    def vectors(self, views: Views, identities: Sequence[str], seed: int) -> Tensor:
        """``sum_i w_i k_i`` of every picture: (B, D) float32."""
        return self.weighed(views, identities, seed)[2]

    def weighed(self, views: Views, identities: Sequence[str], seed: int) -> tuple[list[Tensor], Tensor, Tensor]:
        """The boxes of every picture, B x (N, 4), their weights w (B, N), and :meth:`vectors` of them (B, D)."""
        check_identities(views, identities)
        boxes = [
            self.boxes(height, width, seed, identity)
            for (height, width), identity in zip(views.sizes, identities, strict=True)
        ]  # B x (N, 4)
        k0, k = encode_with_whole(views, boxes)  # (B, D), (B, N, D)
        w, u = weigh(k, cosine(k, k0), self.image_temperature)  # (B, N), (B, D)
        return boxes, w, F.normalize(u, dim=-1) if self.renormalise else u

    def passes(self) -> int:
        """Encoder passes a picture, 1 + N; fewer are run where boxes coincide, as a pool's do."""
        return 1 + self.n


def check_identities(views: Views, identities: Sequence[str]) -> None:
    """Raises LgcaError unless there is an identity for each picture."""
    if len(identities) != len(views.sizes):
        raise LgcaError(f"{len(identities)} identities for {len(views.sizes)} pictures: give one for each")


def check_temperatures(image: float, text: float) -> None:
    """Raises LgcaError for a temperature of a softmax that is negative or not finite."""
    for name, temperature in (("image", image), ("text", text)):
        if not 0 <= temperature < inf:
            raise LgcaError(f"{name}_temperature must be 0 or more and finite, got {temperature}")


def encode_with_whole(views: Views, boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Whole pictures and their boxes, B x (N, 4), in one go: f(x) (B, D) and the f(crop) (B, N, D)."""
    asked = [
        torch.cat([whole(height, width), of_picture])
        for (height, width), of_picture in zip(views.sizes, boxes, strict=True)
    ]  # B x (1 + N, 4)
    k = torch.stack(views.encode(asked))  # (B, 1 + N, D)
    return k[:, 0], k[:, 1:]


def cosine(k: Tensor, k0: Tensor) -> Tensor:
    """Unit vectors of crops (B, N, D) against that of their picture (B, D): (B, N)."""
    return (k * k0[:, None]).sum(dim=-1)


def weigh(k: Tensor, saliency: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """``w = softmax(temperature * saliency)`` over N, (B, N), and ``sum_i w_i k_i``, (B, D)."""
    assert k.shape[:2] == saliency.shape, f"{tuple(k.shape[:2])} crops, {tuple(saliency.shape)} saliencies"
    w = torch.softmax(temperature * saliency, dim=-1)  # (B, N)
    return w, (w[..., None] * k).sum(dim=1)  # (B, D)
