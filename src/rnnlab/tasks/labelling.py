"""A token for each step at which one is asked."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassExactMatch

from rnnlab.network import Network
from rnnlab.shapes import Fraction
from rnnlab.spec import IGNORED, Batch, DataSpec
from rnnlab.tasks.objective import token_loss
from rnnlab.tasks.optimization import OptimizerFactory, SchedulerFactory
from rnnlab.tasks.token_task import TokenTask


class Labelling(TokenTask):
    """Sequence labelling: cross-entropy in nats, accuracy and exact match.

    A step whose target is ``IGNORED`` counts nowhere. A blank counts in the
    loss alone. ``accuracy`` is the share of the other answers that are right,
    ``exact_match`` that of the sequences in which all of them are.

    The trivial predictor knows when to answer, and not what: it is sure of
    each blank, and takes all other tokens for as likely.

    Args:
        label_smoothing: share of the probability spread evenly over all tokens (Szegedy et al. 2016, section 7).
    """

    baseline_name = "chance"
    training_scores = ("accuracy",)
    verdict_score = "accuracy"

    def __init__(
        self,
        network: Network,
        spec: DataSpec,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "val/loss",
        label_smoothing: Fraction = 0.0,
    ) -> None:
        super().__init__(network, spec, optimizer, scheduler, monitor)
        self.label_smoothing = label_smoothing

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        return token_loss(output.flatten(0, 1), batch.targets.flatten(), self.label_smoothing)

    def metrics(self) -> dict[str, Metric]:
        size = self.spec.target.size
        return {
            "accuracy": MulticlassAccuracy(size, average="micro", ignore_index=IGNORED, validate_args=False),
            "exact_match": MulticlassExactMatch(size, ignore_index=IGNORED, validate_args=False),
        }

    def compared(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        return output.argmax(-1), self._answers(batch)

    def sequence_score(self, output: Tensor, batch: Batch) -> Tensor:
        answers = self._answers(batch)
        return (output.argmax(-1) == answers).sum(1) / (answers != IGNORED).sum(1)

    def judge(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        asked = self._answers(batch) != IGNORED
        right = (output.argmax(-1) == batch.targets) & asked
        return right.sum(1) / asked.sum(1).clamp_min(1), asked.sum(1)

    def score_training(self, output: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        answers = self._answers(batch)
        return ((output.argmax(-1) == answers).sum() / (answers != IGNORED).sum().clamp_min(1),)

    def baseline(self, batch: Batch) -> Tensor:
        size, blank = self.spec.target.size, self.spec.target.blank
        logits = torch.zeros(*batch.targets.shape, size, device=batch.targets.device)
        if blank is None:
            return logits
        is_blank = batch.targets == blank
        # a blank has all of the probability where one is due, and none elsewhere
        is_other = torch.arange(size, device=logits.device) != blank
        return logits.masked_fill(is_blank[..., None] == is_other, -torch.inf)

    def _answers(self, batch: Batch) -> Tensor:
        """The targets, those that are no answers ignored."""
        return batch.targets.where(self.spec.target.asked(batch.targets), IGNORED)
