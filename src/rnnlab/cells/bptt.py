"""Backpropagation through time by hand, on a CPU: what the cells that do so share.

A layer runs in blocks of some steps, so that what a block needs stays
in the cache: the input's projection and all element-wise factors of the
Jacobians in one operation a block, and two to six operations on preallocated
memory a step. Where sequences differ in length, see :mod:`rnnlab.cells.varying_lengths`.

Its derivative is not differentiable again, and transforms (``torch.func``) and
tracers (``torch.export``) can't look into it: these get the loop over ``step``.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells.varying_lengths import Block, Takeovers, cut, placed, small_blocks
from rnnlab.shapes import Features, HiddenSequence, Lengths

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
"""Of a gradient and σ: gradient ⊙ σ ⊙ (1 - σ)."""

BLOCK = 32
"""Steps of a block: of 64 units and 32 sequences its temporaries fit a cache of a megabyte or two."""
LONG_BLOCK, SMALL_STEP = 64, 2**14
"""Steps of a block where one needs no more numbers than this: twice as many fit, and a block's own cost is saved."""
PIECES = 16
"""Numbers that a step needs for each unit, where a layer does not know better."""
Layer = Callable[[Tensor, tuple[Tensor, ...], list[Block]], tuple[Tensor, ...]]
"""From ``(rows, features)`` of all blocks, one below the other, and the parts of the initial state ``(batch, hidden)``,
to the parts of the state ``(rows, hidden)`` after each step, the output first."""
TakingOver = Callable[[Tensor, tuple[Tensor, ...], list[Block], Takeovers], tuple[Tensor, ...]]
"""One that lets a sequence take over the row of another: it gets those, too."""


ViewsOf = Callable[..., Any]
"""From ``(steps + 1, rows, width)`` of each piece of a :class:`Scratch` to all views of them that a block needs."""

KEPT_BYTES = 2**26
"""So much memory of scratches is kept from one pass to the next, in each thread."""
KEPT_BLOCKS = 64
"""And of each the views of so many kinds of blocks."""


