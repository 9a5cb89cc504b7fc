"""Parts of a table: all of a small one, the start, the middle and the end of a large one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rnnlab.errors import InputError
from rnnlab.files.dialect import Dialect
from rnnlab.files.lines import explain, first_line
from rnnlab.files.source import Source
from rnnlab.files.table import PARQUET, scan_csv
from rnnlab.start.description import Extent

START = 1 << 16
"""Bytes by which the kind of a file is told."""
WHOLE = 1 << 25
"""Bytes of a file that is read whole."""
HEAD, PART = 1 << 24, 1 << 21
"""Bytes that are read of a larger one: at its start, and at each of the other places."""
PLACES = (0.35, 0.7, 1.0)
"""Where the other parts end, in shares of the file."""
ROWS = 300_000
"""Rows of a large Parquet file that are read at its start; a tenth of it at each of the other places."""
JSON_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of a table.

    Attributes:
        pieces: rows that follow each other in the file, the first ones from its start.
        extent: of the whole file.
        separator: of the cells of a CSV; empty for others.
    """

    pieces: Sequence[pl.DataFrame]
    extent: Extent
    separator: str = ""

    @property
    def head(self) -> pl.DataFrame:
        """The first rows: all of them where the file was read whole."""
        return self.pieces[0]

    @property
    def all(self) -> pl.DataFrame:
        """What was read, without its gaps."""
        return pl.concat(self.pieces) if len(self.pieces) > 1 else self.head


def sample_table(path: Path, dialect: Dialect | None = None, names: Sequence[str] = ()) -> Sample:
    """Reads a table as training does, and of a large file some parts.

    Args:
        path: of a CSV, whose cells are then all text, a Parquet file or JSON lines.
        dialect: in which it is written.
        names: of the columns of a small CSV that has no header.

    Raises:
        InputError: it cannot be read: named with its line.
    """
    size, dialect = path.stat().st_size, dialect or Dialect()
    try:
        if path.suffix.lower() in PARQUET:
            return _parquet(path, size)
        if path.suffix.lower() in JSON_LINES:
            return _json_lines(path, size)
        return _csv(path, size, dialect, names)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path} cannot be read: {(str(error).splitlines() or [''])[0]}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def _parquet(path: Path, size: int) -> Sample:
    lazy = pl.scan_parquet(path)
    rows = int(lazy.select(pl.len()).collect().item())
    if size <= WHOLE and rows <= 10 * ROWS:
        return Sample([lazy.collect()], Extent(size, rows))
    parts = [lazy.head(ROWS)]
    parts += [lazy.slice(max(ROWS, int(rows * share) - ROWS // 10), ROWS // 10) for share in PLACES]
    return Sample([part.collect() for part in parts], Extent(size, rows, whole=False))


def _json_lines(path: Path, size: int) -> Sample:
    blocks, whole = _blocks(path, size)
    frames = [Source(str(path), "jsonl", block).frame() for block in blocks]
    rows = sum(frame.height for frame in frames)
    if not whole:
        rows = round(rows * size / sum(map(len, blocks)))
        shared = [name for name in frames[0].columns if all(name in frame.columns for frame in frames)]
        frames = [frame.select(pl.col(shared).cast(pl.String)) for frame in frames]
    return Sample(frames, Extent(size, rows, whole))


def _csv(path: Path, size: int, dialect: Dialect, names: Sequence[str]) -> Sample:
    source = str(path)
    separator = dialect.separator_of(first_line(path, source))
    if size <= WHOLE:
        content: Path | bytes = path
        if names:
            content = f"{separator.join(names)}\n".encode() + path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        try:
            frame = scan_csv(content, source, dialect).collect()
        except pl.exceptions.PolarsError as error:
            explain(path, source, separator)
            raise InputError(f"{source} is no table: {str(error).splitlines()[0]}") from None
        return Sample([frame], Extent(size, frame.height), separator)
    blocks, _ = _blocks(path, size)
    header = blocks[0][: blocks[0].index(b"\n") + 1]
    frames = []
    for number, block in enumerate(blocks):
        content = block if number == 0 else header + block
        try:
            frames.append(scan_csv(content, source, dialect).collect())
        except pl.exceptions.PolarsError:
            if number == 0:
                explain(content, source, separator)
                raise
            # a part that begins within a cell of several lines
    read = sum(map(len, blocks))
    rows = round(sum(frame.height for frame in frames) * size / read)
    return Sample(frames, Extent(size, rows, whole=False), separator)


def _blocks(path: Path, size: int) -> tuple[list[bytes], bool]:
    """Whole lines from several places of a file; all of it where it is small."""
    if size <= WHOLE:
        return [path.read_bytes()], True
    blocks = []
    with open(path, "rb") as file:
        head = file.read(HEAD)
        blocks.append(head[: head.rfind(b"\n") + 1])
        if not blocks[0]:
            raise InputError(f"{path}: its first line has more than {HEAD / 1e6:.0f} MB: it is no table")
        for share in PLACES:
            file.seek(max(HEAD, int(size * share) - PART))
            block = file.read(PART)
            start, end = block.find(b"\n") + 1, block.rfind(b"\n") + 1
            if end > start:
                blocks.append(block[start:end])
    return blocks, False


def mentions(file: Path, endings: Sequence[str]) -> bool:
    """Whether a table names files with such endings, as far as its first rows tell."""
    if file.suffix.lower() in PARQUET:
        try:
            frame = pl.scan_parquet(file).head(20).collect()
        except pl.exceptions.PolarsError:
            return False  # whoever reads it says more
        text = " ".join(str(cell) for name in frame.columns if frame[name].dtype == pl.String for cell in frame[name])
    else:
        with open(file, "rb") as stream:
            text = stream.read(START).decode("utf-8", "replace")
    return any(ending in text.lower() for ending in endings)
