"""Handwritten digits side by side, to be read as a number."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rnnlab.data.digits import DIGITS, SIDE, Digits
from rnnlab.data.sequence import check_lengths
from rnnlab.data.split import SPLITS, SplitName
from rnnlab.data.transcribed import TranscribedFeatures
from rnnlab.extras import need
from rnnlab.shapes import Fraction, NonNegativeInt, PositiveInt


@dataclass(kw_only=True, eq=False)
class DigitLines(TranscribedFeatures):
    """Lines of handwritten digits, read column by column; where a digit begins nobody tells.

    ::

        a line of 3 1 2          inputs (31, 8)   a column of eight pixels a step        target (4,)  3 1 2 <end>

    A column is read from below. The digits are those of :class:`rnnlab.data.digits.Digits` (scikit-learn, 1,797
    pictures of 8 × 8 pixels), in varying number and with varying space around each; where it is below 0 neighbours
    overlap, and the darker pixel counts. No picture of a test line is in a training line.

    Attributes:
        digits: of the longest line.
        min_digits: of the shortest.
        space: columns between two digits, at most.
        overlap: columns that two neighbours may share.
        noise: standard deviation of what is added to each pixel, between 0 and 1.
        num_samples: lines in the three splits together.

    Raises:
        InputError: scikit-learn is not installed, or the shortest line is longer than the longest.
    """

    step_unit = "column"
    num_samples: PositiveInt = 3000
    digits: PositiveInt = 6
    min_digits: PositiveInt = 2
    space: NonNegativeInt = 4
    overlap: NonNegativeInt = 1
    noise: Fraction = 0.05

    def __post_init__(self) -> None:
        need("datasets", "sklearn", "data=digit_lines")
        check_lengths(self.min_digits, self.digits, "digits")
        super().__post_init__()

    @cached_property
    def _pictures(self) -> dict[SplitName, tuple[np.ndarray, np.ndarray]]:
        """Of each split ``(pictures, rows, columns)`` between 0 and 1, and ``(pictures,)`` which digit each is."""
        source = Digits(order="rows", seed=self.seed, val_fraction=self.val_fraction, test_fraction=self.test_fraction)
        return {name: (source.split(name).inputs.numpy(), source.split(name).targets.numpy()) for name in SPLITS}

    def heard(self, rng: np.random.Generator, split: SplitName, index: int) -> tuple[np.ndarray, list[int]]:
        pictures, labels = self._pictures[split]
        chosen = rng.integers(len(pictures), size=int(rng.integers(self.min_digits, self.digits + 1)))
        gaps = rng.integers(-self.overlap, self.space + 1, size=len(chosen))
        before, after = rng.integers(0, self.space + 1, size=2)
        starts = before + np.concatenate([[0], np.cumsum(SIDE + gaps[1:])])
        line = np.zeros((SIDE, int(starts[-1]) + SIDE + int(after)))
        for start, number in zip(starts, chosen, strict=True):
            part = line[:, start : start + SIDE]
            np.maximum(part, pictures[number], out=part)
        line += self.noise * rng.standard_normal(line.shape)
        return line[::-1].T, labels[chosen].tolist()

    @property
    def tokens(self) -> tuple[str, ...]:
        return tuple(map(str, range(DIGITS)))

    @property
    def note(self) -> str:
        return "every picture of a digit is in lines of one split alone, but one writer's may be in several"
