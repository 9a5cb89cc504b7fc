"""What was read of a table, which split each of its sequences is in, and what is said of it."""

from typing import NamedTuple

import numpy as np

from rnnlab.data.split import SPLITS, SplitName
from rnnlab.data.splitting import cut
from rnnlab.data.table_columns import TableColumns
from rnnlab.data.table_options import TableOptions
from rnnlab.data.table_rows import Rows
from rnnlab.data.table_target import word_of_each
from rnnlab.errors import InputError, nearest
from rnnlab.files.frequency import time_in_words

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


def word_of(data: TableOptions, rows: Rows, key: str) -> np.ndarray | None:
    """``(sequences,)`` numbers of the one word of each sequence in a column."""
    name = data.roles[key]
    if name is None:
        return None
    one = word_of_each(rows, name, data.source)
    empty = np.flatnonzero(np.isnan(one))
    if len(empty):
        first = int(empty[0])
        raise InputError(
            f"{data.source}, row {rows.places[rows.starts[first]]}, column '{name}': it is empty, and data.{key} "
            "needs one of each sequence"
        )
    return one.astype(np.int64)


def given_parts(data: TableOptions, rows: Rows, groups: np.ndarray | None) -> np.ndarray | None:
    """``(sequences,)`` numbers of the split that a column gives each; ``None`` where no column does."""
    codes = word_of(data, rows, "split_column")
    if codes is None:
        return None
    name = str(data.roles["split_column"])
    if data.folds is not None:
        raise InputError(f"data.split_column={name} and data.folds={data.folds}: give one of them")
    levels = rows.levels[name]
    for level in levels:
        if level.lower() not in PARTS:
            row = int(np.argmax(rows.words[name] == levels.index(level)))
            raise InputError(
                f"{data.source}, row {rows.places[row]}, column '{name}': '{level}' is no split"
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
            column = str(data.roles["group"])
            raise InputError(
                f"{data.source}: data.group={column} '{rows.levels[column][group]}' is in two splits: "
                f"{SPLITS[parts[one]]} in row {rows.places[rows.starts[one]]}, {SPLITS[parts[other]]} in row "
                f"{rows.places[rows.starts[other]]}"
            )
    return parts


def members_of(
    data: TableOptions, size: int, targets: np.ndarray, groups: np.ndarray | None, parts: np.ndarray | None
) -> dict[SplitName, np.ndarray]:
    """The sequences of each split."""
    seed = (data.seed, len(SPLITS))
    labels: np.ndarray | None = None
    if data.kind == "class":
        labels = targets
    elif data.kind == "labels":  # by the rarest label that a sequence has
        there = targets[:, np.argsort(targets.sum(0), kind="stable")] > 0
        labels = np.where(there.any(1), there.argmax(1) + 1, 0)
    if parts is None:
        fractions = data.val_fraction, data.test_fraction
        pieces = cut(size, fractions, seed, labels, groups, data.folds, data.fold)
        return dict(zip(SPLITS, pieces, strict=True))
    found = {split: np.flatnonzero(parts == number) for number, split in enumerate(SPLITS)}
    missing = [split for split in ("val", "test") if not len(found[split])]
    if not missing or not len(found["train"]):
        return found
    # what the column leaves out is taken from training
    train = found["train"]
    val, test = (getattr(data, f"{split}_fraction") if split in missing else 0.0 for split in ("val", "test"))
    inner = None if groups is None else np.unique(groups[train], return_inverse=True)[1]
    pieces = cut(len(train), (val, test), seed, None if labels is None else labels[train], inner)
    taken = {split: train[piece] for split, piece in zip(SPLITS, pieces, strict=True)}
    return found | {split: taken[split] for split in SPLITS if split == "train" or split in missing}


def check_splits(data: TableOptions, given: Given) -> None:
    """Raises InputError where a split stays empty, or training meets no sequence of a class."""
    size = len(given.starts) - 1
    for split in SPLITS:
        if len(given.members[split]):
            continue
        where = f"{data.source} has {size} sequences"
        if given.group_count:
            where += f" of {given.group_count} {data.roles['group']}s"
        if given.from_column and split == "train":
            raise InputError(f"{where}, and data.split_column={data.roles['split_column']} leaves none for train")
        key = "val_fraction" if split != "test" else "test_fraction" if data.folds is None else "folds"
        raise InputError(f"{where}: data.{key}={getattr(data, key)} leaves none for {split}")
    if data.kind == "class" and data.classes is None:
        missing = set(range(len(given.names))).difference(given.targets[given.members["train"]].tolist())
        if missing:
            raise InputError(
                f"data.target={data.target_names[0]}: class '{given.names[min(missing)]}' has no sequence to train on: "
                "give more of it, or change data.seed, data.val_fraction or data.test_fraction"
            )


def check_labelled(data: TableOptions, labelled: np.ndarray, rows: Rows) -> int:
    """How many sequences have no target, where that may be."""
    without = np.flatnonzero(~labelled)
    if not len(without):
        return 0
    first = int(without[0])
    what = " and ".join(data.target_names)
    if data.unlabelled == "error":
        raise InputError(
            f"{data.source}, row {rows.places[rows.starts[first]]}: sequence '{rows.names[first]}' has no {what} "
            f"({len(without):,} of {len(labelled):,} have none): data.unlabelled=drop leaves them out"
        )
    if not labelled.any():
        raise InputError(f"{data.source}: no sequence has a {what}")
    return len(without)


def table_note(data: TableOptions, given: Given) -> str:
    """What was done with the table, as far as anything was."""
    size = len(given.starts) - 1
    groups = f" of {given.group_count:,} {data.roles['group']}s" if given.group_count else ""
    facts = [f"{size:,} sequences{groups}, {len(given.features):,} rows"]
    if given.from_column:
        facts.append(f"split by column {data.roles['split_column']}")
    elif data.folds is not None:
        facts.append(f"the test is part {data.fold + 1} of {data.folds}")
    else:
        how = "a stratified" if data.kind in ("class", "labels") else "a share of"
        facts.append(f"the test is {how} {data.test_fraction:.0%}")
    if given.group_count:
        facts.append(f"no {data.roles['group']} in two splits")
    if (unit := given.columns.elapsed_unit) is not None and given.columns.elapsed:
        facts.append(f"each step with the time since the one before, 1 = {time_in_words(unit, given.dated)}")
    if given.missing:
        facts.append(f"{given.missing:.1%} of the numbers missing")
    if given.left_out:
        facts.append(f"{given.left_out:,} sequences without a target left out")
    made_up = "" if data.path else "a made-up table of stays in a hospital; give a file of yours, data.path=FILE: "
    return made_up + "; ".join(facts)
