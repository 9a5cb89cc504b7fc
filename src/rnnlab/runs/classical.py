"""Forecasts of classical statistics on the test windows of a series, beside those of a network.

ETS (exponential smoothing with trend and season; R. J. Hyndman et al., "Forecasting with Exponential Smoothing", 2008)
and SARIMAX (seasonal ARIMA) as statsmodels fits them. Parameters are estimated once, on all that comes before the test
part; at each origin the state is filtered up to it, and nothing is refitted. Of several forms the one with the lowest
AICc (ETS) or AIC (SARIMAX) on these years is taken.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from rnnlab.data.series import SeriesData
from rnnlab.errors import InputError
from rnnlab.extras import need

LONGEST_SEASON = 24
"""Steps of a season that these can be fitted with in a minute."""
MOST_ROWS = 5_000
ORDERS = {True: ((0, 1, 1), (1, 1, 0), (1, 1, 1), (2, 1, 2), (2, 0, 1)), False: ((0, 1, 1), (1, 1, 1), (1, 0, 1))}
"""Of an ARIMA without and with a season, whose own order is (0, 1, 1) or (1, 1, 1)."""

Forecaster = Callable[[np.ndarray, int], np.ndarray]
"""Of ``(rows,)`` values up to an origin and a number of steps, the ``(steps,)`` values that follow."""


_MEASURED: dict[tuple[str, bytes, bytes, int, int], dict[str, float]] = {}
"""What was measured before: nothing in it depends on a seed."""


def ets(data: SeriesData, seed: int) -> dict[str, float]:
    """Exponential smoothing; see :func:`_measure`."""
    return _measure(data, "ets")


def sarimax(data: SeriesData, seed: int) -> dict[str, float]:
    """Seasonal ARIMA; see :func:`_measure`."""
    return _measure(data, "sarimax")


def _measure(data: SeriesData, method: str) -> dict[str, float]:
    """A method's forecasts from every origin of the test part, over all steps ahead, in units.

    Returns:
        ``test/mae``, ``test/mase``, ``test/mape`` and ``seconds``.

    Raises:
        InputError: statsmodels is not installed, it takes too long to fit (a season of more than 24 steps),
            or there are several series or missing values.
    """
    need("datasets", "statsmodels", f"a comparison with {method}")
    one_series(data, method)
    panel, season, steps = data.panel, data.spec.period or 1, data.horizon
    if season > LONGEST_SEASON or len(panel.values) > MOST_ROWS:
        raise InputError(
            f"{method} takes too long with a season of {season} steps and {len(panel.values):,} rows (at most "
            f"{LONGEST_SEASON} and {MOST_ROWS:,})"
        )
    values, started = panel.values[:, 0], time.monotonic()
    origins = data.places("test")[1]
    key = (method, values.tobytes(), origins.tobytes(), steps, season)
    if key in _MEASURED:
        return _MEASURED[key]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forms that do not converge; others are taken
        forecast = {"ets": _ets, "sarimax": _sarimax}[method](values[: int(origins[0]) + 1], season)
        said = np.stack([forecast(values[: origin + 1], steps) for origin in map(int, origins)])
    _MEASURED[key] = scores(data, origins, said, time.monotonic() - started)
    return _MEASURED[key]


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


def _ets(known: np.ndarray, season: int) -> Forecaster:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    def forms() -> Iterator[dict[str, object]]:
        kinds = ("add", "mul") if (known > 0).all() else ("add",)
        seasons = (None, *kinds) if season > 1 else (None,)
        for error, (trend, damped), seasonal in product(kinds, ((None, False), ("add", False), ("add", True)), seasons):
            if not (error == "add" and seasonal == "mul"):  # which is unstable (Hyndman, section 8)
                yield {
                    "error": error,
                    "trend": trend,
                    "damped_trend": damped,
                    "seasonal": seasonal,
                    "seasonal_periods": season if seasonal else None,
                }

    fitted = []
    for form in forms():
        try:
            result = ETSModel(known, **form).fit(disp=False, maxiter=500)
        except (ValueError, np.linalg.LinAlgError):
            continue
        if np.isfinite(result.aicc):
            fitted.append((float(result.aicc), form, result.params))
    _, form, parameters = min(fitted, key=lambda each: each[0])

    def forecast(values: np.ndarray, steps: int) -> np.ndarray:
        return np.asarray(ETSModel(values, **form).smooth(parameters).forecast(steps))

    return forecast


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
