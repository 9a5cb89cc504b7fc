"""Lines of text files: of UTF-8, or named where they are not; cells of a CSV, line by line."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from rnnlab.errors import InputError

SAMPLE = 1 << 20
BINARY = 1 << 12
"""Bytes that tell whether it is a text."""
READ = "rnnlab reads CSV, Parquet (*.parquet), JSON lines (*.jsonl), .ts and plain text"


def explain(content: Path | bytes, source: str, separator: str, quoted: bool = True) -> None:
    """Finds the line with too many cells, an open quotation mark or of another encoding, which polars does not tell, in
    a second pass.

    Raises:
        InputError: naming it.
    """
    width, begins, ends = 0, 1, 0
    for number, cells in lines_of(content, source, separator, quoted):
        begins, ends = ends + 1, number
        width = width or len(cells)
        if len(cells) > width:
            raise InputError(
                f"{source}, line {number}: {len(cells)} cells, and the header has {width}: if the separator stands "
                "within a cell, put it in quotation marks"
            )
    if quoted:
        with open(content, "rb") if isinstance(content, Path) else io.BytesIO(content) as file:
            open_at_the_end = sum(line.count(b'"') for line in file) % 2
        if open_at_the_end:
            raise InputError(f"{source}, line {begins}: a quotation mark is opened here and never closed")


def lines_of(
    content: Path | bytes, source: str, separator: str, quoted: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """Each line's number and its cells.

    Raises:
        InputError: a line is no UTF-8, or no CSV.
    """

    def decoded() -> Iterator[str]:
        with open(content, "rb") if isinstance(content, Path) else io.BytesIO(content) as file:
            for number, line in enumerate(file, 1):
                yield decode(line, f"{source}, line {number}", number == 1)

    reader = csv.reader(decoded(), delimiter=separator, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise InputError(f"{source}, line {reader.line_num}: {error}") from None


def decode(line: bytes, place: str, is_first: bool = False) -> str:
    """A line of UTF-8; the first one may have a byte order mark.

    Raises:
        InputError: it is none.
    """
    try:
        return line.decode("utf-8-sig" if is_first else "utf-8")
    except UnicodeDecodeError as error:
        raise no_text(place, error) from None


def decode_whole(content: bytes, source: str) -> str:
    """A text of UTF-8, without its byte order mark.

    Raises:
        InputError: it is none: named with its line.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise no_text(f"{source}, line {error.object[: error.start].count(10) + 1}", error) from None


def no_text(
    place: str, error: UnicodeDecodeError, advice: str = "convert it, such as by iconv -f latin1 -t utf-8 FILE"
) -> InputError:
    """What to say of a place that is no UTF-8."""
    return InputError(f"{place}: byte 0x{error.object[error.start]:02x} is no UTF-8 ({error.reason}): {advice}")


def is_binary(start: bytes) -> bool:
    """Whether the first bytes of a file are those of no text: zeros, or many that no text has."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False  # UTF-16, of which reading says more
    odd = sum(byte < 9 or 13 < byte < 32 for byte in start)
    return b"\0" in start or odd > len(start) / 50


def first_line(content: Path | bytes, source: str) -> str:
    """The header of a CSV.

    Raises:
        InputError: it is no text, no UTF-8, or the lines of the file end as no program of today ends them.
    """
    with open(content, "rb") if isinstance(content, Path) else io.BytesIO(content) as file:
        start = file.read(BINARY)
        file.seek(0)
        line = file.readline(SAMPLE)
    if is_binary(start):
        raise InputError(f"{source} is no text: {READ}")
    if b"\r" in line.rstrip(b"\r\n"):
        raise InputError(f"{source}: its lines end with CR alone: convert it, such as by tr '\\r' '\\n' < FILE > NEW")
    return decode(line, f"{source}, line 1", True).rstrip("\r\n")
