"""Pairs of texts, read from files."""

import struct
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import polars as pl

from rnnlab.data.corpus import find_files, read_text
from rnnlab.errors import InputError, nearest, one_line
from rnnlab.extras import need
from rnnlab.files.source import SUFFIXES, Source

CATALOGUES = (".po", ".mo")
HEADERS = (("source", "target"), ("input", "output"), ("src", "tgt"), ("question", "answer"), ("text", "target"))
"""Names of two columns by which a first row is known to be a header."""
GROWTH = 45

Header = Literal["auto", "yes", "no"]


def read_pairs(
    path: Path, target_path: Path | None, source_column: str | None, target_column: str | None, header: Header
) -> Iterator[tuple[str, str]]:
    """Each pair, in the order of the files; lines with nothing on them are left out.

    Args:
        path: a table, whose name says its format (``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``); a catalogue of
            messages and their translations (``.po``, ``.mo``); a text file whose lines have two texts, or more, with a
            tabulator between; or, with ``target_path``, a text a line.
        target_path: what is to be said, a text a line, beside each line of ``path``.
        source_column: of a table, by name; ``None`` for the first one.
        target_column: likewise, for the second one.
        header: whether the first row of a CSV or TSV names its columns.

    Raises:
        InputError: a file cannot be read, a column or a side of a pair is missing: named with its line.
    """
    if path.is_dir():
        raise InputError(f"data.path={path} is a folder: give a file of pairs")
    find_files(path, "*", GROWTH)
    if target_path is not None:
        yield from _parallel(path, target_path)
        return
    suffix = path.suffix.lower()
    if suffix in CATALOGUES:
        for key, name in (("source_column", source_column), ("target_column", target_column)):
            if name is not None:
                raise InputError(f"data.{key}={name}: the catalogue {path} has no columns; leave it null")
        yield from _of_catalogue(path, suffix)
    elif suffix in (".jsonl", ".ndjson", ".parquet"):
        source = Source(str(path), SUFFIXES[suffix], path.read_bytes(), path)
        frame = source.frame()
        yield from _of_frame(path, frame, source_column, target_column)
    else:
        yield from _of_lines(path, suffix, source_column, target_column, header)


def _checked(path: Path, place: str, source: str | None, target: str | None) -> Iterator[tuple[str, str]]:
    """A pair; nothing, where both sides are empty.

    Raises:
        InputError: one is.
    """
    ours, theirs = (source or "").strip(), (target or "").strip()
    if bool(ours) != bool(theirs):
        which, other = ("second", ours) if ours else ("first", theirs)
        raise InputError(
            f"data.path={path}, {place}: the {which} side of this pair is empty (beside it stands '{other[:40]}')"
        )
    if ours:
        yield ours, theirs


def _parallel(path: Path, target_path: Path) -> Iterator[tuple[str, str]]:
    for key, file in (("path", path), ("target_path", target_path)):
        if not file.is_file():
            raise InputError(f"data.{key}={file}: there is no such file")
    ours, theirs = (_lines(file) for file in (path, target_path))
    if len(ours) != len(theirs):
        raise InputError(
            f"data.path={path} has {len(ours):,} lines, and data.target_path={target_path} has {len(theirs):,}: each "
            "line of the one belongs to a line of the other"
        )
    for number, (source, target) in enumerate(zip_longest(ours, theirs), 1):
        yield from _checked(path, f"line {number}", source, target)


def _lines(file: Path) -> list[str]:
    text = "".join(read_text([file]))
    return text.removesuffix("\n").split("\n")


def _of_frame(
    path: Path, frame: pl.DataFrame, source_column: str | None, target_column: str | None
) -> Iterator[tuple[str, str]]:
    names = _columns(path, frame.columns, source_column, target_column)
    for number, (source, target) in enumerate(zip(*(frame[name].cast(pl.String) for name in names), strict=True), 1):
        yield from _checked(path, f"row {number}", source, target)


def _columns(path: Path, columns: list[str], source_column: str | None, target_column: str | None) -> list[str]:
    """The two columns of a table.

    Raises:
        InputError: there is no such column, or there are not two.
    """
    if len(columns) < 2:
        raise InputError(
            f"data.path={path} has one column ({', '.join(columns)}), and a pair has two sides: give a second column, "
            "or the other side as data.target_path=FILE"
        )
    names = []
    for number, (key, name) in enumerate((("source_column", source_column), ("target_column", target_column))):
        if name is not None and name not in columns:
            raise InputError(
                f"data.{key}={name}: {path} has no such column{nearest(name, columns)} (there are "
                f"{', '.join(columns[:12])})"
            )
        names.append(columns[number] if name is None else name)
    if names[0] == names[1]:
        raise InputError(f"data.source_column and data.target_column are both {names[0]}: name two columns")
    return names


def _of_lines(
    path: Path, suffix: str, source_column: str | None, target_column: str | None, header: Header
) -> Iterator[tuple[str, str]]:
    if suffix == ".csv":
        import csv

        text = "".join(read_text([path]))
        first_line = text.split("\n", 1)[0]
        separator = max(",;\t", key=first_line.count)
        rows = [(number, row) for number, row in enumerate(csv.reader(text.splitlines(), delimiter=separator), 1)]
    else:
        # quotation marks are marks: sentence pairs are full of them
        rows = [(number, line.removesuffix("\r").split("\t")) for number, line in enumerate(_lines(path), 1)]
    rows = [(number, row) for number, row in rows if any(cell.strip() for cell in row)]
    if not rows:
        raise InputError(f"data.path={path}: there is no pair in it")
    first = [cell.strip() for cell in rows[0][1]]
    named = source_column is not None or target_column is not None
    known = tuple(name.lower() for name in first[:2]) in HEADERS
    has_header = header == "yes" or (header == "auto" and (named or known))
    columns = first if has_header else [str(k + 1) for k in range(len(first))]
    if named and not has_header:
        raise InputError(f"data.header=no: {path} then has no names of columns; leave data.source_column null")
    ours, theirs = (columns.index(name) for name in _columns(path, columns, source_column, target_column))
    for number, row in rows[has_header:]:
        if len(row) <= max(ours, theirs):
            sides = f"{len(row)} column{'s' * (len(row) != 1)}"
            raise InputError(
                f"data.path={path}, line {number}: {sides} ('{' '.join(row)[:40]}'), and a pair has two sides"
                + (", with a tabulator between" if suffix != ".csv" else "")
            )
        yield from _checked(path, f"line {number}", row[ours], row[theirs])


def _of_catalogue(path: Path, suffix: str) -> Iterator[tuple[str, str]]:
    """The messages of gettext that are translated; of one that counts its first and its last form. What is marked as
    fuzzy is left out, since nobody has checked it.
    """
    need("pairs", "polib", f"data.path={path}", "lines with a tabulator between need nothing")
    import polib

    try:
        entries = list(polib.pofile(str(path)) if suffix == ".po" else polib.mofile(str(path)))
    except (OSError, ValueError, LookupError, ArithmeticError, EOFError, struct.error) as error:
        raise InputError(f"data.path={path} is no catalogue of gettext: {one_line(error)[:100]}") from None
    for number, entry in enumerate(entries, 1):
        if entry.obsolete or "fuzzy" in entry.flags:
            continue
        forms = list(entry.msgstr_plural.values())
        pairs = [(entry.msgid, forms[0]), (entry.msgid_plural, forms[-1])] if forms else [(entry.msgid, entry.msgstr)]
        for source, target in pairs:
            if source.strip() and target.strip():
                yield from _checked(path, f"message {number}", source, target)
