"""How far back it remembers: the gradient of the loss by time lag."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from rnnlab.instruments import style
from rnnlab.instruments.gradient_flow import gradient_norms
from rnnlab.instruments.instrument import Instrument, Picture, Table, cell_name, some
from rnnlab.instruments.subject import Subject, cropped
from rnnlab.pooling import POOLED

SEQUENCES = 16
"""As many as :class:`rnnlab.instruments.gradient_flow.GradientFlow` takes by default."""
GONE = 0.01
"""Share of its value at the last step at which a gradient counts as gone."""
LOWEST = 1e-12
"""What is smaller by more than this leaves the picture."""
LAGS = 2000
"""At most as many are measured where none were in training."""
LAYERS = 3
STAGES = 6
"""At most as many lines before the kept weights'."""


@dataclass(frozen=True)
class Memory:
    """Gradient norms by lag, relative to lag 0: the last step that the loss reaches.

    Attributes:
        cells: of each cell that a gradient goes back through: its name, and by time of training its ``(lags,)``.
        sequences: over which they are a mean.
        of: which loss.
        pooled: the readout reaches every step directly.
    """

    cells: Mapping[str, Mapping[str, np.ndarray]]
    sequences: int
    of: str
    pooled: str


class GradientByLag(Instrument[Memory]):
    """‖∂L/∂h_{T-lag}‖ relative to lag 0, before, in and after training.

    The gradient is the whole one, along every path from the state to the loss
    (:func:`rnnlab.instruments.gradient_flow.gradient_norms`), the mean over
    sequences that are all as long as the longest. A backward cell reads from
    the end, and its lag counts from the sequence's start.
    """

    along_time = True
    needs_truth = True
    of_gradients = True
    rank = 10
    title = "How far back it remembers: the gradient of the loss by time lag"
    reading = (
        "A line that falls to the right says that the loss hardly depends on states so many steps back: what happened "
        "there is forgotten, and cannot be learned. Where it crosses the dashed line the gradient is 1 % of its value "
        "at the last step."
    )

    def missing(self, subject: Subject) -> str | None:
        longest = subject.full(1).inputs.shape[1]
        return None if longest > 1 else "sequences of one step have no lag"

    def measure(self, subject: Subject) -> Memory:
        task, network = subject.task, subject.network
        batch = subject.full(SEQUENCES)
        if not subject.recorded:
            batch = cropped(batch, LAGS)
        now = gradient_norms(task, batch)
        stages: dict[str, Tensor] = {}
        recorded = {epoch: norms for epoch, norms in subject.recorded.items() if norms.shape == now.shape}
        if recorded and subject.split == "test":
            for epoch in (sorted(recorded)[i] for i in some(len(recorded), STAGES)):
                stages[f"epoch {epoch}" if epoch else "before training"] = recorded[epoch]
        else:
            for stage in subject.stages:
                with subject.at(stage):
                    stages[stage] = gradient_norms(task, batch)
        stages = {name: norms for name, norms in stages.items() if name == "before training" or not norms.equal(now)}
        stages["kept weights"] = now
        ways = 2 if network.bidirectional else 1
        numbers = [ways * layer + way for layer in some(network.num_layers, LAYERS) for way in range(ways)]
        # a loss of one step reaches a top layer's backward state at this step alone: no way back to see
        numbers = [number for number in numbers if (now[number] > 0).sum() > 1] or numbers[:1]
        cells = {}
        for number in numbers:
            backward = network.bidirectional and number % 2 == 1
            lines = {stage: by_lag(norms[number], backward) for stage, norms in stages.items()}
            cells[cell_name(network, number)] = lines
        per_step = task.spec.target.per_step
        pooled = " and ".join(POOLED.get(network.readout_kind, ()))
        return Memory(cells, len(batch.inputs), "the loss of the last step alone" if per_step else "the loss", pooled)

    def draw(self, subject: Subject, measured: Memory) -> Picture:
        fig = style.figure(
            "How far back the loss reaches",
            f"gradient norm of {measured.of} at each hidden state, by time lag, relative to lag 0; mean over "
            f"{measured.sequences} sequences{_direct(measured)}",
            width=max(8.0, 3.8 * len(measured.cells) + 1.6),
            height=4.0,
        )
        grid = fig.subplots(1, len(measured.cells), squeeze=False, sharey=True)
        for ax, (cell, lines) in zip(grid[0], measured.cells.items(), strict=True):
            _dress(ax, subject.task.spec.step_unit, cell)
            for (name, line), look in zip(lines.items(), style.stages(list(lines)), strict=True):
                _line(ax, line, name, **look)
            ax.label_outer()
        style.legend(fig, grid[0, 0], where="outside right center")
        rows = [
            (*((cell,) if cell else ()), name, *_told(line))
            for cell, lines in measured.cells.items()
            for name, line in lines.items()
        ]
        named = any(measured.cells)
        table = Table((*(("cell",) if named else ()), "weights", "above 1 % back to lag", "at the longest lag"), rows)
        return Picture(fig, table, {"memory": reach(bottom(measured)["kept weights"])})

    def compare(self, measured: Mapping[str, Memory]) -> Picture:
        first = next(iter(measured.values()))
        several_layers = any(len(each.cells) > 1 for each in measured.values())
        fig = style.figure(
            "How far back the loss reaches",
            f"gradient norm of {first.of} at each hidden state{' of the first layer' if several_layers else ''}, by "
            "time lag, relative to lag 0; dotted before training, solid the kept weights",
            width=9.0,
            height=4.6,
        )
        ax = _dress(fig.subplots(), "step", "")
        rows = []
        for (name, each), colour in zip(measured.items(), style.colours(len(measured)), strict=True):
            lines = bottom(each)
            if "before training" in lines:
                _line(ax, lines["before training"], None, color=colour, linewidth=1.2, linestyle=":")
                rows.append((name, "before training", *_told(lines["before training"])))
            _line(ax, lines["kept weights"], name, color=colour, linewidth=2.6)
            rows.append((name, "kept weights", *_told(lines["kept weights"])))
        style.legend(fig, ax, where="outside right center")
        table = Table(("run", "weights", "above 1 % back to lag", "at the longest lag"), rows)
        facts = {name: reach(bottom(each)["kept weights"]) for name, each in measured.items()}
        return Picture(fig, table, facts)


