"""The painter: a species in a scene -> pixels, exact part masks and boxes.

Shapes are anti-aliased polygons given in units of the picture's side, so one scene can be painted at any size:
at 160 px for the encoder, larger for a page. Every random number is drawn from the scene's own seed and none
depends on the size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lgca_core.aviary import opencv as cv2
from lgca_core.aviary.species import COLOURS, Species, draw_species

SIZE = 160
"""Side of a painted picture in pixels, two and a half times the encoder's input."""

PARTS = ("body", "belly", "cap", "wing", "beak", "legs", "tail", "eye")
"""The parts of a bird; pixel value `PARTS.index(p) + 1` in a part map, 0 elsewhere."""

HABITATS = ("forest", "meadow", "lake", "desert", "snow", "garden", "shore", "autumn")
OBJECTS = ("flower", "berry", "butterfly", "mushroom", "stone", "feather")

Point = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """Settings that vary between sets of scenes. Lengths are fractions of the picture's side."""

    bird: tuple[float, float] = (0.12, 0.24)
    """Half the length of the body, from and to."""
    objects: tuple[int, int] = (5, 12)
    """How many distractors, from and to (inclusive)."""
    leaves: tuple[int, int] = (0, 3)
    """How many leaves in front of the bird, from and to (inclusive)."""
    second_bird: float = 0.25
    """Probability of a second bird of another species, partly in view."""
    light: str = "day"
    """"day" or "night"."""
    medium: str = "paint"
    """"paint" or "sketch"."""
    severity: float = 1.0
    """How far the picture goes from day and paint to that light and medium, 0 (not at all) to 1 (all the way)."""


STYLES: dict[str, Style] = {
    "test": Style(),
    "small": Style(bird=(0.07, 0.11)),
    "large": Style(bird=(0.30, 0.38)),
    "clutter": Style(objects=(22, 34), leaves=(3, 7), second_bird=0.8),
    "clean": Style(objects=(0, 0), leaves=(0, 0), second_bird=0.0),
    "night": Style(light="night"),
    "sketch": Style(medium="sketch"),
    **{f"night-{level}": Style(light="night", severity=of) for level, of in enumerate((0.43, 0.53, 0.66), 1)},
    **{f"sketch-{level}": Style(medium="sketch", severity=of) for level, of in enumerate((0.44, 0.58, 0.72), 1)},
}
"""The plain set ("test") and the shifted ones.

Full night and full sketch leave every method at chance. Severities 1 to 3 were chosen on the validation species, so
that WCA is right there about 45, 30 and 15 times in a hundred.
"""


@dataclass(frozen=True)
class Scene:
    """A scene to paint: the labelled bird, where it lives, and the seed of everything else."""

    species: Species
    habitat: str
    seed: int
    style: Style = field(default_factory=Style)


@dataclass(frozen=True)
class Painting:
    """A painted scene.

    `image` (S, S, 3) uint8 sRGB; `parts` (S, S) uint8, the visible part of the labelled bird at each pixel
    (0 where there is none, else `PARTS.index + 1`); `objects` the distractors as (kind, colour, box);
    boxes are (top, left, height, width) in pixels.
    """

    image: np.ndarray
    parts: np.ndarray
    objects: tuple[tuple[str, str, tuple[int, int, int, int]], ...]

    def box(self, *parts: str) -> tuple[int, int, int, int] | None:
        """The tight box round the visible pixels of `parts` (of the whole bird when none is named)."""
        wanted = [PARTS.index(p) + 1 for p in parts]
        seen = np.isin(self.parts, wanted) if wanted else self.parts > 0
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        if not rows.size:
            return None
        return int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


@dataclass(frozen=True)
class _Build:
    """A family's silhouette in units of half the body's length."""

    height: float
    posture: float
    neck: float
    head: float
    leg: float
    wing: float
    body_taper: float = 0.16


_BUILDS = {
    "finch": _Build(0.60, 22, 0.02, 0.42, 0.42, 1.02),
    "duck": _Build(0.56, 2, 0.42, 0.37, 0.20, 0.92, -0.05),
    "heron": _Build(0.44, 20, 1.00, 0.29, 1.15, 1.05),
    "hawk": _Build(0.58, 48, 0.05, 0.40, 0.38, 1.20, 0.22),
    "parrot": _Build(0.54, 56, 0.00, 0.50, 0.26, 1.05),
    "swallow": _Build(0.40, 12, 0.00, 0.35, 0.20, 1.55, 0.25),
    "wren": _Build(0.76, 6, 0.00, 0.46, 0.46, 0.80, 0.02),
    "kingfisher": _Build(0.58, 34, 0.00, 0.54, 0.22, 0.92),
}


