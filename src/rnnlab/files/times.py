"""Times as people write them."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from rnnlab.errors import InputError
from rnnlab.files import epochs
from rnnlab.files.dialect import PLAIN, Dialect, is_number

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
COMPACT = (
    (r"^(?:1[89]|2[01])\d{6}$", "%Y%m%d", ""),
    (r"^(?:19|20)\d{8}$", "%Y%m%d%H:%M", ":00"),
    (r"^(?:19|20)\d{10}$", "%Y%m%d%H%M", ""),
    (r"^(?:19|20)\d{12}$", "%Y%m%d%H%M%S", ""),
)
"""Dates of digits alone, with and without a time of the day, its format, and what it lacks."""
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
FIRST_CELLS = 5
"""Of which one is a number at least, in a column of numbers."""
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
    """How times are written.

    format
        Of strptime; or ``decimal year``, ``quarter``, or a unit of :data:`rnnlab.files.epochs.UNITS`.
    suffix
        What is to be appended to each of them first.
    guessed
        Counts since 1970 that no one has said are such: only those of our days are.
    """

    format: str
    suffix: str = ""
    guessed: bool = False

    @property
    def zoned(self) -> bool:
        """Whether each time says how far it is from UTC, which counts since 1970 are times of."""
        return self.format in epochs.UNITS or "%z" in self.format or "%#z" in self.format

    def parse(self, text: pl.Expr) -> pl.Expr:
        """Times of UTC in microseconds; null where a cell is none."""
        if self.format in epochs.UNITS:
            return epochs.moments(text, self.format, self.guessed)
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
    compact = [Form(form, suffix) for pattern, form, suffix in COMPACT[1:] if re.search(pattern, cell)]
    if compact:
        return compact
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
    if not forms and (unit := epochs.likely_unit(pl.Series([text]))) is not None:
        forms = [Form(unit)]
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
    form = _form_of_numbers(text, dialect, dated, in_order)
    return forms_of(text[0], dialect) if form is None else [form]


def _form_of_numbers(text: pl.Series, dialect: Dialect, dated: bool | None, in_order: bool) -> Form | None:
    """What numbers are that, but for slips, are dates; ``None`` where they count something, or are none."""
    if dialect.time_format is not None or dated is False or not any(map(is_number, text.head(FIRST_CELLS))):
        return None
    if _are_years(text, dated, in_order, dialect.fractions):
        return Form("decimal year")
    for pattern, form, suffix in COMPACT if dialect.long_numbers else COMPACT[:1]:
        if text.str.contains(pattern).to_numpy().mean() < REGULAR:
            continue
        compact = Form(form, suffix)
        parsed = text.to_frame("time").select(compact.parse(pl.col("time"))).to_series()
        if parsed.is_not_null().to_numpy().mean() >= REGULAR:
            return compact
    unit = epochs.likely_unit(text) if dialect.long_numbers else None
    return None if unit is None else Form(unit, guessed=True)


def _are_years(text: pl.Series, dated: bool | None, in_order: bool, fractions: bool) -> bool:
    """Whether times, but for a slip, are years with a fraction, months or quarters apart, as R has those of its series:
    1949.08333. Where plain numbers may have ``fractions``, too, they must be of our days; but months may then be left
    out.
    """
    months = 12 * text.str.extract(YEARS, 0).cast(pl.Float64).fill_null(np.nan).to_numpy()
    whole = months.round()
    near = np.abs(months - whole) <= NEAR
    if near.mean() < REGULAR:
        return False
    if dated:
        return True
    if fractions:
        near &= (whole >= 12 * OUR_DAYS[0]) & (whole < 12 * OUR_DAYS[1])
        if near.mean() < REGULAR:
            return False
    whole = whole[near]
    if fractions and len(whole) >= FEWEST_MONTHS and (whole % 3 != 0).mean() > 0.25:  # not halves and quarters alone
        return True
    # prices in quarters are no years; rows of several series may stand side by side
    steps = np.diff(whole if in_order else np.unique(whole))
    steps = steps[steps != 0]
    regular = not len(steps) or any((steps == size).mean() > REGULAR for size in (1, 3))
    return bool(regular and (whole % 12 != 0).any())


def parse(text: pl.Series, place: Place, dialect: Dialect, dated: bool | None = None) -> np.ndarray:
    """``(rows,)`` times of :func:`parsed`."""
    return parsed(text, place, dialect, dated)[0]


def parsed(
    text: pl.Series, place: Place, dialect: Dialect, dated: bool | None = None
) -> tuple[np.ndarray, Form | None]:
    """``(rows,)`` datetime64 in microseconds of cells that :func:`clean` left, and how they are written; or numbers.

    Args:
        text: cells, none of them null.
        place: of a row in words, for messages.
        dialect: of the table.
        dated: see :attr:`rnnlab.files.frequency.Frequency.numbers_are_dates`.

    Raises:
        InputError: a cell is none.
    """
    if looks_counted(text, dialect, dated):
        return _counted(text, place, dialect.fractions), None
    best = 0  # the first row that the best attempt does not understand
    for form in forms_in(text, dialect, dated):
        try:
            times = text.to_frame("time").select(form.parse(pl.col("time"))).to_series()
        except pl.exceptions.PolarsError:
            continue
        wrong = times.is_null().arg_true()
        if not len(wrong):
            return times.to_numpy(), form
        best = max(best, int(wrong[0]))
    raise InputError(f"{place(best)}: '{text[best][:40]}' {_why_no_time(text, best, dialect, dated)}")


def _why_no_time(text: pl.Series, row: int, dialect: Dialect, dated: bool | None) -> str:
    """What is wrong with a cell of a column of times."""
    if dialect.time_format is None:
        form = _form_of_numbers(text, dialect, dated, False)
        if form is not None:
            what = "date"
            if form.format == "decimal year":
                what = "year with a fraction of whole months, such as 1949.0833,"
            elif form.guessed:
                what = f"time of 1980 to 2100 in {epochs.IN_WORDS[form.format]} since 1970"
            plain = "" if dated else f" (data.time_format={PLAIN} takes all of them for plain numbers)"
            return f"is no {what} as others are: correct it, or leave this row out{plain}"
        if not re.search(r"\d", text[row]) and any(
            forms_of(text[other], dialect) for other in {0, len(text) // 2, len(text) - 1}
        ):
            return "is no time, and others are: leave this row out"
    if dialect.time_format in epochs.UNITS:
        of = epochs.IN_WORDS[dialect.time_format]
        return f"is no number of {of} since 1970 (data.time_format={dialect.time_format})"
    how = f"is not written as data.time_format={dialect.time_format}" if dialect.time_format else "is no time"
    return f'{how}: give data.time_format, such as "%d.%m.%Y %H:%M", as the times are written'


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
    """Whether times are plain numbers, and no dates such as 20240131, 1949.25 or 1706659200; see :func:`forms_in`."""
    if dialect.time_format is not None:
        return dialect.time_format == PLAIN
    return is_number(text[0]) and _form_of_numbers(text, dialect, dated, in_order) is None


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
