"""The simple recurrent layer of :mod:`rnnlab.cells.rnn_bptt` for all members of a stack: its arithmetic, the tensors
laid out as in :mod:`rnnlab.cells.gru_members`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.bptt import refuse_twice
from rnnlab.cells.members import member_blocks, project


def rnn_members(nonlinearity: str, x: Tensor, start: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor) -> Tensor:
    """h ``(members, time, batch, hidden)`` of x ``(members, time, batch, features)``, a start ``(members, batch,
    hidden)`` and each member's weights, ``w_hh`` of a matrix or, unit by unit, of a vector a member.
    """
    return _RNNMembers.apply(x.contiguous(), start, w_ih, w_hh, bias, nonlinearity, torch.is_grad_enabled())


class _RNNMembers(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, nonlinearity: str, save: bool
    ) -> Tensor:
        members, time, batch, _ = x.shape
        hidden, tanh, single = start.shape[-1], nonlinearity == "tanh", w_hh.dim() == 2
        turned = w_hh[:, None] if single else w_hh.transpose(1, 2)
        if tanh:  # W h = 2 W g
            weight_x, weight_g = 2 * w_ih.transpose(1, 2), (4 * turned).contiguous()
            bias = 2 * bias
        else:
            weight_x, weight_g = w_ih.transpose(1, 2), turned.contiguous()
        # tanh keeps g = h/2; the step before the first stands in front
        g_all = x.new_empty(time + 1, members, batch, hidden)
        with torch.inference_mode():
            half = x.new_full((), 0.5)
            g = g_all[0].copy_(start / 2 if tanh else start)
            for begin, end in member_blocks(time, members * batch * hidden * x.element_size()):
                block = g_all[begin + 1 : end + 1]
                project(x[:, begin:end].transpose(0, 1), weight_x, bias, block)
                for next_g in block.unbind(0):
                    if single:
                        next_g.addcmul_(g, weight_g)
                    else:
                        next_g.baddbmm_(g, weight_g)
                    g = next_g.sigmoid_().sub_(half) if tanh else next_g.relu_()
        h_all = torch.mul(g_all, 2) if tanh else g_all
        if save:
            ctx.save_for_backward(x, w_ih, w_hh, h_all)
        ctx.tanh = tanh
        return h_all[1:].transpose(0, 1).contiguous()

    @staticmethod
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        refuse_twice(direct)
        x, w_ih, w_hh, h_all = ctx.saved_tensors
        members, time, batch, features = x.shape
        hidden, single = h_all.shape[-1], w_hh.dim() == 2
        wide = w_hh[:, None]
        grad_ih = w_ih.new_zeros(members, features, hidden)  # transposed: of a single feature ten times as fast
        grad_hh, grad_bias = torch.zeros_like(w_hh), w_ih.new_zeros(members, hidden)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        carry: Tensor | None = None
        with torch.inference_mode():
            for begin, end in reversed(member_blocks(time, members * batch * hidden * x.element_size())):
                steps = end - begin
                before_b, h_b = h_all[begin:end], h_all[begin + 1 : end + 1]
                d_of_members = x.new_empty(members, steps, batch, hidden)
                d_b = d_of_members.transpose(0, 1)
                if ctx.tanh:
                    torch.sub(1, torch.mul(h_b, h_b), out=d_b)
                else:
                    d_b.copy_(h_b > 0)
                delta_b = direct[:, begin:end].transpose(0, 1).contiguous()
                if carry is not None:
                    delta_b[-1].add_(carry)
                later: Tensor | None = None
                for d, delta in zip(d_b.unbind(0)[::-1], delta_b.unbind(0)[::-1], strict=True):
                    if later is not None:
                        if single:
                            delta.addcmul_(later, wide)
                        else:
                            delta.baddbmm_(later, w_hh)
                    later = d.mul_(delta)
                assert later is not None
                carry = torch.mul(later, wide) if single else torch.bmm(later, w_hh)
                flat = d_of_members.view(members, steps * batch, hidden)
                before = before_b.transpose(0, 1).reshape(members, steps * batch, hidden)
                if single:
                    grad_hh += torch.mul(flat, before).sum(1)
                else:
                    grad_hh.baddbmm_(flat.transpose(1, 2), before)
                grad_ih.baddbmm_(x[:, begin:end].flatten(1, 2).transpose(1, 2), flat)
                grad_bias += flat.sum(1)
                if grad_x is not None:
                    grad_x[:, begin:end] = torch.bmm(flat, w_ih).view(members, steps, batch, features)
        assert carry is not None
        return grad_x, carry.clone(), grad_ih.transpose(1, 2), grad_hh, grad_bias, None, None
