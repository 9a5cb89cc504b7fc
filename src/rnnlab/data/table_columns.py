"""Which columns of a table of sequences are what, and how their cells become the features of a network."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from rnnlab.data.table_rows import Rows, long_rows, wide_rows
from rnnlab.errors import InputError
from rnnlab.files.dialect import Dialect
from rnnlab.files.panel import Columns, Table, carry_forward
from rnnlab.spec import InputSpec

MissingValues = Literal["error", "forward", "mask"]
SHOWN = 12
"""Columns that a message names."""


@dataclass(frozen=True, eq=False)
class TableColumns:
    """How a table of sequences is read. All of it is plain, so that it stands in a checkpoint beside the weights.

    ::

        stay  hour  pulse  ward  age        pulse  age  ward=A  ward=B
        7        0     81     A   64        -0.31  0.7       1       0
        7        2     90     A   64         0.48  0.7       1       0

    Attributes:
        numbers: columns of numbers; of a wide table its channels, then those that are static.
        categories: the levels of each column of words: one feature a level, 1 where the cell is that; a cell that is
            empty, or of a level that training has not seen, is none of them.
        texts: columns of free text: the hashed counts of their words, of length 1.
        buckets: features of each such column.
        static: columns that have one value a sequence, which may stand in any of its rows.
        sequence: the column that names the sequence of a row; ``None`` where a row is a sequence.
        time: the column of times; ``None``: rows are steps.
        steps: of a wide table the columns of each channel, a step each.
        missing: what becomes of a number that is missing: an ``error``; ``forward``: the last one that is known, and
            before there is one the mean of training; ``mask``: that, and a feature says so.
        masked: columns of numbers with such a feature.
        elapsed: the time since the step before is a feature, in seconds of dates.
        elapsed_unit: by which that time is divided, and which it is at the first step of a sequence: the usual time
            from a step to the next in training; ``None``: of a run that took it for a number like others, 0 at first.
        sort: rows of a sequence are sorted by time, rather than refused.
        written: the dialect of the file, as :meth:`rnnlab.files.dialect.Dialect.plain` gives it.
    """

    numbers: Sequence[str] = ()
    categories: Mapping[str, Sequence[str]] = field(default_factory=dict)
    texts: Sequence[str] = ()
    buckets: int = 32
    static: Sequence[str] = ()
    sequence: str | None = None
    time: str | None = None
    steps: Mapping[str, Sequence[str]] = field(default_factory=dict)
    missing: MissingValues = "error"
    masked: Sequence[str] = ()
    elapsed: bool = False
    elapsed_unit: float | None = None
    sort: bool = False
    written: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dialect(self) -> Dialect:
        return Dialect.from_plain(self.written)

    @property
    def wide(self) -> bool:
        """Whether a row is a sequence."""
        return self.sequence is None

    @property
    def scaled(self) -> int:
        """Features that are numbers of the file, and scaled: they stand first."""
        return len(self.numbers) + (self.elapsed and self.elapsed_unit is None)

    @property
    def input(self) -> InputSpec:
        """Of what the network reads."""
        there = len(self.numbers)
        at = there if self.elapsed and self.elapsed_unit is not None else None
        masks = [(self.numbers.index(name), there + self.elapsed + k) for k, name in enumerate(self.masked)]
        return InputSpec(features=len(self.features), elapsed=at, masks=masks)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of what the network reads."""
        return (
            *self.numbers,
            *(["elapsed"] if self.elapsed else []),
            *(f"{name} is missing" for name in self.masked),
            *(f"{name}={level}" for name, levels in self.categories.items() for level in levels),
            *(f"{name} #{bucket}" for name in self.texts for bucket in range(self.buckets)),
        )

    @property
    def words(self) -> list[str]:
        """Columns that are read as text."""
        return [*self.categories, *self.texts]

    @property
    def cells(self) -> list[str]:
        """All columns that inputs are made of."""
        wide = [column for columns in self.steps.values() for column in columns]
        return [*wide, *(name for name in self.numbers if name not in self.steps), *self.words]

    def wanted(self, numbers: Sequence[str] = (), words: Sequence[str] = ()) -> Columns:
        """What is read of a file, with further columns of numbers and of words, such as a target."""
        wide = [column for columns in self.steps.values() for column in columns]
        plain = [name for name in self.numbers if name not in self.steps]
        every = list(dict.fromkeys([*self.words, *words]))
        return Columns([*wide, *plain, *numbers], (), (), self.time, self.sequence, words=every)

    # ---- rows -----------------------------------------------------------------------------------

    def rows(self, table: Table, source: str) -> Rows:
        """The rows of a table, of which the columns of :meth:`wanted` were read, sequence by sequence.

        Raises:
            InputError: the times of a sequence run backwards or occur twice, or a sequence has no step.
        """
        if self.steps:
            return wide_rows(table, list(self.steps.values()), source)
        rows = long_rows(table, self.sort)
        rows.check_times(source, self.time)
        return rows

    # ---- features -------------------------------------------------------------------------------

    def encode(self, rows: Rows, source: str, carried: np.ndarray | None = None) -> np.ndarray:
        """``(rows, features)`` float32: numbers in units, not a number where none is known yet.

        Args:
            rows: of sequences.
            source: in words, for messages.
            carried: ``(numbers,)`` the last known number of each column, of a stream that goes on; they are replaced.

        Raises:
            InputError: a number is missing and must not be, or a static column has two values in a sequence.
        """
        numbers = rows.numbers[:, : len(self.numbers)]
        numbers = numbers.copy() if self.missing != "error" or self.static else numbers
        words = dict(rows.words)
        for name in self.static:
            if name in self.numbers:
                rows.spread_number(numbers[:, self.numbers.index(name)], name, source)
            elif name in words:
                words[name] = rows.spread_word(name, source)
        unknown = self._fill(numbers, rows, source, carried)
        parts: list[np.ndarray] = [numbers]
        if self.elapsed and rows.times is not None:
            parts.append(self.read_elapsed(rows.steps_between())[:, None])
        if self.masked:
            parts.append(unknown[:, [self.numbers.index(name) for name in self.masked]])
        for name, levels in self.categories.items():
            parts.append(_lookup(_one_hot(rows.levels.get(name, ()), levels), words[name]))
        for name in self.texts:
            texts = hashed(rows.levels.get(name, ()), self.buckets)
            parts.append(_lookup(texts, words[name]))
        found = np.empty((len(numbers), sum(part.shape[1] for part in parts)), np.float32)
        np.concatenate(parts, 1, out=found, casting="unsafe")
        return found

    def _fill(self, numbers: np.ndarray, rows: Rows, source: str, carried: np.ndarray | None) -> np.ndarray:
        """Puts the last known value in place of what is missing; ``(rows, numbers)`` true where it was."""
        unknown = np.isnan(numbers)
        if self.missing == "error":
            if unknown.any():
                row, column = np.argwhere(unknown)[0].tolist()
                raise InputError(
                    f"{source}, row {rows.places[row]}, column '{self.numbers[column]}': a value is missing; "
                    "data.missing=forward carries the last known one on, data.missing=mask also tells the network"
                )
            return unknown
        if carried is not None:
            numbers[0] = np.where(unknown[0], carried, numbers[0])
        carry_forward(numbers, rows.starts)
        if carried is not None:
            carried[:] = numbers[-1]
        return unknown

    def read_elapsed(self, steps: np.ndarray) -> np.ndarray:
        """What the network reads of times since the step before, which are 0 at the first step of a sequence."""
        return steps if self.elapsed_unit is None else np.where(steps > 0, steps / self.elapsed_unit, 1.0)


