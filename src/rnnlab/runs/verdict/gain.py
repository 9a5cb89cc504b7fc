"""How much better a network is than a predictor, and how sure that is."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from rnnlab.runs.verdict.evidence import Evidence, Items
from rnnlab.runs.verdict.wording import count_of, shown_name
from rnnlab.student import LEVEL, t_quantile

FEWEST_BLOCKS = 4
"""Independent pieces of a test set that an interval takes: their spread is the interval's only source."""
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
        why: there is none.
        few: since the test set is too small for it.
    """

    value: float
    absolute: bool
    low: float | None = None
    high: float | None = None
    why: str = ""
    few: bool = False


def gain_of(evidence: Evidence, score: str, network: float, best: str, beside: float) -> Gain:
    """Of a network's score over that of the best predictor, which is ``beside``."""
    rises = evidence.rises(score)
    absolute = rises or beside <= 0 or network < 0
    value = (network - beside if rises else beside - network) / (1 if absolute else beside)
    ours, theirs = evidence.items.get("network"), evidence.items.get(best)
    named = shown_name(best)
    if score != evidence.score or ours is None or theirs is None or len(ours[0]) != len(theirs[0]):
        return Gain(value, absolute, why=f"no interval: of {named} only the mean {score} is known")
    for items, whole in ((ours, network), (theirs, beside)):
        if not math.isclose(_mean(items), whole, rel_tol=1e-3, abs_tol=1e-6):
            return Gain(value, absolute, why=f"no interval: {score} is no mean over {evidence.thing}s")
    sign = 1.0 if rises else -1.0
    known = (ours[1] > 0) & np.isfinite(ours[0]) & np.isfinite(theirs[0])
    weights = ours[1][known].astype(float)
    better = sign * (ours[0][known] - theirs[0][known])
    count = blocks(len(weights), evidence.dependent, evidence.ordered)
    if count < FEWEST_BLOCKS:
        few = f"too few for an interval: {count_of(len(weights), evidence.thing)}"
        overlapping = f", of which {evidence.dependent} in a row overlap" if evidence.dependent > 1 else ""
        return Gain(value, absolute, why=f"{few}{overlapping}", few=True)
    if absolute and evidence.dependent == 1 and np.isin(better, (-1, 0, 1)).all() and (weights == 1).all():
        return Gain(value, absolute, *paired_proportions(better))
    base = weights if absolute else weights * theirs[0][known]
    return Gain(value, absolute, *ratio_interval(weights * better, base, count))


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


def ratio_interval(gains: np.ndarray, base: np.ndarray, pieces: int) -> tuple[float, float]:
    """The 95 % confidence interval of Σ ``gains`` / Σ ``base``, by batch means.

    The ``(sequences,)`` sums are put together to ``pieces`` of neighbours, long
    enough that one says little about the next; the ratio's variance is that of
    the residuals of the pieces (W. G. Cochran, "Sampling Techniques", 3rd
    edition, 1977, section 6.3), its distribution Student's.
    """
    edges = np.linspace(0, len(gains), pieces, endpoint=False).astype(int)
    gains, base = np.add.reduceat(gains, edges), np.add.reduceat(base, edges)
    total = base.sum()
    ratio = gains.sum() / total
    residuals = gains - ratio * base
    error = math.sqrt(pieces / (pieces - 1) * float((residuals**2).sum())) / total
    half = t_quantile(pieces - 1) * error
    return float(ratio - half), float(ratio + half)


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
