"""Linear recurrences whose units don't meet: the part of a cell that trains in parallel over time.

    h_t = a_t ⊙ h_{t-1} + b_t,    real or complex, a constant or of each step

With δ_t = ∂L/∂h_t along every path, the backward pass is the same recurrence, run from the end:

    δ_t = ∂L/∂h_t|direct + ā_{t+1} ⊙ δ_{t+1},    ∂L/∂b_t = δ_t,    ∂L/∂a_t = δ_t ⊙ h̄_{t-1}

Three ways to compute one thing, none of them in log space, where sums of
products lose digits and signs:

step
    One multiply-add a step. The reference, and the fastest where a step is large.
chunk
    All chunks of √T steps at once from a zero state, then the state is handed
    from chunk to chunk, then added: 2√T operations in place of T, with three
    times the arithmetic. The fastest on a CPU where a step is small.
scan
    Neighbours are combined pairwise, log₂ T times (G. E. Blelloch, "Prefix
    sums and their applications", 1990): no long chain of small operations,
    which is what a GPU wants.
"""

from collections.abc import Callable
from functools import partial
from itertools import repeat
from math import isqrt
from typing import Any, Literal

import torch
from jaxtyping import Inexact
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.cell import last_valid
from rnnlab.cells.checks import refuse_batches
from rnnlab.kernels.members import across_members, is_stacked
from rnnlab.shapes import Lengths, StateSequence, StateStep

Way = Literal["step", "chunk", "scan"]

# Where chunks pay on a CPU: forward and backward, one thread of an AMD EPYC, torch 2.13, factors that vary, float32:
# they took 1.2 to 1.5 times as long as steps at 20 steps, 0.5 at 200 steps of 2 KiB, 0.7 of 8 KiB, 2.0 of 32 KiB; at
# 1000 steps of 8 KiB 1.3 where factors vary and 0.6 where they are constant.
SMALL_STEP = 8192
"""Bytes of a step up to which they do: beyond, arithmetic counts for more than the number of operations."""
MANY_STEPS = 64
"""Steps from which they do."""

Factors = StateSequence | Inexact[Tensor, " H"]
Update = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Writes a step from a_t, b_t and h into the last, and returns it."""


def _addition(a: Tensor, b: Tensor, h: Tensor, out: Tensor) -> Tensor:
    return torch.addcmul(b, a, h, out=out)


def _mean(a: Tensor, n: Tensor, h: Tensor, out: Tensor) -> Tensor:
    return torch.lerp(n, h, a, out=out)


def diagonal_recurrence(
    a: Factors, b: StateSequence, start: StateStep, lengths: Lengths | None = None, way: Way | None = None
) -> tuple[StateSequence, StateStep]:
    """All states of h_t = a_t ⊙ h_{t-1} + b_t, differentiable as often as one likes.

    Args:
        a: ``(batch, time, hidden)``, or ``(hidden,)`` where it is constant.
        b: ``(batch, time, hidden)``.
        start: ``(batch, hidden)``, h before the first step.
        lengths: ``(batch,)`` valid steps of each sequence.
        way: see above; by default the fastest for this device and size.

    Returns:
        h ``(batch, time, hidden)``, zero beyond each sequence's end, and
        ``(batch, hidden)`` after each sequence's last valid step.
    """
    a, b = a.to(start.dtype), b.to(start.dtype)
    if is_stacked():
        h = across_members(partial(_members, way=way), a, b, start)
    else:
        h = _Recurrence.apply(a, b, start, way or fastest_way(b))
    return last_valid(h, start, lengths)


def leaky_recurrence(
    a: StateSequence, n: StateSequence, start: StateStep, lengths: Lengths | None = None, way: Way | None = None
) -> tuple[StateSequence, StateStep]:
    """All states of h_t = a_t ⊙ h_{t-1} + (1 - a_t) ⊙ n_t, real: arguments and results as :func:`diagonal_recurrence`.

    The same as with b = (1 - a) ⊙ n, with three passes less over the sequence, forward and back.
    """
    # under autocast some of them are of half precision, and the state isn't
    a, n = a.to(start.dtype), n.to(start.dtype)
    way = way or fastest_way(n)
    if way == "scan" or is_stacked():
        return diagonal_recurrence(a, (1 - a) * n, start, lengths, None if is_stacked() else way)
    return last_valid(_Leaky.apply(a, n, start, way), start, lengths)


def _members(a: Tensor, b: Tensor, start: Tensor, way: Way | None) -> Tensor:
    """The same with an axis of members in front of everything."""
    members, batch, time, hidden = b.shape
    if a.dim() > 2:  # their batches are one
        a, flat = a.expand_as(b).flatten(0, 1), b.flatten(0, 1)
        return _Recurrence.apply(a, flat, start.flatten(0, 1), way or fastest_way(flat)).unflatten(0, (members, batch))
    # their units are those of one layer
    flat, start = b.permute(1, 2, 0, 3).flatten(2), start.transpose(0, 1).flatten(1)
    h = _Recurrence.apply(a.flatten(), flat, start, way or fastest_way(flat))
    return h.view(batch, time, members, hidden).permute(2, 0, 1, 3)


def as_complex(parts: Tensor) -> Tensor:
    """``(…, 2)`` real and imaginary parts as complex numbers, for which half precision is too little."""
    return torch.view_as_complex(wide(parts).contiguous())


def wide(x: Tensor) -> Tensor:
    """In single precision where it was less: there are no complex numbers of bfloat16."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def fastest_way(b: Tensor) -> Way:
    """The way for a recurrence of the device and size ``(batch, time, hidden)`` of ``b``."""
    if b.is_cuda:
        return "scan"
    batch, time, hidden = b.shape
    small = batch * hidden * b.element_size() <= SMALL_STEP
    return "chunk" if small and time >= MANY_STEPS else "step"


