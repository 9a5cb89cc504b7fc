"""From a path to a description: what kind of file or folder it is decides who looks at it."""

import os
import shlex
import tempfile
from dataclasses import replace
from pathlib import Path

from rnnlab.errors import InputError, nearest
from rnnlab.files.dialect import SEPARATORS, cells_of, is_number
from rnnlab.files.folders import files_below, say_passed_over, visible, without_companions
from rnnlab.files.lines import check_text, is_binary
from rnnlab.files.table import PARQUET
from rnnlab.start.description import Description, Examples, Unclear
from rnnlab.start.images import is_image, look_at_images
from rnnlab.start.mixed import OTHERS, TABLES, kind_of, passed_over, which
from rnnlab.start.numbered import numbered_sequences
from rnnlab.start.pairs import look_at_pairs
from rnnlab.start.recordings import look_at_recordings
from rnnlab.start.rewrite import open_table, open_tables, rewritten
from rnnlab.start.sample import START
from rnnlab.start.seen import Seen
from rnnlab.start.sequences import labelled_sequences
from rnnlab.start.sounds import look_at_sounds
from rnnlab.start.table import look_at_table
from rnnlab.start.texts import look_at_text, look_at_texts
from rnnlab.start.trial import tried
from rnnlab.store.files import endless

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
    ".mp3": "write WAV or FLAC: ffmpeg -i FILE NEW.flac", ".m4a": "write WAV or FLAC: ffmpeg -i FILE NEW.flac",
}  # fmt: skip
"""What to do about files of other kinds, by their ending."""
FEW_BESIDE = 2
"""Texts or pictures beside the one table of a folder that are about it, as it seems."""
NUMBERS = 0.3
"""Share of the cells below the first line that are numbers, in a file whose name does not say that it is a table."""


def look(path: Path) -> Description:
    """What a file or a folder holds, tried out where it is small.

    Raises:
        InputError: it is not there, empty, of a kind that nothing reads, or wrong: named with its line.
    """
    if path.exists() and endless(path) is None and (examples := _examples(path)) is not None:
        return tried(examples)
    table = _table_of(path)
    if table is None:
        return tried(_look_at_folder(path) if path.is_dir() else _look_at_file(path))
    found = rewritten(table)
    if found is None:
        return tried(look_at_rows(table))
    new = Path(found.name)
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder) / new.name
        found.write(there)
        described = tried(_look_at_file(there))
    questions = [question.replace(str(there), str(new)) for question in described.questions]
    other = _test_file(path, new)
    odd = (*described.odd, other) if other else described.odd
    if isinstance(described, Examples) and described.forecast is not None:
        described = replace(described, forecast=replace(described.forecast, path=new))
    extent = replace(described.extent, bytes=table.sample.extent.bytes)
    return replace(
        described, path=new, original=path, why=found.why, questions=tuple(questions), odd=odd, extent=extent,
        form=described.form.replace("CSV", table.form) if "CSV" in described.form else table.form,
    )  # fmt: skip


def look_at_rows(table: Seen) -> Description:
    """Labelled sequences, sequences with a number each, series, or texts."""
    return (
        labelled_sequences(table)
        or numbered_sequences(table)
        or labelled_sequences(table, by_name=False)
        or look_at_table(table)
    )


def _examples(path: Path) -> Examples | Unclear | None:
    """Sounds, images or pairs of texts; ``None`` where it is something else."""
    try:
        files = without_companions(visible(path)) if path.is_dir() else []
        for look_at in (look_at_sounds, look_at_images, look_at_pairs):
            if (found := look_at(path, files)) is None:
                continue
            captioned = isinstance(found, Examples) and found.data == "captions"  # by a table or by texts
            beside = passed_over(files, list(filter(is_image, files))) if look_at is look_at_images else ()
            return found if captioned else replace(found, odd=(*found.odd, *beside))
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror}") from None
    return None


def _test_file(path: Path, new: Path) -> str:
    """What to do about NAME_TEST beside NAME_TRAIN; empty where there is none."""
    test = path.with_name(path.name.replace("_TRAIN", "_TEST"))
    if new.suffix != ".ts" or test == path or not test.exists():
        return ""
    words = shlex.join(["rnnlab", "start", str(test), "--write", new.name.replace("_TRAIN", "_TEST")])
    return f"{test.name} is beside it, and is written in the same way: {words}"


