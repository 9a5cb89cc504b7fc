"""What the gates let through: over time, and how often each is stuck."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture, Table, cell_name
from rnnlab.instruments.sequence_plot import draw_input
from rnnlab.instruments.subject import LONGEST, Subject, Walk, walk
from rnnlab.network import Network
from rnnlab.spec import valid_steps

SHUT, OPEN = 0.1, 0.9
"""Below and above which a gate counts as saturated (Karpathy, Johnson & Li 2015)."""
SEQUENCES = 64
BINS = 40
SHOWN = 3
"""Sequences side by side."""


def gates_along(network: Network, number: int, way: Walk) -> dict[str, Tensor]:
    """``(batch, time, hidden)`` gates of a cell at every step of a way, by name."""
    batch, time = way.inputs.shape[:2]
    before = way.before
    state = before.flatten(0, 1) if isinstance(before, Tensor) else tuple(part.flatten(0, 1) for part in before)
    with torch.no_grad():
        found = network.cells()[number].gates(way.inputs.flatten(0, 1), state)
    return {name: gate.unflatten(0, (batch, time)) for name, gate in found.items()}


def no_gates(subject: Subject) -> str | None:
    """Why there are no gates to see."""
    cell = subject.network.cells()[0]
    state = cell.initial_state(1)
    # of the state's kind, since not every cell has parameters
    like = state if isinstance(state, Tensor) else state[0]
    with torch.no_grad():
        found = cell.gates(like.new_zeros(1, cell.input_size), state)
    return None if found else f"{type(cell).__name__} has no gates, or its class does not tell them (Cell.gates)"


@dataclass(frozen=True)
class Course:
    """Gates of the last layer over one sequence: its number, its input, and ``(time, hidden)`` by name."""

    number: int
    inputs: Tensor
    gates: Mapping[str, np.ndarray]


class GatesOverTime(Instrument[list[Course]]):
    """Every unit's gates along the chosen sequences, in the last layer (of two directions the forward one)."""

    along_time = True
    rank = 40
    title = "Gates over time"
    reading = (
        "Each row is a unit, the same in all pictures of a gate, sorted by how open it is on average; yellow is open "
        "(1), dark is shut (0). A gate that changes with the input above it decides what is kept; one that does not is "
        "a constant."
    )

    def missing(self, subject: Subject) -> str | None:
        return no_gates(subject)

    def measure(self, subject: Subject) -> list[Course]:
        network = subject.network
        number = len(network.cells()) - (2 if network.bidirectional else 1)
        courses = []
        for sequence in subject.sequences[:SHOWN]:
            batch = subject.one(sequence)
            found = gates_along(network, number, walk(network, batch)[number])
            gates = {name: style.array(gate[0]) for name, gate in found.items()}
            courses.append(Course(sequence, batch.inputs[0, :LONGEST], gates))
        return courses

    def draw(self, subject: Subject, measured: list[Course]) -> Picture:
        names = list(measured[0].gates)
        fig = style.figure(
            "Gates over time",
            f"{subject.called} sequences; {measured[0].gates[names[0]].shape[1]} units"
            f"{f' of layer {subject.network.num_layers}' if subject.network.num_layers > 1 else ''}"
            f"{', the forward direction' if subject.network.bidirectional else ''}",
            width=max(7.0, 3.7 * len(measured) + 1.2),
            height=1.2 + 1.75 * len(names),
        )
        grid = fig.subplots(
            len(names) + 1,
            len(measured),
            squeeze=False,
            sharex="col",
            height_ratios=(0.15 if subject.token_names else 0.55, *[1] * len(names)),
        )
        orders = {
            name: np.argsort(np.concatenate([course.gates[name] for course in measured]).mean(0), kind="stable")
            for name in names
        }
        image = None
        for column, course in enumerate(measured):
            top = grid[0, column]
            draw_input(top, subject, course.inputs, 3.1, 0.5)
            top.set_title(
                style.plain(f"sequence {subject.name_of(course.number)}"), size=style.LABEL, color=style.INK, loc="left"
            )
            top.tick_params(labelbottom=False, labelleft=not (column and top.images))  # names of features stand once
            for ax, name in zip(grid[1:, column], names, strict=True):
                style.dress(ax, "", f"{name} gate" if column == 0 else "", grid=False)
                gate = course.gates[name][:, orders[name]].T
                image = ax.imshow(
                    gate, aspect="auto", cmap=style.SEQUENTIAL, vmin=0, vmax=1, interpolation="nearest", origin="lower",
                    extent=(-0.5, gate.shape[1] * subject.network.stride - 0.5, -0.5, len(gate) - 0.5),
                )  # fmt: skip
                ax.set_yticks([])
                style.whole_numbers(ax.xaxis)
            grid[-1, column].set_xlabel(style.time_label(subject.task.spec), size=style.LABEL, color=style.INK)
        style.colour_bar(fig, image, list(grid[1:].flatten()), "gate, 0 shut … 1 open")
        rows = []
        for name in names:
            values = np.concatenate([course.gates[name] for course in measured])
            changes = np.concatenate([course.gates[name].std(0)[None] for course in measured])
            rows.append((name, float(values.mean()), float(changes.mean()), *_shares(values)))
        table = Table(("gate", "mean", "standard deviation over time", "shut (< 0.1)", "open (> 0.9)"), rows)
        return Picture(fig, table)


