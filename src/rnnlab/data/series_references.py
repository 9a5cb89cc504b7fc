"""Forecasts that those of a network are held against: naive ones, an autoregression, exponential smoothing."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnlab.data import autoregression, smoothing
from rnnlab.data import linear_fit as linear_part
from rnnlab.data.layout import Base
from rnnlab.data.series_cuts import place
from rnnlab.data.series_suggestions import WINDOW
from rnnlab.data.split import SplitName
from rnnlab.data.trained_series import learned
from rnnlab.student import doubt

if TYPE_CHECKING:
    from rnnlab.data.series import SeriesData

LONGEST_ORDER = 24
"""Of an autoregression whose order nobody gave, and no less than some seasons."""
MEASURED = 4096
"""Training windows on which the errors of the reference forecasts are measured, evenly spaced."""
log = logging.getLogger("rnnlab")


def fit_autoregression(data: "SeriesData") -> autoregression.Autoregression:
    """The linear autoregression of the scaled targets, fitted on the training part."""
    if data.trained is not None:
        constant, weights = (np.array(data.trained[key]) for key in ("constant", "weights"))
        models = data.horizon if data.strategy == "direct" else 1
        if len(weights) == models and data.ar_order in (None, weights.shape[1]):
            return autoregression.Autoregression(constant, weights, data.horizon)
    panel, parts = data.panel, data.training_parts()
    x = np.empty((len(panel.values), data.num_targets), np.float32)
    for series, (start, _) in enumerate(parts):
        end = panel.starts[series + 1]
        values = panel.values[start:end, : data.num_targets]
        shift, scale = (each[series, : data.num_targets] for each in data.moments)
        x[start:end] = np.nan_to_num(((np.log(values) if data.log else values) - shift) / scale)
    longest = max(LONGEST_ORDER, *linear_part.candidate_orders(data.seasons, data.horizon))
    direct = data.strategy == "direct"
    return autoregression.fit(x, data.unknown, parts, data.horizon, data.ar_order, longest, direct)


def _naive(scaled: np.ndarray, lag: int, horizon: int) -> np.ndarray:
    """``(batch, horizon, targets)``: the last known value of the same season (persistence with a lag of 1).

    Args:
        scaled: ``(batch, steps, targets)`` up to the origin, at least ``lag`` steps.
        lag: steps of a season.
        horizon: steps ahead.
    """
    back = [scaled.shape[1] - lag + step % lag for step in range(horizon)]
    return scaled[:, back]


def reference_forecasts(
    data: "SeriesData", origins: np.ndarray, series: np.ndarray, split: SplitName = "train"
) -> dict[str, np.ndarray]:
    """``(batch, horizon, targets)`` scaled forecasts of each simple predictor, made at ``(batch,)`` origins of a
    split.
    """
    lag, order = data.season or 1, data.autoregression.order
    ridge = data.ridge if split != "test" else data.refitted
    before = max(lag, order, ridge.order if ridge is not None else 1) - 1
    rows = origins[:, None] + np.arange(-before, data.horizon + 1)
    rows = np.maximum(rows, data.panel.starts[series][:, None])
    known = data.exact(rows, series)
    past = known[:, : before + 1, : data.num_targets].astype(np.float32)
    found = {"persistence": _naive(past, 1, data.horizon)}
    if data.season is not None:
        found["seasonal_naive"] = _naive(past, lag, data.horizon)
    found["linear_ar"] = data.autoregression.forecast(past)
    if ridge is not None:
        at = np.array([before])
        times = data.panel.times[rows[:, at + 1]]
        found["ridge"] = ridge.forecast(known, at, times, data.panel.columns, data.horizon)[:, 0]
    return found


def reference_errors(data: "SeriesData") -> dict[str, np.ndarray]:
    """``(horizon, targets)`` root mean square error of each reference on training windows, scaled."""
    learned: Mapping[str, Any] = {} if data.trained is None else data.trained["errors"]
    if learned and np.shape(learned["persistence"])[0] == data.horizon:
        return {name: np.asarray(errors, np.float32) for name, errors in learned.items()}
    first, counts, stride = data.origins_of("train")
    total = int(counts.sum())
    numbers = np.linspace(0, total - 1, min(MEASURED, total)).round().astype(np.int64)
    series, origins = place(numbers, first, counts, stride)
    ahead = origins[:, None] + np.arange(1, data.horizon + 1)
    truth = data.scaled(ahead, series)[..., : data.num_targets]
    if data.unknown is not None:
        truth[data.unknown[ahead][..., : data.num_targets]] = np.nan
    found = {}
    forecasts = data.references(origins, series)
    if data.base == "mean":
        averaged = data.season or data.length or WINDOW
        rows = np.maximum(origins[:, None] - np.arange(averaged), data.panel.starts[series][:, None])
        forecasts["mean"] = data.scaled(rows, series)[..., : data.num_targets].mean(1, keepdims=True)
    for name, forecast in forecasts.items():
        squares = np.square(truth - forecast)
        known = np.isfinite(squares)
        mean = np.where(known, squares, 0).sum(0) / np.maximum(known.sum(0), 1)
        found[name] = np.where(mean > 0, np.sqrt(mean), 1.0).astype(np.float32)
    return found


def naive_errors(data: "SeriesData") -> np.ndarray:
    """``(series, targets)`` mean absolute error of a naive one-step forecast on the training part, seasonal where
    there is a season: the unit of the mean absolute scaled error (Hyndman and Koehler 2006).
    """
    of_run = learned(data, "naive_errors")
    if of_run is not None:
        known = dict.fromkeys((data.trained or {})["names"])
        unseen = [name not in known and len(known) > 1 for name in data.panel.names]
        return np.where(np.array(unseen)[:, None], np.nan, of_run).astype(np.float32)
    lag = data.season or 1
    errors = np.full((len(data.panel.names), data.num_targets), np.nan)
    for number, (start, end) in enumerate(data.training_parts()):
        x = data.observed(slice(start, end))
        differences = np.abs(x[lag:] - x[:-lag])
        known = np.isfinite(differences)
        errors[number] = np.where(known, differences, 0).sum(0) / np.maximum(known.sum(0), 1)
    # MASE has no unit where a series never changed
    return np.where(errors > 0, errors, np.nan).astype(np.float32)


def classical_scores(data: "SeriesData") -> dict[str, dict[str, float]]:
    """The scores on the test windows, by name, of forecasts by classical statistics: exponential smoothing
    (:mod:`rnnlab.data.smoothing`), of one series without missing values, where statsmodels is installed.
    """
    _, origins = data.places("test")
    if len(data.panel.names) > 1 or data.num_targets > 1 or data.unknown is not None or not smoothing.is_there():
        return {}
    first = max(0, int(origins.min()) + 1 - smoothing.MOST_ROWS)
    if (int(origins.max()) - first) + len(origins) * data.horizon > smoothing.MOST_FORECASTS:
        return {}
    values = data.panel.values[first:, 0].astype(float)
    log = data.spec.scaling.log
    seen = np.log(values) if log else values
    form = smoothing.fit_smoothing(seen[: int(origins.min()) + 1 - first], data.season or 1)
    if form is None:
        return {}
    said = form.forecast(seen, origins - first, data.horizon)
    truth = values[origins[:, None] - first + np.arange(1, data.horizon + 1)]
    errors = np.abs((np.exp(said) if log else said) - truth)
    scores = {"mae": float(errors.mean()), "mase": float(errors.mean() / data.naive_errors[0, 0])}
    if truth.all():
        scores["mape"] = float(100 * (errors / np.abs(truth)).mean())
    return {"ets": scores}


def guarded(data: "SeriesData") -> Base:
    """The linear part, unless a naive forecast beats it on the validation part by more than chance may."""
    series, origins = data.places("val")
    some = np.linspace(0, len(origins) - 1, min(MEASURED, len(origins))).round().astype(np.int64)
    series, origins = series[some], origins[some]
    ahead = origins[:, None] + np.arange(1, data.horizon + 1)
    truth = data.scaled(ahead, series)[..., : data.num_targets]
    if data.unknown is not None:
        truth = np.where(data.unknown[ahead][..., : data.num_targets], np.nan, truth)
    errors = {
        name: np.nan_to_num(np.abs(forecast - truth)).sum((1, 2))
        for name, forecast in data.references(origins, series).items()
        if name != "linear_ar"
    }
    ridge = errors.pop("ridge", None)
    best = min(errors, key=lambda name: float(errors[name].sum()))
    if ridge is not None:
        gained, chance = doubt((ridge - errors[best]).tolist(), data.horizon)
        if gained <= chance:
            return "linear"
    which = "there is too little to fit a linear part to" if ridge is None else (
        f"the linear part is worse than {best} on the validation part"
    )  # fmt: skip
    log.info("%s: the network forecasts the difference from %s", which, best)
    return "persistence" if best == "persistence" else "seasonal_naive"
