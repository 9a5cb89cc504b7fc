"""Files of sound: WAV, FLAC and what else the package soundfile reads."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnlab.errors import InputError
from rnnlab.extras import need
from rnnlab.files.folders import visible

SUFFIXES = (".wav", ".flac", ".ogg")
LONGEST = 3600
"""Seconds of a file that is read whole."""


class Sound(NamedTuple):
    """``(samples,)`` between -1 and 1, the mean of the channels, and how many there are a second."""

    samples: np.ndarray
    rate: int


def read_sound(place: Path | bytes, name: str) -> Sound:
    """A file, or what stands in one.

    Raises:
        InputError: soundfile is not installed; or it is no sound, holds none, or an hour of it; or a sample is no
            number.
    """
    with _open(place, name) as file:
        _check_frames(file, name)
        try:
            samples = file.read(dtype="float64", always_2d=True).mean(1)
        except RuntimeError as error:
            raise InputError(f"{name} cannot be read: {error}") from None
    if not np.isfinite(samples).all():
        raise InputError(f"{name}: sample {int(np.argmin(np.isfinite(samples)))} is no finite number")
    return Sound(samples, file.samplerate)


def measure(path: Path, name: str) -> tuple[int, int]:
    """How many samples a file has, and how many a second, by its header.

    Raises:
        InputError: soundfile is not installed; or it is no sound, holds none, or an hour of it.
    """
    with _open(path, name) as file:
        _check_frames(file, name)
        return file.frames, file.samplerate


def _check_frames(file: Any, name: str) -> None:
    if not file.frames:
        raise InputError(f"{name} holds no sound: it has 0 samples")
    if file.frames > LONGEST * file.samplerate:
        raise InputError(
            f"{name} holds {file.frames / file.samplerate:,.0f} seconds, and files of up to {LONGEST:,} are read "
            "whole: cut it, or use rnnlab predict --stream"
        )


def blocks(path: Path, name: str, size: int) -> tuple[int, Iterator[np.ndarray]]:
    """The rate of a file, and its samples some at a time.

    Raises:
        InputError: as :func:`read_sound`.
    """
    file = _open(path, name)

    def parts() -> Iterator[np.ndarray]:
        with file:
            while len(part := file.read(size, dtype="float64", always_2d=True)):
                yield part.mean(1)

    return file.samplerate, parts()


def check_rate(rate: int, wanted: int, name: str) -> None:
    """Refuses a sound of another rate than that which a network was trained on.

    Raises:
        InputError: naming both.
    """
    if rate != wanted:
        raise InputError(
            f"{name} has {rate:,} samples a second, and {wanted:,} are read here: resample it "
            f"(ffmpeg -i IN.wav -ar {wanted} OUT.wav)"
        )


def files_of(folder: Path, name: str) -> list[Path]:
    """The files of sound in a folder and below it, by name.

    Raises:
        InputError: there is none.
    """
    found = [file for file in visible(folder) if file.suffix.lower() in SUFFIXES]
    if not found:
        raise InputError(f"{name}: no file of this folder is named *{', *'.join(SUFFIXES)}")
    return found


def _open(place: Path | bytes, name: str) -> Any:
    need("speech", "soundfile", name)
    import soundfile  # an extra

    try:
        return soundfile.SoundFile(io.BytesIO(place) if isinstance(place, bytes) else str(place))
    except (RuntimeError, OSError, TypeError) as error:
        if isinstance(place, Path) and not place.is_file():
            raise InputError(f"{name}: there is no such file") from None
        reason = str(getattr(error, "error_string", "") or "unknown format").rstrip(".")
        raise InputError(f"{name} is no sound that can be read (WAV, FLAC, OGG): {reason}") from None
