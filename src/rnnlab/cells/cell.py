"""The contract of a recurrence."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar, final

import torch
from torch import Tensor, nn

from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, State, StateSequence, StateStep, Step

S = TypeVar("S", bound=State)


class Cell(nn.Module, ABC, Generic[S]):
    """One layer, one direction of a recurrent network, with a state of type ``S``.

    A cell says how its state starts and how one step updates it; ``unroll`` is
    then the definition of the layer. ``forward`` a cell may override with a
    faster path to the same values and gradients, and ``outputs`` likewise.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size

    @abstractmethod
    def initial_state(self, batch_size: int) -> S:
        """The state before the first step, each tensor ``(batch, …)``, zero unless the paper says otherwise."""

    @abstractmethod
    def step(self, x: Step, state: S) -> tuple[Hidden, S]:
        """One time step: ``(batch, features)`` and a state to ``(batch, hidden)`` and the next state."""

    @final
    def unroll(
        self, x: Features, state: S | None = None, lengths: Lengths | None = None, record: list[S] | None = None
    ) -> tuple[HiddenSequence, S]:
        """The obvious loop over ``step``: the reference that every faster path must equal.

        Args:
            x: ``(batch, time, features)``.
            state: of the step before the first; ``initial_state`` by default.
            lengths: ``(batch,)`` valid steps of each sequence. Beyond them the
                output is zero and the state stays what it was.
            record: each step's state is appended to it just as ``step`` gave
                it, so that a loss can be differentiated with respect to it.

        Returns:
            Outputs ``(batch, time, hidden)`` and each sequence's state after
            its last valid step.
        """
        state = self.initial_state(x.shape[0]) if state is None else state
        outputs = []
        # unbind, since indexing x[:, t] would make the backward pass quadratic in time
        for t, x_t in enumerate(x.unbind(1)):
            output, new_state = self.step(x_t, state)
            if record is not None:
                record.append(new_state)
            if lengths is not None:
                where_valid = partial(_where, t < lengths)
                output = where_valid(output, torch.zeros_like(output))
                new_state = map_state(where_valid, new_state, state)
            outputs.append(output)
            state = new_state
        return torch.stack(outputs, 1), state

    def forward(self, x: Features, state: S | None = None, lengths: Lengths | None = None) -> tuple[HiddenSequence, S]:
        """As ``unroll``; a faster path may stand here."""
        return self.unroll(x, state, lengths)

    def outputs(self, x: Features, state: S | None = None, lengths: Lengths | None = None) -> HiddenSequence:
        """The output of ``forward``, for who has no use for the last state; a faster path may stand here, too."""
        return self(x, state, lengths)[0]

    # ---- what an observer asks ------------------------------------------------------------------

    def memory(self, state: S) -> Tensor:
        """``(batch, hidden)``: the part of a state that is plotted as the hidden state, by default its first tensor."""
        return state if isinstance(state, Tensor) else state[0]

    def gates(self, x: Step, state: S) -> dict[str, Tensor]:
        """The gates of one :meth:`step` from this state, by name: each ``(batch, hidden)`` within 0 and 1; none by
        default.
        """
        return {}

    def recurrent_weights(self) -> dict[str, Tensor]:
        """The ``(hidden, hidden)`` matrices through which the hidden state acts on its successor, by gate."""
        return {}


def map_state(function: Callable[..., Tensor], *states: S) -> S:
    """Applies ``function`` to the tensors of one state, or to those of several alike, side by side."""
    if isinstance(states[0], Tensor):
        return function(*states)  # type: ignore[return-value]
    return tuple(function(*tensors) for tensors in zip(*states, strict=True))  # type: ignore[return-value]


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


def zero_padding(output: StateSequence, lengths: Lengths | None) -> StateSequence:
    """The same ``(batch, time, hidden)``, zero beyond each sequence's valid steps."""
    if lengths is None:
        return output
    padding = torch.arange(output.shape[1], device=output.device) >= lengths[:, None]
    return output.masked_fill(padding[..., None], 0.0)


def _where(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(_like(mask, yes), yes, no)


def _like(mask: Tensor, tensor: Tensor) -> Tensor:
    return mask.reshape(mask.shape + (1,) * (tensor.dim() - mask.dim()))
