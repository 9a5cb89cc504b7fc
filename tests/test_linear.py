"""The linear part of forecasts, the layout of windows, and what is decided where nobody said anything."""

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from rnnlab.cells.gru import GRU
from rnnlab.data import linear_fit
from rnnlab.data.csv import CSV
from rnnlab.data.history import History
from rnnlab.data.layout import Layout
from rnnlab.data.linear import Linear, other_features
from rnnlab.data.series import suggested_calendar
from rnnlab.errors import InputError
from rnnlab.files.frequency import Frequency
from rnnlab.files.panel import Columns, Panel
from rnnlab.network import Network
from rnnlab.runs.peers import peer
from rnnlab.spec import Batch
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.use.export.base import history_of
from rnnlab.use.export.check import Steps, check
from rnnlab.use.export.formats import convert, serve

HOUR = 3_600_000_000
"""Microseconds."""

AUTO: dict[str, Any] = {"length": None, "log": None, "window_scaling": None, "linear": None, "calendar": None}


def monthly(rows: int = 240, seed: int = 0, trend: float = 0.5) -> pl.DataFrame:
    """A trend, a season, and noise that an autoregression tells a part of."""
    rng = np.random.default_rng(seed)
    month = np.arange(rows)
    noise = np.zeros(rows)
    for now in range(1, rows):
        noise[now] = 0.8 * noise[now - 1] + rng.normal(0, 1)
    values = 200 + trend * month + 10 * np.sin(2 * np.pi * month / 12) + noise
    dates = (np.datetime64("2000-01") + month).astype("M8[D]")
    return pl.DataFrame({"month": dates, "sales": values, "price": rng.normal(size=rows)})


def written(tmp_path: Path, frame: pl.DataFrame, name: str = "data.csv") -> str:
    frame.write_csv(tmp_path / name)
    return str(tmp_path / name)


def csv(path: str, **options: Any) -> CSV:
    return CSV(**{"path": path, "target": "sales", "time": "month", "horizon": 3, **AUTO} | options)


def everything(data: CSV, split: Any) -> Batch:
    return data.split(split).batch(slice(None))


def test_the_defaults_cover_the_season_and_beat_naive_forecasts(tmp_path: Path) -> None:
    data = csv(written(tmp_path, monthly()))
    assert (data.length, data.calendar, data.base, data.layout.window_scaling) == (24, ("month",), "linear", "last")
    batch = everything(data, "test")
    assert batch.origin is not None
    shift, scale, _ = batch.origin.scales.unbind(1)
    truth = batch.origin.actual[:, -3:]
    errors = {
        reference.name: float((batch.origin.references[:, number] * scale + shift - truth).abs().mean())
        for number, reference in enumerate(data.spec.references)
    }
    assert errors["ridge"] < 0.8 * min(errors["persistence"], errors["seasonal_naive"])


def test_a_new_network_forecasts_what_the_linear_part_does(tmp_path: Path) -> None:
    data = csv(written(tmp_path, monthly()))
    batch = everything(data, "test")
    assert batch.origin is not None
    assert data.spec.residual == "ridge"
    # the network's zero is the linear forecast
    ridge = [reference.name for reference in data.spec.references].index("ridge")
    assert batch.origin.references[:, ridge].abs().max() < 1e-4


