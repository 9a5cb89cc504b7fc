"""Time series from a CSV or Parquet file of your own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from annotated_types import Len

from rnnlab.data.series import SeriesData
from rnnlab.errors import InputError
from rnnlab.files.dialect import Dialect
from rnnlab.files.panel import Columns, Gaps, Panel, Repeated, ShortSeries, arrange
from rnnlab.files.table import check_columns, read, tabulate
from rnnlab.shapes import FilePath


@dataclass(kw_only=True, eq=False)
class CSV(SeriesData):
    """Columns of a file: what is forecast, when, of which series, and what else is known.

    ::

        data.target=sales data.time=date data.series=shop data.known=[promotion] data.past=[temperature]

        date         shop   sales   promotion   temperature
        2024-01-01   north    102           0          -1.5
        2024-01-01   south     87           1           4.0
        2024-01-02   north    110           1          -0.5

    Rows may stand in any order of the series. Without ``path`` the table is
    made up: sales of three shops over two years, with a week, a year, a trend,
    promotions that are known in advance and a temperature that is not.

    A file is streamed, and only the named columns are held, eight bytes a
    number; where they would not fit into memory the file is refused.

    Attributes:
        path: of the file; Parquet by its name (``*.parquet``, ``*.pq``), else CSV in UTF-8 with a header.
        target: columns that are forecast, one or several.
        time: the column of dates, times or whole numbers, or two, ``[DATE, TIME]``; ``None``: each row is a step.
        series: the column that names the series of a row; ``None``: there is one.
        known: columns of numbers that are known for the steps to come.
        past: columns of numbers that are known up to now.
        separator: between the cells of a CSV: one character, or ``tab``; ``None``: recognised by the header.
        decimal: between a number and its decimals, ``.`` or ``,``.
        thousands: between groups of three digits, such as ``.`` or a space; ``None``: nothing is.
        missing_values: further words, or numbers, for a missing value.
        time_format: of the times, as in Python's ``strptime``; ``s``, ``ms``, ``us`` or ``ns`` since 1970; ``number``
            where they are plain numbers; ``None``: it is guessed.
        short_series: a series with fewer rows than a window needs is an ``error``, or ``drop`` leaves it out.
        sort: rows by time, rather than to refuse what is out of order.
        gaps: where a step is left out in time, ``error``, or ``fill`` it with missing values, or ``ignore`` it and take
            each row for a step; ``elapsed`` takes each row for a step, too, as far from the one before as its time
            says, which the network reads (:mod:`rnnlab.elapsed`).
        repeated: where a series has several rows at one time, ``error``, or the ``first`` or the ``last`` is kept.

    Raises:
        InputError: as :func:`rnnlab.files.table.read`, :func:`rnnlab.files.panel.arrange` and :class:`SeriesData`.
    """

    path: FilePath | None = None
    target: str | Sequence[str] | None = None
    time: str | Annotated[Sequence[str], Len(2, 2)] | None = None
    series: str | None = None
    known: Sequence[str] = ()
    past: Sequence[str] = ()
    separator: str | None = None
    decimal: str = "."
    thousands: str | None = None
    missing_values: Sequence[str | int | float] = ()
    time_format: str | None = None
    short_series: ShortSeries = "error"
    sort: bool = False
    gaps: Gaps = "error"
    repeated: Repeated = "error"

    @property
    def tells_elapsed(self) -> bool:
        return self.gaps == "elapsed"

    def _check_options(self) -> None:
        super()._check_options()
        if self.path is not None and not self.target:
            raise InputError(f"data.target is missing: give the column of {self.path} that is to be forecast")
        self.dialect  # noqa: B018  refuses what cannot be
        if self.tells_elapsed and self.path is not None and self.time is None:
            raise InputError("data.gaps=elapsed needs the column of the times: data.time=COLUMN")
        if self.gaps == "fill" and self.missing == "error":
            raise InputError("data.gaps=fill makes missing values: it needs data.missing=forward or data.missing=mask")

    @cached_property
    def columns(self) -> Columns:
        """Which columns are read."""
        if self.path is None and not self.target:
            # nobody could feed back the temperature
            return replace(MADE_UP, past=()) if self.strategy == "recursive" and self.horizon > 1 else MADE_UP
        target = [self.target] if isinstance(self.target, str) else self.target or ()
        time, clock = (self.time, None) if isinstance(self.time, str | None) else self.time
        columns = Columns(target, self.past, self.known, time, self.series, clock)
        if len(columns.numbers) > MOST_COLUMNS:
            raise InputError(
                f"data.target, data.past and data.known name {len(columns.numbers):,} columns, and {MOST_COLUMNS:,} "
                "are the most: name fewer, or give series of the same kind a row each (data.series)"
            )
        return columns

    @cached_property
    def dialect(self) -> Dialect:
        """How the file is written."""
        return Dialect(
            self.separator, self.decimal, self.thousands, tuple(self.missing_values), self.time_format,
            self.tells_elapsed,
        ).check()  # fmt: skip

    @property
    def _written(self) -> dict[str, Any]:
        if self.path is None:
            return {}
        return {"written": self.dialect.plain(), "sort": self.sort, "gaps": self.gaps, "repeated": self.repeated}

    def read(self) -> Panel:
        if self.path is not None:
            table = read(Path(self.path).expanduser(), self.columns, self.dialect)
            source = f"data.path={self.path}"
            return arrange(table, self.columns, source, self.sort, self.gaps, repeated=self.repeated)
        frame = make_up()
        check_columns(frame.columns, self.columns, "without data.path=FILE the made-up table")
        table = tabulate(frame.lazy(), self.columns, "the made-up table")
        panel = arrange(table, self.columns, "the made-up table", gaps=self.gaps)
        panel.note = "a made-up table of three shops; give a file of yours, data.path=FILE data.target=COLUMN"
        return panel


MOST_COLUMNS = 10_000
"""For each target a linear part is fitted, some milliseconds each."""
MADE_UP = Columns(["sales"], ["temperature"], ["promotion"], "date", "shop")


def make_up(days: int = 730) -> pl.DataFrame:
    """Daily sales of three shops from 2023 on: trend, week, year, promotions, weather, and a little noise."""
    rng = np.random.default_rng(0)
    day = np.arange(days)
    dates = np.datetime64("2023-01-01") + day
    season = 2 * np.pi * day / 365.25
    frames = []
    for shop, size in (("north", 100.0), ("south", 300.0), ("harbour", 40.0)):
        weather = np.zeros(days)
        for today in range(1, days):
            weather[today] = 0.8 * weather[today - 1] + rng.normal(0, 2)
        promotion = np.repeat(rng.random(days // 5 + 1) < 0.2, 5)[:days].astype(float)
        week = np.array([1.0, 0.95, 0.95, 1.0, 1.15, 1.35, 0.6])[(day + 6) % 7]
        level = size * (1 + 0.0005 * day) * (1 + 0.1 * np.sin(season)) * week
        sales = level * (1 + 0.3 * promotion + 0.02 * np.roll(weather, 1)) * rng.normal(1, 0.04, days)
        temperature = 10 - 9 * np.cos(season) + weather
        frames.append(
            pl.DataFrame(
                {
                    "date": dates, "shop": [shop] * days, "sales": sales.round(1), "promotion": promotion,
                    "temperature": temperature.round(1),
                }
            )
        )  # fmt: skip
    return pl.concat(frames)
