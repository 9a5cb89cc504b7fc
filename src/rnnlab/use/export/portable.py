"""A network as tracers can see it: of any batch and any length, its state handed in and out."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rnnlab.cells.cell import Cell, map_state
from rnnlab.network import Network
from rnnlab.shapes import Inputs, Lengths
from rnnlab.use.export.base import Base
from rnnlab.use.export.step_graph import parts


def exchange_cells(network: Network, exchange: Callable[[Cell[Any]], Cell[Any]]) -> None:
    """Puts another cell in the place of each."""
    layers: Any = network.layers  # lists of cells, of which torch knows that they are modules
    for layer in layers:
        for direction, cell in enumerate(layer):
            layer[direction] = exchange(cell)


class Portable(nn.Module):
    """A copy of a network whose cells are exchanged for such as a format can hold.

    Attributes:
        starts: of every tensor of the state its values before the first step, ``(…)`` without a batch; none for a
            network of both directions, which carries no state.
        meanings: what each of these tensors is.

    Args:
        network: which stays as it is.
        exchange: makes of a cell, in evaluation mode, one that stands for it.
        base: what its output is added to.
    """

    def __init__(self, network: Network, exchange: Callable[[Cell[Any]], Cell[Any]], base: Base | None = None) -> None:
        super().__init__()
        self.base = base
        # without gradients, for which a converter would keep sizes of every step, and fail at it
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        starts = [map_state(lambda part: part[0].detach().clone(), each) for each in network.initial_state(1)]
        self._alone = [isinstance(each, Tensor) for each in starts]
        self._sizes = [len(parts(each)) for each in starts]
        tensors = [part for each in starts for part in parts(each)]
        exchange_cells(self.network, exchange)
        if self.network.rebuilder is not None:
            self.network.rebuilder.cell = exchange(self.network.rebuilder.cell)
        # what it starts from is an input
        self.network.initial = nn.ParameterList()
        self.streams = network.streams
        self.starts = tensors if self.streams else []
        of = [f"state of layer {layer + 1}" for layer in range(network.num_layers)]
        if network.ngrams is not None:
            of.append(f"the {network.ngrams.memory} tokens that were read last,")
        self.meanings: list[str] = []
        if self.streams:
            self.meanings = [meaning for meaning, size in zip(of, self._sizes, strict=True) for _ in range(size)]
        self._tensors = len(tensors)
        if not self.streams:
            for number, tensor in enumerate(tensors):
                self.register_buffer(f"start_{number}", tensor)

    def forward(
        self, inputs: Inputs, lengths: Lengths, state: tuple[Tensor, ...] = (), history: tuple[Tensor, ...] = ()
    ) -> tuple[Tensor, ...]:
        """Predicts.

        Args:
            inputs: ``(batch, time, features)`` or token numbers ``(batch, time)``.
            lengths: ``(batch,)`` valid steps of each sequence.
            state: the tensors ``(batch, …)`` of the network's state, in order.
            history: what the base reads, see :class:`rnnlab.use.export.base.Base`.

        Returns:
            The output, as the network gives it or added to its base, and the tensors of the next state.
        """
        if not self.streams:
            starts = [getattr(self, f"start_{number}") for number in range(self._tensors)]
            state = tuple(start.expand(inputs.shape[0], *start.shape) for start in starts)
        tensors = iter(state)
        states = [tuple(next(tensors) for _ in range(size)) for size in self._sizes]
        each = [parts[0] if alone else parts for parts, alone in zip(states, self._alone, strict=True)]
        steps = inputs
        if self.network.stride > 1:  # a tracer tells one step behind the convolutions from several: so there are two
            last = inputs.new_zeros((inputs.shape[0], self.network.stride, *inputs.shape[2:]))
            inputs = torch.cat([inputs, last], 1)
        hidden, after = self.network.stack(Cell.__call__, inputs, each, lengths)
        output = self.network.onto(steps, self.network.made(steps, hidden, lengths))
        return (
            output if self.base is None else self.base(output, *history),
            *[part for state in after for part in parts(state)],
        )

    def example(self, inputs: Tensor) -> tuple[Any, ...]:
        """Arguments of ``forward``: these inputs, the first sequence full, the others a step shorter, and zeros."""
        batch, time = inputs.shape[:2]
        lengths = torch.full((batch,), time - 1)
        lengths[0] = time
        state = tuple(start.expand(batch, *start.shape).clone() for start in self.starts)
        if self.base is not None:
            return (inputs, lengths, state, self.base.zeros(batch, time))
        return (inputs, lengths, state) if self.streams else (inputs, lengths)
