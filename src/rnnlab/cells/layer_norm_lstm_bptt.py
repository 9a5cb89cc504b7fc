"""A layer-normalised LSTM layer's forward and backward pass by hand.

The equations are in :mod:`rnnlab.cells.layer_norm_lstm`. Here tanh is made a sigmoid, which is several times as fast:
with G for h/2, C for c/2, and all gains and shifts scaled to match

    q_t = U G_{t-1},    i, f, s + ½, o = σ(LN(W x_t; α_x, b) + LN(q_t; α))
    C_t = f ⊙ C_{t-1} + i ⊙ s,    m_t = σ(LN(C_t; α_c, β_c)) - ½,    G_t = o ⊙ m_t

Backward, with γ_t = ∂L/∂G_t and κ_t = ∂L/∂C_t along every path and D_t the gradient of the pre-activations, whose
factors but for γ_t and κ_t are known for a whole block:

    κ_t     = ∂L/∂C_t|direct + f_{t+1} ⊙ κ_{t+1} + LN'(C_t)ᵀ (∂G_t/∂LN ⊙ γ_t)
    γ_{t-1} = ∂L/∂G_{t-1}|direct + LN'(q_t)ᵀ D_t U

The forward pass keeps h and C alone: with them the backward pass has everything else of a whole block at once.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.bptt import Block, Scratch, refuse_twice, sigmoid_backward, split, states_before

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
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        hidden, (eps_x, eps_h, eps_c) = start_h.shape[1], eps
        gates, w_t, u_t = [4 * hidden], w.t(), u.t().contiguous()
        output_h, output_c = x.new_empty(len(x), hidden), x.new_empty(len(x), hidden)
        scratch = Scratch(x, blocks, 4 * hidden, 4 * hidden, hidden, hidden)
        q = x.new_empty(blocks[0].rows, 4 * hidden)
        g, c, width, steps_of_width = start_h / 2, start_c, 0, []
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            for number, (x_b, h_b, c_b) in enumerate(
                zip(split(x, blocks), split(output_h, blocks), split(output_c, blocks), strict=True)
            ):
                steps, rows = blocks[number]
                if rows != width:
                    g, c, q = g[:rows].clone(), c[:rows].clone(), q[:rows]
                    width, (product_all, a_all, g_all, c_all) = rows, scratch.views(rows)
                    i, f, s, o = (part.unbind(0) for part in a_all.split(hidden, -1))
                    steps_of_width = list(
                        zip(a_all.unbind(0), i, f, s, o, g_all.unbind(0), c_all.unbind(0), strict=True)
                    )
                product = product_all[:steps]
                torch.mm(x_b.view(steps * rows, -1), w_t, out=product.view(steps * rows, -1))
                a_all[:steps].copy_(layer_norm(product, gates, gain_x, b, eps_x)[0])
                for a, i_t, f_t, s_t, o_t, next_g, next_c in steps_of_width[:steps]:
                    a.add_(layer_norm(torch.mm(g, u_t, out=q), gates, gain, None, eps_h)[0]).sigmoid_()
                    c = torch.mul(f_t, c, out=next_c).addcmul_(i_t, s_t.sub_(0.5))
                    m = layer_norm(c, [hidden], gain_c, shift_c, eps_c)[0].sigmoid_().sub_(0.5)
                    g = torch.mul(o_t, m, out=next_g)
                torch.mul(g_all[:steps], 2, out=h_b)
                c_b.copy_(c_all[:steps])
        ctx.save_for_backward(x, start_h, start_c, w, b, u, gain_x, gain, gain_c, shift_c, output_h, output_c)
        ctx.set_materialize_grads(False)
        ctx.blocks, ctx.eps = blocks, eps
        return output_h, output_c

    @staticmethod
    def backward(ctx: Any, direct_h: Tensor | None, direct_c: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_twice()
        x, start_h, start_c, w, b, u, gain_x, gain, gain_c, shift_c, output_h, output_c = ctx.saved_tensors
        blocks, (eps_x, eps_h, eps_c), hidden = ctx.blocks, ctx.eps, u.shape[1]
        gates, units, w_t, u_t = [4 * hidden], [hidden], w.t(), u.t()
        grads = [torch.zeros_like(part) for part in (w, b, u, gain_x, gain, gain_c, shift_c)]
        grad_w, grad_b, grad_u, grad_gain_x, grad_gain, grad_gain_c, grad_shift_c = grads
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_x_blocks = [None] * len(blocks) if grad_x is None else split(grad_x, blocks)
        scratch = Scratch(x, blocks, *(4 * [4 * hidden]), *(8 * [hidden]))
        carry_g = carry_c = x.new_empty(0, hidden)
        width, steps_of_width = 0, []
        each = [split(part, blocks) for part in (x, output_c)]
        direct = [None if part is None else split(part.contiguous(), blocks) for part in (direct_h, direct_c)]
        with torch.inference_mode():
            for number in reversed(range(len(blocks))):
                (steps, rows), (x_b, c_b) = blocks[number], (part[number] for part in each)
                grad_x_b = grad_x_blocks[number]
                if rows != width:
                    width, views = rows, scratch.views(rows)
                    d_all, q_all, gamma_all, kappa_all, normed_all, keep_all = (views[k] for k in (0, 1, 4, 5, 6, 7))
                    d_ifg, d_o = d_all.view(-1, rows, 4, hidden).split((3, 1), 2)
                    steps_of_width = list(
                        zip(
                            d_all.unbind(0), d_ifg.unbind(0), d_o[:, :, 0].unbind(0), gamma_all.unbind(0),
                            kappa_all.unbind(0), kappa_all[:, :, None].unbind(0), normed_all.unbind(0),
                            keep_all.unbind(0), q_all.unbind(0), strict=True,
                        )
                    )  # fmt: skip
                d_b, q_b, a_b, p_b, gamma_b, kappa_b, normed_b, keep_b, before_g, before_c, m_b, factor = (
                    view[:steps] for view in views
                )
                d_flat, before_flat = d_b.view(steps * rows, -1), before_g.view(steps * rows, hidden)
                # the forward pass once more, but all steps at once
                states_before(before_g, output_h, start_h, blocks, number)
                states_before(before_c, output_c, start_c, blocks, number)
                before_g.mul_(0.5)
                torch.mm(x_b.view(steps * rows, -1), w_t, out=p_b.view(steps * rows, -1))
                torch.mm(before_flat, u_t, out=q_b.view(steps * rows, -1))
                normed_x, mean_x, rstd_x = layer_norm(p_b, gates, gain_x, b, eps_x)
                normed_q, mean, rstd = layer_norm(q_b, gates, gain, None, eps_h)
                torch.add(normed_x, normed_q, out=a_b).sigmoid_()
                normed_c, mean_c, rstd_c = layer_norm(c_b, units, gain_c, shift_c, eps_c)
                torch.sigmoid(normed_c, out=m_b)
                i, f, s, o = a_b.split(hidden, -1)
                d_i, d_f, d_s, d_o_b = d_b.split(hidden, -1)
                keep_b.copy_(f)
                # the derivatives of C_t by the pre-activations of i, f and s, of G_t by that of o and by LN(C_t)
                sigmoid_backward(torch.sub(s, 0.5, out=factor), i, grad_input=d_i)
                sigmoid_backward(before_c, f, grad_input=d_f)
                sigmoid_backward(i, s, grad_input=d_s)
                sigmoid_backward(torch.sub(m_b, 0.5, out=factor), o, grad_input=d_o_b)
                sigmoid_backward(o, m_b, grad_input=normed_b)
                gamma_b.zero_() if direct[0] is None else torch.mul(direct[0][number], 2, out=gamma_b)
                kappa_b.zero_() if direct[1] is None else kappa_b.copy_(direct[1][number])
                gamma_b[-1, : len(carry_g)].add_(carry_g)
                kappa_b[-1, : len(carry_c)].add_(carry_c)
                carry_g, carry_c = x.new_zeros(rows, hidden), x.new_zeros(rows, hidden)
                ordered = steps_of_width[steps - 1 :: -1]
                earlier = [(step[3], step[4]) for step in ordered[1:]]
                statistics = [part.unbind(0)[::-1] for part in (mean, rstd, c_b, mean_c, rstd_c)]
                of_product = []
                for known, of_norms, (to_gamma, to_kappa) in zip(
                    ordered, zip(*statistics, strict=True), [*earlier, (carry_g, carry_c)], strict=True
                ):
                    d, d_c, d_o, gamma, kappa, wide, normed, keep, q = known
                    mu, r, c, mu_c, r_c = of_norms
                    d_o.mul_(gamma)
                    kappa.add_(layer_norm_backward(normed.mul_(gamma), c, units, mu_c, r_c, gain_c, shift_c, INPUT)[0])
                    d_c.mul_(wide)
                    to_kappa.addcmul_(kappa, keep)
                    delta = layer_norm_backward(d, q, gates, mu, r, gain, None, INPUT)[0]
                    of_product.append(delta)
                    to_gamma.addmm_(delta, u)
                grad_u.addmm_(torch.cat(of_product[::-1]).t(), before_flat)
                grad_gain += layer_norm_backward(d_b, q_b, gates, mean, rstd, gain, None, GAIN)[1]
                _, of_gain, of_shift = layer_norm_backward(
                    normed_b, c_b, units, mean_c, rstd_c, gain_c, shift_c, GAIN_AND_SHIFT
                )
                grad_gain_c += of_gain
                grad_shift_c += of_shift
                d_x, of_gain, of_shift = layer_norm_backward(d_b, p_b, gates, mean_x, rstd_x, gain_x, b, ALL)
                grad_gain_x += of_gain
                grad_b += of_shift
                grad_w.addmm_(d_x.view(d_flat.shape).t(), x_b.view(steps * rows, -1))
                if grad_x_b is not None:
                    torch.mm(d_x.view(d_flat.shape), w, out=grad_x_b.view(steps * rows, -1))
        return grad_x, carry_g / 2, carry_c.clone(), *grads, None, None
