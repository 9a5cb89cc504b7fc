"""How a trained run reads new time series: their past, and what is known of the steps to come."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl

from rnnlab.data.layout import Layout, padded_front
from rnnlab.data.reader import Arrival, Given, Reader
from rnnlab.errors import InputError, nearest
from rnnlab.files import times as time_stamps
from rnnlab.files.dialect import Dialect, LineByLine
from rnnlab.files.frequency import Frequency, clock_changes, passed
from rnnlab.files.panel import Columns, Gaps, Panel, ShortSeries, arrange, carry_forward, show
from rnnlab.files.source import Format, Source, as_numbers, brief, existing, is_table, parse_json, table_source
from rnnlab.files.table import tabulate
from rnnlab.spec import Scaling

log = logging.getLogger("rnnlab")

MOST_STREAMED = 10_000
"""Steps that a stream fills in between two lines."""


class History(NamedTuple):
    """A series up to now, and what is known of the steps after.

    number
        Of the series in the run.
    now
        Rows up to now.
    values
        ``(rows, columns)`` in the data's units; after ``now`` the known columns alone. What was missing is carried on.
    unknown
        ``(now, columns)`` true where it was missing.
    times
        ``(rows,)``; ``None`` where rows are steps.
    """

    number: int
    now: int
    values: np.ndarray
    unknown: np.ndarray
    times: np.ndarray | None


class Window(NamedTuple):
    """What the network reads of a history.

    inputs
        ``(time, features)``.
    ahead
        ``(steps - 1, features - values)`` beside the predictions that are fed back.
    shift
        ``(time, horizon, values)`` and ``scale`` alike: what brings a forecast made at each step to units.
    """

    inputs: np.ndarray
    ahead: np.ndarray
    shift: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True, eq=False)
class SeriesReader(Reader):
    """A table with a row a step: the columns of the training data, and its scaling for each series.

    Attributes:
        layout: what the network reads of a window, and what its forecasts are added to.
        names: of the series that the run knows.
        shift: ``(series, columns)``: how values were scaled.
        scale: alike.
        together: all series are scaled alike, so that others may be read too.
        steps: from one time to the next, as :class:`rnnlab.files.frequency.Frequency` says it in plain values.
        written: how a table is written, as :class:`rnnlab.files.dialect.Dialect` says it in plain values.
        sort: see :func:`rnnlab.files.panel.arrange`.
        gaps: see there, too.
        short_series: whether a series that is too short is an error, or left out.
        naive_errors: ``(series, targets)`` the unit of the mean absolute scaled error, from the training part.
    """

    formats: ClassVar[tuple[Format, ...]] = ("csv", "tsv", "parquet", "jsonl")
    layout: Layout
    names: tuple[str, ...]
    shift: tuple[tuple[float, ...], ...]
    scale: tuple[tuple[float, ...], ...]
    together: bool
    steps: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)
    sort: bool = False
    gaps: Gaps = "error"
    short_series: ShortSeries = "error"
    naive_errors: tuple[tuple[float, ...], ...] = ()

    @property
    def of(self) -> Columns:
        """The columns."""
        return self.layout.of

    @property
    def length(self) -> int:
        """Steps of a window, the context of a forecast."""
        return self.layout.length

    @property
    def horizon(self) -> int:
        """Steps ahead."""
        return self.layout.horizon

    @property
    def direct(self) -> bool:
        """The network puts out all of them at once."""
        return self.layout.direct

    @cached_property
    def frequency(self) -> Frequency:
        """From one time to the next."""
        return Frequency.from_plain(self.steps)

    @cached_property
    def dialect(self) -> Dialect:
        """In which tables are written."""
        return Dialect(**self.written)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """The shift and the scale, each ``(series, columns)``."""
        return np.asarray(self.shift, np.float64), np.asarray(self.scale, np.float64)

    @property
    def features(self) -> tuple[str, ...]:
        """In the order in which :meth:`window` has them."""
        return self.layout.features

    @property
    def measured(self) -> int:
        return len(self.of.target) + len(self.of.past)

    @property
    def input_scaling(self) -> Scaling:
        """Where all series are scaled alike, and targets are read as they are."""
        shift, scale = (moments[:, : self.measured] for moments in self.moments)
        layout = self.layout
        if layout.log or layout.window_scaling != "global" or (shift != shift[0]).any() or (scale != scale[0]).any():
            return Scaling()
        return Scaling(tuple(shift[0].tolist()), tuple(scale[0].tolist()))

    # ---- in words -------------------------------------------------------------------------------

    def describe(self) -> str:
        columns = self.of
        lines = [f"time series: the past of {_list(columns.target)}, a row a step in the order of time, columns"]
        about = [(columns.target, "what is forecast: empty in rows of steps to come")]
        about += [(columns.past, "known up to now")] if columns.past else []
        about += [(columns.known, f"known for the steps to come too: add rows for {self._known_ahead}")]
        about = [(names, what) for names, what in about if names]
        width = max(len(_list(names)) for names, _ in about)
        lines += [f"  {_list(names):{width}}  {what}" for names, what in about]
        if columns.time:
            needed = "needed" if self.layout.needs_times else "may be left out"
            lines.append(f"  {columns.time:{width}}  the time, {needed}")
        if columns.series:
            known = ", ".join(self.names[:8]) + (", …" if len(self.names) > 8 else "")
            lines.append(f"  {columns.series:{width}}  the series: {'any' if self.together else known}")
        lines.append(f"  such as {','.join(self._header)}")
        how = f"it forecasts {self.horizon} step{'s at once' if self.horizon > 1 else ''}"
        if self._goes_on:
            how = "it forecasts one step, and is fed its own forecasts to go on (--horizon N)"
        lines.append(f"{how}, from the last {self.length} rows")
        lines.append("  --steps: a forecast at each row, the state carried from the first one; --stream: the same")
        return "\n".join(lines)

    @property
    def _header(self) -> list[str]:
        columns = self.of
        return [name for name in (columns.time, columns.clock, columns.series, *columns.numbers) if name]

    @property
    def _known_ahead(self) -> str:
        return f"{self.horizon} step{'s' * (self.horizon > 1)} after the last target" if self.direct else "the horizon"

    @property
    def example(self) -> str:
        return f"columns {', '.join(self._header)}"

    # ---- reading ----------------------------------------------------------------------------------

    def read(self, source: Source) -> Iterator[Given]:
        raise NotImplementedError("a series is read by histories")

    def take(self, x: Any) -> Iterator[Given]:
        raise NotImplementedError("a series is read by histories")

    def histories(self, x: Any) -> tuple[list[History], list[str]]:
        """The series of a source, a table in memory, or ``(time,)`` or ``(time, columns)`` numbers; and their names.

        Raises:
            InputError: a column is missing, a cell is no number, times are out of order or leave out steps, a series
                is unknown, or a value is missing.
        """
        if not isinstance(x, Source):
            x = table_source(x if is_table(x) else self._frame(x), self.dialect)
        return self._histories(x)

    def _frame(self, x: Any) -> pl.DataFrame:
        columns = self.of
        numbers = "numbers, one a step" if len(columns.numbers) == 1 else f"rows of {len(columns.numbers)} numbers"
        needs_table = bool(self.layout.needs_times or columns.series)
        what = f"give {'' if needs_table else f'{numbers}, or '}a table with the {self.example}"
        try:
            values = as_numbers(x)
        except (TypeError, ValueError):
            raise InputError(f"{brief(x)} is not what this run reads: {what}") from None
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or values.shape[1] != len(columns.numbers) or needs_table:
            shape = np.shape(x) if hasattr(x, "shape") else values.shape
            raise InputError(f"an array of the shape {shape} is not what this run reads: {what}")
        return pl.DataFrame({name: values[:, k] for k, name in enumerate(columns.numbers)})

    def _histories(self, source: Source) -> tuple[list[History], list[str]]:
        columns = self.of
        frame = source.frame(wanted=columns.all, quoted=True)
        if columns.time and columns.time not in frame.columns and not self.layout.needs_times:
            columns = replace(columns, time=None, clock=None)
        if columns.series and columns.series not in frame.columns and len(self.names) == 1:
            columns = replace(columns, series=None)
        for name in columns.all:
            existing(frame, name, source.name)
        table = tabulate(frame.lazy(), columns, source.name, self.dialect, None if self.frequency.dated else False)
        if table.times is not None and (table.times.dtype.kind == "M") != self.frequency.dated:
            kinds = ("numbers", "dates")
            dated = self.frequency.dated
            raise InputError(
                f"{source.name}, column '{columns.time}': these are {kinds[not dated]}, and the run was trained on "
                f"{kinds[dated]}"
            )
        panel = arrange(table, columns, source.name, self.sort, self.gaps, self.frequency)
        histories: list[History] = []
        names: list[str] = []
        short: list[str] = []
        # training has left out those that were too short there, and does not know them
        unknown = [name for name in panel.names if not self.knows(name)]
        drops = self.short_series == "drop" and 1 < len(panel.names) > len(unknown)
        for number, name in enumerate(panel.names):
            if drops and name in unknown:
                continue
            history = self._history(panel, number, source.name)
            if drops and not self._is_enough(history):
                short.append(name)
                continue
            if history is None:
                which = f" of series '{name}'" if name else ""
                raise InputError(
                    f"{source.name}{which}: there is no value of {_list(panel.columns.target)}, and so no past"
                )
            histories.append(history)
            names.append(name)
        if drops and unknown:
            said = "%s: %d series left out, on which this run was not trained, so that their scale is unknown: %s"
            log.warning(said, source.name, len(unknown), shown_names(unknown))
        if short:
            log.warning("%s: %d series are too short and left out: %s", source.name, len(short), shown_names(short))
        if not histories:
            raise InputError(f"{source.name}: all series are too short")
        return histories, names

    def _is_enough(self, history: History | None) -> bool:
        return history is not None and history.now > self.layout.reach

    def _history(self, panel: Panel, number: int, source: str) -> History | None:
        """A series of a panel; ``None`` where none of its targets is known."""
        rows = slice(panel.starts[number], panel.starts[number + 1])
        values, k = panel.values[rows].copy(), len(panel.columns.target)
        known = np.flatnonzero(np.isfinite(values[:, :k]).any(1))
        if not len(known):
            return None
        now = int(known[-1]) + 1
        unknown = np.isnan(values[:now])
        if unknown.any() and self.layout.missing == "error":
            row, column = np.argwhere(unknown)[0].tolist()
            raise InputError(
                f"{source}, {panel.place(int(panel.starts[number]) + row)}, column '{panel.columns.numbers[column]}': "
                "there is no value, and the run was trained on series without gaps (data.missing=error)"
            )
        carry_forward(values[:now], [0, now])
        if self.layout.log and (values[:now, :k] <= 0).any():
            row = int((values[:now, :k] <= 0).any(1).argmax())
            raise InputError(
                f"{source}, {panel.place(int(panel.starts[number]) + row)}: only a value above 0 has a logarithm"
            )
        times = None if panel.columns.time is None else panel.times[rows]
        return History(self.series_number(panel.names[number], source), now, values, unknown, times)

    def knows(self, name: str) -> bool:
        """Whether it has a scale for a series."""
        return name in self.names or self.together or (len(self.names) == 1 and not self.of.series)

    def series_number(self, name: str, place: str) -> int:
        """Under which the run scales a series.

        Raises:
            InputError: it knows none of this name.
        """
        if self.knows(name):
            return self.names.index(name) if name in self.names else 0
        known = ", ".join(self.names[:20]) + (", …" if len(self.names) > 20 else "")
        raise InputError(
            f"{place}: series '{name}' is none that this run was trained on{nearest(name, self.names)} ({known}), so "
            "that its scale is unknown; data.scale_together=true trains for any"
        )

    # ---- what the network reads ---------------------------------------------------------------------

    def later(self, times: np.ndarray | None, now: int, steps: int) -> np.ndarray | None:
        """``(now + steps,)`` times: those given as far as they go, then a step from one to the next."""
        if times is None:
            return None
        missing = max(0, now + steps - len(times))
        after = self.frequency.after(times[-1], np.arange(1, missing + 1))
        return np.concatenate([times, after.astype(times.dtype)])[: now + steps]

    def knows_when(self, history: History, steps: int) -> bool:
        """Whether the times of the steps to come are known."""
        if history.times is None:
            return False
        return self.layout.elapsed is None or len(history.times) >= history.now + steps

    def window(self, history: History, steps: int, time: int | None = None, whole: bool = False) -> Window:
        """What the network reads for a forecast at the end of a history, or at each of its steps.

        Args:
            history: of one series.
            steps: that are to be forecast.
            time: steps of the window, at most; ``None``: as trained.
            whole: from the history's first step.

        Raises:
            InputError: columns of the steps to come are not known, or the history is shorter than a season.
        """
        columns, layout = self.of, self.layout
        k, others = len(columns.target), len(columns.target) + len(columns.past)
        extra = max(layout.said, steps)
        if history.now <= layout.reach:
            raise InputError(
                f"a history of {history.now} steps is shorter than the season of {layout.season} that is needed"
            )
        values = np.full((history.now + extra, history.values.shape[1]), np.nan)
        given = history.values[: history.now + extra]
        values[: len(given)] = given
        coming = np.isnan(values[history.now :, others:])
        if columns.known and coming.any():
            step, column = np.argwhere(coming)[0].tolist()
            raise InputError(
                f"column '{columns.known[column]}' must be known {extra} steps ahead, and is not {step + 1} after the "
                f"last value of {_list(columns.target)}: add rows with it, and with no value of {_list(columns.target)}"
            )
        times = self.later(history.times, history.now, extra) if layout.needs_times else None
        start = layout.reach if whole else max(layout.reach, history.now - (time or layout.length))
        first, missing = max(0, start - layout.before), max(0, layout.before - start)
        unknown = np.zeros(values.shape, bool)
        unknown[: history.now] = history.unknown[: history.now]
        shift, scale = (moments[history.number][None] for moments in self.moments)
        cut = layout.cut(
            padded_front(values[first:], missing)[None],
            padded_front(unknown[first:], missing)[None],
            None if times is None else padded_front(times[first:], missing)[None],
            shift,
            scale,
            steps,
        )
        shift, scale = shift[0], scale[0]
        base = cut.base[0]
        return Window(
            cut.inputs[0],
            cut.ahead[0],
            base * scale[:k] + shift[:k],
            np.broadcast_to(cut.divisor * scale[:k], base.shape),
        )

    def continued(self, history: History, forecast: np.ndarray) -> History:
        """A history one step later, whose last ``(targets,)`` values, in units, are a forecast."""
        now, columns = history.now, len(self.of.numbers)
        values = history.values.copy() if len(history.values) > now else np.concatenate(
            [history.values, np.full((1, columns), np.nan)]
        )  # fmt: skip
        values[now, : len(forecast)] = forecast
        unknown = np.concatenate([history.unknown[:now], np.zeros((1, columns), bool)])
        times = (
            self.later(history.times, now, 1) if history.times is None or len(history.times) == now else history.times
        )
        return History(history.number, now + 1, values, unknown, times)

    @property
    def _goes_on(self) -> bool:
        """Whether forecasts may be read as if they had come, to reach further than the horizon."""
        return not self.of.past and self.layout.said == 1 and self.layout.elapsed is None

    def check_horizon(self, steps: int | None) -> int:
        """How many steps are forecast.

        Raises:
            InputError: the run cannot go so far.
        """
        if steps is None or steps <= self.horizon:
            return steps or self.horizon
        if self.direct and self.horizon > 1:
            raise InputError(
                f"--horizon {steps}: this run says {self.horizon} steps at once and no more (data.strategy=direct): "
                "train with data.strategy=recursive, or with a longer data.horizon"
            )
        if not self._goes_on:
            what = "past columns of steps to come" if self.of.past else "how far apart the steps to come are"
            raise InputError(
                f"--horizon {steps}: this run cannot be fed its own forecasts, since nobody knows {what}: train with a "
                "longer data.horizon"
            )
        return steps

    # ---- a stream -----------------------------------------------------------------------------------

    def stream(self, lines: Iterator[str], name: str) -> Iterator[Arrival | None]:
        """A row a step; a state is kept for each series."""
        if self.of.known:
            raise InputError(
                f"columns {_list(self.of.known)} of the steps to come are needed for each forecast, and a stream has "
                "none of them yet: use --input without --stream"
            )
        past: dict[str, History] = {}
        for place, row in _stream_rows(lines, name, self.dialect, self.of):
            if row is None:
                past = {}
                yield None
                continue
            yield from self._arrivals(row, past, place)

    def _arrivals(self, row: Mapping[str, Any], past: dict[str, History], place: str) -> Iterator[Arrival]:
        """The step of a row, after those that were left out before it, where they are filled in."""
        columns = self.of
        series = str(row.get(columns.series, "")).strip() if columns.series else self.names[0]
        number = self.series_number(series, place)
        values = self._values(row, place)
        time = None
        if columns.time and (columns.time in row or self.layout.needs_times):
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
        if unknown.any() and self.layout.missing == "error":
            column = columns.numbers[int(unknown[0].argmax())]
            raise InputError(f"{place}, column '{column}': there is no value")
        if self.layout.log and (values[0, : len(columns.target)] <= 0).any():
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
        kept, unknown = self.layout.before + 1, np.isnan(values)
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
        if history.now <= self.layout.reach:
            return None
        window = self.window(history, self.layout.said, time=1)
        restart = before is None or before.now <= self.layout.reach
        return Arrival(window.inputs[-1], series, restart, labels, window.shift[-1], window.scale[-1])

    def _values(self, row: Mapping[str, Any], place: str) -> np.ndarray:
        """``(1, columns)`` of a row, not a number where a value is missing."""
        names = self.of.numbers
        for name in names:
            if name not in row:
                raise InputError(f"{place} has no column '{name}'{nearest(name, row)} (it has {', '.join(row)})")
        found = self.dialect.number([row[name] for name in names])
        for name, value in zip(names, found, strict=True):
            if value is not None and not np.isfinite(value):
                raise InputError(f"{place}, column '{name}': {self.dialect.why_no_number(row[name])}")
        return np.array([[np.nan if value is None else value for value in found]])

    def _time(self, row: Mapping[str, Any], place: str) -> np.generic:
        columns, dated = self.of, self.frequency.dated
        cells = [row.get(name) for name in (columns.time, columns.clock) if name]
        frame = pl.DataFrame({"time": [" ".join("" if cell is None else str(cell) for cell in cells)]})
        text = frame.select(time_stamps.clean(pl.col("time"), self.dialect)).to_series()
        where = f"{place}, column '{columns.time}'"
        if text[0] is None:
            raise InputError(f"{where}: there is no time")
        found = time_stamps.parse(text, lambda _: where, self.dialect, None if dated else False)
        if (found.dtype.kind == "M") != dated:
            raise InputError(f"{where}: {text[0]!r} is no {'date' if dated else 'number'}")
        return found[0]

    def _left_out(self, last: np.ndarray, time: np.generic, place: str) -> np.ndarray:
        """The times between two lines, where steps that are left out are filled in."""
        if self.gaps == "elapsed":
            if passed(np.concatenate([last, np.array([time])]))[0] <= 0:
                raise InputError(f"{place}: {show(time)} comes after {show(last[0])}: times must rise")
            return last[:0]
        pair = np.concatenate([last, np.array([time], last.dtype)])
        if self.gaps == "ignore" or (self.frequency.dated and clock_changes(pair, self.frequency).any()):
            return last[:0]
        steps, whole = self.frequency.between(pair)
        due = self.frequency.after(last[0], np.ones(1, np.int64)).astype(last.dtype)
        if whole[0] and steps[0] == 1:
            return last[:0]
        between = int(steps[0]) - 1
        if self.gaps == "error" or not whole[0] or between < 0:
            raise InputError(f"{place}: after {show(last[0])} comes {show(due[0])}, and this is {show(time)}")
        if between > MOST_STREAMED:
            raise InputError(
                f"{place}: {show(time)} comes {between + 1:,} steps after {show(last[0])}: is this time right?"
            )
        return self.frequency.after(last[0], np.arange(1, between + 1)).astype(last.dtype)

    def step(self, x: Any) -> np.ndarray | np.generic:
        raise InputError("a step of a series belongs to its past: use predict, or rnnlab predict RUN --stream")


def _stream_rows(
    lines: Iterator[str], name: str, dialect: Dialect, columns: Columns
) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Each line's place and its cells by column; ``None`` for an empty one."""
    rows = LineByLine(dialect, columns.all)
    as_json: bool | None = None
    for number, text in enumerate(lines, 1):
        place, line = f"{name}, line {number}", text.rstrip("\r\n")
        if not line.strip():
            yield place, None
            continue
        as_json = line.lstrip()[0] == "{" if as_json is None else as_json
        if as_json:
            row = parse_json(line, place)
            if not isinstance(row, Mapping):
                raise InputError(f"{place}: give an object, not {json.dumps(row)[:60]}")
            yield place, row
            continue
        is_first = not rows.header
        cells = rows.cells(line, place)
        if is_first:
            there = pl.DataFrame({column: [] for column in rows.header})
            for column in columns.numbers:
                existing(there, column, name)
        if cells is not None:
            yield place, dict(zip(rows.header, cells, strict=True))


def shown_names(names: Sequence[str]) -> str:
    """The first of many names."""
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