def by_lag(norms: Tensor, backward: bool = False) -> np.ndarray:
    """``(time,)`` norms as ``(lags,)`` shares of that at lag 0, the last step (of those that it reaches at all)."""
    values = norms.double().numpy()
    values = values if backward else values[::-1]
    reached = np.flatnonzero(values > 0)
    values = values[reached[0] :] if len(reached) else values
    return values / (values[0] or 1.0)


def remembered(shares: np.ndarray) -> int:
    """The largest lag at which the gradient is at least ``GONE`` of that at lag 0."""
    return int(np.flatnonzero(shares >= GONE).max(initial=0))


def reach(shares: np.ndarray) -> str:
    """How far back it remembers, in words."""
    lag, longest = remembered(shares), len(shares) - 1
    if lag == longest:
        return f"the gradient is above 1 % over all {longest} lags"
    return f"the gradient falls below 1 % at lag {lag + 1} of {longest}"


def bottom(measured: Memory) -> Mapping[str, np.ndarray]:
    """The lines of the first layer, which every path to an earlier input goes through."""
    return next(iter(measured.cells.values()))


def _told(shares: np.ndarray) -> tuple[str, float]:
    lag, longest = remembered(shares), len(shares) - 1
    return (f"{longest} (all)" if lag == longest else str(lag)), float(shares[-1])


def _direct(measured: Memory) -> str:
    return f"; the readout's {measured.pooled} over time reaches every step directly" if measured.pooled else ""


def _dress(ax: Axes, unit: str, title: str) -> Axes:
    style.dress(ax, f"time lag ({unit}s back)", "gradient norm relative to lag 0", title)
    ax.set_yscale("log")
    ax.axhline(GONE, color=style.QUIET, linestyle="--", linewidth=1.0)
    ax.minorticks_off()
    style.whole_numbers(ax.xaxis)
    return ax


def _line(ax: Axes, shares: np.ndarray, label: str | None, **look: Any) -> None:
    # what has no place on a log axis, or is too small to be seen beside the rest, ends the line
    seen = np.where(shares > LOWEST, shares, np.nan)
    marker = style.markers(len(shares)) if label else None
    ax.plot(np.arange(len(shares)), seen, label=label, marker=marker, markersize=3, **look)
