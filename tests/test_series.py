"""Time series: no leak, scaling undone, forecasts and scores as by hand, and files that are wrong."""

import copy
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from rnnlab.cells.gru import GRU
from rnnlab.cells.rnn import RNN
from rnnlab.data import autoregression
from rnnlab.data.csv import CSV
from rnnlab.data.series import SeriesData
from rnnlab.data.sine import Sine
from rnnlab.data.split import SPLITS, SplitName
from rnnlab.errors import InputError
from rnnlab.files.dialect import Dialect
from rnnlab.files.panel import Columns, Panel, arrange
from rnnlab.files.table import read
from rnnlab.instruments.forecast import Forecast
from rnnlab.instruments.subject import Subject
from rnnlab.network import Network
from rnnlab.runs.execution import Outcome
from rnnlab.runs.schema import annotations, check_value
from rnnlab.spec import Batch
from rnnlab.tasks.distribution import Gaussian, Quantiles, gaussian_crps, lognormal_crps
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.tasks.stepwise_forecasting import StepwiseForecasting
from rnnlab.tasks.window_forecasting import WindowForecasting

Train = Callable[..., Outcome]


@dataclass(kw_only=True, eq=False)
class Given(SeriesData):
    """Series from arrays: ``(rows, columns)``, of which the first ``targets`` are forecast."""

    values: Any = None
    starts: Any = None
    targets: int = 1
    pasts: int = 0

    def read(self) -> Panel:
        values = np.array(self.values, np.float32)
        values = values[:, None] if values.ndim == 1 else values
        starts = np.array(self.starts or [0, len(values)])
        names = [f"c{i}" for i in range(values.shape[1])]
        k, p = self.targets, self.pasts
        columns = Columns(names[:k], names[k : k + p], names[k + p :])
        times = np.concatenate([np.arange(n) for n in np.diff(starts)])
        return Panel(values, times, starts, tuple(f"s{i}" for i in range(len(starts) - 1)), columns)


PLAIN: dict[str, Any] = {"log": False, "linear": "none", "window_scaling": "global", "calendar": ()}
"""Nothing is decided by what the data looks like: tests/test_linear.py is about that."""


def walk(rows: int = 120, columns: int = 1, seed: int = 0) -> np.ndarray:
    return 50 + np.cumsum(np.random.default_rng(seed).normal(size=(rows, columns)), 0)


def given(values: Any = None, **options: Any) -> Given:
    return Given(**{"values": walk() if values is None else values, "length": 8, "batch_size": 16, **PLAIN} | options)


def everything(data: SeriesData, split: SplitName) -> Batch:
    return data.split(split).batch(slice(None))


def tensors(batch: Batch) -> list[Tensor]:
    found: list[Tensor] = []
    batch.map(lambda part: found.append(part) or part)  # type: ignore[func-returns-value]
    return found


def task_for(data: SeriesData, cell: Any = GRU, bidirectional: bool = False, **options: Any) -> Forecasting:
    torch.manual_seed(0)
    target = Forecasting.output(data.spec, **options)
    network = Network(data.spec.input, target, cell, hidden_size=6, bidirectional=bidirectional)
    return Forecasting(network, data.spec, **options).eval()


def in_units(data: SeriesData, batch: Batch, values: Tensor) -> Tensor:
    assert batch.origin is not None
    shift, scale, _ = batch.origin.scales.unbind(1)
    values = values * scale + shift
    return values.exp() if data.log else values


VARIANTS: list[dict[str, Any]] = [
    {},
    {"horizon": 3},
    {"horizon": 3, "strategy": "recursive", "pasts": 0},
    {"horizon": 3, "log": True, "scaling": "minmax"},
    {"horizon": 4, "residual_of": "seasonal_naive", "period": 3},
    {"horizon": 2, "residual_of": "persistence", "folds": 2, "fold": 1},
]


# ---- no leak ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_what_comes_later_changes_nothing_before_it(options: dict[str, Any]) -> None:
    """The law: other values from a cut on leave the parts before it as they are, to the last bit."""
    options = {"pasts": 1, **options}
    values = walk(columns=3)
    data = given(values, **options)
    data.spec  # noqa: B018 - fits what there is to be fitted
    for number, split in enumerate(("train", "val")):
        cut = int(data.cuts[number])
        changed = values.copy()
        changed[cut:] = 1000 * np.random.default_rng(1).random(changed[cut:].shape)
        other = given(changed, **options)
        for a, b in zip(tensors(everything(data, split)), tensors(everything(other, split)), strict=True):
            assert torch.equal(a.nan_to_num(-9), b.nan_to_num(-9))
        for a, b in zip(data.moments, other.moments, strict=True):
            assert np.array_equal(a, b)
        np.testing.assert_array_equal(data.autoregression.weights, other.autoregression.weights)
        np.testing.assert_array_equal(data.naive_errors, other.naive_errors)
        assert data.spec.references == other.spec.references
    # and it is no law of data that never changes
    assert not torch.equal(everything(data, "test").inputs, everything(other, "test").inputs)


def test_a_window_belongs_to_the_part_of_its_whole_forecast() -> None:
    data = given(np.arange(100.0), horizon=3, val_fraction=0.2, test_fraction=0.1, scaling="none")
    assert data.cuts.tolist() == [70, 90, 100]
    for split, first, last in (("train", 8, 69), ("val", 70, 89), ("test", 90, 99)):
        ahead = everything(data, split).targets[:, -1]
        assert ahead.min() == first and ahead.max() == last
    # the context of the first forecast of a part reaches back into the part before, to the step before it
    assert everything(data, "val").inputs[0, -1, 0] == 69
    assert everything(data, "train").targets.max() == 69


@pytest.mark.parametrize(
    ("rows", "horizon", "held_out"),
    [(1000, 12, 100), (100, 3, 10), (100, 7, 14), (70, 6, 13), (70, 12, 14)],
    ids=["a tenth", "a tenth of few", "eight forecasts", "eight of fewer", "no more than a fifth"],
)
def test_validation_and_test_have_room_for_some_forecasts_where_nobody_says(
    rows: int, horizon: int, held_out: int
) -> None:
    values = np.arange(float(rows))
    data = given(values, horizon=horizon, scaling="none", val_fraction=None, test_fraction=None)
    assert data.cuts.tolist() == [rows - 2 * held_out, rows - held_out, rows]
    assert data.size("test") == held_out - horizon + 1
    # what is said is not changed
    said = given(values, horizon=horizon, scaling="none", val_fraction=0.3, test_fraction=None)
    assert said.cuts.tolist() == [rows - held_out - round(0.3 * rows), rows - held_out, rows]


