"""Where the steps of a batch stand in a kernel's buffers: time first, only steps that there are."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

GROUP = 8
"""Rows that begin and end together: those of the largest tile."""


@dataclass(eq=False)
class Layout:
    """The rows of a batch.

    Sequences that differ in length stand in falling order of it, so that a step has rows only of those that reach it,
    in groups of :data:`GROUP`; a group goes on until its longest row ends. Rows that fill the last group up are copies
    of a sequence whose gradient is zero.

    Attributes:
        batch: sequences.
        time: steps of the input.
        rows: of the first step.
        steps: of the longest sequence.
        total: rows of all steps.
        offsets: where the rows of each step begin, ``steps + 1`` numbers.
        states: where the rows of the state before each step begin, ``steps + 2`` numbers.
        ends: the step at which each row's group ends.
        lengths: the steps of each row; ``None`` where all have as many as there are.
        order: the sequence in each row; ``None`` where they stand as they are and fill their groups.
        places: where each row of all steps stands in ``(batch * time)``; ``None`` where nothing varies.
        row_of: where each step of ``(batch * time)`` stands in the rows, ``total`` beyond a sequence's end.
        after: where the state after a sequence's last step stands.
        begun: whether a sequence has a step.
        state_rows: of each row of all steps, where the state before it stands.
    """

    batch: int
    time: int
    rows: int
    steps: int
    total: int
    offsets: np.ndarray
    states: np.ndarray
    ends: np.ndarray
    lengths: np.ndarray | None = None
    order: Tensor | None = None
    places: Tensor | None = None
    row_of: Tensor | None = None
    after: Tensor | None = None
    begun: Tensor | None = None
    state_rows: Tensor | None = None

    def tiles(self, size: int, members: int = 1) -> np.ndarray:
        """``(tiles, 3)``: first row, end and member of tiles of so many rows."""
        rows = np.arange(0, self.rows * members, size, dtype=np.int64)
        return np.stack([rows, self.ends[rows % self.rows], rows // self.rows], 1)

    def blocks(self, most: int) -> list[tuple[int, int]]:
        """Stretches of steps with about so many rows."""
        found, begin = [], 0
        while begin < self.steps:
            end = begin + 1
            while end < self.steps and self.offsets[end + 1] - self.offsets[begin] <= most:
                end += 1
            found.append((begin, end))
            begin = end
        return found


@lru_cache(64)
def dense(batch: int, time: int, members: int = 1) -> Layout:
    """All sequences have as many steps."""
    rows = -(-batch // GROUP) * GROUP
    every = rows * members
    offsets = np.arange(time + 2, dtype=np.int64) * every
    order = None if rows == batch else torch.arange(rows).clamp_max(batch - 1)
    ends = np.full(rows, time, np.int64)
    return Layout(batch, time, rows, time, time * every, offsets[:-1].copy(), offsets, ends, order=order)


def varying(lengths: Tensor, time: int) -> Layout:
    """Sequences of ``lengths`` within ``time`` steps, at least one of them with a step."""
    values = lengths.detach().numpy().astype(np.int64)
    batch = len(values)
    order = np.argsort(-values, kind="stable")
    count = int((values > 0).sum())
    rows, steps = -(-count // GROUP) * GROUP, int(values.max())
    number = np.minimum(np.arange(rows), count - 1)
    of_row = order[number]
    own = np.where(np.arange(rows) < count, values[of_row], 0)
    ends = np.repeat(values[of_row[::GROUP]], GROUP)
    at_step = np.searchsorted(-ends, -np.arange(steps), side="left")  # rows whose group goes on beyond the step
    offsets = np.concatenate([[0], np.cumsum(at_step)]).astype(np.int64)
    states = np.concatenate([[0], offsets + rows]).astype(np.int64)
    step = np.repeat(np.arange(steps), at_step)
    row = np.arange(offsets[-1]) - offsets[step]
    places = of_row[row] * time + np.minimum(step, values[of_row[row]] - 1)
    rank = np.empty(batch, np.int64)
    rank[order] = np.arange(batch)
    grid = np.arange(time)
    valid = grid < values[:, None]
    row_of = np.where(valid, offsets[np.minimum(grid, steps - 1)] + rank[:, None], offsets[-1])
    after = states[values] + np.minimum(rank, rows - 1)
    to = torch.from_numpy
    return Layout(
        batch, time, rows, steps, int(offsets[-1]), offsets, states, ends.astype(np.int64), own.astype(np.int64),
        to(of_row.astype(np.int64)), to(places.astype(np.int64)), to(row_of.reshape(-1).astype(np.int64)),
        to(after.astype(np.int64)), to(values > 0), to(states[step] + row),
    )  # fmt: skip
