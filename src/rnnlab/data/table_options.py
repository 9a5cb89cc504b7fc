"""What may be said of a table of labelled sequences, and which of its columns that names."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl

from rnnlab.data.hospital import MADE_UP, hospital_stays
from rnnlab.data.labelled import LabelledFeatures
from rnnlab.data.table_columns import MissingValues
from rnnlab.data.table_target import KINDS, TargetKind
from rnnlab.errors import InputError
from rnnlab.files.dialect import Dialect
from rnnlab.files.table import first_rows
from rnnlab.shapes import AUTO, AutoSize, FilePath, Fraction, NonNegativeInt, PositiveInt


@dataclass(kw_only=True, eq=False)
class TableOptions(LabelledFeatures):
    """The options of :class:`rnnlab.data.table.Table`.

    Attributes:
        path: of the file; Parquet by its name (``*.parquet``, ``*.pq``), else CSV in UTF-8 with a header.
        target: the column of the class, the number or the step's label, or a list of columns of labels or numbers.
        sequence: the column that names the sequence of a row; ``None``: a row is a sequence.
        time: the column of dates, times or whole numbers; ``None``: rows are steps.
        steps: of a wide table, the columns of the steps, a pattern for each channel such as ``x*``; ``None``: columns
            of numbers whose names differ in a number at their end, or all that are left.
        features: columns that are read, or patterns of their names such as ``x*``; ``None``: all that have no other
            use.
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
        time_format: of the times, as in Python's ``strptime``; ``s``, ``ms``, ``us`` or ``ns`` since 1970; ``number``
            where they are plain numbers; ``None``: it is guessed.
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

    @property
    def kind(self) -> TargetKind:
        """What the target is."""
        name = self.objective.rpartition(".")[2]
        return KINDS.get(name, "class")

    @property
    def source(self) -> str:
        return f"data.path={self.path}" if self.path is not None else "the made-up table"

    @cached_property
    def dialect(self) -> Dialect:
        return Dialect(
            self.separator, self.decimal, self.thousands, tuple(self.missing_values), self.time_format, self.elapsed
        ).check()

    @cached_property
    def made_up(self) -> pl.DataFrame:
        return hospital_stays()

    @cached_property
    def target_names(self) -> list[str]:
        """The columns that are predicted."""
        if self.target is None:
            return list(MADE_UP[self.kind])
        return [self.target] if isinstance(self.target, str) else list(self.target)

    @cached_property
    def roles(self) -> dict[str, str | None]:
        """The columns that name and order rows, by key."""
        if self.path is None:
            return {"sequence": "stay", "time": "hour", "group": "patient", "split_column": None}
        return {name: getattr(self, name) for name in ("sequence", "time", "group", "split_column")}

    @cached_property
    def chosen_features(self) -> list[str] | None:
        """The columns that are read, each pattern in the place of those that it fits and that have no other use."""
        if self.features is None:
            return None
        there = self.head.columns
        used = {*self.target_names, *filter(None, self.roles.values())}
        chosen: dict[str, None] = {}
        for name in self.features:
            fitting = [] if name in there else [
                column for column in there if column not in used and fnmatch.fnmatchcase(column, name)
            ]  # fmt: skip
            chosen |= dict.fromkeys(fitting or [name])
        return list(chosen)

    @cached_property
    def head(self) -> pl.DataFrame:
        if self.path is None:
            return self.made_up
        wanted = [*self.target_names, *(name for name in self.roles.values() if name)]
        head = first_rows(Path(self.path).expanduser(), self.dialect, wanted)
        if not head.height:
            raise InputError(f"{self.source} has a header and no rows")
        return head
