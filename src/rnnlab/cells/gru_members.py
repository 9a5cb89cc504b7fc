"""The GRU of :mod:`rnnlab.cells.gru_bptt` for all members of a stack: its arithmetic, a matrix product of each in one.

A step's tensors lie together in memory, those of a member's steps apart:
``(time, members, batch, …)`` is what the batched product writes fastest. What it
only reads may lie as ``(members, time, batch, …)``, which makes one product a
member of all the steps of a weight's gradient.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.bptt import refuse_twice, sigmoid_backward
from rnnlab.cells.members import Room, Rooms, member_blocks, project


def gru_members(x: Tensor, start: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
    """h ``(members, time, batch, hidden)`` of x ``(members, time, batch, features)``, a start ``(members, batch,
    hidden)`` and the weights of each member.
    """
    return _GRUMembers.apply(x.contiguous(), start, w_ih, w_hh, b_ih, b_hh, torch.is_grad_enabled())


class _Back(NamedTuple):
    """Of a step on the way back: δ_t, D_t whole and gate by gate, z_t."""

    delta: Tensor
    d: Tensor
    parts: tuple[Tensor, ...]
    z: Tensor


class _Room(Room):
    """What a layer needs of memory from a forward pass to its backward pass, with the views of every step."""

    def __init__(self, time: int, members: int, batch: int, hidden: int, like: Tensor) -> None:
        gates = 2 * hidden

        def steps(*shape: int) -> Tensor:
            return like.new_empty(shape)

        # pre-activations, then gates r, z and what the candidate gets of the state; candidate s; g before each step
        self.a = steps(time, members, batch, 3 * hidden)
        self.s = steps(time, members, batch, hidden)
        self.g = steps(members, time + 1, batch, hidden)
        self.bounds = member_blocks(time, members * batch * 3 * hidden * like.element_size())
        size = max(end - begin for begin, end in self.bounds)
        # of the block at work: the candidate's input; forth and back they are not needed at once
        scratch = steps(3, size, members, batch, hidden)
        self.p, self.delta, self.open = scratch[0], scratch[0], scratch[1]
        self.factor = scratch[2]
        self.d = steps(members, size, batch, 3 * hidden)
        self.bytes = sum(part.nbytes for part in (self.a, self.s, self.g, scratch, self.d))
        views = [
            self.a.unbind(0), self.a[..., :gates].unbind(0), self.a[..., :hidden].unbind(0),
            self.a[..., hidden:gates].unbind(0), self.a[..., gates:].unbind(0), self.s.unbind(0),
            self.g[:, 1:].unbind(1),
        ]  # fmt: skip
        self.forth = [
            list(zip(*(view[begin:end] for view in views), self.p.unbind(0), strict=False))
            for begin, end in self.bounds
        ]
        d = self.d.transpose(0, 1)
        deltas, ds, z = self.delta.unbind(0), d.unbind(0), self.a[..., hidden:gates].unbind(0)
        self.back = [
            [_Back(deltas[i], ds[i], ds[i].split(hidden, -1), z[begin + i]) for i in reversed(range(end - begin))]
            for begin, end in self.bounds
        ]


_rooms = Rooms(_Room)


class _GRUMembers(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, save: bool
    ) -> Tensor:
        members, time, batch, _ = x.shape
        hidden = start.shape[-1]
        gates = 2 * hidden
        output = x.new_empty(members, batch, time, hidden).transpose(1, 2)
        with torch.inference_mode():
            scale = w_ih.new_ones(3 * hidden)
            scale[gates:] = 2
            weight_x = (w_ih * scale[:, None]).transpose(1, 2).contiguous()
            weight_g = (w_hh * (2 * scale)[:, None]).transpose(1, 2).contiguous()
            bias_x = b_ih * scale
            bias_x[:, :gates] += b_hh[:, :gates]
            bias_g = 2 * b_hh[:, gates:]
            half = x.new_full((), 0.5)
            room = _rooms.take(x, time, members, batch, hidden)
            g = torch.div(start, 2, out=room.g[:, 0])
            for (begin, end), steps in zip(room.bounds, room.forth, strict=True):
                x_block, block = x[:, begin:end].transpose(0, 1), room.a[begin:end]
                project(x_block, weight_x[..., :gates], bias_x[:, :gates], block[..., :gates])
                project(x_block, weight_x[..., gates:], bias_x[:, gates:], room.p[: end - begin])
                block[..., gates:] = bias_g[:, None]
                for a, rz, r, z, hn, s, next_g, p in steps:
                    a.baddbmm_(g, weight_g)
                    rz.sigmoid_()
                    torch.addcmul(p, r, hn, out=s).sigmoid_().sub_(half)
                    g = torch.lerp(s, g, z, out=next_g)
                torch.mul(room.g[:, begin + 1 : end + 1], 2, out=output[:, begin:end])
        if save:
            ctx.save_for_backward(x, w_ih, w_hh)
            ctx.room = room
        else:
            _rooms.give_back(room)
        return output

    @staticmethod
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        refuse_twice(direct)
        x, w_ih, w_hh = ctx.saved_tensors
        room = _rooms.last(ctx)
        members, time, batch, features = x.shape
        hidden = w_hh.shape[-1]
        grad_ih = w_ih.new_zeros(members, features, 3 * hidden)  # transposed: of a single feature ten times as fast
        grad_hh = torch.zeros_like(w_hh)
        grad_b_ih, grad_b_hh = w_ih.new_zeros(members, 3 * hidden), w_ih.new_zeros(members, 3 * hidden)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        carry = x.new_empty(members, batch, hidden)
        with torch.inference_mode():
            # each D here is half of the true one
            weight, weight_of_x = 2 * w_hh, 2 * w_ih
            quarter = x.new_full((), 0.25)
            for number in reversed(range(len(room.bounds))):
                begin, end = room.bounds[number]
                steps = end - begin
                a_b, s_b, g_b = room.a[begin:end], room.s[begin:end], room.g[:, begin:end]
                r_b, z_b, hn_b = a_b.split(hidden, -1)
                delta_b, open_b, factor = room.delta[:steps], room.open[:steps], room.factor[:steps]
                of_members = room.d[:, :steps]
                d_r, d_z, d_n = of_members.transpose(0, 1).split(hidden, -1)
                # half the derivative of h_t by the pre-activations, as far as it is known before δ_t
                torch.addcmul(quarter, s_b, s_b, value=-1, out=open_b)
                open_b.mul_(torch.sub(2, z_b, alpha=2, out=factor))
                torch.mul(open_b, r_b, out=d_n)
                sigmoid_backward(hn_b, r_b, grad_input=factor)
                torch.mul(factor.mul_(0.5), open_b, out=d_r)
                sigmoid_backward(torch.sub(g_b.transpose(0, 1), s_b, out=factor), z_b, grad_input=d_z)
                delta_b.copy_(direct[:, begin:end].transpose(0, 1))
                if end < time:
                    delta_b[-1].add_(carry)
                last, *others = room.back[number]
                for part in last.parts:
                    part.mul_(last.delta)
                later = last
                for step in others:
                    step.delta.addcmul_(later.delta, later.z).baddbmm_(later.d, weight)
                    for part in step.parts:
                        part.mul_(step.delta)
                    later = step
                torch.mul(later.delta, later.z, out=carry).baddbmm_(later.d, weight)
                flat = of_members.flatten(1, 2)
                grad_hh.baddbmm_(flat.transpose(1, 2), g_b.flatten(1, 2))
                grad_b_hh += flat.sum(1)
                # there is no reset gate on the way to the candidate's input
                torch.mul(open_b, delta_b, out=d_n)
                grad_ih.baddbmm_(x[:, begin:end].flatten(1, 2).transpose(1, 2), flat)
                grad_b_ih += flat.sum(1)
                if grad_x is not None:
                    grad_x[:, begin:end] = torch.bmm(flat, weight_of_x).view(members, steps, batch, features)
            _rooms.give_back(room)
            grad_hh.mul_(4)  # h = 2 g
            for grad in (grad_ih, grad_b_ih, grad_b_hh):
                grad.mul_(2)
        return grad_x, carry, grad_ih.transpose(1, 2), grad_hh, grad_b_ih, grad_b_hh, None
