"""Times as people write them."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from rnnlab.errors import InputError
from rnnlab.files.dialect import Dialect, is_number

DATES = (
    # a year of two digits is none of the first century: %y takes 69 to 99 for the last one
    (r"\d{4}-\d{1,2}-\d{1,2}", ("%Y-%m-%d",)),
    (r"\d{4}/\d{1,2}/\d{1,2}", ("%Y/%m/%d",)),
    (r"\d{4}\.\d{1,2}\.\d{1,2}", ("%Y.%m.%d",)),
    (r"\d{8}", ("%Y%m%d",)),
    (r"\d{1,2}/\d{1,2}/\d{4}", ("%d/%m/%Y", "%m/%d/%Y")),
    (r"\d{1,2}-\d{1,2}-\d{4}", ("%d-%m-%Y", "%m-%d-%Y")),
    (r"\d{1,2}\.\d{1,2}\.\d{4}", ("%d.%m.%Y",)),
    (r"\d{1,2}/\d{1,2}/\d{2}", ("%d/%m/%y", "%m/%d/%y")),
    (r"\d{1,2}-\d{1,2}-\d{2}", ("%d-%m-%y", "%m-%d-%y", "%y-%m-%d")),
    (r"\d{1,2}\.\d{1,2}\.\d{2}", ("%d.%m.%y",)),
    (r"\d{1,2} [A-Za-z]{3,9} \d{4}", ("%d %B %Y",)),
    (r"\d{1,2}-[A-Za-z]{3,9}-\d{4}", ("%d-%B-%Y",)),
    (r"\d{1,2}-[A-Za-z]{3,9}-\d{2}", ("%d-%B-%y",)),
    (r"[A-Za-z]{3,9} \d{1,2}, \d{4}", ("%B %d, %Y",)),
)
"""The form of a date, and how it may be meant, the likeliest first: of two numbers the first is the day."""
MONTHS = (
    (r"\d{4}-\d{1,2}", "%Y-%m"),
    (r"\d{4}/\d{1,2}", "%Y/%m"),
    (r"\d{1,2}/\d{4}", "%m/%Y"),
    (r"\d{1,2}\.\d{4}", "%m.%Y"),
    (r"[A-Za-z]{3,9} \d{4}", "%B %Y"),
    (r"[A-Za-z]{3,9}-\d{4}", "%B-%Y"),
    (r"[A-Za-z]{3,9}-\d{2}", "%B-%y"),
)
"""Dates without a day."""
CLOCKS = (
    ("", "", ""),
    (r"\d{1,2}", "%H", ":00"),
    (r"\d{1,2}:\d{2}", "%H:%M", ""),
    (r"\d{1,2}:\d{2}:\d{2}(?:\.\d+)?", "%H:%M:%S%.f", ""),
    (r"\d{4}", "%H%M", ""),
    (r"\d{6}", "%H%M%S", ""),
    (r"\d{1,2}:\d{2} ?[AaPp][Mm]", "%I:%M %p", ""),
    (r"\d{1,2}:\d{2}:\d{2} ?[AaPp][Mm]", "%I:%M:%S %p", ""),
)
"""The time of the day, its format, and what it lacks: an hour needs its minutes."""
ZONE = r" ?[+-]\d{2}:?\d{2}"
UTC = r"(\d) ?(?:UTC|GMT|[Zz])$"
QUARTER = re.compile(r"(\d{4})[- ]?[Qq]([1-4])")
YEARS = r"^\d{4}(?:\.\d+)?$"
NEAR = 0.07
"""Months by which a year with a fraction may miss one: two decimals are enough to tell."""
REGULAR = 0.8
"""Share of whole months, and of steps of one or of a quarter, from which on numbers are such years."""
OUR_DAYS = (1700, 2200)
"""Years of which numbers with a fraction are taken for dates, where they might be anything."""
FEWEST_MONTHS = 12
"""Numbers from which on no chance brings each of them near a month."""
FIRST_YEAR = 100
"""A date before it was written otherwise than it was read."""

Moment = int | float | str
"""A time of the data as a person types it: a date, or a number where times are numbers."""

Place = Callable[[int], str]
"""A row, numbered from 0, in words."""


def place_of(source: str, column: str, rows: np.ndarray | None = None) -> Place:
    """Rows of a column in words.

    Args:
        source: of the table.
        column: its name.
        rows: ``(rows,)`` number of each row in the file, from 1; ``None`` where they are in order.
    """
    return lambda row: f"{source}, row {row + 1 if rows is None else int(rows[row])}, column '{column}'"


class Form(NamedTuple):
    """How times are written: a format of strptime, and what is to be appended to each of them first."""

    format: str
    suffix: str = ""

    @property
    def zoned(self) -> bool:
        """Whether each time says how far it is from UTC."""
        return "%z" in self.format or "%#z" in self.format

    def parse(self, text: pl.Expr) -> pl.Expr:
        """Times of UTC in microseconds; null where a cell is none."""
        if self.format == "decimal year":
            months = 12 * text.str.extract(YEARS, 0).cast(pl.Float64, strict=False)
            month = pl.when((months - months.round()).abs() <= NEAR).then(months.round().cast(pl.Int32))
            return pl.datetime(month // 12, month % 12 + 1, 1, time_unit="us")
        if self.format == "quarter":
            text = text.str.to_uppercase().str.replace("[- ]?Q", "Q")
            for quarter in range(1, 5):
                text = text.str.replace(f"Q{quarter}", f"-{3 * quarter - 2:02}-01", literal=True)
            return text.str.to_datetime("%Y-%m-%d", time_unit="us", strict=False)
        written = text + self.suffix if self.suffix else text
        if "%p" in self.format:
            written = written.str.replace(r" ?([AaPp][Mm])$", " ${1}")
        times = written.str.to_datetime(self.format, time_unit="us", strict=False)
        if self.zoned:
            times = times.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return pl.when(times.dt.year() >= FIRST_YEAR).then(times)


def clean(column: pl.Expr, dialect: Dialect) -> pl.Expr:
    """Times as text, without spaces around them and without the name of UTC behind them; null where there is none."""
    text = column.cast(pl.String).str.strip_chars()
    text = pl.when(~text.is_in(dialect.missing)).then(text)
    return text.str.replace(UTC, "${1}")


def is_of_utc(cell: str) -> bool:
    """Whether the name of UTC stands behind a time."""
    return re.search(UTC, cell.strip()) is not None


def forms_of(cell: str, dialect: Dialect) -> list[Form]:
    """How a time may be meant, the likeliest first; empty where it is none."""
    if dialect.time_format is not None:
        return [Form(dialect.time_format)]
    if QUARTER.fullmatch(cell):
        return [Form("quarter")]
    for pattern, form in MONTHS:
        if re.fullmatch(pattern, cell):
            return [Form(f"{form} %d", " 01")]
    zoned = re.search(rf":\d{{2}}(?:\.\d+)?({ZONE})$", cell)
    zone = ("%#z" if zoned[1][0] != " " else " %#z") if zoned else ""
    rest = cell[: zoned.start(1)] if zoned else cell
    for pattern, meanings in DATES:
        match = re.match(rf"{pattern}(?=$|[T ])", rest)
        if not match:
            continue
        between, clock = rest[match.end() :][:1], rest[match.end() :][1:]
        for clock_pattern, clock_form, suffix in CLOCKS:
            if re.fullmatch(clock_pattern, clock) and bool(clock) == bool(between):
                tail = (":%M" if suffix else "") + zone
                return [Form(f"{form}{between}{clock_form}{tail}", suffix) for form in meanings]
    return []


def moment(typed: Moment, dated: bool) -> np.generic:
    """The time that a person means.

    Args:
        typed: a date, month or quarter as files have them, a year, or one with a fraction; or a number.
        dated: whether times are dates.

    Raises:
        ValueError: it is none, or may be meant in several ways, such as 05/06/2024.
    """
    text = str(typed).strip()
    if not dated:
        number = np.int64(typed) if isinstance(typed, int) else np.float64(text)
        if not np.isfinite(number):
            raise ValueError(text)
        return number
    text = re.sub(UTC, r"\1", text)
    forms = [Form("decimal year")] if re.fullmatch(YEARS, text) else forms_of(text, Dialect())
    found = pl.select(forms[0].parse(pl.lit(text))).item() if len(forms) == 1 else None
    if found is None:
        raise ValueError(text)
    return np.datetime64(found)


def forms_in(text: pl.Series, dialect: Dialect, dated: bool | None = None, in_order: bool = False) -> list[Form]:
    """How the times of a column may be meant, the likeliest first; see :func:`parse`.

    Args:
        text: its cells, none of them null.
        dialect: of the table.
        dated: see :func:`parse`.
        in_order: years with a fraction are only taken for such where they rise.
    """
    if dialect.time_format is None and _are_years(text, dated, in_order, dialect.fractions):
        return [Form("decimal year")]
    return forms_of(text[0], dialect)


def _are_years(text: pl.Series, dated: bool | None, in_order: bool, fractions: bool) -> bool:
    """Whether times, but for a slip, are years with a fraction, months or quarters apart, as R has those of its series:
    1949.08333. Where plain numbers may have ``fractions``, too, all of them must be, and in our days; but months may
    then be left out.
    """
    if dated is False:
        return False
    months = 12 * text.str.extract(YEARS, 0).cast(pl.Float64).fill_null(np.nan).to_numpy()
    whole = months.round()
    near = np.abs(months - whole) <= NEAR
    if near.mean() < REGULAR:
        return False
    if dated:
        return True
    if fractions and not (near & (whole >= 12 * OUR_DAYS[0]) & (whole < 12 * OUR_DAYS[1])).all():
        return False
    if fractions and len(whole) >= FEWEST_MONTHS and (whole % 3 != 0).mean() > 0.25:  # not halves and quarters alone
        return True
    whole = whole[near]
    # prices in quarters are no years; rows of several series may stand side by side
    steps = np.diff(whole if in_order else np.unique(whole))
    steps = steps[steps != 0]
    regular = not len(steps) or any((steps == size).mean() > REGULAR for size in (1, 3))
    return bool(regular and (whole % 12 != 0).any())


def parse(text: pl.Series, place: Place, dialect: Dialect, dated: bool | None = None) -> np.ndarray:
    """``(rows,)`` datetime64 in microseconds, or numbers, of cells that :func:`clean` left.

    Args:
        text: cells, none of them null.
        place: of a row in words, for messages.
        dialect: of the table.
        dated: see :attr:`rnnlab.files.frequency.Frequency.numbers_are_dates`.

    Raises:
        InputError: a cell is none.
    """
    if looks_counted(text, dialect, dated):
        return _counted(text, place, dialect.fractions)
    best = 0  # the first row that the best attempt does not understand
    for form in forms_in(text, dialect, dated):
        try:
            parsed = text.to_frame("time").select(form.parse(pl.col("time"))).to_series()
        except pl.exceptions.PolarsError:
            continue
        wrong = parsed.is_null().arg_true()
        if not len(wrong):
            return parsed.to_numpy()
        best = max(best, int(wrong[0]))
    if (
        dialect.time_format is None
        and not re.search(r"\d", text[best])
        and any(forms_of(text[row], dialect) for row in {0, len(text) // 2, len(text) - 1})
    ):
        raise InputError(f"{place(best)}: '{text[best][:40]}' is no time, and others are: leave this row out")
    how = f"is not written as data.time_format={dialect.time_format}" if dialect.time_format else "is no time"
    raise InputError(
        f"{place(best)}: '{text[best][:40]}' {how}: give data.time_format, such as \"%d.%m.%Y %H:%M\", as the times "
        "are written"
    )


def shown(text: pl.Series, place: Place, dialect: Dialect, dated: bool | None = None) -> np.ndarray:
    """``(rows,)`` datetime64 in microseconds, what a clock showed, of cells as in :func:`parse` whose distance from UTC
    stands behind them.

    Raises:
        InputError: a cell is none.
    """
    if dialect.time_format is not None:
        dialect = replace(dialect, time_format=re.sub(r" ?%#?z", "", dialect.time_format))
    return parse(text.str.replace(rf"{ZONE}$", ""), place, dialect, dated)


def looks_counted(text: pl.Series, dialect: Dialect, dated: bool | None = None, in_order: bool = False) -> bool:
    """Whether times are plain numbers, and no dates such as 20240131 or 1949.25; see :func:`forms_in`."""
    if dialect.time_format is not None or not is_number(text[0]):
        return False
    if dated is False:
        return True
    digits = text.str.contains(r"^(?:1[89]|2[01])\d{6}$").all()
    dates = digits and not text.str.to_date("%Y%m%d", strict=False).null_count()
    return not (dates or forms_in(text, dialect, dated, in_order)[:1] == [Form("decimal year")])


def _counted(text: pl.Series, place: Place, fractions: bool) -> np.ndarray:
    """Whole numbers; or others, where not all are, and they may be."""
    exact = text.cast(pl.Int64, strict=False)
    floats = text.cast(pl.Float64, strict=False)
    rounded = floats.cast(pl.Int64, strict=False)
    whole = exact.fill_null(pl.select(pl.when(rounded.cast(pl.Float64) == floats).then(rounded)).to_series())
    wrong = whole.is_null().arg_true()
    if fractions and len(wrong) and floats.is_finite().fill_null(False).all():
        return floats.to_numpy()
    if len(wrong):
        row = int(wrong[0])
        what = "is neither a whole number nor a date (data.gaps=elapsed and data.elapsed=true read decimals, too)"
        if fractions:
            what = "is neither a number nor a date"
        if floats[row] is None:
            what = "is no time: where they are dates, data.time_format says how they are written"
        raise InputError(f"{place(row)}: '{text[row][:40]}' {what}")
    return whole.to_numpy()
