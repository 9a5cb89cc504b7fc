"""Where the steps of a batch stand in a kernel's buffers: time first, and sequences of different lengths in lanes.

A kernel takes tiles of some rows through all steps. Where sequences differ in length, a row (a lane) takes several of
them, one after the other, so that all lanes end at about the same step and none waits for the longest sequence. Between
two sequences of a lane lies a step that belongs to neither: after it the state is that from which the next one starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import heapreplace

import numpy as np
import torch
from torch import Tensor

from rnnlab.kernels.memory import shaped

GROUP = 8
"""Lanes come in multiples of it: the rows of the largest tile."""
PER_LANE = 4
"""Sequences of different lengths that a lane takes, where there are enough: these balance lanes well."""


class Tiles:
    """The tiles of a layout as a kernel reads them.

    Args:
        tiles: ``(lane, end, member, first event, last event)`` of each.
        events: in the order of the tiles.

    Attributes:
        ends: of each tile.
        address: of the tiles.
        events_address: of the events.
    """

    def __init__(self, tiles: np.ndarray, events: np.ndarray) -> None:
        self._own = tiles, events
        self.ends, self.address, self.events_address = tiles[:, 1], tiles.ctypes.data, events.ctypes.data


@dataclass(eq=False)
class Layout:
    """The rows of a batch: for each member ``lanes`` at each step, row ``(member * steps + step) * lanes + lane``.

    Sequences are numbered ``member * batch + sequence``; ``members * batch`` stands for none.

    Attributes:
        members: networks, each with parameters of its own.
        batch: sequences of a member.
        time: steps of the input.
        lanes: of a member.
        steps: until the last lane ends.
        ends: the step at which each lane of each member ends.
        events: ``(number, 4)``: a step between two sequences, or after the last one, its lane among those of all
            members, the sequence that begins after it and the one that ended before it.
        places: for each row where its step stands in ``(members * batch * time)``; some step where it holds none.
            ``None`` where each sequence has a lane and all have ``time`` steps.
        row_of: the inverse; the number of rows beyond a sequence's end.
        state_of: where the state after each step stands, among those before and after all steps of a member; likewise.
        after: where the state after a sequence's last step stands there.
        begun: whether a sequence has a step; ``None`` where all have.
        first: the sequence with which each lane begins.
        final: the sequence with which each lane ends.
        idle: the rows that hold no step; ``None`` where all do.
        unset: the states before those of them that come after no sequence; likewise.
    """

    members: int
    batch: int
    time: int
    lanes: int
    steps: int
    ends: np.ndarray
    events: np.ndarray
    places: Tensor | None = None
    row_of: Tensor | None = None
    state_of: Tensor | None = None
    after: Tensor | None = None
    begun: Tensor | None = None
    first: Tensor | None = None
    final: Tensor | None = None
    idle: Tensor | None = None
    unset: Tensor | None = None
    _held: dict[torch.dtype, Tensor] = field(default_factory=dict)
    _tables: dict[int, Tiles] = field(default_factory=dict)
    _blocks: dict[int, list[tuple[int, int, Tensor | None]]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Of a member."""
        return self.steps * self.lanes

    @property
    def total(self) -> int:
        """Rows of all members."""
        return self.members * self.rows

    def tables(self, size: int) -> Tiles:
        """Tiles of so many rows."""
        if size not in self._tables:
            first = np.arange(0, self.members * self.lanes, size, dtype=np.int64)
            tile = self.events[:, 1] // size
            order = np.lexsort((self.events[:, 0], tile))
            bounds = np.searchsorted(tile[order], np.arange(len(first) + 1))
            ends = self.ends.reshape(-1, size).max(1)
            tiles = np.stack([first % self.lanes, ends, first // self.lanes, bounds[:-1], bounds[1:]], 1)
            events = self.events[order]
            events[:, 1] %= self.lanes
            self._tables[size] = Tiles(tiles.astype(np.int64), np.ascontiguousarray(events))
        return self._tables[size]

    def held(self, dtype: torch.dtype) -> Tensor:
        """For each row of all members 1 where it holds a step, else 0."""
        if dtype not in self._held:
            assert self.idle is not None
            self._held[dtype] = torch.ones(self.total, dtype=dtype).index_fill_(0, self.idle, 0)
        return self._held[dtype]

    def blocks(self, rows: int) -> list[tuple[int, int, Tensor | None]]:
        """Stretches of steps with about so many rows of a member, and which rows of all members hold no step."""
        size = max(1, rows // self.lanes)
        if size not in self._blocks:
            found: list[tuple[int, int, Tensor | None]] = []
            member, row = (None, None) if self.idle is None else (self.idle // self.rows, self.idle % self.rows)
            for begin in range(0, self.steps, size):
                end, idle = min(begin + size, self.steps), None
                if member is not None and row is not None:
                    low, high = begin * self.lanes, end * self.lanes
                    inside = (row >= low) & (row < high)
                    idle = (member * (high - low) + row - low)[inside]
                found.append((begin, end, idle if idle is not None and len(idle) else None))
            self._blocks[size] = found
        return self._blocks[size]


def zero_padding(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The same ``(…, batch, time, width)``, zero beyond the ``lengths`` ``(…, batch)`` of valid steps."""
    if lengths is None:
        return x
    padding = torch.arange(x.shape[-2], device=x.device) >= lengths[..., None]
    return x.masked_fill(padding[..., None], 0.0)


@lru_cache(64)
def dense(batch: int, time: int, members: int = 1) -> Layout:
    """All sequences have as many steps, and each has a lane."""
    lanes = -(-batch // GROUP) * GROUP
    if lanes == batch:
        every = members * lanes
        return Layout(members, batch, time, lanes, time, np.full(every, time, np.int64), np.zeros((0, 4), np.int64))
    lane = np.broadcast_to(np.arange(batch), (members, batch))
    begin = np.zeros((members, batch), np.int64)
    return _layout(np.full((members, batch), time, np.int64), time, lanes, lane, begin)


def varying(lengths: Tensor, time: int) -> Layout | None:
    """Sequences of ``lengths`` ``(batch,)`` or ``(members, batch)`` within ``time`` steps; ``None`` if none has any."""
    values = lengths.detach().long().numpy()
    values = values.reshape(-1, values.shape[-1])
    # the layers of a network, forth and back, get the same lengths
    return _varying(values.tobytes(), values.shape[0], values.shape[1], time)


@lru_cache(16)
def _varying(lengths: bytes, members: int, batch: int, time: int) -> Layout | None:
    values = np.frombuffer(lengths, np.int64).reshape(members, batch)
    if not values.any():
        return None
    if (values == time).all():
        return dense(batch, time, members)
    # no more lanes than there are steps for, or all would wait for the longest sequence
    room = int(values.sum(1).max()) // max(1, int(values.max()))
    lanes = GROUP * max(1, min(batch // PER_LANE, room) // GROUP)
    shared = [share(each.tolist(), lanes) for each in values]
    lane, begin = (np.array([each[part] for each in shared], np.int64) for part in (0, 1))
    return _layout(values, time, lanes, lane, begin)


def share(lengths: Sequence[int], lanes: int) -> tuple[list[int], list[int]]:
    """Shares sequences out among lanes, the longest first, each to the lane that ends first.

    Returns:
        The lane of each sequence, and the step at which it begins.
    """
    ends = [(0, lane) for lane in range(lanes)]
    found, begin = [0] * len(lengths), [0] * len(lengths)
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        if lengths[number]:
            begin[number], found[number] = ends[0]
            heapreplace(ends, (begin[number] + lengths[number] + 1, found[number]))
    return found, begin


def _layout(lengths: np.ndarray, time: int, lanes: int, lane: np.ndarray, begin: np.ndarray) -> Layout:
    """All ``(members, batch)``: the steps of each sequence, its lane, and where it begins."""
    members, batch = lengths.shape
    every, none = members * lanes, members * batch
    member = np.repeat(np.arange(members), batch)
    lane = lane.reshape(-1)
    row = member * lanes + lane
    begin, length = begin.reshape(-1), lengths.reshape(-1)
    end = begin + length
    steps = int(end[length > 0].max())
    rows, total = steps * lanes, members * steps * lanes
    used = np.flatnonzero(length > 0)
    used = used[np.lexsort((begin[used], row[used]))]
    last = np.append(row[used[1:]] != row[used[:-1]], True)
    following = np.where(last, none, np.append(used[1:], none))
    events = np.stack([end[used], row[used], following, used], 1).astype(np.int64)
    ends, first, final = np.zeros(every, np.int64), np.full(every, none), np.full(every, none)
    ends[row[used[last]]] = end[used[last]]
    final[row[used[last]]] = used[last]
    starts = used[begin[used] == 0]
    first[row[starts]] = starts
    # each step of each sequence
    owner = np.repeat(used, length[used])
    step = np.arange(len(owner)) - np.repeat(np.cumsum(length[used]) - length[used], length[used])
    at, place = member[owner] * rows + (begin[owner] + step) * lanes + lane[owner], owner * time + step
    places, row_of, held = np.full(total, place[0]), np.full(none * time, total), np.zeros(total, bool)
    places[at], row_of[place], held[at] = place, at, True
    idle = np.flatnonzero(~held)
    # of the states a member has those of one step more
    state_of = np.full(none * time, total + every)
    state_of[place] = at + (member[owner] + 1) * lanes
    after = member * (rows + lanes) + end * lanes + lane
    unset = np.zeros(total + every, bool)
    unset[idle + idle // rows * lanes] = True
    unset[after[used]] = False
    to = torch.from_numpy
    return Layout(
        members, batch, time, lanes, steps, ends, events[events[:, 0] < steps], to(places), to(row_of), to(state_of),
        to(after), None if len(used) == none else to(length > 0), to(first), to(final),
        to(idle) if len(idle) else None, to(np.flatnonzero(unset)) if unset.any() else None,
    )  # fmt: skip


# ---- values between batches and rows ------------------------------------------------------------------------------


def rows_of(x: Tensor, layout: Layout, stacked: bool = False) -> Tensor:
    """``(…, batch, time, width)`` to ``(rows, width)``, or ``(members, rows, width)``."""
    if layout.places is not None:
        rows = x.reshape(-1, x.shape[-1]).index_select(0, layout.places)
    else:
        rows = x.transpose(-3, -2).reshape(layout.total, x.shape[-1])
    return rows.view(layout.members, layout.rows, -1) if stacked else rows


def of_members(states: Tensor, layout: Layout) -> Tensor:
    """``(members, rows, width)`` of a buffer of states."""
    return states[:-1].view(layout.members, layout.rows + layout.lanes, states.shape[1])


def at_step(states: Tensor, layout: Layout, step: int) -> Tensor:
    """Of a buffer of states those before a step, ``(lanes, width)`` or ``(members, lanes, width)``."""
    whole = states if layout.members == 1 else of_members(states, layout)
    return whole.narrow(-2, step * layout.lanes, layout.lanes)


def by_sequence(rows: Tensor, layout: Layout, shape: tuple[int, ...], states: bool = False) -> Tensor:
    """``(rows + 1, width)``, of which the last may be overwritten, to ``(…, batch, time, width)``, zero on padding;
    or the states after all steps.
    """
    places = layout.state_of if states else layout.row_of
    if places is not None:
        rows[-1].zero_()
        return rows.index_select(0, places).view(shape)
    width, before = shape[-1], layout.lanes if states else 0
    strides = ((layout.rows + before) * width, width, layout.lanes * width, 1)[-len(shape) :]
    return rows.as_strided(shape, strides, before * width)


def last_states(whole: Tensor, layout: Layout, start: Tensor, stacked: bool) -> Tensor:
    """The state after each sequence's last step."""
    if layout.after is None:
        return shaped(at_step(whole, layout, layout.steps).clone(), start.shape)
    found = shaped(whole.index_select(0, layout.after), start.shape)
    if layout.begun is None:
        return found
    before = 2 if stacked else 1
    return torch.where(layout.begun.view(*start.shape[:before], *[1] * (start.dim() - before)), found, start)


def with_zero_row(rows: Tensor) -> Tensor:
    """The same rows and one of zeros."""
    return torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
