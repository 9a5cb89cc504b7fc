"""Real values of the whole sequence."""

from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric

from rnnlab.network import Network
from rnnlab.spec import Batch, DataSpec
from rnnlab.tasks.distribution import LOSSES, POINT_CLAIMS_NOTHING
from rnnlab.tasks.optimization import OptimizerFactory, SchedulerFactory
from rnnlab.tasks.task import Task


class Regression(Task):
    """Squared and absolute error of one prediction a sequence, in the data's own units.

    The trivial predictor says the mean, whatever it sees: its mean squared
    error is the variance of the targets.

    Args:
        loss: ``mse``, ``mae`` or ``huber`` (quadratic below 1, linear above;
            Huber 1964), on the network's scale.
    """

    target_kind = "value"
    baseline_name = "mean"
    sequence_score_name = verdict_score = "mse"
    mean: Tensor

    def __init__(
        self,
        network: Network,
        spec: DataSpec,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "val/loss",
        loss: Literal["mse", "mae", "huber"] = "mse",
    ) -> None:
        super().__init__(network, spec, optimizer, scheduler, monitor)
        self.loss_function = LOSSES[loss]
        self.loss_name = loss if spec.scaling.keeps_differences and loss != "huber" else None
        self.register_buffer("mean", torch.tensor(spec.target_mean or (0.0,) * spec.target.size), persistent=False)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        return self.loss_function(output, batch.targets)

    def metrics(self) -> dict[str, Metric]:
        return {"mse": MeanSquaredError(), "mae": MeanAbsoluteError()}

    def compared(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        units = self.spec.scaling.to_units
        return units(output).flatten(), units(batch.targets).flatten()

    def baseline(self, batch: Batch) -> Tensor:
        return self.mean.expand_as(batch.targets)

    @property
    def no_probability(self) -> str:
        return POINT_CLAIMS_NOTHING

    def reading(self) -> dict[str, Any]:
        return {"kind": "value", "names": list(self.spec.target.labels), **self.spec.scaling.reading()}

    def sequence_score(self, output: Tensor, batch: Batch) -> Tensor:
        units = self.spec.scaling.to_units
        return (units(output) - units(batch.targets)).square().mean(-1)

    def judge(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        errors = self.sequence_score(output, batch)
        return errors, torch.ones_like(errors)

    def predictions(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        units = self.spec.scaling.to_units
        truth = units(batch.targets).cpu().unbind(-1)
        columns = {name: each.numpy() for name, each in zip(self.spec.target.labels, truth, strict=True)}
        return torch.arange(len(batch.targets)), columns | self.said(self(batch))

    def said(self, output: Tensor) -> dict[str, Any]:
        predicted = self.spec.scaling.to_units(output).cpu().unbind(-1)
        return {
            f"{name} predicted": each.numpy() for name, each in zip(self.spec.target.labels, predicted, strict=True)
        }
