"""Several networks alike, trained as one: the steps of an epoch for all of them together.

Their parameters stand as the rows of one matrix, ``torch.func.vmap`` runs the
task over the rows, and one optimizer of the members' own kind moves them. Only
numbers differ from one member to the next: weights, batches, learning rates,
clipping, dropout, random state.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop, Rprop

from rnnlab.data.sequence import Batches, Split
from rnnlab.kernels.members import across_members
from rnnlab.runs.recorder import random_state, restore_random_state
from rnnlab.spec import Batch
from rnnlab.tasks.task import LOSS_EVERY_N_STEPS, Task

ELEMENTWISE = (Adam, AdamW, SGD, RMSprop, NAdam, RAdam, Adagrad, Adamax, Adadelta, Rprop)
"""Optimizers that treat each number by itself, so that it makes no difference what stands beside it."""

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""By how much a member's first gradient in the stack may differ from its own, relative to its norm: many times the
rounding, and far below any mistake."""


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


def train_together(members: Sequence[Member], stopped: Callable[[], bool]) -> None:
    """Trains the rest of an epoch; members whose loss is no finite number any more drop out.

    Args:
        members: with as many batches left.
        stopped: asked after each step; true ends it there.
    """
    left = [member for member in members if member.left]
    first = True
    # each makes a step: where the members of one stack are stopped within an epoch, all of them are
    while left and (first or not stopped()):
        first = False
        stack = Stack(left)
        stack.run(stopped)
        left = [member for member in left if member.left and member.failed is None]


def check_together(members: Sequence[Member]) -> None:
    """Holds the first gradients that members have together against those that each has alone.

    Raises:
        Unstackable: one is another, or they cannot be found together.
    """
    try:
        Stack(members).check()
    except (Unstackable, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0].split(". ")[0]
        raise Unstackable(f"torch.func.vmap cannot run it ({type(error).__name__}: {reason[:160]})") from error


