"""A forward pass with every state on its way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from rnnlab.cells.cell import Cell
from rnnlab.shapes import Inputs, Lengths, State

if TYPE_CHECKING:
    from rnnlab.network import Network


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


def trace(network: "Network", inputs: Inputs, starts: Sequence[State], lengths: Lengths | None = None) -> Trace:
    """Predicts as a network's ``forward`` does, step by step through every cell's ``unroll``, and keeps every state.

    Args:
        network: of any kind that has no decoder.
        inputs: as it reads them.
        starts: the state of each cell before the first step.
        lengths: ``(batch,)`` valid steps of each sequence.
    """
    states: list[list[State]] = []
    begun: list[State] = []
    read: list[Tensor] = []

    def unroll(cell: Cell[Any], x: Tensor, start: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        states.append([])
        begun.append(start)
        read.append(x)
        return cell.unroll(x, start, lengths, record=states[-1])

    hidden, _ = network.stack(unroll, inputs, starts, lengths)
    output = network.onto(inputs, network.made(inputs, hidden, lengths))
    return Trace(output, states, begun, read)
