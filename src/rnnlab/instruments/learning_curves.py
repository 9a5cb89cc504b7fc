"""How the scores went, epoch by epoch."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rnnlab.data.sequence import SequenceData
from rnnlab.instruments import style
from rnnlab.instruments.instrument import History, Instrument
from rnnlab.spec import Scaling
from rnnlab.tasks.task import Task

# A loss that falls by more than this factor has a log axis: on a linear one its second half would be a flat line.
LOG_FROM = 20.0


class LossCurves(Instrument):
    """Training and validation loss by epoch, the trivial predictor's loss, and the epoch whose weights are kept."""

    def draw(self, task: Task, data: SequenceData, history: History) -> Figure:
        curves = Curves.read(history, "loss")
        fig = style.figure("Loss by epoch", self._subtitle(curves))
        if not history:
            return style.message(fig, "no epoch has been finished yet")
        ax = style.dress(fig.subplots(), "epoch", self._label(task))
        curves.draw(ax, f"baseline ({task.baseline_name})")
        style.legend(fig, ax)
        values = curves.values()
        if len(values) and values.min() > 0 and values.max() > LOG_FROM * values.min():
            style.log_scale(ax)
            ax.grid(True, which="minor", color=style.FAINT, linewidth=0.4, alpha=0.35)
        return fig

    def _subtitle(self, curves: "Curves") -> str:
        if curves.best is None:
            return ""
        epoch, loss = curves.best
        text = (
            f"validation loss {style.short(loss)} in epoch {epoch} of {curves.epochs[-1]:.0f}, whose weights are kept"
        )
        if curves.baseline is None or loss <= 0:
            return text
        if loss < curves.baseline:
            return f"{text}: {style.short(curves.baseline / loss)} times below the baseline"
        return f"{text}: no better than the baseline"

    def _label(self, task: Task) -> str:
        if task.spec.target.kind in ("class", "tokens"):
            return "loss (nats)"
        return "loss" if task.spec.scaling == Scaling() else "loss (scaled values)"


class AccuracyCurves(Instrument):
    """Share of sequences (or of answers, where a sequence asks for many) that are right, beside the baseline's."""

    def applies_to(self, task: Task, data: SequenceData) -> bool:
        return "accuracy" in task.training_scores

    def draw(self, task: Task, data: SequenceData, history: History) -> Figure:
        curves = Curves.read(history, "accuracy")
        fig = style.figure("Accuracy by epoch", self._subtitle(curves, task.baseline_name))
        if not history:
            return style.message(fig, "no epoch has been finished yet")
        asked = "sequences" if task.spec.target.kind == "class" else "answers"
        ax = style.dress(fig.subplots(), "epoch", f"accuracy (share of {asked})")
        curves.draw(ax, f"baseline ({task.baseline_name})")
        style.legend(fig, ax)
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        return fig

    def _subtitle(self, curves: "Curves", baseline: str) -> str:
        if curves.best is None:
            return ""
        epoch, accuracy = curves.best
        text = f"validation accuracy {accuracy:.1%} in epoch {epoch} of {curves.epochs[-1]:.0f}, whose weights are kept"
        if curves.baseline is None:
            return text
        return f"{text}; the baseline ({baseline}) gives {curves.baseline:.1%}"


@dataclass(frozen=True)
class Curves:
    """One score by epoch: ``(epochs,)`` arrays with NaN where an epoch has none, and what stands beside them."""

    epochs: np.ndarray
    train: np.ndarray
    val: np.ndarray
    baseline: float | None
    best: tuple[int, float] | None
    """The epoch whose weights are kept, and its validation score: the best by what is monitored, which need not be this
    score."""

    @classmethod
    def read(cls, history: History, score: str) -> "Curves":
        def column(key: str) -> np.ndarray:
            return np.array([row.get(key, np.nan) for row in history], dtype=float)

        epochs, val = column("epoch"), column(f"val/{score}")
        kept = next((row for row in history if row.get("kept") and np.isfinite(row.get(f"val/{score}", np.nan))), None)
        best = None if kept is None else (int(kept["epoch"]), float(kept[f"val/{score}"]))
        return cls(epochs, column(f"train/{score}"), val, _baseline(history, score), best)

    def values(self) -> np.ndarray:
        """All finite numbers that are drawn."""
        everything = np.concatenate([self.train, self.val, [np.nan if self.baseline is None else self.baseline]])
        return everything[np.isfinite(everything)]

    def draw(self, ax: Axes, baseline: str) -> None:
        for values, name, colour in ((self.train, "training", style.BLUE), (self.val, "validation", style.VERMILION)):
            there = np.isfinite(values)
            if there.any():
                marker = style.markers(len(values))
                ax.plot(self.epochs[there], values[there], color=colour, marker=marker, markersize=4, label=name)
        if self.baseline is not None:
            ax.axhline(self.baseline, color=style.QUIET, linestyle="--", label=baseline)
        if self.best is not None:
            epoch, value = self.best
            ax.axvline(epoch, color=style.FAINT, linestyle=":", zorder=1)
            ax.plot(
                epoch, value, "*", markersize=15, color=style.ORANGE, markeredgecolor="white", zorder=5,
                label=f"kept weights (epoch {epoch})", linestyle="none",
            )  # fmt: skip
        style.whole_numbers(ax.xaxis)


def _baseline(history: History, score: str) -> float | None:
    return next((row[f"baseline/{score}"] for row in reversed(history) if f"baseline/{score}" in row), None)
