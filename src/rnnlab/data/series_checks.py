"""Time series that are too short for the windows that are asked of them, or of which too little is known."""

import numpy as np

from rnnlab.data.series_parts import SeriesParts
from rnnlab.data.series_suggestions import WINDOW
from rnnlab.data.split import SPLITS
from rnnlab.errors import InputError
from rnnlab.files.panel import show

NAMES = {"train": "training", "val": "validation", "test": "test"}


def check_windows(data: SeriesParts) -> None:
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
        if data.origins_of(split).total:
            continue
        starts = panel.starts[:-1] if split == "train" else data.ends[:, SPLITS.index(split) - 1]
        there = int((data.ends[:, SPLITS.index(split)] - starts).max())
        rows = needed if split == "train" else data.horizon
        now = "" if getattr(data, key) is None else f"data.{key}={getattr(data, key)}, "
        where = f", data.folds={data.folds}" if data.folds else ""
        raise InputError(
            f"the {NAMES[split]} part has {there:,} rows, and {window} needs {rows:,} there: make it smaller, or "
            f"cut the parts elsewhere ({now}data.val_fraction={data.val_fraction:.3g}, "
            f"data.test_fraction={data.test_fraction:.3g}{where})"
        )
    longest = int((data.ends[:, 0] - panel.starts[:-1]).max())
    if data.ar_order is not None and data.ar_order + data.horizon >= longest:
        raise InputError(
            f"data.ar_order={data.ar_order}: the training part has {longest:,} rows, too few for so many lags and "
            f"data.horizon={data.horizon}"
        )
    if data.trained is None:
        _refuse_unknown(data)


def _refuse_unknown(data: SeriesParts) -> None:
    """Raises InputError where the training part knows no value of a target that would be forecast in it, or none
    at all of another column.
    """
    if data.unknown is None:
        return
    origins = data.origins_of("train").first
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
