"""A forward pass with every state on its way."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rnnlab.cells.cell import Cell
from rnnlab.shapes import State


@dataclass(frozen=True)
class Trace:
    """What every state of a forward pass was, all of one graph.

    Attributes:
        output: as :meth:`rnnlab.network.Network.forward` gives it.
        states: ``states[k][s]`` is the state of cell ``k`` of
            :meth:`rnnlab.network.Network.cells` after it has read ``s + 1`` steps, just as
            its ``step`` gave it, so that ``torch.autograd.grad`` of a loss
            with respect to its tensors follows every path from there: through
            later steps and through the layers above. A backward cell reads
            from the end, so its ``s`` counts from there. Beyond the end of a
            sequence the values mean nothing and the gradient is zero.
        starts: the state of each cell before its first step.
        inputs: ``inputs[k]`` ``(batch, time, features)`` is what cell ``k``
            reads, in the order in which it reads it.
    """

    output: Tensor
    states: list[list[State]]
    starts: list[State]
    inputs: list[Tensor]


class Recorder:
    """Takes cells over time step by step, through their ``unroll``, and keeps what they read and every state.

    It is a :data:`rnnlab.recurrence.Run`; its attributes are those of :class:`Trace`.
    """

    def __init__(self) -> None:
        self.states: list[list[State]] = []
        self.starts: list[State] = []
        self.inputs: list[Tensor] = []

    def __call__(self, cell: Cell[Any], x: Tensor, start: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        """``(batch, time, hidden)`` of ``(batch, time, features)``, and the state at the end."""
        self.states.append([])
        self.starts.append(start)
        self.inputs.append(x)
        return cell.unroll(x, start, lengths, record=self.states[-1])
