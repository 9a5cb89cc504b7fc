"""Which columns of a table of sequences are what, and how their cells become the features of a network."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from rnnlab.errors import InputError
from rnnlab.files.dialect import Dialect
from rnnlab.files.frequency import passed
from rnnlab.files.panel import Columns, Table, carry_forward, show
from rnnlab.spec import InputSpec

MissingValues = Literal["error", "forward", "mask"]
SHOWN = 12
"""Columns that a message names."""


@dataclass(eq=False)
class Rows:
    """The rows of sequences one after the other, each in the order of time.

    Attributes:
        numbers: ``(rows, columns)`` float64 by the names of :attr:`TableColumns.numbers`, then those of further
            columns, not a number where a cell is empty.
        words: of each column of words ``(rows,)`` numbers of its cells in ``levels``, -1 for an empty one.
        levels: the different words of each column.
        starts: ``(sequences + 1,)`` the first row of each sequence, and the number of rows.
        names: of the sequences.
        places: ``(rows,)`` each row's number in the file, from 1.
        times: ``(rows,)`` datetime64 in microseconds or whole numbers; ``None`` where rows are steps.
    """

    numbers: np.ndarray
    words: dict[str, np.ndarray]
    levels: dict[str, tuple[str, ...]]
    starts: np.ndarray
    names: tuple[Any, ...]
    places: np.ndarray
    times: np.ndarray | None = None

    def some(self, kept: np.ndarray) -> "Rows":
        """Those of the sequences where ``(sequences,)`` is true."""
        lengths = np.diff(self.starts)
        inside = np.repeat(kept, lengths)
        return Rows(
            self.numbers[inside],
            {name: column[inside] for name, column in self.words.items()},
            self.levels,
            np.concatenate([[0], np.cumsum(lengths[kept])]),
            tuple(name for name, is_kept in zip(self.names, kept.tolist(), strict=True) if is_kept),
            self.places[inside],
            None if self.times is None else self.times[inside],
        )


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
        return Dialect(**self.written)

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
        places = np.arange(1, len(table.values) + 1) if table.rows is None else table.rows
        if self.steps:
            return self._wide(table, places, source)
        codes = np.zeros(len(places), np.int64) if table.codes is None else table.codes
        order = None
        if self.sort and table.times is not None:
            order = np.lexsort((table.times, codes))
        elif (np.diff(codes) < 0).any():
            order = np.argsort(codes, kind="stable")
        values, times, words = table.values, table.times, table.words
        if order is not None:
            values, places = values[order], places[order]
            times = None if times is None else times[order]
            words = {name: column[order] for name, column in words.items()}
        starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(table.names)))])
        found = Rows(values, words, table.levels, starts, table.names, places, times)
        self._check_times(found, source)
        return found

    def _check_times(self, rows: Rows, source: str) -> None:
        if rows.times is None:
            return
        steps = passed(rows.times)
        steps[rows.starts[1:-1] - 1] = 1
        wrong = np.flatnonzero(steps <= 0)
        if not len(wrong):
            return
        first = int(wrong[0])
        name = rows.names[int(np.searchsorted(rows.starts, first, "right")) - 1]
        now, before = show(rows.times[first + 1]), show(rows.times[first])
        where = f"{source}, row {rows.places[first + 1]}, sequence '{name}': {self.time} {now}"
        if steps[first] == 0:
            raise InputError(f"{where} is there already in row {rows.places[first]}")
        raise InputError(
            f"{where} comes after {before} in row {rows.places[first]}: the times of a sequence must rise; "
            "data.sort=true sorts its rows"
        )

    def _wide(self, table: Table, places: np.ndarray, source: str) -> Rows:
        """A row for each step of each row, up to the last one that has a value."""
        longest = max(len(columns) for columns in self.steps.values())
        at = 0
        channels = np.full((len(places), longest, len(self.steps)), np.nan)
        for number, columns in enumerate(self.steps.values()):
            channels[:, : len(columns), number] = table.values[:, at : at + len(columns)]
            at += len(columns)
        known = ~np.isnan(channels).all(2)
        lengths = longest - np.argmax(known[:, ::-1], 1)
        empty = np.flatnonzero(~known.any(1))
        if len(empty):
            raise InputError(f"{source}, row {places[empty[0]]}: no step of this sequence has a value")
        kept = np.arange(longest) < lengths[:, None]
        owner = np.repeat(np.arange(len(places)), lengths)
        return Rows(
            np.concatenate([channels[kept], table.values[owner, at:]], 1),
            {name: column[owner] for name, column in table.words.items()},
            table.levels,
            np.concatenate([[0], np.cumsum(lengths)]),
            tuple(range(len(places))),
            places[owner],
        )

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
                self._one_value(numbers[:, self.numbers.index(name)], rows, name, source)
            elif name in words:
                words[name] = self._one_word(words[name], rows, name, source)
        unknown = self._fill(numbers, rows, source, carried)
        parts: list[np.ndarray] = [numbers]
        if self.elapsed and rows.times is not None:
            parts.append(self.read_elapsed(self.steps_between(rows))[:, None])
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

    def usual_step(self, rows: Rows, sequences: np.ndarray) -> float:
        """The median time from a step to the next in ``(sequences,)`` of them, in seconds of dates; 1 without any."""
        steps = self.steps_between(rows)
        inside = np.zeros(len(rows.names), bool)
        inside[sequences] = True
        inside = np.repeat(inside, np.diff(rows.starts))
        inside[rows.starts[:-1]] = False
        return float(np.median(steps[inside])) if inside.any() else 1.0

    def steps_between(self, rows: Rows) -> np.ndarray:
        """``(rows,)`` time since the step before, in seconds of dates; 0 at the first one of a sequence."""
        assert rows.times is not None
        steps = np.concatenate([[0], passed(rows.times)])
        steps[rows.starts[:-1]] = 0
        return steps

    def read_elapsed(self, steps: np.ndarray) -> np.ndarray:
        """What the network reads of times since the step before, which are 0 at the first step of a sequence."""
        return steps if self.elapsed_unit is None else np.where(steps > 0, steps / self.elapsed_unit, 1.0)

    def _one_value(self, column: np.ndarray, rows: Rows, name: str, source: str) -> None:
        """Spreads the value of each sequence over its rows, in place."""
        for start, end in pairwise(rows.starts.tolist()):
            values = column[start:end]
            there = np.flatnonzero(~np.isnan(values))
            if not len(there):
                continue
            other = there[values[there] != values[there[0]]]
            if len(other):
                _refuse(rows, source, name, start + int(there[0]), start + int(other[0]),
                        f"{values[there[0]]:g}", f"{values[other[0]]:g}")  # fmt: skip
            values[:] = values[there[0]]

    def _one_word(self, codes: np.ndarray, rows: Rows, name: str, source: str) -> np.ndarray:
        codes = codes.copy()
        for start, end in pairwise(rows.starts.tolist()):
            part = codes[start:end]
            there = np.flatnonzero(part >= 0)
            if not len(there):
                continue
            other = there[part[there] != part[there[0]]]
            if len(other):
                levels = rows.levels[name]
                _refuse(rows, source, name, start + int(there[0]), start + int(other[0]),
                        levels[part[there[0]]], levels[part[other[0]]])  # fmt: skip
            part[:] = part[there[0]]
        return codes


def _refuse(rows: Rows, source: str, name: str, first: int, second: int, one: str, other: str) -> None:
    sequence = rows.names[int(np.searchsorted(rows.starts, first, "right")) - 1]
    raise InputError(
        f"{source}, row {rows.places[second]}: static column '{name}' is '{other}', and '{one}' in row "
        f"{rows.places[first]} of the same sequence '{sequence}': leave it out of data.static"
    )


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