class _Recurrence(Function):
    """h_t = a_t ⊙ h_{t-1} + b_t."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, start: Tensor, way: Way) -> Tensor:
        h = torch.empty_like(b)
        _fill(h, a, b, start, way)
        ctx.save_for_backward(a, start, h)
        ctx.way = way
        return h

    @staticmethod
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        refuse_batches(direct)
        a, start, h = ctx.saved_tensors
        delta = _Adjoint.apply(a, direct, ctx.way)
        grad_a = grad_start = None
        if ctx.needs_input_grad[0]:
            grad_a = delta * torch.cat([start[:, None], h[:, :-1]], 1).conj()
            grad_a = grad_a.sum((0, 1)) if a.dim() == 1 else grad_a
        if ctx.needs_input_grad[2]:
            grad_start = (a if a.dim() == 1 else a[:, 0]).conj() * delta[:, 0]
        return grad_a, delta, grad_start, None


class _Leaky(Function):
    """h_t = a_t ⊙ h_{t-1} + (1 - a_t) ⊙ n_t."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, n: Tensor, start: Tensor, way: Way) -> Tensor:
        h = torch.empty_like(a, memory_format=torch.contiguous_format)
        _fill(h, a, n, start, way, update=_mean)
        ctx.save_for_backward(a, n, start, h)
        ctx.way = way
        return h

    @staticmethod
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        refuse_batches(direct)
        a, n, start, h = ctx.saved_tensors
        delta = _Adjoint.apply(a, direct, ctx.way)
        if torch.is_grad_enabled():  # to be differentiated once more
            gain = (torch.cat([start[:, None], h[:, :-1]], 1) - n) * delta
        else:
            gain = torch.empty_like(delta)
            torch.sub(h[:, :-1], n[:, 1:], out=gain[:, 1:])
            torch.sub(start, n[:, 0], out=gain[:, 0])
            gain.mul_(delta)
        return gain, torch.addcmul(delta, a, delta, value=-1), a[:, 0] * delta[:, 0], None


