"""Forecasts at every step, and closed-loop rollouts."""

from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, R2Score

from rnnlab.spec import Batch, valid_steps
from rnnlab.tasks.forecast_scores import MeanScore, SquaredErrorByStep, absolute_error, squared_error
from rnnlab.tasks.forecasting import Forecasting


class StepwiseForecasting(Forecasting):
    """Forecasting where every step is scored: see :class:`rnnlab.tasks.forecasting.Forecasting`."""

    verdict_score = "mse"

    def add_scores(self) -> None:
        self.rollout_error = SquaredErrorByStep()
        self.rollout_baseline = SquaredErrorByStep()

    @property
    def _plain(self) -> bool:
        """Whether it is one number at every step, and all of them are known."""
        return not (self.distribution.levels or self.spec.gaps)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        if not self._plain:
            return super().loss(output, batch)
        if batch.lengths is None:
            return self.loss_function(output, batch.targets)
        valid = valid_steps(batch.inputs, batch.lengths)
        return self.loss_function(output[valid], batch.targets[valid])

    def metrics(self) -> dict[str, Metric]:
        if self._plain:
            return {"mse": MeanSquaredError(), "mae": MeanAbsoluteError(), "r2": R2Score()}
        of_point, log = self.of_point, self.spec.scaling.log
        scores = {"mse": of_point(squared_error), "mae": of_point(absolute_error), **self.distribution.scores(log)}
        return {name: MeanScore(name, score) for name, score in scores.items()}

    def compared(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Numbers and true values; where forecasts are no plain numbers, as of windows."""
        if not self._plain:
            return super().compared(output, batch)
        valid, units = valid_steps(batch.inputs, batch.lengths), self.spec.scaling.to_units
        return units(output)[valid].flatten(), units(batch.targets)[valid].flatten()

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
                self.log_scores({f"{prefix}/{name}": value for name, value in error.compute().items()})
                error.reset()
