"""A table that is looked at: its columns, and which of them is what."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from rnnlab.errors import InputError
from rnnlab.files import times as written_times
from rnnlab.start.columns import Profile, numbers, profile
from rnnlab.start.description import Choice, Column, Unclear
from rnnlab.start.names import (
    COUNTED,
    HOURS,
    KNOWN_AHEAD,
    NAMES,
    PARTS,
    PLACES,
    TARGETS,
    TIMES,
    UNNAMED,
    is_id,
    lower,
    rank,
)
from rnnlab.start.sample import Sample

LARGE = 1e8
"""Whole numbers from which a column that rises by one step counts time, whatever it is called."""
ROWS_OF_A_SERIES = 3.0
"""Rows that the names of series must have on average to be such."""
REPEATED = 0.1
"""Share of rows whose time is there already, from which there are several series."""
FEWEST_ROWS, COVERED = 8, 0.8
"""Rows that each series has at least, and the share of the times from its first to its last that it has, by which
series are known of which few times are there twice."""
ALIKE = 5.0
"""Columns are alike in size where their mean sizes differ by no more than this factor."""
MOST_TARGETS = 50
MOST_KEYS = 4
"""Columns that may tell series apart of which each is tried out."""


def see(path: Path, sample: Sample) -> "Seen":
    """A table whose columns were looked at.

    Raises:
        InputError: it has no rows.
    """
    if not sample.head.height:
        raise InputError(f"{path} has a header and no rows")
    return Seen(path, sample, profile(sample.all, sample.separator))


class Times(NamedTuple):
    """What was taken for time and series.

    time
        Columns: one, a date and a time of the day, or none.
    series
        The column that tells series apart, or none.
    repeated
        Rows whose time is there already.
    """

    time: tuple[str, ...]
    series: tuple[str, ...]
    repeated: int = 0


@dataclass(frozen=True, eq=False)
class Seen:
    """A table that is looked at.

    Attributes:
        path: of the file.
        sample: of its rows.
        profile: of its columns.
        headed: whether the file names its columns.
        files: of which it consists.
        by_folder: whether a column has the names of the folders in which these lie.
    """

    path: Path
    sample: Sample
    profile: Profile
    headed: bool = True
    files: int = 1
    by_folder: bool = False

    @property
    def frame(self) -> pl.DataFrame:
        return self.sample.all

    @property
    def form(self) -> str:
        suffix = self.path.suffix.lower()
        if not self.sample.separator:
            return "JSON lines" if suffix in (".jsonl", ".ndjson") else "Parquet"
        name = {"\t": "tab", ",": ""}.get(self.sample.separator, f"'{self.sample.separator}'")
        parts = [f"separated by {name}"] if name and len(self.frame.columns) > 1 else []
        if self.profile.dialect.decimal == ",":
            parts.append("decimal comma")
        if self.profile.dialect.thousands:
            parts.append(f"thousands grouped by '{self.profile.dialect.thousands}'")
        return "CSV" + (f" ({', '.join(parts)})" if parts else "")

    def column(self, name: str) -> Column:
        return self.profile.of(name)

    def numbers(self, name: str) -> np.ndarray:
        return numbers(self.frame, name, self.profile.dialect)

    def order(self, name: str) -> np.ndarray:
        """``(rows,)`` numbers by which rows are ordered: of dates their seconds; none known where one is missing."""
        if name not in self.profile.dates:
            return self.numbers(name)
        cells = self.frame.select(written_times.clean(pl.col(name), self.profile.dialect)).to_series()
        if cells.null_count():
            return np.full(len(cells), np.nan)
        found = written_times.parse(cells, written_times.place_of(str(self.path), name), self.profile.dialect)
        return found.astype("datetime64[us]").astype(np.int64) / 1e6

    # ---- which column is what --------------------------------------------------------------------------

    @property
    def parts(self) -> tuple[str, ...]:
        """Columns that are parts of a date where there is none: ``year`` and ``quarter``."""
        if self.profile.dates:
            return ()
        there = [
            column.name for column in self.profile.columns
            if lower(column.name) in PARTS and (column.is_number or np.isfinite(column.low))
        ]  # fmt: skip
        has_year = any(lower(name) == "year" for name in there)
        return tuple(there) if has_year and len(there) > 1 else ()

    @property
    def ticks(self) -> tuple[str, ...]:
        """Columns of times in fractions, which training does not read: their rows are steps."""
        found = []
        for column in self.profile.columns:
            if column.kind == "number" and lower(column.name) in (*COUNTED, *TIMES):
                steps = np.diff(numbers(self.sample.head, column.name, self.profile.dialect))
                if len(steps) > 2 and (steps > 0).all():
                    found.append(column.name)
        return tuple(found)

    def times(self) -> Times | Unclear:
        """The time and the series: what makes each row's time its own."""
        rows = self.frame.height
        candidates = sorted(self.profile.dates, key=lambda name: rank(name, TIMES))
        hours = [
            column.name for column in self.profile.columns
            if column.kind == "whole" and lower(column.name) in HOURS and column.low >= 0 and column.high <= 23
        ]  # fmt: skip
        clocks = [*self.profile.named("clock"), *hours]
        tried: list[Times] = []
        for date in candidates:
            for time in ((date,), *((date, clock) for clock in clocks)):
                alone = self._repeated(time, ())
                if alone <= REPEATED * rows:
                    names = self._one_after_the_other(time, alone)
                    tried.append(Times(time, names, self._repeated(time, names)))
                    continue
                for name in self._series_candidates(time):
                    repeated = self._repeated(time, (name,))
                    if repeated <= 0.01 * rows:
                        tried.append(Times(time, (name,), repeated))
                        break
        if tried:
            # the earlier date in the order of names, unless another one needs fewer columns and repeats less
            return min(
                tried,
                key=lambda times: (times.repeated > 0, len(times.series), len(times.time), rank(times.time[0], TIMES)),
            )
        if candidates:
            asked = (
                f"times of '{candidates[0]}' occur several times, and no column tells series apart: data.series=COLUMN "
                "names one; events that come at any time are summed up by the day or hour first",
            )
            return Unclear(
                path=self.path, form=self.form, extent=self.sample.extent, columns=self.profile.columns,
                seen=f"rows with dates ('{candidates[0]}'), several for each", questions=asked,
            )  # fmt: skip
        return self._counted()

    def counted_candidates(self) -> list[str]:
        """Columns of whole numbers that rise from row to row by one step, alone or within the rows of a name."""
        found = []
        for column in self.profile.columns:
            if column.kind != "whole" or column.missing:
                continue
            name = column.name
            unnamed = column is self.profile.columns[0] and lower(name) in UNNAMED
            counted = lower(name) in COUNTED or unnamed or column.low >= LARGE
            if (
                not counted
                and not self.is_index(name)
                and not any(self.counts_within(name, series) for series in self._series_candidates((name,))[:MOST_KEYS])
            ):
                continue
            steps = np.diff(numbers(self.sample.head, name, self.profile.dialect))
            values, counts = np.unique(steps[steps > 0], return_counts=True)
            if len(values) and counts.max() >= 0.8 * len(steps) - self.frame.height / ROWS_OF_A_SERIES / 2:
                found.append(name)
        return found

    def _counted(self) -> Times:
        """Whole numbers as times, or no time at all."""
        for name in sorted(self.counted_candidates(), key=lambda name: rank(name, COUNTED)):
            if self.is_index(name) or name in self.parts:
                continue
            if not self._repeated((name,), ()):
                return Times((name,), ())
            for series in self._series_candidates((name,)):
                if not self._repeated((name,), (series,)):
                    return Times((name,), (series,))
        # rows of one name that follow each other are steps of a series
        for name in self._series_candidates(()):
            cells = self.sample.head[name]
            blocks = int((cells != cells.shift(1)).sum()) + 1
            if blocks <= cells.n_unique() + 1 and self.frame.height >= 8 * cells.n_unique():
                return Times((), (name,))
        return Times((), ())

    def is_index(self, name: str) -> bool:
        """Whether a column numbers the rows."""
        if self.column(name).kind != "whole" or lower(name) in ("t", "step", "time"):
            return False
        values = numbers(self.sample.head, name, self.profile.dialect)
        return len(values) > 2 and values[0] in (0, 1) and bool((np.diff(values) == 1).all())

    def counts_within(self, name: str, series: str) -> bool:
        """Whether a column numbers the rows of each series, from 0 or from 1, in whatever order these stand."""
        if self.column(name).kind != "whole" or self.column(name).missing:
            return False
        head = self.sample.head
        one = pl.DataFrame({"series": head[series], "count": numbers(head, name, self.profile.dialect)})
        of = pl.col("count")
        found = one.group_by("series").agg(
            of.min().alias("first"), of.max().alias("last"), of.n_unique().alias("distinct"), pl.len().alias("rows")
        )
        whole = (found["last"] - found["first"] + 1 == found["rows"]) & (found["distinct"] == found["rows"])
        alike = found["first"].is_in([0.0, 1.0]).all() and found["first"].n_unique() == 1
        return bool(whole.all() and alike and (found["rows"] > 2).any())

    def same_within(self, name: str, series: str) -> bool:
        """Whether a column has one value in each series, and not the same in all of them."""
        if self.column(name).distinct < 2:
            return False
        values = pl.DataFrame({"series": self.frame[series], "value": self.numbers(name)}).fill_nan(None).drop_nulls()
        each = values.group_by("series").agg(pl.col("value").n_unique(), pl.len().alias("rows"))
        return each.height > 1 and bool((each["value"] == 1).all() and (each["rows"] > 1).any())

    def _series_candidates(self, time: Sequence[str]) -> list[str]:
        most = self.frame.height / ROWS_OF_A_SERIES
        found = [
            column.name for column in self.profile.columns
            if column.name not in time and 2 <= column.distinct <= most and not column.missing
            and (column.kind in ("name", "text") or (column.kind == "whole" and is_id(column)))
            and column.name not in self.parts
        ]  # fmt: skip
        return sorted(
            found, key=lambda name: (rank(name, NAMES), self.column(name).kind != "name", self.column(name).distinct)
        )

    def _repeated(self, time: Sequence[str], others: Sequence[str]) -> int:
        """Rows whose time, beside the other columns, is there already."""
        return self.frame.height - self.frame.select(pl.struct([*time, *others]).n_unique()).item()

    def _one_after_the_other(self, time: Sequence[str], alone: int) -> tuple[str, ...]:
        """The column that tells series apart which overlap little, or of which none but one begins before the row
        above it; none where one series has them all.

        Args:
            time: columns of the time, a date the first.
            alone: rows whose time is there already.
        """
        dates = self.profile.dates[time[0]].astype("datetime64[us]").astype(np.int64)
        if not alone and not (np.diff(dates) < 0).any():
            return ()
        for name in self._series_candidates(time):
            if alone and 2 * self._repeated(time, (name,)) > alone:
                continue
            rows = pl.DataFrame({"series": self.frame[name], "time": dates})
            falls = rows.select((pl.col("time").diff() < 0) & (pl.col("series") == pl.col("series").shift())).sum()
            if not alone and falls.item():  # rows in disorder, and no series below another one
                continue
            rows = rows.unique()
            times = rows["time"].unique().sort()
            each = rows.group_by("series").agg(pl.len(), pl.min("time").alias("first"), pl.max("time").alias("last"))
            spans = times.search_sorted(each["last"]) - times.search_sorted(each["first"]) + 1
            sizes = each["len"].to_numpy()
            if sizes.min() >= FEWEST_ROWS and sizes.sum() >= COVERED * spans.sum():
                return (name,)
        return ()

    def pair(self, date: str) -> tuple[str, str] | None:
        """Two columns that together give each row a time of its own."""
        names = self._series_candidates((date,))[:6]
        for number, name in enumerate(names):
            for other in names[number + 1 :]:
                if self._repeated((date,), (name, other)) <= 0.01 * self.frame.height:
                    return name, other
        return None

    def _target(self, times: Times) -> tuple[Choice, list[str]]:
        taken = {*times.time, *times.series, *self.parts, *self.ticks}
        numeric = [
            column.name for column in self.profile.columns
            if column.is_number and column.name not in taken and not self.is_index(column.name)
            and lower(column.name) not in (*PLACES, "id")
            and not any(self.counts_within(column.name, name) for name in times.series)
        ]  # fmt: skip
        # what stands still within each series is not forecast
        numeric = [name for name in numeric if not any(self.same_within(name, series) for series in times.series)]
        values = [name for name in numeric if self.column(name).kind != "flag"] or numeric
        if not values:
            return Choice((), ""), []
        hinted = sorted(
            (name for name in values if rank(name, TARGETS) < len(TARGETS)), key=lambda name: rank(name, TARGETS)
        )
        if len(numeric) == 1:
            target = Choice((numeric[0],), "the only column of numbers")
        elif hinted:
            target = Choice((hinted[0],), "its name")
        elif len(values) == 1:
            target = Choice((values[0],), "the only column of numbers that are more than 0 and 1")
        elif self._are_alike(values):
            few = tuple(values[:MOST_TARGETS])
            why = f"{len(values)} columns alike in size: one series each, forecast together"
            target = Choice(few, why + (f"; the first {MOST_TARGETS} of them" if len(few) < len(values) else ""))
        else:
            target = Choice(
                (values[0],), f"the first of {len(values)} columns of numbers; another one: data.target=COLUMN"
            )
        return target, [name for name in numeric if name not in target.columns]

    def _are_alike(self, names: Sequence[str]) -> bool:
        stems = {re.sub(r"[\d ._-]+", "", name) for name in names}
        if len(stems) == 1 and len(names) > 1:
            return True
        if len(names) < 3:
            return False
        rest = [name for name in names if not any(word in lower(name) for word in KNOWN_AHEAD)]
        if len(rest) < len(names):
            return False
        values = [self.numbers(name) for name in names]
        sizes = [float(np.nanmean(np.abs(value))) for value in values]
        spreads = [float(np.nanstd(value)) for value in values]
        return (
            min(sizes) > 0 and max(sizes) <= ALIKE * min(sizes) and max(spreads) <= ALIKE**2 * max(min(spreads), 1e-12)
        )
