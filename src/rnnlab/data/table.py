"""Columns of a CSV or Parquet file, read by polars: only those that are needed, in single precision."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rnnlab.data.corpus import gigabytes, machine_memory
from rnnlab.data.panel import Columns, Table
from rnnlab.errors import InputError, nearest

MISSING = ["", "NA", "N/A", "na", "NaN", "nan", "NULL", "null", "None", "?"]
"""Cells without a value."""
TIME_FORMATS = ("%Y-%m-%dT%H", "%Y-%m-%d %H", "%Y-%m", "%Y/%m", "%b %Y", "%B %Y", "%m/%d/%Y", "%Y%m%d")
"""Tried on times that are written as none of polars' own formats (ISO 8601 and days first) is."""
FAST_FORMATS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f")
SAMPLE = 1 << 20
GROWTH = 3
"""Memory that reading takes at most, against that of the columns."""


def read(path: Path, columns: Columns, separator: str = ",", time_format: str | None = None) -> Table:
    """Reads the columns; what stands in other columns costs no memory, since the file is streamed.

    Args:
        path: a Parquet file by its name ``*.parquet`` or ``*.pq``, else CSV with a header, in UTF-8.
        columns: which.
        separator: between the cells of a CSV.
        time_format: of times in a CSV, as in Python's ``strptime``; by default it is guessed.

    Raises:
        InputError: the file is not there or empty, a column is not in it, a cell is no number or no time, a line is no
            UTF-8 or has too many cells, or the columns do not fit into memory.
    """
    if not path.is_file():
        raise InputError(f"data.path={path}: there is no such file{_beside(path)}")
    if not path.stat().st_size:
        raise InputError(f"data.path={path}: this file is empty")
    parquet = path.suffix.lower() in (".parquet", ".pq")
    try:
        if parquet:
            lazy = pl.scan_parquet(path)
            names = lazy.collect_schema().names()
        else:
            names = _header(path, separator)
            _check_columns(path, columns, names, separator)
            lazy = _scan_csv(path, columns, separator, time_format)
        _check_columns(path, columns, names, None)
        _check_memory(path, columns, lazy if parquet else None)
        frame = None if parquet or time_format else _read_fast(path, columns, separator)
        if frame is None:
            frame = lazy.select(columns.all).collect(engine="streaming")
    except (pl.exceptions.PolarsError, UnicodeDecodeError, OSError) as error:
        if not parquet:
            _explain(path, columns, separator)
        raise InputError(f"data.path={path} cannot be read: {str(error).splitlines()[0]}") from None
    return tabulate(frame, columns, f"data.path={path}", time_format)


def tabulate(frame: pl.DataFrame, columns: Columns, source: str, time_format: str | None = None) -> Table:
    """A frame of polars as a table.

    Raises:
        InputError: as :func:`read`.
    """
    rows, empty = None, 0
    if columns.time is not None and frame[columns.time].null_count():
        frame, rows, empty = _without_empty_lines(frame, columns, source)
    if not frame.height:
        raise InputError(f"{source} has a header and no rows")
    table = Table(np.empty((frame.height, len(columns.numbers)), np.float32), rows=rows, empty=empty)
    if columns.time is not None:
        table.times = _times(frame[columns.time], columns.time, table, source, time_format)
    if columns.series is not None:
        table.codes, table.names = _codes(frame[columns.series], columns.series, table, source)
    for number, name in enumerate(columns.numbers):
        column = frame[name]
        if not (column.dtype.is_numeric() or column.dtype == pl.Boolean or column.dtype == pl.Null):
            raise InputError(f"{source}: column '{name}' holds {column.dtype}, and numbers are needed")
        table.values[:, number] = column.cast(pl.Float32).fill_null(np.nan).to_numpy()
        infinite = np.isinf(table.values[:, number])
        if infinite.any():
            row = int(infinite.argmax())
            value = table.values[row, number]
            raise InputError(f"{source}, row {table.row(row)}, column '{name}': {value} is no finite number")
    return table


