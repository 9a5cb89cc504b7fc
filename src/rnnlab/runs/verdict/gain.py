"""How much better a network is than a predictor, and how sure that is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from rnnlab.runs.verdict.evidence import Evidence, Items
from rnnlab.runs.verdict.wording import count_of
from rnnlab.store.verdict import shown_name
from rnnlab.student import LEVEL, t_quantile

FEWEST_BLOCKS = 4
"""Independent pieces of a test set that an interval takes: their spread is the interval's only source."""
FEWEST_LINEAR = 50
"""Test sequences that the interval of a score takes which is no mean: in simulations of F1 (two to ten classes) it held
the true difference in 91 to 95 % of the cases with 50 of them, in 83 to 89 % with 20."""
MOST_BLOCKS = 40
"""Pieces of a test set whose errors depend on each other."""


@dataclass(frozen=True)
class Gain:
    """How much better a network is than a predictor.

    Attributes:
        value: see :attr:`rnnlab.store.verdict.Verdict.gain`.
        absolute: see :attr:`rnnlab.store.verdict.Verdict.absolute`.
        low: lower end of the interval; ``None`` where there is none.
        high: upper end.
        why: there is none, or why it is wider than it might be.
    """

    value: float
    absolute: bool
    low: float | None = None
    high: float | None = None
    why: str = ""


def gain_of(evidence: Evidence, score: str, network: float, best: str, beside: float) -> Gain:
    """Of a network's score over that of the best predictor, which is ``beside``.

    A perplexity is no mean, and its logarithm is one: a difference of logarithms is a ratio of perplexities.
    """
    items = evidence.of(score)
    if evidence.is_exact(score, network) and evidence.is_exact(score, beside):
        return Gain(0.0, True, why="neither makes an error")
    if score == "perplexity" and min(network, beside) > 0:
        logs = {name: (np.log(np.maximum(scores, 1)), weights) for name, (scores, weights) in items.items()}
        gain = _gain(evidence, logs, score, math.log(network), best, math.log(beside), absolute=True)
        value, low, high = (None if x is None else -math.expm1(-x) for x in (gain.value, gain.low, gain.high))
        return Gain(value or 0.0, False, low, high, gain.why)
    return _gain(evidence, items, score, network, best, beside, evidence.rises(score) or beside <= 0 or network < 0)


def gain_between(evidence: Evidence, score: str, one: str, other: str) -> Gain | None:
    """Of a predictor over another; ``None`` where the score of one of them is not known."""
    there, items = evidence.predictors(score), evidence.of(score)
    if not {one, other} <= there.keys():
        return None
    both = {name: items[key] for name, key in (("network", one), (other, other)) if key in items}
    alone = replace(evidence, items=both, others={score: both})
    return gain_of(alone, score, there[one], other, there[other])


def is_better(evidence: Evidence, score: str, one: str, other: str) -> bool:
    """Whether a predictor is surely better than another, or has the better score where there is no interval."""
    gain = gain_between(evidence, score, one, other)
    return gain is not None and (gain.value if gain.low is None else gain.low) > 0


def surely_worse(evidence: Evidence, score: str, network: float, name: str) -> bool:
    """Whether a network is surely worse than a predictor, or has the worse score where there is no interval."""
    gain = gain_of(evidence, score, network, name, evidence.predictors(score)[name])
    return (gain.value if gain.high is None else gain.high) < 0


def _gain(
    evidence: Evidence,
    items: Mapping[str, Items],
    score: str,
    network: float,
    best: str,
    beside: float,
    absolute: bool,
) -> Gain:
    rises = evidence.rises(score)
    value = (network - beside if rises else beside - network) / (1 if absolute else beside)
    ours, theirs = items.get("network"), items.get(best)
    mean_only = f"only the mean {score} of {shown_name(best)} is known"
    if ours is None:
        unknown = f"what each {evidence.thing} counts for in {score} can't be told"
        return Gain(value, absolute, why=f"no interval: {unknown if score in evidence.linear else mean_only}")
    if theirs is not None and len(ours[0]) != len(theirs[0]):
        theirs = None
    for each, whole in ((ours, network), (theirs, beside)):
        if each is not None and not math.isclose(_mean(each), whole, rel_tol=1e-3, abs_tol=1e-6):
            return Gain(value, absolute, why=f"no interval: {score} is no mean over {evidence.thing}s")
    known = (ours[1] > 0) & np.isfinite(ours[0])
    if theirs is not None:
        known &= np.isfinite(theirs[0])
    weights = ours[1][known].astype(float)
    count = blocks(len(weights), evidence.dependent, evidence.ordered)
    few_for_linear = score in evidence.linear and ours[1].sum() < FEWEST_LINEAR
    if count < FEWEST_BLOCKS or few_for_linear:
        few = f"too few for an interval: {count_of(len(weights), evidence.thing)}"
        overlapping = f", of which {evidence.dependent} in a row overlap" if evidence.dependent > 1 else ""
        return Gain(value, absolute, why=f"{few}{overlapping}")
    if theirs is None:
        alone = evidence.dependent == 1 and not evidence.ordered
        if rises and alone and np.isin(ours[0][known], (0, 1)).all() and (weights == 1).all() and 0 <= beside <= 1:
            return Gain(value, absolute, *proportions(network, beside, len(weights)), why=mean_only)
        half = widest(items, network, beside, absolute, count)
        return Gain(value, absolute, value - half, value + half, f"{mean_only}, which makes the interval wider")
    better = (1.0 if rises else -1.0) * (ours[0][known] - theirs[0][known])
    right = rises and all(np.isin(each[0][known], (0, 1)).all() for each in (ours, theirs))
    if right and evidence.dependent == 1 and (weights == 1).all():
        return Gain(value, absolute, *paired_proportions(better))
    base = weights if absolute else weights * theirs[0][known]
    return Gain(value, absolute, *ratio_interval(weights * better, base, count, even=score not in evidence.linear))


