"""The kernels for a GPU: Triton's interpreter runs them here, and its compiler makes machine code of them."""

import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lgca_core.pixels.cropping import _agrees_with_torch, crops_on_device
from lgca_core.pixels.torch_crops import crops_int32

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton on this system")

# Interpreted, which has to be said before Triton is imported.
COMPARE = """
import numpy as np
import torch
from lgca_core.pixels import Resize, cropping, crops_int32, triton_crops

launches = []
plain = triton_crops.triton.cdiv
triton_crops.triton.cdiv = lambda *words: launches.append(words) or plain(*words)
rng = np.random.default_rng(0)
for height, width, size in ((57, 90, 16), (90, 33, 7), (20, 21, 40), (1, 1, 8), (40, 64, 30)):
    image = torch.from_numpy(rng.integers(-128, 384, (3, height, width)).clip(0, 255).astype(np.uint8))
    boxes = [[0, 0, height, width], [height - 1, width - 1, 1, 1], [0, 0, height, 1], [0, 0, 1, width]]
    for _ in range(4):
        h, w = rng.integers(1, height + 1), rng.integers(1, width + 1)
        boxes.append([rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w])
    boxes = torch.tensor(np.array(boxes))
    for triton_crops.MIDDLE_BYTES, triton_crops.SIDES in ((2**27, 2**11), (2**12, 4)):
        for way in (Resize(), Resize("bilinear"), Resize("bilinear", "squash"), Resize("bicubic", "squash")):
            found = triton_crops.cut(image, boxes.numpy(), size, way)
            assert torch.equal(found, crops_int32(image, boxes, size, way)), (height, width, size, way)
assert len(launches) > 4 * 4 * 20  # four a pair of kernels; unsplit there would be 20 pairs a way at most

triton_crops.MIDDLE_BYTES, triton_crops.SIDES = 2**27, 2**11
image = torch.from_numpy(rng.integers(0, 256, (3, 50, 70)).astype(np.uint8))
first, more = torch.tensor([[0, 0, 50, 70]]), torch.tensor([[3, 5, 40, 41], [0, 0, 50, 70], [9, 9, 7, 30]])
triton_crops.cut(image, first.numpy(), 24)
to_device, calls = triton_crops.to_device, []

def interrupted(*words):
    calls.append(words)
    if len(calls) == 2:  # of the weights of new sides, the first is kept
        raise KeyboardInterrupt
    return to_device(*words)

triton_crops.to_device = interrupted
try:
    triton_crops.cut(image, more.numpy(), 24)
except KeyboardInterrupt:
    others = more.flip(0) - torch.tensor([0, 0, 2, 3])
    assert torch.equal(triton_crops.cut(image, others.numpy(), 24), crops_int32(image, others, 24))
    print("whole")

pixels = torch.from_numpy(rng.integers(0, 256, (5, 3, 17, 17)).astype(np.uint8))
for some in (pixels, pixels[:, :, ::2], pixels[:0]):
    for dtype in (torch.float32, torch.float16):
        mean, std = (0.48, 0.45, 0.4), (0.26, 0.25, 0.27)
        table = cropping._normal(mean, std, dtype, torch.device("cpu"))
        assert torch.equal(triton_crops.look_up(some, table), cropping.normalised(some, mean, std, dtype)), some.shape
print("equal")
"""


@pytest.mark.slow
def test_interpreted_kernels_give_the_same_bits():
    """Tall boxes, single pixels, whole pictures; also in many launches, and when the kept weights are given up.

    And after an interrupt; and the same input for an encoder, of crops laid out in memory in any way.
    """
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", COMPARE], env=environment, capture_output=True, text=True)
    assert done.stdout == "whole\nequal\n", done.stderr


@pytest.mark.parametrize("capability", [75, 80, 90])
def test_kernels_compile_for_a_gpu(capability):
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from lgca_core.pixels import triton_crops

    cutting = {"size": 224} | triton_crops.BLOCKS
    to_cut = {"image": "*u8", "middle": "*u8", "out": "*u8", "offset": "*i64"}
    to_cut |= dict.fromkeys(("boxes", "start", "count", "weights"), "*i32")
    to_look_up = {"pixels": "*u8", "table": "*fp16", "out": "*fp16"}
    for kernel, chosen, pointers in (
        (triton_crops._horizontal, cutting, to_cut),
        (triton_crops._vertical, cutting, to_cut),
        (triton_crops._look_up, {"block": triton_crops.LOOKED_UP}, to_look_up),
    ):
        kinds = {name: "constexpr" if name in chosen else pointers.get(name, "i32") for name in kernel.arg_names}
        made = compile(
            ASTSource(kernel, kinds, constexprs=chosen),
            target=GPUTarget("cuda", capability, 32),
            options={"enable_fp_fusion": False},
        )
        assert len(made.asm["cubin"]) > 1000


def test_kernels_that_err_are_not_used():
    def cut(image, boxes, size):
        return crops_int32(image, torch.from_numpy(boxes), size)

    def look_up(pixels, table):
        return torch.stack([table[c][pixels[:, c].long()] for c in range(3)], dim=1)

    def fails(*words):
        raise RuntimeError("no compiler")

    here = torch.device("cpu")
    assert _agrees_with_torch(SimpleNamespace(cut=cut, look_up=look_up), here)
    for wrong in ({"cut": lambda *words: cut(*words) ^ 1}, {"look_up": lambda *words: look_up(*words) + 1}):
        with pytest.warns(RuntimeWarning, match="without Triton, several times slower: other pixels"):
            assert not _agrees_with_torch(SimpleNamespace(**{"cut": cut, "look_up": look_up} | wrong), here)
    with pytest.warns(RuntimeWarning, match="RuntimeError: no compiler"):
        assert not _agrees_with_torch(SimpleNamespace(cut=fails, look_up=look_up), here)


def test_off_a_gpu_nothing_is_fused(monkeypatch):
    monkeypatch.setattr("lgca_core.pixels.cropping._triton", None)
    image = torch.from_numpy(np.random.default_rng(0).integers(256, size=(3, 20, 30), dtype=np.uint8))
    boxes = torch.tensor([[0, 0, 20, 30]])
    assert torch.equal(crops_on_device(image, boxes, 8), crops_int32(image, boxes, 8))
