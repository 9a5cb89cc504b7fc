"""Sequences of different lengths, laid out for one call of torch's own kernel.

A layer's time goes by the number of steps one after the other as much as by
that of valid ones. So no row of a batch should stand idle: a short sequence
stands behind another one in its row (the longest first, each into the row that
it fills best). No row gets longer than the longest sequence. Rows stand in
order of what is in them, and each block has only those that reach it, and a few
to round them up.
"""

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.shapes import Lengths


class Block(NamedTuple):
    """``steps`` in a row in which the first ``rows`` take part."""

    steps: int
    rows: int


BlocksOf = Callable[[list[int]], list[Block]]
"""From the steps after which each row ends, the last first, to blocks of all of them. They may have more steps and rows
than that."""


class Cut(NamedTuple):
    """A batch of sequences of varying length, cut into blocks.

    Attributes:
        blocks: in order of time.
        order: ``(sequences,)`` in which those with a step begin: first those that a row begins with, from the first row
            on, then as they take over.
        places: ``(rows,)`` where each row of the blocks stands in the flat ``(batch * time)`` input.
        beyond: the numbers of those rows that are beyond their sequence's end.
        row_of: ``(batch * time,)`` where each valid step of the input stands in the rows; ``rows`` for padding.
    """

    blocks: list[Block]
    order: Tensor
    places: Tensor
    beyond: Tensor
    row_of: Tensor


def cut(time: int, lengths: Lengths, blocks_of: BlocksOf) -> Cut:
    """How a batch of sequences of ``lengths`` within ``time`` steps is cut.

    Args:
        time: steps of the input.
        lengths: ``(batch,)`` valid steps of each sequence.
        blocks_of: see there.
    """
    batch, (ordered, sequences) = len(lengths), map(Tensor.numpy, lengths.sort(descending=True, stable=True))
    count = int(np.count_nonzero(ordered))
    valid = ordered[:count].tolist()
    rows, begins, ends = pack(valid)
    blocks = blocks_of(ends) if ends else []
    by_begin = sorted(zip(begins, rows, range(count), strict=True))
    order = sequences[[number for _, _, number in by_begin]]
    # rows in which there is nothing: a sequence of no steps
    idle = range(len(ends), blocks[0].rows if blocks else 0)
    # NumPy, since torch takes twice as long for so small numbers
    more = [0] * len(idle)
    begin_of, row_of_sequence = np.array([*begins, *more], np.int64), np.array([*rows, *idle], np.int64)
    length_of, time_of = (np.array([*each[:count], *more], np.int64) for each in (ordered, time * sequences))
    # to the next sequence in its row, or to the end of the last block
    by_row = np.lexsort((begin_of, row_of_sequence))
    span = np.append(begin_of[by_row[1:]], 0)
    steps = sum(block.steps for block in blocks)
    span = np.where(span > begin_of[by_row], span, steps) - begin_of[by_row]
    owner = np.repeat(by_row, span).reshape(len(ends) + len(idle), steps).T
    parts, first = [by_row[:0]], 0
    for block in blocks:
        parts.append(owner[first : first + block.steps, : block.rows].ravel())
        first += block.steps
    number = np.concatenate(parts)
    rows_of_step = np.repeat(*np.array(blocks, dtype=np.int64).reshape(-1, 2).T[::-1])
    within = np.repeat(np.arange(steps), rows_of_step) - begin_of[number]
    is_valid = within < length_of[number]
    places = np.minimum(within, time - 1) + time_of[number]
    where, row_of = np.flatnonzero(is_valid), np.full(batch * time, len(places))
    row_of[places[where]] = where
    each = order, places, np.flatnonzero(~is_valid), row_of
    return Cut(blocks, *(torch.from_numpy(part) for part in each))


def pack(lengths: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Sequences of falling lengths, none of them 0, into as few rows as fit them, one step between two of them.

    The longest first, each into the row that it leaves least room in.

    Returns:
        Of each sequence its row and the step at which it begins; and of each row, in falling order, its end.
    """
    longest = lengths[0] if lengths else 0
    rooms: list[tuple[int, int]] = []  # what is left of a row, and its number
    rows: list[int] = []
    begins: list[int] = []
    ends: list[int] = []
    for length in lengths:
        place = bisect_left(rooms, (length + 1, -1))
        if place < len(rooms):
            _, row = rooms.pop(place)
            begins.append(ends[row] + 1)
            ends[row] += length + 1
        else:
            row = len(ends)
            begins.append(0)
            ends.append(length)
        rows.append(row)
        if longest - ends[row] > 1:
            insort(rooms, (longest - ends[row], row))
    order = sorted(range(len(ends)), key=lambda row: -ends[row])
    place_of = {row: place for place, row in enumerate(order)}
    return [place_of[row] for row in rows], begins, [ends[row] for row in order]


def placed(data: Tensor, found: Cut) -> Tensor:
    """``(rows, hidden)`` to ``(batch * time, hidden)``, zero on padding."""
    return _Placed.apply(data, found.places, found.beyond, found.row_of)


class _Placed(Function):
    """``(rows, hidden)`` to ``(batch * time, hidden)``, zero on padding: see :class:`Cut`.

    To fetch each row takes a fifth of the time of putting it there, and of masking what is beyond the ends.
    """

    @staticmethod
    def forward(ctx: Any, data: Tensor, places: Tensor, beyond: Tensor, row_of: Tensor) -> Tensor:
        ctx.save_for_backward(places, beyond)
        return torch.cat([data, data.new_zeros(1, data.shape[1])]).index_select(0, row_of)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        places, beyond = ctx.saved_tensors
        return grad.index_select(0, places).index_fill_(0, beyond, 0.0), None, None, None
