"""An sLSTM layer's forward and backward pass by hand; the equations are in :mod:`rnnlab.cells.slstm`.

There tanh is made a sigmoid, which is several times as fast, and with φ for -f̃ it is log σ(f̃) = -softplus(φ).

Backward, with χ_t = ∂L/∂c_t, ψ_t = ∂L/∂n_t and γ_t = ∂L/∂h_t along every path, r = c/n, D_t the gradient of the
pre-activations, all factors but γ, χ and ψ are known for a whole block:

    χ_t = ∂L/∂c_t|direct + f_{t+1} ⊙ χ_{t+1} + o_t/n_t ⊙ γ_t
    ψ_t = ∂L/∂n_t|direct + f_{t+1} ⊙ ψ_{t+1} - r_t o_t/n_t ⊙ γ_t
    D_t = (i (χ z + ψ),  -f σ(φ) ⊙ (χ c_{t-1} + ψ n_{t-1}),  χ i z',  γ r o')
    γ_{t-1} = ∂L/∂h_{t-1}|direct + D_t R

No gradient passes through the stabiliser: another m multiplies c and n by the same number, and h is their ratio. Only
who asks for the gradient of c, n or m themselves, as handed out, sees m: with μ_t for what of that is left to it,

    μ_t = (∂L/∂m - ∂L/∂c ⊙ c - ∂L/∂n ⊙ n)_t|direct + [f_{t+1} = 1] ⊙ μ_{t+1}

goes to the larger of the two that m_t is the maximum of, and half to each where they are equal.
"""

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

softplus = torch.ops.aten.softplus.out
EXACT = 80.0
"""Above it exp overflows float32, and softplus is its argument to the last digit."""


