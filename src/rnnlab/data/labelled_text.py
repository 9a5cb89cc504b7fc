"""Texts with a class each, read from files."""

from collections.abc import Iterator, Sequence
from os.path import commonpath
from pathlib import Path
from typing import Any

from rnnlab.data.corpus import find_files, read_text
from rnnlab.errors import InputError, nearest
from rnnlab.files.source import SUFFIXES, Source, parse_json

JSON_LINES = (".jsonl", ".ndjson")
TABLES = (".csv", ".tsv", ".tab", *JSON_LINES)
GROWTH = 45
"""Reading takes at most so many times the size of the files, whose words may have ten bytes: a million of them in five
files of 11.8 MB took 35 times as much, and 39 with ``balance=oversample``."""


def read_labelled(path: Path, pattern: str, text_column: str, label_column: str) -> Iterator[tuple[str, str]]:
    """Each text and the name of its class, in the order of the files; lines without a text as empty ones.

    Args:
        path: a folder with a file for each class, named after it, and a text a line; or with a folder for each class,
            whose files are a text each (a text a line where there is but one); or a table, whose name says its format:
            ``.csv`` and ``.tsv`` with a header, ``.jsonl`` with an object a line.
        pattern: which files of a folder, at any depth.
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
    files = find_files(path, pattern, GROWTH)
    if path.is_dir():
        yield from _read_folder(files)
    else:
        yield from _read_table(path, text_column, label_column)


def _read_folder(files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    root = Path(commonpath([file.parent for file in files]))
    below: dict[str, list[Path]] = {}
    for file in files:
        if file.parent != root:
            below.setdefault(file.relative_to(root).parts[0], []).append(file)
    for file in files:
        name = file.stem if file.parent == root else file.relative_to(root).parts[0]
        content = _content(file, others=True)
        if len(below.get(name, ())) > 1 and file.parent != root:
            yield content.strip(), name
        else:
            for line in content.removesuffix("\n").split("\n"):
                yield line.strip(), name


def _content(file: Path, others: bool = False) -> str:
    return "".join(read_text([file], others))


def _read_table(file: Path, text_column: str, label_column: str) -> Iterator[tuple[str, str]]:
    json_lines = file.suffix.lower() in JSON_LINES
    if json_lines:
        rows = _read_json_lines(file, _content(file))
    else:
        source = Source(str(file), SUFFIXES[file.suffix.lower()], file.read_bytes(), file)
        rows = enumerate(source.frame(wanted=(text_column, label_column)).iter_rows(named=True), 1)
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
        if not text and not label:  # an empty row, such as a blank line at the end
            continue
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
