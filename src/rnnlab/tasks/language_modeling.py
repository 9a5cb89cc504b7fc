"""The next token of a text, at every step."""

import hashlib
from collections.abc import Iterable, Mapping
from math import log
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from rnnlab.cells.cell import detach_state, map_state
from rnnlab.errors import InputError
from rnnlab.network import Network, NetworkState
from rnnlab.shapes import Fraction, PositiveFloat
from rnnlab.spec import IGNORED, Batch, DataSpec
from rnnlab.tasks.dynamic_evaluation import learning_on
from rnnlab.tasks.objective import token_loss
from rnnlab.tasks.optimization import OptimizerFactory, SchedulerFactory
from rnnlab.tasks.scored import data_of
from rnnlab.tasks.token_task import TokenTask


class LanguageModeling(TokenTask):
    """Cross-entropy of the next token in nats, and what one reads it as: bits per character or byte, or perplexity.

    Where the data is streamed (:class:`rnnlab.spec.DataSpec`), backpropagation
    through time is truncated (Williams and Peng 1990, with k1 = k2 = the length
    of a sequence): the state goes from batch to batch without its history, in
    training, validation and test alike, starts afresh with each pass through
    the streams, and stands in the checkpoint.

    The trivial predictor knows how often each token occurs in the training
    split (unigram). The data's own baselines are reported beside it.

    Args:
        label_smoothing: share of the probability spread evenly over all tokens (Szegedy et al. 2016, section 7);
            in training alone, so that scores stay scores.
        adaptive_clipping: the λ of :func:`clip_adaptively`, in place of ``trainer.gradient_clip_val``; ``None``: off.
        dynamic_evaluation: learning rate with which the network, after its test, reads the test's text once more as one
            stream and learns from every 20 tokens that it has predicted: ``test/dynamic/…`` are the scores of these
            predictions (:func:`rnnlab.tasks.dynamic_evaluation.learning_on`). The weights stay as they are.
            ``None``: off.

    Raises:
        InputError: the network reads in both directions, or ``dynamic_evaluation`` is asked of data that is no stream.
    """

    baseline_name = "unigram"
    log_frequencies: Tensor
    vocabulary: Tensor

    def __init__(
        self,
        network: Network,
        spec: DataSpec,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "val/loss",
        label_smoothing: Fraction = 0.0,
        adaptive_clipping: PositiveFloat | None = None,
        dynamic_evaluation: PositiveFloat | None = None,
    ) -> None:
        if network.bidirectional:
            raise InputError(
                "model.bidirectional=true would read the very tokens that are to be predicted, and cannot carry its "
                "state through a text: use model.bidirectional=false"
            )
        if not network.streams:
            raise InputError(
                "model.encoder=conv reads several steps at once, and cannot carry its state through a text: use "
                "model.encoder=none"
            )
        if dynamic_evaluation is not None and not spec.streamed:
            raise InputError(
                f"task.dynamic_evaluation={dynamic_evaluation} learns from a text as it goes on, and each sequence of "
                "this data stands for itself: use task.dynamic_evaluation=null, or data=text"
            )
        super().__init__(network, spec, optimizer, scheduler, monitor)
        self.label_smoothing, self.adaptive_clipping = label_smoothing, adaptive_clipping
        self.dynamic_evaluation = dynamic_evaluation
        frequencies = torch.tensor(spec.token_frequencies or [1 / spec.target.size] * spec.target.size)
        self.register_buffer("log_frequencies", frequencies.log(), persistent=False)
        self.register_buffer("vocabulary", fingerprint(spec.target.names))
        # validation must not disturb the training's
        self._training_state: NetworkState | None = None
        self._evaluation_state: NetworkState | None = None

    # ---- the objective --------------------------------------------------------------------------

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        smoothing = self.label_smoothing if self.training else 0.0
        return token_loss(*self.compared(output, batch), smoothing)

    def metrics(self) -> dict[str, Metric]:
        return {
            self.score: MeanCrossEntropy(self.read_loss),
            "accuracy": MulticlassAccuracy(
                self.spec.target.size, average="micro", ignore_index=IGNORED, validate_args=False
            ),
        }

    @property
    def score(self) -> str:
        """The name under which people know the loss, by what a token is."""
        names = {"character": "bits_per_character", "byte": "bits_per_byte"}
        return names.get(self.spec.step_unit, "perplexity")

    def read_loss(self, nats: Tensor) -> Tensor:
        """The loss in the unit of ``score``."""
        return nats.exp() if self.score == "perplexity" else nats / log(2)

    def compared(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        return output.flatten(0, 1), batch.targets.flatten()

    def baseline(self, batch: Batch) -> Tensor:
        return self.log_frequencies.expand(*batch.targets.shape, -1)

    @property
    def verdict_score(self) -> str:
        return self.score

    def judge(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        nats = F.cross_entropy(output.transpose(1, 2), batch.targets, ignore_index=IGNORED, reduction="none")
        known = (batch.targets != IGNORED).sum(1)
        return self.read_loss(nats.sum(1) / known.clamp_min(1)), known

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        losses = self.other_baselines().items()
        scores = {name: self.read_loss(torch.tensor(nats, dtype=torch.float64)) for name, nats in losses}
        self.log_scores({f"baseline/{name}/{self.score}": score for name, score in scores.items()})
        if self.dynamic_evaluation is not None:
            data = data_of(self.trainer)
            loader: Any = self.trainer.test_dataloaders if data is None else data.in_order("test", batch_size=1)
            answers = learning_on(self.network, map(self.transfer, loader), self.loss, self.dynamic_evaluation)
            self.log_scores({f"test/dynamic/{name}": score for name, score in self.measure(answers).items()})

    # ---- the state that is carried ----------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self._begins_pass(batch_idx):  # and not where an epoch is resumed in its middle
            self._training_state = None
        return super().training_step(batch, batch_idx)

    def _begins_pass(self, batch_idx: int) -> bool:
        """Whether a training batch is the first of a pass, which may start within an epoch of the run, or not with it;
        a loader that says nothing of it has a pass an epoch.
        """
        loader = None if self._trainer is None else getattr(self._trainer, "train_dataloader", None)
        begins = getattr(loader, "begins_pass", None)
        return batch_idx == 0 if begins is None else bool(begins(batch_idx))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        if batch_idx == 0:
            self._evaluation_state = None
        super().validation_step(batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        if batch_idx == 0:
            self._evaluation_state = None
        super().test_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if batch_idx == 0:
            self._evaluation_state = None
        return super().predict_step(batch, batch_idx)

    def forward(self, batch: Batch) -> Tensor:
        """Predicts, from the state in which the batch before left each stream.

        Returns:
            ``(batch, time, size)``.
        """
        before = (self._training_state if self.training else self._evaluation_state) if self.spec.streamed else None
        if before is not None:
            before = tuple(_first(state, batch.inputs) for state in before)
        output, after = self.network(batch.inputs, before, batch.lengths)
        after = tuple(map(detach_state, after))
        if self.training:
            self._training_state = after
        else:
            self._evaluation_state = after
        return output

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["carried_state"] = self._training_state
        checkpoint["vocabulary"] = list(self.spec.target.names)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._training_state = checkpoint.get("carried_state")

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Refuses weights that were learned for other tokens.

        Raises:
            InputError: they were.
        """
        other = state_dict.get("vocabulary", self.vocabulary)
        if not torch.equal(other.cpu(), self.vocabulary.cpu()):
            raise InputError(
                "these weights were learned for another vocabulary, and this text's is as large by chance: "
                "a model of bytes (data.unit=byte) reads any text"
            )
        return super().load_state_dict(state_dict, *args, **kwargs)

    # ---- clipping ---------------------------------------------------------------------------------

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """As every task, or unit by unit with ``adaptive_clipping``."""
        if self.adaptive_clipping is None:
            return super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        parameters = [p for p in self.network.parameters() if p.grad is not None]
        gradients = [p.grad for p in parameters if p.grad is not None]
        before = nn.utils.get_total_norm(gradients)
        # the authors leave the last layer as it is
        readout = set(self.network.readout.parameters())
        clip_adaptively((p for p in parameters if p not in readout), self.adaptive_clipping)
        return self.totals.add_gradient(before, nn.utils.get_total_norm(gradients))


@torch.no_grad()
def clip_adaptively(parameters: Iterable[nn.Parameter], clipping: float, least: float = 1e-3) -> None:
    """Adaptive gradient clipping (Brock, De, Smith and Simonyan 2021, arXiv 2102.06171, equation 3).

    The gradient of each unit, a row of a weight matrix or one bias, is made no
    larger than ``clipping`` times the norm of the unit's weights, so that no
    step turns any unit around, whatever the scale of the loss.

    Args:
        parameters: with their gradients.
        clipping: λ, the largest ratio of the norms.
        least: what stands for the norm of weights that are smaller, so that those at zero can leave it.
    """
    for parameter in parameters:
        assert parameter.grad is not None
        gradient = parameter.grad.reshape(len(parameter), -1)
        allowed = clipping * parameter.reshape(len(parameter), -1).norm(dim=1).clamp_min(least)
        factor = (allowed / gradient.norm(dim=1).clamp_min(1e-12)).clamp(max=1)
        parameter.grad.mul_(factor.reshape(-1, *[1] * (parameter.dim() - 1)))


class MeanCrossEntropy(Metric):
    """The mean over all targets that are not ``IGNORED``, in the unit that ``read`` gives to nats."""

    nats: Tensor
    count: Tensor

    def __init__(self, read: Any) -> None:
        super().__init__()
        self.read = read
        self.add_state("nats", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, output: Tensor, targets: Tensor) -> None:
        self.nats = self.nats + F.cross_entropy(output, targets, ignore_index=IGNORED, reduction="sum")
        self.count = self.count + (targets != IGNORED).sum()

    def compute(self) -> Tensor:
        return self.read(self.nats / self.count)


def fingerprint(names: Iterable[str]) -> Tensor:
    """A number, as a tensor of one element, that tells one vocabulary from another."""
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return torch.tensor(int.from_bytes(digest[:7], "big"))


def _first(state: Any, inputs: Tensor) -> Any:
    """The state of the streams that go on, the first ones, on the device where they do."""
    return map_state(lambda part: part[: len(inputs)].to(inputs.device), state)
