"""WCA and LGCA: zero-shot image classification by crops that are weighted, aligned with sentences, and expanded.

The public names of the core. Each is imported from its module when first used, so that `import lgca_core` is quick.
The function `evaluate` shares its module's name and stays there: `from lgca_core.evaluate import evaluate`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lgca_core.boxes import draw_squares, expand, iou, whole
    from lgca_core.class_prompts import ClassPrompts, prompts_of_dataset
    from lgca_core.classifier import class_matrix, logits
    from lgca_core.complexity import passes, passes_bound, time_per_image
    from lgca_core.datasets import DATASETS, Item, Manifest, folder, open_dataset
    from lgca_core.encoder import Encoder, list_encoders, load_encoder
    from lgca_core.errors import LgcaError
    from lgca_core.evaluate import encode
    from lgca_core.flops import visual_flops
    from lgca_core.lgca import LGCA, Step, Trace
    from lgca_core.lineage import lineages, most_misleading
    from lgca_core.methods import METHODS, Method
    from lgca_core.prompts import descriptors, plain, read_descriptions, templates, waffle
    from lgca_core.resample import crops, crops_int32, crops_on_device, crops_pillow, open_picture, picture_tensor
    from lgca_core.results import (
        Part,
        Record,
        holm,
        interval,
        load,
        load_part,
        mcnemar,
        paired_interval,
        save,
        save_part,
        summary,
    )
    from lgca_core.store import Pool, Shard, Store, pool_key
    from lgca_core.views import Views
    from lgca_core.wca import WCA

_HOME = {
    "boxes": ("draw_squares", "expand", "iou", "whole"),
    "class_prompts": ("ClassPrompts", "prompts_of_dataset"),
    "classifier": ("class_matrix", "logits"),
    "complexity": ("passes", "passes_bound", "time_per_image"),
    "datasets": ("DATASETS", "Item", "Manifest", "folder", "open_dataset"),
    "encoder": ("Encoder", "list_encoders", "load_encoder"),
    "errors": ("LgcaError",),
    "evaluate": ("encode",),
    "flops": ("visual_flops",),
    "lgca": ("LGCA", "Step", "Trace"),
    "lineage": ("lineages", "most_misleading"),
    "methods": ("METHODS", "Method"),
    "prompts": ("descriptors", "plain", "read_descriptions", "templates", "waffle"),
    "resample": ("crops", "crops_int32", "crops_on_device", "crops_pillow", "open_picture", "picture_tensor"),
    "results": (
        "Part",
        "Record",
        "holm",
        "interval",
        "load",
        "load_part",
        "mcnemar",
        "paired_interval",
        "save",
        "save_part",
        "summary",
    ),
    "store": ("Pool", "Shard", "Store", "pool_key"),
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