class _Canvas:
    """An image and a part map that polygons are painted on, in units of the side."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.image = np.zeros((size, size, 3), np.float32)
        self.parts = np.zeros((size, size), np.uint8)
        self.touched: list[tuple[int, int, int, int]] = []

    def box_since(self, mark: int) -> tuple[int, int, int, int] | None:
        """The box (top, left, height, width) round all that was filled since `mark = len(touched)`."""
        if len(self.touched) == mark:
            return None
        left, top, right, bottom = (f(v) for f, v in zip((min, min, max, max), zip(*self.touched[mark:])))
        return top, left, bottom - top, right - left

    def mask(self, polygon: Sequence[Point], clip: np.ndarray | None = None) -> np.ndarray:
        """The polygon's coverage, (S, S) uint8 0..255, inside `clip`."""
        mask = np.zeros((self.size, self.size), np.uint8)
        points = np.round(np.asarray(polygon, np.float64) * self.size * 16 - 8).astype(np.int32)
        cv2.fillPoly(mask, [points], 255, lineType=cv2.LINE_AA, shift=4)
        return mask if clip is None else cv2.min(mask, clip)

    def line(self, points: Sequence[Point], width: float, clip: np.ndarray | None = None) -> np.ndarray:
        """The coverage of a line through `points`, `width` thick."""
        polygons = [_stroke(a, b, width) for a, b in itertools.pairwise(points)]
        mask = self.mask(polygons[0])
        for polygon in polygons[1:]:
            mask = cv2.max(mask, self.mask(polygon))
        return mask if clip is None else cv2.min(mask, clip)

    def fill(
        self,
        mask: np.ndarray,
        colour: np.ndarray,
        part: str | None = None,
        opacity: float = 1.0,
        shade: np.ndarray | None = None,
    ) -> None:
        """Lay `colour` (3,) over the canvas through `mask`; `shade` (S, S) multiplies it.

        `part` marks the covered pixels as that part; "" marks them as nobody's (an occluder); None leaves them.
        """
        x, y, w, h = cv2.boundingRect(mask)
        if w == 0:
            return
        self.touched.append((x, y, x + w, y + h))
        window = (slice(y, y + h), slice(x, x + w))
        paint = np.broadcast_to(colour.astype(np.float32), (h, w, 3))
        if shade is not None:
            paint = paint * shade[window][..., None]
        cover = mask[window].astype(np.float32)[..., None] * np.float32(opacity / 255.0)
        self.image[window] += (paint - self.image[window]) * cover
        if part is not None:
            value = PARTS.index(part) + 1 if part else 0
            self.parts[window][mask[window] > 127] = value


def _stroke(a: Point, b: Point, width: float) -> list[Point]:
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = math.hypot(dx, dy) or 1.0
    nx, ny = -dy / length * width / 2, dx / length * width / 2
    return [(a[0] + nx, a[1] + ny), (b[0] + nx, b[1] + ny), (b[0] - nx, b[1] - ny), (a[0] - nx, a[1] - ny)]


def _ellipse(
    x: float, y: float, rx: float, ry: float, angle: float = 0.0, taper: float = 0.0, n: int = 28
) -> list[Point]:
    """An ellipse turned by `angle` degrees; `taper` narrows its far (negative x) end."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    points = []
    for k in range(n):
        t = 2 * math.pi * k / n
        px, py = rx * math.cos(t), ry * math.sin(t) * (1 + taper * math.cos(t))
        points.append((x + px * c - py * s, y + px * s + py * c))
    return points


def _noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise in -1..1 with about `cells` bumps a side."""
    grid = rng.random((cells, cells), dtype=np.float32) * 2 - 1
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)


def _tone(rng: np.random.Generator, name: str) -> np.ndarray:
    """A plumage colour as this bird wears it: slightly lighter or darker, slightly off hue."""
    colour = np.array(COLOURS[name], np.float32)
    return np.clip(colour * rng.uniform(0.9, 1.08) + rng.uniform(-9, 9, 3), 0, 255)


def _contrast(colour: np.ndarray) -> np.ndarray:
    """The colour of markings on `colour`: near black on light plumage, cream on dark."""
    return np.array((30, 28, 32) if colour @ (0.3, 0.59, 0.11) > 135 else (248, 244, 230), np.float32)


def paint(scene: Scene, size: int = SIZE) -> Painting:
    """Paint `scene` at `size` x `size` pixels."""
    rng = np.random.default_rng(scene.seed)
    canvas = _Canvas(size)
    style = scene.style
    _paint_habitat(canvas, scene.habitat, rng)

    half = rng.uniform(*style.bird)
    flip = bool(rng.random() < 0.5)
    reach = min(0.5, half * 1.6)
    x = rng.uniform(reach, 1 - reach)
    y = rng.uniform(min(0.5, half * 1.25), max(0.5, 1 - half * 1.45))
    tilt = rng.uniform(-9, 9)

    objects = []
    for _ in range(int(rng.integers(style.objects[0], style.objects[1] + 1))):
        mark = len(canvas.touched)
        kind, colour = _paint_object(canvas, rng)
        box = canvas.box_since(mark)
        if box is not None:
            objects.append((kind, colour, box))
    if rng.random() < style.second_bird:
        _paint_second_bird(canvas, rng, (x, y))
    _paint_bird(canvas, scene.species, (x, y), half, tilt, flip, rng, labelled=True)
    for _ in range(int(rng.integers(style.leaves[0], style.leaves[1] + 1))):
        _paint_leaf(
            canvas,
            (x + rng.normal(0, half), y + rng.normal(0, half)),
            rng.uniform(0.05, 0.1),
            rng,
            front=True,
        )

    image = _light(canvas, style.severity if style.light == "night" else 0.0, rng)
    if style.medium == "sketch":
        image = _sketch(image, style.severity)
    return Painting(image=image, parts=canvas.parts, objects=tuple(objects))


