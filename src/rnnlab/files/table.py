"""Columns of a table, read by polars: only those that are needed, each cell as its dialect says."""

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rnnlab.errors import InputError, nearest
from rnnlab.files import times
from rnnlab.files.clocks import in_zone
from rnnlab.files.dialect import Dialect, column_names
from rnnlab.files.lines import SAMPLE, explain, first_line, lines_of
from rnnlab.files.memory import gigabytes, machine_memory
from rnnlab.files.panel import Columns, Table
from rnnlab.files.written import written

GROWTH = 3
"""Memory that reading takes at most, against that of the columns."""
FIRST_ROWS = 1000
"""By which it is told how times are written."""
PARQUET = (".parquet", ".pq")


def read(path: Path, columns: Columns, dialect: Dialect | None = None) -> Table:
    """Reads the columns; what stands in other columns costs no memory, since the file is streamed.

    Args:
        path: a Parquet file by its name ``*.parquet`` or ``*.pq``, else CSV with a header, in UTF-8.
        columns: which.
        dialect: in which it is written.

    Raises:
        InputError: the file is not there or empty, a column is not in it, a cell is no number or no time, a line is no
            UTF-8 or has too many cells, or the columns do not fit into memory.
    """
    source, dialect = f"data.path={path}", dialect or Dialect()
    with _opened(path, dialect, columns.all) as lazy:
        is_parquet = path.suffix.lower() in PARQUET
        check_columns(lazy.collect_schema().names(), columns, source, None if is_parquet else dialect)
        _check_memory(path, columns, lazy if is_parquet else None)
        return tabulate(lazy, columns, source, dialect)


def first_rows(
    path: Path, dialect: Dialect | None = None, wanted: Sequence[str] = (), rows: int = 10_000
) -> pl.DataFrame:
    """The first rows of a file with all their columns; cells of a CSV are text.

    Args:
        path: as in :func:`read`.
        dialect: in which it is written.
        wanted: columns by which its separator may be known.
        rows: at most.

    Raises:
        InputError: as :func:`read`.
    """
    with _opened(path, dialect or Dialect(), wanted) as lazy:
        return lazy.head(rows).collect()


@contextmanager
def _opened(path: Path, dialect: Dialect, wanted: Sequence[str]) -> Iterator[pl.LazyFrame]:
    """A file as a lazy table; what goes wrong while it is read is said in one line.

    Raises:
        InputError: as :func:`read`.
    """
    source = f"data.path={path}"
    if not path.is_file():
        what = "this is no file" if path.exists() else f"there is no such file{_beside(path)}"
        raise InputError(f"{source}: {what}")
    try:
        if not path.stat().st_size:
            raise InputError(f"{source}: this file is empty")
        is_parquet = path.suffix.lower() in PARQUET
        yield pl.scan_parquet(path) if is_parquet else scan_csv(path, source, dialect, wanted)
    except pl.exceptions.PolarsError as error:
        if path.suffix.lower() not in PARQUET:
            explain(path, source, dialect.separator_of(first_line(path, source), wanted))
        raise InputError(f"{source} cannot be read: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}") from None


def scan_csv(
    content: Path | bytes, source: str, dialect: Dialect, wanted: Sequence[str] = (), quoted: bool = True
) -> pl.LazyFrame:
    """A CSV whose every cell is text.

    Args:
        content: the file, or what was in it.
        source: in words, for messages.
        dialect: in which it is written.
        wanted: columns by which its separator may be known.
        quoted: whether quotation marks hold a cell together.

    Raises:
        InputError: the header is no UTF-8, or names a wanted column twice.
    """
    first = first_line(content, source)
    separator = dialect.separator_of(first, wanted)
    rows = lines_of(content, source, separator, quoted)
    names = column_names(next(rows, (0, []))[1])
    twice = [name for name, count in Counter(names).items() if count > 1]
    for name in twice:
        if name in wanted or not wanted:
            raise InputError(f"{source}: two columns are named '{name}'")
    if twice:  # which nobody asks for
        names = [f"{name} in column {k}" if name in twice else name for k, name in enumerate(names, 1)]
    return pl.scan_csv(
        content if isinstance(content, Path) else io.BytesIO(content), separator=separator, infer_schema=False,
        quote_char='"' if quoted else None, with_column_names=lambda _: names, glob=False,
    )  # fmt: skip


