"""The members of a stack: what is known of each, their batches side by side, and what dropout draws for each."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from rnnlab.data.batches import Batches
from rnnlab.data.split import Split
from rnnlab.kernels.members import across_members
from rnnlab.runs.recorder import random_state, restore_random_state
from rnnlab.spec import Batch
from rnnlab.tasks.task import Task


class Unstackable(Exception):
    """The members cannot be trained together; the message says why."""


@dataclass(eq=False)
class Member:
    """What a stack needs to know of one of its networks, and what it says of it.

    Attributes:
        task: whose parameters are trained in place.
        optimizer: over them, whose state is brought up to date.
        batches: of which the rest of an epoch is served.
        indices: which sequences stand in each of these batches.
        first: the number of the first of them in the epoch.
        epoch: from 0.
        clip: the largest gradient, or ``None``.
        by_value: each number is clipped to it, and not the norm of all of them.
        scheduled: the optimizer's rates may change at every step.
        stepped: called after each step.
        random: the state of the random numbers that it draws from.
        number: of the member among those that are trained together.
        done: steps made.
        losses: of steps that are logged, by number of the batch.
        failed: the loss, where it became no finite number.
    """

    task: Task
    optimizer: Optimizer
    batches: Batches
    indices: list[Tensor]
    first: int
    epoch: int
    clip: float | None
    by_value: bool
    scheduled: bool
    stepped: Callable[[], None]
    random: Mapping[str, Tensor]
    number: int = 0
    done: int = 0
    losses: dict[int, float] = field(default_factory=dict)
    failed: float | None = None

    @property
    def left(self) -> int:
        """Batches that are still to come."""
        return len(self.indices) - self.done

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What the optimizer is told, but for the parameters."""
        return {name: value for name, value in self.optimizer.param_groups[0].items() if name != "params"}

    @property
    def sort_key(self) -> str:
        """Members with equal keys may be moved by one group of an optimizer."""
        state: dict[str, Any] = next(iter(self.optimizer.state.values()), {})
        steps = float(state.get("step", 0))
        kept = sorted(name for name, value in state.items() if value is not None)
        # the same on every start: where a member stands in the stack decides about its last digit
        own = f"{self.number:09}" if self.scheduled else ""
        return json.dumps([self.hyperparameters, steps, kept, own], default=str, sort_keys=True)


@dataclass
class StackedBatch:
    """Batches of equal size of some members, side by side.

    Attributes:
        rows: the numbers of the members.
        parts: inputs, targets and lengths, ``(members, batch, …)``.
    """

    rows: list[int]
    parts: tuple[Tensor | None, Tensor | None, Tensor | None]


class Cut:
    """Cuts the members' batches: in one piece where their data lies in memory."""

    def __init__(self, members: Sequence[Member], device: torch.device) -> None:
        self.members, self.device = members, device
        self.dtype = next(members[0].task.network.parameters()).dtype
        self._sources: dict[int, int] = {}
        splits: list[Split] = []
        for member in members:
            split = member.batches.split
            if all(split is not other for other in splits):
                splits.append(split)
        starts = [0]
        for split in splits:
            starts.append(starts[-1] + len(split))
        self._start = [starts[next(i for i, s in enumerate(splits) if s is m.batches.split)] for m in members]
        self._augmented = any(member.batches.is_augmented for member in members)
        self._whole = None
        if not self._augmented:
            self._whole = _joined(splits, device, self.dtype)

    def next(self) -> list[StackedBatch]:
        """The batches that come next, members with batches of one size together."""
        indices = [member.indices[member.done] for member in self.members]
        by_size: dict[int, list[int]] = {}
        for row, index in enumerate(indices):
            by_size.setdefault(len(index), []).append(row)
        return [self._cut(rows, indices) for rows in by_size.values()]

    def _cut(self, rows: list[int], indices: list[Tensor]) -> StackedBatch:
        if self._whole is None:
            return StackedBatch(rows, self._augment(rows, indices))
        index = torch.stack([indices[row] + self._start[row] for row in rows]).to(self.device)
        return StackedBatch(rows, self._without_padding(tuple(None if p is None else p[index] for p in self._whole), 2))

    def alone(self, batch: StackedBatch, number: int) -> Batch:
        """The batch of one member, as it is without the others."""
        return Batch(*self._without_padding(tuple(None if part is None else part[number] for part in batch.parts), 1))

    def _without_padding(self, parts: tuple[Any, ...], time: int) -> tuple[Any, ...]:
        """Inputs, targets and lengths up to the end of the longest sequence; ``time`` is that dimension."""
        inputs, targets, lengths = parts
        if lengths is None:
            return parts
        longest = int(lengths.max())
        has_time = self.members[0].batches.split.targets_have_time
        inputs, targets = inputs.narrow(time, 0, longest), targets.narrow(time, 0, longest) if has_time else targets
        return inputs, targets, lengths

    def _augment(self, rows: list[int], indices: list[Tensor]) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        inside = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)  # alone a batch is cut before the trainer's precision holds
        try:
            batches = [
                member.batches.cut(indices[row], member.epoch, member.first + member.done)
                for row, member in ((row, self.members[row]) for row in rows)
            ]
        finally:
            torch.set_default_dtype(inside)
        if any(batch.lengths is not None for batch in batches):
            raise Unstackable("sequences of different lengths are augmented")
        return (
            _to(torch.stack([batch.inputs for batch in batches]), self.device, self.dtype),
            _to(torch.stack([batch.targets for batch in batches]), self.device, self.dtype),
            None,
        )


