"""The optimizer and the schedule of a task, made of the factories that a config names."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

OptimizerFactory = Callable[..., Optimizer]
SchedulerFactory = Callable[..., Any]


def build_optimizer(
    network: nn.Module, factory: OptimizerFactory, rate_factors: Sequence[tuple[float, list[str]]]
) -> Optimizer:
    """The optimizer of a network's parameters.

    Args:
        network: to be trained.
        factory: called with the parameters.
        rate_factors: factors of the learning rate and the names of the parameters that each is for, which are groups
            of their own.

    Raises:
        ValueError: it takes no groups, or has no learning rate.
    """
    if not rate_factors:
        return factory(network.parameters())
    named = dict(network.named_parameters())
    apart = {name for _, names in rate_factors for name in names}
    rest = [parameter for name, parameter in named.items() if name not in apart]
    groups = [{"params": rest}] if rest else []
    groups += [{"params": [named[name] for name in names]} for _, names in rate_factors]
    optimizer = factory(groups)
    for group, (factor, _) in zip(optimizer.param_groups[len(groups) - len(rate_factors) :],
                                  rate_factors, strict=True):  # fmt: skip
        group["lr"] = factor * group["lr"]
    return optimizer


def total_steps(trainer: Any) -> int:
    """Updates of a whole training."""
    # Lightning's own estimate would set the loaders up before a resume has told them where they were
    if trainer.datamodule is None:
        return max(1, int(trainer.estimated_stepping_batches))
    batches = len(trainer.datamodule.train_dataloader())
    limit = trainer.overfit_batches or trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    steps = math.ceil(batches / trainer.accumulate_grad_batches) * (trainer.max_epochs or 1)
    return max(1, min(steps, trainer.max_steps) if trainer.max_steps > 0 else steps)


def build_schedule(
    factory: SchedulerFactory, optimizer: Optimizer, total_steps: int, monitor: str, trainer: Any
) -> dict[str, Any]:
    """The scheduler as Lightning wants it: how often it moves, and what it watches.

    Args:
        factory: called with the optimizer, and with ``total_steps`` where its signature has it.
        optimizer: that it moves.
        total_steps: of the training.
        monitor: the score that it may watch.
        trainer: of the training; ``None`` where there is none.
    """
    if "total_steps" in inspect.signature(factory).parameters:
        return {"scheduler": factory(optimizer, total_steps=total_steps), "interval": "step"}
    schedule = {"scheduler": factory(optimizer), "interval": "epoch", "monitor": monitor}
    if trainer is not None and monitor.startswith("val/"):
        # what it watches is measured in these epochs alone; None counts steps, and the last score is good enough
        every = trainer.check_val_every_n_epoch
        schedule |= {"frequency": every} if every is not None else {"strict": False}
    return schedule