def test_several_series_are_cut_at_the_same_time() -> None:
    # the second series begins at time 0 as well but has only 60 of the 100 steps
    values = np.concatenate([np.arange(100.0), 1000 + np.arange(60.0)])
    data = given(values, starts=[0, 100, 160], horizon=2, val_start=40, test_start=50, scaling="none")
    ahead = everything(data, "val").targets[:, -1].flatten() % 1000
    assert ahead.min() == 40 and ahead.max() == 49
    assert data.size("val") == 2 * 9 and data.size("test") == 49 + 9
    for split in SPLITS:  # no window holds steps of two series
        inputs = everything(data, split).inputs
        assert (inputs[:, 1:] - inputs[:, :-1] == 1).all()


def test_folds_are_consecutive_and_each_trains_on_all_before() -> None:
    folds = [given(np.arange(100.0), folds=4, fold=k, test_fraction=0.4, scaling="none") for k in range(4)]
    tested = torch.cat([everything(data, "test").targets[:, -1, 0] for data in folds])
    assert tested.tolist() == list(range(60, 100))
    for k, data in enumerate(folds):
        assert everything(data, "val").targets[:, -1].max() == 59 + 10 * k
        assert everything(data, "train").targets.max() == 49 + 10 * k


def test_what_forecasts_are_held_against_is_cut_where_they_are_scored() -> None:
    data = given(horizon=2)
    assert [everything(data, split).origin is not None for split in SPLITS] == [False, True, True]


def test_strides_leave_out_origins() -> None:
    data = given(np.arange(100.0), horizon=4, test_stride=4, stride=5, scaling="none", test_fraction=0.2)
    assert everything(data, "test").targets[:, -1, 0].tolist() == [80, 84, 88, 92, 96]
    assert np.diff(everything(data, "train").targets[:, -1, 0].numpy()).tolist() == [5] * (data.size("train") - 1)


# ---- scaling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_scaling_is_undone(options: dict[str, Any]) -> None:
    data = given(np.concatenate([walk(), 300 + 9 * walk(seed=2)]), starts=[0, 120, 240], **options)
    for split in ("val", "test"):
        batch = everything(data, split)
        assert batch.origin is not None
        truth = batch.origin.actual[:, -data.horizon :]
        if data.strategy == "direct":
            targets = batch.targets[:, -1].unflatten(1, (data.horizon, 1))
            torch.testing.assert_close(in_units(data, batch, targets), truth, rtol=1e-5, atol=1e-3)
        # so are the simple predictors': persistence says the last value that was seen
        persistence = in_units(data, batch, batch.origin.references[:, 0])
        last = batch.origin.actual[:, -data.horizon - 1, None].expand_as(truth)
        torch.testing.assert_close(persistence, last, rtol=1e-5, atol=1e-3)


def test_each_series_is_scaled_by_its_own_training_part() -> None:
    values = np.concatenate([walk(), 300 + 9 * walk(seed=2)])
    data = given(values, starts=[0, 120, 240])
    for start in (0, 120):
        part = values[start : start + 96, 0].astype(np.float32)
        shift, scale = (each[start // 120, 0] for each in data.moments)
        assert shift == pytest.approx(part.mean(), rel=1e-5) and scale == pytest.approx(part.std(), rel=1e-4)
    together = given(values, starts=[0, 120, 240], scale_together=True).moments[0]
    assert together[0] == together[1] == pytest.approx(np.concatenate([values[:96], values[120:216]]).mean(), rel=1e-5)


def test_the_training_part_fills_the_range_that_its_scaling_promises() -> None:
    values = walk(columns=2)
    for scaling in ("minmax", "standard", "none"):
        data = given(values, scaling=scaling, pasts=1)
        begin, end = data.training_parts()[0]
        shift, scale = data.moments
        scaled = (values[begin:end] - shift[0]) / scale[0]
        if scaling == "standard":
            np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-6)
            np.testing.assert_allclose(scaled.std(0), 1, rtol=1e-6)
        elif scaling == "minmax":
            np.testing.assert_allclose([scaled.min(0), scaled.max(0)], [[0, 0], [1, 1]], atol=1e-6)
        else:
            np.testing.assert_allclose(scaled, values[begin:end], rtol=1e-6)


def test_a_column_that_never_changes_is_no_division_by_zero() -> None:
    data = given(np.stack([walk()[:, 0], np.full(120, 7.0)], 1))
    assert torch.isfinite(everything(data, "train").inputs).all()
    constant = given(np.full(120, 7.0))
    assert torch.isfinite(everything(constant, "test").inputs).all()
    assert math.isfinite(constant.spec.references[0].errors[0])


# ---- what the network reads ---------------------------------------------------------------------


def test_known_columns_come_from_the_steps_ahead_and_past_ones_from_now() -> None:
    t = np.arange(60.0)
    values = np.stack([t, 100 + t, 1000 + t], 1)  # target, past, known
    direct = given(values, pasts=1, horizon=2, scaling="none")
    batch = everything(direct, "train")
    assert direct.spec.input.features == 4
    assert batch.inputs[0, 3].tolist() == [3, 103, 1004, 1005]
    assert batch.targets[0, 3].tolist() == [4, 5]
    recursive = given(values[:, [0, 2]], horizon=3, strategy="recursive", scaling="none")
    batch = everything(recursive, "test")
    start = batch.inputs[0, 0, 0]
    assert batch.inputs[0, -1].tolist() == [start + 7, 1000 + start + 8]
    assert batch.targets[0, -1].tolist() == [start + 8]
    assert batch.origin is not None and batch.origin.ahead is not None
    assert batch.origin.ahead[0].tolist() == [[1000 + start + 9], [1000 + start + 10]]


def test_several_targets_stand_step_by_step() -> None:
    t = np.arange(60.0)
    batch = everything(given(np.stack([t, 100 + t], 1), targets=2, horizon=2, scaling="none"), "train")
    assert batch.targets[0, 0].tolist() == [1, 101, 2, 102]


def test_the_calendar_is_that_of_the_next_step(tmp_path: Path) -> None:
    dates = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 3, 1), "1d", eager=True)
    file = write(tmp_path, pl.DataFrame({"t": dates, "y": np.arange(len(dates), dtype=float)}))
    data = CSV(
        path=file,
        target="y",
        time="t",
        calendar=["weekday", "month"],
        length=7,
        **{name: PLAIN[name] for name in ("log", "linear", "window_scaling")},
    )
    inputs = everything(data, "train").inputs
    assert inputs.shape[-1] == 5
    # 2024-01-01 is a Monday: after a window's seventh step, a Sunday, comes a Monday again
    assert inputs[0, 6, 1:3].tolist() == pytest.approx([0, 1], abs=1e-6)
    assert inputs[0, 0, 1:3].tolist() == pytest.approx([math.sin(2 * math.pi / 7), math.cos(2 * math.pi / 7)])
    assert inputs[0, 6, 3:].tolist() == pytest.approx([0, 1])  # January


