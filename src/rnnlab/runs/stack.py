"""Several networks alike, trained as one: the steps of an epoch for all of them together.

Their parameters stand as the rows of one matrix, ``torch.func.vmap`` runs the
task over the rows, and one optimizer of the members' own kind moves them. Only
numbers differ from one member to the next: weights, batches, learning rates,
clipping, dropout, random state.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop, Rprop

from rnnlab.kernels.calling import functional_call
from rnnlab.runs.stacked_members import Cut, Member, MemberDropout, StackedBatch, Unstackable, drawing_from
from rnnlab.spec import Batch
from rnnlab.tasks.step import (
    StackedTotals,
    clip_members,
    has_failed,
    is_logged,
    is_looked_at,
    side_by_side,
    training_loss,
)
from rnnlab.tasks.task import Task

ELEMENTWISE = (Adam, AdamW, SGD, RMSprop, NAdam, RAdam, Adagrad, Adamax, Adadelta, Rprop)
"""Optimizers that treat each number by itself, so that it makes no difference what stands beside it."""
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""By how much a member's first gradient in the stack may differ from its own, relative to its norm: many times the
rounding, and far below any mistake."""


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
        self.optimizer = StackedOptimizer(self.members, self.own, self.sizes, self.flat, self.gradient)
        self.totals = StackedTotals([member.task.totals for member in self.members], self.flat)
        self.dropouts: list[MemberDropout] = []
        self._random: list[dict[str, Tensor]] = []
        self.cut = Cut(self.members, self.flat.device)
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
        if is_looked_at(number, self.flat.device):
            for member, value in zip(self.members, losses.tolist(), strict=True):
                if has_failed(value):
                    member.failed = value
                elif is_logged(number):
                    member.losses[number] = value
            if self._failed():
                # who is left goes on from here as a smaller stack, and this step is made again for them
                self.totals.undo()
                for state, drawn_from in zip(self._random, before, strict=True):
                    state.update(drawn_from)
                return
        self.totals.add_gradient(clip_members(gradients, self.norm_bound, self.value_bound), self.bound)
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
        if lengths is None and not spec.gaps and (spec.target.classifies or not spec.target.categorical):
            return [int(self.task.weight(Batch(inputs[0], targets[0])))] * len(batch.rows)
        parts = [Batch(inputs[k], targets[k], None if lengths is None else lengths[k]) for k in every]
        return [int(self.task.weight(part)) for part in parts]

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


class StackedOptimizer:
    """An optimizer of the members' own kind over the stack's rows, its groups those with equal hyperparameters."""

    def __init__(
        self,
        members: Sequence[Member],
        own: Sequence[Sequence[Tensor]],
        sizes: Sequence[int],
        flat: Tensor,
        gradient: Tensor,
    ) -> None:
        self.members, self.own, self.sizes = members, own, sizes
        bounds = [row for row, member in enumerate(members) if not row or member.sort_key != members[row - 1].sort_key]
        self.spans = list(zip(bounds, [*bounds[1:], len(members)], strict=True))
        groups = []
        for begin, end in self.spans:
            rows = flat[begin:end].detach().requires_grad_()
            rows.grad = gradient[begin:end]
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
        states = [self.members[row].optimizer.state.get(p, {}) for p in self.own[row]]
        return {
            name: torch.cat([state[name].flatten() for state in states]) if value.shape == parameter.shape
            else torch.as_tensor(value)
            for parameter, (name, value) in ((self.own[row][0], item) for item in states[0].items())
            if value is not None
        }  # fmt: skip

    def step(self) -> None:
        if self._scheduled:
            for (begin, _), group in zip(self.spans, self.optimizer.param_groups, strict=True):
                group.update(self.members[begin].hyperparameters)
        self.optimizer.step()

    def write_back(self) -> None:
        """Gives each member's optimizer its part of the state."""
        for (begin, end), group in zip(self.spans, self.optimizer.param_groups, strict=True):
            rows = group["params"][0]
            for name, value in self.optimizer.state.get(rows, {}).items():
                for row in range(begin, end):
                    own = value[row - begin].split(self.sizes) if value.shape == rows.shape else None
                    for number, parameter in enumerate(self.own[row]):
                        state = self.members[row].optimizer.state[parameter]
                        state[name] = value.clone() if own is None else own[number].view_as(parameter).clone()


class _Objective(nn.Module):
    """Loss and training scores of a batch, as one module."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, inputs: Tensor, targets: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        batch = Batch(inputs, targets, lengths)
        loss, means = training_loss(self.task, batch)
        return loss, side_by_side(means)


def _buffers(task: Task) -> Iterator[tuple[str, Tensor]]:
    """A task's own constants and its network's, without what its scores keep."""
    yield from task.named_buffers(recurse=False)
    for part, module in task.named_children():
        if part not in ("scores", "reference_scores"):
            yield from module.named_buffers(part)
