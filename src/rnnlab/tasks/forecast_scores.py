"""Scores of forecasts: the error of each value, and their means."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from rnnlab.tasks.distribution import Score

REPORTED_STEPS = (1, 10, 50, 100, 200, 500, 1000)
"""Steps ahead at which an error is reported by itself."""


class Cases(NamedTuple):
    """Forecasts beside what came, in the data's units.

    forecast
        ``(batch, steps, values, parameters)``.
    truth
        ``(batch, steps, values)`` the true values.
    unit
        ``(batch, steps, values)`` what a MASE is divided by.
    ahead
        ``(batch, steps, values)`` how many steps ahead each is.
    known
        ``(batch, steps, values)`` whether the truth is known.
    """

    forecast: Tensor
    truth: Tensor
    unit: Tensor
    ahead: Tensor
    known: Tensor


def squared_error(point: Tensor, truth: Tensor) -> Tensor:
    """In the square of the unit."""
    return (point - truth).square()


def absolute_error(point: Tensor, truth: Tensor) -> Tensor:
    """In the unit of the data."""
    return (point - truth).abs()


def percentage_error(point: Tensor, truth: Tensor) -> Tensor:
    """Absolute error in per cent of the true value; not a number where that is 0."""
    return torch.where(truth == 0, torch.nan, 100 * (point - truth).abs() / truth.abs())


def symmetric_percentage_error(point: Tensor, truth: Tensor) -> Tensor:
    """Absolute error in per cent of the mean size of forecast and truth; 0 where both are 0."""
    return 200 * (point - truth).abs() / (point.abs() + truth.abs()).clamp_min(1e-12)


class MeanScore(Metric):
    """The mean of a score over the values of which it is a number.

    Args:
        name: of the score; the state has it too, so that torchmetrics takes no two scores for one that are alike once.
        score: of the forecasts and the true values.
        step: only those so many steps ahead.
        relative: divided by the unit of the MASE.
    """

    def __init__(self, name: str, score: Score, step: int | None = None, relative: bool = False) -> None:
        super().__init__()
        self.score, self.step, self.relative = score, step, relative
        self.total, self.count = f"total {name}", f"count {name}"
        for state in (self.total, self.count):
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, forecast: Tensor, cases: Tensor) -> None:
        if self.step is not None:
            forecast, cases = (part[cases[:, 2] == self.step] for part in (forecast, cases))
        # in double precision, where squares of single precision's numbers don't overflow; a score that still does
        # counts, and makes the mean infinite
        values = self.score(forecast.double(), cases[:, 0].double())
        values = values / cases[:, 1] if self.relative else values
        known = ~values.isnan()
        setattr(self, self.total, getattr(self, self.total) + values[known].double().sum())
        setattr(self, self.count, getattr(self, self.count) + known.sum())

    def compute(self) -> Tensor:
        mean = getattr(self, self.total) / getattr(self, self.count)
        single = mean.float()
        return mean if single.isinf() else single


class SquaredErrorByStep(Metric):
    """Mean squared error of a rollout, over all its steps (``mse``) and at some of them (``mse@k``, k from 1)."""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, truth: Tensor) -> None:
        self.total = self.total + (predictions - truth).square().mean(-1).sum(0)
        self.count = self.count + len(truth)

    def compute(self) -> dict[str, Tensor]:
        by_step = self.total / self.count
        return {"mse": by_step.mean()} | {f"mse@{k}": by_step[k - 1] for k in REPORTED_STEPS if k <= len(by_step)}
