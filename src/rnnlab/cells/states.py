"""The tensors of a cell's state, and of a sequence in which each has its own length."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from rnnlab.kernels.layout import zero_padding
from rnnlab.shapes import Lengths, State, StateSequence, StateStep

S = TypeVar("S", bound=State)


def map_state(function: Callable[..., Tensor], *states: S) -> S:
    """Applies ``function`` to the tensors of one state, or to those of several alike, side by side."""
    alone = isinstance(states[0], Tensor)
    return function(*states) if alone else tuple(map(function, *states))  # type: ignore[return-value]  # S is like both


def detach_state(state: S) -> S:
    """The same state with no history: where truncated backpropagation through time cuts."""
    return map_state(Tensor.detach, state)


def reverse_valid(x: Tensor, lengths: Lengths | None = None) -> Tensor:
    """Turns ``(batch, time, …)`` around in time, each sequence within its own length; padding stays at the end."""
    if lengths is None:
        return x.flip(1)
    steps = torch.arange(x.shape[1], device=x.device)
    index = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return x.gather(1, _like(index, x).expand_as(x))


def last_valid(
    output: StateSequence, start: StateStep, lengths: Lengths | None = None
) -> tuple[StateSequence, StateStep]:
    """What a layer whose state is its output gives, when it has run over the padding too.

    Args:
        output: ``(batch, time, hidden)``.
        start: ``(batch, hidden)``, the state before the first step.
        lengths: ``(batch,)`` valid steps of each sequence.

    Returns:
        The output, zero on padding, and each sequence's output after its last valid step.
    """
    if lengths is None:
        return output, output[:, -1]
    return zero_padding(output, lengths), at_the_end(output, start, lengths)


def at_the_end(output: StateSequence, start: StateStep, lengths: Lengths) -> StateStep:
    """``(batch, hidden)`` of each sequence's last valid step in ``(batch, time, hidden)``, ``start`` without any."""
    rows = torch.arange(len(output), device=output.device)
    return torch.where((lengths > 0)[:, None], output[rows, (lengths - 1).clamp_min(0)], start)


def where_valid(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """``torch.where`` with a mask ``(batch,)`` or ``(batch, time)`` of tensors that have further dimensions."""
    return torch.where(_like(mask, yes), yes, no)


def _like(mask: Tensor, tensor: Tensor) -> Tensor:
    return mask.reshape(mask.shape + (1,) * (tensor.dim() - mask.dim()))
