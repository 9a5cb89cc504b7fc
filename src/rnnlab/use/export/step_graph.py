"""A cell's step, cut into what must be done step by step and what can be done for all steps at once.

A step is a graph of operations from ``(batch, features)`` and the state to the
output and the next state. Some of it depends on the weights alone, some on the
input alone, some is needed for the output alone, and only the rest is a
recurrence:

::

    weights ──▶ constants         once, when the graph is cut
    x ────────▶ before            all steps at once
    state ────▶ inside ──▶ state  step by step
                inside ──▶ after  all steps at once: the output

Rows of a batch don't meet in a cell, and so the steps of a sequence may stand
side by side like rows of a batch. It is how cuDNN takes the product with the
input out of the loop (J. Appleyard, T. Kociský & P. Blunsom, "Optimizing
performance of recurrent neural networks on GPUs" (2016), arXiv 1604.01946),
found in the graph of any cell.
"""

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind

from rnnlab.cells.cell import Cell, map_state
from rnnlab.shapes import State

WIDEST = 8
"""How many times as wide as the layer the values may be that are kept for all steps at once. Wider ones, such as the
outer products of a matrix memory, stay in the loop, where those of one step are there at a time."""
EXAMPLE_ROWS = 3
"""Of the batch by which a step is traced; not 1, which tracers take for no batch at all."""


def parts(state: State) -> tuple[Tensor, ...]:
    """The tensors of a state."""
    return (state,) if isinstance(state, Tensor) else state


class Piece:
    """Some of the operations, as a function of values that are known where it runs.

    Attributes:
        given: these values.
        constants: ``(number, …)`` those of the weights that it needs.
        run: from all of them, the given ones first, to what is wanted.
    """

    def __init__(self, step: "StepGraph", given: Sequence[fx.Node], wanted: Sequence[fx.Node]) -> None:
        self.given = list(given)
        self.constants: list[Tensor] = []
        graph = fx.Graph()
        copies = {node: graph.placeholder(f"given_{number}") for number, node in enumerate(given)}
        last = next(iter(reversed(copies.values())), None)
        # by name: a placeholder may only stand before all operations
        for number, node in enumerate(step.constants_behind(wanted, set(given))):
            with graph.inserting_after(last):
                last = copies[node] = graph.placeholder(f"constant_{number}")
            # a tensor of its own, where it may be a view that shares its memory with another
            self.constants.append(step.constants[node].clone(memory_format=torch.contiguous_format))
        rows = next(iter(copies.values()), None)

        def copy(node: fx.Node) -> fx.Node:
            if node not in copies:
                if node.target is torch.ops.aten.sym_size.int:  # the one size that varies is that of the batch
                    copies[node] = graph.call_function(torch.ops.aten.sym_size.int, (rows, 0))
                else:
                    for each in node.all_input_nodes:
                        copy(each)
                    copies[node] = graph.node_copy(node, copies.__getitem__)
            return copies[node]

        graph.output(tuple(copy(node) for node in wanted))
        self.run = fx.GraphModule(nn.Module(), graph)


