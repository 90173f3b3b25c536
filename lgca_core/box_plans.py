"""Box plans: which boxes of a picture a method will ask for, said in JSON.

A plan holds all that decides the boxes of a picture besides the picture itself and the encoder, and nothing that
does not: settings that ask for the same boxes have equal plans, so that what was encoded for one serves the other.

    {"draw": "whole"}                                     the whole picture
    {"draw": "squares", "n": ..., "a0": ..., "b0": ..., "seed": ...}   random squares, see `boxes.draw_squares`
    {"draw": "expanded" | ..., "of": {...}, ...}          boxes that follow from what was seen of other boxes

The first two kinds can be drawn before anything is encoded; the first squares of a plan are the squares of a plan with
fewer. A method declares at most one "expanded" plan: boxes that no other of its plans draws are stored under it.
"""

from typing import Any

from torch import Tensor

from lgca_core.boxes import draw_squares, whole

Plan = dict[str, Any]

WHOLE: Plan = {"draw": "whole"}


def squares(n: int, low: float, high: float, seed: int) -> Plan:
    """``n`` random squares with sides of ``low`` to ``high`` of the picture's shorter side."""
    return {"draw": "squares", "n": n, "a0": low, "b0": high, "seed": seed}


def ahead(plan: Plan) -> bool:
    """Whether the boxes can be drawn before anything is encoded."""
    return plan["draw"] in ("whole", "squares")


def draw(plan: Plan, height: int, width: int, identity: str) -> Tensor:
    """The boxes of one picture by a plan that is :func:`ahead`: (n, 4) int64.

    Raises LgcaError as `boxes.draw_squares` does.
    """
    assert ahead(plan), f"boxes of {plan['draw']!r} follow from what is seen"
    if plan["draw"] == "whole":
        return whole(height, width)
    return draw_squares(height, width, plan["n"], plan["a0"], plan["b0"], seed=plan["seed"], identity=identity)
