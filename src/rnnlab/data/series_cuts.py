"""Where the training, the validation and the test part of all series end, and where their windows lie."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from rnnlab.data.series_options import SeriesOptions
from rnnlab.errors import InputError
from rnnlab.files.panel import Panel, show
from rnnlab.files.times import moment

USUAL_SHARE, LARGEST_SHARE = 0.1, 0.2
"""Of the times, that validation and test have each where nobody says, and as far as it goes where they are few."""
FORECASTS = 8
"""That a part of few times is to have room for: by one or two nothing can be chosen, and nothing be judged."""


def held_out_share(options: SeriesOptions, panel: Panel) -> float:
    """The share of the times that validation and test have each where nobody says: a tenth, or what some forecasts
    need.
    """
    _, last = _times(options, panel)
    return max(USUAL_SHARE, min((options.horizon + FORECASTS - 1) / max(last, 1), LARGEST_SHARE))


def cut_times(options: SeriesOptions, panel: Panel) -> np.ndarray:
    """``(3,)`` times: of the first validation target, of the first test target, and the first after the test."""
    times, last = _times(options, panel)
    test = last - round(last * options.test_fraction)
    if options.test_start is not None:
        test = int(np.searchsorted(times, _time(options, panel, "test_start")))
    val = test - round(last * options.val_fraction)
    if options.val_start is not None:
        val = int(np.searchsorted(times, _time(options, panel, "val_start")))
    _check_cuts(options, times, {"val_start": val, "test_start": test, "end": last})
    if options.folds is not None:
        pieces = np.linspace(test, last, options.folds + 1).round().astype(int)
        val, test, last = pieces[options.fold] - (test - val), pieces[options.fold], pieces[options.fold + 1]
    after = times[-1:] + (1 if times.dtype.kind != "M" else np.timedelta64(1, "us"))
    times = np.concatenate([times, after])
    return times[[max(val, 0), test, last]]


def _times(options: SeriesOptions, panel: Panel) -> tuple[np.ndarray, int]:
    """All times in order, and how many of them are used."""
    # a clock that was set back shows an hour twice
    times = np.maximum.accumulate(panel.times) if len(panel.names) == 1 else np.unique(panel.times)
    if options.end is None:
        return times, len(times)
    return times, int(np.searchsorted(times, _time(options, panel, "end"), "right"))


def _check_cuts(options: SeriesOptions, times: np.ndarray, cuts: Mapping[str, int]) -> None:
    """Raises InputError where a time that is given leaves a part of the data without times.

    Args:
        options: with the times that are given.
        times: in order.
        cuts: by key the number of the first time of the part, or of the first one that is not used any more.
    """
    given = {key: value for key in cuts if (value := getattr(options, key)) is not None}
    for key, value in given.items():
        if key != "end" and cuts[key] == len(times):
            raise InputError(f"data.{key}={value}: this data ends before, at {show(times[-1])}")
        if cuts[key] == 0:
            what = "it has no times up to there" if key == "end" else "there would be nothing to train on"
            raise InputError(f"data.{key}={value}: this data begins at {show(times[0])}: {what}")
    if not given or 0 < cuts["val_start"] < cuts["test_start"] < cuts["end"]:
        return
    parts = (("val_start", "validation", "val_fraction"), ("test_start", "test", "test_fraction"))
    places = [f"data.{key}={value}" for key, value in given.items()] + [
        f"the {part} part from {show(times[max(cuts[key], 0)])} on (data.{by}={getattr(options, by):.3g})"
        for key, part, by in parts
        if key not in given and cuts[key] < len(times)
    ]
    raise InputError(
        f"{' and '.join(places)}: a part is left without times; training, validation and test follow each other, and "
        f"this data reaches from {show(times[0])} to {show(times[-1])}"
    )


def _time(options: SeriesOptions, panel: Panel, key: str) -> np.generic:
    value, times = getattr(options, key), panel.times
    try:
        return moment(value, dated=times.dtype.kind == "M")
    except ValueError:
        first, last = show(times.min()), show(times.max())
        raise InputError(f"data.{key}={value} is no time of this data, which reaches from {first} to {last}") from None


class Origins(NamedTuple):
    """The last rows of the windows of a part of some series, the steps of whose forecasts all lie in that part.

    first
        ``(series,)`` row of each series' first one.
    counts
        ``(series,)`` how many each has.
    stride
        Steps from one to the next.
    """

    first: np.ndarray
    counts: np.ndarray
    stride: int

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def place(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The series and the row of ``(batch,)`` windows, which are numbered series by series."""
        ends = np.cumsum(self.counts)
        series = np.searchsorted(ends, numbers, "right")
        return series, self.first[series] + (numbers - (ends - self.counts)[series]) * self.stride

    def some(self, most: int, among: int) -> tuple[np.ndarray, np.ndarray]:
        """The series and the row of at most so many of the first ``among`` of them, evenly spaced."""
        return self.place(np.linspace(0, among - 1, min(most, among)).round().astype(np.int64))
