"""All contact of a training with Lightning's private names: what its public interface does not offer, with reasons.

Nothing else reads one; ``tests/test_lightning_internals.py`` holds that, and fails where another Lightning has others.
What a task sets or reads of its own as a LightningModule stands in :mod:`rnnlab.tasks.task`.
"""

from typing import Any

from lightning import Trainer
from lightning.fabric.utilities import registry
from lightning.pytorch.loops.fetchers import _DataFetcher, _DataLoaderIterDataFetcher
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.trainer import call
from torch.optim import Optimizer

from rnnlab import monkeypatches

Fetcher = _DataFetcher
"""What hands a loop its batches."""

monkeypatches.entry_points(registry)


class LightningsLoop(_TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch; no class of such a loop is public.

    Its counters stand in checkpoints: whoever makes a step in another way counts it here as Lightning does.
    """

    def is_at_the_end(self) -> bool:
        """Whether the batch that was taken last is the last of the epoch."""
        return self._num_ready_batches_reached()

    def is_validated_now(self, fetcher: Fetcher) -> bool:
        """Whether validation follows on the batch that was taken last."""
        return self._should_check_val_fx(fetcher)

    def end_the_batch_before(self) -> None:
        """Counts the end of the batch that was taken last, where it has not been counted yet."""
        if self.batch_progress.current.completed < self.batch_progress.current.ready:
            self.batch_progress.increment_completed()
            self._batches_that_stepped += 1

    def count_step(self) -> None:
        """Counts a step of the optimizer and the gradients that were set to zero for it."""
        progress = self.automatic_optimization.optim_progress.optimizer
        for count in (progress.step.total, progress.step.current):
            count.ready += 1
            count.completed += 1
        zero_grad: Any = progress.zero_grad  # Lightning's annotation names a parent class
        for zeroed in (zero_grad.total, zero_grad.current):
            zeroed.ready += 1
            zeroed.started += 1
            zeroed.completed += 1


def fetches_by_itself(fetcher: Fetcher) -> bool:
    """Whether the task asks for its batches itself: its ``training_step`` takes an iterator."""
    return isinstance(fetcher, _DataLoaderIterDataFetcher)


def call_hooks(trainer: Trainer, name: str, *arguments: Any) -> None:
    """Calls a hook of all callbacks, which only Lightning's own loops do."""
    call._call_callback_hooks(trainer, name, *arguments)


def checkpoint_of_weights(trainer: Trainer) -> dict[str, Any]:
    """A checkpoint without the optimizers' states, in memory; ``trainer.save_checkpoint`` writes it to a disk."""
    return trainer._checkpoint_connector.dump_checkpoint(weights_only=True)


def note_that_it_steps(optimizer: Optimizer) -> None:
    """Says of an optimizer whose steps are made by another one that it makes them: else torch's schedulers warn that
    they move before the first step.
    """
    vars(optimizer)["_opt_called"] = True
