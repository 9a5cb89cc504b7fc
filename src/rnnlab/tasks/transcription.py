"""What was said or written in a long input, without knowing where: CTC."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from rnnlab import ctc
from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.shapes import PositiveInt
from rnnlab.spec import IGNORED, Batch, DataSpec, TargetSpec
from rnnlab.tasks.objective import mean_probability
from rnnlab.tasks.optimization import OptimizerFactory, SchedulerFactory
from rnnlab.tasks.sequence_scores import Aligned, BlankShare, ErrorRate, ExactMatch, WordErrorRate
from rnnlab.tasks.sequence_task import SequenceTask

FULL = 0.9
"""Share of the steps at which the trivial predictor says a token, at most."""


class Transcription(SequenceTask):
    """A token or the blank at each step, under the loss of connectionist temporal classification (:mod:`rnnlab.ctc`).

    Where in the input a token is nobody tells the network. The blank has the number of the token that ends a target:
    there is no end to be said. The loss is in nats a token of the target.

    What it says is the most probable path (greedy), or the most probable sequence that a prefix search finds
    (``beam``). Scores are the error rate (``character_error_rate`` …), which decides, beside it ``word_error_rate``
    where characters make words; ``exact_match``; and ``blank_share``, the share of the steps at which the blank is most
    probable: 1 is the blank collapse, in which every training begins.

    The trivial predictor says the most frequent sequence of the training split; its loss is that of one who says at
    each step how frequent each token is.

    Args:
        beam: prefixes of the search, in validation and test; 1 is greedy.

    Raises:
        InputError: the readout is solved in closed form, which knows no such loss.
    """

    training_scores = ("blank_share",)
    no_fleet = "torch's loss of CTC takes one network at a time"

    def __init__(
        self,
        network: Network,
        spec: DataSpec,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "val/loss",
        beam: PositiveInt = 1,
    ) -> None:
        super().__init__(network, spec, optimizer, scheduler, monitor)
        self.beam = beam

    @classmethod
    def output(cls, spec: DataSpec, **options: Any) -> TargetSpec:
        target = spec.target
        return TargetSpec("aligned", target.size, target.names, blank=target.end, unit=target.unit)

    @property
    def blank(self) -> int:
        """The number of the token that says nothing."""
        return self.end

    def check_data(self, data: Any) -> None:
        """Refuses data of which a target is longer than what the network makes of its input.

        Raises:
            InputError: naming the first such sequence.
        """
        for name in ("train", "val", "test"):
            split = data.split(name)
            lengths = split.lengths
            if lengths is None:
                lengths = torch.full((len(split),), split.inputs.shape[1])
            steps = self.read_lengths(lengths)
            needed = ctc.steps_needed(self.labels(split.targets))
            short = torch.nonzero(needed > steps)[:, 0].tolist()
            if short:
                first = short[0]
                raise InputError(
                    f"task=transcription: sequence {first} of {name} has {int(steps[first])} steps of the network and "
                    f"its target needs {int(needed[first])}, one a {self.spec.target.unit}, a blank between two "
                    f"alike; so have {len(short):,} of {len(split):,}: give longer inputs (data.hop and "
                    "model.encoder_stride make them shorter), or task=translation"
                )

    # ---- the objective --------------------------------------------------------------------------------

    def labels(self, targets: Tensor) -> Tensor:
        """``(batch, tokens)`` targets without their end, ``IGNORED`` in its place."""
        return targets.masked_fill(targets == self.end, IGNORED)

    def steps(self, batch: Batch) -> Tensor:
        """``(batch,)`` valid steps of what the network puts out."""
        lengths = batch.lengths
        if lengths is None:
            lengths = torch.full((len(batch.inputs),), batch.inputs.shape[1], device=batch.inputs.device)
        return self.read_lengths(lengths)

    def read_lengths(self, lengths: Tensor) -> Tensor:
        """``(batch,)`` steps of the network, of those of its inputs."""
        read = self.network.read_lengths(lengths)
        return lengths if read is None else read

    def weight(self, batch: Batch) -> Tensor:
        return (self.labels(batch.targets) != IGNORED).sum().clamp_min(1)

    def loss(self, output: Tensor | Aligned, batch: Batch) -> Tensor:
        scores = output.scores if isinstance(output, Aligned) else output
        losses = ctc.negative_log_likelihood(scores, self.steps(batch), self.labels(batch.targets), self.blank)
        return losses.sum() / self.weight(batch)

    def score_training(self, output: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        lengths = self.steps(batch)
        return (self._blanks(output, lengths).sum() / lengths.sum(),)

    def _blanks(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """``(batch,)`` steps at which the blank is most probable."""
        return ((scores.argmax(-1) == self.blank) & ctc.valid(scores, lengths)).sum(1)

    def aligned(self, scores: Tensor, lengths: Tensor) -> Aligned:
        """What ``(batch, steps, size)`` scores come to."""
        if self.beam > 1:
            found = [each[0][0] for each in self.searched(scores, lengths, self.beam)]
            most = max(1, *map(len, found))
            tokens = torch.tensor([[*each, *[IGNORED] * (most - len(each))] for each in found], device=scores.device)
        else:
            tokens = ctc.best_path(scores, lengths, self.blank).tokens
        return Aligned(scores, tokens, self._blanks(scores, lengths), lengths)

    def searched(
        self, scores: Tensor, lengths: Tensor, beam: int, nbest: int = 1
    ) -> list[list[tuple[tuple[int, ...], float]]]:
        """Of each sequence what a prefix search finds, with the logarithm of its probability, the best first."""
        every = ctc.log_probabilities(scores, lengths)
        results = []
        for log_probs, length in zip(every, lengths.tolist(), strict=True):
            own = log_probs[:length]
            found = ctc.prefix_beam_search(own.tolist(), self.blank, beam)
            said = torch.tensor(
                [[*each, *[IGNORED] * (max(map(len, found)) - len(each))] for each in found], device=own.device
            ).view(len(found), -1)
            exact = self.log_probability(own.expand(len(found), -1, -1), lengths.new_full((len(found),), length), said)
            # what fell out of the beam on the way counts, too
            ranked = sorted(zip(found, exact.tolist(), strict=True), key=lambda each: -each[1])
            results.append(ranked[:nbest])
        return results

    def log_probability(self, scores: Tensor, lengths: Tensor, tokens: Tensor) -> Tensor:
        """``(batch,)`` the logarithm of the probability of ``(batch, said)`` tokens, over all their paths."""
        return -ctc.negative_log_likelihood(scores, lengths, tokens, self.blank)

    def answer(self, batch: Batch) -> Any:
        """An :class:`Aligned`."""
        return self.aligned(self(batch), self.steps(batch))

    def apart(self, batch: Batch) -> Any:
        return self.answer(batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """``(batch, said)`` the tokens that are said, ``IGNORED`` behind the last of each."""
        tokens: Tensor = self.answer(batch).tokens
        return tokens

    def combine(self, outputs: Tensor) -> Tensor:
        return mean_probability(outputs)

    # ---- scores -------------------------------------------------------------------------------------

    def metrics(self) -> dict[str, Metric]:
        found: dict[str, Metric] = {"exact_match": ExactMatch(), self.error_rate: ErrorRate()}
        if self.spec.target.unit == "character" and " " in self.spec.target.names:
            found["word_error_rate"] = WordErrorRate(self.spec.target.names.index(" "))
        return {**found, "blank_share": BlankShare()}

    def baseline(self, batch: Batch) -> Any:
        lengths = self.steps(batch)
        tokens = self.common(lengths.device).expand(len(lengths), -1)
        steps = int(lengths.max())
        scores = self.frequencies(lengths).log()[:, None].expand(-1, steps, -1)
        return Aligned(scores, tokens, self._blanks(scores, lengths), lengths)

    def frequencies(self, lengths: Tensor) -> Tensor:
        """``(batch, size)`` how frequent each token is at a step of inputs of so many, from how many a target has."""
        size = self.spec.target.size
        shares = torch.tensor(self.spec.token_frequencies or [1 / size] * size, device=lengths.device)
        each = shares / shares[self.end] / lengths[:, None]  # a target has one end
        each[:, self.end] = 0
        each = each * (FULL / each.sum(1, keepdim=True).clamp_min(FULL))
        each[:, self.end] = 1 - each.sum(1)
        return each

    # ---- what it says, in words -----------------------------------------------------------------------

    def predictions(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        found = self.answer(batch)
        score = self.log_probability(found.scores, found.lengths, found.tokens).numpy(force=True)
        columns = {"truth": self.written(batch.targets), "prediction": self.written(found.tokens), "score": score}
        return torch.arange(len(batch.targets)), columns

    def reading(self) -> dict[str, Any]:
        return {
            "kind": "transcript",
            "names": list(self.spec.target.names),
            "blank": self.blank,
            "rule": "the most probable token at each step; repetitions are one, then blanks are left out",
        }
