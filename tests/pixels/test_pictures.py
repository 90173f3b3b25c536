"""Pictures in memory, formats that are read, and what is done on request."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from lgca_core.errors import LgcaError
from lgca_core.pixels.pictures import as_picture, open_picture

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def pixels(picture) -> np.ndarray:
    image = as_picture(picture)
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize(
    "picture",
    [
        RGB,
        RGB.transpose(2, 0, 1),
        RGB / 255,
        (RGB / 255).astype(np.float32).transpose(2, 0, 1),
        (RGB / 255).astype(np.float16),
        RGB[::-1][::-1],
        torch.tensor(RGB),
        torch.tensor(RGB).permute(2, 0, 1),
        (torch.tensor(RGB).permute(2, 0, 1) / 255).requires_grad_(),
        torch.tensor(RGB).permute(2, 0, 1).half() / 255,
        Image.fromarray(RGB),
        np.dstack([RGB, np.full((5, 7), 9, np.uint8)]),
    ],
    ids=range(12),
)
def test_every_kind_gives_the_same_pixels(picture):
    assert np.array_equal(pixels(picture), RGB)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (1, 5, 7)])
def test_grey_is_repeated(shape):
    grey = RGB[..., 0]
    for kind in (grey.reshape(shape), torch.tensor(grey).reshape(shape)):
        assert np.array_equal(pixels(kind), np.dstack([grey] * 3))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_modes_of_pillow(mode):
    image = Image.fromarray(RGB).convert(mode)
    assert np.array_equal(pixels(image), np.asarray(image.convert("RGB")))


def test_where_both_ends_could_be_the_channels():
    square = np.arange(3 * 6 * 3, dtype=np.uint8).reshape(3, 6, 3)
    assert np.array_equal(pixels(square), square)
    assert np.array_equal(pixels(torch.tensor(square)), square.transpose(1, 2, 0))


def test_a_picture_of_pillow_is_turned_upright():
    image = Image.fromarray(RGB)
    image.getexif()[274] = 6
    assert np.array_equal(pixels(image), np.rot90(RGB, -1))


@pytest.mark.parametrize(
    "picture, said",
    [
        (RGB.astype(np.float32), r"values in 0\.\.1, not in"),
        (RGB / 255 - 0.1, "undo its normalisation"),
        (np.full((4, 4), np.nan), "nan"),
        (torch.tensor(RGB).long(), "not int64"),
        (RGB > 9, "not bool"),
        (np.zeros((9, 9, 5), np.uint8), r"channels.*\(9, 9, 5\)"),
        (np.zeros((1, 3, 4, 4), np.uint8), r"\(1, 3, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (Image.new("RGB", (0, 4)), "no pixels"),
        (np.zeros((4, 4), np.uint16), "more than 8 bits"),
        ("photo.jpg", "open_picture"),
        ([RGB], "not list"),
        (None, "not NoneType"),
    ],
    ids=range(13),
)
def test_what_is_no_picture_is_refused_in_one_sentence(picture, said):
    with pytest.raises(LgcaError, match=said) as caught:
        as_picture(picture)
    assert "\n" not in str(caught.value)


def test_a_file_that_pillow_reads_only_now_and_is_cut_short(tmp_path):
    file = tmp_path / "x.png"
    Image.fromarray(np.tile(RGB, (20, 20, 1))).save(file)
    file.write_bytes(file.read_bytes()[:200])
    with Image.open(file) as image, pytest.raises(LgcaError, match="cannot be read"):
        as_picture(image)


def test_grey_of_16_bits_is_scaled_on_request(tmp_path):
    deep = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    expected = [[0, 1, 128, 255]]
    exif = Image.Exif()
    exif[274] = 3
    Image.fromarray(deep).save(tmp_path / "x.png")
    Image.fromarray(deep).save(tmp_path / "x.tiff")
    Image.fromarray(deep[:, ::-1]).save(tmp_path / "turned.png", exif=exif)
    for name in ("x.png", "x.tiff", "turned.png"):
        with pytest.raises(LgcaError, match="--scale-grey"):
            open_picture(tmp_path / name)
        found = np.asarray(open_picture(tmp_path / name, scale_grey=True))
        assert np.array_equal(found, np.dstack([np.array(expected, np.uint8)] * 3)), name
    assert np.array_equal(np.asarray(as_picture(deep, scale_grey=True))[..., 0], expected)
    floats = Image.fromarray((deep / 65535).astype(np.float32))
    assert np.array_equal(np.asarray(as_picture(floats, scale_grey=True))[..., 0], expected)
    with pytest.raises(LgcaError, match=r"outside 0\.\.1"):
        as_picture(Image.fromarray(deep.astype(np.float32)), scale_grey=True)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pictures_are_put_on_white_on_request(tmp_path, mode):
    clear = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    clear.putpixel((0, 0), (0, 0, 0, 255))
    image, options = clear.convert(mode), {}
    if mode == "P":
        image = Image.new("P", (2, 1), 1)
        image.putpalette([0, 0, 0, 9, 9, 9])
        image.putpixel((0, 0), 0)
        options = {"transparency": 1}
    image.save(tmp_path / "x.png", **options)
    assert open_picture(tmp_path / "x.png").getpixel((1, 0)) != (255, 255, 255)
    white = open_picture(tmp_path / "x.png", on_white=True)
    assert white.mode == "RGB" and white.getpixel((0, 0)) == (0, 0, 0) and white.getpixel((1, 0)) == (255, 255, 255)


def test_postscript_starts_no_other_program(tmp_path):
    bait = tmp_path / "bin"
    bait.mkdir()
    gs = bait / "gs"
    gs.write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
    gs.chmod(0o755)
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    script = f"from lgca_core import open_picture\nopen_picture({str(file)!r})"
    environment = {**os.environ, "PATH": f"{bait}:{os.environ['PATH']}"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert "not a picture in a format that is read" in run.stderr
    assert not (tmp_path / "started").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(LgcaError, match=r"pipe\.jpg: not a regular file"):
        open_picture(tmp_path / "pipe.jpg")


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(LgcaError, match="File name too long"):
        open_picture(tmp_path / ("x" * 300))


HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00heicmif1"


def test_heif_names_its_extra(tmp_path, monkeypatch):
    (tmp_path / "x.heic").write_bytes(HEIC)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(LgcaError, match=r"lgca-core\[heif\]"):
        open_picture(tmp_path / "x.heic")


def test_heif_is_read(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    heif.from_pillow(Image.new("RGB", (64, 32), "red")).save(tmp_path / "x.heic", quality=95)
    image = open_picture(tmp_path / "x.heic")
    assert image.size == (64, 32) and np.abs(np.asarray(image)[9, 9].astype(int) - [255, 0, 0]).max() < 9
