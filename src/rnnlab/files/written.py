"""Times in the form in which others were read, so that forecasts go on as their series is written."""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from rnnlab.files import epochs
from rnnlab.files.times import QUARTER, UTC, ZONE, Form, is_of_utc

Writer = Callable[[np.ndarray], pl.Series]
"""From ``(n,)`` times in microseconds to text."""
LACKED = {" 01": " %d", ":00": ":%M"}
"""What a form appends to each time, and how its format reads that."""
ZONED = re.compile(r" ?%#?:?z$")
FRACTIONS = ("%.f", "", "%.3f", "%.6f", "%.9f")
MOST_PLACES = 15
"""Decimals that a number may have."""
HALVES = (" %p", "%p", " %P", "%P")


@dataclass(frozen=True)
class Written:
    """How the times of a table are written.

    Attributes:
        form: by which they are read; of two columns with a space between them.
        writers: of each column.
        dtypes: of each column.
        tail: what stands behind each of them for UTC or how far they are from it.
        offset: which is so many minutes; ``None`` where it differs from row to row.
    """

    form: Form
    writers: tuple[Writer, ...]
    dtypes: tuple[Any, ...]
    tail: str = ""
    offset: int | None = 0

    def write(self, times: np.ndarray, zone: str | None = None) -> list[pl.Series] | None:
        """Times as columns; ``None`` where some cannot be written so.

        Args:
            times: ``(n,)`` in microseconds, of UTC where a zone is told.
            zone: by its name in the tz database.
        """
        if self.offset is None:
            return None
        times = times.astype("M8[us]")
        local = times if zone is None else times + np.timedelta64(self.offset, "m")
        try:
            columns = [writer(local) for writer in self.writers]
            columns[-1] = columns[-1] + self.tail
            whole = columns[0] if len(columns) == 1 else columns[0] + " " + columns[1]
            read = _parsed(whole.str.replace(UTC, "${1}"), self.form).to_numpy()
            shift = self.offset if zone is None and self.form.zoned and self.form.format not in epochs.UNITS else 0
            if not np.array_equal(read + np.timedelta64(shift, "m"), times):
                return None
            return [column.cast(dtype) for column, dtype in zip(columns, self.dtypes, strict=True)]
        except pl.exceptions.PolarsError:
            return None


def written(cells: Sequence[pl.Series], form: Form) -> Written | None:
    """How the times of some rows are written; ``None`` where that cannot be told.

    Args:
        cells: of one column, or of a date and a time of the day, as they stand in the file.
        form: by which they are read.
    """
    columns = [column.cast(pl.String).str.strip_chars() for column in cells]
    last = columns[-1].to_list()
    tails = {_tail(cell) for cell in last}
    if form.format in epochs.UNITS or not (form.zoned or any(map(is_of_utc, last))):
        tails = {""}
    tail = tails.pop() if len(tails) == 1 else None
    bodies = [*columns[:-1], columns[-1].str.replace(rf"(?:{ZONE}| ?(?:UTC|GMT|[Zz]))$", "") if tail != "" else last]
    bodies = [pl.Series(body) for body in bodies]
    plain = form._replace(format=ZONED.sub("", form.format))
    whole = bodies[0] if len(bodies) == 1 else bodies[0] + " " + bodies[1]
    try:
        moments = _parsed(whole, plain)
    except pl.exceptions.PolarsError:
        return None
    kept = moments.is_not_null()
    times = moments.filter(kept).to_numpy()
    if not len(times):
        return None
    found: list[Writer] = []
    for part, body in zip(_parts(plain, len(bodies)), bodies, strict=True):
        best, share = None, 0.0
        for writer in _writers(part, body[0]):
            try:
                same = float((writer(times) == body.filter(kept)).to_numpy().mean())
            except pl.exceptions.PolarsError:
                continue
            if same > share:
                best, share = writer, same
        if best is None:
            return None
        found.append(best)
    dtypes = tuple(column.dtype for column in cells)
    return Written(form, tuple(found), dtypes, tail or "", None if tail is None else _minutes(tail))


