"""What the network expects, beside what came."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from rnnlab.data.given import GivenSeries
from rnnlab.data.series import SeriesData
from rnnlab.instruments import backtest, style
from rnnlab.instruments.backtest import Span
from rnnlab.instruments.instrument import Instrument, Picture, Table
from rnnlab.instruments.subject import Subject, at_rest
from rnnlab.shapes import PositiveInt
from rnnlab.spec import Batch


class Forecast(Instrument["list[Paths] | list[Span]"]):
    """Test sequences with the network's predictions, in the data's own units.

    Within the window each prediction is made from the true values before it.
    Beyond the window's end, which is marked, the network goes on alone: its
    predictions are its next inputs. Of time series the held-out span is shown
    as a whole, with forecasts made one after the other
    (:mod:`rnnlab.instruments.backtest`).

    Args:
        sequences: how many test sequences, one a row.
        values: at most as many of the predicted values, one a column.
        steps: length of the rollout; by default as long as the data knows the
            true future, or half a window where it does not.
    """

    needs_truth = True
    reading = (
        "The grey band is the truth; what the network expects should lie in its middle, within the window and beyond "
        "it, where it goes on alone."
    )

    def __init__(self, sequences: PositiveInt = 3, values: PositiveInt = 3, steps: PositiveInt | None = None) -> None:
        self.sequences, self.values, self.steps = sequences, values, steps

    def missing(self, subject: Subject) -> str | None:
        if subject.task.spec.target.frame is not None:
            return "frames are drawn as such (instruments=predicted_frames)"
        return None if subject.task.forecasts else "nothing is forecast: the target is no series of values"

    def measure(self, subject: Subject) -> "list[Paths] | list[Span]":
        if isinstance(subject.data, SeriesData | GivenSeries):
            return backtest.measure(subject, self.sequences)
        # one by one, so that each is as long as it is: a rollout starts at its own end
        shown = range(min(self.sequences, subject.size))
        return [Paths.of(subject, subject.take(slice(number, number + 1)), self.steps) for number in shown]

    def draw(self, subject: Subject, measured: "list[Paths] | list[Span]") -> Picture:
        spans = [each for each in measured if isinstance(each, Span)]
        paths = [each for each in measured if isinstance(each, Paths)]
        fig = backtest.draw(subject, spans, self.values) if spans else self._draw(subject, paths)
        scores = [name for name in subject.metrics if name.startswith(("test/", "rollout/", "baseline/"))]
        return Picture(fig, Table(("score", "value"), [(name, subject.metrics[name]) for name in scores[:16]]))

    def _draw(self, subject: Subject, paths: "list[Paths]") -> Figure:
        task, rows = subject.task, len(paths)
        columns = min(self.values, task.spec.target.size)
        fig = style.figure(
            f"Forecast of {subject.called} sequences", self._subtitle(subject, paths), 9.0, 0.6 + 1.75 * rows
        )
        grid = fig.subplots(rows, columns, sharex=True, squeeze=False)
        names = style.names(task.spec)
        for row, path in enumerate(paths):
            for column in range(columns):
                ax = grid[row, column]
                name = names[column] if task.spec.target.names else f"value {column}" if columns > 1 else "value"
                style.dress(
                    ax,
                    style.time_label(task.spec) if row == rows - 1 else "",
                    style.value_label(task.spec, name),
                    f"{subject.called} sequence {row}" if rows > 1 else "",
                )
                path.draw(ax, column)
                style.whole_numbers(ax.xaxis)
        style.legend(fig, grid[0, 0])
        return fig

    def _subtitle(self, subject: Subject, paths: "list[Paths]") -> str:
        task = subject.task
        unit = f" {task.spec.unit}" if task.spec.unit else ""
        error = torch.cat([path.one_step_error for path in paths])
        text = f"root mean square error here: {style.short(float(error.square().mean().sqrt()))}{unit} one step ahead"
        known = [path.rollout_error for path in paths]
        if len(torch.cat(known)):
            rms = float(torch.cat(known).square().mean().sqrt())
            text += f", {style.short(rms)}{unit} over {len(known[0])} steps on its own predictions"
        if task.spec.clean_future:
            text += "; the truth has its noise up to the end of the window, and none beyond it"
        return text


CLEAN = "#93A1AD"
"""Of a truth without noise, beside that with noise."""
# What is shown of a long window: its last steps, so many times the rollout's length and no fewer than so many.
CONTEXT, CONTEXT_STEPS = 3, 100


@dataclass(frozen=True)
class Paths:
    """The lines of one sequence, each ``(steps, size)`` in the data's units, and the time at which each starts."""

    horizon: int | None
    window: int
    truth: Tensor
    predicted: Tensor
    """From the true values, ``horizon`` steps ahead, within the window; at time ``horizon`` and later."""
    alone: Tensor
    """From the network's own predictions: all that is expected beyond the window, the first at time ``window``."""
    one_step_error: Tensor
    rollout_error: Tensor
    noisy: int | None = None
    """So many steps of the truth have noise, the first ones; ``None`` where all are alike."""

    @classmethod
    def of(cls, subject: Subject, batch: Batch, steps: int | None) -> "Paths":
        """The paths of a batch of one full-length sequence."""
        task = subject.task

        def units(values: Tensor) -> Tensor:
            return task.spec.scaling.to_units(values)[0].detach().cpu().double()

        horizon, window = task.spec.horizon, batch.inputs.shape[1]
        output = task.point(subject.predict(batch))
        error = units(output) - units(batch.targets)
        if horizon is None:
            return cls(None, window, units(batch.targets), units(output), error[:0], error, error[:0])
        size = task.spec.target.size
        future = output[:, :0] if batch.future is None else batch.future
        if batch.inputs.shape[-1] == size:
            steps = steps or future.shape[1] or max(1, window // 2)
            with at_rest(task.network):
                rollout = task.rollout(batch.inputs, steps)
        else:  # other inputs beside the predicted values: nobody knows how they go on
            rollout = output[:, :0]
        both = min(rollout.shape[1], future.shape[1])
        return cls(
            horizon,
            window,
            truth=units(torch.cat([batch.inputs[:, :horizon, :size], batch.targets, future], 1)),
            predicted=units(output[:, :-horizon]),
            alone=units(torch.cat([output[:, -horizon:], rollout], 1)),
            one_step_error=error,
            rollout_error=units(rollout[:, :both]) - units(future[:, :both]),
            noisy=horizon + window if task.spec.clean_future and len(future[0]) else None,
        )

    def draw(self, ax: Axes, column: int) -> None:
        first = self.horizon or 0
        shown = max(CONTEXT_STEPS, CONTEXT * len(self.alone))
        start = max(0, self.window - shown) if len(self.alone) else 0

        def line(values: Tensor, at: int, **look: Any) -> None:
            skip = max(0, start - at)
            times = np.arange(at, at + len(values))
            ax.plot(times[skip:], values[skip:, column].numpy(), **look)

        ahead = f"predicted {first} steps ahead" if first > 1 else "predicted one step ahead" if first else "predicted"
        wide = {"linewidth": 4.5, "solid_capstyle": "round"}
        if self.noisy is None:
            line(self.truth, 0, color=style.FAINT, label="truth", **wide)
        else:
            line(self.truth[: self.noisy], 0, color=style.FAINT, label="truth, with noise", **wide)
            line(self.truth[self.noisy :], self.noisy, color=CLEAN, label="truth, without noise", **wide)
        line(self.predicted, first, color=style.BLUE, linewidth=1.6, label=ahead)
        if not len(self.alone):
            return
        line(self.alone, self.window, color=style.VERMILION, linewidth=1.8, label="on its own predictions")
        ax.axvspan(self.window - 0.5, self.window + len(self.alone) - 0.5, color=style.FAINT, alpha=0.15, linewidth=0)
        ax.axvline(self.window - 0.5, color=style.INK, linestyle="--", linewidth=1.0, label="end of the window")
        ax.margins(x=0.01)
        known = torch.cat([self.truth[start:, column], self.predicted[max(0, start - first) :, column]])
        low, high = float(known.min()), float(known.max())
        room = 0.5 * (high - low) or 1.0
        # a rollout that runs away leaves the picture instead of pressing the truth flat
        drawn_low, drawn_high = ax.get_ylim()
        ax.set_ylim(max(drawn_low, low - room), min(drawn_high, high + room))
