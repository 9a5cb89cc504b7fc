"""New rows of time series as they come, and what the network reads at each."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from rnnlab.data.history import History, listed
from rnnlab.data.history_reader import HistoryReader
from rnnlab.data.reader import Arrival
from rnnlab.errors import InputError, nearest
from rnnlab.files import times as time_stamps
from rnnlab.files.clocks import clock_changes
from rnnlab.files.frequency import passed
from rnnlab.files.panel import show
from rnnlab.files.stream import stream_rows

MOST_STREAMED = 10_000
"""Steps that a stream fills in between two lines."""


class SeriesStream:
    """A stream, of which it keeps as much of each series as the next step looks at.

    Args:
        reader: of the columns and their scaling.
    """

    def __init__(self, reader: HistoryReader) -> None:
        self.reader = reader
        self.past: dict[str, History] = {}

    def arrivals(self, lines: Iterator[str], name: str) -> Iterator[Arrival | None]:
        """What each line brings; ``None`` at an empty one, after which all series begin anew.

        Raises:
            InputError: a line cannot be read, or columns of the steps to come are needed.
        """
        columns = self.reader.of
        if columns.known:
            raise InputError(
                f"columns {listed(columns.known)} of the steps to come are needed for each forecast, and a "
                "stream has none of them yet: use --input without --stream"
            )
        for place, row in stream_rows(lines, name, self.reader.dialect, columns.numbers, columns.all):
            if row is None:
                self.past = {}
                yield None
                continue
            yield from self._of_row(row, place)

    def _of_row(self, row: Mapping[str, Any], place: str) -> Iterator[Arrival]:
        """The step of a row, after those that were left out before it, where they are filled in."""
        columns, past = self.reader.of, self.past
        series = str(row.get(columns.series, "")).strip() if columns.series else self.reader.names[0]
        number = self.reader.series_number(series, place)
        values = self._values(row, place)
        time = None
        if columns.time and (columns.time in row or self.reader.layout.needs_times):
            time = self._time(row, place)
            last = past[series].times if series in past else None
            if last is not None:
                nothing = np.full((1, len(columns.numbers)), np.nan)
                for due in self._left_out(last[-1:], time, place):
                    before = past[series]
                    past[series] = self._next(before, number, nothing, due)
                    arrival = self._arrival(before, past[series], series, {})
                    if arrival is not None:
                        yield arrival._replace(silent=True)
        unknown = np.isnan(values)
        if unknown.any() and self.reader.layout.missing == "error":
            column = columns.numbers[int(unknown[0].argmax())]
            raise InputError(f"{place}, column '{column}': there is no value")
        if self.reader.layout.log and (values[0, : len(columns.target)] <= 0).any():
            raise InputError(f"{place}: a value that is not above 0 has no logarithm")
        first = past.get(series)
        past[series] = self._next(first, number, values, time)
        labels = {columns.series: series} if columns.series else {}
        labels |= {name: str(row[name]) for name in (columns.time, columns.clock) if name and name in row}
        arrival = self._arrival(first, past[series], series, labels)
        if arrival is not None:
            yield arrival

    def _next(self, before: History | None, number: int, values: np.ndarray, time: np.generic | None) -> History:
        """A history one step later, of which no more is kept than is looked at."""
        kept, unknown = self.reader.layout.before + 1, np.isnan(values)
        times = None if time is None else np.array([time])
        if before is not None:
            if times is not None and before.times is not None:
                times = np.concatenate([before.times, times])[-kept:]
            values = np.concatenate([before.values, np.where(unknown, before.values[-1], values)])[-kept:]
            unknown = np.concatenate([before.unknown, unknown])[-kept:]
        return History(number, len(values), values, unknown, times)

    def _arrival(
        self, before: History | None, history: History, series: str, labels: Mapping[str, Any]
    ) -> Arrival | None:
        """What the network reads of the last step of a history; ``None`` where it is shorter than a season."""
        if history.now <= self.reader.layout.reach:
            return None
        window = self.reader.window(history, self.reader.layout.said, time=1)
        restart = before is None or before.now <= self.reader.layout.reach
        return Arrival(window.inputs[-1], series, restart, labels, window.shift[-1], window.scale[-1])

    def _values(self, row: Mapping[str, Any], place: str) -> np.ndarray:
        """``(1, columns)`` of a row, not a number where a value is missing."""
        names = self.reader.of.numbers
        for name in names:
            if name not in row:
                raise InputError(f"{place} has no column '{name}'{nearest(name, row)} (it has {', '.join(row)})")
        found = self.reader.dialect.number([row[name] for name in names])
        for name, value in zip(names, found, strict=True):
            if value is not None and not np.isfinite(value):
                raise InputError(f"{place}, column '{name}': {self.reader.dialect.why_no_number(row[name])}")
        return np.array([[np.nan if value is None else value for value in found]])

    def _time(self, row: Mapping[str, Any], place: str) -> np.generic:
        columns, dated = self.reader.of, self.reader.frequency.dated
        cells = [row.get(name) for name in (columns.time, columns.clock) if name]
        frame = pl.DataFrame({"time": [" ".join("" if cell is None else str(cell) for cell in cells)]})
        text = frame.select(time_stamps.clean(pl.col("time"), self.reader.dialect)).to_series()
        where = f"{place}, column '{columns.time}'"
        if text[0] is None:
            raise InputError(f"{where}: there is no time")
        frequency = self.reader.frequency
        read = time_stamps.shown if frequency.of_days else time_stamps.parse
        found = read(text, lambda _: where, self.reader.dialect, frequency.numbers_are_dates)
        if (found.dtype.kind == "M") != dated:
            raise InputError(f"{where}: {text[0]!r} is no {'date' if dated else 'number'}")
        return found[0]

    def _left_out(self, last: np.ndarray, time: np.generic, place: str) -> np.ndarray:
        """The times between two lines, where steps that are left out are filled in."""
        if self.reader.gaps == "elapsed":
            if passed(np.concatenate([last, np.array([time])]))[0] <= 0:
                raise InputError(f"{place}: {show(time)} comes after {show(last[0])}: times must rise")
            return last[:0]
        pair = np.concatenate([last, np.array([time], last.dtype)])
        if self.reader.gaps == "ignore" or (
            self.reader.frequency.dated and clock_changes(pair, self.reader.frequency).any()
        ):
            return last[:0]
        steps, whole = self.reader.frequency.between(pair)
        due = self.reader.frequency.after(last[0], np.ones(1, np.int64)).astype(last.dtype)
        if whole[0] and steps[0] == 1:
            return last[:0]
        between = int(steps[0]) - 1
        if self.reader.gaps == "error" or not whole[0] or between < 0:
            raise InputError(f"{place}: after {show(last[0])} comes {show(due[0])}, and this is {show(time)}")
        if between > MOST_STREAMED:
            raise InputError(
                f"{place}: {show(time)} comes {between + 1:,} steps after {show(last[0])}: is this time right?"
            )
        return self.reader.frequency.after(last[0], np.arange(1, between + 1)).astype(last.dtype)
