"""Exponential smoothing beside a network's forecasts."""

import math
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import TINY, compose

from rnnlab.data.csv import CSV
from rnnlab.data.smoothing import Smoothing, fit_smoothing
from rnnlab.errors import InputError
from rnnlab.runs.classical import ets, sarimax
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import execute


def test_the_state_goes_on_from_origin_to_origin() -> None:
    form = Smoothing(0.5, 0.5, 1.0, 0.5, (10.0, 1.0), (2.0, -2.0))
    values = np.array([13.0, 10.0])
    # 13 is as expected: level 11, trend 1, seasons (2, -2); 10 then too, level 12
    assert form.forecast(values, np.array([0, 1]), 3).tolist() == [[10, 15, 12], [15, 12, 17]]
    # two more than expected: half of them is level, half of that trend, and half of them season
    assert form.forecast(np.array([15.0]), np.array([0]), 2).tolist() == [[12 + 1.5 - 2, 12 + 3 + 3]]
    damped = Smoothing(0.5, 0.0, 0.5, 0.0, (0.0, 4.0), (0.0,))
    assert damped.forecast(np.array([2.0]), np.array([0]), 2).tolist() == [[3, 3.5]]


@pytest.mark.needs("datasets")
def test_it_forecasts_a_season_and_a_trend_as_statsmodels_does() -> None:
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    time = np.arange(96)
    values = 50 + 0.3 * time + 5 * np.sin(time * math.tau / 12) + np.random.default_rng(0).normal(0, 0.5, 96)
    form = fit_smoothing(values, 12)
    assert form is not None and len(form.seasons) == 12
    (said,) = form.forecast(values, np.array([95]), 11)  # the twelfth step statsmodels has from the season before
    ahead = np.arange(96, 107)
    assert np.abs(said - (50 + 0.3 * ahead + 5 * np.sin(ahead * math.tau / 12))).mean() < 0.5
    model = ExponentialSmoothing(
        values, trend="add", damped_trend=form.damping < 1, seasonal="add", seasonal_periods=12,
        initialization_method="heuristic",
    )  # fmt: skip
    np.testing.assert_allclose(said, model.fit().forecast(11), atol=1e-6)


@pytest.mark.needs("datasets")
def test_the_verdict_holds_a_network_against_it_window_by_window(tmp_path: Path) -> None:
    """Known by its mean alone it had an interval as wide as may be."""
    month, rng = np.arange(120), np.random.default_rng(1)
    values = 50 + 0.5 * month + 5 * np.sin(month * math.tau / 12) + rng.normal(0, 1, 120)
    days = pl.date_range(datetime(2000, 1, 1), datetime(2009, 12, 1), "1mo", eager=True)
    pl.DataFrame({"month": days, "load": values}).write_csv(tmp_path / "load.csv")
    config = compose(
        "data=csv", f"data.path={tmp_path / 'load.csv'}", "data.target=load", "data.time=month", "data.horizon=2",
        "data.linear=none", "trainer.max_steps=2", "model.hidden_size=4", "instruments=none", "trainer.accelerator=cpu",
    )  # fmt: skip
    directory = RunDirectory.claim(tmp_path / "run")
    execute(directory, config, quiet=True)
    verdict = directory.status.verdict
    assert verdict is not None and verdict.baseline == "ets" and verdict.low is not None
    assert "only the mean" not in verdict.text


@pytest.mark.slow
@pytest.mark.needs("datasets")
def test_a_run_on_a_series_has_it_beside(tmp_path: Path) -> None:
    directory = RunDirectory.claim(tmp_path / "run")
    execute(directory, compose(*TINY[1:], "data=airline", "instruments=none"), quiet=True)
    assert 0 < directory.metrics["baseline/ets/mae"] < directory.metrics["baseline/mae"]
    assert {"baseline/ets/mase", "baseline/ets/mape"} < set(directory.metrics)


@pytest.mark.needs("datasets")
def test_of_a_week_of_hours_it_has_the_day(tmp_path: Path) -> None:
    hours = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 3, 1), "1h", eager=True)
    day, week = (np.sin(np.arange(len(hours)) * math.tau / steps) for steps in (24, 168))
    noise = np.random.default_rng(0).normal(0, 0.2, len(hours))
    pl.DataFrame({"hour": hours, "load": 50 + 5 * day + 8 * week + noise}).write_csv(tmp_path / "load.csv")
    data = CSV(path=str(tmp_path / "load.csv"), target="load", time="hour", horizon=24)
    assert data.season == 168
    daily = data.classical()["ets"].scores["mae"]
    assert daily < 2.5  # without a season it has that of a sine, 3.2
    # the rival of a benchmark is the same
    assert ets(data, seed=0)["test/mae"] == pytest.approx(daily)
    with pytest.raises(InputError, match="sarimax takes too long with a season of 168 steps"):
        sarimax(data, seed=0)
