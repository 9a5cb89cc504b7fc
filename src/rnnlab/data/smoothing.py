"""Exponential smoothing with additive trend and season: a classical rival of every forecast, in a second.

    level   l_t = α (y_t - s_{t-m}) + (1 - α) (l_{t-1} + φ b_{t-1})
    trend   b_t = β (l_t - l_{t-1}) + (1 - β) φ b_{t-1}
    season  s_t = γ (y_t - l_{t-1} - φ b_{t-1}) + (1 - γ) s_{t-m}

(C. Holt (1957); P. Winters (1960); E. Gardner & E. McKenzie (1985) for the damping φ; R. J. Hyndman &
G. Athanasopoulos, "Forecasting: principles and practice", 3rd edition, chapter 8.) statsmodels estimates the parameters
on what comes before the test part, of six forms that with the lowest AICc. They stay what they are; the state goes on
from origin to origin. It is the ETS of ``rnnlab benchmark series``, too, which also has SARIMAX, which takes longer.
"""

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product

import numpy as np

LONGEST_SEASON = 24
"""Steps of a season that can be fitted with in a minute."""
MOST_ROWS = 2_000
"""Of more, the last ones are fitted."""
MOST_FORECASTS = 100_000
"""Rows and steps ahead of all origins; of more, no such forecast is made."""


def is_there() -> bool:
    """Whether statsmodels is installed (extra ``datasets``)."""
    return find_spec("statsmodels") is not None


@dataclass(frozen=True)
class Smoothing:
    """A fitted form.

    Attributes:
        level: α.
        trend: β; 0 where there is no trend.
        damping: φ; 1 where it isn't damped.
        season: γ; 0 where there is no season.
        start: level and trend before the first value.
        seasons: ``(m,)`` of the steps before the first value; one zero where there is no season.
    """

    level: float
    trend: float
    damping: float
    season: float
    start: tuple[float, float]
    seasons: tuple[float, ...]

    def forecast(self, values: np.ndarray, origins: np.ndarray, steps: int) -> np.ndarray:
        """``(origins, steps)`` what follows the values up to each origin.

        Args:
            values: ``(rows,)`` from the first that was fitted.
            origins: ``(origins,)`` rows at whose end a forecast is made, in ascending order.
            steps: ahead.
        """
        level, trend = self.start
        seasons, m = list(self.seasons), len(self.seasons)
        damped = np.cumsum(self.damping ** np.arange(1, steps + 1))
        said, wanted = [], set(origins.tolist())
        for row, value in enumerate(values[: int(origins.max()) + 1].tolist()):
            ahead = level + self.damping * trend
            after = self.level * (value - seasons[row % m]) + (1 - self.level) * ahead
            trend = self.trend * (after - level) + (1 - self.trend) * self.damping * trend
            seasons[row % m] = self.season * (value - ahead) + (1 - self.season) * seasons[row % m]
            level = after
            if row in wanted:
                said.append(level + damped * trend + [seasons[(row + 1 + k) % m] for k in range(steps)])
        return np.stack(said)


def fit_smoothing(values: np.ndarray, season: int) -> Smoothing | None:
    """The form with the lowest AICc; ``None`` where none can be fitted.

    Args:
        values: ``(rows,)`` known ones.
        season: steps of a season; 1 for none.
    """
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    seasonal = (None, "add") if 1 < season <= LONGEST_SEASON and len(values) > 2 * season else (None,)
    best: tuple[float, Smoothing] | None = None
    for (trend, damped), kind in product(((None, False), ("add", False), ("add", True)), seasonal):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of forms that do not converge; others are taken
            try:
                model = ExponentialSmoothing(
                    values, trend=trend, damped_trend=damped, seasonal=kind,
                    seasonal_periods=season if kind else None, initialization_method="heuristic",
                )  # fmt: skip
                fitted = model.fit()
            except (ValueError, np.linalg.LinAlgError):
                continue
        given = fitted.params
        form = Smoothing(
            float(given["smoothing_level"]),
            float(given["smoothing_trend"]) if trend else 0.0,
            float(given["damping_trend"]) if damped else 1.0,
            float(given["smoothing_seasonal"]) if kind else 0.0,
            (float(given["initial_level"]), float(given["initial_trend"]) if trend else 0.0),
            tuple(map(float, given["initial_seasons"])) if kind else (0.0,),
        )
        if np.isfinite(fitted.aicc) and (best is None or fitted.aicc < best[0]):
            best = float(fitted.aicc), form
    return None if best is None else best[1]
