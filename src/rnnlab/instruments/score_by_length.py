"""How far a rule holds that was learned on short sequences."""

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rnnlab.data.sequence import EVALUATION_FACTOR, SequenceData, SplitName
from rnnlab.instruments import style
from rnnlab.instruments.instrument import History, Instrument, predict, take
from rnnlab.shapes import PositiveInt
from rnnlab.tasks.labelling import Labelling
from rnnlab.tasks.task import Task


class ScoreByLength(Instrument):
    """Accuracy, or squared error, on validation and test sequences by their steps; the lengths of training are shaded.

    Where a sequence has many answers, the share of them that are right, and
    the share of the sequences in which all of them are.

    Args:
        points: into so many groups, equally wide, the lengths of a split are gathered at most.
    """

    def __init__(self, points: PositiveInt = 20) -> None:
        self.points = points

    def applies_to(self, task: Task, data: SequenceData) -> bool:
        if type(task).sequence_score is Task.sequence_score:
            return False
        lengths = [steps(data, name) for name in ("train", "val", "test")]
        return len(np.unique(np.concatenate(lengths))) > 1

    def measure(self, task: Task, data: SequenceData, split: SplitName) -> tuple[np.ndarray, np.ndarray]:
        """``(sequences,)`` steps and score of each sequence of a split."""
        scores = []
        for index in torch.arange(len(data.split(split))).split(EVALUATION_FACTOR * data.batch_size):
            batch = take(task, data, split, index)
            score = task.sequence_score(predict(task, batch), batch)
            assert score is not None
            scores.append(score.cpu())
        return steps(data, split), torch.cat(scores).numpy()

    def draw(self, task: Task, data: SequenceData, history: History) -> Figure:
        trained = steps(data, "train")
        low, high = int(trained.min()), int(trained.max())
        splits: tuple[tuple[SplitName, str], ...] = (("val", style.VERMILION), ("test", style.BLUE))
        measured = {name: self.measure(task, data, name) for name, _ in splits}
        lengths, score = measured["test"]
        name = task.sequence_score_name
        right = name == "accuracy"
        mean = f"{score.mean():.1%}" if right else f"a mean {name} of {style.short(float(score.mean()))}"
        fig = style.figure(
            f"{'Accuracy' if right else 'Error'} by length",
            f"trained on {_span(trained)} steps; on test sequences of {_span(lengths)} steps {mean}",
        )
        ax = style.dress(
            fig.subplots(), "length (steps of the sequence)", name if right else style.value_label(task.spec, name)
        )
        ax.axvspan(low - 0.5, high + 0.5, color=style.FAINT, alpha=0.25, linewidth=0, label="lengths of training")
        for split, colour in splits:
            lengths, score = measured[split]
            shown = "validation" if split == "val" else split
            ax.plot(*self.gather(lengths, score), color=colour, marker="o", markersize=4, label=shown)
            if isinstance(task, Labelling):
                whole = self.gather(lengths, score == 1)
                ax.plot(
                    *whole, color=colour, linestyle=":", marker="s", markersize=3, label=f"{shown}, all answers right"
                )
        trivial = next((row[f"baseline/{name}"] for row in history if f"baseline/{name}" in row), None)
        if trivial is not None:
            ax.axhline(trivial, color=style.QUIET, linestyle="--", label="baseline")
        if right:
            ax.set_ylim(-0.03, 1.03)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            ax.set_yscale("log")
        style.whole_numbers(ax.xaxis)
        style.legend(fig, ax, "outside right center")
        return fig

    def gather(self, lengths: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean length and mean score of groups of like length, in their order."""
        low, high = int(lengths.min()), int(lengths.max())
        width = max(1.0, (high - low + 1) / self.points)
        group = ((lengths - low) / width).astype(int)
        count = np.bincount(group)
        there = count > 0
        length, mean = (np.bincount(group, values)[there] / count[there] for values in (lengths, score))
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
