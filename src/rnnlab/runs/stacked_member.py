"""A network that is trained with others, as the stack of them needs to know it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from rnnlab.data.batches import Batches
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
