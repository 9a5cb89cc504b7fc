"""New data from a file, a pipe or a table in memory, as rows, lines or text."""

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from rnnlab.errors import InputError, nearest
from rnnlab.files.dialect import Dialect, cells_of, is_number
from rnnlab.files.lines import decode_whole, explain, first_line
from rnnlab.files.table import scan_csv

Format = Literal["csv", "tsv", "jsonl", "parquet", "text", "ts", "mat", "midi", "frames", "audio"]
SUFFIXES: dict[str, Format] = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet",
    ".pq": "parquet", ".txt": "text", ".text": "text", ".ts": "ts", ".mat": "mat", ".mid": "midi", ".midi": "midi",
    ".wav": "audio", ".flac": "audio", ".ogg": "audio",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Where new data comes from.

    Attributes:
        name: for messages.
        format: of the content.
        content: of the file or the pipe, or a table.
        path: of the file, where it is one.
        dialect: in which a CSV is written.
    """

    name: str
    format: Format
    content: bytes | pl.DataFrame
    path: Path | None = None
    dialect: Dialect = field(default_factory=Dialect)

    @property
    def raw(self) -> bytes:
        """The content of a file or a pipe.

        Raises:
            TypeError: it is a table that was handed in.
        """
        if isinstance(self.content, pl.DataFrame):
            raise TypeError(f"{self.name} is a table, and no file")
        return self.content

    def text(self) -> str:
        """All of it, decoded.

        Raises:
            InputError: it is no UTF-8: named with its line.
        """
        return decode_whole(self.raw, self.name)

    def lines(self) -> Iterator[tuple[int, str]]:
        """The lines with something on them, numbered from 1."""
        for number, line in enumerate(self.text().split("\n"), 1):
            if line.strip():
                yield number, line.removesuffix("\r")

    def objects(self) -> Iterator[tuple[int, Any]]:
        """What each line of JSON holds, with the line's number.

        Raises:
            InputError: a line is no JSON.
        """
        for number, line in self.lines():
            yield number, parse_json(line, f"{self.name}, line {number}")

    def frame(self, names: Sequence[str] = (), wanted: Sequence[str] = (), quoted: bool | None = None) -> pl.DataFrame:
        """The rows of a CSV, whose cells are all text, of JSON lines, or of a Parquet file.

        Args:
            names: of the columns, for a CSV without a header.
            wanted: columns by which the separator of a CSV may be known; those of ``names`` by default.
            quoted: whether quotation marks hold a cell of a CSV together; by default, unless tabulators part them.

        Raises:
            InputError: it is no table, or has no rows.
        """
        if isinstance(self.content, pl.DataFrame):
            table = self.content
        elif self.format == "parquet":
            try:
                table = pl.read_parquet(io.BytesIO(self.content))
            except pl.exceptions.PolarsError as error:
                raise InputError(f"{self.name} cannot be read as Parquet: {_first_line(error)}") from None
        elif self.format == "jsonl":
            table = self._json_table()
        else:
            table = self._csv(names, wanted or names, self.format != "tsv" if quoted is None else quoted)
        if not table.height:
            raise InputError(f"{self.name} has a header and no rows")
        return table

    def _json_table(self) -> pl.DataFrame:
        rows = []
        for line, row in self.objects():
            if not isinstance(row, Mapping):
                raise InputError(f"{self.name}, line {line}: give an object a line, not {json.dumps(row)[:60]}")
            rows.append(row)
        return frame_of_rows(rows, self.name)

    def _csv(self, names: Sequence[str], wanted: Sequence[str], quoted: bool) -> pl.DataFrame:
        dialect = replace(self.dialect, separator="\t") if self.format == "tsv" else self.dialect
        content = self.raw
        header = first_line(content.lstrip(b"\r\n"), self.name)
        separator = dialect.separator_of(header, wanted)
        first = cells_of(header, separator)
        if names and len(first) == len(names) and all(map(is_number, first)):
            content = f"{separator.join(names)}\n".encode() + content.removeprefix(b"\xef\xbb\xbf")
        try:
            dialect = replace(dialect, separator=separator)
            return scan_csv(content, self.name, dialect, wanted, quoted).collect()
        except pl.exceptions.PolarsError as error:
            explain(content, self.name, separator, quoted)
            raise InputError(f"{self.name} is no table: {_first_line(error)}") from None


def find(place: str | Path) -> Path | None:
    """A file that there is; ``None`` for ``-``, the standard input.

    Raises:
        InputError: there is none.
    """
    path = None if str(place) == "-" else Path(place).expanduser()
    if path is not None and not os.path.lexists(path):
        there = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(f"--input {path}: there is no such file{nearest(path.name, there)}")
    return path


def open_source(
    place: str | Path, format: Format | None = None, plain: Format = "csv", dialect: Dialect | None = None
) -> Source:
    """A file, or the standard input for ``-``, read whole.

    Args:
        place: a path, whose ending says the format, or ``-``.
        format: where the ending does not say it.
        plain: what is taken for the format where nobody says it, and the content is neither JSON nor Parquet.
        dialect: in which a CSV is written.

    Raises:
        InputError: there is no such file, it cannot be read, or it is empty.
    """
    path = find(place)
    name = "standard input" if path is None else f"--input {path}"
    try:
        content = sys.stdin.buffer.read() if path is None else path.read_bytes()
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from None
    if not content.strip():
        raise InputError(f"{name} is empty")
    if format is None and path is not None:
        format = SUFFIXES.get(path.suffix.lower())
    if format is None:
        start = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:4]
        format = "parquet" if start == b"PAR1" else "jsonl" if start[:1] in (b"{", b"[") else plain
    return Source(name, format, content, path, dialect or Dialect())


def table_source(table: Any, dialect: Dialect | None = None) -> Source:
    """A table in memory: of polars, lazy or not, of pandas, or a mapping from names to columns.

    Raises:
        InputError: its columns are not equally long, or hold what no column of a table can.
    """
    name = "the table"
    if isinstance(table, pl.LazyFrame):
        table = table.collect()
    if not isinstance(table, pl.DataFrame):
        names = list(table) if isinstance(table, Mapping) else list(table.columns)
        lengths = {len(table[column]) if hasattr(table[column], "__len__") else 1 for column in names}
        if len(lengths) > 1:
            raise InputError(f"{name}: its columns are not equally long ({', '.join(map(str, sorted(lengths)))})")
        columns = {str(column): _cells(table[column]) for column in names}
        try:
            table = pl.DataFrame({column: pl.Series(column, cells, strict=False) for column, cells in columns.items()})
        except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{name}: {_first_line(error)}") from None
    return Source(name, "parquet", table, dialect=dialect or Dialect())


def is_table(x: Any) -> bool:
    """Whether it is a table in memory, as :func:`table_source` takes them."""
    return isinstance(x, pl.LazyFrame | Mapping) or (hasattr(x, "columns") and hasattr(x, "shape"))


def _cells(column: Any) -> list[Any]:
    """The values of a column, ``None`` where there is none: pandas has several names for that."""
    if isinstance(column, pl.Series):
        return column.to_list()
    if not hasattr(column, "__iter__") or isinstance(column, str):
        column = [column]
    return [None if is_missing(value) else value for value in column]


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: ``None``, not a number, pandas' ``NA`` and ``NaT``."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):
        return False


def as_numbers(x: Any) -> np.ndarray:
    """Numbers in memory as float64, not a number where there is none.

    Raises:
        TypeError: or ValueError: they are no numbers, or nested lists of different length.
    """
    found = np.asarray(x)
    if found.dtype.kind in "Mm":
        raise TypeError("these are times")
    return found.astype(np.float64) if found.dtype != object else np.asarray(_without_missing(x), np.float64)


def _without_missing(x: Any) -> Any:
    if isinstance(x, list | tuple | np.ndarray) or (hasattr(x, "__iter__") and hasattr(x, "dtype")):
        return [_without_missing(each) for each in x]
    return float("nan") if is_missing(x) else x


def brief(x: Any) -> str:
    """What was given, in half a line."""
    try:
        return json.dumps(x)[:60]
    except (TypeError, ValueError, RecursionError):
        return f"{type(x).__name__} {' '.join(repr(x).split())}"[:60]


def listed(x: Any, what: str) -> list[Any]:
    """Several things.

    Args:
        x: a list, an array, or anything that can be counted up.
        what: is asked for, in words.

    Raises:
        InputError: it is one thing.
    """
    try:
        return list(x)
    except TypeError:
        raise InputError(f"give {what}, not {brief(x)}") from None


def frame_of_rows(rows: Sequence[Mapping[str, Any]], source: str) -> pl.DataFrame:
    """A table of objects; a column of numbers and text is one of text.

    Raises:
        InputError: a value is a list or an object.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        odd = next((n for n, value in enumerate(values, 1) if isinstance(value, list | dict)), None)
        if odd is not None:
            cell = values[odd - 1]
            what = "a list" if isinstance(cell, list) else "an object"
            raise InputError(
                f"{source}, row {odd}, column '{name}': {json.dumps(cell)[:30]}… is {what}, and a number or a text is "
                "needed: of a sequence write a row a step, with a column that names the sequence of each row"
            )
        if any(isinstance(value, str) for value in values):
            values = [value if value is None else str(value) for value in values]
        try:
            columns.append(pl.Series(name, values, strict=False))
        except (pl.exceptions.PolarsError, TypeError, OverflowError) as error:
            raise InputError(f"{source}, column '{name}': {_first_line(error)}") from None
    return pl.DataFrame(columns)


