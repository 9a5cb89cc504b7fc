"""Averages of the weights over training, which are validated, kept and tested in place of the last ones."""

from typing import Annotated, Any

from annotated_types import Ge, Lt
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_avg_fn

from rnnlab.shapes import Fraction, NonNegativeInt


class ExponentialMovingAverage(WeightAveraging):
    r"""After each update, :math:`\bar\theta \leftarrow d \bar\theta + (1 - d) \theta` (Polyak & Juditsky 1992 average
    all weights alike; the exponential form is that of Tarvainen & Valpola 2017, equation 1).

    Args:
        decay: ``d``. An average over the last ``1 / (1 - d)`` updates or so.
        start: the update from which on weights are averaged; before it, the average is the network itself.
    """

    def __init__(self, decay: Fraction = 0.99, start: NonNegativeInt = 0) -> None:
        super().__init__(avg_fn=get_ema_avg_fn(decay))
        self.start = start

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return step_idx is not None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step <= self.start:
            assert self._average_model is not None
            self._average_model.n_averaged.zero_()  # the first weights that are averaged are copied
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


class StochasticWeightAveraging(WeightAveraging):
    """The plain average of the weights at the end of each of the last epochs (Izmailov et al. 2018, algorithm 1).

    Their constant learning rate is the run's own schedule: ``scheduler=none``, or one that ends above zero.

    Args:
        start: share of the training after which epochs are averaged; before it, the average is the network itself.
    """

    def __init__(self, start: Annotated[float, Ge(0), Lt(1)] = 0.75) -> None:
        super().__init__()
        self.start = start

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return step_idx is not None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx + 1 < trainer.num_training_batches:
            return
        assert self._average_model is not None
        first = int(self.start * (trainer.max_epochs or 1))
        self._average_model.n_averaged.fill_(max(0, trainer.current_epoch - first))  # with none yet, it is a copy
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
