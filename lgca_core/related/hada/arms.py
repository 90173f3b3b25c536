"""Arms of the comparison: HADA, what it is without one of its parts, and each fault of its released code by itself."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from lgca_core.errors import LgcaError
from lgca_core.prompts.names import nearest
from lgca_core.related.hada.graph import ALL_ONE, AS_RELEASED, EdgeWeights
from lgca_core.related.hada.network import FIRST_STAGE, LAVIS
from lgca_core.related.hada.train import HadaSettings


class FusionArm(NamedTuple):
    """What an arm is, how it changes the settings, and which model it is alone, counted from 0, if it is one."""

    summary: str
    change: Callable[[HadaSettings], HadaSettings]
    alone: int | None = None


def _with(**changes: Any) -> Callable[[HadaSettings], HadaSettings]:
    return lambda settings: replace(settings, **changes)


def _network(**changes: Any) -> Callable[[HadaSettings], HadaSettings]:
    return lambda settings: replace(settings, network=replace(settings.network, **changes))


def _losses(**changes: Any) -> Callable[[HadaSettings], HadaSettings]:
    return lambda settings: replace(settings, weights=replace(settings.weights, **changes))


def _released(settings: HadaSettings) -> HadaSettings:
    network = replace(FIRST_STAGE, width=settings.network.width, heads=settings.network.heads)
    changed = replace(settings, network=network, queue_begin="noise", teacher="released", head="released")
    return _losses(constant="inside")(changed)


def _lavis(settings: HadaSettings) -> HadaSettings:
    network = replace(
        LAVIS, width=settings.network.width, heads=settings.network.heads, dropouts=settings.network.dropouts
    )
    return _losses(image=0.5, text=0.5, distil=0.0)(replace(settings, network=network, least_tau=0.001))


FUSION_ARMS = {
    "first": FusionArm("the first model alone", _with(kind="sum"), 0),
    "second": FusionArm("the second model alone", _with(kind="sum"), 1),
    "third": FusionArm("the third model alone", _with(kind="sum"), 2),
    "score-sum": FusionArm("sum of the models' scores, shares tuned on the validation", _with(kind="sum")),
    "pooled": FusionArm("the models' own vectors through a linear layer: no graph", _with(kind="pooled")),
    "hada": FusionArm("the graph", lambda settings: settings),
    "no-cross": FusionArm("without edges from the other model's tokens", _network(edges=EdgeWeights(cross=None))),
    "no-cls": FusionArm("without the edge between the two CLS", _network(edges=EdgeWeights(cls=None))),
    "all-one": FusionArm("all edge weights 1", _network(edges=ALL_ONE)),
    "learned": FusionArm("edge weights learned", _network(edges=EdgeWeights(learned=True))),
    "mean-loop": FusionArm("as released: the loop weighs the mean of the others", _network(edges=AS_RELEASED)),
    "noise-queue": FusionArm("as released: the queue begins full of noise", _with(queue_begin="noise")),
    "free-teacher": FusionArm("as released: the copies in training mode", _with(teacher="released")),
    "inside-constant": FusionArm("as released: the constant within the softmax", _losses(constant="inside")),
    "released-head": FusionArm("as released: a norm and a dropout on the matching logit", _with(head="released")),
    "released": FusionArm("the first stage as released: all of these, norms over all nodes", _released),
    "lavis": FusionArm("as released for LAVIS: the first model's tokens twice, and its losses", _lavis),
    "copies": FusionArm("a control: tokens that say nothing new", _with(tokens="copies")),
}
"""Name -> arm, in the order of the tables. An arm with a second stage has ``-w`` after its name."""
WITH_SHARE = "-w"


def fusion_settings_of(arm: str, settings: HadaSettings, models: int) -> HadaSettings:
    """The settings of an arm: those given, with its changes.

    Raises LgcaError for a name that no arm has, or a model that is not among ``models``.
    """
    if arm not in FUSION_ARMS:
        raise LgcaError(f"there is no arm {arm!r}{nearest(arm, FUSION_ARMS)}: choose among {', '.join(FUSION_ARMS)}")
    alone = FUSION_ARMS[arm].alone
    if alone is not None and alone >= models:
        raise LgcaError(f"the arm {arm} needs a model number {alone + 1}: give --encoder so often")
    changed = FUSION_ARMS[arm].change(settings)
    if changed.network.twice_first and models != 2:
        raise LgcaError(f"the arm {arm} is of two models, not {models}: choose another, or leave out a model")
    return changed


def shares_of(arm: str, models: int) -> tuple[float, ...] | None:
    """Shares of a sum that an arm fixes; None where they are tuned."""
    alone = FUSION_ARMS[arm].alone
    return None if alone is None else tuple(float(m == alone) for m in range(models))