def _mean(items: Items) -> float:
    scores, weights = (np.asarray(part, float) for part in items)
    return float((scores * weights)[weights > 0].sum() / max(weights.sum(), 1e-300))


def blocks(sequences: int, dependent: int, ordered: bool) -> int:
    """Pieces of so many test sequences that are taken for independent: sequences themselves where each is drawn alone.

    Where ``dependent`` in a row overlap a piece is twice as long, so that most of it shares nothing with the next one.
    """
    if not ordered and dependent == 1:
        return sequences
    long = min(sequences // (2 * dependent), MOST_BLOCKS)
    return long if long >= FEWEST_BLOCKS else sequences // dependent


def ratio_interval(gains: np.ndarray, base: np.ndarray, pieces: int, even: bool = True) -> tuple[float, float]:
    """The 95 % confidence interval of Σ ``gains`` / Σ ``base``, by batch means.

    The ``(sequences,)`` sums are put together to ``pieces`` of neighbours, long
    enough that one says little about the next; the ratio's variance is that of
    the residuals of the pieces (W. G. Cochran, "Sampling Techniques", 3rd
    edition, 1977, section 6.3), its distribution Student's.

    Of a score that is no mean a few sequences may make most of the spread, such as those of a rare class: where pieces
    are not ``even`` their kurtosis κ says of how many degrees of freedom it is, 2 n / (κ - (n - 3) / (n - 1))
    (B. O'Neill, "Some useful moment results in sampling problems", The American Statistician 68, 2014).
    """
    edges = np.linspace(0, len(gains), pieces, endpoint=False).astype(int)
    gains, base = np.add.reduceat(gains, edges), np.add.reduceat(base, edges)
    total = base.sum()
    ratio = gains.sum() / total
    residuals = gains - ratio * base
    error = math.sqrt(pieces / (pieces - 1) * float((residuals**2).sum())) / total
    half = t_quantile(pieces - 1 if even else _freedom(residuals)) * error
    return float(ratio - half), float(ratio + half)


def _freedom(residuals: np.ndarray) -> int:
    """Degrees of freedom of their variance, by their kurtosis."""
    n, variance = len(residuals), float((residuals**2).mean())
    if variance <= 0:
        return n - 1
    kurtosis = float((residuals**4).mean()) / variance**2
    return max(1, min(n - 1, int(2 * n / (kurtosis - (n - 3) / (n - 1)))))


def widest(items: Mapping[str, Items], network: float, beside: float, absolute: bool, pieces: int) -> float:
    """Half the width of the 95 % interval of a gain over a predictor of which only the mean ``beside`` is known.

    The standard error of a difference is at most the sum of both standard errors, whatever their correlation. That of
    the predictor is taken for the largest of those that are known, the network's own among them: of the means
    themselves where the gain is ``absolute``, else as shares of them, since larger errors vary more.
    """
    halves: dict[str, float] = {}
    for name, (scores, weights) in items.items():
        known = (weights > 0) & np.isfinite(scores)
        mean = _mean((scores[known], weights[known]))
        if known.any() and (absolute or mean > 0 or name == "network"):
            low, high = ratio_interval(weights[known] * scores[known], weights[known].astype(float), pieces)
            halves[name] = (high - low) / 2 / (1 if absolute else mean or 1)
    largest = max(halves.values())
    return halves["network"] + largest if absolute else network / beside * (halves["network"] + largest)


def proportions(ours: float, theirs: float, n: int) -> tuple[float, float]:
    """The 95 % confidence interval of the difference of two shares of ``n`` sequences each.

    From the intervals of the two shares by E. B. Wilson (Journal of the American Statistical Association 22, 1927), put
    together by R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17 (1998), method 10. It takes the two for independent; it is wider than a paired one where both find the
    same sequences hard, as is usual.
    """
    (low, high), (their_low, their_high) = _wilson(ours, n), _wilson(theirs, n)
    gain = ours - theirs
    return gain - math.hypot(ours - low, their_high - theirs), gain + math.hypot(high - ours, theirs - their_low)


def _wilson(share: float, n: int) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    middle, half = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def paired_proportions(better: np.ndarray) -> tuple[float, float]:
    """The 95 % confidence interval of the difference of two accuracies on the same sequences.

    With one more of both kinds of disagreement, so that it has a width where
    all sequences agree: D. G. Bonett and R. M. Price, "Adjusted Wald confidence
    interval for a difference of binomial proportions based on paired data",
    Journal of Educational and Behavioral Statistics 37 (2012), equation 5.

    Args:
        better: ``(sequences,)`` 1 where the network alone is right, -1 where the other alone is, else 0.
    """
    n = len(better) + 2
    ours, theirs = (int((better == 1).sum()) + 1) / n, (int((better == -1).sum()) + 1) / n
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * math.sqrt((ours + theirs - (ours - theirs) ** 2) / n)
    return max(-1.0, ours - theirs - half), min(1.0, ours - theirs + half)
