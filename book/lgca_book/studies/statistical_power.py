"""Power of the sign-flip test of one answer each, and the interval of a standard deviation from few draws.

Two methods differ on a share ``discordance`` of the pictures: there exactly one of them is right. If the one is right
on a share x of all pictures where the other is not, and the other on a share y, then discordance = x + y and the
difference of their accuracies is x - y. The test, McNemar's exact one then, sees the discordant pictures alone.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binom, chi2

from lgca_core.errors import LgcaError

POWER = 0.8
ALPHA = 0.05


def power(pictures: int, discordance: float, difference: float, *, alpha: float = ALPHA) -> float:
    """How likely McNemar's exact two-sided test is to find a difference that is there, exactly: 0..1.

        sum_d P(d discordant of n) P(p value <= alpha | d),   d ~ Bin(n, discordance),
        and of the d the first method has Bin(d, 1/2 + difference / (2 discordance)).

    Args:
        pictures: n, at least 1. discordance: share of pictures, 0..1. difference: of accuracies, -1..1, in size no
            larger than the discordance. alpha: the level of the test.

    Raises:
        LgcaError: an argument out of range.
    """
    _check(pictures, alpha)
    if not abs(difference) <= discordance <= 1:
        raise LgcaError(
            f"a difference of {difference} needs a discordance of {abs(difference)} to 1, it cannot be {discordance}"
        )
    if discordance == 0:
        return 0.0
    first, last = binom.ppf([1e-10, 1 - 1e-10], pictures, discordance)
    d = np.arange(first, last + 1)  # what is left out has a chance of 2e-10
    few = _rejects_up_to(d, alpha)
    share = 0.5 + difference / (2 * discordance)
    found = binom.cdf(few, d, share) + binom.cdf(few, d, 1 - share)
    return float(np.clip(binom.pmf(d, pictures, discordance) @ found, 0, 1))


def _rejects_up_to(d: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """The largest count c of d with 2 P(Bin(d, 1/2) <= c) <= alpha; -1 where there is none."""
    c = binom.ppf(alpha / 2, d, 0.5)
    return np.where(binom.cdf(c, d, 0.5) <= alpha / 2, c, c - 1)


def detectable(pictures: int, discordance: float, *, wanted: float = POWER, alpha: float = ALPHA) -> float:
    """The smallest difference of accuracies that the test finds with the power `wanted`, 0..1.

    NaN where even the largest, equal to the discordance, is found less often. Arguments as of :func:`power`.
    """
    _check(pictures, alpha)
    if discordance == 0 or power(pictures, discordance, discordance, alpha=alpha) < wanted:
        return math.nan
    return float(
        brentq(
            lambda difference: power(pictures, discordance, difference, alpha=alpha) - wanted,
            0.0,
            discordance,
            xtol=1e-3 / pictures,
        )
    )


def most_discordance(pictures: int, difference: float, *, wanted: float = POWER, alpha: float = ALPHA) -> float:
    """The largest discordance at which the test still finds a difference with the power `wanted`, 0..1.

    A published difference is known, its discordance is not: this is how large it may be. NaN where the difference is
    found less often however small it is. Arguments as of :func:`power`.
    """
    _check(pictures, alpha)
    least = abs(difference)
    if least == 0 or power(pictures, least, difference, alpha=alpha) < wanted:
        return math.nan
    if power(pictures, 1.0, difference, alpha=alpha) >= wanted:
        return 1.0
    return float(
        brentq(
            lambda discordance: power(pictures, discordance, difference, alpha=alpha) - wanted,
            least,
            1.0,
            xtol=1e-3 / pictures,
        )
    )


def deviation_interval(deviation: float, draws: int, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of a standard deviation that was estimated from `draws` independent normal draws (with n - 1).

        (n - 1) s^2 / sigma^2 ~ chi^2(n - 1)

    Returns:
        (low, high), in the unit of `deviation`; (NaN, NaN) of fewer than two draws.
    """
    if draws < 2:
        return math.nan, math.nan
    tail = (1 - level) / 2
    low, high = np.sqrt((draws - 1) / chi2.ppf([1 - tail, tail], draws - 1)) * deviation
    return float(low), float(high)


def _check(pictures: int, alpha: float) -> None:
    if pictures < 1:
        raise LgcaError(f"a test needs a picture at least, got {pictures}")
    if not 0 < alpha < 1:
        raise LgcaError(f"the level of a test lies between 0 and 1, got {alpha}")
