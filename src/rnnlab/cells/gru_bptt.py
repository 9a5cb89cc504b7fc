"""A GRU layer's forward and backward pass by hand; the equations are in :mod:`rnnlab.cells.gru`.

With tanh a = 2σ(2a) - 1 everything is a sigmoid, which is several times as
fast as tanh: the state is kept as g = h/2 and the candidate as s = n/2, and
the factors of 2 are moved into the weights, U and b:

    r, z = σ(W_rz x_t + b_rz + U_rz g_{t-1}),    q = b_q + U_q g_{t-1},    s = σ(W_s x_t + b_s + r ⊙ q) - 1/2
    g_t = s + z ⊙ (g_{t-1} - s)

(With g + 1/2 in its place the 1/2 would cost nothing, and sums around it would
round two to five times as much in single precision.)

Backward, with γ_t = ∂L/∂g_t along every path and D_t the gradient of the three
recurrent pre-activations, whose factors but for γ_t are known for a whole block:

    D_t = γ_t ⊙ [e ⊙ q ⊙ r (1 - r),  (g_{t-1} - s) ⊙ z (1 - z),  e ⊙ r],    e = (1 - z) ⊙ (1/4 - s²)
    γ_{t-1} = ∂L/∂g_{t-1}|direct + z ⊙ γ_t + D_t U
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.bptt import (
    Scratch,
    empty_blocks,
    refuse_twice,
    sigmoid_backward,
    split,
    split_rows,
    zeros_transposed,
)
from rnnlab.cells.varying_lengths import Block, Takeovers, at_each_step


class GRULayer(Function):
    """``(rows, features)``, ``(sequences, hidden)``, the weights, the blocks and what is taken over in them, to h
    ``(rows, hidden)``.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor,
        blocks: list[Block], takeovers: Takeovers, save: bool,
    ) -> Tensor:  # fmt: skip
        """``save`` what the backward pass needs."""
        hidden = start.shape[1]
        gates = 2 * hidden
        output = x.new_empty(len(x), hidden)
        # r, z and q; s; g before the step
        kept = empty_blocks(x, blocks, 3 * hidden, hidden, hidden) if save else []
        scratch = Scratch.of(x, blocks, (hidden, 3 * hidden, hidden, hidden), _forward_views)
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            scale, double = _scales(hidden, x.dtype)
            half = x.new_full((), 0.5)
            weight_g = (w_hh * double).t().contiguous()
            weight_rz, weight_s = (w_ih * scale).t().split_with_sizes((gates, hidden), 1)
            b_rz = torch.add(b_ih[:gates], b_hh[:gates])
            b_s, b_q = b_ih[gates:] * 2, b_hh[gates:] * 2
            g = starts = start / 2
            for number, (x_b, h_b) in enumerate(zip(split_rows(x, blocks), split(output, blocks), strict=True)):
                block = blocks[number]
                p_flat, rz_flat, q_b, first_g, g_b, used, views_of_steps = scratch.at(block)
                g = first_g.copy_(g[: block.rows])
                torch.addmm(b_s, x_b, weight_s, out=p_flat)
                # where the recurrent product will be added: the input's part of r and z, the bias of q
                torch.addmm(b_rz, x_b, weight_rz, out=rz_flat)
                q_b.copy_(b_q)
                taken = at_each_step(takeovers, number)
                for (next_g, a, rz, r, z, q, s, p), takeover in zip(views_of_steps, taken, strict=False):
                    a.addmm_(g, weight_g)
                    rz.sigmoid_()
                    torch.addcmul(p, r, q, out=s).sigmoid_().sub_(half)
                    g = torch.lerp(s, g, z, out=next_g)
                    if takeover is not None:
                        g.index_copy_(0, takeover.rows, starts[takeover.starts])
                torch.mul(g_b, 2, out=h_b)
                if save:
                    for part, values in zip(kept, used, strict=True):
                        part[number].copy_(values)
                if number + 1 < len(blocks) and blocks[number + 1].rows < block.rows:
                    g = g.clone()  # the views of fewer rows are of the same memory
        ctx.save_for_backward(x, w_ih, w_hh, *(part for parts in kept for part in parts))
        ctx.blocks, ctx.takeovers, ctx.sequences = blocks, takeovers, len(start)
        return output

    @staticmethod
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        refuse_twice(direct)
        x, w_ih, w_hh, *kept = ctx.saved_tensors
        blocks, hidden = ctx.blocks, w_hh.shape[1]
        gates, size = 2 * hidden, len(blocks)
        grad_w, grad_u = zeros_transposed(w_ih), torch.zeros_like(w_hh)
        grad_b, grad_q = w_ih.new_zeros(3 * hidden), w_ih.new_zeros(hidden)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_start = x.new_empty(ctx.sequences, hidden)
        scratch = Scratch.of(x, blocks, (3 * hidden, *(4 * [hidden])), _backward_views)
        with torch.inference_mode():
            scale, double = _scales(hidden, x.dtype)
            quarter = x.new_full((), 0.25)
            weight, weight_of_x = w_hh * double, w_ih * scale
            carry = x.new_empty(0, hidden)
            grad_x_blocks = None if grad_x is None else split_rows(grad_x, blocks)
            each = split_rows(x, blocks), kept[:size], kept[size : 2 * size], kept[2 * size :], split(direct, blocks)
            for number in reversed(range(size)):
                x_b, a_b, s_b, g_b, direct_b = (part[number] for part in each)
                of_block, views_of_steps = scratch.at(blocks[number])
                flat, d_r, d_z, d_q, q_flat, gamma_b, last_gamma, first_gamma, z_b, e_b, factor = of_block
                r, z, q = a_b.split_with_sizes((hidden, hidden, hidden), -1)
                z_b.copy_(z)
                torch.addcmul(quarter, s_b, s_b, value=-1, out=e_b).mul_(torch.sub(1, z_b, out=factor))
                torch.mul(e_b, r, out=d_q)
                torch.mul(sigmoid_backward(q, r, grad_input=factor), e_b, out=d_r)
                sigmoid_backward(torch.sub(g_b, s_b, out=factor), z_b, grad_input=d_z)
                torch.mul(direct_b, 2, out=gamma_b)
                if len(carry):
                    last_gamma[: len(carry)].add_(carry)
                first_gamma.zero_()
                taken = at_each_step(ctx.takeovers, number, reverse=True)
                for (gamma, wide, three, d, z_t, earlier), takeover in zip(views_of_steps, taken, strict=False):
                    if takeover is not None:
                        torch.index_select(gamma, 0, takeover.rows, out=grad_start[takeover.starts])
                        gamma.index_fill_(0, takeover.rows, 0.0)
                    three.mul_(wide)
                    earlier.addcmul_(gamma, z_t).addmm_(d, weight)
                carry = first_gamma.clone()
                grad_u.addmm_(flat.t(), g_b.view(len(flat), hidden))
                grad_q.add_(q_flat.sum(0))
                # there is no reset gate on the way to the candidate's input
                torch.mul(e_b, gamma_b, out=d_q)
                grad_w.addmm_(x_b.t(), flat)
                grad_b.add_(flat.sum(0))
                if grad_x_blocks is not None:
                    torch.mm(flat, weight_of_x, out=grad_x_blocks[number])
            # those of W, U and b as they were scaled, to those of the layer's own
            grad_q.mul_(2)
            grad_w.mul_(scale[:, 0])
            grad_b.mul_(scale[:, 0])
            grad_u.mul_(double)
            grad_start[: len(carry)].copy_(carry)
            grad_start.mul_(0.5)
        grad_b_hh = torch.cat([grad_b[:gates], grad_q])
        return grad_x, grad_start, grad_w.t(), grad_u, grad_b, grad_b_hh, None, None, None


