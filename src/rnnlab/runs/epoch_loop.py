"""Lightning's loop over the batches of an epoch, shortened for runs that need none of its options.

A step of a small network takes two milliseconds, and Lightning's hooks,
loggers and strategies add half a millisecond. Where all of them would do
nothing, the same operations are performed directly, in the same order, and
every number stays the same to the last bit.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.optim import Optimizer

from rnnlab.runs.lightning_internals import Fetcher, LightningsLoop, fetches_by_itself
from rnnlab.tasks.task import Task

HOOKS_OF_A_STEP = (
    "on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step",
)  # fmt: skip
"""What a callback or a task may do within a step."""
HOOKS_OF_A_BATCH = ("on_train_batch_start", "on_train_batch_end")
"""What they may do before and after."""
OVERRIDDEN = (
    "backward", "optimizer_step", "optimizer_zero_grad", "on_before_batch_transfer", "transfer_batch_to_device",
    "on_after_batch_transfer",
)  # fmt: skip
"""What a LightningModule may do differently."""


class EpochLoop(LightningsLoop):
    """Shortens a plain step, and leaves every other one to Lightning.

    Not plain are several devices, another precision, accumulated gradients, a user's own task, and a user's own
    callback with hooks around a step, since both may log there.
    """

    _plain: bool | None = None

    @classmethod
    def install(cls, trainer: Trainer, **options: Any) -> None:
        """Replaces the trainer's own."""
        own = trainer.fit_loop.epoch_loop
        trainer.fit_loop.epoch_loop = cls(trainer, min_steps=own.min_steps, max_steps=own.max_steps, **options)

    def on_run_start(self, data_fetcher: Fetcher) -> None:
        super().on_run_start(data_fetcher)
        if self._plain is None:
            self._plain = is_plain(self.trainer) and not fetches_by_itself(data_fetcher)
            callbacks = self.trainer.callbacks
            self._starts, self._ends = (hooks(callbacks, name) for name in HOOKS_OF_A_BATCH)

    def advance(self, data_fetcher: Fetcher) -> None:
        if not self._plain or self.restarting:
            super().advance(data_fetcher)
            return
        trainer, progress = self.trainer, self.batch_progress
        task: Any = trainer.lightning_module
        self.val_loop.restarting = False
        batch, _, _ = next(data_fetcher)
        number = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        device = trainer.strategy.root_device
        if device.type != "cpu":
            batch = task.transfer_batch_to_device(batch, device, 0)
        progress.increment_ready()
        for start in self._starts:
            start(trainer, task, batch, number)
        progress.increment_started()
        loss = self._step(task, batch, number)
        progress.increment_processed()
        self.update_lr_schedulers("step", update_plateau_schedulers=False)
        if self.is_at_the_end():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        for end in self._ends:
            end(trainer, task, {"loss": loss}, batch, number)
        progress.increment_completed()

    def _step(self, task: Any, batch: Any, number: int) -> Tensor:
        trainer = self.trainer
        optimizer, count = trainer.optimizers[0], self.automatic_optimization.optim_progress.optimizer

        def closure() -> Tensor:
            with torch.enable_grad():
                loss: Tensor = task.training_step(batch, number)
                count.zero_grad.increment_ready()
                count.zero_grad.increment_started()
                forget_gradients(optimizer)
                count.zero_grad.increment_completed()
                loss.backward()
            task.configure_gradient_clipping(optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
            return loss.detach()

        count.step.increment_ready()
        loss: Any = optimizer.step(closure)
        count.step.increment_completed()
        return loss


def forget_gradients(optimizer: Optimizer) -> None:
    """As its ``zero_grad``, at a tenth of the cost where that is PyTorch's."""
    if getattr(optimizer.zero_grad, "__func__", None) is not Optimizer.zero_grad:
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def is_plain(trainer: Trainer) -> bool:
    """Whether a training step needs nothing but what :class:`EpochLoop` does."""
    attached: Any = trainer  # Lightning annotates no callbacks
    task, callbacks = trainer.lightning_module, attached.callbacks
    return (
        isinstance(task, Task)
        and task.automatic_optimization
        and not others([task])
        and type(trainer.strategy) is SingleDeviceStrategy
        and type(trainer.precision_plugin) is Precision
        and trainer.accumulate_grad_batches == 1
        and not any(hooks([task], name, LightningModule) for name in (*HOOKS_OF_A_STEP, *HOOKS_OF_A_BATCH, *OVERRIDDEN))
        and not any(hooks(callbacks, name) for name in HOOKS_OF_A_STEP)
        and not any(hooks(others(callbacks), name) for name in HOOKS_OF_A_BATCH)
    )


def others(objects: Iterable[Any]) -> list[Any]:
    """Those that are not of rnnlab: wherever they are called, they may log."""
    return [each for each in objects if not type(each).__module__.startswith("rnnlab.")]


def hooks(objects: Iterable[Any], name: str, base: type = Callback) -> list[Callable[..., Any]]:
    """The methods ``name`` of those objects whose class has one of its own."""
    return [getattr(each, name) for each in objects if getattr(type(each), name) is not getattr(base, name)]
