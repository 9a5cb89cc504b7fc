"""One or several series in memory, each with its rows in the order of time."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from rnnlab.errors import InputError
from rnnlab.files.clocks import clock_changes, clocks_of, in_zone, is_changed, moments_of, steps_between
from rnnlab.files.frequency import Frequency, find_frequency, passed
from rnnlab.files.written import Written

Gaps = Literal["error", "fill", "ignore", "elapsed"]
Repeated = Literal["error", "first", "last"]
Missing = Literal["error", "forward", "mask"]
ShortSeries = Literal["error", "drop"]

FEW_REPEATED = 0.05
"""Of rows whose time is there already, beyond which several series are more likely than slips."""
MOST_FILLED = 1_000_000
"""So many rows may be filled in, or as many as ten for each that is there."""


@dataclass(frozen=True)
class Columns:
    """Which columns are read, by their names in the file.

    Attributes:
        target: what is forecast.
        past: numbers that are known up to now.
        known: numbers that are known for the steps to come.
        time: of each row; ``None`` where rows are steps.
        series: names the series that a row belongs to; ``None`` where there is one.
        clock: the time of the day, where it stands in a column beside that of the date.
        words: whose cells are read as text.
    """

    target: Sequence[str]
    past: Sequence[str] = ()
    known: Sequence[str] = ()
    time: str | None = None
    series: str | None = None
    clock: str | None = None
    words: Sequence[str] = ()

    @property
    def numbers(self) -> list[str]:
        """The columns of numbers: targets, past, known."""
        return [*self.target, *self.past, *self.known]

    @property
    def all(self) -> list[str]:
        roles = (self.time, self.clock, self.series)
        return [*self.numbers, *self.words, *(name for name in roles if name is not None)]


@dataclass(eq=False)
class Table:
    """Rows as they stand in the file.

    Attributes:
        values: ``(rows, columns)`` float64 of ``Columns.numbers``, not a number where a cell has none.
        times: ``(rows,)`` datetime64 in microseconds or whole numbers; ``None`` without a time column.
        codes: ``(rows,)`` number of each row's series in ``names``; ``None`` where there is one.
        names: of the series, in the order in which they first occur.
        rows: ``(rows,)`` number of each row in the file, from 1, where some were left out.
        empty: lines that were left out since they are empty.
        words: of each column that is read as text ``(rows,)`` numbers of its cells in ``levels``, -1 for an empty one.
        levels: the different texts of each such column, in the order in which they first occur.
        zone: of the times, which are then those of UTC, by its name in the tz database; ``None`` where none is told.
        written: how the times are; ``None`` where they are numbers or no text, or it cannot be told.
    """

    values: np.ndarray
    times: np.ndarray | None = None
    codes: np.ndarray | None = None
    names: tuple[str, ...] = ("",)
    rows: np.ndarray | None = None
    empty: int = 0
    words: dict[str, np.ndarray] = field(default_factory=dict)
    levels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    zone: str | None = None
    written: Written | None = None

    def row(self, number: int) -> int:
        """The row's number in the file, from 1 for the first below the header."""
        return number + 1 if self.rows is None else int(self.rows[number])


