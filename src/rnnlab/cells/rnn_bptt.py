"""A simple recurrent layer's forward and backward pass by hand: :mod:`rnnlab.cells.rnn` and :mod:`rnnlab.cells.indrnn`.

    h_t = φ(W_ih x_t + b + W_hh h_{t-1})    or, unit by unit,    φ(W_ih x_t + b + w_hh ⊙ h_{t-1})

With tanh a = 2σ(2a) - 1 a tanh becomes a sigmoid, which is several times as
fast: the state is then kept as g = h/2, and the factors of 2 are moved into
the weights. With D_t = ∂L/∂a_t, the gradient of the pre-activation:

    δ_t = ∂L/∂h_t|direct + W_hhᵀ D_{t+1},    D_t = φ'(a_t) ⊙ δ_t

where φ' is known for a whole block before, so that a step is two or three operations both ways.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.bptt import Scratch, refuse_twice, split, split_rows, states_before, zeros_transposed
from rnnlab.cells.varying_lengths import Block, Takeovers, at_each_step

PIECES = 3
"""See :func:`rnnlab.cells.bptt.run_blocks`."""


class RNNLayer(Function):
    """``(rows, features)``, ``(sequences, hidden)``, the weights, the blocks and what is taken over in them, to h
    ``(rows, hidden)``.

    ``w_hh`` is ``(hidden, hidden)`` or, unit by unit, ``(hidden,)``.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, start: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor,
        nonlinearity: str, blocks: list[Block], takeovers: Takeovers, save: bool,
    ) -> Tensor:  # fmt: skip
        """``save`` what the backward pass needs."""
        hidden, tanh, single, batch = start.shape[1], nonlinearity == "tanh", w_hh.dim() == 1, blocks[0].rows
        # the initial state stands before the others, so that those before each step are the same memory, one step on
        states = x.new_empty(batch + len(x), hidden)
        output = states[batch:]
        scratch = Scratch.of(x, blocks, (hidden,), _forward_views)
        # autograd's bookkeeping is a good part of a small operation, and inference mode does without
        with torch.inference_mode():
            states[:batch].copy_(start[:batch])
            half = x.new_full((), 0.5)
            if tanh:
                weight_x = torch.mul(w_ih.t(), 2)
                weight_g = torch.mul(w_hh, 4) if single else torch.mul(w_hh.t(), 4)
                bias, starts = torch.mul(bias, 2), torch.mul(start, half)
            else:
                weight_x, weight_g, starts = w_ih.t(), w_hh.t(), start
            g = starts
            for number, (x_b, h_b) in enumerate(zip(split_rows(x, blocks), split(output, blocks), strict=True)):
                rows = blocks[number].rows
                flat, first_g, g_b, states_g = scratch.at(blocks[number])
                if rows < len(g):
                    g = g.clone()  # the views of fewer rows are of the same memory
                g = first_g.copy_(g[:rows])
                # the projection stands where the state will
                torch.addmm(bias, x_b, weight_x, out=flat)
                for next_g, takeover in zip(states_g, at_each_step(takeovers, number), strict=False):
                    if single:
                        next_g.addcmul_(g, weight_g)
                    else:
                        next_g.addmm_(g, weight_g)
                    g = next_g.sigmoid_().sub_(half) if tanh else next_g.relu_()
                    if takeover is not None:
                        g.index_copy_(0, takeover.rows, starts[takeover.starts])
                if tanh:
                    torch.mul(g_b, 2, out=h_b)
                else:
                    h_b.copy_(g_b)
        if save:
            ctx.save_for_backward(x, w_ih, w_hh, states)
        ctx.blocks, ctx.takeovers, ctx.sequences, ctx.tanh = blocks, takeovers, len(start), tanh
        return output

    @staticmethod
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        refuse_twice(direct)
        x, w_ih, w_hh, states = ctx.saved_tensors
        blocks, hidden, single, tanh = ctx.blocks, states.shape[1], w_hh.dim() == 1, ctx.tanh
        batch = blocks[0].rows
        output, start = states[batch:], states[:batch]
        grad_ih, grad_hh, grad_bias = zeros_transposed(w_ih), torch.zeros_like(w_hh), w_ih.new_zeros(hidden)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_start = x.new_empty(ctx.sequences, hidden)
        scratch = Scratch.of(x, blocks, (hidden, hidden), _backward_views)
        with torch.inference_mode():
            one = x.new_ones(1)
            carry: Tensor | None = None
            grad_x_blocks = None if grad_x is None else split_rows(grad_x, blocks)
            before = split(states[: len(x)], blocks) if blocks[-1].rows == batch else None
            each = split_rows(x, blocks), split(output, blocks), split(direct, blocks)
            for number in reversed(range(len(blocks))):
                x_b, h_b, direct_b = (part[number] for part in each)
                flat, d_b, delta_b, last, first, steps = scratch.at(blocks[number])
                if carry is not None and len(carry) < len(first):
                    carry = carry.clone()  # the views of more rows are of the same memory
                if tanh:
                    torch.addcmul(one, h_b, h_b, value=-1, out=d_b)
                else:
                    torch.gt(h_b, 0, out=d_b)
                delta_b.copy_(direct_b)
                if carry is not None:
                    last[: len(carry)].add_(carry)
                first.zero_()
                taken = at_each_step(ctx.takeovers, number, reverse=True)
                for (d, delta, earlier), takeover in zip(steps, taken, strict=False):
                    if takeover is not None:
                        torch.index_select(delta, 0, takeover.rows, out=grad_start[takeover.starts])
                        delta.index_fill_(0, takeover.rows, 0.0)
                    d.mul_(delta)
                    if single:
                        earlier.addcmul_(d, w_hh)
                    else:
                        earlier.addmm_(d, w_hh)
                carry = first
                if before is not None:
                    h_before = before[number]
                else:
                    h_before = delta_b
                    states_before(h_before, output, start, blocks, number)
                if single:
                    grad_hh.add_(torch.mul(d_b, h_before, out=delta_b).sum((0, 1)))
                else:
                    grad_hh.addmm_(flat.t(), h_before.view(len(flat), hidden))
                grad_ih.addmm_(x_b.t(), flat)
                grad_bias.add_(flat.sum(0))
                if grad_x_blocks is not None:
                    torch.mm(flat, w_ih, out=grad_x_blocks[number])
            grad_start[:batch].copy_(first)
        return grad_x, grad_start, grad_ih.t(), grad_hh, grad_bias, None, None, None, None


def _forward_views(g: Tensor) -> tuple[Any, ...]:
    return g[1:].flatten(0, 1), g[0], g[1:], g[1:].unbind(0)


def _backward_views(d: Tensor, delta: Tensor) -> tuple[Any, ...]:
    d, later = d[:-1], delta[1:]
    steps = list(zip(*(view.unbind(0)[::-1] for view in (d, later, delta[:-1])), strict=True))
    return d.flatten(0, 1), d, later, delta[-1], delta[0], steps
