"""A derived layer for all members of a fleet at once: each member's rows see its own parameters.

The kernels run once over the tiles of all members; products before and after them are batched by ``torch.func.vmap``
over the very nodes that a single layer runs.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.func import vmap

from rnnlab.kernels.layer import BLOCK_ROWS, Derived, run_nodes, value_of
from rnnlab.kernels.layout import Layout, dense
from rnnlab.kernels.planning import width_of
from rnnlab.kernels.tracing import INPUT, Node


def run_members(
    derived: Derived, x: Tensor, states: Sequence[Tensor], lengths: Tensor | None, tensors: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """One layer of all members.

    Args:
        derived: the layer.
        x: ``(members, batch, time, features)``.
        states: the parts of the state before the first step, ``(members, batch, …)``.
        lengths: ``(members, batch)`` valid steps of each sequence.
        tensors: the cell's parameters and buffers, ``(members, …)``, in the order of the trace.

    Returns:
        The output ``(members, batch, time, hidden)``, and the parts of the last state.
    """
    return _Members.apply(derived, lengths, x, *states, *tensors)


def _layout(batch: int, time: int, members: int, lengths: Tensor | None) -> Layout:
    found = dense(batch, time, members)
    if lengths is None:
        return found
    # the rows that fill up a member's groups have no step
    steps = np.zeros((members, found.rows), np.int64)
    steps[:, :batch] = lengths.detach().numpy()
    return replace(found, lengths=steps.reshape(-1))


class _Members(Function):
    @staticmethod
    def forward(
        ctx: Any, derived: Derived, lengths: Tensor | None, x: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:  # fmt: skip
        found, p = derived.trace, derived.plan
        count = len(found.states)
        starts, tensors = rest[:count], rest[count:]
        members, batch, time, _ = x.shape
        layout = _layout(batch, time, members, lengths)
        rows, every = layout.rows, layout.rows * members
        saving = any(ctx.needs_input_grad)
        with torch.inference_mode():
            names = list(p.parameters)
            env = _of_parameters(derived, tensors)
            given: dict[str, Any] = dict(zip(names, _handed(derived, env), strict=True))
            x_rows = x.permute(2, 0, 1, 3)
            x_rows = x_rows.contiguous() if layout.order is None else x_rows.index_select(2, layout.order)
            for name, value in zip(p.inputs, _of_inputs(derived, env, x_rows), strict=True):
                given[name] = value.to(x.dtype).contiguous()
        states = []
        for number, start in enumerate(starts):
            width = width_of(found.states[number])
            whole = x.new_zeros((time + 1) * every, width)
            whole[:every].view(members, rows, width)[:, :batch] = start.reshape(members, batch, width)
            given[f"state{number}"] = whole
            states.append(whole)
        if p.output is None:
            given["output"] = x.new_empty(layout.total, derived.hidden)
        with torch.inference_mode():
            blocks = layout.blocks(BLOCK_ROWS if members * rows < BLOCK_ROWS else max(BLOCK_ROWS, 4 * members * rows))
            strides = {name: given[name][0].numel() * x.element_size() for name in names}
            given["saved"] = x.new_empty(layout.total, p.saved)
            derived.run("forward", 0, time, layout, given, members, strides)
        out = given["output"] if p.output is None else states[p.output][every:]
        output = out.view(time, members, rows, derived.hidden)[:, :, :batch].permute(1, 2, 0, 3)
        if lengths is not None:
            padding = torch.arange(time) >= lengths[..., None]
            output = output.masked_fill(padding[..., None], 0.0)
        last = tuple(
            whole[time * every :].view(members, rows, -1)[:, :batch].clone().view(start.shape)
            for whole, start in zip(states, starts, strict=True)
        )
        if saving:
            keep = {*derived.kept_inputs, *names, "saved", *(f"state{number}" for number in range(count))}
            ctx.given = {name: value for name, value in given.items() if name in keep}
            ctx.derived, ctx.layout, ctx.blocks, ctx.strides = derived, layout, blocks, strides
            ctx.save_for_backward(*rest)
            ctx.x_rows = x_rows
        ctx.set_materialize_grads(False)
        return output, *last

    @staticmethod
    def backward(ctx: Any, direct: Tensor | None, *last: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("second derivatives of a fleet go through the loop: set model.cell.backend=reference")
        derived, layout, given = ctx.derived, ctx.layout, dict(ctx.given)
        rest = ctx.saved_tensors
        found, p = derived.trace, derived.plan
        count = len(found.states)
        x_rows = ctx.x_rows
        time, members, rows, features = x_rows.shape
        batch, every = layout.batch, rows * members
        wanted = ctx.needs_input_grad[2], *ctx.needs_input_grad[3 + count :]
        nodes, rows_for_after = derived.after(wanted)
        grad_x = None
        if wanted[0] and found.grad_x is not None:
            grad_x = x_rows.new_empty(time, members, rows, features)
        with torch.inference_mode():
            like = given["state0"]
            for number, grad in enumerate(last):
                width = width_of(found.states[number])
                given[f"carry{number}"] = carry = like.new_zeros(2, every, width)
                if grad is not None:
                    begin = carry[time % 2].view(members, rows, width)
                    begin[:, :batch] = grad.reshape(members, batch, width)
            tangent = like.new_zeros(time, members, rows, derived.hidden)
            if direct is not None:
                tangent[:, :, :batch] = direct.permute(2, 0, 1, 3)
            given["tangent"] = tangent
            env = _of_parameters(derived, rest[count:])
            sizes = {name: width_of(node) for name, node in p.edges.items()}
            most = max(int(layout.offsets[end] - layout.offsets[begin]) for begin, end in ctx.blocks)
            for name, width in sizes.items():
                given[name] = like.new_empty(most, width)
            given["of_block"] = set(sizes)
            grads = [node if want else None for node, want in zip(found.grad_tensors, wanted[1:], strict=True)]
            sums: dict[Node, Any] = dict.fromkeys(node for node in grads if node is not None)
            roots = [*sums, *([] if grad_x is None else [found.grad_x])]
            for begin, end in reversed(ctx.blocks):
                derived.run("backward", begin, end, layout, given, members, ctx.strides)
                steps = end - begin
                of_rows: dict[Node, Tensor] = {
                    node: given[name][: steps * every].view(steps, members, rows, -1) for name, node in p.edges.items()
                }
                for node in rows_for_after:
                    if node in found.states:
                        whole = given[f"state{found.states.index(node)}"]
                        of_rows[node] = whole[begin * every : end * every].view(steps, members, rows, -1)
                of_rows[found.x] = x_rows[begin:end]
                made = _of_rows(derived, env, of_rows, nodes, roots)
                for node, value in zip(roots, made, strict=True):
                    if node is found.grad_x:
                        grad_x[begin:end] = value.view(members, steps, rows, features).transpose(0, 1)  # type: ignore[index]
                    else:
                        sums[node] = value if sums[node] is None else sums[node].add_(value)
        starts = [
            given[f"carry{number}"][0].view(members, rows, -1)[:, :batch].clone().view(start.shape)
            for number, start in enumerate(rest[:count])
        ]
        of_tensors = [
            None if node is None else sums[node].clone().view(tensor.shape)
            for node, tensor in zip(grads, rest[count:], strict=True)
        ]
        of_x = None if grad_x is None else grad_x[:, :, :batch].permute(1, 2, 0, 3)
        return None, None, of_x, *starts, *of_tensors


def _of_parameters(derived: Derived, tensors: Sequence[Tensor]) -> dict[Node, Any]:
    """All values that are the same at each step, ``(members, …)``."""
    nodes = [node for node in derived.plan.before if node.op not in ("full", "constant")]
    single = [node for node in nodes if node.dtype is not None]

    def one(*tensors: Tensor) -> tuple[Tensor, ...]:
        env: dict[Node, Any] = dict(zip(derived.trace.tensors, tensors, strict=True))
        run_nodes(nodes, env, derived.trace.marker, 1)
        return tuple(env[node] for node in single)

    env: dict[Node, Any] = dict(zip(derived.trace.tensors, tensors, strict=True))
    made = vmap(one)(*tensors) if single else ()
    return env | dict(zip(single, made, strict=True))


def _handed(derived: Derived, env: dict[Node, Any]) -> list[Tensor]:
    """The parameters as the kernels read them, ``(members, …)``."""
    found = []
    members = len(env[derived.trace.tensors[0]])
    for node, change in derived.plan.parameters.values():
        if node.op == "constant":
            value = change(value_of(node, env)).expand(members, *change(node.value).shape)
        else:
            value = vmap(change)(env[node])
        found.append(value.contiguous())
    return found


def _of_inputs(derived: Derived, env: dict[Node, Any], x_rows: Tensor) -> tuple[Tensor, ...]:
    """What the kernels read of x, ``(time, members, rows, …)``, from x like that."""
    if not derived.plan.inputs:
        return ()
    names = list(env)
    time, _, rows, _ = x_rows.shape

    def one(x: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        own: dict[Node, Any] = dict(zip(names, values, strict=True))
        own[derived.trace.x] = x.reshape(time * rows, -1)
        run_nodes(derived.plan.of_inputs, own, derived.trace.marker, time * rows)
        return tuple(own[node].reshape(time, rows, *node.tail) for node in derived.plan.inputs.values())

    return vmap(one, in_dims=(1, *[0] * len(names)), out_dims=1)(x_rows, *env.values())


def _of_rows(
    derived: Derived, env: dict[Node, Any], of_rows: dict[Node, Tensor], nodes: list[Node], roots: list[Any]
) -> tuple[Tensor, ...]:
    """The gradients of a block of steps, ``(members, …)``."""
    names, given = list(env), list(of_rows)
    steps, _, rows, _ = of_rows[derived.trace.x].shape
    inputs = [node for node in derived.plan.of_inputs if node.kind == INPUT]

    def one(values: list[Tensor], of_steps: list[Tensor]) -> tuple[Tensor, ...]:
        own: dict[Node, Any] = dict(zip(names, values, strict=True))
        for node, value in zip(given, of_steps, strict=True):
            own[node] = value.reshape(steps * rows, *node.tail)
        if any(arg.kind == INPUT and arg.op != "input" for node in nodes for arg in node.inputs()):
            run_nodes(inputs, own, derived.trace.marker, steps * rows)
        run_nodes(nodes, own, derived.trace.marker, steps * rows)
        return tuple(own[root] for root in roots)

    if not roots:
        return ()
    return vmap(one, in_dims=(0, 1))(list(env.values()), list(of_rows.values()))
