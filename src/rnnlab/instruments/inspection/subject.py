"""What is inspected: a trained network, the data that it is asked about, and what it was before."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells.cell import map_state
from rnnlab.data.sequence import Batches, SequenceData, SplitName
from rnnlab.instruments.instrument import History, at_rest, take
from rnnlab.instruments.sequence_plot import token_names
from rnnlab.network import Network
from rnnlab.shapes import Features, State
from rnnlab.spec import Batch
from rnnlab.tasks.task import Task

Weights = Mapping[str, Tensor]

LONGEST = 500
"""Steps of a sequence that are walked one by one, its first."""
ANSWERS = 20_000_000
"""Numbers of the network's output that are kept: 80 MB; a split that has more is asked in part."""


@dataclass(eq=False)
class Subject:
    """A trained task on one split of some data.

    Attributes:
        name: of the run.
        task: with the weights that were kept, in evaluation mode.
        data: which need not be the run's own.
        split: of the data.
        sequences: numbers of those that are shown one by one.
        stages: weights of the network at other times than the kept ones', by name, the earliest first.
        recorded: ``(cells, time)`` gradient norms by epoch, as
            :class:`rnnlab.instruments.gradient_flow.GradientFlow` kept them in training; empty where it did not, or
            on other data.
        history: a row an epoch.
        metrics: the run's final scores.
        unanswered: why there is no truth to hold what is predicted against; empty where there is.
        names: of the sequences, where they have any.
    """

    name: str
    task: Task
    data: SequenceData
    split: SplitName = "test"
    sequences: tuple[int, ...] = (0, 1, 2)
    stages: Mapping[str, Weights] = field(default_factory=dict)
    recorded: Mapping[int, Tensor] = field(default_factory=dict)
    history: History = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    unanswered: str = ""
    names: Sequence[Any] = ()

    @property
    def network(self) -> Network:
        return self.task.network

    @property
    def called(self) -> str:
        """Which sequences these are, in a word."""
        return self.data.held_out if self.split == "test" else self.split

    def name_of(self, number: int) -> Any:
        """What a sequence is called: its number, where it has no name."""
        return self.names[number] if self.names else number

    @property
    def size(self) -> int:
        """Sequences of the split."""
        return len(self.data.split(self.split))

    def take(self, index: slice | Tensor) -> Batch:
        """Sequences of the split."""
        return take(self.task, self.data, self.split, index)

    def one(self, number: int) -> Batch:
        """One sequence, as long as it is: it has no padding, and so no ``lengths``."""
        return self.take(slice(number, number + 1))._replace(lengths=None)

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
        """What the network says of each batch of the split, a text's state carried from one to the next.

        All of them, or as many as ``ANSWERS`` allows.
        """
        loader = self.data.val_dataloader() if self.split == "val" else self.data.test_dataloader()
        assert isinstance(loader, Batches)
        found: list[Answer] = []
        total = 0
        like = next(self.network.parameters())
        with at_rest(self.network), torch.no_grad():
            for numbers, cut in zip(loader.order, loader, strict=True):
                batch = cut.map(lambda part: part.to(like.device, like.dtype if part.is_floating_point() else None))
                output = self.task(batch)
                found.append(Answer(numbers, batch, output))
                total += output.numel()
                if total > ANSWERS:
                    break
        return found

    @cached_property
    def token_names(self) -> tuple[str, ...]:
        """Of the input's tokens; their numbers where they have none, and nothing where the input is no tokens."""
        return token_names(self.task, self.data)


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