class StepGraph:
    """The step of a cell in pieces.

    Attributes:
        constants: values that depend on the weights alone.
        before: from x to ``early``.
        early: values that need no state.
        inside: from the tensors of the state, and early values, to those of the next state and ``late``.
        late: values that are kept of every step.
        after: from late and early values to the output.

    Args:
        cell: in evaluation mode; its weights stay as they are.
    """

    def __init__(self, cell: Cell[Any]) -> None:
        program = _trace(cell)
        nodes = list(program.graph.nodes)
        users = [spec for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]
        by_name = {node.name: node for node in nodes}
        self.x, *self.state = (by_name[spec.arg.name] for spec in users)
        self.output, *self.next_state = nodes[-1].args[0]
        self.constants = _constants(program, nodes)
        self._widest = WIDEST * max(cell.input_size, cell.hidden_size)
        self._early = self._find_early(nodes)
        self.late = self._find_late()
        needed_inside = self._reached([*self.next_state, *self.late], self._early)
        needed_after = self._reached([self.output], self._early | set(self.late))
        self.early = [node for node in nodes if node in self._early and node in needed_inside | needed_after]
        self.before = Piece(self, [self.x], self.early)
        inside = [node for node in self.early if node in needed_inside]
        self.inside = Piece(self, [*self.state, *inside], [*self.next_state, *self.late])
        after = [node for node in self.early if node in needed_after and node not in self.late]
        self.after = Piece(self, [*self.late, *after], [self.output])

    def constants_behind(self, wanted: Iterable[fx.Node], given: set[fx.Node]) -> list[fx.Node]:
        """Those that are needed to get from ``given`` to ``wanted``."""
        return sorted(self._reached(wanted, given | set(self.constants)) - given)

    def _find_early(self, nodes: Iterable[fx.Node]) -> set[fx.Node]:
        early = {self.x}
        for node in nodes:
            tensors = [each for each in node.all_input_nodes if _is_tensor(each)]
            known = all(each in early or each in self.constants for each in tensors)
            varies = node not in self.constants and any(each in early for each in tensors)
            if known and varies and _is_tensor(node) and _width(node) <= self._widest:
                early.add(node)
        return early

    def _find_late(self) -> list[fx.Node]:
        """What ``after`` needs of the loop: as little as possible, or the output itself where that is less."""
        if self.output in self._early:
            return []
        loop = self._behind(self.next_state)
        found: dict[fx.Node, None] = {}
        pending = [self.output]
        while pending:
            node = pending.pop()
            if node in self._early or node in self.constants or not _is_tensor(node):
                continue
            # what is taken of several results stays with them
            of_loop = node in loop or node in self.state
            if of_loop or (node.target is operator.getitem and node.args[0] in loop):
                found[node] = None
            else:
                pending += node.all_input_nodes
        whole = all(isinstance(node.meta["val"], Tensor) for node in found)
        return list(found) if whole and sum(map(_width, found)) <= self._widest / 2 else [self.output]

    def _behind(self, wanted: Iterable[fx.Node]) -> set[fx.Node]:
        """All that is needed of the loop to get to ``wanted``, itself included."""
        behind: set[fx.Node] = set()
        pending = list(wanted)
        while pending:
            node = pending.pop()
            if node not in behind and node not in self._early and node not in self.constants:
                behind.add(node)
                pending += node.all_input_nodes
        return behind

    def _reached(self, wanted: Iterable[fx.Node], ends: set[fx.Node]) -> set[fx.Node]:
        """Those of ``ends`` where one arrives who goes back from ``wanted`` and goes no further."""
        reached: set[fx.Node] = set()
        seen: set[fx.Node] = set()
        pending = list(wanted)
        while pending:
            node = pending.pop()
            if node in seen:
                continue
            seen.add(node)
            if node in ends:
                reached.add(node)
            elif node.target is not torch.ops.aten.sym_size.int:
                pending += node.all_input_nodes
        return reached


class _Step(nn.Module):
    def __init__(self, cell: Cell[Any]) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, ...]:
        output, after = self.cell.step(x, state)
        return (output, *parts(after))


@torch.no_grad()
def _trace(cell: Cell[Any]) -> ExportedProgram:
    # copies, since a tracer takes the same tensor twice for one input
    state = map_state(Tensor.clone, cell.initial_state(EXAMPLE_ROWS))
    x = parts(state)[0].new_zeros(EXAMPLE_ROWS, cell.input_size, dtype=next(iter(cell.state_dict().values())).dtype)
    batch = Dim("batch", min=1)
    shapes = {0: batch} if isinstance(state, Tensor) else tuple({0: batch} for _ in state)
    return torch.export.export(_Step(cell), (x, state), dynamic_shapes=({0: batch}, shapes), strict=False)


@torch.no_grad()
def _constants(program: ExportedProgram, nodes: Iterable[fx.Node]) -> dict[fx.Node, Any]:
    """The values of all nodes that depend neither on x nor on the state nor on how many rows they have."""
    weights = {**program.state_dict, **program.constants}
    signature = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    values: dict[fx.Node, Any] = {}
    for node in nodes:
        if node.op == "placeholder" and signature[node.name].kind is not InputKind.USER_INPUT:
            values[node] = weights[str(signature[node.name].target)].detach()
        elif (
            callable(node.target)
            and node.op == "call_function"
            and all(each in values for each in node.all_input_nodes)
        ):
            arguments, options = fx.map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = node.target(*arguments, **options)
    return values


def _is_tensor(node: fx.Node) -> bool:
    """Whether it is a tensor, or several; and not a size."""
    value = node.meta.get("val")
    return isinstance(value, Tensor) or (isinstance(value, tuple | list) and isinstance(value[0], Tensor))


def _width(node: fx.Node) -> int:
    """Numbers a row."""
    value = node.meta["val"]
    tensors = [value] if isinstance(value, Tensor) else value
    return sum(math.prod(size for size in each.shape if isinstance(size, int)) for each in tensors)
