"""The two passes of a derived layer over a batch, and the function of autograd that they make."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.kernels.layout import (
    GROUP,
    Layout,
    at_step,
    by_sequence,
    dense,
    last_states,
    of_members,
    rows_of,
    varying,
    with_zero_row,
)
from rnnlab.kernels.loop import is_batched, through_the_loop
from rnnlab.kernels.memory import apart, own_tensor
from rnnlab.kernels.nodes import Node
from rnnlab.kernels.origins import width_of
from rnnlab.kernels.program import draw

if TYPE_CHECKING:
    from rnnlab.kernels.layer import Derived


@dataclass(eq=False)
class There:
    """What the way there leaves for the way back.

    Attributes:
        layout: of the batch.
        blocks: of its steps.
        given: buffers by their names.
        env: values that are the same at each step.
        of_rows: values at all steps that depend on the input alone.
    """

    layout: Layout
    blocks: list[tuple[int, int, Tensor | None]]
    given: dict[str, Tensor]
    env: dict[Node, Any]
    of_rows: dict[Node, Tensor]


def go_forward(
    derived: "Derived", layout: Layout, x: Tensor, rest: Sequence[Tensor], draws: dict[Node, Tensor], block_rows: int,
    stacked: bool, saving: bool,
) -> tuple[Tensor, list[Tensor], There | None]:  # fmt: skip
    """The output, the parts of the last state and, where a gradient is wanted, what the way back needs.

    Args:
        derived: the layer.
        layout: of the batch.
        x: ``(…, batch, time, features)``.
        rest: the parts of the state before the first step, and the cell's tensors.
        draws: the random numbers of all steps.
        block_rows: rows of a block of steps.
        stacked: whether all have an axis of members in front.
        saving: whether a gradient is wanted.
    """
    found, p, count = derived.trace, derived.plan, len(derived.widths)
    members, lanes, starts = layout.members, layout.lanes, rest[:count]
    of_cell, given = derived.of_parameters(rest[count:], stacked)
    env = dict(of_cell)
    env[found.x] = rows_of(x, layout, stacked)
    for node, drawn in draws.items():
        env[node] = rows_of(drawn.transpose(0, 1).flatten(2), layout, stacked).view(-1, *node.tail)
    made = derived.on_rows(derived.of_inputs, env, layout.rows, stacked)
    of_inputs = dict(zip(derived.of_inputs.results, made, strict=True))
    for name, node in p.inputs.items():
        value = of_inputs[node]
        given[name] = (value if value.dtype == x.dtype else value.to(x.dtype)).contiguous()
    states = []
    for number, (start, width) in enumerate(zip(starts, derived.widths, strict=True)):
        whole = x.new_empty(layout.total + members * lanes + 1, width)
        flat = start if start.dim() == 2 else start.reshape(-1, width)
        if layout.first is not None:
            given[f"start{number}"] = flat = with_zero_row(flat)
            flat = flat.index_select(0, layout.first)
        at_step(whole, layout, 0).copy_(flat if members == 1 else flat.view(members, lanes, width))
        given[f"state{number}"] = whole
        states.append(whole)
    if p.output is None:
        given["output"] = x.new_empty(layout.total + 1, derived.hidden)
    blocks = layout.blocks(block_rows)
    if saving:
        if p.saved:
            given["saved"] = x.new_empty(layout.total, p.saved)
        derived.run("forward", 0, layout.steps, layout, given)
    else:
        # nobody reads what is kept: one block's memory will do
        given["saved"] = x.new_empty(members * blocks[0][1] * lanes, p.saved)
        for begin, end, _ in blocks:
            derived.run("forward", begin, end, layout, given, ("saved",))
    rows_out = given["output"] if p.output is None else states[p.output]
    # whoever changes a result in place would be refused, were it a view
    output = own_tensor(by_sequence(rows_out, layout, (*x.shape[:-1], derived.hidden), p.output is not None))
    last = [last_states(whole, layout, start, stacked) for whole, start in zip(states, starts, strict=True)]
    if not saving:
        return output, last, None
    if layout.unset is not None:
        for node, whole in zip(found.states, states, strict=True):
            if node in p.rows_for_after:
                whole.index_fill_(0, layout.unset, 0)
    of_rows = {node: of_inputs[node] for node in derived.read_after} | {found.x: env[found.x]}
    kept = {name: given[name] for name in derived.kept}
    return output, last, There(layout, blocks, kept, of_cell, of_rows)


def go_back(
    derived: "Derived", there: There, x: Tensor, rest: Sequence[Tensor], direct: Tensor | None,
    last: Sequence[Tensor | None], wanted: Sequence[bool], stacked: bool,
) -> list[Tensor | None]:  # fmt: skip
    """Gradients of x, the parts of the first state and the cell's tensors.

    Args:
        derived: the layer.
        there: what the way there left.
        x: ``(…, batch, time, features)``.
        rest: as :func:`go_forward` has it.
        direct: gradient of the output.
        last: gradients of the parts of the last state.
        wanted: which ones are.
        stacked: whether all have an axis of members in front.
    """
    found, p, layout, count = derived.trace, derived.plan, there.layout, len(derived.widths)
    members, lanes = layout.members, layout.lanes
    given, env = dict(there.given), dict(there.env)
    after = derived.after((wanted[0], *wanted[1 + count :]))
    # one piece of memory for all that begins at zero
    sizes = [members * 2 * lanes * width for width in derived.widths]
    sizes.append(members * lanes // GROUP * p.backward.sizes["total"])
    *carries, total = x.new_zeros(sum(sizes)).split_with_sizes(sizes)
    for number, (carry, grad, width) in enumerate(zip(carries, last, derived.widths, strict=True)):
        given[f"carry{number}"] = carry
        if layout.final is None:
            if grad is not None:
                carry.view(members, 2, lanes, width)[:, layout.steps % 2] = grad.reshape(members, lanes, width)
            continue
        ended, begun = x.new_zeros(2, members * layout.batch + 1, width)
        if grad is not None:
            ended[:-1] = begun[:-1] = grad.reshape(-1, width)
            entering = ended.index_select(0, layout.final)
            carry.view(members, 2, lanes, width)[:] = entering.view(members, 1, lanes, width)
        given[f"ended{number}"], given[f"begun{number}"] = ended, begun
    # that of a sum holds one number for all rows
    given["tangent"] = (
        x.new_zeros(layout.total, derived.hidden) if direct is None else rows_of(direct, layout).contiguous()
    )
    most = members * there.blocks[0][1] * lanes
    for name, width in derived.edges.items():
        given[name] = x.new_empty(most, width)
    given["total"] = total
    kernel = "backward"
    if layout.idle is not None and p.totals:
        kernel, given["held"] = "masked", layout.held(x.dtype)
    grad_rows = x.new_empty(layout.total + 1, x.shape[-1]) if after.of_x else None
    sums: list[Tensor] = []
    for begin, end, idle in reversed(there.blocks):
        if sums:
            total.zero_()
        derived.run(kernel, begin, end, layout, given, p.edges)
        low, high = begin * lanes, end * lanes
        rows = (members, high - low) if stacked else (high - low,)
        for name, node in p.edges.items():
            edge = given[name]
            if members * (high - low) < most:
                edge = edge[: members * (high - low)]
            if idle is not None:
                edge.index_fill_(0, idle, 0)
            if stacked or len(node.shape) != 2:
                edge = edge.view(*rows, *node.tail)
            env[node] = edge
        if p.totals:
            whole = total.view(members, lanes // GROUP, -1).sum(1) if stacked else total.view(lanes // GROUP, -1).sum(0)
            for node, place in p.totals.items():
                width = width_of(node.args[0])
                part = whole if width == whole.shape[-1] else whole.narrow(-1, place, width)
                shape = (members, *node.shape) if stacked else node.shape
                env[node] = part if part.shape == shape else part.reshape(shape)
        for node in p.rows_for_after:
            if node in found.states:
                whole = given[f"state{found.states.index(node)}"]
                some = (of_members(whole, layout) if stacked else whole).narrow(-2, low, high - low)
                env[node] = some if len(node.shape) == 2 else some.unflatten(-1, node.tail)
            elif len(there.blocks) == 1:
                env[node] = there.of_rows[node]
            else:
                env[node] = there.of_rows[node].narrow(1 if stacked else 0, low, high - low)
        made = derived.on_rows(after.program, env, high - low, stacked)
        if grad_rows is not None:
            grad_rows[:-1].view(members, layout.rows, -1)[:, low:high] = made[0]
            made = made[1:]
        # not in place: one may be a view of another
        sums = [torch.add(total, part) for total, part in zip(sums, made, strict=True)] if sums else list(made)
    grad_x = None if grad_rows is None else by_sequence(grad_rows, layout, x.shape)
    starts: list[Tensor | None] = []
    for number, (start, carry, width) in enumerate(zip(rest[:count], carries, derived.widths, strict=True)):
        if not wanted[1 + number]:
            starts.append(None)
            continue
        first = carry.view(members, 2, lanes, width)[:, 0].reshape(members * lanes, width)
        if layout.first is not None:
            first = given[f"begun{number}"].index_copy_(0, layout.first, first)[:-1]
        starts.append(first.view(start.shape))
    by_node = dict(zip(after.sums, sums, strict=True))
    grads = [None if node is None else by_node[node] for node in after.grads]
    return [grad_x, *starts, *apart(grads, rest[count:])]


class Layer(Function):
    """x ``(batch, time, features)``, the parts of the state and the cell's tensors to the output ``(batch, time,
    hidden)`` and the parts of the last state; all with an axis of members before, where they are stacked.
    """

    @staticmethod
    def forward(
        ctx: Any, derived: "Derived", cell: Any, lengths: Tensor | None, block_rows: int, stacked: bool, saving: bool,
        x: Tensor, *rest: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        saving = saving and any(ctx.needs_input_grad)  # which is said of tensors under no_grad, too
        ctx.set_materialize_grads(False)
        ctx.derived, ctx.cell, ctx.stacked, ctx.there, ctx.shown = derived, cell, stacked, None, None
        draws = draw(derived.random, derived.trace.marker, len(x), x.shape[1]) if derived.random else {}
        members, batch = (len(x), x.shape[1]) if stacked else (1, len(x))
        layout = None
        if x.numel():
            layout = dense(batch, x.shape[-2], members) if lengths is None else varying(lengths, x.shape[-2])
        ctx.save_for_backward(x, lengths, *rest)
        if layout is None:  # no sequence has a step
            starts = rest[: len(derived.widths)]
            return x.new_zeros(*x.shape[:-1], derived.hidden), *(start.clone() for start in starts)
        output, last, ctx.there = go_forward(derived, layout, x, rest, draws, block_rows, stacked, saving)
        if ctx.there is not None and derived.plan.output is not None and layout.state_of is None:
            ctx.shown, ctx.again = output.detach(), (output._version, draws, block_rows)
        return output, *last

    @staticmethod
    def backward(ctx: Any, direct: Tensor | None, *last: Tensor | None) -> tuple[Tensor | None, ...]:
        x, lengths, *rest = ctx.saved_tensors
        if torch.is_autocast_enabled(x.device.type):  # the pass there ran outside
            with torch.autocast(x.device.type, enabled=False):
                return Layer.backward(ctx, direct, *last)
        derived, there, stacked = ctx.derived, ctx.there, ctx.stacked
        if there is None:
            return *[None] * 7, *last, *([None] * (len(rest) - len(last)))
        if torch.is_grad_enabled() or any(map(is_batched, (direct, *last))):
            return *[None] * 6, *through_the_loop(ctx, x, lengths, rest, direct, last)
        if ctx.shown is not None and ctx.shown._version != ctx.again[0]:
            # somebody has changed the output in place, and with it the states, which lie in the same memory
            _, draws, block_rows = ctx.again
            there = go_forward(derived, there.layout, x, rest, draws, block_rows, stacked, True)[2]
        wanted = ctx.needs_input_grad[6:]
        return *[None] * 6, *go_back(derived, there, x, rest, direct, last, wanted, stacked)
