"""What a few seeds allow to say: intervals, paired tests, and their correction for many comparisons."""

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from rnnlab.student import t_quantile, t_two_sided


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds; what takes two seeds is NaN with one.

    Attributes:
        n: how many values.
        mean: of them.
        std: sample standard deviation, by n - 1.
        low: lower end of Student's 95 % confidence interval of the mean.
        high: upper end.
    """

    n: int
    mean: float
    std: float
    low: float
    high: float


def estimate(values: Sequence[float]) -> Estimate:
    """Mean, spread and confidence interval (Student 1908); one value has no spread, none has no mean."""
    n = len(values)
    if n == 0:
        return Estimate(0, math.nan, math.nan, math.nan, math.nan)
    mean = statistics.fmean(values)
    if n == 1:
        return Estimate(1, mean, math.nan, math.nan, math.nan)
    std = statistics.stdev(values)
    half = t_quantile(n - 1) * std / math.sqrt(n)
    return Estimate(n, mean, std, mean - half, mean + half)


@dataclass(frozen=True)
class Paired:
    """Two configurations compared on the seeds that both have.

    Attributes:
        n: seeds in common.
        difference: mean of (other - best), with its 95 % confidence interval; NaN where n < 2.
        low: lower end of the interval.
        high: upper end.
        wins: on how many of these seeds the best is strictly better.
        p: two-sided, by the paired t test; NaN where the differences have no spread to test against.
    """

    n: int
    difference: float
    low: float
    high: float
    wins: int
    p: float


def paired(best: Mapping[Hashable, float], other: Mapping[Hashable, float], mode: str) -> Paired:
    """The paired t test of two configurations by seed, or by fold and seed.

    A seed sets initial weights, batch order and dropout, so that the runs of
    one seed share much of their luck: the test is of their differences.

    Args:
        best: score by seed.
        other: score by seed.
        mode: ``min`` or ``max``, what is better.
    """
    seeds = [seed for seed in best if seed in other]
    differences = [other[seed] - best[seed] for seed in seeds]
    sign = 1 if mode == "min" else -1
    wins = sum(sign * difference > 0 for difference in differences)
    found = estimate(differences)
    if found.n < 2 or found.std == 0:
        return Paired(found.n, found.mean, found.low, found.high, wins, math.nan)
    t = found.mean / (found.std / math.sqrt(found.n))
    return Paired(found.n, found.mean, found.low, found.high, wins, t_two_sided(t, found.n - 1))


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values of many comparisons: the chance of even one false alarm stays below what they say.

    S. Holm, "A simple sequentially rejective multiple test procedure",
    Scandinavian Journal of Statistics 6 (1979). NaN stays NaN and counts as no
    comparison.
    """
    tested = sorted((value, index) for index, value in enumerate(p) if not math.isnan(value))
    adjusted = [math.nan] * len(p)
    highest = 0.0
    for rank, (value, index) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * value))
        adjusted[index] = highest
    return adjusted
