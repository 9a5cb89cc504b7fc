"""The instruments of a run's own gallery as views: with a word on how to read each, and with its numbers."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import PercentFormatter

from rnnlab.instruments import style
from rnnlab.instruments.confusion import ConfusionMatrix
from rnnlab.instruments.forecast import Forecast
from rnnlab.instruments.hidden_states import (
    HiddenStates,
    PrincipalComponents,
    States,
    draw_paths,
    legend_of_classes,
)
from rnnlab.instruments.inspection.memory import colours
from rnnlab.instruments.inspection.subject import Subject
from rnnlab.instruments.inspection.view import Cell, Picture, Table, View
from rnnlab.instruments.instrument import Instrument, kept_epoch
from rnnlab.instruments.learning_curves import AccuracyCurves, LossCurves
from rnnlab.instruments.score_by_length import Groups, ScoreByLength
from rnnlab.instruments.spectrum import Spectrum, eigenvalues, radius

READING = {
    "loss_curves": "Training and validation loss by epoch, beside the trivial predictor; where the one falls and the "
    "other rises, the network learns by heart. The star is the epoch whose weights were kept.",
    "accuracy_curves": "Share of right answers by epoch, beside that of a trivial predictor.",
    "forecast": "The grey band is the truth; what the network expects should lie in its middle, within the window and "
    "beyond it, where it goes on alone.",
    "score_by_length": "A rule that was learned holds for sequences longer than those of training, whose lengths are "
    "shaded; a habit does not.",
    "confusion_matrix": "Rows are true classes, columns what is said of them: what is off the diagonal is mistaken.",
    "hidden_states": "Every unit over time on the left; on the right the way of all units together in two principal "
    "components. Loops stand for rhythms, points where ways end for decisions.",
    "spectrum": "Eigenvalues of the recurrent weights, before (rings) and after training (dots): within the circle a "
    "linear recurrence forgets.",
}


class Ordinary(View[None]):
    """One instrument, which draws the test split."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        words = (inspect.getdoc(type(instrument)) or "").split("\n\n")[0]
        self.reading = READING.get(self.name, " ".join(words.split()))
        self.title = self.name.replace("_", " ").capitalize()
        self.needs_truth = isinstance(instrument, Forecast | ConfusionMatrix | ScoreByLength)

    @property
    def name(self) -> str:
        return self.instrument.name

    def missing(self, subject: Subject) -> str | None:
        if isinstance(self.instrument, LossCurves | AccuracyCurves) and not subject.history:
            return "the run has no finished epoch"
        if self.instrument.applies_to(subject.task, subject.data):
            return None
        return REASONS.get(self.name, "it does not apply to this network and this data")

    def measure(self, subject: Subject) -> None:
        return None

    def draw(self, subject: Subject, measured: None) -> Picture:
        figure = self.instrument.draw(subject.task, subject.data, subject.history)
        return Picture(figure, self._table(subject))

    def _table(self, subject: Subject) -> Table | None:
        instrument, metrics = self.instrument, subject.metrics
        if isinstance(instrument, LossCurves | AccuracyCurves):
            score = "loss" if isinstance(instrument, LossCurves) else "accuracy"
            keys = [f"{part}/{score}" for part in ("train", "val", "test", "baseline")]
            return Table(("of the kept weights", score), [(key, metrics[key]) for key in keys if key in metrics])
        if isinstance(instrument, ConfusionMatrix):
            counts = instrument.counts(subject.task, subject.data).numpy()
            return Table(("class", "sequences", "right", "said of others"), _by_class(counts, subject))
        if isinstance(instrument, Spectrum):
            rows = [(name.split(".", 1)[1], radius(each)) for name, each in eigenvalues(subject.network).items()]
            return Table(("recurrent weights", "largest |eigenvalue|"), rows)
        if isinstance(instrument, ScoreByLength):
            groups = Groups.of(*instrument.measure(subject.task, subject.data, "test"), instrument.points)
            names = ("length", "sequences", f"test {subject.task.sequence_score_name}", "95 % from", "to")
            return Table(names, groups.rows)
        if isinstance(instrument, HiddenStates):
            found = States.of(subject.task, subject.data, instrument.sequences)
            if not found.finite:
                return None
            return Table(("principal component", "share of the variance"), _variance(np.concatenate(found.paths)))
        if self.name == "forecast":
            scores = [name for name in metrics if name.startswith(("test/", "rollout/", "baseline/"))]
            return Table(("score", "value"), [(name, metrics[name]) for name in scores][:16])
        return None


