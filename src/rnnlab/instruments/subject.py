"""What is looked at: a network, the data that it is asked about, and what is known of its training."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from rnnlab.cells.cell import map_state
from rnnlab.data.sequence import EVALUATION_FACTOR, SequenceData
from rnnlab.data.split import SplitName
from rnnlab.network import Network
from rnnlab.shapes import Features, State
from rnnlab.spec import Batch
from rnnlab.store.verdict import Verdict
from rnnlab.tasks.task import Task

Weights = Mapping[str, Tensor]
History = Sequence[Mapping[str, float]]
"""One row an epoch, as ``metrics.csv`` has them: ``epoch``, ``train/loss``, ``val/loss`` …; a missing score is no key.
``baseline/…`` is the trivial predictor's score, the same in every row; ``kept`` is 1 in the row of the best epoch."""

LONGEST = 500
"""Steps of a sequence that are walked one by one, its first."""
ANSWERS = 20_000_000
"""Numbers of the network's output that are kept: 80 MB; a split that has more is asked in part."""


def history_of(
    epochs: Iterable[Mapping[str, float]], baseline: Mapping[str, float], best_epoch: float | None
) -> list[dict[str, float]]:
    """The history of a run.

    Args:
        epochs: its rows of ``metrics.csv``.
        baseline: scores of the trivial predictor on the validation split.
        best_epoch: whose weights were kept: the best one by the monitored score.
    """
    beside = {f"baseline/{name}": value for name, value in baseline.items()}
    kept = {"kept": 1.0}
    return [{**row, **beside, **(kept if row.get("epoch") == best_epoch else {})} for row in epochs]


Objective = TypeVar("Objective", bound=Task)


@dataclass(eq=False)
class Subject:
    """A task on one split of some data.

    Attributes:
        name: of the run.
        task: with the weights that are looked at.
        data: which need not be the run's own.
        split: of the data.
        sequences: numbers of those that are shown one by one.
        stages: weights of the network at other times than the kept ones', by name, the earliest first.
        recorded: ``(cells, time)`` gradient norms by epoch, as
            :class:`rnnlab.instruments.gradient_flow.GradientFlow` kept them in training; empty where it did not, or
            on other data.
        observed: the states of instruments that watched the training, by their names.
        history: a row an epoch.
        metrics: the run's final scores.
        verdict: on the run, where there is one.
        unanswered: why there is no truth to hold what is predicted against; empty where there is.
        names: of the sequences, where they have any.
        of_a_file: the data is a file of somebody's own, all of whose splits are the same sequences.
    """

    name: str
    task: Task
    data: SequenceData
    split: SplitName = "test"
    sequences: tuple[int, ...] = (0, 1, 2)
    stages: Mapping[str, Weights] = field(default_factory=dict)
    recorded: Mapping[int, Tensor] = field(default_factory=dict)
    observed: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    history: History = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    verdict: Verdict | None = None
    unanswered: str = ""
    names: Sequence[Any] = ()
    of_a_file: bool = False

    @property
    def network(self) -> Network:
        return self.task.network

    @property
    def called(self) -> str:
        """Which sequences these are, in a word."""
        return self.data.held_out if self.split == "test" else self.split

    def task_as(self, kind: type[Objective]) -> Objective:
        """The task, for an instrument that is for one kind alone.

        Raises:
            TypeError: it is of another kind, which the instrument's ``missing`` refuses.
        """
        if not isinstance(self.task, kind):
            raise TypeError(f"task {self.task.title} is no {kind.__name__}")
        return self.task

    def name_of(self, number: int) -> Any:
        """What a sequence is called: its number, where it has no name."""
        return self.names[number] if self.names else number

    @property
    def size(self) -> int:
        """Sequences of the split."""
        return len(self.data.split(self.split))

    @property
    def kept_epoch(self) -> int | None:
        """The epoch whose weights are drawn, where the history tells."""
        return next((int(row["epoch"]) for row in self.history if row.get("kept")), None)

    @property
    def kept_name(self) -> str:
        """What the weights that are drawn are called in a legend."""
        if self.kept_epoch is not None:
            return f"kept weights (epoch {self.kept_epoch})"
        return "trained" if self.history else "now"

    @cached_property
    def token_names(self) -> tuple[str, ...]:
        """Of the input's tokens; their numbers where they have none, and nothing where the input is no tokens."""
        number, target = self.task.spec.input.vocabulary, self.task.spec.target
        if number is None:
            return ()
        if self.task.spec.input.names:
            return self.task.spec.input.names
        named = self.data.state_dict().get("vocabulary")
        if named is not None and len(named) == number:
            return tuple(named)
        if target.categorical and target.per_step and target.size == number and target.names:
            return target.names
        return tuple(map(str, range(number)))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Of the input's features; empty where nobody knows them."""
        names = self.data.feature_names
        return names if len(names) == self.task.spec.input.features else ()

    def take(self, index: slice | Tensor, split: SplitName | None = None) -> Batch:
        """Sequences of the split, on the task's device and as precise as its weights."""
        return self.moved(self.data.split(split or self.split).batch(index))

    def moved(self, batch: Batch) -> Batch:
        """A copy of a batch on the task's device, as precise as its weights."""
        like = next(self.network.parameters())

        def move(tensor: Tensor) -> Tensor:
            # a copy, since a view of a tensor that was made in inference mode could not be differentiated through
            return tensor.to(like.device, like.dtype if tensor.is_floating_point() else None, copy=True)

        return batch.map(move)

    def one(self, number: int) -> Batch:
        """One sequence, as long as it is: it has no padding, and so no ``lengths``."""
        return self.take(slice(number, number + 1))._replace(lengths=None)

    def full(self, most: int) -> Batch:
        """The first sequences that are as long as the longest, so that a step is as far from the end in all."""
        lengths = self.data.split(self.split).lengths
        if lengths is None:
            return self.take(slice(0, most))
        longest = torch.nonzero(lengths == lengths.max())[:, 0]
        return self.take(longest[:most])._replace(lengths=None)

    def predict(self, batch: Batch) -> Any:
        """The network's output at rest: ``(batch, time, size)`` or, for classes, ``(batch, size)``; where it says
        sequences, an :class:`rnnlab.tasks.sequence_scores.Answer`.
        """
        with at_rest(self.network), torch.no_grad():
            return self.task.apart(batch)

    def predicted(self, split: SplitName | None = None) -> Iterator[tuple[Batch, Any]]:
        """Each batch of a split in its order, and the network's output for it."""
        size = len(self.data.split(split or self.split))
        for index in torch.arange(size).split(EVALUATION_FACTOR * self.data.batch_size):
            batch = self.take(index, split)
            yield batch, self.predict(batch)

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """The network with the weights of a stage, and afterwards with its own again."""
        kept = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(dict(self.stages[stage]))
        try:
            yield
        finally:
            self.network.load_state_dict(kept)

    @cached_property
    def answers(self) -> "list[Answer]":
        """The network's output for each batch of the split, a text's state carried from one to the next.

        All of them, or as many as ``ANSWERS`` allows.
        """
        loader = self.data.val_dataloader() if self.split == "val" else self.data.test_dataloader()
        answers: list[Answer] = []
        total = 0
        like = next(self.network.parameters())
        with at_rest(self.network), torch.no_grad():
            for numbers, cut in zip(loader.order, loader, strict=True):
                batch = cut.map(lambda part: part.to(like.device, like.dtype if part.is_floating_point() else None))
                output = self.task(batch)
                answers.append(Answer(numbers, batch, output))
                total += output.numel()
                if total > ANSWERS:
                    break
        return answers


