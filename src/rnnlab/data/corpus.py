"""Text as token numbers: by character, by byte or by word."""

import codecs
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.words import words
from rnnlab.errors import InputError
from rnnlab.files.folders import files_below, texts_among
from rnnlab.files.lines import check_text, no_text
from rnnlab.files.memory import gigabytes, machine_memory

Unit = Literal["character", "byte", "word"]
UNKNOWN = "<unk>"
NGRAM_BUCKETS = 2**16
BLOCK = 2**20
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


def read(
    blocks: Iterable[Any],
    unit: Unit,
    share: float = 1.0,
    min_count: int = 1,
    vocabulary: tuple[str, ...] | None = None,
) -> Corpus:
    """Reads a text block by block.

    Args:
        blocks: of bytes for ``byte``, else decoded.
        unit: of a token.
        share: of the text, from its start, of which the vocabulary is made.
        min_count: how often a character or word must occur there to have a number of its own.
        vocabulary: what each number stands for, where that is settled already.
    """
    seen: list[str] = []
    if unit == "byte":
        buffer = bytearray()
        for block in blocks:
            buffer += block
        return Corpus(torch.from_numpy(np.frombuffer(buffer, np.uint8)), tuple(map(chr, range(256))), unit)
    number = _words if unit == "word" else _characters
    codes = _joined(number(blocks, seen), seen)
    if vocabulary is None:
        counts = np.zeros(len(seen), np.int64)
        for part in _parts(codes[: round(share * len(codes))]):
            counts += np.bincount(part, minlength=len(seen))
        # by name, so that a number depends on the text alone
        vocabulary = (UNKNOWN, *sorted(seen[code] for code in np.flatnonzero(counts >= min_count)))
    known = {token: number for number, token in enumerate(vocabulary)}
    codes = codes.astype(np.promote_types(codes.dtype, _type(len(vocabulary))), copy=False)
    numbers = np.array([known.get(token, 0) for token in seen], codes.dtype)
    for part in _parts(codes):
        part[:] = numbers[part]
    return Corpus(torch.from_numpy(codes.astype(_type(len(vocabulary)), copy=False)), vocabulary, unit)


def _joined(blocks: Iterable[np.ndarray], seen: list[str]) -> np.ndarray:
    """All blocks as one array, of a type for as many numbers as ``seen`` has in the end, and ``<unk>``."""
    buffer, dtype = bytearray(), np.dtype(np.uint8)
    for block in blocks:
        needed = np.dtype(_type(len(seen) + 1))
        if needed.itemsize > dtype.itemsize:
            buffer, dtype = bytearray(np.frombuffer(buffer, dtype).astype(needed).tobytes()), needed
        # a bytearray grows in place, where a list of arrays would stand in memory beside what it is joined to
        buffer += block.astype(dtype).tobytes()
    return np.frombuffer(buffer, dtype)


def _parts(codes: np.ndarray) -> Iterator[np.ndarray]:
    """Views one after the other, small enough that what is computed from them takes little memory."""
    return (codes[start : start + BLOCK] for start in range(0, len(codes), BLOCK))


def _characters(texts: Iterable[str], seen: list[str]) -> Iterator[np.ndarray]:
    """Each block's characters, numbered as they are met: ``seen`` has them by number."""
    numbers = np.full(sys.maxunicode + 1, -1, np.int32)
    for text in texts:
        codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
        new = np.unique(codes[numbers[codes] < 0])
        numbers[new] = np.arange(len(seen), len(seen) + len(new))
        seen.extend(map(chr, new.tolist()))
        yield numbers[codes]


def _words(texts: Iterable[str], seen: list[str]) -> Iterator[np.ndarray]:
    """Each block's words, numbered as they are met: ``seen`` has them by number."""
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__  # a word that is new gets the next number
    rest = ""
    for text in chain(texts, [None]):
        # what comes after the last space may go on in the next block
        rest += text or ""
        end = max(rest.rfind(" "), rest.rfind("\n")) + 1 if text is not None else len(rest)
        found = words(rest[:end])
        block = np.fromiter(map(numbers.__getitem__, found), np.int32, len(found))
        new = [*islice(reversed(numbers), len(numbers) - len(seen))]
        seen.extend(reversed(new))
        yield block
        rest = rest[end:]


def _type(size: int) -> type[np.generic]:
    # those that torch can index, which leaves out its unsigned ones
    return np.uint8 if size <= 2**8 else np.int16 if size <= 2**15 else np.int32


def check_vocabulary(vocabulary: Sequence[str], unit: str) -> tuple[str, ...]:
    """A vocabulary that was handed in, as a tuple.

    Raises:
        InputError: it can't be one of this unit.
    """
    if unit == "byte" and list(vocabulary) != list(map(chr, range(256))):
        raise InputError("data.vocabulary: data.unit=byte has a vocabulary of its own, all 256 bytes: leave it null")
    if unit != "byte" and (not vocabulary or vocabulary[0] != UNKNOWN or len(set(vocabulary)) < len(vocabulary)):
        raise InputError(f"data.vocabulary: the first is {UNKNOWN}, and each {unit} stands there once")
    return tuple(vocabulary)


# ---- files --------------------------------------------------------------------------------------


def find_files(path: Path, pattern: str, growth: int = GROWTH) -> list[Path]:
    """The file itself, or those below a folder that match, by name, as :func:`files_below` has them.

    Args:
        path: of a file or a folder.
        pattern: which files of the folder, at any depth.
        growth: how many times their size reading them takes.

    Raises:
        InputError: there is none, they are empty, or too large for this machine's memory.
    """
    if not path.exists():
        raise InputError(f"data.path={path}: there is no such file or folder")
    files = [path]
    if path.is_dir():
        files = files_below(path, pattern, texts_among, "data.pattern=?* takes all files")
        if not files:
            raise InputError(f"data.path={path}: no file in this folder matches data.pattern={pattern}")
    size, memory = sum(file.stat().st_size for file in files), machine_memory()
    if not size:
        raise InputError(f"data.path={path}: {'these files are' if path.is_dir() else 'this file is'} empty")
    if growth * size > memory:
        raise InputError(
            f"data.path={path} is {gigabytes(size)} of text; reading it can take {growth} times as much memory, and "
            f"this machine has {gigabytes(memory)}: give a part of it"
        )
    return files


def read_bytes(files: Iterable[Path]) -> Iterator[bytes]:
    """The files one after the other, in blocks.

    Raises:
        InputError: a file cannot be read.
    """
    for file in files:
        yield from _blocks(file)


def read_text(files: Iterable[Path], others: bool = False, advice: str = "") -> Iterator[str]:
    """The same, decoded from UTF-8, each without its byte order mark.

    Args:
        files: in their order.
        others: whether a pattern chose them, and another one would choose others.
        advice: what else to do about a file that is no UTF-8, if anything.

    Raises:
        InputError: a file cannot be read, or is no UTF-8: named with its line.
    """
    before, after = "choose others by data.pattern, " if others else "", f", {advice}" if advice else ""
    for file in files:
        decoder, line = codecs.getincrementaldecoder("utf-8-sig")(), 1
        for number, block in enumerate(chain(_blocks(file), [b""])):
            if not number:
                check_text(block, str(file), before, after)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                raise no_text(f"{file}, line {line}", error, before, after) from None
            line += text.count("\n")
            yield text


def _blocks(file: Path) -> Iterator[bytes]:
    try:
        with open(file, "rb") as stream:
            yield from iter(lambda: stream.read(BLOCK), b"")
    except OSError as error:
        raise InputError(f"data.path={file} cannot be read: {error.strerror}") from error
