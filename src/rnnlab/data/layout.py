"""What a network reads of a window of time series, and what its forecasts are added to.

Training, prediction, streaming, inspection and export all hold a
:class:`Layout` and cut their windows by :meth:`Layout.cut`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from rnnlab.data.calendar import Calendar, calendar_features
from rnnlab.data.linear import Linear
from rnnlab.files.frequency import passed
from rnnlab.files.panel import Columns, Missing
from rnnlab.spec import InputSpec

Base = Literal["none", "persistence", "seasonal_naive", "mean", "linear"]
WindowScaling = Literal["global", "last", "mean", "seasonal"]


class Cut(NamedTuple):
    """Windows as a network reads them.

    inputs
        ``(batch, time, features)``.
    ahead
        ``(batch, steps - 1, others)`` inputs beside the predicted values at the steps of a rollout.
    base
        ``(batch, time, horizon, targets)`` what is added to the forecast made at each step, scaled.
    divisor
        ``(horizon, targets)`` by which the forecast is multiplied before.
    """

    inputs: np.ndarray
    ahead: np.ndarray
    base: np.ndarray
    divisor: np.ndarray


@dataclass(frozen=True, eq=False)
class Layout:
    """The features of a window and the meaning of a forecast, in plain values.

    A network input is, in this order: targets, past columns, known columns of
    the steps ahead (all of the horizon when direct, else the next), the
    calendar of the next step, for ``missing=mask`` a 1 for each target and
    past column whose value is none, and with ``elapsed`` the time since the row
    before. Then nobody knows when the next step is, and the calendar is that of
    the step itself. A forecast in units is
    ``(output * divisor + base) * scale + shift``, or the exponential of that.

    **Window scaling.** ``global``: targets are read as they are, scaled by the
    training part. Else what is read of a target at step t is free of the level
    of the series: its difference from the value before (``last``), from the
    value of a season before (``seasonal``), or from the mean of the last season
    (``mean``; of the last ``length`` steps where there is none). All three
    depend on no later step, so that every step of a window can be learned from,
    and a stream goes on step by step. Forecasts are differences from the same
    level, unless ``base`` says otherwise.

    Attributes:
        columns: arguments of :class:`rnnlab.files.panel.Columns`.
        length: steps of a window.
        horizon: steps ahead.
        direct: the network puts out all of them at once.
        log: it sees the logarithm of the targets.
        calendar: see :mod:`rnnlab.data.calendar`.
        missing: see :class:`rnnlab.data.series.SeriesData`.
        season: steps of a season, 1 where there is none.
        base: the forecast whose error is the network's target.
        divisor: of that error, ``(horizon, targets)``, the steps first; empty for 1.
        window_scaling: as above.
        spread: ``(targets,)`` standard deviation of what is read of a target; empty for 1.
        linear: the linear part, where that is the base, as :class:`rnnlab.data.linear.Linear` in plain values.
        reach: steps before a window without which nothing is forecast.
        elapsed: by which the time since the row before is divided, in seconds of dates; ``None`` where rows are steps,
            equally far apart.
    """

    columns: Mapping[str, Any]
    length: int
    horizon: int
    direct: bool
    log: bool = False
    calendar: tuple[Calendar, ...] = ()
    missing: Missing = "error"
    season: int = 1
    base: Base = "none"
    divisor: tuple[float, ...] = ()
    window_scaling: WindowScaling = "global"
    spread: tuple[float, ...] = ()
    linear: Mapping[str, Any] = field(default_factory=dict)
    reach: int = 0
    elapsed: float | None = None

    @cached_property
    def of(self) -> Columns:
        """The columns."""
        return Columns(**self.columns)

    @cached_property
    def ridge(self) -> Linear | None:
        """The linear part."""
        return Linear.from_plain(self.linear) if self.linear else None

    @cached_property
    def base_map(self) -> Linear | None:
        """The base as a linear map of scaled values, whichever it is; ``None`` where there is none.

        What :meth:`cut` adds is the same, without products where there need be none.
        """
        if self.base in ("none", "linear"):
            return self.ridge if self.base == "linear" else None
        order = {"persistence": 1, "mean": self.averaged, "seasonal_naive": self.season}[self.base]
        weights = np.zeros((self.horizon, order, len(self.of.target)))
        if self.base == "mean":
            weights[:] = 1 / order
        else:
            for step in range(self.horizon):
                weights[step, order - 1 - step % order] = 1
        return Linear(
            np.zeros((self.horizon, weights.shape[2])), weights, np.zeros((self.horizon, 0, weights.shape[2]))
        )

    @property
    def said(self) -> int:
        """Steps ahead that the network puts out at once."""
        return self.horizon if self.direct else 1

    @property
    def averaged(self) -> int:
        """Steps over which a trailing mean is taken."""
        return self.season if self.season > 1 else self.length

    @property
    def needs_times(self) -> bool:
        calendar = bool(self.calendar) or (self.ridge is not None and bool(self.ridge.calendar))
        return calendar or self.elapsed is not None

    @property
    def before(self) -> int:
        """Steps before a window that are read with it; where a series begins later, its first value stands there."""
        base = {"mean": self.averaged - 1, "seasonal_naive": self.season - 1}.get(self.base, 0)
        lags = self.ridge.order - 1 if self.ridge is not None else 0
        return max(self.reach, self._before_read, base, lags, int(self.elapsed is not None))

    @property
    def _before_read(self) -> int:
        """Steps before one by which it is told what the network reads of its targets."""
        return {"global": 0, "last": 1, "mean": self.averaged - 1, "seasonal": self.season}[self.window_scaling]

    @property
    def depends_on(self) -> int:
        """Steps up to the last of a window on which the forecast made there depends."""
        order = 0 if self.base_map is None else self.base_map.order
        return max(self.length + self._before_read, order)

    @property
    def feeds_back(self) -> bool:
        """Whether a forecast of the network is, as it is, its next input."""
        return self.base == "none" and self.window_scaling == "global" and self.elapsed is None

    @property
    def features(self) -> tuple[str, ...]:
        """Names, in the order of the inputs."""
        columns = self.of
        now = (*columns.target, *columns.past)
        less = {"global": "", "last": " less the last", "mean": " less its mean", "seasonal": " less a season before"}
        targets = [f"{name}{less[self.window_scaling]}" for name in columns.target]
        known = [f"{name} +{step}" for step in range(1, 1 + self.said) for name in columns.known]
        cycles = [f"{name} {wave}" for name in self.calendar for wave in ("sin", "cos")]
        unknown = [f"{name} missing" for name in now] if self.missing == "mask" else []
        elapsed = ["elapsed"] if self.elapsed is not None else []
        return (*targets, *columns.past, *known, *cycles, *unknown, *elapsed)

    @property
    def input(self) -> InputSpec:
        """Of what the network reads."""
        size, timed = len(self.features), self.elapsed is not None
        now = len(self.of.target) + len(self.of.past) if self.missing == "mask" else 0
        masks = [(value, size - timed - now + value) for value in range(now)]
        return InputSpec(features=size, elapsed=size - 1 if timed else None, masks=masks)

    def cut(
        self, values: np.ndarray, unknown: np.ndarray | None, times: np.ndarray | None, shift: np.ndarray,
        scale: np.ndarray, steps: int,
    ) -> Cut:  # fmt: skip
        """Windows of series.

        Args:
            values: ``(batch, before + time + after, columns)`` in the data's units, not a number where unknown, where
                after is ``max(said, steps)``; after the windows the known columns alone are read.
            unknown: alike, true where a value was missing; ``None`` where none was.
            times: ``(batch, before + time + after)``; ``None`` where no time is read.
            shift: ``(batch, columns)``.
            scale: alike.
            steps: ahead, to which a rollout goes.
        """
        columns, k = self.of, len(self.of.target)
        others = k + len(columns.past)
        if self.log:
            values = values.copy()
            with np.errstate(divide="ignore", invalid="ignore"):
                values[..., :k] = np.log(values[..., :k])
        # the level is taken away in double precision: single would round what is left of a large one
        exact = np.nan_to_num((values - shift[:, None]) / scale[:, None])
        scaled = exact.astype(np.float32)
        at = np.arange(self.before, values.shape[1] - max(self.said, steps))
        rows, time = len(values), len(at)
        targets = self.read(exact[..., :k], at)
        known = scaled[..., others:]
        calendar = np.zeros((*values.shape[:2], 0), np.float32)
        if self.calendar:
            assert times is not None
            calendar = calendar_features(times, self.calendar)
        coming = [known[:, at + 1 + step] for step in range(self.said)] if columns.known else []
        parts = [targets, scaled[:, at, k:others], *coming, calendar[:, at + (self.elapsed is None)]]
        mask = others if self.missing == "mask" else 0
        if mask:
            there = np.zeros((rows, time, mask), np.float32)
            parts.append(there if unknown is None else unknown[:, at, :mask].astype(np.float32))
        if self.elapsed is not None:
            assert times is not None
            parts.append(self.read_elapsed(times)[:, at - 1, None].astype(np.float32))
        after = at[-1] + np.arange(1, steps) + 1
        # of who feeds forecasts back, which does not go with elapsed times
        zeros = np.zeros((rows, steps - 1, len(columns.past) + mask + (self.elapsed is not None)), np.float32)
        divisor = np.asarray(self.divisor, np.float32).reshape(-1, k) if self.divisor else np.ones((1, k), np.float32)
        return Cut(
            np.concatenate(parts, -1),
            np.concatenate([known[:, after], calendar[:, after], zeros], -1),
            self._base(exact, times, at),
            np.broadcast_to(divisor, (self.horizon, k)),
        )

    def read_elapsed(self, times: np.ndarray) -> np.ndarray:
        """``(batch, rows - 1)`` what is read of the time since the row before, of ``(batch, rows)`` times: 1 where the
        series begins, and the first row stands for those before.
        """
        steps = passed(times)
        return np.where(steps > 0, steps / (self.elapsed or 1.0), 1.0)

    def read(self, x: np.ndarray, at: np.ndarray) -> np.ndarray:
        """``(batch, time, targets)`` what the network reads of ``(batch, rows, targets)`` values."""
        if self.window_scaling == "last":
            read = x[:, at] - x[:, at - 1]
        elif self.window_scaling == "seasonal":
            read = x[:, at] - x[:, at - self.season]
        elif self.window_scaling == "mean":
            read = x[:, at] - trailing_mean(x, at, self.averaged)
        else:
            read = x[:, at]
        if self.spread:
            read = read / np.asarray(self.spread)
        return np.asarray(read, np.float32)

    def _base(self, exact: np.ndarray, times: np.ndarray | None, at: np.ndarray) -> np.ndarray:
        """``(batch, time, horizon, targets)``, of the forecast that is made at each step."""
        k = len(self.of.target)
        x, shape = exact[..., :k], (len(exact), len(at), self.horizon, k)
        if self.base == "linear" and self.ridge is not None:
            cycles = None if times is None else times[:, at + 1]
            return self.ridge.forecast(exact, at, cycles, self.of, self.horizon)
        if self.base == "persistence":
            return np.broadcast_to(x[:, at, None], shape)
        if self.base == "mean":
            return np.broadcast_to(trailing_mean(x, at, self.averaged)[:, :, None], shape)
        if self.base == "seasonal_naive":
            return np.stack([x[:, at - self.season + 1 + step % self.season] for step in range(self.horizon)], 2)
        return np.zeros(shape)


def trailing_mean(x: np.ndarray, at: np.ndarray, steps: int) -> np.ndarray:
    """``(batch, time, values)`` mean of the ``steps`` values up to each of the rows ``at``."""
    sums = np.concatenate([np.zeros_like(x[:, :1]), np.cumsum(x, 1)], 1)
    return np.asarray((sums[:, at + 1] - sums[:, at + 1 - steps]) / steps)


def padded_front(values: Sequence[Any] | np.ndarray, missing: int) -> np.ndarray:
    """Rows with the first of them ``missing`` times in front."""
    values = np.asarray(values)
    return np.concatenate([np.repeat(values[:1], missing, 0), values]) if missing > 0 else values
