"""A layer-normalised LSTM layer's forward and backward pass by hand.

The equations are in :mod:`rnnlab.cells.layer_norm_lstm`. Forward tanh is made a sigmoid, which is several times as
fast: with G for h/2, C for c/2, and U, the gains and shifts scaled to match

    q_t = U G_{t-1},    i, f, s + ½, o = σ(LN(W x_t; α_x, b) + LN(q_t; α))
    C_t = f ⊙ C_{t-1} + i ⊙ s,    m_t = σ(LN(C_t; α_c, β_c)) - ½,    G_t = o ⊙ m_t

Backward, of what isn't scaled, with γ_t = ∂L/∂h_t and κ_t = ∂L/∂c_t along every path and D_t the gradient of the
pre-activations, whose factors but for γ_t and κ_t are known for a whole block:

    κ_t     = ∂L/∂c_t|direct + f_{t+1} ⊙ κ_{t+1} + LN'(c_t)ᵀ (∂h_t/∂LN ⊙ γ_t)
    γ_{t-1} = ∂L/∂h_{t-1}|direct + LN'(q_t)ᵀ D_t U

The input's norm takes no pass over the gates: W less the mean of its rows, V, gives what has no mean to take away, so
that with u_t = x_t / √(|V x_t|²/n + ε), n the number of gates,

    LN(W x_t; α_x, b) = b + α_x ⊙ V u_t,    P_t = D_t (α_x ⊙ V),    y_t = (P_t · u_t / n) u_t
    ∂L/∂α_x = Σ D_t ⊙ V u_t,   ∂L/∂V = α_x ⊙ Σ D_t u_tᵀ - V Σ y_t u_tᵀ,   ∂L/∂x_t = (P_t - Vᵀ V y_t) / √(…)

Beside h and c the forward pass keeps u, q, 2m, the gates and the statistics of the norms: to compute them once more,
all steps of a block at once, takes a third of the memory and more time. Where memory counts there is
``model.recompute``.
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
    states_before,
    zeros_transposed,
)
from rnnlab.cells.varying_lengths import Block

tanh_backward = torch.ops.aten.tanh_backward.grad_input
"""Of a gradient and tanh: gradient ⊙ (1 - tanh²)."""
layer_norm = torch.native_layer_norm
layer_norm_backward = torch.ops.aten.native_layer_norm_backward.default
# which gradients of a norm are wanted: of its input, gain, shift
INPUT, GAIN, GAIN_AND_SHIFT = [True, False, False], [False, True, False], [False, True, True]


class LayerNormLSTMLayer(Function):
    """``(rows, features)``, h and c ``(batch, hidden)``, the weights and norms, each ε, the blocks to h and c.

    These are ``(rows, hidden)``. The weights and norms are the layer's own, in the order W, b, U, α_x, α, α_c and β_c;
    the last ε is that of c.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start_h: Tensor, start_c: Tensor, w: Tensor, b: Tensor, u: Tensor, gain_x: Tensor,
        gain: Tensor, gain_c: Tensor, shift_c: Tensor, eps: tuple[float, float, float], blocks: list[Block],
        save: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """``save`` what the backward pass needs."""
        hidden, (eps_x, eps_h, eps_c) = start_h.shape[1], eps
        gates, units, n = [4 * hidden], [hidden], 4 * hidden
        output_h, output_c = x.new_empty(len(x), hidden), x.new_empty(len(x), hidden)
        inputs, deviations = torch.empty_like(x), x.new_empty(len(x), 1)
        # the gates and s, q, tanh(LN(c)), of LN(q) and LN(c) each the mean and the reciprocal deviation
        kept = empty_blocks(x, blocks, n, n, hidden, 1, 1, 1, 1) if save else []
        scratch = Scratch.of(x, blocks, (n, n, *(3 * [hidden])), _forward_views)
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            double = _double(hidden, x.dtype)
            u_t, b_2, gain_x_2, gain_2 = (2 * u).t().contiguous(), double * b, double * gain_x, double * gain
            gain_c_2, shift_c_2, eps_c = 2 * gain_c, 2 * shift_c, eps_c / 4
            v_t, half, shift_x = (w - w.mean(0)).t(), x.new_tensor(0.5), x.new_tensor(eps_x)
            g, c = start_h / 2, start_c / 2
            of_rows = (split_rows(part, blocks) for part in (x, inputs, deviations))
            parts = *of_rows, split(output_h, blocks), split(output_c, blocks)
            for number, (x_b, u_b, r_b, h_b, c_b) in enumerate(zip(*parts, strict=True)):
                # the views of the next block are of the same memory
                g, c = g[: blocks[number].rows].clone(), c[: blocks[number].rows].clone()
                flat, a_b, m_b, g_b, new_c, products, steps = scratch.at(blocks[number])
                torch.mm(x_b, v_t, out=flat)
                torch.linalg.vector_norm(flat, dim=-1, keepdim=True, out=r_b)
                torch.addcmul(shift_x, r_b, r_b, value=1 / n, out=r_b).rsqrt_()
                torch.mul(x_b, r_b, out=u_b)
                torch.addcmul(b_2, flat.mul_(r_b), gain_x_2, out=flat)
                if save:
                    kept_a, kept_q, kept_m, *kept_statistics = (part[number] for part in kept)
                    products, statistics = kept_q.unbind(0), []
                for q, (a, i_t, f_t, s_t, o_t, m, next_g, next_c) in zip(products, steps, strict=True):
                    normed, *of_q = layer_norm(torch.mm(g, u_t, out=q), gates, gain_2, None, eps_h)
                    a.add_(normed).sigmoid_()
                    c = torch.mul(f_t, c, out=next_c).addcmul_(i_t, s_t.sub_(half))
                    normed, *of_c = layer_norm(c, units, gain_c_2, shift_c_2, eps_c)
                    g = torch.mul(o_t, torch.sigmoid(normed, out=m).sub_(half), out=next_g)
                    if save:
                        statistics.append((*of_q, *of_c))
                torch.mul(g_b, 2, out=h_b)
                torch.mul(new_c, 2, out=c_b)
                if save:
                    kept_a.copy_(a_b)
                    torch.mul(m_b, 2, out=kept_m)
                    for part, values in zip(kept_statistics, zip(*statistics, strict=True), strict=True):
                        torch.stack(values, out=part)
                    kept_statistics[2].mul_(2)  # of c, not of C
                    kept_statistics[3].mul_(0.5)
        weights = w, u, gain_x, gain, gain_c, shift_c
        kept_parts = (part for parts in kept for part in parts)
        ctx.save_for_backward(start_h, start_c, *weights, inputs, deviations, output_h, output_c, *kept_parts)
        ctx.set_materialize_grads(False)
        ctx.blocks = blocks
        return output_h, output_c

    @staticmethod
    def backward(ctx: Any, direct_h: Tensor | None, direct_c: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_twice(direct_h, direct_c)
        start_h, start_c, w, u, gain_x, gain, gain_c, shift_c, inputs, deviations, output_h, output_c, *kept = (
            ctx.saved_tensors
        )
        blocks, hidden, size = ctx.blocks, u.shape[1], len(ctx.blocks)
        gates, units, n = [4 * hidden], [hidden], 4 * hidden
        grads = [torch.zeros_like(part) for part in (gain_x, u, gain, gain_c, shift_c)]
        grad_b, grad_u, grad_gain, grad_gain_c, grad_shift_c = grads
        grad_v, squares = zeros_transposed(w), w.new_zeros(w.shape[1], w.shape[1])
        grad_x = torch.empty_like(inputs) if ctx.needs_input_grad[0] else None
        grad_x_blocks = None if grad_x is None else split_rows(grad_x, blocks)
        scratch = Scratch.of(inputs, blocks, (n, *(7 * [hidden]), *(4 * [1])), _backward_views)
        carry_h = carry_c = start_h.new_empty(0, hidden)
        of_rows = (split_rows(part, blocks) for part in (inputs, deviations))
        each = *of_rows, *(kept[begin : begin + size] for begin in range(0, 7 * size, size)), split(output_c, blocks)
        direct = [None if part is None else split(part.contiguous(), blocks) for part in (direct_h, direct_c)]
        with torch.inference_mode():
            v = w - w.mean(0)
            gained_v, projected = (gain_x[:, None] * v).t(), v.t() @ v
            for number in reversed(range(size)):
                x_b, r_b, a_b, q_b, m_b, *statistics, new_c = (part[number] for part in each)
                of_block, of_gates, d_flat, known_statistics, first_gamma, first_kappa, steps = scratch.at(
                    blocks[number]
                )
                d_b, gamma_b, last_kappa, normed_b, keep_b, before_h, before_c, c_b, double_s = of_block
                for part, values in zip(known_statistics, statistics, strict=True):
                    part.copy_(values)
                states_before(before_h, output_h, start_h, blocks, number)
                states_before(before_c, output_c, start_c, blocks, number)
                c_b[-1].copy_(new_c[-1])
                i, f, s, o = a_b.split(hidden, -1)
                d_i, d_f, d_s, d_o_b = of_gates
                keep_b[:-1].copy_(f)
                # the derivatives of c_t by the pre-activations of i, f and tanh, of h_t by that of o and by LN(c_t)
                torch.add(s, s, out=double_s)
                sigmoid_backward(double_s, i, grad_input=d_i)
                sigmoid_backward(before_c, f, grad_input=d_f)
                tanh_backward(i, double_s, grad_input=d_s)
                sigmoid_backward(m_b, o, grad_input=d_o_b)
                tanh_backward(o, m_b, grad_input=normed_b)
                gamma_b.zero_() if direct[0] is None else gamma_b.copy_(direct[0][number])
                gamma_b[-1, : len(carry_h)].add_(carry_h)
                first_gamma.zero_()
                last_kappa.zero_()[: len(carry_c)].copy_(carry_c)
                keep_b[-1].fill_(1)
                of_c = len(steps) * [None] if direct[1] is None else direct[1][number].unbind(0)[::-1]
                for known, q, direct_kappa in zip(steps, q_b.unbind(0)[::-1], of_c, strict=True):
                    d, d_c, d_o, gamma, kappa, wide, later_kappa, later_keep, normed, c, before, to_gamma, *of_norms = (
                        known
                    )
                    mu, r, mu_c, r_c = of_norms
                    d_o.mul_(gamma)
                    through = layer_norm_backward(normed.mul_(gamma), c, units, mu_c, r_c, gain_c, shift_c, INPUT)[0]
                    torch.addcmul(through, later_kappa, later_keep, out=kappa)
                    if direct_kappa is not None:
                        kappa.add_(direct_kappa)
                    d_c.mul_(wide)
                    delta = layer_norm_backward(d, q, gates, mu, r, gain, None, INPUT)[0]
                    to_gamma.addmm_(delta, u)
                    grad_u.addmm_(delta.t(), before)
                carry_h, carry_c = first_gamma.clone(), first_kappa * keep_b[0]
                mu, r, mu_c, r_c = known_statistics
                grad_gain += layer_norm_backward(d_b, q_b, gates, mu, r, gain, None, GAIN)[1]
                _, of_gain, of_shift = layer_norm_backward(
                    normed_b, c_b, units, mu_c, r_c, gain_c, shift_c, GAIN_AND_SHIFT
                )
                grad_gain_c += of_gain
                grad_shift_c += of_shift
                grad_b += d_flat.sum(0)
                grad_v.addmm_(x_b.t(), d_flat)
                p_t = gained_v @ d_flat.t()
                y = x_b * torch.linalg.vecdot(p_t.t(), x_b)[:, None].div_(n)
                squares.addmm_(y.t(), x_b)
                if grad_x_blocks is not None:
                    torch.addmm(p_t.t(), y, projected, alpha=-1, out=grad_x_blocks[number]).mul_(r_b)
            grad_gain_x = (grad_v * v.t()).sum(0)
            of_v = grad_v.mul_(gain_x).t() - v @ squares
            of_v -= of_v.mean(0)
        grad_w, grad_gain_x, carry_h, carry_c = (part.clone() for part in (of_v, grad_gain_x, carry_h, carry_c))
        return (
            grad_x, carry_h, carry_c, grad_w, grad_b, grad_u, grad_gain_x, grad_gain, grad_gain_c, grad_shift_c,
            None, None, None,
        )  # fmt: skip


@cache
def _double(hidden: int, dtype: torch.dtype) -> Tensor:
    """1 for the gates, 2 for the candidate, whose tanh is made a sigmoid."""
    return torch.tensor([1.0, 1.0, 2.0, 1.0], dtype=dtype).repeat_interleave(hidden)


def _forward_views(a: Tensor, q: Tensor, m: Tensor, g: Tensor, c: Tensor) -> tuple[Any, ...]:
    a, q, m, g, c = a[:-1], q[:-1], m[:-1], g[:-1], c[:-1]
    steps = list(zip(*(view.unbind(0) for view in (a, *a.chunk(4, -1), m, g, c)), strict=True))
    return a.flatten(0, 1), a, m, g, c, q.unbind(0), steps


def _backward_views(
    d: Tensor, gamma: Tensor, kappa: Tensor, normed: Tensor, keep: Tensor, h: Tensor, c: Tensor, double_s: Tensor,
    *statistics: Tensor,
) -> tuple[Any, ...]:  # fmt: skip
    d, normed, before_h, double_s = d[:-1], normed[:-1], h[:-1], double_s[:-1]
    of_norms = [part[:-1] for part in statistics]
    new_gamma, new_kappa, before_c, new_c = gamma[1:], kappa[:-1], c[:-1], c[1:]
    d_ifs, d_o = d.unflatten(-1, (4, -1)).split((3, 1), 2)
    each = (
        d, d_ifs, d_o[:, :, 0], new_gamma, new_kappa, new_kappa[:, :, None], kappa[1:], keep[1:], normed, new_c,
        before_h, gamma[:-1], *of_norms,
    )  # fmt: skip
    steps = list(zip(*(view.unbind(0)[::-1] for view in each), strict=True))
    of_block = d, new_gamma, kappa[-1], normed, keep, before_h, before_c, new_c, double_s
    return of_block, d.chunk(4, -1), d.flatten(0, 1), of_norms, gamma[0], kappa[0], steps
