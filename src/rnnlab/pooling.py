"""What is read out of a hidden sequence as a whole: of all its steps, of those until now, and of each step's past."""

from typing import NamedTuple

import torch
from torch import Tensor

POOLED: dict[str, tuple[str, ...]] = {
    "mean": ("mean",),
    "max": ("max",),
    "mean_max": ("mean", "max"),
    "vote": ("mean",),
    "statistics": ("mean", "deviation", "share", "max"),
}
"""Of each readout over all valid steps the statistics of each unit that it reads, side by side."""
POOLING = {
    "last": "Last valid step",
    "mean": "Mean over time",
    "max": "Maximum over time",
    "mean_max": "Mean and maximum over time",
    "vote": "Mean of the votes of all steps",
    "statistics": "Mean, deviation, share and maximum over time",
}
"""What a readout is called in a summary."""
TINY = 1e-12
"""Added to a variance, whose square root has no slope at zero."""


def statistic(name: str, hidden: Tensor, valid: Tensor, thresholds: Tensor | None) -> Tensor:
    """``(batch, hidden)`` of ``(batch, time, hidden)`` over the ``valid`` steps ``(batch, time, 1)``."""
    # what stands beyond the end may be no number
    if name == "mean":
        return hidden.masked_fill(~valid, 0.0).sum(1) / valid.sum(1)
    if name == "deviation":
        mean = hidden.masked_fill(~valid, 0.0).sum(1, keepdim=True) / valid.sum(1, keepdim=True)
        variance = (hidden - mean).masked_fill(~valid, 0.0).square().sum(1) / valid.sum(1)
        return (variance + TINY).sqrt()
    if name == "share" and thresholds is not None:
        return ((hidden > thresholds) & valid).to(hidden.dtype).sum(1) / valid.sum(1)
    return hidden.masked_fill(~valid, -torch.inf).amax(1)


def statistics_so_far(names: tuple[str, ...], hidden: Tensor, thresholds: Tensor | None) -> Tensor:
    """``(batch, time, statistics × hidden)`` those of ``(batch, time, hidden)`` up to each step."""
    steps = torch.arange(1, hidden.shape[1] + 1, device=hidden.device)[:, None]
    exact = hidden.double()
    mean = exact.cumsum(1) / steps

    def so_far(name: str) -> Tensor:
        if name == "mean":
            return mean
        if name == "deviation":
            return ((exact.square().cumsum(1) / steps - mean.square()).clamp_min(0) + TINY).sqrt()
        if name == "share" and thresholds is not None:
            return (hidden > thresholds).double().cumsum(1) / steps
        return hidden.cummax(1).values

    return torch.cat([so_far(name).to(hidden) for name in names], -1)


class Pool(NamedTuple):
    """Statistics of each unit over the steps until now, ``(batch, hidden)`` each.

    ``squares`` is the sum of squares about the mean, brought up to date as B. P. Welford, "Note on a method for
    calculating corrected sums of squares and products" (1962), Technometrics 4(3), does it.
    """

    number: int
    mean: Tensor
    squares: Tensor
    above: Tensor
    largest: Tensor

    @classmethod
    def of(cls, h: Tensor, thresholds: Tensor | None) -> "Pool":
        above = torch.zeros_like(h) if thresholds is None else (h > thresholds).to(h.dtype)
        return cls(1, h, torch.zeros_like(h), above, h)

    def with_step(self, h: Tensor, thresholds: Tensor | None) -> "Pool":
        number = self.number + 1
        mean = self.mean + (h - self.mean) / number
        above = self.above if thresholds is None else self.above + (h > thresholds)
        squares = self.squares + (h - self.mean) * (h - mean)
        return Pool(number, mean, squares, above, torch.maximum(self.largest, h))

    def statistic(self, name: str) -> Tensor:
        if name == "mean":
            return self.mean
        if name == "deviation":
            return (self.squares / self.number + TINY).sqrt()
        return self.above / self.number if name == "share" else self.largest
