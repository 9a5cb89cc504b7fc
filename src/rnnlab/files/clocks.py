"""Clocks that are set forward and back for daylight saving: by which of them times were written, and how they go on."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from rnnlab.files.frequency import DAY, SATURDAY, Frequency, weekdays

HOUR = DAY // 24
NIGHT = 4
"""Hours of a Sunday within which clocks are changed."""
SEASON = (3, 4, 9, 10, 11)
"""The months in which they are."""
CLOCKS = (
    "UTC",  # which is never changed
    "Atlantic/Azores", "Europe/London", "Europe/Berlin", "Europe/Athens",
    "America/New_York", "America/Mexico_City", "Australia/Sydney", "Pacific/Auckland",
)  # fmt: skip
"""One place, by its name in the tz database, of all whose clocks are changed in the same nights at the same hour."""


def is_changed(frequency: Frequency) -> bool:
    """Whether times of this step show that a clock was changed: an hour is a whole number of steps."""
    return frequency.unit == "duration" and frequency.size <= HOUR and not HOUR % frequency.size


def clock_changes(times: np.ndarray, frequency: Frequency) -> np.ndarray:
    """``(rows - 1,)`` true where a local clock was set forward or back for daylight saving, and no step is missing.

    An hour is left out, or comes once more, in the night of a Sunday of spring or autumn: 02:00 is followed by 03:00's
    neighbour, or by 02:00. That is so wherever clocks go by the rules of Europe, the Americas or Australia.

    Args:
        times: ``(rows,)`` of one series, or of several with what lies between two of them.
        frequency: of the series.
    """
    if not is_changed(frequency) or len(times) < 2:
        return np.zeros(max(0, len(times) - 1), bool)
    differences = np.diff(times.astype("M8[us]")).astype(np.int64)
    forward, back = differences == frequency.size + HOUR, differences == frequency.size - HOUR
    # the first moment that was left out, or that comes again
    at = np.where(
        forward, times[:-1].astype("M8[us]") + np.timedelta64(frequency.size, "us"), times[1:].astype("M8[us]")
    )
    return (forward | back) & _in_a_night(at)


def clocks_of(times: np.ndarray, starts: Sequence[int] | np.ndarray, frequency: Frequency) -> tuple[str, ...]:
    """Those of :data:`CLOCKS` that show the times: all of them where no night is there in which one is changed.

    Args:
        times: ``(rows,)`` of series one after the other, rising but for the hour that a clock shows twice.
        starts: ``(series + 1,)`` the first row of each series, and the number of rows.
        frequency: of the series.
    """
    if not is_changed(frequency):
        return CLOCKS
    times = times.astype("M8[us]")
    # a step that is left out says nothing: only rows that follow each other do
    follows = (np.diff(times).astype(np.int64) == frequency.size) | clock_changes(times, frequency)
    follows[np.asarray(starts)[1:-1] - 1] = False
    pieces = np.concatenate([[0], np.cumsum(~follows)])
    # an hour before and one behind the night are shown once by every clock
    rows = np.flatnonzero(_in_a_night(times, around=2 * HOUR))
    return tuple(clock for clock in CLOCKS if _shows(clock, times[rows], rows, pieces[rows], frequency.size))


def _shows(clock: str, times: np.ndarray, rows: np.ndarray, pieces: np.ndarray, size: int) -> bool:
    """Whether a clock shows ``(n,)`` times of rows in pieces, a step of ``size`` microseconds from one to the next."""
    first, second = _moments(times, clock)
    if np.isnat(first).any():
        return False
    once = first == second
    moments, rows, pieces = first[once].astype(np.int64), rows[once], pieces[once]
    together = pieces[1:] == pieces[:-1]
    return bool((np.diff(moments) == size * np.diff(rows))[together].all())


def later(times: np.ndarray, steps: int, frequency: Frequency, clocks: Sequence[str]) -> tuple[np.ndarray, bool]:
    """``(steps,)`` times that come after those of a series, and whether that is sure.

    Where the clocks disagree they go on as of one that is not changed.

    Args:
        times: ``(rows,)`` of one series.
        steps: how many.
        frequency: of the series.
        clocks: of which one has shown them, by their names in the tz database; empty where none is known to have.
    """
    plain = frequency.after(times[-1], np.arange(1, steps + 1)).astype(times.dtype)
    if not is_changed(frequency) or not _in_a_night(np.concatenate([times[-1:], plain]), around=HOUR).any():
        return plain, True
    tail = times[-(4 * HOUR // frequency.size) :].astype("M8[us]")
    found = [shown for clock in clocks or CLOCKS for shown in _shown(clock, tail, steps, frequency.size)]
    if not found or any((shown != found[0]).any() for shown in found):
        return plain, False
    return found[0].astype(times.dtype), True


def _shown(clock: str, tail: np.ndarray, steps: int, size: int) -> list[np.ndarray]:
    """What a clock shows after the last rows of a series: two answers, where it shows the last of them twice and what
    stands before does not tell which it is.
    """
    first, second = _moments(tail, clock)
    follows = (np.diff(tail).astype(np.int64) == size) | clock_changes(tail, Frequency("duration", size))
    broken = np.flatnonzero(~follows)
    begin = int(broken[-1]) + 1 if len(broken) else 0
    once = begin + np.flatnonzero((first == second)[begin:])
    if len(once):
        last = [first[once[-1]] + np.timedelta64(int(len(tail) - 1 - once[-1]) * size, "us")]
    else:
        before = (np.arange(begin - len(tail) + 1, 1) * size).astype("m8[us]")
        last = [
            moment
            for moment in (first[-1], second[-1])
            if ((moment + before == first[begin:]) | (moment + before == second[begin:])).all()
        ]
    ahead = (np.arange(1, steps + 1) * size).astype("m8[us]")
    return [in_zone(moment + ahead, clock).dt.replace_time_zone(None).to_numpy() for moment in last]


def in_zone(moments: np.ndarray, zone: str) -> pl.Series:
    """``(n,)`` moments of UTC, as a column of polars that says what a clock shows and how far that is from UTC."""
    return pl.Series(moments.astype("M8[us]")).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)


def _moments(times: np.ndarray, clock: str) -> tuple[np.ndarray, np.ndarray]:
    """When, in UTC, a clock shows ``(n,)`` times for the first and for the second time, which are one and the same but
    in the hour that comes twice; not a time where it never does.
    """
    shown = pl.Series(times.astype("M8[us]"))
    first, second = (
        shown.dt.replace_time_zone(clock, ambiguous=which, non_existent="null").dt.convert_time_zone("UTC")
        for which in ("earliest", "latest")
    )
    return first.dt.replace_time_zone(None).to_numpy(), second.dt.replace_time_zone(None).to_numpy()


def _in_a_night(times: np.ndarray, around: int = 0) -> np.ndarray:
    """``(n,)`` whether times are in a night in which clocks may be changed, or so many microseconds before or after."""
    days = (times.astype("M8[us]") + np.timedelta64(around, "us")).astype("M8[D]")
    since = (times.astype("M8[us]") - days).astype(np.int64)
    month = days.astype("M8[M]").astype(np.int64) % 12 + 1
    return (since < NIGHT * HOUR + around) & np.isin(month, SEASON) & (weekdays(days) == SATURDAY + 1)