def as_read(values: np.ndarray, moments: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    """Scaled features, 0 where a number is not known: the mean of training."""
    found = np.empty(values.shape, np.float32)
    mean, deviation = moments or (np.zeros(values.shape[1]), np.ones(values.shape[1]))
    for column in range(values.shape[1]):  # what is computed in double precision is never all of a large table
        found[:, column] = np.nan_to_num((values[:, column] - mean[column]) / deviation[column])
    return found


def moments_of_numbers(values: np.ndarray, scaled: int) -> tuple[np.ndarray, np.ndarray]:
    """``(features,)`` mean and standard deviation of the first ``scaled`` features where known; 0 and 1 else."""
    mean, deviation = np.zeros(values.shape[1]), np.ones(values.shape[1])
    for column in range(scaled):
        known = values[:, column][~np.isnan(values[:, column])].astype(np.float64)
        if len(known):
            mean[column], spread = known.mean(), known.std()
            # what rounding leaves of a constant is no spread
            deviation[column] = spread if spread > 1e-7 * np.abs(known).max() else 1.0
    return mean, deviation


def _lookup(features: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Rows of ``(levels, features)`` by their numbers, zeros for -1."""
    return np.concatenate([features, np.zeros((1, features.shape[1]), np.float32)])[codes]


def _one_hot(there: Sequence[str], levels: Sequence[str]) -> np.ndarray:
    known = {level: number for number, level in enumerate(levels)}
    found = np.zeros((len(there), len(levels)), np.float32)
    for row, level in enumerate(there):
        if level in known:
            found[row, known[level]] = 1
    return found


def hashed(texts: Sequence[str], buckets: int) -> np.ndarray:
    """``(texts, buckets)`` the words of each text, counted by a hash with a sign and brought to length 1.

    K. Weinberger et al., "Feature hashing for large scale multitask learning" (2009), arXiv 0902.2206.
    """
    found = np.zeros((len(texts), buckets), np.float32)
    for row, text in enumerate(texts):
        for word in re.findall(r"\w+", text.lower()):
            number = zlib.crc32(word.encode())
            found[row, number % buckets] += 1 if number >> 31 else -1
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
