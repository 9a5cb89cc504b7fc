"""How a trained run reads new time series: their past, and what is known of the steps to come."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl

from rnnlab.data.calendar import Calendar, calendar_features
from rnnlab.data.panel import Columns, Gaps, Missing, Panel, arrange, carry_forward, month_numbers, show
from rnnlab.data.reader import Arrival, Given, Reader
from rnnlab.data.source import Format, Source, cells_of, existing, is_number, numbers, parse_json, table_source
from rnnlab.data.table import MISSING, tabulate
from rnnlab.errors import InputError, nearest


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
        columns: their names, as arguments of :class:`rnnlab.data.panel.Columns`.
        names: of the series that the run knows.
        shift: ``(series, columns)``: how values were scaled.
        scale: likewise.
        together: all series are scaled alike, so that others may be read too.
        length: steps of a window, the context of a forecast.
        horizon: steps ahead.
        direct: the network puts out all of them at once.
        log: it sees the logarithm of the targets.
        lag: of the simple forecast from which it forecasts the difference; 0 for none.
        divisor: of that difference, ``(horizon, targets)``, the steps first.
        calendar: see :mod:`rnnlab.data.calendar`.
        missing: see :class:`rnnlab.data.series.SeriesData`.
        dated: whether times are dates.
        tick: from one time to the next, in microseconds where they are dates.
        months: the same in months, where it is any; else 0.
        separator: of a CSV, as all below in training.
        time_format: of its times.
        sort: see :func:`rnnlab.data.panel.arrange`.
        gaps: likewise.
    """

    formats: ClassVar[tuple[Format, ...]] = ("csv", "tsv", "parquet", "jsonl")
    columns: Mapping[str, Any]
    names: tuple[str, ...]
    shift: tuple[tuple[float, ...], ...]
    scale: tuple[tuple[float, ...], ...]
    together: bool
    length: int
    horizon: int
    direct: bool
    log: bool = False
    lag: int = 0
    divisor: tuple[float, ...] = ()
    calendar: tuple[Calendar, ...] = ()
    missing: Missing = "error"
    dated: bool = False
    tick: int = 1
    months: int = 0
    separator: str = ","
    time_format: str | None = None
    sort: bool = False
    gaps: Gaps = "error"

    @property
    def of(self) -> Columns:
        """The columns."""
        return Columns(**self.columns)

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
            needed = "needed" if self.calendar else "may be left out"
            lines.append(f"  {columns.time:{width}}  the time, {needed}")
        if columns.series:
            known = ", ".join(self.names[:8]) + (", …" if len(self.names) > 8 else "")
            lines.append(f"  {columns.series:{width}}  the series: {'any' if self.together else known}")
        header = [name for name in (columns.time, columns.series, *columns.numbers) if name]
        lines.append(f"  such as {','.join(header)}")
        how = f"it forecasts {self.horizon} step{'s at once' if self.horizon > 1 else ''}"
        if not (columns.past or self.lag or (self.direct and self.horizon > 1)):
            how = "it forecasts one step, and is fed its own forecasts to go on (--horizon N)"
        lines.append(f"{how}, from the last {self.length} rows")
        lines.append("  --steps: a forecast at each row, the state carried from the first one; --stream: the same")
        return "\n".join(lines)

    @property
    def _known_ahead(self) -> str:
        return f"{self.horizon} step{'s' * (self.horizon > 1)} after the last target" if self.direct else "the horizon"

    @property
    def example(self) -> str:
        columns = self.of
        return f"columns {', '.join(name for name in (columns.time, columns.series, *columns.numbers) if name)}"

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
            x = table_source(x if hasattr(x, "columns") and hasattr(x, "shape") else self._frame(x))
        return self._histories(x)

    def _frame(self, x: Any) -> pl.DataFrame:
        values, columns = np.asarray(x, np.float64), self.of
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or values.shape[1] != len(columns.numbers) or self.calendar or columns.series:
            raise InputError(
                f"an array of the shape {values.shape} is not what this run reads: give a table with the {self.example}"
            )
        return pl.DataFrame({name: values[:, k] for k, name in enumerate(columns.numbers)})

    def _histories(self, source: Source) -> tuple[list[History], list[str]]:
        columns = self.of
        if source.format == "jsonl":
            rows = [row for _, row in source.objects()]
            if not all(isinstance(row, Mapping) for row in rows):
                raise InputError(f"{source.name}: give an object a line with the {self.example}")
            frame = pl.DataFrame(rows, infer_schema_length=None)
        else:
            frame = source.frame(text=[name for name in (columns.time, columns.series) if name])
        if columns.time and columns.time not in frame.columns and not self.calendar:
            columns = replace(columns, time=None)
        if columns.series and columns.series not in frame.columns and len(self.names) == 1:
            columns = replace(columns, series=None)
        for name in columns.all:
            existing(frame, name, source.name)
        # cells that are no numbers are named with their row, which a cast would not
        parsed = [pl.Series(name, numbers(frame, name, source.name).astype(np.float32)) for name in columns.numbers]
        frame = frame.select(column for column in (columns.time, columns.series) if column).with_columns(parsed)
        if columns.time and frame[columns.time].dtype == pl.String:
            text = frame[columns.time].str.strip_chars().replace(dict.fromkeys(MISSING))
            whole = text.cast(pl.Int64, strict=False)
            frame = frame.with_columns((text if self.dated or whole.null_count() else whole).alias(columns.time))
        table = tabulate(frame, columns, source.name, self.time_format)
        if table.times is not None and (table.times.dtype.kind == "M") != self.dated:
            kinds = ("numbers", "dates")
            raise InputError(
                f"{source.name}, column '{columns.time}': these are {kinds[not self.dated]}, and the run was trained "
                f"on {kinds[self.dated]}"
            )
        panel = arrange(table, columns, source.name, self.sort, self.gaps)
        return [self._history(panel, number, source.name) for number in range(len(panel.names))], list(panel.names)

    def _history(self, panel: Panel, number: int, source: str) -> History:
        rows = slice(panel.starts[number], panel.starts[number + 1])
        values, k = panel.values[rows].copy(), len(panel.columns.target)
        known = np.flatnonzero(np.isfinite(values[:, :k]).any(1))
        which = f" of series '{panel.names[number]}'" if panel.names[number] else ""
        if not len(known):
            raise InputError(f"{source}{which}: there is no value of {_list(panel.columns.target)}, and so no past")
        now = int(known[-1]) + 1
        unknown = np.isnan(values[:now])
        if unknown.any() and self.missing == "error":
            row, column = np.argwhere(unknown)[0].tolist()
            raise InputError(
                f"{source}, {panel.place(int(panel.starts[number]) + row)}, column '{panel.columns.numbers[column]}': "
                "there is no value, and the run was trained on series without gaps (data.missing=error)"
            )
        carry_forward(values[:now], [0, now])
        if self.log and (values[:now, :k] <= 0).any():
            row = int((values[:now, :k] <= 0).any(1).argmax())
            raise InputError(
                f"{source}, {panel.place(int(panel.starts[number]) + row)}: only a value above 0 has a logarithm"
            )
        times = None if panel.columns.time is None else panel.times[rows]
        return History(self.series_number(panel.names[number], source), now, values, unknown, times)

    def series_number(self, name: str, place: str) -> int:
        """Under which the run scales a series.

        Raises:
            InputError: it knows none of this name.
        """
        if name in self.names:
            return self.names.index(name)
        if self.together or (len(self.names) == 1 and not self.columns.get("series")):
            return 0
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
        after = np.arange(1, missing + 1)
        if not self.dated:
            return np.concatenate([times, times[-1] + after * self.tick])[: now + steps]
        if not self.months:
            return np.concatenate([times, times[-1] + after * np.timedelta64(self.tick, "us")])[: now + steps]
        days = times[-1].astype("M8[D]")
        month = days.astype("M8[M]")
        starts = month + after * self.months
        if (days + 1).astype("M8[M]") > month and self.tick < 0:  # ends of months
            found = (starts + 1).astype("M8[D]") - 1
        else:
            found = starts.astype("M8[D]") + (days - month.astype("M8[D]"))
        return np.concatenate([times, found.astype(times.dtype)])[: now + steps]

    def window(self, history: History, steps: int, whole: bool = False) -> Window:
        """What the network reads for a forecast at the end of a history, or at each of its steps.

        Args:
            history: of one series.
            steps: that are to be forecast.
            whole: from the history's first step, rather than the last ``length``.

        Raises:
            InputError: columns of the steps to come are not known, or the history is shorter than a season.
        """
        columns = self.of
        k, others = len(columns.target), len(columns.target) + len(columns.past)
        extra = max(self.horizon if self.direct else 1, steps)
        reach = self.lag - 1 if self.lag else 0
        if history.now <= reach:
            raise InputError(
                f"a history of {history.now} steps is shorter than the season of {self.lag} that is needed"
            )
        shift, scale = (np.asarray(each[history.number], np.float32) for each in (self.shift, self.scale))
        values = np.full((history.now + extra, history.values.shape[1]), np.nan, np.float32)
        given = history.values[: history.now + extra]
        values[: len(given)] = given
        if self.log:
            values[: history.now, :k] = np.log(values[: history.now, :k])
        scaled = (values - shift) / scale
        known = scaled[:, others:]
        if columns.known and np.isnan(known[history.now :]).any():
            step, column = np.argwhere(np.isnan(known[history.now :]))[0].tolist()
            raise InputError(
                f"column '{columns.known[column]}' must be known {extra} steps ahead, and is not {step + 1} after the "
                f"last value of {_list(columns.target)}: add rows with it, and with no value of {_list(columns.target)}"
            )
        scaled = np.nan_to_num(scaled)
        known = scaled[:, others:]
        times = self.later(history.times, history.now, extra)
        calendar = np.zeros((len(values), 0), np.float32)
        if self.calendar:
            assert times is not None
            calendar = calendar_features(times, self.calendar)
        start = reach if whole else max(reach, history.now - self.length)
        at = np.arange(start, history.now)
        ahead = self.horizon if self.direct else 1
        parts = [scaled[at, :others]]
        parts += [known[at + 1 + step] for step in range(ahead)] if columns.known else []
        parts.append(calendar[at + 1])
        mask = others if self.missing == "mask" else 0
        if mask:
            parts.append(history.unknown[at, :others].astype(np.float32))
        after = history.now + np.arange(1, steps)
        following = [known[after], calendar[after], np.zeros((steps - 1, len(columns.past) + mask), np.float32)]
        base = np.zeros((len(at), self.horizon, k), np.float32)
        divisor = np.ones((self.horizon, k), np.float32)
        if self.lag:
            divisor = np.asarray(self.divisor, np.float32).reshape(self.horizon, k)
            base = np.stack([scaled[at - self.lag + 1 + step % self.lag, :k] for step in range(self.horizon)], 1)
        return Window(
            np.concatenate(parts, -1),
            np.concatenate(following, -1),
            base * scale[:k] + shift[:k],
            np.broadcast_to(divisor * scale[:k], base.shape),
        )

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
        if self.of.past or self.lag:
            what = "nobody knows past columns of steps to come" if self.of.past else "it forecasts differences"
            raise InputError(
                f"--horizon {steps}: this run cannot be fed its own forecasts, since {what}: train with a longer "
                "data.horizon"
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
        for place, row in _stream_rows(lines, name):
            if row is None:
                past = {}
                yield None
                continue
            arrival = self._arrival(row, past, place)
            if arrival is not None:
                yield arrival

    def _arrival(self, row: Mapping[str, Any], past: dict[str, History], place: str) -> Arrival | None:
        columns = self.of
        series = str(row.get(columns.series, "")) if columns.series else self.names[0]
        number = self.series_number(series, place)
        before = past.get(series)
        values = np.array([[_cell(row, column, place) for column in columns.numbers]], np.float32)
        unknown = np.isnan(values)
        if unknown.any() and self.missing == "error":
            column = columns.numbers[int(unknown[0].argmax())]
            raise InputError(f"{place}, column '{column}': there is no value")
        times = None
        if columns.time and (columns.time in row or self.calendar):
            times = np.array([self._time(row.get(columns.time), place)])
        if before is not None:
            if times is not None and before.times is not None:
                self._check_next(before.times, times[-1], place)
                times = np.concatenate([before.times, times])[-max(1, self.lag) :]
            values[0] = np.where(unknown[0], before.values[-1], values[0])
            values = np.concatenate([before.values, values])[-max(1, self.lag) :]
            unknown = np.concatenate([before.unknown, unknown])[-max(1, self.lag) :]
        if self.log and (values[-1, : len(columns.target)] <= 0).any():
            raise InputError(f"{place}: a value that is not above 0 has no logarithm")
        history = History(number, len(values), values, unknown, times)
        past[series] = history
        if history.now < self.lag:
            return None
        window = self.window(history, self.horizon if self.direct else 1, whole=True)
        labels = {columns.series: series} if columns.series else {}
        if times is not None and columns.time:
            labels[columns.time] = str(row[columns.time])
        return Arrival(
            window.inputs[-1], series, before is None or before.now < self.lag, labels, window.shift[-1],
            window.scale[-1],
        )  # fmt: skip

    def _time(self, cell: Any, place: str) -> np.generic:
        try:
            if not self.dated:
                return np.int64(float(cell))
            frame = pl.DataFrame({"time": [str(cell)], "value": [0.0]})
            times = tabulate(frame, Columns(["value"], time="time"), place, self.time_format).times
            assert times is not None
            return times[0]
        except (TypeError, ValueError):
            raise InputError(f"{place}, column '{self.columns['time']}': {cell!r} is no time") from None

    def _check_next(self, times: np.ndarray, time: np.generic, place: str) -> None:
        due = self.later(times[-1:], 1, 1)
        assert due is not None
        if self.gaps == "error" and time != due[-1]:
            raise InputError(f"{place}: after {show(times[-1])} comes {show(due[-1])}, and this is {show(time)}")

    def step(self, x: Any) -> np.ndarray | np.generic:
        raise InputError("a step of a series belongs to its past: use predict, or rnnlab predict RUN --stream")


def step_of(panel: Panel) -> dict[str, Any]:
    """The arguments of a reader about times: whether they are dates, and the step from one to the next."""
    dated = panel.times.dtype.kind == "M"
    times = panel.times.astype(np.int64)
    inside = np.ones(max(0, len(times) - 1), bool)
    inside[panel.starts[1:-1] - 1] = False
    differences, counts = np.unique(np.diff(times)[inside], return_counts=True)
    step = int(differences[counts.argmax()]) if len(differences) else 1
    months = month_numbers(panel.times) if dated and step >= 28 * 24 * 3600 * 10**6 else None
    if months is None:
        return {"dated": dated, "tick": step, "months": 0}
    days = panel.times.astype("M8[D]")
    at_end = bool(((days + 1).astype("M8[M]") > days.astype("M8[M]")).all())
    # a step of months has no length in time; its sign says whether it goes from end to end
    return {"dated": True, "tick": -1 if at_end else 1, "months": int(np.diff(months)[inside].min())}


def _stream_rows(lines: Iterator[str], name: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Each line's place and its cells by column; ``None`` for an empty one."""
    header: list[str] | None = None
    as_json: bool | None = None
    for number, text in enumerate(lines, 1):
        place, line = f"{name}, line {number}", text.strip()
        if not line:
            yield place, None
            continue
        as_json = line[0] == "{" if as_json is None else as_json
        if as_json:
            row = parse_json(line, place)
            if not isinstance(row, Mapping):
                raise InputError(f"{place}: give an object, not {json.dumps(row)[:60]}")
            yield place, row
            continue
        cells = cells_of(line)
        if header is None:
            header = cells
            continue
        if len(cells) != len(header):
            raise InputError(f"{place}: {len(cells)} cells, and the header has {len(header)}")
        yield place, dict(zip(header, cells, strict=True))


def _cell(row: Mapping[str, Any], column: str, place: str) -> float:
    if column not in row:
        raise InputError(f"{place} has no column '{column}'{nearest(column, row)} (it has {', '.join(row)})")
    cell = row[column]
    if cell is None or cell in MISSING:
        return float("nan")
    if not is_number(str(cell)) or not np.isfinite(float(cell)):
        raise InputError(f"{place}, column '{column}': '{cell}' is no number")
    return float(cell)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