# --- the bird -------------------------------------------------------------------------------------


def _paint_bird(
    canvas: _Canvas,
    species: Species,
    at: Point,
    half: float,
    tilt: float,
    flip: bool,
    rng: np.random.Generator,
    *,
    labelled: bool,
) -> None:
    build = _BUILDS[species.family]
    tone = {
        name: _tone(rng, getattr(species, name))
        for name in ("body", "cap", "belly", "wing", "beak_colour", "legs", "tail_colour")
    }
    angle = math.radians(tilt * 0.5)
    c, s = math.cos(angle), math.sin(angle)

    def place(points: Sequence[Point]) -> list[Point]:
        """From bird units (x forward, y down, body half-length 1) to the picture."""
        out = []
        for px, py in points:
            qx, qy = (px * c - py * s) * half, (px * s + py * c) * half
            out.append((at[0] + (-qx if flip else qx), at[1] + qy))
        return out

    def turned(px: float, py: float) -> Point:
        """A point of the body's own axes, turned by the family's posture (head up)."""
        a = math.radians(-build.posture)
        return px * math.cos(a) - py * math.sin(a), px * math.sin(a) + py * math.cos(a)

    def fill(
        mask: np.ndarray,
        colour: np.ndarray,
        part: str | None,
        shade: np.ndarray | None = None,
        opacity: float = 1.0,
    ) -> None:
        canvas.fill(mask, colour, part if labelled else ("" if part is not None else None), opacity, shade)

    top, height = at[1] - build.height * half, 2 * build.height * half
    rows = (np.arange(canvas.size, dtype=np.float32) + 0.5) / canvas.size
    form = (1.14 - 0.34 * np.clip((rows - top) / max(height, 1e-6), 0, 1))[:, None]
    down = 1 + 0.09 * _noise(rng, canvas.size, 48)
    shade = (form * down).astype(np.float32)
    edge = 0.055 * half

    shoulder, rump = turned(0.72, -0.35 * build.height), turned(-0.9, -0.05)
    head = (shoulder[0] + 0.22 + 0.25 * build.neck, shoulder[1] - 0.22 - build.neck)
    foot = turned(-0.05, 0)[1] + build.height * 0.92 + build.leg
    hips = turned(-0.05, build.height * 0.7)

    _paint_perch(canvas, place([(hips[0], foot)])[0], half, rng)

    # legs and feet
    for offset, dim in ((-0.16, 0.8), (0.14, 1.0)):
        hip, toe = (hips[0] + offset, hips[1]), (hips[0] + offset + 0.06, foot)
        fill(canvas.line(place([hip, toe]), 0.1 * half), tone["legs"] * dim, "legs")
        for dx in (-0.14, 0.1, 0.26):
            fill(
                canvas.line(place([toe, (toe[0] + dx, toe[1] + 0.05)]), 0.075 * half),
                tone["legs"] * dim,
                "legs",
            )

    for polygon in _tail(species.tail, rump, build.posture):
        mask = canvas.mask(place(polygon))
        fill(mask, tone["tail_colour"], "tail", shade)
        _paint_edge(canvas, mask, edge)

    # neck, body and belly
    if build.neck > 0.1:
        neck = place(
            [
                (shoulder[0] - 0.3, shoulder[1] + 0.15),
                (head[0] - 0.2, head[1]),
                (head[0] + 0.17, head[1] + 0.1),
                (shoulder[0] + 0.12, shoulder[1] + 0.4),
            ]
        )
        fill(canvas.mask(neck), tone["body"], "body", shade)
    body_outline = [turned(px, py) for px, py in _ellipse(0, 0, 1, build.height, taper=build.body_taper)]
    body = canvas.mask(place(body_outline))
    fill(body, tone["body"], "body", shade)
    low = [
        turned(px, py) for px, py in ((1.3, -0.1), (1.3, 2.0), (-0.85, 2.0), (-0.85, 0.42), (0.1, 0.18 * build.height))
    ]
    fill(canvas.mask(place(low), clip=body), tone["belly"], "belly", shade)
    _paint_edge(canvas, body, edge)

    # beak behind the head, so that the face overlaps its root
    for polygon, dim in _beak(species.beak, head, build.head):
        mask = canvas.mask(place(polygon))
        fill(mask, tone["beak_colour"] * dim, "beak")
        _paint_edge(canvas, mask, edge * 0.8)

    # head: face in the body's colour, cap above the eye line
    if species.crest == "crested":
        for lean, length in ((-1.0, 0.85), (-0.62, 1.05), (-0.25, 0.95)):
            base = (head[0] + lean * 0.45 * build.head, head[1] - 0.7 * build.head)
            tip = (base[0] - 0.42 * length, base[1] - 0.62 * length)
            spike = [(base[0] - 0.16, base[1] + 0.12), tip, (base[0] + 0.16, base[1] + 0.1)]
            fill(canvas.mask(place(spike)), tone["cap"], "cap", shade)
    face = canvas.mask(place(_ellipse(*head, build.head * 1.06, build.head)))
    fill(face, tone["body"], "body", shade)
    over = [
        (head[0] - 2, head[1] - 2),
        (head[0] + 2, head[1] - 2),
        (head[0] + 2, head[1] - 0.22 * build.head),
        (head[0] - 0.2, head[1] - 0.1 * build.head),
        (head[0] - 2, head[1] + 0.55 * build.head),
    ]
    fill(canvas.mask(place(over), clip=face), tone["cap"], "cap", shade)
    _paint_edge(canvas, face, edge)

    _paint_wing(canvas, species, build, place, turned, tone["wing"], shade, edge, fill)

    # eye
    eye = (head[0] + 0.38 * build.head, head[1] + 0.02)
    if species.ring != "none":
        fill(
            canvas.mask(place(_ellipse(*eye, 0.38 * build.head, 0.38 * build.head))),
            np.array(COLOURS[species.ring]),
            "eye",
        )
    fill(
        canvas.mask(place(_ellipse(*eye, 0.21 * build.head, 0.21 * build.head))),
        np.array((18, 16, 20)),
        "eye",
    )
    glint = (eye[0] + 0.07 * build.head, eye[1] - 0.08 * build.head)
    fill(
        canvas.mask(place(_ellipse(*glint, 0.07 * build.head, 0.07 * build.head, n=10))),
        np.array((255, 255, 255)),
        None,
    )


