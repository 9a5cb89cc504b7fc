"""A simple recurrent layer's forward and backward pass by hand: :mod:`rnnlab.cells.rnn` and :mod:`rnnlab.cells.indrnn`.

    h_t = φ(W_ih x_t + b + W_hh h_{t-1})    or, unit by unit,    φ(W_ih x_t + b + w_hh ⊙ h_{t-1})

With tanh a = 2σ(2a) - 1 a tanh becomes a sigmoid, which is several times as
fast: the state is then kept as g = (h + 1)/2, and the factors of 2 are moved
into the weights. With D_t = ∂L/∂a_t, the gradient of the pre-activation:

    δ_t = ∂L/∂h_t|direct + W_hhᵀ D_{t+1},    D_t = φ'(a_t) ⊙ δ_t

where φ' is known for a whole block before, so that a step is two operations both ways.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.bptt import Block, Scratch, refuse_twice, split


class RNNLayer(Function):
    """``(rows, features)``, ``(batch, hidden)``, the weights and the blocks to h ``(rows, hidden)``.

    ``w_hh`` is ``(hidden, hidden)`` or, unit by unit, ``(hidden,)``.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor,
        nonlinearity: str, blocks: list[Block], save: bool,
    ) -> Tensor:  # fmt: skip
        """``save`` what the backward pass needs."""
        hidden, tanh, single = start.shape[1], nonlinearity == "tanh", w_hh.dim() == 1
        if tanh:  # W h = 2 W g - W 1
            weight_x, weight_g = 2 * w_ih.t(), (4 * w_hh.t()).contiguous()
            bias = 2 * (bias - (w_hh if single else w_hh.sum(1)))
            g = (start + 1) / 2
        else:
            weight_x, weight_g, g = w_ih.t(), w_hh.t().contiguous(), start
        scratch = Scratch(x, blocks, hidden)
        output = x.new_empty(len(x), hidden)
        before = x.new_empty(len(x) if save else 0, hidden)
        before_blocks = split(before, blocks) if save else []
        width = 0
        states: tuple[Tensor, ...] = ()
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            for number, (x_b, h_b) in enumerate(zip(split(x, blocks), split(output, blocks), strict=True)):
                steps, rows = blocks[number]
                g = g[:rows].clone()
                if rows != width:
                    width, (g_all,) = rows, scratch.views(rows)
                    states = g_all.unbind(0)
                # the projection stands where the state will
                torch.addmm(
                    bias, x_b.view(steps * rows, -1), weight_x, out=g_all[1 : steps + 1].view(steps * rows, hidden)
                )
                g = states[0].copy_(g)
                for next_g in states[1 : steps + 1]:
                    if single:
                        next_g.addcmul_(g, weight_g)
                    else:
                        next_g.addmm_(g, weight_g)
                    g = next_g.sigmoid_() if tanh else next_g.relu_()
                if tanh:
                    torch.sub(g_all[1 : steps + 1], 0.5, out=h_b).mul_(2)
                else:
                    h_b.copy_(g_all[1 : steps + 1])
                if save:
                    target = before_blocks[number]
                    target.copy_(g_all[:steps])
                    if tanh:
                        target.sub_(0.5).mul_(2)
        ctx.save_for_backward(x, w_ih, w_hh, before, output)
        ctx.blocks, ctx.tanh = blocks, tanh
        return output

    @staticmethod
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        refuse_twice()
        x, w_ih, w_hh, before, output = ctx.saved_tensors
        blocks, hidden, single = ctx.blocks, output.shape[1], w_hh.dim() == 1
        grad_ih, grad_hh, grad_bias = torch.zeros_like(w_ih), torch.zeros_like(w_hh), w_ih.new_zeros(hidden)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        scratch = Scratch(x, blocks, hidden, hidden)
        carry, width, steps_of_width = x.new_empty(0, hidden), 0, []
        each = [split(part, blocks) for part in (x, before, output, direct.contiguous())]
        grad_x_blocks = [None] * len(blocks) if grad_x is None else split(grad_x, blocks)
        with torch.inference_mode():
            for number in reversed(range(len(blocks))):
                (steps, rows), (x_b, before_b, h_b, direct_b) = blocks[number], (part[number] for part in each)
                grad_x_b = grad_x_blocks[number]
                if rows != width:
                    width, (d_all, delta_all) = rows, scratch.views(rows)
                    steps_of_width = list(zip(d_all.unbind(0), delta_all.unbind(0), strict=True))
                d_b, delta_b = d_all[:steps], delta_all[:steps]
                if ctx.tanh:
                    torch.mul(h_b, h_b, out=d_b)
                    torch.sub(1, d_b, out=d_b)
                else:
                    torch.gt(h_b, 0, out=d_b)
                delta_b.copy_(direct_b)
                delta_b[-1, : len(carry)].add_(carry)
                later: Tensor | None = None
                for d, delta in steps_of_width[steps - 1 :: -1]:
                    if later is not None:
                        if single:
                            delta.addcmul_(later, w_hh)
                        else:
                            delta.addmm_(later, w_hh)
                    later = d.mul_(delta)
                assert later is not None
                carry = torch.mul(later, w_hh) if single else torch.mm(later, w_hh)
                flat, x_flat = d_b.view(steps * rows, hidden), x_b.view(steps * rows, -1)
                if single:
                    grad_hh += torch.mul(d_b, before_b, out=delta_b).sum((0, 1))
                else:
                    grad_hh.addmm_(flat.t(), before_b.view(steps * rows, hidden))
                grad_ih.addmm_(flat.t(), x_flat)
                grad_bias += flat.sum(0)
                if grad_x_b is not None:
                    torch.mm(flat, w_ih, out=grad_x_b.view(steps * rows, -1))
        return grad_x, carry.clone(), grad_ih, grad_hh, grad_bias, None, None, None