# ---- missing values -----------------------------------------------------------------------------


def gappy() -> np.ndarray:
    values = walk()
    values[[0, 1, 30, 31, 32, 100, 115], 0] = np.nan
    return values


def test_the_last_known_value_is_carried_and_never_a_later_one() -> None:
    values = gappy()
    data = given(np.concatenate([values, values]), starts=[0, 120, 240], scaling="none", missing="forward")
    assert data.panel.values[30:33, 0].tolist() == pytest.approx([values[29, 0]] * 3)
    assert np.isnan(data.panel.values[120:122, 0]).all()  # the value of the series before is not carried over
    assert everything(data, "train").inputs[0, :2, 0].tolist() == [0, 0]
    assert "14 missing values" in data.spec.note


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
@pytest.mark.parametrize("missing", ["forward", "mask"])
def test_a_missing_target_is_neither_trained_on_nor_scored(missing: Any, strategy: Any) -> None:
    data = given(gappy(), missing=missing, strategy=strategy, horizon=2, test_fraction=0.2)
    assert data.spec.gaps
    assert data.spec.input.features == (2 if missing == "mask" else 1)
    task = task_for(data)
    train, test = everything(data, "train"), everything(data, "test")
    assert train.targets.isnan().any() and not train.inputs.isnan().any()
    loss = task.loss(task(train), train)
    loss.backward()
    assert torch.isfinite(loss) and all(p.grad.isfinite().all() for p in task.network.parameters())  # type: ignore[union-attr]
    known = train.targets.isfinite()
    expected = (task(train) - train.targets)[known].square().mean()
    assert loss.item() == pytest.approx(expected.item())
    assert task.weight(train) == int(known.sum())
    forecast, cases = task.compared(task.forecast(test), test)
    assert test.origin is not None
    assert len(cases) == int(test.origin.actual[:, -2:].isfinite().sum()) < test.origin.actual[:, -2:].numel()
    assert torch.isfinite(forecast).all() and torch.isfinite(cases).all()


def test_a_mask_tells_where_a_value_was_missing() -> None:
    data = given(gappy(), missing="mask")
    inputs = everything(data, "train").inputs
    assert inputs[0, :4, 1].tolist() == [1, 1, 0, 0]
    assert inputs[25, :, 1].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


def test_a_training_part_that_knows_nothing_of_a_column_is_refused() -> None:
    values = walk(columns=2)
    train = given(values, missing="forward").training_parts()[0][1]
    # the targets of the first window begin behind its 8 steps: what is known before is never forecast
    late = values.copy()
    late[8:train, 0] = np.nan
    with pytest.raises(
        InputError,
        match=r"^column 'c0': the training part, up to \d+, has no known value of it after the first 8 steps, the "
        r"first window: there is nothing to learn from$",
    ):
        given(late, missing="forward")
    late[train - 1, 0] = 50
    assert given(late, missing="forward").spec.gaps
    # of another column, one known value anywhere in it will do
    other = values.copy()
    other[1:train, 1] = np.nan
    assert given(other, missing="forward").size("train")
    other[0, 1] = np.nan
    with pytest.raises(InputError, match=r"column 'c1': the training part, up to .*, has no known value of it: there"):
        given(other, missing="forward")
    # of several series, one that knows it is enough
    late[train - 1, 0] = np.nan
    assert given(np.concatenate([late, values]), starts=[0, 120, 240], missing="forward").size("train")


@dataclass(kw_only=True, eq=False)
class Named(Given):
    """With names of its own."""

    names: tuple[str, ...] = ()

    def read(self) -> Panel:
        return replace(super().read(), names=self.names)


def named(names: tuple[str, ...], **options: Any) -> Named:
    n = len(names)
    values = np.concatenate([walk(seed=number, columns=1) * (1 + number) for number in range(n)])
    starts = list(range(0, 120 * n + 1, 120))
    return Named(values=values, starts=starts, names=names, length=8, batch_size=16, **options)


def test_series_of_other_data_are_known_by_their_names() -> None:
    trained = named(("a", "b", "c")).state_dict()["trained"]
    assert trained["names"] == ["a", "b", "c"]
    other = named(("c", "a"), trained=trained)  # whatever their order and their values
    for ours, learned in (
        (other.moments[0], "shift"),
        (other.moments[1], "scale"),
        (other.naive_errors, "naive_errors"),
    ):
        np.testing.assert_allclose(ours, np.array(trained[learned])[[2, 0]], rtol=1e-6)
    np.testing.assert_allclose(other.autoregression.weights, trained["weights"], rtol=1e-6)
    assert set(other.reference_errors) == set(trained["errors"])
    for name, errors in other.reference_errors.items():
        np.testing.assert_allclose(errors, trained["errors"][name], rtol=1e-6)
    some = named(("x", "b", "y"), trained=trained)
    assert some.panel.names == ("b",) and "2 series left out (x, y)" in some.spec.note
    np.testing.assert_allclose(some.moments[0], np.array(trained["shift"])[[1]])
    with pytest.raises(InputError, match=r"series bb; did you mean 'b'\?: this run was not trained on it.*: a, b, c$"):
        named(("bb",), trained=trained)
    with pytest.raises(InputError, match=r"name 2 columns, and this run was trained on 1$"):
        given(walk(columns=2), trained=trained)