def _paint_edge(canvas: _Canvas, mask: np.ndarray, width: float) -> None:
    """A soft dark contour inside a shape's edge, so that white birds show on snow."""
    pixels = max(1, round(width * canvas.size))
    inner = cv2.erode(mask, np.ones((pixels + 1, pixels + 1), np.uint8))
    canvas.fill(cv2.subtract(mask, inner), np.array((26, 20, 24)), None, opacity=0.42)


def _tail(kind: str, rump: Point, posture: float) -> list[list[Point]]:
    a = math.radians(180 - posture * 0.72)

    def out(along: float, across: float) -> Point:
        return rump[0] + along * math.cos(a) - across * math.sin(a), rump[1] + along * math.sin(a) + across * math.cos(
            a
        )

    if kind == "short":
        return [[out(-0.3, -0.2), out(0.5, -0.17), out(0.52, 0.17), out(-0.3, 0.2)]]
    if kind == "long":
        return [[out(-0.3, -0.18), out(1.35, -0.13), out(1.45, 0.0), out(1.35, 0.13), out(-0.3, 0.18)]]
    if kind == "forked":
        return [
            [out(-0.3, -0.15), out(1.15, -0.48), out(0.45, -0.02), out(-0.3, 0.1)],
            [out(-0.3, -0.1), out(0.45, 0.02), out(1.15, 0.48), out(-0.3, 0.15)],
        ]
    fan = [out(0.85 * math.cos(t), 0.85 * math.sin(t)) for t in np.linspace(-0.8, 0.8, 9)]
    return [[out(-0.2, -0.1), *fan, out(-0.2, 0.1)]]


def _beak(kind: str, head: Point, radius: float) -> list[tuple[list[Point], float]]:
    """Upper and lower mandible: polygons and how light each is."""
    x, y = head[0] + radius * 0.82, head[1] + 0.1 * radius
    if kind == "short":
        return [
            ([(x - 0.1, y - 0.14), (x + 0.34, y + 0.02), (x - 0.1, y + 0.04)], 1.0),
            ([(x - 0.1, y + 0.02), (x + 0.3, y + 0.03), (x - 0.1, y + 0.15)], 0.85),
        ]
    if kind == "long":
        return [
            ([(x - 0.1, y - 0.1), (x + 1.05, y + 0.03), (x - 0.1, y + 0.03)], 1.0),
            ([(x - 0.1, y + 0.02), (x + 1.0, y + 0.05), (x - 0.1, y + 0.12)], 0.85),
        ]
    if kind == "hooked":
        return [
            (
                [
                    (x - 0.12, y - 0.2),
                    (x + 0.22, y - 0.17),
                    (x + 0.42, y + 0.02),
                    (x + 0.4, y + 0.34),
                    (x + 0.24, y + 0.1),
                    (x - 0.12, y + 0.08),
                ],
                1.0,
            ),
            ([(x - 0.12, y + 0.06), (x + 0.2, y + 0.1), (x + 0.1, y + 0.22), (x - 0.12, y + 0.2)], 0.85),
        ]
    return [
        (
            [
                (x - 0.1, y - 0.08),
                (x + 0.5, y - 0.06),
                (x + 0.66, y + 0.02),
                (x + 0.6, y + 0.1),
                (x - 0.1, y + 0.06),
            ],
            1.0,
        ),
        ([(x - 0.1, y + 0.04), (x + 0.6, y + 0.1), (x + 0.52, y + 0.18), (x - 0.1, y + 0.16)], 0.85),
    ]