def by_hand(x: Tensor) -> bool:
    """Whether a layer may run by hand on this input."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
    )


def run_blocks(
    layer: Layer, x: Features, start: tuple[Tensor, ...], lengths: Lengths | None, pieces: int = PIECES
) -> tuple[HiddenSequence, tuple[Tensor, ...]]:
    """One layer, one direction; results as :meth:`rnnlab.cells.cell.Cell.unroll` has them.

    Args:
        layer: what runs over the blocks.
        x: ``(batch, time, features)``.
        start: the parts of the initial state, ``(batch, hidden)`` each.
        lengths: ``(batch,)`` valid steps of each sequence.
        pieces: numbers that a step of both passes needs for each unit.
    """
    return _run(lambda x, start, blocks, _: layer(x, start, blocks), x, start, lengths, pieces, packed=False)


def run_packed(
    layer: TakingOver, x: Features, start: tuple[Tensor, ...], lengths: Lengths | None, pieces: int = PIECES
) -> tuple[HiddenSequence, tuple[Tensor, ...]]:
    """As :func:`run_blocks`, for a layer in whose rows several short sequences can stand one behind the other."""
    return _run(layer, x, start, lengths, pieces, packed=True)


def _run(
    layer: TakingOver, x: Features, start: tuple[Tensor, ...], lengths: Lengths | None, pieces: int, packed: bool
) -> tuple[HiddenSequence, tuple[Tensor, ...]]:
    batch, time, _ = x.shape
    size = block_size(pieces * start[0].numel())
    if lengths is None:
        blocks = [Block(min(size, time - begin), batch) for begin in range(0, time, size)]
        states = layer(x.transpose(0, 1).reshape(batch * time, -1), start, blocks, None)
        unfolded = [part.view(time, batch, -1) for part in states]
        return unfolded[0].transpose(0, 1), tuple(part[-1] for part in unfolded)
    found = cut(time, lengths, partial(small_blocks, size), packed)
    if not found.blocks:
        return x.new_zeros(batch, time, start[0].shape[1]), start
    states = layer(
        x.reshape(batch * time, -1).index_select(0, found.places),
        tuple(part.index_select(0, found.order) for part in start),
        found.blocks,
        found.takeovers,
    )
    output = placed(states[0], found).view(batch, time, -1)
    # of each sequence the row of its last valid step; of one without a step any
    ends = found.row_of[torch.arange(batch, device=x.device) * time + (lengths - 1).clamp_min(0)]
    ends, begun_at_all = ends.clamp_max(len(found.places) - 1), (lengths > 0)[:, None]
    last = (
        torch.where(begun_at_all, part.index_select(0, ends), begin) for begin, part in zip(start, states, strict=True)
    )
    return output, tuple(last)


def block_size(numbers: int) -> int:
    """Steps of a block, of which each needs so many numbers."""
    return LONG_BLOCK if numbers <= SMALL_STEP else BLOCK


LOOP = "go through the loop over `step`: set model.cell.backend=reference"


def refuse_twice(*grads: Tensor | None) -> None:
    """Called first by each backward pass.

    Args:
        grads: of what the layer gave.

    Raises:
        RuntimeError: a second derivative or a batch of gradients is asked for.
    """
    refuse_batches(*grads)
    if torch.is_grad_enabled():
        raise RuntimeError(f"second derivatives {LOOP}")


def refuse_batches(*grads: Tensor | None) -> None:
    """As :func:`refuse_twice`, where second derivatives are known."""
    functions = torch._C._functorch
    if any(g is not None and (functions.is_legacy_batchedtensor(g) or functions.is_batchedtensor(g)) for g in grads):
        raise RuntimeError(f"batches of gradients (jacobian(vectorize=True), is_grads_batched) {LOOP}")


def split(data: Tensor, blocks: list[Block]) -> Sequence[Tensor]:
    """``(steps, rows, …)`` of each block, from ``(rows, …)`` of all of them one below the other."""
    rows, shape = blocks[0].rows, data.shape[1:]
    if blocks[-1].rows == rows:  # and so have all between
        return torch.split_with_sizes(data.view(-1, rows, *shape), [steps for steps, _ in blocks])
    return [part.view(*block, *shape) for part, block in zip(split_rows(data, blocks), blocks, strict=True)]


def split_rows(data: Tensor, blocks: list[Block]) -> Sequence[Tensor]:
    """``(steps * rows, …)`` of each block, likewise."""
    return torch.split_with_sizes(data, [steps * rows for steps, rows in blocks])


def empty_blocks(like: Tensor, blocks: list[Block], *widths: int) -> list[list[Tensor]]:
    """For each of ``widths`` memory ``(steps, rows, width)`` for each block."""
    return [[like.new_empty(*block, width) for block in blocks] for width in widths]


def zeros_transposed(weight: Tensor) -> Tensor:
    """``(features, units)`` to sum up the gradient of a ``(units, features)`` weight.

    Few features make it a narrow product, which takes four times as long to ``(units, features)``.
    """
    return weight.new_zeros(weight.shape[1], weight.shape[0])


def states_before(out: Tensor, states: Tensor, start: Tensor, blocks: list[Block], number: int) -> None:
    """Writes the state before each step of a block into ``out`` ``(steps, rows, …)``.

    Args:
        out: of block ``number``.
        states: ``(rows, …)`` after each step, of all blocks.
        start: ``(batch, …)`` before the first.
        blocks: all of them.
        number: which of them.
    """
    steps, rows = blocks[number]
    begin = sum(each.steps * each.rows for each in blocks[:number])
    if number:
        before = blocks[number - 1].rows
        start = states[begin - before : begin]
    out[0].copy_(start[:rows])
    out[1:].copy_(states[begin : begin + (steps - 1) * rows].view(steps - 1, rows, *states.shape[1:]))


class Scratch:
    """Memory that one block after the other uses, so that it stays in the cache, and its views.

    A view costs about a third of an operation on a small step, and there are about ten to a step: so both are kept
    for the next pass of the same sizes. A thread has its own, and no pass reads what another has left there.
    """

    @classmethod
    def of(cls, like: Tensor, blocks: list[Block], widths: tuple[int, ...], views_of: ViewsOf) -> "Scratch":
        """That of the last pass of these sizes, or a new one.

        Args:
            like: a tensor of the same type.
            blocks: it has room for the steps and rows of each, and for a state before.
            widths: a piece for each.
            views_of: see :data:`ViewsOf`; it also tells one pass from another.
        """
        most = max(steps for steps, _ in blocks)
        key = views_of, like.dtype, most, blocks[0].rows, widths
        kept: OrderedDict[Any, Scratch] = _KEPT.__dict__.setdefault("scratches", OrderedDict())
        scratch = kept.pop(key, None) or cls(like, (most + 1) * blocks[0].rows, widths, views_of)
        kept[key] = scratch
        while sum(each.size for each in kept.values()) > KEPT_BYTES:
            kept.popitem(last=False)
        return scratch

    def __init__(self, like: Tensor, rows: int, widths: tuple[int, ...], views_of: ViewsOf) -> None:
        # nobody asks for its gradient: views of such tensors cost a quarter less
        with torch.inference_mode():
            self._pieces = [like.new_empty(rows, width) for width in widths]
        self.size = sum(piece.nbytes for piece in self._pieces)
        self._views_of = views_of
        self._views: dict[Block, Any] = {}

    def at(self, block: Block) -> Any:
        """What ``views_of`` makes of the pieces for this block."""
        if block not in self._views:
            if len(self._views) == KEPT_BLOCKS:
                self._views.pop(next(iter(self._views)))
            steps, rows = block
            with torch.inference_mode():
                pieces = (piece[: (steps + 1) * rows].view(steps + 1, rows, -1) for piece in self._pieces)
                self._views[block] = self._views_of(*pieces)
        return self._views[block]


_KEPT = threading.local()
