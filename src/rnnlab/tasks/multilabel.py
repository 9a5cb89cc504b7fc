"""Several labels, each of which is there or not, at every step or of the whole sequence."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import BinaryF1Score

from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.spec import Batch, DataSpec, valid_steps
from rnnlab.tasks.optimization import OptimizerFactory, SchedulerFactory
from rnnlab.tasks.ranking import Ranking, best_threshold
from rnnlab.tasks.task import Task

HEAVIEST = 100.0
"""The weight of a label at most, however rare it is."""


class LabelF1(BinaryF1Score):
    """F1 over all labels together, of probabilities ``(n, labels)`` above one half."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        """As that of ``BinaryF1Score``, of a matrix."""
        super().update(preds.flatten(), target.flatten())


class MultiLabel(Task):
    """Labels that are independent given the input so far: cross-entropy in nats, summed over them; F1.

    ``f1`` counts a label as said where its probability is above its threshold, over all labels and steps together. The
    threshold is one half. Where labels are those of a whole sequence it is, after training, the one of the highest F1
    on the validation part; and ``auroc`` and ``average_precision`` are means over the labels, whatever the threshold.

    The trivial predictor says of each label how often it is there in training. The data may name others.

    Args:
        label_weights: ``none``; or ``balanced``: a label that is there counts as much more as it is rarer than its
            absence, at most 100 times.

    Raises:
        InputError: the targets are not all 0 or 1.
    """

    target_kind = "values"
    other_kinds = ("value",)
    thresholds: Tensor
    baseline_name = "label frequencies"
    weights: Tensor | None
    frequencies: Tensor

    def __init__(
        self,
        network: Network,
        spec: DataSpec,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "val/loss",
        label_weights: Literal["none", "balanced"] = "none",
    ) -> None:
        super().__init__(network, spec, optimizer, scheduler, monitor)
        if not spec.target.binary:
            raise InputError("task=multilabel is for targets that are 0 or 1, and this data's are any numbers: "
                             "leave task= to the data")  # fmt: skip
        frequencies = torch.tensor(spec.target_mean or (0.5,) * spec.target.size)
        self.register_buffer("frequencies", frequencies, persistent=False)
        weights = None
        if label_weights == "balanced":
            weights = (1 / frequencies.clamp_min(1e-4) - 1).clamp(max=HEAVIEST)
        self.register_buffer("weights", weights, persistent=False)
        if not spec.target.per_step:
            # log-odds beyond which a label counts as said
            self.register_buffer("thresholds", torch.zeros(spec.target.size))

    def _nats(self, output: Tensor, batch: Batch) -> Tensor:
        """``(batch, time)`` of each step, or ``(batch,)`` of each sequence, summed over the labels."""
        losses = F.binary_cross_entropy_with_logits(output, batch.targets, reduction="none", pos_weight=self.weights)
        return losses.sum(-1)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        if not self.spec.target.per_step:
            return self._nats(output, batch).mean()
        valid = valid_steps(batch.inputs, batch.lengths)
        # not by the mask as an index, whose shape a stack of members would not know
        return self._nats(output, batch).masked_fill(~valid, 0.0).sum() / valid.sum()

    def judge(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        nats = self._nats(output, batch)
        if not self.spec.target.per_step:
            return nats, torch.ones_like(nats)
        valid = valid_steps(batch.inputs, batch.lengths)
        steps = valid.sum(1)
        return nats.masked_fill(~valid, 0.0).sum(1) / steps, steps

    def metrics(self) -> dict[str, Metric]:
        found: dict[str, Metric] = {"f1": LabelF1(validate_args=False)}
        if not self.spec.target.per_step:
            found |= {"auroc": Ranking("auroc"), "average_precision": Ranking("average_precision")}
        return found

    def compared(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        if not self.spec.target.per_step:
            # shifted so that one half is the threshold of each label; their ranks stay
            return (output - self.thresholds).sigmoid(), batch.targets.int()
        valid = valid_steps(batch.inputs, batch.lengths)
        return output[valid].sigmoid(), batch.targets[valid].int()

    def baseline(self, batch: Batch) -> Tensor:
        logits = self.frequencies.logit()
        return (logits if self.weights is None else logits + self.weights.log()).expand_as(batch.targets)

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Batch]) -> Mapping[str, float]:
        """Chooses the threshold of each label by its F1 on the validation part."""
        if self.spec.target.per_step:
            return {}
        pairs = [(self(batch).sigmoid(), batch.targets > 0) for batch in batches]
        scores, there = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        chosen = [best_threshold(scores[:, k], there[:, k]) for k in range(scores.shape[1])]
        # a probability that is rounded to 0 or 1 has no finite log-odds
        odds = [math.log(p / (1 - p)) for p in (min(max(p, 1e-6), 1 - 1e-6) for p in chosen)]
        self.thresholds.copy_(torch.tensor(odds))
        return {f"threshold/{name}": p for name, p in zip(self._names, chosen, strict=True)}

    @property
    def no_probability(self) -> str:
        return ""

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self.log_scores({f"baseline/{name}/loss": nats for name, nats in self.other_baselines().items()})

    def combine(self, outputs: Tensor) -> Tensor:
        # the log-odds of the members' mean probability
        return F.logsigmoid(outputs).logsumexp(0) - F.logsigmoid(-outputs).logsumexp(0)

    def predictions(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        if not self.spec.target.per_step:
            truth = self._words(batch.targets > 0.5)
            return torch.arange(len(batch.targets)), {"truth": truth, **self.said(self(batch))}
        rows, steps = valid_steps(batch.inputs, batch.lengths).nonzero(as_tuple=True)
        truth = self._words(batch.targets[rows, steps] > 0.5)
        return rows, {"step": steps.numpy(), "truth": truth, **self.said(self(batch)[rows, steps])}

    def said(self, output: Tensor) -> dict[str, Any]:
        shares = output.sigmoid().cpu()
        columns = {
            f"p({name})": share.numpy(force=True) for name, share in zip(self._names, shares.unbind(-1), strict=True)
        }
        there = output > 0
        if not self.spec.target.per_step:
            there = output > self.thresholds
        return {"prediction": self._words(there.cpu()), **columns}

    def reading(self) -> dict[str, Any]:
        rule = "each output is the log-odds of a label: its probability is 1 / (1 + exp(-output))"
        reading = {"kind": "labels", "names": list(self._names), "rule": rule}
        if self.spec.target.per_step:
            return reading
        said = {"thresholds": self.thresholds.tolist(), "rule": f"{rule}; it is said where output > its threshold"}
        return reading | said

    def _words(self, there: Tensor) -> list[str]:
        """The names of the labels of each row, blanks between."""
        return [" ".join(self._names[label] for label in row.nonzero()[:, 0].tolist()) for row in there]

    @property
    def _names(self) -> tuple[str, ...]:
        return self.spec.target.labels
