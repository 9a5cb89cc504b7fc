"""Texts with a class each, read from files."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from rnnlab.data.corpus import find_files, read_text
from rnnlab.errors import InputError, nearest
from rnnlab.files.source import parse_json

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
TABLES = (*SEPARATORS, *JSON_LINES)
GROWTH = 45
"""Reading takes at most so many times the size of the files, whose words may have ten bytes: a million of them in five
files of 11.8 MB took 35 times as much, and 39 with ``balance=oversample``."""


def read_labelled(path: Path, pattern: str, text_column: str, label_column: str) -> Iterator[tuple[str, str]]:
    """Each text and the name of its class, in the order of the files; lines without a text as empty ones.

    Args:
        path: a folder with a file for each class, named after it, and a text a line; or a table, whose name says its
            format: ``.csv`` and ``.tsv`` with a head, ``.jsonl`` with an object a line.
        pattern: which files of a folder, at any depth; those of one name are one class.
        text_column: of a table.
        label_column: of a table.

    Raises:
        InputError: a file cannot be read, is no UTF-8, is too large, or has no such column: named with its line.
    """
    if path.is_file() and path.suffix.lower() not in TABLES:
        raise InputError(
            f"data.path={path}: give a folder with one file a class, or a table ({', '.join(TABLES)}); "
            "a file's name says which it is"
        )
    for file in find_files(path, pattern, GROWTH):
        if path.is_dir():
            for line in _content(file).removesuffix("\n").split("\n"):
                yield line.strip(), file.stem
        else:
            yield from _read_table(file, text_column, label_column)


def _content(file: Path) -> str:
    return "".join(read_text([file], "such as by iconv -f latin1 -t utf-8 FILE"))


def _read_table(file: Path, text_column: str, label_column: str) -> Iterator[tuple[str, str]]:
    content = _content(file)
    json_lines = file.suffix.lower() in JSON_LINES
    rows = _read_json_lines(file, content) if json_lines else _read_separated(file, content)
    for number, row in rows:
        for key, column in (("text_column", text_column), ("label_column", label_column)):
            if column not in row:
                where = f", line {number}" if json_lines else ""
                raise InputError(
                    f"data.{key}={column}: {file}{where} has no such column{nearest(column, row)} "
                    f"(there are {', '.join(row)})"
                )
        text, label = row[text_column], row[label_column]
        if not isinstance(text, str | None) or not isinstance(label, str | int | None):
            raise InputError(f"{file}, line {number}: a text is a string, and a class a string or a whole number")
        text, label = (text or "").strip(), "" if label is None else str(label).strip()
        if text and not label:
            raise InputError(f"{file}, {'line' if json_lines else 'row'} {number} has a text and no {label_column}")
        yield text, label


def _read_json_lines(file: Path, content: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        row = parse_json(line, f"{file}, line {number}")
        if not isinstance(row, dict):
            raise InputError(f'{file}, line {number}: give an object a line, such as {{"text": …, "label": …}}')
        yield number, row


def _read_separated(file: Path, content: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows below the head, counted from 1; a quote in a ``.tsv`` is a sign like others."""
    separator = SEPARATORS[file.suffix.lower()]
    try:
        table = pl.read_csv(
            io.StringIO(content), separator=separator, infer_schema=False, quote_char='"' if separator == "," else None
        )
    except pl.exceptions.PolarsError as error:
        reason = _ragged_line(content, separator) or str(error).strip().splitlines()[0]
        raise InputError(f"{file} is no table: {reason}") from None
    if not table.height:
        raise InputError(f"{file} has a head and no rows")
    yield from enumerate(table.iter_rows(named=True), 1)


def _ragged_line(content: str, separator: str) -> str:
    """Which line has more fields than the head, which polars does not say; empty where none has."""
    rows = csv.reader(io.StringIO(content), delimiter=separator)
    head = len(next(rows, []))
    return next((f"line {rows.line_num} has {len(row)} fields, the head {head}" for row in rows if len(row) > head), "")