@contextmanager
def at_rest(network: Network) -> Iterator[Network]:
    """The network in evaluation mode, and afterwards each of its modules in the mode in which it was."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield network
    finally:
        for module, mode in modes:
            module.training = mode


def cropped(batch: Batch, longest: int = LONGEST) -> Batch:
    """The last steps of long sequences: what is predicted last hangs on them most."""
    targets = batch.targets
    if batch.inputs.shape[1] <= longest:
        return batch
    if targets.dim() > 1 and targets.shape[1] == batch.inputs.shape[1]:
        targets = targets[:, -longest:]
    return batch._replace(inputs=batch.inputs[:, -longest:], targets=targets)


@dataclass(frozen=True)
class Answer:
    """What the network says of a batch, and which sequences of the split these are."""

    numbers: Tensor
    batch: Batch
    output: Tensor

    def scored(self, task: Task) -> Tensor:
        """What is held against the truth: the output, or the forecast at the end of each window."""
        return self.output if self.batch.origin is None else task.answer(self.batch)

    def one(self, row: int) -> tuple[Tensor, Batch]:
        """One sequence and its output, without padding: ``(1, …)``."""
        output, batch = self.output[row : row + 1], self.batch.map(lambda part: part[row : row + 1])
        if batch.lengths is None:
            return output, batch
        length = int(batch.lengths[0])
        targets = batch.targets
        if output.dim() == 3:
            output, targets = output[:, :length], targets[:, :length]
        return output, batch._replace(inputs=batch.inputs[:, :length], targets=targets, lengths=None)


@dataclass(frozen=True)
class Walk:
    """The way of one cell through some sequences, step by step, in the order in which it reads.

    Attributes:
        inputs: ``(batch, time, features)`` that the cell reads.
        before: the state before each step, each tensor ``(batch, time, …)``.
        lengths: ``(batch,)`` valid steps.
    """

    inputs: Features
    before: State
    lengths: Tensor


@torch.no_grad()
def walk(network: Network, batch: Batch, longest: int = LONGEST) -> list[Walk]:
    """The way of each cell of :meth:`rnnlab.network.Network.cells`, over at most so many steps of the sequences."""
    inputs = batch.inputs[:, :longest]
    full = inputs.new_full((len(inputs),), inputs.shape[1], dtype=torch.int64)
    lengths = full if batch.lengths is None else batch.lengths.clamp(max=longest)
    with at_rest(network):
        trace = network.trace(inputs, lengths=None if batch.lengths is None else lengths)
    walks = []
    for read, start, states in zip(trace.inputs, trace.starts, trace.states, strict=True):
        before = map_state(lambda *steps: torch.stack(steps, 1), start, *states[:-1])
        walks.append(Walk(read, before, lengths))
    return walks
