"""Labelled sequences in a table of your own: CSV or Parquet."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.flat_split import FlatSplit
from rnnlab.data.split import Sample, Split, SplitName
from rnnlab.data.splitting import check_folds
from rnnlab.data.table_columns import TableColumns, as_read, moments_of_numbers
from rnnlab.data.table_options import TableOptions
from rnnlab.data.table_reader import TableReader
from rnnlab.data.table_roles import fitted_columns, read_target, unfitted_columns
from rnnlab.data.table_splits import Given, check_labelled, check_splits, given_parts, members_of, table_note, word_of
from rnnlab.data.table_target import TableTarget
from rnnlab.errors import InputError
from rnnlab.files.table import read, tabulate
from rnnlab.spec import DataSpec, Scaling, TargetSpec


@dataclass(kw_only=True, eq=False)
class Table(TableOptions):
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

    Raises:
        InputError: there is no such file or column, a cell cannot be read (with its row), times run backwards within a
            sequence, labels are of two kinds, a group is in two splits, or a split stays empty.
    """

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
            check_splits(self, self.given)
        super().__post_init__()

    # ---- what is read -----------------------------------------------------------------------------

    @cached_property
    def _unfitted(self) -> TableColumns:
        """Which columns are read as what; the levels of categories, and which numbers are masked, are not known yet."""
        return unfitted_columns(self)

    @cached_property
    def _target(self) -> TableTarget:
        """What is made of the columns that are predicted."""
        return read_target(self)

    @cached_property
    def given(self) -> Given:
        """The whole table, sequence by sequence."""
        columns = self._unfitted
        numeric = self._target.numeric
        words = [name for name in (self.roles["group"], self.roles["split_column"]) if name]
        words += [] if numeric else self.target_names
        wanted = columns.wanted(self.target_names if numeric else (), words)
        if self.path is None:
            table = tabulate(self.made_up.lazy(), wanted, self.source)
        else:
            table = read(Path(self.path).expanduser(), wanted, self.dialect)
        rows = columns.rows(table, self.source)
        del table
        targets, names, labelled = self._target.of(rows)
        groups = word_of(self, rows, "group")
        parts = given_parts(self, rows, groups)
        left_out = check_labelled(self, labelled, rows)
        if left_out:
            kept = np.flatnonzero(labelled)
            inside = np.repeat(labelled, np.diff(rows.starts))
            targets = targets[inside if self.kind == "steps" else kept]
            groups = None if groups is None else np.unique(groups[kept], return_inverse=True)[1]
            parts = None if parts is None else parts[kept]
            rows = rows.some(labelled)
        members = members_of(self, len(rows.names), targets, groups, parts)
        group_count = 0 if groups is None else len(np.unique(groups))
        missing = float(np.isnan(rows.numbers[:, : len(columns.numbers)]).mean()) if columns.numbers else 0.0
        if self.encoding is None:
            columns = fitted_columns(self, columns, rows, members["train"])
        features = columns.encode(rows, self.source)
        dated = rows.times is not None and rows.times.dtype.kind == "M"
        return Given(features, rows.starts, targets, parts is not None, members, names, columns, missing, group_count,
                     left_out, dated)  # fmt: skip

    # ---- splits -----------------------------------------------------------------------------------

    def numbers_in_whole(self, split: SplitName) -> np.ndarray:
        return self.parts[split][: self.size(split)]

    @property
    def parts(self) -> dict[SplitName, np.ndarray]:
        return self.given.members

    def size(self, split: SplitName) -> int:
        there = len(self.parts[split])
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
        inside[self.parts["train"]] = True
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
        values = self.given.targets[self.parts["train"]]
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
        number = int(self.parts[split][index])
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
        members = self.parts[split][: self.size(split)]
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
                more["target_mean"] = tuple(given.targets[self.parts["train"]].mean(0).clip(1e-4, 1 - 1e-4).tolist())
            case "value":
                target = replace(target, kind="value")
                mean, deviation = self._target_scale
                more["scaling"] = Scaling(tuple(mean.tolist()), tuple(deviation.tolist()))
        return DataSpec(
            input=given.columns.input,
            target=target,
            length=int(np.diff(given.starts).max()),
            note=table_note(self, self.given),
            **more,
        )

    @property
    def reader(self) -> TableReader:
        columns = self.given.columns
        is_class = self.kind == "class"
        return TableReader(
            columns.features, self.given.names if is_class else (), *self.plain_scale,
            own_moments=self.scaling == "per_sequence", columns=columns,
            target=self.target_names[0] if is_class else "",
        )  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
