"""How a run that was trained on a table of sequences reads new ones."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import polars as pl

from rnnlab.data.feature_reader import FeatureReader
from rnnlab.data.reader import Arrival, Given, check_class, refuse_own_moments
from rnnlab.data.table_columns import TableColumns, as_read, moments_of_numbers
from rnnlab.data.table_rows import Rows
from rnnlab.errors import InputError
from rnnlab.files.dialect import Dialect
from rnnlab.files.frequency import passed
from rnnlab.files.source import Format, Source, brief, existing, frame_of_rows, is_table, table_source
from rnnlab.files.stream import stream_rows
from rnnlab.files.table import tabulate


@dataclass(frozen=True, eq=False)
class TableReader(FeatureReader):
    """Rows with the columns of the training table: numbers, words and texts, encoded as in training.

    Attributes:
        columns: which, and how they are encoded.
        target: the column that tells a sequence's class where it is known; empty where there is none.
    """

    formats: ClassVar[tuple[Format, ...]] = ("csv", "tsv", "jsonl", "parquet")
    columns: TableColumns = field(default_factory=TableColumns)
    target: str = ""

    @property
    def dialect(self) -> Dialect:
        return self.columns.dialect

    @property
    def features(self) -> tuple[str, ...]:
        return self.columns.features

    @property
    def example(self) -> str:
        cells = self.columns.cells
        row = "a row a sequence" if self.columns.wide else "a row a step"
        return f"{row} with the columns {', '.join(cells[:12])}{', …' if len(cells) > 12 else ''}"

    def describe(self) -> str:
        columns = self.columns
        beside = [f"'{name}'" for name in (columns.sequence, columns.time) if name]
        known = f"  (a column '{self.target}' may tell the true class)\n" if self.target else ""
        words = [f"{name} (one of {', '.join(levels[:6])}{', …' if len(levels) > 6 else ''})"
                 for name, levels in columns.categories.items()]  # fmt: skip
        words += [f"{name} (text)" for name in columns.texts]
        return (
            f"CSV, Parquet or JSON lines, {self.example}{', and ' + ' and '.join(beside) if beside else ''}, as in the "
            f"training table\n{f'  in words: {chr(44).join(words)}' + chr(10) if words else ''}{known}"
            + ("" if columns.wide else "  --stream: a row a line, CSV or JSON; another sequence, or an empty line, "
               "starts afresh")
        )  # fmt: skip

    # ---- sequences ------------------------------------------------------------------------------

    def read(self, source: Source) -> Iterator[Given]:
        frame = source.frame((), [*self.columns.cells, *filter(None, (self.columns.sequence, self.columns.time))])
        for name in self.columns.cells:
            existing(frame, name, source.name)
        columns = self.columns
        if columns.sequence and columns.sequence not in frame.columns:  # then it is one
            columns = replace(columns, sequence=None)
        if columns.time and columns.time not in frame.columns:
            if columns.elapsed:
                existing(frame, columns.time, source.name)
            columns = replace(columns, time=None)
        truth = self.target if self.classes and self.target in frame.columns else ""
        wanted = columns.wanted(words=[truth] if truth else [])
        rows = columns.rows(tabulate(frame.lazy(), wanted, source.name, columns.dialect), source.name)
        values = self._read(columns.encode(rows, source.name), rows.starts)
        for number, (start, end) in enumerate(pairwise(rows.starts.tolist())):
            label = self._truth(rows, truth, start, end, source.name) if truth else None
            yield Given(rows.names[number] if columns.sequence or columns.wide else 0, values[start:end], label)

    def _truth(self, rows: Rows, truth: str, start: int, end: int, source: str) -> str | None:
        codes = rows.words[truth][start:end]
        there = np.flatnonzero(codes >= 0)
        if not len(there):
            return None
        row = int(there[0])
        return check_class(rows.levels[truth][codes[row]], self.classes, f"{source}, row {rows.places[start + row]}")

    def _read(self, values: np.ndarray, starts: np.ndarray) -> np.ndarray:
        if self.own_moments:
            parts = [values[start:end] for start, end in pairwise(starts)]
            return np.concatenate([as_read(p, moments_of_numbers(p, self.columns.scaled)) for p in parts])
        moments = (np.asarray(self.shift), np.asarray(self.scale)) if self.shift else None
        return as_read(values, moments)

    def take(self, x: Any) -> Iterator[Given]:
        if is_table(x):
            yield from self.read(table_source(x, self.dialect))
            return
        if tuple(self.columns.features) != tuple(self.columns.numbers):
            raise InputError(f"give a table (polars, pandas) or a file: {self.example}")
        yield from super().take(x)

    # ---- steps ----------------------------------------------------------------------------------

    def step(self, x: Any) -> np.ndarray | np.generic:
        refuse_own_moments(self.own_moments)
        if not isinstance(x, Mapping):
            cells = x.tolist() if hasattr(x, "tolist") else x
            if not isinstance(cells, Sequence) or isinstance(cells, str) or len(cells) != len(self.columns.cells):
                raise InputError(f"the step: {brief(x)} is no row of {', '.join(self.columns.cells)}")
            x = dict(zip(self.columns.cells, cells, strict=True))
        return self._row_of([x], "the step", None, self._told(x) if self.columns.elapsed else 0.0)

    @staticmethod
    def _told(x: Mapping[str, Any]) -> float:
        """The time since the step before that a caller tells, 0 at the first step."""
        if "elapsed" not in x:
            raise InputError(
                "the step: give 'elapsed' too, the time since the step before (in seconds where times are dates), and "
                "None for the first step of a sequence"
            )
        elapsed = x["elapsed"]
        if elapsed is None:
            return 0.0
        if isinstance(elapsed, str) or not 0 < elapsed < math.inf:
            raise InputError(f"the step: elapsed={elapsed!r} is no time since the step before: a number above 0")
        return float(elapsed)

    def _row_of(self, row: list[Mapping[str, Any]], place: str, carried: np.ndarray | None, elapsed: float) -> Any:
        columns = replace(self.columns, sequence=None, time=None, static=())
        frame = frame_of_rows(row, place)
        for name in columns.cells:
            existing(frame, name, place)
        # an only row without any value is a step, too
        frame = frame.select(columns.cells).with_columns(pl.lit("0").alias(" "))
        table = tabulate(frame.lazy(), columns.wanted(words=[" "]), place, columns.dialect)
        rows = columns.rows(table, place)
        if columns.elapsed:
            rows = replace(rows, times=np.zeros(1, np.int64))
        values = columns.encode(rows, place, carried)
        if columns.elapsed:
            values[:, len(columns.numbers)] = columns.read_elapsed(np.array([elapsed]))
        return self._read(values, rows.starts)[0]

    def stream(self, lines: Iterator[str], name: str) -> Iterator[Arrival | None]:
        refuse_own_moments(self.own_moments)
        sequences = self.columns.sequence
        if sequences is None:
            raise InputError("this run reads a row a sequence, and no stream of steps: predict without --stream")
        began, last = False, None
        carried, before = np.zeros(0), None
        beside = [column for column in (sequences, self.columns.time) if column]
        for place, row in stream_rows(lines, name, self.dialect, self.columns.cells, beside):
            if row is None:
                if began:
                    yield None
                began, last = False, None
                continue
            sequence = row.get(sequences)
            fresh = not began or sequence != last
            if fresh:
                carried, before = np.full(len(self.columns.numbers), np.nan), None
            now, elapsed = None, 0.0
            if self.columns.elapsed:
                now = self._time(row, place)
                elapsed = 0.0 if before is None else self._since(before, now, place)
            inputs = self._row_of([row], place, carried, elapsed)
            yield Arrival(inputs, sequence, restart=fresh)
            began, last, before = True, sequence, now

    def _time(self, row: Mapping[str, Any], place: str) -> np.ndarray:
        time = str(self.columns.time)
        frame = frame_of_rows([row], place)
        existing(frame, time, place)
        table = tabulate(frame.select(time).lazy(), TableColumns(time=time).wanted(), place, self.dialect)
        assert table.times is not None
        return table.times

    def _since(self, before: np.ndarray, now: np.ndarray, place: str) -> float:
        step = float(passed(np.concatenate([before, now]))[0])
        if step <= 0:
            raise InputError(f"{place}: {self.columns.time} does not rise: the times of a sequence must")
        return step