REASONS = {
    "accuracy_curves": "this objective has no accuracy",
    "forecast": "nothing is forecast: the target is no series of values",
    "score_by_length": "all sequences are of one length, or a sequence has no score of its own",
    "confusion_matrix": "there are no classes to be confused",
    "hidden_states": "the network reads all steps at once (model.transpose=true)",
    "gradient_flow": "the network reads all steps at once (model.transpose=true)",
    "spectrum": "its cells have no matrix of recurrent weights",
}


def _by_class(counts: np.ndarray, subject: Subject) -> list[tuple[Cell, ...]]:
    names = style.names(subject.task.spec)
    right, of, said = np.diag(counts), counts.sum(1), counts.sum(0)
    return [
        (name, int(of[i]), f"{right[i] / max(1, of[i]):.1%}", int(said[i] - right[i])) for i, name in enumerate(names)
    ]


def _variance(points: np.ndarray) -> list[tuple[Cell, ...]]:
    explained = PrincipalComponents(points).explained
    return [("1", f"{explained[0]:.1%}"), ("2", f"{explained[1]:.1%}")]


Curve = tuple[np.ndarray, np.ndarray]
"""Numbers and a score of each."""


@dataclass(frozen=True)
class Losses:
    """Training and validation losses of a run by epoch, and the epoch whose weights were kept."""

    train: Curve
    val: Curve
    kept: int | None


class LossByEpoch(View[Losses]):
    """Losses of several runs: training and validation."""

    title = "Loss by epoch"
    reading = (
        "Validation solid, training dotted; the lower the better, and the earlier it falls the faster it learns. A "
        "star is the epoch whose weights were kept."
    )

    def measure(self, subject: Subject) -> Losses:
        found = []
        for key in ("train/loss", "val/loss"):
            rows = [(row["epoch"], row[key]) for row in subject.history if key in row]
            found.append((np.array([row[0] for row in rows]), np.array([row[1] for row in rows])))
        return Losses(found[0], found[1], kept_epoch(subject.history))

    def draw(self, subject: Subject, measured: Losses) -> Picture:
        picture = self.compare({subject.name: measured})
        assert picture is not None
        return picture

    def compare(self, measured: Mapping[str, Losses]) -> Picture | None:
        fig = style.figure(
            "Loss by epoch", "validation solid, training dotted; a star marks the kept weights", 9.0, 4.2
        )
        ax = style.dress(fig.subplots(), "epoch", "loss")
        rows: list[tuple[Cell, ...]] = []
        for (name, each), colour in zip(measured.items(), colours(len(measured)), strict=True):
            (epochs, losses), last = each.val, each.val[0][-1:]
            ax.plot(*each.train, color=colour, linestyle=":", linewidth=1.3)
            ax.plot(
                epochs, losses, color=colour, linewidth=2.2, label=name, marker=style.markers(len(epochs)), markersize=3
            )
            for epoch, loss in zip(epochs, losses, strict=True):
                if epoch == each.kept:
                    ax.plot(epoch, loss, "*", color=colour, markersize=15, markeredgecolor="white", zorder=5)
                    rows.append((name, float(loss), int(epoch), int(last[0])))
        values = np.concatenate([curve[1] for each in measured.values() for curve in (each.train, each.val)])
        values = values[np.isfinite(values)]
        if len(values) and values.min() > 0 and values.max() > 20 * values.min():
            style.log_scale(ax)
        style.whole_numbers(ax.xaxis)
        style.legend(fig, ax, "outside right center")
        return Picture(fig, Table(("run", "validation loss of the kept weights", "in epoch", "epochs"), rows))


