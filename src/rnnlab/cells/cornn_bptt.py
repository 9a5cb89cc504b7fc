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

from rnnlab.cells.bptt import Block, Scratch, refuse_twice, split, states_before


class CoRNNLayer(Function):
    """``(rows, features)``, y, v ``(batch, hidden)``, W, b, U, κ, ρ, τ and the blocks to y and v ``(rows, hidden)``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start_y: Tensor, start_v: Tensor, w: Tensor, b: Tensor, u: Tensor,
        kappa: float, rho: float, tau: float, blocks: list[Block], save: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """``save`` what the backward pass needs."""
        hidden = start_y.shape[1]
        w_t, u_t = w.t(), u.t().contiguous()
        output_y, output_v = x.new_empty(len(x), hidden), x.new_empty(len(x), hidden)
        saved = x.new_empty(len(x) if save else 0, hidden)
        saved_blocks = split(saved, blocks) if save else []
        scratch = Scratch(x, blocks, hidden, 2 * hidden)
        state, width, steps_of_width = torch.cat([start_y, start_v], 1), 0, []
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            for number, (x_b, y_b, v_b) in enumerate(
                zip(split(x, blocks), split(output_y, blocks), split(output_v, blocks), strict=True)
            ):
                steps, rows = blocks[number]
                state = state[:rows].clone()
                if rows != width:
                    width, (s_all, state_all) = rows, scratch.views(rows)
                    y_all, v_all = state_all.split(hidden, -1)
                    of_states = list(zip(state_all.unbind(0), y_all.unbind(0), v_all.unbind(0), strict=True))
                    steps_of_width = list(zip(s_all.unbind(0), of_states, of_states[1:], strict=False))
                torch.addmm(b, x_b.view(steps * rows, -1), w_t, out=s_all[:steps].view(steps * rows, -1))
                state_all[0].copy_(state)
                for s, (before, y, v), (_, next_y, next_v) in steps_of_width[:steps]:
                    s.addmm_(before, u_t).sigmoid_()
                    torch.sub(s, y, alpha=rho, out=next_v).sub_(0.5).add_(v, alpha=kappa)
                    torch.add(y, next_v, alpha=tau, out=next_y)
                state = state_all[steps]
                y_b.copy_(y_all[1 : steps + 1])
                v_b.copy_(v_all[1 : steps + 1])
                if save:
                    saved_blocks[number].copy_(s_all[:steps])
        ctx.save_for_backward(x, start_y, start_v, w, u, saved, output_y, output_v)
        ctx.set_materialize_grads(False)
        ctx.blocks, ctx.numbers = blocks, (kappa, rho, tau)
        return output_y, output_v

    @staticmethod
    def backward(ctx: Any, direct_y: Tensor | None, direct_v: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_twice()
        x, start_y, start_v, w, u, saved, output_y, output_v = ctx.saved_tensors
        blocks, (kappa, rho, tau), hidden = ctx.blocks, ctx.numbers, len(u)
        grad_w, grad_b, grad_u = torch.zeros_like(w), w.new_zeros(hidden), torch.zeros_like(u)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_x_blocks = [None] * len(blocks) if grad_x is None else split(grad_x, blocks)
        scratch = Scratch(x, blocks, hidden, 2 * hidden, 2 * hidden)
        carry, width, steps_of_width = x.new_zeros(0, 2 * hidden), 0, []
        each = [split(part, blocks) for part in (x, saved)]
        direct = [None if part is None else split(part.contiguous(), blocks) for part in (direct_y, direct_v)]
        with torch.inference_mode():
            for number in reversed(range(len(blocks))):
                (steps, rows), (x_b, s_b) = blocks[number], (part[number] for part in each)
                grad_x_b = grad_x_blocks[number]
                if rows != width:
                    width, views = rows, scratch.views(rows)
                    d_all, delta_all, before_all = views
                    eta_all, chi_all = delta_all.split(hidden, -1)
                    deltas = list(zip(delta_all.unbind(0), eta_all.unbind(0), chi_all.unbind(0), strict=True))
                    # of the state after step s, the step whose factor is d
                    steps_of_width = list(zip(d_all.unbind(0), deltas[1:], deltas, strict=False))
                d_b, before = d_all[:steps], before_all[:steps]
                states_before(before[..., :hidden], output_y, start_y, blocks, number)
                states_before(before[..., hidden:], output_v, start_v, blocks, number)
                # σ' = σ - σ²
                torch.addcmul(s_b, s_b, s_b, value=-1, out=d_b)
                # the first is that of the state before the block
                delta_all[0].zero_()
                for part_all, known in ((eta_all, direct[0]), (chi_all, direct[1])):
                    part = part_all[1 : steps + 1]
                    part.zero_() if known is None else part.copy_(known[number])
                delta_all[steps, : len(carry)].add_(carry)
                for d, (_, eta, chi), (earlier, earlier_eta, earlier_chi) in steps_of_width[steps - 1 :: -1]:
                    chi.add_(eta, alpha=tau)
                    earlier.addmm_(d.mul_(chi), u)
                    earlier_eta.add_(eta).sub_(chi, alpha=rho)
                    earlier_chi.add_(chi, alpha=kappa)
                carry = delta_all[0].clone()
                flat = d_b.view(steps * rows, hidden)
                grad_u.addmm_(flat.t(), before.view(steps * rows, -1))
                grad_w.addmm_(flat.t(), x_b.view(steps * rows, -1))
                grad_b += flat.sum(0)
                if grad_x_b is not None:
                    torch.mm(flat, w, out=grad_x_b.view(steps * rows, -1))
        grad_y, grad_v = (part.clone() for part in carry.split(hidden, 1))
        return grad_x, grad_y, grad_v, grad_w, grad_b, grad_u, None, None, None, None, None
