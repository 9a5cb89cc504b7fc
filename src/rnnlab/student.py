"""Student's t distribution, and what it allows to say of a gain over windows in a row.

It is computed by the continued fraction of the incomplete beta function, since SciPy is no dependency.
"""

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

LEVEL = 0.95
DOUBT = 0.1
"""The chance that a gain is taken for one where there is none."""
FEWEST_PIECES = 4
"""Into which windows in a row are cut, where there are as many."""


def doubt(gains: Sequence[float], steps: int) -> tuple[float, float]:
    """What is gained over windows in a row, and how much of it may be chance.

    Windows in a row share steps: their sums over twice the steps ahead are nearly independent. A gain above the second
    number is one by a one-sided t test at the level :data:`DOUBT` (Student, "The probable error of a mean", 1908).

    Args:
        gains: of each window, in the order of time.
        steps: ahead, of each window's forecast.

    Returns:
        The sum, and its standard error times Student's quantile: infinity where there are fewer than three windows.
    """
    number = len(gains) // (2 * steps)
    number = number if number >= FEWEST_PIECES else min(FEWEST_PIECES, len(gains))
    total = math.fsum(gains)
    if number < 3:
        return total, math.inf
    bounds = [len(gains) * piece // number for piece in range(number + 1)]
    sums = [math.fsum(gains[start:end]) for start, end in pairwise(bounds)]
    deviation = math.sqrt(math.fsum((value - total / number) ** 2 for value in sums) / (number - 1))
    return total, t_quantile(number - 1, 1 - 2 * DOUBT) * deviation * math.sqrt(number)


def t_two_sided(t: float, freedom: float) -> float:
    """P(|T| ≥ |t|) of Student's t with ``freedom`` degrees of freedom (DLMF 8.17; Abramowitz & Stegun 26.5.27)."""
    if math.isinf(t):
        return 0.0
    return incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


@cache
def t_quantile(freedom: float, level: float = LEVEL) -> float:
    """The t that holds ``level`` of Student's distribution between -t and t, by bisection to the last digit."""
    low, high = 0.0, 1.0
    while t_two_sided(high, freedom) > 1 - level:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if t_two_sided(middle, freedom) > 1 - level else (low, middle)
    return high


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22).

    The fraction is evaluated by the modified method of Lentz (Thompson & Barnett
    1986). It converges fast below x = (a + 1) / (a + b + 2); above it stands
    I_x(a, b) = 1 - I_{1-x}(b, a).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    tiny = 1e-300
    fraction, c, d = 1.0, 1.0, 0.0
    for number in range(1, 10_000):
        m, odd = divmod(number, 2)
        if odd:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / ((1 + term * d) or tiny)
        c = (1 + term / c) or tiny
        fraction *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return math.exp(log_front) / (a * fraction)
