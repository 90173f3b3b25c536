"""Pictures to crops that equal Pillow's to the bit, on a CPU and on a GPU, and copies that keep a GPU busy."""

from lgca_core.pixels.cropping import crops, crops_on_device, crops_pillow, cutter, normalised
from lgca_core.pixels.pictures import as_picture, open_picture, picture_tensor
from lgca_core.pixels.pillow_weights import Resize
from lgca_core.pixels.torch_crops import crops_int32

__all__ = [
    "Resize",
    "as_picture",
    "crops",
    "crops_int32",
    "crops_on_device",
    "crops_pillow",
    "cutter",
    "normalised",
    "open_picture",
    "picture_tensor",
]
