"""A traced step's plan in operations of PyTorch: what runs on a GPU, where nothing is compiled.

What depends on parameters or the input alone is computed for all steps before the loop over them, the factors of the
backward pass for all steps between the two loops, and the gradients of parameters and of x for all steps after them.
In the loops only what hangs on the step before is left. Where the same shapes come again and again, both passes are
replayed as CUDA graphs, which takes the launching of their many small operations away.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.kernels.calling import tensors_of
from rnnlab.kernels.graphs import Capture, Graphed
from rnnlab.kernels.layout import zero_padding
from rnnlab.kernels.loop import is_batched, through_the_loop
from rnnlab.kernels.memory import apart, own_tensor
from rnnlab.kernels.nodes import BACKWARD, INPUT, PARAMETERS, STATE, Node, NotDerivable, Trace, needed
from rnnlab.kernels.origins import width_of
from rnnlab.kernels.program import Program, draw
from rnnlab.kernels.tracing import trace
from rnnlab.shapes import Features, HiddenSequence, Lengths, State

log = logging.getLogger(__name__)

REPEATED = 3
"""Calls with the same shapes after which a graph is captured."""
GRAPHS = 8
"""Of a layer, each of which holds the memory of a pass."""


class Eager:
    """A cell's layer in operations of PyTorch, for one type of numbers and one device.

    Args:
        cell: of type :class:`rnnlab.cells.cell.Cell`.
        dtype: of its parameters.
        device: where they are.
        capture: of graphs, where the device has them.

    Raises:
        NotDerivable: its step is the loop's.
    """

    def __init__(self, cell: Any, dtype: torch.dtype, device: torch.device, capture: Capture | None = None) -> None:
        self.trace: Trace = trace(cell, dtype)
        self.single, self.random = self.trace.single, self.trace.random
        self.device, self.capture = device, capture
        self.hidden = width_of(self.trace.output)
        self._graphs: dict[Any, Graphed] = {}
        self._seen: dict[Any, int] = {}
        found, nodes = self.trace, self.trace.nodes
        results = [found.output, *found.new_states]
        used = needed(results)
        grads = [*found.grad_states, *found.grad_tensors, found.grad_x]
        below, carried = needed(grads), needed(found.grad_states)
        forward = [node for node in nodes if node in used and node.kind == STATE]
        backward = [node for node in nodes if node in carried and node.kind == BACKWARD]
        # with what only the gradient of a matrix needs: the rows of its operand as columns
        columns = {
            node
            for node in below - carried
            if node.kind in (INPUT, STATE) and self._has_no_rows(node) and not node.random
        }
        after = [
            node for node in nodes if node in below - carried and node.op != "input"
            and (node.kind == BACKWARD or node in columns)
        ]  # fmt: skip
        factors = [node for node in nodes if node in below - used - columns and node.kind == STATE]

        def handed(users: Sequence[Node], *kinds: int) -> list[Node]:
            """What is made elsewhere and has a row for each sequence."""
            made = set(users)
            given = dict.fromkeys([*(arg for user in users for arg in user.inputs()), *grads])
            return [
                node for node in given if node is not None and node.kind in kinds and node not in made
                and node.op not in ("full", "constant")
            ]  # fmt: skip

        of_factors = [node for node in handed([*backward, *after], STATE) if node in set(factors)]
        kept = dict.fromkeys([*handed([*factors, *backward], STATE), *handed(after, STATE)])
        self.kept = [node for node in kept if node not in set(factors)]
        self.edges = [node for node in handed(after, BACKWARD) if node not in set(after)]
        of_rows = [*handed([*forward, *factors, *backward], INPUT), *handed(after, INPUT)]
        of_rows += [node for node in results if node.kind == INPUT]
        self.inputs = [node for node in dict.fromkeys(of_rows) if node is not found.x and not node.random]
        for node in (*of_factors, *self.kept, *self.edges, *self.inputs, found.output, *found.new_states):
            if node.dtype is None or self._has_no_rows(node):
                raise NotDerivable("a step must treat each row of the batch by itself")

        def program(nodes: Sequence[Node], results: Sequence[Node]) -> Program:
            return Program(nodes, results, found.marker, device)

        of_parameters = [node for node in nodes if node in used | below and node.kind == PARAMETERS]
        self.before = program(of_parameters, [node for node in of_parameters if node.dtype is not None])
        self.of_inputs = program(
            [node for node in nodes if node in used | below and node.kind == INPUT and not node.random], self.inputs
        )
        self.forward = program(forward, [*results, *(node for node in self.kept if node.op != "input")])
        self.factors = program(factors, of_factors)
        self._carried = [number for number, grad in enumerate(found.grad_states) if grad is not None]
        made = [grad for grad in found.grad_states if grad is not None]
        self.backward = program(backward, [*made, *(edge for edge in self.edges if edge.op != "input")])
        self._after = after
        self._afters: dict[tuple[bool, ...], tuple[Program, list[Node | None]]] = {}

    def _has_no_rows(self, node: Node) -> bool:
        """Whether it is a value without a row for each sequence, and not one and the same for all."""
        return node.dtype is not None and node.shape[:1] != (self.trace.marker,) and node.op not in ("full", "constant")

    def __call__(
        self, cell: Any, x: Features, state: State | None, lengths: Lengths | None,
        tensors: Sequence[Tensor] | None = None,
    ) -> tuple[HiddenSequence, Any]:  # fmt: skip
        """As :meth:`rnnlab.cells.cell.Cell.unroll`; padding may hold anything."""
        x = zero_padding(x, lengths)  # what runs on all rows at once must meet numbers there
        state = cell.initial_state(len(x)) if state is None else state
        tensors = tensors_of(cell, self.trace.names) if tensors is None else tensors
        output, *last = self.apply(cell, lengths, x, (state,) if isinstance(state, Tensor) else state, tensors)
        return output, last[0] if self.single else tuple(last)

    def apply(
        self, cell: Any, lengths: Tensor | None, x: Tensor, parts: Sequence[Tensor], tensors: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """The output and the parts of the last state."""
        return _Layer.apply(self, cell, lengths, torch.is_grad_enabled(), x, *parts, *tensors)

    # ---- the two passes, functions of tensors alone ---------------------------------------------------------------
    def go_forward(
        self, x: Tensor, valid: Tensor | None, parts: Sequence[Tensor], tensors: Sequence[Tensor]
    ) -> tuple[list[Tensor], dict[Node, Tensor]]:
        """The output ``(batch, time, hidden)``, the parts of the last state, and what the way back needs.

        Args:
            x: ``(batch, time, features)``.
            valid: ``(time, batch)``.
            parts: of the state before the first step.
            tensors: parameters and buffers.
        """
        found, (batch, time) = self.trace, x.shape[:2]
        env: dict[Node, Tensor] = dict(zip(found.tensors, tensors, strict=True))
        env.update(zip(self.before.results, self.before([env[node] for node in self.before.given], 1), strict=True))
        env[found.x] = x.transpose(0, 1).reshape(time * batch, -1)
        if self.random:
            drawn = draw(self.random, found.marker, batch, time, self.device)
            env.update({node: each.flatten(0, 1) for node, each in drawn.items()})
        made = self.of_inputs([env[node] for node in self.of_inputs.given], time * batch)
        env.update(zip(self.of_inputs.results, made, strict=True))
        states = list(parts)
        kept: dict[Node, list[Tensor]] = {node: [] for node in self.kept}
        outputs: list[Tensor] = []
        place = {node: number for number, node in enumerate(found.states)}
        given = [None if node in place else self._by_step(node, env, time) for node in self.forward.given]
        count = 1 + len(states)
        for t in range(time):
            values = [
                states[place[node]] if node in place else each[t] if isinstance(each, tuple) else each
                for node, each in zip(self.forward.given, given, strict=True)
            ]
            output, *made = self.forward(values, batch)
            for node in self.kept:
                if node in place:
                    kept[node].append(states[place[node]])
            for node, value in zip(self.forward.results[count:], made[count - 1 :], strict=True):
                kept[node].append(value)
            after = made[: count - 1]
            if valid is not None:
                after = [torch.where(_like(valid[t], new), new, old) for new, old in zip(after, states, strict=True)]
            states = after
            outputs.append(output)
        whole = torch.stack(outputs)
        if valid is not None:
            whole = whole.masked_fill(~valid[..., None], 0.0)
        env.update({node: torch.cat(each) for node, each in kept.items()})
        # a state that passes unchanged is a tensor that was handed in
        last = [state.clone() for state in states]
        return [own_tensor(whole.transpose(0, 1).contiguous()), *last], env

    def go_back(
        self, env: dict[Node, Tensor], valid: Tensor | None, direct: Tensor, last: Sequence[Tensor],
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:  # fmt: skip
        """Gradients of x, the parts of the first state, and the tensors.

        Args:
            env: from the way there.
            valid: ``(time, batch)``.
            direct: ``(batch, time, hidden)``, gradient of the output.
            last: gradients of the parts of the last state.
            wanted: whether there shall be one, of x and of each tensor.
        """
        found, (batch, time) = self.trace, direct.shape[:2]
        env = dict(env)
        made = self.factors([env[node] for node in self.factors.given], time * batch)
        env.update(zip(self.factors.results, made, strict=True))
        tangent = direct.transpose(0, 1)
        if valid is not None:
            tangent = tangent.masked_fill(~valid[..., None], 0.0)
        env[found.tangent] = tangent.reshape(time * batch, -1)
        carry = list(last)
        place = {node: number for number, node in enumerate(found.tangents)}
        given = [None if node in place else self._by_step(node, env, time) for node in self.backward.given]
        edges: dict[Node, list[Tensor]] = {node: [] for node in self.edges if node is not found.tangent}
        count = len(self._carried)
        for t in reversed(range(time)):
            entering = carry
            if valid is not None:
                entering = [each.masked_fill(~_like(valid[t], each), 0.0) for each in carry]
            values = [
                entering[place[node]] if node in place else each[t] if isinstance(each, tuple) else each
                for node, each in zip(self.backward.given, given, strict=True)
            ]
            made = self.backward(values, batch)
            for node in edges:
                if node in place:
                    edges[node].append(entering[place[node]])
            for node, value in zip(self.backward.results[count:], made[count:], strict=True):
                edges[node].append(value)
            before = [torch.zeros_like(each) for each in carry]
            for number, grad in zip(self._carried, made, strict=False):
                before[number] = grad
            if valid is not None:
                before = [torch.where(_like(valid[t], new), new, old) for new, old in zip(before, carry, strict=True)]
            carry = before
        for node, each in edges.items():
            rows = torch.cat(each[::-1])
            if valid is not None:  # what stands there may be no number
                rows = rows.masked_fill(~_like(valid.flatten(), rows), 0.0)
            env[node] = rows
        program, nodes = self._after_of(tuple(wanted))
        results = program([env[node] for node in program.given], time * batch)
        by_node = dict(zip(program.results, results, strict=True))
        of_x, *of_tensors = (None if node is None else by_node[node] for node in nodes)
        if of_x is not None:
            of_x = of_x.view(time, batch, -1).transpose(0, 1)
        return [of_x, *carry, *of_tensors]

    def _after_of(self, wanted: tuple[bool, ...]) -> tuple[Program, list[Node | None]]:
        if wanted not in self._afters:
            grads = [self.trace.grad_x, *self.trace.grad_tensors]
            nodes = [node if want else None for node, want in zip(grads, wanted, strict=True)]
            results = list(dict.fromkeys(node for node in nodes if node is not None))
            used = needed(results)
            program = Program([node for node in self._after if node in used], results, self.trace.marker, self.device)
            self._afters[wanted] = program, nodes
        return self._afters[wanted]

    def _by_step(self, node: Node, env: dict[Node, Tensor], time: int) -> Any:
        """A node's values at all steps; one value where it is the same at each."""
        value = env[node]
        return value if node.kind == PARAMETERS else value.unflatten(0, (time, -1)).unbind(0)

    # ---- graphs ---------------------------------------------------------------------------------------------------
    def graphed(
        self, x: Tensor, valid: Tensor | None, parts: Sequence[Tensor], tensors: Sequence[Tensor],
        wanted: Sequence[bool] | None,
    ) -> "Graphed | None":  # fmt: skip
        """Both passes as graphs, once the same shapes have come a few times."""
        if self.capture is None or self.random:
            return None
        key = (
            x.shape, valid is None, tuple(tensor.data_ptr() for tensor in tensors),
            None if wanted is None else tuple(wanted),
        )  # fmt: skip
        if key not in self._graphs:
            if len(self._seen) > 100 * GRAPHS:
                self._seen.clear()
            self._seen[key] = self._seen.get(key, 0) + 1
            if self._seen[key] <= REPEATED or len(self._graphs) >= GRAPHS:
                return None
            try:
                self._graphs[key] = Graphed(self, x, valid, parts, tensors, wanted)
            except Exception as error:  # noqa: BLE001 (whatever a device doesn't let itself be told, steps are right)
                log.warning("a CUDA graph could not be captured, steps are launched one by one: %s", error)
                self.capture = None
                return None
        return self._graphs[key]


