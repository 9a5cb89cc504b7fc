"""A GRU layer's forward and backward pass by hand; the equations are in :mod:`rnnlab.cells.gru`.

With tanh a = 2σ(2a) - 1 everything is a sigmoid, which is several times as
fast as tanh: the state is kept as g = (h + 1)/2 and the candidate as
s = (n + 1)/2, and the factors of 2 are moved into the weights:

    s_t = σ(2 (W_in x_t + b_in) + r_t ⊙ 2 (W_hn h_{t-1} + b_hn)),    g_t = s_t + z_t ⊙ (g_{t-1} - s_t)

Backward, with δ_t = ∂L/∂h_t along every path and D_t the gradient of the three
recurrent pre-activations, whose factors but for δ_t are known for a whole block:

    δ_t = ∂L/∂h_t|direct + z_{t+1} ⊙ δ_{t+1} + D_{t+1} W_hh
"""

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.bptt import Block, Scratch, refuse_twice, sigmoid_backward, split


class GRULayer(Function):
    """``(rows, features)``, ``(batch, hidden)``, the weights and the blocks to h ``(rows, hidden)``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor,
        blocks: list[Block], save: bool,
    ) -> Tensor:  # fmt: skip
        """``save`` what the backward pass needs."""
        hidden = start.shape[1]
        gates = 2 * hidden
        scale = w_ih.new_ones(3 * hidden)
        scale[gates:] = 2
        ones = w_hh.sum(1)  # W h = 2 W g - W 1
        weight_x = (w_ih * scale[:, None]).t()
        weight_g = (w_hh * (2 * scale)[:, None]).t().contiguous()
        bias_x = b_ih * scale
        bias_x[:gates] += (b_hh - ones)[:gates]
        bias_g = 2 * (b_hh - ones)[gates:]

        scratch = Scratch(x, blocks, hidden, 3 * hidden, hidden, hidden)
        output = x.new_empty(len(x), hidden)
        # recurrent pre-activations or gates r, z and the candidate's; candidate s; g before the step
        saved = [x.new_empty(len(x), width) if save else x.new_empty(0) for width in (3 * hidden, hidden, hidden)]
        kept = [split(part, blocks) for part in saved] if save else []
        g, width, steps_of_width = (start + 1) / 2, 0, []
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            for number, (x_b, h_b) in enumerate(zip(split(x, blocks), split(output, blocks), strict=True)):
                steps, rows = blocks[number]
                g = g[:rows].clone()
                if rows != width:
                    width, (p_all, a_all, s_all, g_all) = rows, scratch.views(rows)
                    steps_of_width = list(
                        zip(
                            g_all[1:].unbind(0),
                            a_all.unbind(0),
                            a_all[..., :gates].unbind(0),
                            a_all[..., :hidden].unbind(0),
                            a_all[..., hidden:gates].unbind(0),
                            a_all[..., gates:].unbind(0),
                            s_all.unbind(0),
                            p_all.unbind(0),
                            strict=False,
                        )
                    )
                x_flat, a_flat = x_b.view(steps * rows, -1), a_all[:steps].view(steps * rows, -1)
                torch.addmm(bias_x[gates:], x_flat, weight_x[:, gates:], out=p_all[:steps].view(steps * rows, -1))
                # where the recurrent product will be added: the input's part of r and z, the bias of the candidate's
                torch.addmm(bias_x[:gates], x_flat, weight_x[:, :gates], out=a_flat[:, :gates])
                a_flat[:, gates:] = bias_g
                g = g_all[0].copy_(g)
                for next_g, a, rz, r, z, hn, s, p_n in steps_of_width[:steps]:
                    a.addmm_(g, weight_g)
                    rz.sigmoid_()
                    torch.addcmul(p_n, r, hn, out=s).sigmoid_()
                    g = torch.lerp(s, g, z, out=next_g)
                torch.sub(g_all[1 : steps + 1], 0.5, out=h_b).mul_(2)
                if save:
                    for part, used in zip(kept, (a_all, s_all, g_all), strict=True):
                        part[number].copy_(used[:steps])
        ctx.save_for_backward(x, w_ih, w_hh, *saved)
        ctx.blocks = blocks
        return output

    @staticmethod
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        refuse_twice()
        x, w_ih, w_hh, all_a, all_s, all_g = ctx.saved_tensors
        blocks, hidden = ctx.blocks, w_hh.shape[1]
        gates = 2 * hidden
        # each D here is half of the true one
        weight, weight_of_x = 2 * w_hh, 2 * w_ih
        grad_ih, grad_hh = torch.zeros_like(w_ih), torch.zeros_like(w_hh)
        grad_b_ih, grad_b_hh = w_ih.new_zeros(3 * hidden), w_ih.new_zeros(3 * hidden)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        scratch = Scratch(x, blocks, 3 * hidden, hidden, hidden, hidden, hidden)
        carry, width, steps_of_width = x.new_empty(0, hidden), 0, []
        each = [split(part, blocks) for part in (x, all_a, all_s, all_g, direct.contiguous())]
        grad_x_blocks = [None] * len(blocks) if grad_x is None else split(grad_x, blocks)
        with torch.inference_mode():
            for number in reversed(range(len(blocks))):
                (steps, rows), (x_b, a_b, s_b, g_b, direct_b) = blocks[number], (part[number] for part in each)
                grad_x_b = grad_x_blocks[number]
                if rows != width:
                    width, views = rows, scratch.views(rows)
                    d_all, delta_all, z_all = views[:3]
                    steps_of_width = list(zip(
                        delta_all.unbind(0), delta_all[:, :, None].unbind(0), d_all.view(-1, rows, 3, hidden).unbind(0),
                        d_all.unbind(0), z_all.unbind(0), strict=True,
                    ))  # fmt: skip
                d_b, delta_b, z_b, open_b, factor = (view[:steps] for view in views)
                d_r, d_z, d_n = d_b.split(hidden, -1)
                r_b, hn_b = a_b[..., :hidden], a_b[..., gates:]
                z_b.copy_(a_b[..., hidden:gates])
                # half the derivative of h_t by the pre-activations, as far as it is known before δ_t
                sigmoid_backward(torch.sub(1, z_b, out=factor).mul_(2), s_b, grad_input=open_b)
                torch.mul(open_b, r_b, out=d_n)
                sigmoid_backward(hn_b, r_b, grad_input=factor)
                torch.mul(factor.mul_(0.5), open_b, out=d_r)
                sigmoid_backward(torch.sub(g_b, s_b, out=factor), z_b, grad_input=factor)
                d_z.copy_(factor)
                delta_b.copy_(direct_b)
                delta_b[-1, : len(carry)].add_(carry)
                ordered = steps_of_width[steps - 1 :: -1]
                _, wide, d, d_flat, _ = ordered[0]
                d.mul_(wide)
                for (later, _, _, later_flat, kept), (delta, wide, d, _, _) in itertools.pairwise(ordered):
                    delta.addcmul_(later, kept).addmm_(later_flat, weight)
                    d.mul_(wide)
                first, _, _, d_flat, kept = ordered[-1]
                carry = torch.mul(first, kept).addmm_(d_flat, weight)
                flat = d_b.view(steps * rows, -1)
                grad_hh.addmm_(flat.t(), g_b.view(steps * rows, -1))
                grad_b_hh += flat.sum(0)
                # there is no reset gate on the way to the candidate's input
                torch.mul(open_b, delta_b, out=d_n)
                grad_ih.addmm_(flat.t(), x_b.view(steps * rows, -1))
                grad_b_ih += flat.sum(0)
                if grad_x_b is not None:
                    torch.mm(flat, weight_of_x, out=grad_x_b.view(steps * rows, -1))
        grad_hh = (2 * grad_hh - grad_b_hh[:, None]) * 2
        return grad_x, carry.clone(), 2 * grad_ih, grad_hh, 2 * grad_b_ih, 2 * grad_b_hh, None, None
