"""Forecasts as columns of a table: what the network says of each value, beside what came."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from rnnlab.spec import DataSpec
from rnnlab.tasks.distribution import Distribution


@dataclass(frozen=True)
class ForecastColumns:
    """Names and fills the columns.

    Attributes:
        distribution: what is said of each value.
        spec: of the data, which names and scales them.
    """

    distribution: Distribution
    spec: DataSpec

    def beside_truth(self, forecast: Tensor, truth: Tensor) -> dict[str, Any]:
        """The columns of ``(n, values, parameters)`` forecasts and what came, in units."""
        columns: dict[str, Any] = {}
        for value, name in enumerate(self.value_names(truth.shape[-1])):
            columns[name] = truth[:, value].numpy()
            columns |= self._of_value(name, forecast[:, value])
        return columns

    def value_names(self, values: int) -> list[str]:
        """Of the first ``values`` numbers that are put out; direct forecasts name each value by its step ahead."""
        names = self.spec.target.names or tuple(map(str, range(values)))
        return [name.removesuffix(" +1") for name in names[:values]]

    def said(self, output: Tensor, moments: tuple[Tensor, Tensor] | None = None) -> dict[str, Any]:
        """What the network says; every quantile has a column of its own.

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
            columns |= self._of_value(name, forecast[:, value])
            further = self.distribution.columns(forecast[:, value])
            columns |= {f"{name} {which}": shown_digits(numbers) for which, numbers in further.items()}
        return columns

    def _of_value(self, name: str, forecast: Tensor) -> dict[str, Any]:
        """The columns of one value, of ``(n, parameters)`` in units."""
        interval = self.distribution.interval(forecast[:, None], self.spec.scaling.log)
        columns = {f"{name} predicted": shown_digits(self.distribution.point(forecast[:, None])[:, 0])}
        for end, bound in zip(("low", "high"), interval or (), strict=False):
            columns[f"{name} {end}{self.distribution.level}"] = shown_digits(bound[:, 0])
        return columns


def shown_digits(values: Tensor) -> np.ndarray:
    """``(n,)`` numbers as they are shown: those in double precision, which their shift has, by ten digits."""
    shown: np.ndarray = values.numpy(force=True)
    if shown.dtype != np.float64:
        return shown
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.where((shown != 0) & np.isfinite(shown), np.floor(np.log10(np.abs(shown))), 0.0)
    unit = 10.0 ** np.clip(9 - exponent, -300, 300)
    return np.where(np.isfinite(shown), np.round(shown * unit) / unit, shown)
