"""Which patches stand for a region and which tokens for a sentence, against pixels and against the tokenizer."""

import math
from fractions import Fraction

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

from lgca_core.boxes import whole
from lgca_core.errors import LgcaError
from lgca_core.pixels.cropping import crops
from lgca_core.pixels.pillow_weights import Resize
from lgca_core.related.goal.geometry import CaptionReader, PatchGrid, padded

GRIDS = [PatchGrid(56, 8, Resize()), PatchGrid(224, 16, Resize()), PatchGrid(224, 14, Resize())]
SQUASHED = PatchGrid(64, 8, Resize("bicubic", "squash"))


def in_input(grid: PatchGrid, box, width, height) -> list[list[Fraction]]:
    """Where a box ends in the input, clamped: [left, right], [top, bottom]. Sides and crop are torchvision's."""
    out = []
    for low, high, of in _axes(box, width, height):
        new = grid.size if grid.resize.mode == "squash" else int(grid.size * of / min(width, height))
        cut = round((new - grid.size) / 2.0)
        out.append([min(max(Fraction(end * new, of) - cut, Fraction(0)), Fraction(grid.size)) for end in (low, high)])
    return out


def by_formula(grid: PatchGrid, box, width, height) -> torch.Tensor:
    """Columns floor(x1' / p) to ceil(x2' / p) - 1, rows likewise, one patch at a time."""
    ends = in_input(grid, box, width, height)
    out = torch.zeros(grid.side, grid.side, dtype=torch.bool)
    if all(low < high for low, high in ends):
        (c1, c2), (r1, r2) = ((math.floor(low / grid.patch), math.ceil(high / grid.patch)) for low, high in ends)
        for row in range(r1, r2):
            for column in range(c1, c2):
                out[row, column] = True
    return out.flatten()


def _axes(box, width, height):
    return (box[0], box[2], width), (box[1], box[3], height)


def centre_of(mask: torch.Tensor, grid: PatchGrid) -> tuple[float, float]:
    """Mean of the patches' own coordinates over those that are chosen, in pixels of the input: (x, y)."""
    place = (torch.arange(grid.side) + 0.5) * grid.patch
    tokens = torch.stack([place.repeat(grid.side), place.repeat_interleave(grid.side)], 1)  # (P, 2)
    return tuple(tokens[mask].mean(0).tolist())


@pytest.mark.parametrize("grid", GRIDS, ids=["7", "14", "16"])
@pytest.mark.parametrize("sides", [(1, 1), (3, 2), (2, 3)], ids=["square", "wide", "high"])
def test_the_mean_of_a_box_of_whole_patches_is_its_centre(grid, sides):
    width, height = (side * grid.size for side in sides)  # not resized where the shorter side is the input's
    short = min(width, height)
    k = grid.size / short
    left, top = (round((of * k - grid.size) / 2) for of in (width, height))
    for x1, y1, x2, y2 in [(0, 0, 1, 1), (1, 2, 4, 3), (0, 0, grid.side, grid.side), (grid.side - 1, 0, grid.side, 2)]:
        seen = [n * grid.patch for n in (x1, y1, x2, y2)]  # in the input
        box = tuple(round((of + cut) / k) for of, cut in zip(seen, (left, top, left, top), strict=True))
        mask = grid.touched(box, width, height)
        assert int(mask.sum()) == (x2 - x1) * (y2 - y1)
        assert centre_of(mask, grid) == pytest.approx(((seen[0] + seen[2]) / 2, (seen[1] + seen[3]) / 2))


@st.composite
def boxes(draw):
    """A picture's sides and a box in it, as often as not a tiny one or one at the border."""
    width, height = draw(st.integers(30, 400)), draw(st.integers(30, 400))
    ends = []
    for of in (width, height):
        low = draw(st.one_of(st.just(0), st.integers(0, of - 1)))
        ends.append((low, draw(st.one_of(st.just(low + 1), st.just(of), st.integers(low + 1, of)))))
    (x1, x2), (y1, y2) = ends
    return (x1, y1, x2, y2), width, height


@given(st.sampled_from([*GRIDS, SQUASHED]), boxes())
@settings(max_examples=300, deadline=None)
def test_patches_are_those_of_the_formula(grid, where):
    assert torch.equal(grid.touched(*where), by_formula(grid, *where))


