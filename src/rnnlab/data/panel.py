"""One or several series in memory, each with its rows in the order of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rnnlab.errors import InputError

Gaps = Literal["error", "fill", "ignore"]
Missing = Literal["error", "forward", "mask"]

DAY = 24 * 3600 * 10**6
"""In microseconds, the unit of time stamps here."""
STEPS = {7 * DAY: "week", DAY: "day", DAY // 24: "hour", DAY // 1440: "minute", 10**6: "second"}
SAMPLE = 100_000
"""Of so many steps the commonest is the step of the data."""
MONTHS = {1: "month", 3: "quarter", 12: "year"}
SEASONS = {"month": 12, "quarter": 4, "day": 7, "hour": 24}
"""Steps of the season that people mean by a step's name."""


@dataclass(frozen=True)
class Columns:
    """Which columns are read, by their names in the file.

    Attributes:
        target: what is forecast.
        past: numbers that are known up to now.
        known: numbers that are known for the steps to come.
        time: of each row; ``None`` where rows are steps.
        series: names the series that a row belongs to; ``None`` where there is one.
    """

    target: Sequence[str]
    past: Sequence[str] = ()
    known: Sequence[str] = ()
    time: str | None = None
    series: str | None = None

    @property
    def numbers(self) -> list[str]:
        """The columns of numbers: targets, past, known."""
        return [*self.target, *self.past, *self.known]

    @property
    def all(self) -> list[str]:
        return [*self.numbers, *filter(None, (self.time, self.series))]


@dataclass(eq=False)
class Table:
    """Rows as they stand in the file.

    Attributes:
        values: ``(rows, columns)`` of ``Columns.numbers``, not a number where a cell has none.
        times: ``(rows,)`` datetime64 in microseconds or whole numbers; ``None`` without a time column.
        codes: ``(rows,)`` number of each row's series in ``names``; ``None`` where there is one.
        names: of the series, in the order in which they first occur.
        rows: ``(rows,)`` number of each row in the file, from 1, where some were left out.
        empty: lines that were left out since they are empty.
    """

    values: np.ndarray
    times: np.ndarray | None = None
    codes: np.ndarray | None = None
    names: tuple[str, ...] = ("",)
    rows: np.ndarray | None = None
    empty: int = 0

    def row(self, number: int) -> int:
        """The row's number in the file, from 1 for the first below the header."""
        return number + 1 if self.rows is None else int(self.rows[number])


@dataclass(eq=False)
class Panel:
    """Series one after the other.

    Attributes:
        values: ``(rows, columns)`` float32, not a number where unknown: the targets, then the columns that are known
            up to now, then those that are known for the steps to come.
        times: ``(rows,)`` datetime64 in microseconds, or whole numbers.
        starts: ``(series + 1,)`` the first row of each series, and the number of rows.
        names: of the series; one empty name where there is one series.
        columns: the names of the columns.
        step_unit: what a step is called.
        rows: ``(rows,)`` each row's number in the file, 0 for one that was filled in; ``None`` where they are in order.
        note: what happened to the rows on the way, in words.
    """

    values: np.ndarray
    times: np.ndarray
    starts: np.ndarray
    names: tuple[str, ...]
    columns: Columns
    step_unit: str = "step"
    rows: np.ndarray | None = None
    note: str = ""

    def row(self, number: int) -> int:
        """The row's number in the file, from 1."""
        return number + 1 if self.rows is None else int(self.rows[number])

    def place(self, number: int) -> str:
        """A row in words: its number in the file or its time, and its series where there are several."""
        row = self.row(number)
        series = int(np.searchsorted(self.starts, number, "right")) - 1
        of = f" of series '{self.names[series]}'" if len(self.names) > 1 else ""
        return (f"row {row}" if row else f"time {show(self.times[number])}, which was filled in") + of


def arrange(table: Table, columns: Columns, source: str, sort: bool = False, gaps: Gaps = "error") -> Panel:
    """Puts the rows of each series together and looks at their times.

    Args:
        table: rows in the order of the file.
        columns: of the table.
        source: in words, for messages.
        sort: by time, rather than to refuse what is out of order.
        gaps: where a step is left out, ``error``, or ``fill`` it with rows without values, or ``ignore`` it and take
            each row for a step.

    Raises:
        InputError: times are out of order, occur twice or leave out steps.
    """
    order = None
    if table.codes is not None and (np.diff(table.codes) < 0).any():
        order = np.argsort(table.codes, kind="stable")
    if sort and table.times is not None:
        order = np.lexsort((table.times, table.codes if table.codes is not None else np.zeros(len(table.times))))
    values, times, codes, rows = table.values, table.times, table.codes, table.rows
    if order is not None:
        rows = order + 1 if rows is None else rows[order]
        values, times = values[order], None if times is None else times[order]
        codes = None if codes is None else codes[order]
    counts = [len(values)] if codes is None else np.bincount(codes, minlength=len(table.names))
    starts = np.concatenate([[0], np.cumsum(counts)])
    skipped = f"{table.empty:,} empty lines left out" if table.empty else ""
    if times is None:
        times = np.concatenate([np.arange(count) for count in counts])
        return Panel(values, times, starts, table.names, columns, rows=rows, note=skipped)
    panel = Panel(values, times, starts, table.names, columns, rows=rows, note=skipped)
    _check_order(panel, source, columns.time or "time")
    if gaps == "ignore":
        return panel
    ticks, panel.step_unit = _ticks(panel)
    return _look_for_gaps(panel, ticks, source, gaps)


