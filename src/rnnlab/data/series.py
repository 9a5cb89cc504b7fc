"""The contract of time series: windows, splits by time, scaling, and what forecasts are held against."""

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from rnnlab.data import autoregression
from rnnlab.data.calendar import Calendar, calendar_features
from rnnlab.data.sequence import SPLITS, CutOnDemand, Sample, SequenceData, Split, SplitName
from rnnlab.data.series_reader import SeriesReader, shown_names
from rnnlab.errors import InputError, nearest
from rnnlab.files.frequency import SEASONS
from rnnlab.files.panel import Missing, Panel, ShortSeries, carry_forward, keep_series, show
from rnnlab.shapes import NonNegativeInt, PositiveInt
from rnnlab.spec import Batch, DataSpec, InputSpec, Origin, Reference, Scaling, TargetSpec

log = logging.getLogger("rnnlab")

LONGEST_ORDER = 24
"""Of an autoregression whose order nobody gave, and no less than two seasons."""
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

    A network input is, in this order: targets, past columns, known columns of
    the steps ahead (all of the horizon when direct, else the next), the
    calendar of the next step, and for ``missing=mask`` a 1 for each target and
    past column whose value is none.

    Attributes:
        length: steps of a window, the context of a forecast.
        horizon: steps ahead.
        strategy: ``direct`` or ``recursive``.
        period: steps of a season; ``None``: what the time step suggests (12 months, 24 hours …), if anything.
        scaling: each column of each series less its mean, over its standard deviation (``standard``); to 0 … 1
            (``minmax``); or as it is (``none``).
        scale_together: one scaling for all series, rather than one each.
        log: the network sees and forecasts the logarithm of the targets.
        residual_of: the network forecasts the difference from ``persistence`` or from ``seasonal_naive``; added back
            in every score. For ``strategy=direct``, or a horizon of 1.
        calendar: features of the time stamps, each as sine and cosine.
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

    num_samples: PositiveInt | None = None  # type: ignore[assignment]
    length: PositiveInt = 32
    horizon: PositiveInt = 1
    strategy: Literal["direct", "recursive"] = "direct"
    period: PositiveInt | None = None
    scaling: Literal["standard", "minmax", "none"] = "standard"
    scale_together: bool = False
    log: bool = False
    residual_of: Literal["none", "persistence", "seasonal_naive"] = "none"
    calendar: Sequence[Calendar] = ()
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
        self._check_options()
        if self.val_fraction + self.test_fraction < 1:
            self._check_windows()
        super().__post_init__()

    @abstractmethod
    def read(self) -> Panel:
        """The series, as they are."""

    unit = ""
    """Of the targets."""
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
    def _season(self) -> int | None:
        return self._season_of(self.panel)

    def _season_of(self, panel: Panel) -> int | None:
        # a trained run's is handed in, and may be none
        return self.period if self.trained is not None else self.period or SEASONS.get(panel.step_unit)

    @property
    def _reach(self) -> int:
        """Steps before a window that are read with it: those of the last season."""
        return self._reach_of(self.panel)

    def _reach_of(self, panel: Panel) -> int:
        return (self._season_of(panel) or 1) - 1 if self.residual_of == "seasonal_naive" else 0

    def _long_enough(self, panel: Panel) -> Panel:
        """The series with as many rows as a window needs, where others are to be left out."""
        needed = self._reach_of(panel) + self.length + self.horizon
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
            "shift": shift.tolist(),
            "scale": scale.tolist(),
            "naive_errors": self.naive_errors.tolist(),
            "errors": {name: errors.tolist() for name, errors in self._errors.items()},
            "constant": self.linear.constant.tolist(),
            "weights": self.linear.weights.tolist(),
        }
        options = ("scaling", "scale_together", "log", "residual_of")
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

    # ---- splits by time -------------------------------------------------------------------------

    @cached_property
    def cuts(self) -> np.ndarray:
        """``(3,)`` times: of the first validation target, of the first test target, and the first after the test."""
        panel = self.panel
        times = panel.times if len(panel.names) == 1 else np.unique(panel.times)
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
            return np.datetime64(str(value)) if times.dtype.kind == "M" else np.int64(value)
        except ValueError:
            raise InputError(
                f"data.{key}={value} is no time of this data, such as {show(times[len(times) // 2])}"
            ) from None

    @cached_property
    def _ends(self) -> np.ndarray:
        """``(series, 3)`` rows behind the training, validation and test part of each series."""
        panel = self.panel
        bounds = zip(panel.starts[:-1], panel.starts[1:], strict=True)
        return np.array([start + np.searchsorted(panel.times[start:end], self.cuts) for start, end in bounds])

    def training_parts(self) -> list[tuple[int, int]]:
        """First row and end of the training part of each series."""
        return [(int(start), int(end)) for start, end in zip(self.panel.starts, self._ends[:, 0], strict=False)]

    def _origins(self, split: SplitName) -> tuple[np.ndarray, np.ndarray, int]:
        """The first origin and the number of origins of each series, and the steps between two."""
        stride = self.stride if split == "train" else self.test_stride
        first = self.panel.starts[:-1] + self._reach + self.length - 1
        if split != "train":
            first = np.maximum(first, self._ends[:, SPLITS.index(split) - 1] - 1)
        last = self._ends[:, SPLITS.index(split)] - 1 - self.horizon
        return first, np.maximum(0, (last - first) // stride + 1), stride

    def size(self, split: SplitName) -> int:
        there = int(self._origins(split)[1].sum())
        return there if self.num_samples is None else min(there, super().size(split))

    # ---- scaling, from the training part ----------------------------------------------------------

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """The shift and the scale, each ``(series, columns)``, of the training part."""
        shift, scale = self._learned("shift"), self._learned("scale")
        if shift is not None and scale is not None:
            return shift, scale
        parts, columns = self.training_parts(), self.panel.values.shape[1]
        if self.scaling == "none":
            return np.zeros((len(parts), columns)), np.ones((len(parts), columns))
        rows = slice(*parts[0]) if len(parts) == 1 else np.concatenate([np.arange(*part) for part in parts])
        together = self._moments(rows)
        together[1][~(together[1] > 0)] = 1.0
        if len(parts) == 1 or self.scale_together:
            return tuple(np.repeat(each[None], len(parts), 0) for each in together)  # type: ignore[return-value]
        each = [self._moments(slice(*part)) for part in parts]
        shift, scale = (np.stack([pair[number] for pair in each]) for number in (0, 1))
        # a series that never changes, or is not there yet, in the training part is scaled as all together
        known = np.isfinite(shift)
        shift = np.where(known, shift, together[0])
        scale = np.where(known & (scale > 0), scale, together[1])
        return shift, scale

    def _moments(self, rows: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shift = np.full(self.panel.values.shape[1], np.nan)
        scale = shift.copy()
        for column in range(len(shift)):
            values = self.panel.values[rows, column]
            if self.unknown is not None:
                values = values[~self.unknown[rows, column]]
            if self.log and column < self._targets:
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
        origins = self._origins("train")[0]
        for column, name in enumerate(self.panel.columns.numbers):
            is_target = column < self._targets
            begins = origins + 1 if is_target else self.panel.starts[:-1]
            rows = [slice(int(begin), end) for begin, (_, end) in zip(begins, self.training_parts(), strict=True)]
            if all(self.unknown[part, column].all() for part in rows):
                after = f" after the first {self._reach + self.length} steps, the first window" if is_target else ""
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

    def _scaled(self, rows: np.ndarray, series: np.ndarray) -> np.ndarray:
        """``(batch, steps, columns)`` of ``(batch, steps)`` rows of ``(batch,)`` series; 0, the mean, where unknown.

        The level is taken away in double precision: single would round what is left of a large one.
        """
        values = self.panel.values[rows]
        if self.log:
            values[..., : self._targets] = np.log(values[..., : self._targets])
        shift, scale = self.moments
        scaled = (values - shift[series][:, None]) / scale[series][:, None]
        return np.nan_to_num(scaled.astype(np.float32), copy=False)

    # ---- forecasts to be held against -------------------------------------------------------------

    @cached_property
    def linear(self) -> autoregression.Autoregression:
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
        longest = min(self.length, max(LONGEST_ORDER, 2 * (self._season or 0)))
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

    def references(self, origins: np.ndarray, series: np.ndarray) -> dict[str, np.ndarray]:
        """``(batch, horizon, targets)`` scaled forecasts of each simple predictor, made at ``(batch,)`` origins."""
        lag, order = self._season or 1, self.linear.order
        rows = origins[:, None] - np.arange(max(lag, order) - 1, -1, -1)
        past = self._scaled(np.maximum(rows, self.panel.starts[series][:, None]), series)[..., : self._targets]
        found = {"persistence": self._naive(past, 1)}
        if self._season is not None:
            found["seasonal_naive"] = self._naive(past, lag)
        return found | {"linear_ar": self.linear.forecast(past)}

    @cached_property
    def _errors(self) -> dict[str, np.ndarray]:
        """``(horizon, targets)`` root mean square error of each reference on training windows, scaled."""
        learned: Mapping[str, Any] = {} if self.trained is None else self.trained["errors"]
        if learned and np.shape(learned["persistence"])[0] == self.horizon:
            return {name: np.asarray(errors, np.float32) for name, errors in learned.items()}
        first, counts, stride = self._origins("train")
        total = int(counts.sum())
        numbers = np.linspace(0, total - 1, min(MEASURED, total)).round().astype(np.int64)
        series, origins = place(numbers, first, counts, stride)
        ahead = origins[:, None] + np.arange(1, self.horizon + 1)
        truth = self._scaled(ahead, series)[..., : self._targets]
        if self.unknown is not None:
            truth[self.unknown[ahead][..., : self._targets]] = np.nan
        found = {}
        for name, forecast in self.references(origins, series).items():
            squares = np.square(truth - forecast)
            known = np.isfinite(squares)
            mean = np.where(known, squares, 0).sum(0) / np.maximum(known.sum(0), 1)
            found[name] = np.where(mean > 0, np.sqrt(mean), 1.0).astype(np.float32)
        return found

    # ---- what it is -------------------------------------------------------------------------------

    @cached_property
    def spec(self) -> DataSpec:
        columns, direct = self.panel.columns, self.strategy == "direct"
        names = tuple(columns.target)
        ahead = self.horizon if direct else 1
        features = len(names) + len(columns.past) + ahead * len(columns.known) + 2 * len(self.calendar)
        if self.missing == "mask":
            features += len(names) + len(columns.past)
        divisor = self._errors[self.residual_of] if self.residual_of != "none" else np.float32(1.0)
        return DataSpec(
            input=InputSpec(features=features),
            target=TargetSpec(
                "values", ahead * len(names), names if ahead == 1 else tuple(
                    f"{name} +{step}" for step in range(1, ahead + 1) for name in names
                ),
            ),
            length=self.length,
            horizon=None if direct else 1,
            period=self._season,
            steps_ahead=self.horizon,
            references=tuple(
                Reference(name, tuple((errors / divisor).ravel().tolist())) for name, errors in self._errors.items()
            ),
            gaps=self.unknown is not None and bool(self.unknown[:, : len(names)].any()),
            scaling=Scaling(by_sequence=True, log=self.log),
            unit=self.unit,
            step_unit=self.panel.step_unit,
            note=self._note(),
        )  # fmt: skip

    def _note(self) -> str:
        panel = self.panel
        rows = [int(np.maximum(0, self._ends[:, 0] - panel.starts[:-1]).sum())]
        rows += np.diff(self._ends, axis=1).sum(0).tolist()
        cuts = f"validation from {show(self.cuts[0])}, test from {show(self.cuts[1])}"
        many = f"{len(panel.names)} series, " if len(panel.names) > 1 else ""
        note = f"{many}{' / '.join(f'{n:,}' for n in rows)} rows in the order of time, nothing drawn: {cuts}"
        if self.unknown is not None:
            note += f"; {int(self.unknown.sum()):,} missing values carried forward"
        return "; ".join(filter(None, (note, panel.note)))

    @property
    def reader(self) -> SeriesReader:
        """How new series are read: in units, by the columns and the scaling of the training part."""
        columns, (shift, scale) = self.panel.columns, self.moments
        divisor: tuple[float, ...] = ()
        lag = 0
        if self.residual_of != "none":
            lag = 1 if self.residual_of == "persistence" else self._season or 1
            divisor = tuple(self._errors[self.residual_of].ravel().tolist())
        return SeriesReader(
            columns={
                "target": list(columns.target), "past": list(columns.past), "known": list(columns.known),
                "time": columns.time, "series": columns.series, "clock": columns.clock,
            },
            names=self.panel.names,
            shift=tuple(map(tuple, shift.tolist())),
            scale=tuple(map(tuple, scale.tolist())),
            together=self.scale_together or self.scaling == "none",
            length=self.length,
            horizon=self.horizon,
            direct=self.strategy == "direct",
            log=self.log,
            lag=lag,
            divisor=divisor,
            calendar=tuple(self.calendar),
            missing=self.missing,
            steps=self.panel.frequency.plain(),
            short_series=self.short_series,
            naive_errors=tuple(map(tuple, self.naive_errors.tolist())),
            **self._written,
        )  # fmt: skip

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

    def cut(self, origins: np.ndarray, series: np.ndarray, scored: bool) -> Batch:
        """The windows that end at ``(batch,)`` rows of ``(batch,)`` series.

        Args:
            origins: the last row of each window.
            series: which each belongs to.
            scored: with what their forecasts are held against.
        """
        k, length, steps, reach = self._targets, self.length, self.horizon, self._reach
        rows = origins[:, None] + np.arange(-reach - length + 1, steps + 1)
        scaled = self._scaled(rows, series)
        before, scaled = scaled[:, : reach + length, :k], scaled[:, reach:]
        rows = rows[:, reach:]
        unknown = None if self.unknown is None else self.unknown[rows]
        past, known = k + len(self.panel.columns.past), scaled[..., k + len(self.panel.columns.past) :]
        ahead = steps if self.strategy == "direct" else 1

        def windows(x: np.ndarray) -> np.ndarray:
            """``(batch, length, ahead, values)``: at each step of the window, the steps ahead of it."""
            parts = [x[:, 1 + step : 1 + step + length] for step in range(ahead)]
            return np.stack(parts, 2)

        truth = scaled[..., :k]
        if unknown is not None and unknown[..., :k].any():
            truth = np.where(unknown[..., :k], np.nan, truth)
        targets = windows(truth)
        calendar = calendar_features(self.panel.times[rows], self.calendar)
        inputs = [scaled[:, :length, :past], windows(known).reshape(len(rows), length, -1), calendar[:, 1 : length + 1]]
        if self.missing == "mask":
            mask = np.zeros((*rows.shape, past), np.float32) if unknown is None else unknown[..., :past]
            inputs.append(mask[:, :length].astype(np.float32))
        divisor = np.float32(1.0)
        if self.residual_of != "none":
            lag = 1 if self.residual_of == "persistence" else self._season or 1
            divisor = self._errors[self.residual_of]
            last = [reach - lag + 1 + step % lag for step in range(steps)]
            base = np.stack([before[:, at : at + length] for at in last], 2)
            targets = (targets - base) / divisor
        batch = Batch(
            torch.from_numpy(np.concatenate(inputs, -1)),
            torch.from_numpy(targets.reshape(len(rows), length, -1).astype(np.float32, copy=False)),
        )
        if not scored:
            return batch
        naive = base[:, -1] if self.residual_of != "none" else np.zeros((len(rows), steps, k), np.float32)
        shift, scale = (each[series][:, None, :k] for each in self.moments)
        errors = np.broadcast_to(self.naive_errors[series][:, None], naive.shape)
        references = np.stack(list(self.references(origins, series).values()), 1)
        following: Tensor | None = None
        if ahead == 1 and batch.inputs.shape[-1] > k:
            others = [known[:, length + 1 :], calendar[:, length + 1 :]]
            zeros = batch.inputs.shape[-1] - k - sum(each.shape[-1] for each in others)
            others.append(np.zeros((len(rows), steps - 1, zeros), np.float32))
            following = torch.from_numpy(np.concatenate(others, -1))
        origin = Origin(
            actual=torch.from_numpy(self.observed(rows)),  # in double precision, as the scales are
            scales=torch.from_numpy(
                np.stack([naive * scale + shift, np.broadcast_to(divisor * scale, naive.shape), errors], 1)
            ),
            references=torch.from_numpy(((references - naive[:, None]) / divisor).astype(np.float32)),
            ahead=following,
        )
        return batch._replace(origin=origin)

    # ---- what cannot work -------------------------------------------------------------------------

    def _check_options(self) -> None:
        if self.fold >= (self.folds or 1):
            raise InputError(f"data.fold={self.fold}: folds are numbered from 0, and data.folds={self.folds}")
        if self.ar_order is not None and self.ar_order > self.length:
            raise InputError(f"data.ar_order={self.ar_order} may not be above data.length={self.length}")
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
        if self.residual_of == "seasonal_naive" and self._season is None:
            raise InputError("data.residual_of=seasonal_naive needs data.period, the steps of a season")
        window = f"a window of data.length={self.length} and data.horizon={self.horizon} steps"
        needed = self._reach + self.length + self.horizon
        sizes = np.diff(panel.starts)
        short = np.flatnonzero(sizes < needed)
        if len(short):
            which = f"series '{panel.names[short[0]]}' has" if len(panel.names) > 1 else "this data has"
            more = f" (and {len(short) - 1} more series are too short)" if len(short) > 1 else ""
            raise InputError(f"{which} {sizes[short[0]]:,} rows, and {window} needs {needed:,}{more}: make it smaller")
        for split, key in zip(SPLITS, ("val_start", "test_start", "end"), strict=True):
            if self._origins(split)[1].sum():
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
        if self.trained is None:
            self._refuse_unknown()


NAMES = {"train": "training", "val": "validation", "test": "test"}


def place(numbers: np.ndarray, first: np.ndarray, counts: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """The series and the origin of ``(batch,)`` windows, which are numbered series by series."""
    ends = np.cumsum(counts)
    series = np.searchsorted(ends, numbers, "right")
    return series, first[series] + (numbers - (ends - counts)[series]) * stride


class Windows(CutOnDemand):
    """The windows of a split, cut from the series as they are asked for: they overlap in memory."""

    def __init__(self, data: SeriesData, split: SplitName) -> None:
        super().__init__(data=data, name=split, origins=data._origins(split), number=data.size(split))

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
        return self.data.cut(origins, series, scored=self.name != "train")
