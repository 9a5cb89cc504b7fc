"""Linear autoregression by least squares, the yardstick of every forecast."""

from dataclasses import dataclass

import numpy as np

ROWS, NUMBERS = 50_000, 4_000_000
"""At most so many origins are fitted, evenly spaced, and so many lags of all of them together."""
MANY = 48
"""Lags from which on all steps ahead are fitted to the same origins, at once."""


@dataclass(frozen=True)
class Autoregression:
    """``x(t + h) = c_h + Σ_i a_hi x(t + 1 - i)``, i from 1 to the order, for each value by itself.

    Attributes:
        constant: ``(models, values)``.
        weights: ``(models, order, values)``, the latest value's first.
        steps: how far ahead forecasts go. With one model they are reached by
            feeding forecasts back, else there is a model for each step.
    """

    constant: np.ndarray
    weights: np.ndarray
    steps: int

    @property
    def order(self) -> int:
        return self.weights.shape[1]

    def forecast(self, past: np.ndarray) -> np.ndarray:
        """``(batch, time, values)`` of the past, at least ``order`` steps, to ``(batch, steps, values)``."""
        latest = past[:, : -self.order - 1 : -1]
        if len(self.weights) == self.steps:
            return np.einsum("bik,hik->bhk", latest, self.weights) + self.constant
        ahead = []
        for _ in range(self.steps):
            ahead.append((latest * self.weights[0]).sum(1) + self.constant[0])
            latest = np.concatenate([ahead[-1][:, None], latest[:, :-1]], 1)
        return np.stack(ahead, 1)


def fit(
    x: np.ndarray, unknown: np.ndarray | None, parts: list[tuple[int, int]], steps: int, order: int | None,
    longest: int, direct: bool,
) -> Autoregression:  # fmt: skip
    """Fits all series together.

    Args:
        x: ``(rows, values)``, each series scaled.
        unknown: ``(rows, values)`` true where a value was filled in; it is no target.
        parts: first row and end of the training part of each series.
        steps: ahead.
        order: lags; ``None``: the best by Akaike's criterion (1974) among 1 … ``longest``.
        longest: order that may be chosen.
        direct: a model for each step rather than one that is fed back.
    """
    targets = range(1, steps + 1) if direct else (1,)
    if order is None:
        order = _best_order(x, unknown, parts, longest)
    if direct and unknown is None and order > MANY:
        return _at_once(x, parts, steps, order)
    constants, weights = [], []
    for ahead in targets:
        origins = _origins(parts, order, ahead)
        found = [
            np.linalg.lstsq(*_equations(x, unknown, origins, order, ahead, value), rcond=None)[0]
            for value in range(x.shape[1])
        ]
        constants.append([solution[0] for solution in found])
        weights.append(np.stack([solution[1:] for solution in found], 1))
    return Autoregression(np.array(constants), np.stack(weights), steps)


def _at_once(x: np.ndarray, parts: list[tuple[int, int]], steps: int, order: int) -> Autoregression:
    origins = _origins(parts, order, steps)
    found = []
    for value in range(x.shape[1]):
        matrix, _ = _equations(x, None, origins, order, 1, value)
        truth = x[origins[:, None] + np.arange(1, steps + 1), value].astype(np.float64)
        found.append(np.linalg.lstsq(matrix, truth, rcond=None)[0].T)
    solution = np.stack(found, -1)
    return Autoregression(solution[:, 0], solution[:, 1:], steps)


def _origins(parts: list[tuple[int, int]], order: int, ahead: int) -> np.ndarray:
    rows = [np.arange(start + order - 1, end - ahead) for start, end in parts if end - ahead > start + order - 1]
    every = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    most = min(ROWS, max(10 * order, NUMBERS // order))
    return every[np.linspace(0, len(every) - 1, most).round().astype(np.int64)] if len(every) > most else every


def _equations(
    x: np.ndarray, unknown: np.ndarray | None, origins: np.ndarray, order: int, ahead: int, value: int
) -> tuple[np.ndarray, np.ndarray]:
    """``(origins, 1 + order)`` a constant and the lags, and the ``(origins,)`` targets that are known."""
    if unknown is not None:
        origins = origins[~unknown[origins + ahead, value]]
    lags = x[origins[:, None] - np.arange(order), value].astype(np.float64)
    return np.concatenate([np.ones((len(origins), 1)), lags], 1), x[origins + ahead, value].astype(np.float64)


def _best_order(x: np.ndarray, unknown: np.ndarray | None, parts: list[tuple[int, int]], longest: int) -> int:
    origins = _origins(parts, longest, 1)  # the same for all orders, else they could not be compared
    while longest > 1 and len(origins) < 3 * longest:
        longest //= 2
        origins = _origins(parts, longest, 1)
    orders = np.arange(1, longest + 1)
    criteria = np.zeros(longest)
    for value in range(x.shape[1]):
        matrix, target = _equations(x, unknown, origins, longest, 1, value)
        # columns one after the other: what the first ones leave of the target is what all but their directions do
        directions = np.linalg.qr(matrix)[0]
        explained = np.cumsum(np.square(directions.T @ target))[1:]
        squares = np.maximum(np.square(target).sum() - explained, 1e-12)
        if len(squares) == longest:
            criteria += len(target) * np.log(squares / max(len(target), 1)) + 2 * (orders + 1)
    return int(np.argmin(criteria)) + 1
