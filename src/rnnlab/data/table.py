"""Labelled sequences in a table of your own: CSV or Parquet."""

import fnmatch
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

from rnnlab.data.hospital import MADE_UP, hospital_stays
from rnnlab.data.labelled import LabelledFeatures
from rnnlab.data.split import SPLITS, CutOnDemand, Sample, Split, SplitName
from rnnlab.data.splitting import check_folds, cut
from rnnlab.data.table_columns import MissingValues, Rows, TableColumns, as_read, moments_of_numbers
from rnnlab.data.table_reader import TableReader
from rnnlab.data.table_target import MOST_CLASSES, TASKS, TableTarget, TargetKind, natural, word_of_each
from rnnlab.errors import InputError, nearest
from rnnlab.files.dialect import Dialect, is_number
from rnnlab.files.frequency import time_in_words
from rnnlab.files.table import first_rows, read, tabulate
from rnnlab.shapes import AUTO, AutoSize, FilePath, Fraction, NonNegativeInt, PositiveInt
from rnnlab.spec import IGNORED, Batch, DataSpec, Scaling, TargetSpec

KINDS: dict[str, TargetKind] = {
    "Classification": "class", "MultiLabel": "labels", "Regression": "value", "Labelling": "steps",
    "class": "class", "labels": "labels", "value": "value", "steps": "steps",
}  # fmt: skip
"""What each objective reads the target as."""
MOST_LEVELS = 50
"""Different words up to which a column is one of categories."""
NUMBERED = re.compile(r"^(.*?)[ _.-]?(\d+)$")
UNNAMED = ("column 1", "unnamed: 0", "index")
"""Columns that a program wrote without being asked: the number of the row."""
PARTS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2}
"""Words of a column that says the split."""


class Given(NamedTuple):
    """What was read: encoded features, the target of each sequence or step, and what decides about splits.

    features
        ``(rows, features)`` float32, unscaled.
    starts
        ``(sequences + 1,)``.
    targets
        ``(sequences,)`` class numbers, ``(sequences, size)`` numbers, or ``(rows,)`` token numbers.
    from_column
        Whether a column says the split.
    members
        The sequences of each split.
    names
        Of the classes, labels or values.
    columns
        As they were fitted.
    missing
        Share of the numbers that are missing.
    group_count
        How many groups there are.
    left_out
        Sequences without a target.
    dated
        Whether the times are dates.
    """

    features: np.ndarray
    starts: np.ndarray
    targets: np.ndarray
    from_column: bool
    members: dict[SplitName, np.ndarray]
    names: tuple[str, ...]
    columns: TableColumns
    missing: float
    group_count: int
    left_out: int
    dated: bool


class FlatSplit(CutOnDemand):
    """Sequences one after the other in memory; a batch is padded with zeros when it is cut, to its own longest.

    Args:
        features: ``(rows, features)`` as the network reads them, of the whole table.
        starts: ``(sequences,)`` the first row of each sequence of the split.
        lengths: ``(sequences,)``.
        labels: ``(sequences, …)``, or ``(rows,)`` of the whole table where each step has a label.
    """

    features: Tensor
    starts: Tensor
    lengths: Tensor
    labels: Tensor
    per_step: bool

    def __init__(self, features: Tensor, starts: Tensor, lengths: Tensor, labels: Tensor, per_step: bool) -> None:
        super().__init__(features=features, starts=starts, lengths=lengths, labels=labels, per_step=per_step)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def targets(self) -> Tensor:
        return self.batch(slice(None)).targets if self.per_step else self.labels

    def batch(self, index: slice | Tensor) -> Batch:
        lengths, starts = self.lengths[index], self.starts[index]
        step = torch.arange(int(lengths.max()))
        valid = step < lengths[:, None]
        rows = (starts[:, None] + step).clamp(max=len(self.features) - 1)
        inputs = self.features[rows] * valid[..., None]
        targets = self.labels[rows].masked_fill(~valid, IGNORED) if self.per_step else self.labels[index]
        return Batch(inputs, targets, None if bool(valid.all()) else lengths)


