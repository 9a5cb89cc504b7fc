"""New data from a file, a pipe or a table in memory, as rows, lines or text."""

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from rnnlab.data.table import MISSING
from rnnlab.errors import InputError, nearest

Format = Literal["csv", "tsv", "jsonl", "parquet", "text", "ts"]
SUFFIXES: dict[str, Format] = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet",
    ".pq": "parquet", ".txt": "text", ".text": "text", ".ts": "ts",
}  # fmt: skip
SEPARATORS = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True)
class Source:
    """Where new data comes from.

    Attributes:
        name: for messages.
        format: of the content.
        content: of the file or the pipe, or a table.
        path: of the file, where it is one.
        separator: between the cells of a CSV.
    """

    name: str
    format: Format
    content: bytes | pl.DataFrame
    path: Path | None = None
    separator: str = ","

    def text(self) -> str:
        """All of it, decoded.

        Raises:
            InputError: it is no UTF-8: named with its line.
        """
        assert isinstance(self.content, bytes)
        try:
            return self.content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = self.content[: error.start].count(b"\n") + 1
            raise InputError(
                f"{self.name}, line {line}: byte 0x{self.content[error.start]:02x} is no UTF-8 ({error.reason}): "
                "convert it, such as by iconv -f latin1 -t utf-8 FILE"
            ) from None

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

    def frame(self, names: Sequence[str] = (), text: Sequence[str] = ()) -> pl.DataFrame:
        """The rows of a CSV or Parquet file.

        Args:
            names: of the columns, for a CSV without a header.
            text: columns that hold no numbers, and are to be left as they are.

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
        else:
            table = self._csv(names, text)
        if not table.height:
            raise InputError(f"{self.name} has a header and no rows")
        return table

    def _csv(self, names: Sequence[str], text: Sequence[str]) -> pl.DataFrame:
        content = self.text()
        separator = SEPARATORS.get(self.format, ",") if self.format != "csv" else self.separator
        first = next(csv.reader([content.split("\n", 1)[0].strip("\r")], delimiter=separator), [])
        twice = next((name for name in first if first.count(name) > 1), None)
        bare = bool(names) and len(first) == len(names) and all(map(is_number, first))
        if twice is not None and not bare:
            raise InputError(f"{self.name}: two columns are named '{twice}'")
        try:
            return pl.read_csv(
                io.StringIO(content), separator=separator, has_header=not bare, infer_schema=False,
                new_columns=list(names) if bare else None, null_values=MISSING if not text else None,
                quote_char='"' if separator != "\t" else None,
            )  # fmt: skip
        except pl.exceptions.PolarsError as error:
            reason = _ragged_line(content, separator) or _first_line(error)
            raise InputError(f"{self.name} is no table: {reason}") from None


def open_source(place: str | Path, format: Format | None = None, plain: Format = "csv", separator: str = ",") -> Source:
    """A file, or the standard input for ``-``, read whole.

    Args:
        place: a path, whose ending says the format, or ``-``.
        format: where the ending does not say it.
        plain: what is taken for the format where nobody says it, and the content is neither JSON nor Parquet.
        separator: between the cells of a CSV.

    Raises:
        InputError: there is no such file, it cannot be read, or it is empty.
    """
    path = None if str(place) == "-" else Path(place).expanduser()
    name = "standard input" if path is None else f"--input {path}"
    try:
        content = sys.stdin.buffer.read() if path is None else path.read_bytes()
    except FileNotFoundError:
        assert path is not None
        there = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(f"{name}: there is no such file{nearest(path.name, there)}") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from None
    if not content.strip():
        raise InputError(f"{name} is empty")
    if format is None and path is not None:
        format = SUFFIXES.get(path.suffix.lower())
    if format is None:
        start = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:4]
        format = "parquet" if start == b"PAR1" else "jsonl" if start[:1] in (b"{", b"[") else plain
    return Source(name, format, content, path, separator)


def table_source(table: Any) -> Source:
    """A table in memory, of polars or pandas."""
    frame = table if isinstance(table, pl.DataFrame) else pl.DataFrame({str(k): list(table[k]) for k in table.columns})
    return Source("the table", "parquet", frame)


def numbers(frame: pl.DataFrame, column: str, source: str) -> np.ndarray:
    """``(rows,)`` float64 of a column, not a number where a cell is empty.

    Raises:
        InputError: there is no such column, or a cell is no finite number.
    """
    cells = existing(frame, column, source)
    if cells.dtype == pl.String:
        # whatever is no number becomes null, as what was empty is already
        parsed = cells.str.strip_chars().replace(dict.fromkeys(MISSING)).cast(pl.Float64, strict=False)
        wrong = (parsed.is_null() & cells.is_not_null() & ~cells.str.strip_chars().is_in(MISSING)).arg_true()
        if len(wrong):
            raise InputError(f"{source}, row {wrong[0] + 1}, column '{column}': '{cells[wrong[0]]}' is no number")
        cells = parsed
    if not (cells.dtype.is_numeric() or cells.dtype in (pl.Boolean, pl.Null)):
        raise InputError(f"{source}: column '{column}' holds {cells.dtype}, and numbers are needed")
    values = cells.cast(pl.Float64).fill_null(np.nan).to_numpy()
    if np.isinf(values).any():
        row = int(np.isinf(values).argmax())
        raise InputError(f"{source}, row {row + 1}, column '{column}': {values[row]} is no finite number")
    return values


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
    """What a line of JSON holds.

    Raises:
        InputError: it is no JSON.
    """
    try:
        return json.loads(line)
    except ValueError as error:
        raise InputError(f"{place} is no JSON: {error}") from None


def cells_of(line: str) -> list[str]:
    """The cells of a line of CSV."""
    return next(csv.reader([line])) if '"' in line else [cell.strip() for cell in line.split(",")]


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


def is_number(cell: str) -> bool:
    """Whether a cell of a CSV is one."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _ragged_line(content: str, separator: str) -> str:
    """Which line has more cells than the header, which polars does not say; empty where none has."""
    rows = csv.reader(io.StringIO(content), delimiter=separator)
    try:
        head = len(next(rows, []))
        return next((f"line {rows.line_num} has {len(r)} cells, the header {head}" for r in rows if len(r) > head), "")
    except csv.Error as error:
        return f"line {rows.line_num}: {error}"
