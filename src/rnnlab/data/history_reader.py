"""How a trained run reads the past of time series, and what is known of the steps to come, by its own scaling."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from rnnlab.data.history import History, Window, listed
from rnnlab.data.layout import Layout, padded_front
from rnnlab.data.reader import Reader
from rnnlab.errors import InputError, nearest
from rnnlab.files.clocks import CLOCKS, later
from rnnlab.files.dialect import Dialect
from rnnlab.files.frequency import Frequency
from rnnlab.files.panel import Columns, Gaps, Repeated, ShortSeries
from rnnlab.spec import Scaling


@dataclass(frozen=True, eq=False)
class HistoryReader(Reader):
    """What :class:`rnnlab.data.series_reader.SeriesReader` keeps of the training data, and how it cuts a window.

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
        repeated: see there, too.
        short_series: whether a series that is too short is an error, or left out.
        naive_errors: ``(series, targets)`` the unit of the mean absolute scaled error, from the training part.
        clocks: of which one has shown the times, as :func:`rnnlab.files.clocks.clocks_of` says; empty where none is
            known to have, or they were those of UTC.
        of_utc: whether the times of training were those of UTC; ``None`` where that is not known, or does not matter.
    """

    layout: Layout
    names: tuple[str, ...]
    shift: tuple[tuple[float, ...], ...]
    scale: tuple[tuple[float, ...], ...]
    together: bool
    steps: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)
    sort: bool = False
    gaps: Gaps = "error"
    repeated: Repeated = "error"
    short_series: ShortSeries = "error"
    naive_errors: tuple[tuple[float, ...], ...] = ()
    clocks: tuple[str, ...] = ()
    of_utc: bool | None = None

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
        return Dialect.from_plain(self.written)

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

    @property
    def _header(self) -> list[str]:
        columns = self.of
        return [name for name in (columns.time, columns.clock, columns.series, *columns.numbers) if name]

    @property
    def example(self) -> str:
        return f"columns {', '.join(self._header)}"

    # ---- series ---------------------------------------------------------------------------------

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

    def later(self, history: History, steps: int) -> tuple[np.ndarray | None, bool]:
        """``(now + steps,)`` times, and whether they are sure: those that are given, then a step from one to the next
        by a clock that has shown those of the training data and these.
        """
        times = history.times
        if times is None:
            return None, True
        missing = max(0, history.now + steps - len(times))
        if not missing:
            return times[: history.now + steps], True
        both = tuple(clock for clock in history.clocks if clock in (self.clocks or CLOCKS))
        after, is_sure = later(times, missing, self.frequency, both or history.clocks or self.clocks)
        return np.concatenate([times, after]), is_sure

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
                f"column '{columns.known[column]}' must be known {extra} step{'s' * (extra > 1)} ahead, and has no "
                f"value at step {step + 1} after the last one of {listed(columns.target)}: add rows with it, and with "
                f"no value of {listed(columns.target)}"
            )
        times = self.later(history, extra)[0] if layout.needs_times else None
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
        times = history.times
        if times is not None and len(times) == now:
            times, _ = self.later(history, 1)
        return history._replace(now=now + 1, values=values, unknown=unknown, times=times)
