"""A Mogrifier LSTM layer's forward and backward pass by hand; the equations are in :mod:`rnnlab.cells.mogrifier_lstm`.

There tanh is made a sigmoid, which is several times as fast, and every 2 of a round is in the weights that come after
it: of x and h in round k there is 2^-k, one k for each.

Backward, with γ_t = ∂L/∂h_t and χ_t = ∂L/∂c_t along every path, s = σ(a) a round's gate and D_t the gradient of the
pre-activations of i, f, g and o, all factors but γ and χ are known for a whole block:

    χ_t = ∂L/∂c_t|direct + f_{t+1} ⊙ χ_{t+1} + o tanh'(c_t) ⊙ γ_t
    D_t = (χ g i',  χ c_{t-1} f',  χ i g',  γ tanh(c_t) o')
    of x and h after the rounds: D_t W and D_t U, and of the round before a round s ⊙ what it gated:
        of the gated: s ⊙ its gradient,       of the gating: (s' ⊙ what was gated ⊙ its gradient) times Q or R
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
    states_before,
)
from rnnlab.cells.varying_lengths import Block


class MogrifierLSTMLayer(Function):
    """``(rows, features)``, h, c ``(batch, hidden)``, W, b, U, the blocks, Q_1, R_2, Q_3, … to h, c ``(rows, hidden)``.

    Within, h is a half of itself and c twice itself; the weights are for that, and those of g twice what they are.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start_h: Tensor, start_c: Tensor, w: Tensor, b: Tensor, u: Tensor,
        blocks: list[Block], save: bool, *mogrifiers: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """``save`` what the backward pass needs."""
        hidden, features = start_h.shape[1], x.shape[1]
        output_h, output_c = x.new_empty(len(x), hidden), x.new_empty(len(x), hidden)
        rounds = _widths(features, hidden, len(mogrifiers))
        kept = empty_blocks(x, blocks, *rounds, 4 * hidden) if save else []
        widths = (features, 4 * hidden, *(3 * [hidden]), *rounds, *rounds)
        scratch = Scratch.of(x, blocks, widths, _forward_views)
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            half = x.new_tensor(0.5)  # a number would be made a tensor at every step
            w_t, u_t, *rounds_t = (weight.t().contiguous() for weight in (w, u, *mogrifiers))
            g, c = start_h / 2, 2 * start_c
            parts = split(x, blocks), split(output_h, blocks), split(output_c, blocks)
            for number, (x_b, h_b, c_b) in enumerate(zip(*parts, strict=True)):
                # the views of the next block are of the same memory
                g, c = g[: blocks[number].rows].clone(), c[: blocks[number].rows].clone()
                inputs, used, new_g, new_c, steps = scratch.at(blocks[number])
                inputs.copy_(x_b)
                for x_t, a, i, f, s, o, m, next_g, next_c, of_rounds in steps:
                    sides = [x_t, g]
                    for index, (weight_t, (gate, made)) in enumerate(zip(rounds_t, of_rounds, strict=True)):
                        gated = index % 2
                        torch.mm(sides[1 - gated], weight_t, out=gate).sigmoid_()
                        sides[gated] = torch.mul(gate, sides[gated], out=made)
                    torch.addmm(b, sides[0], w_t, out=a).addmm_(sides[1], u_t).sigmoid_()
                    c = torch.mul(f, c, out=next_c).addcmul_(i, s.sub_(half), value=4)
                    g = torch.mul(torch.sigmoid(c, out=m).sub_(half), o, out=next_g)
                torch.mul(new_g, 2, out=h_b)
                torch.mul(new_c, 0.5, out=c_b)
                if save:
                    for part, values in zip(kept, used, strict=True):
                        part[number].copy_(values)
        of_blocks = (part for parts in kept for part in parts)
        ctx.save_for_backward(x, start_h, start_c, w, u, output_h, output_c, *mogrifiers, *of_blocks)
        ctx.set_materialize_grads(False)
        ctx.blocks, ctx.rounds = blocks, len(mogrifiers)
        return output_h, output_c

    @staticmethod
    def backward(ctx: Any, direct_h: Tensor | None, direct_c: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_twice(direct_h, direct_c)
        blocks = ctx.blocks
        x, start_h, start_c, w, u, output_h, output_c, *rest = ctx.saved_tensors
        mogrifiers, kept = rest[: ctx.rounds], rest[ctx.rounds :]
        hidden, features = u.shape[1], x.shape[1]
        grad_w, grad_b, grad_u = torch.zeros_like(w), w.new_zeros(4 * hidden), torch.zeros_like(u)
        grad_rounds = [torch.zeros_like(weight) for weight in mogrifiers]
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_x_blocks = None if grad_x is None else split(grad_x, blocks)
        rounds = _widths(features, hidden, len(mogrifiers))
        widths = (4 * hidden, features, *(9 * [hidden]), *rounds, *rounds, *rounds)
        scratch = Scratch.of(x, blocks, widths, _backward_views)
        x_blocks, c_blocks = split(x, blocks), split(output_c, blocks)
        of_h, of_c = (None if part is None else split(part.contiguous(), blocks) for part in (direct_h, direct_c))
        carry_g = carry_c = x.new_empty(0, hidden)
        backward_rounds = list(enumerate(mogrifiers))[::-1]
        with torch.inference_mode():
            for number in reversed(range(len(blocks))):
                *gates_b, a_b = (kept[index] for index in range(number, len(kept), len(blocks)))
                views, flat, of_rounds, firsts, steps = scratch.at(blocks[number])
                d_parts, dx_b, gamma_b, chi_b, by_gamma, keep, before_g, before_c, m, free = views
                states_before(before_g, output_h, start_h, blocks, number)
                states_before(before_c, output_c, start_c, blocks, number)
                before_g.mul_(0.5)
                before_c.mul_(2)
                i, f, s, o = a_b.split_with_sizes(4 * [hidden], -1)
                keep.copy_(f)
                # the derivatives of c_t by the pre-activations of i, f and g, of h_t by that of o and by c_t
                d_i, d_f, d_s, d_o = d_parts
                sigmoid_backward(torch.mul(s, 4, out=free), i, grad_input=d_i)
                sigmoid_backward(before_c, f, grad_input=d_f)
                sigmoid_backward(torch.mul(i, 4, out=by_gamma), torch.add(s, 0.5, out=free), grad_input=d_s)
                torch.mul(c_blocks[number], 2, out=m).sigmoid_()
                sigmoid_backward(o, m, grad_input=by_gamma)
                sigmoid_backward(m.sub_(0.5), o, grad_input=d_o)
                # the rounds once more, all steps at once: what each gates and is gated by
                sides = [x_blocks[number], before_g]
                gatings = []
                for index, (gate, (factor, own_gate, made)) in enumerate(zip(gates_b, of_rounds, strict=True)):
                    gated = index % 2
                    own_gate.copy_(gate)
                    gatings.append(sides[1 - gated])
                    sigmoid_backward(sides[gated], gate, grad_input=factor)
                    sides[gated] = torch.mul(gate, sides[gated], out=made)
                gamma_b.zero_() if of_h is None else torch.mul(of_h[number], 2, out=gamma_b)
                chi_b.zero_() if of_c is None else torch.mul(of_c[number], 0.5, out=chi_b)
                gamma_b[-1, : len(carry_g)].add_(carry_g)
                chi_b[-1, : len(carry_c)].add_(carry_c)
                for first in firsts:
                    first.zero_()
                for of_c_t, of_o, d, dx, dg, gamma, chi, wide, by, f_t, next_gamma, next_chi, gates in steps:
                    chi.addcmul_(gamma, by)
                    of_c_t.mul_(wide)
                    of_o.mul_(gamma)
                    next_chi.addcmul_(chi, f_t)
                    torch.mm(d, w, out=dx)
                    torch.mm(d, u, out=dg)
                    grads = (dx, dg)
                    for index, weight in backward_rounds:
                        gated = grads[index % 2]
                        factor, gate = gates[index]
                        factor.mul_(gated)
                        gated.mul_(gate)
                        grads[1 - index % 2].addmm_(factor, weight)
                    next_gamma.add_(dg)
                carry_g, carry_c = (first.clone() for first in firsts)
                grad_w.addmm_(flat.t(), sides[0].reshape(len(flat), features))
                grad_u.addmm_(flat.t(), sides[1].view(len(flat), hidden))
                grad_b.add_(flat.sum(0))
                for grad, gating, (factor, _, _) in zip(grad_rounds, gatings, of_rounds, strict=True):
                    grad.addmm_(factor.flatten(0, 1).t(), gating.flatten(0, 1))
                if grad_x_blocks is not None:
                    grad_x_blocks[number].copy_(dx_b)
        return grad_x, carry_g / 2, 2 * carry_c, grad_w, grad_b, grad_u, None, None, *grad_rounds


def _widths(features: int, hidden: int, rounds: int) -> list[int]:
    """Of the gates: odd rounds gate the input, even ones the state."""
    return [hidden if index % 2 else features for index in range(rounds)]


def _forward_views(*pieces: Tensor) -> tuple[Any, ...]:
    x, a, m, g, c, *others = (piece[:-1] for piece in pieces)
    rounds = len(others) // 2
    gates, made = others[:rounds], others[rounds:]
    each = x, a, *a.chunk(4, -1), m, g, c
    pairs = [list(zip(gate.unbind(0), of.unbind(0), strict=True)) for gate, of in zip(gates, made, strict=True)]
    of_rounds = [[pair[step] for pair in pairs] for step in range(len(x))]
    steps = list(zip(*(view.unbind(0) for view in each), of_rounds, strict=True))
    return x, (*gates, a), g, c, steps


def _backward_views(d: Tensor, dx: Tensor, dg: Tensor, gamma: Tensor, chi: Tensor, *others: Tensor) -> tuple[Any, ...]:
    hidden, d, dx, dg = gamma.shape[-1], d[:-1], dx[:-1], dg[:-1]
    by_gamma, keep, before_g, before_c, m, free, *of_rounds = (part[:-1] for part in others)
    rounds = len(of_rounds) // 3
    factors, gates, made = of_rounds[:rounds], of_rounds[rounds : 2 * rounds], of_rounds[2 * rounds :]
    new_gamma, new_chi = gamma[1:], chi[1:]
    by_gate = d.unflatten(-1, (4, hidden))
    each = (
        by_gate[:, :, :3], by_gate[:, :, 3], d, dx, dg, new_gamma, new_chi, new_chi[:, :, None], by_gamma, keep,
        gamma[:-1], chi[:-1],
    )  # fmt: skip
    pairs = [
        list(zip(factor.unbind(0), gate.unbind(0), strict=True)) for factor, gate in zip(factors, gates, strict=True)
    ]
    each_round = [[pair[step] for pair in pairs] for step in reversed(range(len(d)))]
    steps = list(zip(*(view.unbind(0)[::-1] for view in each), each_round, strict=True))
    views = d.chunk(4, -1), dx, new_gamma, new_chi, by_gamma, keep, before_g, before_c, m, free
    return views, d.flatten(0, 1), list(zip(factors, gates, made, strict=True)), (gamma[0], chi[0]), steps
