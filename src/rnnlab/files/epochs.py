"""Times that are counts since 1970: of seconds, or of parts of them, as programs and sensors write them."""

import numpy as np
import polars as pl

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""By the name that polars and pandas have for it, how many of a unit a second has."""
IN_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
SPAN = 315_532_800, 4_102_444_800
"""The seconds of 1980 and of 2100, between which numbers are taken for such counts: those of one unit are none of
another, nor any of a year, of a date of eight digits or of a row."""
MARGIN = 5 * 365 * 24 * 3600
"""Seconds within which a plain count that runs into or out of :data:`SPAN` has some of its numbers, as no clock has."""
SLIPS = 0.2
"""Share of numbers outside of it that may be slips among such counts."""
LAST = 253_402_300_799
"""The last second of the year 9999."""


def moments(text: pl.Expr, unit: str, likely: bool) -> pl.Expr:
    """Times in microseconds of cells that are counts; null where one is none.

    Args:
        text: cells.
        unit: of :data:`UNITS`.
        likely: only those within :data:`SPAN` are.
    """
    size = UNITS[unit]
    whole, decimals = text.cast(pl.Int64, strict=False), text.cast(pl.Float64, strict=False)
    first, last = SPAN if likely else (-LAST, LAST + 1)
    inside = decimals.is_between(first * size, last * size, closed="left")
    if size > 10**6:
        exact, rounded = whole // (size // 10**6), (decimals / (size // 10**6)).round()
    else:
        exact, rounded = whole * (10**6 // size), (decimals * (10**6 // size)).round()
    return pl.when(inside).then(pl.coalesce(exact, rounded.cast(pl.Int64, strict=False))).cast(pl.Datetime("us"))


def counts(moments: np.ndarray, unit: str) -> pl.Series:
    """``(n,)`` times as counts: whole, or with decimals where a time lies between two of them."""
    since, size = moments.astype("M8[us]").astype(np.int64), UNITS[unit]
    if size > 10**6:
        return pl.Series(since * (size // 10**6))
    whole, rest = np.divmod(since, 10**6 // size)
    return pl.Series(whole) if not rest.any() else pl.Series(since / (10**6 // size))


def likely_unit(text: pl.Series) -> str | None:
    """The unit of a column that counts since 1970, but for slips; ``None`` where it rather holds plain numbers.

    Args:
        text: cells, none of them null.
    """
    numbers = text.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    for unit, size in UNITS.items():
        first, last = SPAN[0] * size, SPAN[1] * size
        inside = (first <= numbers) & (numbers < last)
        if inside.mean() < 1 - SLIPS:
            continue
        near_an_end = (numbers < first + MARGIN * size) | (numbers >= last - MARGIN * size)
        return unit if inside.all() or not (inside & near_an_end).any() else None
    return None
