"""One class for the whole sequence."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.ngrams import NGramRegression
from rnnlab.shapes import Fraction, PositiveFloat
from rnnlab.spec import Batch, DataSpec
from rnnlab.tasks.objective import SOFTMAX, mean_probability, named
from rnnlab.tasks.optimization import OptimizerFactory, SchedulerFactory
from rnnlab.tasks.task import Task


class Classification(Task):
    """Cross-entropy in nats, accuracy and macro-averaged F1.

    The trivial predictor knows the class frequencies of the training split and
    nothing else: its accuracy is that of the majority class, its loss the
    cross-entropy of those frequencies.

    With class weights w the loss of a split is Σ w l / Σ w over its sequences,
    whatever the size of a batch. In training Σ w is what the training split
    has of it on average, so that a weight counts in a batch of one sequence, too.

    Args:
        label_smoothing: share of the probability spread evenly over all classes (Szegedy et al. 2016, section 7).
        class_weights: ``none``; ``balanced``, inversely to the training frequencies; or one weight a class.

    Raises:
        InputError: the weights are not one a class.
    """

    target_kind = "class"
    baseline_name = "majority class"
    log_frequencies: Tensor
    class_weights: Tensor | None
    mean_weight: Tensor | None
    training_scores = ("accuracy",)
    judged_score = "accuracy"

    @property
    def verdict_score(self) -> str:
        """The accuracy; where classes have weights, the F1, since the accuracy was not what was asked for."""
        return "accuracy" if self.class_weights is None else "f1"

    def __init__(
        self,
        network: Network,
        spec: DataSpec,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "val/loss",
        label_smoothing: Fraction = 0.0,
        class_weights: Literal["none", "balanced"] | Sequence[PositiveFloat] = "none",
    ) -> None:
        super().__init__(network, spec, optimizer, scheduler, monitor)
        self.label_smoothing = label_smoothing
        frequencies = torch.tensor(spec.class_frequencies or [1 / spec.target.size] * spec.target.size)
        # a class that training never shows gets the probability of half an example, so that the loss stays finite
        self.register_buffer("log_frequencies", frequencies.clamp_min(1e-4).log(), persistent=False)
        weights = None
        if class_weights == "balanced":
            weights = 1 / frequencies.clamp_min(1e-4)
            weights = weights / weights.mean()
        elif class_weights != "none":
            weights = torch.tensor([float(weight) for weight in class_weights])
            if len(weights) != spec.target.size:
                raise InputError(
                    f"task.class_weights={list(class_weights)}: {len(weights)} weights for {spec.target.size} classes"
                )
        self.register_buffer("class_weights", weights, persistent=False)
        if weights is not None and network.solver == "ridge":
            raise InputError(
                "task.class_weights: a readout in closed form (model.solver=ridge) weighs all classes alike"
            )
        if weights is not None and isinstance(network.beside, NGramRegression):
            raise InputError("task.class_weights: model.beside=ngram_regression weighs all classes alike: use ngrams")
        mean = None if weights is None else (weights * frequencies).sum() / frequencies.sum()
        self.register_buffer("mean_weight", mean, persistent=False)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        if self.class_weights is None or not self.training:
            return F.cross_entropy(output, batch.targets, self.class_weights, label_smoothing=self.label_smoothing)
        losses = F.cross_entropy(
            output, batch.targets, self.class_weights, label_smoothing=self.label_smoothing, reduction="none"
        )
        assert self.mean_weight is not None
        return losses.mean() / self.mean_weight

    def weight(self, batch: Batch) -> Tensor | int:
        if self.class_weights is None or self.training:
            return super().weight(batch)
        return self.class_weights[batch.targets].sum()

    def metrics(self) -> dict[str, Metric]:
        classes = self.spec.target.size
        return {
            "accuracy": MulticlassAccuracy(classes, average="micro"),
            "f1": MulticlassF1Score(classes, average="macro"),
        }

    def compared(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        return output.argmax(-1), batch.targets

    def baseline(self, batch: Batch) -> Tensor:
        return self.log_frequencies.expand(len(batch.targets), -1)

    def combine(self, outputs: Tensor) -> Tensor:
        return mean_probability(outputs)

    def predictions(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        truth = {"truth": named(batch.targets, self.spec.target.names)}
        return torch.arange(len(batch.targets)), truth | self.said(self(batch))

    def said(self, output: Tensor) -> dict[str, Any]:
        probabilities, names = output.softmax(-1).numpy(force=True), self.spec.target.names
        best = probabilities.argmax(-1).tolist()
        shares = dict(zip(self._columns, probabilities.T, strict=True))
        return {"prediction": [names[k] for k in best] if names else best, **shares}

    def reading(self) -> dict[str, Any]:
        return {"kind": "class", "names": list(self.spec.target.labels), "rule": SOFTMAX}

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        return tuple(f"p({name})" for name in self.spec.target.labels)

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        for name, (output, targets) in self.other_predictors().items():
            weights = None if self.class_weights is None else self.class_weights.to(output)
            scores = {f"baseline/{name}/loss": F.cross_entropy(output, targets, weights)}
            for score, metric in self.metrics().items():
                scores[f"baseline/{name}/{score}"] = metric(output.argmax(-1), targets)
            self.log_scores(scores)

    def judge(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        right = self.sequence_score(output, batch)
        return right, torch.ones_like(right)

    def sequence_score(self, output: Tensor, batch: Batch) -> Tensor:
        return (output.argmax(-1) == batch.targets).float()

    def score_training(self, output: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        return (self.sequence_score(output, batch).mean(),)