def show(time: Any) -> str:
    """A time as a person writes it: without its zeros."""
    text = str(time)
    for tail in (".000000", ":00", "T00:00"):
        text = text.removesuffix(tail)
    return text.replace("T", " ")


def _inner(panel: Panel, differences: np.ndarray) -> np.ndarray:
    """Differences between neighbours of one series; those between two series become 1."""
    differences[panel.starts[1:-1] - 1] = 1
    return differences


def _check_order(panel: Panel, source: str, column: str) -> None:
    steps = _inner(panel, np.diff(panel.times.astype(np.int64)))
    wrong = np.flatnonzero(steps <= 0)
    if not len(wrong):
        return
    first = int(wrong[0])
    now, before = show(panel.times[first + 1]), panel.row(first)
    if steps[first] == 0:
        raise InputError(
            f"{source}, {panel.place(first + 1)}: {column} {now} is there already in row {before}"
            f"{'' if len(panel.names) > 1 else '; if these are several series, name their column by data.series'}"
        )
    raise InputError(
        f"{source}, {panel.place(first + 1)}: {column} {now} comes after {show(panel.times[first])} in row {before}: "
        "rows must be in the order of time; data.sort=true sorts them"
    )


def _ticks(panel: Panel) -> tuple[np.ndarray, str]:
    """``(rows,)`` times counted in steps, exact where they are regular, and the name of a step."""
    numbers = panel.times.astype(np.int64)
    steps = _inner(panel, np.diff(numbers))
    inside = np.ones(len(steps), bool)
    inside[panel.starts[1:-1] - 1] = False
    known, counts = np.unique(steps[inside][:SAMPLE], return_counts=True)
    if not len(known):
        return numbers, "step"
    step = int(known[counts.argmax()])
    if panel.times.dtype.kind != "M":
        return numbers / step, "step"
    if step >= 28 * DAY:
        months = month_numbers(panel.times)
        if months is not None:
            between = np.diff(months)[inside]
            step = int(between.min())
            return months / step, MONTHS.get(step, "step")
    return numbers / step, STEPS.get(step, "step")


def month_numbers(times: np.ndarray) -> np.ndarray | None:
    """``(rows,)`` months since 1970 where all times are of one day of the month, or all of its last."""
    days = times.astype("M8[D]")
    months = days.astype("M8[M]")
    of_month = (days - months.astype("M8[D]")).astype(np.int64)
    is_last = ((days + 1).astype("M8[M]") > months).all()
    return months.astype(np.int64) if is_last or (of_month == of_month[0]).all() else None


def _look_for_gaps(panel: Panel, ticks: np.ndarray, source: str, gaps: Gaps) -> Panel:
    steps = _inner(panel, np.diff(ticks))
    wrong = np.flatnonzero(steps != 1)
    if not len(wrong):
        return panel
    first = int(wrong[0])
    unit = f"a {panel.step_unit}" if panel.step_unit != "step" else "a regular step"
    odd = np.flatnonzero(steps % 1 != 0)
    if gaps == "error" or len(odd):
        at = int(odd[0]) if len(odd) else first
        what = f"{show(panel.times[at + 1])} comes {steps[at]:.4g} steps after {show(panel.times[at])}, and {unit} is 1"
        advice = "data.gaps=ignore takes each row for a step"
        if not len(odd):
            advice = f"data.gaps=fill makes the {int((steps[wrong] - 1).sum()):,} rows that are missing, {advice}"
        raise InputError(f"{source}, {panel.place(at + 1)}: {what}: {advice}")
    return _filled(panel, ticks.astype(np.int64))


def _filled(panel: Panel, ticks: np.ndarray) -> Panel:
    """The same with a row for every step of each series."""
    bounds = list(zip(panel.starts[:-1], panel.starts[1:], strict=True))
    counts = [int(ticks[end - 1] - ticks[start]) + 1 for start, end in bounds]
    starts = np.concatenate([[0], np.cumsum(counts)])
    at = np.concatenate(
        [new + ticks[start:end] - ticks[start] for new, (start, end) in zip(starts, bounds, strict=False)]
    )
    values = np.full((starts[-1], panel.values.shape[1]), np.nan, np.float32)
    values[at] = panel.values
    rows = np.zeros(starts[-1], np.int64)
    rows[at] = np.arange(1, len(ticks) + 1) if panel.rows is None else panel.rows
    # even steps between two known times; of a month that was left out the day may come out one or two off
    times = np.interp(np.arange(starts[-1]), at, panel.times.astype(np.int64)).round().astype(np.int64)
    note = f"{int(starts[-1]) - len(ticks):,} missing rows filled in"
    return Panel(
        values, times.astype(panel.times.dtype), starts, panel.names, panel.columns, panel.step_unit, rows,
        ", ".join(filter(None, (panel.note, note))),
    )  # fmt: skip


def carry_forward(values: np.ndarray, starts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Puts, in place, the last known value of the same series where there is none; what comes first stays unknown.

    Returns:
        ``(rows, columns)`` true where the value was unknown.
    """
    unknown = np.isnan(values)
    first = np.zeros(len(values), np.int64)
    first[np.asarray(starts)[:-1]] = np.asarray(starts)[:-1]
    first = np.maximum.accumulate(first)
    for column in range(values.shape[1]):
        if unknown[:, column].any():
            last = np.maximum.accumulate(np.where(unknown[:, column], -1, np.arange(len(values))))
            # a value of the series before is none of this one's
            values[:, column] = np.where(last >= first, values[last, column], np.nan)
    return unknown
