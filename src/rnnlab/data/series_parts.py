"""Time series in memory, and which of their rows and windows are for training, validation and test."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rnnlab.data.series_cuts import Origins, cut_times
from rnnlab.data.series_options import SeriesOptions, check_values
from rnnlab.data.series_suggestions import COVERED, WINDOW, leading_season
from rnnlab.data.split import SPLITS, SplitName
from rnnlab.data.trained_series import known_series
from rnnlab.files.frequency import passed
from rnnlab.files.panel import Panel, keep_series


@dataclass(kw_only=True, eq=False)
class SeriesParts(SeriesOptions):
    """The series of a data set, cut by time: see *No leak* in :class:`rnnlab.data.series.SeriesData`."""

    @abstractmethod
    def read(self) -> Panel:
        """The series, as they are."""

    @cached_property
    def panel(self) -> Panel:
        """The series, read at the first call; what is missing is carried forward, and marked in ``unknown``."""
        panel = self._long_enough(known_series(self, self.read()))
        panel.values = panel.values.astype(np.float64, copy=False)
        check_values(self, panel)
        panel.carry_forward()
        return panel

    @property
    def unknown(self) -> np.ndarray | None:
        """``(rows, columns)`` true where a value was missing; ``None`` where none was."""
        return self.panel.unknown

    def observed(self, rows: slice | np.ndarray) -> np.ndarray:
        """The targets in their own units, not a number where unknown."""
        return self.panel.observed(rows)

    @property
    def num_targets(self) -> int:
        return len(self.panel.columns.target)

    # ---- seasons --------------------------------------------------------------------------------

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
        return leading_season(self.panel, self.seasons, self.training_parts())

    @property
    def reach(self) -> int:
        """Steps before a window that are read with it: those of the last season."""
        return (self.season or 1) - 1 if self.residual_of == "seasonal_naive" else 0

    @cached_property
    def usual_step(self) -> float:
        """The median time from a row to the next in the training part, in seconds of dates."""
        if self.trained is not None and self.trained.get("elapsed"):
            return float(self.trained["elapsed"])
        steps = [passed(self.panel.times[start:end]) for start, end in self.training_parts()]
        return float(np.median(np.concatenate(steps))) if sum(map(len, steps)) else 1.0

    def _long_enough(self, panel: Panel) -> Panel:
        """The series with as many rows as a window needs, where others are to be left out."""
        reach = max(self._seasons_of(panel), default=1) - 1 if self.residual_of == "seasonal_naive" else 0
        needed = reach + (self.length or COVERED) + self.horizon
        kept = np.flatnonzero(np.diff(panel.starts) >= needed)
        left_out = len(panel.names) - len(kept)
        if self.short_series == "error" or not left_out or not len(kept):
            return panel
        return keep_series(panel, kept.tolist(), f"{left_out:,} series of fewer than {needed:,} rows left out")

    # ---- rows -----------------------------------------------------------------------------------

    @cached_property
    def cuts(self) -> np.ndarray:
        """``(3,)`` times: of the first validation target, of the first test target, and the first after the test."""
        return cut_times(self, self.panel)

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
        return self.steps_of("train")

    def steps_of(self, split: SplitName) -> list[tuple[int, int]]:
        """First row and end of a part of each series."""
        ends = [self.panel.starts[:-1], *self.ends.T]
        number = SPLITS.index(split)
        return [(int(start), int(end)) for start, end in zip(ends[number], ends[number + 1], strict=True)]

    # ---- windows --------------------------------------------------------------------------------

    def origins_of(self, split: SplitName) -> Origins:
        """The last rows of the windows of a split."""
        stride = self.stride if split == "train" else self.test_stride
        first = self.panel.starts[:-1] + self.reach + (self.length or WINDOW) - 1
        if split != "train":
            first = np.maximum(first, self.ends[:, SPLITS.index(split) - 1] - 1)
        last = self.ends[:, SPLITS.index(split)] - 1 - self.horizon
        return Origins(first, np.maximum(0, (last - first) // stride + 1), stride)

    def places(self, split: SplitName) -> tuple[np.ndarray, np.ndarray]:
        """The series and the last row of each window of a split."""
        return self.origins_of(split).place(np.arange(self.size(split)))

    def size(self, split: SplitName) -> int:
        there = self.origins_of(split).total
        return there if self.num_samples is None else min(there, super().size(split))
