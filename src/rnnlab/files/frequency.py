"""The frequency of a series: how far it is from one time to the next, counted in whole units and never rounded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

DAY = 24 * 3600 * 10**6
"""In microseconds, the unit of time stamps here."""
NAMES = {7 * DAY: "week", DAY: "day", DAY // 24: "hour", DAY // 1440: "minute", 10**6: "second"}
MONTHS = {1: "month", 3: "quarter", 12: "year"}
SEASONS = {"month": (12,), "quarter": (4,), "week": (52,), "day": (7,), "business day": (5,), "hour": (24, 168)}
"""Steps of the seasons that people mean by a step's name."""
FEWEST = 4
"""Steps of a season that is worth the name."""
SAMPLE = 100_000
"""Of so many steps the commonest is the step of the data."""
SATURDAY = 5


@dataclass(frozen=True)
class Frequency:
    """A step.

    Attributes:
        unit: whole ``number`` that counts; a ``duration`` in microseconds; calendar ``month``; or ``business day``,
            Monday to Friday.
        size: how many of the unit a step is.
        day: for months, the day that times fall on, from 0, or the last of a month that has no such day: 30 is the
            end of each month. ``None``: the day of the time from which it is counted.
    """

    unit: Literal["number", "duration", "month", "business day"] = "number"
    size: int = 1
    day: int | None = None

    @property
    def name(self) -> str:
        """What a step is called."""
        if self.unit == "month":
            return MONTHS.get(self.size, "step")
        if self.unit == "business day":
            return self.unit if self.size == 1 else "step"
        return NAMES.get(self.size, "step") if self.unit == "duration" else "step"

    @property
    def seasons(self) -> tuple[int, ...]:
        """Steps of each season that it suggests, the shortest first; of parts of a day, the day and the week."""
        if self.unit == "duration" and self.size < DAY // 24 and not DAY % self.size:
            return tuple(span // self.size for span in (DAY, 7 * DAY) if span // self.size >= FEWEST)
        if self.unit == "duration" and DAY // 24 < self.size < DAY and not DAY % self.size:
            return tuple(steps for steps in (DAY // self.size, 7 * DAY // self.size) if steps >= FEWEST)
        return SEASONS.get(self.name, ())

    @property
    def numbers_are_dates(self) -> bool | None:
        """How numbers are meant among further times of such a series. ``False``: they count, even if they look like
        20240131. ``True``: 1949 and 1949.25 are dates. ``None``: as a whole column of them looks.
        """
        if not self.dated:
            return False
        return True if self.unit == "month" and self.size < 12 else None

    @property
    def dated(self) -> bool:
        """Whether its times are dates."""
        return self.unit != "number"

    @property
    def of_days(self) -> bool:
        """Whether a step is a day or longer."""
        return self.dated and (self.unit != "duration" or self.size >= DAY)

    def between(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``(rows - 1,)`` whole steps from each of ``(rows,)`` times to the next, and true where there is no rest."""
        if self.unit in ("number", "duration"):
            steps, rest = np.divmod(np.diff(times.astype(np.int64)), self.size)
            return steps, rest == 0
        days = times.astype("M8[D]")
        clock = times - days
        if self.unit == "month":
            numbers, fits = days.astype("M8[M]").astype(np.int64), self.day_of(days) == _day_of_month(days)
        else:
            numbers, fits = business_days(days), weekdays(days) < SATURDAY
        steps, rest = np.divmod(np.diff(numbers), self.size)
        return steps, (rest == 0) & fits[1:] & fits[:-1] & (clock[1:] == clock[:-1])

    def after(self, time: np.generic, steps: np.ndarray) -> np.ndarray:
        """The times that come so many ``(n,)`` steps after a time."""
        steps = np.asarray(steps, np.int64) * self.size
        if self.unit == "number":
            return np.int64(time) + steps
        start = np.asarray(time).astype("M8[us]").reshape(1)
        if self.unit == "duration":
            return start + steps.astype("m8[us]")
        day = start.astype("M8[D]")
        if self.unit == "month":
            months = (day.astype("M8[M]") + steps).astype("M8[D]")
            days = months + (_day_of_month(day) if self.day is None else self.day_of(months))
        else:
            weeks, weekday = np.divmod(business_days(day) + steps, 5)
            days = (7 * weeks + weekday - 3).astype("M8[D]")
        return days.astype("M8[us]") + (start - day)

    def day_of(self, days: np.ndarray) -> np.ndarray:
        """Which day of its month each should be, from 0."""
        months = days.astype("M8[M]")
        last = ((months + 1).astype("M8[D]") - months.astype("M8[D]")).astype(np.int64) - 1
        return last if self.day is None else np.minimum(self.day, last)

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        return {"unit": self.unit, "size": self.size, "day": self.day}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Frequency":
        """What :meth:`plain` gave."""
        return cls(**values)


def passed(times: np.ndarray) -> np.ndarray:
    """``(…, rows - 1)`` how far it is from each of ``(…, rows)`` times to the next, in seconds of dates."""
    if times.dtype.kind == "f":
        return np.diff(times)
    steps = np.diff(times.astype(np.int64)).astype(np.float64)
    return steps / 1e6 if times.dtype.kind == "M" else steps


def time_in_words(time: float, dated: bool) -> str:
    """How long a time is: in seconds of dates, a number of something else."""
    if not dated:
        return f"{time:g}"
    unit = next((unit for unit in (DAY, DAY // 24, DAY // 1440) if time * 10**6 >= unit), 10**6)
    number = f"{time * 10**6 / unit:.3g}"
    return f"{number} {NAMES[unit]}{'s' if number != '1' else ''}"


def weekdays(days: np.ndarray) -> np.ndarray:
    """0 for Monday to 6 for Sunday."""
    return (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday


def business_days(days: np.ndarray) -> np.ndarray:
    """Their numbers: five a week; a Saturday and a Sunday have that of the Friday before."""
    weeks, weekday = np.divmod(days.astype(np.int64) + 3, 7)
    return 5 * weeks + np.minimum(weekday, 4)


def _day_of_month(days: np.ndarray) -> np.ndarray:
    return (days - days.astype("M8[M]").astype("M8[D]")).astype(np.int64)


def find_frequency(times: np.ndarray, starts: np.ndarray) -> Frequency:
    """The commonest step of series that stand one after the other.

    Args:
        times: ``(rows,)`` datetime64 in microseconds or whole numbers, rising in each series.
        starts: ``(series + 1,)`` the first row of each, and the number of rows.
    """
    inside = np.ones(max(0, len(times) - 1), bool)
    inside[np.asarray(starts)[1:-1] - 1] = False
    dated = times.dtype.kind == "M"
    if times.dtype.kind == "f":  # of rows that are as far apart as they are
        return Frequency()
    step = _commonest(np.diff(times.astype(np.int64))[inside])
    if step is None:
        return Frequency("duration", DAY) if dated else Frequency()
    if not dated:
        return Frequency("number", step)
    days = times.astype("M8[D]")
    if step >= 28 * DAY:
        of_month = _day_of_month(days)
        ends = Frequency("month", 1, 30)
        day = 30 if (ends.day_of(days) == of_month).all() else int(of_month.max())
        months = _commonest(np.diff(days.astype("M8[M]").astype(np.int64))[inside])
        if months and (Frequency("month", 1, day).day_of(days) == of_month).all():
            return Frequency("month", months, day)
    if step == DAY and (weekdays(days) < SATURDAY).all():
        weekend = (np.diff(days).astype(np.int64) >= 3) & (np.diff(business_days(days)) == 1) & inside
        if weekend.any():
            return Frequency("business day")
    return Frequency("duration", step)


def _commonest(differences: np.ndarray) -> int | None:
    """Of those that lead on: several series under one name stand at one time, and may go back."""
    known, counts = np.unique(differences[differences > 0][:SAMPLE], return_counts=True)
    return int(known[counts.argmax()]) if len(known) else None
