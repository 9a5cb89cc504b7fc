"""Text as token numbers: by character, by byte or by word."""

import codecs
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rnnlab.errors import InputError

Unit = Literal["character", "byte", "word"]
UNKNOWN = "<unk>"
WORD = re.compile(r"\w+|[^\w\s]|\n")
"""A run of letters, digits and underscores, any other sign by itself, or the end of a line; spaces only part them."""

BLOCK = 2**22
"""Bytes that are decoded at a time: no more of the text than this is ever held as Python strings."""
GROWTH = 3
"""Reading needs at most so many times the size of the files (benchmarks/text.py)."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text that has been read.

    Attributes:
        ids: ``(tokens,)`` token numbers, of the smallest integer type that holds them.
        vocabulary: what each number stands for. Characters and words have
            ``<unk>`` as number 0, for what the first part of the text, of
            which the vocabulary is made, shows too seldom or never; bytes are
            all 256, shown as Latin-1.
        unit: of a token.
    """

    ids: Tensor
    vocabulary: tuple[str, ...]
    unit: Unit

    def encoded(self, ids: Tensor) -> bytes:
        """Some of the text as a compressor would get it: UTF-8, words parted by spaces, what is unknown as U+FFFD."""
        if self.unit == "byte":
            return ids.numpy().tobytes()
        tokens = ["\ufffd", *self.vocabulary[1:]]
        return (" " if self.unit == "word" else "").join(map(tokens.__getitem__, ids.tolist())).encode()


def read(blocks: Iterable[bytes] | Iterable[str], unit: Unit, share: float = 1.0, min_count: int = 1) -> Corpus:
    """Reads a text block by block.

    Args:
        blocks: of bytes for ``byte``, else decoded.
        unit: of a token.
        share: of the text, from its start, of which the vocabulary is made.
        min_count: how often a character or word must occur there to have a number of its own.
    """
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    if unit == "word":
        codes = [_compact(_numbered(words, numbers)) for words in _words(blocks)]  # type: ignore[arg-type]
    elif unit == "character":
        codes = [_compact(np.frombuffer(text.encode("utf-32-le"), "<u4")) for text in blocks]  # type: ignore[union-attr]
    else:
        codes = [np.frombuffer(block, np.uint8) for block in blocks]  # type: ignore[arg-type]
    total = sum(map(len, codes))
    if unit == "byte":
        vocabulary = tuple(map(chr, range(256)))
        lookup = np.arange(256, dtype=np.uint8)
    else:
        counts = _count(codes, round(share * total))
        kept = np.flatnonzero(counts >= min_count)
        names = list(numbers) if unit == "word" else None
        vocabulary = (UNKNOWN, *(names[code] if names else chr(code) for code in kept.tolist()))
        highest = max((int(block.max()) for block in codes if len(block)), default=0)
        lookup = np.zeros(highest + 1, _type(len(vocabulary)))
        lookup[kept] = np.arange(1, len(vocabulary))
    ids = np.empty(total, lookup.dtype)
    end = total
    while codes:  # from the end, so that a block is freed as soon as it has been looked up
        block = codes.pop()
        ids[end - len(block) : end] = lookup[block]
        end -= len(block)
    return Corpus(torch.from_numpy(ids), vocabulary, unit)


def _words(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = ""
    for text in texts:
        # what comes after the last space may go on in the next block
        rest += text
        end = max(rest.rfind(" "), rest.rfind("\n")) + 1
        yield WORD.findall(rest[:end])
        rest = rest[end:]
    yield WORD.findall(rest)


def _numbered(words: list[str], numbers: defaultdict[str, int]) -> np.ndarray:
    # a word that is new gets the next number
    return np.fromiter(map(numbers.__getitem__, words), np.uint32, len(words))


def _compact(codes: np.ndarray) -> np.ndarray:
    top = int(codes.max()) if len(codes) else 0
    return codes.astype(np.uint8 if top < 2**8 else np.uint16 if top < 2**16 else np.uint32)


def _type(size: int) -> type[np.generic]:
    # those that torch can index, which leaves out its unsigned ones
    return np.uint8 if size <= 2**8 else np.int16 if size <= 2**15 else np.int32


def _count(codes: list[np.ndarray], tokens: int) -> np.ndarray:
    counts = np.zeros(0, np.int64)
    for block in codes:
        more = np.bincount(block[:tokens], minlength=len(counts))
        more[: len(counts)] += counts
        counts, tokens = more, max(0, tokens - len(block))
    return counts


# ---- files --------------------------------------------------------------------------------------


def find_files(path: Path, pattern: str) -> list[Path]:
    """The file itself, or those below a folder that match, by name; hidden ones are left out.

    Raises:
        InputError: there is none, they are empty, or too large for this machine's memory.
    """
    if not path.exists():
        raise InputError(f"data.path={path}: there is no such file or folder")
    files = [path]
    if path.is_dir():
        files = [file for file in sorted(path.rglob(pattern)) if file.is_file() and not _hidden(file, path)]
        if not files:
            raise InputError(f"data.path={path}: no file in this folder matches data.pattern={pattern}")
    size, memory = sum(file.stat().st_size for file in files), machine_memory()
    if not size:
        raise InputError(f"data.path={path}: {'these files are' if path.is_dir() else 'this file is'} empty")
    if GROWTH * size > memory:
        raise InputError(
            f"data.path={path} is {gigabytes(size)} of text; reading it can take {GROWTH} times as much memory, and "
            f"this machine has {gigabytes(memory)}: give a part of it"
        )
    return files


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def read_bytes(files: Iterable[Path]) -> Iterator[bytes]:
    """The files one after the other, in blocks.

    Raises:
        InputError: a file cannot be read.
    """
    for file in files:
        yield from _blocks(file)


def read_text(files: Iterable[Path]) -> Iterator[str]:
    """The same, decoded from UTF-8, each without its byte order mark.

    Raises:
        InputError: a file cannot be read, or is no UTF-8: named with its line.
    """
    for file in files:
        decoder, line = codecs.getincrementaldecoder("utf-8-sig")(), 1
        for block in chain(_blocks(file), [b""]):
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                raise InputError(
                    f"{file}, line {line}: byte 0x{error.object[error.start]:02x} is no UTF-8 ({error.reason}): "
                    "convert the file, choose others by data.pattern, or read bytes with data.unit=byte"
                ) from None
            line += text.count("\n")
            yield text


def _blocks(file: Path) -> Iterator[bytes]:
    try:
        with open(file, "rb") as stream:
            yield from iter(lambda: stream.read(BLOCK), b"")
    except OSError as error:
        raise InputError(f"data.path={file} cannot be read: {error.strerror}") from error


# ---- memory ---------------------------------------------------------------------------------------


def machine_memory() -> float:
    """Bytes of memory of this machine, or of the container that this process runs in; infinity where nobody says."""
    limits = [float("inf")]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    container = Path("/sys/fs/cgroup/memory.max")
    if container.exists() and (limit := container.read_text().strip()).isdigit():
        limits.append(int(limit))
    return min(limits)


def gigabytes(size: float) -> str:
    """Bytes as a person reads them."""
    return f"{size / 1e9:,.1f} GB"
