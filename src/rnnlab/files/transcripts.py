"""Folders and tables of sounds with what is said in them."""

from pathlib import Path
from typing import NamedTuple

from rnnlab.errors import InputError, nearest
from rnnlab.files.folders import is_hidden, visible
from rnnlab.files.lines import decode_whole
from rnnlab.files.source import open_source

LJSPEECH, LIBRISPEECH = "metadata.csv", "*.trans.txt"
PATHS = ("path", "file", "filename", "wav", "audio", "audio_filepath")
TEXTS = ("text", "transcript", "transcription", "sentence")
SPEAKERS = ("speaker", "speaker_id", "client_id", "voice")
SPLIT = "split"
SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test",
}  # fmt: skip


class Utterance(NamedTuple):
    """A sound and what is said in it.

    path
        Of the file.
    text
        As the transcript has it.
    speaker
        Who says it; empty where nobody tells.
    split
        ``train``, ``val`` or ``test``; empty where nobody tells.
    place
        Of the transcript, for messages.
    """

    path: Path
    text: str
    speaker: str
    split: str
    place: str


def read_utterances(path: Path, source: str) -> list[Utterance]:
    """All that a folder or a table lists: a folder as LJSpeech or LibriSpeech have it, or a table of files.

    Raises:
        InputError: there is no such place, it has none of these forms, or a transcript or a file is missing, named with
            its line.
    """
    if not path.exists():
        raise InputError(f"{source}: there is no such file or folder")
    if path.is_dir():
        if (path / LJSPEECH).is_file():
            found = _ljspeech(path / LJSPEECH)
        elif listed := visible(path, LIBRISPEECH):
            found = [utterance for file in listed for utterance in _librispeech(file)]
        else:
            tables = [
                file for file in sorted(path.iterdir())
                if file.suffix.lower() in (".csv", ".tsv", ".jsonl") and not is_hidden(file.name)
            ]  # fmt: skip
            if len(tables) != 1:
                raise InputError(
                    f"{source}: no transcripts: a folder has a {LJSPEECH} (as LJSpeech), files {LIBRISPEECH} (as "
                    f"LibriSpeech), or one table of files and texts; it has {len(tables)} tables"
                )
            found = _table(tables[0])
    else:
        found = _table(path)
    for utterance in found:
        if not utterance.text.strip():
            raise InputError(f"{utterance.place}: {utterance.path.name} has no transcript")
        if not utterance.path.is_file():
            raise InputError(f"{utterance.place}: there is no file {utterance.path}")
    if not found:
        raise InputError(f"{source} lists no sounds")
    return found


def _lines(file: Path) -> list[tuple[int, str]]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    return [(k, line) for k, line in enumerate(decode_whole(content, str(file)).splitlines(), 1) if line.strip()]


def _ljspeech(file: Path) -> list[Utterance]:
    """``ID|text|text in words``, the sounds in ``wavs/ID.wav``; the last column counts."""
    found = []
    for number, line in _lines(file):
        name, *texts = line.split("|")
        place = f"{file}, line {number}"
        if not texts:
            raise InputError(f"{place}: a line is ID|text or ID|text|text in words, and this one has no |")
        found.append(Utterance(file.parent / "wavs" / f"{name}.wav", texts[-1] or texts[0], "", "", place))
    return found


def _librispeech(file: Path) -> list[Utterance]:
    """``SPEAKER-CHAPTER-NUMBER TEXT``, the sounds beside the file."""
    found = []
    for number, line in _lines(file):
        name, _, text = line.strip().partition(" ")
        sound = next((file.parent / f"{name}{s}" for s in (".flac", ".wav") if (file.parent / f"{name}{s}").is_file()),
                     file.parent / f"{name}.flac")  # fmt: skip
        found.append(Utterance(sound, text, name.partition("-")[0], "", f"{file}, line {number}"))
    return found


def _table(file: Path) -> list[Utterance]:
    source = open_source(file)
    name = str(file)
    if source.format not in ("csv", "tsv", "jsonl", "parquet"):
        raise InputError(f"{name} is no table of sounds: give .csv, .tsv, .jsonl or .parquet, or a folder")
    frame = source.frame(wanted=(PATHS[0], TEXTS[0]))
    columns = {
        what: next((column for column in names if column in frame.columns), None)
        for what, names in (("path", PATHS), ("text", TEXTS), ("speaker", SPEAKERS), ("split", (SPLIT,)))
    }
    for what in ("path", "text"):
        if columns[what] is None:
            hint = nearest(what, frame.columns)
            raise InputError(f"{name} has no column '{what}'{hint} (there are {', '.join(frame.columns)})")
    found = []
    for number, row in enumerate(frame.iter_rows(named=True), 1):
        cells = {what: "" if name is None or row[name] is None else str(row[name]) for what, name in columns.items()}
        place = f"{name}, row {number}"
        if cells["split"] and cells["split"].lower() not in SPLIT_NAMES:
            raise InputError(f"{place}: split '{cells['split']}' is none of {', '.join(SPLIT_NAMES)}")
        split = SPLIT_NAMES.get(cells["split"].lower(), "")
        found.append(Utterance(file.parent / cells["path"], cells["text"], cells["speaker"], split, place))
    return found
