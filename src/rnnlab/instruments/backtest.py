"""Forecasts over the held-out span of time series, end to end."""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from torch import Tensor

from rnnlab.data.given import GivenSeries
from rnnlab.data.series import SeriesData
from rnnlab.instruments import style
from rnnlab.instruments.subject import Subject, at_rest
from rnnlab.tasks.task import Task

STEPS = 120
"""Of the held-out span at most so many steps are drawn, its last, or eight forecasts where these are more."""

SPANS = {"test": "held-out span", "given": "given series"}
REFERENCES = {"linear_ar": "linear autoregression", "persistence": "last value", "ridge": "linear part",
              "most_frequent": "most frequent value", "training_mean": "mean of the training part"}  # fmt: skip


@dataclass(frozen=True)
class Span:
    """What is drawn of one series, each array with a row a step; ``(steps, values)`` in the data's own units.

    Attributes:
        name: of the series.
        times: of all steps, the context's first.
        actual: values at these times.
        first: where the forecasts begin.
        point: the forecasts, not a number where there is none.
        low: of their interval; ``None`` for point forecasts.
        high: of their interval.
        reference: forecasts of the last of the data's simple predictors.
        origins: steps at which a forecast begins.
    """

    name: str
    times: np.ndarray
    actual: np.ndarray
    first: int
    point: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    reference: np.ndarray
    origins: list[int]

    @classmethod
    def of(cls, subject: Subject, series: int) -> "Span":
        """The span of a series that has windows in the test part."""
        task, data = subject.task, _series(subject)
        steps, panel = data.horizon, data.panel
        owners, origins = data.places("test")
        windows = np.flatnonzero(owners == series)
        # forecasts end to end: each begins where the one before ends, or where the next is made
        every = max(1, -(-steps // data.test_stride))
        windows = windows[(len(windows) - 1) % every :: every][-max(STEPS // steps, 8) :]
        batch = subject.take(torch.from_numpy(windows), "test")
        with at_rest(task.network), torch.no_grad():
            cases = task.windows(batch)
        assert batch.origin is not None and cases is not None
        shift, scale, _ = batch.origin.scales.unbind(1)
        log, units = task.spec.scaling.log, cases.forecast
        bounds = task.distribution.interval(units, log)
        center = batch.origin.references[:, -1] * scale + shift
        start = int(origins[windows[0]]) + 1
        context = min(max(2 * steps, 24), start - int(panel.starts[series]), batch.inputs.shape[1])
        end = int(origins[windows[-1]]) + 1 + steps
        rows = np.arange(start - context, end)

        def spread(values: Tensor) -> np.ndarray:
            out = np.full((len(rows), values.shape[-1]), np.nan)
            for window, each in zip(windows, style.array(values), strict=True):
                at = int(origins[window]) + 1 - int(rows[0])
                out[at : at + steps] = each
            return out

        return cls(
            panel.names[series],
            panel.times[rows],
            data.observed(rows).astype(np.float64),
            context,
            spread(task.distribution.point(units)),
            None if bounds is None else spread(bounds[0]),
            None if bounds is None else spread(bounds[1]),
            spread(center.exp() if log else center),
            [int(origins[window]) + 1 - int(rows[0]) for window in windows],
        )

    def draw(self, ax: Axes, value: int, level: int, reference: str, most_ticks: int) -> None:
        """Draws one of the values."""
        ax.axvspan(self.times[self.first], self.times[-1], color=style.FAINT, alpha=0.12, linewidth=0)
        actual = self.actual[:, value]
        ax.plot(self.times, actual, color=style.FAINT, linewidth=4.5, label="truth", solid_capstyle="round")
        ax.plot(
            *self._broken(self.reference[:, value]), color=style.QUIET, linewidth=1.0, linestyle=":", label=reference
        )
        if self.low is not None and self.high is not None:
            times, low = self._broken(self.low[:, value])
            high = self._broken(self.high[:, value])[1]
            marked = f"{level} % interval"
            ax.fill_between(times, low, high, color=style.BLUE, alpha=0.22, linewidth=0, label=marked)
        ax.plot(
            *self._broken(self.point[:, value]), color=style.BLUE, linewidth=1.8, label="forecast", marker="o",
            markersize=2.5,
        )  # fmt: skip
        if len(self.origins) > 1 and self.origins[1] - self.origins[0] > 1:
            for at in self.origins:
                ax.axvline(self.times[at], color=style.FAINT, linewidth=0.8, linestyle="--")
        if self.times.dtype.kind == "M":
            locator = AutoDateLocator(maxticks=most_ticks)
            ax.xaxis.set_major_locator(locator)
            ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        else:
            style.whole_numbers(ax.xaxis)
        ax.margins(x=0.01)

    def _broken(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Times and values with a gap between one forecast and the next, where forecasts are of several steps."""
        cuts = self.origins if len(self.origins) > 1 and self.origins[1] - self.origins[0] > 1 else []
        return np.insert(self.times, cuts, self.times[cuts]), np.insert(values, cuts, np.nan)

    @property
    def errors(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the forecasts and of the simple predictor."""
        return self.point - self.actual, self.reference - self.actual


def _series(subject: Subject) -> SeriesData | GivenSeries:
    """The data, whose forecasts are made at the end of each window.

    Raises:
        TypeError: it is no time series, which the instrument's ``missing`` refuses.
    """
    if not isinstance(subject.data, SeriesData | GivenSeries):
        raise TypeError(f"{type(subject.data).__name__} is no time series")
    return subject.data


def measure(subject: Subject, most: int) -> list[Span]:
    """The held-out span of some series."""
    owners, _ = _series(subject).places("test")
    return [Span.of(subject, int(series)) for series in np.unique(owners)[:most]]


def draw(subject: Subject, spans: list[Span], most_values: int) -> Figure:
    """The spans, one a row, and of some of the values, one a column."""
    task, data = subject.task, _series(subject)
    names = data.panel.columns.target[:most_values]
    reference = REFERENCES.get(task.spec.references[-1].name, "simple predictor")
    height = 3.4 if len(spans) == 1 else 2.0 * len(spans)
    width = 9.0 if len(names) == 1 else 4.5 * len(names)
    fig = style.figure(
        f"Forecasts of the {SPANS[data.held_out]}", _subtitle(task, data, spans, reference), width, 0.6 + height
    )
    grid = fig.subplots(len(spans), len(names), squeeze=False, sharex=True)
    for row, span in enumerate(spans):
        for column, name in enumerate(names):
            style.dress(
                grid[row, column],
                style.time_label(task.spec) if row == len(spans) - 1 else "",
                style.value_label(task.spec, name),
                span.name,
            )
            span.draw(grid[row, column], column, task.distribution.level, reference, 9 if len(names) == 1 else 5)
    style.legend(fig, grid[0, 0])
    return fig


def _subtitle(task: Task, data: SeriesData | GivenSeries, spans: list[Span], reference: str) -> str:
    unit = f" {task.spec.unit}" if task.spec.unit else ""
    own, others = (np.concatenate([span.errors[which] for span in spans]) for which in (0, 1))
    rms, other = (style.short(float(np.sqrt(np.nanmean(np.square(each))))) for each in (own, others))
    ahead = f"{data.horizon} {task.spec.step_unit}s ahead" if data.horizon > 1 else f"one {task.spec.step_unit} ahead"
    where = "; a dashed line where each is made" if data.horizon > 1 and len(spans[0].origins) > 1 else ""
    text = f"{ahead}{where}; root mean square error here {rms}{unit}, of the {reference} {other}{unit}"
    if spans[0].low is not None and spans[0].high is not None:
        inside = [((span.low <= span.actual) & (span.actual <= span.high)).sum() for span in spans]
        share = sum(inside) / np.isfinite(own).sum()
        text += f"; {100 * share:.0f} % of the values are in the {task.distribution.level} % interval"
    return text
