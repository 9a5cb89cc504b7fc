"""What goes on inside: the hidden units over time, and the path that they take together."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from rnnlab.instruments import style
from rnnlab.instruments.instrument import Entry, Instrument, Picture, Table
from rnnlab.instruments.principal_components import PrincipalComponents
from rnnlab.instruments.sequence_plot import draw_input, input_labels
from rnnlab.instruments.subject import Subject, at_rest
from rnnlab.shapes import PositiveInt
from rnnlab.spec import Batch
from rnnlab.tasks.task import Task

TITLE = "Hidden states over time"
INPUT_WIDTH = 5.2
"""Of the plot of the input, in inches."""
LEGEND_HEIGHT = 2.9
"""Inches that the legend of the classes may take in one column."""
ENDS = ("s", "^", "D")
"""Marks at the ends of paths: where classes are more than colours, these come again with the next mark."""


@dataclass(frozen=True)
class States:
    """The last layer's states along some sequences.

    Attributes:
        batch: the sequences.
        numbers: which of the split they are.
        lengths: of each, in steps of the input.
        paths: of each its ``(time, directions * hidden)`` states, without padding; where convolutions in front of the
            recurrence leave out steps, there are fewer of them than steps.
        classes: of each, where there are classes.
        class_names: of all classes, where there are any.
    """

    batch: Batch
    numbers: list[int]
    lengths: list[int]
    paths: list[np.ndarray]
    classes: list[int] | None
    class_names: list[str]

    @classmethod
    def of(cls, subject: Subject, most: int) -> "States":
        """The first sequences of the split; of every class as many, however the split is sorted."""
        spec, split = subject.task.spec, subject.data.split(subject.split)
        numbers = torch.arange(min(most, len(split)))
        is_class = spec.target.classifies
        if is_class:
            numbers = spread(split.targets, most)
        batch = subject.take(numbers)
        with at_rest(subject.network) as network, torch.no_grad():
            hidden = network.hidden(batch.inputs, lengths=batch.lengths)[0][..., : network.units]
        steps = torch.full((len(hidden),), batch.inputs.shape[1]) if batch.lengths is None else batch.lengths.cpu()
        ends = network.read_lengths(steps)
        assert ends is not None
        paths = [states[:end] for states, end in zip(style.array(hidden), ends.tolist(), strict=True)]
        classes = batch.targets.tolist() if is_class else None
        return cls(batch, numbers.tolist(), steps.tolist(), paths, classes, style.names(spec) if is_class else [])

    @property
    def shown(self) -> list[np.ndarray]:
        """Paths that are drawn: without classes as many as there are colours to tell them apart."""
        return self.paths if self.classes is not None else self.paths[: len(style.PALETTE)]

    @property
    def finite(self) -> bool:
        return all(np.isfinite(path).all() for path in self.paths)


def spread(classes: Tensor, most: int) -> Tensor:
    """Numbers of ``most`` sequences, in their order: every class has as many as any other, and one at least.

    Args:
        classes: ``(sequences,)``.
        most: where there are more classes, there are as many sequences.
    """
    order = classes.argsort(stable=True)
    grouped = classes[order]
    rank = torch.arange(len(order)) - torch.searchsorted(grouped, grouped)  # within its class, from 0
    first = order[rank.argsort(stable=True)]
    return first[: max(most, len(classes.unique()))].sort().values


class HiddenStates(Instrument[States]):
    """The last layer's hidden units along test sequences.

    Left: one sequence, its input above its units (rows), which are sorted by
    the part they play in the first two principal components, so that units
    that act alike stand side by side. Right: the path of the same states in
    these components, coloured by time; and below it the paths of several
    sequences, of every class as many, coloured by class where there are classes.

    Args:
        sequences: how many paths to draw; where there are more classes, one of each.
    """

    along_time = True
    reading = (
        "Every unit over time on the left; on the right the way of all units together in two principal components. "
        "Loops stand for rhythms, points where ways end for decisions."
    )

    def __init__(self, sequences: PositiveInt = 24) -> None:
        self.sequences = sequences

    def measure(self, subject: Subject) -> States:
        return States.of(subject, self.sequences)

    def draw(self, subject: Subject, measured: States) -> Picture:
        if not measured.finite:
            text = "the hidden states are not finite: the network has blown up"
            return Picture(style.message(style.figure(TITLE), text))
        task, paths, classes = subject.task, measured.paths, measured.classes
        longest = int(np.argmax(measured.lengths))
        components, shown = PrincipalComponents(np.concatenate(paths)), measured.shown
        network = task.network
        where = f"layer {network.num_layers} of {network.num_layers}, " if network.num_layers > 1 else ""
        ways = "forward and backward " if network.bidirectional else ""
        beside = 0.0
        if classes is not None:
            beside = class_legend(classes, measured.class_names)[2] - 0.9  # a few short names fit as it is
        of_input = style.arranged(input_labels(subject), INPUT_WIDTH)[2]
        fig = style.figure(
            TITLE,
            f"{where}{paths[0].shape[-1]} {ways}units; {subject.called} sequence {measured.numbers[longest]} on the "
            f"left and at the top right, {len(shown)} {subject.called} sequence{'s' if len(shown) > 1 else ''} at the "
            f"bottom right{self._classes(measured)}",
            width=11.5 + max(0.0, beside),
            height=6.2 + max(0.0, of_input - 2 * style.LINE_HEIGHT),
        )
        left, right = fig.subfigures(1, 2, squeeze=False, width_ratios=(6.8, 4.7 + max(0.0, beside)))[0]
        written = task.spec.input.vocabulary is not None
        top, heat = left.subplots(2, 1, sharex=True, height_ratios=(0.45 if written else 1, 2.6))
        self._input(left, top, subject, measured.batch.inputs[longest, : measured.lengths[longest]])
        self._units(left, heat, task, paths[longest], components)
        upper, lower = right.subfigures(2, 1, squeeze=False)[:, 0]
        self._by_time(upper, upper.subplots(), task, components, paths[longest])
        ax = lower.subplots()
        coloured = "one colour each" if classes is None else "coloured by class"
        components.label(ax, f"their paths, {coloured}")
        draw_paths(ax, components, shown, classes)
        if classes is not None:
            legend_of_classes(lower, classes, measured.class_names)
        variance = [(str(number + 1), f"{share:.1%}") for number, share in enumerate(components.explained)]
        return Picture(fig, Table(("principal component", "share of the variance"), variance))

    def compare(self, measured: Mapping[str, States]) -> Picture:
        columns = min(3, len(measured))
        rows = -(-len(measured) // columns)
        class_names = next(iter(measured.values())).class_names
        of_classes = {kind for states in measured.values() for kind in states.classes or ()}
        beside = class_legend(of_classes, class_names)[2] if of_classes else 0.4
        fig = style.figure("Paths of the hidden states", "a line a sequence", 4.0 * columns + beside, 3.7 * rows)
        grid = fig.subplots(rows, columns, squeeze=False).flatten()
        told: list[tuple[Entry, ...]] = []
        for ax, (name, states) in zip(grid, measured.items(), strict=False):
            if not states.finite:
                ax.set_visible(False)
                continue
            components = PrincipalComponents(np.concatenate(states.paths))
            components.label(ax, name)
            draw_paths(ax, components, states.shown, states.classes)
            told.append((name, *(f"{share:.1%}" for share in components.explained)))
        for ax in grid[len(measured) :]:
            ax.set_visible(False)
        if of_classes:
            legend_of_classes(fig, of_classes, class_names)
        return Picture(
            fig,
            Table(("run", "variance of component 1", "of component 2"), told),
            name="hidden_paths",
            title="Paths of the hidden states",
            reading="The way of all units together in each network's own two principal components, a line a sequence, "
            "coloured by class where there are classes; a square marks the end. Ends that stand apart are decisions.",
        )

    def _classes(self, states: States) -> str:
        if states.classes is None:
            return ""
        there, all_ = len(set(states.classes)), len(states.class_names)
        return f", of {'all' if there == all_ else f'{there} of the'} {all_} classes"

    def _input(self, fig: SubFigure, ax: Axes, subject: Subject, inputs: Tensor) -> None:
        """The sequence that the network reads."""
        image = draw_input(ax, subject, inputs, INPUT_WIDTH)
        written = subject.task.spec.input.vocabulary is not None
        title = "input" if written else "input, as the network reads it"
        ax.set_title(title, size=style.LABEL, color=style.INK, loc="left")
        if image is not None:
            style.colour_bar(fig, image, ax, "value")
        elif ax.get_legend_handles_labels()[1]:
            style.legend_below(ax, INPUT_WIDTH)
        ax.tick_params(labelbottom=False)

    def _units(
        self, fig: SubFigure, ax: Axes, task: Task, states: np.ndarray, components: "PrincipalComponents"
    ) -> None:
        style.dress(ax, style.time_label(task.spec), "unit (sorted)", "activation of each unit", grid=False)
        hidden = task.network.hidden_size
        apart = task.network.bidirectional and task.network.apart
        groups = [slice(0, hidden), slice(hidden, None)] if apart else [slice(None)]
        order = np.concatenate([np.arange(states.shape[1])[group][components.order(group)] for group in groups])
        bound = float(np.abs(states).max()) or 1.0
        signed = states.min() < 0
        end, rows = len(states) * task.network.stride, len(order)
        image = ax.imshow(
            states[:, order].T,
            extent=(-0.5, end - 0.5, rows - 0.5, -0.5),  # below the steps that they belong to
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
        components.label(ax, "its path")
        points = components.project(states)
        segments = np.stack([points[:-1], points[1:]], 1)
        lines = LineCollection(list(segments), cmap=style.SEQUENTIAL, linewidths=2.0)
        times = np.arange(len(points)) * task.network.stride
        lines.set_array(times[:-1])
        ax.add_collection(lines)
        ax.scatter(points[:, 0], points[:, 1], c=times, cmap=style.SEQUENTIAL, s=14, zorder=3)
        _ends(ax, points)
        ax.autoscale_view()
        style.colour_bar(fig, lines, ax, style.time_label(task.spec), ticks=MaxNLocator(6, integer=True))


def draw_paths(
    ax: Axes, components: "PrincipalComponents", paths: Sequence[np.ndarray], classes: Sequence[int] | None
) -> None:
    """Several paths, each with a mark at its end; a colour a sequence, or the look of its class."""
    kinds = list(range(len(paths))) if classes is None else classes
    look = looks(kinds)
    for kind, states in zip(kinds, paths, strict=True):
        points = components.project(states)
        colour, mark = look[kind]
        ax.plot(*points.T, linewidth=1.0, alpha=0.6, color=colour, zorder=2)
        ax.plot(*points[-1], mark, markersize=6, markeredgecolor="white", color=colour, zorder=3)


def looks(kinds: Iterable[int]) -> dict[int, tuple[str, str]]:
    """Colour and mark of each class: no two have the same ones as long as there are enough."""
    colours = len(style.PALETTE)
    return {
        kind: (style.PALETTE[place % colours], ENDS[place // colours % len(ENDS)])
        for place, kind in enumerate(sorted(set(kinds)))
    }


def class_legend(classes: Iterable[int], names: Sequence[str]) -> tuple[list[str], int, float]:
    """What :func:`legend_of_classes` writes, in how many columns, and how many inches that is from left to right.

    Names take more than one line where that leaves two columns at most.
    """
    of_kinds = [style.label(names[kind]) for kind in looks(classes)]
    labels, _, tall = style.arranged(of_kinds, None)
    if tall > 2 * LEGEND_HEIGHT:
        labels, _, tall = style.arranged(of_kinds, None, style.BESIDE)
    columns = math.ceil(tall / LEGEND_HEIGHT)
    longest = max(len(line) for label in labels for line in label.split("\n"))
    return labels, columns, columns * (0.55 + 0.075 * longest)


def legend_of_classes(fig: Figure | SubFigure, classes: Iterable[int], names: Sequence[str]) -> None:
    """Names each class beside the plots, by its colour and the mark at the end of its paths."""
    classes = set(classes)
    labels, columns, _ = class_legend(classes, names)
    keys = [
        Line2D([], [], color=colour, marker=mark, markeredgecolor="white", linewidth=2)
        for colour, mark in looks(classes).values()
    ]
    fig.legend(keys, labels, loc="outside right center", fontsize=style.TICK - 1, frameon=False, ncols=columns)


def _ends(ax: Axes, points: np.ndarray) -> None:
    ax.plot(*points[0], "o", color="white", markeredgecolor=style.INK, markersize=8, zorder=4, label="start")
    ax.plot(*points[-1], "s", color=style.INK, markersize=7, zorder=4, label="end", linestyle="none")
    style.legend_above(ax)