@dataclass(frozen=True)
class CellSaturation:
    """``(hidden,)`` shares of the steps at which each unit's gate is shut, and open, by the gate's name; and
    ``(BINS,)`` shares of all its values from 0 to 1.
    """

    shut: Mapping[str, np.ndarray]
    open: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]

    def share(self, gate: str) -> float:
        """Of all values of a gate, those that are saturated."""
        return float((self.shut[gate] + self.open[gate]).mean())


Saturation = Mapping[str, CellSaturation]
"""By the cell's name."""


class GateSaturation(Instrument[Saturation]):
    """How often each unit's gates are nearly shut or nearly open.

    The picture is that of A. Karpathy, J. Johnson & L. Fei-Fei, "Visualizing
    and understanding recurrent networks" (2015), arXiv 1506.02078.
    """

    along_time = True
    rank = 50
    title = "Saturation of the gates"
    reading = (
        "Above, how the values of each gate are spread. Below, each dot is a unit: how often its gate is nearly shut "
        "(to the right) and nearly open (upwards). A forget gate high up keeps its memory, one far to the right "
        "forgets it at once; on the slanted line a gate is always one or the other. Through a saturated gate hardly "
        "any gradient reaches its weights."
    )

    def missing(self, subject: Subject) -> str | None:
        return no_gates(subject)

    def measure(self, subject: Subject) -> Saturation:
        network = subject.network
        batch = subject.take(slice(0, SEQUENCES))
        found = {}
        for number, way in enumerate(walk(network, batch)):
            valid = valid_steps(way.inputs, way.lengths)
            gates = {name: gate[valid].double() for name, gate in gates_along(network, number, way).items()}
            found[cell_name(network, number)] = CellSaturation(
                {name: style.array((gate < SHUT).double().mean(0)) for name, gate in gates.items()},
                {name: style.array((gate > OPEN).double().mean(0)) for name, gate in gates.items()},
                {name: style.array(torch.histc(gate, BINS, 0, 1) / gate.numel()) for name, gate in gates.items()},
            )
        return found

    def draw(self, subject: Subject, measured: Saturation) -> Picture:
        names = list(next(iter(measured.values())).shut)
        told = ", ".join(f"{name} {_mean(measured, name):.0%}" for name in names)
        fig = style.figure(
            "Saturation of the gates", f"share of saturated values: {told}", width=3.5 * len(names) + 1.2, height=5.6
        )
        grid = fig.subplots(2, len(names), squeeze=False, sharey="row", height_ratios=(1, 2.4))
        for ax, name in zip(grid[0], names, strict=True):
            style.dress(ax, "value of the gate", "share of values", f"{name} gate")
            for (_, each), colour in zip(measured.items(), style.colours(len(measured)), strict=True):
                ax.stairs(each.values[name], np.linspace(0, 1, BINS + 1), color=colour, fill=True, alpha=0.45)
            for edge in (SHUT, OPEN):
                ax.axvline(edge, color=style.QUIET, linestyle="--", linewidth=1.0)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            ax.label_outer()
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("value of the gate", size=style.LABEL, color=style.INK)
        for ax, name in zip(grid[1], names, strict=True):
            _corner(ax, "")
            for (cell, each), colour in zip(measured.items(), style.colours(len(measured)), strict=True):
                _dots(ax, each, name, colour, cell)
            ax.label_outer()
        if len(measured) > 1:
            style.legend(fig, grid[1, 0])
        rows = [
            (*((cell,) if cell else ()), name, float(each.shut[name].mean()), float(each.open[name].mean()))
            for cell, each in measured.items()
            for name in names
        ]
        table = Table((*(("cell",) if any(measured) else ()), "gate", "shut (< 0.1)", "open (> 0.9)"), rows)
        return Picture(fig, table, {"saturated gates": told})

    def compare(self, measured: Mapping[str, Saturation]) -> Picture:
        firsts = {name: next(iter(each.values())) for name, each in measured.items()}
        columns = max(len(each.shut) for each in firsts.values())
        several = " of the first layer" if any(len(each) > 1 for each in measured.values()) else ""
        fig = style.figure(
            "Saturation of the gates",
            f"each dot is a unit{several}: how often its gate is nearly shut (< 0.1) and nearly open (> 0.9)",
            width=3.2 * columns + 0.8,
            height=3.7 * len(firsts) + 0.4,
        )
        grid = fig.subplots(len(firsts), columns, squeeze=False, sharex=True, sharey=True)
        numbers = [len(each.shut) for each in firsts.values()]
        for row, (axes, (run, each), colour) in enumerate(
            zip(grid, firsts.items(), style.colours(len(firsts)), strict=True)
        ):
            for ax in axes[len(each.shut) :]:
                ax.set_visible(False)
            for column, (ax, name) in enumerate(zip(axes, each.shut, strict=False)):
                _corner(ax, f"{run}: {name} gate")
                _dots(ax, each, name, colour)
                if column:
                    ax.set_ylabel("")
                if column < max(numbers[row + 1 :], default=0):
                    ax.set_xlabel("")  # it stands below the last panel of the column
                ax.tick_params(labelbottom=True)
        rows = [
            (run, name, float(each.shut[name].mean()), float(each.open[name].mean()))
            for run, each in firsts.items()
            for name in each.shut
        ]
        return Picture(fig, Table(("run", "gate", "shut (< 0.1)", "open (> 0.9)"), rows))


def _shares(values: np.ndarray) -> tuple[float, float]:
    return float((values < SHUT).mean()), float((values > OPEN).mean())


def _mean(measured: Saturation, gate: str) -> float:
    return float(np.mean([each.share(gate) for each in measured.values()]))


def _corner(ax: Axes, title: str) -> None:
    style.dress(ax, "share of steps nearly shut (< 0.1)", "share of steps nearly open (> 0.9)", title)
    ax.plot([0, 1], [1, 0], color=style.FAINT, linestyle="--", linewidth=1.0)
    ax.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), box_aspect=1)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _dots(ax: Axes, each: CellSaturation, gate: str, colour: str, label: str = "") -> None:
    ax.scatter(
        each.shut[gate], each.open[gate], s=26, color=colour, alpha=0.55, linewidths=0, label=label or None,
        clip_on=False, zorder=3,
    )  # fmt: skip
