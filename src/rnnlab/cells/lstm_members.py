"""The LSTM of :mod:`rnnlab.cells.lstm` for all members of a stack, forward and backward by hand.

With tanh a = 2σ(2a) - 1 everything is a sigmoid, and the factors of 2 are moved
into the weights: kept are C = 2c, s = tanh(a_g)/2, u = tanh(c)/2 and y = h/2,

    C_t = f_t ⊙ C_{t-1} + 4 i_t ⊙ s_t,    u_t = σ(C_t) - ½,    y_t = o_t ⊙ u_t

Backward, with δ_t = ∂L/∂h_t and γ_t = ∂L/∂c_t along every path and D_t the
gradient of the four pre-activations, whose factors but for δ_t and γ_t are
known for a whole block:

    δ_t = ∂L/∂h_t|direct + D_{t+1} W_hh,    γ_t = γ_{t+1} ⊙ f_{t+1} + δ_t ⊙ o_t ⊙ (1 - tanh² c_t)

The tensors are laid out as in :mod:`rnnlab.cells.gru_members`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.bptt import refuse_twice, sigmoid_backward
from rnnlab.cells.members import member_blocks, project


def lstm_members(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> tuple[Tensor, Tensor]:
    """h ``(members, time, batch, hidden)`` and the last c ``(members, batch, hidden)``.

    Args:
        x: ``(members, time, batch, features)``.
        h: ``(members, batch, hidden)`` before the first step.
        c: likewise.
        w_ih: of each member, as are the other weights.
        w_hh: see there.
        b_ih: see there.
        b_hh: see there.
    """
    return _LSTMMembers.apply(x.contiguous(), h, c, w_ih, w_hh, b_ih + b_hh, torch.is_grad_enabled())


class _LSTMMembers(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, save: bool
    ) -> tuple[Tensor, Tensor]:
        members, time, batch, _ = x.shape
        hidden = h.shape[-1]
        candidate = slice(2 * hidden, 3 * hidden)
        scale = w_ih.new_ones(4 * hidden)
        scale[candidate] = 2
        weight_x = (w_ih * scale[:, None]).transpose(1, 2)
        weight_y = (w_hh * (2 * scale)[:, None]).transpose(1, 2).contiguous()
        bias = bias * scale
        a_all = x.new_empty(time, members, batch, 4 * hidden)  # i, f, s, o
        u_all = x.new_empty(time, members, batch, hidden)
        c_all = x.new_empty(time + 1, members, batch, hidden)
        y_all = x.new_empty(members, time + 1, batch, hidden)
        with torch.inference_mode():
            y = torch.mul(h, 0.5, out=y_all[:, 0])
            c_before = torch.mul(c, 2, out=c_all[0])
            for begin, end in member_blocks(time, members * batch * 4 * hidden * x.element_size()):
                block = a_all[begin:end]
                project(x[:, begin:end].transpose(0, 1), weight_x, bias, block)
                for a, i, f, s, o, u, c_t, next_y in zip(
                    block.unbind(0), *(gate.unbind(0) for gate in block.split(hidden, -1)), u_all[begin:end].unbind(0),
                    c_all[begin + 1 : end + 1].unbind(0), y_all[:, begin + 1 : end + 1].unbind(1), strict=True,
                ):  # fmt: skip
                    a.baddbmm_(y, weight_y)
                    a.sigmoid_()
                    s.sub_(0.5)
                    c_before = torch.mul(f, c_before, out=c_t).addcmul_(i, s, value=4)
                    torch.sigmoid(c_before, out=u).sub_(0.5)
                    y = torch.mul(o, u, out=next_y)
        if save:
            ctx.save_for_backward(x, w_ih, w_hh, a_all, u_all, c_all, y_all)
        return 2 * y_all[:, 1:], c_before / 2

    @staticmethod
    def backward(ctx: Any, direct: Tensor, direct_c: Tensor) -> tuple[Tensor | None, ...]:
        refuse_twice(direct, direct_c)
        x, w_ih, w_hh, a_all, u_all, c_all, y_all = ctx.saved_tensors
        members, time, batch, features = x.shape
        hidden = w_hh.shape[-1]
        grad_ih = w_ih.new_zeros(members, features, 4 * hidden)  # transposed: of a single feature ten times as fast
        grad_hh, grad_bias = torch.zeros_like(w_hh), w_ih.new_zeros(members, 4 * hidden)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        carry: Tensor | None = None
        gamma_kept = direct_c
        with torch.inference_mode():
            for begin, end in reversed(member_blocks(time, members * batch * 4 * hidden * x.element_size())):
                steps = end - begin
                i_b, f_b, s_b, o_b = a_all[begin:end].split(hidden, -1)
                u_b, c_before_b, y_b = u_all[begin:end], c_all[begin:end], y_all[:, begin:end]
                d_of_members = x.new_empty(members, steps, batch, 4 * hidden)
                d_b = d_of_members.transpose(0, 1)
                d_i, d_f, d_g, d_o = d_b.split(hidden, -1)
                d_i.copy_(sigmoid_backward(2 * s_b, i_b, grad_input=torch.empty_like(u_b)))
                d_f.copy_(sigmoid_backward(c_before_b / 2, f_b, grad_input=torch.empty_like(u_b)))
                torch.mul(torch.mul(s_b, s_b).mul_(-4).add_(1), i_b, out=d_g)
                d_o.copy_(sigmoid_backward(2 * u_b, o_b, grad_input=torch.empty_like(u_b)))
                into_c = torch.mul(u_b, u_b).mul_(-4).add_(1).mul_(o_b)
                delta_b = direct[:, begin:end].transpose(0, 1).contiguous()
                if carry is not None:
                    delta_b[-1].add_(carry)
                later: Tensor | None = None
                for d, delta, wide_d, last_d, into, f in zip(
                    d_b.unbind(0)[::-1], delta_b.unbind(0)[::-1],
                    d_b[..., : 3 * hidden].unflatten(-1, (3, hidden)).unbind(0)[::-1], d_o.unbind(0)[::-1],
                    into_c.unbind(0)[::-1], f_b.unbind(0)[::-1], strict=True,
                ):  # fmt: skip
                    if later is not None:
                        delta.baddbmm_(later, w_hh)
                    gamma = torch.addcmul(gamma_kept, delta, into)
                    wide_d.mul_(gamma[..., None, :])
                    last_d.mul_(delta)
                    gamma_kept = gamma.mul_(f)
                    later = d
                assert later is not None
                carry = torch.bmm(later, w_hh)
                flat = d_of_members.view(members, steps * batch, 4 * hidden)
                grad_hh.baddbmm_(flat.transpose(1, 2), y_b.reshape(members, steps * batch, hidden), alpha=2)
                grad_ih.baddbmm_(x[:, begin:end].flatten(1, 2).transpose(1, 2), flat)
                grad_bias += flat.sum(1)
                if grad_x is not None:
                    grad_x[:, begin:end] = torch.bmm(flat, w_ih).view(members, steps, batch, features)
        assert carry is not None
        return grad_x, carry.clone(), gamma_kept.clone(), grad_ih.transpose(1, 2), grad_hh, grad_bias, None
