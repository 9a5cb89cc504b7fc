"""How far a rule holds that was learned on short sequences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from rnnlab.data.sequence import SequenceData
from rnnlab.data.split import SplitName
from rnnlab.instruments import style
from rnnlab.instruments.instrument import Entry, Instrument, Picture, Table
from rnnlab.instruments.subject import Subject
from rnnlab.shapes import PositiveInt
from rnnlab.tasks.direction import direction
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


SPLITS: tuple[tuple[SplitName, str, str], ...] = (("val", "validation", style.VERMILION), ("test", "test", style.BLUE))
"""Each with its name and its colour."""


@dataclass(frozen=True)
class Scores:
    """What sequences score, beside their lengths.

    Attributes:
        name: of the score.
        trained: ``(sequences,)`` steps of the training sequences.
        of: of each split the ``(sequences,)`` steps and scores.
        points: into so many groups a split is gathered at most.
    """

    name: str
    trained: np.ndarray
    of: Mapping[SplitName, tuple[np.ndarray, np.ndarray]]
    points: int

    @property
    def test(self) -> Groups:
        return Groups.of(*self.of["test"], self.points)

    @property
    def is_share(self) -> bool:
        """Of right answers, and no error."""
        return direction(self.name) == "max"

    def draw_axis(self, ax: Axes) -> None:
        if self.is_share:
            ax.set_ylim(-0.03, 1.03)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            style.log_scale(ax)


class ScoreByLength(Instrument[Scores]):
    """Accuracy, or squared error, on validation and test sequences by their steps; the lengths of training are shaded.

    Bars are 95 % intervals; below stands how many sequences each mean is of.
    Where a sequence has many answers, the share of them that are right, and
    the share of the sequences in which all of them are.

    Args:
        points: into so many groups, equally wide, the lengths of a split are gathered at most.
    """

    needs_truth = True
    of_sequences = True
    reading = (
        "A rule that was learned holds for sequences longer than those of training, whose lengths are shaded; a habit "
        "does not."
    )

    def __init__(self, points: PositiveInt = 20) -> None:
        self.points = points

    def missing(self, subject: Subject) -> str | None:
        reason = "all sequences are of one length, or a sequence has no score of its own"
        if type(subject.task).sequence_score is Task.sequence_score:
            return reason
        lengths = [steps(subject.data, name) for name in ("train", "val", "test")]
        return None if len(np.unique(np.concatenate(lengths))) > 1 else reason

    def measure(self, subject: Subject) -> Scores:
        task, data = subject.task, subject.data
        of: dict[SplitName, tuple[np.ndarray, np.ndarray]] = {}
        for split, _, _ in SPLITS[subject.of_a_file :]:  # of a file all splits are the same
            scores = []
            for batch, output in subject.predicted(split):
                score = task.sequence_score(output, batch)
                assert score is not None
                scores.append(score.cpu())
            of[split] = steps(data, split), torch.cat(scores).numpy()
        return Scores(task.sequence_score_name, steps(data, "train"), of, self.points)

    def draw(self, subject: Subject, measured: Scores) -> Picture:
        if subject.of_a_file:
            return self.compare({subject.name: measured})
        task, name, right = subject.task, measured.name, measured.is_share
        low, high = int(measured.trained.min()), int(measured.trained.max())
        lengths, score = measured.of["test"]
        mean = f"{score.mean():.1%}" if right else f"a mean {name} of {style.short(float(score.mean()))}"
        fig = style.figure(
            f"{name.replace('_', ' ').capitalize() if right else 'Error'} by length",
            f"trained on {_span(measured.trained)} steps; on test sequences of {_span(lengths)} steps {mean}; bars are "
            "95 % intervals",
            width=9.0,
            height=5.4,
        )
        ax, below = fig.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        style.dress(ax, "", name.replace("_", " ") if right else style.value_label(task.spec, name))
        style.dress(below, "length (steps of the sequence)", "sequences")
        shade = {"color": style.FAINT, "alpha": 0.25, "linewidth": 0}
        ax.axvspan(low - 0.5, high + 0.5, label="lengths of training", **shade)
        below.axvspan(low - 0.5, high + 0.5, **shade)
        for split, shown, colour in SPLITS:
            lengths, score = measured.of[split]
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
        trivial = next((row[f"baseline/{name}"] for row in subject.history if f"baseline/{name}" in row), None)
        if trivial is not None:
            ax.axhline(trivial, color=style.QUIET, linestyle="--", label=f"baseline ({task.baseline_name})")
        measured.draw_axis(ax)
        style.whole_numbers(below.xaxis)
        style.legend(fig, ax, where="outside right center")
        columns = ("length", "sequences", f"test {name}", "95 % from", "to")
        return Picture(fig, Table(columns, measured.test.rows))

    def compare(self, measured: Mapping[str, Scores]) -> Picture:
        first = next(iter(measured.values()))
        count = first.test.count
        sizes = f"{count.min()} to {count.max()}" if len(set(count)) > 1 else f"{count[0]}"
        text = f"{first.name} by the steps of a sequence; bars are 95 % intervals, each of {sizes} sequences"
        fig = style.figure("Score by length", text, width=9.0, height=4.2)
        ax = style.dress(fig.subplots(), "length (steps of the sequence)", first.name)
        rows: list[tuple[Entry, ...]] = []
        for (name, scores), colour in zip(measured.items(), style.colours(len(measured)), strict=True):
            groups = scores.test
            groups.draw(ax, color=colour, marker="o", markersize=4, label=name, linewidth=1.8)
            rows.append((name, float(groups.mean[0]), float(groups.mean[-1])))
        first.draw_axis(ax)
        style.whole_numbers(ax.xaxis)
        style.legend(fig, ax, where="outside right center")
        return Picture(
            fig,
            Table(("run", "shortest", "longest"), rows),
            name="score_by_lengths",
            reading="Accuracy (or error) by the steps of a sequence, with 95 % intervals; the flatter the line, the "
            "better a rule holds.",
        )


def steps(data: SequenceData, split: SplitName) -> np.ndarray:
    """``(sequences,)`` steps of each sequence of a split."""
    loaded = data.split(split)
    if loaded.lengths is None:
        return np.full(len(loaded), loaded.inputs.shape[1])
    return loaded.lengths.numpy()


def _span(lengths: np.ndarray) -> str:
    low, high = int(lengths.min()), int(lengths.max())
    return f"{low}" if low == high else f"{low} to {high}"
