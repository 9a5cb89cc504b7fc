"""A cell over a sequence of any length, as tracers can see it: a loop that is one operation."""

from typing import Any

import torch
from torch import Tensor

from rnnlab.cells.cell import Cell
from rnnlab.kernels.layout import zero_padding
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, State, Step
from rnnlab.use.export.step_graph import StepGraph, parts


class OverTime(Cell[Any]):
    """A cell whose forward pass is torch's ``scan`` over the pieces of another cell's step.

    Args:
        cell: in evaluation mode.
    """

    def __init__(self, cell: Cell[Any]) -> None:
        super().__init__(cell.input_size, cell.hidden_size)
        self.elapsed = cell.elapsed
        self._graph = graph = StepGraph(cell)
        zero = cell.initial_state(1)
        self._one = isinstance(zero, Tensor)
        self._sizes = len(parts(zero))
        for number, part in enumerate(parts(zero)):
            self.register_buffer(f"initial_{number}", part.detach())
        for name in ("before", "inside", "after"):
            piece = getattr(graph, name)
            for number, constant in enumerate(piece.constants):
                self.register_buffer(f"{name}_{number}", constant)

    def initial_state(self, batch_size: int) -> State:
        tensors = [getattr(self, f"initial_{number}") for number in range(self._sizes)]
        return self._whole([each.expand(batch_size, *each.shape[1:]) for each in tensors])

    def step(self, x: Step, state: State) -> tuple[Hidden, State]:
        output, after = self._forward(x[:, None], state, None)
        return output[:, 0], after

    def _forward(self, x: Features, state: State, lengths: Lengths | None) -> tuple[HiddenSequence, State]:
        graph = self._graph
        batch, time = x.shape[:2]
        # the loop goes over the first dimension
        values = {graph.x: x.transpose(0, 1).contiguous()}
        values |= self._at_once("before", values, graph.early, (time, batch))
        sequences = [values[node].contiguous() for node in graph.inside.given if node in values]
        if lengths is not None:
            sequences.insert(0, torch.arange(time, device=x.device)[:, None] < lengths)
        final, late = self._loop(list(parts(state)), sequences, masked=lengths is not None)
        values |= dict(zip(graph.late, late, strict=True))
        output = self._at_once("after", values, [graph.output], (time, batch))[graph.output].transpose(0, 1)
        return zero_padding(output, lengths), self._whole(final)

    def _at_once(self, name: str, values: Any, wanted: Any, size: Any) -> Any:
        """Runs a piece with all steps side by side, as rows."""
        piece = getattr(self._graph, name)
        # copied, since a tracer guards the strides of a view whose sizes it doesn't know
        rows = [values[node].flatten(0, 1).clone(memory_format=torch.contiguous_format) for node in piece.given]
        found = piece.run(*rows, *self._constants(name))
        return {node: each.unflatten(0, size) for node, each in zip(wanted, found, strict=True)}

    def _loop(self, start: list[Tensor], sequences: list[Tensor], masked: bool) -> tuple[list[Tensor], list[Tensor]]:
        size = len(start)

        def step(*arguments: Tensor) -> tuple[Tensor, ...]:
            before, rest = arguments[:size], arguments[size:]
            after = self._graph.inside.run(*before, *rest[masked:])
            state, late = after[:size], after[size:]
            if masked:
                state = tuple(
                    torch.where(rest[0].view(-1, *[1] * (new.dim() - 1)), new, old)
                    for new, old in zip(state, before, strict=True)
                )
            # what goes out may not be what came in, nor the same twice
            return tuple(each.clone(memory_format=torch.contiguous_format) for each in (*state, *late))

        found = torch.ops.higher_order.scan(step, start, sequences, tuple(self._constants("inside")))
        return list(found[:size]), list(found[size:])

    def _constants(self, name: str) -> list[Tensor]:
        return [getattr(self, f"{name}_{number}") for number in range(len(getattr(self._graph, name).constants))]

    def _whole(self, tensors: list[Tensor]) -> State:
        return tensors[0] if self._one else tuple(tensors)
