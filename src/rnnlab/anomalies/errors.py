"""The distribution of a network's errors on its validation part, and how unusual an error is by it.

The errors of one step, of several columns and several steps ahead, are a vector e. Its score is the Mahalanobis
distance from the mean of the validation errors, by the root of the number of entries: 1 or less of a usual one:

    a = √( (e - μ)ᵀ Σ⁻¹ (e - μ) / d )

P. Malhotra, L. Vig, G. Shroff & P. Agarwal, "Long short term memory networks for anomaly detection in time series"
(2015), ESANN, section 2 (a normal distribution of the error vectors of a forecaster); P. Malhotra et al., "LSTM-based
encoder-decoder for multi-sensor anomaly detection" (2016), arXiv 1607.00148, equation 1. Σ is shrunk towards its
diagonal by as much as its entries are unsure (J. Schäfer & K. Strimmer, "A shrinkage approach to large-scale covariance
matrix estimation" (2005), table 2, target D).

The threshold is a quantile of the scores of the validation part, each by the mean and covariance of the other half of
it; no label is needed, and nothing of the test part. It is the ⌈q (n + 1)⌉-th of n, so that of errors like these a
further one is above it no more often than 1 - q.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnlab.errors import InputError

FEWEST = 20
"""Steps with known errors that a validation part must have."""
ENOUGH = 100
"""Errors by which the spread at a step is told; where there are fewer, those of neighbouring steps count, too."""
QUANTILE = 0.99
"""Of the validation scores, where nobody chose."""


@dataclass(frozen=True)
class Errors:
    """The errors of the steps of one sequence.

    Attributes:
        error: ``(time, entries)``; not a number where nothing was expected, or nobody knows what came.
        at: ``(time,)`` steps since what was expected began; all 0 where they are alike.
    """

    error: np.ndarray
    at: np.ndarray


@dataclass(frozen=True)
class Normal:
    """A normal distribution of errors.

    Attributes:
        spread: ``(steps, entries)`` root mean square at each step, by which errors are divided first: at its beginning
            nobody can know how a sequence goes on.
        mean: ``(entries,)`` of what is left.
        covariance: ``(entries, entries)``.
    """

    spread: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def fit(cls, parts: Sequence[Errors]) -> "Normal":
        """Of the errors of some sequences."""
        error, at = np.concatenate([part.error for part in parts]), np.concatenate([part.at for part in parts])
        spread = _spread(error, at)
        z = error / spread[np.minimum(at, len(spread) - 1)]
        # vectors with a gap say nothing of how entries hang together
        z = z[np.isfinite(z).all(1)]
        if len(z) < 2:
            z = np.zeros((2, error.shape[1]))
        return cls(spread, z.mean(0), shrunk_covariance(z))

    def parts(self, errors: Errors) -> np.ndarray:
        """``(time, entries)`` what each entry adds to the squared distance, by the number of known ones: their sum is
        the squared score. Not a number where an entry is unknown.
        """
        z = errors.error / self.spread[np.minimum(errors.at, len(self.spread) - 1)] - self.mean
        found = np.full(z.shape, np.nan)
        patterns, which = np.unique(np.isfinite(z), axis=0, return_inverse=True)
        for number, known in enumerate(patterns):
            if known.any():
                rows = np.ix_(which.reshape(-1) == number, known)
                solved = np.linalg.solve(self.covariance[np.ix_(known, known)], z[rows].T).T
                found[rows] = z[rows] * solved / known.sum()
        return found

    def scores(self, errors: Errors) -> np.ndarray:
        """``(time,)``; not a number where no entry is known."""
        return total(self.parts(errors))


def total(parts: np.ndarray) -> np.ndarray:
    """``(time,)`` scores of what :meth:`Normal.parts` gave."""
    nothing = ~np.isfinite(parts).any(1)
    return np.where(nothing, np.nan, np.sqrt(np.maximum(np.nansum(parts, 1), 0.0)))


@dataclass(frozen=True)
class Usual:
    """What is usual of a network's errors.

    Attributes:
        normal: their distribution on the validation part.
        scores: ``(n,)`` of the validation part, in order, each by the other half of it.
    """

    normal: Normal
    scores: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[Errors]) -> "Usual":
        """Of the sequences of the validation part, or of a series in pieces.

        Raises:
            InputError: too few errors are known.
        """
        known = sum(int(np.isfinite(part.error).any(1).sum()) for part in parts)
        if known < FEWEST:
            raise InputError(
                f"--anomalies: the validation part has {known} steps with a known error, and {FEWEST} are needed to "
                "tell what is usual: train with a larger data.val_fraction"
            )
        halves = _halves(parts)
        scores = np.concatenate([Normal.fit(halves[1 - k]).scores(part) for k in (0, 1) for part in halves[k]])
        return cls(Normal.fit(parts), np.sort(scores[np.isfinite(scores)]))

    def threshold(self, quantile: float = QUANTILE) -> float:
        """The score that such a share of errors like those of the validation part does not exceed; its largest one
        where it has too few to tell.
        """
        return float(self.scores[min(self.rank(quantile), len(self.scores)) - 1])

    def rank(self, quantile: float) -> int:
        """Which of the validation scores that is, from 1; beyond their number where there are too few."""
        return math.ceil(quantile * (len(self.scores) + 1))


def _halves(parts: Sequence[Errors]) -> tuple[list[Errors], list[Errors]]:
    """The first and the second half, of the sequences or, where there is one, of its steps."""
    if len(parts) > 1:
        middle = len(parts) // 2
        return list(parts[:middle]), list(parts[middle:])
    (part,) = parts
    there = np.flatnonzero(np.isfinite(part.error).any(1))
    middle = int(there[len(there) // 2])
    return [Errors(part.error[:middle], part.at[:middle])], [Errors(part.error[middle:], part.at[middle:])]


def _spread(error: np.ndarray, at: np.ndarray) -> np.ndarray:
    """``(steps, entries)`` root mean square of ``(n, entries)`` errors at each step, over as many neighbours as make
    :data:`ENOUGH`.
    """
    steps, entries = int(at.max(initial=0)) + 1, error.shape[1]
    squares, counts = np.zeros((steps, entries)), np.zeros((steps, entries))
    known = np.isfinite(error)
    np.add.at(squares, at, np.where(known, np.square(error), 0))
    np.add.at(counts, at, known)
    usual = np.median(counts[counts > 0]) if (counts > 0).any() else 1.0
    reach = min(steps, math.ceil(max(0.0, ENOUGH / usual - 1) / 2))
    low = np.maximum(np.arange(steps) - reach, 0)
    high = np.minimum(np.arange(steps) + reach + 1, steps)
    summed, number = (np.concatenate([np.zeros((1, entries)), part.cumsum(0)]) for part in (squares, counts))
    number = number[high] - number[low]
    together = squares.sum(0) / np.maximum(counts.sum(0), 1)
    mean = np.where(number > 0, (summed[high] - summed[low]) / np.maximum(number, 1), together)
    # an error where there never was one is a large one, and no infinite one
    return np.sqrt(np.maximum(mean, np.maximum(1e-6 * together, 1e-18)))


def shrunk_covariance(z: np.ndarray) -> np.ndarray:
    """``(entries, entries)`` of ``(n, entries)``, its correlations shrunk by the share of them that is chance."""
    n, entries = z.shape
    deviation = np.maximum(z.std(0, ddof=1), 1e-9)
    x = (z - z.mean(0)) / deviation
    correlation = x.T @ x / (n - 1)
    variance = n / (n - 1) ** 3 * (np.square(x).T @ np.square(x) - np.square(x.T @ x) / n)
    off = ~np.eye(entries, dtype=bool)
    signal = float(np.square(correlation[off]).sum())
    share = min(1.0, max(0.0, float(variance[off].sum()) / signal)) if signal > 0 else 1.0
    shrunk = np.where(off, (1 - share) * correlation, 1.0 + 1e-9)
    return np.asarray(shrunk * deviation[:, None] * deviation)