def numbers(frame: pl.DataFrame, column: str, source: str, dialect: Dialect | None = None) -> np.ndarray:
    """``(rows,)`` float64 of a column, not a number where a cell is empty.

    Raises:
        InputError: there is no such column, or a cell is no finite number.
    """
    cells, dialect = existing(frame, column, source), dialect or Dialect()
    if not (cells.dtype.is_numeric() or cells.dtype in (pl.String, pl.Boolean, pl.Null)):
        raise InputError(f"{source}: column '{column}' holds {cells.dtype}, and numbers are needed")
    found = frame.select(dialect.numbers(pl.col(column), cells.dtype)).to_series().fill_null(np.nan).to_numpy()
    if np.isinf(found).any():
        row = int(np.isinf(found).argmax())
        raise InputError(f"{source}, row {row + 1}, column '{column}': {dialect.why_no_number(cells[row])}")
    return found


def existing(frame: pl.DataFrame, column: str, source: str) -> pl.Series:
    """A column.

    Raises:
        InputError: there is none of this name.
    """
    if column not in frame.columns:
        there = ", ".join(frame.columns[:20]) + (", …" if len(frame.columns) > 20 else "")
        raise InputError(f"{source} has no column '{column}'{nearest(column, frame.columns)} (it has {there})")
    return frame[column]


