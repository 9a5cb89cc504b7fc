"""Predict what comes next: real values at every step."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Gt, Lt
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, R2Score

from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.shapes import Features
from rnnlab.spec import Batch, DataSpec, TargetSpec, valid_steps
from rnnlab.student import doubt
from rnnlab.tasks.distribution import Distribution, Gaussian, Point, Quantiles, Score
from rnnlab.tasks.task import OptimizerFactory, SchedulerFactory, Scores, Task

LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
}
DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
Level = Annotated[float, Gt(0), Lt(1)]


class Forecasting(Task):
    """Regression of the target at every valid step, and what comes beyond the window.

    Scores are in the data's own units. Where every step is scored
    (``DataSpec.steps_ahead`` is ``None``), ``mse``, ``mae`` and ``r2`` are of
    the one-step forecast (one horizon ahead, the truth known up to now). The
    closed-loop rollout, in which the network lives on its own predictions
    beyond the window, is another thing, and is reported apart:
    ``rollout/mse`` over all its steps and ``rollout/mse@k`` at its k-th.

    Else forecasts are scored that are made at the end of each window, over all
    steps ahead: ``mse``, ``mae``, ``mape`` and ``smape`` in per cent (a true
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
        conformal: after training, each quantile is moved by so much that it holds its share of the validation part, at
            each step ahead (Romano, Patterson and Candès 2019, arXiv 1905.03222).

    Raises:
        InputError: the quantiles are out of order, or 0.5 is not among them.
    """

    target_kind = "values"

    @property
    def baseline_name(self) -> str:  # type: ignore[override]
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
        self.rollout_error = _SquaredErrorByStep()
        self.rollout_baseline = _SquaredErrorByStep()
        self.reference_scores = nn.ModuleDict(
            {reference.name: Scores(self.metrics()) for reference in spec.references[1:]}
        )

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

    @property
    def _plain(self) -> bool:
        """Whether it is one number at every step, which is scored at every step."""
        return self.spec.steps_ahead is None and isinstance(self.distribution, Point) and not self.spec.gaps

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        if self._plain and batch.lengths is None:
            return self.loss_function(output, batch.targets)
        if self.spec.steps_ahead is not None and self.network.bidirectional:
            # what it says at an earlier step it has read from the end of the window
            batch = batch._replace(inputs=batch.inputs[:, -1:], targets=batch.targets[:, -1:])
            output = output[:, -1:]
        valid = valid_steps(batch.inputs, batch.lengths)
        if self._plain:
            return self.loss_function(output[valid], batch.targets[valid])
        return self._mean_loss(self.distribution.split(output)[valid], batch.targets[valid])

    def _mean_loss(self, forecast: Tensor, truth: Tensor) -> Tensor:
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
        """How much of what the network adds to a fitted forecast is worth adding, and what its quantiles lack.

        The share, ``gain``, is the least-squares one on the validation part, from 0 to 1, shrunk by how unsure it is
        that anything is gained there: by 1 - (chance / gain)² (after W. James & C. Stein, 1961), where chance is the
        gain that a t test takes for none (:func:`rnnlab.student.doubt`), and to 0 below it. Both go into the readout.
        """
        moves = self.conformal and isinstance(self.distribution, Quantiles)
        if not (self.spec.residual or moves):
            return {}
        said, truths = [], []
        for batch in batches:
            output, truth = self.distribution.split(self(batch)), batch.targets
            at = valid_steps(batch.inputs, batch.lengths)
            if self.spec.steps_ahead is not None:
                at = at.clone()
                at[:, :-1] = False
            said.append(output[at].double())
            truths.append(truth[at].double())
        forecast, truth = torch.cat(said), torch.cat(truths)
        known = truth.isfinite()
        found: dict[str, float] = {}
        weight, bias = self.network.readout.weight, self.network.readout.bias
        if self.spec.residual:
            gain = self._gain(self.distribution.point(forecast), truth.where(known, 0.0), known)
            if isinstance(self.distribution, Quantiles):
                # the share is of the point forecast: the quantiles keep their distance from it
                middle = self.distribution.median
                for part in (weight, bias):
                    levels = part.view(len(self.distribution.levels), -1)
                    levels -= (1 - gain) * levels[middle].clone()
                forecast = forecast - (1 - gain) * forecast[..., middle, None]
            else:
                scaled = slice(None) if not isinstance(self.distribution, Gaussian) else slice(truth.shape[1])
                weight[scaled] *= gain
                bias[scaled] *= gain
                forecast = forecast * gain
            found["gain" if self.spec.residual == "ridge" else f"gain/{self.spec.residual}"] = gain
        if moves:
            found["conformal"] = self._move_quantiles(forecast, truth, known)
        return found

    def _gain(self, point: Tensor, truth: Tensor, known: Tensor) -> float:
        """Of ``(n, size)`` forecasts in the order of time, held against 0, which is the base's."""
        point = point.where(known, 0.0)
        gain = float(((truth * point).sum() / point.square().sum().clamp_min(1e-12)).clamp(0, 1))
        better = (truth.square() - (truth - gain * point).square()).sum(1)
        gained, chance = doubt(better.tolist(), self.spec.steps_ahead or 1)
        return gain * (1 - (chance / gained) ** 2) if gained > chance else 0.0

    def _move_quantiles(self, forecast: Tensor, truth: Tensor, known: Tensor) -> float:
        """Moves the quantiles ``(n, size, levels)`` of each number by what they lack; returns the largest move."""
        assert isinstance(self.distribution, Quantiles)
        bias = self.network.readout.bias.view(len(self.distribution.levels), -1)
        largest = 0.0
        for value in range(truth.shape[1]):
            error = (truth[:, value, None] - forecast[:, value])[known[:, value]].sort(0).values
            number = len(error)
            if number < FEWEST_CASES:
                continue
            for place, level in enumerate(self.distribution.levels):
                # the next one outwards of n + 1 places, as one more value is to come
                rank = math.ceil(level * (number + 1)) if level > 0.5 else math.floor(level * (number + 1))
                rank = round(level * (number + 1)) if level == 0.5 else rank
                move = error[min(max(rank, 1), number) - 1, place]
                bias[place, value] += move
                largest = max(largest, abs(float(move)))
        return largest

    def metrics(self) -> dict[str, Metric]:
        if self._plain:
            return {"mse": MeanSquaredError(), "mae": MeanAbsoluteError(), "r2": R2Score()}
        point: dict[str, Score] = {"mse": squared_error, "mae": absolute_error}
        ahead = self.spec.steps_ahead
        if ahead is not None:
            point |= {"mape": percentage_error, "smape": symmetric_percentage_error}
        of = self._of_point
        found: dict[str, Metric] = {name: _Mean(name, of(score)) for name, score in point.items()}
        found |= {name: _Mean(name, score) for name, score in self.distribution.scores(self.spec.scaling.log).items()}
        if ahead is not None:
            found["mase"] = _Mean("mase", of(absolute_error), relative=True)
            for step in sorted({1, ahead, *(step for step in REPORTED_STEPS if step < ahead)}) if ahead > 1 else ():
                for name in ("mae", "mape"):
                    found[f"{name}@{step}"] = _Mean(f"{name}@{step}", of(point[name]), step=step)
        return found

    def _of_point(self, score: Score) -> Score:
        return lambda forecast, truth: score(self.distribution.point(forecast), truth)

    def compared(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """As ever; but where forecasts are no plain numbers ``(n, parameters)``, and of each its ``(n, 3)`` truth, the
        unit of its MASE and its step ahead.
        """
        if self._plain:
            valid = valid_steps(batch.inputs, batch.lengths)
            units = self.spec.scaling.to_units
            return units(output)[valid].flatten(), units(batch.targets)[valid].flatten()
        forecast, truth, unit, step, known = self._in_units(output, batch)
        return forecast[known], torch.stack([truth[known], unit[known], step[known].to(truth)], -1)

    def _in_units(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """``(batch, steps, values, parameters)`` the forecasts and, ``(batch, steps, values)`` each, the true values,
        the unit of their MASE, the step ahead and whether the truth is known.
        """
        if batch.origin is None:
            units = self.spec.scaling.to_units
            ones = torch.ones_like(batch.targets)
            shift, scale = (
                ones * torch.tensor(each).to(ones) for each in (self.spec.scaling.shift, self.spec.scaling.scale)
            )
            truth, unit, step = units(batch.targets), ones, ones
            forecast = self.distribution.in_units(self.distribution.split(output), shift, scale, self.spec.scaling.log)
            known = valid_steps(batch.inputs, batch.lengths)[..., None] & truth.isfinite()
        else:
            truth = batch.origin.actual[:, -output.shape[1] :]
            shift, scale, unit = batch.origin.scales.unbind(1)
            forecast = self.distribution.in_units(output, shift, scale, self.spec.scaling.log)
            step = torch.arange(1, truth.shape[1] + 1, device=truth.device)[:, None].expand_as(truth)
            known = truth.isfinite()
        return forecast, truth, unit, step, known

    @property
    def verdict_score(self) -> str:  # type: ignore[override]
        """The absolute error of forecasts over several steps, which many series have in common; else the squared."""
        return "mse" if self.spec.steps_ahead is None else "mae"

    def judge(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        if self._plain:
            units = self.spec.scaling.to_units
            point, truth = units(output), units(batch.targets)
            known = valid_steps(batch.inputs, batch.lengths)[..., None].expand_as(truth)
        else:
            forecast, truth, _, _, known = self._in_units(output, batch)
            point = self.distribution.point(forecast)
        error = absolute_error if self.spec.steps_ahead is not None else squared_error
        errors = torch.where(known, error(point, truth), 0).flatten(1).double()
        known = known.flatten(1)
        return errors.sum(1) / known.sum(1).clamp_min(1), known.sum(1)

    def baseline(self, batch: Batch) -> Tensor:
        """Persistence: the value of now is the value to come (0, the scaled mean, where now is no such value)."""
        if batch.origin is not None:
            return self.reference(batch, 0)
        if self.spec.horizon is None:
            center = torch.zeros_like(batch.targets)
        else:
            center = batch.inputs[..., : self.spec.target.size]
        if isinstance(self.distribution, Point):
            return center
        # nobody told how wrong it is, so it is as sure as the data is wide
        forecast = self.distribution.around(center, torch.ones_like(center))
        return forecast.transpose(-1, -2).flatten(-2)

    def reference(self, batch: Batch, number: int) -> Tensor:
        """``(batch, steps, values, parameters)`` what the data's simple predictor says, as :meth:`forecast` would."""
        assert batch.origin is not None
        center = batch.origin.references[:, number]
        errors = center.new_tensor(self.spec.references[number].errors).view(center.shape[1:])
        return self.distribution.around(center, errors.expand_as(center))

    def predictions(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        """A row for each step ahead of each window; where every step is scored, for each step."""
        log = self.spec.scaling.log
        if batch.origin is None:
            output = self(batch)
            rows, steps = valid_steps(batch.inputs, batch.lengths).nonzero(as_tuple=True)
            where, steps_are = (rows, steps), "step"
            ones = torch.ones_like(batch.targets)
            shift, scale = (ones * torch.tensor(v).to(ones) for v in (self.spec.scaling.shift, self.spec.scaling.scale))
            truth, forecast = self.spec.scaling.to_units(batch.targets), self.distribution.split(output)
        else:
            forecast = self.forecast(batch)
            truth = batch.origin.actual[:, -forecast.shape[1] :]
            shift, scale, _ = batch.origin.scales.unbind(1)
            rows, ahead = torch.ones(forecast.shape[:2]).nonzero(as_tuple=True)
            where, steps, steps_are = (rows, ahead), ahead + 1, "ahead"
        forecast = self.distribution.in_units(forecast, shift, scale, log)[where]
        columns: dict[str, Any] = {steps_are: steps.numpy()}
        for value, name in enumerate(self.value_names(truth.shape[-1])):
            columns[name] = truth[where][:, value].numpy()
            columns |= self._column(name, forecast[:, value])
        return rows, columns

    def value_names(self, values: int) -> list[str]:
        """Of the first ``values`` numbers that are put out; direct forecasts name each value by its step ahead."""
        names = self.spec.target.names or tuple(map(str, range(values)))
        return [name.removesuffix(" +1") for name in names[:values]]

    def _column(self, name: str, forecast: Tensor) -> dict[str, Any]:
        """The columns of one value, of ``(n, parameters)`` in units."""
        interval = self.distribution.interval(forecast[:, None], self.spec.scaling.log)
        columns = {f"{name} predicted": shown_digits(self.distribution.point(forecast[:, None])[:, 0])}
        for end, bound in zip(("low", "high"), interval or (), strict=False):
            columns[f"{name} {end}{self.distribution.level}"] = shown_digits(bound[:, 0])
        return columns

    def said(self, output: Tensor, moments: tuple[Tensor, Tensor] | None = None) -> dict[str, Any]:
        """As every task; every quantile has a column of its own.

        Args:
            output: ``(n, size)``.
            moments: ``(n, values)`` shift and scale of each number that is put out; ``None``: as the data's spec says.
        """
        forecast = self.distribution.split(output)
        spec, values = self.spec.scaling, forecast[..., 0]
        shift, scale = moments or tuple(values.new_tensor(each).expand_as(values) for each in (spec.shift, spec.scale))
        forecast = self.distribution.in_units(forecast, shift, scale, spec.log)
        columns: dict[str, Any] = {}
        names = self.value_names(forecast.shape[1])
        if forecast.shape[1] > 1 and len(names) == len(self.spec.target.names):
            names = list(self.spec.target.names)
        for value, name in enumerate(names):
            columns |= self._column(name, forecast[:, value])
            if isinstance(self.distribution, Quantiles):
                for number, level in enumerate(self.distribution.levels):
                    columns[f"{name} q{level:g}"] = shown_digits(forecast[:, value, number])
        return columns

    # ---- forecasts beyond the window -------------------------------------------------------------

    def forecast(self, batch: Batch) -> Tensor:
        """``(batch, steps, values, parameters)`` made at the last step of each window, on the network's scale."""
        steps = self.spec.steps_ahead
        assert steps is not None and batch.origin is not None
        if self.spec.horizon is None:  # all steps at once
            return self.distribution.split(self(batch)[:, -1]).unflatten(1, (steps, -1))
        return self.distribution.split(self.alone(batch.inputs, steps - 1, batch.origin.ahead))

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
        output = self.alone(inputs, steps, ahead)
        return self.distribution.point(self.distribution.split(output[:, self.spec.horizon :]))

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
        was_training = self.network.training
        self.network.eval()
        output, state = self.network(inputs)
        # what is predicted for the steps between the window and the first value of the rollout
        known = list(output[:, -horizon:].unbind(1))
        window = inputs
        for step in range(steps):
            x = self.distribution.point(self.distribution.split(known[step]))[:, None]
            if ahead is not None:
                x = torch.cat([x, ahead[:, step : step + 1]], -1)
            if not self.network.streams:  # has no state to carry: reads the moved window again
                window = torch.cat([window[:, 1:], x], 1)
                output = self.network(window)[0][:, -1:]
            else:
                output, state = self.network.step(x, state)
            known.append(output[:, 0])
        self.network.train(was_training)
        return torch.stack(known, 1)

    # ---- steps ------------------------------------------------------------------------------------

    def answer(self, batch: Batch) -> Tensor:
        """The output at every step, or the forecast at the last one."""
        return super().answer(batch) if batch.origin is None else self.forecast(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        if batch.origin is not None:
            self._test(self.scores["test"], "network", self.forecast(batch), batch)
            self._test(self.scores["baseline"], self.baseline_name, self.baseline(batch), batch)
            for number, reference in enumerate(self.spec.references[1:], 1):
                scores = self.reference_scores[reference.name]
                self._test(scores, reference.name, self.reference(batch, number), batch)
            return
        super().test_step(batch, batch_idx)
        if batch.future is None or self.spec.horizon is None:
            return
        units = self.spec.scaling.to_units
        truth = units(batch.future)
        self.rollout_error.update(units(self.rollout(batch.inputs, truth.shape[1])), truth)
        last = batch.targets[:, -1:]
        self.rollout_baseline.update(units(last).expand_as(truth), truth)

    def _score(self, scores: nn.Module, output: Tensor, batch: Batch) -> None:
        if batch.origin is None:
            super()._score(scores, output, batch)
            return
        assert isinstance(scores, Scores)
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
            scores.update(self._mean_loss(output, truth), len(cases), forecast, cases)

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        for name, scores in self.reference_scores.items():
            assert isinstance(scores, Scores)
            self.log_scores({f"baseline/{name}/{key}": value for key, value in scores.compute().items()})
        for prefix, error in (("rollout", self.rollout_error), ("baseline/rollout", self.rollout_baseline)):
            if error.update_called:
                self.log_scores({f"{prefix}/{name}": value for name, value in error.compute().items()})
                error.reset()


def shown_digits(values: Tensor) -> np.ndarray:
    """``(n,)`` numbers as they are shown: those in double precision, which their shift has, by ten digits."""
    found: np.ndarray = values.numpy(force=True)
    if found.dtype != np.float64:
        return found
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.where((found != 0) & np.isfinite(found), np.floor(np.log10(np.abs(found))), 0.0)
    unit = 10.0 ** np.clip(9 - exponent, -300, 300)
    return np.where(np.isfinite(found), np.round(found * unit) / unit, found)


FEWEST_CASES = 10
"""Of validation, by which a quantile is moved."""
REPORTED_STEPS = (1, 10, 50, 100, 200, 500, 1000)


def build_distribution(name: str, quantiles: Sequence[float], loss: Callable[..., Tensor]) -> Distribution:
    """The distribution of that name.

    Raises:
        InputError: the quantiles are out of order, or 0.5 is not among them.
    """
    if name == "point":
        return Point(loss)
    if name == "gaussian":
        return Gaussian()
    levels = list(quantiles)
    if 0.5 not in levels or levels != sorted(set(levels)):
        raise InputError(
            f"task.quantiles={levels} must rise and have 0.5 among them, the median, which is the point forecast"
        )
    return Quantiles(levels)


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


class _Mean(Metric):
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