def _to(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    return tensor.to(device, dtype if tensor.is_floating_point() else None)


def _joined(splits: Sequence[Split], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
    """The splits one behind the other, as long as the longest."""
    if len(splits) == 1:
        only = splits[0]
        return (
            _to(only.inputs, device, dtype),
            _to(only.targets, device, dtype),
            None if only.lengths is None else only.lengths.to(device),
        )
    if any(split.lengths is not None for split in splits):
        raise Unstackable("data sets with sequences of different lengths differ")
    return (
        _to(torch.cat([split.inputs for split in splits]), device, dtype),
        _to(torch.cat([split.targets for split in splits]), device, dtype),
        None,
    )


class MemberDropout(nn.Module):
    """Dropout of each member's own share, from its own random state.

    Args:
        shares: of the units dropped, one a member.
        states: of the random numbers of each member, brought up to date with every draw.

    Attributes:
        rows: the numbers of the members whose batches are side by side.
        steps: of the longest sequence of each of these batches, which may be shorter than the longest of all; and those
            of the hidden sequences, where a network has fewer steps than its input.
    """

    def __init__(self, shares: Sequence[float], states: Sequence[dict[str, Tensor]]) -> None:
        super().__init__()
        self.shares, self.states = list(shares), states
        self.rows = list(range(len(self.shares)))
        self.steps: list[list[int]] = []

    def forward(self, x: Tensor) -> Tensor:
        return across_members(self._drop, x) if any(self.shares) else x

    def _drop(self, x: Tensor) -> Tensor:
        dropped = []
        for number, (row, own) in enumerate(zip(self.rows, x.unbind(0), strict=True)):
            # alone a member draws nothing for steps that its own batch does not have
            there = self._there(own, number)
            with drawing_from(self.states[row]):
                left = F.dropout(there.contiguous(), self.shares[row], training=True)
                self.states[row].update(random_state())
            if left.shape != own.shape:
                beyond = own.new_zeros(len(own), own.shape[1] - left.shape[1], *own.shape[2:])
                left = torch.cat([left, beyond], 1)
            dropped.append(left)
        return torch.stack(dropped)

    def _there(self, x: Tensor, number: int) -> Tensor:
        """The steps of ``(batch, time, …)`` that a member's own batch has; ``(batch, …)`` as it is."""
        steps = next((steps for steps in self.steps if x.dim() > 2 and x.shape[1] == max(steps)), None)
        return x if steps is None else x[:, : steps[number]]


@contextmanager
def drawing_from(state: Mapping[str, Tensor]) -> Iterator[None]:
    """Random numbers are drawn from this state within the block."""
    before = random_state()
    restore_random_state(state)
    try:
        yield
    finally:
        restore_random_state(before)
