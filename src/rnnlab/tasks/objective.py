"""The contract of an objective: what it says of a network's output.

:class:`rnnlab.tasks.task.Task` makes a training of it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from lightning import LightningModule
from torch import Tensor
from torchmetrics import Metric

from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.spec import IGNORED, Batch, DataSpec, TargetSpec
from rnnlab.tasks.distribution import Distribution
from rnnlab.tasks.forecast_scores import Cases

SOFTMAX = "probabilities are the softmax of output over its last dimension; names say what each of them is of"


def mean_probability(logits: Tensor) -> Tensor:
    """``(members, …, classes)`` scores to the ``(…, classes)`` logarithm of the members' mean probability."""
    return logits.log_softmax(-1).logsumexp(0) - math.log(len(logits))


def token_loss(output: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """The mean cross entropy of ``(elements, tokens)`` scores over the ``(elements,)`` targets that are asked for.

    A batch in which none is (all are ``IGNORED``) teaches nothing: its loss is 0, and no NaN that stops a run.
    """
    total = F.cross_entropy(output, targets, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing)
    return total / (targets != IGNORED).sum().clamp_min(1)


def named(numbers: Tensor, names: tuple[str, ...]) -> list[Any]:
    """The names of classes or tokens; their numbers where they have none."""
    return [names[number] if names else number for number in numbers.tolist()]


class Objective(LightningModule, ABC):
    """What the loss is, which scores are kept, and which trivial predictor stands beside them.

    Attributes:
        network: built for ``spec``.
        spec: what the data says of itself.
    """

    network: Network
    spec: DataSpec
    target_kind: ClassVar[str]
    """The kind of target (:class:`rnnlab.spec.TargetSpec`) that this objective is for."""
    other_kinds: ClassVar[tuple[str, ...]] = ()
    """Further kinds that it is for."""
    forecasts: ClassVar[bool] = False
    """Whether it predicts what comes next, as ``distribution`` says."""
    rebuilds: ClassVar[bool] = False
    """Whether its targets are the inputs, whatever the data asks for (:func:`rnnlab.data.rebuilt.rebuilt`)."""
    distribution: Distribution
    """What is said of each value, where ``forecasts``."""
    training_scores: ClassVar[tuple[str, ...]] = ()
    """Names of what :meth:`score_training` gives, beside the loss."""
    higher_is_better: ClassVar[tuple[str, ...]] = ()
    """Names of scores of one's own that are better the higher they are, so that a run that monitors one keeps its
    highest. rnnlab's own are known: accuracy, f1, r2, exact_match."""
    loss_name: str | None = None
    """The score that is the loss itself under its usual name, such as the mse of unscaled data: one number."""
    sequence_score_name: ClassVar[str] = "accuracy"
    """What :meth:`sequence_score` is: the share of a sequence's answers that are right, or an error."""

    @property
    def title(self) -> str:
        """What the objective is called."""
        return type(self).__name__

    @property
    def baseline_name(self) -> str:
        """What the trivial predictor of :meth:`baseline` is called: majority class, persistence, …"""
        return "trivial predictor"

    @property
    def verdict_score(self) -> str:
        """The score by which a run is held against its baselines."""
        return "loss"

    @property
    def judged_score(self) -> str:
        """The score that :meth:`judge` gives of each sequence: that of the verdict where a class has its own one."""
        return "loss" if type(self).judge is Objective.judge else self.verdict_score

    @classmethod
    def fits(cls, target: TargetSpec) -> bool:
        """Whether it is for targets of this kind."""
        return target.kind in (cls.target_kind, *cls.other_kinds)

    @classmethod
    def output(cls, spec: DataSpec, **options: Any) -> TargetSpec:
        """What the network puts out for this data and these options of the objective: the target itself by default."""
        return spec.target

    @abstractmethod
    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """The mean loss over the valid elements of a batch: a pure function of its arguments."""

    @abstractmethod
    def metrics(self) -> dict[str, Metric]:
        """Fresh metrics, by name, that take what :meth:`compared` gives."""

    @abstractmethod
    def compared(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predictions and targets of the valid elements, in the data's own units, for the metrics."""

    @abstractmethod
    def baseline(self, batch: Batch) -> Tensor:
        """What a trivial predictor would put out, in the shape of the network's output."""

    def check_data(self, data: Any) -> None:
        """Refuses data that it is for by its kind, and whose sequences cannot be learned from, before a training.

        Raises:
            InputError: naming the key.
        """

    def weight(self, batch: Batch) -> Tensor | int:
        """How many elements the mean of :meth:`loss` is over: what it counts for in the mean over a split."""
        target = self.spec.target
        if target.categorical and not target.classifies:
            return (batch.targets != IGNORED).sum()
        if not target.per_step:
            return len(batch.inputs)
        return int(batch.lengths.sum()) if batch.lengths is not None else batch.inputs.shape[0] * batch.inputs.shape[1]

    def sequence_score(self, output: Tensor, batch: Batch) -> Tensor | None:
        """``(batch,)`` the ``sequence_score_name`` of each sequence; ``None`` where sequences have no score each."""
        return None

    def judge(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """``(batch,)`` the ``judged_score`` of each sequence, and ``(batch,)`` how many elements it is the mean of.

        The loss by default, of one sequence after the other.
        """
        losses, weights = [], []
        for number in range(len(batch.inputs)):
            alone = slice(number, number + 1)
            one = batch.map(itemgetter(alone))
            losses.append(self.loss(output[alone], one))
            weights.append(torch.as_tensor(self.weight(one), device=output.device))
        return torch.stack(losses), torch.stack(weights)

    def calibrate(self, batches: Iterable[Batch]) -> Mapping[str, float]:
        """Corrects what the best weights say by the validation part, once, after training: in the weights themselves,
        so that whatever uses them has it.

        Returns:
            What was corrected, by name; empty where nothing was.
        """
        return {}

    def combine(self, outputs: Tensor) -> Tensor:
        """What several networks put out together: ``(members, …)`` to ``(…)``, real values as their mean."""
        return outputs.mean(0)

    def predictions(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        """What is predicted for a batch, as columns of a table, the truth among them.

        Returns:
            ``(rows,)`` which sequence of the batch each row is of; and the columns by name, each ``(rows,)``, in the
            data's units and with its names.

        Raises:
            InputError: this objective has no such table.
        """
        raise InputError(f"task {self.title} does not say what it predicts (its method predictions)")

    def said(self, output: Tensor) -> dict[str, Any]:
        """What the network says, as columns of a table, in the data's units and with its names.

        Args:
            output: ``(n, size)``, of n sequences or of n steps.

        Raises:
            InputError: this objective has no such table.
        """
        raise InputError(f"task {self.title} does not say what it predicts for new data (its method said)")

    def reading(self) -> dict[str, Any]:
        """How the network's output is read in the data's own units and names, as plain values."""
        return {"kind": "raw", "rule": f"as the objective {self.title} reads it"}

    def windows(self, batch: Batch) -> Cases | None:
        """The forecasts made at the end of each window, beside what came; ``None`` where no such forecast is made."""
        return None

    def rollout(self, inputs: Tensor, steps: int, ahead: Tensor | None = None) -> Tensor:
        """``(batch, steps, size)`` values beyond the end of the inputs, from the network's own predictions.

        Raises:
            InputError: predictions are no later inputs.
        """
        raise InputError(f"task {self.title} predicts nothing that could be its next input")

    def point(self, output: Tensor) -> Tensor:
        """The numbers that stand for an output of real values, on the network's scale: itself by default."""
        return output

    @property
    def adds_nothing(self) -> bool:
        """Whether forecasts are those that the data adds the network's to: nothing of these is left in the readout."""
        return False

    @property
    def no_anomalies(self) -> str:
        """Why no step can be told to be out of the ordinary; empty where one can."""
        return (
            f"this run ({self.title}) neither forecasts nor rebuilds what it reads: train one with task=reconstruction"
        )

    def deviation(self, output: Tensor, truth: Tensor) -> Tensor:
        """``(…, values)`` how far what came is from what the network says, on its own scale and by how sure it is.

        Args:
            output: ``(…, size)`` of the network.
            truth: ``(…, values)`` on its scale.
        """
        return truth - self.point(output)

    @property
    def no_probability(self) -> str:
        """Why the output states no probabilities; empty where it does."""
        return "" if self.spec.target.categorical else "this objective claims no probability"

    def score_training(self, output: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        """Cheap scores of a training batch (means over it), named by ``training_scores``."""
        return ()

    # ---- what is scored ---------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Tensor:
        """The network's output for a batch, ``(batch, time, size)`` or ``(batch, size)``."""
        return self.network(batch.inputs, lengths=batch.lengths)[0]

    def apart(self, batch: Batch) -> Any:
        """What is scored of a batch that is looked at by itself: no state comes from the batch before."""
        return self.network(batch.inputs, lengths=batch.lengths)[0]

    def answer(self, batch: Batch) -> Any:
        """What is scored of a batch: the network's output by default."""
        return self(batch)
