"""The contract of an instrument: it watches a task and draws one figure."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from rnnlab.data.sequence import SequenceData, SplitName
from rnnlab.network import Network
from rnnlab.spec import Batch
from rnnlab.tasks.task import Task

History = Sequence[Mapping[str, float]]
"""One row an epoch, as ``metrics.csv`` has them: ``epoch``, ``train/loss``, ``val/loss`` …; a missing score is no key.
``baseline/…`` is the trivial predictor's score, the same in every row; ``kept`` is 1 in the row of the best epoch."""


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


def kept_epoch(history: History) -> int | None:
    """The epoch whose weights are drawn, where the history tells."""
    return next((int(row["epoch"]) for row in history if row.get("kept")), None)


def kept_name(history: History) -> str:
    """What the weights that are drawn are called in a legend."""
    epoch = kept_epoch(history)
    if epoch is not None:
        return f"kept weights (epoch {epoch})"
    return "trained" if history else "now"


class Instrument(ABC):
    """Draws one figure of a task, and may watch it while it learns.

    An instrument writes no file and knows no directory: whoever owns the run
    saves what it draws as ``figures/<name>.png`` and shows it in TensorBoard.
    """

    along_time: ClassVar[bool] = False
    """Whether it shows hidden states step by step, which a network that reads all steps at once has none of."""

    @property
    def name(self) -> str:
        """The figure's file name: the class name in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    def applies_to(self, task: Task, data: SequenceData) -> bool:
        """Whether there is anything to draw for this task on this data."""
        return not (self.along_time and task.network.transposed)

    def observe(self, task: Task, data: SequenceData, epoch: int) -> None:
        """Called before the first epoch with 0 and after each epoch with its number, from 1. Must leave no trace
        in the task: no gradient, no change of mode, no random number drawn from the global generator.
        """

    def state(self) -> dict[str, Tensor]:
        """What ``observe`` has gathered, as tensors, so that a resumed run draws the whole story."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what ``state`` gave."""

    @abstractmethod
    def draw(self, task: Task, data: SequenceData, history: History) -> Figure:
        """The figure, with a title, axes named with units, and colours from :mod:`rnnlab.instruments.style`."""


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


def take(task: Task, data: SequenceData, split: SplitName, index: slice | Tensor) -> Batch:
    """Sequences of a split, on the task's device and as precise as its weights."""
    like = next(task.network.parameters())

    def move(tensor: Tensor) -> Tensor:
        # a copy, since a view of a tensor that was made in inference mode could not be differentiated through
        return tensor.to(like.device, like.dtype if tensor.is_floating_point() else None, copy=True)

    return data.split(split).batch(index).map(move)


def predict(task: Task, batch: Batch) -> Tensor:
    """The network's output at rest: ``(batch, time, size)`` or, for classes, ``(batch, size)``."""
    with at_rest(task.network) as network, torch.no_grad():
        return network(batch.inputs, lengths=batch.lengths)[0]


def cell_name(network: Network, number: int) -> str:
    """Which of the network's cells it is, for a plot's title; empty where there is only one."""
    layer, direction = divmod(number, 2 if network.bidirectional else 1)
    where = f"layer {layer + 1}" if network.num_layers > 1 else ""
    way = ("forward", "backward")[direction] if network.bidirectional else ""
    return ", ".join(filter(None, (where, way)))


def some(number: int, most: int) -> list[int]:
    """Numbers below ``number``, at most ``most`` of them: the last, the first, and others evenly between."""
    if most == 1:
        return [number - 1]
    return (
        sorted({round(i * (number - 1) / (min(most, number) - 1)) for i in range(min(most, number))})
        if number > 1
        else [0]
    )
