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

from rnnlab.cells.bptt import Block, Scratch, refuse_twice, sigmoid_backward, split, states_before


class UnICORNNLayer(Function):
    """p ``(rows, hidden)``, y and z ``(batch, hidden)``, u, e, α and the blocks to y and z ``(rows, hidden)``."""

    @staticmethod
    def forward(
        ctx: Any, p: Tensor, start_y: Tensor, start_z: Tensor, u: Tensor, e: Tensor, alpha: float,
        blocks: list[Block], save: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """``save`` what the backward pass needs."""
        output_y, output_z = torch.empty_like(p), torch.empty_like(p)
        saved = p.new_empty(p.shape if save else 0)
        saved_blocks = split(saved, blocks) if save else []
        scratch = Scratch(p, blocks, *(3 * [start_y.shape[1]]))
        minus_2e, factor_y = -2 * e, -alpha * e
        y, z, width, steps_of_width = start_y, start_z, 0, []
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            for number, (p_b, y_b, z_b) in enumerate(
                zip(split(p, blocks), split(output_y, blocks), split(output_z, blocks), strict=True)
            ):
                steps, rows = blocks[number]
                if rows != width:
                    y, z = y[:rows].clone(), z[:rows].clone()
                    width, views = rows, scratch.views(rows)
                    s_all, y_all, z_all = views
                    steps_of_width = list(zip(*(view.unbind(0) for view in views), strict=True))
                s_all[:steps].copy_(p_b)
                for s, next_y, next_z in steps_of_width[:steps]:
                    s.addcmul_(u, y).sigmoid_()
                    # ½ off, so that s itself stays as it is for the backward pass
                    z = torch.addcmul(z, factor_y, y, out=next_z).addcmul_(minus_2e, s).add_(e)
                    y = torch.addcmul(y, e, z, out=next_y)
                y_b.copy_(y_all[:steps])
                z_b.copy_(z_all[:steps])
                if save:
                    saved_blocks[number].copy_(s_all[:steps])
        ctx.save_for_backward(start_y, u, e, saved, output_y, output_z)
        ctx.set_materialize_grads(False)
        ctx.blocks, ctx.alpha = blocks, alpha
        return output_y, output_z

    @staticmethod
    def backward(ctx: Any, direct_y: Tensor | None, direct_z: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_twice()
        start_y, u, e, saved, output_y, output_z = ctx.saved_tensors
        blocks, alpha, hidden = ctx.blocks, ctx.alpha, len(u)
        grad_p, grad_u, grad_e = torch.empty_like(saved), torch.zeros_like(u), torch.zeros_like(e)
        scratch = Scratch(saved, blocks, *(5 * [hidden]))
        minus_2e, factor_y = -2 * e, -alpha * e
        carry_y = carry_z = saved.new_empty(0, hidden)
        width, steps_of_width = 0, []
        each = [split(part, blocks) for part in (saved, output_z, grad_p)]
        direct = [None if part is None else split(part.contiguous(), blocks) for part in (direct_y, direct_z)]
        with torch.inference_mode():
            for number in reversed(range(len(blocks))):
                (steps, rows), (s_b, z_b, grad_p_b) = blocks[number], (part[number] for part in each)
                if rows != width:
                    width, views = rows, scratch.views(rows)
                    steps_of_width = list(zip(*(view.unbind(0) for view in views[:3]), strict=True))
                d_b, eta_b, zeta_b, before, factor = (view[:steps] for view in views)
                states_before(before, output_y, start_y, blocks, number)
                d_b.copy_(sigmoid_backward(minus_2e.expand_as(s_b), s_b, grad_input=factor))
                for delta_b, known, carry in ((eta_b, direct[0], carry_y), (zeta_b, direct[1], carry_z)):
                    delta_b.zero_() if known is None else delta_b.copy_(known[number])
                    delta_b[-1, : len(carry)].add_(carry)
                carry_y, carry_z = saved.new_zeros(rows, hidden), saved.new_zeros(rows, hidden)
                ordered = steps_of_width[steps - 1 :: -1]
                earlier = [step[1:] for step in ordered[1:]]
                for (d, eta, zeta), (to_eta, to_zeta) in zip(ordered, [*earlier, (carry_y, carry_z)], strict=True):
                    zeta.addcmul_(e, eta)
                    d.mul_(zeta)
                    to_zeta.add_(zeta)
                    to_eta.add_(eta).addcmul_(factor_y, zeta).addcmul_(u, d)
                grad_p_b.copy_(d_b)
                grad_u += torch.mul(d_b, before, out=factor).sum((0, 1))
                # of e: where it stands before the force, and where it stands before z
                force = torch.add(s_b, before, alpha=alpha / 2, out=factor).sub_(0.5).mul_(-2)
                grad_e += force.mul_(zeta_b).addcmul_(eta_b, z_b).sum((0, 1))
        return grad_p, carry_y.clone(), carry_z.clone(), grad_u, grad_e, None, None, None
