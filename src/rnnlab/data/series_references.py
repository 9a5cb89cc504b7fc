"""Forecasts that those of a network are held against: naive ones, an autoregression, exponential smoothing."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnlab.data import autoregression, smoothing
from rnnlab.data.autoregression import Autoregression
from rnnlab.data.layout import Base
from rnnlab.data.linear import Linear
from rnnlab.data.linear_fit import candidate_orders
from rnnlab.data.series_parts import SeriesParts
from rnnlab.data.series_scaling import ScaledSeries
from rnnlab.data.series_suggestions import WINDOW
from rnnlab.data.trained_series import learned
from rnnlab.student import doubt

LONGEST_ORDER = 24
"""Of an autoregression whose order nobody gave, and no less than some seasons."""
USUAL = 0.5
"""Share of the training values that one value has, above which it is a forecast of its own."""
MEASURED = 4096
"""Windows on which the errors of the reference forecasts are measured, evenly spaced."""
log = logging.getLogger("rnnlab")


@dataclass(frozen=True, eq=False)
class References:
    """Simple predictors of some series, each of which is there where it can be.

    Attributes:
        scaled: the series.
        horizon: steps ahead.
        season: steps of a season.
        autoregression: of the scaled targets.
        linear: the linear part.
        usual: ``(series, targets)`` scaled, the value that more than half of the training part has.
        mean: ``(series, targets)`` scaled, the mean of the training part.
    """

    scaled: ScaledSeries
    horizon: int
    season: int | None = None
    autoregression: Autoregression | None = None
    linear: Linear | None = None
    usual: np.ndarray | None = None
    mean: np.ndarray | None = None

    def forecasts(self, origins: np.ndarray, series: np.ndarray) -> dict[str, np.ndarray]:
        """``(batch, horizon, targets)`` scaled forecasts of each, made at ``(batch,)`` rows of ``(batch,)`` series."""
        lag = self.season or 1
        orders = [fitted.order for fitted in (self.autoregression, self.linear) if fitted is not None]
        before = max(lag, *orders, 1) - 1
        rows = self.scaled.rows(origins, series, -before, self.horizon)
        known = self.scaled.exact(rows, series)
        past = known[:, : before + 1, : self.scaled.num_targets].astype(np.float32)
        found = {"persistence": _naive(past, 1, self.horizon)}
        if self.season is not None:
            found["seasonal_naive"] = _naive(past, lag, self.horizon)
        for name, values in (("most_frequent", self.usual), ("training_mean", self.mean)):
            if values is not None:
                same = values[series][:, None].astype(np.float32)
                found[name] = np.broadcast_to(same, (len(series), self.horizon, same.shape[-1]))
        if self.autoregression is not None:
            found["linear_ar"] = self.autoregression.forecast(past)
        if self.linear is not None:
            panel, at = self.scaled.panel, np.array([before])
            times = panel.times[rows[:, at + 1]]
            found["ridge"] = self.linear.forecast(known, at, times, panel.columns, self.horizon)[:, 0]
        return found


def _naive(scaled: np.ndarray, lag: int, horizon: int) -> np.ndarray:
    """``(batch, horizon, targets)``: the last known value of the same season (persistence with a lag of 1).

    Args:
        scaled: ``(batch, steps, targets)`` up to the origin, at least ``lag`` steps.
        lag: steps of a season.
        horizon: steps ahead.
    """
    back = [scaled.shape[1] - lag + step % lag for step in range(horizon)]
    return scaled[:, back]


def fit_autoregression(data: SeriesParts, scaled: ScaledSeries) -> Autoregression:
    """The linear autoregression of the scaled targets, fitted on the training part."""
    if data.trained is not None:
        constant, weights = (np.array(data.trained[key]) for key in ("constant", "weights"))
        models = data.horizon if data.strategy == "direct" else 1
        if len(weights) == models and data.ar_order in (None, weights.shape[1]):
            return Autoregression(constant, weights, data.horizon)
    panel, parts = data.panel, data.training_parts()
    x = np.empty((len(panel.values), data.num_targets), np.float32)
    for series, (start, _) in enumerate(parts):
        rows = np.arange(start, panel.starts[series + 1])
        x[rows] = scaled.exact(rows[None], np.array([series]))[0, :, : data.num_targets]
    longest = max(LONGEST_ORDER, *candidate_orders(data.seasons, data.horizon))
    direct = data.strategy == "direct"
    return autoregression.fit(x, data.unknown, parts, data.horizon, data.ar_order, longest, direct)


def usual_values(data: SeriesParts, shift: np.ndarray, scale: np.ndarray) -> np.ndarray | None:
    """``(series, targets)`` scaled, the value that more than half of the known training values have, such as the zero
    of demand that comes now and then; ``None`` where a target has none, or its logarithm is learned.
    """
    if data.log:
        return None
    if data.trained is not None:
        return learned(data, data.panel.names, "usual") if data.trained.get("usual") else None
    k = data.num_targets
    values = np.concatenate([data.observed(slice(*part)) for part in data.training_parts()])
    usual = np.full(k, np.nan)
    for target in range(k):
        known, counts = np.unique(values[np.isfinite(values[:, target]), target], return_counts=True)
        if len(known) > 1 and counts.max() > USUAL * counts.sum():
            usual[target] = known[counts.argmax()]
    return (usual - shift[:, :k]) / scale[:, :k] if np.isfinite(usual).all() else None


def training_means(data: SeriesParts, scaled: ScaledSeries) -> np.ndarray | None:
    """``(series, targets)`` scaled, the mean of the training part; ``None`` where the last value, or that of a season
    ago, is nearer to what follows in it: then the mean would stand beside every network and say nothing.
    """
    if data.trained is not None:
        return learned(data, data.panel.names, "mean") if data.trained.get("mean") else None
    k, parts = data.num_targets, [data.observed(slice(*part)) for part in data.training_parts()]

    def mean(values: np.ndarray) -> list[float]:
        return [
            float(column[np.isfinite(column)].mean()) if np.isfinite(column).any() else np.nan for column in values.T
        ]

    means = np.array([mean(values) for values in parts])
    means = np.where(np.isfinite(means), means, mean(np.concatenate(parts)))
    if not np.isfinite(means).all():
        return None
    found = ((np.log(means) if data.log else means) - scaled.shift[:, :k]) / scaled.scale[:, :k]
    series, origins, truth = _measured(data, scaled)
    forecasts = References(scaled, data.horizon, data.season, mean=found).forecasts(origins, series)
    errors = {name: float(np.nansum(np.square(truth - forecast))) for name, forecast in forecasts.items()}
    return found if min(errors, key=errors.__getitem__) == "training_mean" else None


def _measured(data: SeriesParts, scaled: ScaledSeries) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The training windows on which forecasts are measured: ``(windows,)`` series and origins, and what came,
    ``(windows, horizon, targets)`` scaled.
    """
    windows = data.origins_of("train")
    series, origins = windows.some(MEASURED, windows.total)
    rows = scaled.rows(origins, series, 1, data.horizon)
    return series, origins, scaled.targets(rows, series).astype(np.float32)


