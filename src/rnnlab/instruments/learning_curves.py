"""How the scores went, epoch by epoch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from rnnlab.instruments import style
from rnnlab.instruments.instrument import Entry, Instrument, Picture, Table
from rnnlab.instruments.subject import History, Subject
from rnnlab.spec import Scaling
from rnnlab.store.verdict import shown_name
from rnnlab.tasks.task import Task

# A loss that falls by more than this factor has a log axis: on a linear one its second half would be a flat line.
LOG_FROM = 20.0
Tested = tuple[str, float, float]
"""The strongest baseline of the verdict, its score on the test data, and that of the run."""
PARTS = ("train", "val", "test", "baseline")


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
    tested: Tested | None = None

    @classmethod
    def read(cls, history: History, score: str, tested: Tested | None = None) -> "Curves":
        def column(key: str) -> np.ndarray:
            return np.array([row.get(key, np.nan) for row in history], dtype=float)

        epochs, val = column("epoch"), column(f"val/{score}")
        kept = next((row for row in history if row.get("kept") and np.isfinite(row.get(f"val/{score}", np.nan))), None)
        best = None if kept is None else (int(kept["epoch"]), float(kept[f"val/{score}"]))
        return cls(epochs, column(f"train/{score}"), val, _baseline(history, score), best, tested)

    def values(self) -> np.ndarray:
        """All finite numbers that are drawn."""
        beside = [
            *([] if self.baseline is None else [self.baseline]),
            *([] if self.tested is None else self.tested[1:]),
        ]
        everything = np.concatenate([self.train, self.val, beside])
        return everything[np.isfinite(everything)]

    def draw(self, ax: Axes, baseline: str) -> None:
        for values, name, colour in ((self.train, "training", style.BLUE), (self.val, "validation", style.VERMILION)):
            there = np.isfinite(values)
            if there.any():
                marker = style.markers(len(values))
                ax.plot(self.epochs[there], values[there], color=colour, marker=marker, markersize=4, label=name)
        if self.baseline is not None:
            ax.axhline(self.baseline, color=style.QUIET, linestyle="--", label=baseline)
        if self.tested is not None:
            name, beside, network = self.tested
            label = f"{name} on the test data: {style.short(beside)}"
            ax.axhline(beside, color=style.PURPLE, linestyle="-.", label=label)
            place = self.epochs[-1] if self.best is None else self.best[0]
            # hollow, so that what it lies upon is seen
            ax.plot(
                place, network, "D", markersize=11, markerfacecolor="none", markeredgecolor=style.GREEN,
                markeredgewidth=2.0, zorder=6, label=f"this run on the test data: {style.short(network)}",
                linestyle="none",
            )  # fmt: skip
        if self.best is not None:
            epoch, value = self.best
            ax.axvline(epoch, color=style.FAINT, linestyle=":", zorder=1)
            ax.plot(
                epoch, value, "*", markersize=15, color=style.ORANGE, markeredgecolor="white", zorder=5,
                label=f"kept weights (epoch {epoch})", linestyle="none",
            )  # fmt: skip
        style.whole_numbers(ax.xaxis)


class _ScoreCurves(Instrument[Curves]):
    """One score by epoch."""

    of_training = True
    of_sequences = True
    score: ClassVar[str]

    def missing(self, subject: Subject) -> str | None:
        return None if subject.history else "the run has no finished epoch"

    def measure(self, subject: Subject) -> Curves:
        return Curves.read(subject.history, self.score, _tested(subject, self.score))

    def _table(self, subject: Subject) -> Table:
        metrics = subject.metrics
        keys = [f"{part}/{self.score}" for part in PARTS]
        return Table(("of the kept weights", self.score), [(key, metrics[key]) for key in keys if key in metrics])


class LossCurves(_ScoreCurves):
    """Training and validation loss by epoch, the trivial predictor's loss, and the epoch whose weights are kept.

    Where the verdict is by another score that is measured at each validation, that one has a plot below. In the plot of
    the verdict's score stand the two numbers that it compares, both on the test data.
    """

    reading = (
        "Training and validation loss by epoch, beside the trivial predictor; where the one falls and the other rises, "
        "the network learns by heart. The star is the epoch whose weights were kept. The verdict compares the diamond "
        "with the dash-dotted line, the strongest baseline: both are scores of the test data, on which a curve of the "
        "validation data may lie higher or lower."
    )
    score = "loss"

    def draw(self, subject: Subject, measured: Curves) -> Picture:
        baseline = f"baseline ({subject.task.baseline_name})"
        judged = self._judged(subject)
        panels = [(measured, self._label(subject.task)), *([] if judged is None else [judged])]
        title = "Loss by epoch" if judged is None else f"Loss and {judged[1]} by epoch"
        fig = style.figure(title, self._subtitle(measured, subject.task), height=4.5 if judged is None else 6.8)
        axes = fig.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
        for ax, (curves, label) in zip(axes, panels, strict=True):
            style.dress(ax, "epoch" if ax is axes[-1] else "", label)
            curves.draw(ax, baseline)
            if falls_far(curves.values()):
                style.log_scale(ax)
                ax.grid(True, which="minor", color=style.FAINT, linewidth=0.4, alpha=0.35)
        style.legend(fig, *axes)
        return Picture(fig, self._table(subject))

    def _judged(self, subject: Subject) -> tuple[Curves, str] | None:
        """The curve of the verdict's score and its name, where no other picture has it."""
        verdict, task = subject.verdict, subject.task
        if verdict is None or verdict.score is None or _tested(subject, self.score) is not None:
            return None
        own = AccuracyCurves.score
        if verdict.score == own and own in task.training_scores:
            return None
        curves = Curves.read(subject.history, verdict.score, _tested(subject, verdict.score))
        return (curves, verdict.score) if np.isfinite(curves.val).any() and curves.tested is not None else None

    def compare(self, measured: Mapping[str, Curves]) -> Picture:
        fig = style.figure(
            "Loss by epoch", "validation solid, training dotted; a star marks the kept weights", 9.0, 4.2
        )
        ax = style.dress(fig.subplots(), "epoch", "loss")
        rows: list[tuple[Entry, ...]] = []
        for (name, curves), colour in zip(measured.items(), style.colours(len(measured)), strict=True):
            trained, validated = np.isfinite(curves.train), np.isfinite(curves.val)
            epochs, marker = curves.epochs[validated], style.markers(int(validated.sum()))
            look: dict[str, Any] = {"color": colour, "linewidth": 2.2, "marker": marker, "markersize": 3}
            ax.plot(curves.epochs[trained], curves.train[trained], color=colour, linestyle=":", linewidth=1.3)
            ax.plot(epochs, curves.val[validated], label=name, **look)
            if curves.best is not None:
                ax.plot(*curves.best, "*", color=colour, markersize=15, markeredgecolor="white", zorder=5)
                epoch, loss = curves.best
                rows.append((name, loss, epoch, int(epochs[-1])))
        drawn = np.concatenate([part for curves in measured.values() for part in (curves.train, curves.val)])
        if falls_far(drawn[np.isfinite(drawn)]):
            style.log_scale(ax)
        style.whole_numbers(ax.xaxis)
        style.legend(fig, ax, where="outside right center")
        return Picture(
            fig,
            Table(("run", "validation loss of the kept weights", "in epoch", "epochs"), rows),
            name="loss_by_epoch",
            title="Loss by epoch",
            reading="Validation solid, training dotted; the lower the better, and the earlier it falls the faster it "
            "learns. A star is the epoch whose weights were kept.",
        )

    def _subtitle(self, curves: Curves, task: Task) -> str:
        if curves.best is None:
            return ""
        epoch, loss = curves.best
        text = (
            f"validation loss {style.short(loss)} in epoch {epoch} of {curves.epochs[-1]:.0f}, whose weights are kept"
        )
        if curves.baseline is None or loss <= 0:
            return text
        if task.spec.residual:
            # most of what it is better by may be that part's
            name = task.spec.residual.replace("_", "-")
            return f"{text}; {'a linear' if name == 'ridge' else name} forecast is part of it"
        if loss < curves.baseline:
            times = style.short(curves.baseline / loss)
            return f"{text}: {times} times below the baseline ({task.baseline_name})"
        return f"{text}: no better than the baseline ({task.baseline_name})"

    def _label(self, task: Task) -> str:
        if task.spec.target.categorical:
            return "loss (nats)"
        return "loss" if task.spec.scaling == Scaling() else "loss (scaled values)"


