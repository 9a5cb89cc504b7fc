"""An LEM layer's forward and backward pass by hand; the equations are in :mod:`rnnlab.cells.lem`.

There tanh is made a sigmoid, which is several times as fast: with v for (z + 1)/2 and g for (y + 1)/2

    σ_1, s_z, σ_2 = σ(W x_t + b + U g_{t-1}),       v_t = v_{t-1} + Δ σ_1 ⊙ (s_z - v_{t-1})
    s_y = σ(W_y x_t + b_y + U_y v_t),               g_t = g_{t-1} + Δ σ_2 ⊙ (s_y - g_{t-1})

Backward, with γ_t = ∂L/∂g_t and χ_t = ∂L/∂v_t along every path and D_t the gradient of the
pre-activations, whose factors but for γ_t and χ_t are known for a whole block:

    χ_t     = ∂L/∂v_t|direct + (1 - Δ σ_1)_{t+1} ⊙ χ_{t+1} + D_{y,t} U_y
    γ_{t-1} = ∂L/∂g_{t-1}|direct + (1 - Δ σ_2)_t ⊙ γ_t + D_{1z2,t} U
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.bptt import Block, Scratch, refuse_twice, sigmoid_backward, split, states_before


class LEMLayer(Function):
    """``(rows, features)``, y and v ``(batch, hidden)``, W, b, U, U_y, Δ and the blocks to y and v ``(rows, hidden)``.

    The rows of W and b are those of 1, z, 2 and y, the rows of U those of 1, z and 2.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start_y: Tensor, start_v: Tensor, w: Tensor, b: Tensor, u: Tensor, u_y: Tensor, dt: float,
        blocks: list[Block], save: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """``save`` what the backward pass needs."""
        hidden = start_y.shape[1]
        gates = 3 * hidden
        w_t, u_t, u_y_t = w.t(), u.t().contiguous(), u_y.t().contiguous()
        output_y, output_v = x.new_empty(len(x), hidden), x.new_empty(len(x), hidden)
        saved = [x.new_empty(len(x), size) if save else x.new_empty(0) for size in (gates, hidden)]
        kept = [split(part, blocks) for part in saved] if save else []
        scratch = Scratch(x, blocks, gates, hidden, hidden, hidden)
        g, v, width, steps_of_width = (start_y + 1) / 2, start_v, 0, []
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            for number, (x_b, y_b, v_b) in enumerate(
                zip(split(x, blocks), split(output_y, blocks), split(output_v, blocks), strict=True)
            ):
                steps, rows = blocks[number]
                g, v = g[:rows], v[:rows]
                if rows != width:
                    g, v = g.clone(), v.clone()
                    width, (a_all, s_all, g_all, v_all) = rows, scratch.views(rows)
                    sigma_1, s_z, sigma_2 = (part.unbind(0) for part in a_all.split(hidden, -1))
                    step_1, step_2 = sigma_1, sigma_2
                    if dt != 1:
                        step_1, step_2 = (torch.empty_like(g_all).unbind(0) for _ in range(2))
                    steps_of_width = list(
                        zip(
                            a_all.unbind(0), s_all.unbind(0), s_z, sigma_1, sigma_2, step_1, step_2,
                            g_all.unbind(0), v_all.unbind(0), strict=True,
                        )
                    )  # fmt: skip
                x_flat = x_b.view(steps * rows, -1)
                torch.addmm(b[:gates], x_flat, w_t[:, :gates], out=a_all[:steps].view(steps * rows, -1))
                torch.addmm(b[gates:], x_flat, w_t[:, gates:], out=s_all[:steps].view(steps * rows, -1))
                for a, s_y, s_z_t, s_1, s_2, e_1, e_2, next_g, next_v in steps_of_width[:steps]:
                    a.addmm_(g, u_t).sigmoid_()
                    if dt != 1:
                        torch.mul(s_1, dt, out=e_1)
                        torch.mul(s_2, dt, out=e_2)
                    v = torch.lerp(v, s_z_t, e_1, out=next_v)
                    s_y.addmm_(v, u_y_t).sigmoid_()
                    g = torch.lerp(g, s_y, e_2, out=next_g)
                torch.sub(g_all[:steps], 0.5, out=y_b).mul_(2)
                v_b.copy_(v_all[:steps])
                if save:
                    for part, used in zip(kept, (a_all, s_all), strict=True):
                        part[number].copy_(used[:steps])
        ctx.save_for_backward(x, start_y, start_v, w, u, u_y, *saved, output_y, output_v)
        ctx.set_materialize_grads(False)
        ctx.blocks, ctx.dt = blocks, dt
        return output_y, output_v

    @staticmethod
    def backward(ctx: Any, direct_y: Tensor | None, direct_v: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_twice()
        x, start_y, start_v, w, u, u_y, all_a, all_s, output_y, output_v = ctx.saved_tensors
        blocks, dt, hidden = ctx.blocks, ctx.dt, u.shape[1]
        gates = 3 * hidden
        grad_w, grad_b = torch.zeros_like(w), w.new_zeros(4 * hidden)
        grad_u, grad_u_y = torch.zeros_like(u), torch.zeros_like(u_y)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_x_blocks = [None] * len(blocks) if grad_x is None else split(grad_x, blocks)
        scratch = Scratch(x, blocks, 4 * hidden, *(7 * [hidden]))
        carry_g = carry_v = x.new_empty(0, hidden)
        width, steps_of_width = 0, []
        each = [split(part, blocks) for part in (x, all_a, all_s, output_v)]
        direct = [None if part is None else split(part.contiguous(), blocks) for part in (direct_y, direct_v)]
        with torch.inference_mode():
            for number in reversed(range(len(blocks))):
                (steps, rows), (x_b, a_b, s_y, v_b) = blocks[number], (part[number] for part in each)
                grad_x_b = grad_x_blocks[number]
                if rows != width:
                    width, views = rows, scratch.views(rows)
                    d_all, gamma_all, chi_all, keep_1, keep_2 = views[:5]
                    d_1z, d_2y = d_all.view(-1, rows, 4, hidden).split(2, 2)
                    steps_of_width = list(
                        zip(
                            d_1z.unbind(0), d_2y.unbind(0), d_all[..., :gates].unbind(0), d_all[..., gates:].unbind(0),
                            gamma_all.unbind(0), gamma_all[:, :, None].unbind(0), chi_all.unbind(0),
                            chi_all[:, :, None].unbind(0), keep_1.unbind(0), keep_2.unbind(0), strict=True,
                        )
                    )  # fmt: skip
                d_b, gamma_b, chi_b, keep_1_b, keep_2_b, before_g, before_v, factor = (view[:steps] for view in views)
                states_before(before_g, output_y, start_y, blocks, number)
                before_g.add_(1).mul_(0.5)
                states_before(before_v, output_v, start_v, blocks, number)
                sigma_1, s_z, sigma_2 = a_b.split(hidden, -1)
                d_1, d_z, d_2, d_y = d_b.split(hidden, -1)
                # the derivatives of v_t by the pre-activations of σ_1 and s_z, of g_t by those of σ_2 and s_y
                for sigma, s, before, keep, d_sigma, d_s in (
                    (sigma_1, s_z, before_v, keep_1_b, d_1, d_z), (sigma_2, s_y, before_g, keep_2_b, d_2, d_y)
                ):  # fmt: skip
                    torch.sub(s, before, out=factor)
                    if dt != 1:
                        factor.mul_(dt)
                    sigmoid_backward(factor, sigma, grad_input=d_sigma)
                    step = sigma if dt == 1 else torch.mul(sigma, dt, out=factor)
                    sigmoid_backward(step, s, grad_input=d_s)
                    torch.sub(1, step, out=keep)
                gamma_b.zero_() if direct[0] is None else torch.mul(direct[0][number], 2, out=gamma_b)
                chi_b.zero_() if direct[1] is None else chi_b.copy_(direct[1][number])
                gamma_b[-1, : len(carry_g)].add_(carry_g)
                chi_b[-1, : len(carry_v)].add_(carry_v)
                carry_g, carry_v = x.new_zeros(rows, hidden), x.new_zeros(rows, hidden)
                ordered = steps_of_width[steps - 1 :: -1]
                earlier = [(step[4], step[6]) for step in ordered[1:]]
                for known, (next_gamma, next_chi) in zip(ordered, [*earlier, (carry_g, carry_v)], strict=True):
                    of_v, of_g, d, d_y_t, gamma, wide_gamma, chi, wide_chi, keep_z, keep_y = known
                    of_g.mul_(wide_gamma)
                    chi.addmm_(d_y_t, u_y)
                    of_v.mul_(wide_chi)
                    next_gamma.addcmul_(gamma, keep_y).addmm_(d, u)
                    next_chi.addcmul_(chi, keep_z)
                flat = d_b.view(steps * rows, -1)
                grad_u.addmm_(flat[:, :gates].t(), before_g.view(steps * rows, -1))
                grad_u_y.addmm_(flat[:, gates:].t(), v_b.view(steps * rows, -1))
                grad_w.addmm_(flat.t(), x_b.view(steps * rows, -1))
                grad_b += flat.sum(0)
                if grad_x_b is not None:
                    torch.mm(flat, w, out=grad_x_b.view(steps * rows, -1))
        return grad_x, carry_g / 2, carry_v.clone(), grad_w, grad_b, grad_u, grad_u_y, None, None, None
