"""How a trained run reads new time series: their past, and what is known of the steps to come."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from rnnlab.data.history import History, Window, listed
from rnnlab.data.layout import Layout, padded_front
from rnnlab.data.reader import Arrival, Given, Reader
from rnnlab.data.series_histories import read_histories, table_of
from rnnlab.data.series_stream import SeriesStream
from rnnlab.errors import InputError, nearest
from rnnlab.files.dialect import Dialect
from rnnlab.files.frequency import Frequency
from rnnlab.files.panel import Columns, Gaps, ShortSeries
from rnnlab.files.source import Format, Source, is_table, table_source
from rnnlab.spec import Scaling


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

    # longer than 250 lines: a reader of new data is frozen, and kept with the weights as one value
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
        lines = [f"time series: the past of {listed(columns.target)}, a row a step in the order of time, columns"]
        about = [(columns.target, "what is forecast: empty in rows of steps to come")]
        about += [(columns.past, "known up to now")] if columns.past else []
        about += [(columns.known, f"known for the steps to come too: add rows for {self._known_ahead}")]
        about = [(names, what) for names, what in about if names]
        width = max(len(listed(names)) for names, _ in about)
        lines += [f"  {listed(names):{width}}  {what}" for names, what in about]
        if columns.time:
            needed = "needed" if self.layout.needs_times else "may be left out"
            lines.append(f"  {columns.time:{width}}  the time, {needed}")
        if columns.series:
            known = ", ".join(self.names[:8]) + (", …" if len(self.names) > 8 else "")
            lines.append(f"  {columns.series:{width}}  the series: {'any' if self.together else known}")
        lines.append(f"  such as {','.join(self._header)}")
        how = f"it forecasts {self.horizon} step{'s at once' if self.horizon > 1 else ''}"
        if self.goes_on:
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
            x = table_source(x if is_table(x) else table_of(self, x), self.dialect)
        return read_histories(self, x)

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
                f"last value of {listed(columns.target)}: add rows with it, and with no value of "
                f"{listed(columns.target)}"
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
    def goes_on(self) -> bool:
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
        if not self.goes_on:
            what = "past columns of steps to come" if self.of.past else "how far apart the steps to come are"
            raise InputError(
                f"--horizon {steps}: this run cannot be fed its own forecasts, since nobody knows {what}: train with a "
                "longer data.horizon"
            )
        return steps

    def stream(self, lines: Iterator[str], name: str) -> Iterator[Arrival | None]:
        """A row a step; a state is kept for each series."""
        return SeriesStream(self).arrivals(lines, name)

    def step(self, x: Any) -> np.ndarray | np.generic:
        raise InputError("a step of a series belongs to its past: use predict, or rnnlab predict RUN --stream")
