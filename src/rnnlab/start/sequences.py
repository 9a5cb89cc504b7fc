"""A table of sequences that have a class each: a row a step, or a row a sequence."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import numpy as np
import polars as pl

from rnnlab.errors import few
from rnnlab.start.description import Choice, Column, Labelled
from rnnlab.start.labelled import known_text, spread
from rnnlab.start.names import CLASSES, NAMES, UNNAMED, lower, rank
from rnnlab.start.seen import Seen
from rnnlab.start.wording import counted, missing_values

SIDE_BY_SIDE = 8
"""Columns from which a row may be a whole sequence."""
STEPS = (
    "step",
    "t",
    "time",
    "frame",
    "index",
    "timestamp",
    "sample",
    "position",
    "order",
    "hour",
    "minute",
    "second",
    "day",
    "visit",
)
"""Names of the column that numbers the steps of a sequence."""
SEQUENCES = (
    "sequence", "sequence_id", "seq", "case", "case_id", "trial", "recording", "sample", "sample_id", "window", "run",
    "machine", "engine", "unit", "battery", "vehicle", *NAMES,
)  # fmt: skip
"""Names of the column that tells sequences apart."""
GROUPS = (
    "patient", "patient_id", "subject", "subject_id", "participant", "person", "speaker", "user", "animal", "group",
)  # fmt: skip
"""Names of a column of what must not be in two splits."""


@dataclass(frozen=True)
class Sequences:
    """Which columns of a table are what.

    Attributes:
        label: the class of a sequence, or its number.
        features: the numbers of a step; of a row a sequence, its steps.
        why: in half a line.
        sequence: the column that names a row's sequence; ``None`` where a row is one.
        step: the column that orders its rows; ``None``: they are in order.
    """

    label: str
    features: tuple[str, ...]
    why: str
    sequence: str | None = None
    step: str | None = None

    @property
    def described(self) -> str:
        """Why, and what the channels are."""
        return self.why if self.sequence is None else f"{self.why}, {few(self.features)} its channels"

    def groups(self, table: Seen) -> list[list[int]]:
        """The rows of each sequence, in the order of the file."""
        if self.sequence is None:
            return [[row] for row in range(table.frame.height)]
        found: dict[str, list[int]] = {}
        for number, name in enumerate(table.frame[self.sequence].cast(pl.String)):
            found.setdefault(str(name), []).append(number)
        return list(found.values())


def labelled_sequences(table: Seen) -> Labelled | None:
    """What a table holds that ``data=table`` reads; ``None`` where it has no sequences with a class each."""
    if not table.sample.separator and table.form != "Parquet":
        return None
    found = rows_with_a_class(table) or steps_with_a_class(table)
    if found is None:
        return None
    keys: dict[str, Any] = {"data.target": found.label}
    odd: list[str] = []
    groups = found.groups(table)
    if found.sequence is None:
        values = np.stack([table.numbers(name) for name in found.features], 1)
        lengths = [len(row) - at_end(np.isnan(row)) for row in values]
        within = sum(int(np.isnan(row[:size]).sum()) for row, size in zip(values, lengths, strict=True))
        keys |= _steps_key(found.features)
        channels = 1
    else:
        lengths = [len(rows) for rows in groups]
        found, keys, odd = read_by_steps(table, found, groups)
        within, channels = missing_in(table, found.features), len(found.features)
    if within:
        keys["data.missing"] = "forward"
        odd.append(missing_values(within, "the last known one is carried on (data.missing=forward)"))
    labels = table.frame.select(known_text(found.label)).to_series().to_list()
    classes = Counter(labels[rows[0]] for rows in groups)
    if without := classes.pop("", 0):
        keys["data.unlabelled"] = "drop"
        odd.append(f"{counted(without, 'sequences')} without a class: left out (data.unlabelled=drop)")
    keys |= written_as(table)
    return Labelled(
        path=table.path, form=table.form, extent=table.sample.extent, data="table", classes=dict(classes.most_common()),
        lengths=spread(lengths), channels=channels, columns=table.profile.columns, odd=tuple(odd), keys=keys,
        label=Choice((found.label,), found.described),
    )  # fmt: skip


def read_by_steps(
    table: Seen, found: Sequences, groups: Sequence[Sequence[int]]
) -> tuple[Sequences, dict[str, Any], list[str]]:
    """The sequences without their group among the features, the keys that a row a step needs, and what is odd."""
    keys: dict[str, Any] = {"data.target": found.label, "data.sequence": found.sequence}
    keys |= _order_keys(table, found, groups)
    odd = []
    if found.step and "data.time" not in keys:
        odd.append(f"{found.step} is not read: the rows of a sequence are taken in their order")
    if keys.get("data.sort"):
        odd.append(f"rows are not in the order of {found.step} (data.sort=true)")
    group = _group(table, found)
    if group:
        keys["data.group"] = group
        found = replace(found, features=tuple(name for name in found.features if name != group))
    others = {found.label, found.sequence, group, keys.get("data.time")}
    left = [column for column in table.profile.columns if column.name not in others
            and lower(column.name) not in UNNAMED]  # fmt: skip
    kept = [column.name for column in left if column.is_number or column.kind in ("name", "constant")]
    kept = [name for name in kept if name in found.features or name != found.step]
    if len(kept) < len(left):
        keys["data.features"] = kept
    return found, keys, odd


def missing_in(table: Seen, names: Sequence[str]) -> int:
    """How many numbers are missing in columns."""
    return sum(int(np.isnan(table.numbers(name)).sum()) for name in names)


def written_as(table: Seen) -> dict[str, str]:
    """The keys that say how numbers are written, where not as usual."""
    dialect = table.profile.dialect
    decimal = {"data.decimal": dialect.decimal} if dialect.decimal != "." else {}
    return decimal | ({"data.thousands": dialect.thousands} if dialect.thousands else {})


def _steps_key(names: Sequence[str]) -> dict[str, str]:
    """The pattern of the columns of the steps, where ``data=table`` does not find them by itself."""
    stems = {re.sub(r"[ _.-]?\d+$", "", name) for name in names}
    numbers = [int(found[0]) for name in names if (found := re.search(r"\d+$", name))]
    if len(stems) == 1 and len(numbers) == len(names) and numbers == sorted(numbers):
        return {}
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    prefix = "".join(letters[0] for letters in same).rstrip("0123456789")
    return {"data.steps": re.sub(r"[\[\]?]", "?", prefix) + "*"}


def _order_keys(table: Seen, found: Sequences, groups: Sequence[Sequence[int]]) -> dict[str, Any]:
    """The column of the times, where each occurs once in a sequence; decimals of them are read with ``elapsed``."""
    if found.step is None:
        return {}
    order = table.order(found.step)
    keys: dict[str, Any] = {"data.time": found.step}
    if table.column(found.step).kind == "number":
        keys["data.elapsed"] = True
    steps = np.concatenate([np.diff(order[list(rows)]) for rows in groups])
    if (steps > 0).all():
        by_comma = "data.elapsed" in keys and table.profile.dialect.decimal != "."
        return {} if by_comma else keys  # times are read with a point alone; the rows are in their order
    sorted_steps = np.concatenate([np.diff(np.sort(order[list(rows)])) for rows in groups])
    return keys | {"data.sort": True} if (sorted_steps > 0).all() else {}


def _group(table: Seen, found: Sequences) -> str | None:
    """A column such as the patient, of whom there are several sequences."""
    for column in sorted(table.profile.columns, key=lambda column: rank(column.name, GROUPS)):
        if lower(column.name) not in GROUPS or column.name in (found.label, found.sequence) or column.missing:
            continue
        inside = table.frame.group_by(str(found.sequence)).agg(pl.col(column.name).n_unique())[column.name]
        if inside.max() == 1 and 5 <= column.distinct < len(inside):
            return column.name
    return None


def rows_with_a_class(table: Seen) -> Sequences | None:
    """A row a sequence, its steps in numbered columns, its class in another one."""
    if table.profile.dates:
        return None
    columns = table.profile.columns
    classes = [
        column for column in columns
        if column.kind in ("name", "whole", "flag") and 2 <= column.distinct <= max(2, table.frame.height // 3)
        and (lower(column.name) in CLASSES or column in (columns[0], columns[-1]))
    ]  # fmt: skip
    for label in sorted(classes, key=lambda column: rank(column.name, CLASSES)):
        steps = [column.name for column in columns if column is not label and not is_row_number(table, column.name)]
        numbers = [
            table.profile.of(name).is_number or table.profile.of(name).kind in ("constant", "empty") for name in steps
        ]
        if len(steps) < SIDE_BY_SIDE or not all(numbers) or len({stem_of(name) for name in steps}) > 1:
            continue
        why = f"each row is a sequence of {len(steps)} steps, its class in '{label.name}'"
        return Sequences(label.name, tuple(steps), why)
    return None


def steps_with_a_class(table: Seen) -> Sequences | None:
    """A row a step, its sequence and the sequence's class in columns.

    Where there are dates, the names of series and their kind look the same: only files are taken for recordings.
    """
    dated = bool(table.profile.dates)
    labels = [
        column
        for column in table.profile.columns
        if lower(column.name) in CLASSES and column.kind in ("name", "whole", "flag")
    ]
    if not labels:
        return None
    label = min(labels, key=lambda column: rank(column.name, CLASSES)).name
    for column in sequence_columns(table, label, dated):
        one = table.frame.group_by(column.name).agg(pl.col(label).n_unique())[label].max() == 1
        if not one or (table.column(label).kind == "whole" and table.column(label).distinct > column.distinct // 3):
            continue
        step, features = step_and_features(table, label, column.name)
        if not features:
            continue
        why = f"each '{column.name}' is a sequence of rows, its class in '{label}'"
        return Sequences(label, features, why, column.name, step)
    return None


def sequence_columns(table: Seen, target: str, dated: bool) -> list[Column]:
    """Columns that may name the sequence of a row, the likeliest first; of dated ones the names of files alone."""
    names = [
        column for column in table.profile.columns
        if column.name != target and column.kind in ("name", "whole", "text") and not column.missing
        and 6 <= column.distinct <= table.frame.height // 3 and (not dated or lower(column.name) == "file")
    ]  # fmt: skip
    names.sort(key=lambda column: (rank(column.name, SEQUENCES), column.kind != "name"))
    return [
        column
        for column in names
        if rank(column.name, SEQUENCES) < len(SEQUENCES) or _in_blocks(table.frame[column.name])
    ]


def step_and_features(table: Seen, target: str, sequence: str) -> tuple[str | None, tuple[str, ...]]:
    """The column that orders the rows of a sequence, if there is one, and those of numbers that are left."""
    rest = [column for column in table.profile.columns if column.name not in (target, sequence)]
    step = next(
        (
            column.name
            for column in rest
            if column.name in table.profile.dates
            or (lower(column.name) in STEPS and column.is_number)
            or table.counts_within(column.name, sequence)
        ),
        None,
    )
    features = (
        column.name
        for column in rest
        if column.is_number and column.name != step and not is_row_number(table, column.name)
    )
    return step, tuple(features)


def stem_of(name: str) -> str:
    """A name without its numbers."""
    return re.sub(r"[\d_.\s-]+", "", name)


def is_row_number(table: Seen, name: str) -> bool:
    """Whether a column is one that a program wrote without being asked."""
    return lower(name) in UNNAMED and table.profile.of(name).distinct == table.frame.height


def _in_blocks(cells: pl.Series) -> bool:
    return int((cells != cells.shift(1)).sum()) + 1 <= cells.n_unique() + 1


def at_end(missing: np.ndarray) -> int:
    """How many values are missing at the end."""
    there = np.flatnonzero(~missing)
    return len(missing) - 1 - int(there[-1]) if len(there) else len(missing)
