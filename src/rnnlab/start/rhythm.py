"""Seasons and trends of a series, from its numbers alone."""

from collections.abc import Iterable, Sequence

import numpy as np

from rnnlab.start.description import Season, Trend

CANDIDATES = {
    "year": (), "quarter": (4,), "month": (12,), "week": (52,), "day": (7, 365), "business day": (5, 261),
    "hour": (24, 168), "minute": (60, 1440), "second": (60, 3600),
}  # fmt: skip
"""Periods that people mean by the name of a step."""
LEAST = 0.1
"""Share of the variance without trend, and without shorter seasons, that a season must explain."""
CLEAR = 0.5
"""And where no calendar suggests it."""
STRAIGHT = 0.3
"""Share of the variance that a straight line must explain to be called a trend."""
STEEP = 0.5
"""Standard deviations of the series that a trend must rise or fall from end to end."""
LONGEST = 50_000
"""Steps of a series that are looked at, its last ones."""


def periods_of(step: str, microseconds: int | None) -> tuple[int, ...]:
    """Periods that a step suggests: those of its name, or an hour, a day and a week in steps of part of an hour."""
    if step in CANDIDATES:
        return CANDIDATES[step]
    if not microseconds:
        return ()
    hour = 3600 * 10**6
    lengths = (hour, 24 * hour, 168 * hour)
    return tuple(length // microseconds for length in lengths if not length % microseconds and length > microseconds)


def find_seasons(series: Iterable[np.ndarray], candidates: Sequence[int]) -> tuple[Season, ...]:
    """The periods of a panel, the shortest first: of the candidates, or without any the one that the numbers show.

    Args:
        series: each ``(rows,)``, not a number where a value is missing.
        candidates: periods in steps, the shortest first.
    """
    prepared = [_filled(values[-LONGEST:]) for values in series if np.isfinite(values).sum() > 8]
    if not prepared:
        return ()
    if not candidates:
        period = _of_autocorrelation(max(prepared, key=len))
        strength = _median(_strength(values, period) for values in prepared) if period else 0.0
        return (Season(period, strength),) if period and strength >= CLEAR else ()
    found: list[Season] = []
    for period in candidates:
        long_enough = [values for values in prepared if len(values) >= 2 * period + 1]
        if not long_enough:
            continue
        rest = [_without(values, [season.period for season in found]) for values in long_enough]
        if _median(_strength(values, period) for values in rest) >= LEAST:
            found.append(Season(period, _median(_strength(values, period) for values in long_enough)))
    return tuple(found)


def find_trend(series: Sequence[np.ndarray], period: int = 1) -> Trend | None:
    """The straight line through the longest series, where it explains enough of it; seasons are averaged out first."""
    values = _filled(max(series, key=len))
    if len(values) < 8 or values.std() == 0:
        return None
    smooth = _moving_average(values, period) if 1 < period <= len(values) // 2 else values
    at = np.linspace(0, 1, len(smooth))
    slope, start = np.polyfit(at, smooth, 1)
    left = smooth - (start + slope * at)
    strength = 1 - left.var() / smooth.var() if smooth.var() else 0.0
    # a random walk looks like a trend, too: it is one here, since a network has to deal with it
    steep = abs(slope) >= STEEP * values.std()
    return Trend(float(start), float(start + slope), float(strength)) if strength >= STRAIGHT and steep else None


def neighbours_alike(values: np.ndarray) -> float:
    """The correlation of each value with the next one, not a number where there is none."""
    known = values[np.isfinite(values)]
    if len(known) < 4 or known.std() == 0:
        return float("nan")
    return float(np.corrcoef(known[:-1], known[1:])[0, 1]) if known[:-1].std() and known[1:].std() else float("nan")


def _median(numbers: Iterable[float]) -> float:
    return float(np.median(list(numbers)))


def _filled(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    at = np.arange(len(values))
    return np.interp(at, at[known], values[known]) if not known.all() else values.astype(np.float64)


def _moving_average(values: np.ndarray, period: int) -> np.ndarray:
    return np.convolve(values, np.full(period, 1 / period), "valid")


def _detrended(values: np.ndarray, period: int) -> tuple[np.ndarray, int]:
    """Without a centred moving average of one period, and how many rows were cut off before it."""
    if period % 2:
        weights = np.full(period, 1 / period)
    else:
        weights = np.concatenate([[0.5], np.ones(period - 1), [0.5]]) / period
    level = np.convolve(values, weights, "valid")
    before = len(weights) // 2
    return values[before : before + len(level)] - level, before


def _strength(values: np.ndarray, period: int) -> float:
    """How much of what the trend leaves the mean of each place in the period explains, less what it would of noise."""
    if len(values) < 2 * period + 1:
        return 0.0
    left, before = _detrended(values, period)
    if len(left) <= period + 1 or left.var() <= 1e-20 * max(1.0, float(np.square(values).max())):
        return 0.0
    place = (np.arange(len(left)) + before) % period
    counts = np.bincount(place, minlength=period)
    means = np.bincount(place, left, minlength=period) / np.maximum(counts, 1)
    rest = left - means[place]
    free = len(left) - period
    return float(
        np.clip(1 - (np.square(rest).sum() / free) / (np.square(left - left.mean()).sum() / (len(left) - 1)), 0, 1)
    )


def _without(values: np.ndarray, periods: Sequence[int]) -> np.ndarray:
    """Without its seasons: each place in a period less its mean."""
    for period in periods:
        place = np.arange(len(values)) % period
        means = np.bincount(place, values, minlength=period) / np.maximum(np.bincount(place, minlength=period), 1)
        values = values - (means - means.mean())[place]
    return values


def _of_autocorrelation(values: np.ndarray) -> int | None:
    """The lag of the highest peak of the autocorrelation of what a straight line leaves."""
    rows = len(values)
    if rows < 16:
        return None
    at = np.arange(rows)
    left = values - np.polyval(np.polyfit(at, values, 1), at)
    if left.std() == 0:
        return None
    spectrum = np.abs(np.fft.rfft(left, 2 * rows)) ** 2
    correlation = np.fft.irfft(spectrum)[:rows] / np.arange(rows, 0, -1)
    correlation = correlation[: rows // 3 + 1] / correlation[0]
    inner = correlation[1:-1]
    peaks = np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:])) + 1
    peaks = peaks[(peaks > 1) & (correlation[peaks] > max(0.3, 2 / np.sqrt(rows)))]
    if not len(peaks):
        return None
    # of multiples of one period the first that is nearly as high as the highest
    high = correlation[peaks] >= 0.9 * correlation[peaks].max()
    return int(peaks[high][0])
