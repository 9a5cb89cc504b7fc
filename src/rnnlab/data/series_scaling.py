"""Time series as they are scaled, each column of each by a shift and a scale from its training part."""

from dataclasses import dataclass

import numpy as np

from rnnlab.data.series_parts import SeriesParts
from rnnlab.files.panel import Panel


@dataclass(frozen=True, eq=False)
class ScaledSeries:
    """Series, and what brings each column of each to a scale that a network reads.

    Attributes:
        panel: the series, without missing values but for those before the first known one.
        shift: ``(series, columns)``.
        scale: alike.
        log: whether the logarithm of the targets is scaled.
    """

    panel: Panel
    shift: np.ndarray
    scale: np.ndarray
    log: bool

    @property
    def num_targets(self) -> int:
        return len(self.panel.columns.target)

    def rows(self, origins: np.ndarray, series: np.ndarray, first: int, last: int) -> np.ndarray:
        """``(batch, last + 1 - first)`` rows from ``first`` to ``last`` steps after ``(batch,)`` rows of ``(batch,)``
        series; the first row of a series stands for those before it.
        """
        rows = origins[:, None] + np.arange(first, last + 1)
        return np.maximum(rows, self.panel.starts[series][:, None])

    def exact(self, rows: np.ndarray, series: np.ndarray) -> np.ndarray:
        """``(batch, steps, columns)`` of ``(batch, steps)`` rows of ``(batch,)`` series; 0, the mean, where unknown."""
        return np.nan_to_num(self.scaled(self.panel.values[rows], series), copy=False)

    def scaled(self, values: np.ndarray, series: np.ndarray) -> np.ndarray:
        """``(batch, steps, columns)`` of values, in units, of ``(batch,)`` series; not a number where unknown."""
        if self.log:
            values = values.copy()
            values[..., : self.num_targets] = np.log(values[..., : self.num_targets])
        return (values - self.shift[series][:, None]) / self.scale[series][:, None]

    def unscaled(self, scaled: np.ndarray, series: np.ndarray) -> np.ndarray:
        """The values again."""
        values = scaled * self.scale[series][:, None] + self.shift[series][:, None]
        if self.log:
            values[..., : self.num_targets] = np.exp(values[..., : self.num_targets])
        return values

    def targets(self, rows: np.ndarray, series: np.ndarray) -> np.ndarray:
        """``(batch, steps, targets)`` alike, not a number where unknown."""
        found, unknown = self.exact(rows, series)[..., : self.num_targets], self.panel.unknown
        if unknown is None or not unknown[rows, : self.num_targets].any():
            return found
        return np.where(unknown[rows, : self.num_targets], np.nan, found)


def find_moments(data: SeriesParts, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Each ``(series, columns)``, of the logarithms of the targets or of the targets."""
    parts, columns = data.training_parts(), data.panel.values.shape[1]
    if data.scaling == "none":
        return np.zeros((len(parts), columns)), np.ones((len(parts), columns))
    rows = slice(*parts[0]) if len(parts) == 1 else np.concatenate([np.arange(*part) for part in parts])
    together = _moments(data, rows, log)
    together[1][~(together[1] > 0)] = 1.0
    if len(parts) == 1 or data.scale_together:
        shift, scale = (np.repeat(each[None], len(parts), 0) for each in together)
        return shift, scale
    each = [_moments(data, slice(*part), log) for part in parts]
    shift, scale = (np.stack([pair[number] for pair in each]) for number in (0, 1))
    # a series that never changes, or is not there yet, in the training part is scaled as all together
    known = np.isfinite(shift)
    shift = np.where(known, shift, together[0])
    scale = np.where(known & (scale > 0), scale, together[1])
    return shift, scale


def _moments(data: SeriesParts, rows: slice | np.ndarray, log: bool) -> tuple[np.ndarray, np.ndarray]:
    shift = np.full(data.panel.values.shape[1], np.nan)
    scale = shift.copy()
    for column in range(len(shift)):
        values = data.panel.values[rows, column]
        if data.unknown is not None:
            values = values[~data.unknown[rows, column]]
        if log and column < data.num_targets:
            values = np.log(values)
        if not len(values):
            continue
        if data.scaling == "minmax":
            shift[column], scale[column] = values.min(), values.max() - values.min()
        else:
            shift[column], scale[column] = values.mean(), values.std()
    return shift, scale