class ScoreByLengths(View[tuple[str, Groups]]):
    """Scores of several runs by the length of the test sequences."""

    needs_truth = True
    title = "Score by length"
    reading = (
        "Accuracy (or error) by the steps of a sequence, with 95 % intervals; the flatter the line, the better a rule "
        "holds."
    )

    def missing(self, subject: Subject) -> str | None:
        if ScoreByLength().applies_to(subject.task, subject.data):
            return None
        return REASONS["score_by_length"]

    def measure(self, subject: Subject) -> tuple[str, Groups]:
        instrument = ScoreByLength()
        groups = Groups.of(*instrument.measure(subject.task, subject.data, "test"), instrument.points)
        return subject.task.sequence_score_name, groups

    def draw(self, subject: Subject, measured: tuple[str, Groups]) -> Picture:
        picture = self.compare({subject.name: measured})
        assert picture is not None
        return picture

    def compare(self, measured: Mapping[str, tuple[str, Groups]]) -> Picture | None:
        score, first = next(iter(measured.values()))
        sizes = f"{first.count.min()} to {first.count.max()}" if len(set(first.count)) > 1 else f"{first.count[0]}"
        text = f"{score} by the steps of a sequence; bars are 95 % intervals, each of {sizes} sequences"
        fig = style.figure("Score by length", text, width=9.0, height=4.2)
        ax = style.dress(fig.subplots(), "length (steps of the sequence)", score)
        rows: list[tuple[Cell, ...]] = []
        for (name, (_, groups)), colour in zip(measured.items(), colours(len(measured)), strict=True):
            groups.draw(ax, color=colour, marker="o", markersize=4, label=name, linewidth=1.8)
            rows.append((name, float(groups.mean[0]), float(groups.mean[-1])))
        if score == "accuracy":
            ax.set_ylim(-0.03, 1.03)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            style.log_scale(ax)
        style.whole_numbers(ax.xaxis)
        style.legend(fig, ax, "outside right center")
        return Picture(fig, Table(("run", "shortest", "longest"), rows))


Ways = tuple[list[np.ndarray], list[int] | None, list[str]]
"""Of each sequence its ``(time, units)`` states; its class, where there are classes; and their names."""


class HiddenPaths(View[Ways]):
    """Paths of the last layer's states in two principal components, an architecture a panel."""

    along_time = True
    title = "Paths of the hidden states"
    reading = (
        "The way of all units together in each network's own two principal components, a line a sequence, coloured by "
        "class where there are classes; a square marks the end. Ends that stand apart are decisions."
    )

    def measure(self, subject: Subject) -> Ways:
        found = States.of(subject.task, subject.data, HiddenStates().sequences)
        return found.paths, found.classes, [] if found.classes is None else style.names(subject.task.spec)

    def draw(self, subject: Subject, measured: Ways) -> Picture:
        picture = self.compare({subject.name: measured})
        assert picture is not None
        return picture

    def compare(self, measured: Mapping[str, Ways]) -> Picture | None:
        columns = min(3, len(measured))
        rows = -(-len(measured) // columns)
        fig = style.figure("Paths of the hidden states", "a line a sequence", 4.0 * columns + 0.4, 3.7 * rows)
        grid = fig.subplots(rows, columns, squeeze=False).flatten()
        told: list[tuple[Cell, ...]] = []
        for ax, (name, (paths, classes, _)) in zip(grid, measured.items(), strict=False):
            states = np.concatenate(paths)
            if not np.isfinite(states).all():
                ax.set_visible(False)
                continue
            components = PrincipalComponents(states)
            components.label(ax, name)
            draw_paths(ax, components, paths if classes is not None else paths[: len(style.PALETTE)], classes)
            told.append((name, *(f"{share:.1%}" for share in components.explained)))
        for ax in grid[len(measured) :]:
            ax.set_visible(False)
        of_classes = {kind for _, classes, _ in measured.values() for kind in classes or ()}
        if of_classes:
            legend_of_classes(fig, of_classes, next(iter(measured.values()))[2])
        return Picture(fig, Table(("run", "variance of component 1", "of component 2"), told))
