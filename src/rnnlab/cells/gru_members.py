"""The GRU of :mod:`rnnlab.cells.gru_bptt` for all members of a stack: its arithmetic, a matrix product of each in one.

A step's tensors lie together in memory, those of a member's steps apart:
``(time, members, batch, …)`` is what the batched product writes fastest. What it
only reads may lie as ``(members, time, batch, …)``, which makes one product a
member of all the steps of a weight's gradient.
"""

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.bptt import refuse_twice, sigmoid_backward
from rnnlab.cells.members import member_blocks


def gru_members(x: Tensor, start: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
    """h ``(members, time, batch, hidden)`` of x ``(members, time, batch, features)``, a start ``(members, batch,
    hidden)`` and the weights of each member.
    """
    return _GRUMembers.apply(x.contiguous(), start, w_ih, w_hh, b_ih, b_hh, torch.is_grad_enabled())


class _GRUMembers(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, save: bool
    ) -> Tensor:
        members, time, batch, _ = x.shape
        hidden = start.shape[-1]
        gates = 2 * hidden
        scale = w_ih.new_ones(3 * hidden)
        scale[gates:] = 2
        ones = w_hh.sum(2)  # W h = 2 W g - W 1
        weight_x = (w_ih * scale[:, None]).transpose(1, 2)
        weight_g = (w_hh * (2 * scale)[:, None]).transpose(1, 2).contiguous()
        bias_x = b_ih * scale
        bias_x[:, :gates] += (b_hh - ones)[:, :gates]
        bias_g = 2 * (b_hh - ones)[:, gates:]

        a_all = x.new_empty(time, members, batch, 3 * hidden)
        s_all = x.new_empty(time, members, batch, hidden)
        g_all = x.new_empty(members, time + 1, batch, hidden)
        with torch.inference_mode():
            g = torch.add(start, 1, out=g_all[:, 0]).div_(2)
            for begin, end in member_blocks(time, members * batch * 3 * hidden * x.element_size()):
                flat = x[:, begin:end].reshape(members, (end - begin) * batch, -1)
                projected = torch.baddbmm(bias_x[:, None], flat, weight_x)
                projected = projected.view(members, end - begin, batch, 3 * hidden).transpose(0, 1)
                block = a_all[begin:end]
                block[..., :gates] = projected[..., :gates]
                block[..., gates:] = bias_g[:, None]
                p_block = projected[..., gates:].contiguous()
                for a, rz, r, z, hn, p, s, next_g in zip(
                    block.unbind(0), block[..., :gates].unbind(0), block[..., :hidden].unbind(0),
                    block[..., hidden:gates].unbind(0), block[..., gates:].unbind(0), p_block.unbind(0),
                    s_all[begin:end].unbind(0), g_all[:, begin + 1 : end + 1].unbind(1), strict=True,
                ):  # fmt: skip
                    a.baddbmm_(g, weight_g)
                    rz.sigmoid_()
                    torch.addcmul(p, r, hn, out=s).sigmoid_()
                    g = torch.lerp(s, g, z, out=next_g)
        if save:
            ctx.save_for_backward(x, w_ih, w_hh, a_all, s_all, g_all)
        return torch.sub(g_all[:, 1:], 0.5).mul_(2)

    @staticmethod
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        refuse_twice()
        x, w_ih, w_hh, a_all, s_all, g_all = ctx.saved_tensors
        members, time, batch, features = x.shape
        hidden = w_hh.shape[-1]
        gates = 2 * hidden
        # each D here is half of the true one
        weight, weight_of_x = 2 * w_hh, 2 * w_ih
        grad_ih, grad_hh = torch.zeros_like(w_ih), torch.zeros_like(w_hh)
        grad_b_ih, grad_b_hh = w_ih.new_zeros(members, 3 * hidden), w_ih.new_zeros(members, 3 * hidden)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        carry: Tensor | None = None
        blocks = member_blocks(time, members * batch * 3 * hidden * x.element_size())
        size = max(end - begin for begin, end in blocks)
        delta_room, open_room, factor_room = (x.new_empty(size, members, batch, hidden) for _ in range(3))
        with torch.inference_mode():
            for begin, end in reversed(blocks):
                steps = end - begin
                a_b, s_b, g_b = a_all[begin:end], s_all[begin:end], g_all[:, begin:end]
                z_b, r_b, hn_b = a_b[..., hidden:gates], a_b[..., :hidden], a_b[..., gates:]
                delta_b, open_b, factor = delta_room[:steps], open_room[:steps], factor_room[:steps]
                d_of_members = x.new_empty(members, steps, batch, 3 * hidden)
                d_b = d_of_members.transpose(0, 1)
                d_r, d_z, d_n = d_b.split(hidden, -1)
                # half the derivative of h_t by the pre-activations, as far as it is known before δ_t
                sigmoid_backward(torch.sub(1, z_b, out=factor).mul_(2), s_b, grad_input=open_b)
                torch.mul(open_b, r_b, out=d_n)
                sigmoid_backward(hn_b, r_b, grad_input=factor)
                torch.mul(factor.mul_(0.5), open_b, out=d_r)
                sigmoid_backward(torch.sub(g_b.transpose(0, 1), s_b, out=factor), z_b, grad_input=factor)
                d_z.copy_(factor)
                delta_b.copy_(direct[:, begin:end].transpose(0, 1))
                if carry is not None:
                    delta_b[-1].add_(carry)
                ordered = list(zip(
                    delta_b.unbind(0), delta_b[..., None, :].unbind(0), d_b.unflatten(-1, (3, hidden)).unbind(0),
                    d_b.unbind(0), z_b.unbind(0), strict=True,
                ))[::-1]  # fmt: skip
                _, wide, d, _, _ = ordered[0]
                d.mul_(wide)
                for (later, _, _, later_flat, kept), (delta, wide, d, _, _) in itertools.pairwise(ordered):
                    delta.addcmul_(later, kept).baddbmm_(later_flat, weight)
                    d.mul_(wide)
                first, _, _, d_flat, kept = ordered[-1]
                carry = torch.mul(first, kept).baddbmm_(d_flat, weight)
                flat = d_of_members.view(members, steps * batch, 3 * hidden)
                of_weight = flat.transpose(1, 2)
                grad_hh.baddbmm_(of_weight, g_b.reshape(members, steps * batch, hidden))
                grad_b_hh += flat.sum(1)
                # there is no reset gate on the way to the candidate's input
                torch.mul(open_b, delta_b, out=d_n)
                grad_ih.baddbmm_(of_weight, x[:, begin:end].reshape(members, steps * batch, features))
                grad_b_ih += flat.sum(1)
                if grad_x is not None:
                    grad_x[:, begin:end] = torch.bmm(flat, weight_of_x).view(members, steps, batch, features)
        assert carry is not None
        grad_hh = (2 * grad_hh - grad_b_hh[..., None]) * 2
        return grad_x, carry.clone(), 2 * grad_ih, grad_hh, 2 * grad_b_ih, 2 * grad_b_hh, None
