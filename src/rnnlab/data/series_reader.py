"""How a trained run reads new time series: their past, and what is known of the steps to come."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rnnlab.data.history import History, listed
from rnnlab.data.history_reader import HistoryReader
from rnnlab.data.reader import Arrival, Given
from rnnlab.data.series_histories import read_histories, table_of
from rnnlab.data.series_stream import SeriesStream
from rnnlab.errors import InputError
from rnnlab.files.source import Format, Source, is_table, table_source


@dataclass(frozen=True, eq=False)
class SeriesReader(HistoryReader):
    """A table with a row a step: the columns of the training data, and its scaling for each series."""

    formats: ClassVar[tuple[Format, ...]] = ("csv", "tsv", "parquet", "jsonl")

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
    def _known_ahead(self) -> str:
        return f"{self.horizon} step{'s' * (self.horizon > 1)} after the last target" if self.direct else "the horizon"

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