def test_ridge_is_the_solution_of_its_equations(tmp_path: Path) -> None:
    """Held against rows that are appended for the shrinkage, and solved by orthogonal directions."""
    data = csv(written(tmp_path, monthly()), log=False)
    training = data.training
    scaled = training.scaled(False)
    candidate = linear_fit.Candidate(log=False, order=5, level=True, calendar=("month",), covariates=False)
    part = linear_fit.fit(training, scaled, candidate, 3, alpha=2.0)
    assert part is not None
    start, end = training.parts[0]
    rows = np.arange(start + 4, end - 3)
    x = linear_fit._design(training, scaled, candidate, 3, rows, 0)
    y = np.stack([scaled[rows + h, 0] - scaled[rows, 0] for h in (1, 2, 3)], 1)
    z = (x - x.mean(0)) / x.std(0)
    system = np.concatenate([z, np.sqrt(2.0) * np.eye(z.shape[1])])
    solution = np.linalg.lstsq(system, np.concatenate([y - y.mean(0), np.zeros((z.shape[1], 3))]), rcond=None)[0]
    expected = z @ solution + y.mean(0) + scaled[rows, 0][:, None]
    times = training.times[None, rows + 1]
    found = part.forecast(scaled[None], rows, times, training.columns, 3)[0, :, :, 0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    again = Linear.from_plain(part.plain()).forecast(scaled[None], rows, times, training.columns, 3)
    assert np.array_equal(again[0, :, :, 0], found)


@pytest.mark.parametrize("unknown", [False, True])
def test_more_features_than_origins_give_the_solution_of_the_same_equations(unknown: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 30)), rng.normal(size=(9, 2))
    x[:, 3] = 5.0  # which never changes
    known = np.ones(y.shape, bool)
    known[2, 1] = not unknown
    normal = linear_fit._Normal(x, y, known)
    weights, constant = normal.solve(0.5)
    deviation = np.where(x.std(0) > 0, x.std(0), np.inf)
    z = (x - x.mean(0)) / deviation
    filled = np.where(known, y, 0.0)
    for _ in range(linear_fit.IMPUTATIONS if unknown else 1):
        mean = filled.mean(0)
        solution = np.linalg.solve(z.T @ z + 0.5 * np.eye(30), z.T @ (filled - mean))
        filled = np.where(known, y, z @ solution + mean)
    np.testing.assert_allclose(weights, solution / deviation[:, None], rtol=0, atol=1e-12)
    np.testing.assert_allclose(constant, mean - x.mean(0) @ weights, rtol=0, atol=1e-12)
    assert normal.vectors.shape == (9, 9), "the cube of the smaller number"


def test_what_changes_by_rounding_alone_foretells_no_jump(tmp_path: Path) -> None:
    # growth that is always the same, to six digits, and a fall in the end of what the last fit sees
    grown = np.concatenate([0.3 * 1.044 ** np.arange(31), 1.0 * 1.044 ** np.arange(12)]).round(6)
    frame = pl.DataFrame({"year": np.arange(1971, 1971 + len(grown)), "y": grown})
    data = csv(written(tmp_path, frame), target="y", time="year", horizon=3, test_fraction=0.25)
    assert data.log and data.refitted is not None
    assert np.abs(data.refitted.weights).max() < 10
    series, origins = data.origins_of("test").some(100, data.size("test"))
    forecasts = data.references(origins, series, "test")
    truth = data.scaled.targets(data.scaled.rows(origins, series, 1, 3), series)
    errors = {name: np.abs(forecast - truth).mean() for name, forecast in forecasts.items()}
    assert errors["ridge"] < errors["persistence"]


def test_the_test_is_forecast_by_what_training_and_validation_tell(tmp_path: Path) -> None:
    frame = monthly()
    data = csv(written(tmp_path, frame))
    assert data.refitted is not None and data.ridge is not None
    assert data.refitted.plain() != data.ridge.plain()
    assert data.reader.layout.linear == data.refitted.plain() and data.layout.linear == data.ridge.plain()
    # the refitted one is the fit of a training part that reaches to the test
    kept = data._choice
    assert kept is not None
    parts = [(0, int(data.ends[0, 1]))]
    assert kept.fit(replace(data.training, parts=parts), 3).plain() == data.refitted.plain()
    again = csv(written(tmp_path, frame), **data.state_dict())
    for split in ("val", "test"):
        for ours, theirs in zip(
            everything(data, split).origin or (), everything(again, split).origin or (), strict=True
        ):
            assert (ours is None and theirs is None) or torch.equal(ours, theirs)


def test_a_series_that_repeats_itself_gets_nothing_from_the_network(tmp_path: Path) -> None:
    values = np.tile(np.random.default_rng(0).normal(10, 3, 12), 20)
    data = csv(written(tmp_path, monthly().with_columns(sales=values)))
    assert data.spec.residual == "seasonal_naive"
    torch.manual_seed(0)
    task = Forecasting(Network(data.spec.input, data.spec.target, GRU, hidden_size=4), data.spec).eval()
    assert task.calibrate([everything(data, "val")]) == {"gain/seasonal_naive": 0.0}
    batch = everything(data, "test")
    assert task.measure([(task.forecast(batch), batch)])["mae"] < 1e-5