def _read_fast(path: Path, columns: Columns, separator: str) -> pl.DataFrame | None:
    """The same frame three times as fast where all times are of one common format; ``None`` where they are not."""
    name = columns.time
    if name is None:
        return None
    lazy = _scan_csv(path, columns, separator, "").select(columns.all)
    head = lazy.select(name).head(100).collect()[name]
    for form in FAST_FORMATS:
        if head.len() and not head.str.to_datetime(form, time_unit="us", strict=False).null_count():
            parsed = pl.col(name).str.to_datetime(form, time_unit="us", strict=False)
            frame = lazy.with_columns(parsed).collect(engine="streaming")
            return None if frame[name].null_count() else frame
    return None


def _scan_csv(path: Path, columns: Columns, separator: str, time_format: str | None) -> pl.LazyFrame:
    types: dict[str, Any] = dict.fromkeys(columns.numbers, pl.Float32)
    if columns.series is not None:
        types[columns.series] = pl.Categorical
    if columns.time is not None and time_format is not None:
        types[columns.time] = pl.String  # polars would guess, and take the first of two numbers for the day
    return pl.scan_csv(
        path, separator=separator, null_values=MISSING, schema_overrides=types, try_parse_dates=True,
        infer_schema_length=1000,
    )  # fmt: skip


def _header(path: Path, separator: str) -> list[str]:
    with open(path, "rb") as file:
        line = file.readline(SAMPLE)
    names = next(csv.reader([line.decode("utf-8-sig").rstrip("\r\n")], delimiter=separator), [])
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"data.path={path}: two columns are named '{twice}'")
    return names


def _check_columns(path: Path, columns: Columns, names: list[str], separator: str | None) -> None:
    keys = {"target": columns.target, "past": columns.past, "known": columns.known}
    keys |= {"time": [columns.time] if columns.time else [], "series": [columns.series] if columns.series else []}
    for key, wanted in keys.items():
        for name in wanted:
            if name in names:
                continue
            other = next((s for s in ";\t|," if s != separator and len(names) == 1 and s in names[0]), None)
            if separator is not None and other is not None:
                shown = "\\t" if other == "\t" else other
                raise InputError(
                    f"data.path={path}: its cells are not separated by data.separator='{separator}' but, as it "
                    f"seems, by '{shown}': give data.separator='{shown}'"
                )
            raise InputError(
                f"data.{key}={name}: {path} has no such column{nearest(name, names)} (it has {', '.join(names[:20])}"
                f"{', …' if len(names) > 20 else ''})"
            )
    chosen = columns.all
    for name in chosen:
        if chosen.count(name) > 1:
            raise InputError(f"column '{name}' is named twice among data.target, past, known, time and series")


def _check_memory(path: Path, columns: Columns, parquet: pl.LazyFrame | None) -> None:
    if parquet is not None:
        rows = float(parquet.select(pl.len()).collect().item())
    else:
        with open(path, "rb") as file:
            sample = file.read(SAMPLE)
        rows = path.stat().st_size / (len(sample) / max(1, sample.count(b"\n")))
    needed = (
        GROWTH * rows * (4 * len(columns.numbers) + 8 * (columns.time is not None) + 4 * (columns.series is not None))
    )
    if needed > machine_memory():
        raise InputError(
            f"data.path={path} is {gigabytes(path.stat().st_size)} with about {rows:,.0f} rows; its "
            f"{len(columns.all)} columns need up to {gigabytes(needed)} of memory, and this machine has "
            f"{gigabytes(machine_memory())}: name fewer columns, or give a part of it"
        )


def _without_empty_lines(
    frame: pl.DataFrame, columns: Columns, source: str
) -> tuple[pl.DataFrame, np.ndarray | None, int]:
    """Leaves out rows without any value; a row that lacks its time alone is refused."""
    empty = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    timeless = (frame[columns.time or ""].is_null() & ~empty).arg_true()
    if len(timeless):
        raise InputError(f"{source}, row {timeless[0] + 1}, column '{columns.time}': there is no time")
    return frame.filter(~empty), (~empty).arg_true().to_numpy() + 1, int(empty.sum())


def _times(column: pl.Series, name: str, table: Table, source: str, time_format: str | None) -> np.ndarray:
    if column.dtype.is_integer():
        return column.to_numpy().astype(np.int64)
    if column.dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        odd = (whole != column).fill_null(True).arg_true()
        if len(odd):
            raise InputError(
                f"{source}, row {table.row(odd[0])}, column '{name}': {column[odd[0]]} is neither a whole number nor a "
                "date"
            )
        return whole.to_numpy()
    if column.dtype.is_temporal() and not isinstance(column.dtype, pl.Time | pl.Duration):
        if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return column.cast(pl.Datetime("us")).to_numpy()
    if column.dtype != pl.String:
        raise InputError(f"{source}: column '{name}' holds {column.dtype}, and times are needed")
    return _parse(column, name, table, source, time_format)