def _paint_wing(canvas, species, build, place, turned, tone, shade, edge, fill) -> None:
    """The folded wing: a teardrop from the shoulder towards the tail, its pattern, its flight feathers."""
    length, depth = build.wing, 0.62 * build.height

    def on(u: float, v: float) -> Point:
        """u 0 (shoulder) .. 1 (tip), v -1 (back) .. 1 (belly side)."""
        width = depth * math.sin(math.pi * min(1.0, 0.16 + 0.84 * u)) ** 0.75
        return turned(0.52 - 1.5 * length * u, -0.18 * build.height + 0.28 * build.height * u + v * width)

    steps = np.linspace(0, 1, 12)
    outline = [on(u, -1) for u in steps] + [on(u, 1) for u in steps[::-1]]
    wing = canvas.mask(place(outline))
    fill(wing, tone, "wing", shade * 0.97)
    marks = _contrast(tone)
    half = abs(place([(1, 0)])[0][0] - place([(0, 0)])[0][0])
    if species.wing_pattern == "barred":
        for u in (0.2, 0.36, 0.52, 0.68):
            fill(canvas.line(place([on(u, -1.0), on(u + 0.06, 1.0)]), 0.1 * half, clip=wing), marks, "wing")
    elif species.wing_pattern == "spotted":
        for u, v in (
            (0.14, 0.0),
            (0.28, -0.5),
            (0.28, 0.5),
            (0.43, 0.0),
            (0.58, -0.5),
            (0.58, 0.5),
            (0.73, 0.0),
        ):
            fill(canvas.mask(place(_ellipse(*on(u, v), 0.085, 0.085, n=12)), clip=wing), marks, "wing")
    elif species.wing_pattern == "edged":
        rim = [on(u, 0.4) for u in steps] + [on(u, 1.2) for u in steps[::-1]]
        fill(canvas.mask(place(rim), clip=wing), marks, "wing")
    for v in (-0.1, 0.35):
        canvas.fill(
            canvas.line(place([on(0.62, v), on(0.97, v * 0.5)]), 0.03 * half, clip=wing),
            np.array((20, 16, 20)),
            None,
            opacity=0.35,
        )
    _paint_edge(canvas, wing, edge)


def _paint_second_bird(canvas: _Canvas, rng: np.random.Generator, away: Point) -> None:
    """Another species, smaller, cut by the picture's edge on the side away from the labelled bird."""
    x = -0.02 if away[0] > 0.5 else 1.02
    y = rng.uniform(0.15, 0.85)
    half = rng.uniform(0.09, 0.15)
    _paint_bird(
        canvas,
        draw_species(rng),
        (x, y),
        half,
        rng.uniform(-9, 9),
        bool(rng.random() < 0.5),
        rng,
        labelled=False,
    )


def _paint_perch(canvas: _Canvas, at: Point, half: float, rng: np.random.Generator) -> None:
    slope = rng.uniform(-0.09, 0.09)
    bark = np.array((96, 70, 48)) * rng.uniform(0.75, 1.25)
    width = 0.16 * half + 0.008
    y = at[1] + width * 0.45
    ends = [(-0.05, y + slope * (-0.05 - at[0])), (*at[:1], y), (1.05, y + slope * (1.05 - at[0]))]
    if rng.random() < 0.6:
        reach = rng.uniform(1.4, 3.2) * half
        ends = [(at[0] - reach, y - slope * reach), (at[0], y), (at[0] + reach, y + slope * reach)]
    canvas.fill(canvas.line(ends, width), bark, None)
    lifted = [(x, yy - width * 0.25) for x, yy in ends]
    canvas.fill(canvas.line(lifted, width * 0.3), bark * 1.3, None, opacity=0.6)
    for _ in range(int(rng.integers(0, 3))):
        u = rng.uniform(-2, 2) * half
        _paint_leaf(canvas, (at[0] + u, y + slope * u - 0.02), rng.uniform(0.03, 0.05), rng, front=False)


# --- the scene ------------------------------------------------------------------------------------

_SKIES = {
    "forest": ((58, 92, 66), (112, 142, 84)),
    "meadow": ((128, 186, 226), (214, 232, 216)),
    "lake": ((140, 184, 214), (206, 222, 224)),
    "desert": ((236, 190, 128), (246, 222, 174)),
    "snow": ((178, 200, 222), (232, 238, 244)),
    "garden": ((150, 198, 210), (204, 222, 190)),
    "shore": ((120, 176, 214), (238, 224, 196)),
    "autumn": ((206, 166, 116), (232, 206, 150)),
}
_GROUNDS = {
    "forest": (52, 74, 42),
    "meadow": (96, 148, 66),
    "lake": (66, 116, 150),
    "desert": (208, 158, 98),
    "snow": (236, 240, 246),
    "garden": (86, 132, 72),
    "shore": (222, 200, 154),
    "autumn": (164, 110, 58),
}