def test_a_series_without_a_name_is_the_one_that_was_trained_on() -> None:
    for before, now in (("", "b"), ("b", ""), ("", "")):
        trained = named((before,)).state_dict()["trained"]
        assert named((now,), trained=trained).moments[0].tolist() == trained["shift"]
    with pytest.raises(InputError, match="was not trained on it"):
        named(("b",), trained=named(("a",)).state_dict()["trained"])
    with pytest.raises(InputError, match="was not trained on it"):
        named(("",), trained=named(("a", "b")).state_dict()["trained"])
    # one scale for all is known for any
    for options in ({"scale_together": True}, {"scaling": "none"}):
        trained = named(("a", "b"), **options).state_dict()["trained"]
        other = named(("x", "b", "y"), trained=trained, **options)
        assert other.panel.names == ("x", "b", "y")
        assert other.moments[0].tolist() == [trained["shift"][0], trained["shift"][1], trained["shift"][0]]


def test_nothing_known_at_all_is_no_loss() -> None:
    data = given(gappy(), missing="forward")
    task, batch = task_for(data), everything(data, "train")
    loss = task.loss(task(batch), batch._replace(targets=torch.full_like(batch.targets, torch.nan)))
    loss.backward()
    assert loss == 0


# ---- forecasts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("distribution", ["point", "gaussian", "quantiles"])
def test_recursion_equals_a_loop_by_hand(distribution: Any, bidirectional: bool) -> None:
    data = given(walk(columns=2), horizon=4, strategy="recursive")
    task = task_for(data, bidirectional=bidirectional, distribution=distribution)
    batch = everything(data, "test")
    assert batch.origin is not None and batch.origin.ahead is not None
    forecast = task.distribution.point(task.forecast(batch))
    window, found = batch.inputs, []
    for step in range(4):
        output = task.network(window)[0][:, -1:]
        point = {"point": output, "gaussian": output[..., :1]}.get(distribution)
        point = output[..., 4:5] if point is None else point
        found.append(point)
        if step < 3:
            x = torch.cat([point, batch.origin.ahead[:, step : step + 1]], -1)
            # a bidirectional network reads a window that moves, the others all that was
            window = torch.cat([window[:, 1:] if bidirectional else window, x], 1)
    torch.testing.assert_close(forecast, torch.cat(found, 1))


def test_a_direct_forecast_is_the_output_of_the_last_step() -> None:
    data = given(walk(columns=2), targets=2, horizon=3)
    task = task_for(data, distribution="gaussian")
    batch = everything(data, "test")
    forecast, output = task.forecast(batch), task(batch)[:, -1]
    assert forecast.shape == (data.size("test"), 3, 2, 2)
    assert torch.equal(forecast[:, 1, 0, 0], output[:, 2]) and torch.equal(forecast[:, 1, 0, 1], output[:, 6 + 2])


def test_both_ways_it_learns_from_the_last_step_alone() -> None:
    data = given(horizon=2)
    task, batch = task_for(data, bidirectional=True), everything(data, "train")
    expected = (task(batch)[:, -1] - batch.targets[:, -1]).square().mean()
    assert task.loss(task(batch), batch).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_scores_are_those_counted_by_hand(options: dict[str, Any]) -> None:
    data = given(**{"test_fraction": 0.3, **options})
    task, batch = task_for(data), everything(data, "test")
    assert batch.origin is not None
    scores = task.scores["test"]
    task._score(scores, task.forecast(batch), batch)
    found = {name: float(value) for name, value in scores.compute().items()}  # type: ignore[operator]
    forecast = in_units(data, batch, task.forecast(batch)[..., 0]).detach().double().numpy()
    truth = batch.origin.actual[:, -data.horizon :].double().numpy()
    error = np.abs(forecast - truth)
    series, end = walk()[:, 0], int(data.cuts[0])
    season = data.period or 1
    naive = np.abs(series[season:end] - series[: end - season]).mean()
    expected = {
        "mse": (error**2).mean(),
        "mae": error.mean(),
        "mape": (100 * error / truth).mean(),
        "smape": (200 * error / (np.abs(forecast) + truth)).mean(),
        "mase": error.mean() / naive,
    }
    if data.horizon > 1:
        expected |= {"mae@1": error[:, 0].mean(), f"mae@{data.horizon}": error[:, -1].mean()}
        expected |= {f"mape@{data.horizon}": (100 * error / truth)[:, -1].mean()}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4)


def test_simple_predictors_say_what_they_must() -> None:
    values = np.tile([10.0, 20.0, 30.0, 40.0], 30) + np.arange(120)
    data = given(values, period=4, horizon=6, ar_order=5)
    batch = everything(data, "test")
    assert batch.origin is not None
    names = [reference.name for reference in data.spec.references]
    assert names == ["persistence", "seasonal_naive", "linear_ar"]
    persistence, seasonal, linear = (in_units(data, batch, batch.origin.references[:, i])[..., 0] for i in range(3))
    past, truth = batch.origin.actual[:, :-6, 0], batch.origin.actual[:, -6:, 0]
    assert torch.allclose(persistence, past[:, -1:].expand(-1, 6), atol=1e-3)
    assert torch.allclose(seasonal, past[:, [-4, -3, -2, -1, -4, -3]], atol=1e-3)
    assert torch.allclose(linear, truth, atol=0.05)  # five lags say all of a trend and a season of four


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_the_linear_autoregression_is_least_squares(strategy: Any) -> None:
    x = walk(80).astype(np.float32)
    fitted = autoregression.fit(x, None, [(0, 60)], 3, 2, 2, strategy == "direct")
    y = x[:, 0].astype(np.float64)
    past = x[None, 68:70]

    def model(ahead: int) -> np.ndarray:
        rows = np.arange(1, 60 - ahead)
        matrix = np.stack([np.ones(len(rows)), y[rows], y[rows - 1]], 1)
        return np.linalg.solve(matrix.T @ matrix, matrix.T @ y[rows + ahead])

    lags, expected = [y[69], y[68]], []
    for ahead in (1, 2, 3):
        c = model(ahead if strategy == "direct" else 1)
        expected.append(c[0] + c[1] * lags[0] + c[2] * lags[1])
        if strategy == "recursive":
            lags = [expected[-1], lags[0]]
    np.testing.assert_allclose(fitted.forecast(past)[0, :, 0], expected, rtol=1e-5)