class _Adjoint(Function):
    """δ_t = g_t + ā_{t+1} ⊙ δ_{t+1}, whose own backward pass is the recurrence again."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, direct: Tensor, way: Way) -> Tensor:
        delta = torch.empty_like(direct, memory_format=torch.contiguous_format)
        delta[:, -1] = direct[:, -1]
        if direct.shape[1] > 1:
            later = a if a.dim() == 1 else a[:, 1:]
            _fill(delta[:, :-1], later.conj().resolve_conj(), direct[:, :-1], direct[:, -1], way, reverse=True)
        ctx.save_for_backward(a, delta)
        ctx.way = way
        return delta

    @staticmethod
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        a, delta = ctx.saved_tensors
        h = _Recurrence.apply(a, direct, torch.zeros_like(direct[:, 0]), ctx.way)
        grad_a = None
        if ctx.needs_input_grad[0]:
            # of conj(a), conjugated
            grad_a = torch.cat([torch.zeros_like(delta[:, :1]), h[:, :-1].conj() * delta[:, 1:]], 1)
            grad_a = grad_a.sum((0, 1)) if a.dim() == 1 else grad_a
        return grad_a, h, None


def _fill(
    out: Tensor, a: Tensor, b: Tensor, start: Tensor, way: Way, reverse: bool = False, update: Update = _addition
) -> None:
    """Writes h into ``out``; ``reverse`` runs from the last step to the first."""
    if way == "scan" and reverse:
        out.copy_(_scan(a if a.dim() == 1 else a.flip(1), b.flip(1), start).flip(1))
    elif way == "scan":
        out.copy_(_scan(a, b, start))
    elif way == "chunk" and b.shape[1] > 3:
        _chunks(out, a, b, start, reverse, update)
    else:
        _steps(out, a, b, start, reverse, update)


def _steps(out: Tensor, a: Tensor, b: Tensor, h: Tensor, reverse: bool, update: Update) -> None:
    factors = repeat(a) if a.dim() == 1 else _ordered(a, reverse)
    for out_t, a_t, b_t in zip(_ordered(out, reverse), factors, _ordered(b, reverse), strict=False):
        h = update(a_t, b_t, h, out_t)


def _chunks(out: Tensor, a: Tensor, b: Tensor, start: Tensor, reverse: bool, update: Update) -> None:
    time = b.shape[1]
    size = isqrt(time)
    number = time // size
    whole = slice(time - number * size, None) if reverse else slice(number * size)

    def chunks(x: Tensor) -> Tensor:
        """``(batch, time, hidden)`` to ``(batch, size, chunks, hidden)``, no copy."""
        return x[:, whole].unflatten(1, (number, size)).transpose(1, 2)

    own, inputs = chunks(out), chunks(b)
    constant = a.dim() == 1
    # (batch, size, chunks, hidden): what is left of a chunk's first state after each of its steps
    decay = a.new_empty(1, size, 1, len(a)) if constant else torch.empty_like(inputs)
    factors = repeat(a) if constant else _ordered(chunks(a), reverse)
    local, left = torch.zeros_like(inputs[:, 0]), None
    for own_t, decay_t, a_t, b_t in zip(
        _ordered(own, reverse), _ordered(decay, reverse), factors, _ordered(inputs, reverse), strict=False
    ):
        local = update(a_t, b_t, local, own_t)
        left = decay_t.copy_(a_t) if left is None else torch.mul(a_t, left, out=decay_t)
    # local and left are now those of each chunk's last step
    assert left is not None
    begin = torch.empty_like(local)
    _ordered(begin, reverse)[0].copy_(start)
    hand_over = list(zip(_ordered(begin, reverse), _ordered(local, reverse), strict=True))
    kept = repeat(left[:, 0]) if constant else _ordered(left, reverse)
    for (state, own_end), left_end, (following, _) in zip(hand_over, kept, hand_over[1:], strict=False):
        torch.addcmul(own_end, left_end, state, out=following)
    own.addcmul_(decay, begin[:, None])
    if time > number * size:
        rest = slice(time - number * size) if reverse else slice(number * size, None)
        last = out[:, whole][:, 0 if reverse else -1]
        _steps(out[:, rest], a if constant else a[:, rest], b[:, rest], last, reverse, update)


def _ordered(x: Tensor, reverse: bool) -> tuple[Tensor, ...]:
    """The steps ``x[:, t]`` in the order in which they are run."""
    return x.unbind(1)[::-1] if reverse else x.unbind(1)


def _scan(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    a = a[None, None].expand(1, b.shape[1], -1) if a.dim() == 1 else a
    first = torch.addcmul(b[:, :1], a[:, :1], start[:, None])
    return _combine(a, torch.cat([first, b[:, 1:]], 1))


def _combine(a: Tensor, b: Tensor) -> Tensor:
    """h from a zero state: that of every second step by recursion, the others from their predecessors."""
    time = b.shape[1]
    if time == 1:
        return b
    even, odd = slice(0, time // 2 * 2, 2), slice(1, None, 2)
    h_odd = _combine(a[:, odd] * a[:, even], torch.addcmul(b[:, odd], a[:, odd], b[:, even]))
    after = h_odd[:, : (time - 1) // 2]
    h_even = torch.cat([b[:, :1], torch.addcmul(b[:, 2::2], a[:, 2::2], after)], 1)
    pairs = torch.stack([h_even[:, : time // 2], h_odd], 2).flatten(1, 2)
    return pairs if time % 2 == 0 else torch.cat([pairs, h_even[:, -1:]], 1)
