"""Pieces of music as piano rolls: MATLAB files of the usual benchmarks, folders of MIDI files, and CSV."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from rnnlab.errors import InputError
from rnnlab.extras import need
from rnnlab.files.dialect import Dialect
from rnnlab.files.folders import visible
from rnnlab.files.lines import explain, first_line
from rnnlab.files.source import existing, grouped, numbers
from rnnlab.files.table import scan_csv

KEYS = 88
LOWEST = 21
"""The number that MIDI gives to the lowest key of a piano, an A."""
PITCHES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
NAMES = tuple(f"{PITCHES[number % 12]}{number // 12 - 1}" for number in range(LOWEST, LOWEST + KEYS))
"""Of the keys, from A0 to C8."""
MIDI = (".mid", ".midi")
DRUMS = 9
"""The channel of MIDI whose notes are no pitches."""

Part = Literal["train", "val", "test"]
Rolls = dict[Part | None, list[np.ndarray]]
"""Pieces ``(steps, 88)`` of zeros and ones, by the part that their file gives them; ``None`` where it gives none."""
PARTS: dict[str, Part] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
COLUMNS = ("sequence", "step", "note")
"""Of a table with a row for each key that is down at a step."""


def read(path: Path, steps_per_beat: int) -> Rolls:
    """Reads what stands at a path.

    Args:
        path: a MATLAB file with ``traindata``, ``validdata`` and ``testdata``, as those of N. Boulanger-Lewandowski; a
            CSV with a row for each key that is down at a step, in the columns ``sequence``, ``step`` (from 0) and
            ``note`` (MIDI's number, 21 to 108), and perhaps ``split``; a MIDI file; or a folder of them, perhaps in
            folders ``train``, ``valid`` and ``test``.
        steps_per_beat: of MIDI files: steps of a quarter note.

    Raises:
        InputError: there is none of these.
    """
    source = f"data.path={path}"
    if path.is_dir():
        rolls = _folder(path, steps_per_beat, source)
    elif not path.is_file():
        raise InputError(f"{source}: there is no such file or folder")
    elif path.suffix.lower() == ".mat":
        rolls = _matlab(path, source)
    elif path.suffix.lower() in (".csv", ".tsv"):
        rolls = _table(path, source)
    elif path.suffix.lower() in MIDI:
        rolls = {None: [roll for _, roll in pieces(path, "midi", steps_per_beat, source)]}
    else:
        raise InputError(f"{source}: music is read from a .mat, .csv or .mid file, or a folder of .mid files")
    short = sum(len(roll) < 2 for pieces in rolls.values() for roll in pieces)
    if short:
        raise InputError(f"{source}: {short} of its pieces have fewer than two steps, which leave nothing to predict")
    return rolls


def pieces(
    path: Path, form: Literal["mat", "midi"], steps_per_beat: int, source: str
) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the ``(steps, 88)`` roll of each piece of a MATLAB or MIDI file.

    Args:
        path: of the file.
        form: what it is.
        steps_per_beat: of MIDI files: steps of a quarter note.
        source: for messages.

    Raises:
        InputError: it cannot be read, or no key is down in it.
    """
    if form == "mat":
        for part, rolls in _matlab(path, source).items():
            yield from ((f"{part} {number}", roll) for number, roll in enumerate(rolls))
        return
    need("music", "mido", source)
    roll = _midi(path, steps_per_beat)
    if not len(roll):
        raise InputError(f"{source}: none of the {KEYS} keys of a piano is down in it")
    yield path.stem, roll


def _matlab(path: Path, source: str) -> Rolls:
    need("music", "scipy", source)
    from scipy.io import loadmat  # heavy, and rarely needed

    try:
        found = loadmat(path, variable_names=[f"{name}data" for name in PARTS])
    except Exception as error:  # noqa: BLE001 (of many kinds, whatever is damaged)
        raise InputError(f"{source} cannot be read: {str(error).splitlines()[0] if str(error) else error!r}") from None
    rolls: Rolls = {}
    for name, part in PARTS.items():
        if f"{name}data" in found:
            rolls[part] = [_checked(roll, f"{source}, {name}data, piece {number + 1}")
                           for number, roll in enumerate(found[f"{name}data"].ravel())]  # fmt: skip
    missing = [name for name in ("train", "valid", "test") if PARTS[name] not in rolls]
    if missing:
        raise InputError(f"{source} has no {' and no '.join(f'{name}data' for name in missing)}")
    return rolls


def _checked(roll: Any, place: str) -> np.ndarray:
    """A piece of a MATLAB file as zeros and ones.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(roll, np.ndarray) or roll.ndim != 2 or roll.shape[1] != KEYS or roll.dtype.kind not in "buif":
        raise InputError(f"{place}: this is no array of {KEYS} columns, one a key")
    if not np.isin(roll, (0, 1)).all():
        raise InputError(f"{place}: what stands there is neither 0 nor 1")
    return roll.astype(np.uint8)


def _table(path: Path, source: str) -> Rolls:
    try:
        frame = scan_csv(path, source, Dialect(), COLUMNS).collect()
    except pl.exceptions.PolarsError as error:
        explain(path, source, Dialect().separator_of(first_line(path, source), COLUMNS))
        raise InputError(f"{source} cannot be read: {str(error).splitlines()[0]}") from None
    existing(frame, "sequence", source)
    rolls: Rolls = defaultdict(list)
    for _, row, roll in of_table(frame, source):
        part = None
        if "split" in frame.columns:
            part = _part(frame["split"][row], f"{source}, row {row + 1}, column 'split'")
        rolls[part].append(roll)
    return dict(rolls)


def of_table(frame: pl.DataFrame, source: str) -> Iterator[tuple[Any, int, np.ndarray]]:
    """The name, the first row and the ``(steps, 88)`` roll of each piece of a table (:data:`COLUMNS`).

    Raises:
        InputError: a cell is not what it should be.
    """
    steps, notes = (_whole(numbers(frame, name, source), name, source) for name in ("step", "note"))
    for rows, what, allowed in (
        (steps < 0, "step", "counted from 0"),
        ((notes < LOWEST) | (notes >= LOWEST + KEYS), "note", f"between {LOWEST} and {LOWEST + KEYS - 1}"),
    ):
        if rows.any():
            row = int(rows.argmax())
            raise InputError(f"{source}, row {row + 1}, column '{what}': {frame[what][row]} is not {allowed}")
    for name, rows in grouped(frame, "sequence"):
        if steps[rows].max() >= LONGEST:
            raise InputError(f"{source}, sequence {name}: a piece has at most {LONGEST:,} steps")
        roll = np.zeros((int(steps[rows].max()) + 1, KEYS), np.uint8)
        roll[steps[rows], notes[rows] - LOWEST] = 1
        yield name, int(rows[0]), roll


LONGEST = 1_000_000
"""Steps of a piece; a mistake in a table would else take all memory."""


def _whole(values: np.ndarray, column: str, source: str) -> np.ndarray:
    wrong = ~(np.isfinite(values) & (values == np.round(values)))
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"{source}, row {row + 1}, column '{column}': a whole number is needed")
    return values.astype(np.int64)


def _part(name: Any, place: str) -> Part:
    if name not in PARTS:
        raise InputError(f"{place}: {name!r} is not train, val or test")
    return PARTS[name]


def _folder(path: Path, steps_per_beat: int, source: str) -> Rolls:
    files = [file for file in visible(path) if file.suffix.lower() in MIDI]
    if not files:
        raise InputError(f"{source}: no file of this folder is named *.mid or *.midi")
    need("music", "mido", f"{source} (MIDI files)")
    rolls: Rolls = defaultdict(list)
    for file in files:
        part = PARTS.get(file.relative_to(path).parts[0].lower())
        rolls[part].append(_midi(file, steps_per_beat))
    if None in rolls and len(rolls) > 1:
        raise InputError(f"{source}: some of its files lie in folders train, valid and test, and some do not")
    return dict(rolls)


def _midi(file: Path, steps_per_beat: int) -> np.ndarray:
    """All tracks of a file on a grid of steps, but for drums; a note is there for one step at least."""
    import mido  # rarely needed

    try:
        music = mido.MidiFile(file, clip=True)
        tracks = [_with_times(track) for track in music.tracks]
    except Exception as error:  # noqa: BLE001 (of many kinds, whatever is damaged)
        raise InputError(f"{file} cannot be read as MIDI: {str(error) or repr(error)}") from None
    step = music.ticks_per_beat / steps_per_beat
    notes: list[tuple[int, int, int]] = []
    for timed in tracks:
        down: dict[tuple[int, int], int] = {}
        for tick, message in timed:
            if message.type not in ("note_on", "note_off") or message.channel == DRUMS:
                continue
            key = message.channel, message.note
            if key in down:  # it ends where it is let go of, or struck again
                notes.append((message.note, down.pop(key), tick))
            if message.type == "note_on" and message.velocity:
                down[key] = tick
    roll = np.zeros((max((round(end / step) for _, _, end in notes), default=0) + 1, KEYS), np.uint8)
    for note, start, end in notes:
        if LOWEST <= note < LOWEST + KEYS:
            first = round(start / step)
            roll[first : max(first + 1, round(end / step)), note - LOWEST] = 1
    return roll[: np.flatnonzero(roll.any(1))[-1] + 1] if roll.any() else roll[:0]


def _with_times(track: Iterable[Any]) -> list[tuple[int, Any]]:
    """The messages of a track and the ticks at which they come."""
    tick, timed = 0, []
    for message in track:
        tick += message.time
        timed.append((tick, message))
    return timed
