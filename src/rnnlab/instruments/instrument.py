"""The contract of an instrument: it measures a network, and draws what it measured, of one network or of several."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

from matplotlib.figure import Figure
from torch import Tensor

from rnnlab.instruments.subject import Subject
from rnnlab.network import Network

M = TypeVar("M")

MARKUP = re.compile(r"(?::[\w:]+:)?`+~?([^`]*)`+_*")
"""Of a docstring: code and links."""
Entry = str | int | float
"""Of a table: text, or a number that the page rounds."""


@dataclass(frozen=True)
class Table:
    """Numbers beside a picture: a row as long as there are columns."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Entry, ...]]


@dataclass(frozen=True)
class Picture:
    """What an instrument shows.

    Attributes:
        figure: with a title, axes named with units, and colours from :mod:`rnnlab.instruments.style`.
        table: its numbers.
        facts: the most telling of them, by name, for a terminal.
        name: of its file; empty for the instrument's, as ``title`` and ``reading``.
    """

    figure: Figure
    table: Table | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    title: str = ""
    reading: str = ""


class Instrument(ABC, Generic[M]):
    """A question that one puts to a network, with a picture for an answer.

    A run draws the instruments of its config when its training ends, and
    ``rnnlab inspect`` draws those and all of ``conf/instruments``. A new one is
    a class and a yaml that names it. It writes no file and knows no directory.

    ::

        class Norms(Instrument[float]):
            def measure(self, subject: Subject) -> float:
                return float(subject.network.readout.weight.detach().norm())

            def draw(self, subject: Subject, measured: float) -> Picture:
                figure = style.figure("Norm of the readout", f"{measured:.3g}")
                ...
                return Picture(figure)
    """

    needs_truth: ClassVar[bool] = False
    """Whether it holds what is predicted against what is true."""
    along_time: ClassVar[bool] = False
    """Whether it shows hidden states step by step, which a network that reads all steps at once has none of."""
    of_sequences: ClassVar[bool] = False
    """Whether it shows a network with a decoder, too, whose target is a sequence of its own length."""
    of_training: ClassVar[bool] = False
    """Whether it shows the training, and so nothing of a file of one's own."""
    of_gradients: ClassVar[bool] = False
    """Whether it shows gradients of the network's forecast, which has none where it is left out."""
    in_inspect: ClassVar[bool] = True
    """Whether ``rnnlab inspect`` shows it, too."""
    rank: ClassVar[int] = 100
    """Its place on the page: lower ones come first, and those of one rank as the config has them."""

    @property
    def name(self) -> str:
        """The picture's file name: the class name in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def title(self) -> str:
        """The headline of its section of the page."""
        return self.name.replace("_", " ").capitalize()

    @property
    def reading(self) -> str:
        """One sentence or two that say how to read the picture: by default how the docstring begins, without markup."""
        words = (type(self).__doc__ or "").split("\n\n")[0]
        return MARKUP.sub(r"\1", " ".join(words.split()))

    def missing(self, subject: Subject) -> str | None:
        """Why there is nothing to see for this network and this data; ``None`` where there is."""
        return None

    def left_out(self, subject: Subject) -> str | None:
        """Why it shows nothing of a subject; ``None`` where it does. By what it needs, and by :meth:`missing`."""
        if self.along_time and subject.network.transposed:
            return "the network reads all steps at once (model.transpose=true)"
        if subject.task.spec.target.of_own_length and not self.of_sequences:
            return "what is said is a sequence of its own length"
        if self.of_gradients and subject.task.adds_nothing:
            return "the network adds nothing to the forecast, which has no gradient in it"
        reason = self.missing(subject)
        if reason is None and self.needs_truth and subject.unanswered:
            return f"it needs the truth: {subject.unanswered}"
        return reason

    def observe(self, subject: Subject, epoch: int) -> None:
        """Called before the first epoch with 0 and after each epoch with its number, from 1. Must leave no trace
        in the task: no gradient, no change of mode, no random number drawn from the global generator.
        """

    def state(self) -> dict[str, Tensor]:
        """What ``observe`` has gathered, as tensors, so that a resumed run draws the whole story."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what ``state`` gave."""

    @abstractmethod
    def measure(self, subject: Subject) -> M:
        """All that is drawn, so that the network itself is needed no more."""

    @abstractmethod
    def draw(self, subject: Subject, measured: M) -> Picture:
        """What was measured of one network."""

    def compare(self, measured: Mapping[str, M]) -> Picture:
        """The same of several networks, by name, side by side on the same axes."""
        raise NotImplementedError

    @property
    def compares(self) -> bool:
        """Whether it shows several networks side by side."""
        return type(self).compare is not Instrument.compare


def cell_name(network: Network, number: int) -> str:
    """Which of the network's cells it is, for a plot's title; empty where there is only one."""
    layer, direction = divmod(number, 2 if network.bidirectional else 1)
    where = f"layer {layer + 1}" if network.num_layers > 1 else ""
    way = ("forward", "backward")[direction] if network.bidirectional else ""
    return ", ".join(filter(None, (where, way)))


def some(number: int, most: int) -> list[int]:
    """Numbers below ``number``, at most ``most`` of them: the last, the first, and others evenly between."""
    most = min(most, number)
    if most == 1:
        return [number - 1]
    return sorted({round(i * (number - 1) / (most - 1)) for i in range(most)})