def write(path: Path, new: Path) -> Description:
    """Writes a table in the form in which training reads it, and looks at that.

    Raises:
        InputError: it has that form, or the new file is there already or cannot be written.
    """
    table = _table_of(path)
    found = None if table is None else rewritten(table)
    if found is None:
        raise InputError(f"--write {new}: {path} needs no other form, or rnnlab knows none for it: rnnlab start {path}")
    wanted = Path(found.name).suffix
    if new.suffix != wanted:
        raise InputError(f"--write {new}: give it a name that ends in {wanted}, such as {new.with_suffix(wanted).name}")
    if new.exists():
        raise InputError(f"--write {new}: there is such a file already, and nothing is overwritten")
    try:
        found.write(new)
    except OSError as error:
        raise InputError(f"--write {new} cannot be written: {error.strerror}") from None
    return tried(_look_at_file(new))


def _table_of(path: Path) -> Seen | None:
    """The table that a file is, or the tables of a folder with the same columns one below the other.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    if (what := endless(path)) is not None:
        raise InputError(f"{path}: this is no file but {what}: save what it gives in a file")
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path} is a link to {path.readlink()}, and there is no such file or folder")
    if not path.exists():
        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(f"{path}: there is no such file or folder{nearest(path.name, beside)}")
    try:
        if path.is_file():
            return open_table(path) if _is_table(path) else None
        os.listdir(path)  # a search in it would only find nothing where it may not be read
        there = visible(path)
        files = without_companions(there)
        if any(file.suffix.lower() == ".ts" for file in files):
            return None
        tables = [file for file in files if file.suffix.lower() in TABLES]
        others = [file for file in files if kind_of(file) not in ("tables", OTHERS)]
        if len(files) == 1 or (len(tables) == 1 and len(others) <= FEW_BESIDE):
            file = (tables or files)[0]
            if not _is_table(file):
                return None
            say_passed_over(path, there, [file])
            return open_table(file)
        if 2 * len(tables) > len(tables) + len(others):
            say_passed_over(path, there, tables)
            return open_tables(path, tables)
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror}") from None
    return None


def _look_at_file(path: Path) -> Description:
    suffix = path.suffix.lower()
    start = _start(path)
    if not start.strip():
        raise InputError(f"{path} is empty")
    if suffix == ".ts":
        return look_at_recordings(path)
    if start[:4] == b"PAR1" and suffix not in PARQUET:
        raise InputError(f"{path} is Parquet, and is read as such where its name ends in .parquet: rename it")
    if suffix in INSTEAD:
        hint = INSTEAD[suffix].replace("FILE", shlex.quote(str(path)))
        raise InputError(f"{path}: rnnlab does not read {suffix}: {hint}")
    if suffix not in PARQUET:
        check_text(start, str(path))
    if not _is_table(path):
        return look_at_text(path)
    table = open_table(path)
    return look_at_rows(table)


def _start(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(START)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def _is_table(path: Path) -> bool:
    """Whether a file is one, by its name or its first lines."""
    start, suffix = _start(path), path.suffix.lower()
    if suffix in PARQUET:
        return bool(start)
    if not start.strip() or is_binary(start) or suffix in (".ts", *INSTEAD):
        return False
    return suffix in TABLES or _has_columns(start)


def _has_columns(start: bytes) -> bool:
    """Whether lines have as many cells each, some of them numbers."""
    lines = start.decode("utf-8", "replace").removeprefix("\ufeff").split("\n")[:30]
    lines = [line.rstrip("\r") for line in (lines[:-1] if len(lines) > 1 else lines) if line.strip()]
    if len(lines) < 3:
        return False
    for separator in SEPARATORS:
        rows = [cells_of(line, separator) for line in lines]
        widths = {len(row) for row in rows}
        if len(widths) == 1 and widths != {1}:
            share = sum(is_number(cell) for row in rows[1:] for cell in row) / sum(len(row) for row in rows[1:])
            if share > NUMBERS:
                return True
    return all(is_number(line.strip()) for line in lines[1:])


def _look_at_folder(folder: Path) -> Description:
    files = files_below(folder)
    if not files:
        raise InputError(f"{folder}: no file in this folder")
    if any(file.suffix.lower() == ".ts" for file in files):
        return look_at_recordings(folder)
    if len(files) == 1:
        return _look_at_file(files[0])
    suffix = files[0].suffix.lower()
    if suffix in INSTEAD and all(file.suffix.lower() == suffix for file in files):
        hint = INSTEAD[suffix].replace("FILE", shlex.quote(str(files[0])))
        raise InputError(f"{folder}: rnnlab does not read {suffix}: {hint}")
    found = which(folder, files) or look_at_texts(folder, files)
    kept = [file for file in files if file.match(str(found.keys.get("data.pattern", "*")))]
    return replace(found, odd=(*found.odd, *passed_over(files, kept, "data.pattern names what is read")))
