"""A UnICORNN layer's forward and backward pass by hand; the equations are in :mod:`rnnlab.cells.unicornn`.

There tanh is made a sigmoid, which is several times as fast; p is the input's part, e the units' time steps:

    s_t = σ(p_t + u ⊙ y_{t-1}),    z_t = z_{t-1} - e ⊙ (2 s_t - 1 + α y_{t-1}),    y_t = y_{t-1} + e ⊙ z_t

Backward, with η_t = ∂L/∂y_t and ζ_t = ∂L/∂z_t along every path and f_t = -2 e ⊙ s_t ⊙ (1 - s_t):

    ζ_t ← ζ_t + e ⊙ η_t,    D_t = f_t ⊙ ζ_t,    ζ_{t-1} = ∂L/∂z_{t-1}|direct + ζ_t
    η_{t-1} = ∂L/∂y_{t-1}|direct + η_t - α e ⊙ ζ_t + u ⊙ D_t
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.bptt import Scratch, empty_blocks, refuse_twice, sigmoid_backward, split, states_before
from rnnlab.cells.varying_lengths import Block


class UnICORNNLayer(Function):
    """p ``(rows, hidden)``, y and z ``(batch, hidden)``, u, e, α and the blocks to y and z ``(rows, hidden)``."""

    @staticmethod
    def forward(
        ctx: Any, p: Tensor, start_y: Tensor, start_z: Tensor, u: Tensor, e: Tensor, alpha: float,
        blocks: list[Block], save: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """``save`` what the backward pass needs."""
        output_y, output_z = torch.empty_like(p), torch.empty_like(p)
        hidden = start_y.shape[1]
        (kept,) = empty_blocks(p, blocks, hidden) if save else ([],)
        scratch = Scratch.of(p, blocks, (hidden, hidden, hidden), _forward_views)
        minus_2e, factor_y = -2 * e, -alpha * e
        y, z = start_y, start_z
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            for number, (p_b, y_b, z_b) in enumerate(
                zip(split(p, blocks), split(output_y, blocks), split(output_z, blocks), strict=True)
            ):
                s_b, new_y, new_z, steps = scratch.at(blocks[number])
                # the views of the next block are of the same memory
                y, z = y[: blocks[number].rows].clone(), z[: blocks[number].rows].clone()
                s_b.copy_(p_b)
                for s, next_y, next_z in steps:
                    s.addcmul_(u, y).sigmoid_()
                    # ½ off, so that s itself stays as it is for the backward pass
                    z = torch.addcmul(z, factor_y, y, out=next_z).addcmul_(minus_2e, s).add_(e)
                    y = torch.addcmul(y, e, z, out=next_y)
                y_b.copy_(new_y)
                z_b.copy_(new_z)
                if save:
                    kept[number].copy_(s_b)
        ctx.save_for_backward(start_y, u, e, output_y, output_z, *kept)
        ctx.set_materialize_grads(False)
        ctx.blocks, ctx.alpha = blocks, alpha
        return output_y, output_z

    @staticmethod
    def backward(ctx: Any, direct_y: Tensor | None, direct_z: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_twice(direct_y, direct_z)
        start_y, u, e, output_y, output_z, *kept = ctx.saved_tensors
        blocks, alpha, hidden = ctx.blocks, ctx.alpha, len(u)
        grad_p, grad_u, grad_e = torch.empty_like(output_y), torch.zeros_like(u), torch.zeros_like(e)
        scratch = Scratch.of(output_y, blocks, (5 * (hidden,)), _backward_views)
        minus_2e, factor_y = -2 * e, -alpha * e
        carry_y = carry_z = output_y.new_empty(0, hidden)
        each = kept, split(output_z, blocks), split(grad_p, blocks)
        direct = [None if part is None else split(part.contiguous(), blocks) for part in (direct_y, direct_z)]
        with torch.inference_mode():
            for number in reversed(range(len(blocks))):
                s_b, z_b, grad_p_b = (part[number] for part in each)
                d_b, eta_b, zeta_b, first, before, factor, steps = scratch.at(blocks[number])
                states_before(before, output_y, start_y, blocks, number)
                d_b.copy_(sigmoid_backward(minus_2e.expand_as(s_b), s_b, grad_input=factor))
                for delta_b, known, carry in ((eta_b, direct[0], carry_y), (zeta_b, direct[1], carry_z)):
                    delta_b.zero_() if known is None else delta_b.copy_(known[number])
                    delta_b[-1, : len(carry)].add_(carry)
                for part in first:
                    part.zero_()
                for d, eta, zeta, to_eta, to_zeta in steps:
                    zeta.addcmul_(e, eta)
                    d.mul_(zeta)
                    to_zeta.add_(zeta)
                    to_eta.add_(eta).addcmul_(factor_y, zeta).addcmul_(u, d)
                carry_y, carry_z = (part.clone() for part in first)
                grad_p_b.copy_(d_b)
                grad_u += torch.mul(d_b, before, out=factor).sum((0, 1))
                # of e: where it stands before the force, and where it stands before z
                force = torch.add(s_b, before, alpha=alpha / 2, out=factor).sub_(0.5).mul_(-2)
                grad_e += force.mul_(zeta_b).addcmul_(eta_b, z_b).sum((0, 1))
        return grad_p, carry_y.clone(), carry_z.clone(), grad_u, grad_e, None, None, None


def _forward_views(s: Tensor, y: Tensor, z: Tensor) -> tuple[Any, ...]:
    views = s[:-1], y[:-1], z[:-1]
    return *views, list(zip(*(view.unbind(0) for view in views), strict=True))


def _backward_views(d: Tensor, eta: Tensor, zeta: Tensor, before: Tensor, factor: Tensor) -> tuple[Any, ...]:
    views = d[:-1], eta[1:], zeta[1:], eta[:-1], zeta[:-1]
    steps = list(zip(*(view.unbind(0)[::-1] for view in views), strict=True))
    return *views[:3], (eta[0], zeta[0]), before[:-1], factor[:-1], steps
