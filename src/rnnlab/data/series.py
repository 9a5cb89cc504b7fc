"""The contract of time series: windows, splits by time, scaling, and what forecasts are held against.

In one file, since each of these is computed from the others when it is first asked for.
"""

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from rnnlab.data import autoregression, smoothing
from rnnlab.data import linear_fit as linear_part
from rnnlab.data.calendar import Calendar
from rnnlab.data.layout import Base, Layout, WindowScaling
from rnnlab.data.linear import Linear
from rnnlab.data.sequence import SequenceData
from rnnlab.data.series_reader import SeriesReader, shown_names
from rnnlab.data.split import SPLITS, CutOnDemand, Sample, Split, SplitName
from rnnlab.errors import InputError, nearest
from rnnlab.files.frequency import DAY, passed, time_in_words
from rnnlab.files.panel import Missing, Panel, ShortSeries, carry_forward, keep_series, show
from rnnlab.shapes import NonNegativeInt, PositiveInt
from rnnlab.spec import Batch, DataSpec, Origin, Reference, Scaling, TargetSpec
from rnnlab.student import doubt

log = logging.getLogger("rnnlab")

LONGEST_ORDER = 24
"""Of an autoregression whose order nobody gave, and no less than some seasons."""
WINDOW, WIDEST = 32, 336
"""Steps of a window where no season is known, and the longest season that a window is made to cover."""
COVERED = 24
"""Steps that a window of short seasons has at least."""
MEASURED = 4096
"""Training windows on which the errors of the reference forecasts are measured, evenly spaced."""