def test_the_mean_of_candidates_forecasts_the_mean_of_their_forecasts(tmp_path: Path) -> None:
    data = csv(written(tmp_path, monthly()), log=False, known=["price"])
    training = data.training
    scaled = training.scaled(False)
    candidates = [
        linear_fit.Candidate(False, 5, True, ("month",), False),
        linear_fit.Candidate(False, 13, False, (), True),
        linear_fit.Candidate(False, 9, False, ("month",), True),
    ]
    parts = [linear_fit.fit(training, scaled, candidate, 3, 1.0) for candidate in candidates]
    assert all(part is not None for part in parts)
    mean = linear_fit._mean(parts, [(candidate, 1.0) for candidate in candidates])  # type: ignore[arg-type]
    at = np.arange(20, 100)
    times = training.times[None, at + 1]
    said = [part.forecast(scaled[None], at, times, training.columns, 3) for part in parts if part is not None]
    found = mean.forecast(scaled[None], at, times, training.columns, 3)
    np.testing.assert_allclose(found, np.mean(said, 0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"log": True}, {"known": ["price"]}, {"missing": "mask"}], ids=str)
def test_what_comes_after_the_training_part_changes_nothing_that_was_fitted(
    options: dict[str, Any], tmp_path: Path
) -> None:
    frame = monthly()
    data = csv(written(tmp_path, frame), **options)
    cut = int(np.searchsorted(data.panel.times, data.cuts[0]))
    values = frame["sales"].to_numpy().copy()
    values[cut:] = 1 + 1000 * np.random.default_rng(1).random(len(values) - cut)
    other = csv(written(tmp_path, frame.with_columns(sales=values), "other.csv"), **options)
    assert data.ridge is not None and other.ridge is not None
    assert data.ridge.plain() == other.ridge.plain()
    assert (data.log, data.length, data.calendar) == (other.log, other.length, other.calendar)
    assert data.layout.spread == other.layout.spread
    for a, b in zip(data.moments, other.moments, strict=True):
        assert np.array_equal(a, b)
    # and it is no law of a part that never changes
    values[: cut // 2] += 7 * np.random.default_rng(2).random(cut // 2)
    assert csv(written(tmp_path, frame.with_columns(sales=values), "third.csv"), **options).ridge.plain() != (  # type: ignore[union-attr]
        data.ridge.plain()
    )


def test_what_comes_after_validation_changes_no_decision(tmp_path: Path) -> None:
    frame = monthly()
    data = csv(written(tmp_path, frame))
    cut = int(np.searchsorted(data.panel.times, data.cuts[1]))
    values = frame["sales"].to_numpy().copy()
    values[cut:] = 1 + 1000 * np.random.default_rng(1).random(len(values) - cut)
    other = csv(written(tmp_path, frame.with_columns(sales=values), "other.csv"))
    assert data.state_dict() == other.state_dict()
    for split in ("train", "val"):
        assert torch.equal(everything(data, split).targets, everything(other, split).targets)


def test_a_linear_part_that_fails_on_the_validation_part_gives_way(tmp_path: Path) -> None:
    """What alternates in the training part and rests afterwards is forecast best by its last value."""
    values = np.where(np.arange(240) % 2, 10.0, -10.0) + np.random.default_rng(0).normal(0, 0.1, 240)
    values[190:] = 3 + np.random.default_rng(1).normal(0, 0.01, 50)
    frame = monthly().with_columns(sales=values)
    data = csv(written(tmp_path, frame), val_start="2016-01-01", test_start="2018-01-01")
    assert (data.base, data.spec.residual) == ("persistence", "persistence")
    assert data.ridge is not None  # it is fitted all the same, and stands among the references
    again = csv(written(tmp_path, frame), val_start="2016-01-01", test_start="2018-01-01", **data.state_dict())
    assert again.spec.references == data.spec.references
    for a, b in zip(everything(data, "test").origin or (), everything(again, "test").origin or (), strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
    kept = csv(written(tmp_path, monthly()), val_start="2016-01-01", test_start="2018-01-01")
    assert kept.base == "linear"


def test_demand_that_comes_now_and_then_is_held_against_none_and_learned_as_it_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = monthly().with_columns(sales=np.where(rng.random(240) < 0.85, 0.0, rng.integers(1, 9, 240)))
    parts = {"val_start": "2016-01-01", "test_start": "2018-01-01"}
    data = csv(written(tmp_path, frame), **parts)
    assert (data.base, data.spec.residual, data.linear, data.window_scaling) == ("none", "", "none", "global")
    said = dict(zip([each.name for each in data.spec.references], range(9), strict=False))
    batch = everything(data, "test")
    assert batch.origin is not None
    shift, scale, _ = batch.origin.scales.unbind(1)
    usual = batch.origin.references[:, said["most_frequent"]] * scale + shift
    torch.testing.assert_close(usual, torch.zeros_like(usual), atol=1e-6, rtol=0)
    again = csv(written(tmp_path, frame), **parts, **data.state_dict())
    assert again.spec.references == data.spec.references and again.base == "none"
    # where no value is the usual one, none stands there; nor where a run of before knows of none
    assert csv(written(tmp_path, monthly()), **parts).usual is None
    state = data.state_dict()
    del state["trained"]["usual"]
    assert csv(written(tmp_path, frame), **parts, **state).usual is None


@pytest.mark.parametrize("log", [False, True])
def test_what_has_no_memory_is_held_against_its_mean(log: bool, tmp_path: Path) -> None:
    values = 9 + np.random.default_rng(0).normal(0, 1, 240)
    frame = monthly().with_columns(sales=values)
    parts: dict[str, Any] = {"val_start": "2016-01-01", "test_start": "2018-01-01", "log": log}
    data = csv(written(tmp_path, frame), **parts)
    ((start, end),) = data.training_parts()
    names = [each.name for each in data.spec.references]
    batch = everything(data, "test")
    assert batch.origin is not None
    shift, scale, _ = batch.origin.scales.unbind(1)
    mean = batch.origin.references[:, names.index("training_mean")] * scale + shift
    expected = torch.full_like(mean, values[start:end].mean())
    torch.testing.assert_close(mean.exp() if log else mean, expected, atol=1e-4, rtol=0)
    state = data.state_dict()
    again = csv(written(tmp_path, frame), **{**parts, **state})
    assert again.spec.references == data.spec.references
    # not where the last value is the better forecast; nor where a run of before knows of none
    assert csv(written(tmp_path, monthly()), **parts).mean is None
    del state["trained"]["mean"], state["trained"]["errors"]["training_mean"]
    old = csv(written(tmp_path, frame), **{**parts, **state})
    assert "training_mean" not in [each.name for each in old.spec.references]
    assert everything(old, "test").origin.references.shape[1] == len(old.spec.references)  # type: ignore[union-attr]


@pytest.mark.parametrize("scaling", ["global", "last", "mean", "seasonal"])
@pytest.mark.parametrize("part", ["ridge", "none"])
def test_prediction_reads_windows_as_training_does(scaling: Any, part: Any, tmp_path: Path) -> None:
    data = csv(written(tmp_path, monthly()), window_scaling=scaling, linear=part, known=["price"])
    windows, reader = data.split("test"), data.reader
    assert reader.layout is data.final_layout
    batch = windows.batch(slice(None))
    assert batch.origin is not None
    panel = data.panel
    for number, origin in enumerate(windows.place(slice(None))[1]):  # type: ignore[attr-defined]
        now = int(origin) + 1
        history = History(0, now, panel.values, np.zeros((now, 2), bool), panel.times)
        window = reader.window(history, 3)
        np.testing.assert_allclose(window.inputs, batch.inputs[number], rtol=0, atol=1e-6)
        for ours, theirs in zip((window.shift[-1], window.scale[-1]), batch.origin.scales[number][:2], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    assert len(reader.features) == batch.inputs.shape[-1]


@pytest.mark.parametrize("scaling", ["last", "mean", "seasonal"])
def test_a_level_that_is_added_leaves_scaled_windows_as_they_are(scaling: Any, tmp_path: Path) -> None:
    frame = monthly()
    higher = frame.with_columns(pl.col("sales") + 1000)
    options: dict[str, Any] = {"window_scaling": scaling, "linear": "none", "log": False}
    one, other = (csv(written(tmp_path, f, f"{n}.csv"), **options) for n, f in enumerate((frame, higher)))
    for split in ("train", "test"):
        a, b = everything(one, split), everything(other, split)
        torch.testing.assert_close(a.inputs, b.inputs, rtol=0, atol=1e-4)
        torch.testing.assert_close(a.targets, b.targets, rtol=0, atol=1e-3)


def test_no_step_of_a_scaled_window_depends_on_a_later_value(tmp_path: Path) -> None:
    frame = monthly()
    data = csv(written(tmp_path, frame))
    layout, (shift, scale) = data.layout, data.moments
    rows = np.arange(layout.before + 24 + 3)[None]
    values = data.panel.values[rows]
    changed = values.copy()
    changed[:, layout.before + 12 :] += 5
    cuts = [layout.cut(each, None, data.panel.times[rows], shift, scale, 3) for each in (values, changed)]
    for name in ("inputs", "base"):
        a, b = (getattr(cut, name) for cut in cuts)
        assert np.array_equal(a[:, :12], b[:, :12]) and not np.array_equal(a[:, 12:], b[:, 12:])


def test_a_layout_is_the_same_after_plain_values(tmp_path: Path) -> None:
    data = csv(written(tmp_path, monthly()))
    plain = data.reader.plain()["layout"]
    again = Layout(**plain)
    assert again.features == data.layout.features and again.before == data.layout.before
    assert replace(again).ridge is not None


def test_hours_have_a_day_and_a_week(tmp_path: Path) -> None:
    rows = 24 * 7 * 6
    hour = np.arange(rows)
    weekend = (hour // 24 % 7) >= 5
    load = 100 + 20 * np.sin(2 * np.pi * hour / 24) * ~weekend + np.random.default_rng(0).normal(0, 1, rows)
    stamps = np.datetime64("2024-01-01T00") + hour
    path = written(tmp_path, pl.DataFrame({"month": stamps.astype("M8[us]"), "sales": load}))
    data = csv(path, horizon=12)
    assert data.seasons == (24, 168) and data.season == 168
    assert data.length == 168 and data.calendar == ("hour", "weekday")
    assert data.autoregression.order > 24


def test_quantiles_cover_their_share_of_what_they_were_corrected_by(tmp_path: Path) -> None:
    data = csv(written(tmp_path, monthly()), val_fraction=0.3)
    options: dict[str, Any] = {"distribution": "quantiles"}
    torch.manual_seed(0)
    network = Network(data.spec.input, Forecasting.output(data.spec, **options), GRU, hidden_size=6)
    task = Forecasting(network, data.spec, **options).eval()
    batch = everything(data, "val")
    before = task.measure([(task.forecast(batch), batch)])
    corrected = task.calibrate([batch])
    forecast = task.forecast(batch)
    after = task.measure([(forecast, batch)])
    assert corrected["gain"] == 0 and corrected["conformal"] > 0
    assert abs(after["coverage@80"] - 0.8) < 0.05 < abs(before["coverage@80"] - 0.8)
    # where the network adds nothing, the point forecast is that of the linear part
    assert not task.distribution.point(forecast).any()
    assert after["mae"] == pytest.approx(task.measure([(torch.zeros_like(forecast), batch)])["mae"])


def test_what_a_network_adds_is_left_out_where_it_adds_nothing(tmp_path: Path) -> None:
    data = csv(written(tmp_path, monthly()))
    torch.manual_seed(1)
    task = Forecasting(Network(data.spec.input, data.spec.target, GRU, hidden_size=6), data.spec).eval()
    batch = everything(data, "val")
    with torch.no_grad():  # the very contrary of what is left
        task.network.readout.weight.mul_(0)
        task.network.readout.bias.copy_(-batch.targets[:, -1].mean(0))
    assert task.calibrate([batch])["gain"] == 0
    assert task.network.readout.bias.abs().max() == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (
            {"linear": "ridge", "strategy": "recursive"},
            [
                "data.linear=ridge is for data.strategy=direct: a recursive forecast of data.horizon=3 feeds back "
                "values and no differences"
            ],
        ),
        ({"linear": "ridge", "residual_of": "persistence"}, ["data.linear=ridge", "data.residual_of=persistence"]),
        ({"window_scaling": "last", "strategy": "recursive"}, ["data.window_scaling=last", "data.strategy=direct"]),
        ({"window_scaling": "seasonal", "time": None}, ["data.window_scaling=seasonal", "data.period"]),
        ({"past": [f"c{k}" for k in range(10_000)]}, ["data.past", "10,001 columns", "10,000 are the most"]),
    ],
    ids=str,
)
def test_what_cannot_work_is_one_line(options: dict[str, Any], named: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        csv(written(tmp_path, monthly().drop("price")), **options)
    assert all(name in str(error.value) for name in named) and "\n" not in str(error.value)


def test_a_missing_value_says_where_and_what_there_is_instead(tmp_path: Path) -> None:
    frame = monthly().with_columns(pl.when(pl.int_range(240) % 100 == 7).then(None).otherwise("sales").alias("sales"))
    with pytest.raises(InputError) as error:
        csv(written(tmp_path, frame))
    assert str(error.value) == (
        "row 8, column 'sales': there is no value (3 are missing): data.missing=forward carries the last known one "
        "on, data.missing=mask also tells the network so"
    )


@pytest.mark.parametrize(
    ("unit", "size", "days", "cycles"),
    [
        ("month", 1, 729, ()), ("month", 1, 730, ("month",)), ("month", 6, 800, ("month",)), ("month", 12, 9000, ()),
        ("duration", HOUR, 1, ()), ("duration", HOUR, 2, ("hour",)), ("duration", HOUR, 14, ("hour", "weekday")),
        ("duration", 24 * HOUR, 13, ()), ("duration", 24 * HOUR, 14, ("weekday",)),
        ("duration", 24 * HOUR, 730, ("weekday", "year")), ("business day", 1, 730, ("weekday", "year")),
        ("duration", 7 * 24 * HOUR, 729, ()), ("duration", 7 * 24 * HOUR, 730, ("year",)),
    ],
)  # fmt: skip
def test_the_calendar_has_the_cycles_of_which_there_are_two(
    unit: Any, size: int, days: int, cycles: tuple[str, ...]
) -> None:
    times = np.datetime64("2001-01-01", "us") + np.array([0, days]).astype("m8[D]")
    panel = Panel(np.zeros((2, 1)), times, np.array([0, 2]), ("",), Columns(("y",)), Frequency(unit, size))
    assert suggested_calendar(panel, [(0, 2)]) == cycles


def test_candidates_have_a_season_among_their_lags() -> None:
    for seasons, horizon in (((12,), 6), ((24, 168), 24), ((4,), 2)):
        orders = linear_fit.candidate_orders(seasons, horizon)
        assert all(season + 1 in orders for season in seasons) and all(a < b for a, b in pairwise(orders))


# ---- clocks that are changed --------------------------------------------------------------------------


def local_hours(days: int = 366, minutes: int = 60) -> np.ndarray:
    """Local time stamps as meters write them: an hour is left out in March, and one is there twice in October."""
    steps = np.arange(0, days * 1440, minutes)
    utc = np.datetime64("2024-01-01T00:00", "m") + steps
    summer = (utc >= np.datetime64("2024-03-31T01:00")) & (utc < np.datetime64("2024-10-27T01:00"))
    return utc + np.where(summer, 120, 60)


@pytest.mark.parametrize("minutes", [60, 15])
def test_an_hour_that_daylight_saving_moves_is_no_gap(minutes: int, tmp_path: Path) -> None:
    stamps = local_hours(330, minutes)
    load = np.sin(np.arange(len(stamps)) * 2 * np.pi * minutes / 1440) + 3
    path = written(tmp_path, pl.DataFrame({"month": stamps.astype("M8[us]"), "sales": load}))
    data = csv(path, linear="none", length=8, log=False, window_scaling="global")
    assert len(data.panel.values) == len(stamps)
    assert "daylight saving, an hour left out on 2024-03-31 and there twice on 2024-10-27" in data.spec.note
    history, _ = data.reader.histories(Path(path).read_text() and pl.read_csv(path))
    assert history[0].now == len(stamps)
    lines = Path(path).read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("2024-03-31T01")) - 3
    arrivals = list(data.reader.stream(iter([lines[0], *lines[at : at + 20]]), "a stream"))
    assert len(arrivals) == 20 and not any(arrival.silent for arrival in arrivals if arrival)


def test_another_hour_that_is_missing_is_a_gap(tmp_path: Path) -> None:
    stamps = local_hours(60)
    for wrong in (np.delete(stamps, 500), np.insert(stamps, 500, stamps[500])):
        path = written(tmp_path, pl.DataFrame({"month": wrong.astype("M8[us]"), "sales": np.arange(len(wrong)) + 1.0}))
        with pytest.raises(InputError, match=r"comes 2 steps after|is there already"):
            csv(path, linear="none")


# ---- a base as a linear map, and as a part of an exported file ------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"known": ["price"]},
        {"linear": "none", "window_scaling": "last"},
        {"linear": "none", "window_scaling": "mean"},
        {"linear": "none", "window_scaling": "seasonal"},
        {"linear": "none", "window_scaling": "global", "residual_of": "seasonal_naive"},
    ],
    ids=str,
)
def test_a_base_is_its_linear_map(options: dict[str, Any], tmp_path: Path) -> None:
    data = csv(written(tmp_path, monthly()), **options)
    layout, base_map = data.layout, data.layout.base_map
    assert base_map is not None
    rows = np.arange(100, 100 + layout.before + layout.length + 3)[None]
    exact, times = data.exact(rows, np.zeros(1, np.int64)), data.panel.times[rows]
    at = np.arange(layout.before, layout.before + layout.length)
    found = base_map.forecast(exact, at, times[:, at + 1], layout.of, 3)
    np.testing.assert_allclose(layout._base(exact, times, at), found, rtol=0, atol=1e-12)