class _Layer(Function):
    """As that of :mod:`rnnlab.kernels.layer`."""

    @staticmethod
    def forward(
        ctx: Any, eager: Eager, cell: Any, lengths: Tensor | None, saving: bool, x: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        count = len(eager.trace.states)
        parts, tensors = rest[:count], rest[count:]
        ctx.set_materialize_grads(False)
        ctx.derived, ctx.cell, ctx.stacked = eager, cell, False
        ctx.save_for_backward(x, lengths, *rest)
        needs = ctx.needs_input_grad
        ctx.wanted = (needs[4], *needs[5 + count :]) if saving and any(needs) else None
        ctx.valid = None
        if lengths is not None:
            ctx.valid = torch.arange(x.shape[1], device=x.device)[:, None] < lengths
        ctx.env, ctx.graphed = None, eager.graphed(x, ctx.valid, parts, tensors, ctx.wanted)
        if ctx.graphed is not None:
            results = ctx.graphed.go_forward(x, ctx.valid, parts)
            ctx.turn = ctx.graphed.turn
        else:
            results, env = eager.go_forward(x, ctx.valid, parts, tensors)
            ctx.env = env if ctx.wanted is not None else None
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, direct: Tensor | None, *last: Tensor | None) -> tuple[Tensor | None, ...]:
        x, lengths, *rest = ctx.saved_tensors
        kind = x.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):  # the pass there ran outside
            with torch.autocast(kind, enabled=False):
                return _Layer.backward(ctx, direct, *last)
        eager: Eager = ctx.derived
        count = len(eager.trace.states)
        if torch.is_grad_enabled() or any(map(is_batched, (direct, *last))):
            return None, None, None, None, *through_the_loop(ctx, x, lengths, rest, direct, last)
        direct = x.new_zeros(*x.shape[:2], eager.hidden) if direct is None else direct
        grads = [
            torch.zeros_like(part) if grad is None else grad for part, grad in zip(rest[:count], last, strict=True)
        ]
        if ctx.graphed is not None and ctx.turn == ctx.graphed.turn:
            found = ctx.graphed.go_back([direct, *grads])
        else:
            if ctx.env is None:  # another forward pass has run in the graph meanwhile
                _, ctx.env = eager.go_forward(x, ctx.valid, rest[:count], rest[count:])
            found = eager.go_back(ctx.env, ctx.valid, direct, grads, ctx.wanted)
        return None, None, None, None, *apart(found, [x, *rest])


def _like(mask: Tensor, value: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (value.dim() - 1))
