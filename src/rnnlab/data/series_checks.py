"""What cannot work of the options and the values of a time series, said before anything is learned."""

from typing import TYPE_CHECKING

import numpy as np

from rnnlab.data.series_suggestions import WINDOW
from rnnlab.data.split import SPLITS
from rnnlab.errors import InputError
from rnnlab.files.panel import Panel, show

if TYPE_CHECKING:
    from rnnlab.data.series import SeriesData

NAMES = {"train": "training", "val": "validation", "test": "test"}


def check_options(data: "SeriesData") -> None:
    """Raises InputError where options contradict each other."""
    if data.tells_elapsed and data.strategy == "recursive":
        raise InputError(
            "data.gaps=elapsed and data.strategy=recursive: a forecast that is fed back needs the time until its "
            "step, which nobody knows: use data.strategy=direct"
        )
    if data.fold >= (data.folds or 1):
        raise InputError(f"data.fold={data.fold}: folds are numbered from 0, and data.folds={data.folds}")
    if not data.is_direct and data.window_scaling not in (None, "global"):
        raise InputError(
            f"data.window_scaling={data.window_scaling} is for data.strategy=direct: a recursive forecast of "
            f"data.horizon={data.horizon} feeds back values and no differences"
        )
    if data.linear == "ridge" and not data.is_direct:
        raise InputError(
            f"data.linear=ridge is for data.strategy=direct: a recursive forecast of data.horizon={data.horizon} "
            "feeds back values and no differences"
        )
    if data.linear == "ridge" and data.residual_of != "none":
        raise InputError(
            f"data.linear=ridge and data.residual_of={data.residual_of}: the network forecasts the difference "
            "from one of them: use data.residual_of=none or data.linear=none"
        )
    if data.strategy == "recursive" and data.horizon > 1 and data.residual_of != "none":
        raise InputError(
            f"data.residual_of={data.residual_of} is for data.strategy=direct: a recursive forecast of "
            f"data.horizon={data.horizon} feeds back values and no differences"
        )


def check_values(data: "SeriesData", panel: Panel) -> None:
    """Raises InputError where the options do not fit the columns, or a value is missing or has no logarithm."""
    columns = panel.columns
    if data.strategy == "recursive" and data.horizon > 1 and columns.past:
        raise InputError(
            f"data.past={list(columns.past)}: nobody knows them in advance, and data.strategy=recursive needs them "
            f"for each step up to data.horizon={data.horizon}: use data.strategy=direct"
        )
    if data.calendar and panel.times.dtype.kind != "M":
        raise InputError(f"data.calendar={list(data.calendar)} needs dates, and the times of this data are numbers")
    if data.missing == "error":
        row, column = next(zip(*np.nonzero(np.isnan(panel.values)), strict=True), (None, 0))
        if row is not None:
            total = int(np.isnan(panel.values).sum())
            raise InputError(
                f"{panel.place(int(row))}, column '{columns.numbers[int(column)]}': there is no value "
                f"({total:,} are missing): data.missing=forward carries the last known one on, data.missing=mask "
                "also tells the network so"
            )
    if data.log:
        with np.errstate(invalid="ignore"):
            row, column = next(zip(*np.nonzero(panel.values[:, : len(columns.target)] <= 0), strict=True), (None, 0))
        if row is not None:
            raise InputError(
                f"data.log=true: {panel.place(int(row))}, column '{columns.target[int(column)]}': "
                f"{panel.values[row, column]:g} has no logarithm"
            )


def check_windows(data: "SeriesData") -> None:
    """Raises InputError where a part of the data has too few rows for a window."""
    panel = data.panel
    for key, value in (("residual_of", data.residual_of), ("window_scaling", data.window_scaling)):
        if value in ("seasonal_naive", "seasonal") and data.season is None:
            raise InputError(f"data.{key}={value} needs data.period, the steps of a season")
    window = f"a window of data.length={data.length} and data.horizon={data.horizon} steps"
    length = data.length or WINDOW
    needed = data.reach + length + data.horizon
    sizes = np.diff(panel.starts)
    short = np.flatnonzero(sizes < needed)
    if len(short):
        which = f"series '{panel.names[short[0]]}' has" if len(panel.names) > 1 else "this data has"
        more = f" (and {len(short) - 1} more series are too short)" if len(short) > 1 else ""
        raise InputError(f"{which} {sizes[short[0]]:,} rows, and {window} needs {needed:,}{more}: make it smaller")
    for split, key in zip(SPLITS, ("val_start", "test_start", "end"), strict=True):
        if data.origins_of(split)[1].sum():
            continue
        starts = panel.starts[:-1] if split == "train" else data.ends[:, SPLITS.index(split) - 1]
        there = int((data.ends[:, SPLITS.index(split)] - starts).max())
        rows = needed if split == "train" else data.horizon
        where = f", data.folds={data.folds}" if data.folds else ""
        raise InputError(
            f"the {NAMES[split]} part has {there:,} rows, and {window} needs {rows:,} there: make it smaller, or "
            f"cut the parts elsewhere (data.{key}={getattr(data, key)}, data.val_fraction={data.val_fraction}, "
            f"data.test_fraction={data.test_fraction}{where})"
        )
    longest = int((data.ends[:, 0] - panel.starts[:-1]).max())
    if data.ar_order is not None and data.ar_order + data.horizon >= longest:
        raise InputError(
            f"data.ar_order={data.ar_order}: the training part has {longest:,} rows, too few for so many lags and "
            f"data.horizon={data.horizon}"
        )
    if data.trained is None:
        _refuse_unknown(data)


def _refuse_unknown(data: "SeriesData") -> None:
    """Raises InputError where the training part knows no value of a target that would be forecast in it, or none
    at all of another column.
    """
    if data.unknown is None:
        return
    origins = data.origins_of("train")[0]
    for column, name in enumerate(data.panel.columns.numbers):
        is_target = column < data.num_targets
        begins = origins + 1 if is_target else data.panel.starts[:-1]
        rows = [slice(int(begin), end) for begin, (_, end) in zip(begins, data.training_parts(), strict=True)]
        if all(data.unknown[part, column].all() for part in rows):
            after = (
                f" after the first {data.reach + (data.length or WINDOW)} steps, the first window" if is_target else ""
            )
            raise InputError(
                f"column '{name}': the training part, up to {show(data.cuts[0])}, has no known value of it{after}: "
                "there is nothing to learn from"
            )
