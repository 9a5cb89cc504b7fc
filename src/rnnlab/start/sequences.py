"""A table of sequences that have a class each: a row a step, or a row a sequence."""

import fnmatch
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import numpy as np
import polars as pl

from rnnlab.errors import few
from rnnlab.files import times as written_times
from rnnlab.files.dialect import Dialect
from rnnlab.start.description import Choice, Column, Labelled
from rnnlab.start.labelled import known_text, spread
from rnnlab.start.names import CLASSES, NAMES, TARGETS, UNNAMED, is_id, lower, rank
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
UNIT = re.compile(r"(_| ?[(\[]| )(s|secs?|seconds?|ms|msec|us|µs|ns|min|minutes?|h|hours?)[)\]]?$")
"""A unit of time behind the name of a column, as in ``time_s`` and ``time [ms]``."""
SEQUENCES = (
    "sequence", "sequence_id", "seq", "case", "case_id", "trial", "recording", "sample", "sample_id", "window", "run",
    "machine", "engine", "unit", "battery", "vehicle", *NAMES,
)  # fmt: skip
"""Names of the column that tells sequences apart."""
GROUPS = (
    "patient", "patient_id", "subject", "subject_id", "participant", "person", "speaker", "user", "animal", "group",
)  # fmt: skip
"""Names of a column of what must not be in two splits."""
CALENDAR = ("year", "quarter", "month", "week", "day")
"""Names of a step that is one of a calendar, as series have it."""
FEW_VALUES = 10
"""Different values at most of a column that is taken for the class by them, and not by its name."""


@dataclass(frozen=True)
class Sequences:
    """Which columns of a table are what.

    Attributes:
        label: the class of a sequence, or its number.
        features: the numbers of a step; of a row a sequence, its steps.
        why: in half a line.
        sequence: the column that names a row's sequence; ``None`` where a row is one.
        step: the column that orders its rows; ``None``: they are in order.
        names: the columns by which rows that are sequences are called, which say nothing of their class.
    """

    label: str
    features: tuple[str, ...]
    why: str
    sequence: str | None = None
    step: str | None = None
    names: tuple[str, ...] = ()

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


def labelled_sequences(table: Seen, by_name: bool = True) -> Labelled | None:
    """What a table holds that ``data=table`` reads; ``None`` where it has no sequences with a class each.

    Args:
        table: which.
        by_name: the class of a row's sequence is known by what its column is called; else by what stands in it.
    """
    if not table.sample.separator and table.form != "Parquet":
        return None
    found = (rows_with_a_class(table) or steps_with_a_class(table)) if by_name else steps_with_few_values(table)
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
        keys |= _beside_the_steps(table, found)
        odd += [f"{few(found.names)}: tells the sequences apart, and is not read"] if found.names else []
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


def _beside_the_steps(table: Seen, found: Sequences) -> dict[str, Any]:
    """The keys of a table of which a row is a sequence and which has other columns beside its steps and its class."""
    group = _group(table, found)
    keys: dict[str, Any] = {"data.group": group} if group else {}
    rest = [name for name in table.frame.columns if name not in (found.label, group, *found.features)]
    if all(lower(name) in UNNAMED for name in rest):
        return keys
    beginning = re.sub(r"\d.*$", "", found.features[0])
    patterns = [f"{re.sub(r'[][?*]', '?', beginning)}{digits}*" for digits in ("[0-9]", "")]
    fits = (pattern for pattern in patterns if not any(fnmatch.fnmatchcase(name, pattern) for name in rest)
            and all(fnmatch.fnmatchcase(name, pattern) for name in found.features))  # fmt: skip
    pattern = next(fits, None)
    return {**keys, "data.features": list(found.features) if pattern is None else [pattern]}


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
        if found.sequence is None:
            if column.kind in ("name", "whole", "text") and 5 <= column.distinct < table.frame.height:
                return column.name
            continue
        inside = table.frame.group_by(found.sequence).agg(pl.col(column.name).n_unique())[column.name]
        if inside.max() == 1 and 5 <= column.distinct < len(inside):
            return column.name
    return None


