"""How far a rule holds that was learned on short sequences."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rnnlab.data.sequence import EVALUATION_FACTOR, SequenceData, SplitName
from rnnlab.instruments import style
from rnnlab.instruments.instrument import History, Instrument, predict, take
from rnnlab.shapes import PositiveInt
from rnnlab.tasks.labelling import Labelling
from rnnlab.tasks.task import Task

SEQUENCES = 10
"""So many a group has on average, at least: of fewer a mean says little."""
SURE = 1.96
"""Standard errors from the middle to the end of a 95 % interval."""


@dataclass(frozen=True)
class Groups:
    """Sequences of like length, in the order of their lengths; each ``(groups,)``.

    Attributes:
        length: their mean.
        mean: of their scores.
        low: end of the 95 % interval of that mean: Wilson's (1927) of a share, else normal.
        high: the other end.
        count: so many sequences.
    """

    length: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, lengths: np.ndarray, score: np.ndarray, most: int) -> "Groups":
        """At most so many groups, equally wide, of ``(sequences,)`` lengths and scores."""
        shortest, longest = int(lengths.min()), int(lengths.max())
        points = max(1, min(most, len(lengths) // SEQUENCES))
        width = max(1.0, (longest - shortest + 1) / points)
        group = ((lengths - shortest) / width).astype(int)
        count = np.bincount(group)
        there = count > 0
        n = count[there]
        length, mean, square = (np.bincount(group, x)[there] / n for x in (lengths, score, np.square(score)))
        if np.isin(score, (0, 1)).all():
            middle = (mean + SURE**2 / (2 * n)) / (1 + SURE**2 / n)
            half = SURE / (1 + SURE**2 / n) * np.sqrt(mean * (1 - mean) / n + SURE**2 / (4 * n**2))
            return cls(length, mean, middle - half, middle + half, n)
        deviation = np.sqrt(np.maximum(square - mean**2, 0) * n / np.maximum(n - 1, 1))
        half = np.where(n > 1, SURE * deviation / np.sqrt(n), np.nan)
        return cls(length, mean, mean - half, mean + half, n)

    def draw(self, ax: Axes, **look: Any) -> None:
        """Draws the means as a line, and their intervals as bars."""
        ends = np.abs(np.stack([self.mean - self.low, self.high - self.mean]))
        ax.errorbar(self.length, self.mean, ends, elinewidth=1.0, capsize=2.5, **look)

    @property
    def rows(self) -> list[tuple[float, int, float, float, float]]:
        columns = (self.length, self.count, self.mean, self.low, self.high)
        return list(zip(*(column.tolist() for column in columns), strict=True))


class ScoreByLength(Instrument):
    """Accuracy, or squared error, on validation and test sequences by their steps; the lengths of training are shaded.

    Bars are 95 % intervals; below stands how many sequences each mean is of.
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
            f"trained on {_span(trained)} steps; on test sequences of {_span(lengths)} steps {mean}; bars are 95 % "
            "intervals",
            width=9.0,
            height=5.4,
        )
        ax, below = fig.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        style.dress(ax, "", name if right else style.value_label(task.spec, name))
        style.dress(below, "length (steps of the sequence)", "sequences")
        shade = {"color": style.FAINT, "alpha": 0.25, "linewidth": 0}
        ax.axvspan(low - 0.5, high + 0.5, label="lengths of training", **shade)
        below.axvspan(low - 0.5, high + 0.5, **shade)
        for split, colour in splits:
            lengths, score = measured[split]
            shown = "validation" if split == "val" else split
            groups = Groups.of(lengths, score, self.points)
            groups.draw(ax, color=colour, marker="o", markersize=4, label=shown)
            below.plot(groups.length, groups.count, color=colour, marker="o", markersize=3, linewidth=1.0)
            if isinstance(task, Labelling):
                whole = Groups.of(lengths, (score == 1).astype(float), self.points)
                whole.draw(
                    ax, color=colour, linestyle=":", marker="s", markersize=3, label=f"{shown}, all answers right"
                )
        below.set_ylim(bottom=0)
        style.whole_numbers(below.yaxis)
        trivial = next((row[f"baseline/{name}"] for row in history if f"baseline/{name}" in row), None)
        if trivial is not None:
            ax.axhline(trivial, color=style.QUIET, linestyle="--", label=f"baseline ({task.baseline_name})")
        if right:
            ax.set_ylim(-0.03, 1.03)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            style.log_scale(ax)
        style.whole_numbers(below.xaxis)
        style.legend(fig, ax, "outside right center")
        return fig


def steps(data: SequenceData, split: SplitName) -> np.ndarray:
    """``(sequences,)`` steps of each sequence of a split."""
    loaded = data.split(split)
    if loaded.lengths is None:
        return np.full(len(loaded), loaded.inputs.shape[1])
    return loaded.lengths.numpy()


def _span(lengths: np.ndarray) -> str:
    low, high = int(lengths.min()), int(lengths.max())
    return f"{low}" if low == high else f"{low} to {high}"