@dataclass(kw_only=True, eq=False)
class Table(LabelledFeatures):
    """Labelled sequences in the rows of a file, long or wide.

    ::

        data.target=outcome data.sequence=stay data.time=hour data.group=patient

        patient   stay   hour   pulse   ward   age   outcome        long: a row a step
        anna         7      0      81      A    64   home
        anna         7      2      90      A    64   home
        ben          8      0      77      B    40   ward

        data.target=kind

        kind    age   x1    x2    x3                                wide: a row a sequence
        walk     64   0.1   0.3   0.2
        run      40   1.1   0.9

    Numbers are scaled, words become one feature a level, free texts hashed counts of their words; what is the same at
    all steps (a static column) is read at each of them.

    What the target is follows from the task: one class a sequence (``task=classification``, the default), several
    labels that are there or not (``task=multilabel``, a column of 0 and 1 each, or one that lists them), one number or
    several (``task=regression``), or a label at each step (``task=labelling``).

    Without ``path`` the table is made up: stays of patients in a hospital.

    Attributes:
        path: of the file; Parquet by its name (``*.parquet``, ``*.pq``), else CSV in UTF-8 with a header.
        target: the column of the class, the number or the step's label, or a list of columns of labels or numbers.
        sequence: the column that names the sequence of a row; ``None``: a row is a sequence.
        time: the column of dates, times or whole numbers; ``None``: rows are steps.
        steps: of a wide table, the columns of the steps, a pattern for each channel such as ``x*``; ``None``: columns
            of numbers whose names differ in a number at their end, or all that are left.
        features: columns that are read; ``None``: all that have no other use.
        categories: columns whose cells are words of a few kinds; ``None``: those of words.
        text: columns of free text.
        text_features: features of each of them.
        static: columns with one value a sequence, which may stand in any of its rows.
        group: column of what must not be torn apart by a split, such as the patient.
        split_column: that says ``train``, ``val`` or ``test``; ``None``: shares are drawn.
        missing: what becomes of numbers that are missing: see :class:`rnnlab.data.table_columns.TableColumns`.
        unlabelled: a sequence without a target is an ``error``, or ``drop`` leaves it out.
        elapsed: the network reads the time since the step before (:mod:`rnnlab.elapsed`).
        sort: rows of a sequence by time, rather than to refuse what is out of order.
        separator: between the cells of a CSV: one character, or ``tab``; ``None``: recognised by the header.
        decimal: between a number and its decimals, ``.`` or ``,``.
        thousands: between groups of three digits; ``None``: nothing is.
        missing_values: further words, or numbers, for a missing value.
        time_format: of the times, as in Python's ``strptime``; ``None``: it is guessed.
        scaling: see :class:`rnnlab.data.labelled.LabelledFeatures`.
        num_samples: at most so many sequences in the three splits, shared out by the fractions; ``None`` for all.
        val_fraction: share of the sequences for validation.
        test_fraction: share of them for the test.
        folds: parts of which one is the test, for cross-validation; ``None``: the test is a share.
        fold: which of them is tested, from 0.
        objective: what the target is for: ``class``, ``labels``, ``value``, ``steps``, or the path of a task.
        seed: of what goes to which split.
        classes: what each class or label number stands for; ``None`` for what there is. A trained run hands in its own.
        encoding: how columns become features; ``None``: by the training part. Likewise.
        targets_scaled: mean and deviation of each number that is predicted. Likewise.
        moments: see :class:`rnnlab.data.labelled.LabelledFeatures`.

    Raises:
        InputError: there is no such file or column, a cell cannot be read (with its row), times run backwards within a
            sequence, labels are of two kinds, a group is in two splits, or a split stays empty.
    """

    path: FilePath | None = None
    target: str | Sequence[str] | None = None
    sequence: str | None = None
    time: str | None = None
    steps: str | Sequence[str] | None = None
    features: Sequence[str] | None = None
    categories: Sequence[str] | None = None
    text: Sequence[str] = ()
    text_features: PositiveInt = 32
    static: Sequence[str] = ()
    group: str | None = None
    split_column: str | None = None
    missing: MissingValues = "error"
    unlabelled: Literal["error", "drop"] = "error"
    elapsed: bool = False
    sort: bool = False
    separator: str | None = None
    decimal: str = "."
    thousands: str | None = None
    missing_values: Sequence[str | int | float] = ()
    time_format: str | None = None
    scaling: Literal["standard", "per_sequence", "none"] = "standard"
    num_samples: PositiveInt | None = None
    val_fraction: Fraction = 0.15
    test_fraction: Fraction = 0.15
    folds: PositiveInt | None = None
    fold: NonNegativeInt = 0
    objective: str = "class"
    batch_size: AutoSize = AUTO
    classes: Sequence[str] | None = None
    encoding: dict[str, Any] | None = None
    targets_scaled: Sequence[Sequence[float]] | None = None

    def __post_init__(self) -> None:
        if self.path is not None and not self.target:
            raise InputError(f"data.target is missing: give the column of {self.path} that is to be predicted")
        check_folds(self.folds, self.fold)
        if self.elapsed and self.path is not None and self.time is None:
            raise InputError("data.elapsed=true needs the column of the times: data.time=COLUMN")
        if self.elapsed and self.path is not None and self.sequence is None:
            raise InputError(
                "data.elapsed=true is of a table with a row a step: data.sequence=COLUMN names the sequence of each"
            )
        if self.val_fraction + self.test_fraction < 1:
            self._check_splits()
        super().__post_init__()

    # ---- what is read -----------------------------------------------------------------------------

    @property
    def kind(self) -> TargetKind:
        """What the target is."""
        name = self.objective.rpartition(".")[2]
        return KINDS.get(name, "class")

    @property
    def _source(self) -> str:
        return f"data.path={self.path}" if self.path is not None else "the made-up table"

    @cached_property
    def _dialect(self) -> Dialect:
        return Dialect(
            self.separator, self.decimal, self.thousands, tuple(self.missing_values), self.time_format, self.elapsed
        ).check()

    @cached_property
    def _made_up(self) -> pl.DataFrame:
        return hospital_stays()

    @cached_property
    def _targets(self) -> list[str]:
        """The columns that are predicted."""
        if self.target is None:
            return list(MADE_UP[self.kind])
        return [self.target] if isinstance(self.target, str) else list(self.target)

    @cached_property
    def _roles(self) -> dict[str, str | None]:
        """The columns that name and order rows, by key."""
        if self.path is None:
            return {"sequence": "stay", "time": "hour", "group": "patient", "split_column": None}
        return {name: getattr(self, name) for name in ("sequence", "time", "group", "split_column")}

    @cached_property
    def _head(self) -> pl.DataFrame:
        if self.path is None:
            return self._made_up
        wanted = [*self._targets, *(name for name in self._roles.values() if name)]
        head = first_rows(Path(self.path).expanduser(), self._dialect, wanted)
        if not head.height:
            raise InputError(f"{self._source} has a header and no rows")
        return head

    def _check_columns(self) -> None:
        names = self._head.columns
        keys: list[tuple[str, Sequence[str]]] = [("target", self._targets)]
        keys += [(key, [name]) for key, name in self._roles.items() if name]
        keys += [(key, getattr(self, key) or ()) for key in ("features", "categories", "text", "static")]
        for key, wanted in keys:
            for name in wanted:
                if name not in names:
                    raise InputError(
                        f"data.{key}={name}: {self.path or self._source} has no such column{nearest(name, names)} "
                        f"(it has {', '.join(names[:20])}{', …' if len(names) > 20 else ''})"
                    )
        if twice := [name for name, count in Counter(self._targets).items() if count > 1]:
            raise InputError(f"data.target: column '{twice[0]}' is named twice")
        owners = {name: key for key, name in self._roles.items() if name and key != "group"}
        for name in [*(self.features or ()), *(self.categories or ()), *self.text, *self.static]:
            if name in owners:
                raise InputError(f"column '{name}' is data.{owners[name]}, and cannot be read as a feature too")
        for name in self._targets:
            if name in owners:
                raise InputError(f"data.target={name}: this column is data.{owners[name]}, and cannot be predicted too")
            if name in (self.features or ()):
                raise InputError(f"data.features: '{name}' is data.target, and would give the answer away")

    def _is_numeric(self, name: str) -> bool:
        """Whether the first rows of a column hold numbers, and something at all."""
        dtype = self._head[name].dtype
        if dtype.is_numeric() or dtype == pl.Boolean:
            return True
        if dtype != pl.String:
            return False
        values = self._head.select(self._dialect.numbers(pl.col(name))).to_series()
        return not values.is_infinite().any()

    @cached_property
    def _unfitted(self) -> TableColumns:
        """Which columns are read as what; the levels of categories, and which numbers are masked, are not known yet."""
        self._check_columns()
        if self.encoding is not None:
            return TableColumns(**self.encoding)
        used = {*self._targets, *filter(None, self._roles.values())}
        if self.path is None:
            used |= {name for names in MADE_UP.values() for name in names}
        chosen = list(dict.fromkeys([*(self.features or ()), *self.static, *(self.categories or ()), *self.text]))
        left = [name for name in self._head.columns if name not in used and name.lower() not in UNNAMED]
        names = left if self.features is None else chosen
        numbers, categories = [], []
        for name in names:
            if name in self.text:
                continue
            if name in (self.categories or ()) or not self._is_numeric(name):
                self._check_words(name)
                categories.append(name)
            else:
                numbers.append(name)
        steps: dict[str, list[str]] = {}
        if self._roles["sequence"] is None:
            steps = self._channels(numbers)
            inside = {column for columns in steps.values() for column in columns}
            numbers = [*steps, *(name for name in numbers if name not in inside)]
        elif self.steps is not None:
            raise InputError(
                f"data.steps={self.steps} is of a table with a row a sequence, and data.sequence={self.sequence} of "
                "one with a row a step: give one of them"
            )
        if not numbers and not categories and not self.text:
            raise InputError(f"{self._source}: no column is left to be read beside {', '.join(sorted(used))}")
        return TableColumns(
            numbers=numbers, categories=dict.fromkeys(categories, ()), texts=list(self.text),
            buckets=self.text_features, static=[name for name in self.static if name not in steps],
            sequence=self._roles["sequence"], time=self._roles["time"], steps=steps, missing=self.missing,
            elapsed=self.elapsed, sort=self.sort, written=self._dialect.plain(),
        )  # fmt: skip

    def _check_words(self, name: str) -> None:
        cells = self._head[name]
        if cells.dtype.is_nested() or cells.dtype.is_temporal() or cells.dtype == pl.Binary:
            raise InputError(
                f"{self._source}: column '{name}' holds {cells.dtype}, and numbers or words are needed: name the "
                "columns to read by data.features"
            )
        if name in (self.categories or ()):
            return
        distinct = cells.n_unique()
        if distinct > MOST_LEVELS and distinct > cells.len() / 10:
            odd = cells.drop_nulls()
            raise InputError(
                f"{self._source}: column '{name}' has {distinct:,} different words in {cells.len():,} rows, such as "
                f"'{str(odd[0])[:40]}': data.text=[{name}] reads their words, data.categories=[{name}] takes each for "
                "a category, data.features=[…] without it leaves it out"
            )

    def _channels(self, numbers: Sequence[str]) -> dict[str, list[str]]:
        """The columns of each channel of a wide table."""
        if self.steps is not None:
            patterns = [self.steps] if isinstance(self.steps, str) else self.steps
            found = {pattern: [name for name in numbers if fnmatch.fnmatchcase(name, pattern)] for pattern in patterns}
            for pattern, columns in found.items():
                if not columns:
                    raise InputError(
                        f"data.steps={pattern}: no column of numbers is called so (there are "
                        f"{', '.join(numbers[:20])}{', …' if len(numbers) > 20 else ''})"
                    )
            return {pattern.rstrip("*_.- ") or "value": columns for pattern, columns in found.items()}
        series: dict[str, list[tuple[int, str]]] = {}
        for name in numbers:
            if (match := NUMBERED.match(name)) and name not in self.static:
                series.setdefault(match[1] or "value", []).append((int(match[2]), name))
        named = {prefix: [name for _, name in sorted(pairs)] for prefix, pairs in series.items() if len(pairs) > 1}
        if not named:
            raise InputError(
                f"{self._source}: which rows or columns are the steps of a sequence? data.sequence=COLUMN names the "
                "sequence of each row; of a table with a row a sequence, data.steps=[PATTERN] its columns"
            )
        return named

    @cached_property
    def _target(self) -> TableTarget:
        """What is made of the columns that are predicted."""
        odd = [name for name in self._targets if not self._is_numeric(name)]
        listed = self.kind == "labels" and len(odd) == len(self._targets) == 1
        if self.kind in ("class", "steps") and len(self._targets) > 1:
            raise InputError(
                f"data.target={self._targets}: one column tells a class; several are task=multilabel (0 and 1 each) or "
                "task=regression (numbers)"
            )
        if odd and self.kind in ("value", "labels") and not listed:
            cells = enumerate(self._head[odd[0]].cast(str), 1)
            words = [(row, cell) for row, cell in cells if cell is not None and not is_number(cell)]
            word = f" ('{words[0][1][:40]}' in row {words[0][0]})" if words else ""
            raise InputError(
                f"data.target={odd[0]}: it holds words{word}, and task={TASKS[self.kind]} needs numbers"
                f"{' (0 or 1)' if self.kind == 'labels' else ''}: task=classification predicts one class a "
                "sequence, task=labelling a label at each step"
            )
        return TableTarget(self.kind, self._targets, self._source, listed, self.classes)

    @cached_property
    def given(self) -> Given:
        """The whole table, sequence by sequence."""
        columns = self._unfitted
        numeric = self._target.numeric
        words = [name for name in (self._roles["group"], self._roles["split_column"]) if name]
        words += [] if numeric else self._targets
        wanted = columns.wanted(self._targets if numeric else (), words)
        if self.path is None:
            table = tabulate(self._made_up.lazy(), wanted, self._source)
        else:
            table = read(Path(self.path).expanduser(), wanted, self._dialect)
        rows = columns.rows(table, self._source)
        del table
        targets, names, labelled = self._target.of(rows)
        groups = self._word_of(rows, "group")
        parts = self._parts_of(rows, groups)
        left_out = self._check_labelled(labelled, rows)
        if left_out:
            kept = np.flatnonzero(labelled)
            inside = np.repeat(labelled, np.diff(rows.starts))
            targets = targets[inside if self.kind == "steps" else kept]
            groups = None if groups is None else np.unique(groups[kept], return_inverse=True)[1]
            parts = None if parts is None else parts[kept]
            rows = rows.some(labelled)
        members = self._members(len(rows.names), targets, groups, parts)
        group_count = 0 if groups is None else len(np.unique(groups))
        missing = float(np.isnan(rows.numbers[:, : len(columns.numbers)]).mean()) if columns.numbers else 0.0
        if self.encoding is None:
            columns = self._fitted(columns, rows, members["train"])
        features = columns.encode(rows, self._source)
        dated = rows.times is not None and rows.times.dtype.kind == "M"
        return Given(features, rows.starts, targets, parts is not None, members, names, columns, missing, group_count,
                     left_out, dated)  # fmt: skip

    def _check_labelled(self, labelled: np.ndarray, rows: Rows) -> int:
        """How many sequences have no target, where that may be."""
        without = np.flatnonzero(~labelled)
        if not len(without):
            return 0
        first = int(without[0])
        what = " and ".join(self._targets)
        if self.unlabelled == "error":
            raise InputError(
                f"{self._source}, row {rows.places[rows.starts[first]]}: sequence '{rows.names[first]}' has no {what} "
                f"({len(without):,} of {len(labelled):,} have none): data.unlabelled=drop leaves them out"
            )
        if not labelled.any():
            raise InputError(f"{self._source}: no sequence has a {what}")
        return len(without)

    def _fitted(self, columns: TableColumns, rows: Rows, train: np.ndarray) -> TableColumns:
        """With the levels of categories that training sees, and the numbers that are masked."""
        inside = np.zeros(len(rows.names), bool)
        inside[train] = True
        seen = np.repeat(inside, np.diff(rows.starts))
        levels: dict[str, list[str]] = {}
        for name in columns.categories:
            there = np.unique(rows.words[name][seen])
            levels[name] = sorted((rows.levels[name][code] for code in there if code >= 0), key=natural)
            if len(levels[name]) > MOST_CLASSES:
                raise InputError(
                    f"data.categories={name}: {len(levels[name]):,} different words, more than {MOST_CLASSES:,}: "
                    f"data.text=[{name}] hashes them"
                )
        masked: list[str] = []
        if self.missing == "mask":
            unknown = np.isnan(rows.numbers).any(0)
            masked = [name for number, name in enumerate(columns.numbers) if unknown[number]]
        unit = columns.usual_step(rows, train) if columns.elapsed else None
        return replace(columns, categories=levels, masked=masked, elapsed_unit=unit)

    # ---- splits -----------------------------------------------------------------------------------

    def _word_of(self, rows: Rows, key: str) -> np.ndarray | None:
        """``(sequences,)`` numbers of the one word of each sequence in a column."""
        name = self._roles[key]
        if name is None:
            return None
        one = word_of_each(rows, name, self._source)
        empty = np.flatnonzero(np.isnan(one))
        if len(empty):
            first = int(empty[0])
            raise InputError(
                f"{self._source}, row {rows.places[rows.starts[first]]}, column '{name}': it is empty, and data.{key} "
                "needs one of each sequence"
            )
        return one.astype(np.int64)

    def _parts_of(self, rows: Rows, groups: np.ndarray | None) -> np.ndarray | None:
        codes = self._word_of(rows, "split_column")
        if codes is None:
            return None
        name = str(self._roles["split_column"])
        if self.folds is not None:
            raise InputError(f"data.split_column={name} and data.folds={self.folds}: give one of them")
        levels = rows.levels[name]
        for level in levels:
            if level.lower() not in PARTS:
                row = int(np.argmax(rows.words[name] == levels.index(level)))
                raise InputError(
                    f"{self._source}, row {rows.places[row]}, column '{name}': '{level}' is no split"
                    f"{nearest(level.lower(), PARTS)} (train, val, test)"
                )
        parts = np.array([PARTS[level.lower()] for level in levels])[codes]
        if groups is not None:
            lowest, highest = np.full(groups.max() + 1, 3), np.full(groups.max() + 1, -1)
            np.minimum.at(lowest, groups, parts)
            np.maximum.at(highest, groups, parts)
            torn = np.flatnonzero((highest >= 0) & (lowest != highest))
            if len(torn):
                group = int(torn[0])
                members = np.flatnonzero(groups == group)
                one = int(members[0])
                other = int(members[np.argmax(parts[members] != parts[one])])
                column = str(self._roles["group"])
                raise InputError(
                    f"{self._source}: data.group={column} '{rows.levels[column][group]}' is in two splits: "
                    f"{SPLITS[parts[one]]} in row {rows.places[rows.starts[one]]}, {SPLITS[parts[other]]} in row "
                    f"{rows.places[rows.starts[other]]}"
                )
        return parts

    def _members(
        self, size: int, targets: np.ndarray, groups: np.ndarray | None, parts: np.ndarray | None
    ) -> dict[SplitName, np.ndarray]:
        """The sequences of each split."""
        seed = (self.seed, len(SPLITS))
        labels: np.ndarray | None = None
        if self.kind == "class":
            labels = targets
        elif self.kind == "labels":  # by the rarest label that a sequence has
            there = targets[:, np.argsort(targets.sum(0), kind="stable")] > 0
            labels = np.where(there.any(1), there.argmax(1) + 1, 0)
        if parts is None:
            fractions = self.val_fraction, self.test_fraction
            pieces = cut(size, fractions, seed, labels, groups, self.folds, self.fold)
            return dict(zip(SPLITS, pieces, strict=True))
        found = {split: np.flatnonzero(parts == number) for number, split in enumerate(SPLITS)}
        missing = [split for split in ("val", "test") if not len(found[split])]
        if not missing or not len(found["train"]):
            return found
        # what the column leaves out is taken from training
        train = found["train"]
        val, test = (getattr(self, f"{split}_fraction") if split in missing else 0.0 for split in ("val", "test"))
        inner = None if groups is None else np.unique(groups[train], return_inverse=True)[1]
        pieces = cut(len(train), (val, test), seed, None if labels is None else labels[train], inner)
        taken = {split: train[piece] for split, piece in zip(SPLITS, pieces, strict=True)}
        return found | {split: taken[split] for split in SPLITS if split == "train" or split in missing}

    def numbers_in_whole(self, split: SplitName) -> np.ndarray:
        return self._parts[split][: self.size(split)]

    @property
    def _parts(self) -> dict[SplitName, np.ndarray]:
        return self.given.members

    def _check_splits(self) -> None:
        size, given = len(self.given.starts) - 1, self.given
        for split in SPLITS:
            if len(self._parts[split]):
                continue
            where = f"{self._source} has {size} sequences"
            if given.group_count:
                where += f" of {given.group_count} {self._roles['group']}s"
            if given.from_column and split == "train":
                raise InputError(f"{where}, and data.split_column={self._roles['split_column']} leaves none for train")
            key = "val_fraction" if split != "test" else "test_fraction" if self.folds is None else "folds"
            raise InputError(f"{where}: data.{key}={getattr(self, key)} leaves none for {split}")
        if self.kind == "class" and self.classes is None:
            missing = set(range(len(given.names))).difference(given.targets[self._parts["train"]].tolist())
            if missing:
                raise InputError(
                    f"data.target={self._targets[0]}: class '{given.names[min(missing)]}' has no sequence to train on: "
                    "give more of it, or change data.seed, data.val_fraction or data.test_fraction"
                )

    def size(self, split: SplitName) -> int:
        there = len(self._parts[split])
        return there if self.num_samples is None else min(there, super().size(split))

    # ---- what the network gets ----------------------------------------------------------------------

    @cached_property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """``(features,)`` mean and standard deviation in the training part; 0 and 1 of what is no number."""
        if self.moments is not None:
            mean, deviation = np.asarray(self.moments, np.float64)
            return mean, deviation
        given = self.given
        inside = np.zeros(len(given.starts) - 1, bool)
        inside[self._parts["train"]] = True
        rows = given.features[np.repeat(inside, np.diff(given.starts))]
        return moments_of_numbers(rows, given.columns.scaled)

    def as_read(self, values: np.ndarray) -> np.ndarray:
        if self.scaling == "none":
            return as_read(values, None)
        own = self.scaling == "per_sequence"
        return as_read(values, moments_of_numbers(values, self.given.columns.scaled) if own else self.scale)

    @cached_property
    def _target_scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of each number that is predicted, over the training part."""
        if self.targets_scaled is not None:
            mean, deviation = np.asarray(self.targets_scaled, np.float64)
            return mean, deviation
        values = self.given.targets[self._parts["train"]]
        return moments_of_numbers(values, values.shape[1])

    def state_dict(self) -> dict[str, Any]:
        """Arguments of the constructor: how columns are encoded and scaled, and what class numbers stand for."""
        given, columns = self.given, self.given.columns
        encoding = {name: _plain(getattr(columns, name)) for name in columns.__dataclass_fields__}
        state: dict[str, Any] = {"encoding": encoding, "scaling": self.scaling}
        if not self._target.numeric:
            state["classes"] = list(given.names)
        if self.kind == "value":
            state["targets_scaled"] = [part.tolist() for part in self._target_scale]
        return state | super().state_dict()

    def unscaled(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        given = self.given
        number = int(self._parts[split][index])
        start, end = int(given.starts[number]), int(given.starts[number + 1])
        target: Any = given.targets[start:end] if self.kind == "steps" else given.targets[number]
        if self.kind == "class":
            target = int(target)
        elif self.kind == "value":
            mean, deviation = self._target_scale
            target = ((target - mean) / deviation).astype(np.float32)
        elif self.kind == "labels":
            target = target.astype(np.float32)
        return Sample(given.features[start:end], target)

    @cached_property
    def _flat(self) -> tuple[Tensor, Tensor]:
        """The features of the whole table as the network reads them, and all targets."""
        given = self.given
        if self.scaling == "per_sequence":
            pieces = pairwise(given.starts.tolist())
            features = np.concatenate([self.as_read(given.features[start:end]) for start, end in pieces])
        else:
            features = self.as_read(given.features)
        targets = given.targets
        if self.kind == "value":
            mean, deviation = self._target_scale
            targets = (targets - mean) / deviation
        dtype = torch.float32 if self.kind in ("value", "labels") else torch.int64
        return torch.from_numpy(features), torch.from_numpy(targets).to(dtype)

    def load(self, split: SplitName) -> Split:
        members = self._parts[split][: self.size(split)]
        features, targets = self._flat
        starts = torch.from_numpy(self.given.starts)
        lengths = (starts[1:] - starts[:-1])[members]
        labels = targets if self.kind == "steps" else targets[members]
        return FlatSplit(features, starts[:-1][members], lengths, labels, self.kind == "steps")

    @cached_property
    def spec(self) -> DataSpec:
        given = self.given
        target = TargetSpec("class", len(given.names), given.names)
        more: dict[str, Any] = {}
        match self.kind:
            case "class":
                more["class_frequencies"] = self.class_frequencies(len(given.names))
            case "steps":
                target = replace(target, kind="tokens")
            case "labels":
                target = replace(target, kind="value", binary=True)
                more["target_mean"] = tuple(given.targets[self._parts["train"]].mean(0).clip(1e-4, 1 - 1e-4).tolist())
            case "value":
                target = replace(target, kind="value")
                mean, deviation = self._target_scale
                more["scaling"] = Scaling(tuple(mean.tolist()), tuple(deviation.tolist()))
        return DataSpec(
            input=given.columns.input,
            target=target,
            length=int(np.diff(given.starts).max()),
            note=self._note(),
            **more,
        )

    @property
    def reader(self) -> TableReader:
        columns = self.given.columns
        standard = self.scaling == "standard"
        shift, scale = (tuple(part.tolist()) for part in self.scale) if standard else ((), ())
        is_class = self.kind == "class"
        return TableReader(
            columns.features, self.given.names if is_class else (), shift, scale,
            own_moments=self.scaling == "per_sequence", columns=columns, target=self._targets[0] if is_class else "",
        )  # fmt: skip

    def _note(self) -> str:
        given = self.given
        size = len(given.starts) - 1
        groups = f" of {given.group_count:,} {self._roles['group']}s" if given.group_count else ""
        facts = [f"{size:,} sequences{groups}, {len(given.features):,} rows"]
        if given.from_column:
            facts.append(f"split by column {self._roles['split_column']}")
        elif self.folds is not None:
            facts.append(f"the test is part {self.fold + 1} of {self.folds}")
        else:
            how = "a stratified" if self.kind in ("class", "labels") else "a share of"
            facts.append(f"the test is {how} {self.test_fraction:.0%}")
        if given.group_count:
            facts.append(f"no {self._roles['group']} in two splits")
        if (unit := given.columns.elapsed_unit) is not None and given.columns.elapsed:
            facts.append(f"each step with the time since the one before, 1 = {time_in_words(unit, given.dated)}")
        if given.missing:
            facts.append(f"{given.missing:.1%} of the numbers missing")
        if given.left_out:
            facts.append(f"{given.left_out:,} sequences without a target left out")
        made_up = "" if self.path else "a made-up table of stays in a hospital; give a file of yours, data.path=FILE: "
        return made_up + "; ".join(facts)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