@pytest.mark.parametrize("distribution", ["point", "gaussian", "quantiles"])
@pytest.mark.parametrize("options", [{"known": ["price"]}, {"linear": "none", "window_scaling": "mean"}], ids=str)
def test_a_file_gives_whole_forecasts(distribution: Any, options: dict[str, Any], tmp_path: Path) -> None:
    data = csv(written(tmp_path, monthly()), **options)
    torch.manual_seed(0)
    target = Forecasting.output(data.spec, distribution=distribution)
    network = Network(data.spec.input, target, GRU, hidden_size=4)
    task = Forecasting(network, data.spec, distribution=distribution).eval()
    past = history_of(task, data)
    assert past is not None
    base = past.base
    batch = everything(data, "test")
    assert batch.origin is not None
    order, linear = base.linear.order, base.linear
    _, origins = data.split("test").place(slice(None))  # type: ignore[attr-defined]
    rows = origins[:, None] + np.arange(-len(batch.inputs[0]) - order + 2, 4)
    exact = data.exact(np.maximum(rows, 0), np.zeros(len(rows), np.int64))
    at = np.arange(order - 1, exact.shape[1] - 3)
    times = data.panel.times[np.maximum(rows, 0)][:, at + 1]
    others = other_features(exact, at, times, data.panel.columns, 3, linear.calendar, linear.covariates)
    history = [torch.tensor(exact[:, : at[-1] + 1, :1], dtype=torch.float32)]
    history += [torch.tensor(others, dtype=torch.float32)] if others.shape[-1] else []
    with torch.no_grad():
        whole = base(network(batch.inputs)[0], *history)[:, -1]
    shift, scale = (float(moment[0, 0]) for moment in data.moments)
    deviation = np.array([0.0 if distribution == "gaussian" else shift] * 3)
    shifts = torch.tensor([*[shift] * 3, *deviation] if distribution == "gaussian" else shift)
    found = whole.double() * scale + shifts
    naive, divisor, _ = batch.origin.scales.unbind(1)
    expected = task.distribution.in_units(task.forecast(batch), naive, divisor, False)[..., 0, :].transpose(-1, -2)
    if data.log:
        found, expected = found[:, :3].exp(), expected[:, :1].flatten(1).exp()
    torch.testing.assert_close(found, expected.flatten(1).double(), rtol=1e-5, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["pt2", pytest.param("onnx", marks=pytest.mark.needs("export"))])