class AccuracyCurves(_ScoreCurves):
    """Share of sequences (or of answers, where a sequence asks for many) that are right, beside the baseline's."""

    reading = "Share of right answers by epoch, beside that of a trivial predictor."
    score = "accuracy"

    def missing(self, subject: Subject) -> str | None:
        if "accuracy" not in subject.task.training_scores:
            return "this objective has no accuracy"
        return super().missing(subject)

    def draw(self, subject: Subject, measured: Curves) -> Picture:
        baseline = subject.task.baseline_name
        fig = style.figure("Accuracy by epoch", self._subtitle(measured, baseline))
        target = subject.task.spec.target
        asked = "sequences" if target.classifies else "answers"
        if target.of_own_length:
            asked = "tokens, the true ones before each told"
        ax = style.dress(fig.subplots(), "epoch", f"accuracy (share of {asked})")
        measured.draw(ax, f"baseline ({baseline})")
        style.legend(fig, ax)
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        return Picture(fig, self._table(subject))

    def _subtitle(self, curves: Curves, baseline: str) -> str:
        if curves.best is None:
            return ""
        epoch, accuracy = curves.best
        text = f"validation accuracy {accuracy:.1%} in epoch {epoch} of {curves.epochs[-1]:.0f}, whose weights are kept"
        if curves.baseline is None:
            return text
        return f"{text}; the baseline ({baseline}) gives {curves.baseline:.1%}"


def _tested(subject: Subject, score: str) -> Tested | None:
    """What a verdict by this score compares: never two different quantities."""
    verdict = subject.verdict
    if verdict is None or verdict.baseline is None or verdict.network is None or verdict.beside is None:
        return None
    judged = "loss" if verdict.score == subject.task.loss_name else verdict.score
    return (shown_name(verdict.baseline), verdict.beside, verdict.network) if judged == score else None


def falls_far(values: np.ndarray) -> bool:
    """Whether finite losses need a logarithmic axis."""
    return bool(len(values) and values.min() > 0 and values.max() > LOG_FROM * values.min())


def _baseline(history: History, score: str) -> float | None:
    return next((row[f"baseline/{score}"] for row in reversed(history) if f"baseline/{score}" in row), None)
