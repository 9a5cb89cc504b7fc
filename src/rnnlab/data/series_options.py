"""What may be said of the windows of time series, and what contradicts itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rnnlab.data.calendar import Calendar
from rnnlab.data.layout import WindowScaling
from rnnlab.data.sequence import SequenceData
from rnnlab.errors import InputError
from rnnlab.files.panel import Missing, Panel, ShortSeries
from rnnlab.files.times import Moment
from rnnlab.shapes import Fraction, NonNegativeInt, PositiveInt


@dataclass(kw_only=True, eq=False)
class SeriesOptions(SequenceData):
    """The options of :class:`rnnlab.data.series.SeriesData`.

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
        val_fraction: share of the times held out for validation; ``None``: a tenth, or of few as much as eight
            forecasts need, but no more than a fifth.
        test_fraction: the same for the test.
        val_start: time of the first validation target; ``None``: as ``val_fraction`` says, of all times.
        test_start: of the first test target; ``None``: as ``test_fraction`` says.
        end: the last time that is used.
        stride: steps from one training window to the next.
        test_stride: steps from one origin to the next in validation and test.
        folds: pieces of the test part, for a backtest with refitting; ``None``: it is one piece.
        fold: which of them, from 0.
        ar_order: lags of the linear autoregression that is fitted beside; ``None``: by Akaike's criterion.
        trained: what a trained run learned from its training part (:mod:`rnnlab.data.trained_series`). It hands that
            in, so that other data is read and scored by it; ``None``: it is learned from the training part of this
            data.
        num_samples: at most so many windows in all three splits, the first of each; ``None``: all.
    """

    num_samples: PositiveInt | None = None
    if TYPE_CHECKING:
        val_fraction: Fraction  # decided before anything is cut
        test_fraction: Fraction
    else:
        val_fraction: Fraction | None = None
        test_fraction: Fraction | None = None
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
    val_start: Moment | None = None
    test_start: Moment | None = None
    end: Moment | None = None
    stride: PositiveInt = 1
    test_stride: PositiveInt = 1
    folds: PositiveInt | None = None
    fold: NonNegativeInt = 0
    ar_order: PositiveInt | None = None
    trained: Mapping[str, Any] | None = None

    @property
    def short_series(self) -> ShortSeries:
        """Whether a series with fewer rows than a window needs is an error, or left out."""
        return "error"

    @property
    def tells_elapsed(self) -> bool:
        """Whether rows are as far apart as their times say, and the network reads how far."""
        return False

    @property
    def is_direct(self) -> bool:
        """Whether no forecast is fed back in training or evaluation."""
        return self.strategy == "direct" or self.horizon == 1

    @property
    def wants_linear(self) -> bool:
        if self.linear is None:
            return self.is_direct and self.residual_of == "none"
        return self.linear == "ridge"

    def _check_options(self) -> None:
        """Raises InputError where options contradict each other."""
        if self.tells_elapsed and self.strategy == "recursive":
            raise InputError(
                "data.gaps=elapsed and data.strategy=recursive: a forecast that is fed back needs the time until its "
                "step, which nobody knows: use data.strategy=direct"
            )
        if self.fold >= (self.folds or 1):
            raise InputError(f"data.fold={self.fold}: folds are numbered from 0, and data.folds={self.folds or 'null'}")
        if not self.is_direct:
            given = {
                "window_scaling": (self.window_scaling, (None, "global")),
                "linear": (self.linear, (None, "none")),
                "residual_of": (self.residual_of, ("none",)),
            }
            for key, (value, plain) in given.items():
                if value not in plain:
                    raise InputError(
                        f"data.{key}={value} is for data.strategy=direct: a recursive forecast of "
                        f"data.horizon={self.horizon} feeds back values and no differences"
                    )
        if self.linear == "ridge" and self.residual_of != "none":
            raise InputError(
                f"data.linear=ridge and data.residual_of={self.residual_of}: the network forecasts the difference "
                "from one of them: use data.residual_of=none or data.linear=none"
            )


def check_values(options: SeriesOptions, panel: Panel) -> None:
    """Raises InputError where the options do not fit the columns, or a value is missing or has no logarithm."""
    columns = panel.columns
    if not options.is_direct and columns.past:
        raise InputError(
            f"data.past={list(columns.past)}: nobody knows them in advance, and data.strategy=recursive needs them "
            f"for each step up to data.horizon={options.horizon}: use data.strategy=direct"
        )
    if options.calendar and panel.times.dtype.kind != "M":
        raise InputError(f"data.calendar={list(options.calendar)} needs dates, and the times of this data are numbers")
    if options.missing == "error":
        row, column = next(zip(*np.nonzero(np.isnan(panel.values)), strict=True), (None, 0))
        if row is not None:
            total = int(np.isnan(panel.values).sum())
            raise InputError(
                f"{panel.place(int(row))}, column '{columns.numbers[int(column)]}': there is no value "
                f"({total:,} are missing): data.missing=forward carries the last known one on, data.missing=mask "
                "also tells the network so"
            )
    if options.log:
        with np.errstate(invalid="ignore"):
            row, column = next(zip(*np.nonzero(panel.values[:, : len(columns.target)] <= 0), strict=True), (None, 0))
        if row is not None:
            raise InputError(
                f"data.log=true: {panel.place(int(row))}, column '{columns.target[int(column)]}': "
                f"{panel.values[row, column]:g} has no logarithm"
            )
