"""What a method saw in one picture, and how that looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ExplainedStep:
    """One step of a method, on one picture.

    Attributes:
        boxes: (n, 4) int64, (top, left, height, width) in pixels of the upright picture.
        weights: (n,), sum 1.
        share: of this step in the picture's vector, in [0, 1].
        scores: (C,), what the step alone would score, in cosine units; times the shares they sum to the scores, unless
            the method scales a picture's vector to unit length.
    """

    boxes: NDArray[np.int64]
    weights: NDArray[np.float32]
    share: float
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """Boxes, weights and scores of one picture, step by step; :meth:`plot` draws them.

    Attributes:
        picture: upright and in RGB.
        method: its name. classes: their names, (C,).
        steps: first to last: one of the whole picture for CLIP and its relatives, one of WCA, T + 1 of LGCA.
        scores: (C,), in cosine units. probabilities: (C,), or None where the encoder does not say its scale.
    """

    picture: Image.Image
    method: str
    classes: tuple[str, ...]
    steps: tuple[ExplainedStep, ...]
    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None = None

    def plot(self, top: int = 5) -> "Figure":
        """A figure: a panel a step, its boxes coloured by their weight, and the scores of the `top` best classes.

        A notebook shows it; ``.savefig("explained.png")`` keeps it.

        Raises LgcaError where matplotlib is not installed, or for a `top` below 1.
        """
        if isinstance(top, bool) or not isinstance(top, int) or top < 1:
            raise LgcaError(f"top, how many classes to show, must be a whole number of 1 or more, got {top!r}")
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise LgcaError("drawing wants matplotlib: pip install 'lgca-core[plot]'") from error

        class Drawing(Figure):
            def _repr_png_(self) -> bytes:
                stream = BytesIO()
                self.savefig(stream, format="png", dpi=110)
                return stream.getvalue()

        shape = self.picture.height / self.picture.width
        columns = min(len(self.steps), 4)
        rows = -(-len(self.steps) // columns)
        figure = Drawing(
            figsize=(3.1 * columns + 3.6, max(3.0, rows * (3.1 * min(max(shape, 0.5), 1.6) + 0.5))),
            layout="constrained",
        )
        left, right = np.ravel(figure.subfigures(1, 2, squeeze=False, width_ratios=[3.1 * columns, 3.6]))
        panels = left.subplots(rows, columns, squeeze=False).flat
        for number, panel in enumerate(panels):
            panel.set_axis_off()
            if number < len(self.steps):
                self._draw(panel, number)
        self._bars(right.subplots(), top)
        return figure

    def _draw(self, panel: "Axes", number: int) -> None:
        """The boxes of a step, the weightiest last, thickest and brightest."""
        from matplotlib import colormaps
        from matplotlib.patches import Rectangle

        step = self.steps[number]
        panel.imshow(np.asarray(self.picture))
        low, high = float(step.weights.min()), float(step.weights.max())
        colours = colormaps["plasma"]
        for i in np.argsort(step.weights, kind="stable"):
            top, left, height, width = step.boxes[i].tolist()
            strength = 1.0 if high - low < 1e-9 else (float(step.weights[i]) - low) / (high - low)
            panel.add_patch(
                Rectangle(
                    (left - 0.5, top - 0.5),
                    width,
                    height,
                    fill=False,
                    edgecolor=colours(0.1 + 0.85 * strength),
                    linewidth=0.6 + 1.6 * strength,
                    alpha=0.35 + 0.65 * strength,
                )
            )
        boxes = f"{len(step.boxes)} box{'' if len(step.boxes) == 1 else 'es'}"
        best = self.classes[int(step.scores.argmax())]
        heading = f"step {number}: {boxes}, share {step.share:.0%}" if len(self.steps) > 1 else boxes
        panel.set_title(f"{heading}\n{best}", fontsize=9, parse_math=False)

    def _bars(self, panel: "Axes", top: int) -> None:
        """The best classes, with their probabilities if they are known, else their scores."""
        values: Sequence[Any] | NDArray[Any] = self.scores if self.probabilities is None else self.probabilities
        best = np.argsort(-self.scores, kind="stable")[:top][::-1]
        bars = panel.barh(range(len(best)), [values[c] for c in best], color="#c9c4d9", height=0.7)
        bars[-1].set_color("#6a4c93")
        known = self.probabilities is not None
        panel.bar_label(
            bars, [f"{values[c]:.1%}" if known else f"{values[c]:.3f}" for c in best], padding=3, fontsize=9
        )
        panel.set_yticks(range(len(best)), [self.classes[c] for c in best], parse_math=False, fontsize=9)
        panel.set_xlim(min(0.0, min(values[c] for c in best)), 1.2 * max(1e-9, max(values[c] for c in best)))
        panel.set_xticks([])
        panel.tick_params(left=False)
        for side in panel.spines.values():
            side.set_visible(False)
        panel.set_title(f"{self.method}, {'probability' if known else 'score'}", fontsize=9, parse_math=False)