def _parse(column: pl.Series, name: str, table: Table, source: str, time_format: str | None) -> np.ndarray:
    first = 0  # the first row that the best attempt does not understand
    for form in (time_format,) if time_format else (None, *TIME_FORMATS):
        try:
            if form in ("%Y-%m", "%Y/%m"):  # a date needs a day
                parsed = (column + form[2] + "01").str.to_datetime(form + form[2] + "%d", time_unit="us", strict=False)
            elif form in ("%b %Y", "%B %Y"):
                parsed = ("01 " + column).str.to_datetime("%d " + form, time_unit="us", strict=False)
            elif form is not None and form.endswith("%H"):  # and an hour its minutes
                parsed = (column + ":00").str.to_datetime(form + ":%M", time_unit="us", strict=False)
            else:
                parsed = column.str.to_datetime(form, time_unit="us", strict=False)
        except pl.exceptions.PolarsError:
            continue
        failed = parsed.is_null().arg_true()
        if not len(failed):
            return parsed.to_numpy()
        first = max(first, int(failed[0]))
    numbers = column.cast(pl.Int64, strict=False).is_null().arg_true()
    first = max(first, int(numbers[0])) if len(numbers) else first
    hint = "" if time_format else "; data.time_format tells how times are written, such as '%d.%m.%Y %H:%M'"
    written = f" as data.time_format={time_format} says" if time_format else ""
    raise InputError(f"{source}, row {table.row(first)}, column '{name}': '{column[first]}' is no time{written}{hint}")


def _codes(column: pl.Series, name: str, table: Table, source: str) -> tuple[np.ndarray, tuple[str, ...]]:
    if column.null_count():
        row = column.is_null().arg_true()[0]
        raise InputError(f"{source}, row {table.row(row)}, column '{name}': the series has no name")
    if column.dtype != pl.Categorical:
        column = column.cast(pl.String).cast(pl.Categorical)
    first = column.unique(maintain_order=True)
    numbers = first.to_physical().to_numpy()
    # polars numbers the names as it likes; here the first that occurs is 0
    lookup = np.zeros(int(numbers.max()) + 1, np.int32)
    lookup[numbers] = np.arange(len(numbers))
    return lookup[column.to_physical().to_numpy()], tuple(first.cast(pl.String))


# ---- what is wrong with a file that polars refuses ------------------------------------------------


def _explain(path: Path, columns: Columns, separator: str) -> None:
    """Finds the line and the cell, which polars does not tell, in a second pass."""
    names: list[str] = []
    width, rows = 0, 0
    for line, cells in _cells(path, separator):
        if line == 1:
            names, width = cells, len(cells)
            continue
        if not cells:
            rows += 1
            continue
        rows += 1
        if len(cells) > width:
            raise InputError(
                f"data.path={path}, line {line}: {len(cells)} cells, and the header has {width}: if the separator "
                f"stands within a cell, put it in quotation marks"
            )
        for name in columns.numbers:
            at = names.index(name)
            cell = cells[at] if at < len(cells) else ""
            if cell not in MISSING and not _is_number(cell):
                raise InputError(f"data.path={path}, row {rows}, column '{name}': '{cell[:40]}' is no number")


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip())
    except ValueError:
        return False
    return "_" not in cell


def _cells(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    def lines() -> Iterator[str]:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                yield _decoded(line, number, path)

    reader = csv.reader(lines(), delimiter=separator)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise InputError(f"data.path={path}, line {reader.line_num}: {error}") from None


def _decoded(line: bytes, number: int, path: Path) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"data.path={path}, line {number}: byte 0x{line[error.start]:02x} is no UTF-8 ({error.reason}): convert "
            "the file to UTF-8"
        ) from None


def _beside(path: Path) -> str:
    folder = path.parent
    return nearest(path.name, [file.name for file in folder.iterdir()]) if folder.is_dir() else ""
