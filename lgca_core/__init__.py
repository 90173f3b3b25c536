"""WCA and LGCA: zero-shot image classification by crops that are weighted, aligned with sentences, and expanded.

The public names of the core. Each is imported from its module when first used, so that `import lgca_core` is quick.
A module of the core keeps its name: `lgca_core.lgca` is the module, `lgca_core.LGCA` the method.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lgca_core.boxes import draw_squares, expand, iou, whole
    from lgca_core.class_vectors import class_matrix, encode_classes, logits
    from lgca_core.data.folders import folder
    from lgca_core.data.manifest import Item, Manifest
    from lgca_core.data.table import DATASETS, open_dataset
    from lgca_core.encoder import Encoder
    from lgca_core.encoders.registry import list_encoders, load_encoder
    from lgca_core.errors import LgcaError
    from lgca_core.evaluation.evaluate import encode
    from lgca_core.evaluation.parts import Part, load_part, save_part
    from lgca_core.evaluation.record import Record, load, save
    from lgca_core.evaluation.statistics import holm, interval, mcnemar, paired_interval, summary
    from lgca_core.evaluation.store import FeatureSet, Shard, Store, pool_key
    from lgca_core.lgca import LGCA, Step, Trace
    from lgca_core.methods import METHODS, Method
    from lgca_core.pixels import crops, crops_int32, crops_on_device, crops_pillow, open_picture, picture_tensor
    from lgca_core.prompts.class_prompts import ClassPrompts, prompts_of_dataset
    from lgca_core.prompts.files import read_descriptions
    from lgca_core.prompts.sentences import descriptors, plain, templates, waffle
    from lgca_core.views import Views
    from lgca_core.wca import WCA

_HOME = {
    "boxes": ("draw_squares", "expand", "iou", "whole"),
    "class_vectors": ("class_matrix", "encode_classes", "logits"),
    "data.folders": ("folder",),
    "data.manifest": ("Item", "Manifest"),
    "data.table": ("DATASETS", "open_dataset"),
    "encoder": ("Encoder",),
    "encoders.registry": ("list_encoders", "load_encoder"),
    "errors": ("LgcaError",),
    "evaluation.evaluate": ("encode",),
    "evaluation.parts": ("Part", "load_part", "save_part"),
    "evaluation.record": ("Record", "load", "save"),
    "evaluation.statistics": ("holm", "interval", "mcnemar", "paired_interval", "summary"),
    "evaluation.store": ("FeatureSet", "Shard", "Store", "pool_key"),
    "lgca": ("LGCA", "Step", "Trace"),
    "methods": ("METHODS", "Method"),
    "pixels": ("crops", "crops_int32", "crops_on_device", "crops_pillow", "open_picture", "picture_tensor"),
    "prompts.class_prompts": ("ClassPrompts", "prompts_of_dataset"),
    "prompts.files": ("read_descriptions",),
    "prompts.sentences": ("descriptors", "plain", "templates", "waffle"),
    "views": ("Views",),
    "wca": ("WCA",),
}
MODULES = {name: module for module, names in _HOME.items() for name in names}
"""Every public name, and the module it lives in."""

__all__ = sorted(MODULES)


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