@dataclass(kw_only=True, eq=False)
class SeriesData(SequenceData):
    """Windows of one or several series, and at each window's end the ``horizon`` steps ahead.

    ::

        length=6 horizon=2: the last window of the training part, and the first of the validation part

        time      … 12  13  14  15  16  17  18  19 | 20  21  22  23     val_start=20
        training    [ context        ]  ↑   ↑              all that it reads and all that it is to say are before 20
        validation          [ context            ] | ↑   ↑              its forecast is after, its context is the past

    **No leak.** Training, validation and test are consecutive in time, with
    the same cuts for all series. A window belongs to the part in which all
    steps of its forecast lie; its context may reach back into the part before,
    since at the time of the forecast it is known. Scaling, the errors of the
    reference forecasts and their coefficients come from the training part.

    **Two strategies.** ``direct``: at every step t of a window the network puts
    out the steps t + 1 … t + horizon at once, and learns from all of them
    (forking sequences, Wen et al. 2017, arXiv 1711.11053, section 3.3).
    ``recursive``: it puts out one step, and is fed its own forecasts to reach
    the horizon. Both are scored at the last step of each window alone, over
    the whole horizon.

    **Rolling origin.** The test part holds a window for each ``test_stride``-th
    step: a backtest without refitting. With ``folds`` the test part is cut into
    as many consecutive pieces; run number ``fold`` is tested on one of them and
    trained on everything before it (an expanding window), so that a sweep over
    ``fold`` is the backtest with refitting.

    **A linear part.** With ``linear=ridge`` a ridge regression in closed form
    (:mod:`rnnlab.data.linear`) is fitted to the training part, and the network
    learns what it leaves over. Where its forecasts of the validation part are
    worse, by more than chance may, than the better of persistence and
    seasonal-naive, that one takes its place. The test, and all that is new, is
    forecast by the same regression fitted on training and validation together.

    What a network reads at each step is a :class:`rnnlab.data.layout.Layout`.

    Attributes:
        length: steps of a window, the context of a forecast; ``None``: the longest season that the time step suggests,
            or as many seasons as make two dozen steps.
        horizon: steps ahead.
        strategy: ``direct`` or ``recursive``.
        period: steps of a season; ``None``: what the time step suggests (12 months, 24 hours …), if anything.
        scaling: each column of each series less its mean, over its standard deviation (``standard``); to 0 … 1
            (``minmax``); or as it is (``none``).
        scale_together: one scaling for all series, rather than one each.
        log: the network sees and forecasts the logarithm of the targets; ``None``: where that makes a better linear
            part of the training part.
        window_scaling: see :class:`rnnlab.data.layout.Layout`; ``None``: ``global`` where the level of the training
            part stays what it was, ``last`` where it does not, or where there is a linear part.
        linear: ``ridge`` or ``none``; ``None``: a ridge, where ``strategy`` and ``residual_of`` allow it.
        residual_of: the network forecasts the difference from ``persistence`` or from ``seasonal_naive``; added back
            in every score. For ``strategy=direct``, or a horizon of 1.
        calendar: features of the time stamps, each as sine and cosine; ``None``: those that the time step suggests.
        missing: a value that is not there is an ``error``, or the last known one is carried ``forward``; ``mask`` also
            tells the network so. A missing target is never trained on nor scored. Before the first known value the
            network sees the mean.
        val_start: time of the first validation target; ``None``: as ``val_fraction`` says, of all times.
        test_start: of the first test target; ``None``: as ``test_fraction`` says.
        end: the last time that is used.
        stride: steps from one training window to the next.
        test_stride: steps from one origin to the next in validation and test.
        folds: pieces of the test part, for a backtest with refitting; ``None``: it is one piece.
        fold: which of them, from 0.
        ar_order: lags of the linear autoregression that is fitted beside; ``None``: by Akaike's criterion.
        trained: what a trained run learned from its training part: the scaling of each series, its naive errors, and
            the simple predictors. It hands that in, so that other data is read and scored by it; ``None``: it is
            learned from the training part of this data.
        num_samples: at most so many windows in all three splits, the first of each; ``None``: all.

    Raises:
        InputError: a split has no window, a logarithm has nothing to be taken of, or the options contradict each other.
    """

    num_samples: PositiveInt | None = None
    length: PositiveInt | None = None
    horizon: PositiveInt = 1
    strategy: Literal["direct", "recursive"] = "direct"
    period: PositiveInt | None = None
    scaling: Literal["standard", "minmax", "none"] = "standard"
    scale_together: bool = False
    log: bool | None = None
    residual_of: Literal["none", "persistence", "seasonal_naive"] = "none"
    window_scaling: WindowScaling | None = None
    linear: Literal["ridge", "none"] | None = None
    calendar: Sequence[Calendar] | None = None
    missing: Missing = "error"
    val_start: int | str | None = None
    test_start: int | str | None = None
    end: int | str | None = None
    stride: PositiveInt = 1
    test_stride: PositiveInt = 1
    folds: PositiveInt | None = None
    fold: NonNegativeInt = 0
    ar_order: PositiveInt | None = None
    trained: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        self._given = {name: getattr(self, name) for name in ("linear", "window_scaling", "log", "residual_of")}
        self._check_options()
        if self.val_fraction + self.test_fraction < 1:
            self._decide_what_is_read()
            self._check_windows()
            self._decide_what_is_learned()
        super().__post_init__()

    @abstractmethod
    def read(self) -> Panel:
        """The series, as they are."""

    unit = ""
    """Of the targets."""
    rivals: ClassVar[tuple[str, ...]] = ("ridge", "ets")
    """The linear part alone is a part of the run that is judged; exponential smoothing there is not always."""
    tells_elapsed = False
    """Whether rows are as far apart as their times say, and the network reads how far."""
    short_series: ClassVar[ShortSeries] = "error"
    """Whether a series with fewer rows than a window needs is an error, or left out."""

    # ---- the series -----------------------------------------------------------------------------

    @property
    def panel(self) -> Panel:
        """The series, read at the first call; what is missing is carried forward, and marked in ``unknown``."""
        return self._carried[0]

    @property
    def unknown(self) -> np.ndarray | None:
        """``(rows, columns)`` true where a value was missing; ``None`` where none was."""
        return self._carried[1]

    @cached_property
    def _carried(self) -> tuple[Panel, np.ndarray | None]:
        panel = self._long_enough(self._known(self.read()))
        panel.values = panel.values.astype(np.float64, copy=False)
        self._check_values(panel)
        return panel, carry_forward(panel.values, panel.starts) if np.isnan(panel.values).any() else None

    @property
    def _targets(self) -> int:
        return len(self.panel.columns.target)

    @property
    def seasons(self) -> tuple[int, ...]:
        """Steps of each season, the shortest first: ``period``, or those that the time step suggests."""
        return self._seasons_of(self.panel)

    def _seasons_of(self, panel: Panel) -> tuple[int, ...]:
        # a trained run's is handed in, and may be none
        if self.period is not None or self.trained is not None:
            return () if self.period is None else (self.period,)
        return panel.seasons

    @cached_property
    def _season(self) -> int | None:
        """Steps of the season that tells most of the next one, of those that the training part holds twice."""
        seasons = self.seasons
        if len(seasons) < 2:
            return seasons[0] if seasons else None
        errors: dict[int, float] = {}
        for season in seasons:
            differences = []
            for start, end in self.training_parts():
                x = self.observed(slice(start, end))
                if len(x) >= 2 * season:
                    differences.append(np.abs(x[season:] - x[:-season]) / max(float(np.nanstd(x)), 1e-12))
            if differences:
                errors[season] = float(np.nanmean(np.concatenate(differences)))
        return min(errors, key=errors.__getitem__) if errors else seasons[0]

    @property
    def _reach(self) -> int:
        """Steps before a window that are read with it: those of the last season."""
        return (self._season or 1) - 1 if self.residual_of == "seasonal_naive" else 0

    def _long_enough(self, panel: Panel) -> Panel:
        """The series with as many rows as a window needs, where others are to be left out."""
        reach = max(self._seasons_of(panel), default=1) - 1 if self.residual_of == "seasonal_naive" else 0
        needed = reach + (self.length or COVERED) + self.horizon
        kept = np.flatnonzero(np.diff(panel.starts) >= needed)
        left_out = len(panel.names) - len(kept)
        if self.short_series == "error" or not left_out or not len(kept):
            return panel
        return keep_series(panel, kept.tolist(), f"{left_out:,} series of fewer than {needed:,} rows left out")

    # ---- what a trained run has learned -----------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Arguments of the constructor: what was learned from the training part, and what it means."""
        shift, scale = self.moments
        trained = {
            "names": list(self.panel.names),
            "decided": list(self._decided),
            "shift": shift.tolist(),
            "scale": scale.tolist(),
            "naive_errors": self.naive_errors.tolist(),
            "errors": {name: errors.tolist() for name, errors in self._errors.items()},
            "constant": self.autoregression.constant.tolist(),
            "weights": self.autoregression.weights.tolist(),
            "base": self.layout.base,
            "linear": self.ridge.plain() if self.ridge is not None else {},
            "refitted": self.refitted.plain() if self.refitted is not None else {},
            "spread": list(self.layout.spread),
            "elapsed": self.layout.elapsed,
        }
        options = ("scaling", "scale_together", "log", "residual_of", *self._decided)
        return {**{name: getattr(self, name) for name in options}, "period": self._season, "trained": trained}

    def _known(self, panel: Panel) -> Panel:
        """The series whose scale a trained run knows; the others are left out, since nobody could read them."""
        if self.trained is None:
            return panel
        columns = len(self.trained["shift"][0])
        if columns != panel.values.shape[1]:
            raise InputError(
                f"data.target, data.past and data.known name {panel.values.shape[1]} columns, and this run was trained "
                f"on {columns}"
            )
        numbers = self._numbers(panel.names)
        kept = [number for number, known in enumerate(numbers) if known is not None]
        unknown = [name for name, known in zip(panel.names, numbers, strict=True) if known is None]
        if not unknown:
            return panel
        names = self.trained["names"]
        why = "this run was not trained on it, so that its scale is unknown (data.scale_together=true trains for any)"
        if not kept:
            raise InputError(f"series {shown_names(unknown)}{nearest(unknown[0], names)}: {why}: {shown_names(names)}")
        note = f"{len(unknown):,} series left out ({shown_names(unknown)})"
        log.warning("%s", f"{note}: {why}")
        return keep_series(panel, kept, note)

    def _numbers(self, names: Sequence[str]) -> list[int | None]:
        """Under which number a trained run knows each series; ``None`` where it does not."""
        assert self.trained is not None
        known = {name: number for number, name in enumerate(self.trained["names"])}
        alone = len(known) == len(names) == 1 and "" in known | dict.fromkeys(names)
        other = 0 if alone or self.scale_together or self.scaling == "none" else None
        return [known.get(name, other) for name in names]

    def _learned(self, key: str) -> np.ndarray | None:
        """``(series, …)`` of a trained run, for the series of this data."""
        if self.trained is None:
            return None
        numbers = [number for number in self._numbers(self.panel.names) if number is not None]
        return np.asarray(self.trained[key], np.float64)[numbers]

    def as_measured(self) -> "SeriesData":
        """Values as they are: no linear part, no logarithm, nothing taken off a window. Options that nobody gave are
        decided anew.
        """
        plain: dict[str, tuple[Any, ...]] = {
            "linear": ("none", None),
            "window_scaling": ("global", None),
            "log": (False, None),
            "residual_of": ("none",),
        }
        for name, allowed in plain.items():
            given = self._given[name]
            if given not in allowed:
                raise InputError(
                    f"data.{name}={str(given).lower()}: an autoencoder rebuilds values as they are, not what is left "
                    f"of them: use data.{name}={str(allowed[0]).lower()}"
                )
        # what a trained run has decided stays decided
        anew = ("calendar", "length") if self.trained is None else ()
        options: dict[str, Any] = {name: None for name in self._decided if name in anew}
        return replace(self, **options | {name: allowed[0] for name, allowed in plain.items()})

    # ---- what nobody said -------------------------------------------------------------------------

    def _decide_what_is_read(self) -> None:
        """Puts what the data suggests in the place of ``None``: the calendar, and the length of a window."""
        # what a trained run has decided is handed in, and stays decided when that run goes on
        self._decided: list[str] = list((self.trained or {}).get("decided", ()))
        if self.calendar is None:
            self.calendar = suggested_calendar(self.panel, self.training_parts())
            self._decided.append("calendar")
        if self.length is None:
            self.length = self._suggested_length()
            self._decided.append("length")

    def _suggested_length(self) -> int:
        covered = [season for season in self.seasons if season <= WIDEST]
        length = -(-COVERED // covered[-1]) * covered[-1] if covered else WINDOW
        sizes = [end - start for start, end in self.training_parts()]
        rows = min(sizes) if self.short_series == "error" else int(np.median(sizes))
        # half of the training part at most: the rest is what there is to learn from
        return max(1, min(length, (rows - self._reach - self.horizon) // 2))

    def _decide_what_is_learned(self) -> None:
        """The same for the logarithm, the linear part and the scaling of windows: it looks at training values."""
        if self.log is None:
            self.log = self._choice.log if self._choice is not None else False
        if self.window_scaling is None and self.trained is not None:  # of a run that knew no other
            self.window_scaling = "global"
        if self.window_scaling is None:
            self.window_scaling = "last" if self._direct and (self._wants_linear or not self._keeps_level) else "global"
            self._decided.append("window_scaling")

    @property
    def _direct(self) -> bool:
        """Whether no forecast is fed back in training or evaluation."""
        return self.strategy == "direct" or self.horizon == 1

    @property
    def _wants_linear(self) -> bool:
        if self.linear is None:
            return self._direct and self.residual_of == "none"
        return self.linear == "ridge"

    @property
    def _training(self) -> linear_part.Training:
        unknown = None if self.unknown is None else self.unknown[:, : self._targets]
        parts, panel = self.training_parts(), self.panel
        return linear_part.Training(panel.values, unknown, panel.times, parts, panel.columns, self._moments_of)

    @property
    def _keeps_level(self) -> bool:
        training = self._training
        return linear_part.keeps_level(training, training.scaled(bool(self.log)))

    @cached_property
    def _choice(self) -> linear_part.Choice | None:
        """Whether logarithms are taken, and of what the linear part is made."""
        targets = np.concatenate([self.observed(slice(*part)) for part in self.training_parts()])
        logs = [bool(self.log)]
        if self.log is None:
            logs = [False, True] if (targets[np.isfinite(targets)] > 0).all() else [False]
        # when the next row comes nobody knows
        cycles = () if self.tells_elapsed else suggested_calendar(self.panel, self.training_parts())
        return linear_part.choose(self._training, self.horizon, self.seasons, logs, cycles)

    @cached_property
    def ridge(self) -> Linear | None:
        """The linear part; ``None`` where there is none."""
        if self.trained is not None:
            plain = self.trained.get("linear")
            return Linear.from_plain(plain) if plain else None
        if not self._wants_linear or self._choice is None:
            return None
        return self._choice.fit(self._training, self.horizon)

    @cached_property
    def refitted(self) -> Linear | None:
        """The linear part, fitted once more on training and validation together, by which the test is forecast, and
        all that is new; ``None`` where there is none.
        """
        if self.trained is not None:
            plain = self.trained.get("refitted") or self.trained.get("linear")
            return Linear.from_plain(plain) if plain else None
        if self.ridge is None or self._choice is None:
            return None
        both = [(start, int(end)) for (start, _), end in zip(self.training_parts(), self._ends[:, 1], strict=True)]
        if self.log and any((self.observed(slice(*part)) <= 0).any() for part in both):  # has no logarithm
            return self.ridge
        return self._choice.fit(replace(self._training, parts=both), self.horizon)

    @cached_property
    def base(self) -> Base:
        """The forecast from which the network forecasts the difference."""
        if self.trained is not None and "base" in self.trained:
            return self.trained["base"]
        if self._wants_linear and self.trained is None:
            return self._guarded()
        if self.residual_of != "none":
            return self.residual_of
        by_scaling: dict[str, Base] = {"last": "persistence", "seasonal": "seasonal_naive", "mean": "mean"}
        return by_scaling.get(self.window_scaling or "global", "none")

    def _guarded(self) -> Base:
        """The linear part, unless a naive forecast beats it on the validation part by more than chance may."""
        series, origins = self.places("val")
        some = np.linspace(0, len(origins) - 1, min(MEASURED, len(origins))).round().astype(np.int64)
        series, origins = series[some], origins[some]
        ahead = origins[:, None] + np.arange(1, self.horizon + 1)
        truth = self._scaled(ahead, series)[..., : self._targets]
        if self.unknown is not None:
            truth = np.where(self.unknown[ahead][..., : self._targets], np.nan, truth)
        errors = {
            name: np.nan_to_num(np.abs(forecast - truth)).sum((1, 2))
            for name, forecast in self.references(origins, series).items()
            if name != "linear_ar"
        }
        ridge = errors.pop("ridge", None)
        best = min(errors, key=lambda name: float(errors[name].sum()))
        if ridge is not None:
            gained, chance = doubt((ridge - errors[best]).tolist(), self.horizon)
            if gained <= chance:
                return "linear"
        which = "there is too little to fit a linear part to" if ridge is None else (
            f"the linear part is worse than {best} on the validation part"
        )  # fmt: skip
        log.info("%s: the network forecasts the difference from %s", which, best)
        return "persistence" if best == "persistence" else "seasonal_naive"

    @cached_property
    def layout(self) -> Layout:
        """What the network reads of a window, and what its forecasts are added to."""
        columns, trained = self.panel.columns, self.trained or {}
        divisor = self._errors.get({"linear": "ridge"}.get(self.base, self.base))
        layout = Layout(
            columns={
                "target": list(columns.target), "past": list(columns.past), "known": list(columns.known),
                "time": columns.time, "series": columns.series, "clock": columns.clock,
            },
            length=self.length or WINDOW,
            horizon=self.horizon,
            direct=self.strategy == "direct",
            log=bool(self.log),
            calendar=tuple(self.calendar or ()),
            missing=self.missing,
            season=self._season or 1,
            base=self.base,
            divisor=() if divisor is None else tuple(divisor.ravel().tolist()),
            window_scaling=self.window_scaling or "global",
            reach=self._reach,
            elapsed=self._usual_step if self.tells_elapsed else None,
            linear=self.ridge.plain() if self.base == "linear" and self.ridge is not None else {},
        )  # fmt: skip
        if layout.window_scaling == "global":
            return layout
        spread = trained.get("spread") or self._spread(layout).tolist()
        return replace(layout, spread=tuple(spread))

    @cached_property
    def final_layout(self) -> Layout:
        """The same for what comes after the validation part: the test, and all that is new."""
        if self.base != "linear" or self.refitted is None:
            return self.layout
        return replace(self.layout, linear=self.refitted.plain())

    @cached_property
    def _usual_step(self) -> float:
        """The median time from a row to the next in the training part, in seconds of dates."""
        if self.trained is not None and self.trained.get("elapsed"):
            return float(self.trained["elapsed"])
        steps = [passed(self.panel.times[start:end]) for start, end in self.training_parts()]
        return float(np.median(np.concatenate(steps))) if sum(map(len, steps)) else 1.0

    def _spread(self, layout: Layout) -> np.ndarray:
        """``(targets,)`` standard deviation, in the training part, of what is read of each target."""
        scaled, k = self._training.scaled(layout.log), self._targets
        read = []
        for start, end in self.training_parts():
            x = scaled[None, start:end, :k]
            first = max(layout.averaged, layout.season)
            if end - start > first + 1:
                read.append(layout.read(x, np.arange(first, end - start))[0])
        if not read:
            return np.ones(k)
        found = np.concatenate(read).astype(np.float64).std(0)
        return np.where(found > 1e-9, found, 1.0)

    # ---- splits by time -------------------------------------------------------------------------

    @cached_property
    def cuts(self) -> np.ndarray:
        """``(3,)`` times: of the first validation target, of the first test target, and the first after the test."""
        panel = self.panel
        # a clock that was set back shows an hour twice
        times = np.maximum.accumulate(panel.times) if len(panel.names) == 1 else np.unique(panel.times)
        last = len(times) if self.end is None else int(np.searchsorted(times, self._time("end"), "right"))
        test = last - round(last * self.test_fraction)
        if self.test_start is not None:
            test = int(np.searchsorted(times, self._time("test_start")))
        val = test - round(last * self.val_fraction)
        if self.val_start is not None:
            val = int(np.searchsorted(times, self._time("val_start")))
        chosen = (self.val_start, self.test_start, self.end) != (None, None, None)
        if chosen and not 0 < val < test < last:
            raise InputError(
                f"data.val_start={self.val_start}, data.test_start={self.test_start} and data.end={self.end} must come "
                f"in this order; the times reach from {show(times[0])} to {show(times[-1])}"
            )
        if self.folds is not None:
            pieces = np.linspace(test, last, self.folds + 1).round().astype(int)
            val, test, last = pieces[self.fold] - (test - val), pieces[self.fold], pieces[self.fold + 1]
        after = times[-1:] + (1 if times.dtype.kind != "M" else np.timedelta64(1, "us"))
        times = np.concatenate([times, after])
        return times[[max(val, 0), test, last]]

    def _time(self, key: str) -> np.generic:
        value, times = getattr(self, key), self.panel.times
        try:
            return np.datetime64(str(value)) if times.dtype.kind == "M" else times.dtype.type(value)
        except ValueError:
            raise InputError(
                f"data.{key}={value} is no time of this data, such as {show(times[len(times) // 2])}"
            ) from None

    @cached_property
    def _ends(self) -> np.ndarray:
        """``(series, 3)`` rows behind the training, validation and test part of each series."""
        panel = self.panel
        bounds = zip(panel.starts[:-1], panel.starts[1:], strict=True)
        return np.array(
            [start + np.searchsorted(np.maximum.accumulate(panel.times[start:end]), self.cuts) for start, end in bounds]
        )

    def training_parts(self) -> list[tuple[int, int]]:
        """First row and end of the training part of each series."""
        return [(int(start), int(end)) for start, end in zip(self.panel.starts, self._ends[:, 0], strict=False)]

    def steps_of(self, split: SplitName) -> list[tuple[int, int]]:
        """First row and end of a part of each series."""
        ends = [self.panel.starts[:-1], *self._ends.T]
        number = SPLITS.index(split)
        return [(int(start), int(end)) for start, end in zip(ends[number], ends[number + 1], strict=True)]

    def origins_of(self, split: SplitName) -> tuple[np.ndarray, np.ndarray, int]:
        """The first origin and the number of origins of each series, and the steps between two."""
        stride = self.stride if split == "train" else self.test_stride
        first = self.panel.starts[:-1] + self._reach + (self.length or WINDOW) - 1
        if split != "train":
            first = np.maximum(first, self._ends[:, SPLITS.index(split) - 1] - 1)
        last = self._ends[:, SPLITS.index(split)] - 1 - self.horizon
        return first, np.maximum(0, (last - first) // stride + 1), stride

    def places(self, split: SplitName) -> tuple[np.ndarray, np.ndarray]:
        """The series and the last row of each window of a split."""
        return place(np.arange(self.size(split)), *self.origins_of(split))

    def size(self, split: SplitName) -> int:
        there = int(self.origins_of(split)[1].sum())
        return there if self.num_samples is None else min(there, super().size(split))

    # ---- scaling, from the training part ----------------------------------------------------------

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """The shift and the scale, each ``(series, columns)``, of the training part."""
        shift, scale = self._learned("shift"), self._learned("scale")
        if shift is not None and scale is not None:
            return shift, scale
        return self._moments_of(bool(self.log))

    @cached_property
    def _found_moments(self) -> dict[bool, tuple[np.ndarray, np.ndarray]]:
        return {}

    def _moments_of(self, log: bool) -> tuple[np.ndarray, np.ndarray]:
        """The same, of the logarithms of the targets or not: asked for by every candidate of the linear part."""
        if log not in self._found_moments:
            self._found_moments[log] = self._find_moments(log)
        return self._found_moments[log]

    def _find_moments(self, log: bool) -> tuple[np.ndarray, np.ndarray]:
        parts, columns = self.training_parts(), self.panel.values.shape[1]
        if self.scaling == "none":
            return np.zeros((len(parts), columns)), np.ones((len(parts), columns))
        rows = slice(*parts[0]) if len(parts) == 1 else np.concatenate([np.arange(*part) for part in parts])
        together = self._moments(rows, log)
        together[1][~(together[1] > 0)] = 1.0
        if len(parts) == 1 or self.scale_together:
            return tuple(np.repeat(each[None], len(parts), 0) for each in together)  # type: ignore[return-value]
        each = [self._moments(slice(*part), log) for part in parts]
        shift, scale = (np.stack([pair[number] for pair in each]) for number in (0, 1))
        # a series that never changes, or is not there yet, in the training part is scaled as all together
        known = np.isfinite(shift)
        shift = np.where(known, shift, together[0])
        scale = np.where(known & (scale > 0), scale, together[1])
        return shift, scale

    def _moments(self, rows: slice | np.ndarray, log: bool) -> tuple[np.ndarray, np.ndarray]:
        shift = np.full(self.panel.values.shape[1], np.nan)
        scale = shift.copy()
        for column in range(len(shift)):
            values = self.panel.values[rows, column]
            if self.unknown is not None:
                values = values[~self.unknown[rows, column]]
            if log and column < self._targets:
                values = np.log(values)
            if not len(values):
                continue
            if self.scaling == "minmax":
                shift[column], scale[column] = values.min(), values.max() - values.min()
            else:
                shift[column], scale[column] = values.mean(), values.std()
        return shift, scale

    def _refuse_unknown(self) -> None:
        """Raises InputError where the training part knows no value of a target that would be forecast in it, or none
        at all of another column.
        """
        if self.unknown is None:
            return
        origins = self.origins_of("train")[0]
        for column, name in enumerate(self.panel.columns.numbers):
            is_target = column < self._targets
            begins = origins + 1 if is_target else self.panel.starts[:-1]
            rows = [slice(int(begin), end) for begin, (_, end) in zip(begins, self.training_parts(), strict=True)]
            if all(self.unknown[part, column].all() for part in rows):
                after = (
                    f" after the first {self._reach + (self.length or WINDOW)} steps, the first window"
                    if is_target
                    else ""
                )
                raise InputError(
                    f"column '{name}': the training part, up to {show(self.cuts[0])}, has no known value of it{after}: "
                    "there is nothing to learn from"
                )

    @cached_property
    def naive_errors(self) -> np.ndarray:
        """``(series, targets)`` mean absolute error of a naive one-step forecast on the training part, seasonal where
        there is a season: the unit of the mean absolute scaled error (Hyndman and Koehler 2006).
        """
        learned = self._learned("naive_errors")
        if learned is not None:
            known = dict.fromkeys((self.trained or {})["names"])
            unseen = [name not in known and len(known) > 1 for name in self.panel.names]
            return np.where(np.array(unseen)[:, None], np.nan, learned).astype(np.float32)
        lag = self._season or 1
        errors = np.full((len(self.panel.names), self._targets), np.nan)
        for number, (start, end) in enumerate(self.training_parts()):
            x = self.observed(slice(start, end))
            differences = np.abs(x[lag:] - x[:-lag])
            known = np.isfinite(differences)
            errors[number] = np.where(known, differences, 0).sum(0) / np.maximum(known.sum(0), 1)
        # MASE has no unit where a series never changed
        return np.where(errors > 0, errors, np.nan).astype(np.float32)

    def observed(self, rows: slice | np.ndarray) -> np.ndarray:
        """The targets in their own units, not a number where unknown."""
        values = self.panel.values[rows, ..., : self._targets]
        return values if self.unknown is None else np.where(self.unknown[rows, ..., : self._targets], np.nan, values)

    def classical(self) -> dict[str, dict[str, float]]:
        """The scores on the test windows, by name, of forecasts by classical statistics: exponential smoothing
        (:mod:`rnnlab.data.smoothing`), of one series without missing values, where statsmodels is installed.
        """
        _, origins = self.places("test")
        if len(self.panel.names) > 1 or self._targets > 1 or self.unknown is not None or not smoothing.is_there():
            return {}
        first = max(0, int(origins.min()) + 1 - smoothing.MOST_ROWS)
        if (int(origins.max()) - first) + len(origins) * self.horizon > smoothing.MOST_FORECASTS:
            return {}
        values = self.panel.values[first:, 0].astype(float)
        log = self.spec.scaling.log
        seen = np.log(values) if log else values
        form = smoothing.fit_smoothing(seen[: int(origins.min()) + 1 - first], self._season or 1)
        if form is None:
            return {}
        said = form.forecast(seen, origins - first, self.horizon)
        truth = values[origins[:, None] - first + np.arange(1, self.horizon + 1)]
        errors = np.abs((np.exp(said) if log else said) - truth)
        scores = {"mae": float(errors.mean()), "mase": float(errors.mean() / self.naive_errors[0, 0])}
        if truth.all():
            scores["mape"] = float(100 * (errors / np.abs(truth)).mean())
        return {"ets": scores}

    def _scaled(self, rows: np.ndarray, series: np.ndarray) -> np.ndarray:
        """``(batch, steps, columns)`` of ``(batch, steps)`` rows of ``(batch,)`` series; 0, the mean, where unknown.

        The level is taken away in double precision: single would round what is left of a large one.
        """
        return self.exact(rows, series).astype(np.float32)

    def exact(self, rows: np.ndarray, series: np.ndarray) -> np.ndarray:
        """The same in double precision."""
        values = self.panel.values[rows]
        if self.log:
            values[..., : self._targets] = np.log(values[..., : self._targets])
        shift, scale = self.moments
        return np.nan_to_num((values - shift[series][:, None]) / scale[series][:, None], copy=False)

    # ---- forecasts to be held against -------------------------------------------------------------

    @cached_property
    def autoregression(self) -> autoregression.Autoregression:
        """The linear autoregression of the scaled targets, fitted on the training part."""
        if self.trained is not None:
            constant, weights = (np.array(self.trained[key]) for key in ("constant", "weights"))
            models = self.horizon if self.strategy == "direct" else 1
            if len(weights) == models and self.ar_order in (None, weights.shape[1]):
                return autoregression.Autoregression(constant, weights, self.horizon)
        panel, parts = self.panel, self.training_parts()
        x = np.empty((len(panel.values), self._targets), np.float32)
        for series, (start, _) in enumerate(parts):
            end = panel.starts[series + 1]
            values = panel.values[start:end, : self._targets]
            shift, scale = (each[series, : self._targets] for each in self.moments)
            x[start:end] = np.nan_to_num(((np.log(values) if self.log else values) - shift) / scale)
        longest = max(LONGEST_ORDER, *linear_part.candidate_orders(self.seasons, self.horizon))
        direct = self.strategy == "direct"
        return autoregression.fit(x, self.unknown, parts, self.horizon, self.ar_order, longest, direct)

    def _naive(self, scaled: np.ndarray, lag: int) -> np.ndarray:
        """``(batch, horizon, targets)``: the last known value of the same season (persistence with a lag of 1).

        Args:
            scaled: ``(batch, steps, targets)`` up to the origin, at least ``lag`` steps.
            lag: steps of a season.
        """
        back = [scaled.shape[1] - lag + step % lag for step in range(self.horizon)]
        return scaled[:, back]

    def references(self, origins: np.ndarray, series: np.ndarray, split: SplitName = "train") -> dict[str, np.ndarray]:
        """``(batch, horizon, targets)`` scaled forecasts of each simple predictor, made at ``(batch,)`` origins of a
        split.
        """
        lag, order = self._season or 1, self.autoregression.order
        ridge = self.ridge if split != "test" else self.refitted
        before = max(lag, order, ridge.order if ridge is not None else 1) - 1
        rows = origins[:, None] + np.arange(-before, self.horizon + 1)
        rows = np.maximum(rows, self.panel.starts[series][:, None])
        known = self.exact(rows, series)
        past = known[:, : before + 1, : self._targets].astype(np.float32)
        found = {"persistence": self._naive(past, 1)}
        if self._season is not None:
            found["seasonal_naive"] = self._naive(past, lag)
        found["linear_ar"] = self.autoregression.forecast(past)
        if ridge is not None:
            at = np.array([before])
            times = self.panel.times[rows[:, at + 1]]
            found["ridge"] = ridge.forecast(known, at, times, self.panel.columns, self.horizon)[:, 0]
        return found

    @cached_property
    def _errors(self) -> dict[str, np.ndarray]:
        """``(horizon, targets)`` root mean square error of each reference on training windows, scaled."""
        learned: Mapping[str, Any] = {} if self.trained is None else self.trained["errors"]
        if learned and np.shape(learned["persistence"])[0] == self.horizon:
            return {name: np.asarray(errors, np.float32) for name, errors in learned.items()}
        first, counts, stride = self.origins_of("train")
        total = int(counts.sum())
        numbers = np.linspace(0, total - 1, min(MEASURED, total)).round().astype(np.int64)
        series, origins = place(numbers, first, counts, stride)
        ahead = origins[:, None] + np.arange(1, self.horizon + 1)
        truth = self._scaled(ahead, series)[..., : self._targets]
        if self.unknown is not None:
            truth[self.unknown[ahead][..., : self._targets]] = np.nan
        found = {}
        forecasts = self.references(origins, series)
        if self.base == "mean":
            averaged = self._season or self.length or WINDOW
            rows = np.maximum(origins[:, None] - np.arange(averaged), self.panel.starts[series][:, None])
            forecasts["mean"] = self._scaled(rows, series)[..., : self._targets].mean(1, keepdims=True)
        for name, forecast in forecasts.items():
            squares = np.square(truth - forecast)
            known = np.isfinite(squares)
            mean = np.where(known, squares, 0).sum(0) / np.maximum(known.sum(0), 1)
            found[name] = np.where(mean > 0, np.sqrt(mean), 1.0).astype(np.float32)
        return found

    # ---- what it is -------------------------------------------------------------------------------

    @cached_property
    def spec(self) -> DataSpec:
        layout, direct = self.layout, self.strategy == "direct"
        names, ahead = tuple(self.panel.columns.target), layout.said
        divisor = np.asarray(layout.divisor, np.float32).reshape(-1, len(names)) if layout.divisor else np.float32(1.0)
        return DataSpec(
            input=layout.input,
            target=TargetSpec(
                "values", ahead * len(names), names if ahead == 1 else tuple(
                    f"{name} +{step}" for step in range(1, ahead + 1) for name in names
                ),
            ),
            length=layout.length,
            horizon=None if direct else 1,
            period=self._season,
            steps_ahead=self.horizon,
            references=tuple(
                Reference(name, tuple((errors / divisor).ravel().tolist()))
                for name, errors in self._errors.items()
                if name != "mean"
            ),
            gaps=self.unknown is not None and bool(self.unknown[:, : len(names)].any()),
            scaling=Scaling(by_sequence=True, log=layout.log),
            residual=self._residual,
            unit=self.unit,
            step_unit=self.panel.step_unit,
            note=self._note(),
        )  # fmt: skip

    @property
    def _residual(self) -> str:
        """The linear part, or what stands in its place."""
        return {"linear": "ridge"}.get(self.base, self.base) if self._wants_linear and self.base != "none" else ""

    def _note(self) -> str:
        panel = self.panel
        rows = [int(np.maximum(0, self._ends[:, 0] - panel.starts[:-1]).sum())]
        rows += np.diff(self._ends, axis=1).sum(0).tolist()
        cuts = f"validation from {show(self.cuts[0])}, test from {show(self.cuts[1])}"
        many = f"{len(panel.names)} series, " if len(panel.names) > 1 else ""
        note = f"{many}{' / '.join(f'{n:,}' for n in rows)} rows in the order of time, nothing drawn: {cuts}"
        if self.unknown is not None:
            note += f"; {int(self.unknown.sum()):,} missing values carried forward"
        if self.tells_elapsed:
            usual = time_in_words(self._usual_step, panel.times.dtype.kind == "M")
            note += (
                f"; each row with the time since the one before, 1 = {usual}: windows, lags and the horizon count rows"
            )
        beyond = [season for season in self.seasons if season > self.layout.length]
        if beyond:
            note += f"; a season of {beyond[-1]:,} steps is longer than the window (data.length={self.layout.length})"
        if self.base == "linear" and self.ridge is not None:
            note += f"; linear part: {self.ridge.chosen}"
        elif self._wants_linear and self.base != "none":
            why = "is worse on the validation part" if self.ridge is not None else "has too little to be fitted to"
            note += f"; the linear part {why}: differences from {self.base.replace('_', '-')} are learned"
        return "; ".join(filter(None, (note, panel.note)))

    @property
    def reader(self) -> SeriesReader:
        """How new series are read: in units, by the columns and the scaling of the training part."""
        shift, scale = self.moments
        return SeriesReader(
            layout=self.final_layout,
            names=self.panel.names,
            shift=tuple(map(tuple, shift.tolist())),
            scale=tuple(map(tuple, scale.tolist())),
            together=self.scale_together or self.scaling == "none",
            steps=self.panel.frequency.plain(),
            short_series=self.short_series,
            naive_errors=tuple(map(tuple, self.naive_errors.tolist())),
            **self._written,
        )

    @property
    def _written(self) -> dict[str, Any]:
        """How a file of this data is written, as arguments of :class:`SeriesReader`."""
        return {}

    # ---- windows ----------------------------------------------------------------------------------

    def load(self, split: SplitName) -> Split:
        return Windows(self, split)

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        batch = self.split(split).batch(torch.tensor([index]))
        return Sample(batch.inputs[0].numpy(), batch.targets[0].numpy())

    def cut(self, origins: np.ndarray, series: np.ndarray, split: SplitName) -> Batch:
        """The windows of a split that end at ``(batch,)`` rows of ``(batch,)`` series.

        Args:
            origins: the last row of each window.
            series: which each belongs to.
            split: whose linear part forecasts; all but the training part have what they are held against.
        """
        layout, k, steps = self.layout if split != "test" else self.final_layout, self._targets, self.horizon
        length, said = layout.length, layout.said
        rows = origins[:, None] + np.arange(-layout.before - length + 1, steps + 1)
        rows = np.maximum(rows, self.panel.starts[series][:, None])
        unknown = None if self.unknown is None else self.unknown[rows]
        shift, scale = (each[series] for each in self.moments)
        cut = layout.cut(self.panel.values[rows], unknown, self.panel.times[rows], shift, scale, steps)
        rows = rows[:, layout.before :]
        truth = self.exact(rows, series)[..., :k]
        if self.unknown is not None and self.unknown[rows, :k].any():
            truth = np.where(self.unknown[rows, :k], np.nan, truth)
        after = np.stack([truth[:, 1 + step : 1 + step + length] for step in range(said)], 2)
        targets = (after - cut.base[:, :, :said]) / cut.divisor[:said]
        batch = Batch(
            torch.from_numpy(cut.inputs),
            torch.from_numpy(targets.reshape(len(rows), length, -1).astype(np.float32)),
        )
        if split == "train":
            return batch
        naive = cut.base[:, -1]
        shift, scale = shift[:, None, :k], scale[:, None, :k]
        errors = np.broadcast_to(self.naive_errors[series][:, None], naive.shape)
        references = np.stack(list(self.references(origins, series, split).values()), 1)
        origin = Origin(
            actual=torch.from_numpy(self.observed(rows)),  # in double precision, as the scales are
            scales=torch.from_numpy(
                np.stack([naive * scale + shift, np.broadcast_to(cut.divisor * scale, naive.shape), errors], 1)
            ),
            references=torch.from_numpy(((references - naive[:, None]) / cut.divisor).astype(np.float32)),
            ahead=torch.from_numpy(cut.ahead) if said == 1 and cut.inputs.shape[-1] > k else None,
        )
        return batch._replace(origin=origin)

    # ---- what cannot work -------------------------------------------------------------------------

    def _check_options(self) -> None:
        if self.tells_elapsed and self.strategy == "recursive":
            raise InputError(
                "data.gaps=elapsed and data.strategy=recursive: a forecast that is fed back needs the time until its "
                "step, which nobody knows: use data.strategy=direct"
            )
        if self.fold >= (self.folds or 1):
            raise InputError(f"data.fold={self.fold}: folds are numbered from 0, and data.folds={self.folds}")
        if not self._direct and self.window_scaling not in (None, "global"):
            raise InputError(
                f"data.window_scaling={self.window_scaling} is for data.strategy=direct: a recursive forecast of "
                f"data.horizon={self.horizon} feeds back values and no differences"
            )
        if self.linear == "ridge" and not self._direct:
            raise InputError(
                f"data.linear=ridge is for data.strategy=direct: a recursive forecast of data.horizon={self.horizon} "
                "feeds back values and no differences"
            )
        if self.linear == "ridge" and self.residual_of != "none":
            raise InputError(
                f"data.linear=ridge and data.residual_of={self.residual_of}: the network forecasts the difference "
                "from one of them: use data.residual_of=none or data.linear=none"
            )
        if self.strategy == "recursive" and self.horizon > 1 and self.residual_of != "none":
            raise InputError(
                f"data.residual_of={self.residual_of} is for data.strategy=direct: a recursive forecast of "
                f"data.horizon={self.horizon} feeds back values and no differences"
            )

    def _check_values(self, panel: Panel) -> None:
        columns = panel.columns
        if self.strategy == "recursive" and self.horizon > 1 and columns.past:
            raise InputError(
                f"data.past={list(columns.past)}: nobody knows them in advance, and data.strategy=recursive needs them "
                f"for each step up to data.horizon={self.horizon}: use data.strategy=direct"
            )
        if self.calendar and panel.times.dtype.kind != "M":
            raise InputError(f"data.calendar={list(self.calendar)} needs dates, and the times of this data are numbers")
        if self.missing == "error":
            row, column = next(zip(*np.nonzero(np.isnan(panel.values)), strict=True), (None, 0))
            if row is not None:
                total = int(np.isnan(panel.values).sum())
                raise InputError(
                    f"{panel.place(int(row))}, column '{columns.numbers[int(column)]}': there is no value "
                    f"({total:,} are missing): data.missing=forward carries the last known one on, data.missing=mask "
                    "also tells the network so"
                )
        if self.log:
            with np.errstate(invalid="ignore"):
                row, column = next(
                    zip(*np.nonzero(panel.values[:, : len(columns.target)] <= 0), strict=True), (None, 0)
                )
            if row is not None:
                raise InputError(
                    f"data.log=true: {panel.place(int(row))}, column '{columns.target[int(column)]}': "
                    f"{panel.values[row, column]:g} has no logarithm"
                )

    def _check_windows(self) -> None:
        panel = self.panel
        for key, value in (("residual_of", self.residual_of), ("window_scaling", self.window_scaling)):
            if value in ("seasonal_naive", "seasonal") and self._season is None:
                raise InputError(f"data.{key}={value} needs data.period, the steps of a season")
        window = f"a window of data.length={self.length} and data.horizon={self.horizon} steps"
        length = self.length or WINDOW
        needed = self._reach + length + self.horizon
        sizes = np.diff(panel.starts)
        short = np.flatnonzero(sizes < needed)
        if len(short):
            which = f"series '{panel.names[short[0]]}' has" if len(panel.names) > 1 else "this data has"
            more = f" (and {len(short) - 1} more series are too short)" if len(short) > 1 else ""
            raise InputError(f"{which} {sizes[short[0]]:,} rows, and {window} needs {needed:,}{more}: make it smaller")
        for split, key in zip(SPLITS, ("val_start", "test_start", "end"), strict=True):
            if self.origins_of(split)[1].sum():
                continue
            starts = panel.starts[:-1] if split == "train" else self._ends[:, SPLITS.index(split) - 1]
            there = int((self._ends[:, SPLITS.index(split)] - starts).max())
            rows = needed if split == "train" else self.horizon
            where = f", data.folds={self.folds}" if self.folds else ""
            raise InputError(
                f"the {NAMES[split]} part has {there:,} rows, and {window} needs {rows:,} there: make it smaller, or "
                f"cut the parts elsewhere (data.{key}={getattr(self, key)}, data.val_fraction={self.val_fraction}, "
                f"data.test_fraction={self.test_fraction}{where})"
            )
        longest = int((self._ends[:, 0] - panel.starts[:-1]).max())
        if self.ar_order is not None and self.ar_order + self.horizon >= longest:
            raise InputError(
                f"data.ar_order={self.ar_order}: the training part has {longest:,} rows, too few for so many lags and "
                f"data.horizon={self.horizon}"
            )
        if self.trained is None:
            self._refuse_unknown()


NAMES = {"train": "training", "val": "validation", "test": "test"}


def suggested_calendar(panel: Panel, parts: Sequence[tuple[int, int]]) -> tuple[Calendar, ...]:
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


def place(numbers: np.ndarray, first: np.ndarray, counts: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """The series and the origin of ``(batch,)`` windows, which are numbered series by series."""
    ends = np.cumsum(counts)
    series = np.searchsorted(ends, numbers, "right")
    return series, first[series] + (numbers - (ends - counts)[series]) * stride


class Windows(CutOnDemand):
    """The windows of a split, cut from the series as they are asked for: they overlap in memory."""

    def __init__(self, data: SeriesData, split: SplitName) -> None:
        super().__init__(data=data, name=split, origins=data.origins_of(split), number=data.size(split))

    data: SeriesData
    name: SplitName
    origins: tuple[np.ndarray, np.ndarray, int]
    number: int

    def __len__(self) -> int:
        return self.number

    def place(self, index: slice | Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The series and the last row of windows."""
        return place(self.numbers(index), *self.origins)

    def batch(self, index: slice | Tensor) -> Batch:
        series, origins = self.place(index)
        return self.data.cut(origins, series, self.name)
