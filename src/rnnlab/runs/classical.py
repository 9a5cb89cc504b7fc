"""Forecasts of classical statistics on the test windows of a series, beside those of a network.

ETS is the exponential smoothing that stands beside each run (:mod:`rnnlab.data.smoothing`). SARIMAX (seasonal ARIMA) is
as statsmodels fits it: its parameters are estimated once, on all that comes before the test part, and of several forms
that with the lowest AIC is taken; at each origin the state is filtered up to it, and nothing is refitted.
"""

import math
import time
import warnings
from collections.abc import Callable
from itertools import product

import numpy as np

from rnnlab.data.series import SeriesData
from rnnlab.data.smoothing import LONGEST_SEASON, MOST_FORECASTS
from rnnlab.errors import InputError
from rnnlab.extras import need

MOST_ROWS = 5_000
ORDERS = {True: ((0, 1, 1), (1, 1, 0), (1, 1, 1), (2, 1, 2), (2, 0, 1)), False: ((0, 1, 1), (1, 1, 1), (1, 0, 1))}
"""Of an ARIMA without and with a season, whose own order is (0, 1, 1) or (1, 1, 1)."""

Forecaster = Callable[[np.ndarray, int], np.ndarray]
"""Of ``(rows,)`` values up to an origin and a number of steps, the ``(steps,)`` values that follow."""


_MEASURED: dict[tuple[str, bytes, bytes, int, int, bool], dict[str, float]] = {}
"""What was measured before: nothing in it depends on a seed."""


def ets(data: SeriesData, seed: int) -> dict[str, float]:
    """Exponential smoothing; see :func:`_measure`."""
    return _measure(data, "ets", _smoothed)


def sarimax(data: SeriesData, seed: int) -> dict[str, float]:
    """Seasonal ARIMA; see :func:`_measure`."""
    return _measure(data, "sarimax", _filtered)


def _measure(data: SeriesData, method: str, forecasts: Callable[[SeriesData], np.ndarray]) -> dict[str, float]:
    """A method's forecasts from every origin of the test part, over all steps ahead, in units.

    Returns:
        ``test/mae``, ``test/mase``, ``test/mape`` and ``seconds``.

    Raises:
        InputError: statsmodels is not installed, it takes too long, or there are several series or missing values.
    """
    need("datasets", "statsmodels", f"a comparison with {method}")
    one_series(data, method)
    origins, started = data.places("test")[1], time.monotonic()
    values = data.panel.values[:, 0].tobytes()
    key = (method, values, origins.tobytes(), data.horizon, data.season or 1, bool(data.log))
    if key not in _MEASURED:
        _MEASURED[key] = scores(data, origins, forecasts(data), time.monotonic() - started)
    return _MEASURED[key]


def _smoothed(data: SeriesData) -> np.ndarray:
    """``(origins, horizon)`` of the run's own exponential smoothing."""
    made = data.classical().get("ets")
    if made is None:
        raise InputError(
            f"ets: no form can be fitted, or there are too many forecasts (at most {MOST_FORECASTS:,} rows and steps "
            "ahead of all origins)"
        )
    return made.said


def _filtered(data: SeriesData) -> np.ndarray:
    """``(origins, horizon)`` of SARIMAX."""
    values, season, origins = data.panel.values[:, 0], data.season or 1, data.places("test")[1]
    if season > LONGEST_SEASON or len(values) > MOST_ROWS:
        raise InputError(
            f"sarimax takes too long with a season of {season} steps and {len(values):,} rows (at most "
            f"{LONGEST_SEASON} and {MOST_ROWS:,})"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forms that do not converge; others are taken
        forecast = _sarimax(values[: int(origins[0]) + 1], season)
        return np.stack([forecast(values[: origin + 1], data.horizon) for origin in map(int, origins)])


def one_series(data: SeriesData, method: str) -> None:
    """Refuses what a rival of a series cannot forecast.

    Raises:
        InputError: there are several series or targets, or missing values.
    """
    if len(data.panel.names) > 1 or len(data.panel.columns.target) > 1 or data.unknown is not None:
        raise InputError(f"{method} is for one series of one target without missing values")


def scores(data: SeriesData, origins: np.ndarray, said: np.ndarray, seconds: float) -> dict[str, float]:
    """``test/mae``, ``test/mase``, ``test/mape`` and ``seconds`` of forecasts.

    Args:
        data: of one series.
        origins: ``(n,)`` rows at whose end they are made.
        said: ``(n, horizon)`` in units.
        seconds: that they took.
    """
    truth = data.panel.values[origins[:, None] + np.arange(1, data.horizon + 1), 0]
    errors = np.abs(said - truth)
    return {
        "test/mae": float(errors.mean()),
        "test/mase": float(errors.mean() / data.naive_errors[0, 0]),
        "test/mape": float(100 * (errors / np.abs(truth)).mean()) if truth.all() else math.nan,
        "seconds": seconds,
    }


def _sarimax(known: np.ndarray, season: int) -> Forecaster:
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    seasonal = [(0, 1, 1, season), (1, 1, 1, season)] if season > 1 else [(0, 0, 0, 0)]
    fitted = []
    for order, own in product(ORDERS[season == 1], seasonal):
        try:
            result = SARIMAX(known, order=order, seasonal_order=own).fit(disp=False, maxiter=200)
        except (ValueError, np.linalg.LinAlgError):
            continue
        if np.isfinite(result.aic):
            fitted.append((float(result.aic), result))
    best = min(fitted, key=lambda each: each[0])[1]

    def forecast(values: np.ndarray, steps: int) -> np.ndarray:
        return np.asarray(best.apply(values).forecast(steps))

    return forecast
