"""Rows of a table that come one by one: a line each, as CSV or as an object of JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from rnnlab.errors import InputError
from rnnlab.files.dialect import Dialect, LineByLine
from rnnlab.files.source import existing, parse_json


def stream_rows(
    lines: Iterator[str], name: str, dialect: Dialect, needed: Sequence[str], others: Sequence[str] = ()
) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Each line's place and its cells by column; ``None`` for an empty one.

    Args:
        lines: the first of which tells whether they are CSV, whose header it is then, or objects of JSON.
        name: of the stream, for messages.
        dialect: of CSV.
        needed: columns that a header must have.
        others: that it may have, by which its separator may be known.

    Raises:
        InputError: a line is neither, a column is missing, or a row has more or fewer cells than the header.
    """
    rows = LineByLine(dialect, (*needed, *others))
    as_json: bool | None = None
    for number, text in enumerate(lines, 1):
        place, line = f"{name}, line {number}", text.rstrip("\r\n")
        if not line.strip():
            yield place, None
            continue
        as_json = line.lstrip()[0] == "{" if as_json is None else as_json
        if as_json:
            row = parse_json(line, place)
            if not isinstance(row, Mapping):
                raise InputError(f"{place}: give an object, not {json.dumps(row)[:60]}")
            yield place, row
            continue
        is_first = not rows.header
        cells = rows.cells(line, place)
        if is_first:
            there = pl.DataFrame({column: [] for column in dict.fromkeys(rows.header)})
            for column in needed:
                existing(there, column, name)
        if cells is not None:
            yield place, dict(zip(rows.header, cells, strict=True))