def test_an_exported_run_with_a_linear_part_is_checked(format: Any, tmp_path: Path) -> None:
    data = csv(written(tmp_path, monthly()))
    torch.manual_seed(0)
    network = Network(data.spec.input, data.spec.target, GRU, hidden_size=4).eval()
    steps, history = Steps.of(data), history_of(Forecasting(network, data.spec), data)
    assert history is not None
    base = history.base
    _, content = convert(network, torch.zeros_like(steps.cut(3, 5)), format, base)
    assert check(serve(content, format), network, steps, 6, history).holds
    base.linear = replace(base.linear, constant=base.linear.constant + 0.01)  # of the run, and not of the file
    assert not check(serve(content, format), network, steps, 6, history).holds


def test_a_peer_is_scored_on_the_windows_of_the_test(tmp_path: Path) -> None:
    """A program in place of another environment's Python, which says that the last value stays."""
    data = csv(written(tmp_path, monthly()))
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys, numpy as np\n"
        "file = np.load(sys.argv[3]); job = json.loads(str(file['job']))\n"
        "x, h = file['values'], job['horizon']\n"
        "said = [[x[now - 1]] * h for now in range(job['known'], len(x) - h + 1)]\n"
        "json.dump({'forecasts': said, 'seconds': 1.0}, open(sys.argv[4], 'w'))\n"
    )
    program.chmod(0o755)
    found = peer("darts_rnn", str(program))(data, 0)
    batch = everything(data, "test")
    assert batch.origin is not None
    actual = batch.origin.actual[:, -4:, 0]
    assert found["test/mae"] == pytest.approx(float((actual[:, 1:] - actual[:, :1]).abs().mean()))
    with pytest.raises(InputError, match="--peers build/peers/bin/python"):
        peer("darts_rnn", None)(data, 0)
    program.write_text("#!/bin/sh\necho 'no darts here' >&2; exit 1\n")
    with pytest.raises(InputError, match="darts_rnn has failed: no darts here"):
        peer("darts_rnn", str(program))(data, 0)


