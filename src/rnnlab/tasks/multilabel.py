"""Several labels at every step, each of which is there or not."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import BinaryF1Score

from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.spec import Batch, DataSpec, valid_steps
from rnnlab.tasks.task import OptimizerFactory, SchedulerFactory, Task


class MultiLabel(Task):
    """Labels that are independent given the input so far: cross-entropy in nats a step, summed over them; F1.

    ``f1`` counts a label as said where its probability is above one half, over all labels and steps together.

    The trivial predictor says of each label how often it is there in training. The data may name others.

    Raises:
        InputError: the targets are not all 0 or 1.
    """

    target_kind = "values"
    baseline_name = "label frequencies"

    def __init__(
        self,
        network: Network,
        spec: DataSpec,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "val/loss",
    ) -> None:
        super().__init__(network, spec, optimizer, scheduler, monitor)
        if not spec.target.binary:
            raise InputError("task=multilabel is for targets that are 0 or 1, and this data's are any numbers: "
                             "leave task= to the data")  # fmt: skip
        frequencies = torch.tensor(spec.target_mean or (0.5,) * spec.target.size)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def _nats(self, output: Tensor, batch: Batch) -> Tensor:
        """``(batch, time)`` of each step, summed over the labels."""
        return F.binary_cross_entropy_with_logits(output, batch.targets, reduction="none").sum(-1)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        valid = valid_steps(batch.inputs, batch.lengths)
        # not by the mask as an index, whose shape a stack of members would not know
        return self._nats(output, batch).masked_fill(~valid, 0.0).sum() / valid.sum()

    def judge(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        valid = valid_steps(batch.inputs, batch.lengths)
        steps = valid.sum(1)
        return self._nats(output, batch).masked_fill(~valid, 0.0).sum(1) / steps, steps

    def metrics(self) -> dict[str, Metric]:
        return {"f1": BinaryF1Score(validate_args=False)}

    def compared(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        valid = valid_steps(batch.inputs, batch.lengths)
        return output[valid].sigmoid().flatten(), batch.targets[valid].flatten().int()

    def baseline(self, batch: Batch) -> Tensor:
        assert isinstance(self.frequencies, Tensor)
        return self.frequencies.logit().expand_as(batch.targets)

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self.log_scores({f"baseline/{name}/loss": nats for name, nats in self.other_baselines().items()})

    def combine(self, outputs: Tensor) -> Tensor:
        # the log-odds of the members' mean probability
        return F.logsigmoid(outputs).logsumexp(0) - F.logsigmoid(-outputs).logsumexp(0)

    def predictions(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        rows, steps = valid_steps(batch.inputs, batch.lengths).nonzero(as_tuple=True)
        truth = self._words(batch.targets[rows, steps] > 0.5)
        return rows, {"step": steps.numpy(), "truth": truth, **self.said(self(batch)[rows, steps])}

    def said(self, output: Tensor) -> dict[str, Any]:
        shares = output.sigmoid().cpu()
        columns = {
            f"p({name})": share.numpy(force=True) for name, share in zip(self._names, shares.unbind(-1), strict=True)
        }
        return {"prediction": self._words(shares > 0.5), **columns}

    def _words(self, there: Tensor) -> list[str]:
        """The names of the labels of each row, blanks between."""
        return [" ".join(self._names[label] for label in row.nonzero()[:, 0].tolist()) for row in there]

    @property
    def _names(self) -> tuple[str, ...]:
        return self.spec.target.names or tuple(map(str, range(self.spec.target.size)))
