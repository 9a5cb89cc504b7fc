"""What is predicted of a table: a class, several labels, numbers, or a label at each step."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from rnnlab.data.table_rows import Rows
from rnnlab.errors import InputError, nearest
from rnnlab.files.dialect import is_number
from rnnlab.spec import IGNORED

TargetKind = Literal["class", "labels", "value", "steps"]
TASKS = {"class": "classification", "labels": "multilabel", "value": "regression", "steps": "labelling"}
MOST_CLASSES = 1000
BETWEEN = ";|,"
"""What may stand between the labels of a cell; the first of these that any cell has does."""
NO_LABELS = ("-", "none")
"""How a cell says that a sequence has none of the labels."""


@dataclass(frozen=True)
class TableTarget:
    """The columns that are predicted, and how targets are made of them.

    Attributes:
        kind: what is made of them.
        columns: their names.
        source: of the table in words, for messages.
        listed: the one column holds the labels of a sequence as words, such as ``fever; cough``; otherwise each column
            of numbers is a label.
        classes: names of the classes, or of labels that are listed, as a trained run knows them; ``None``: those that
            there are.
    """

    kind: TargetKind
    columns: Sequence[str]
    source: str
    listed: bool = False
    classes: Sequence[str] | None = None

    @cached_property
    def numeric(self) -> bool:
        """Whether the columns are read as numbers, and not as words."""
        return self.kind in ("value", "labels") and not self.listed

    def of(self, rows: Rows) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
        """Of sequences the targets, their names, and which have one.

        Returns:
            ``(sequences,)`` class numbers, ``(rows,)`` those of steps, or ``(sequences, size)`` numbers; names of the
            classes, labels or values; ``(sequences,)`` bool.

        Raises:
            InputError: a sequence has two targets, a label is neither 0 nor 1, or labels are of two kinds.
        """
        if self.listed:
            return self._listed(rows)
        return self._numbers(rows) if self.numeric else self._words(rows)

    def _words(self, rows: Rows) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
        name = self.columns[0]
        codes, levels = rows.words[name], rows.levels[name]
        names = self._class_names(rows, name)
        number = {level: names.index(level) if level in names else -1 for level in levels}
        order = np.array([*(number[level] for level in levels), IGNORED])
        if self.kind == "steps":
            return order[codes], names, np.add.reduceat(codes >= 0, rows.starts[:-1]) > 0
        one = word_of_each(rows, name, self.source)
        return order[np.nan_to_num(one, nan=-1).astype(np.int64)], names, ~np.isnan(one)

    def _numbers(self, rows: Rows) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
        values = rows.numbers[:, -len(self.columns) :]
        columns = [
            _one_of_each(values[:, number], np.isnan(values[:, number]), rows, name, self.source)
            for number, name in enumerate(self.columns)
        ]
        targets = np.stack(columns, 1)
        if self.kind == "labels":
            odd = np.argwhere(~(np.isnan(targets) | np.isin(targets, (0, 1))))
            if len(odd):
                sequence, number = odd[0].tolist()
                raise InputError(
                    f"{self.source}, row {rows.places[rows.starts[sequence]]}, column '{self.columns[number]}': "
                    f"{targets[sequence, number]:g} is no label: each is 0 or 1; task=regression predicts numbers"
                )
        return targets, tuple(self.columns), ~np.isnan(targets).any(1)

    def _listed(self, rows: Rows) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
        """Of a column that lists the labels of each sequence."""
        name = self.columns[0]
        one = word_of_each(rows, name, self.source)
        cells = rows.levels[name]
        between = next((sign for sign in BETWEEN if any(sign in cell for cell in cells)), None)
        lists = [_labels(cell, between) for cell in cells]
        there = sorted({label for labels in lists for label in labels}, key=natural)
        names = tuple(self.classes if self.classes is not None else there)
        unknown = [label for label in there if label not in names]
        if unknown:
            cell = next(number for number, labels in enumerate(lists) if unknown[0] in labels)
            raise InputError(
                f"{self.source}, row {rows.places[int(np.argmax(rows.words[name] == cell))]}: label '{unknown[0]}' is "
                f"none of data.classes{nearest(unknown[0], names)} ({', '.join(names)})"
            )
        if not names:
            raise InputError(f"data.target={name}: no sequence has a label")
        if len(names) > MOST_CLASSES:
            raise InputError(
                f"data.target={name}: {len(names):,} different labels, such as '{names[0]}', more than {MOST_CLASSES:,}"
            )
        known = np.zeros((len(cells) + 1, len(names)))
        for number, labels in enumerate(lists):
            known[number, [names.index(label) for label in labels]] = 1
        return known[np.nan_to_num(one, nan=-1).astype(np.int64)], names, ~np.isnan(one)

    def _class_names(self, rows: Rows, name: str) -> tuple[str, ...]:
        levels = rows.levels[name]
        if self.classes is not None:
            unknown = [level for level in levels if level not in self.classes]
            if unknown:
                place = rows.places[int(np.argmax(rows.words[name] == levels.index(unknown[0])))]
                raise InputError(
                    f"{self.source}, row {place}: class '{unknown[0]}' is none of data.classes"
                    f"{nearest(unknown[0], self.classes)} ({', '.join(self.classes)})"
                )
            return tuple(self.classes)
        numbers = [level for level in levels if is_number(level)]
        others = [level for level in levels if not is_number(level)]
        if numbers and others:
            first, second = (
                (level, rows.places[int(np.argmax(rows.words[name] == levels.index(level)))])
                for level in (numbers[0], others[0])
            )
            hint = f"data.missing_values=['{second[0]}'] takes it for none, "
            raise InputError(
                f"data.target={name}: labels of two kinds: {first[0]} in row {first[1]} and '{second[0]}' in row "
                f"{second[1]}: {hint if len(others) == 1 else ''}data.classes=[…] names all where both are meant"
            )
        if len(levels) < 2:
            what = f"is '{levels[0]}' everywhere" if levels else "is empty"
            raise InputError(f"data.target={name}: it {what}: there is nothing to tell apart")
        if len(levels) > MOST_CLASSES or (
            numbers and len(levels) > 20 and any(float(level) % 1 for level in numbers) and self.kind == "class"
        ):
            raise InputError(
                f"data.target={name}: {len(levels):,} different values, such as {levels[0]}, are no classes: "
                "task=regression predicts numbers"
            )
        return tuple(sorted(levels, key=natural))


def word_of_each(rows: Rows, name: str, source: str) -> np.ndarray:
    """``(sequences,)`` the number of the one word that each sequence has in a column, not a number where it has none.

    Raises:
        InputError: a sequence has two.
    """
    codes = rows.words[name]
    return _one_of_each(codes.astype(np.float64), codes < 0, rows, name, source, rows.levels[name])


def _one_of_each(
    values: np.ndarray, missing: np.ndarray, rows: Rows, name: str, source: str, levels: Sequence[str] | None = None
) -> np.ndarray:
    """``(sequences,)`` the one value of each sequence, not a number where it has none.

    Raises:
        InputError: a sequence has two.
    """
    firsts = rows.starts[:-1]
    low = np.minimum.reduceat(np.where(missing, np.inf, values), firsts)
    high = np.maximum.reduceat(np.where(missing, -np.inf, values), firsts)
    torn = np.flatnonzero(low < high)
    if len(torn):
        first = int(torn[0])
        inside = np.arange(rows.starts[first], rows.starts[first + 1])
        inside = inside[~missing[inside]]
        one, other = inside[0], inside[np.argmax(values[inside] != values[inside[0]])]
        said = [f"{values[row]:g}" if levels is None else levels[int(values[row])] for row in (one, other)]
        raise InputError(
            f"{source}: sequence '{rows.names[first]}' has two values in column '{name}': '{said[0]}' in row "
            f"{rows.places[one]} and '{said[1]}' in row {rows.places[other]}; task=labelling predicts a label at each "
            "step"
        )
    return np.where(np.isfinite(low), low, np.nan)


def natural(word: str) -> tuple[bool, float, str]:
    """What words are sorted by: numbers by their size, words by the alphabet."""
    return (False, float(word), word) if is_number(word) else (True, 0.0, word)


def _labels(cell: str, between: str | None) -> list[str]:
    if cell.strip().lower() in NO_LABELS:
        return []
    parts = [cell] if between is None else cell.split(between)
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


KINDS: dict[str, TargetKind] = {
    "Classification": "class", "MultiLabel": "labels", "Regression": "value", "Labelling": "steps",
    "class": "class", "labels": "labels", "value": "value", "steps": "steps",
}  # fmt: skip
"""What each objective reads the target as."""
