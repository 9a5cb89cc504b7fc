"""The rows of a table, sequence by sequence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from rnnlab.errors import InputError
from rnnlab.files.frequency import passed
from rnnlab.files.panel import Table, show


@dataclass(eq=False)
class Rows:
    """The rows of sequences one after the other, each in the order of time.

    Attributes:
        numbers: ``(rows, columns)`` float64 by the names of
            :attr:`rnnlab.data.table_columns.TableColumns.numbers`, then those of further columns, not a number where a
            cell is empty.
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

    def sequence_at(self, row: int) -> Any:
        """The name of the sequence that a row belongs to."""
        return self.names[int(np.searchsorted(self.starts, row, "right")) - 1]

    # ---- times ----------------------------------------------------------------------------------

    def check_times(self, source: str, column: str | None) -> None:
        """Raises InputError where the times of a sequence do not rise."""
        if self.times is None:
            return
        steps = passed(self.times)
        steps[self.starts[1:-1] - 1] = 1
        wrong = np.flatnonzero(steps <= 0)
        if not len(wrong):
            return
        first = int(wrong[0])
        now, before = show(self.times[first + 1]), show(self.times[first])
        where = f"{source}, row {self.places[first + 1]}, sequence '{self.sequence_at(first)}': {column} {now}"
        if steps[first] == 0:
            raise InputError(f"{where} is there already in row {self.places[first]}")
        raise InputError(
            f"{where} comes after {before} in row {self.places[first]}: the times of a sequence must rise; "
            "data.sort=true sorts its rows"
        )

    def steps_between(self) -> np.ndarray:
        """``(rows,)`` time since the step before, in seconds of dates; 0 at the first one of a sequence."""
        assert self.times is not None
        steps = np.concatenate([[0], passed(self.times)])
        steps[self.starts[:-1]] = 0
        return steps

    def usual_step(self, sequences: np.ndarray) -> float:
        """The median time from a step to the next in ``(sequences,)`` of them, in seconds of dates; 1 without any."""
        steps = self.steps_between()
        inside = np.zeros(len(self.names), bool)
        inside[sequences] = True
        inside = np.repeat(inside, np.diff(self.starts))
        inside[self.starts[:-1]] = False
        return float(np.median(steps[inside])) if inside.any() else 1.0

    # ---- columns that have one value a sequence -------------------------------------------------

    def spread_number(self, column: np.ndarray, name: str, source: str) -> None:
        """Spreads the one value of each sequence over its rows, in place.

        Args:
            column: ``(rows,)`` numbers, not a number where a cell is empty.
            name: of the column.
            source: in words, for messages.

        Raises:
            InputError: a sequence has two values.
        """
        for start, end in pairwise(self.starts.tolist()):
            values = column[start:end]
            there = self._one_value(values, ~np.isnan(values), start, name, source, lambda value: f"{value:g}")
            if there is not None:
                values[:] = values[there]

    def spread_word(self, name: str, source: str) -> np.ndarray:
        """``(rows,)`` the one word of each sequence at all of its rows, by its number.

        Raises:
            InputError: a sequence has two words.
        """
        codes, levels = self.words[name].copy(), self.levels[name]
        for start, end in pairwise(self.starts.tolist()):
            part = codes[start:end]
            there = self._one_value(part, part >= 0, start, name, source, lambda code: levels[code])
            if there is not None:
                part[:] = part[there]
        return codes

    def _one_value(
        self, values: np.ndarray, known: np.ndarray, start: int, name: str, source: str, shown: Callable[[Any], str]
    ) -> int | None:
        """Where in the rows of a sequence from ``start`` on its value stands first; ``None`` where it has none."""
        there = np.flatnonzero(known)
        if not len(there):
            return None
        first = int(there[0])
        other = there[values[there] != values[first]]
        if len(other):
            second = int(other[0])
            raise InputError(
                f"{source}, row {self.places[start + second]}: static column '{name}' is '{shown(values[second])}', "
                f"and '{shown(values[first])}' in row {self.places[start + first]} of the same sequence "
                f"'{self.sequence_at(start + first)}': leave it out of data.static"
            )
        return first


def long_rows(table: Table, sort: bool) -> Rows:
    """The rows of a table with a row a step, sequence by sequence, and sorted by time if that is asked for."""
    places = _places(table)
    codes = np.zeros(len(places), np.int64) if table.codes is None else table.codes
    order = None
    if sort and table.times is not None:
        order = np.lexsort((table.times, codes))
    elif (np.diff(codes) < 0).any():
        order = np.argsort(codes, kind="stable")
    values, times, words = table.values, table.times, table.words
    if order is not None:
        values, places = values[order], places[order]
        times = None if times is None else times[order]
        words = {name: column[order] for name, column in words.items()}
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(table.names)))])
    return Rows(values, words, table.levels, starts, table.names, places, times)


def wide_rows(table: Table, steps: Sequence[Sequence[str]], source: str) -> Rows:
    """A row for each step of each row of a table with a row a sequence, up to the last one that has a value.

    Args:
        table: whose first columns are the steps of each channel.
        steps: of each channel, the columns of its steps.
        source: in words, for messages.

    Raises:
        InputError: a sequence has no step.
    """
    places = _places(table)
    longest = max(len(columns) for columns in steps)
    at = 0
    channels = np.full((len(places), longest, len(steps)), np.nan)
    for number, columns in enumerate(steps):
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


def _places(table: Table) -> np.ndarray:
    """``(rows,)`` each row's number in the file, from 1."""
    return np.arange(1, len(table.values) + 1) if table.rows is None else table.rows
