"""How far back in time a loss reaches."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from rnnlab.cells.cell import Cell
from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture, cell_name, some
from rnnlab.instruments.subject import Subject, at_rest
from rnnlab.network import Network
from rnnlab.shapes import PositiveInt, State
from rnnlab.spec import IGNORED, Batch
from rnnlab.tasks.task import Task

# What is smaller by more than this than the largest gradient has vanished for good, and leaves the picture.
DECADES = 1e16


@dataclass(frozen=True)
class Flow:
    """``(cells, time)`` gradient norms by stage, the kept weights' last; and over how many sequences they are means."""

    norms: Mapping[str, Tensor]
    sequences: int


class GradientFlow(Instrument[Flow]):
    """The gradient of a loss with respect to the hidden state at each time step, ‖∂L/∂h_t‖.

    A line that falls towards early steps is a vanishing gradient: what happened
    there cannot be learned from this loss. One that rises is an exploding
    gradient (Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013).
    The gradient is the whole one, along every path from h_t to the loss. Where
    a state has several parts, as the LSTM's (h, c), it is that of
    :meth:`rnnlab.cells.cell.Cell.memory`, h; where that is itself a function of
    the state, as S4D's sum over its modes, it is that of the whole state.

    For a prediction at every step L is the loss of the *last* step alone (of
    tokens, the last that is asked), so that distance in time is what is seen. For one prediction a sequence L is
    the ordinary loss. The norm is taken for each sequence and averaged over
    the sequences.

    Measured before training, after epochs 1, 2, 4, 8 …, and once more when it is drawn.

    Args:
        sequences: how many test sequences, the first of those that are as long as the longest.
        layers: at most as many layers are drawn; the first and the last are always among them.
    """

    along_time = True
    of_training = True
    in_inspect = False
    """GradientByLag is the same measurement, drawn as what it means."""

    def __init__(self, sequences: PositiveInt = 16, layers: PositiveInt = 3) -> None:
        self.sequences, self.layers = sequences, layers
        self._norms: dict[int, Tensor] = {}

    def observe(self, subject: Subject, epoch: int) -> None:
        power_of_two = epoch & (epoch - 1) == 0
        if power_of_two:
            self._norms[epoch] = self._now(subject)

    def state(self) -> dict[str, Tensor]:
        return {str(epoch): norms for epoch, norms in self._norms.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._norms = {int(epoch): norms for epoch, norms in state.items()}

    def _now(self, subject: Subject) -> Tensor:
        """``(cells, time)`` gradient norms of some sequences: see :func:`gradient_norms`."""
        with torch.inference_mode(False):  # or the batch could not be differentiated through
            batch = subject.full(self.sequences)
        return gradient_norms(subject.task, batch)

    def measure(self, subject: Subject) -> Flow:
        now = self._now(subject)
        norms = {
            f"epoch {epoch}" if epoch else "before training": before
            for epoch, before in sorted(self._norms.items())
            if not torch.equal(before, now)
        }
        return Flow({**norms, subject.kept_name: now}, len(subject.full(self.sequences).inputs))

    def draw(self, subject: Subject, measured: Flow) -> Picture:
        network, lines = subject.network, list(measured.norms.items())
        now = lines[-1][1]
        ways = 2 if network.bidirectional else 1
        layers = some(network.num_layers, self.layers)
        # a loss of one step reaches a top layer's backward state at this step alone: no line to see
        reached = [way for way in range(ways) if any((now[ways * k + way] > 0).sum() > 1 for k in layers)] or [0]
        fig = style.figure(
            "How far back the loss reaches: its gradient at each hidden state",
            self._subtitle(subject.task, measured),
            width=max(8.0, 3.8 * len(layers) + 1.6),
            height=4.2 if len(reached) == 1 else 6.6,
        )
        grid = fig.subplots(len(reached), len(layers), squeeze=False, sharex=True, sharey=True)
        for (row, column), ax in np.ndenumerate(grid):
            number = ways * layers[column] + reached[row]
            self._panel(ax, subject.task, number, [(name, norms[number]) for name, norms in lines])
            ax.label_outer()
        grid[0, 0].set_yscale("log")
        low, high = grid[0, 0].get_ylim()
        grid[0, 0].set_ylim(max(low, high / DECADES), high)
        if high / max(low, high / DECADES) < 100:
            style.log_scale(grid[0, 0])
        else:
            grid[0, 0].minorticks_off()
        style.legend(fig, grid[0, 0], where="outside right center", reverse=True)
        return Picture(fig)

    def _subtitle(self, task: Task, measured: Flow) -> str:
        """What L is, and how much smaller (or larger) its gradient is at the first step than at the last."""
        what = "the loss of the last step alone" if task.spec.target.per_step else "the loss"
        lines, sequences = list(measured.norms.items()), measured.sequences
        text = f"gradient of {what}, mean over {sequences} test sequence{'s' if sequences > 1 else ''}"
        top = -2 if task.network.bidirectional else -1
        ends = {name: (float(norms[top, 0]), float(norms[top, -1])) for name, norms in (lines[0], lines[-1])}
        ratios = [f"{name} {style.short(first / last)}" for name, (first, last) in ends.items() if last > 0]
        return f"{text}; first step relative to last: {', '.join(ratios)}" if ratios else text

    def _panel(self, ax: Axes, task: Task, number: int, lines: list[tuple[str, Tensor]]) -> None:
        network = task.network
        style.dress(ax, style.time_label(task.spec), "gradient norm ‖∂L/∂h‖", cell_name(network, number))
        points = lines[0][1].shape[-1]
        times = np.arange(points) * network.stride
        for (name, norms), look in zip(lines, style.stages([name for name, _ in lines]), strict=True):
            # a gradient of exactly 0 has no place on a log axis: its line ends there
            values = np.where(norms > 0, norms, np.nan)
            label = name if bool((norms > 0).any()) else f"{name}: 0"
            ax.plot(times, values, label=label, marker=style.markers(points), markersize=3, **look)
        style.whole_numbers(ax.xaxis)

        def from_end(time: Any) -> Any:
            return times[-1] - time

        backward = network.bidirectional and number % 2 == 1
        if not backward:
            before_end = ax.secondary_xaxis("top", functions=(from_end, from_end))
            style.whole_numbers(before_end.xaxis)
            before_end.set_xlabel("steps before the end", size=style.TICK, color=style.QUIET)
            before_end.tick_params(labelsize=style.TICK - 1, color=style.FAINT, labelcolor=style.QUIET)
            before_end.spines["top"].set_visible(False)


def gradient_norms(task: Task, batch: Batch) -> Tensor:
    """``(cells, time)`` norms ‖∂L/∂h_t‖, the cells as :meth:`rnnlab.network.Network.cells` counts them.

    Time is that of the sequence, for backward cells too. The batch is of full sequences.
    """
    with torch.inference_mode(False), torch.enable_grad(), at_rest(task.network) as network, _thawed(network):
        trace = network.trace(batch.inputs)
        # the mean over the batch gives each sequence only its share of the gradient
        loss = _loss(task, trace.output, batch) * len(batch.inputs)
        carried = [
            _carried(cell, state)
            for cell, states in zip(network.cells(), trace.states, strict=True)
            for state in states
        ]
        flat = [part for parts in carried for part in parts]
        # nothing is accumulated in the parameters' .grad, unlike with backward()
        gradients = iter(torch.autograd.grad(loss, flat, allow_unused=True, materialize_grads=True))
    norms = torch.stack([_norms([next(gradients) for _ in parts]).mean() for parts in carried]).cpu()
    norms = norms.view(len(trace.states), -1)
    if network.bidirectional:
        norms[1::2] = norms[1::2].flip(1)
    return norms


def _carried(cell: Cell[Any], state: State) -> tuple[Tensor, ...]:
    """The part of a state that is its memory; the whole of it where the memory is a function of it."""
    parts = (state,) if isinstance(state, Tensor) else state
    memory = cell.memory(state)
    return (memory,) if any(memory is part for part in parts) else parts


def _norms(parts: Sequence[Tensor]) -> Tensor:
    """``(batch,)`` norms over all numbers of a sequence, in double precision, where small squares are still numbers."""
    return torch.cat([part.flatten(1) for part in parts], 1).abs().double().norm(dim=-1)


def _loss(task: Task, output: Tensor, batch: Batch) -> Tensor:
    if not task.spec.target.per_step:
        return task.loss(output, batch)
    if task.spec.target.categorical:
        return task.loss(output, batch._replace(targets=_last_asked(batch.targets)))
    return task.loss(output[:, -1:], Batch(batch.inputs[:, -1:], batch.targets[:, -1:]))


def _last_asked(targets: Tensor) -> Tensor:
    """``(batch, time)`` tokens, of which all but each sequence's last are ignored."""
    steps = torch.arange(targets.shape[1], device=targets.device)
    last = torch.where(targets != IGNORED, steps, -1).amax(1, keepdim=True)
    return targets.where(steps == last, IGNORED)


@contextmanager
def _thawed(network: Network) -> Iterator[None]:
    """Weights that are not trained take part, so that there is a path through every layer."""
    drawn = (buffer for cell in network.cells() for buffer in cell.buffers() if buffer.is_floating_point())
    weights = [*network.parameters(), *drawn]
    frozen = [weight for weight in weights if not weight.requires_grad]
    for weight in frozen:
        weight.requires_grad = True
    try:
        yield
    finally:
        for weight in frozen:
            weight.requires_grad = False
