"""The callback by which a run of a search learns that it is not worth going on."""

from collections.abc import Callable

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback


class Pruning(Callback):
    """Tells each epoch's monitored score to whoever compares it with other runs, and stops where they say so.

    It decides after the epoch's row and checkpoint, and draws no random number: a run that is not pruned ends as it
    would have without this.

    Args:
        monitor: the score, on validation.
        ask: told the epoch, counted from 1, and its score; true ends the run.
    """

    def __init__(self, monitor: str, ask: Callable[[int, float], bool]) -> None:
        self.monitor, self.ask = monitor, ask
        self.pruned = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = trainer.callback_metrics.get(self.monitor)
        if score is None:  # an epoch without a validation
            return
        epoch = trainer.current_epoch + 1
        answer = trainer.is_global_zero and self.ask(epoch, float(score))
        # what ends here anyway has nothing to save, and is worth its test
        ends = trainer.should_stop or epoch == trainer.max_epochs
        self.pruned = bool(trainer.strategy.broadcast(answer)) and not ends
        trainer.should_stop = trainer.should_stop or self.pruned