@given(st.sampled_from([*GRIDS, SQUASHED]), boxes())
@settings(max_examples=200, deadline=None)
def test_the_mean_of_any_box_is_its_centre_to_half_a_patch(grid, where):
    """Of what is left of it in the input; patches that it touches reach beyond it by less than one each side."""
    mask, ends = grid.touched(*where), in_input(grid, *where)
    assert bool(mask.any()) == all(low < high for low, high in ends)
    if mask.any():
        for mean, (low, high) in zip(centre_of(mask, grid), ends, strict=True):
            assert abs(mean - (low + high) / 2) < grid.patch / 2 + 1e-9


@pytest.mark.parametrize("size", [(160, 160), (300, 100), (90, 210)])
@pytest.mark.parametrize("grid", [GRIDS[0], SQUASHED], ids=["cropped", "squashed"])
def test_pixels_change_in_the_touched_patches(grid, size):
    """A box painted into a picture shows, after the real preprocessing, in the patches that are said, and in no other
    but for the blur of resizing."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        x1, y1 = rng.integers(0, size[0] - 20), rng.integers(0, size[1] - 20)
        box = (int(x1), int(y1), int(rng.integers(x1 + 8, size[0] + 1)), int(rng.integers(y1 + 8, size[1] + 1)))
        blank, painted = Image.new("RGB", size), Image.new("RGB", size)
        painted.paste((255, 255, 255), box)
        every = whole(size[1], size[0])
        before, after = (crops(image, every, grid.size, grid.resize)[0] for image in (blank, painted))
        change = (after.int() - before.int()).abs().amax(0)  # (S, S)
        strong = change.view(grid.side, grid.patch, grid.side, grid.patch).amax((1, 3)).flatten() > 140
        touched = grid.touched(box, *size)
        assert not (strong & ~touched).any()
        inner = grid.touched((box[0] + 3, box[1] + 3, box[2] - 3, box[3] - 3), *size)
        assert not (inner & ~strong).any()


def test_a_region_outside_of_the_centre_crop_touches_nothing():
    assert not GRIDS[0].touched((0, 0, 90, 100), 300, 100).any()
    assert not GRIDS[0].touched((200, 0, 300, 100), 300, 100).any()
    assert GRIDS[0].touched((199, 0, 300, 100), 300, 100).any()


def numbers(mask: torch.Tensor) -> list[int]:
    return mask.nonzero()[:, 0].tolist()


def test_arms_by_hand():
    """A 128 x 128 picture seen at 64 pixels in patches of 8; a region of 32 x 16 at (64, 48)."""
    grid, box = PatchGrid(64, 8, Resize()), (64, 48, 96, 64)
    assert numbers(grid.by_rule("right", box, 128, 128)) == [8 * 3 + 4, 8 * 3 + 5]
    # Divided by the region's sides: 64 / 32 = 2 and 48 / 16 = 3 inputs from the corner, outside of it.
    assert numbers(grid.by_rule("region-size", box, 128, 128)) == []
    # x: 8 / 32 of 64 = 16 to 80, y: 8 / 16 of 64 = 32 to 96: from there to the bottom right corner, as released.
    mask = grid.by_rule("region-size", (8, 8, 40, 24), 128, 128)
    assert numbers(mask) == [8 * row + column for row in range(4, 8) for column in range(2, 8)]
    # Of a wide picture the middle is seen; squashed, the box lies elsewhere.
    assert numbers(grid.by_rule("right", (128, 0, 144, 16), 256, 128)) == [4]
    assert numbers(grid.by_rule("squashed", (128, 0, 144, 16), 256, 128)) == [4]
    assert numbers(grid.by_rule("squashed", (64, 0, 80, 16), 256, 128)) == [2]
    assert numbers(grid.by_rule("right", (64, 0, 80, 16), 256, 128)) == [0]
    # Patches of 16: 4 a row, whose numbers are taken for those of 8 a row.
    assert numbers(grid.by_rule("stride-16", box, 128, 128)) == [4 * 1 + 2]
    assert torch.equal(GRIDS[1].by_rule("stride-16", box, 128, 128), GRIDS[1].touched(box, 128, 128))


def test_random_boxes_are_keyed_and_keep_their_sides():
    grid = PatchGrid(64, 8, Resize())
    boxes = [grid.by_rule("random", (64, 48, 96, 64), 128, 128, seed=1, key=str(n)) for n in range(600)]
    assert torch.equal(boxes[3], grid.by_rule("random", (64, 48, 96, 64), 128, 128, seed=1, key="3"))
    assert len({tuple(numbers(mask)) for mask in boxes}) > 20
    assert {int(mask.sum()) for mask in boxes} <= {2, 3, 4, 6}  # 16 x 8 pixels of the input
    assert torch.stack(boxes).any(0).all()
    assert grid.by_rule("random", (0, 0, 128, 128), 128, 128, seed=1, key="all").all()


@pytest.fixture(scope="module")
def reader() -> CaptionReader:
    return CaptionReader(open_clip.get_tokenizer("ViT-B-32"), 248)


CAPTION = 'A jay sits here. It has a white crown.  It has a white crown. "Oh no!" it cries at 3.5 m. Why? The end'


@pytest.mark.parametrize(
    "sentence", ["A jay sits here.", "It has a white crown.", '"Oh no!"', "it cries at 3.5 m.", "Why?", "The end"]
)
def test_tokens_of_a_sentence_are_those_of_its_words(reader, sentence):
    start = CAPTION.index(sentence)
    first, last = reader.span(CAPTION, start, start + len(sentence))
    ids = reader.read(CAPTION).ids
    assert ids[first:last] == reader.tokenizer.encode(sentence.rstrip("."))


WORDS = st.text("abcxyz ABC0123456789.,;:!?'()\"-é&", min_size=1, max_size=12).filter(
    lambda text: text.strip(" .") != ""
)


@given(st.lists(WORDS, min_size=1, max_size=5), st.data())
@settings(max_examples=150, deadline=None)
def test_tokens_of_a_part_between_blanks_are_its_own(reader, parts, data):
    """Whatever it holds; its number of tokens and their mean place are those of the part read by itself."""
    texts = [" ".join(part.split()) for part in parts]
    number = data.draw(st.integers(0, len(texts) - 1))
    caption, start = " ".join(texts), sum(len(text) + 1 for text in texts[:number])
    span = reader.span(caption, start, start + len(texts[number]))
    encode = reader.tokenizer.encode
    before, own = (len(encode(text)) for text in (" ".join(texts[:number]), texts[number].rstrip(".")))
    if span is None:  # allowed only where the tokenizer reads the whole otherwise than its parts
        assert encode(caption)[: before + own] != encode(" ".join(texts[:number])) + encode(texts[number].rstrip("."))
        return
    first, last = span
    assert (first, last) == (before + 1, before + own + 1)
    assert float(torch.arange(248.0)[first:last].mean()) == (first + last - 1) / 2


def test_the_mean_of_tokens_that_are_their_own_index(reader):
    start = CAPTION.index("It has")
    second = CAPTION.index("It has", start + 1)  # the same sentence again, at its own place
    spans = [reader.span(CAPTION, at, at + len("It has a white crown.")) for at in (start, second)]
    assert spans[1][0] - spans[0][0] == len(reader.tokenizer.encode("It has a white crown."))
    for first, last in spans:
        chosen = torch.arange(248)[first:last].double()
        assert float(chosen.mean()) == (first + last - 1) / 2


def test_late_spans_lose_the_first_token_and_take_the_stop(reader):
    start, end = CAPTION.index("It has"), CAPTION.index("crown.") + 6
    first, last = reader.span(CAPTION, start, end)
    assert reader.span(CAPTION, start, end, "late") == (first + 1, last + 1)
    assert reader.read(CAPTION).ids[last] == reader.tokenizer.encode(".")[0]


def test_beyond_the_window_there_is_no_span_but_in_the_arm():
    reader = CaptionReader(open_clip.get_tokenizer("ViT-B-32"), 12)
    text = "one two three four five. six seven eight nine ten. eleven twelve"
    tokens = reader.read(text)
    assert len(tokens.ids) == 12 and tokens.ids[-1] == reader.tokenizer.eot_token_id
    assert tokens.cut == len(reader.tokenizer.encode(text)) - 10
    assert reader.span(text, 0, 24) == (1, 6)
    start = text.index("six")
    assert reader.span(text, start, start + len("six seven eight nine")) == (7, 11)
    assert reader.span(text, start, start + len("six seven eight nine ten.")) is None
    assert reader.span(text, start, start + len("six seven eight nine ten."), "overflow") == (6, 11)
    assert reader.span(text, text.index("eleven"), len(text), "overflow") == (9, 11)


def test_a_sentence_whose_tokens_are_not_its_own_has_no_span(reader):
    assert reader.span("wren", 0, 2) is None  # within a word


def test_other_tokenizers_are_refused():
    with pytest.raises(LgcaError, match="CLIP's own tokenizer"):
        CaptionReader(lambda texts: None, 77)


def test_padding_is_of_zeros_after_the_end():
    assert padded([[1, 2, 3], [4]]).tolist() == [[1, 2, 3], [4, 0, 0]]
    assert padded([[1]], 3).tolist() == [[1, 0, 0]]
