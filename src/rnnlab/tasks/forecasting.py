"""Predict what comes next: real values at every step."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, R2Score

from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.shapes import Features
from rnnlab.spec import Batch, DataSpec, valid_steps
from rnnlab.tasks.task import OptimizerFactory, SchedulerFactory, Task

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
}


class Forecasting(Task):
    """Regression of the target at every valid step, and the rollout beyond the window.

    Scores are in the data's own units: ``mse``, ``mae``, ``r2`` of the
    one-step forecast (one horizon ahead, the truth known up to now). The
    closed-loop rollout, in which the network lives on its own predictions
    beyond the window, is another thing, and is reported apart:
    ``rollout/mse`` over all its steps and ``rollout/mse@k`` at its k-th.

    The trivial predictor is persistence: the last known value.

    Args:
        loss: ``mse``, ``mae`` or ``huber`` (quadratic below 1, linear above;
            Huber 1964), on the network's scale.
    """

    target_kind = "values"

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
        self.rollout_error = _SquaredErrorByStep()
        self.rollout_baseline = _SquaredErrorByStep()

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        if batch.lengths is None:
            return self.loss_function(output, batch.targets)
        valid = valid_steps(batch.inputs, batch.lengths)
        return self.loss_function(output[valid], batch.targets[valid])

    def metrics(self) -> dict[str, Metric]:
        return {"mse": MeanSquaredError(), "mae": MeanAbsoluteError(), "r2": R2Score()}

    def compared(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        valid = valid_steps(batch.inputs, batch.lengths)
        units = self.spec.scaling.to_units
        return units(output)[valid].flatten(), units(batch.targets)[valid].flatten()

    def baseline(self, batch: Batch) -> Tensor:
        """Persistence: the value of now is the value to come (0, the scaled mean, where now is no such value)."""
        if self.spec.horizon is None:
            return torch.zeros_like(batch.targets)
        return batch.inputs[..., : self.spec.target.size]

    @torch.no_grad()
    def rollout(self, inputs: Features, steps: int) -> Tensor:
        """Goes on alone: the network's predictions become its inputs.

        Args:
            inputs: the window, ``(batch, time, features)``.
            steps: how many values beyond the window's last target to predict.

        Returns:
            ``(batch, steps, size)``, on the network's scale: the first follows
            the last target.

        Raises:
            InputError: predictions of this data are no later inputs.
        """
        horizon = self.spec.horizon
        if horizon is None:
            raise InputError("this data's targets are no later inputs, so a prediction cannot be fed back")
        was_training = self.network.training
        self.network.eval()
        output, state = self.network(inputs)
        # what is predicted for the steps between the window and the first value of the rollout
        known = list(output[:, -horizon:].unbind(1))
        window = inputs
        for step in range(steps):
            x = known[step][:, None]
            if self.network.bidirectional:  # has no state to carry: reads the moved window again
                window = torch.cat([window[:, 1:], x], 1)
                output = self.network(window)[0][:, -1:]
            else:
                output, state = self.network(x, state)
            known.append(output[:, 0])
        self.network.train(was_training)
        return torch.stack(known[horizon:], 1) if steps else output[:, :0]

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        super().test_step(batch, batch_idx)
        if batch.future is None or self.spec.horizon is None:
            return
        units = self.spec.scaling.to_units
        truth = units(batch.future)
        self.rollout_error.update(units(self.rollout(batch.inputs, truth.shape[1])), truth)
        last = batch.targets[:, -1:]
        self.rollout_baseline.update(units(last).expand_as(truth), truth)

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        for prefix, error in (("rollout", self.rollout_error), ("baseline/rollout", self.rollout_baseline)):
            if error.update_called:
                self.log_dict({f"{prefix}/{name}": value for name, value in error.compute().items()})
                error.reset()


REPORTED_STEPS = (1, 10, 50, 100, 200, 500, 1000)


class _SquaredErrorByStep(Metric):
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
