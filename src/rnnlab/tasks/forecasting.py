"""Predict what comes next: real values, with how sure the network is of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.shapes import Features
from rnnlab.spec import Batch, DataSpec, TargetSpec, valid_steps
from rnnlab.tasks.distribution import DECILES, LOSSES, POINT_CLAIMS_NOTHING, Level, Score, build_distribution
from rnnlab.tasks.forecast_columns import ForecastColumns
from rnnlab.tasks.forecast_correction import correct
from rnnlab.tasks.forecast_scores import Cases, squared_error
from rnnlab.tasks.optimization import OptimizerFactory, SchedulerFactory
from rnnlab.tasks.rollout import closed_loop
from rnnlab.tasks.task import Task


class _BuiltForData(Task):
    """Makes the form of an objective that the data needs: its signature stays that of ``__init__``."""

    def __new__(cls, network: Network | None = None, spec: DataSpec | None = None, *_: Any, **__: Any) -> Any:
        form = cls.form(spec) if spec is not None else cls
        # one's own objective that changes forecasting changes the form, too
        return super().__new__(
            form if issubclass(form, cls) else type(cls.__name__, (cls, form), {"__module__": cls.__module__})
        )

    @classmethod
    def form(cls, spec: DataSpec) -> type[Task]:
        """The class that is built for this data."""
        return cls


class Forecasting(_BuiltForData):
    """Regression of the target at every valid step, and what comes beyond the window.

    Which form it takes is settled by the data (``DataSpec.steps_ahead``): every step is scored
    (:class:`rnnlab.tasks.stepwise_forecasting.StepwiseForecasting`), or forecasts made at the end of each window
    (:class:`rnnlab.tasks.window_forecasting.WindowForecasting`). Scores are in the data's own units.

    Where every step is scored, ``mse``, ``mae`` and ``r2`` are of the one-step
    forecast (one horizon ahead, the truth known up to now). The
    closed-loop rollout, in which the network lives on its own predictions
    beyond the window, is another thing, and is reported apart:
    ``rollout/mse`` over all its steps and ``rollout/mse@k`` at its k-th.

    Of windows the scores are over all steps ahead: ``mse``, ``mae``, ``mape`` and ``smape`` in per cent (a true
    value of 0 has no ``mape``), ``mase`` (Hyndman and Koehler 2006), and
    ``mae@h`` and ``mape@h`` at some steps. Where the data's targets are one
    step ahead, the others are reached by feeding back the point forecasts. The
    simple predictors of the data are scored alike, under ``baseline/`` and
    ``baseline/NAME/``.

    A distribution also has ``crps``, the continuous ranked probability score,
    ``coverage@80``, the share of the true values in its 80 % interval, and
    ``width@80``. Fed back are its point forecasts alone, so that beyond the
    first step a recursive forecast takes itself for surer than it is. Simple
    predictors get normal errors, as wide as theirs on the training part.

    The trivial predictor is persistence: the last known value.

    Args:
        loss: of a point forecast: ``mse``, ``mae`` or ``huber`` (quadratic
            below 1, linear above; Huber 1964), on the network's scale.
        distribution: what is said of each value: a ``point``, a ``gaussian``
            (by its likelihood), or ``quantiles`` (by the pinball loss).
        quantiles: their levels, in order, with 0.5 among them.
        conformal: after training, each quantile but the median is moved by so much that it holds its share of the
            validation part, at each step ahead (Romano, Patterson and Candès 2019, arXiv 1905.03222).

    Raises:
        InputError: the quantiles are out of order, or 0.5 is not among them.
    """

    # longer than 250 lines, 50 of which describe its options
    target_kind = "values"
    forecasts = True

    @classmethod
    def form(cls, spec: DataSpec) -> type[Task]:
        # both build on this class
        from rnnlab.tasks.stepwise_forecasting import StepwiseForecasting
        from rnnlab.tasks.window_forecasting import WindowForecasting

        return StepwiseForecasting if spec.steps_ahead is None else WindowForecasting

    @property
    def title(self) -> str:
        return super().title.removeprefix("Stepwise").removeprefix("Window")

    @property
    def baseline_name(self) -> str:
        """By the data: its own first reference, persistence, or the mean where now is no value to come."""
        if self.spec.references:
            return self.spec.references[0].name
        return "mean" if self.spec.horizon is None else "persistence"

    def __init__(
        self,
        network: Network,
        spec: DataSpec,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "val/loss",
        loss: Literal["mse", "mae", "huber"] = "mse",
        distribution: Literal["point", "gaussian", "quantiles"] = "point",
        quantiles: Sequence[Level] = DECILES,
        conformal: bool = True,
    ) -> None:
        self.conformal = conformal
        self.loss_function = LOSSES[loss]
        one_step = spec.steps_ahead is None and distribution == "point"
        self.loss_name = loss if one_step and spec.scaling.keeps_differences and loss != "huber" else None
        self.distribution = build_distribution(distribution, quantiles, self.loss_function)
        super().__init__(network, spec, optimizer, scheduler, monitor)
        self.add_scores()

    def add_scores(self) -> None:
        """Makes the metrics of a test beside those of every task."""

    @classmethod
    def output(
        cls,
        spec: DataSpec,
        loss: str = "mse",
        distribution: str = "point",
        quantiles: Sequence[float] = DECILES,
        **_: Any,
    ) -> TargetSpec:
        parameters = build_distribution(distribution, quantiles, LOSSES[loss]).parameters
        return replace(spec.target, size=parameters * spec.target.size, names=()) if parameters > 1 else spec.target

    # ---- the objective --------------------------------------------------------------------------

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        valid = valid_steps(batch.inputs, batch.lengths)
        return self.mean_loss(self.distribution.split(output)[valid], batch.targets[valid])

    def mean_loss(self, forecast: Tensor, truth: Tensor) -> Tensor:
        """Over the known values: of ``(…, parameters)`` and ``(…,)``, on the network's scale."""
        if not self.spec.gaps:
            return self.distribution.loss(forecast, truth).mean()
        known = truth.isfinite()
        # a batch without any known value teaches nothing, and its loss is no number that stops a run
        return self.distribution.loss(forecast[known], truth[known]).sum() / known.sum().clamp_min(1)

    def weight(self, batch: Batch) -> Tensor | int:
        return batch.targets.isfinite().sum() if self.spec.gaps else super().weight(batch)

    def combine(self, outputs: Tensor) -> Tensor:
        return self.distribution.combine(self.distribution.split(outputs)).transpose(-1, -2).flatten(-2)

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Batch]) -> Mapping[str, float]:
        """See :func:`rnnlab.tasks.forecast_correction.correct`."""
        moves = self.conformal and self.distribution.conforms
        if not (self.spec.residual or moves):
            return {}
        forecasts, truths = [], []
        for batch in batches:
            output, scored = self.distribution.split(self(batch)), self.scored_steps(batch)
            forecasts.append(output[scored].double())
            truths.append(batch.targets[scored].double())
        forecast, truth = torch.cat(forecasts), torch.cat(truths)
        return correct(self.network.readout, self.distribution, self.spec, forecast, truth, moves)

    def scored_steps(self, batch: Batch) -> Tensor:
        """``(batch, time)`` the steps whose forecasts are scored."""
        return valid_steps(batch.inputs, batch.lengths)

    # ---- scores ---------------------------------------------------------------------------------

    def of_point(self, score: Score) -> Score:
        """A score of numbers as one of forecasts."""
        return lambda forecast, truth: score(self.distribution.point(forecast), truth)

    def compared(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Forecasts ``(n, parameters)``, and of each its ``(n, 3)`` truth, the unit of its MASE and its step ahead."""
        cases = self.cases(output, batch)
        known = cases.known
        columns = (cases.truth[known], cases.unit[known], cases.ahead[known].to(cases.truth))
        return cases.forecast[known], torch.stack(columns, -1)

    def cases(self, output: Tensor, batch: Batch) -> Cases:
        """Of what is put out at every step."""
        forecast, truth = self._every_step(output, batch)
        known = valid_steps(batch.inputs, batch.lengths)[..., None] & truth.isfinite()
        ones = torch.ones_like(batch.targets)
        return Cases(forecast, truth, ones, ones, known)

    def _every_step(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """``(batch, time, values, parameters)`` and ``(batch, time, values)``, in units."""
        scaling, ones = self.spec.scaling, torch.ones_like(batch.targets)
        shift, scale = (ones * torch.tensor(number).to(ones) for number in (scaling.shift, scaling.scale))
        forecast = self.distribution.in_units(self.distribution.split(output), shift, scale, scaling.log)
        return forecast, scaling.to_units(batch.targets)

    judged_error = staticmethod(squared_error)
    """Of a forecast and what came: what :meth:`judge` gives the mean of."""

    def judge(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        cases = self.cases(output, batch)
        error = self.judged_error(self.distribution.point(cases.forecast), cases.truth)
        errors, known = torch.where(cases.known, error, 0).flatten(1).double(), cases.known.flatten(1)
        return errors.sum(1) / known.sum(1).clamp_min(1), known.sum(1)

    def baseline(self, batch: Batch) -> Tensor:
        """Persistence: the value of now is the value to come (0, the scaled mean, where now is no such value)."""
        if self.spec.horizon is None:
            center = torch.zeros_like(batch.targets)
        else:
            center = batch.inputs[..., : self.spec.target.size]
        # nobody knows how wrong it is, so it is as sure as the data is wide
        forecast = self.distribution.around(center, torch.ones_like(center))
        return forecast.transpose(-1, -2).flatten(-2)

    @property
    def adds_nothing(self) -> bool:
        readout = self.network.readout
        if not self.spec.residual or not isinstance(readout, nn.Linear):
            return False
        parts = (part.unflatten(0, (self.distribution.parameters, -1)) for part in (readout.weight, readout.bias))
        return not any(self.distribution.point(part.movedim(0, -1)).any() for part in parts)

    @property
    def no_anomalies(self) -> str:
        """Why; a form that forecasts windows has no such reason."""
        if self.spec.horizon is None:
            return "what this run says is no later input, so that new data does not tell how wrong it is"
        if self.network.bidirectional or self.network.whole is not None:
            return (
                "this run reads the step that it forecasts (it reads in both directions): use model.bidirectional=false"
            )
        return ""

    def deviation(self, output: Tensor, truth: Tensor) -> Tensor:
        return self.distribution.deviation(self.distribution.split(output), truth)

    @property
    def no_probability(self) -> str:
        return "" if self.distribution.levels else POINT_CLAIMS_NOTHING

    def reading(self) -> dict[str, Any]:
        told = {"kind": "values", "names": list(self.spec.target.labels), "unit": self.spec.unit}
        return told | self.distribution.reading() | self.spec.scaling.reading()

    # ---- tables ---------------------------------------------------------------------------------

    def predictions(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        """A row for each step."""
        forecast, truth = self._every_step(self(batch), batch)
        rows, steps = valid_steps(batch.inputs, batch.lengths).nonzero(as_tuple=True)
        return rows, {"step": steps.numpy(), **self.columns.beside_truth(forecast[rows, steps], truth[rows, steps])}

    @property
    def columns(self) -> ForecastColumns:
        """How forecasts stand in a table."""
        return ForecastColumns(self.distribution, self.spec)

    def said(self, output: Tensor, moments: tuple[Tensor, Tensor] | None = None) -> dict[str, Any]:
        """See :meth:`ForecastColumns.said`."""
        return self.columns.said(output, moments)

    # ---- beyond the window ----------------------------------------------------------------------

    def point(self, output: Tensor) -> Tensor:
        return self.distribution.point(self.distribution.split(output))

    @torch.no_grad()
    def rollout(self, inputs: Features, steps: int, ahead: Features | None = None) -> Tensor:
        """Goes on alone: the network's predictions become its inputs.

        Args:
            inputs: the window, ``(batch, time, features)``.
            steps: how many values beyond the window's last target to predict.
            ahead: ``(batch, steps, others)`` inputs beside the predicted values.

        Returns:
            ``(batch, steps, size)``, on the network's scale: the first follows
            the last target.

        Raises:
            InputError: predictions of this data are no later inputs.
        """
        return self.point(self.alone(inputs, steps, ahead)[:, self.spec.horizon :])

    def alone(self, inputs: Tensor, steps: int, ahead: Tensor | None) -> Tensor:
        """``(batch, horizon + steps, output)`` of the network: from the truth, then from its own point forecasts.

        Args:
            inputs: ``(batch, time, features)``, at least ``DataSpec.horizon`` steps.
            steps: beyond what is predicted from the truth.
            ahead: ``(batch, steps, others)`` inputs beside the predicted values.

        Raises:
            InputError: predictions of this data are no later inputs.
        """
        horizon = self.spec.horizon
        if horizon is None:
            raise InputError("this data's targets are no later inputs, so a prediction cannot be fed back")
        return closed_loop(self.network, self.point, inputs, horizon, steps, ahead)