def tabulate(
    lazy: pl.LazyFrame,
    columns: Columns,
    source: str,
    dialect: Dialect | None = None,
    dated: bool | None = None,
) -> Table:
    """A table of polars as rows of numbers, times and series.

    Args:
        lazy: of which the columns are read; cells that are text are read as the dialect says.
        columns: which.
        source: in words, for messages.
        dialect: in which it is written.
        dated: see :attr:`rnnlab.files.frequency.Frequency.numbers_are_dates`.

    Raises:
        InputError: a cell is no number or no time, or there are no rows.
    """
    dialect = dialect or Dialect()
    schema = lazy.collect_schema()
    chosen = []
    for name in columns.numbers:
        dtype = schema[name]
        if not (dtype.is_numeric() or dtype in (pl.String, pl.Boolean, pl.Null)):
            raise InputError(f"{source}: column '{name}' holds {dtype}, and numbers are needed")
        chosen.append(dialect.numbers(pl.col(name), dtype).alias(name))
    for name in (*filter(None, (columns.series,)), *columns.words):
        if schema[name].is_nested() or schema[name] == pl.Binary:
            raise InputError(f"{source}: column '{name}' holds {schema[name]}, and words or numbers are needed")
        # the empty name is none
        names = pl.col(name).cast(pl.String).str.strip_chars()
        chosen.append(pl.when(names != "").then(names).cast(pl.Categorical).alias(name))
    of_times = _Times(lazy, schema, columns, source, dialect, dated) if columns.time is not None else None
    if of_times is not None:
        chosen.append(of_times.expression.alias(of_times.name))
    frame = lazy.select(chosen).collect(engine="streaming")
    # of all columns at once: a call of polars for each of a hundred thousand takes minutes
    infinite = frame.select(pl.col(list(columns.numbers)).is_infinite().any())
    for name in [name for name in infinite.columns if infinite[name][0]]:
        row = int(frame[name].is_infinite().arg_true()[0])
        cell = lazy.select(name).slice(row, 1).collect().item()
        known, text = frame[name].drop_nulls(), str(cell).strip()
        if len(known) > 1 and known.is_infinite().all() and not dialect.options_for(text):
            raise InputError(f"{source}: column '{name}' holds no numbers ('{text[:40]}'), and numbers are needed")
        raise InputError(f"{source}, row {row + 1}, column '{name}': {dialect.why_no_number(cell)}")
    frame, rows, empty = _without_empty_lines(frame, columns.time is not None)
    if not frame.height:
        raise InputError(f"{source} has a header and no rows")
    # a column after the other, each of which is forgotten where it came from: never is all of it there twice
    table = Table(np.empty((frame.height, len(columns.numbers)), order="F"), rows=rows, empty=empty)
    if of_times is not None:
        table.times = of_times.read(frame[of_times.name], table)
    if columns.series is not None:
        table.codes, table.names = _codes(frame[columns.series], columns.series, table, source)
    for name in columns.words:
        table.words[name], table.levels[name] = _levels(frame[name])
    for number, name in enumerate(columns.numbers):
        table.values[:, number] = frame.drop_in_place(name).to_numpy()  # not a number where there is none
    return table


