"""Texts: one, a folder of them, or folders and files that are classes."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from os.path import commonpath
from pathlib import Path
from typing import Any

import polars as pl

from rnnlab.data.corpus import find_files
from rnnlab.data.labelled_text import read_labelled
from rnnlab.errors import InputError
from rnnlab.files.dialect import is_number
from rnnlab.files.folders import is_text
from rnnlab.files.lines import decode_whole
from rnnlab.start.columns import words_of
from rnnlab.start.description import Choice, Description, Extent, Labelled, PlainText
from rnnlab.start.labelled import classes_of, odd_texts, spread
from rnnlab.start.names import OPPOSITES
from rnnlab.start.wording import counted

READ = 1 << 25
"""Bytes of texts that are read."""
FILES = 2000
"""Files of a folder that are read."""
SHORT = 12.0
"""Words a line up to which the lines of a file are texts of their own."""
MANY_CLASSES = 200
NUMBERS, FEWEST_LINES = 0.3, 8
"""Share of numbers among words, and lines, from which a text may be a table with blanks between its columns."""
SENTENCE_END = (".", "!", "?", "…", '"', "”", "»", ")")


def look_at_text(path: Path) -> PlainText:
    """A file of text.

    Raises:
        InputError: it is no UTF-8: named with its line.
    """
    found = _plain(path, [path], "a text")
    width = _columns_of_numbers(path)
    if not width:
        return found
    to_commas = f"tr -s ' ' , < {shlex.quote(str(path))} > NEW.csv"
    return replace(found, questions=(f"is it a table of {width} columns with blanks between? {to_commas}",))


def _columns_of_numbers(path: Path) -> int:
    """Of lines that have equally many words, some of them numbers, how many; else 0."""
    lines = [line.split() for line in _read(path, 1 << 14).splitlines()[:30] if line.strip()]
    widths = {len(words) for words in lines}
    if len(lines) < FEWEST_LINES or len(widths) != 1 or widths == {1}:
        return 0
    words = [word for line in lines[1:] for word in line]
    return widths.pop() if sum(map(is_number, words)) > NUMBERS * len(words) else 0


def look_at_texts(folder: Path, files: Sequence[Path]) -> Description:
    """A folder of texts, or of classes.

    Args:
        folder: as the person gave it.
        files: below it, by name, hidden ones left out.

    Raises:
        InputError: a file is no UTF-8.
    """
    pattern = _pattern(folder, files)
    if pattern != "*":
        files = [file for file in files if file.match(pattern)]
    root = Path(commonpath([file.parent for file in files]))
    below = [file for file in files if file.parent != root]
    if not below and 2 <= len(files) <= MANY_CLASSES:
        why = _classes_by_file(files)
        if why:
            return _labelled(folder, files, pattern, "a file a class, a text a line", why)
    if len(below) == len(files):
        names = {file.relative_to(root).parts[0] for file in files}
        deep = max(len(file.relative_to(root).parts) for file in files)
        if 2 <= len(names) <= MANY_CLASSES and deep == 2 and len(files) >= 3 * len(names):
            return _labelled(
                folder, files, pattern, "a folder a class, a file a text", "each folder holds several files"
            )
    found = _plain(folder, files, f"a folder of {len(files):,} texts", pattern)
    other = "data=text_classification reads each file, or each folder, as a class"
    return replace(found, questions=(f"are the files classes? {other}",)) if len(files) > 1 else found


def _pattern(folder: Path, files: Sequence[Path]) -> str:
    """``*``, or where files of several kinds lie in a folder, the commonest ending of texts."""
    endings: dict[str, int] = {}
    for file in files:
        endings[file.suffix] = endings.get(file.suffix, 0) + 1
    if len(endings) < 2:
        return "*"
    readable = {
        ending: count for ending, count in endings.items() if is_text(next(f for f in files if f.suffix == ending))
    }
    if not readable:
        raise InputError(f"{folder}: none of its files is a text in UTF-8 ({', '.join(sorted(endings))})")
    best = max(readable, key=lambda ending: (readable[ending], ending))
    return f"*{best}" if best and readable[best] < len(files) else "*"


def _plain(path: Path, files: Sequence[Path], form: str, pattern: str = "*") -> PlainText:
    find_files(path, pattern)  # refuses what does not fit into memory
    size = sum(file.stat().st_size for file in files)
    parts, read = [], 0
    for file in files[:FILES]:
        parts.append(_read(file, READ - read))
        read += len(parts[-1].encode())
        if read >= READ:
            break
    text = "".join(parts)
    if not text.strip():
        raise InputError(f"{path}: nothing but blanks in it")
    share = max(1.0, size / max(1, read))
    words = len(text.split())
    odd = []
    if words * share < 2000:
        odd.append(f"{counted(round(words * share), 'words', 'are')} few: a network will learn them by heart")
    lines = [line for line in text.splitlines() if line.strip()]
    doubled = len(lines) - len(set(lines))
    if len(lines) >= 20 and doubled > len(lines) / 2:
        odd.append(f"{doubled / len(lines):.0%} of the lines are repetitions of others")
    keys: dict[str, Any] = {} if pattern == "*" else {"data.pattern": pattern}
    beginning = " ".join(text[:400].split())
    return PlainText(
        path=path, form=form, extent=Extent(size, round(len(lines) * share), whole=share == 1.0), files=len(files),
        characters=round(len(text) * share), words=round(words * share), distinct=len(set(text)),
        sample=beginning[:60], odd=tuple(odd), keys=keys,
    )  # fmt: skip


def _read(file: Path, most: int) -> str:
    """The text of a file, or its first lines.

    Raises:
        InputError: it is no UTF-8, with the line.
    """
    try:
        with open(file, "rb") as stream:
            content = stream.read(most + 1)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    if len(content) > most:
        content = content[: content.rfind(b"\n", 0, most) + 1 or most]
        content = content.decode("utf-8", "ignore").encode() if not content.endswith(b"\n") else content
    return decode_whole(content, str(file))


def _classes_by_file(files: Sequence[Path]) -> str:
    """Why files are taken for classes; empty where they are texts."""
    stems = {re.sub(r"[^a-z]", "", file.stem.lower()) for file in files}
    if any(pair <= stems for pair in OPPOSITES) and len(files) <= 5:
        return "the names of the files"
    if "" in stems:  # numbers are no names of classes
        return ""
    sentences = []
    for file in files[:50]:
        lines = [line.strip() for line in _read(file, 1 << 16).split("\n") if line.strip()]
        if len(lines) < 3:
            return ""
        words = sum(len(line.split()) for line in lines) / len(lines)
        if words > SHORT and not all(line.endswith(SENTENCE_END) for line in lines[:50]):
            return ""
        sentences.append(words)
    if max(sentences) <= 4:
        return f"lines of {sum(sentences) / len(sentences):.1f} words are no sentences"
    ends = [
        line.rstrip().endswith(SENTENCE_END)
        for file in files[:20]
        for line in _read(file, 1 << 14).split("\n")
        if line.strip()
    ]
    return "each line is a sentence of its own" if sum(ends) > 0.95 * len(ends) else ""


def _labelled(folder: Path, files: Sequence[Path], pattern: str, form: str, why: str) -> Labelled:
    size = sum(file.stat().st_size for file in files)
    whole = size <= READ
    pairs = list(read_labelled(folder, pattern, "text", "label")) if whole else _some(folder, files)
    frame = pl.DataFrame(pairs, schema=["text", "label"], orient="row")
    there = frame.filter(pl.col("text") != "")
    if not there.height:
        raise InputError(f"{folder}: no text in its files")
    words = words_of(there["text"])
    keys: dict[str, Any] = {} if pattern == "*" else {"data.pattern": pattern}
    if words >= 8:
        keys["data.unit"] = "word"
    counts = classes_of(there)
    share = 1.0 if whole else size / max(1, int(there["text"].str.len_bytes().sum()) + there.height)
    counts = {name: round(count * share) for name, count in counts.items()}
    return Labelled(
        path=folder, form=f"a folder with {form}", extent=Extent(size, round(there.height * share), whole),
        data="text_classification", classes=counts, examples="texts", unit="characters",
        lengths=spread(there["text"].str.len_chars().to_numpy()),
        text=Choice((), ""), label=Choice((), why), odd=odd_texts(there, 0), keys=keys,
        questions=("are the files texts of one kind, rather than classes? data=text reads them one after the other",),
    )  # fmt: skip


def _some(folder: Path, files: Sequence[Path]) -> list[tuple[str, str]]:
    """Texts and classes of a large folder, as many of each file in proportion to its size."""
    root = Path(commonpath([file.parent for file in files]))
    chosen = files[:: max(1, len(files) // FILES)]
    share = READ / sum(file.stat().st_size for file in chosen)
    pairs = []
    for file in chosen:
        if file.parent == root:
            text = _read(file, max(1 << 12, int(share * file.stat().st_size)))
            pairs += [(line.strip(), file.stem) for line in text.removesuffix("\n").split("\n")]
        else:
            pairs.append((_read(file, READ).strip(), file.relative_to(root).parts[0]))
    return pairs