class SLSTMLayer(Function):
    """``(rows, features)``, h, c, n and m ``(batch, hidden)``, W, b, R and the blocks to h, c, n, m ``(rows, hidden)``.

    The rows of the weights are those of i, φ, z and o, in this order, those of z twice what they are.

    Args:
        negligible: see :data:`rnnlab.cells.slstm.NEGLIGIBLE`.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start_h: Tensor, start_c: Tensor, start_n: Tensor, start_m: Tensor,
        w: Tensor, b: Tensor, u: Tensor, negligible: float, blocks: list[Block], save: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """``save`` what the backward pass needs."""
        hidden = start_h.shape[1]
        outputs = [x.new_empty(len(x), hidden) for _ in range(4)]
        kept = empty_blocks(x, blocks, 4 * hidden, hidden) if save else []
        scratch = Scratch.of(x, blocks, (4 * hidden, *(5 * [hidden])), _forward_views)
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            w_t, u_t = w.t(), u.t().contiguous()
            state = [start_h, start_c, start_n, start_m]
            unbegun: Tensor | None = start_n[: blocks[0].rows] == 0
            parts = [split(part, blocks) for part in outputs]
            for number, x_b in enumerate(split_rows(x, blocks)):
                flat, used, made, steps = scratch.at(blocks[number])
                # the views of the next block are of the same memory
                h, c, n, m = (part[: blocks[number].rows].clone() for part in state)
                torch.addmm(b, x_b, w_t, out=flat)
                for a, squashed, phi, i, both, keep, z, o, decay, next_h, next_c, next_n, next_m in steps:
                    a.addmm_(h, u_t)
                    squashed.sigmoid_()
                    softplus(phi, 1.0, EXACT, out=decay)
                    torch.sub(m, decay, out=phi)
                    if unbegun is not None:
                        phi.masked_fill_(unbegun & (phi - i > negligible), -torch.inf)
                        unbegun = None
                    m = torch.maximum(phi, i, out=next_m)
                    both.sub_(m[:, None]).exp_()
                    c = torch.mul(keep, c, out=next_c).addcmul_(i, z, value=2).sub_(i)
                    n = torch.addcmul(i, keep, n, out=next_n)
                    h = torch.div(c, n, out=next_h).mul_(o)
                state = [h, c, n, m]
                for part, values in zip(parts, made, strict=True):
                    part[number].copy_(values)
                if save:
                    for saved, values in zip(kept, used, strict=True):
                        saved[number].copy_(values)
        of_blocks = (part for parts in kept for part in parts)
        ctx.save_for_backward(x, w, u, start_h, start_c, start_n, *outputs[:3], *of_blocks)
        ctx.set_materialize_grads(False)
        ctx.blocks = blocks
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *direct: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_twice(*direct)
        x, w, u, start_h, start_c, start_n, output_h, output_c, output_n, *kept = ctx.saved_tensors
        blocks, hidden = ctx.blocks, u.shape[1]
        grad_w, grad_b, grad_u = zeros_transposed(w), w.new_zeros(4 * hidden), torch.zeros_like(u)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_x_blocks = None if grad_x is None else split_rows(grad_x, blocks)
        scratch = Scratch.of(x, blocks, (4 * hidden, hidden, *(3 * [2 * hidden]), *(5 * [hidden])), _backward_views)
        each = split_rows(x, blocks), kept[: len(blocks)], kept[len(blocks) :], *(
            split(part, blocks) for part in (output_c, output_n)
        )  # fmt: skip
        of_h, *of_others = (None if part is None else split(part.contiguous(), blocks) for part in direct)
        carry = x.new_empty(0, hidden)
        carry_both, left_to_m = x.new_empty(0, 2, hidden), x.new_zeros(0, hidden)
        with torch.inference_mode():
            for number in reversed(range(len(blocks))):
                x_b, a_b, decay_b, c_b, n_b = (part[number] for part in each)
                views, flat, firsts, steps = scratch.at(blocks[number])
                d_parts, gamma_b, both_b, by_gamma, by_n, keep_b, before_h, before_c, before_n, free = views
                i, keep, z, o = a_b.split_with_sizes(4 * [hidden], -1)
                for before, states, start in (
                    (before_h, output_h, start_h), (before_c, output_c, start_c), (before_n, output_n, start_n)
                ):  # fmt: skip
                    states_before(before, states, start, blocks, number)
                keep_b.copy_(keep)
                d_i, d_phi, d_z, d_o = d_parts
                # by χ: what c_t has of each; by ψ: what n_t has of the first two
                torch.mul(z, 2, out=d_i).sub_(1).mul_(i)
                by_n[0].copy_(i)
                torch.neg(decay_b, out=free).expm1_().mul_(keep)  # -f σ(φ)
                torch.mul(free, before_c, out=d_phi)
                torch.mul(free, before_n, out=by_n[1])
                sigmoid_backward(torch.mul(i, 2, out=free), z, grad_input=d_z)
                torch.div(c_b, n_b, out=free)
                sigmoid_backward(free, o, grad_input=d_o)
                torch.div(o, n_b, out=by_gamma[0])
                torch.mul(by_gamma[0], free, out=by_gamma[1]).neg_()
                gamma_b.zero_() if of_h is None else gamma_b.copy_(of_h[number])
                for part, of in zip(both_b, of_others[:2], strict=True):
                    part.zero_() if of is None else part.copy_(of[number])
                gamma_b[-1, : len(carry)].add_(carry)
                for part, of_last in zip(both_b, carry_both.unbind(1), strict=True):
                    part[-1, : len(carry)].add_(of_last)
                for first in firsts:
                    first.zero_()
                through_m: list[Tensor | None] = [None] * len(steps)
                if any(part is not None for part in of_others):
                    given = [None if part is None else part[number] for part in of_others]
                    of_m, left_to_m = _through_the_stabiliser(given, c_b, n_b, i, keep, decay_b, left_to_m)
                    through_m = list(of_m.unbind(0)[::-1])
                for of_m_t, known in zip(through_m, steps, strict=True):
                    by_c, by_both, of_o, d, gamma, wide, both, chi, psi, a, with_n, f, next_gamma, next_both = known
                    both.addcmul_(wide, a)
                    of_o.mul_(gamma)
                    by_c.mul_(chi)
                    by_both.addcmul_(psi, with_n)
                    if of_m_t is not None:
                        by_both.add_(of_m_t)
                    next_both.addcmul_(both, f)
                    next_gamma.addmm_(d, u)
                carry, carry_both = (part.clone() for part in firsts)
                grad_u.addmm_(flat.t(), before_h.view(len(flat), hidden))
                grad_w.addmm_(x_b.t(), flat)
                grad_b.add_(flat.sum(0))
                if grad_x_blocks is not None:
                    torch.mm(flat, w, out=grad_x_blocks[number])
            grad_c, grad_n = (part.clone() for part in carry_both.unbind(1))
            begun = len(grad_c)
            grad_m = grad_c * start_c[:begun] + grad_n * start_n[:begun]
            grad_m[: len(left_to_m)].add_(left_to_m)
        return grad_x, carry, grad_c, grad_n, grad_m, grad_w.t(), grad_b, grad_u, None, None, None


def _through_the_stabiliser(
    direct: list[Tensor | None], c: Tensor, n: Tensor, i: Tensor, keep: Tensor, decay: Tensor, after: Tensor
) -> tuple[Tensor, Tensor]:
    """What a block's pre-activations get through m.

    Args:
        direct: gradients of c, n and m ``(steps, rows, hidden)``, or ``None``.
        c, n, i, keep, decay: ``(steps, rows, hidden)``.
        after: ``(rows, hidden)`` what m of the last step has from the next block, for its rows.

    Returns:
        ``(steps, rows, 2, hidden)`` of i and φ, and what m of the step before has.
    """
    of_c, of_n, of_m = direct
    left = torch.zeros_like(c) if of_m is None else of_m.clone()
    for part, value in ((of_c, c), (of_n, n)):
        if part is not None:
            left.addcmul_(part, value, value=-1)
    kept, let_in = keep == 1, i == 1
    share = kept.to(c.dtype) / (kept.to(c.dtype) + let_in.to(c.dtype))
    left[-1, : len(after)].add_(after)
    for step in range(len(left) - 1, 0, -1):
        left[step - 1].addcmul_(left[step], share[step])
    of_phi = torch.expm1(-decay) * share * left
    return torch.stack([(1 - share) * left, of_phi], 2), share[0] * left[0]


def _forward_views(*pieces: Tensor) -> tuple[Any, ...]:
    a, decay, h, c, n, m = (piece[:-1] for piece in pieces)
    hidden = h.shape[-1]
    i, phi, z, o = a.chunk(4, -1)
    squashed, both = a[..., 2 * hidden :], a[..., : 2 * hidden].unflatten(-1, (2, hidden))
    each = a, squashed, phi, i, both, phi, z, o, decay, h, c, n, m
    steps = list(zip(*(view.unbind(0) for view in each), strict=True))
    return a.flatten(0, 1), (a, decay), (h, c, n, m), steps


def _backward_views(d: Tensor, gamma: Tensor, both: Tensor, *others: Tensor) -> tuple[Any, ...]:
    hidden = gamma.shape[-1]
    d, both = d[:-1], both.unflatten(-1, (2, hidden))
    by_gamma, by_n, keep, before_h, before_c, before_n, free = (part[:-1] for part in others)
    by_gamma, by_n = by_gamma.unflatten(-1, (2, hidden)), by_n.unflatten(-1, (2, hidden))
    new_gamma, new_both = gamma[1:], both[1:]
    gates = d.unflatten(-1, (4, hidden))
    each = (
        gates[:, :, :3], gates[:, :, :2], gates[:, :, 3], d, new_gamma, new_gamma[:, :, None], new_both,
        new_both[:, :, :1], new_both[:, :, 1:], by_gamma, by_n, keep[:, :, None], gamma[:-1], both[:-1],
    )  # fmt: skip
    steps = list(zip(*(view.unbind(0)[::-1] for view in each), strict=True))
    views = (
        d.chunk(4, -1), new_gamma, new_both.unbind(2), by_gamma.unbind(2), by_n.unbind(2), keep, before_h, before_c,
        before_n, free,
    )  # fmt: skip
    return views, d.flatten(0, 1), (gamma[0], both[0]), steps
