"""What each column of a table is for: which are read as numbers, categories or words, and which are predicted."""

import fnmatch
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from rnnlab.data.hospital import MADE_UP
from rnnlab.data.table_columns import TableColumns
from rnnlab.data.table_options import TableOptions
from rnnlab.data.table_rows import Rows
from rnnlab.data.table_target import MOST_CLASSES, TASKS, TableTarget, natural
from rnnlab.errors import InputError, nearest
from rnnlab.files.dialect import is_number

MOST_LEVELS = 50
"""Different words up to which a column is one of categories."""
NUMBERED = re.compile(r"^(.*?)[ _.-]?(\d+)$")
UNNAMED = ("column 1", "unnamed: 0", "index")
"""Columns that a program wrote without being asked: the number of the row."""


def unfitted_columns(data: TableOptions) -> TableColumns:
    """Which columns are read as what; the levels of categories, and which numbers are masked, are not known yet."""
    _check_columns(data)
    if data.encoding is not None:
        return TableColumns(**data.encoding)
    used = {*data.target_names, *filter(None, data.roles.values())}
    if data.path is None:
        used |= {name for names in MADE_UP.values() for name in names}
    chosen = list(dict.fromkeys([*(data.chosen_features or ()), *data.static, *(data.categories or ()), *data.text]))
    left = [name for name in data.head.columns if name not in used and name.lower() not in UNNAMED]
    names = left if data.chosen_features is None else chosen
    numbers, categories = [], []
    for name in names:
        if name in data.text:
            continue
        if name in (data.categories or ()) or not is_numeric(data, name):
            _check_words(data, name)
            categories.append(name)
        else:
            numbers.append(name)
    steps: dict[str, list[str]] = {}
    if data.roles["sequence"] is None:
        steps = _channels(data, numbers)
        inside = {column for columns in steps.values() for column in columns}
        numbers = [*steps, *(name for name in numbers if name not in inside)]
    elif data.steps is not None:
        raise InputError(
            f"data.steps={data.steps} is of a table with a row a sequence, and data.sequence={data.sequence} of "
            "one with a row a step: give one of them"
        )
    if not numbers and not categories and not data.text:
        raise InputError(f"{data.source}: no column is left to be read beside {', '.join(sorted(used))}")
    return TableColumns(
        numbers=numbers, categories=dict.fromkeys(categories, ()), texts=list(data.text),
        buckets=data.text_features, static=[name for name in data.static if name not in steps],
        sequence=data.roles["sequence"], time=data.roles["time"], steps=steps, missing=data.missing,
        elapsed=data.elapsed, sort=data.sort, written=data.dialect.plain(),
    )  # fmt: skip


def _check_columns(data: TableOptions) -> None:
    names = data.head.columns
    keys: list[tuple[str, Sequence[str]]] = [("target", data.target_names)]
    keys += [(key, [name]) for key, name in data.roles.items() if name]
    keys += [("features", data.chosen_features or ())]
    keys += [(key, getattr(data, key) or ()) for key in ("categories", "text", "static")]
    for key, wanted in keys:
        for name in wanted:
            if name not in names:
                raise InputError(
                    f"data.{key}={name}: {data.path or data.source} has no such column{nearest(name, names)} "
                    f"(it has {', '.join(names[:20])}{', …' if len(names) > 20 else ''})"
                )
    if twice := [name for name, count in Counter(data.target_names).items() if count > 1]:
        raise InputError(f"data.target: column '{twice[0]}' is named twice")
    owners = {name: key for key, name in data.roles.items() if name and key != "group"}
    for name in [*(data.chosen_features or ()), *(data.categories or ()), *data.text, *data.static]:
        if name in owners:
            raise InputError(f"column '{name}' is data.{owners[name]}, and cannot be read as a feature too")
    for name in data.target_names:
        if name in owners:
            raise InputError(f"data.target={name}: this column is data.{owners[name]}, and cannot be predicted too")
        if name in (data.chosen_features or ()):
            raise InputError(f"data.features: '{name}' is data.target, and would give the answer away")


def is_numeric(data: TableOptions, name: str) -> bool:
    """Whether the first rows of a column hold numbers, and something at all."""
    dtype = data.head[name].dtype
    if dtype.is_numeric() or dtype == pl.Boolean:
        return True
    if dtype != pl.String:
        return False
    values = data.head.select(data.dialect.numbers(pl.col(name))).to_series()
    return not values.is_infinite().any()


def _check_words(data: TableOptions, name: str) -> None:
    cells = data.head[name]
    if cells.dtype.is_nested() or cells.dtype.is_temporal() or cells.dtype == pl.Binary:
        raise InputError(
            f"{data.source}: column '{name}' holds {cells.dtype}, and numbers or words are needed: name the "
            "columns to read by data.features"
        )
    if name in (data.categories or ()):
        return
    distinct = cells.n_unique()
    if distinct > MOST_LEVELS and distinct > cells.len() / 10:
        odd = cells.drop_nulls()
        raise InputError(
            f"{data.source}: column '{name}' has {distinct:,} different words in {cells.len():,} rows, such as "
            f"'{str(odd[0])[:40]}': data.text=[{name}] reads their words, data.categories=[{name}] takes each for "
            "a category, data.features=[…] without it leaves it out"
        )


def _channels(data: TableOptions, numbers: Sequence[str]) -> dict[str, list[str]]:
    """The columns of each channel of a wide table."""
    if data.steps is not None:
        patterns = [data.steps] if isinstance(data.steps, str) else data.steps
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
        if (match := NUMBERED.match(name)) and name not in data.static:
            series.setdefault(match[1] or "value", []).append((int(match[2]), name))
    named = {prefix: [name for _, name in sorted(pairs)] for prefix, pairs in series.items() if len(pairs) > 1}
    if not named:
        raise InputError(
            f"{data.source}: which rows or columns are the steps of a sequence? data.sequence=COLUMN names the "
            "sequence of each row; of a table with a row a sequence, data.steps=[PATTERN] its columns"
        )
    return named


def read_target(data: TableOptions) -> TableTarget:
    """What is made of the columns that are predicted."""
    odd = [name for name in data.target_names if not is_numeric(data, name)]
    listed = data.kind == "labels" and len(odd) == len(data.target_names) == 1
    if data.kind in ("class", "steps") and len(data.target_names) > 1:
        raise InputError(
            f"data.target={data.target_names}: one column tells a class; several are task=multilabel (0 and 1 each) or "
            "task=regression (numbers)"
        )
    if odd and data.kind in ("value", "labels") and not listed:
        cells = enumerate(data.head[odd[0]].cast(str), 1)
        words = [(row, cell) for row, cell in cells if cell is not None and not is_number(cell)]
        word = f" ('{words[0][1][:40]}' in row {words[0][0]})" if words else ""
        raise InputError(
            f"data.target={odd[0]}: it holds words{word}, and task={TASKS[data.kind]} needs numbers"
            f"{' (0 or 1)' if data.kind == 'labels' else ''}: task=classification predicts one class a "
            "sequence, task=labelling a label at each step"
        )
    return TableTarget(data.kind, data.target_names, data.source, listed, data.classes)


def fitted_columns(data: TableOptions, columns: TableColumns, rows: Rows, train: np.ndarray) -> TableColumns:
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
    if data.missing == "mask":
        unknown = np.isnan(rows.numbers).any(0)
        masked = [name for number, name in enumerate(columns.numbers) if unknown[number]]
    unit = rows.usual_step(train) if columns.elapsed else None
    return replace(columns, categories=levels, masked=masked, elapsed_unit=unit)
