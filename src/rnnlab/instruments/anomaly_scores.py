"""What was expected of each step beside what came, and how unusual the difference is."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from rnnlab.anomalies.deviations import Detector, Scored, of_split
from rnnlab.anomalies.errors import QUANTILE
from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture, Table
from rnnlab.instruments.subject import Subject, at_rest
from rnnlab.shapes import Fraction, PositiveInt

LONGEST = 400
"""Steps of a sequence that are drawn, its last."""


@dataclass(frozen=True)
class Measured:
    """The scores of a split.

    Attributes:
        shown: by the name of the sequence, those that are drawn.
        columns: names of what was expected.
        share: of the scored steps of all sequences that is above the threshold.
        steps: that are scored.
    """

    shown: dict[str, Scored]
    columns: tuple[str, ...]
    share: float
    steps: int


class AnomalyScores(Instrument[Measured]):
    """What was expected of each step beside what came, and below it how unusual the error is by those of the validation
    part; steps above the threshold are marked.

    The scores are those of :mod:`rnnlab.anomalies.errors`.

    Args:
        sequences: that are drawn.
        values: columns that are drawn, at most.
        quantile: of the validation scores: the threshold.
    """

    rank = 14
    title = "Anomaly scores"

    def __init__(self, sequences: PositiveInt = 2, values: PositiveInt = 2, quantile: Fraction = QUANTILE) -> None:
        self.sequences, self.values, self.quantile = sequences, values, quantile

    @property
    def reading(self) -> str:
        return f"{super().reading} Where there is no anomaly, about {100 * (1 - self.quantile):.3g} % of the steps are."

    def missing(self, subject: Subject) -> str | None:
        if subject.task.rebuilds:
            return "it is drawn beside the reconstruction"
        return self._missing(subject)

    def _missing(self, subject: Subject) -> str | None:
        if subject.of_a_file:
            return "what is usual is told by the validation part of the run's own data: rnnlab predict --anomalies"
        return subject.task.no_anomalies or None

    def measure(self, subject: Subject) -> Measured:
        task = subject.task
        with at_rest(subject.network):
            detector = Detector.of(task, subject.data)
            scored = [detector.score(each, self.quantile) for each in of_split(task, subject.data, subject.split)]
        names = getattr(getattr(subject.data, "panel", None), "names", None)
        chosen = (
            [number for number in subject.sequences if number < len(scored)] if names is None else range(len(scored))
        )
        shown = {
            str(subject.name_of(number) if names is None or len(names) != len(scored) else names[number]): scored[
                number
            ]
            for number in list(chosen)[: self.sequences]
        }
        known = np.concatenate([each.score for each in scored])
        above = sum(int(each.anomalous.sum()) for each in scored)
        steps = int(np.isfinite(known).sum())
        columns = scored[0].shares.shape[1]
        labels = task.spec.target.labels[:columns]
        return Measured(shown, tuple(name.removesuffix(" +1") for name in labels), above / max(steps, 1), steps)

    def draw(self, subject: Subject, measured: Measured) -> Picture:
        columns = min(self.values, len(measured.columns))
        rows = (columns + 1) * len(measured.shown)
        subtitle = (
            f"{measured.share:.1%} of {measured.steps:,} scored steps of the {subject.called} part are above the "
            f"threshold, {1 - self.quantile:.1%} of those of the validation part"
        )
        fig = style.figure(self.title, subtitle, 9.0, 0.5 + 1.35 * rows)
        grid = fig.subplots(
            rows, 1, squeeze=False, gridspec_kw={"height_ratios": [*[1.3] * columns, 1] * len(measured.shown)}
        )
        axes = iter(grid[:, 0])
        facts: list[tuple[str, int, int, float, float]] = []
        for name, scored in measured.shown.items():
            steps = np.arange(len(scored.score))[-LONGEST:]
            for column in range(columns):
                ax = next(axes)
                title = f"{subject.called} {name}" if column == 0 and name else ""
                style.dress(ax, "", style.value_label(subject.task.spec, style.cut(measured.columns[column])), title)
                mark(ax, scored, steps)
                ax.plot(
                    steps, scored.deviations.value[steps, column], color=style.FAINT, linewidth=3.5, label="what came"
                )
                ax.plot(
                    steps, scored.deviations.expected[steps, column], color=style.BLUE, linewidth=1.4, label="expected"
                )
                style.whole_numbers(ax.xaxis)
            ax = next(axes)
            style.dress(ax, style.time_label(subject.task.spec), "score")
            mark(ax, scored, steps)
            ax.plot(steps, scored.score[steps], color=style.INK, linewidth=1.1, label="score")
            ax.axhline(scored.threshold, color=style.VERMILION, linestyle="--", linewidth=1.2, label="threshold")
            style.whole_numbers(ax.xaxis)
            facts.append((name or subject.called, int(np.isfinite(scored.score).sum()), int(scored.anomalous.sum()),
                          float(np.nan_to_num(scored.score).max()), scored.threshold))  # fmt: skip
        style.legend(fig, grid[0, 0])
        table = Table(("sequence", "scored steps", "above the threshold", "largest score", "threshold"), facts)
        return Picture(fig, table, {"test steps above the threshold": f"{measured.share:.1%}"})


def mark(ax: Axes, scored: Scored, steps: np.ndarray) -> None:
    """Shades the steps above the threshold."""
    flagged = scored.anomalous[steps]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flagged, [False]]).astype(int)))
    for number, (start, end) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
        label = "anomalous" if not number else None
        ax.axvspan(steps[start] - 0.5, steps[end - 1] + 0.5, color=style.ORANGE, alpha=0.35, linewidth=0, label=label)
    ax.margins(x=0.01)


class Reconstruction(AnomalyScores):
    """What an autoencoder read and how it rebuilds it, and below it how unusual the error of each step is by those of
    the validation part; steps above the threshold are marked.
    """

    title = "Input and reconstruction"

    def missing(self, subject: Subject) -> str | None:
        return self._missing(subject) if subject.task.rebuilds else "nothing is rebuilt (task=reconstruction)"