def check_columns(names: Sequence[str], columns: Columns, source: str, dialect: Dialect | None = None) -> None:
    """Refuses columns that are not there, or are named twice.

    Args:
        names: of the columns that there are.
        columns: that are wanted.
        source: in words, for messages.
        dialect: of a CSV.

    Raises:
        InputError: naming the key and the nearest column.
    """
    keys = {"target": columns.target, "past": columns.past, "known": columns.known}
    keys |= {"time": [name for name in (columns.time, columns.clock) if name is not None]}
    keys |= {"series": [columns.series] if columns.series is not None else []}
    there = set(names)
    for key, wanted in keys.items():
        for name in wanted:
            if name in there:
                continue
            if dialect is not None and dialect.separator is not None and len(names) == 1:
                other = Dialect(decimal=dialect.decimal).separator_of(names[0])
                if other in names[0] and other != dialect.separator:
                    ours, theirs = ("tab" if sign == "\t" else f"'{sign}'" for sign in (dialect.separator, other))
                    raise InputError(
                        f"{source}: its cells are not separated by data.separator={ours} but, as it seems, by "
                        f"{theirs}: leave data.separator null, and it is recognised"
                    )
            raise InputError(
                f"data.{key}={name}: {source.removeprefix('data.path=')} has no such column{nearest(name, names)} "
                f"(it has {', '.join(names[:20])}{', …' if len(names) > 20 else ''})"
            )
    twice = [name for name, count in Counter(columns.all).items() if count > 1]
    if twice:
        raise InputError(f"column '{twice[0]}' is named twice among data.target, past, known, time and series")


def _check_memory(path: Path, columns: Columns, parquet: pl.LazyFrame | None) -> None:
    if parquet is not None:
        rows = float(parquet.select(pl.len()).collect().item())
    else:
        with open(path, "rb") as file:
            sample = file.read(SAMPLE)
        rows = path.stat().st_size / (len(sample) / max(1, sample.count(b"\n")))
    needed = (
        GROWTH
        * rows
        * (
            8 * len(columns.numbers)
            + 8 * (columns.time is not None)
            + 4 * (columns.series is not None)
            + 8 * len(columns.words)
        )
    )
    if needed > machine_memory():
        raise InputError(
            f"data.path={path} is {gigabytes(path.stat().st_size)} with about {rows:,.0f} rows; its "
            f"{len(columns.all)} columns need up to {gigabytes(needed)} of memory, and this machine has "
            f"{gigabytes(machine_memory())}: name fewer columns, or give a part of it"
        )


def _without_empty_lines(frame: pl.DataFrame, timed: bool) -> tuple[pl.DataFrame, np.ndarray | None, int]:
    """Leaves out rows without any value: all where rows tell their time, and else, since each is a step, the last."""
    empty = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    if not timed:
        empty = empty & (pl.int_range(frame.height, eager=True) >= frame.height - _at_end(empty))
    if not empty.any():
        return frame, None, 0
    return frame.filter(~empty), (~empty).arg_true().to_numpy() + 1, int(empty.sum())


def _at_end(empty: pl.Series) -> int:
    full = (~empty).arg_true()
    return len(empty) - 1 - int(full[-1]) if len(full) else len(empty)


