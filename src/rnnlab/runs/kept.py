"""Which weights of a run are kept: those of its best epoch by the monitored score, or those of its end."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.optim.lr_scheduler import LRScheduler

LEAST = 100
"""Validation sequences by which an epoch can be chosen: with fewer the standard error of an accuracy is 5 points and
more, so that the best of many epochs is the luckiest one."""
DECAYED = 0.05
"""Share of the highest learning rate below which a schedule has come to an end: the last weights change no more."""


@dataclass(frozen=True)
class Kept:
    """Which weights are kept, and why, in words.

    Attributes:
        which: ``best`` or ``last``. Who keeps the last ones trains to the end.
        why: such as "the best by val/loss".
    """

    which: Literal["best", "last"]
    why: str


def which_weights(
    keep: Literal["auto", "best", "last"],
    monitor: str,
    scheduler: Callable[..., Any] | None,
    validated: int,
    closed_form: bool = False,
) -> Kept:
    """Which weights a run keeps.

    Args:
        keep: the config's.
        monitor: the score that the best epoch is the best by.
        scheduler: the factory of its schedule.
        validated: sequences in its validation part.
        closed_form: the readout is not trained, but solved.
    """
    if closed_form:
        return Kept("last", "a readout in closed form")
    if keep == "auto" and monitor.startswith("val/") and validated < LEAST and decays(scheduler):
        return Kept(
            "last",
            f"the last ones of a schedule that decays: {validated} validation "
            f"sequence{'s are' if validated > 1 else ' is'} too few to choose by",
        )
    if keep == "last":
        return Kept("last", "the last ones (keep=last)")
    return Kept("best", f"the best by {monitor}")


def how_solved(penalty: float | Literal["auto"], folds: int, refitted: bool) -> str:
    """How a readout in closed form was found.

    Args:
        penalty: the one that was given; ``auto`` where it was chosen.
        folds: by which it was chosen; 0 where each row was left out by itself.
        refitted: at the end once more, on training and validation together.
    """
    if penalty != "auto":
        how = f"its penalty model.penalty={penalty:g}"
    elif folds:
        blocks = "a block" if folds == 1 else f"{folds} blocks"
        how = f"its penalty by {blocks} at the end of the training part, left out {'in turn' if folds > 1 else ''}"
    else:
        how = "its penalty by the leave-one-out error"
    again = "; after validation it was solved once more, with the validation part, for the test"
    return how.strip() + again * refitted


def decays(scheduler: Callable[..., Any] | None) -> bool:
    """Whether a schedule that is told its number of steps ends far below its highest learning rate."""
    if scheduler is None or "total_steps" not in inspect.signature(scheduler).parameters:
        return False
    steps = 100
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule: LRScheduler = scheduler(optimizer, total_steps=steps)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps - 1):
        optimizer.step()
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return float(rates[-1]) < DECAYED * max(map(float, rates))