class Stack:
    """Members side by side, as long as all of them are there."""

    def __init__(self, members: Sequence[Member]) -> None:
        if any(not member.task.automatic_optimization for member in members):
            raise Unstackable("a readout in closed form is found in one pass, and makes no training steps")
        self.members = sorted(members, key=lambda member: member.sort_key)
        task = self.members[0].task
        self.task = task
        self.objective = _Objective(task)
        named = [dict(member.task.network.named_parameters()) for member in self.members]
        self.names = list(named[0])
        # to look for parameters of two names takes a twentieth of a step, and only tied embeddings have them
        self.tied = len(self.names) < sum(1 for _ in task.network.named_parameters(remove_duplicate=False))
        self.shapes = [parameter.shape for parameter in named[0].values()]
        self.own = [[of[name] for name in self.names] for of in named]
        with torch.no_grad():
            self.flat = torch.stack([torch.cat([p.detach().flatten() for p in own]) for own in self.own])
        self.sizes = [shape.numel() for shape in self.shapes]
        self.leaves = [
            part.view(len(self.members), *shape).detach().requires_grad_()
            for part, shape in zip(self.flat.split(self.sizes, 1), self.shapes, strict=True)
        ]
        self.gradient = torch.zeros_like(self.flat)
        self.buffers = self._buffers()
        self.optimizer = StackedOptimizer(self)
        self.totals = StackedTotals(self)
        self.dropouts: list[MemberDropout] = []
        self._random: list[dict[str, Tensor]] = []
        self.cut = _Cut(self.members, self.flat.device)
        device, dtype = self.flat.device, self.flat.dtype
        bounds = [(m.clip or float("inf"), m.by_value) for m in self.members]
        self.bound, self.norm_bound, self.value_bound = (
            torch.tensor(each, device=device, dtype=dtype)
            for each in (
                [bound for bound, _ in bounds],
                [float("inf") if by_value else bound for bound, by_value in bounds],
                [bound if by_value else float("inf") for bound, by_value in bounds],
            )
        )

    def _buffers(self) -> dict[str, Tensor]:
        each = [dict(_buffers(member.task)) for member in self.members]
        return {name: torch.stack([of[name] for of in each]) for name in each[0]}

    # ---- an epoch -----------------------------------------------------------------------------

    def run(self, stopped: Callable[[], bool]) -> None:
        """Makes a step, and more until the batches are used up, a loss is no finite number, or one asks to stop."""
        try:
            with self._dropping():
                self._step()
                while self.members[0].left and not self._failed() and not stopped():
                    self._step()
        finally:
            self._write_back()

    def _failed(self) -> bool:
        return any(member.failed is not None for member in self.members)

    def _step(self) -> None:
        number = self.members[0].first + self.members[0].done
        before = [dict(state) for state in self._random]
        batches = self.cut.next()
        losses, scores, gradients = self.gradients(batches)
        weights = [weight for batch in batches for weight in self._weights(batch)]
        order = [row for batch in batches for row in batch.rows]
        if order != sorted(order):
            weights = [weight for _, weight in sorted(zip(order, weights, strict=True))]
        self.totals.add(losses, scores, weights)
        if number % LOSS_EVERY_N_STEPS == 0 or self.flat.device.type == "cpu":
            for member, value in zip(self.members, losses.tolist(), strict=True):
                if value != value or value in (float("inf"), -float("inf")):
                    member.failed = value
                elif number % LOSS_EVERY_N_STEPS == 0:
                    member.losses[number] = value
            if self._failed():
                # who is left goes on from here as a smaller stack, and this step is made again for them
                self.totals.undo()
                for state, drawn_from in zip(self._random, before, strict=True):
                    state.update(drawn_from)
                return
        self._clip(gradients)
        self.optimizer.step()
        for member in self.members:
            member.done += 1
            member.stepped()

    def gradients(self, batches: "Sequence[StackedBatch]") -> tuple[Tensor, Tensor, Tensor]:
        """Losses ``(members,)``, training scores ``(members, scores)`` and gradients ``(members, parameters)``."""
        parts = [self._objectives(batch) for batch in batches]
        losses = parts[0][0] if len(parts) == 1 else torch.cat([loss for loss, _ in parts])
        scores = parts[0][1] if len(parts) == 1 else torch.cat([score for _, score in parts])
        found = torch.autograd.grad(losses.sum(), self.leaves)
        torch.cat([each.flatten(1) for each in found], 1, out=self.gradient)
        losses = losses.detach()
        if len(parts) > 1:
            order = torch.tensor([row for batch in batches for row in batch.rows], device=losses.device).argsort()
            losses, scores = losses[order], scores[order]
        return losses, scores, self.gradient

    def _objectives(self, batch: "StackedBatch") -> tuple[Tensor, Tensor]:
        leaves, buffers = self.leaves, self.buffers
        if len(batch.rows) < len(self.members):
            rows = torch.tensor(batch.rows, device=self.flat.device)
            leaves = [leaf.index_select(0, rows) for leaf in leaves]
            buffers = {name: buffer.index_select(0, rows) for name, buffer in buffers.items()}
        longest = None if batch.parts[2] is None else batch.parts[2].amax(1)
        inside = self.task.network.read_lengths(longest)
        steps = [each.tolist() for each in (longest, inside) if each is not None]
        for dropout in self.dropouts:
            dropout.rows = batch.rows
            dropout.steps = steps
        parameters = {f"task.network.{name}": leaf for name, leaf in zip(self.names, leaves, strict=True)}
        tensors = {**parameters, **{f"task.{name}": buffer for name, buffer in buffers.items()}}
        given = [None if part is None else 0 for part in batch.parts]

        def one(tensors: dict[str, Tensor], *parts: Tensor | None) -> tuple[Tensor, Tensor]:
            return functional_call(self.objective, tensors, parts, tie_weights=self.tied)

        return vmap(one, in_dims=(0, *given))(tensors, *batch.parts)

    def _weights(self, batch: "StackedBatch") -> list[int]:
        """How many elements the loss of each member is the mean of."""
        inputs, targets, lengths = batch.parts
        assert inputs is not None and targets is not None
        spec = self.task.spec
        every = range(len(batch.rows))
        if lengths is None and not spec.gaps and not (spec.target.categorical and spec.target.per_step):
            return [int(self.task.weight(Batch(inputs[0], targets[0])))] * len(batch.rows)
        parts = [Batch(inputs[k], targets[k], None if lengths is None else lengths[k]) for k in every]
        return [int(self.task.weight(part)) for part in parts]

    def _clip(self, gradient: Tensor) -> None:
        """As :meth:`rnnlab.tasks.task.Task.configure_gradient_clipping`, row by row."""
        norm = torch.linalg.vector_norm(gradient, dim=1)
        self.totals.add_gradient(norm, self.bound)
        factor = (self.norm_bound / (norm + 1e-6)).clamp(max=1.0)
        gradient.mul_(factor[:, None])
        if self.value_bound.isfinite().any():
            gradient.copy_(gradient.clamp(-self.value_bound[:, None], self.value_bound[:, None]))

    # ---- what is each member's own -----------------------------------------------------------

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        """Dropout draws for each member what it would draw alone."""
        places = [
            (parent, name, module)
            for parent in self.task.network.modules()
            for name, module in parent.named_children()
            if isinstance(module, nn.Dropout)
        ]
        own = [[module for module in member.task.network.modules() if isinstance(module, nn.Dropout)]
               for member in self.members]  # fmt: skip
        states = self._random = [dict(member.random) for member in self.members]
        self.dropouts = []
        for number, (parent, name, _) in enumerate(places):
            self.dropouts.append(MemberDropout([dropouts[number].p for dropouts in own], states))
            setattr(parent, name, self.dropouts[-1])
        try:
            yield
        finally:
            for parent, name, module in places:
                setattr(parent, name, module)
            for member, state in zip(self.members, states, strict=True):
                member.random = state

    @torch.no_grad()
    def _write_back(self) -> None:
        for row, own in zip(self.flat, self.own, strict=True):
            for part, parameter in zip(row.split(self.sizes), own, strict=True):
                parameter.copy_(part.view_as(parameter))
        self.optimizer.write_back()
        self.totals.write_back()

    # ---- before anything is trained ------------------------------------------------------------

    def check(self) -> None:
        """See :func:`check_together`."""
        batches = self.cut.next()
        # what is drawn for this look is drawn again
        before = [dict(member.random) for member in self.members]
        with self._dropping():
            losses, _, gradients = self.gradients(batches)
        for member, state in zip(self.members, before, strict=True):
            member.random = state
        for batch in batches:
            for k, row in enumerate(batch.rows):
                member = self.members[row]
                own = self.cut.alone(batch, k)
                with drawing_from(member.random):
                    loss = member.task.loss(member.task(own), own)
                found = torch.autograd.grad(loss, self.own[row], allow_unused=True)
                if any(each is None for each in found):
                    raise Unstackable("some parameters have no part in the loss")
                loss = loss.detach()
                alone = torch.cat([each.flatten() for each in found])
                tolerance = TOLERANCE[alone.dtype]
                same = torch.isclose(losses[row], loss, rtol=tolerance, atol=tolerance, equal_nan=True)
                error = (alone - gradients[row]).norm() / alone.norm().clamp_min(1e-12)
                if loss.isfinite() and not (same and error < tolerance):
                    raise Unstackable(
                        f"together its loss is {losses[row]:.6g} and alone {float(loss):.6g}, "
                        f"the gradients differ by {float(error):.1g}"
                    )