def training(values: np.ndarray) -> linear_fit.Training:
    """A series of ``(rows,)`` values that is all training part."""
    moments = np.zeros((1, 1)), np.ones((1, 1))
    return linear_fit.Training(
        values[:, None], None, np.arange(len(values)), [(0, len(values))], Columns(("y",)), lambda log: moments
    )


def test_a_series_without_deviation_has_no_level_to_keep() -> None:
    for values, kept in ((np.ones(30), False), (np.tile([0.0, 1.0], 15), True), (np.arange(30.0), False)):
        part = training(values)
        assert linear_fit.keeps_level(part, part.scaled(False)) is kept


@pytest.mark.parametrize("rows", [46, 47, 60, 61, 84, 85])
def test_lags_that_leave_no_half_of_the_series_to_fit_are_not_tried(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: set[int] = set()

    def score(
        part: linear_fit.Training, scaled: np.ndarray, candidate: linear_fit.Candidate, horizon: int
    ) -> list[Any]:
        tried.add(candidate.order)
        return [(1.0, 0.5)]

    monkeypatch.setattr(linear_fit, "_scores", score)
    linear_fit.choose(training(np.arange(rows, dtype=float)), 5, [12], [False], ())
    assert tried == {order for order in (1, 3, 5, 9, 13, 18, 25, 37) if 2 * (order + 5) < rows}


def test_twelve_windows_are_the_fewest_that_are_fitted() -> None:
    candidate = linear_fit.Candidate(False, 3, False, (), False)
    for rows, fitted in ((linear_fit.FEWEST + 2 + 2, True), (linear_fit.FEWEST + 2 + 1, False)):
        part = training(np.random.default_rng(0).normal(size=rows))
        assert (linear_fit.fit(part, part.scaled(False), candidate, 2, 1.0) is not None) is fitted


def test_a_linear_part_is_in_double_precision_whatever_its_numbers_are_written_as() -> None:
    values = {"constant": [[0]], "weights": [[[1]]], "others": [], "shape": [1, 0, 1], "calendar": [],
              "covariates": False, "chosen": ""}  # fmt: skip
    part = Linear.from_plain(values)
    assert {array.dtype for array in (part.constant, part.weights, part.others)} == {np.dtype(np.float64)}
