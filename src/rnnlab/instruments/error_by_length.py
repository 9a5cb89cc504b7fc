"""How the error rate grows with the length of what is to be said."""

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.ticker import PercentFormatter

from rnnlab.data.split import SplitName
from rnnlab.instruments import style
from rnnlab.instruments.instrument import Entry, Instrument, Picture, Table
from rnnlab.instruments.score_by_length import SPLITS, Groups
from rnnlab.instruments.subject import Subject
from rnnlab.shapes import PositiveInt
from rnnlab.tasks.sequence_task import SequenceTask


class ErrorByLength(Instrument[Mapping[SplitName, Groups]]):
    """Tokens to mend, of all that were asked for, by the length of the right answer; bars are 95 % intervals.

    Args:
        points: into so many groups, equally wide, the lengths of a split are gathered at most.
    """

    needs_truth = True
    of_sequences = True
    rank = 68

    def __init__(self, points: PositiveInt = 15) -> None:
        self.points = points

    def missing(self, subject: Subject) -> str | None:
        if not isinstance(subject.task, SequenceTask):
            return "nothing is said that has a length of its own"
        lengths = subject.data.split("test").target_lengths
        return None if lengths is not None and len(lengths.unique()) > 1 else "all answers are of one length"

    def measure(self, subject: Subject) -> Mapping[SplitName, Groups]:
        task = subject.task
        groups: dict[SplitName, Groups] = {}
        for split, _, _ in SPLITS[subject.of_a_file :]:  # of a file all splits are the same
            judged = [task.judge(output, batch) for batch, output in subject.predicted(split)]
            rates, asked = (torch.cat(parts).double().numpy(force=True) for parts in zip(*judged, strict=True))
            groups[split] = Groups.of(asked.astype(int), rates, self.points)
        return groups

    def draw(self, subject: Subject, measured: Mapping[SplitName, Groups]) -> Picture:
        looks = {split: {"color": colour, "label": name} for split, name, colour in SPLITS}
        lines = {split: (groups, looks[split]) for split, groups in measured.items()}
        return self._picture(subject.task.verdict_score, subject.task.spec.target.unit, list(lines.values()))

    def compare(self, measured: Mapping[str, Mapping[SplitName, Groups]]) -> Picture:
        colours = style.colours(len(measured))
        lines = [
            (groups["test"], {"color": colour, "label": name})
            for (name, groups), colour in zip(measured.items(), colours, strict=True)
        ]
        return self._picture("error rate", "token", lines)

    def _picture(self, score: str, unit: str, lines: list[tuple[Groups, dict[str, Any]]]) -> Picture:
        groups, _ = lines[-1]
        fig = style.figure(
            "Error by length",
            f"{score.replace('_', ' ')}: {unit}s to mend, of all that were asked for, by how many those are; bars are "
            f"95 % intervals, each of {groups.count.min():,} to {groups.count.max():,} sequences",
            width=8.0,
            height=4.0,
        )
        ax = style.dress(fig.subplots(), f"length of the right answer ({unit}s)", score.replace("_", " "))
        rows: list[tuple[Entry, ...]] = list(groups.rows)
        for each, look in lines:
            each.draw(ax, marker="o", markersize=4, **look)
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        style.whole_numbers(ax.xaxis)
        style.legend(fig, ax, where="outside right center")
        return Picture(fig, Table(("length", "sequences", score, "95 % from", "to"), rows))
