"""Pixels: Pillow and torchvision are the reference, and every number must be theirs."""

import io
import logging
import os
import struct
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.cbook
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision.transforms import Compose

from lgca_core.bench.pipeline import paint_photographs
from lgca_core.boxes import draw_squares, whole
from lgca_core.errors import LgcaError
from lgca_core.pixels import cropping, torch_crops
from lgca_core.pixels.cropping import crops, crops_on_device, crops_pillow
from lgca_core.pixels.pictures import MAX_PIXELS, open_picture, picture_tensor
from lgca_core.pixels.pillow_weights import BICUBIC, Resize
from lgca_core.pixels.torch_crops import crops_int32
from support.stub_encoder import header_of_png

ORIENTATION = 0x0112


WAYS = [Resize(kind, mode) for kind in ("bicubic", "bilinear") for mode in ("shortest", "squash")]


def reference(image: Image.Image, boxes: torch.Tensor, size: int, resize: Resize = BICUBIC) -> torch.Tensor:
    """What open_clip's preprocessing makes of the crops, up to the tensor."""
    said = PreprocessCfg(size=size, interpolation=resize.interpolation, resize_mode=resize.mode)
    *steps, _to_rgb, _to_tensor, _normalise = image_transform_v2(said, is_train=False).transforms
    transform = Compose(steps)
    out = np.empty((len(boxes), 3, size, size), dtype=np.uint8)
    for i, (top, left, height, width) in enumerate(boxes.tolist()):
        out[i] = np.asarray(transform(image.crop((left, top, left + width, top + height)))).transpose(2, 0, 1)
    return torch.from_numpy(out)


def assert_exact(image: Image.Image, boxes: torch.Tensor, size: int, resize: Resize = BICUBIC) -> None:
    expected = reference(image, boxes, size, resize)
    for name, found in (
        ("crops", crops(image, boxes, size, resize, threads=2)),
        ("crops_pillow", crops_pillow(image, boxes, size, resize, threads=2)),
        ("crops_int32", crops_int32(picture_tensor(image), boxes, size, resize)),
    ):
        assert found.shape == expected.shape and found.dtype == torch.uint8
        wrong = (found != expected).flatten(1).any(1)
        assert not wrong.any(), f"{name} at {size}, {resize}: boxes {boxes[wrong].tolist()} of {image.size[::-1]}"


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    """Noise with many blacks and whites: overshoot on both sides, no two pixels alike."""
    values = np.random.default_rng(seed).integers(-128, 384, (height, width, 3)).clip(0, 255)
    return Image.fromarray(values.astype(np.uint8))


