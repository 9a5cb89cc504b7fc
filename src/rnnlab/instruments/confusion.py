"""Which class is taken for which."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture, Table
from rnnlab.instruments.subject import Subject

# More classes than this, and only every second (third …) one is named.
NAMES_UP_TO = 50
# The width of a letter of a class name, in inches; the smallest number that is still read, in points.
CHARACTER = 0.08
SMALLEST = 6.0


class ConfusionMatrix(Instrument[np.ndarray]):
    """Test sequences by true class (rows) and predicted class (columns).

    Shading is the share of the row, so that rare classes are seen as well as
    frequent ones; the numbers are counts.
    """

    needs_truth = True
    reading = "Rows are true classes, columns what is said of them: what is off the diagonal is mistaken."

    def missing(self, subject: Subject) -> str | None:
        return None if subject.task.spec.target.classifies else "there are no classes to be confused"

    def measure(self, subject: Subject) -> np.ndarray:
        """``(classes, classes)`` numbers of sequences: row the true class, column the predicted one."""
        classes = subject.task.spec.target.size
        counts = torch.zeros(classes, classes, dtype=torch.int64)
        for batch, output in subject.predicted("test"):
            pairs = batch.targets * classes + output.argmax(-1)
            counts += torch.bincount(pairs.cpu(), minlength=classes**2).view(classes, classes)
        return counts.numpy()

    def draw(self, subject: Subject, measured: np.ndarray) -> Picture:
        counts, full_names = measured, style.names(subject.task.spec)
        names = style.cut_apart(full_names)
        classes = len(counts)
        side = float(np.clip(0.5 * classes, 3.2, 8.0))
        upright = (max(map(len, names)) + 2) * classes * CHARACTER > side  # names too long to stand side by side
        margin = CHARACTER * max(map(len, names))
        fig = style.figure(
            "Confusion matrix",
            self._subtitle(counts, style.cut_apart(full_names, style.LONGEST_LABEL), subject.data.held_out),
            width=max(6.4, side + margin + 1.7),
            height=side + 0.7 + (margin if upright else 0.1),
        )
        ax = style.dress(fig.subplots(), "predicted class", "true class", grid=False)
        shares = counts / counts.sum(1, keepdims=True).clip(1)
        image = ax.imshow(shares, cmap=style.SHARES, vmin=0, vmax=1)
        style.colour_bar(fig, image, ax, "share of the true class", format=PercentFormatter(1.0))
        self._write(ax, counts, shares, 72 * side / classes)
        self._name(ax, names, upright)
        right, of, said = np.diag(counts), counts.sum(1), counts.sum(0)
        rows = [
            (name, int(of[i]), f"{right[i] / max(1, of[i]):.1%}", int(said[i] - right[i]))
            for i, name in enumerate(full_names)
        ]
        return Picture(fig, Table(("class", "sequences", "right", "said of others"), rows))

    def _subtitle(self, counts: np.ndarray, names: list[str], of: str) -> str:
        right, all_ = int(np.trace(counts)), int(counts.sum())
        text = f"{right:,} of {all_:,} {of} sequences classified correctly ({right / all_:.1%})"
        mistakes = counts - np.diag(np.diag(counts))
        if mistakes.any():
            true, said = np.unravel_index(mistakes.argmax(), mistakes.shape)
            often = int(mistakes[true, said])
            times = f"{often:,} time{'s' * (often != 1)}"
            text += f"; most often mistaken: {names[true]} for {names[said]}, {times}"
        return text

    def _write(self, ax: Axes, counts: np.ndarray, shares: np.ndarray, square: float) -> None:
        """Writes the counts where they fit into squares of so many points."""
        size = min(12.0, 0.4 * square, square / (0.75 * len(str(counts.max()))))
        if size < SMALLEST:
            return
        for (row, column), count in np.ndenumerate(counts):
            if count or row == column:
                colour = "white" if shares[row, column] > 0.5 else style.INK
                ax.text(column, row, f"{count}", ha="center", va="center", size=size, color=colour)

    def _name(self, ax: Axes, names: list[str], upright: bool) -> None:
        classes = len(names)
        at = range(0, classes, -(-classes // NAMES_UP_TO))
        shown = [style.plain(names[i]) for i in at]
        size = style.TICK if classes <= 24 else 7
        ax.set_xticks(at, shown, rotation=90 if upright else 0, size=size)
        ax.set_yticks(at, shown, size=size)
        # thin lines between the classes, so that an eye finds its row
        ax.set_xticks(np.arange(1, classes) - 0.5, minor=True)
        ax.set_yticks(np.arange(1, classes) - 0.5, minor=True)
        ax.grid(True, which="minor", color=style.FAINT, linewidth=0.5, alpha=0.5)
        ax.tick_params(which="both", length=0)
        ax.spines[:].set(visible=True, color=style.FAINT)