def _paint_habitat(canvas: _Canvas, habitat: str, rng: np.random.Generator) -> None:
    size = canvas.size
    light = rng.uniform(0.86, 1.1)
    high, low = (np.array(c, np.float32) * light for c in _SKIES[habitat])
    blend = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    canvas.image[:] = high * (1 - blend) + low * blend
    canvas.image *= 1 + 0.05 * _noise(rng, size, 6)[..., None]
    ground = np.array(_GROUNDS[habitat], np.float32) * light
    horizon = rng.uniform(0.52, 0.72)
    grain = (1 + 0.1 * _noise(rng, size, 30)).astype(np.float32)

    if habitat in ("meadow", "snow", "desert", "garden", "shore"):
        for _ in range(2):
            _paint_hill(canvas, horizon - rng.uniform(0.02, 0.14), ground * 0.55 + high * 0.45, rng, grain)
    if habitat in ("meadow", "lake", "shore"):
        for _ in range(int(rng.integers(1, 4))):
            cx, cy, w = rng.uniform(0, 1), rng.uniform(0.04, horizon * 0.6), rng.uniform(0.08, 0.18)
            for dx, dy, r in ((-0.5, 0.1, 0.5), (0, -0.12, 0.7), (0.55, 0.1, 0.5)):
                canvas.fill(
                    canvas.mask(_ellipse(cx + dx * w, cy + dy * w, r * w, 0.4 * r * w)),
                    np.array((250, 250, 250)),
                    None,
                    opacity=0.7,
                )
    _paint_hill(canvas, horizon, ground, rng, grain)

    if habitat in ("forest", "autumn"):
        for _ in range(int(rng.integers(3, 7))):
            x, w, dim = rng.uniform(0, 1), rng.uniform(0.02, 0.07), rng.uniform(0.6, 1.1)
            trunk = [(x - w, 1.02), (x - 0.7 * w, -0.02), (x + 0.7 * w, -0.02), (x + w, 1.02)]
            canvas.fill(canvas.mask(trunk), np.array((92, 72, 54)) * dim, None, shade=grain)
            canvas.fill(
                canvas.mask([(x + 0.3 * w, 1.02), (x + 0.2 * w, -0.02), (x + 0.7 * w, -0.02), (x + w, 1.02)]),
                np.array((40, 30, 26)),
                None,
                opacity=0.35,
            )
        for _ in range(int(rng.integers(14, 26))):
            _paint_leaf(
                canvas,
                (rng.uniform(0, 1), rng.uniform(0, 0.75)),
                rng.uniform(0.03, 0.075),
                rng,
                front=False,
                autumn=habitat == "autumn",
            )
    if habitat in ("meadow", "garden", "lake", "forest"):
        count = int(rng.integers(14, 30))
        base = np.array((70, 128, 52)) if habitat != "lake" else np.array((92, 112, 58))
        for _ in range(count):
            x, y, h = (
                rng.uniform(0, 1),
                rng.uniform(horizon, 1.05),
                rng.uniform(0.06, 0.2) * (1.6 if habitat == "lake" else 1),
            )
            lean = rng.uniform(-0.04, 0.04)
            blade = [
                (x - 0.006, y),
                (x + lean * 0.4, y - 0.6 * h),
                (x + lean, y - h),
                (x + lean * 0.4 + 0.008, y - 0.6 * h),
                (x + 0.006, y),
            ]
            canvas.fill(canvas.mask(blade), base * rng.uniform(0.7, 1.3), None)
    if habitat in ("lake", "shore"):
        top = horizon + (0.0 if habitat == "lake" else -0.12)
        if habitat == "shore":
            sea = [(-0.02, top), (1.02, top), (1.02, horizon + 0.02), (-0.02, horizon + 0.06)]
            canvas.fill(canvas.mask(sea), np.array((70, 138, 170)) * light, None, shade=grain)
        for _ in range(int(rng.integers(8, 16))):
            x, y, w = (
                rng.uniform(0, 1),
                rng.uniform(top, 1 if habitat == "lake" else horizon),
                rng.uniform(0.05, 0.2),
            )
            canvas.fill(canvas.mask(_ellipse(x, y, w, 0.006, n=14)), np.array((226, 238, 242)), None, opacity=0.45)
    if habitat in ("desert", "shore", "snow"):
        for _ in range(int(rng.integers(3, 8))):
            _paint_stone(
                canvas,
                (rng.uniform(0, 1), rng.uniform(horizon, 1)),
                rng.uniform(0.02, 0.07),
                ground * rng.uniform(0.55, 0.85),
                rng,
            )
    if habitat == "desert":
        for _ in range(int(rng.integers(1, 3))):
            x, y, h = rng.uniform(0.05, 0.95), horizon + rng.uniform(0.0, 0.15), rng.uniform(0.16, 0.3)
            green = np.array((84, 124, 76)) * rng.uniform(0.8, 1.15)
            for dx, lo, hi in ((0, 0, 1), (-0.22, 0.45, 0.85), (0.22, 0.35, 0.75)):
                canvas.fill(
                    canvas.line([(x + dx * h, y - lo * h), (x + dx * h, y - hi * h)], 0.13 * h),
                    green,
                    None,
                    shade=grain,
                )
                if dx:
                    canvas.fill(
                        canvas.line([(x, y - lo * h - 0.03 * h), (x + dx * h, y - lo * h - 0.03 * h)], 0.1 * h),
                        green,
                        None,
                        shade=grain,
                    )
    if habitat == "snow":
        for _ in range(int(rng.integers(2, 5))):
            x, y, h = rng.uniform(0, 1), horizon + rng.uniform(-0.02, 0.08), rng.uniform(0.15, 0.34)
            for k in range(3):
                lift, w = y - h * (0.15 + 0.26 * k), h * (0.3 - 0.07 * k)
                canvas.fill(
                    canvas.mask([(x - w, lift), (x, lift - 0.42 * h), (x + w, lift)]),
                    np.array((58, 92, 82)) * (0.85 + 0.15 * k),
                    None,
                    shade=grain,
                )
                canvas.fill(
                    canvas.mask([(x - 0.4 * w, lift - 0.24 * h), (x, lift - 0.42 * h), (x + 0.4 * w, lift - 0.24 * h)]),
                    np.array((240, 244, 250)),
                    None,
                    opacity=0.85,
                )


