"""A layer-normalised LSTM layer's forward and backward pass by hand.

The equations are in :mod:`rnnlab.cells.layer_norm_lstm`. Here tanh is made a sigmoid, which is several times as fast:
with G for h/2, C for c/2, and all gains and shifts scaled to match

    q_t = U G_{t-1},    i, f, s + ½, o = σ(LN(W x_t; α_x, b) + LN(q_t; α))
    C_t = f ⊙ C_{t-1} + i ⊙ s,    m_t = σ(LN(C_t; α_c, β_c)) - ½,    G_t = o ⊙ m_t

Backward, with γ_t = ∂L/∂G_t and κ_t = ∂L/∂C_t along every path and D_t the gradient of the pre-activations, whose
factors but for γ_t and κ_t are known for a whole block:

    κ_t     = ∂L/∂C_t|direct + f_{t+1} ⊙ κ_{t+1} + LN'(C_t)ᵀ (∂G_t/∂LN ⊙ γ_t)
    γ_{t-1} = ∂L/∂G_{t-1}|direct + LN'(q_t)ᵀ D_t U

Beside h and C the forward pass keeps q, the gates and both norms' statistics: to compute them once more, all steps of a
block at once, takes a seventh of the memory and a quarter more time, and ``model.recompute`` takes less of either.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.bptt import (
    Block,
    Scratch,
    empty_blocks,
    refuse_twice,
    sigmoid_backward,
    split,
    split_rows,
    states_before,
    zeros_transposed,
)

layer_norm = torch.native_layer_norm
layer_norm_backward = torch.ops.aten.native_layer_norm_backward.default
# which gradients of a norm are wanted: of its input, gain, shift
INPUT, GAIN, GAIN_AND_SHIFT, ALL = [True, False, False], [False, True, False], [False, True, True], [True, True, True]


class LayerNormLSTMLayer(Function):
    """``(rows, features)``, h and C ``(batch, hidden)``, W, b, U, the gains and shifts, each ε, the blocks to h and C.

    These are ``(rows, hidden)``. The gains are α_x, α and α_c, before the shift β_c.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start_h: Tensor, start_c: Tensor, w: Tensor, b: Tensor, u: Tensor, gain_x: Tensor,
        gain: Tensor, gain_c: Tensor, shift_c: Tensor, eps: tuple[float, float, float], blocks: list[Block],
        save: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """``save`` what the backward pass needs."""
        hidden, (eps_x, eps_h, eps_c) = start_h.shape[1], eps
        gates, w_t, u_t = [4 * hidden], w.t(), u.t().contiguous()
        output_h, output_c = x.new_empty(len(x), hidden), x.new_empty(len(x), hidden)
        # the gates and s, q, and of LN(W x) and LN(q) each the mean and the reciprocal deviation
        kept = empty_blocks(x, blocks, 4 * hidden, 4 * hidden, 1, 1, 1, 1) if save else []
        scratch = Scratch.of(x, blocks, (4 * hidden, 4 * hidden, 4 * hidden, hidden, hidden), _forward_views)
        g, c = start_h / 2, start_c
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            half = x.new_tensor(0.5)  # a number would be made a tensor at every step
            parts = split_rows(x, blocks), split(output_h, blocks), split(output_c, blocks)
            for number, (x_b, h_b, c_b) in enumerate(zip(*parts, strict=True)):
                # the views of the next block are of the same memory
                g, c = g[: blocks[number].rows].clone(), c[: blocks[number].rows].clone()
                product, flat, q_b, a_b, new_g, new_c, steps = scratch.at(blocks[number])
                torch.mm(x_b, w_t, out=flat)
                normed, *of_x = layer_norm(product, gates, gain_x, b, eps_x)
                a_b.copy_(normed)
                statistics = []
                for a, q, i_t, f_t, s_t, o_t, next_g, next_c in steps:
                    normed, *of_q = layer_norm(torch.mm(g, u_t, out=q), gates, gain, None, eps_h)
                    a.add_(normed).sigmoid_()
                    statistics.append(of_q)
                    c = torch.mul(f_t, c, out=next_c).addcmul_(i_t, s_t.sub_(half))
                    m = layer_norm(c, [hidden], gain_c, shift_c, eps_c)[0].sigmoid_().sub_(half)
                    g = torch.mul(o_t, m, out=next_g)
                torch.mul(new_g, 2, out=h_b)
                c_b.copy_(new_c)
                if save:
                    used = a_b, q_b, *of_x, *(torch.stack(part) for part in zip(*statistics, strict=True))
                    for part, values in zip(kept, used, strict=True):
                        part[number].copy_(values)
        weights = w, b, u, gain_x, gain, gain_c, shift_c
        kept_parts = (part for parts in kept for part in parts)
        ctx.save_for_backward(x, start_h, start_c, *weights, output_h, output_c, *kept_parts)
        ctx.set_materialize_grads(False)
        ctx.blocks, ctx.eps = blocks, eps
        return output_h, output_c

    @staticmethod
    def backward(ctx: Any, direct_h: Tensor | None, direct_c: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_twice()
        x, start_h, start_c, w, b, u, gain_x, gain, gain_c, shift_c, output_h, output_c, *kept = ctx.saved_tensors
        blocks, eps_c, hidden, size = ctx.blocks, ctx.eps[2], u.shape[1], len(ctx.blocks)
        gates, units = [4 * hidden], [hidden]
        grad_w, grads = zeros_transposed(w), [torch.zeros_like(part) for part in (b, u, gain_x, gain, gain_c, shift_c)]
        grad_b, grad_u, grad_gain_x, grad_gain, grad_gain_c, grad_shift_c = grads
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_x_blocks = None if grad_x is None else split_rows(grad_x, blocks)
        scratch = Scratch.of(x, blocks, (*(3 * [4 * hidden]), *(8 * [hidden])), _backward_views)
        carry_g = carry_c = x.new_empty(0, hidden)
        of_gates = (kept[begin : begin + size] for begin in range(0, 6 * size, size))
        each = split_rows(x, blocks), split(output_c, blocks), *of_gates
        direct = [None if part is None else split(part.contiguous(), blocks) for part in (direct_h, direct_c)]
        with torch.inference_mode():
            for number in reversed(range(len(blocks))):
                x_b, c_b, a_b, q_b, mean_x, rstd_x, mean, rstd = (part[number] for part in each)
                views, (p_flat, before_flat, product_flat), first, steps = scratch.at(blocks[number])
                d_b, p_b, gamma_b, kappa_b, normed_b, keep_b, before_g, before_c, m_b, factor = views
                # what was cheap is computed once more, all steps at once
                states_before(before_g, output_h, start_h, blocks, number)
                states_before(before_c, output_c, start_c, blocks, number)
                before_g.mul_(0.5)
                torch.mm(x_b, w.t(), out=p_flat)
                normed_c, mean_c, rstd_c = layer_norm(c_b, units, gain_c, shift_c, eps_c)
                torch.sigmoid(normed_c, out=m_b)
                i, f, s, o = a_b.split(hidden, -1)
                d_i, d_f, d_s, d_o_b = d_b.split(hidden, -1)
                keep_b.copy_(f)
                # the derivatives of C_t by the pre-activations of i, f and s, of G_t by that of o and by LN(C_t)
                sigmoid_backward(s, i, grad_input=d_i)
                sigmoid_backward(before_c, f, grad_input=d_f)
                sigmoid_backward(i, torch.add(s, 0.5, out=factor), grad_input=d_s)
                sigmoid_backward(torch.sub(m_b, 0.5, out=factor), o, grad_input=d_o_b)
                sigmoid_backward(o, m_b, grad_input=normed_b)
                gamma_b.zero_() if direct[0] is None else torch.mul(direct[0][number], 2, out=gamma_b)
                kappa_b.zero_() if direct[1] is None else kappa_b.copy_(direct[1][number])
                gamma_b[-1, : len(carry_g)].add_(carry_g)
                kappa_b[-1, : len(carry_c)].add_(carry_c)
                for part in first:
                    part.zero_()
                statistics = [part.unbind(0)[::-1] for part in (q_b, mean, rstd, c_b, mean_c, rstd_c)]
                for known, (q, mu, r, c, mu_c, r_c) in zip(steps, zip(*statistics, strict=True), strict=True):
                    d, d_c, d_o, gamma, kappa, wide, normed, keep, of_product, to_gamma, to_kappa = known
                    d_o.mul_(gamma)
                    kappa.add_(layer_norm_backward(normed.mul_(gamma), c, units, mu_c, r_c, gain_c, shift_c, INPUT)[0])
                    d_c.mul_(wide)
                    to_kappa.addcmul_(kappa, keep)
                    delta = layer_norm_backward(d, q, gates, mu, r, gain, None, INPUT)[0]
                    to_gamma.addmm_(of_product.copy_(delta), u)
                carry_g, carry_c = (part.clone() for part in first)
                grad_u.addmm_(product_flat.t(), before_flat)
                grad_gain += layer_norm_backward(d_b, q_b, gates, mean, rstd, gain, None, GAIN)[1]
                _, of_gain, of_shift = layer_norm_backward(
                    normed_b, c_b, units, mean_c, rstd_c, gain_c, shift_c, GAIN_AND_SHIFT
                )
                grad_gain_c += of_gain
                grad_shift_c += of_shift
                d_x, of_gain, of_shift = layer_norm_backward(d_b, p_b, gates, mean_x, rstd_x, gain_x, b, ALL)
                grad_gain_x += of_gain
                grad_b += of_shift
                d_x = d_x.view(p_flat.shape)
                grad_w.addmm_(x_b.t(), d_x)
                if grad_x_blocks is not None:
                    torch.mm(d_x, w, out=grad_x_blocks[number])
        return grad_x, carry_g / 2, carry_c.clone(), grad_w.t(), *grads, None, None, None


def _forward_views(product: Tensor, q: Tensor, a: Tensor, g: Tensor, c: Tensor) -> tuple[Any, ...]:
    product, q, a, g, c = product[:-1], q[:-1], a[:-1], g[:-1], c[:-1]
    steps = list(zip(*(view.unbind(0) for view in (a, q, *a.chunk(4, -1), g, c)), strict=True))
    return product, product.flatten(0, 1), q, a, g, c, steps


def _backward_views(
    d: Tensor, p: Tensor, product: Tensor, gamma: Tensor, kappa: Tensor, *others: Tensor
) -> tuple[Any, ...]:
    normed, keep, before_g, before_c, m, factor = (part[:-1] for part in others)
    d, p, product, new_gamma, new_kappa = d[:-1], p[:-1], product[:-1], gamma[1:], kappa[1:]
    d_ifs, d_o = d.unflatten(-1, (4, -1)).split((3, 1), 2)
    each = (
        d, d_ifs, d_o[:, :, 0], new_gamma, new_kappa, new_kappa[:, :, None], normed, keep, product,
        gamma[:-1], kappa[:-1],
    )  # fmt: skip
    steps = list(zip(*(view.unbind(0)[::-1] for view in each), strict=True))
    of_block = d, p, new_gamma, new_kappa, normed, keep, before_g, before_c, m, factor
    flat = tuple(part.flatten(0, 1) for part in (p, before_g, product))
    return of_block, flat, (gamma[0], kappa[0]), steps
