"""How far a rule holds that was learned on short sequences."""

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rnnlab.data.sequence import EVALUATION_FACTOR, SequenceData, SplitName
from rnnlab.instruments import style
from rnnlab.instruments.instrument import History, Instrument, predict, take
from rnnlab.shapes import PositiveInt
from rnnlab.tasks.classification import Classification
from rnnlab.tasks.labelling import Labelling
from rnnlab.tasks.task import Task


class AccuracyByLength(Instrument):
    """Accuracy on validation and test sequences by their steps; the lengths of training are shaded.

    Where a sequence has many answers, the share of them that are right, and
    the share of the sequences in which all of them are.

    Args:
        points: into so many groups, equally wide, the lengths of a split are gathered at most.
    """

    def __init__(self, points: PositiveInt = 20) -> None:
        self.points = points

    def applies_to(self, task: Task, data: SequenceData) -> bool:
        if not isinstance(task, Classification | Labelling):
            return False
        lengths = [steps(data, name) for name in ("train", "val", "test")]
        return len(np.unique(np.concatenate(lengths))) > 1

    def measure(self, task: Task, data: SequenceData, split: SplitName) -> tuple[np.ndarray, np.ndarray]:
        """``(sequences,)`` steps and accuracy of each sequence of a split."""
        accuracies = []
        for index in torch.arange(len(data.split(split))).split(EVALUATION_FACTOR * data.batch_size):
            batch = take(task, data, split, index)
            accuracy = task.sequence_accuracy(predict(task, batch), batch)
            assert accuracy is not None
            accuracies.append(accuracy.cpu())
        return steps(data, split), torch.cat(accuracies).numpy()

    def draw(self, task: Task, data: SequenceData, history: History) -> Figure:
        trained = steps(data, "train")
        low, high = int(trained.min()), int(trained.max())
        splits: tuple[tuple[SplitName, str], ...] = (("val", style.VERMILION), ("test", style.BLUE))
        measured = {name: self.measure(task, data, name) for name, _ in splits}
        lengths, accuracy = measured["test"]
        fig = style.figure(
            "Accuracy by length",
            f"trained on {_span(trained)} steps; on test sequences of {_span(lengths)} steps {accuracy.mean():.1%}",
        )
        ax = style.dress(fig.subplots(), "length (steps of the sequence)", "accuracy")
        ax.axvspan(low - 0.5, high + 0.5, color=style.FAINT, alpha=0.25, linewidth=0, label="lengths of training")
        for name, colour in splits:
            lengths, accuracy = measured[name]
            shown = "validation" if name == "val" else name
            ax.plot(*self.gather(lengths, accuracy), color=colour, marker="o", markersize=4, label=shown)
            if isinstance(task, Labelling):
                whole = self.gather(lengths, accuracy == 1)
                ax.plot(
                    *whole, color=colour, linestyle=":", marker="s", markersize=3, label=f"{shown}, all answers right"
                )
        chance = next((row["baseline/accuracy"] for row in history if "baseline/accuracy" in row), None)
        if chance is not None:
            ax.axhline(chance, color=style.QUIET, linestyle="--", label="baseline")
        ax.set_ylim(-0.03, 1.03)
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        style.whole_numbers(ax.xaxis)
        style.legend(fig, ax, "outside right center")
        return fig

    def gather(self, lengths: np.ndarray, accuracy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean length and mean accuracy of groups of like length, in their order."""
        low, high = int(lengths.min()), int(lengths.max())
        width = max(1.0, (high - low + 1) / self.points)
        group = ((lengths - low) / width).astype(int)
        count = np.bincount(group)
        there = count > 0
        length, mean = (np.bincount(group, values)[there] / count[there] for values in (lengths, accuracy))
        return length, mean


def steps(data: SequenceData, split: SplitName) -> np.ndarray:
    """``(sequences,)`` steps of each sequence of a split."""
    loaded = data.split(split)
    if loaded.lengths is None:
        return np.full(len(loaded), loaded.inputs.shape[1])
    return loaded.lengths.numpy()


def _span(lengths: np.ndarray) -> str:
    low, high = int(lengths.min()), int(lengths.max())
    return f"{low}" if low == high else f"{low} to {high}"
