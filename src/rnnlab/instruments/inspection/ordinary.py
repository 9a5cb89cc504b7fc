"""The instruments of a run's own gallery as views: with a word on how to read each, and with its numbers."""

import inspect
from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import PercentFormatter

from rnnlab.instruments import style
from rnnlab.instruments.confusion import ConfusionMatrix
from rnnlab.instruments.forecast import Forecast
from rnnlab.instruments.hidden_states import HiddenStates, PrincipalComponents
from rnnlab.instruments.inspection.memory import colours
from rnnlab.instruments.inspection.subject import Subject
from rnnlab.instruments.inspection.view import Cell, Picture, Table, View
from rnnlab.instruments.instrument import Instrument
from rnnlab.instruments.learning_curves import AccuracyCurves, LossCurves
from rnnlab.instruments.score_by_length import ScoreByLength
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
            length, mean = instrument.gather(*instrument.measure(subject.task, subject.data, "test"))
            names = ("length", f"test {subject.task.sequence_score_name}")
            return Table(names, list(zip(map(float, length), map(float, mean), strict=True)))
        if isinstance(instrument, HiddenStates):
            _, lengths, states = instrument._states(subject.task, subject.data)
            if not np.isfinite(states).all():
                return None
            points = np.concatenate([state[:length] for state, length in zip(states, lengths, strict=True)])
            return Table(("principal component", "share of the variance"), _variance(points))
        if self.name == "forecast":
            scores = [name for name in metrics if name.startswith(("test/", "rollout/", "baseline/"))]
            return Table(("score", "value"), [(name, metrics[name]) for name in scores][:16])
        return None


REASONS = {
    "accuracy_curves": "this objective has no accuracy",
    "forecast": "nothing is forecast: the target is no series of values",
    "score_by_length": "all sequences are of one length, or a sequence has no score of its own",
    "confusion_matrix": "there are no classes to be confused",
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


class LossByEpoch(View[tuple[Curve, Curve]]):
    """Losses of several runs: training and validation."""

    title = "Loss by epoch"
    reading = "Validation solid, training dotted; the lower the better, and the earlier it falls the faster it learns."

    def measure(self, subject: Subject) -> tuple[Curve, Curve]:
        found = []
        for key in ("train/loss", "val/loss"):
            rows = [(row["epoch"], row[key]) for row in subject.history if key in row]
            found.append((np.array([row[0] for row in rows]), np.array([row[1] for row in rows])))
        return found[0], found[1]

    def draw(self, subject: Subject, measured: tuple[Curve, Curve]) -> Picture:
        picture = self.compare({subject.name: measured})
        assert picture is not None
        return picture

    def compare(self, measured: Mapping[str, tuple[Curve, Curve]]) -> Picture | None:
        fig = style.figure("Loss by epoch", "validation solid, training dotted", width=9.0, height=4.2)
        ax = style.dress(fig.subplots(), "epoch", "loss")
        rows: list[tuple[Cell, ...]] = []
        for (name, (train, val)), colour in zip(measured.items(), colours(len(measured)), strict=True):
            ax.plot(*train, color=colour, linestyle=":", linewidth=1.3)
            ax.plot(*val, color=colour, linewidth=2.2, label=name, marker=style.markers(len(val[0])), markersize=3)
            if len(val[0]):
                best = int(np.nanargmin(val[1])) if np.isfinite(val[1]).any() else 0
                rows.append((name, float(val[1][best]), int(val[0][best]), int(val[0][-1])))
        values = np.concatenate([curve[1] for pair in measured.values() for curve in pair])
        values = values[np.isfinite(values)]
        if len(values) and values.min() > 0 and values.max() > 20 * values.min():
            ax.set_yscale("log")
        style.whole_numbers(ax.xaxis)
        style.legend(fig, ax, "outside right center")
        return Picture(fig, Table(("run", "lowest validation loss", "in epoch", "epochs"), rows))


class ScoreByLengths(View[tuple[str, Curve]]):
    """Scores of several runs by the length of the test sequences."""

    needs_truth = True
    title = "Score by length"
    reading = "Accuracy (or error) by the steps of a sequence; the flatter the line, the better a rule holds."

    def missing(self, subject: Subject) -> str | None:
        if ScoreByLength().applies_to(subject.task, subject.data):
            return None
        return REASONS["score_by_length"]

    def measure(self, subject: Subject) -> tuple[str, Curve]:
        instrument = ScoreByLength()
        curve = instrument.gather(*instrument.measure(subject.task, subject.data, "test"))
        return subject.task.sequence_score_name, curve

    def draw(self, subject: Subject, measured: tuple[str, Curve]) -> Picture:
        picture = self.compare({subject.name: measured})
        assert picture is not None
        return picture

    def compare(self, measured: Mapping[str, tuple[str, Curve]]) -> Picture | None:
        score = next(iter(measured.values()))[0]
        fig = style.figure("Score by length", f"{score} by the steps of a sequence", width=9.0, height=4.2)
        ax = style.dress(fig.subplots(), "length (steps of the sequence)", score)
        rows: list[tuple[Cell, ...]] = []
        for (name, (_, curve)), colour in zip(measured.items(), colours(len(measured)), strict=True):
            ax.plot(*curve, color=colour, marker="o", markersize=4, label=name, linewidth=1.8)
            rows.append((name, float(curve[1][0]), float(curve[1][-1])))
        if score == "accuracy":
            ax.set_ylim(-0.03, 1.03)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            ax.set_yscale("log")
        style.legend(fig, ax, "outside right center")
        return Picture(fig, Table(("run", "shortest", "longest"), rows))


Ways = tuple[list[np.ndarray], list[int] | None, list[str]]
"""Of each sequence its ``(time, units)`` states; its class, where there are classes; and their names."""


class HiddenPaths(View[Ways]):
    """Paths of the last layer's states in two principal components, an architecture a panel."""

    title = "Paths of the hidden states"
    reading = (
        "The way of all units together in each network's own two principal components, a line a sequence, coloured by "
        "class where there are classes; a square marks the end. Ends that stand apart are decisions."
    )

    def measure(self, subject: Subject) -> Ways:
        batch, lengths, states = HiddenStates()._states(subject.task, subject.data)
        paths = [state[:length] for state, length in zip(states, lengths, strict=True)]
        is_class = subject.task.spec.target.kind == "class"
        return paths, batch.targets.tolist() if is_class else None, style.names(subject.task.spec) if is_class else []

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
            kinds = list(range(len(paths))) if classes is None else classes
            found = sorted(set(kinds))
            many = classes is not None and len(found) > len(style.PALETTE)
            colour = dict(zip(found, style.shades(len(found)) if many else style.PALETTE, strict=False))
            for kind, path in zip(kinds, paths, strict=True):
                if classes is None and kind not in colour:
                    continue
                points = components.project(path)
                look = colour.get(kind, style.FAINT)
                ax.plot(*points.T, linewidth=1.0, alpha=0.6, color=look)
                ax.plot(*points[-1], "s", markersize=6, markeredgecolor="white", color=look)
            told.append((name, *(f"{share:.1%}" for share in components.explained)))
        for ax in grid[len(measured) :]:
            ax.set_visible(False)
        return Picture(fig, Table(("run", "variance of component 1", "of component 2"), told))
