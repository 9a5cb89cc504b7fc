"""An LEM layer's forward and backward pass by hand; the equations are in :mod:`rnnlab.cells.lem`.

There tanh is made a sigmoid, which is several times as fast: with v for z/2 and g for y/2, and all constants in the
weights

    σ_1, s_z + ½, σ_2 = σ(W x_t + b + U g_{t-1}),   v_t = v_{t-1} + Δ σ_1 ⊙ (s_z - v_{t-1})
    s_y + ½ = σ(W_y x_t + b_y + U_y v_t),           g_t = g_{t-1} + Δ σ_2 ⊙ (s_y - g_{t-1})

The halves are taken at every step, though the biases could hold them: sums of numbers around ½, most of which a bias
then takes away, are rounded four times as much.

Backward, of what isn't scaled, with γ_t = ∂L/∂y_t and χ_t = ∂L/∂z_t along every path and D_t the gradient of the
pre-activations, whose factors but for γ_t and χ_t are known for a whole block:

    χ_t     = ∂L/∂z_t|direct + (1 - Δ σ_1)_{t+1} ⊙ χ_{t+1} + D_{y,t} W_y
    γ_{t-1} = ∂L/∂y_{t-1}|direct + (1 - Δ σ_2)_t ⊙ γ_t + D_{1z2,t} W_1z2
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


class LEMLayer(Function):
    """``(rows, features)``, y and z ``(batch, hidden)``, the weights, Δ and the blocks to y and z ``(rows, hidden)``.

    The weights are the layer's own: the rows of those of x and of b are of 1, z, 2 and y, of those of y of 1, z and 2.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start_y: Tensor, start_z: Tensor, w: Tensor, b: Tensor, u: Tensor, u_y: Tensor, dt: float,
        blocks: list[Block], save: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """``save`` what the backward pass needs."""
        hidden = start_y.shape[1]
        gates = 3 * hidden
        output_y, output_z = x.new_empty(len(x), hidden), x.new_empty(len(x), hidden)
        kept = empty_blocks(x, blocks, gates, hidden) if save else []  # σ_1, s_z and σ_2; 2 s_y
        # the last two are the lengths of the steps, which are σ itself where Δ = 1
        widths = gates, hidden, hidden, hidden, *(2 * [0 if dt == 1 else hidden])
        scratch = Scratch.of(x, blocks, widths, _forward_views)
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            scale = _scale(hidden, x.dtype)
            w_1z2, w_y = (w * scale).t().split_with_sizes((gates, hidden), 1)
            b_1z2, b_y = (b * scale[:, 0]).split_with_sizes((gates, hidden))
            u_t, u_y_t = (2 * scale[:gates] * u).t().contiguous(), (4 * u_y).t().contiguous()
            half = x.new_tensor(0.5)  # a number would be made a tensor at every step
            g, v = start_y / 2, start_z / 2
            parts = split_rows(x, blocks), split(output_y, blocks), split(output_z, blocks)
            for number, (x_b, y_b, z_b) in enumerate(zip(*parts, strict=True)):
                a_flat, s_flat, used, g_b, new_v, steps = scratch.at(blocks[number])
                # the views of the next block are of the same memory
                g, v = g[: blocks[number].rows].clone(), v[: blocks[number].rows].clone()
                torch.addmm(b_1z2, x_b, w_1z2, out=a_flat)
                torch.addmm(b_y, x_b, w_y, out=s_flat)
                for a, s_y, s_z_t, s_1, s_2, e_1, e_2, next_g, next_v in steps:
                    a.addmm_(g, u_t).sigmoid_()
                    if dt != 1:
                        torch.mul(s_1, dt, out=e_1)
                        torch.mul(s_2, dt, out=e_2)
                    v = torch.lerp(v, s_z_t.sub_(half), e_1, out=next_v)
                    s_y.addmm_(v, u_y_t).sigmoid_()
                    g = torch.lerp(g, s_y.sub_(half), e_2, out=next_g)
                torch.mul(g_b, 2, out=y_b)
                torch.mul(new_v, 2, out=z_b)
                if save:
                    kept[0][number].copy_(used[0])
                    torch.mul(used[1], 2, out=kept[1][number])
        kept_parts = (part for parts in kept for part in parts)
        ctx.save_for_backward(x, start_y, start_z, w, u, u_y, output_y, output_z, *kept_parts)
        ctx.set_materialize_grads(False)
        ctx.blocks, ctx.dt = blocks, dt
        return output_y, output_z

    @staticmethod
    def backward(ctx: Any, direct_y: Tensor | None, direct_z: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_twice(direct_y, direct_z)
        x, start_y, start_z, w, u, u_y, output_y, output_z, *kept = ctx.saved_tensors
        blocks, dt, hidden = ctx.blocks, ctx.dt, u.shape[1]
        grad_w, grad_b = zeros_transposed(w), w.new_zeros(4 * hidden)
        grad_u, grad_u_y = torch.zeros_like(u), torch.zeros_like(u_y)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_x_blocks = None if grad_x is None else split_rows(grad_x, blocks)
        scratch = Scratch.of(x, blocks, (4 * hidden, *(8 * [hidden])), _backward_views)
        carry_y = carry_z = x.new_empty(0, hidden)
        each = split_rows(x, blocks), kept[: len(blocks)], kept[len(blocks) :], split_rows(output_z, blocks)
        direct = [None if part is None else split(part.contiguous(), blocks) for part in (direct_y, direct_z)]
        with_chi = direct[1] is not None
        with torch.inference_mode():
            for number in reversed(range(len(blocks))):
                x_b, a_b, tanh_y, z_b = (part[number] for part in each)
                of_block, steps = scratch.at(blocks[number])
                d_parts, flat, flat_1z2, flat_y, gamma_b, chi_b, first, keeps, before_y, before_z, factor, tanh_z = (
                    of_block
                )
                states_before(before_y, output_y, start_y, blocks, number)
                states_before(before_z, output_z, start_z, blocks, number)
                sigma_1, s_z, sigma_2 = a_b.split_with_sizes((hidden, hidden, hidden), -1)
                d_1, d_z, d_2, d_y = d_parts
                torch.add(s_z, s_z, out=tanh_z)
                # the derivatives of z_t by the pre-activations of σ_1 and its tanh, of y_t by those of σ_2 and its tanh
                for sigma, tanh, before, keep, d_sigma, d_s in (
                    (sigma_1, tanh_z, before_z, keeps[0], d_1, d_z), (sigma_2, tanh_y, before_y, keeps[1], d_2, d_y)
                ):  # fmt: skip
                    torch.sub(tanh, before, out=factor)
                    if dt != 1:
                        factor.mul_(dt)
                    sigmoid_backward(factor, sigma, grad_input=d_sigma)
                    step = sigma if dt == 1 else torch.mul(sigma, dt, out=factor)
                    tanh_backward(step, tanh, grad_input=d_s)
                    torch.sub(1, step, out=keep)
                gamma_b.zero_() if direct[0] is None else gamma_b.copy_(direct[0][number])
                gamma_b[-1, : len(carry_y)].add_(carry_y)
                if direct[1] is None:
                    chi_b[-1].zero_()
                else:
                    chi_b.copy_(direct[1][number])
                chi_b[-1, : len(carry_z)].add_(carry_z)
                for part in first:
                    part.zero_()
                for of_v, of_g, d, d_y_t, gamma, wide_gamma, chi, wide_chi, keep_z, keep_y, *earlier in steps:
                    next_gamma, next_chi = earlier
                    of_g.mul_(wide_gamma)
                    chi.addmm_(d_y_t, u_y)
                    of_v.mul_(wide_chi)
                    next_gamma.addcmul_(gamma, keep_y).addmm_(d, u)
                    next_chi.addcmul_(chi, keep_z) if with_chi else torch.mul(chi, keep_z, out=next_chi)
                carry_y, carry_z = (part.clone() for part in first)
                grad_u.addmm_(flat_1z2.t(), before_y.view(len(flat), hidden))
                grad_u_y.addmm_(flat_y.t(), z_b)
                grad_w.addmm_(x_b.t(), flat)
                grad_b.add_(flat.sum(0))
                if grad_x_blocks is not None:
                    torch.mm(flat, w, out=grad_x_blocks[number])
        return grad_x, carry_y.clone(), carry_z.clone(), grad_w.t(), grad_b, grad_u, grad_u_y, None, None, None


@cache
def _scale(hidden: int, dtype: torch.dtype) -> Tensor:
    """1 for what makes a sigmoid, 2 for what makes a tanh of it; ``(gates, 1)``."""
    return torch.tensor([1.0, 2.0, 1.0, 2.0], dtype=dtype).repeat_interleave(hidden)[:, None]


def _forward_views(a: Tensor, s: Tensor, g: Tensor, v: Tensor, *lengths: Tensor) -> tuple[Any, ...]:
    a, s, g, v = a[:-1], s[:-1], g[:-1], v[:-1]
    sigma_1, s_z, sigma_2 = a.chunk(3, -1)
    step_1, step_2 = (part[:-1] for part in lengths) if lengths[0].numel() else (sigma_1, sigma_2)
    each = a, s, s_z, sigma_1, sigma_2, step_1, step_2, g, v
    steps = list(zip(*(view.unbind(0) for view in each), strict=True))
    return a.flatten(0, 1), s.flatten(0, 1), (a, s), g, v, steps


def _backward_views(d: Tensor, gamma: Tensor, chi: Tensor, *others: Tensor) -> tuple[Any, ...]:
    hidden, d, new_gamma, new_chi = gamma.shape[-1], d[:-1], gamma[1:], chi[1:]
    keep_1, keep_2, before_y, before_z, factor, tanh = (part[:-1] for part in others)
    d_1z, d_2y = d.unflatten(-1, (4, hidden)).split(2, 2)
    d_1z2, d_y = d.split((3 * hidden, hidden), -1)
    each = (
        d_1z, d_2y, d_1z2, d_y, new_gamma, new_gamma[:, :, None], new_chi, new_chi[:, :, None], keep_1, keep_2,
        gamma[:-1], chi[:-1],
    )  # fmt: skip
    steps = list(zip(*(view.unbind(0)[::-1] for view in each), strict=True))
    flat = d.flatten(0, 1)
    first, keeps = (gamma[0], chi[0]), (keep_1, keep_2)
    of_block = (
        d.split(hidden, -1), flat, flat[:, : 3 * hidden], flat[:, 3 * hidden :], new_gamma, new_chi, first, keeps,
        before_y, before_z, factor, tanh,
    )  # fmt: skip
    return of_block, steps
