"""What was found in a file or a folder, as plain frozen values: nothing here reads, and nothing here prints."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["date", "clock", "number", "whole", "flag", "name", "text", "constant", "empty", "other"]
"""Of a column's cells: dates or times, times of the day, numbers, whole numbers, 0 and 1 alone, few words that occur
again and again, many different words, one value, no value, or what training can't read (lists, numbers with a unit)."""


@dataclass(frozen=True)
class Extent:
    """How much there is.

    Attributes:
        bytes: of the file or the files.
        rows: of a table, lines of a text, sequences; an estimate where not all was read.
        whole: all of it was read; else parts from the start, the middle and the end.
        unit: what the rows are.
    """

    bytes: int
    rows: int
    whole: bool = True
    unit: str = "rows"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: in the file; ``column 1`` where it has none.
        kind: of its cells.
        distinct: values, in what was read.
        missing: cells without one.
        low, high: the smallest and the largest value of numbers.
        words: mean number of words a cell, of text.
        note: what is odd about it.
    """

    name: str
    kind: Kind
    distinct: int = 0
    missing: int = 0
    low: float = float("nan")
    high: float = float("nan")
    words: float = 0.0
    note: str = ""

    @property
    def is_number(self) -> bool:
        """Whether training reads numbers from it."""
        return self.kind in ("number", "whole", "flag")


@dataclass(frozen=True)
class Choice:
    """What was taken for something, and why.

    Attributes:
        columns: by name; empty where none was taken.
        why: in half a line.
    """

    columns: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Season:
    """A period after which values come again.

    Attributes:
        period: in steps.
        strength: share of the variance without trend that the mean of each place in the period explains, 0 to 1.
    """

    period: int
    strength: float


@dataclass(frozen=True)
class Trend:
    """A straight line through a series.

    Attributes:
        first, last: its ends.
        strength: share of the variance that it explains, 0 to 1.
    """

    first: float
    last: float
    strength: float


@dataclass(frozen=True, kw_only=True)
class Found:
    """What every description has.

    Attributes:
        path: as the person gave it.
        form: of the file, in words, such as ``CSV``.
        extent: how much there is.
        odd: what a person should know before training, a line each.
        questions: what could not be told, each with the key that answers it.
        keys: overrides of ``rnnlab train`` that this data needs, beside ``data`` and ``data.path``.
        original: the file that the person gave, where it has to be written in another form first, into ``path``.
        why: that is needed.
    """

    path: Path
    form: str
    extent: Extent
    odd: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    keys: Mapping[str, Any] = field(default_factory=dict)
    original: Path | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Series(Found):
    """One or several series in a table.

    Attributes:
        columns: all of the table.
        time, target, series: what was taken for each.
        others: columns of numbers that are no target, which could be read beside it.
        step: what a step is called, such as ``month``.
        step_size: how far it is from one time to the next, in words.
        first, last: times, as they are shown.
        lengths: the shortest, the median and the longest series, in steps.
        number: of series, in what was read.
        gaps: steps that are left out.
        seasons: the shortest first.
        trend: of the target; ``None`` where a straight line explains little.
        horizon: steps ahead that are worth a first look.
        folds: parts of a backtest with refitting for which there is enough data; 0: too little.
    """

    columns: tuple[Column, ...]
    time: Choice
    target: Choice
    series: Choice
    others: tuple[str, ...] = ()
    step: str = "step"
    step_size: str = ""
    first: str = ""
    last: str = ""
    lengths: tuple[int, int, int] = (0, 0, 0)
    number: int = 1
    gaps: int = 0
    seasons: tuple[Season, ...] = ()
    trend: Trend | None = None
    horizon: int = 1
    folds: int = 0


@dataclass(frozen=True, kw_only=True)
class Labelled(Found):
    """Sequences, or texts, with a class each.

    Attributes:
        data: the choice of ``data=`` that reads them.
        classes: how many examples each class has.
        lengths: the shortest, the median and the longest, in steps or characters.
        channels: values a step, of sequences.
        tested: examples in a test file of its own.
        columns: of a table.
        text, label: what was taken for each, of texts.
        unit: of ``lengths``.
        examples: what is counted, ``sequences`` or ``texts``.
    """

    data: str
    classes: Mapping[str, int]
    lengths: tuple[int, int, int]
    channels: int = 0
    tested: int = 0
    columns: tuple[Column, ...] = ()
    text: Choice = Choice((), "")
    label: Choice = Choice((), "")
    unit: str = "steps"
    examples: str = "sequences"


@dataclass(frozen=True, kw_only=True)
class Examples(Found):
    """Examples of which each is answered by a text, a class, a number or what comes next.

    Sounds, pairs of texts, images, sequences with a number each.

    Attributes:
        data: the choice of ``data=`` that reads them.
        seen: what they are, in half a line.
        facts: further lines, as labels and texts.
        asks: the question that the first command answers.
        more: overrides of further commands, and the questions that these answer.
        forecast: the same table as series, where its rows may as well be forecast.
    """

    data: str
    seen: str
    facts: tuple[tuple[str, str], ...]
    asks: str
    more: tuple[tuple[Mapping[str, Any], str], ...] = ()
    forecast: Series | None = None


@dataclass(frozen=True, kw_only=True)
class PlainText(Found):
    """A text to learn to write.

    Attributes:
        files: that it consists of.
        characters: of the text, an estimate where not all was read.
        words: of the text, an estimate where not all was read.
        distinct: different characters in what was read.
        sample: how it begins.
    """

    files: int
    characters: int
    words: int
    distinct: int
    sample: str = ""


@dataclass(frozen=True, kw_only=True)
class Unclear(Found):
    """Data of which nothing can be trained as it is; ``questions`` say what is needed.

    Attributes:
        columns: of a table.
        seen: what it looks like, in a line.
    """

    columns: tuple[Column, ...] = ()
    seen: str = ""


Description = Series | Labelled | Examples | PlainText | Unclear