class _Times:
    """The time column of a table: parsed while the file is streamed where all cells are of the first one's form."""

    def __init__(
        self,
        lazy: pl.LazyFrame,
        schema: Mapping[str, Any],
        columns: Columns,
        source: str,
        dialect: Dialect,
        dated: bool | None,
    ) -> None:
        assert columns.time is not None
        self.name, self.source, self.dialect, self.dated = columns.time, source, dialect, dated
        dtype = schema[self.name]
        self.raw: pl.Expr | None = None
        self.zone: str | None = None
        self.form: times.Form | None = None
        if columns.clock is not None:
            day = pl.col(self.name).dt.strftime("%Y-%m-%d") if dtype.is_temporal() else pl.col(self.name)
            # a clock of a Parquet file says its seconds
            self.raw = times.clean(day, dialect) + " " + times.clean(pl.col(columns.clock), dialect)
        elif dtype.is_temporal() and dtype not in (pl.Time, pl.Duration):
            self.zone = getattr(dtype, "time_zone", None)
            column = pl.col(self.name)
            if self.zone is not None:
                column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
            self.expression = column.cast(pl.Datetime("us"))
        elif dtype == pl.String or dtype.is_numeric() or dtype == pl.Null:
            self.raw = times.clean(pl.col(self.name), dialect)
        else:
            raise InputError(f"{source}: column '{self.name}' holds {dtype}, and times are needed")
        if self.raw is None:
            return
        self.lazy = lazy
        self.names = [self.name] if columns.clock is None else [self.name, columns.clock]
        some = lazy.select(self.raw.alias(self.name)).head(100).collect()[self.name].drop_nulls()
        self.expression = self.raw
        if some.len() and times.looks_counted(some, dialect, dated):
            self.expression = self.raw.cast(pl.Int64, strict=False)
        elif some.len():
            forms = times.forms_in(some, dialect, dated)
            # of two meanings the whole column decides
            if forms and (len(forms) == 1 or dialect.time_format):
                self.form = forms[0]
                self.expression = self.form.parse(self.raw)
            cells = lazy.select(pl.col(columns.clock or self.name).cast(pl.String)).head(100).collect().to_series()
            if (forms and forms[0].zoned) or times.is_of_utc(cells.drop_nulls()[0]):
                self.zone = "UTC"

    def read(self, column: pl.Series, table: Table) -> np.ndarray:
        """``(rows,)`` of the rows of a table, which gets the zone of its times: days and months of a place are those of
        its clock, and of no zone.
        """
        found = self._read(column, table)
        table.zone = self.zone
        if self.form is not None:
            cells = self.lazy.select(self.names).head(FIRST_ROWS).drop_nulls().collect()
            if not any(dtype.is_temporal() for dtype in cells.dtypes):
                table.written = written(cells.get_columns(), self.form)
        # when it is midnight somewhere, UTC shows one hour in winter and another one in summer
        if self.zone is None or len(found) < 2 or len(_hours(found)) > 2:
            return found
        shown = self._shown(found, table)
        if len(_hours(shown)) > 1:
            return found
        table.zone = None
        return shown

    def _shown(self, found: np.ndarray, table: Table) -> np.ndarray:
        """``(rows,)`` what a clock of its place showed at times of UTC."""
        if self.raw is None:
            assert self.zone is not None
            return in_zone(found, self.zone).dt.replace_time_zone(None).to_numpy()
        place = times.place_of(self.source, self.name, table.rows)
        return times.shown(self._cells(table), place, self.dialect)

    def _cells(self, table: Table) -> pl.Series:
        """As they stand in the file."""
        assert self.raw is not None
        column = self.lazy.select(self.raw.alias(self.name)).collect(engine="streaming")[self.name]
        return column if table.rows is None else column.gather(table.rows - 1)

    def _read(self, column: pl.Series, table: Table) -> np.ndarray:
        if self.raw is not None and (self.expression is not self.raw and column.null_count()):
            column = self._cells(table)
        place = times.place_of(self.source, self.name, table.rows)
        timeless = column.is_null().arg_true()
        if len(timeless):
            raise InputError(f"{place(int(timeless[0]))}: there is no time")
        if column.dtype == pl.String:
            found, self.form = times.parsed(column, place, self.dialect, self.dated)
            return found
        return column.to_numpy()


def _hours(moments: np.ndarray) -> np.ndarray:
    """The different times of the day among ``(rows,)`` times."""
    return np.unique(moments - moments.astype("M8[D]"))


def _codes(column: pl.Series, name: str, table: Table, source: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers of the series in the order in which they occur, and their names."""
    if column.null_count():
        row = int(column.is_null().arg_true()[0])
        raise InputError(f"{source}, row {table.row(row)}, column '{name}': there is no name")
    return _levels(column)


def _levels(column: pl.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    """``(rows,)`` numbers of different texts in the order in which they occur, -1 for an empty one; and the texts."""
    first = column.drop_nulls().unique(maintain_order=True)
    if not len(first):
        return np.full(len(column), -1), ()
    physical = column.to_physical()
    order = np.full(int(first.to_physical().to_numpy().max()) + 2, -1)
    order[first.to_physical().to_numpy()] = np.arange(len(first))
    return order[physical.cast(pl.Int64).fill_null(len(order) - 1).to_numpy()], tuple(first.cast(pl.String))


def _beside(path: Path) -> str:
    folder = path.parent
    return nearest(path.name, [file.name for file in folder.iterdir()]) if folder.is_dir() else ""