def grouped(frame: pl.DataFrame, column: str) -> Iterator[tuple[Any, np.ndarray]]:
    """The name of each sequence and its rows, in the order in which they occur; without the column there is one."""
    if column not in frame.columns:
        yield 0, np.arange(frame.height)
        return
    keys = frame.select(pl.col(column), pl.int_range(pl.len()).alias("row "))
    for (name, *_), part in keys.group_by(column, maintain_order=True):
        yield name, part["row "].to_numpy()


def parse_json(line: str, place: str) -> Any:
    """What a line of JSON holds; of an object within an object each value by both names, ``a.b``.

    Raises:
        InputError: it is no JSON, or two values have one name.
    """
    try:
        found = json.loads(line)
        return _flat(found, place) if isinstance(found, dict) else found
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is no JSON: {error}") from None


def _flat(row: Mapping[str, Any], place: str) -> dict[str, Any]:
    if not any(isinstance(value, dict) for value in row.values()):
        return dict(row)
    flat: dict[str, Any] = {}
    for name, value in row.items():
        within = _flat(value, place) if isinstance(value, dict) else None
        parts = {name: value} if within is None else {f"{name}.{inner}": part for inner, part in within.items()}
        for part in parts:
            if part in flat:
                raise InputError(f"{place}: two values are called '{part}', of which one is within '{name}'")
        flat |= parts
    return flat


def value_of(row: Any, key: str, place: str) -> Any:
    """``row[key]`` of an object; anything else stands for itself.

    Raises:
        InputError: an object has no such key.
    """
    if not isinstance(row, Mapping):
        return row
    if key not in row:
        raise InputError(f"{place} has no key '{key}'{nearest(key, row)} (it has {', '.join(row)})")
    return row[key]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