def test_akaike_finds_the_order() -> None:
    rng = np.random.default_rng(0)
    x = np.zeros((3000, 1), np.float32)
    for t in range(3, 3000):
        x[t] = 0.5 * x[t - 1] - 0.3 * x[t - 2] + 0.4 * x[t - 3] + rng.normal()
    assert autoregression.fit(x, None, [(0, 3000)], 1, None, 12, True).order in (3, 4)


# ---- distributions ------------------------------------------------------------------------------


def numeric_crps(cumulative: Callable[[Tensor], Tensor], truth: float, low: float, high: float) -> float:
    """∫ (F(x) - 1[x ≥ y])² dx, Gneiting and Raftery 2007, equation 20."""
    x = torch.linspace(low, high, 400_001, dtype=torch.float64)
    return float(torch.trapezoid((cumulative(x) - (x >= truth).double()).square(), x))


@pytest.mark.parametrize("truth", [-2.0, 0.3, 1.0, 4.0])
def test_crps_equals_its_integral(truth: float) -> None:
    mean, deviation = 0.7, 1.3
    pair = torch.tensor([[mean, deviation]], dtype=torch.float64)
    found = float(gaussian_crps(pair, torch.tensor([truth], dtype=torch.float64)))
    assert found == pytest.approx(
        numeric_crps(lambda x: torch.special.ndtr((x - mean) / deviation), truth, -20, 20), rel=1e-4
    )
    positive, pair = math.exp(truth), torch.tensor([[math.exp(mean), 0.5]], dtype=torch.float64)
    found = float(lognormal_crps(pair, torch.tensor([positive], dtype=torch.float64)))
    expected = numeric_crps(lambda x: torch.special.ndtr((x.log() - mean) / 0.5), positive, 1e-9, 80)
    assert found == pytest.approx(expected, rel=1e-3)


def test_many_quantiles_come_to_the_crps() -> None:
    levels = [i / 100 for i in range(1, 100)]
    quantiles = Quantiles(levels)
    truth = torch.tensor([0.4, -1.0, 2.5])
    forecast = quantiles.around(torch.zeros(3), torch.ones(3))
    exact = gaussian_crps(torch.tensor([[0.0, 1.0]]).expand(3, 2), truth)
    torch.testing.assert_close(quantiles.scores(False)["crps"](forecast, truth), exact, rtol=0.03, atol=0.01)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "distribution", [Gaussian(), Quantiles([0.1, 0.3, 0.5, 0.7, 0.9])], ids=["gaussian", "quantiles"]
)
def test_who_knows_the_distribution_covers_what_it_says(distribution: Any, log: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    deviation = 0.5 + torch.rand(20_000, generator=generator)
    truth = 2 * deviation * torch.randn(20_000, generator=generator) + 3
    truth = truth.exp() if log else truth
    forecast = distribution.around(torch.zeros(20_000), deviation)
    forecast = distribution.in_units(forecast, torch.full((20_000,), 3.0), torch.full((20_000,), 2.0), log)
    scores = distribution.scores(log)
    assert scores["coverage@80"](forecast, truth).mean() == pytest.approx(0.8, abs=0.01)
    width = (scores["width@80"](forecast, truth) / deviation).mean()
    assert log or width == pytest.approx(2 * 2 * 1.2816, rel=1e-3)


@pytest.mark.parametrize("distribution", ["gaussian", "quantiles"])
def test_the_loss_is_least_at_the_truth(distribution: Any) -> None:
    head = Gaussian() if distribution == "gaussian" else Quantiles([0.1, 0.5, 0.9])
    truth = 1.5 + 0.7 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))

    def loss(mean: float, deviation: float) -> float:
        center = torch.full_like(truth, mean)
        return float(head.loss(head.around(center, torch.full_like(truth, deviation)), truth).mean())

    best = loss(1.5, 0.7)
    assert all(best < loss(*other) for other in ((1.3, 0.7), (1.7, 0.7), (1.5, 0.5), (1.5, 0.95)))


def test_crossing_quantiles_are_put_in_order() -> None:
    head = Quantiles([0.1, 0.5, 0.9])
    one = torch.ones(1)
    assert head.in_units(torch.tensor([[3.0, 1.0, 2.0]]), 0 * one, one, False).tolist() == [[1, 1, 2]]
    head = Quantiles([0.1, 0.2, 0.5, 0.8, 0.9])
    crossing = torch.tensor([[3.0, 1.0, 2.0, 4.0, 0.0]])
    assert head.in_units(crossing, 0 * one, one, False).tolist() == [[1, 2, 2, 2, 4]]
    assert head.point(crossing) == 2  # whatever the others say


@pytest.mark.parametrize("quantiles", [[0.1, 0.9], [0.5, 0.1], [0.5, 0.5]])
def test_quantiles_without_a_median_or_out_of_order_are_refused(quantiles: list[float]) -> None:
    with pytest.raises(InputError, match=r"task\.quantiles=.*0\.5 among them"):
        Forecasting.output(given().spec, distribution="quantiles", quantiles=quantiles)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["csv", "sine"])
@pytest.mark.parametrize("distribution", ["gaussian", "quantiles"])
def test_distributions_train_test_and_draw(distribution: str, data: str, train: Train) -> None:
    more = ["data.horizon=3", "data.missing=mask", "data.calendar=[weekday]"] if data == "csv" else []
    outcome = train(
        f"data={data}", f"task.distribution={distribution}", "monitor=val/crps", "model.hidden_size=4", *more
    )
    assert {"test/crps", "test/coverage@80", "test/width@80", "test/mae", "baseline/crps"} <= set(outcome.metrics)
    assert all(math.isfinite(value) for value in outcome.metrics.values())
    assert "figures/forecast.png" in outcome.figures
    assert ("baseline/linear_ar/crps" in outcome.metrics) == (data == "csv")


