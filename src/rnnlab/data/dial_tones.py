"""A telephone number that is dialled by tones, in noise."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from rnnlab.data.audio_reader import AudioReader
from rnnlab.data.log_mel import LogMel
from rnnlab.data.sequence import Range, check_lengths, check_range
from rnnlab.data.split import SplitName
from rnnlab.data.transcribed import TranscribedFeatures
from rnnlab.shapes import PositiveInt

LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477)
"""Hertz of the rows and the columns of the keypad (ITU-T Recommendation Q.23)."""
KEYS = "123456789*0#"
"""Row by row."""
RATE = 8000


@dataclass(kw_only=True, eq=False)
class DialTones(TranscribedFeatures):
    """Keys of a telephone, each the sum of two tones, with pauses between, in white noise; the text is what was keyed.

    ::

        0.9 seconds of 5 5 #   inputs (88, 40)  the energy in 40 bands, 100 times a second   target (4,)  5 5 # <end>

    Which two tones belong to a key is ITU-T Recommendation Q.23. How long keys and pauses are, how loud each tone is
    and how loud the noise varies. Nothing is downloaded: a sound is a pure function of the seed.

    Attributes:
        keys: of the longest number.
        min_keys: of the shortest.
        tone: seconds of a key.
        pause: seconds between two keys.
        snr: decibels from the noise to the tones.
        bands: features of a frame (:class:`rnnlab.data.log_mel.LogMel`).
        window: seconds that a frame looks at.
        hop: seconds from one frame to the next.
        scaling: see :class:`rnnlab.data.labelled.LabelledFeatures`.
        num_samples: numbers in the three splits together.

    Raises:
        InputError: a range begins above its end, or the shortest number is longer than the longest.
    """

    step_unit = "frame"
    num_samples: PositiveInt = 3000
    keys: PositiveInt = 7
    min_keys: PositiveInt = 3
    tone: Range = (0.05, 0.12)
    pause: Range = (0.03, 0.1)
    snr: Range = (-5.0, 15.0)
    bands: Annotated[int, Ge(2), Le(512)] = 40
    window: Annotated[float, Gt(0), Le(1)] = 0.032
    hop: Annotated[float, Gt(0), Le(1)] = 0.01
    scaling: Literal["standard", "per_sequence", "none"] = "standard"

    def __post_init__(self) -> None:
        check_lengths(self.min_keys, self.keys, "keys")
        for name in ("tone", "pause", "snr"):
            check_range(f"data.{name}", getattr(self, name))
        _ = self.ear
        super().__post_init__()

    @cached_property
    def ear(self) -> LogMel:
        """What makes features of a sound."""
        return LogMel(RATE, self.bands, self.window, self.hop)

    def sound(self, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
        """``(samples,)`` at 8,000 a second, and the numbers of the keys."""
        keys = rng.integers(len(KEYS), size=int(rng.integers(self.min_keys, self.keys + 1)))
        parts = [np.zeros(int(RATE * drawn(rng, self.pause)))]
        for key in keys:
            time = np.arange(int(RATE * drawn(rng, self.tone))) / RATE
            row, column = divmod(int(key), len(HIGH))
            phases, levels = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.7, 1.0, 2)
            tones = (LOW[row], HIGH[column])
            parts.append(
                sum(
                    level * np.sin(2 * np.pi * hertz * time + phase)
                    for level, hertz, phase in zip(levels, tones, phases, strict=True)
                )
            )
            parts.append(np.zeros(int(RATE * drawn(rng, self.pause))))
        wave = np.concatenate(parts)
        noise = 10 ** (-drawn(rng, self.snr) / 20)
        loudest = 2 + 4 * 10 ** (-self.snr[0] / 20)
        return (wave + noise * rng.standard_normal(len(wave))) / loudest, keys.tolist()

    def heard(self, rng: np.random.Generator, split: SplitName, index: int) -> tuple[np.ndarray, list[int]]:
        wave, keys = self.sound(rng)
        return self.ear(wave), keys

    @property
    def tokens(self) -> tuple[str, ...]:
        return tuple(KEYS)

    @property
    def reader(self) -> AudioReader:
        return AudioReader.of(self.ear, self.plain_scale, self.scaling == "per_sequence")


def drawn(rng: np.random.Generator, bounds: Range) -> float:
    """Evenly between a low and a high end."""
    low, high = bounds
    return float(rng.uniform(low, high))
