"""The contract of time series: a panel that is read becomes windows, by options that nobody need give.

A data set is read in four files: its options (:mod:`rnnlab.data.series_options`), which rows and windows are for what
(:mod:`rnnlab.data.series_parts`), what is learned of the training part (:mod:`rnnlab.data.series_learned`), and here
what the network gets. A window itself is read in two, which know nothing of a data set:
:class:`rnnlab.data.series_windows.Windows` cuts it, and :class:`rnnlab.data.layout.Layout` says what stands in it.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from rnnlab.data.layout import Layout
from rnnlab.data.sequence import Sample
from rnnlab.data.series_checks import check_windows
from rnnlab.data.series_cuts import held_out_share
from rnnlab.data.series_layout import build_layout, series_note
from rnnlab.data.series_learned import LearnedSeries
from rnnlab.data.series_reader import SeriesReader
from rnnlab.data.series_suggestions import suggested_calendar, suggested_length
from rnnlab.data.series_windows import Windows
from rnnlab.data.split import Split, SplitName
from rnnlab.errors import InputError
from rnnlab.spec import Batch, DataSpec, Reference, Scaling, TargetSpec


@dataclass(kw_only=True, eq=False)
class SeriesData(LearnedSeries):
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

    A data set of one's own implements ``read``.

    Raises:
        InputError: a split has no window, a logarithm has nothing to be taken of, or the options contradict each other.
    """

    unit = ""
    """Of the targets."""

    def __post_init__(self) -> None:
        self._given = {name: getattr(self, name) for name in ("linear", "window_scaling", "log", "residual_of")}
        self._check_options()
        self._decide_parts()
        if self.val_fraction + self.test_fraction < 1:
            self._decide_what_is_read()
            check_windows(self)
            self._decide_what_is_learned()
        super().__post_init__()

    # ---- what nobody said -------------------------------------------------------------------------

    def _decide_parts(self) -> None:
        """Puts a share of the times in the place of ``None``, for validation and test each."""
        for name in ("val_fraction", "test_fraction"):
            if getattr(self, name) is None:
                setattr(self, name, held_out_share(self, self.panel))

    def _decide_what_is_read(self) -> None:
        """Puts what the data suggests in the place of ``None``: the calendar, and the length of a window."""
        # what a trained run has decided is handed in, and stays decided when that run goes on
        self._decided: list[str] = list((self.trained or {}).get("decided", ()))
        parts = self.training_parts()
        if self.calendar is None:
            self.calendar = suggested_calendar(self.panel, parts)
            self._decided.append("calendar")
        if self.length is None:
            self.length = suggested_length(self.seasons, parts, self.reach + self.horizon, self.short_series)
            self._decided.append("length")

    def _decide_what_is_learned(self) -> None:
        """The same for the logarithm, the linear part and the scaling of windows: it looks at training values."""
        if self.log is None:
            self.log = self.better_in_logarithms
        if self.window_scaling is None and self.trained is not None:  # of a run that knew no other
            self.window_scaling = "global"
        if self.linear is None and self.wants_linear and self.trained is None and self.base == "none":
            self.linear = "none"
            self._decided.append("linear")
        if self.window_scaling is None:
            self.window_scaling = "last" if self.is_direct and (self.wants_linear or not self.keeps_level) else "global"
            self._decided.append("window_scaling")

    # ---- what a run keeps of it ---------------------------------------------------------------------

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
            "usual": [] if self.usual is None else self.usual.tolist(),
            "mean": [] if self.mean is None else self.mean.tolist(),
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

    # ---- windows ----------------------------------------------------------------------------------

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

    def windows(self, split: SplitName) -> Windows:
        """The windows of a split; all but the training part have what their forecasts are held against."""
        return Windows(
            self.scaled,
            self.layout if split != "test" else self.final_layout,
            self.origins_of(split),
            self.layout.length,
            self.size(split),
            None if split == "train" else self.references_of(split),
            self.naive_errors,
        )

    def load(self, split: SplitName) -> Split:
        return self.windows(split)

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        batch = self.split(split).batch(torch.tensor([index]))
        return Sample(batch.inputs[0].numpy(), batch.targets[0].numpy())

    def cut(self, origins: np.ndarray, series: np.ndarray, split: SplitName) -> Batch:
        """The windows of a split that end at ``(batch,)`` rows of ``(batch,)`` series, whichever are its own."""
        return self.windows(split).cut(origins, series)

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
            note=series_note(self, layout.length),
        )  # fmt: skip

    @property
    def _residual(self) -> str:
        """The linear part, or what stands in its place."""
        return {"linear": "ridge"}.get(self.base, self.base) if self.wants_linear and self.base != "none" else ""

    @property
    def reader(self) -> SeriesReader:
        """How new series are read: in units, by the columns and the scaling of the training part."""
        shift, scale = self.moments
        frequency = self.panel.frequency
        return SeriesReader(
            layout=self.final_layout,
            names=self.panel.names,
            shift=tuple(map(tuple, shift.tolist())),
            scale=tuple(map(tuple, scale.tolist())),
            together=self.scale_together or self.scaling == "none",
            steps=frequency.plain(),
            short_series=self.short_series,
            naive_errors=tuple(map(tuple, self.naive_errors.tolist())),
            clocks=self.panel.clocks if self.panel.zone is None else (),
            of_utc=None if not frequency.dated or frequency.of_days else self.panel.zone is not None,
            **self._written,
        )

    @property
    def _written(self) -> dict[str, Any]:
        """How a file of this data is written, as arguments of :class:`SeriesReader`."""
        return {}
