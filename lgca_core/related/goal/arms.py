"""Arms of the comparison: GOAL, what it is without one of its parts, and each fault of its released code by itself."""

from dataclasses import replace
from typing import Any, NamedTuple

from lgca_core.errors import LgcaError
from lgca_core.prompts.names import nearest
from lgca_core.related.goal.train import TrainSettings


class Arm(NamedTuple):
    """What an arm is, and the settings in which it differs from GOAL."""

    summary: str
    changes: dict[str, Any]


ARMS = {
    "goal": Arm("all three losses, right boxes, float32 weights", {}),
    "global": Arm("the whole picture and its caption alone", {"local": 0.0, "tokens": 0.0}),
    "local": Arm("regions and their sentences alone", {"whole": 0.0, "tokens": 0.0}),
    "global-local": Arm("both contrastive losses, without token similarity", {"tokens": 0.0}),
    "random-boxes": Arm("patches of a box of the same sides, anywhere", {"boxes": "random"}),
    "region-size": Arm("as released: boxes divided by the region's sides", {"boxes": "region-size"}),
    "squashed": Arm("as released: boxes as if nothing were cropped", {"boxes": "squashed"}),
    "stride-16": Arm("as released: patches of 16 pixels, whatever the model", {"boxes": "stride-16"}),
    "late-spans": Arm("as released: sentences one token late", {"spans": "late"}),
    "overflow-spans": Arm("as released: of sentences beyond the window its last tokens", {"spans": "overflow"}),
    "full-matrix": Arm("token similarity of all pairs, the other reading of the formula", {"matrix": "full"}),
    "bfloat16-weights": Arm("the weights themselves in bfloat16, as the released baselines", {"weights": "bfloat16"}),
    "three-pairs": Arm("three pairs a picture, of equal weight", {"pairs": 3}),
    "three-weighted-pairs": Arm("three pairs a picture, by their scores", {"pairs": 3, "pair_weights": "score"}),
    "free-scale": Arm("as released: the logit scale is not held at 100", {"clamp": False}),
    "mixed-gather": Arm("as released on several GPUs: whole pictures and regions mixed", {"gather": "mixed"}),
}
"""Name -> arm, in the order of the tables."""


def settings_of(arm: str, settings: TrainSettings) -> TrainSettings:
    """The settings of an arm: those given, with its changes. LgcaError for a name that no arm has."""
    if arm not in ARMS:
        raise LgcaError(f"there is no arm {arm!r}{nearest(arm, ARMS)}: choose among {', '.join(ARMS)}")
    return replace(settings, **ARMS[arm].changes)
