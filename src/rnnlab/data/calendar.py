"""Where in its cycles a time is."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

Calendar = Literal["year", "month", "day", "weekday", "hour", "minute"]


def calendar_features(times: np.ndarray, names: Sequence[Calendar], harmonics: int = 1) -> np.ndarray:
    """``(…, 2 × names × harmonics)`` of ``(…)`` dates: where in each cycle they are, on the unit circle, as sine and
    cosine, and of each name its multiples of the frequency. ``year`` goes by the day of the year, ``month`` in steps.
    """
    if not names:
        return np.zeros((*times.shape, 0), np.float32)
    days, months = times.astype("M8[D]"), times.astype("M8[M]")
    minutes = (times - days).astype("m8[m]").astype(np.int64)
    years = times.astype("M8[Y]")
    shares = {
        "year": (days - years.astype("M8[D]")).astype(np.int64) / 365.25,
        "month": months.astype(np.int64) % 12 / 12,
        "day": (days - months.astype("M8[D]")).astype(np.int64) / 31,
        "weekday": (days.astype(np.int64) + 3) % 7 / 7,  # 1970-01-01 was a Thursday
        "hour": minutes / 1440,
        "minute": minutes % 60 / 60,
    }
    angles = [2 * np.pi * multiple * shares[name] for name in names for multiple in range(1, harmonics + 1)]
    return np.stack([wave(angle) for angle in angles for wave in (np.sin, np.cos)], -1).astype(np.float32)
