"""How long a run trains: so many updates, whatever the size of its data set.

``trainer.max_steps`` counts updates and ``trainer.max_epochs`` passes over the training data; where both are given the
smaller ends the run. An epoch of the run is what lies between two validations: a pass where passes are counted, and
otherwise at least :data:`LEAST_BETWEEN` updates, which are several passes over a small data set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from rnnlab.errors import InputError

KEYS = ("trainer.max_epochs", "trainer.max_steps", "early_stopping.patience")
"""What says how long a run trains, and what a resumed one may be told anew."""
OF_DESCENT = (
    "optimizer", "scheduler", "early_stopping", "trainer.max_", "trainer.steps_per_epoch", "trainer.gradient_clip_",
    "trainer.accumulate_grad_batches",
)  # fmt: skip
"""How keys begin that have a part in a training by gradients alone."""
MAX_STEPS = 2000
"""Updates where neither ``max_steps`` nor ``max_epochs`` is given."""
RESIDUAL_STEPS = 400
"""The same where a network learns what a linear forecast leaves over: little, and soon noise alone."""
LEAST_BETWEEN = 50
"""Updates between two validations, at least: on a small data set a validation takes as long as some of them."""


@dataclass(frozen=True)
class Budget:
    """The length of a run.

    Attributes:
        epochs: how often it validates, at most.
        batches: training batches of an epoch; ``None`` for those of a pass.
        steps: updates in all, at most.
        passes: over the training data, in all, at most.
        asked: updates that were asked for: a few more, where they make no whole number of epochs.
    """

    epochs: int
    batches: int | None
    steps: int
    passes: float
    asked: int = 0

    @property
    def note(self) -> str:
        """Why it makes fewer updates than were asked for; empty where it does not."""
        if self.steps >= self.asked:
            return ""
        each = self.steps // self.epochs
        return (
            f"{self.steps:,} of {self.asked:,} updates: {self.epochs:,} × {each:,}, each with a validation at its end"
        )


def plan(trainer: Mapping[str, Any], batches: int, whole_passes: bool = False, residual: bool = False) -> Budget:
    """The length of a run.

    Args:
        trainer: the section ``trainer`` of its config.
        batches: of one pass over its training data.
        whole_passes: no epoch may go from the end of one pass on to the start of the next, since a state is carried
            from batch to batch.
        residual: see :class:`rnnlab.spec.DataSpec`.

    Raises:
        InputError: ``steps_per_epoch`` together with a limit to the batches of an epoch.
    """
    max_epochs, max_steps = trainer.get("max_epochs"), trainer.get("max_steps", "auto")
    between, accumulated = trainer.get("steps_per_epoch", "auto"), int(trainer.get("accumulate_grad_batches") or 1)
    name = next((key for key in ("overfit_batches", "limit_train_batches") if trainer.get(key)), None)
    if name is not None:
        limit = trainer[name]
        if between != "auto":
            raise InputError(f"trainer.steps_per_epoch={between} and trainer.{name}={limit}: give one of them")
        batches = max(1, min(batches, limit) if isinstance(limit, int) else int(batches * limit))
    if max_steps == "auto":
        automatic = RESIDUAL_STEPS if residual else MAX_STEPS
        max_steps = automatic if max_epochs is None else None
    of_a_pass = ceil(batches / accumulated)
    by_passes = max_epochs is not None and (max_steps is None or max_epochs * of_a_pass <= max_steps)
    total: int = max_epochs * of_a_pass if max_epochs is not None and by_passes else max_steps
    if between == "auto":
        if by_passes or name is not None or whole_passes:
            between = min(of_a_pass, total)
        else:
            # all epochs alike, and as many as fit
            between = total // max(1, total // max(of_a_pass, LEAST_BETWEEN))
    between = min(between, total)
    epochs = total // between
    own = name is None and between != of_a_pass
    steps = epochs * between
    return Budget(epochs, between * accumulated if own else None, steps, steps / of_a_pass, asked=total)
