"""What each threshold of a claimed probability costs: ROC, precision and recall, F1."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_precision_recall_curve,
    binary_roc,
)

from rnnlab.instruments import style
from rnnlab.instruments.instrument import Entry, Instrument, Picture, Table
from rnnlab.instruments.subject import Subject
from rnnlab.spec import valid_steps

SHOWN = 6
"""Classes that are drawn, where there are more: those with the lowest average precision."""
POINTS = 400
"""Of a curve that are drawn."""
ANSWERS = 100_000
"""Answers that are counted; of more every second (third …) one."""


@dataclass(frozen=True)
class Curve:
    """Of one class against all others, or of one label.

    Attributes:
        name: of it.
        positives: answers that are of it.
        auroc: area under the ROC curve.
        precision_score: average precision.
        roc: ``(2, points)`` false and true positive rate, by falling threshold.
        precision: ``(2, points)`` recall and precision, by rising threshold.
        by_threshold: ``(4, points)`` threshold, precision, recall and F1.
        chosen: the threshold by which it is said; ``None`` where the most probable class is.
    """

    name: str
    positives: int
    auroc: float
    precision_score: float
    roc: np.ndarray
    precision: np.ndarray
    by_threshold: np.ndarray
    chosen: float | None = None

    @property
    def best(self) -> tuple[float, float]:
        """The threshold of the highest F1, and that F1."""
        place = int(np.nanargmax(self.by_threshold[3]))
        return float(self.by_threshold[0, place]), float(self.by_threshold[3, place])

    @property
    def scores(self) -> str:
        return f"AUROC {self.auroc:.3f}, AP {self.precision_score:.3f}"


@dataclass(frozen=True)
class Curves:
    """Of one network.

    Attributes:
        each: of the classes or labels that are there and not everywhere.
        together: all decisions of all of them as one (the micro average); the curve itself where there is one.
        answers: so many.
        left_out: names of classes or labels that have no curve.
    """

    each: list[Curve]
    together: Curve
    answers: int
    left_out: list[str]

    @property
    def means(self) -> tuple[float, float]:
        """AUROC and average precision, the means over the classes."""
        return float(np.mean([c.auroc for c in self.each])), float(np.mean([c.precision_score for c in self.each]))


class ThresholdCurves(Instrument[Curves | None]):
    """ROC, precision and recall, and F1 by the threshold of the claimed probability.

    Of two classes the second one; of more each against the rest; of several labels each by itself. AUROC is the area
    under the ROC curve: how often what is there has the higher probability. AP, the average precision, is the mean of
    the precision at each threshold, weighted by the recall that it adds; a guess has the share of what is there.
    """

    needs_truth = True
    title = "Thresholds: ROC, precision and recall"
    reading = (
        "Left: the higher and the further left a curve, the better; the diagonal is a guess. Middle: how many of those "
        "that are said are right, beside how many of those that are there are said. Right: where a threshold should "
        "lie, if both count alike (F1); a dot is the one in use."
    )

    def missing(self, subject: Subject) -> str | None:
        target = subject.task.spec.target
        return None if target.classifies or target.binary else "there are no classes or labels to be told apart"

    def measure(self, subject: Subject) -> Curves | None:
        """``None`` where no class is there without being everywhere, or what is claimed is no number."""
        target = subject.task.spec.target
        claimed, there = _claims(subject)
        if not bool(claimed.isfinite().all()):
            return None
        names = list(target.labels)
        chosen: list[float | None] = [None] * len(names)
        if target.binary:
            odds = getattr(subject.task, "thresholds", None)
            chosen = [0.5] * len(names) if odds is None else odds.sigmoid().tolist()
        elif len(names) == 2:
            claimed, there, names, chosen = claimed[:, 1:], there[:, 1:], names[1:], [0.5]
        known = there.any(0) & ~there.all(0)
        each = [curve(names[k], claimed[:, k], there[:, k], chosen[k]) for k in known.nonzero()[:, 0].tolist()]
        if not each:
            return None
        together = each[0] if len(each) == 1 else curve("all together", claimed.flatten(), there.flatten())
        left_out = [name for name, is_known in zip(names, known.tolist(), strict=True) if not is_known]
        return Curves(each, together, len(claimed), left_out)

    def draw(self, subject: Subject, measured: Curves | None) -> Picture:
        if measured is None:
            empty = style.figure("Thresholds: ROC, precision and recall")
            return Picture(style.message(empty, "no class is there without being everywhere, or nothing is claimed"))
        each = sorted(measured.each, key=lambda one: one.precision_score)
        shown = [one for one in measured.each if one in each[:SHOWN]]
        auroc, precision = measured.means
        text = f"{measured.answers:,} answers of {subject.called} sequences"
        if len(each) > 1:
            text += f"; mean AUROC {auroc:.3f}, mean average precision (AP) {precision:.3f} over {len(each)}"
            text += " labels" if subject.task.spec.target.binary else " classes, each against the rest"
        if len(shown) < len(each):
            text += f"; drawn are the {SHOWN} with the lowest AP"
        if measured.left_out:
            text += f"; not there, or everywhere: {', '.join(measured.left_out[:4])}" + ", …" * (
                len(measured.left_out) > 4
            )
        room = style.LONGEST_LABEL - max(len(one.scores) + 2 for one in shown)
        names = style.cut_apart([one.name for one in shown], room)
        labels = [style.label(f"{name}: {one.scores}") for name, one in zip(names, shown, strict=True)]
        tall = style.arranged(labels, 12.0)[2]
        fig = style.figure("Thresholds: ROC, precision and recall", text, width=12.0, height=4.1 + tall)
        left, middle, right = fig.subplots(1, 3)
        _square(left, "false positive rate", "true positive rate", "ROC")
        left.plot([0, 1], [0, 1], color=style.QUIET, linestyle="--", linewidth=1.0)
        _square(middle, "recall", "precision", "precision and recall")
        for one, label, colour in zip(shown, labels, style.PALETTE, strict=False):
            left.plot(*one.roc, color=colour, linewidth=1.8, label=label)
            middle.plot(*one.precision, color=colour, linewidth=1.8)
        _square(right, "threshold", "F1" if len(shown) > 1 else "share", "by the threshold")
        if len(shown) == 1:
            for row, name, colour in ((1, "precision", style.SKY), (2, "recall", style.PURPLE), (3, "F1", style.INK)):
                right.plot(*shown[0].by_threshold[[0, row]], color=colour, linewidth=1.8, label=name)
            right.legend(fontsize=style.TICK, frameon=False)
        for one, colour in zip(shown, style.PALETTE, strict=False):
            if len(shown) > 1:
                right.plot(*one.by_threshold[[0, 3]], color=colour, linewidth=1.8)
            if one.chosen is not None:
                height = float(np.interp(one.chosen, one.by_threshold[0], np.nan_to_num(one.by_threshold[3])))
                right.plot(one.chosen, height, "o", color=colour, markersize=6, markeredgecolor="white", zorder=3)
        style.legend(fig, left)
        rows = [(one.name, one.positives, one.auroc, one.precision_score, *one.best) for one in measured.each]
        header = ("class", "there", "AUROC", "average precision", "threshold of the best F1", "that F1")
        return Picture(fig, Table(header, rows), {"AUROC": f"{auroc:.3f}, average precision {precision:.3f}"})

    def compare(self, measured: Mapping[str, Curves | None]) -> Picture:
        known = {name: curves for name, curves in measured.items() if curves is not None}
        text = "all decisions of all classes or labels as one" if any(len(c.each) > 1 for c in known.values()) else ""
        fig = style.figure("Thresholds: ROC, precision and recall", text, width=9.4, height=4.6)
        left, right = fig.subplots(1, 2)
        _square(left, "false positive rate", "true positive rate", "ROC")
        left.plot([0, 1], [0, 1], color=style.QUIET, linestyle="--", linewidth=1.0)
        _square(right, "recall", "precision", "precision and recall")
        rows: list[tuple[Entry, ...]] = []
        for (name, curves), colour in zip(known.items(), style.colours(len(known)), strict=True):
            left.plot(*curves.together.roc, color=colour, label=f"{name}: {curves.together.scores}", linewidth=1.8)
            right.plot(*curves.together.precision, color=colour, linewidth=1.8)
            rows.append((name, *curves.means))
        style.legend(fig, left)
        return Picture(fig, Table(("run", "mean AUROC", "mean average precision"), rows))


def curve(name: str, claimed: Tensor, there: Tensor, chosen: float | None = None) -> Curve:
    """Of ``(answers,)`` probabilities, and whether it is there."""
    truth = there.long()
    false, true, _ = binary_roc(claimed, truth)
    precision, recall, thresholds = binary_precision_recall_curve(claimed, truth)
    f1 = 2 * precision * recall / (precision + recall).clamp_min(1e-12)
    by_threshold = torch.stack([thresholds, precision[:-1], recall[:-1], f1[:-1]])
    auroc, average = float(binary_auroc(claimed, truth)), float(binary_average_precision(claimed, truth))
    # without the point that torchmetrics adds, of a precision of 1 where nothing is said
    roc, line = torch.stack([false, true]), torch.stack([recall[:-1], precision[:-1]])
    return Curve(name, int(truth.sum()), auroc, average, _thinned(roc), _thinned(line), _thinned(by_threshold), chosen)


def _thinned(line: Tensor) -> np.ndarray:
    """At most ``POINTS`` of a line's points, its ends among them."""
    number = line.shape[1]
    places = torch.linspace(0, number - 1, min(number, POINTS)).round().long()
    found: np.ndarray = style.array(line[:, places.to(line.device)])
    return found


def _claims(subject: Subject) -> tuple[Tensor, Tensor]:
    """``(answers, classes)`` claimed probabilities, and whether each class is there."""
    target = subject.task.spec.target
    claims, truths = [], []
    for batch, output in subject.predicted():
        if target.binary:
            claimed, there = output.sigmoid(), batch.targets > 0.5
            if target.per_step:
                valid = valid_steps(batch.inputs, batch.lengths)
                claimed, there = claimed[valid], there[valid]
        else:
            claimed = output.softmax(-1)
            there = batch.targets[:, None] == torch.arange(target.size, device=output.device)
        claims.append(claimed.float())
        truths.append(there)
    claimed, there = torch.cat(claims), torch.cat(truths)
    every = -(-len(claimed) // ANSWERS)
    return claimed[::every], there[::every]


def _square(ax: Axes, x: str, y: str, title: str) -> None:
    style.dress(ax, x, y, title)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), box_aspect=1)
