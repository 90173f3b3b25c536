"""The kernels for a GPU: Triton's interpreter runs them here, and its compiler makes machine code of them."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from lgca_core.resample import _proved, crops_int32, crops_on_device

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton on this system")

# Interpreted, which has to be said before Triton is imported.
COMPARE = """
import numpy as np
import torch
from lgca_core import fused
from lgca_core.resample import crops_int32

launches = []
plain = fused.triton.cdiv
fused.triton.cdiv = lambda *words: launches.append(words) or plain(*words)
rng = np.random.default_rng(0)
for height, width, size in ((57, 90, 16), (90, 33, 7), (20, 21, 40), (1, 1, 8), (64, 100, 70)):
    image = torch.from_numpy(rng.integers(-128, 384, (3, height, width)).clip(0, 255).astype(np.uint8))
    boxes = [[0, 0, height, width], [height - 1, width - 1, 1, 1], [0, 0, height, 1], [0, 0, 1, width]]
    for _ in range(4):
        h, w = rng.integers(1, height + 1), rng.integers(1, width + 1)
        boxes.append([rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w])
    boxes = torch.tensor(np.array(boxes))
    for fused.MIDDLE_BYTES, fused.SIDES in ((2**27, 2**11), (2**12, 4)):
        found = fused.cut(image, boxes.numpy(), size)
        assert torch.equal(found, crops_int32(image, boxes, size)), (height, width, size)
assert len(launches) > 4 * 20  # four a pair of kernels; unsplit there would be 20 pairs at most
print("equal")
"""


def test_interpreted_kernels_give_the_same_bits():
    """Tall boxes, single pixels, whole pictures; also in many launches, and when the kept weights are given up."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", COMPARE], env=environment, capture_output=True, text=True)
    assert done.stdout == "equal\n", done.stderr


@pytest.mark.parametrize("capability", [75, 80, 90])
def test_kernels_compile_for_a_gpu(capability):
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from lgca_core import fused

    chosen = {"size": 224} | fused.BLOCKS
    pointers = {"image": "*u8", "middle": "*u8", "out": "*u8", "offset": "*i64"}
    pointers |= dict.fromkeys(("boxes", "start", "count", "weights"), "*i32")
    for kernel in (fused._horizontal, fused._vertical):
        kinds = {name: "constexpr" if name in chosen else pointers.get(name, "i32") for name in kernel.arg_names}
        made = compile(
            ASTSource(kernel, kinds, constexprs=chosen),
            target=GPUTarget("cuda", capability, 32),
            options={"enable_fp_fusion": False},
        )
        assert len(made.asm["cubin"]) > 1000


def test_kernels_that_err_are_not_used():
    def right(image, boxes, size):
        return crops_int32(image, torch.from_numpy(boxes), size)

    def fails(image, boxes, size):
        raise RuntimeError("no compiler")

    here = torch.device("cpu")
    assert _proved(right, here)
    with pytest.warns(RuntimeWarning, match="without Triton, several times slower: other pixels"):
        assert not _proved(lambda *words: right(*words) ^ 1, here)
    with pytest.warns(RuntimeWarning, match="RuntimeError: no compiler"):
        assert not _proved(fails, here)


def test_off_a_gpu_nothing_is_fused(monkeypatch):
    monkeypatch.setattr("lgca_core.resample._fused", None)
    image = torch.from_numpy(np.random.default_rng(0).integers(256, size=(3, 20, 30), dtype=np.uint8))
    boxes = torch.tensor([[0, 0, 20, 30]])
    assert torch.equal(crops_on_device(image, boxes, 8), crops_int32(image, boxes, 8))