def _paint_hill(canvas: _Canvas, level: float, colour: np.ndarray, rng: np.random.Generator, grain: np.ndarray) -> None:
    heights = level + 0.06 * rng.standard_normal(4)
    xs = np.linspace(-0.05, 1.05, 24)
    ys = np.interp(xs, np.linspace(-0.05, 1.05, 4), heights)
    ys = np.convolve(np.pad(ys, 3, mode="edge"), np.ones(7) / 7, mode="valid")
    canvas.fill(canvas.mask([*zip(xs, ys), (1.05, 1.1), (-0.05, 1.1)]), colour, None, shade=grain)


def _paint_leaf(
    canvas: _Canvas, at: Point, length: float, rng: np.random.Generator, *, front: bool, autumn: bool = False
) -> None:
    angle, dim = rng.uniform(0, 360), rng.uniform(0.7, 1.25)
    palette = ((196, 90, 40), (214, 150, 50), (150, 60, 40)) if autumn else ((64, 118, 54), (92, 142, 60), (44, 92, 58))
    colour = np.array(palette[int(rng.integers(3))], np.float32) * dim
    outline = [
        (px * length, py * length)
        for px, py in (
            (-1, 0),
            (-0.5, -0.32),
            (0.1, -0.38),
            (0.65, -0.2),
            (1, 0),
            (0.65, 0.2),
            (0.1, 0.38),
            (-0.5, 0.32),
        )
    ]
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))

    def turn(points: Sequence[Point]) -> list[Point]:
        return [(at[0] + px * c - py * s, at[1] + px * s + py * c) for px, py in points]

    canvas.fill(canvas.mask(turn(outline)), colour, "" if front else None)
    canvas.fill(canvas.line(turn([(-length, 0), (length, 0)]), 0.06 * length + 0.002), colour * 0.72, None)


def _paint_stone(canvas: _Canvas, at: Point, radius: float, colour: np.ndarray, rng: np.random.Generator) -> None:
    turns = np.sort(rng.uniform(0, 2 * math.pi, 8))
    stretch = rng.uniform(0.75, 1.1, 8)
    mask = canvas.mask(
        [
            (at[0] + radius * 1.2 * r * math.cos(t), at[1] + radius * 0.8 * r * math.sin(t))
            for t, r in zip(turns, stretch)
        ]
    )
    canvas.fill(mask, colour, None)
    canvas.fill(
        canvas.mask(
            _ellipse(at[0] - 0.25 * radius, at[1] - 0.25 * radius, 0.5 * radius, 0.28 * radius, n=12),
            clip=mask,
        ),
        colour * 1.25,
        None,
        opacity=0.6,
    )