class _Objective(nn.Module):
    """Loss and training scores of a batch, as one module."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, inputs: Tensor, targets: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        batch = Batch(inputs, targets, lengths)
        output = self.task(batch)
        loss = self.task.loss(output, batch)
        with torch.no_grad():
            scores = self.task.score_training(output.detach(), batch)
            kept = torch.stack([loss.detach().float(), *(score.float() for score in scores)])
        return loss, kept


def _buffers(task: Task) -> Iterator[tuple[str, Tensor]]:
    """A task's own constants and its network's, without what its scores keep."""
    yield from task.named_buffers(recurse=False)
    for part, module in task.named_children():
        if part not in ("scores", "reference_scores"):
            yield from module.named_buffers(part)


# ---- batches ----------------------------------------------------------------------------------------


@dataclass
class StackedBatch:
    """Batches of equal size of some members, side by side.

    Attributes:
        rows: the numbers of the members.
        parts: inputs, targets and lengths, ``(members, batch, …)``.
    """

    rows: list[int]
    parts: tuple[Tensor | None, Tensor | None, Tensor | None]


class _Cut:
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


# ---- dropout ----------------------------------------------------------------------------------------


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


# ---- the optimizer ----------------------------------------------------------------------------------


class StackedOptimizer:
    """An optimizer of the members' own kind over the stack's rows, its groups those with equal hyperparameters."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        members = stack.members
        bounds = [row for row, member in enumerate(members) if not row or member.sort_key != members[row - 1].sort_key]
        self.spans = list(zip(bounds, [*bounds[1:], len(members)], strict=True))
        groups = []
        for begin, end in self.spans:
            rows = stack.flat[begin:end].detach().requires_grad_()
            rows.grad = stack.gradient[begin:end]
            groups.append({**members[begin].hyperparameters, "params": [rows]})
        kind: Callable[..., Optimizer] = type(members[0].optimizer)
        self.optimizer = kind(groups)
        for (begin, end), group in zip(self.spans, self.optimizer.param_groups, strict=True):
            states = [self._state(row) for row in range(begin, end)]
            if any(states):
                self.optimizer.state[group["params"][0]] = {
                    name: torch.stack([state[name] for state in states]) if states[0][name].dim() else
                    states[0][name].clone() for name in states[0]
                }  # fmt: skip
        self._scheduled = any(member.scheduled for member in members)

    def _state(self, row: int) -> dict[str, Tensor]:
        """A member's state, its parameters' parts one behind the other."""
        states = [self.stack.members[row].optimizer.state.get(p, {}) for p in self.stack.own[row]]
        return {
            name: torch.cat([state[name].flatten() for state in states]) if value.shape == parameter.shape
            else torch.as_tensor(value)
            for parameter, (name, value) in ((self.stack.own[row][0], item) for item in states[0].items())
            if value is not None
        }  # fmt: skip

    def step(self) -> None:
        if self._scheduled:
            for (begin, _), group in zip(self.spans, self.optimizer.param_groups, strict=True):
                group.update(self.stack.members[begin].hyperparameters)
        self.optimizer.step()

    def write_back(self) -> None:
        """Gives each member's optimizer its part of the state."""
        for (begin, end), group in zip(self.spans, self.optimizer.param_groups, strict=True):
            rows = group["params"][0]
            for name, value in self.optimizer.state.get(rows, {}).items():
                for row in range(begin, end):
                    own = value[row - begin].split(self.stack.sizes) if value.shape == rows.shape else None
                    for number, parameter in enumerate(self.stack.own[row]):
                        state = self.stack.members[row].optimizer.state[parameter]
                        state[name] = value.clone() if own is None else own[number].view_as(parameter).clone()


