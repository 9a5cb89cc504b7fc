"""Rebuild a sequence from a few numbers that were made of it."""

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, R2Score

from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.shapes import PositiveInt
from rnnlab.spec import Batch, DataSpec, TargetSpec, valid_steps
from rnnlab.tasks.distribution import LOSSES, POINT_CLAIMS_NOTHING
from rnnlab.tasks.optimization import OptimizerFactory, SchedulerFactory
from rnnlab.tasks.scored import Scores
from rnnlab.tasks.task import Task

SHARE, MOST = 8, 64
"""A code has an eighth of the numbers of the longest sequence, and at most so many."""


class Reconstruction(Task):
    """A recurrent autoencoder: the network reads a sequence, keeps a code of it, and rebuilds every step from that.

    The data may be any whose steps are numbers; its labels are not looked at
    (:func:`rnnlab.data.rebuilt.rebuilt`). How a step is rebuilt is told in
    :mod:`rnnlab.rebuilding` (Malhotra et al. 2016, arXiv 1607.00148; Srivastava
    et al. 2015, arXiv 1502.04681). The code has fewer numbers than the sequence,
    so that there is no copying it: what is rebuilt well is what many sequences
    have in common, and what is not is out of the ordinary.

    Scores are ``mse``, ``mae`` and ``r2`` over the valid steps, in the data's own
    units. The trivial predictor is the mean of each column over the training
    part; beside it stands ``last_value``, the value of the step before, which
    unlike the network has seen its neighbour.

    Args:
        loss: ``mse``, ``mae`` or ``huber`` (quadratic below 1, linear above;
            Huber 1964), on the network's scale.
        code_size: numbers that are kept of a sequence; ``None``: an eighth of those of the longest one, at most 64.

    Raises:
        InputError: the code could hold a copy of a sequence, or the targets are not the inputs.
    """

    target_kind = "values"
    baseline_name = "mean"
    sequence_score_name = verdict_score = "mse"
    rebuilds = True
    mean: Tensor

    def __init__(
        self,
        network: Network,
        spec: DataSpec,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "val/loss",
        loss: Literal["mse", "mae", "huber"] = "mse",
        code_size: PositiveInt | None = None,
    ) -> None:
        if spec.horizon != 0:
            raise InputError(
                "task reconstruction needs data whose targets are its inputs: rnnlab.data.rebuilt.rebuilt(data)"
            )
        super().__init__(network, spec, optimizer, scheduler, monitor)
        self.loss_function = LOSSES[loss]
        self.loss_name = loss if spec.scaling.keeps_differences and loss != "huber" else None
        self.last_value = Scores(self.metrics())
        self.register_buffer("mean", torch.tensor(spec.target_mean), persistent=False)

    @classmethod
    def output(cls, spec: DataSpec, code_size: int | None = None, **_: Any) -> TargetSpec:
        size, numbers = spec.target.size, spec.length * spec.target.size
        usual = max(1, min(MOST, numbers // SHARE))
        if (code_size or usual) >= numbers:
            hint = (
                f"use {usual}, say, or leave it out" if numbers > 1 else "there is nothing to leave out of one number"
            )
            raise InputError(
                f"task.code_size={code_size or usual}: a sequence of this data has {spec.length} step"
                f"{'s' * (spec.length > 1)} of {size}, {numbers} numbers in all, and as many could hold a copy: {hint}"
            )
        return replace(spec.target, code=code_size or usual)

    # ---- the objective --------------------------------------------------------------------------

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        if batch.lengths is None:
            return self.loss_function(output, batch.targets)
        valid = valid_steps(batch.inputs, batch.lengths)
        return self.loss_function(output[valid], batch.targets[valid])

    def metrics(self) -> dict[str, Metric]:
        return {"mse": MeanSquaredError(), "mae": MeanAbsoluteError(), "r2": R2Score()}

    def compared(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        valid, units = valid_steps(batch.inputs, batch.lengths), self.spec.scaling.to_units
        return units(output)[valid].flatten(), units(batch.targets)[valid].flatten()

    def baseline(self, batch: Batch) -> Tensor:
        return self.mean.expand_as(batch.targets)

    def sequence_score(self, output: Tensor, batch: Batch) -> Tensor:
        return self.judge(output, batch)[0].to(output.dtype)

    def judge(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        units, valid = self.spec.scaling.to_units, valid_steps(batch.inputs, batch.lengths)
        squares = torch.where(valid[..., None], (units(output) - units(batch.targets)).square(), 0).mean(-1)
        steps = valid.sum(1)
        return squares.double().sum(1) / steps.clamp_min(1), steps

    @property
    def no_anomalies(self) -> str:
        return ""

    @property
    def no_probability(self) -> str:
        return POINT_CLAIMS_NOTHING

    # ---- beside the value before ------------------------------------------------------------------

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        super().test_step(batch, batch_idx)
        before = torch.cat([self.baseline(batch)[:, :1], batch.targets[:, :-1]], 1)
        self._test(self.last_value, "last_value", before, batch)

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        if self.last_value.loss.update_called:
            self.log_scores({f"baseline/last_value/{key}": value for key, value in self.last_value.compute().items()})

    # ---- tables -----------------------------------------------------------------------------------

    def reading(self) -> dict[str, Any]:
        spec = self.spec
        return {"kind": "values", "names": list(spec.target.labels), "unit": spec.unit, **spec.scaling.reading()}

    def predictions(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        """A row for each step."""
        rows, steps = valid_steps(batch.inputs, batch.lengths).nonzero(as_tuple=True)
        truth = self.spec.scaling.to_units(batch.targets)[rows, steps].cpu().unbind(-1)
        columns = {name: each.numpy() for name, each in zip(self.spec.target.labels, truth, strict=True)}
        return rows.cpu(), {"step": steps.cpu().numpy(), **columns, **self.said(self(batch)[rows, steps])}

    def said(self, output: Tensor) -> dict[str, Any]:
        rebuilt = self.spec.scaling.to_units(output).cpu().unbind(-1)
        return {f"{name} rebuilt": each.numpy() for name, each in zip(self.spec.target.labels, rebuilt, strict=True)}