def reference_errors(data: SeriesParts, references: References, base: Base) -> dict[str, np.ndarray]:
    """``(horizon, targets)`` root mean square error of each reference on training windows, scaled."""
    of_run: Mapping[str, Any] = {} if data.trained is None else data.trained["errors"]
    if of_run and np.shape(of_run["persistence"])[0] == data.horizon:
        return {name: np.asarray(errors, np.float32) for name, errors in of_run.items()}
    found, scaled = {}, references.scaled
    series, origins, truth = _measured(data, scaled)
    forecasts = references.forecasts(origins, series)
    if base == "mean":
        rows = scaled.rows(origins, series, 1 - (data.season or data.length or WINDOW), 0)
        past = scaled.exact(rows, series)[..., : data.num_targets].astype(np.float32)
        forecasts["mean"] = past.mean(1, keepdims=True)
    for name, forecast in forecasts.items():
        squares = np.square(truth - forecast)
        known = np.isfinite(squares)
        mean = np.where(known, squares, 0).sum(0) / np.maximum(known.sum(0), 1)
        found[name] = np.where(mean > 0, np.sqrt(mean), 1.0).astype(np.float32)
    return found


def naive_errors(data: SeriesParts) -> np.ndarray:
    """``(series, targets)`` mean absolute error of a naive one-step forecast on the training part, seasonal where
    there is a season: the unit of the mean absolute scaled error (Hyndman and Koehler 2006).
    """
    of_run = learned(data, data.panel.names, "naive_errors")
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


@dataclass(frozen=True, eq=False)
class Classical:
    """Forecasts of the test windows by classical statistics, in the data's units.

    Attributes:
        said: ``(windows, horizon)``, in the order of the test.
        truth: what came, alike.
        unit: of the mean absolute scaled error.
    """

    said: np.ndarray
    truth: np.ndarray
    unit: float

    @property
    def scores(self) -> dict[str, float]:
        """By name."""
        errors = np.abs(self.said - self.truth)
        scores = {"mae": float(errors.mean()), "mase": float(errors.mean() / self.unit)}
        if self.truth.all():
            scores["mape"] = float(100 * (errors / np.abs(self.truth)).mean())
        return scores


def classical_forecasts(data: SeriesParts, naive_errors: np.ndarray) -> dict[str, Classical]:
    """By name; exponential smoothing (:mod:`rnnlab.data.smoothing`) of one series without missing values, where
    statsmodels is installed.
    """
    _, origins = data.places("test")
    if len(data.panel.names) > 1 or data.num_targets > 1 or data.unknown is not None or not smoothing.is_there():
        return {}
    first = max(0, int(origins.min()) + 1 - smoothing.MOST_ROWS)
    if (int(origins.max()) - first) + len(origins) * data.horizon > smoothing.MOST_FORECASTS:
        return {}
    values = data.panel.values[first:, 0].astype(float)
    seen = np.log(values) if data.log else values
    season = data.season or 1
    if season > smoothing.LONGEST_SEASON:  # the longest that it can have: a day of hours in place of a week
        season = max((each for each in data.panel.seasons if each <= smoothing.LONGEST_SEASON), default=1)
    form = smoothing.fit_smoothing(seen[: int(origins.min()) + 1 - first], season)
    if form is None:
        return {}
    said = form.forecast(seen, origins - first, data.horizon)
    truth = values[origins[:, None] - first + np.arange(1, data.horizon + 1)]
    return {"ets": Classical(np.exp(said) if data.log else said, truth, float(naive_errors[0, 0]))}


def guarded(data: SeriesParts, references: References) -> Base:
    """The linear part, unless a naive forecast beats it on the validation part by more than chance may: then it gives
    way to that, and where that is one value for all to none, so that the values themselves are learned.
    """
    scaled = references.scaled
    series, origins = data.origins_of("val").some(MEASURED, data.size("val"))
    truth = scaled.targets(scaled.rows(origins, series, 1, data.horizon), series).astype(np.float32)
    errors = {
        name: np.nan_to_num(np.abs(forecast - truth)).sum((1, 2))
        for name, forecast in references.forecasts(origins, series).items()
        if name not in ("linear_ar", "training_mean")
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
    if best == "most_frequent":
        log.info("%s: the network forecasts the values themselves", which)
        return "none"
    log.info("%s: the network forecasts the difference from %s", which, best)
    return "persistence" if best == "persistence" else "seasonal_naive"
