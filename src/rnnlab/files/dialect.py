"""How a table is written: separators, decimals, missing values, times; the same in training and in use."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from rnnlab.errors import InputError, nearest
from rnnlab.files.epochs import UNITS

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "na", "NaN", "nan", "NULL", "null", "None", "NaT", "?")
"""Cells of numbers and times that hold no value. (A series may have any of these names but the empty one.)"""
SEPARATORS = (",", ";", "\t", "|")
"""That are recognised."""
NAMED = {"\\t": "\t", "tab": "\t"}
PLAIN = "number"
"""The format of times that are plain numbers, and no dates whatever they look like."""
SPACES = "[ \u00a0\u202f]"
"""Thousands are set apart by any of them where they are by a space."""


@dataclass(frozen=True)
class Dialect:
    r"""The form of the cells of a table.

    Attributes:
        separator: between the cells of a CSV; ``\t`` and ``tab`` are a tabulator; ``None``: recognised by the header.
        decimal: between a number and its decimals.
        thousands: between groups of digits; ``None`` where there is nothing.
        missing_values: further words for a missing value.
        time_format: of times, as in Python's ``strptime``; ``s``, ``ms``, ``us`` or ``ns`` since 1970; or ``number``
            where they are plain numbers. ``None``: it is guessed.
        fractions: times that are numbers may have decimals: nobody counts steps by them.
        long_numbers: times of ten digits and more may be guessed to be dates, which older runs take for numbers.
    """

    separator: str | None = None
    decimal: str = "."
    thousands: str | None = None
    missing_values: Sequence[Any] = ()
    time_format: str | None = None
    fractions: bool = False
    long_numbers: bool = True

    def check(self) -> "Dialect":
        """The same, its separator as it stands in a file.

        Raises:
            InputError: an option can't be, or two contradict each other.
        """
        separator = None if self.separator is None else NAMED.get(self.separator, self.separator)
        if separator is not None and (len(separator.encode()) != 1 or separator in '"\r\n'):
            raise InputError(f"data.separator='{self.separator}' must be one character, such as ';', or tab")
        if self.decimal not in (".", ","):
            raise InputError(f"data.decimal='{self.decimal}' must be '.' or ','")
        if self.thousands is not None and self.thousands not in (".", ",", " ", "'", "_"):
            raise InputError(f"data.thousands='{self.thousands}' must be one of '.' ',' ' ' \"'\" '_', or null")
        if self.thousands == self.decimal:
            raise InputError(f"data.thousands='{self.thousands}' is data.decimal too: a number could be either")
        for key, sign in (("decimal", self.decimal), ("thousands", self.thousands)):
            # between quotation marks a cell may hold its separator
            if separator == sign and sign == "," and key == "decimal":
                raise InputError("data.decimal=',' is data.separator too: give the one that parts the cells")
        form = self.time_format
        if form is not None and "%" not in form and form not in (*UNITS, PLAIN):
            raise InputError(
                f"data.time_format={form} must be a format, such as '%d.%m.%Y', or {', '.join(UNITS)} (since 1970), or "
                f"{PLAIN} where times are plain numbers{nearest(form, [*UNITS, PLAIN])}"
            )
        words = tuple(str(word) for word in self.missing_values)
        return replace(self, separator=separator, missing_values=words)

    def plain(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)

    @classmethod
    def from_plain(cls, fields: Mapping[str, Any]) -> "Dialect":
        """What :meth:`plain` gave, of this version or of one that had fewer fields."""
        return cls(**({"long_numbers": False} if fields else {}) | dict(fields))

    # ---- cells ----------------------------------------------------------------------------------

    @property
    def missing(self) -> list[str]:
        """All words for a missing value."""
        return [*MISSING, *map(str, self.missing_values)]

    def numbers(self, column: pl.Expr, dtype: Any = pl.String) -> pl.Expr:
        """Numbers in double precision: null where a value is missing, infinite where a cell is no number."""
        if dtype != pl.String:
            return self._without_missing(column.cast(pl.Float64).fill_nan(None))
        text = column.str.strip_chars()
        digits = text
        point = re.escape(self.decimal)
        if self.thousands is not None:
            between = SPACES if self.thousands == " " else re.escape(self.thousands)
            grouped = rf"^[+-]?\d{{1,3}}(?:{between}\d{{2,3}})*{between}\d{{3}}(?:{point}\d*)?$"
            digits = pl.when(digits.str.contains(grouped)).then(digits.str.replace_all(between, "")).otherwise(digits)
        if self.decimal != ".":
            # what has a point is then left as it is no number
            digits = digits.str.replace_all(".", "no number", literal=True).str.replace(",", ".", literal=True)
        value = digits.cast(pl.Float64, strict=False).fill_null(float("inf")).fill_nan(None)
        gone = column.is_null() | text.is_in(self.missing)
        return self._without_missing(pl.when(gone).then(None).otherwise(value))

    def _without_missing(self, values: pl.Expr) -> pl.Expr:
        numbers = [float(word) for word in map(str, self.missing_values) if is_number(word)]
        return pl.when(values.is_in(numbers)).then(None).otherwise(values) if numbers else values

    def number(self, cells: Sequence[Any]) -> list[float | None]:
        """The same of single cells."""
        column = pl.Series("cell", [None if cell is None else str(cell) for cell in cells], pl.String)
        return column.to_frame().select(self.numbers(pl.col("cell"))).to_series().to_list()

    def options_for(self, text: str) -> str:
        """The options by which a text would be a number, if it looks like one of another dialect."""
        if self.decimal == "." and re.fullmatch(r"[+-]?\d+,\d+", text):
            return "data.decimal=','"
        if self.thousands is None and re.fullmatch(r"[+-]?\d{1,3}(?:([., '_])\d{3})(?:\1\d{3})*(?:[.,]\d*)?", text):
            comma = next(sign for sign in text if not sign.isdigit() and sign not in "+-")
            return f"data.thousands='{comma}'" + (" data.decimal=','" if comma == "." else "")
        return ""

    def why_no_number(self, cell: Any) -> str:
        """What is wrong with a cell, and which option would help, if one is likely to."""
        text = str(cell).strip()
        if is_number(text) and float(text) in (float("inf"), float("-inf")):
            return f"{text} is no finite number"
        hint = ""
        if options := self.options_for(text):
            hint = f": {options} reads it"
        elif re.search(r"[A-Za-z?*.-]", text) and not re.search(r"\d", text):
            hint = f"; if it stands for a missing value: data.missing_values=['{text[:20]}']"
        return f"'{str(cell)[:40]}' is no number{hint}"

    # ---- lines ----------------------------------------------------------------------------------

    def separator_of(self, header: str, wanted: Iterable[str] = ()) -> str:
        """What parts the cells of a header: as was said, or what gives all the wanted columns, or the most."""
        if self.separator is not None:
            return self.separator
        wanted = set(wanted)

        def worth(separator: str) -> tuple[int, int]:
            names = column_names(cells_of(header, separator))
            return len(wanted.intersection(names)), len(names)

        usable = [each for each in SEPARATORS if each != self.decimal]
        best = max(usable, key=worth)
        return best if worth(best)[1] > 1 else usable[0]


def cells_of(line: str, separator: str) -> list[str]:
    """The cells of a line of CSV.

    Raises:
        InputError: it is none, such as for a cell of megabytes.
    """
    if '"' in line:
        try:
            return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
        except csv.Error as error:
            raise InputError(f"{line[:30]!r} … is no line of CSV: {error}") from None
    return [cell.strip() for cell in line.split(separator)]


class LineByLine:
    """The rows of a CSV that comes line by line, the first of which is its header.

    Args:
        dialect: in which it is written.
        wanted: columns by which its separator may be known.
        names: of the columns, where the first line may be numbers already; none where it must be a header.
    """

    def __init__(self, dialect: Dialect, wanted: Iterable[str], names: Sequence[str] = ()) -> None:
        self.dialect, self.wanted, self.names = dialect, tuple(wanted), names
        self.header: list[str] = []
        self._separator = ","

    def cells(self, line: str, place: str) -> list[str] | None:
        """The cells of a line; ``None`` where it is the header.

        Raises:
            InputError: it is no line of CSV, or has more or fewer cells than the header.
        """
        first = not self.header
        if first:
            if "\r" in line.rstrip("\r\n"):
                raise InputError(f"{place}: lines end with CR alone: convert them, such as by tr '\\r' '\\n'")
            self._separator = self.dialect.separator_of(line, self.wanted)
        cells = cells_of(line, self._separator)
        if first:
            bare = len(cells) == len(self.names) and all(map(is_number, cells))
            self.header = list(self.names) if bare else column_names(cells)
            return cells if bare else None
        if len(cells) != len(self.header):
            raise InputError(f"{place}: {len(cells)} cells, and the header has {len(self.header)}")
        return cells


def column_names(cells: Sequence[str]) -> list[str]:
    """What the columns of a header are called: without spaces around it, and by its place where it has no name."""
    return [cell.strip() or f"column {number}" for number, cell in enumerate(cells, 1)]


def is_number(cell: str) -> bool:
    """Whether a cell of a CSV is one, in plain notation."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
