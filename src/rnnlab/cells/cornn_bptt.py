"""A coRNN layer's forward and backward pass by hand; the equations are in :mod:`rnnlab.cells.cornn`.

There tanh is made a sigmoid, which is several times as fast, and the velocity v counts in units of 2Δ:

    s_t = σ(W x_t + b + U [y, v]_{t-1})
    v_t = κ v_{t-1} + s_t - ½ - ρ y_{t-1},    y_t = y_{t-1} + τ v_t,    κ = 1 - Δε, ρ = γ/2, τ = 2Δ²

Backward, with η_t = ∂L/∂y_t and χ_t = ∂L/∂v_t along every path, D_t = s_t ⊙ (1 - s_t) ⊙ χ_t:

    χ_t ← χ_t + τ η_t,    [η, χ]_{t-1} = ∂L/∂[y, v]_{t-1}|direct + [η_t - ρ χ_t, κ χ_t] + D_t U
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.bptt import (
    Scratch,
    empty_blocks,
    refuse_twice,
    split,
    split_rows,
    states_before,
    zeros_transposed,
)
from rnnlab.cells.varying_lengths import Block


class CoRNNLayer(Function):
    """``(rows, features)``, y, v ``(batch, hidden)``, W, b, U, κ, ρ, τ and the blocks to y and v ``(rows, hidden)``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start_y: Tensor, start_v: Tensor, w: Tensor, b: Tensor, u: Tensor,
        kappa: float, rho: float, tau: float, blocks: list[Block], save: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """``save`` what the backward pass needs."""
        hidden = start_y.shape[1]
        output_y, output_v = x.new_empty(len(x), hidden), x.new_empty(len(x), hidden)
        (kept,) = empty_blocks(x, blocks, hidden) if save else ([],)
        scratch = Scratch.of(x, blocks, (hidden, 2 * hidden), _forward_views)
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            w_t, u_t = w.t(), u.t().contiguous()
            state = torch.cat([start_y, start_v], 1)
            parts = split_rows(x, blocks), split(output_y, blocks), split(output_v, blocks)
            for number, (x_b, y_b, v_b) in enumerate(zip(*parts, strict=True)):
                block = blocks[number]
                flat, s_b, first, last, new_y, new_v, steps = scratch.at(block)
                torch.addmm(b, x_b, w_t, out=flat)
                first.copy_(state[: block.rows])
                for s, (before, y, v), (_, next_y, next_v) in steps:
                    s.addmm_(before, u_t).sigmoid_()
                    torch.sub(s, y, alpha=rho, out=next_v).sub_(0.5).add_(v, alpha=kappa)
                    torch.add(y, next_v, alpha=tau, out=next_y)
                state = last.clone()  # the views of the next block are of the same memory
                y_b.copy_(new_y)
                v_b.copy_(new_v)
                if save:
                    kept[number].copy_(s_b)
        ctx.save_for_backward(x, start_y, start_v, w, u, output_y, output_v, *kept)
        ctx.set_materialize_grads(False)
        ctx.blocks, ctx.numbers = blocks, (kappa, rho, tau)
        return output_y, output_v

    @staticmethod
    def backward(ctx: Any, direct_y: Tensor | None, direct_v: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_twice(direct_y, direct_v)
        x, start_y, start_v, w, u, output_y, output_v, *kept = ctx.saved_tensors
        blocks, (kappa, rho, tau), hidden = ctx.blocks, ctx.numbers, len(u)
        grad_w, grad_b, grad_u = zeros_transposed(w), w.new_zeros(hidden), torch.zeros_like(u)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        scratch = Scratch.of(x, blocks, (hidden, 2 * hidden, 2 * hidden), _backward_views)
        direct = [None if part is None else split(part.contiguous(), blocks) for part in (direct_y, direct_v)]
        with torch.inference_mode():
            carry: Tensor | None = None
            grad_x_blocks = None if grad_x is None else split_rows(grad_x, blocks)
            x_blocks = split_rows(x, blocks)
            for number in reversed(range(len(blocks))):
                x_b, s_b = x_blocks[number], kept[number]
                flat, d_b, before, y_b, v_b, eta_b, chi_b, last, first, steps = scratch.at(blocks[number])
                states_before(y_b, output_y, start_y, blocks, number)
                states_before(v_b, output_v, start_v, blocks, number)
                # σ' = σ - σ²
                torch.addcmul(s_b, s_b, s_b, value=-1, out=d_b)
                first.zero_()
                for part, known in ((eta_b, direct[0]), (chi_b, direct[1])):
                    part.zero_() if known is None else part.copy_(known[number])
                if carry is not None:
                    last[: len(carry)].add_(carry)
                for d, (_, eta, chi), (earlier, earlier_eta, earlier_chi) in steps:
                    chi.add_(eta, alpha=tau)
                    earlier.addmm_(d.mul_(chi), u)
                    earlier_eta.add_(eta).sub_(chi, alpha=rho)
                    earlier_chi.add_(chi, alpha=kappa)
                carry = first.clone()
                grad_u.addmm_(flat.t(), before)
                grad_w.addmm_(x_b.t(), flat)
                grad_b.add_(flat.sum(0))
                if grad_x_blocks is not None:
                    torch.mm(flat, w, out=grad_x_blocks[number])
        assert carry is not None
        grad_y, grad_v = (part.clone() for part in carry.split(hidden, 1))
        return grad_x, grad_y, grad_v, grad_w.t(), grad_b, grad_u, None, None, None, None, None


def _forward_views(s: Tensor, state: Tensor) -> tuple[Any, ...]:
    s, (y, v) = s[:-1], state.chunk(2, -1)
    states = list(zip(state.unbind(0), y.unbind(0), v.unbind(0), strict=True))
    steps = list(zip(s.unbind(0), states[:-1], states[1:], strict=True))
    return s.flatten(0, 1), s, state[0], state[-1], y[1:], v[1:], steps


def _backward_views(d: Tensor, delta: Tensor, before: Tensor) -> tuple[Any, ...]:
    d, before, (eta, chi) = d[:-1], before[:-1], delta.chunk(2, -1)
    deltas = list(zip(delta.unbind(0), eta.unbind(0), chi.unbind(0), strict=True))
    # the first is that of the state before the block
    steps = list(zip(d.unbind(0), deltas[1:], deltas[:-1], strict=True))[::-1]
    before_flat = before.flatten(0, 1)
    return d.flatten(0, 1), d, before_flat, *before.chunk(2, -1), eta[1:], chi[1:], delta[-1], delta[0], steps
