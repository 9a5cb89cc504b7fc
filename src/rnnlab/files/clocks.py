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
    shown = tuple(clock for clock in CLOCKS if _shows(clock, times[rows], rows, pieces[rows], frequency.size))
    return shown or _nearest(times, np.asarray(starts), frequency)


def _nearest(times: np.ndarray, starts: np.ndarray, frequency: Frequency) -> tuple[str, ...]:
    """Those of :data:`CLOCKS` that show times some of which are left out just where a clock is changed: by which at
    least one change is one, and the fewest are left out.
    """
    changes = clock_changes(times, frequency)
    if not changes.any():
        return ()
    missing = {}
    for clock in CLOCKS:
        moments = moments_of(times, starts, clock, frequency)
        steps = steps_between(moments, starts, frequency)
        near = _in_a_night(times, around=2 * HOUR)
        near = near[1:] | near[:-1]
        if (steps[near] > 0).all() and (steps[changes] == 1).any():
            missing[clock] = int((steps[near] - 1).sum())
    return tuple(clock for clock, number in missing.items() if number == min(missing.values()))


def moments_of(times: np.ndarray, starts: np.ndarray, clock: str, frequency: Frequency) -> np.ndarray:
    """``(rows,)`` when, in UTC, a clock showed the times of series one after the other; not a time where it never did.

    In the hour that comes twice rows are of its first time until they go back. Where they do not, they are of its
    second time only if that joins on to what follows, and the first does not to what comes before.
    """
    first, second = _moments(times, clock)
    twice = np.flatnonzero(first != second)
    twice = twice[~np.isnat(first[twice])]
    moments, step = first.copy(), np.timedelta64(frequency.size, "us")
    series = np.searchsorted(starts, np.arange(len(times)), "right")
    ends = np.flatnonzero((np.diff(twice) != 1) | (np.diff(series[twice]) != 0)) + 1
    for run in np.split(twice, ends) if len(twice) else ():
        begin, last = int(run[0]), int(run[-1])
        back = np.flatnonzero(np.diff(times[run]) <= np.timedelta64(0, "us"))
        if len(back):
            later_rows = run[back[0] + 1 :]
            moments[later_rows] = second[later_rows]
            continue
        follows = begin > 0 and series[begin - 1] == series[begin] and first[begin - 1] + step == first[begin]
        ends_here = last + 1 == len(times) or series[last + 1] != series[last]
        if not follows and not ends_here and second[last] + step == first[last + 1]:
            moments[run] = second[run]
    return moments


def steps_between(moments: np.ndarray, starts: np.ndarray, frequency: Frequency) -> np.ndarray:
    """``(rows - 1,)`` steps from each of ``(rows,)`` moments to the next: 1 between two series, 0 where that can't
    be told.
    """
    unknown = np.isnat(moments[1:]) | np.isnat(moments[:-1])
    steps, rest = np.divmod(np.diff(moments.astype("M8[us]").astype(np.int64)), frequency.size)
    steps = np.where(unknown | (rest != 0) | (steps < 1), 0, steps)
    steps[np.asarray(starts)[1:-1] - 1] = 1
    return steps


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
