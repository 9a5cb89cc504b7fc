"""What is learned from the training part of time series before any network is: scaling, a linear part, references."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rnnlab.data.autoregression import Autoregression
from rnnlab.data.layout import Base
from rnnlab.data.linear import Linear
from rnnlab.data.linear_fit import Choice, Training, choose, keeps_level
from rnnlab.data.series_parts import SeriesParts
from rnnlab.data.series_references import (
    Classical,
    References,
    classical_forecasts,
    fit_autoregression,
    guarded,
    naive_errors,
    reference_errors,
    training_means,
    usual_values,
)
from rnnlab.data.series_scaling import ScaledSeries, find_moments
from rnnlab.data.series_suggestions import suggested_calendar
from rnnlab.data.split import SplitName
from rnnlab.data.trained_series import learned


@dataclass(kw_only=True, eq=False)
class LearnedSeries(SeriesParts):
    """Series whose training part has been looked at; each property is computed when it is first asked for."""

    # ---- scaling --------------------------------------------------------------------------------

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """The shift and the scale, each ``(series, columns)``, of the training part."""
        shift, scale = (learned(self, self.panel.names, key) for key in ("shift", "scale"))
        if shift is not None and scale is not None:
            return shift, scale
        return self.moments_of(bool(self.log))

    @cached_property
    def _found_moments(self) -> dict[bool, tuple[np.ndarray, np.ndarray]]:
        return {}

    def moments_of(self, log: bool) -> tuple[np.ndarray, np.ndarray]:
        """The same, of the logarithms of the targets or not: asked for by every candidate of the linear part."""
        if log not in self._found_moments:
            self._found_moments[log] = find_moments(self, log)
        return self._found_moments[log]

    @cached_property
    def scaled(self) -> ScaledSeries:
        """The series as they are scaled."""
        return ScaledSeries(self.panel, *self.moments, bool(self.log))

    def exact(self, rows: np.ndarray, series: np.ndarray) -> np.ndarray:
        """See :meth:`rnnlab.data.series_scaling.ScaledSeries.exact`."""
        return self.scaled.exact(rows, series)

    @cached_property
    def naive_errors(self) -> np.ndarray:
        """``(series, targets)`` mean absolute error of a naive one-step forecast on the training part, seasonal where
        there is a season: the unit of the mean absolute scaled error (Hyndman and Koehler 2006).
        """
        return naive_errors(self)

    # ---- the linear part ------------------------------------------------------------------------

    @property
    def training(self) -> Training:
        """What the linear part is fitted to."""
        unknown = None if self.unknown is None else self.unknown[:, : self.num_targets]
        parts, panel = self.training_parts(), self.panel
        return Training(panel.values, unknown, panel.times, parts, panel.columns, self.moments_of)

    @property
    def keeps_level(self) -> bool:
        """Whether the level of the training part stays what it was."""
        training = self.training
        return keeps_level(training, training.scaled(bool(self.log)))

    @cached_property
    def _choice(self) -> Choice | None:
        """Whether logarithms are taken, and of what the linear part is made."""
        targets = np.concatenate([self.observed(slice(*part)) for part in self.training_parts()])
        logs = [bool(self.log)]
        if self.log is None:
            logs = [False, True] if (targets[np.isfinite(targets)] > 0).all() else [False]
        # when the next row comes nobody knows
        cycles = () if self.tells_elapsed else suggested_calendar(self.panel, self.training_parts())
        return choose(self.training, self.horizon, self.seasons, logs, cycles)

    @property
    def better_in_logarithms(self) -> bool:
        """Whether a linear part of logarithms is the better one."""
        return self._choice is not None and self._choice.log

    @cached_property
    def ridge(self) -> Linear | None:
        """The linear part; ``None`` where there is none."""
        if self.trained is not None:
            plain = self.trained.get("linear")
            return Linear.from_plain(plain) if plain else None
        if not self.wants_linear or self._choice is None:
            return None
        return self._choice.fit(self.training, self.horizon)

    @cached_property
    def refitted(self) -> Linear | None:
        """The linear part, fitted once more on training and validation together, by which the test is forecast, and
        all that is new; ``None`` where there is none.
        """
        if self.trained is not None:
            plain = self.trained.get("refitted") or self.trained.get("linear")
            return Linear.from_plain(plain) if plain else None
        if self.ridge is None or self._choice is None:
            return None
        both = [(start, int(end)) for (start, _), end in zip(self.training_parts(), self.ends[:, 1], strict=True)]
        if self.log and any((self.observed(slice(*part)) <= 0).any() for part in both):  # has no logarithm
            return self.ridge
        return self._choice.fit(replace(self.training, parts=both), self.horizon)

    @cached_property
    def base(self) -> Base:
        """The forecast from which the network forecasts the difference."""
        if self.trained is not None and "base" in self.trained:
            return self.trained["base"]
        if self.wants_linear and self.trained is None:
            return guarded(self, self.references_of("val"))
        if self.residual_of != "none":
            return self.residual_of
        by_scaling: dict[str, Base] = {"last": "persistence", "seasonal": "seasonal_naive", "mean": "mean"}
        return by_scaling.get(self.window_scaling or "global", "none")

    # ---- forecasts to be held against -------------------------------------------------------------

    @cached_property
    def autoregression(self) -> Autoregression:
        """The linear autoregression of the scaled targets, fitted on the training part."""
        return fit_autoregression(self, self.scaled)

    @cached_property
    def usual(self) -> np.ndarray | None:
        """See :func:`rnnlab.data.series_references.usual_values`."""
        return usual_values(self, *self.moments)

    @cached_property
    def mean(self) -> np.ndarray | None:
        """See :func:`rnnlab.data.series_references.training_means`."""
        return training_means(self, self.scaled)

    def references_of(self, split: SplitName) -> References:
        """The simple predictors of a split."""
        linear = self.ridge if split != "test" else self.refitted
        return References(self.scaled, self.horizon, self.season, self.autoregression, linear, self.usual, self.mean)

    def references(self, origins: np.ndarray, series: np.ndarray, split: SplitName = "train") -> dict[str, np.ndarray]:
        """``(batch, horizon, targets)`` scaled forecasts of each simple predictor, made at ``(batch,)`` origins of a
        split.
        """
        return self.references_of(split).forecasts(origins, series)

    @cached_property
    def reference_errors(self) -> dict[str, np.ndarray]:
        """``(horizon, targets)`` root mean square error of each reference on training windows, scaled."""
        return reference_errors(self, self.references_of("train"), self.base)

    def classical(self) -> dict[str, Classical]:
        """See :func:`rnnlab.data.series_references.classical_forecasts`."""
        return classical_forecasts(self, self.naive_errors)
