"""Names for the columns of a table that has none."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from rnnlab.files import times
from rnnlab.files.dialect import Dialect, cells_of, is_number
from rnnlab.files.lines import first_line
from rnnlab.start.columns import profile
from rnnlab.start.sample import Sample

SIDE_BY_SIDE = 8
"""Columns from which a row may be a whole sequence."""


def header_that_is_missing(path: Path) -> list[str]:
    """Names for the columns of a CSV whose first line is a row like the others; empty where it is a header."""
    if path.suffix.lower() in (".parquet", ".pq", ".jsonl", ".ndjson", ".ts"):
        return []
    header = first_line(path, str(path))
    separator = "\t" if path.suffix.lower() == ".tsv" else Dialect().separator_of(header)
    cells = cells_of(header, separator)
    with open(path, encoding="utf-8", errors="replace") as file:
        rows = [cells_of(line.rstrip("\r\n"), separator) for _, line in zip(range(50), file, strict=False)][1:]
    rows = [row for row in rows if len(row) == len(cells)]
    if not rows or not any(cells):
        return []
    if _is_data(cells, rows):
        return [f"c{number}" for number in range(1, len(cells) + 1)]
    return []


def _is_data(cells: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    numbered = [cell for cell in cells if is_number(cell)]
    if numbered and all(cell.lstrip("-").isdigit() for cell in numbered):
        values = [int(cell) for cell in numbered]
        if values[0] in (0, 1) and values == list(range(values[0], values[0] + len(values))):
            return False  # names that pandas gives
        if len(values) > 2 and (np.diff(values) == 1).all():
            return False  # years
    verdicts = []
    for number, cell in enumerate(cells):
        column = [row[number] for row in rows if row[number].strip()]
        if column and all(map(is_number, column)):
            verdicts.append(is_number(cell))
        elif column and all(times.forms_of(other.strip(), Dialect()) for other in column):
            verdicts.append(bool(times.forms_of(cell.strip(), Dialect())))
        elif column and len(set(column)) <= len(column) / 2:
            verdicts.append(cell in column)
    return bool(verdicts) and all(verdicts)


def named(sample: Sample) -> pl.DataFrame:
    """The columns of a table without a header, named after what they hold."""
    columns = profile(sample.head, sample.separator).columns
    first = columns[0]
    many = [column for column in columns if column.kind in ("number", "whole", "flag", "constant")]
    if (
        len(columns) > SIDE_BY_SIDE
        and len(many) >= len(columns) - 1
        and first.distinct <= max(2, sample.head.height // 3)
    ):
        names = ["class", *(f"t{number}" for number in range(len(columns) - 1))]
        return sample.head.rename(dict(zip(sample.head.columns, names, strict=True)))
    usual = {"date": "date", "clock": "time", "number": "value", "whole": "value", "flag": "flag", "text": "text"}
    has_text = any(column.kind == "text" for column in columns)
    seen: dict[str, int] = {}
    names = []
    for column in columns:
        name = usual.get(column.kind, "label" if has_text else "series" if column.kind == "name" else "column")
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return sample.head.rename(dict(zip(sample.head.columns, names, strict=True)))
