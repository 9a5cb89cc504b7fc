"""What stands in each column of a table, and in which dialect its numbers are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from rnnlab.files import times
from rnnlab.files.dialect import MISSING, Dialect, is_number
from rnnlab.files.epochs import UNITS
from rnnlab.start.description import Column, Kind
from rnnlab.start.names import ID, SINCE_1970, rank

LOOKED_AT = 50_000
"""Rows by which kinds and dialects are told; the first ones and the last ones of what was read."""
HEAD = 1000
"""Rows of a column of decimals by which it is told that it holds no dates, as most do not."""
DIALECTS = (
    Dialect(), Dialect(decimal=","), Dialect(thousands=","), Dialect(decimal=",", thousands="."),
    Dialect(decimal=",", thousands=" "), Dialect(thousands=" "), Dialect(thousands="'"),
)  # fmt: skip
"""In the order in which they are tried."""
WRITTEN_NUMBER = r"^[+-]?\d[\d., '\u00a0\u202f_]*$"
WITH_A_UNIT = r"^[^\d\w]*\s*[+-]?\d[\d.,]*\s*(?:[%€$£¥]|[A-Za-z°/²³]{1,6})?$"
SIGNS = "[%€$£¥°]"
CLOCK = r"^\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?$"
MOSTLY = 0.8
"""Share of numbers from which a column is taken for one of numbers with further words for a missing value."""
FEWEST_DATES, MOSTLY_DATES = 8, 0.9
"""Cells, and the share of dates among them, from which a column is taken for one of dates with others among them."""
SENTINELS = (-999.0, -9999.0, -99999.0, -99.0, -99.9, -99.99, -999.9, 9999.0, 99999.0, 999999.0, -200.0)
"""Numbers that often stand for a missing value, where they lie far from all others."""
FEW = 200
"""Different words at most in a column of names, where it is long."""


@dataclass(frozen=True, eq=False)
class Profile:
    """A table's columns.

    Attributes:
        columns: in the order of the file.
        dialect: in which the table is written.
        sentinels: numbers that stand for a missing value, as it seems, and how often.
        dates: the parsed times of each column of dates, by name; of ``rows`` rows.
        formats: what ``data.time_format`` must say of a column of dates, where the guess would be wrong.
        units: of each column of dates that counts since 1970, by name.
    """

    columns: tuple[Column, ...]
    dialect: Dialect
    sentinels: Mapping[float, int]
    dates: Mapping[str, np.ndarray]
    formats: Mapping[str, str]
    units: Mapping[str, str]

    def of(self, name: str) -> Column:
        """A column."""
        return next(column for column in self.columns if column.name == name)

    def named(self, *kinds: Kind) -> list[str]:
        """The names of the columns of these kinds."""
        return [column.name for column in self.columns if column.kind in kinds]


def profile(frame: pl.DataFrame, separator: str = "") -> Profile:
    """Looks at every column.

    Args:
        frame: rows of a table, those of a CSV all text.
        separator: of a CSV.
    """
    rows = frame if frame.height <= LOOKED_AT else pl.concat([frame.head(LOOKED_AT // 2), frame.tail(LOOKED_AT // 2)])
    dates: dict[str, np.ndarray] = {}
    formats: dict[str, str] = {}
    units: dict[str, str] = {}
    for name in frame.columns:
        parsed = _dates(frame[name], name)
        if parsed is not None:
            dates[name], form, said = parsed
            if said:
                formats[name] = said
            if form in UNITS:
                units[name] = form
    dialect = _dialect(rows, [name for name in rows.columns if name not in dates], separator)
    columns = [
        _date(frame[name], name) if name in dates
        else _dates_but_for(frame[name], name) or _column(frame[name], name, dialect)
        for name in frame.columns
    ]  # fmt: skip
    sentinels: dict[float, int] = {}
    for column in columns:
        if column.kind in ("number", "whole"):
            values = numbers(frame, column.name, dialect)
            sentinels |= _sentinels(values[np.isfinite(values)])
    return Profile(tuple(columns), dialect, sentinels, dates, formats, units)


def numbers(frame: pl.DataFrame, name: str, dialect: Dialect) -> np.ndarray:
    """``(rows,)`` float64 of a column, as training reads it: not a number where a value is missing."""
    cells = frame.select(dialect.numbers(pl.col(name), frame[name].dtype).alias(name)).to_series()
    return cells.fill_null(np.nan).to_numpy()


def known(cells: pl.Series, dialect: Dialect | None = None) -> pl.Series:
    """The cells with something in them, as text."""
    text = cells.cast(pl.String).str.strip_chars().drop_nulls()
    return text.filter(~text.is_in((dialect or Dialect()).missing))


# ---- times ---------------------------------------------------------------------------------------------


def _dates(cells: pl.Series, name: str) -> tuple[np.ndarray, str, str] | None:
    """``(rows,)`` times in microseconds, not a time where there is none, how they are written, and the format that has
    to be said.
    """
    if cells.dtype.is_temporal() and cells.dtype not in (pl.Time, pl.Duration):
        if getattr(cells.dtype, "time_zone", None) is not None:
            cells = cells.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return cells.cast(pl.Datetime("us")).to_numpy().astype("M8[us]"), "", ""
    if cells.dtype != pl.String and not cells.dtype.is_numeric():
        return None
    if cells.dtype.is_float() and _form_of(cells.head(HEAD), name) is None:
        return None  # which is soon told
    found = _form_of(cells, name)
    if found is None:
        return None
    text, form, said = found
    parsed = text.to_frame("time").select(form.parse(pl.col("time"))).to_series()
    if parsed.null_count() > text.null_count():
        return None
    return parsed.to_numpy().astype("M8[us]"), form.format, said


def _form_of(cells: pl.Series, name: str) -> tuple[pl.Series, times.Form, str] | None:
    """The cells as text, and what :func:`_form` says of them; ``None`` where they are no dates, but for slips."""
    text = cells.to_frame(name).select(times.clean(pl.col(name), Dialect())).to_series()
    some = text.drop_nulls()
    if not len(some) or not _forms_of(some, name):
        return None
    form, said = _form(some)
    return None if form is None else (text, form, said)


def _forms_of(text: pl.Series, name: str) -> list[times.Form]:
    """How cells may be meant, but for slips; none where they are no dates.

    Large numbers alone are no times: their column must be called like one, or rise by the same step.
    """
    if times.looks_counted(text, Dialect(), in_order=True):
        return []
    forms = times.forms_in(text, Dialect(), in_order=True)
    if forms and forms[0].format in UNITS and rank(name, SINCE_1970) == len(SINCE_1970):
        moments = text.to_frame("time").select(forms[0].parse(pl.col("time"))).to_series().drop_nulls()
        if ID.search(name) or _regularity(moments.to_numpy()) < times.REGULAR:
            return []
    return forms


def without_date(cells: pl.Series, name: str) -> pl.Series | None:
    """``(rows,)`` which cells are no dates, of a column nearly all of whose cells are: a line of totals, a header that
    comes again; ``None`` of any other column.
    """
    if cells.dtype != pl.String and not cells.dtype.is_integer():
        return None
    text = cells.to_frame("time").select(times.clean(pl.col("time"), Dialect())).to_series()
    some = text.drop_nulls()
    if len(some) < FEWEST_DATES:
        return None
    masks = []
    written = {some[0], some[len(some) // 2], some[-1]}
    forms = [form for cell in written if not is_number(cell) for form in times.forms_of(cell, Dialect())]
    if any(map(is_number, written)):
        forms += _forms_of(some, name)
    for form in forms:
        try:
            parsed = text.to_frame("time").select(form.parse(pl.col("time"))).to_series()
        except pl.exceptions.PolarsError:
            continue
        masks.append(parsed.is_null() & text.is_not_null())
    best = min(masks, key=lambda mask: int(mask.sum()), default=None)
    return best if best is not None and 0 < best.sum() <= (1 - MOSTLY_DATES) * len(some) else None


def _form(text: pl.Series) -> tuple[times.Form | None, str]:
    """How times are written; and if the first way that fits is not the one that makes regular steps, its format."""
    fitting = []
    for form in times.forms_in(text, Dialect(), in_order=True):
        try:
            parsed = text.to_frame("time").select(form.parse(pl.col("time"))).to_series()
        except pl.exceptions.PolarsError:
            continue
        if not parsed.null_count():
            fitting.append((form, _regularity(parsed.to_numpy())))
    if not fitting:
        return None, ""
    best = max(fitting, key=lambda pair: pair[1])
    if best[1] <= fitting[0][1] + 0.1 and best[1] < 1:
        return fitting[0][0], ""
    if best[1] <= fitting[0][1]:
        return fitting[0][0], ""
    return best[0], best[0].format


def _regularity(moments: np.ndarray) -> float:
    """The share of the commonest step among those that are not zero, months counted as such."""
    steps = np.diff(np.unique(moments.astype("M8[us]")).astype(np.int64))
    if not len(steps):
        return 0.0
    _, counts = np.unique(steps, return_counts=True)
    days = np.unique(moments.astype("M8[us]")).astype("M8[D]")
    months = np.diff(days.astype("M8[M]").astype(np.int64))
    of_month = days - days.astype("M8[M]").astype("M8[D]")
    by_month = 0.0
    if len(np.unique(of_month)) == 1 and months.all():  # of one time of one day alone
        _, each = np.unique(months, return_counts=True)
        by_month = each.max() / len(months)
    return float(max(counts.max() / len(steps), by_month))


def _date(cells: pl.Series, name: str) -> Column:
    return Column(name, "date", distinct=cells.n_unique(), missing=cells.null_count())


def _dates_but_for(cells: pl.Series, name: str) -> Column | None:
    wrong = without_date(cells, name)
    if wrong is None:
        return None
    odd = str(cells.filter(wrong)[0]).strip()[:20]
    return Column(name, "other", distinct=cells.n_unique(), note=f"dates, and '{odd}' among them")


# ---- numbers -------------------------------------------------------------------------------------------


def _dialect(frame: pl.DataFrame, names: Sequence[str], separator: str) -> Dialect:
    """The first way of writing numbers in which most columns are such, with further words for a missing value."""
    written = [
        name for name in names
        if frame[name].dtype == pl.String and _share(known(frame[name]), WRITTEN_NUMBER) >= MOSTLY
    ]  # fmt: skip
    dialects = [dialect for dialect in DIALECTS if separator != "," or dialect.decimal != ","]
    if separator in (";", "\t"):  # a comma then is a decimal one, where both can be
        dialects.sort(key=lambda dialect: dialect.thousands == ",")
    if separator == ",":  # between quotation marks a decimal comma is possible, but thousands are likelier
        dialects += [dialect for dialect in DIALECTS if dialect.decimal == ","]

    def worth(dialect: Dialect) -> int:
        return sum(_is_numbers(frame, name, dialect) for name in written)

    best = max(dialects, key=worth) if written else Dialect()  # the first of those that are equal
    if best.decimal == "," and separator == ",":
        best = replace(best, separator=None)
    words = dict.fromkeys(word for name in written for word in _other_words(known(frame[name]), best))
    return replace(best, missing_values=tuple(words))


def _is_numbers(frame: pl.DataFrame, name: str, dialect: Dialect) -> bool:
    values = numbers(frame, name, dialect)
    return bool(np.isinf(values).mean() <= 1 - MOSTLY)


def _other_words(cells: pl.Series, dialect: Dialect) -> list[str]:
    """Words without a digit among numbers: they stand for a missing value."""
    others = cells.filter(~cells.str.contains(r"\d")).unique(maintain_order=True).head(4).to_list()
    return others if len(others) <= 3 and not set(others) & set(MISSING) else []


def _share(cells: pl.Series, pattern: str) -> float:
    return mean(cells.str.contains(pattern))


def mean(values: pl.Series) -> float:
    """Of numbers or of truths; 0 where there are none."""
    found: Any = values.mean()
    return float(found or 0)


def words_of(texts: pl.Series) -> float:
    """How many words a text has on average."""
    return mean(texts.str.split(" ").list.len())


def _sentinels(values: np.ndarray) -> dict[float, int]:
    found = {}
    for number in SENTINELS:
        times_there = int((values == number).sum())
        rest = values[~np.isin(values, SENTINELS)]
        if times_there < 2 or times_there > len(values) / 2 or len(rest) < 3:
            continue
        spread = float(rest.max() - rest.min()) or 1.0
        if number < rest.min() - spread or number > rest.max() + spread:
            found[number] = times_there
    return found


def _column(cells: pl.Series, name: str, dialect: Dialect) -> Column:
    if cells.dtype.is_nested() or cells.dtype in (pl.Binary, pl.Object):
        return Column(name, "other", note="holds objects" if cells.dtype == pl.Struct else "holds lists")
    if cells.dtype == pl.Time:
        return Column(name, "clock", distinct=cells.n_unique(), missing=cells.null_count())
    there = known(cells, dialect)
    missing, distinct = len(cells) - len(there), there.n_unique()
    if not len(there):
        return Column(name, "empty", missing=missing)
    about: dict[str, Any] = {"distinct": distinct, "missing": missing}
    values = numbers(cells.to_frame(name), name, dialect) if _may_be_numbers(cells) else np.array([np.inf])
    finite = values[np.isfinite(values)]
    if not np.isinf(values).any() and len(finite):
        about |= {"low": float(finite.min()), "high": float(finite.max())}
        kind: Kind = "number"
        if len(np.unique(finite)) == 1:
            kind = "constant"
        elif (finite == np.round(finite)).all():
            kind = "flag" if set(np.unique(finite)) == {0.0, 1.0} else "whole"
        return Column(name, kind, **about)
    if distinct == 1:
        return Column(name, "constant", **about)
    head = there.head(1000)
    if _share(head, CLOCK) == 1:
        return Column(name, "clock", **about)
    words = words_of(head)
    letters = mean(head.str.len_chars())
    few = distinct <= max(2, min(FEW, len(there) // 2)) or (distinct <= len(there) // 8 and letters < 40)
    with_a_unit = _share(head, WITH_A_UNIT) == 1 and not _share(head, r"^[A-Za-z]")
    if with_a_unit and (not few or _share(head, SIGNS) == 1):
        return Column(name, "other", note=f"numbers with a sign or a unit, such as '{there[0][:20]}'", **about)
    if not few and _mostly_numbers(values):
        bad = cells.filter(pl.Series(np.isinf(values)))[0]
        return Column(name, "other", note=f"numbers, and '{str(bad)[:20]}' among them", **about)
    return Column(name, "name" if few and words < 6 else "text", words=words, **about)


def _may_be_numbers(cells: pl.Series) -> bool:
    return cells.dtype.is_numeric() or cells.dtype in (pl.String, pl.Boolean, pl.Null)


def _mostly_numbers(values: np.ndarray) -> bool:
    return len(values) > 1 and bool(np.isinf(values).mean() <= 1 - MOSTLY)