def rows_with_a_class(table: Seen) -> Sequences | None:
    """A row a sequence, its steps in numbered columns, its class in another one."""
    if table.profile.dates:
        return None
    names = [column for column in table.profile.columns if tells_rows_apart(table, column)]
    columns = [column for column in table.profile.columns if column not in names]
    if len(columns) <= SIDE_BY_SIDE or (names and any(is_stamped(column.name) for column in columns)):
        return None
    classes = [
        column for column in columns
        if column.kind in ("name", "whole", "flag") and 2 <= column.distinct <= max(2, table.frame.height // 3)
        and (lower(column.name) in CLASSES or column in (columns[0], columns[-1]))
        and (lower(column.name) in CLASSES or not _is_one_of_many(column, columns, names))
    ]  # fmt: skip
    for label in sorted(classes, key=lambda column: rank(column.name, CLASSES)):
        steps = [column.name for column in columns if column is not label and lower(column.name) not in GROUPS]
        numbers = [
            table.profile.of(name).is_number or table.profile.of(name).kind in ("constant", "empty") for name in steps
        ]
        if len(steps) < SIDE_BY_SIDE or not all(numbers) or len({stem_of(name) for name in steps}) > 1:
            continue
        why = f"each row is a sequence of {len(steps)} steps, its class in '{label.name}'"
        named = tuple(column.name for column in names if not is_row_number(table, column.name))
        return Sequences(label.name, tuple(steps), why, names=named)
    return None


def _is_one_of_many(column: Column, columns: Sequence[Column], names: Sequence[Column]) -> bool:
    """Whether the first or the last column, of rows that have names, is another name or one of the steps."""
    middle = columns[len(columns) // 2].name
    return bool(names) and (rank(column.name, NAMES) < len(NAMES) or stem_of(column.name) == stem_of(middle))


def tells_rows_apart(table: Seen, column: Column) -> bool:
    """Whether a column has a name of its own for each row, or its number."""
    if column.distinct != table.frame.height or column.missing:
        return False
    named = rank(column.name, SEQUENCES) < len(SEQUENCES) or is_id(column) or table.is_index(column.name)
    return column.kind in ("name", "text") or (column.kind == "whole" and (named or is_row_number(table, column.name)))


def is_stamped(name: str) -> bool:
    """Whether the name of a column is a date or a year."""
    text = name.strip()
    return bool(written_times.forms_of(text, Dialect()) or re.fullmatch(r"(?:1[5-9]|2[01])\d\d(?:\.0)?", text))


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


def steps_with_few_values(table: Seen) -> Sequences | None:
    """The same, where a column is one of few values that never change within a sequence, whatever it is called.

    Not where rows are rather series that are forecast: with dates, steps of a calendar, or a column that has the name
    of what is forecast.
    """
    if table.profile.dates:
        return None
    for column in sequence_columns(table, "", False):
        step, features = step_and_features(table, "", column.name)
        moving = [name for name in features if not table.same_within(name, column.name)]
        if not moving or lower(step or "") in CALENDAR or any(rank(name, TARGETS) < len(TARGETS) for name in moving):
            continue
        own = classes_within(table, column)
        if own:
            why = f"one of {own[0].distinct} values in all rows of each '{column.name}'"
            kept = tuple(name for name in features if name != own[0].name)
            return Sequences(own[0].name, kept, why, column.name, step)
    return None


def classes_within(table: Seen, sequence: Column) -> list[Column]:
    """The columns of few values of which each sequence has one, the likeliest class first."""
    found = [
        column for column in table.profile.columns
        if column is not sequence and not column.missing and lower(column.name) not in GROUPS
        and 2 <= column.distinct <= min(FEW_VALUES, sequence.distinct // 3)
        and (column.kind in ("name", "flag") or (column.kind == "whole" and lower(column.name) in CLASSES))
        and rank(column.name, SEQUENCES) >= len(SEQUENCES)
        and table.frame.group_by(sequence.name).agg(pl.col(column.name).n_unique())[column.name].max() == 1
    ]  # fmt: skip
    return sorted(found, key=lambda column: rank(column.name, CLASSES))


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
            or (UNIT.sub("", lower(column.name)) in STEPS and column.is_number)
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