@dataclass(eq=False)
class Panel:
    """Series one after the other.

    Attributes:
        values: ``(rows, columns)`` float64, not a number where unknown: the targets, then the columns that are known
            up to now, then those that are known for the steps to come.
        times: ``(rows,)`` datetime64 in microseconds, or whole numbers.
        starts: ``(series + 1,)`` the first row of each series, and the number of rows.
        names: of the series; one empty name where there is one series.
        columns: the names of the columns.
        frequency: from one time to the next.
        rows: ``(rows,)`` each row's number in the file, 0 for one that was filled in; ``None`` where they are in order.
        note: what happened to the rows on the way, in words.
        unit: what a step is called, where the frequency does not tell.
        unknown: ``(rows, columns)`` true where a value was missing and the one before was carried on; ``None`` where
            none was.
        zone: of the times, as :class:`Table` has it.
        clocks: of which one has shown them, as :func:`rnnlab.files.clocks.clocks_of` says; empty where none has.
        written: how the times are, as :class:`Table` has it.
    """

    values: np.ndarray
    times: np.ndarray
    starts: np.ndarray
    names: tuple[str, ...]
    columns: Columns
    frequency: Frequency = field(default_factory=Frequency)
    rows: np.ndarray | None = None
    note: str = ""
    unit: str = ""
    unknown: np.ndarray | None = None
    zone: str | None = None
    clocks: tuple[str, ...] = ()
    written: Written | None = None

    @property
    def step_unit(self) -> str:
        """What a step is called."""
        return self.unit or self.frequency.name

    @property
    def seasons(self) -> tuple[int, ...]:
        """Steps of each season that the time step suggests, the shortest first."""
        return () if self.unit else self.frequency.seasons

    def row(self, number: int) -> int:
        """The row's number in the file, from 1."""
        return number + 1 if self.rows is None else int(self.rows[number])

    def place(self, number: int) -> str:
        """A row in words: its number in the file or its time, and its series where there are several."""
        row = self.row(number)
        series = int(np.searchsorted(self.starts, number, "right")) - 1
        of = f" of series '{self.names[series]}'" if len(self.names) > 1 else ""
        return (f"row {row}" if row else f"time {show(self.times[number])}, which was filled in") + of

    def carry_forward(self) -> None:
        """Puts, in place, the last known value of the same series where one is missing, and marks it in ``unknown``."""
        if np.isnan(self.values).any():
            self.unknown = carry_forward(self.values, self.starts)

    def observed(self, rows: slice | np.ndarray) -> np.ndarray:
        """``(…, targets)`` in their own units at ``(…)`` rows, not a number where unknown."""
        k = len(self.columns.target)
        values = self.values[rows, ..., :k]
        return values if self.unknown is None else np.where(self.unknown[rows, ..., :k], np.nan, values)