def test_the_figure_shows_the_forecasts_that_are_scored() -> None:
    data = given(horizon=3, test_fraction=0.3)
    task = task_for(data, distribution="gaussian")
    subject = Subject("", task, data)
    figure = Forecast().draw(subject, Forecast().measure(subject)).figure
    drawn = {str(line.get_label()): line for line in figure.axes[0].lines}
    batch = data.split("test").batch(slice(None))
    points = in_units(data, batch, task.forecast(batch)[..., 0]).detach().numpy()[..., 0]
    shown = np.asarray(drawn["forecast"].get_ydata(), float)
    shown = shown[np.isfinite(shown)].reshape(-1, 3)
    np.testing.assert_allclose(shown, points[(len(points) - 1) % 3 :: 3], rtol=1e-5)
    assert len(figure.axes[0].collections) == 1
    assert "80 % interval" in figure.texts[1].get_text()


# ---- files --------------------------------------------------------------------------------------


def write(folder: Path, frame: pl.DataFrame, name: str = "table.csv") -> str:
    (frame.write_parquet if name.endswith("parquet") else frame.write_csv)(folder / name)
    return str(folder / name)


def text(folder: Path, content: str | bytes, name: str = "table.csv") -> str:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder / name)


def shops(rows: int = 60) -> pl.DataFrame:
    day = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, 1) + pl.duration(days=rows - 1), eager=True)
    offer = [0, 1] * (rows // 2)
    sales = {name: walk(rows, seed=number)[:, 0] for number, name in enumerate(("b", "a"))}
    return pl.concat(
        [pl.DataFrame({"day": day, "shop": [name] * rows, "sales": sales[name], "offer": offer}) for name in sales]
    )


def shop_data(path: str, **options: Any) -> CSV:
    columns = {"target": "sales", "time": "day", "series": "shop", "known": ["offer"]}
    return CSV(**{"path": path, "length": 10, **PLAIN, **columns, **options})


def test_parquet_says_the_same_as_csv_and_rows_may_be_mixed(tmp_path: Path) -> None:
    frame = shops()
    first = shop_data(write(tmp_path, frame))
    assert first.panel.names == ("b", "a") and first.panel.step_unit == "day" and first.spec.period == 7
    mixed = frame.sort("day", "shop", descending=[False, True])
    for other in (
        shop_data(write(tmp_path, frame, "table.parquet")),
        shop_data(write(tmp_path, mixed, "mixed.csv")),
        shop_data(write(tmp_path, frame.sample(fraction=1, shuffle=True, seed=0), "any.csv"), sort=True),
    ):
        order = [other.panel.names.index(name) for name in first.panel.names]
        batches = [everything(first, "test"), everything(other, "test")]
        half = len(batches[0].inputs) // 2
        inputs = torch.cat([batches[1].inputs[half * i : half * (i + 1)] for i in order])
        torch.testing.assert_close(inputs, batches[0].inputs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        (["2020-01", "2020-02", "2020-03"], "month"),
        (["2020-01-31", "2020-02-29", "2020-03-31"], "month"),
        (["Jan 2020", "Feb 2020", "Mar 2020"], "month"),
        (["2020-01-01", "2020-04-01", "2020-07-01"], "quarter"),
        (["2020-01-01", "2021-01-01", "2022-01-01"], "year"),
        (["31.01.2020", "01.02.2020", "02.02.2020"], "day"),
        (["2020-01-01 00:00", "2020-01-01 01:00", "2020-01-01 02:00"], "hour"),
        (["2020-01-01T00", "2020-01-01T01", "2020-01-01T02"], "hour"),
        (["2020-01-01T00:00:00Z", "2020-01-01T00:15:00Z", "2020-01-01T00:30:00Z"], "step"),
        (["1700.0", "1701.0", "1702.0"], "step"),
        (["7", "8", "9"], "step"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_times_are_understood(written: list[str], unit: str, tmp_path: Path) -> None:
    path = text(tmp_path, "t,y\n" + "".join(f"{time},{i}\n" for i, time in enumerate(written)))
    columns = Columns(["y"], time="t")
    panel = arrange(read(Path(path), columns), columns, "here")
    assert panel.step_unit == unit
    assert (np.diff(panel.times.astype(np.int64)) > 0).all()


def test_a_time_format_overrules_the_guess(tmp_path: Path) -> None:
    path = Path(text(tmp_path, "t,y\n01/02/2024,1\n01/03/2024,2\n01/04/2024,3\n"))
    columns = Columns(["y"], time="t")
    for form, unit in ((None, "month"), ("%m/%d/%Y", "day")):
        assert arrange(read(path, columns, Dialect(time_format=form)), columns, "here").step_unit == unit


def test_empty_lines_are_left_out_and_said(tmp_path: Path) -> None:
    lines = "".join(f"{i},{i % 7}\n" + "\n" * (i == 3) for i in range(50))
    data = CSV(path=text(tmp_path, f"t,y\n{lines}\n"), target="y", time="t", length=5)
    assert len(data.panel.values) == 50 and "2 empty lines left out" in data.spec.note


def test_gaps_are_filled_or_ignored(tmp_path: Path) -> None:
    closed = (pl.col("shop") == "a") & pl.col("day").is_between(pl.date(2024, 1, 5), pl.date(2024, 1, 6))
    frame = shops().filter(~closed)
    path = write(tmp_path, frame)
    filled = shop_data(path, gaps="fill", missing="forward")
    assert filled.panel.starts.tolist() == [0, 60, 120] and "2 missing rows filled in" in filled.spec.note
    assert filled.panel.times[64] == np.datetime64("2024-01-05")
    assert filled.panel.values[64, 0] == filled.panel.values[63, 0]
    assert shop_data(path, gaps="ignore").panel.starts.tolist() == [0, 60, 118]


LONG = "".join(f"{i},{i}\n" for i in range(40))
DATED = "t,y\n" + "".join(f"{1949 + n // 12}-{n % 12 + 1:02},{n}\n" for n in range(40))
FED_BACK = {"strategy": "recursive", "horizon": 2}


@pytest.mark.parametrize(
    ("content", "options", "named"),
    [
        ("t,y\n" + LONG.replace("12,12", "12,twelve"), {}, ["row 13", "column 'y'", "'twelve' is no number"]),
        (("t,y\n" + LONG).encode().replace(b"12,12", b"12,\xff"), {}, ["line 14", "0xff", "UTF-8"]),
        (("t,y\n" + LONG).encode("utf-16"), {}, ["is no UTF-8 but utf-16", "iconv"]),
        ("t,y\n" + LONG, {"target": "z"}, ["data.target=z", "no such column", "(it has t, y)"]),
        (",y\n" + LONG, {"time": ""}, ["data.time=", "no such column", "(it has column 1, y)"]),
        (",y\n" + LONG, {"time": None, "series": ""}, ["data.series=", "no such column", "(it has column 1, y)"]),
        ("t,sales\n" + LONG, {"target": "sale"}, ["data.target=sale", "did you mean 'sales'?"]),
        ("t,y\n" + LONG, {"time": "tt"}, ["data.time=tt", "did you mean 't'?"]),
        ("t,y\n" + LONG, {"past": ["y"]}, ["'y' is named twice"]),
        (("t,y\n" + LONG).replace(",", ";"), {"separator": ","}, ["data.separator=','", "by ';'", "recognised"]),
        ("t,y\n" + LONG, {"target": None}, ["data.target is missing"]),
        ("", {}, ["this file is empty"]),
        ("t,y\n", {}, ["no rows"]),
        ("t,y,y\n" + LONG, {}, ["two columns are named 'y'"]),
        ("t,y\n" + LONG.replace("12,12", "12,12,12"), {}, ["line 14", "3 cells", "header has 2"]),
        ("t,y\n" + LONG.replace("12,12", "12,"), {}, ["row 13", "column 'y'", "no value", "data.missing=forward"]),
        ("t,y\n" + LONG.replace("12,12", "12,inf"), {}, ["row 13", "column 'y'", "no finite number"]),
        ("t,y\n" + LONG.replace("12,12", ",12"), {}, ["row 13", "column 't'", "no time"]),
        ("t,y\n" + LONG.replace("12,12", "11,12"), {}, ["row 13", "t 11 is there already in row 12"]),
        ("t,y\n" + LONG.replace("12,12", "5,12"), {}, ["row 13", "t 5 comes after 11 in row 12", "data.sort=true"]),
        ("t,y\n" + LONG.replace("12,12\n", ""), {}, ["row 13", "13 comes 2 steps after 11", "data.gaps=fill"]),
        ("t,y\n" + LONG.replace("12,12", "12.5,12"), {}, ["row 13", "column 't'", "12.5"]),
        ("t,y\n" + LONG.replace("12,12", "soon,12"), {}, ["row 13", "'soon' is no time", "data.time_format"]),
        (DATED + "Total,780\n", {}, ["row 41", "column 't': 'Total' is no time, and others are: leave this row out"]),
        ("t,y\n" + LONG, {"length": 39}, ["training part has 24 rows", "data.length=39", "data.horizon=1", "needs 40"]),
        ("t,y\n" + LONG, {"length": 40}, ["this data has 40 rows", "needs 41"]),
        ("t,y\n" + LONG, {"horizon": 9}, ["validation part has 8 rows", "needs 9"]),
        ("t,y\n" + LONG, {"log": True}, ["data.log=true", "row 1", "0 has no logarithm"]),
        ("t,y\n" + LONG, {"calendar": ["month"]}, ["data.calendar=['month'] needs dates"]),
        ("t,y\n" + LONG, {"test_start": 90}, ["data.test_start=90: this data ends before, at 39"]),
        ("t,y\n" + LONG, {"val_start": 90}, ["data.val_start=90: this data ends before, at 39"]),
        ("t,y\n" + LONG, {"val_start": 0}, ["data.val_start=0: this data begins at 0: ", "nothing to train on"]),
        ("t,y\n" + LONG, {"end": -1}, ["data.end=-1: this data begins at 0: it has no times up to there"]),
        (
            "t,y\n" + LONG,
            {"val_start": 38, "test_fraction": 0.1},
            ["data.val_start=38 and the test part from 36 on (data.test_fraction=0.1): ", "from 0 to 39"],
        ),
        (
            "t,y\n" + LONG,
            {"val_start": 20, "test_start": 20, "end": 30},
            ["data.val_start=20 and data.test_start=20 and data.end=30: a part is left without times"],
        ),
        ("t,y\n" + LONG, {"test_start": "May"}, ["data.test_start=May", "no time", "from 0 to 39"]),
        ("t,y\n" + LONG, {"end": float("nan")}, ["data.end=nan", "no time"]),
        *(
            (DATED, {"test_start": typed}, [f"data.test_start={typed} is no time", "from 1949-01-01 to 1952-04-01"])
            for typed in (1951.44, "1951.44", "05/06/1951", "NaT", "now", "19510231")
        ),
        ("t,y\n" + LONG, {"folds": 2, "fold": 2}, ["data.fold=2", "data.folds=2"]),
        ("t,y\n" + LONG, {"ar_order": 23}, ["data.ar_order=23", "24 rows"]),
        ("t,y\n" + LONG, {"gaps": "fill"}, ["data.gaps=fill", "data.missing=forward"]),
        ("t,y\n" + LONG, {"residual_of": "seasonal_naive"}, ["data.residual_of=seasonal_naive", "data.period"]),
        ("t,y\n" + LONG, FED_BACK | {"residual_of": "persistence"}, ["data.strategy=direct"]),
        ("t,y,z\n" + LONG.replace("\n", ",1\n"), FED_BACK | {"past": ["z"]}, ["data.past=['z']"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_is_wrong_is_one_line(
    content: str | bytes, options: dict[str, Any], named: list[str], tmp_path: Path
) -> None:
    path = text(tmp_path, content)
    with pytest.raises(InputError) as error:
        CSV(**{"path": path, "target": "y", "time": "t", "length": 8, **options})
    message = str(error.value)
    assert "\n" not in message and len(message) < 400
    for part in named:
        assert part in message, message


@pytest.mark.parametrize("typed", ["1951-07", 1951.5, "1951.5", "July 1951", "1951Q3", 19510701, "1951-07-01T00:00Z"])
def test_a_time_may_be_typed_as_files_have_it(typed: Any, tmp_path: Path) -> None:
    path = text(tmp_path, DATED)
    data = CSV(path=path, target="y", time="t", length=4, test_start=typed, calendar=[])
    assert data.cuts[1] == np.datetime64("1951-07-01")
    check_value(typed, annotations(CSV)["test_start"], "data.test_start")  # as a config is checked


def test_a_time_between_two_steps_is_the_second(tmp_path: Path) -> None:
    data = CSV(path=text(tmp_path, "t,y\n" + LONG), target="y", time="t", length=4, test_start=35.5)
    assert data.cuts[1] == 36


def test_series_that_end_before_the_test_are_counted(tmp_path: Path) -> None:
    rows = [f"{name},{step},{step % 5}" for name, last in (("a", 90), ("b", 60), ("c", 60)) for step in range(last)]
    path = text(tmp_path, "\n".join(["s,t,y", *rows, ""]))
    options: dict[str, Any] = {"path": path, "target": "y", "time": "t", "series": "s", "length": 8}
    note = CSV(**options, val_start=70, test_start=80, short_series="drop").spec.note
    assert "1 of 3 reach into the test part" in note
    assert "reach into" not in CSV(**options, val_start=40, test_start=50).spec.note


def test_files_that_cannot_be_read_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text(tmp_path, "t,y\n", "sales.csv")
    with pytest.raises(InputError, match=r"no such file; did you mean 'sales\.csv'"):
        CSV(path=str(tmp_path / "sale.csv"), target="y")
    with pytest.raises(InputError, match="cannot be read"):
        CSV(path=text(tmp_path, "not parquet at all", "a.parquet"), target="y")
    with pytest.raises(InputError, match=r"column 'y' holds no numbers \('a'\)"):
        CSV(path=write(tmp_path, pl.DataFrame({"y": ["a", "b"]}), "b.parquet"), target="y")
    monkeypatch.setattr("rnnlab.files.table.machine_memory", lambda: 1000.0)
    with pytest.raises(InputError, match=r"about 41 rows.*this machine has 0\.0 GB"):
        CSV(path=text(tmp_path, "t,y\n" + LONG), target="y", time="t")


def test_a_series_that_is_too_short_is_named(tmp_path: Path) -> None:
    frame = shops().filter((pl.col("shop") == "b") | (pl.col("day") < pl.date(2024, 1, 8)))
    with pytest.raises(InputError, match=r"series 'a' has 7 rows, .* needs 11"):
        shop_data(write(tmp_path, frame))


def test_a_mistake_leaves_no_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rnnlab.commands import train as command

    path = text(tmp_path, "t,y\n" + LONG.replace("12,12", "12,x"))
    run = tmp_path / "run"
    assert command.main(["data=csv", f"data.path={path}", "data.target=y", f"hydra.run.dir={run}"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "'x' is no number" in said
    assert not run.exists()


def test_num_samples_takes_the_first_windows() -> None:
    few, all_ = given(num_samples=20), given()
    assert [few.size(split) for split in SPLITS] == [16, 2, 2]
    assert torch.equal(everything(few, "train").inputs, everything(all_, "train").inputs[:16])
    assert given(num_samples=10**6).size("test") == all_.size("test")


# ---- learning -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_a_network_learns_what_the_simple_predictors_cannot(strategy: str, train: Train) -> None:
    metrics = train(
        "data=csv", "data.num_samples=null", "data.horizon=7", f"data.strategy={strategy}", "trainer.max_epochs=25",
        "optimizer.lr=0.01", "model.hidden_size=24", "data.batch_size=32", "instruments=none",
        *(["data.path=null", "data.calendar=[weekday]"]), *([] if strategy == "direct" else ["data.past=[]"]),
    ).metrics  # fmt: skip
    assert metrics["test/mase"] < 0.9 * metrics["baseline/linear_ar/mase"]
    assert metrics["baseline/linear_ar/mase"] < metrics["baseline/mase"]


@pytest.mark.parametrize("name", ["airline", "sunspots"])
def test_real_series_are_what_they_are_known_for(name: str) -> None:
    from conftest import compose

    from rnnlab.runs.build import build

    data: SeriesData = build(compose(f"data={name}")["data"], "data")
    panel = data.panel
    if name == "airline":
        assert panel.values[[0, -1], 0].tolist() == [112, 432] and panel.times[-1] == np.datetime64("1960-12-01")
        assert data.spec.period == 12 and data.size("test") == 31
        return
    test = everything(data, "test")
    assert test.origin is not None and len(test.inputs) == 35
    persistence = in_units(data, test, test.origin.references[:, 0]) - test.origin.actual[:, -1:]
    assert float(persistence.square().mean()) == pytest.approx(638, abs=1)
    # AR(12) fitted on all years up to 1920
    whole = replace_data(data, val_start=1920)
    test = everything(whole, "test")
    assert test.origin is not None
    linear = in_units(whole, test, test.origin.references[:, 1]) - test.origin.actual[:, -1:]
    assert float(linear.square().mean()) == pytest.approx(194, abs=2)


def replace_data(data: SeriesData, **options: Any) -> SeriesData:
    return partial(replace, data)(**options)


def test_models_without_gates_too() -> None:
    data = given(horizon=2, strategy="recursive")
    batch = everything(data, "test")
    assert task_for(data, RNN).forecast(batch).shape == (data.size("test"), 2, 1, 1)


# ---- the two forms of the objective ----------------------------------------------------------------


def test_the_data_settles_which_form_of_forecasting_is_built() -> None:
    class Mine(Forecasting):
        pass

    windows, steps = given(), Sine(num_samples=20, length=8)
    for data, form in ((windows, WindowForecasting), (steps, StepwiseForecasting)):
        network = Network(data.spec.input, data.spec.target, GRU, hidden_size=3)
        task, mine = Forecasting(network, data.spec), Mine(network=network, spec=data.spec)
        assert type(task) is type(copy.deepcopy(task)) is form and task.title == "Forecasting"
        assert isinstance(mine, Mine) and isinstance(mine, form) and mine.title == "Mine"
    assert set(inspect.signature(Forecasting).parameters) >= {"network", "spec", "loss", "distribution", "conformal"}
