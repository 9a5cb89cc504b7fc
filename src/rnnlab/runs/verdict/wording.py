"""Numbers and names as a verdict has them."""

import math
from collections.abc import Callable, Iterable

NAIVE_BASES = {"persistence": "persistence", "seasonal_naive": "the seasonal-naive forecast"}
"""Forecasts to which a network may add in place of a linear part, in a sentence."""
MOST_TIMES = 1000
"""A larger factor says no more than that the baseline makes nearly no error."""


def number(value: float, digits: int = 3) -> str:
    """With so many digits, and no exponent where it can be read without."""
    text = f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e+" in text and abs(value) < 1e9 else text


def digits_apart(values: Iterable[float], fewest: int = 3, more: int = 4) -> int:
    """Digits for :func:`number` that tell different values apart, at most so many ``more`` than the ``fewest``."""
    there = set(values)

    def told(digits: int) -> int:
        return len({number(value, digits) for value in there})

    return next(digits for digits in range(fewest, fewest + more + 1) if told(digits) == told(fewest + more))


def percent(share: float, more: int = 0) -> str:
    """With as many digits as tell it from nothing and from all of it: 12 %, 3.4 %, 0.02 %, 99.97 %; or ``more``."""
    size = abs(share)
    digits = 0 if size >= 0.0995 else _decimals(100 * size)
    if 0.99 < size < 1:
        digits = min(4, int(-math.log10(1 - size)) - 1)
    return f"{100 * share:.{digits + more}f} %"


def _decimals(size: float) -> int:
    """One, and more where it would leave nothing of what is there."""
    return 1 if size >= 0.05 or size < 1e-6 else -math.floor(math.log10(size))


def times(factor: float, more: int = 0) -> str:
    """How many times as large."""
    return f"over {MOST_TIMES:,}" if factor > MOST_TIMES else number(factor, 2 + more)


def share(share: float, more: int = 0) -> str:
    """An end of an interval in per cent; one that is beyond all bounds says so."""
    most = f"{100 * MOST_TIMES:,}"
    if abs(share) > MOST_TIMES:
        return f"over {most}" if share > 0 else f"under -{most}"
    return percent(share + 0.0, more).removesuffix(" %")  # no -0


def span(low: float, high: float, shown: Callable[[float, int], str], most: int = 4) -> str:
    """From one to the other, with so many digits more as tell them apart; one of them where none do."""
    ends = [(shown(low, more), shown(high, more)) for more in range(most + 1)]
    first, last = next((pair for pair in ends if pair[0] != pair[1]), ends[0])
    return first if first == last else f"{first} to {last}"


def count_of(number: int, thing: str) -> str:
    """So many things."""
    return f"{number:,} {thing}{'s' * (number != 1)}"


def is_share(score: str) -> bool:
    """Whether it is shown in per cent."""
    return score.startswith(("accuracy", "exact_match", "f1"))


def difference(score: str, value: float, more: int = 0) -> str:
    """A difference of two scores, in the score's own unit."""
    points = 100 * value
    return f"{points:.{_decimals(abs(points)) + more}f} points" if is_share(score) else number(value, 3 + more)