@cache
def _scales(hidden: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Of the weights of x, and of g: 1 and 2 for r and z, 2 and 4 for the candidate; each ``(gates, 1)``."""
    scale = torch.ones(3 * hidden, 1, dtype=dtype)
    scale[2 * hidden :] = 2
    return scale, 2 * scale


def _forward_views(p: Tensor, a: Tensor, s: Tensor, g: Tensor) -> tuple[Any, ...]:
    hidden = g.shape[-1]
    p, a, s = p[:-1], a[:-1], s[:-1]
    r, z, q = a.split(hidden, -1)
    rz = a[..., : 2 * hidden]
    steps = list(zip(*(view.unbind(0) for view in (g[1:], a, rz, r, z, q, s, p)), strict=True))
    return p.flatten(0, 1), rz.flatten(0, 1), q, g[0], g[1:], (a, s, g[:-1]), steps


def _backward_views(d: Tensor, gamma: Tensor, z: Tensor, e: Tensor, factor: Tensor) -> tuple[Any, ...]:
    d, z, later = d[:-1], z[:-1], gamma[1:]
    three = d.unflatten(-1, (3, -1))
    views = later, later[:, :, None], three, d, z, gamma[:-1]
    steps = list(zip(*(view.unbind(0)[::-1] for view in views), strict=True))
    flat, gates = d.flatten(0, 1), d.split(gamma.shape[-1], -1)
    of_block = flat, *gates, gates[2].flatten(0, 1), later, gamma[-1], gamma[0], z, e[:-1], factor[:-1]
    return of_block, steps
