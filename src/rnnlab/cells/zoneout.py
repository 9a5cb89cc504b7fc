"""Units that keep, at random, what they held one step before.

    s_t = u_t ⊙ step(x_t, s_{t-1}) + (1 - u_t) ⊙ s_{t-1}

u_t is 0 with probability p and else 1, for each unit and each tensor of the
state (an LSTM's hidden state and its cell have masks of their own) and anew for
every step; outside training it is its mean, 1 - p. D. Krueger, T. Maharaj,
J. Kramár et al., "Zoneout: regularizing RNNs by randomly preserving hidden
activations" (2017), arXiv 1606.01305. There p may differ between the hidden
state and the cell; here it is one number.

The masks of all steps are drawn before the first one, and are further features
of the input: what is left is a recurrence like any other, without random numbers
in it, of which kernels are derived, which a fleet runs side by side, and which
is differentiated twice or recomputed with the same masks. (A mask drawn once a
sequence would hold a unit at its initial state for good.)
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells.cell import Cell
from rnnlab.cells.wrapper import WrappedCell
from rnnlab.errors import InputError
from rnnlab.shapes import Hidden, State, Step


class Zoneout(WrappedCell):
    """A cell under zoneout.

    Args:
        cell: of whose state the tensors ``(batch, hidden)`` may be kept.
        share: p, of the units that keep what they held.
        drawn: whether the masks are read from the input, behind the ``features`` of the cell: 1 where a unit moves on.
            Otherwise there is their mean.

    Raises:
        InputError: the cell's state is not to be kept number by number.
    """

    def __init__(self, cell: Cell[Any], share: float, drawn: bool = False) -> None:
        zoned = zoned_parts(cell)
        if not any(zoned):
            raise InputError(
                f"model.zoneout={share}: the state of {cell.title} is not made of numbers that can be kept one by one: "
                "use model.readout_dropout, or another model"
            )
        width = sum(zoned) * cell.hidden_size
        super().__init__(cell, width if drawn else 0)
        self.share, self.drawn, self.zoned = share, drawn, zoned
        self.width = width
        """Of the masks of one step."""

    def step(self, x: Step, state: State) -> tuple[Hidden, State]:
        x, moves = self._split(x)
        output, new = self.cell.step(x, state)
        single = isinstance(new, Tensor)
        old_parts, new_parts = ((state,), (new,)) if single else (state, new)
        parts = []
        for old, part, zoned in zip(old_parts, new_parts, self.zoned, strict=True):
            moved = part
            if zoned:
                move = next(moves)
                moved = move * part + (1 - move) * old
            if output is part:  # what is put out is what is remembered
                output = moved
            parts.append(moved)
        return output, parts[0] if single else tuple(parts)

    def _split(self, x: Tensor) -> tuple[Tensor, Iterator[Any]]:
        """The cell's own input, and what each tensor's units move by: masks, or the mean of all of them."""
        if not self.drawn:
            return x, iter([1 - self.share] * len(self.zoned))
        x, *moves = x.split([self.cell.input_size, *[self.hidden_size] * sum(self.zoned)], -1)
        return x, iter(moves)

    def gates(self, x: Step, state: State) -> dict[str, Tensor]:
        return self.cell.gates(self._split(x)[0], state)


def zoned_parts(cell: Cell[Any]) -> tuple[bool, ...]:
    """Of each tensor of a cell's state whether its numbers can be kept one by one, a unit each."""
    start = cell.initial_state(1)
    parts = (start,) if isinstance(start, Tensor) else start
    units = (1, cell.hidden_size)
    return tuple(cell.separable and part.shape == units and part.is_floating_point() for part in parts)


def with_masks(x: Tensor, moves: Tensor) -> Tensor:
    """What a ``drawn`` cell reads: ``(batch, time, features)`` and the masks ``(batch, time, width)`` side by side."""
    return torch.cat([x, moves.to(x.dtype)], -1)
