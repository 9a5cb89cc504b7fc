"""What goes on inside: the hidden units over time, and the path that they take together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from torch import Tensor

from rnnlab.data.sequence import SequenceData
from rnnlab.instruments import style
from rnnlab.instruments.instrument import History, Instrument, at_rest, take
from rnnlab.shapes import PositiveInt
from rnnlab.spec import Batch
from rnnlab.tasks.task import Task

TITLE = "Hidden states over time"
# More features than this are a heat map, not lines.
LINES_UP_TO = 6


class HiddenStates(Instrument):
    """The last layer's hidden units along test sequences.

    Left: one sequence, its input above its units (rows), which are sorted by
    the part they play in the first two principal components, so that units
    that act alike stand side by side. Right: the path of the same states in
    these components, coloured by time; and below it the paths of several
    sequences, coloured by class where there are classes.

    Args:
        sequences: how many paths to draw.
    """

    def __init__(self, sequences: PositiveInt = 24) -> None:
        self.sequences = sequences

    def draw(self, task: Task, data: SequenceData, history: History) -> Figure:
        batch, lengths, states = self._states(task, data)
        if not np.isfinite(states).all():
            return style.message(style.figure(TITLE), "the hidden states are not finite: the network has blown up")
        paths = [hidden[:length] for hidden, length in zip(states, lengths, strict=True)]
        chosen = int(np.argmax(lengths))
        components = PrincipalComponents(np.concatenate(paths))
        if task.spec.target.kind == "class":
            shown, kinds = paths, batch.targets.tolist()
        else:  # as many as there are colours to tell them apart
            shown, kinds = paths[: len(style.PALETTE)], None
        network = task.network
        where = f"layer {network.num_layers} of {network.num_layers}, " if network.num_layers > 1 else ""
        ways = "forward and backward " if network.bidirectional else ""
        fig = style.figure(
            TITLE,
            f"{where}{states.shape[-1]} {ways}units; {data.held_out} sequence {chosen} on the left and at the top "
            f"right, {len(shown)} {data.held_out} sequence{'s' if len(shown) > 1 else ''} at the bottom right",
            width=11.5,
            height=6.2,
        )
        left, right = fig.subfigures(1, 2, squeeze=False, width_ratios=(1.45, 1))[0]
        top, heat = left.subplots(2, 1, sharex=True, height_ratios=(1, 2.6))
        self._input(left, top, task, batch.inputs[chosen, : lengths[chosen]])
        self._units(left, heat, task, paths[chosen], components)
        upper, lower = right.subfigures(2, 1, squeeze=False)[:, 0]
        self._by_time(upper, upper.subplots(), task, components, paths[chosen])
        self._by_sequence(lower.subplots(), task, components, shown, kinds)
        return fig

    def _states(self, task: Task, data: SequenceData) -> tuple[Batch, list[int], np.ndarray]:
        """A batch, its lengths and its ``(batch, time, directions * hidden)`` states."""
        batch = take(task, data, "test", slice(0, self.sequences))
        with at_rest(task.network) as network, torch.no_grad():
            hidden, _ = network.hidden(batch.inputs, lengths=batch.lengths)
        time = batch.inputs.shape[1]
        lengths = [time] * len(hidden) if batch.lengths is None else batch.lengths.tolist()
        return batch, lengths, style.array(hidden)

    def _input(self, fig: SubFigure, ax: Axes, task: Task, inputs: Tensor) -> None:
        """The sequence that the network reads: lines, a heat map of many features, or dots for tokens."""
        times, values = np.arange(len(inputs)), style.array(inputs)
        if task.spec.input.vocabulary is not None:
            style.dress(ax, y="token number", title="input")
            ax.plot(times, values, "|" if task.spec.input.vocabulary > 60 else "o", color=style.BLUE, markersize=4)
        elif values.shape[1] > LINES_UP_TO:
            style.dress(ax, y="feature", title="input", grid=False)
            bound = np.abs(values).max() or 1.0
            image = ax.imshow(
                values.T, aspect="auto", cmap=style.DIVERGING, vmin=-bound, vmax=bound, interpolation="nearest"
            )
            style.colour_bar(fig, image, ax, "value")
        else:
            style.dress(ax, y="value", title="input (as the network reads it)")
            for column, colour in zip(values.T, style.PALETTE, strict=False):
                ax.plot(times, column, color=colour)
        ax.tick_params(labelbottom=False)

    def _units(
        self, fig: SubFigure, ax: Axes, task: Task, states: np.ndarray, components: "PrincipalComponents"
    ) -> None:
        style.dress(ax, style.time_label(task.spec), "unit (sorted)", "activation of each unit", grid=False)
        hidden = task.network.hidden_size
        groups = [slice(0, hidden), slice(hidden, None)] if task.network.bidirectional else [slice(None)]
        order = np.concatenate([np.arange(states.shape[1])[group][components.order(group)] for group in groups])
        bound = float(np.abs(states).max()) or 1.0
        signed = states.min() < 0
        image = ax.imshow(
            states[:, order].T,
            aspect="auto",
            interpolation="nearest",
            cmap=style.DIVERGING if signed else style.SEQUENTIAL,
            vmin=-bound if signed else 0.0,
            vmax=bound,
        )
        style.colour_bar(fig, image, ax, "activation")
        style.whole_numbers(ax.xaxis)
        style.whole_numbers(ax.yaxis)
        if len(groups) == 2:
            ax.axhline(hidden - 0.5, color=style.INK, linewidth=1.2)
            for text, y in (("forward", 0), ("backward", hidden)):
                ax.text(
                    0, y, text, size=style.TICK, va="top", bbox={"facecolor": "white", "edgecolor": "none", "pad": 2}
                )

    def _by_time(
        self, fig: SubFigure, ax: Axes, task: Task, components: "PrincipalComponents", states: np.ndarray
    ) -> None:
        components.label(ax, "its path, coloured by time")
        points = components.project(states)
        segments = np.stack([points[:-1], points[1:]], 1)
        lines = LineCollection(list(segments), cmap=style.SEQUENTIAL, linewidths=2.0)
        lines.set_array(np.arange(len(segments)))
        ax.add_collection(lines)
        ax.scatter(points[:, 0], points[:, 1], c=np.arange(len(points)), cmap=style.SEQUENTIAL, s=14, zorder=3)
        _ends(ax, points)
        ax.autoscale_view()
        style.colour_bar(fig, lines, ax, style.time_label(task.spec))

    def _by_sequence(
        self,
        ax: Axes,
        task: Task,
        components: "PrincipalComponents",
        paths: Sequence[np.ndarray],
        classes: list[int] | None,
    ) -> None:
        """Several paths, each with its end; a colour a class as far as colours go, the other classes in grey."""
        kinds = list(range(len(paths))) if classes is None else classes
        components.label(ax, "their paths, " + ("one colour each" if classes is None else "coloured by class"))
        colour = dict(zip(sorted(set(kinds)), style.PALETTE, strict=False))
        for kind, states in zip(kinds, paths, strict=True):
            points = components.project(states)
            look: dict[str, Any] = {"color": colour.get(kind, style.FAINT), "zorder": 3 if kind in colour else 2}
            ax.plot(*points.T, linewidth=1.0, alpha=0.6, **look)
            ax.plot(*points[-1], "s", markersize=6, markeredgecolor="white", **look)
        if classes is not None:
            names = style.names(task.spec)
            keys = [Line2D([], [], color=c, linewidth=3, label=style.plain(names[kind])) for kind, c in colour.items()]
            if len(set(kinds)) > len(colour):
                keys.append(Line2D([], [], color=style.FAINT, linewidth=3, label="others"))
            ax.legend(handles=keys, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=style.TICK - 1, frameon=False)


class PrincipalComponents:
    """The two directions in which the states vary most, of ``(points, units)`` states."""

    def __init__(self, states: np.ndarray) -> None:
        self.mean = states.mean(0)
        _, singular, directions = np.linalg.svd(states - self.mean, full_matrices=False)
        missing = max(0, 2 - len(directions))  # a network of one unit moves along one direction only
        self.directions = np.pad(directions, ((0, missing), (0, 0)))[:2]
        variance = np.pad(singular**2, (0, missing))
        self.explained = variance[:2] / (variance.sum() or 1.0)
        self.weights = self.directions * np.sqrt(variance[:2, None])

    def project(self, states: np.ndarray) -> np.ndarray:
        """``(points, units)`` to ``(points, 2)``."""
        return (states - self.mean) @ self.directions.T

    def order(self, units: slice) -> np.ndarray:
        """Sorts units by their angle in the plane of both components: neighbours rise and fall together."""
        first, second = self.weights[:, units]
        return np.argsort(np.arctan2(second, first), kind="stable")

    def label(self, ax: Axes, title: str) -> None:
        first, second = self.explained
        style.dress(ax, f"component 1 ({first:.0%} of the variance)", f"component 2 ({second:.0%})", title)


def _ends(ax: Axes, points: np.ndarray) -> None:
    ax.plot(*points[0], "o", color="white", markeredgecolor=style.INK, markersize=8, zorder=4, label="start")
    ax.plot(*points[-1], "s", color=style.INK, markersize=7, zorder=4, label="end")
    ax.legend(loc="best", fontsize=style.TICK, framealpha=0.7, edgecolor="none")
