"""The shift and the scale of each series, from its training part."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rnnlab.data.series import SeriesData


def find_moments(data: "SeriesData", log: bool) -> tuple[np.ndarray, np.ndarray]:
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


def _moments(data: "SeriesData", rows: slice | np.ndarray, log: bool) -> tuple[np.ndarray, np.ndarray]:
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
