"""A network of one direction, one step at a time."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.cells.cell import Cell
from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.elapsed import apart
from rnnlab.image_encoder import ImageEncoder
from rnnlab.places import PlaceReadout
from rnnlab.pooling import POOLED, Pool

if TYPE_CHECKING:
    from rnnlab.network import Network

NOTHING_DROPPED = nn.Identity()
StepState = tuple[list[Any], Pool | None]
"""The network's state, and what is read out so far (``None`` where the last step alone is, and before the first)."""


class NetworkStep:
    """The step of a network in evaluation: what it needs is looked up once, since a module's attributes cost more than
    a small layer's numbers.

    Args:
        network: whose parameters stay the same tensors.
    """

    def __init__(self, network: "Network") -> None:
        encoder, self.ngrams = network.encoder, network.ngrams
        self._encode: Callable[[Tensor], Tensor] | None = None
        if isinstance(encoder, nn.Embedding):
            self._encode = partial(torch.embedding, encoder.weight)
        elif isinstance(encoder, nn.Linear):
            self._encode = partial(F.linear, weight=encoder.weight, bias=encoder.bias)
        elif isinstance(encoder, ImageEncoder):
            self._encode = lambda x: encoder(x[:, None])[:, 0]
        self._onto = network.onto
        self.steps = [_step_of(cell) for cell in network.cells()]
        self._elapsed, self._drops_elapsed = network.elapsed, network.drops_elapsed
        self._timed = [cell.elapsed for cell in network.cells()]
        self.blocks: Sequence[Any] = list(network.blocks) or [None] * len(self.steps)
        self.pooled = POOLED.get(network.readout_kind, ())
        self.thresholds = network.thresholds if network.readout_kind == "statistics" else None
        readout = network.readout
        self._read: Callable[[Tensor], Tensor] = partial(F.linear, weight=readout.weight, bias=readout.bias)
        if isinstance(readout, PlaceReadout):
            self._read = readout

    def __call__(self, x: Tensor, state: StepState) -> tuple[Tensor, StepState]:
        """``(batch, features)`` or ``(batch,)`` tokens, to ``(batch, size)`` and the next state."""
        before, pool = state
        after: list[Any] = []
        features, elapsed = x, None
        if self._elapsed is not None:
            features, elapsed = apart(x, self._elapsed, self._drops_elapsed)
        h = self._encoded(features, before)
        for block, step, timed, own in zip(self.blocks, self.steps, self._timed, before, strict=self.ngrams is None):
            if block is None:
                h, new = step(h if not timed or elapsed is None else torch.cat([h, elapsed], -1), own)
            else:
                past, read = block.before(h)
                read, new = step(read if not timed or elapsed is None else torch.cat([read, elapsed], -1), own)
                h = block.after(past, read, NOTHING_DROPPED)
            after.append(new)
        if self.ngrams is not None:
            after.append(self.ngrams.after(x[:, None], before[-1], None))
        if self.pooled:
            pool = Pool.of(h, self.thresholds) if pool is None else pool.with_step(h, self.thresholds)
            h = torch.cat([pool.statistic(name) for name in self.pooled], -1)
        return self._onto(x, self._read(h)), (after, pool)

    def _encoded(self, x: Tensor, state: Sequence[Any]) -> Tensor:
        """``(batch, features)`` of a step, with the network's state before it."""
        if self.ngrams is not None:
            return self.ngrams(x[:, None], state[-1])[:, 0]
        return x if self._encode is None else self._encode(x)


def _step_of(cell: Cell[Any]) -> Callable[[Tensor, Any], tuple[Tensor, Any]]:
    """A cell's step, by torch's own kernel where it has one for a single step."""
    # a subclass may have another step
    if cell.backend == "reference" or not isinstance(cell, LSTM | GRU) or type(cell) not in (LSTM, GRU):
        return cell.step
    weights: Any = (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)

    def lstm(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        state = torch.lstm_cell(x, state, *weights)
        return state[0], state

    def gru(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        state = torch.gru_cell(x, state, *weights)
        return state, state

    return lstm if type(cell) is LSTM else gru