class StackedTotals:
    """The members' :class:`rnnlab.tasks.task.TrainingTotals`, a row each."""

    def __init__(self, stack: Stack) -> None:
        self.members = stack.members
        states = [member.task._training.state() for member in self.members]
        width = len(self.members[0].task._training.names)
        self.sums = torch.stack([state["_sums"].double().expand(width).to(stack.flat.device) for state in states])
        dtype = stack.flat.dtype
        self.norms, self.clipped, self.largest = (
            torch.stack([state[name].to(stack.flat.device, dtype) for state in states])
            for name in ("_norms", "_clipped", "_largest")
        )
        self.weights = [state["_weight"] for state in states]
        self.steps = [state["_steps"] for state in states]
        self._before = (self.sums, self.weights)

    def add(self, losses: Tensor, scores: Tensor, weights: Sequence[int]) -> None:
        self._before = (self.sums, self.weights)
        weight = torch.tensor(weights, device=self.sums.device, dtype=torch.float64)
        self.sums = self.sums + scores.double() * weight[:, None]
        self.weights = [before + now for before, now in zip(self.weights, weights, strict=True)]

    def undo(self) -> None:
        """Takes back what was added last."""
        self.sums, self.weights = self._before

    def add_gradient(self, norm: Tensor, bound: Tensor) -> None:
        self.norms = self.norms + norm
        self.clipped = self.clipped + (norm > bound)
        self.largest = torch.maximum(self.largest, norm)
        self.steps = [steps + 1 for steps in self.steps]

    def write_back(self) -> None:
        for row, member in enumerate(self.members):
            member.task._training.restore(
                {
                    "_sums": self.sums[row].clone(),
                    "_norms": self.norms[row].clone(),
                    "_clipped": self.clipped[row].clone(),
                    "_largest": self.largest[row].clone(),
                    "_weight": self.weights[row],
                    "_steps": self.steps[row],
                }
            )
