"""The linear part of a forecast: ridge regression in closed form, chosen inside the training part.

A direct forecast ``x(t + h) = x(t) + Σ_i a_hi (x(t - i) - x(t)) + l_h x(t) + b_h · z(t) + c_h`` of each target by
itself: lags less the last value, perhaps the level, and perhaps what else is known (z: two harmonics of the
calendar, past columns of now, known columns of the steps ahead). Features are standardised, and the weights shrunk
(A. E. Hoerl & R. W. Kennard, "Ridge regression", Technometrics 12, 1970).

:mod:`rnnlab.data.linear_fit` fits it, and chooses its constants.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnlab.data.calendar import Calendar, calendar_features
from rnnlab.files.panel import Columns

HARMONICS = 2


@dataclass(frozen=True, eq=False)
class Linear:
    """A fitted linear part.

    Attributes:
        constant: ``(horizon, targets)``.
        weights: ``(horizon, order, targets)`` of the scaled values, the latest first.
        others: ``(horizon, features, targets)`` of what else it reads.
        calendar: of the step after; see :mod:`rnnlab.data.calendar`.
        covariates: whether past and known columns are among the others.
        chosen: in words, what it is made of.
    """

    constant: np.ndarray
    weights: np.ndarray
    others: np.ndarray
    calendar: tuple[Calendar, ...] = ()
    covariates: bool = False
    chosen: str = ""

    @property
    def order(self) -> int:
        """Lags, the value of now among them."""
        return self.weights.shape[1]

    def forecast(
        self, exact: np.ndarray, at: np.ndarray, times: np.ndarray | None, columns: Columns, horizon: int
    ) -> np.ndarray:
        """``(batch, time, horizon, targets)`` scaled forecasts.

        Args:
            exact: ``(batch, rows, columns)`` scaled values.
            at: ``(time,)`` the rows at whose end forecasts are made, ``order - 1`` at least.
            times: ``(batch, time)`` of the rows after; ``None`` where no calendar is read.
            columns: their names.
            horizon: steps ahead, as it was fitted.
        """
        lags = at[:, None] - np.arange(self.order)
        z = other_features(exact, at, times, columns, horizon, self.calendar, self.covariates)
        return self.of(exact[:, lags, : self.constant.shape[1]], z)

    def of(self, lags: np.ndarray, others: np.ndarray) -> np.ndarray:
        """``(batch, time, horizon, targets)`` of ``(batch, time, order, targets)`` values, the latest first, and of
        ``(batch, time, features)`` what else it reads.
        """
        found = np.empty((*lags.shape[:2], *self.constant.shape))
        for target in range(found.shape[-1]):
            found[..., target] = lags[..., target] @ self.weights[..., target].T
            found[..., target] += others @ self.others[..., target].T + self.constant[:, target]
        return found

    def plain(self) -> dict[str, Any]:
        """The same as plain values."""
        arrays = {name: getattr(self, name).tolist() for name in ("constant", "weights", "others")}
        shape = list(self.others.shape)  # which a list without features would forget
        return {
            **arrays,
            "shape": shape,
            "calendar": list(self.calendar),
            "covariates": self.covariates,
            "chosen": self.chosen,
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Linear":
        """What :meth:`plain` gave."""
        constant, weights, others = (np.asarray(values[name], np.float64) for name in ("constant", "weights", "others"))
        return cls(
            constant,
            weights,
            others.reshape(values["shape"]),
            tuple(values["calendar"]),
            bool(values["covariates"]),
            str(values["chosen"]),
        )


def other_features(
    exact: np.ndarray, at: np.ndarray, times: np.ndarray | None, columns: Columns, horizon: int,
    calendar: Sequence[Calendar], covariates: bool,
) -> np.ndarray:  # fmt: skip
    """``(batch, time, features)`` what is read beside the lags: see :class:`Linear`."""
    k = len(columns.target)
    others = k + len(columns.past)
    parts: list[np.ndarray] = [np.zeros((len(exact), len(at), 0))]
    if calendar:
        assert times is not None
        parts.append(calendar_features(times, calendar, HARMONICS))
    if covariates:
        parts.append(exact[:, at, k:others])
        parts += [exact[:, at + 1 + step, others:] for step in range(horizon)] if columns.known else []
    return np.concatenate(parts, -1)
