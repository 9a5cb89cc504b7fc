"""What a time series suggests where nobody said: how long a window is, and which cycles it may have."""

from collections.abc import Sequence

import numpy as np

from rnnlab.data.calendar import Calendar
from rnnlab.files.frequency import DAY
from rnnlab.files.panel import Panel, ShortSeries

WINDOW, WIDEST = 32, 336
"""Steps of a window where no season is known, and the longest season that a window is made to cover."""
COVERED = 24
"""Steps that a window of short seasons has at least."""

Parts = Sequence[tuple[int, int]]
"""The first row and the end of the training part of each series."""


def suggested_length(seasons: Sequence[int], parts: Parts, beside: int, short_series: ShortSeries) -> int:
    """Steps of a window that cover a season, where the training part is long enough.

    Args:
        seasons: steps of each season.
        parts: the training parts.
        beside: steps before and after a window that are read or forecast with it.
        short_series: whether series with fewer rows than a window needs are left out.
    """
    covered = [season for season in seasons if season <= WIDEST]
    length = -(-COVERED // covered[-1]) * covered[-1] if covered else WINDOW
    sizes = [end - start for start, end in parts]
    rows = min(sizes) if short_series == "error" else int(np.median(sizes))
    # half of the training part at most: the rest is what there is to learn from
    return max(1, min(length, (rows - beside) // 2))


def suggested_calendar(panel: Panel, parts: Parts) -> tuple[Calendar, ...]:
    """The cycles that a series may have by its time step, of which the training part holds two."""
    frequency, times = panel.frequency, panel.times
    if times.dtype.kind != "M":
        return ()
    spans = [
        int((times[end - 1] - times[start]).astype("m8[D]").astype(np.int64)) for start, end in parts if end > start
    ]
    days, years = max(spans, default=0), max(spans, default=0) >= 2 * 365
    if frequency.unit == "month":
        return ("month",) if frequency.size < 12 and years else ()
    found: list[Calendar] = []
    if frequency.unit == "duration" and frequency.size < DAY:
        found += ["hour"] if days >= 2 else []
    if frequency.unit == "business day" or frequency.size <= DAY:
        found += ["weekday"] if days >= 14 else []
    return (*found, "year") if years else tuple(found)


def leading_season(panel: Panel, seasons: Sequence[int], parts: Parts) -> int | None:
    """Steps of the season that tells most of the next one, of those that the training part holds twice."""
    if len(seasons) < 2:
        return seasons[0] if seasons else None
    errors: dict[int, float] = {}
    for season in seasons:
        differences = []
        for start, end in parts:
            x = panel.observed(slice(start, end))
            if len(x) >= 2 * season:
                differences.append(np.abs(x[season:] - x[:-season]) / max(float(np.nanstd(x)), 1e-12))
        if differences:
            errors[season] = float(np.nanmean(np.concatenate(differences)))
    return min(errors, key=errors.__getitem__) if errors else seasons[0]
