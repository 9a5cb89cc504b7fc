"""How a trained run hears new sounds."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rnnlab.data.feature_reader import moments_of
from rnnlab.data.log_mel import LogMel
from rnnlab.data.reader import Given, Reader, refuse_own_moments
from rnnlab.errors import InputError
from rnnlab.files.sound import SUFFIXES, Sound, check_rate, files_of, read_sound
from rnnlab.files.source import Format, Source, as_numbers, brief, find, is_table, table_source

PATH, TEXT = "path", "text"
"""The columns of a table that name a file, and tell what is said in it."""


@dataclass(frozen=True, eq=False)
class AudioReader(Reader):
    """Sounds as features: the energy in bands, frame by frame (:class:`rnnlab.data.log_mel.LogMel`), scaled.

    Attributes:
        rate: samples a second.
        bands: see there.
        window: see there.
        hop: see there.
        shift: what is subtracted from each band; empty for nothing.
        scale: what it is then divided by.
        own_moments: each sound by its own mean and standard deviation instead.
    """

    reads_folders: ClassVar[bool] = True
    formats: ClassVar[tuple[Format, ...]] = ("audio", "csv", "tsv", "jsonl", "parquet")
    unnamed: ClassVar[Format] = "audio"
    rate: int
    bands: int
    window: float
    hop: float
    shift: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    own_moments: bool = False

    @classmethod
    def of(cls, ear: LogMel, scale: tuple[tuple[float, ...], tuple[float, ...]], own_moments: bool) -> "AudioReader":
        """The reader of what an ear has heard in training, and how that was scaled."""
        return cls(ear.rate, ear.bands, ear.window, ear.hop, *scale, own_moments)

    @cached_property
    def ear(self) -> LogMel:
        """What makes features of a sound."""
        return LogMel(self.rate, self.bands, self.window, self.hop)

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(f"band {number}" for number in range(1, self.bands + 1))

    def describe(self) -> str:
        return (
            f"sounds of {self.rate:,} samples a second\n"
            f"  a file ({', '.join(SUFFIXES)}), or a folder of them\n"
            f"  CSV, Parquet, JSON lines: a row a file, column '{PATH}'; '{TEXT}' may tell what is said in it\n"
            "  --stream: a file as it plays, or raw samples of 16 bits from the standard input"
        )

    @property
    def example(self) -> str:
        return f"a {SUFFIXES[0]} file of {self.rate:,} samples a second"

    def open(self, place: Any, format: Format | None = None) -> Source:
        path = find(place)
        if path is not None and path.is_dir():
            return Source(f"--input {path}", "audio", b"", path)
        return super().open(place, format)

    def read(self, source: Source) -> Iterator[Given]:
        if source.format != "audio":
            yield from self._table(source)
        elif source.path is not None and source.path.is_dir():
            for file in files_of(source.path, source.name):
                yield self._given(str(file.relative_to(source.path)), file)
        else:
            name = source.name if source.path is None else source.path.name
            yield Given(name, self.heard(read_sound(source.raw, source.name), source.name))

    def _table(self, source: Source) -> Iterator[Given]:
        frame = source.frame((PATH,))
        if PATH not in frame.columns:
            raise InputError(f"{source.name} has no column '{PATH}', which names the files: {', '.join(frame.columns)}")
        folder = Path() if source.path is None else source.path.parent
        for row in frame.iter_rows(named=True):
            text = row.get(TEXT)
            yield self._given(str(row[PATH]), folder / str(row[PATH]))._replace(
                truth=None if text is None else str(text)
            )

    def _given(self, name: str, path: Path) -> Given:
        return Given(name, self.heard(read_sound(path, str(path)), str(path)))

    def take(self, x: Any) -> Iterator[Given]:
        if is_table(x):
            yield from self._table(table_source(x))
            return
        try:
            array = as_numbers(x)
            several = list(array) if array.ndim == 2 else [array]
        except ValueError:  # of different length
            several = list(x)
        except TypeError:
            raise InputError(
                f"give samples, (samples,) numbers, a list of such, or a pathlib.Path, not {brief(x)}"
            ) from None
        for number, each in enumerate(several):
            samples = as_numbers(each)
            if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
                raise InputError(f"sound {number}: give (samples,) finite numbers between -1 and 1, not {brief(each)}")
            yield Given(number, self.heard(Sound(samples, self.rate), f"sound {number}"))

    def heard(self, sound: Sound, name: str) -> np.ndarray:
        """``(frames, bands)`` as the network reads them.

        Raises:
            InputError: the sound has another rate.
        """
        check_rate(sound.rate, self.rate, name)
        return self.scaled(self.ear(sound.samples))

    def scaled(self, features: np.ndarray) -> np.ndarray:
        """The same of ``(frames, bands)`` energies."""
        if self.own_moments:
            mean, deviation = moments_of(features)
            return ((features - mean) / deviation).astype(np.float32)
        if self.shift:
            features = (features - np.asarray(self.shift)) / np.asarray(self.scale)
        return features.astype(np.float32)

    def step(self, x: Any) -> np.ndarray:
        refuse_own_moments(self.own_moments, "sound")
        values = np.asarray(x, np.float64).reshape(-1)
        if values.shape != (self.bands,):
            raise InputError(f"a step is the energy in {self.bands} bands, not {brief(x)}")
        return self.scaled(values[None])[0]
