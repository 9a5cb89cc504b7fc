"""A sequence of its own length for each sequence that is read."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from rnnlab.decoding import Hypothesis, Said, Search, beam_search, greedy, stacked
from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.shapes import Fraction, NonNegativeFloat, PositiveInt, Share
from rnnlab.spec import IGNORED, Batch, DataSpec
from rnnlab.tasks.objective import mean_probability, token_loss
from rnnlab.tasks.optimization import OptimizerFactory, SchedulerFactory, total_steps
from rnnlab.tasks.scored import Scores
from rnnlab.tasks.sequence_scores import Answer, ErrorRate, ExactMatch, TokenAccuracy, Unfinished
from rnnlab.tasks.sequence_task import NEVER, SequenceTask

PROBABLE = ("loss", "accuracy")
"""Scores of who says how probable each token is."""


class Translation(SequenceTask):
    """Encoder and decoder: cross-entropy of each token in nats, when the true ones before it are told.

    What it says by itself is the most probable token at each step (greedy), or
    the best that a search finds (``beam``), and is held against the truth:
    ``exact_match``, the share of the sequences that are right from the first
    token to the last, and the error rate (``character_error_rate``,
    ``word_error_rate`` …), which decides: tokens to
    mend, of all that were asked for. ``accuracy`` is the share of the tokens
    that are right when all true ones before them are told. Where an input has
    several right answers each counts as right.

    ``unfinished`` is the share of the sequences that go on until they are cut.
    Where texts are made of words, ``bleu`` and ``chrf`` stand beside them
    (:class:`rnnlab.tasks.sequence_scores.Bleu`).

    The trivial predictor says the most frequent sequence of the training split;
    its loss is that of one who knows how frequent each token is. Beside it
    stand ``copy_input``, which says the input again, where the target has
    tokens of the same name, and ``dictionary``, which says for each token of
    the input the one that in the training split stands most often at its place.

    Args:
        label_smoothing: share of the probability spread evenly over all tokens (Szegedy et al. 2016, section 7);
            in training alone, so that scores stay scores.
        teacher_forcing: share of the true tokens before that the decoder is told in training; in place of each other
            one what it finds most probable itself ("scheduled sampling", S. Bengio et al. 2015). Below 1 it runs step
            by step, and so slower.
        teacher_forcing_schedule: ``constant``; or from ``teacher_forcing`` to ``teacher_forcing_end`` over the
            training, ``linear`` or ``exponential``.
        teacher_forcing_end: what a schedule ends at.
        max_length: tokens after which what it says is cut; ``None``: twice as many as the longest target of the
            training split has.
        beam: of the search for what it says (:class:`rnnlab.decoding.Search`); 1 is greedy.
        length_penalty: above 0 the search prefers longer sequences (Y. Wu et al. 2016, equation 14).

    Raises:
        InputError: the schedule has no end, or an end and no schedule.
    """

    training_scores = ("accuracy",)
    no_fleet = "a decoder's steps are those of one network"

    log_frequencies: Tensor
    """``(tokens,)`` of the target in training."""

    def __init__(
        self,
        network: Network,
        spec: DataSpec,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "val/loss",
        label_smoothing: Fraction = 0.0,
        teacher_forcing: Share = 1.0,
        teacher_forcing_schedule: Literal["constant", "linear", "exponential"] = "constant",
        teacher_forcing_end: Share | None = None,
        max_length: PositiveInt | None = None,
        beam: PositiveInt = 1,
        length_penalty: NonNegativeFloat = 0.0,
    ) -> None:
        self.max_length = max_length or 2 * (spec.target.longest or 1)  # which a score asks for
        super().__init__(network, spec, optimizer, scheduler, monitor)
        self.label_smoothing = label_smoothing
        self.teacher_forcing, self.teacher_forcing_schedule = teacher_forcing, teacher_forcing_schedule
        if (teacher_forcing_schedule == "constant") != (teacher_forcing_end is None):
            raise InputError(
                f"task.teacher_forcing_schedule={teacher_forcing_schedule} with task.teacher_forcing_end="
                f"{'null' if teacher_forcing_end is None else teacher_forcing_end}: linear and exponential go to an "
                "end, and constant has none"
            )
        if teacher_forcing_schedule == "exponential" and not (teacher_forcing and teacher_forcing_end):
            raise InputError(
                "task.teacher_forcing_schedule=exponential never reaches 0: give task.teacher_forcing_end=0.1, say, or "
                "use linear"
            )
        self.teacher_forcing_end = teacher_forcing if teacher_forcing_end is None else teacher_forcing_end
        frequencies = torch.tensor(spec.token_frequencies or [1 / spec.target.size] * spec.target.size)
        self.register_buffer("log_frequencies", frequencies.log(), persistent=False)
        self.search = Search(beam, 1, length_penalty)
        self._updates: int | None = None
        for name in self.tables:
            self.scores[name] = Scores(self.metrics())

    @cached_property
    def tables(self) -> dict[str, tuple[int, ...]]:
        """Of each simple predictor that says a token for each that it reads, by name: which token it says."""
        tables = {"copy_input": self.copies, "dictionary": self.spec.dictionary}
        return {name: table for name, table in tables.items() if any(number != NEVER for number in table)}

    @cached_property
    def copies(self) -> tuple[int, ...]:
        """Of each token of the input the one of the target that has its name, or ``NEVER``."""
        numbers = {name: number for number, name in enumerate(self.spec.target.names)}
        special = {self.spec.target.end, self.spec.target.unknown}
        found = (numbers.get(name, NEVER) for name in self.spec.input.names)
        return tuple(NEVER if number in special else number for number in found)

    # ---- the objective --------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Tensor:
        """The scores ``(batch, steps, size)`` of each token, when the true ones before it are told."""
        forced = self.forced if self.training else 1.0
        return self.network.teach(batch.inputs, batch.targets, batch.lengths, forced)[0]

    @property
    def forced(self) -> float:
        """The share of true tokens that the decoder is told at this point of the training."""
        first, last = self.teacher_forcing, self.teacher_forcing_end
        if first == last or self.attached is None:
            return first
        if self._updates is None:
            self._updates = total_steps(self.trainer)
        share = min(1.0, self.global_step / max(1, self._updates - 1))
        if self.teacher_forcing_schedule == "exponential":
            return float(first * (last / first) ** share)
        return first + share * (last - first)

    def loss(self, output: Tensor | Answer, batch: Batch) -> Tensor:
        scores = output.scores if isinstance(output, Answer) else output
        smoothing = self.label_smoothing if self.training else 0.0
        return token_loss(scores.flatten(0, 1), batch.targets.flatten(), smoothing)

    def score_training(self, output: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        asked = batch.targets != IGNORED
        return (((output.argmax(-1) == batch.targets) & asked).sum() / asked.sum().clamp_min(1),)

    def say(self, batch: Batch) -> Said:
        """What it says of a batch by itself."""
        if self.search.beam > 1:
            return stacked(self.searched(batch, self.search), batch.inputs.device)
        return greedy(self.network, batch.inputs, batch.lengths, self.end, self.max_length)

    def searched(self, batch: Batch, search: Search) -> list[list[Hypothesis]]:
        """What a search finds for each sequence of a batch, the best first."""
        return beam_search(self.network, batch.inputs, batch.lengths, self.end, self.max_length, search)

    def answer(self, batch: Batch) -> Any:
        """An :class:`rnnlab.tasks.sequence_scores.Answer`."""
        return Answer(self(batch), self.say(batch).tokens)

    def apart(self, batch: Batch) -> Any:
        return self.answer(batch)

    def combine(self, outputs: Tensor) -> Tensor:
        return mean_probability(outputs)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """``(batch, steps)`` the tokens that it says, ``IGNORED`` behind the last of each."""
        return self.say(batch).tokens

    # ---- scores -----------------------------------------------------------------------------------

    def metrics(self) -> dict[str, Metric]:
        scores = {"exact_match": ExactMatch(), self.error_rate: ErrorRate(), "accuracy": TokenAccuracy()}
        return {**scores, **self.scores_of_prose(), "unfinished": Unfinished(self.max_length)}

    # ---- the simple predictors ----------------------------------------------------------------------

    def baseline(self, batch: Batch) -> Any:
        scores = self.log_frequencies.expand(*batch.targets.shape, -1)
        return Answer(scores, self.common(batch.targets.device).expand(len(batch.targets), -1))

    def by_token(self, table: Sequence[int], batch: Batch) -> Answer:
        """What a predictor says that has a token of the target for each of the input."""
        tokens = torch.tensor(table, device=batch.inputs.device)[batch.inputs]
        if batch.lengths is not None:
            steps = torch.arange(tokens.shape[1], device=tokens.device)
            tokens = tokens.masked_fill(steps >= batch.lengths[:, None], IGNORED)
        return Answer(self.log_frequencies.expand(*batch.targets.shape, -1), tokens)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        super().test_step(batch, batch_idx)
        for name, table in self.tables.items():
            self._test(self.scores[name], name, self.by_token(table, batch), batch)

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        for name in self.tables:
            scores = self.scores[name]
            # who has a table knows no probabilities
            kept = {score: value for score, value in scores.compute().items() if score not in PROBABLE}
            self.log_scores({f"baseline/{name}/{score}": value for score, value in kept.items()})

    # ---- what it says, in words ---------------------------------------------------------------------

    def predictions(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        said = self.say(batch)
        return torch.arange(len(batch.targets)), {"truth": self.written(batch.targets), **self.columns(said)}

    def columns(self, said: Said) -> dict[str, Any]:
        """The table of what was said: texts, the logarithm of the probability of each, and where it attends, for each
        token that is said the number of the one that was read that has most of the attention.
        """
        columns = {"prediction": self.written(said.tokens), "score": said.score.numpy(force=True)}
        if said.weights is not None:
            counts = (said.tokens != IGNORED).sum(1).tolist()
            rows = zip(said.weights.argmax(-1).tolist(), counts, strict=True)
            columns["alignment"] = [" ".join(map(str, row[:count])) for row, count in rows]
        return columns

    def reading(self) -> dict[str, Any]:
        target = self.spec.target
        return {
            "kind": "sequence",
            "unit": target.unit,
            "names": list(target.names),
            "start": target.size,
            "end": target.end,
            "max_length": self.max_length,
            "rule": "the decoder is told start, then what it says, until that is end, max_length tokens at most; each "
            "token is its place in names",
        }
