"""A GRU layer's forward and backward pass by hand; the equations are in :mod:`rnnlab.cells.gru`.

With tanh a = 2σ(2a) - 1 everything is a sigmoid, which is several times as
fast as tanh: the state is kept as g = (h + 1)/2 and the candidate as
s = (n + 1)/2, and the factors of 2 are moved into the weights:

    s_t = σ(2 (W_in x_t + b_in) + r_t ⊙ 2 (W_hn h_{t-1} + b_hn)),    g_t = s_t + z_t ⊙ (g_{t-1} - s_t)

Backward, with δ_t = ∂L/∂h_t along every path and D_t the gradient of the three
recurrent pre-activations, whose factors but for δ_t are known for a whole block:

    δ_t = ∂L/∂h_t|direct + z_{t+1} ⊙ δ_{t+1} + D_{t+1} W_hh
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.bptt import Block, Rows, largest, split, twice

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
"""Of ``(gradient, σ)``: gradient ⊙ σ ⊙ (1 - σ)."""


class GRULayer(Function):
    """``(rows, features)``, ``(batch, hidden)``, the weights and the blocks to h ``(rows, hidden)``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, blocks: list[Block]
    ) -> Tensor:
        hidden = start.shape[1]
        gates = 2 * hidden
        scale = w_ih.new_ones(3 * hidden)
        scale[gates:] = 2
        # W h = 2 W g - W 1
        ones = w_hh.sum(1)
        weight_x = (w_ih * scale[:, None]).t().contiguous()
        weight_g = (w_hh * (2 * scale)[:, None]).t().contiguous()
        bias_x = b_ih * scale
        bias_x[:gates] += (b_hh - ones)[:gates]
        # a whole matrix, since adding a row to each step's product costs an expansion
        bias_g = x.new_zeros(blocks[0].rows, 3 * hidden)
        bias_g[:, gates:] = 2 * (b_hh - ones)[gates:]

        states, recurrent, candidates = (
            Rows(x, blocks, hidden, extra=1),
            Rows(x, blocks, 3 * hidden),
            Rows(x, blocks, hidden),
        )
        output = torch.empty_like(candidates.data)
        projected = x.new_empty(largest(blocks), 3 * hidden)
        g = (start + 1) / 2
        for (steps, rows), x_b, g_b, a_b, s_b, h_b in zip(
            blocks, x.split([s * r for s, r in blocks]), states.split(blocks), recurrent.split(blocks),
            candidates.split(blocks), split(output, blocks), strict=True,
        ):  # fmt: skip
            p_b = torch.addmm(bias_x, x_b, weight_x, out=projected[: steps * rows]).view(steps, rows, -1)
            bias = bias_g[:rows]
            g = g_b[0].copy_(g[:rows])
            for next_g, a, rz, r, z, hn, s, p_rz, p_n in zip(
                g_b[1:].unbind(0), a_b.unbind(0), a_b[..., :gates].unbind(0), a_b[..., :hidden].unbind(0),
                a_b[..., hidden:gates].unbind(0), a_b[..., gates:].unbind(0), s_b.unbind(0),
                p_b[..., :gates].unbind(0), p_b[..., gates:].unbind(0), strict=True,
            ):  # fmt: skip
                torch.addmm(bias, g, weight_g, out=a)
                rz.add_(p_rz).sigmoid_()
                torch.addcmul(p_n, r, hn, out=s).sigmoid_()
                g = torch.lerp(s, g, z, out=next_g)
            torch.sub(g_b[1:], 0.5, out=h_b).mul_(2)
        ctx.save_for_backward(x, w_ih, w_hh, states.data, recurrent.data, candidates.data)
        ctx.blocks = blocks
        return output

    @staticmethod
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        twice()
        x, w_ih, w_hh, states, recurrent, candidates = ctx.saved_tensors
        blocks, hidden = ctx.blocks, w_hh.shape[1]
        gates = 2 * hidden
        # each D here is half of the true one
        weight = 2 * w_hh
        grad_ih, grad_hh = torch.zeros_like(w_ih), torch.zeros_like(w_hh)
        grad_b_ih, grad_b_hh = w_ih.new_zeros(3 * hidden), w_ih.new_zeros(3 * hidden)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        size = largest(blocks)
        buffer_d, *buffers = x.new_empty(size, 3 * hidden), *(x.new_empty(size, hidden) for _ in range(3))
        sizes = [steps * rows for steps, rows in blocks]
        carry: Tensor | None = None
        for (steps, rows), x_b, g_b, a_b, s_b, direct_b, grad_x_b in reversed(list(zip(
            blocks, x.split(sizes), split(states, blocks, extra=1), split(recurrent, blocks),
            split(candidates, blocks), split(direct, blocks),
            [None] * len(blocks) if grad_x is None else grad_x.split(sizes), strict=True,
        ))):  # fmt: skip
            number = steps * rows
            d_b = buffer_d[:number].view(steps, rows, 3, hidden)
            open_b, scratch, delta_b = (buffer[:number].view(steps, rows, hidden) for buffer in buffers)
            r_b, z_b, hn_b, before = a_b[..., :hidden], a_b[..., hidden:gates], a_b[..., gates:], g_b[:-1]
            # 2 (1 - z) s (1 - s), with the sign and the factor put in where it is used
            sigmoid_backward(torch.sub(z_b, 1, out=scratch), s_b, grad_input=open_b)
            open_b.mul_(-2)
            torch.mul(open_b, r_b, out=d_b[:, :, 2])
            sigmoid_backward(hn_b, r_b, grad_input=scratch)
            torch.mul(scratch, open_b, out=d_b[:, :, 0]).mul_(0.5)
            sigmoid_backward(torch.sub(before, s_b, out=scratch), z_b, grad_input=d_b[:, :, 1])
            delta_b.copy_(direct_b)
            if carry is not None:
                delta_b[-1, : len(carry)].add_(carry)
            later: tuple[Tensor, ...] = ()
            for delta, wide, d, flat, z in zip(
                *(part.unbind(0)[::-1] for part in (
                    delta_b, delta_b[:, :, None], d_b, d_b.view(steps, rows, -1), z_b,
                )), strict=True,
            ):  # fmt: skip
                if later:
                    delta.addcmul_(later[0], later[1]).addmm_(later[2], weight)
                d.mul_(wide)
                later = delta, z, flat
            carry = torch.mul(later[0], later[1]).addmm_(later[2], weight)
            flat_b = buffer_d[:number]
            grad_hh.addmm_(flat_b.t(), before.reshape(number, hidden))
            grad_b_hh += flat_b.sum(0)
            # the candidate's own pre-activation has no reset gate on its way
            torch.mul(open_b, delta_b, out=d_b[:, :, 2])
            grad_ih.addmm_(flat_b.t(), x_b)
            grad_b_ih += flat_b.sum(0)
            if grad_x_b is not None:
                torch.mm(flat_b, w_ih, out=grad_x_b).mul_(2)
        # W_hh is multiplied by h = 2g - 1
        grad_hh = (2 * grad_hh - grad_b_hh[:, None]) * 2
        return grad_x, carry, 2 * grad_ih, grad_hh, 2 * grad_b_ih, 2 * grad_b_hh, None