@pytest.fixture(scope="module")
def hopper() -> Image.Image:
    return open_picture(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


# -- crops: every number is Pillow's -------------------------------------------------------------------------


@st.composite
def cases(draw_from):
    height, width = draw_from(st.integers(1, 160)), draw_from(st.integers(1, 160))
    size = draw_from(st.sampled_from([1, 2, 7, 16, 31, 32, 64]))
    boxes = []
    for _ in range(draw_from(st.integers(1, 6))):
        h, w = draw_from(st.integers(1, height)), draw_from(st.integers(1, width))
        if draw_from(st.booleans()):
            h = w = min(h, w)
        top = draw_from(st.sampled_from([0, height - h, (height - h) // 2]))
        left = draw_from(st.sampled_from([0, width - w, (width - w) // 2]))
        boxes.append([top, left, h, w])
    return (
        noise(height, width, draw_from(st.integers(0, 99))),
        torch.tensor(boxes),
        size,
        draw_from(st.sampled_from(WAYS)),
    )


@given(case=cases())
@settings(max_examples=300)
def test_crops_equal_pillow_bit_for_bit(case):
    assert_exact(*case)


@pytest.mark.parametrize("resize", WAYS)
@pytest.mark.parametrize("size", [32, 224])
def test_a_photograph(hopper, size, resize):
    n = 20 if size == 32 else 4
    boxes = draw_squares(hopper.height, hopper.width, n, 0.1, 0.9, seed=0, identity="hopper")
    assert_exact(hopper, torch.cat([boxes, whole(hopper.height, hopper.width)]), size, resize)


@pytest.mark.parametrize("shape", [(400, 30), (61, 30), (60, 30), (30, 400), (90, 33), (34, 33)])
@pytest.mark.parametrize("size", [8, 29, 40])
@pytest.mark.parametrize("resize", WAYS)
def test_tall_and_wide_boxes(shape, size, resize):
    """Pillow 13 swaps the passes for boxes about twice as tall as wide, and the rounding in between shows."""
    assert_exact(noise(*shape), whole(*shape), size, resize)


def test_a_square_is_the_same_squashed_and_another_box_is_not():
    image, square, wide = noise(60, 90), torch.tensor([[3, 5, 40, 40]]), whole(60, 90)
    for kind in ("bicubic", "bilinear"):
        same = [
            torch.equal(*(crops(image, box, 16, Resize(kind, mode)) for mode in ("shortest", "squash")))
            for box in (square, wide)
        ]
        assert same == [True, False]
    assert len({way.said for way in WAYS}) == 4
    assert BICUBIC.said == "crop, bicubic with anti-aliasing to the shorter side, centre crop (Pillow's numbers)"


def test_one_pixel_boxes_at_every_edge():
    image = noise(5, 7)
    boxes = torch.tensor([[t, left, 1, 1] for t in (0, 2, 4) for left in (0, 3, 6)])
    assert_exact(image, boxes, 9)
    found = crops(image, boxes, 9)
    assert (found == found[:, :, :1, :1]).all()  # nothing from outside the box


def test_size_of_the_box_is_the_identity():
    image = noise(40, 50)
    box = torch.tensor([[3, 5, 32, 32]])
    expected = picture_tensor(image)[:, 3:35, 5:37]
    assert torch.equal(crops(image, box, 32)[0], expected)
    assert torch.equal(crops_int32(picture_tensor(image), box, 32)[0], expected)


def test_odd_surplus_is_cut_as_torchvision_cuts_it():
    """Surplus 1, 3, 5, 7: Python rounds halves to even, so the crop starts at 0, 2, 2, 4."""
    for surplus in (1, 3, 5, 7):
        assert_exact(noise(16, 16 + surplus), whole(16, 16 + surplus), 16)
        assert_exact(noise(16 + surplus, 16), whole(16 + surplus, 16), 16)


def test_a_picture_of_one_pixel():
    image = Image.new("RGB", (1, 1), (1, 2, 3))
    assert_exact(image, whole(1, 1), 8)
    assert crops(image, whole(1, 1), 8)[0, :, 4, 4].tolist() == [1, 2, 3]


def test_many_boxes_in_small_launches(monkeypatch):
    """The memory bound changes neither values nor their order."""
    image = noise(120, 90)
    boxes = draw_squares(120, 90, 50, 0.05, 1, seed=0, identity="x")
    tall = torch.tensor([[0, 0, 120, 20], [5, 3, 100, 40], [0, 0, 120, 90]])
    boxes = torch.cat([boxes[:25], tall, boxes[25:]])
    launches = []
    plain = torch_crops._cut_int32
    monkeypatch.setattr(torch_crops, "CHUNK_BYTES", 2**19)
    monkeypatch.setattr(torch_crops, "_cut_int32", lambda *args: launches.append(len(args[1])) or plain(*args))
    assert torch.equal(crops_int32(picture_tensor(image), boxes, 16), reference(image, boxes, 16))
    assert 5 < len(launches) < 30 and sum(launches) == len(boxes)


def test_launches_are_bounded_and_batched():
    boxes = draw_squares(3000, 4000, 2000, 0.05, 0.9, seed=0, identity="x").numpy()
    groups = list(torch_crops._launches(boxes, 224, BICUBIC))
    assert sorted(np.concatenate(groups).tolist()) == list(range(2000))
    assert len(groups) < 200  # about 20 launches a gigabyte, not one a box
    for group in groups:
        rows = boxes[group, 2].max()
        assert len(group) == 1 or 27 * 224 * rows * len(group) <= torch_crops.CHUNK_BYTES


@pytest.mark.parametrize("shape", [(3000, 1), (1, 3000)])
def test_thin_boxes_need_no_giant_picture(shape, monkeypatch):
    """1 x 3,000 at 64 is 64 x 192,000 before the centre crop: same numbers without making it."""
    image = noise(*shape)
    expected = reference(image, whole(*shape), 64)
    monkeypatch.setattr(cropping, "PILLOW_PIXELS", 2**20)
    sizes = []
    plain = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, size, *a: sizes.append(size) or plain(self, size, *a))
    square = torch.tensor([[0, 0, 1, 1]])
    found = crops_pillow(image, torch.cat([square, whole(*shape), square]), 64)
    assert torch.equal(found[1:2], expected)
    assert sizes == [[64, 64]] * 2
    assert (found[0] == found[0][:, :1, :1]).all() and torch.equal(found[0], found[2])


def test_threads_change_nothing_and_are_shared(hopper, monkeypatch):
    boxes = draw_squares(hopper.height, hopper.width, 30, 0.1, 0.9, seed=1, identity="hopper")
    expected = crops(hopper, boxes, 32, threads=1)
    made = []
    monkeypatch.setattr(
        cropping, "ThreadPoolExecutor", lambda threads, **named: made.append(threads) or ThreadPoolExecutor(threads)
    )
    cropping._pool.cache_clear()
    for threads in (2, 3, None):
        assert torch.equal(crops(hopper, boxes, 32, threads=threads), expected)
    with ThreadPoolExecutor(4) as pool:  # pictures are cut side by side
        for found in pool.map(lambda _: crops(hopper, boxes, 32, threads=3), range(12)):
            assert torch.equal(found, expected)
    assert made.count(3) <= 1 and len(made) == len(set(made))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_makes_its_own_threads(hopper):
    boxes = draw_squares(hopper.height, hopper.width, 4, 0.1, 0.3, seed=1, identity="hopper")
    crops(hopper, boxes, 8, threads=2)
    assert cropping._pool.cache_info().currsize > 0
    child = os.fork()
    if child == 0:
        os._exit(cropping._pool.cache_info().currsize)  # a pool without its threads would wait for ever
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_pillow_resizes_only_where_nothing_is_compiled(hopper, monkeypatch):
    """Numba is among what is installed for the tests."""
    box = torch.tensor([[10, 20, 300, 200]])
    expected = crops_pillow(hopper, box, 32)
    resizes = []
    plain = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, *a: resizes.append(a) or plain(self, *a))
    assert torch.equal(crops(hopper, box, 32), expected) and not resizes
    assert cropping.cutter(torch.device("cpu")) == "numba"
    monkeypatch.setattr(cropping, "_numba", lambda: None)
    assert torch.equal(crops(hopper, box, 32), expected) and len(resizes) == 1
    assert cropping.cutter(torch.device("cpu")) == "pillow"


@pytest.mark.parametrize("error", [ModuleNotFoundError("no numba"), RuntimeError("no locator available")])
def test_what_cannot_be_compiled_here_is_done_without(error):
    """Numba wants a folder to keep what it compiles in: in a container there may be none to write to."""
    code = (
        "import sys, types\n"
        "numba = types.ModuleType('numba')\n"
        f"def njit(*words, **more): raise {error!r}\n"
        "numba.njit = numba.prange = njit\n"
        "sys.modules['numba'] = numba\n"
        "import torch\n"
        "from lgca_core.pixels import cutter\n"
        "print(cutter(torch.device('cpu')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "pillow\n", done.stderr


def test_no_boxes(hopper):
    none = torch.empty((0, 4), dtype=torch.int64)
    assert crops(hopper, none, 8).shape == (0, 3, 8, 8)
    assert crops_pillow(hopper, none, 8).shape == (0, 3, 8, 8)
    assert crops_int32(picture_tensor(hopper), none, 8).shape == (0, 3, 8, 8)


def test_output_is_contiguous(hopper):
    assert crops(hopper, whole(600, 512), 8).is_contiguous()
    assert crops_int32(picture_tensor(hopper), whole(600, 512), 8).is_contiguous()


@pytest.mark.gpu
def test_another_device_gives_the_same_bits(hopper):
    boxes = draw_squares(hopper.height, hopper.width, 60, 0.05, 0.9, seed=2, identity="hopper")
    boxes = torch.cat([boxes, torch.tensor([[0, 0, 600, 100], [0, 0, 100, 500]])])
    found = crops_int32(picture_tensor(hopper).cuda(), boxes, 224)
    assert found.is_cuda and torch.equal(found.cpu(), crops(hopper, boxes, 224))
    for resize in WAYS:
        fused = crops_on_device(picture_tensor(hopper).cuda(), boxes, 224, resize)
        assert fused.is_cuda and torch.equal(fused.cpu(), crops(hopper, boxes, 224, resize))


def test_refusals(hopper):
    pixels = picture_tensor(hopper)
    outside = torch.tensor([[0, 0, 601, 10]])
    for call in (lambda: crops(hopper, outside, 8), lambda: crops_int32(pixels, outside, 8)):
        with pytest.raises(LgcaError, match=r"\(0, 0, 601, 10\)"):
            call()
    for call in (lambda: crops(hopper, whole(9, 9), 0), lambda: crops_int32(pixels, whole(9, 9), 0)):
        with pytest.raises(LgcaError, match="at least 1 pixel"):
            call()
    with pytest.raises(LgcaError, match="threads"):
        crops(hopper, whole(9, 9), 8, threads=0)
    with pytest.raises(LgcaError, match="RGB"):
        crops(hopper.convert("L"), whole(9, 9), 8)
    with pytest.raises(LgcaError, match="uint8"):
        crops_int32(pixels.float(), whole(9, 9), 8)


def test_pictures_as_large_as_photographs(tmp_path):
    for path in paint_photographs(tmp_path, 3):
        image = open_picture(path)
        boxes = draw_squares(image.height, image.width, 3, 0.28, 0.9, seed=0, identity=path.name)
        assert_exact(image, torch.cat([boxes, whole(image.height, image.width)]), 64)


# -- open_picture --------------------------------------------------------------------------------------------


def save(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    "mode, suffix",
    [("L", "jpg"), ("CMYK", "jpg"), ("P", "png"), ("RGBA", "png"), ("LA", "png"), ("1", "png"), ("P", "gif")],
)
def test_modes_become_rgb_as_pillow_converts(tmp_path, mode, suffix):
    path = save(noise(20, 30).convert(mode), tmp_path / f"x.{suffix}")
    image = open_picture(path)
    with Image.open(path) as raw:
        expected = np.asarray(raw.convert("RGB"))
    assert image.mode == "RGB" and image.size == (30, 20)
    assert np.array_equal(np.asarray(image), expected)
    assert_exact(image, torch.tensor([[0, 0, 20, 20], [3, 4, 5, 6]]), 12)


def test_grey_of_16_bits_is_refused_not_clipped(tmp_path):
    path = save(Image.fromarray(np.full((4, 4), 4096, dtype=np.uint16)), tmp_path / "x.png")
    with pytest.raises(LgcaError, match=r"x\.png.*8 bits"):
        open_picture(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_exif_orientation_is_honoured(tmp_path, orientation, suffix):
    """The upright picture is a red, a green and a blue field above a white one: all eight ways differ."""
    upright = np.zeros((32, 48, 3), dtype=np.uint8)
    upright[:16] = np.repeat(np.eye(3, dtype=np.uint8) * 255, 16, axis=0)
    upright[16:] = 255
    # How the camera stored it, by EXIF 2.3: where row 0 and column 0 of the stored picture lie.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"quality": 95, "subsampling": 0} if suffix == "jpg" else {}
    image = Image.fromarray(np.ascontiguousarray(stored))
    path = save(image, tmp_path / f"x.{suffix}", exif=exif, **options)
    found = np.asarray(open_picture(path)).astype(int)
    assert found.shape == upright.shape
    assert abs(found - upright).max() <= (8 if suffix == "jpg" else 0)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    path = save(frames[0], tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert open_picture(str(path)).getpixel((0, 0)) == (255, 0, 0)


def test_one_pixel_file(tmp_path):
    assert open_picture(save(Image.new("RGB", (1, 1), "red"), tmp_path / "x.png")).size == (1, 1)


def refusal(path: Path) -> str:
    with pytest.raises(LgcaError) as caught:
        open_picture(path)
    sentence = str(caught.value)
    assert str(path) in sentence and "\n" not in sentence
    return sentence


@pytest.mark.parametrize("share", [0.02, 0.3, 0.98])
def test_a_truncated_jpeg(tmp_path, share):
    data = io.BytesIO()
    noise(80, 90).save(data, "JPEG")
    path = tmp_path / "cut.jpg"
    path.write_bytes(data.getvalue()[: int(share * len(data.getvalue()))])
    assert "cut short" in refusal(path)


def test_no_picture_at_all(tmp_path):
    text, empty = tmp_path / "notes.jpg", tmp_path / "empty.jpg"
    text.write_text("not a picture, whatever its name says")
    empty.touch()
    assert "not a picture" in refusal(text)
    assert "file is empty" in refusal(empty)
    assert "no such file" in refusal(tmp_path / "missing.jpg")
    assert "folder" in refusal(tmp_path)


@pytest.mark.parametrize("width, height", [(20_000, 20_000), (10_000, 9_000), (1, MAX_PIXELS + 1)])
def test_too_large_a_picture_is_refused_unread(tmp_path, width, height):
    """Both where Pillow itself would refuse and where it would only warn."""
    path = tmp_path / "huge.png"
    path.write_bytes(header_of_png(width, height))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sentence = refusal(path)
    assert f"{MAX_PIXELS:,}" in sentence and "scale the picture down" in sentence


def test_the_limit_itself_is_not_too_large(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(header_of_png(1, MAX_PIXELS))
    assert "cut short" in refusal(path)


def palette_with_transparency(path: Path) -> Path:
    """Pillow warns when such a file is converted to RGB."""
    return save(noise(8, 8).convert("P"), path, transparency=bytes(range(256)))


def test_pillows_warnings_are_silent_in_threads_and_come_back(tmp_path):
    path = palette_with_transparency(tmp_path / "x.png")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        with ThreadPoolExecutor(8) as pool:
            assert all(image.mode == "RGB" for image in pool.map(open_picture, [path] * 64))
        assert not seen
        assert warnings.filters == filters
        with Image.open(path) as image:
            image.convert("RGB")
        assert len(seen) == 1  # Pillow does warn, and is heard again


def test_pillows_log_is_silent(tmp_path, capfd, monkeypatch):
    """A TIFF of 99 samples a pixel makes Pillow log an error, which Python prints where nobody listens."""
    data = io.BytesIO()
    noise(4, 4).save(data, "TIFF")
    entry = struct.pack("<HHI", 277, 3, 1) + struct.pack("<HH", 3, 0)  # SamplesPerPixel = 3
    assert entry in data.getvalue()
    path = tmp_path / "x.tiff"
    path.write_bytes(data.getvalue().replace(entry, entry[:8] + struct.pack("<HH", 99, 0)))
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest listens
    refusal(path)
    assert capfd.readouterr().err == ""
