"""A CfC layer's forward and backward pass by hand; the equations are in :mod:`rnnlab.cells.cfc`.

There tanh is made a sigmoid, which is several times as fast, and the gate's two heads are one, since the time step is
the same for all. With p for a layer of the backbone and v for h/2, all constants in the weights:

    p⁰_t = σ(W x_t + U v_{t-1} + b) - ½,    p^k_t = σ(V_k p^{k-1}_t + c_k) - ½
    e, l, s = σ(Q p_t + q),                 v_t = (1 - s) ⊙ e + s ⊙ l - ½

The halves are taken at every step, though the biases could hold them: sums of numbers around ½, most of which a bias
then takes away, are rounded four times as much.

Backward, with γ_t = ∂L/∂v_t along every path, all factors but γ_t and the products are known for a whole block:

    D_t = γ_t ⊙ [(1 - s) e', s l', (l - e) s'],        where σ' = σ (1 - σ)
    E^k_t = p^k' ⊙ (E^{k+1}_t V_{k+1}),                the last one p' ⊙ (D_t Q)
    γ_{t-1} = ∂L/∂v_{t-1}|direct + E⁰_t U
"""

from itertools import pairwise
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


class CfCLayer(Function):
    """``(rows, features)``, h ``(batch, hidden)``, the weights above and the blocks to h ``(rows, hidden)``.

    ``deeper`` are V_1, c_1, V_2, … of a backbone with more than one layer.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start: Tensor, w: Tensor, b: Tensor, u: Tensor, heads: Tensor, heads_bias: Tensor,
        blocks: list[Block], save: bool, *deeper: Tensor,
    ) -> Tensor:  # fmt: skip
        """``save`` what the backward pass needs."""
        units, hidden = u.shape
        layers = 1 + len(deeper) // 2
        output = x.new_empty(len(x), hidden)
        widths = (*(layers * [units]), 3 * hidden)
        kept = empty_blocks(x, blocks, *widths) if save else []
        scratch = Scratch.of(x, blocks, (*widths, hidden), _forward_views)
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            w_t, u_t, heads_t = w.t(), u.t().contiguous(), heads.t().contiguous()
            further = [(bias, weight.t().contiguous()) for weight, bias in zip(deeper[::2], deeper[1::2], strict=True)]
            half = x.new_tensor(0.5)  # a number would be made a tensor at every step
            v = start / 2
            for number, (x_b, y_b) in enumerate(zip(split_rows(x, blocks), split(output, blocks), strict=True)):
                flat, used, new_v, steps = scratch.at(blocks[number])
                v = v[: blocks[number].rows].clone()  # the views of the next block are of the same memory
                torch.addmm(b, x_b, w_t, out=flat)
                for p, *higher, q, early, late, passed, next_v in steps:
                    below = p.addmm_(v, u_t).sigmoid_().sub_(half)
                    for out, (bias, weight_t) in zip(higher, further, strict=True):
                        below = torch.addmm(bias, below, weight_t, out=out).sigmoid_().sub_(half)
                    torch.addmm(heads_bias, below, heads_t, out=q).sigmoid_()
                    v = torch.lerp(early, late, passed, out=next_v).sub_(half)
                torch.mul(new_v, 2, out=y_b)
                if save:
                    for part, values in zip(kept, used, strict=True):
                        part[number].copy_(values)
        ctx.save_for_backward(x, start, w, u, heads, output, *deeper[::2], *(part for parts in kept for part in parts))
        ctx.blocks, ctx.layers = blocks, layers
        return output

    @staticmethod
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        refuse_twice(direct)
        blocks, layers = ctx.blocks, ctx.layers
        x, start, w, u, heads, output, *rest = ctx.saved_tensors
        deeper, kept = rest[: layers - 1], rest[layers - 1 :]
        units, hidden = u.shape
        # of the backbone's layers, then of the gates and candidates
        kept_parts = [kept[number * len(blocks) : (number + 1) * len(blocks)] for number in range(layers + 1)]
        weights = [u, *deeper, heads]
        grads = [torch.zeros_like(weight) for weight in weights]
        grad_biases = [weight.new_zeros(len(weight)) for weight in weights]
        grad_w = zeros_transposed(w)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_x_blocks = None if grad_x is None else split_rows(grad_x, blocks)
        scratch = Scratch.of(x, blocks, (*(layers * [units]), 3 * hidden, units, *(3 * [hidden])), _backward_views)
        x_blocks, direct_blocks = split_rows(x, blocks), split(direct.contiguous(), blocks)
        carry = x.new_empty(0, hidden)
        with torch.inference_mode():
            quarter = x.new_tensor(0.25)  # of (½ - p)(½ + p), the derivative of σ
            for number in reversed(range(len(blocks))):
                *of_layers, q_b = (parts[number] for parts in kept_parts)
                (of_early, of_late, of_passed), factors, flats, gamma_b, first, before, free, steps = scratch.at(
                    blocks[number]
                )
                states_before(before, output, start, blocks, number)
                before.mul_(0.5)
                early, late, passed = q_b.split_with_sizes((hidden, hidden, hidden), -1)
                sigmoid_backward(torch.sub(1, passed, out=free), early, grad_input=of_early)
                sigmoid_backward(passed, late, grad_input=of_late)
                sigmoid_backward(torch.sub(late, early, out=free), passed, grad_input=of_passed)
                for factor, p in zip(factors, of_layers, strict=True):
                    torch.addcmul(quarter, p, p, value=-1, out=factor)
                torch.mul(direct_blocks[number], 2, out=gamma_b)
                gamma_b[-1, : len(carry)].add_(carry)
                first.zero_()
                above = (heads, *reversed(deeper))
                for wide, gamma, from_above, *each, next_gamma in steps:
                    wide.mul_(gamma)
                    # from the gates down to the first layer of the backbone
                    for (made, below), weight in zip(pairwise(each), above, strict=True):
                        below.mul_(torch.mm(made, weight, out=from_above))
                    next_gamma.addmm_(each[-1], u)
                carry = first.clone()
                inputs = [before.view(-1, hidden), *(p.view(-1, units) for p in of_layers)]
                for flat, below, grad, grad_bias in zip(flats, inputs, grads, grad_biases, strict=True):
                    grad.addmm_(flat.t(), below)
                    grad_bias.add_(flat.sum(0))
                grad_w.addmm_(x_blocks[number].t(), flats[0])
                if grad_x_blocks is not None:
                    torch.mm(flats[0], w, out=grad_x_blocks[number])
        of_deeper = (part for pair in zip(grads[1:-1], grad_biases[1:-1], strict=True) for part in pair)
        of_first, of_heads = (grads[0], grad_biases[0]), (grads[-1], grad_biases[-1])
        return grad_x, carry / 2, grad_w.t(), of_first[1], of_first[0], *of_heads, None, None, *of_deeper


def _forward_views(*pieces: Tensor) -> tuple[Any, ...]:
    *layers, q, v = (piece[:-1] for piece in pieces)
    each = *layers, q, *q.chunk(3, -1), v
    steps = list(zip(*(view.unbind(0) for view in each), strict=True))
    return layers[0].flatten(0, 1), (*layers, q), v, steps


def _backward_views(*pieces: Tensor) -> tuple[Any, ...]:
    *factors, d, from_above, gamma, before, free = pieces
    factors, d, from_above, before, free = (
        [part[:-1] for part in factors],
        d[:-1],
        from_above[:-1],
        before[:-1],
        free[:-1],
    )
    hidden, new_gamma = gamma.shape[-1], gamma[1:]
    each = d.unflatten(-1, (3, hidden)), new_gamma[:, :, None], from_above, d, *factors[::-1], gamma[:-1]
    steps = list(zip(*(view.unbind(0)[::-1] for view in each), strict=True))
    flats = [part.flatten(0, 1) for part in (*factors, d)]
    return d.chunk(3, -1), factors, flats, new_gamma, gamma[0], before, free, steps
