"""The contract of a view: it measures a trained network, and draws what it measured, of one or of several."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from matplotlib.figure import Figure

from rnnlab.instruments.inspection.subject import Subject

M = TypeVar("M")

Cell = str | int | float
"""Of a table: text, or a number that the page rounds."""


@dataclass(frozen=True)
class Table:
    """Numbers beside a picture: a row as long as there are columns."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]


@dataclass(frozen=True)
class Picture:
    """What a view shows.

    Attributes:
        figure: drawn, in the style of :mod:`rnnlab.instruments.style`.
        table: its numbers.
        facts: the most telling of them, by name, for a terminal.
    """

    figure: Figure
    table: Table | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


class View(ABC, Generic[M]):
    """A question that one puts to a trained network, with a picture for an answer."""

    title: str
    reading: str
    """One sentence that says how to read the picture."""
    needs_truth: bool = False
    """Whether it holds what is predicted against what is true."""
    along_time: bool = False
    """As :attr:`rnnlab.instruments.instrument.Instrument.along_time`."""

    @property
    def name(self) -> str:
        """The picture's file name: the class name in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    def missing(self, subject: Subject) -> str | None:
        """Why there is nothing to see for this network and this data; ``None`` where there is."""
        return None

    @abstractmethod
    def measure(self, subject: Subject) -> M:
        """All that is drawn and told, so that the network itself is needed no more."""

    @abstractmethod
    def draw(self, subject: Subject, measured: M) -> Picture:
        """What was measured of one network."""

    def compare(self, measured: Mapping[str, M]) -> Picture | None:
        """The same of several networks, by name, side by side on the same axes; ``None`` where that says nothing."""
        return None