def _paint_object(canvas: _Canvas, rng: np.random.Generator) -> tuple[str, str]:
    """A distractor in a bird's colours; returns its kind and colour."""
    kind = OBJECTS[int(rng.integers(len(OBJECTS)))]
    name = str(rng.choice(list(COLOURS)))
    colour = _tone(rng, name)
    x, y = rng.uniform(0.02, 0.98), rng.uniform(0.05, 0.98)
    r = rng.uniform(0.022, 0.05)
    angle = rng.uniform(0, 360)
    if kind == "flower":
        canvas.fill(
            canvas.line([(x, y), (x + rng.uniform(-0.02, 0.02), y + 3.2 * r)], 0.007),
            np.array((72, 122, 56)),
            None,
        )
        for k in range(6):
            t = math.radians(angle + 60 * k)
            canvas.fill(
                canvas.mask(
                    _ellipse(
                        x + 0.62 * r * math.cos(t),
                        y + 0.62 * r * math.sin(t),
                        0.5 * r,
                        0.32 * r,
                        angle + 60 * k,
                        n=14,
                    )
                ),
                colour,
                None,
            )
        canvas.fill(
            canvas.mask(_ellipse(x, y, 0.32 * r, 0.32 * r, n=12)),
            np.array((246, 216, 96)) if name != "yellow" else np.array((120, 78, 40)),
            None,
        )
    elif kind == "berry":
        for dx, dy in ((-0.5, 0.25), (0.5, 0.3), (0.0, -0.4)):
            canvas.fill(canvas.mask(_ellipse(x + dx * r, y + dy * r, 0.5 * r, 0.5 * r, n=16)), colour, None)
            canvas.fill(
                canvas.mask(_ellipse(x + dx * r - 0.14 * r, y + dy * r - 0.16 * r, 0.13 * r, 0.13 * r, n=8)),
                np.array((255, 255, 255)),
                None,
                opacity=0.8,
            )
    elif kind == "butterfly":
        for side in (-1, 1):
            canvas.fill(
                canvas.mask(_ellipse(x + side * 0.55 * r, y - 0.3 * r, 0.6 * r, 0.42 * r, side * -35, n=16)),
                colour,
                None,
            )
            canvas.fill(
                canvas.mask(_ellipse(x + side * 0.42 * r, y + 0.38 * r, 0.4 * r, 0.32 * r, side * 35, n=14)),
                colour * 0.85,
                None,
            )
            canvas.fill(
                canvas.mask(_ellipse(x + side * 0.65 * r, y - 0.35 * r, 0.16 * r, 0.16 * r, n=8)),
                _contrast(colour),
                None,
            )
        canvas.fill(canvas.line([(x, y - 0.6 * r), (x, y + 0.6 * r)], 0.18 * r), np.array((36, 30, 32)), None)
    elif kind == "mushroom":
        canvas.fill(canvas.line([(x, y), (x, y + 0.9 * r)], 0.45 * r), np.array((232, 220, 198)), None)
        cap = [(x + r * math.cos(t), y + 0.85 * r * math.sin(t)) for t in np.linspace(math.pi, 2 * math.pi, 14)]
        mask = canvas.mask(cap)
        canvas.fill(mask, colour, None)
        for dx, dy in ((-0.5, -0.25), (0.05, -0.5), (0.5, -0.22)):
            canvas.fill(
                canvas.mask(_ellipse(x + dx * r, y + dy * r, 0.15 * r, 0.13 * r, n=10), clip=mask),
                _contrast(colour),
                None,
            )
    elif kind == "stone":
        _paint_stone(canvas, (x, y), r, colour, rng)
    else:
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        tip, root = (x + 1.3 * r * c, y + 1.3 * r * s), (x - 1.3 * r * c, y - 1.3 * r * s)
        vane = canvas.mask(_ellipse(x, y, 1.25 * r, 0.36 * r, angle, taper=-0.25, n=20))
        canvas.fill(vane, colour, None)
        for along in (-0.5, 0.0, 0.5):
            cx, cy = x + along * r * c, y + along * r * s
            canvas.fill(
                canvas.line(
                    [(cx - 0.5 * r * s, cy + 0.5 * r * c), (cx + 0.5 * r * s, cy - 0.5 * r * c)],
                    0.13 * r,
                    clip=vane,
                ),
                _contrast(colour),
                None,
            )
        canvas.fill(canvas.line([root, tip], 0.005), np.array((238, 232, 220)), None)
    return kind, name


def _light(canvas: _Canvas, night: float, rng: np.random.Generator) -> np.ndarray:
    """The hour's colour cast, a vignette, a little grain, and as much of the night as `night` says; (S, S, 3) uint8."""
    image = canvas.image
    size = canvas.size
    cast = 1 + rng.uniform(-0.06, 0.06, 3).astype(np.float32)
    image = image * cast * np.float32(rng.uniform(0.88, 1.08))
    across = np.linspace(-1, 1, size, dtype=np.float32)
    image *= (1 - 0.14 * (across[:, None] ** 2 + across[None, :] ** 2) / 2)[..., None]
    image += 4 * _noise(rng, size, 80)[..., None]
    if night:
        grey = image.mean(axis=2, keepdims=True)
        dark = (0.55 * image + 0.45 * grey) * np.array((0.36, 0.44, 0.66), np.float32) + np.array(
            (4, 6, 18), np.float32
        )
        image = np.float32(1 - night) * image + np.float32(night) * dark
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _sketch(image: np.ndarray, severity: float) -> np.ndarray:
    """A coloured-pencil drawing over the picture, by `severity`: paper, hatching, dark contours, washed colours."""
    size = image.shape[0]
    smooth = cv2.GaussianBlur(image, (0, 0), size / 160)
    grey = smooth.astype(np.float32).mean(axis=2)
    gx, gy = np.gradient(grey)
    edge = np.clip(np.hypot(gx, gy) * size / 160 * 4, 0, 255)
    washed = 0.45 * smooth.astype(np.float32) + 0.55 * 246
    i, j = np.mgrid[0:size, 0:size] * (160 / size)
    hatch = ((i + j) % 5 < 1.6) & (grey < 110)
    out = washed - 0.8 * edge[..., None] - 34 * hatch[..., None]
    out = np.float32(1 - severity) * image + np.float32(severity) * out
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)