def _parsed(text: pl.Series, form: Form) -> pl.Series:
    return text.to_frame("time").select(form.parse(pl.col("time"))).to_series()


def _tail(cell: str) -> str:
    """How far a time is from UTC, or the name of UTC, as it stands behind it."""
    if zone := re.search(rf"{ZONE}$", cell):
        return zone[0]
    utc = re.search(UTC, cell)
    return "" if utc is None else cell[utc.end(1) :]


def _minutes(tail: str) -> int:
    """How far from UTC a tail is."""
    found = re.fullmatch(r" ?([+-])(\d{2}):?(\d{2})", tail)
    return 0 if found is None else int(f"{found[1]}1") * (60 * int(found[2]) + int(found[3]))


def _parts(form: Form, columns: int) -> list[Form]:
    """The form of each column."""
    if columns == 1:
        return [form]
    hour = re.search(r" %-?[HIkl]", form.format)
    at = len(form.format) if hour is None else hour.start()
    return [Form(form.format[:at]), Form(form.format[at + 1 :], form.suffix)]


def _writers(form: Form, cell: str) -> Iterator[Writer]:
    """How times may be written that are read by a form, the likeliest first; ``cell`` is one of them."""
    if form.format in epochs.UNITS:
        yield partial(_counted, form.format, pl.Int64)
        yield partial(_counted, form.format, pl.Float64)
    elif form.format == "decimal year":
        digits = len(cell.partition(".")[2])
        for places in dict.fromkeys((digits, *range(MOST_PLACES))):
            yield from (partial(_years, places, kept) for kept in (MOST_PLACES, 0, 1))
    elif form.format == "quarter":
        found = QUARTER.fullmatch(cell)
        yield partial(_quarters, "" if found is None else cell[found.end(1) : found.start(2)])
    else:
        lacked = LACKED.get(form.suffix, "")
        yield from (partial(_formatted, each) for each in _variants(form.format.removesuffix(lacked)))


def _variants(format: str) -> Iterator[str]:
    """Formats that strptime takes for one: without leading zeros, with short names of months, decimals of a second."""
    dates, hours = ("%d", "%m"), ("%H", "%I")
    paddings: tuple[tuple[str, ...], ...] = ((), (*dates, *hours), hours, dates)
    months = ("%B", "%b") if "%B" in format else ("",)
    halves = HALVES if " %p" in format else ("",)
    fractions = FRACTIONS if "%.f" in format else ("",)
    for unpadded, month, half, fraction in itertools.product(paddings, months, halves, fractions):
        made = format
        for code in unpadded:
            made = made.replace(code, f"%-{code[1]}")
        yield made.replace("%B", month or "%B").replace(" %p", half or " %p").replace("%.f", fraction)


def _formatted(format: str, times: np.ndarray) -> pl.Series:
    return pl.Series(times).dt.strftime(format)


def _counted(unit: str, dtype: Any, times: np.ndarray) -> pl.Series:
    counts = epochs.counts(times, unit)
    return counts.cast(pl.String) if counts.dtype.is_float() else counts.cast(dtype).cast(pl.String)


def _quarters(between: str, times: np.ndarray) -> pl.Series:
    moments = pl.Series(times).dt
    return moments.year().cast(pl.String) + between + moments.quarter().cast(pl.String)


def _years(places: int, kept: int, times: np.ndarray) -> pl.Series:
    """With so many decimals, of which zeros at the end are left out beyond those that are ``kept``."""
    months = times.astype("M8[M]").astype(np.int64)
    written = []
    for month in months.tolist():
        whole, _, decimals = f"{1970 + month / 12:.{places}f}".partition(".")
        decimals = decimals[:kept] + decimals[kept:].rstrip("0")
        written.append(f"{whole}.{decimals}" if decimals else whole)
    return pl.Series(written, dtype=pl.String)
