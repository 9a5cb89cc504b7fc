"""The contract of time series: windows, splits by time, scaling, and what forecasts are held against.

Each is computed from the others when it is first asked for, by a function of the file that has its name: checks, cuts,
scaling, references, layout, windows.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from rnnlab.data import autoregression
from rnnlab.data import linear_fit as linear_part
from rnnlab.data.calendar import Calendar
from rnnlab.data.layout import Base, Layout, WindowScaling
from rnnlab.data.linear import Linear
from rnnlab.data.sequence import SequenceData
from rnnlab.data.series_checks import check_options, check_values, check_windows
from rnnlab.data.series_cuts import cut_times, place
from rnnlab.data.series_layout import build_layout, series_note, usual_step
from rnnlab.data.series_reader import SeriesReader
from rnnlab.data.series_references import (
    classical_scores,
    fit_autoregression,
    guarded,
    naive_errors,
    reference_errors,
    reference_forecasts,
)
from rnnlab.data.series_scaling import find_moments
from rnnlab.data.series_suggestions import COVERED, WINDOW, leading_season, suggested_calendar, suggested_length
from rnnlab.data.series_windows import Windows, cut_windows
from rnnlab.data.split import SPLITS, Sample, Split, SplitName
from rnnlab.data.trained_series import known_series, learned
from rnnlab.errors import InputError
from rnnlab.files.panel import Missing, Panel, ShortSeries, carry_forward, keep_series
from rnnlab.shapes import NonNegativeInt, PositiveInt
from rnnlab.spec import Batch, DataSpec, Reference, Scaling, TargetSpec


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

    # longer than 250 lines: 110 describe and list its options, and what is computed is kept where it is asked for
    def __post_init__(self) -> None:
        self._given = {name: getattr(self, name) for name in ("linear", "window_scaling", "log", "residual_of")}
        self._check_options()
        if self.val_fraction + self.test_fraction < 1:
            self._decide_what_is_read()
            check_windows(self)
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
        panel = self._long_enough(known_series(self, self.read()))
        panel.values = panel.values.astype(np.float64, copy=False)
        check_values(self, panel)
        return panel, carry_forward(panel.values, panel.starts) if np.isnan(panel.values).any() else None

    @property
    def num_targets(self) -> int:
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
    def season(self) -> int | None:
        """Steps of the season that tells most of the next one, of those that the training part holds twice."""
        return leading_season(self)

    @property
    def reach(self) -> int:
        """Steps before a window that are read with it: those of the last season."""
        return (self.season or 1) - 1 if self.residual_of == "seasonal_naive" else 0

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
            "errors": {name: errors.tolist() for name, errors in self.reference_errors.items()},
            "constant": self.autoregression.constant.tolist(),
            "weights": self.autoregression.weights.tolist(),
            "base": self.layout.base,
            "linear": self.ridge.plain() if self.ridge is not None else {},
            "refitted": self.refitted.plain() if self.refitted is not None else {},
            "spread": list(self.layout.spread),
            "elapsed": self.layout.elapsed,
        }
        options = ("scaling", "scale_together", "log", "residual_of", *self._decided)
        return {**{name: getattr(self, name) for name in options}, "period": self.season, "trained": trained}

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
            self.length = suggested_length(self)
            self._decided.append("length")

    def _decide_what_is_learned(self) -> None:
        """The same for the logarithm, the linear part and the scaling of windows: it looks at training values."""
        if self.log is None:
            self.log = self._choice.log if self._choice is not None else False
        if self.window_scaling is None and self.trained is not None:  # of a run that knew no other
            self.window_scaling = "global"
        if self.window_scaling is None:
            self.window_scaling = (
                "last" if self.is_direct and (self.wants_linear or not self._keeps_level) else "global"
            )
            self._decided.append("window_scaling")

    @property
    def is_direct(self) -> bool:
        """Whether no forecast is fed back in training or evaluation."""
        return self.strategy == "direct" or self.horizon == 1

    @property
    def wants_linear(self) -> bool:
        if self.linear is None:
            return self.is_direct and self.residual_of == "none"
        return self.linear == "ridge"

    @property
    def training(self) -> linear_part.Training:
        unknown = None if self.unknown is None else self.unknown[:, : self.num_targets]
        parts, panel = self.training_parts(), self.panel
        return linear_part.Training(panel.values, unknown, panel.times, parts, panel.columns, self.moments_of)

    @property
    def _keeps_level(self) -> bool:
        training = self.training
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
        return linear_part.choose(self.training, self.horizon, self.seasons, logs, cycles)

    @cached_property
    def ridge(self) -> Linear | None:
        """The linear part; ``None`` where there is none."""
        if self.trained is not None:
            plain = self.trained.get("linear")
            return Linear.from_plain(plain) if plain else None
        if not self.wants_linear or self._choice is None:
            return None
        return self._choice.fit(self.training, self.horizon)

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
        both = [(start, int(end)) for (start, _), end in zip(self.training_parts(), self.ends[:, 1], strict=True)]
        if self.log and any((self.observed(slice(*part)) <= 0).any() for part in both):  # has no logarithm
            return self.ridge
        return self._choice.fit(replace(self.training, parts=both), self.horizon)

    @cached_property
    def base(self) -> Base:
        """The forecast from which the network forecasts the difference."""
        if self.trained is not None and "base" in self.trained:
            return self.trained["base"]
        if self.wants_linear and self.trained is None:
            return guarded(self)
        if self.residual_of != "none":
            return self.residual_of
        by_scaling: dict[str, Base] = {"last": "persistence", "seasonal": "seasonal_naive", "mean": "mean"}
        return by_scaling.get(self.window_scaling or "global", "none")

    @cached_property
    def layout(self) -> Layout:
        """What the network reads of a window, and what its forecasts are added to."""
        return build_layout(self)

    @cached_property
    def final_layout(self) -> Layout:
        """The same for what comes after the validation part: the test, and all that is new."""
        if self.base != "linear" or self.refitted is None:
            return self.layout
        return replace(self.layout, linear=self.refitted.plain())

    @cached_property
    def usual_step(self) -> float:
        """The median time from a row to the next in the training part, in seconds of dates."""
        return usual_step(self)

    # ---- splits by time -------------------------------------------------------------------------

    @cached_property
    def cuts(self) -> np.ndarray:
        """``(3,)`` times: of the first validation target, of the first test target, and the first after the test."""
        return cut_times(self)

    @cached_property
    def ends(self) -> np.ndarray:
        """``(series, 3)`` rows behind the training, validation and test part of each series."""
        panel = self.panel
        bounds = zip(panel.starts[:-1], panel.starts[1:], strict=True)
        return np.array(
            [start + np.searchsorted(np.maximum.accumulate(panel.times[start:end]), self.cuts) for start, end in bounds]
        )

    def training_parts(self) -> list[tuple[int, int]]:
        """First row and end of the training part of each series."""
        return [(int(start), int(end)) for start, end in zip(self.panel.starts, self.ends[:, 0], strict=False)]

    def steps_of(self, split: SplitName) -> list[tuple[int, int]]:
        """First row and end of a part of each series."""
        ends = [self.panel.starts[:-1], *self.ends.T]
        number = SPLITS.index(split)
        return [(int(start), int(end)) for start, end in zip(ends[number], ends[number + 1], strict=True)]

    def origins_of(self, split: SplitName) -> tuple[np.ndarray, np.ndarray, int]:
        """The first origin and the number of origins of each series, and the steps between two."""
        stride = self.stride if split == "train" else self.test_stride
        first = self.panel.starts[:-1] + self.reach + (self.length or WINDOW) - 1
        if split != "train":
            first = np.maximum(first, self.ends[:, SPLITS.index(split) - 1] - 1)
        last = self.ends[:, SPLITS.index(split)] - 1 - self.horizon
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
        shift, scale = learned(self, "shift"), learned(self, "scale")
        if shift is not None and scale is not None:
            return shift, scale
        return self.moments_of(bool(self.log))

    @cached_property
    def _found_moments(self) -> dict[bool, tuple[np.ndarray, np.ndarray]]:
        return {}

    def moments_of(self, log: bool) -> tuple[np.ndarray, np.ndarray]:
        """The same, of the logarithms of the targets or not: asked for by every candidate of the linear part."""
        if log not in self._found_moments:
            self._found_moments[log] = find_moments(self, log)
        return self._found_moments[log]

    @cached_property
    def naive_errors(self) -> np.ndarray:
        """``(series, targets)`` mean absolute error of a naive one-step forecast on the training part, seasonal where
        there is a season: the unit of the mean absolute scaled error (Hyndman and Koehler 2006).
        """
        return naive_errors(self)

    def observed(self, rows: slice | np.ndarray) -> np.ndarray:
        """The targets in their own units, not a number where unknown."""
        values = self.panel.values[rows, ..., : self.num_targets]
        return values if self.unknown is None else np.where(self.unknown[rows, ..., : self.num_targets], np.nan, values)

    def classical(self) -> dict[str, dict[str, float]]:
        """The scores on the test windows, by name, of forecasts by classical statistics: exponential smoothing
        (:mod:`rnnlab.data.smoothing`), of one series without missing values, where statsmodels is installed.
        """
        return classical_scores(self)

    def scaled(self, rows: np.ndarray, series: np.ndarray) -> np.ndarray:
        """``(batch, steps, columns)`` of ``(batch, steps)`` rows of ``(batch,)`` series; 0, the mean, where unknown.

        The level is taken away in double precision: single would round what is left of a large one.
        """
        return self.exact(rows, series).astype(np.float32)

    def exact(self, rows: np.ndarray, series: np.ndarray) -> np.ndarray:
        """The same in double precision."""
        values = self.panel.values[rows]
        if self.log:
            values[..., : self.num_targets] = np.log(values[..., : self.num_targets])
        shift, scale = self.moments
        return np.nan_to_num((values - shift[series][:, None]) / scale[series][:, None], copy=False)

    # ---- forecasts to be held against -------------------------------------------------------------

    @cached_property
    def autoregression(self) -> autoregression.Autoregression:
        """The linear autoregression of the scaled targets, fitted on the training part."""
        return fit_autoregression(self)

    def references(self, origins: np.ndarray, series: np.ndarray, split: SplitName = "train") -> dict[str, np.ndarray]:
        """``(batch, horizon, targets)`` scaled forecasts of each simple predictor, made at ``(batch,)`` origins of a
        split.
        """
        return reference_forecasts(self, origins, series, split)

    @cached_property
    def reference_errors(self) -> dict[str, np.ndarray]:
        """``(horizon, targets)`` root mean square error of each reference on training windows, scaled."""
        return reference_errors(self)

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
            period=self.season,
            steps_ahead=self.horizon,
            references=tuple(
                Reference(name, tuple((errors / divisor).ravel().tolist()))
                for name, errors in self.reference_errors.items()
                if name != "mean"
            ),
            gaps=self.unknown is not None and bool(self.unknown[:, : len(names)].any()),
            scaling=Scaling(by_sequence=True, log=layout.log),
            residual=self._residual,
            unit=self.unit,
            step_unit=self.panel.step_unit,
            note=series_note(self),
        )  # fmt: skip

    @property
    def _residual(self) -> str:
        """The linear part, or what stands in its place."""
        return {"linear": "ridge"}.get(self.base, self.base) if self.wants_linear and self.base != "none" else ""

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
        return cut_windows(self, origins, series, split)

    def _check_options(self) -> None:
        check_options(self)
