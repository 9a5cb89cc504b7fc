"""Lines of text files: of UTF-8, or named where they are not; cells of a CSV, line by line."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rnnlab.errors import InputError

SAMPLE = 1 << 20
BINARY = 1 << 12
"""Bytes that tell whether it is a text."""
MOSTLY = 0.8
"""Share of the characters from which zeros in every second byte tell two bytes a character."""
WESTERN = 0.5
"""Share of the letters, in the languages that cp1252 was made for, that have marks or are ligatures: never more."""
FEW = 8
"""Letters that say nothing of that."""
NOT_IN_CP1252 = frozenset((0x81, 0x8D, 0x8F, 0x90, 0x9D))
MOST_COMMENTS = 100
"""Lines above a header that are looked for."""
READ = "rnnlab reads CSV, Parquet (*.parquet), JSON lines (*.jsonl), .ts and plain text"


class OtherEncoding(InputError):
    """A text that is no UTF-8, and in no way that a reader could go on with."""


def explain(content: Path | bytes, source: str, separator: str, quoted: bool = True) -> None:
    """Finds the line with too many cells, an open quotation mark or of another encoding, which polars does not tell, in
    a second pass.

    Raises:
        InputError: naming it.
    """
    width, begins, ends, rows = 0, 1, 0, 0
    for number, cells in lines_of(content, source, separator, quoted):
        begins, ends = ends + 1, number
        width = width or len(cells)
        rows += bool(cells)
        if len(cells) > width == 1 and rows == 2:
            raise InputError(
                f"{source}, line {number}: {len(cells)} cells, and the first line has one: if that stands above the "
                f"header, leave it out, such as by tail -n +{number} FILE > NEW; if the separator stands within a "
                "cell, put it in quotation marks"
            )
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
        InputError: it is none, or no text.
    """
    if b"\0" in line or (is_first and wide_encoding(line)):
        raise binary(place, line)
    try:
        return line.decode("utf-8-sig" if is_first else "utf-8")
    except UnicodeDecodeError as error:
        raise no_text(place, error) from None


def decode_whole(content: bytes, source: str) -> str:
    """A text of UTF-8, without its byte order mark.

    Raises:
        InputError: it is none, named with its line, or no text.
    """
    check_text(content, source)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise no_text(f"{source}, line {error.object[: error.start].count(10) + 1}", error) from None


def no_text(place: str, error: UnicodeDecodeError, before: str = "", after: str = "") -> InputError:
    """What to say of a place that is no UTF-8, and how it becomes such.

    Args:
        place: in words.
        error: what decoding said, with the bytes that it read.
        before: what else may be done, before that.
        after: the same, behind it.
    """
    encoding = probable_encoding(error.object)
    probably = f", but probably {encoding}" if encoding is not None else ""
    what = f"byte 0x{error.object[error.start]:02x} is no UTF-8 ({error.reason}){probably}"
    return OtherEncoding(f"{place}: {what}: {before}{_conversion(encoding)}{after}")


def _conversion(encoding: str | None) -> str:
    """How a file becomes UTF-8."""
    which = "" if encoding else " (iconv -l lists the encodings)"
    return f"convert it, such as by iconv -f {encoding or 'ENCODING'} -t utf-8 FILE > NEW{which}"


def probable_encoding(content: bytes) -> str | None:
    """That of bytes which are no UTF-8, if it can be told."""
    encoding = wide_encoding(content)
    if encoding is not None:
        return encoding
    # cp1252 has all characters of latin1, and from 0x80 to 0x9f, where that has none, such as the euro sign
    above = sum(byte > 0x7F for byte in content)
    letters = above + sum(bytes([byte]).isalpha() for byte in content)
    if any(byte in NOT_IN_CP1252 for byte in content) or above > max(FEW, WESTERN * letters):
        return None
    return "cp1252"


def wide_encoding(content: bytes) -> str | None:
    """The encoding of two or four bytes a character, by its mark or by its zeros, if it is such a one."""
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    start = content[:BINARY]
    pairs = len(start) // 2
    first, second = start[: 2 * pairs : 2].count(0), start[1 : 2 * pairs : 2].count(0)
    if pairs and second >= MOSTLY * pairs and not first:
        return "utf-16le"
    return "utf-16be" if pairs and first >= MOSTLY * pairs and not second else None


def check_text(start: bytes, source: str, before: str = "", after: str = "") -> None:
    """Refuses what is no text, or one of two bytes a character, even where its bytes happen to be UTF-8.

    Args:
        start: its first bytes, or all of them.
        source: in words.
        before: what else may be done than to convert it, before that.
        after: the same, behind it.

    Raises:
        InputError: saying what it is, and how it becomes UTF-8.
    """
    if is_binary(start[:BINARY]):
        raise binary(source, start[:BINARY], before, after)


def is_binary(start: bytes) -> bool:
    """Whether the first bytes of a file are those of no text in UTF-8: zeros, marks, many that no text has."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True  # of two bytes a character
    # ESC colours the lines of a log
    odd = sum(byte < 9 or 13 < byte < 32 for byte in start) - start.count(b"\x1b")
    return b"\0" in start or odd > len(start) / 50


def binary(source: str, start: bytes, before: str = "", after: str = "") -> InputError:
    """What to say of a file that is no text, by its first bytes, or of one of two bytes a character; see
    :func:`check_text`.
    """
    encoding = wide_encoding(start)
    if encoding is not None:
        return OtherEncoding(f"{source} is no UTF-8 but {encoding}: {before}{_conversion(encoding)}{after}")
    return InputError(f"{source} is no text: {before.rstrip(', ') + after or READ}")


def first_line(content: Path | bytes, source: str) -> str:
    """The header of a CSV.

    Raises:
        InputError: it is no text, no UTF-8, or the lines of the file end as no program of today ends them.
    """
    with open(content, "rb") if isinstance(content, Path) else io.BytesIO(content) as file:
        start = file.read(BINARY)
        file.seek(0)
        line = file.readline(SAMPLE)
        comments = _comments([line, *(file.readline(SAMPLE) for _ in range(MOST_COMMENTS))])
    if not start.strip(b"\xef\xbb\xbf\r\n\t "):
        raise InputError(f"{source} is empty")
    check_text(start, source)
    if b"\r" in line.rstrip(b"\r\n"):
        raise InputError(f"{source}: its lines end with CR alone: convert it, such as by tr '\\r' '\\n' < FILE > NEW")
    if comments:
        raise InputError(
            f"{source}: {'its first line starts' if comments == 1 else f'its first {comments} lines start'} with # "
            f"above the header: leave out what does, such as by tail -n +{comments + 1} FILE > NEW"
        )
    return decode(line, f"{source}, line 1", True).rstrip("\r\n")


def _comments(lines: Sequence[bytes]) -> int:
    """How many lines are comments above a header; 0 where the first line may be one that starts with a #."""
    below = [line.removeprefix(b"\xef\xbb\xbf") for line in lines]
    number = next((k for k, line in enumerate(below) if not line.startswith(b"#")), len(lines))
    if number != 1:
        return number if number < len(lines) else 0
    header, row = (re.search(rb"(?:^|[,;\t])\s*[+-]?\d", line) for line in (below[1], below[2]))
    return int(bool(below[1].strip()) and header is None and row is not None)
