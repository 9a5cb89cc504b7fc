"""Scores and losses, added up over the batches of an epoch."""

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, MetricCollection


class Scores(nn.Module):
    """The mean loss and some metrics of one predictor on one split."""

    def __init__(self, metrics: dict[str, Metric]) -> None:
        super().__init__()
        self.loss = MeanMetric()
        self.metrics = MetricCollection(dict(metrics))

    def update(self, loss: Tensor, weight: Tensor | float, predictions: Any, targets: Any) -> None:
        self.loss.update(loss, weight)
        self.metrics.update(predictions, targets)

    def compute(self) -> dict[str, Tensor]:
        """The scores of all batches since the last call, by name."""
        scores = {"loss": self.loss.compute(), **self.metrics.compute()}
        with torch.inference_mode(False):  # or a training that follows a test would meet tensors that it can't change
            self.loss.reset()
            self.metrics.reset()
        return scores


class TrainingTotals:
    """Sums over an epoch's training steps, kept on the device: no step waits to log."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.reset()
        self._largest: Tensor | float = 0.0

    def reset(self) -> None:
        self._sums: Tensor | float = 0.0
        self._weight: Tensor | int = 0
        self._norms: Tensor | float = 0.0
        self._clipped: Tensor | float = 0.0
        self._steps = 0

    def add(self, means: tuple[Tensor, ...], weight: Tensor | int) -> None:
        self._sums = self._sums + torch.stack([mean.detach().float() for mean in means]).double() * weight
        self._weight = self._weight + weight

    def add_gradient(self, norm: Tensor, bound: Tensor | float) -> None:
        self._norms = self._norms + norm
        self._clipped = self._clipped + (norm > bound)
        self._largest = torch.maximum(norm, torch.as_tensor(self._largest, dtype=norm.dtype, device=norm.device))
        self._steps += 1

    def means(self) -> dict[str, float]:
        return dict(zip(self.names, (torch.as_tensor(self._sums) / max(self._weight, 1)).tolist(), strict=True))

    def gradients(self) -> dict[str, float]:
        """Mean norm before clipping, and the share of steps that were clipped."""
        steps = max(self._steps, 1)
        return {"norm": float(self._norms) / steps, "clipped": float(self._clipped) / steps}

    @property
    def weight(self) -> int:
        """Elements that the means are over."""
        return int(self._weight)

    @property
    def largest_norm(self) -> float:
        return float(self._largest)

    def state(self) -> dict[str, Any]:
        tensors = {name: torch.as_tensor(getattr(self, name)) for name in ("_sums", "_norms", "_clipped", "_largest")}
        return {**tensors, "_weight": int(self._weight), "_steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
