"""Labels over time: those that are there, beside the probability that they were given."""

from dataclasses import dataclass

import numpy as np

from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture, Table
from rnnlab.instruments.sequence_plot import name_rows
from rnnlab.instruments.subject import Subject
from rnnlab.tasks.multilabel import MultiLabel

MOST_STEPS = 200


@dataclass(frozen=True)
class Roll:
    """One sequence.

    Attributes:
        truth: ``(steps, labels)`` of zeros and ones.
        probabilities: of the same shape.
    """

    truth: np.ndarray
    probabilities: np.ndarray


class LabelRoll(Instrument[Roll]):
    """Above the labels that are there at each step, below the probability that the network gave them a step before.

    Such as a piano roll: a row a key, low ones below.
    """

    needs_truth = True

    def missing(self, subject: Subject) -> str | None:
        task = subject.task
        there = isinstance(task, MultiLabel) and task.spec.target.per_step
        return None if there else "there are no several labels a step"

    def measure(self, subject: Subject) -> Roll:
        batch, output = next(iter(subject.predicted(subject.split)))
        steps = batch.inputs.shape[1] if batch.lengths is None else int(batch.lengths[0])
        first = min(steps, MOST_STEPS)
        return Roll(style.array(batch.targets[0, :first]), style.array(output[0, :first].sigmoid()))

    def draw(self, subject: Subject, measured: Roll) -> Picture:
        used = np.flatnonzero(measured.truth.any(0) | (measured.probabilities > 0.5).any(0))
        low, high = (int(used.min()), int(used.max()) + 1) if len(used) else (0, measured.truth.shape[1])
        names = style.names(subject.task.spec)[low:high]
        said = measured.probabilities > 0.5
        right = int((said & (measured.truth > 0.5)).sum())
        there = int(measured.truth.sum())
        fig = style.figure(
            "Labels at each step",
            f"first {subject.called} sequence: {right:,} of {there:,} labels were given a probability above one half, "
            f"and {int(said.sum()) - right:,} that were not there",
            9.0,
            6.0,
        )
        axes = fig.subplots(2, 1, sharex=True)
        for ax, values, title in zip(
            axes, (measured.truth, measured.probabilities), ("truth", "predicted probability"), strict=True
        ):
            style.dress(ax, style.time_label(subject.task.spec) if ax is axes[-1] else "", "", title, grid=False)
            image = ax.imshow(values[:, low:high].T, aspect="auto", origin="lower", cmap=style.SHARES,
                              vmin=0, vmax=1, interpolation="nearest")  # fmt: skip
            name_rows(ax, [style.plain(name) for name in names], 2.4)
        style.colour_bar(fig, image, axes[-1], "probability")
        rows = [
            (name, int(measured.truth[:, low + k].sum()), round(float(measured.probabilities[:, low + k].sum()), 1))
            for k, name in enumerate(names)
        ]
        return Picture(fig, Table(("label", "steps", "expected steps"), rows))
