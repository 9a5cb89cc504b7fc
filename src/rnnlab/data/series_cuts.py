"""Where the training, the validation and the test part of all series end, and where their windows lie."""

from typing import TYPE_CHECKING

import numpy as np

from rnnlab.errors import InputError
from rnnlab.files.panel import show

if TYPE_CHECKING:
    from rnnlab.data.series import SeriesData


def cut_times(data: "SeriesData") -> np.ndarray:
    """``(3,)`` times: of the first validation target, of the first test target, and the first after the test."""
    panel = data.panel
    # a clock that was set back shows an hour twice
    times = np.maximum.accumulate(panel.times) if len(panel.names) == 1 else np.unique(panel.times)
    last = len(times) if data.end is None else int(np.searchsorted(times, _time(data, "end"), "right"))
    test = last - round(last * data.test_fraction)
    if data.test_start is not None:
        test = int(np.searchsorted(times, _time(data, "test_start")))
    val = test - round(last * data.val_fraction)
    if data.val_start is not None:
        val = int(np.searchsorted(times, _time(data, "val_start")))
    chosen = (data.val_start, data.test_start, data.end) != (None, None, None)
    if chosen and not 0 < val < test < last:
        raise InputError(
            f"data.val_start={data.val_start}, data.test_start={data.test_start} and data.end={data.end} must come "
            f"in this order; the times reach from {show(times[0])} to {show(times[-1])}"
        )
    if data.folds is not None:
        pieces = np.linspace(test, last, data.folds + 1).round().astype(int)
        val, test, last = pieces[data.fold] - (test - val), pieces[data.fold], pieces[data.fold + 1]
    after = times[-1:] + (1 if times.dtype.kind != "M" else np.timedelta64(1, "us"))
    times = np.concatenate([times, after])
    return times[[max(val, 0), test, last]]


def _time(data: "SeriesData", key: str) -> np.generic:
    value, times = getattr(data, key), data.panel.times
    try:
        return np.datetime64(str(value)) if times.dtype.kind == "M" else times.dtype.type(value)
    except ValueError:
        raise InputError(
            f"data.{key}={value} is no time of this data, such as {show(times[len(times) // 2])}"
        ) from None


def place(numbers: np.ndarray, first: np.ndarray, counts: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """The series and the origin of ``(batch,)`` windows, which are numbered series by series."""
    ends = np.cumsum(counts)
    series = np.searchsorted(ends, numbers, "right")
    return series, first[series] + (numbers - (ends - counts)[series]) * stride
