"""From a path to a description: what kind of file or folder it is decides who looks at it."""

import shlex
from pathlib import Path

from rnnlab.errors import InputError, nearest
from rnnlab.files.dialect import SEPARATORS, cells_of, is_number
from rnnlab.files.table import PARQUET
from rnnlab.start.description import Description, Unclear
from rnnlab.start.recordings import look_at_recordings
from rnnlab.start.sample import JSON_LINES
from rnnlab.start.table import look_at_table
from rnnlab.start.texts import is_binary, look_at_text, look_at_texts
from rnnlab.start.trial import tried

TABLES = (".csv", ".tsv", ".tab", *PARQUET, *JSON_LINES)
INSTEAD = {
    ".xlsx": "save the sheet as CSV", ".xls": "save the sheet as CSV", ".ods": "save the sheet as CSV",
    ".gz": "unpack it first: gunzip -k FILE",
    ".zip": "unpack it first: unzip FILE", ".bz2": "unpack it first: bunzip2 -k FILE",
    ".xz": "unpack it first: xz -dk FILE", ".zst": "unpack it first: zstd -d FILE",
    ".tar": "unpack it first: tar xf FILE",
    ".tgz": "unpack it first: tar xzf FILE", ".7z": "unpack it first",
    ".json": "write an object a line into FILE.jsonl: jq -c '.[]' FILE > FILE.jsonl",
    ".npy": "arrays take a class of a few lines: docs/pages/own_data.md, Anything else",
    ".npz": "arrays take a class of a few lines: docs/pages/own_data.md, Anything else",
    ".mat": "arrays take a class of a few lines: docs/pages/own_data.md, Anything else",
    ".h5": "arrays take a class of a few lines: docs/pages/own_data.md, Anything else",
    ".pkl": "a pickle may run code, and is not read: write CSV or Parquet, such as by DataFrame.to_parquet",
    ".pt": "weights are not data: a run is its directory, such as rnnlab evaluate outputs/…",
    ".ckpt": "weights are not data: a run is its directory, such as rnnlab evaluate outputs/…",
    ".arff": "write a .ts file, as docs/pages/own_data.md shows, or CSV",
    ".feather": "write Parquet, such as by polars.read_ipc(FILE).write_parquet(NEW)",
    ".arrow": "write Parquet, such as by polars.read_ipc(FILE).write_parquet(NEW)",
    ".db": "write the table as CSV: sqlite3 -header -csv FILE 'select …' > FILE.csv",
    ".sqlite": "write the table as CSV: sqlite3 -header -csv FILE 'select …' > FILE.csv",
    ".pdf": "write its text into FILE.txt: pdftotext FILE",
    ".docx": "save it as plain text",
    ".wav": "recordings take a class of a few lines: docs/pages/own_data.md, Anything else",
}  # fmt: skip
"""What to do about files of other kinds, by their ending."""
START = 1 << 16


def look(path: Path) -> Description:
    """What a file or a folder holds, tried out where it is small.

    Raises:
        InputError: it is not there, empty, of a kind that nothing reads, or wrong: named with its line.
    """
    if not path.exists():
        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(f"{path}: there is no such file or folder{nearest(path.name, beside)}")
    try:
        return tried(_look_at_folder(path) if path.is_dir() else _look_at_file(path))
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror}") from None


def _look_at_file(path: Path) -> Description:
    if not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder")
    suffix = path.suffix.lower()
    with open(path, "rb") as file:
        start = file.read(START)
    if not start.strip():
        raise InputError(f"{path} is empty")
    if suffix == ".ts":
        return look_at_recordings(path)
    if suffix in PARQUET or start[:4] == b"PAR1":
        if suffix not in PARQUET:
            raise InputError(f"{path} is Parquet, and is read as such where its name ends in .parquet: rename it")
        return look_at_table(path)
    if suffix in INSTEAD:
        raise InputError(
            f"{path}: rnnlab does not read {suffix}: {INSTEAD[suffix].replace('FILE', shlex.quote(str(path)))}"
        )
    if is_binary(start):
        raise InputError(
            f"{path} is no text: rnnlab reads CSV, Parquet (*.parquet), JSON lines (*.jsonl), .ts and plain text"
        )
    if suffix in TABLES or _is_table(start):
        return look_at_table(path)
    return look_at_text(path)


def _is_table(start: bytes) -> bool:
    """Whether a file whose name does not say it is a table: several rows of as many cells, some of them numbers."""
    lines = start.decode("utf-8", "replace").removeprefix("\ufeff").split("\n")[:30]
    lines = [line.rstrip("\r") for line in (lines[:-1] if len(lines) > 1 else lines) if line.strip()]
    if len(lines) < 3:
        return False
    for separator in SEPARATORS:
        rows = [cells_of(line, separator) for line in lines]
        widths = {len(row) for row in rows}
        if len(widths) == 1 and widths != {1}:
            share = sum(is_number(cell) for row in rows[1:] for cell in row) / sum(len(row) for row in rows[1:])
            if share > 0.3:
                return True
    return all(is_number(line.strip()) for line in lines[1:])


def _look_at_folder(folder: Path) -> Description:
    files = [
        file for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]  # fmt: skip
    if not files:
        raise InputError(f"{folder}: no file in this folder")
    if any(file.suffix.lower() == ".ts" for file in files):
        return look_at_recordings(folder)
    tables = [file for file in files if file.suffix.lower() in TABLES]
    if len(tables) == 1:
        return _look_at_file(tables[0])
    if len(tables) > len(files) / 2:
        size = sum(file.stat().st_size for file in tables)
        several = ", ".join(str(file.relative_to(folder)) for file in tables[:3])
        raise InputError(
            f"{folder} holds {len(tables)} tables ({several}, …; {size / 1e6:.1f} MB): give one of them; several of "
            "the same columns are joined into one first, with a column that names the file (data.series)"
        )
    if len(files) == 1:
        return _look_at_file(files[0])
    for file in files:
        if file.suffix.lower() in INSTEAD and all(other.suffix == file.suffix for other in files):
            hint = INSTEAD[file.suffix.lower()].replace("FILE", shlex.quote(str(file)))
            raise InputError(f"{folder}: rnnlab does not read {file.suffix}: {hint}")
    return look_at_texts(folder, files)


def is_unclear(found: Description) -> bool:
    """Whether nothing can be trained on it as it is."""
    return isinstance(found, Unclear)
