"""Forecasts at the end of each window, over all steps ahead."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from rnnlab.spec import Batch
from rnnlab.tasks.distribution import Score
from rnnlab.tasks.forecast_scores import (
    REPORTED_STEPS,
    Cases,
    MeanScore,
    absolute_error,
    percentage_error,
    squared_error,
    symmetric_percentage_error,
)
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.tasks.scored import NamedScores, Scores, data_of


class WindowForecasting(Forecasting):
    """Forecasting of time series: see :class:`rnnlab.tasks.forecasting.Forecasting`.

    Training windows have no ``Batch.origin``: their loss is over all steps, as of every forecast.
    """

    verdict_score = "mae"
    reference_scores: NamedScores
    judged_error = staticmethod(absolute_error)

    def add_scores(self) -> None:
        others = self.spec.references[1:]
        self.reference_scores = NamedScores({other.name: Scores(self.metrics()) for other in others})

    @property
    def _steps(self) -> int:
        return self.spec.steps_ahead or 1

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        if self.network.bidirectional:
            # what it says at an earlier step it has read from the end of the window
            batch = batch._replace(inputs=batch.inputs[:, -1:], targets=batch.targets[:, -1:])
            output = output[:, -1:]
        return super().loss(output, batch)

    def scored_steps(self, batch: Batch) -> Tensor:
        scored = torch.zeros(batch.inputs.shape[:2], dtype=torch.bool, device=batch.inputs.device)
        scored[:, -1] = True
        return scored

    def metrics(self) -> dict[str, Metric]:
        of_point = self.of_point
        point: dict[str, Score] = {
            "mse": squared_error,
            "mae": absolute_error,
            "mape": percentage_error,
            "smape": symmetric_percentage_error,
        }
        scores = {name: of_point(score) for name, score in point.items()}
        scores |= self.distribution.scores(self.spec.scaling.log)
        metrics: dict[str, Metric] = {name: MeanScore(name, score) for name, score in scores.items()}
        metrics["mase"] = MeanScore("mase", of_point(absolute_error), relative=True)
        ahead = self._steps
        for step in sorted({1, ahead, *(step for step in REPORTED_STEPS if step < ahead)}) if ahead > 1 else ():
            for name in ("mae", "mape"):
                metrics[f"{name}@{step}"] = MeanScore(f"{name}@{step}", of_point(point[name]), step=step)
        return metrics

    def cases(self, output: Tensor, batch: Batch) -> Cases:
        """Of ``(batch, steps, values, parameters)`` forecasts."""
        if batch.origin is None:
            return super().cases(output, batch)
        truth = batch.origin.actual[:, -output.shape[1] :]
        unit = batch.origin.scales[:, 2]
        ahead = torch.arange(1, truth.shape[1] + 1, device=truth.device)[:, None].expand_as(truth)
        return Cases(self.in_units(output, batch), truth, unit, ahead, truth.isfinite())

    def in_units(self, forecast: Tensor, batch: Batch) -> Tensor:
        """``(batch, steps, values, parameters)`` forecasts in the data's units."""
        assert batch.origin is not None
        shift, scale, _ = batch.origin.scales.unbind(1)
        return self.distribution.in_units(forecast, shift, scale, self.spec.scaling.log)

    @property
    def no_anomalies(self) -> str:
        return ""

    def baseline(self, batch: Batch) -> Tensor:
        return super().baseline(batch) if batch.origin is None else self.reference(batch, 0)

    def reference(self, batch: Batch, number: int) -> Tensor:
        """``(batch, steps, values, parameters)`` what the data's simple predictor says, as :meth:`forecast` would."""
        assert batch.origin is not None
        center = batch.origin.references[:, number]
        errors = center.new_tensor(self.spec.references[number].errors).view(center.shape[1:])
        return self.distribution.around(center, errors.expand_as(center))

    def predictions(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        """A row for each step ahead of each window."""
        cases = self.windows(batch)
        if cases is None:
            return super().predictions(batch)
        rows, ahead = torch.ones(cases.forecast.shape[:2]).nonzero(as_tuple=True)
        columns = self.columns.beside_truth(cases.forecast[rows, ahead], cases.truth[rows, ahead])
        return rows, {"ahead": (ahead + 1).numpy(), **columns}

    def forecast(self, batch: Batch) -> Tensor:
        """``(batch, steps, values, parameters)`` made at the last step of each window, on the network's scale."""
        assert batch.origin is not None
        if self.spec.horizon is None:  # all steps at once
            return self.distribution.split(self(batch)[:, -1]).unflatten(1, (self._steps, -1))
        return self.distribution.split(self.alone(batch.inputs, self._steps - 1, batch.origin.ahead))

    def windows(self, batch: Batch) -> Cases | None:
        return None if batch.origin is None else self.cases(self.forecast(batch), batch)

    # ---- steps ----------------------------------------------------------------------------------

    def answer(self, batch: Batch) -> Tensor:
        """The forecast at the last step; of training windows the output at every step."""
        return super().answer(batch) if batch.origin is None else self.forecast(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        if batch.origin is None:
            super().test_step(batch, batch_idx)
            return
        self._test(self.scores["test"], "network", self.forecast(batch), batch)
        self._test(self.scores["baseline"], self.baseline_name, self.baseline(batch), batch)
        for number, reference in enumerate(self.spec.references[1:], 1):
            scores = self.reference_scores[reference.name]
            self._test(scores, reference.name, self.reference(batch, number), batch)

    def _score(self, scores: Scores, output: Tensor, batch: Batch) -> None:
        if batch.origin is None:
            super()._score(scores, output, batch)
            return
        forecast, cases = self.compared(output, batch)
        steps = output.shape[1]
        if self.spec.horizon is None:
            truth = batch.targets[:, -1].unflatten(1, (steps, -1))
        else:
            shift, scale, _ = batch.origin.scales.unbind(1)
            actual = batch.origin.actual[:, -steps:]
            # units are in double precision, so that a large level rounds no error away
            truth = (((actual.log() if self.spec.scaling.log else actual) - shift) / scale).to(output.dtype)
        if len(cases):
            scores.update(self.mean_loss(output, truth), len(cases), forecast, cases)

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        for name in self.reference_scores:
            scores = self.reference_scores[name].compute()
            self.log_scores({f"baseline/{name}/{key}": value for key, value in scores.items()})
        data = data_of(self.trainer)
        for name, made in (data.classical() if hasattr(data, "classical") else {}).items():
            self.log_scores({f"baseline/{name}/{key}": value for key, value in made.scores.items()})
            errors = self.judged_error(torch.from_numpy(made.said), torch.from_numpy(made.truth))
            self._judged[name] = [(errors.mean(1), torch.full((len(errors),), errors.shape[1]))]