def arrange(
    table: Table,
    columns: Columns,
    source: str,
    sort: bool = False,
    gaps: Gaps = "error",
    expected: Frequency | None = None,
    repeated: Repeated = "error",
    clocks: Sequence[str] = (),
) -> Panel:
    """Puts the rows of each series together and looks at their times.

    Args:
        table: rows in the order of the file.
        columns: of the table.
        source: in words, for messages.
        sort: by time, rather than to refuse what is out of order.
        gaps: where a step is left out, ``error``, or ``fill`` it with rows without values, or ``ignore`` it and take
            each row for a step; ``elapsed`` does that too, for who reads how far apart the rows are.
        expected: how far it is from one date to the next, where that is known.
        repeated: where a series has several rows at one time, ``error``, or the ``first`` or the ``last`` is kept.
        clocks: of which one has shown earlier times, as :attr:`Panel.clocks`; none where that is not known.

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
    panel = Panel(values, times, starts, table.names, columns, rows=rows, note=skipped, zone=table.zone)
    panel.written = table.written
    if table.times is None:
        return panel
    panel.frequency = find_frequency(panel.times, panel.starts)
    if expected is not None and expected.dated:
        alike = (expected.unit, expected.size) == (panel.frequency.unit, panel.frequency.size)
        panel.frequency = panel.frequency if alike else expected
    if repeated != "error":
        panel = _without_repeated(panel, repeated, strictly=gaps == "elapsed")
    _check_order(panel, source, columns.time or "time", strictly=gaps == "elapsed")
    if panel.frequency.dated:
        # of a zone that is told the times are those of UTC
        told = table.zone is not None
        panel.clocks = ("UTC",) if told else clocks_of(panel.times, panel.starts, panel.frequency)
        panel.clocks = tuple(clock for clock in panel.clocks if clock in clocks) or panel.clocks
    if gaps == "elapsed":
        panel.unit = "row"
    return panel if gaps in ("ignore", "elapsed") else _look_for_gaps(panel, source, gaps)


def show(time: Any) -> str:
    """A time as a person writes it: without its zeros."""
    text = str(time)
    for tail in (".000000", ":00", "T00:00"):
        text = text.removesuffix(tail)
    return text.replace("T", " ")


def _inner(panel: Panel, differences: np.ndarray) -> np.ndarray:
    """In place, differences between neighbours of one series; those between two series become 1."""
    differences[panel.starts[1:-1] - 1] = 1
    return differences


def _out_of_order(panel: Panel, strictly: bool) -> tuple[np.ndarray, np.ndarray]:
    """How far each row is from the one before, and which rows are followed by one that is no later."""
    steps = _inner(panel, passed(panel.times))
    wrong = np.flatnonzero(steps <= 0)
    if len(wrong) and panel.times.dtype.kind == "M" and not strictly:
        wrong = wrong[~clock_changes(panel.times, panel.frequency)[wrong]]
    return steps, wrong


def _without_repeated(panel: Panel, repeated: Repeated, strictly: bool) -> Panel:
    steps, wrong = _out_of_order(panel, strictly)
    again = wrong[steps[wrong] == 0]
    if not len(again):
        return panel
    kept = np.ones(len(panel.times), bool)
    kept[again + 1 if repeated == "first" else again] = False
    rows = np.arange(1, len(kept) + 1) if panel.rows is None else panel.rows
    left_out = f"{len(again):,} row{'s' if len(again) > 1 else ''} of a time that is there already left out"
    return replace(
        panel,
        values=panel.values[kept],
        times=panel.times[kept],
        starts=np.concatenate([[0], np.cumsum(kept)])[panel.starts],
        rows=rows[kept],
        note="; ".join(filter(None, (panel.note, left_out))),
    )


def _check_order(panel: Panel, source: str, column: str, strictly: bool) -> None:
    steps, wrong = _out_of_order(panel, strictly)
    if not len(wrong):
        return
    first = int(wrong[0])
    now, before = show(panel.times[first + 1]), panel.row(first)
    if steps[first] == 0:
        several = "name the column of the series by data.series"
        advice = "data.repeated=last keeps the last of such rows, first the first"
        if len(panel.names) == 1:
            many = (steps == 0).mean() > FEW_REPEATED
            advice = (
                f"these seem to be several series: {several}"
                if many
                else f"{advice}; if these are several series, {several}"
            )
        raise InputError(
            f"{source}, {panel.place(first + 1)}: {column} {now} is there already in row {before}; {advice}"
        )
    raise InputError(
        f"{source}, {panel.place(first + 1)}: {column} {now} comes after {show(panel.times[first])} in row {before}: "
        "rows must be in the order of time; data.sort=true sorts them"
    )


def _look_for_gaps(panel: Panel, source: str, gaps: Gaps) -> Panel:
    frequency = panel.frequency
    steps, whole = frequency.between(panel.times)
    steps, inside = _inner(panel, steps), np.ones(len(steps), bool)
    inside[panel.starts[1:-1] - 1] = False
    changes = clock_changes(panel.times, frequency) & inside
    moments = _moments(panel)
    if moments:
        counted = np.stack([steps_between(each, panel.starts, frequency) for each in moments])
        sure = (counted > 0).all(0) & (counted == counted[0]).all(0) & inside
        if gaps == "error":  # of an hour that comes twice many files have one alone
            sure &= steps != 1
        changes &= ~sure | (counted[0] == 1)
        whole = whole | sure
        steps = np.where(sure, counted[0], steps)
    if changes.any():
        # by the clock an hour is missing or there twice, and by time none is
        steps, whole = np.where(changes, 1, steps), whole | changes
        panel.note = ", ".join(filter(None, (panel.note, _changes_in_words(panel, changes))))
    wrong, odd = np.flatnonzero(steps != 1), np.flatnonzero(inside & ~whole)
    if not len(wrong) and not len(odd):
        return panel
    unit = f"a {panel.step_unit}" if panel.step_unit != "step" else "a regular step"
    at = int(odd[0]) if len(odd) else int(wrong[0])
    now, before = show(panel.times[at + 1]), show(panel.times[at])
    where = f"{source}, {panel.place(at + 1)}: {now} comes"
    ignore = "data.gaps=ignore takes each row for a step, data.gaps=elapsed also tells how far apart they are"
    if len(odd):
        due = show(frequency.after(panel.times[at], np.ones(1, np.int64)).astype(panel.times.dtype)[0])
        raise InputError(f"{where} after {before}, and {unit} after that is {due}: {ignore}")
    missing = int((steps[wrong] - 1).sum())
    if missing > max(MOST_FILLED, 10 * len(panel.times)):
        at = int(steps.argmax())
        raise InputError(
            f"{source}, {panel.place(at + 1)}: {show(panel.times[at + 1])} comes {steps[at]:,} steps after "
            f"{show(panel.times[at])}: data.gaps=fill would make {missing:,} rows, and {len(panel.times):,} are there: "
            f"is this time right? ({ignore})"
        )
    if gaps == "error":
        fill = f"data.gaps=fill makes the {'row that is' if missing == 1 else f'{missing:,} rows that are'} missing"
        raise InputError(f"{where} {steps[at]:,} steps after {before}, and {unit} is 1: {fill}, {ignore}")
    return _filled(panel, steps, moments[0] if moments else None)


def _moments(panel: Panel) -> list[np.ndarray]:
    """When the times were, by each clock that may have shown them; none where it may be one that is not changed."""
    if not is_changed(panel.frequency) or "UTC" in panel.clocks:
        return []
    return [moments_of(panel.times, panel.starts, clock, panel.frequency) for clock in panel.clocks]


def _changes_in_words(panel: Panel, changes: np.ndarray) -> str:
    rows = np.flatnonzero(changes)
    forward = panel.times[rows + 1] - panel.times[rows] > np.timedelta64(0, "us")
    parts = []
    for which, what in ((forward, "left out"), (~forward, "there twice")):
        days = sorted({str(time.astype("M8[D]")) for time in panel.times[rows[which] + 1]})
        if days:
            more = f" and {len(days) - 2} other days" if len(days) > 2 else ""
            parts.append(f"{what} on {', '.join(days[:2])}{more}")
    return f"clocks were changed for daylight saving, an hour {' and '.join(parts)}: each row is a step"


def _filled(panel: Panel, steps: np.ndarray, moments: np.ndarray | None) -> Panel:
    """The same with a row for every step of each series; ``steps`` from each row to the next, 1 between two series.
    Where a clock is known that has shown the times, the ``moments`` are when it did.
    """
    at = np.concatenate([[0], np.cumsum(steps)])
    starts = np.concatenate([at[panel.starts[:-1]], [at[-1] + 1]])
    values = np.full((starts[-1], panel.values.shape[1]), np.nan)
    values[at] = panel.values
    rows = np.zeros(starts[-1], np.int64)
    rows[at] = np.arange(1, len(at) + 1) if panel.rows is None else panel.rows
    times = np.empty(starts[-1], panel.times.dtype)
    times[at] = panel.times
    for before in np.flatnonzero(steps > 1):
        numbers = np.arange(1, steps[before])
        between = panel.frequency.after(panel.times[before] if moments is None else moments[before], numbers)
        if moments is not None:
            between = in_zone(between, panel.clocks[0]).dt.replace_time_zone(None).to_numpy()
        times[at[before] + 1 : at[before + 1]] = between
    note = f"{int(starts[-1]) - len(at):,} missing rows filled in"
    note = ", ".join(filter(None, (panel.note, note)))
    return replace(panel, values=values, times=times, starts=starts, rows=rows, note=note)


def keep_series(panel: Panel, kept: Sequence[int], note: str = "") -> Panel:
    """Some of the series, by their numbers."""
    rows = np.concatenate([np.arange(panel.starts[number], panel.starts[number + 1]) for number in kept])
    sizes = np.diff(panel.starts)[list(kept)]
    return replace(
        panel,
        values=panel.values[rows],
        times=panel.times[rows],
        starts=np.concatenate([[0], np.cumsum(sizes)]),
        names=tuple(panel.names[number] for number in kept),
        rows=rows + 1 if panel.rows is None else panel.rows[rows],
        note=", ".join(filter(None, (panel.note, note))),
        unknown=None if panel.unknown is None else panel.unknown[rows],
    )


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
