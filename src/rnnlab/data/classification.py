"""Waveforms one after the other, to be told apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from rnnlab.data.labelled import LabelledFeatures
from rnnlab.data.sequence import Range, check_lengths, check_range
from rnnlab.data.sine import NYQUIST
from rnnlab.data.split import Sample, SplitName
from rnnlab.errors import InputError, nearest
from rnnlab.shapes import NonNegativeFloat, PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

# Each of period 1 in its argument (cycles) and between -1 and 1.
SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sine": lambda cycles: np.sin(2 * np.pi * cycles),
    "square": lambda cycles: np.where(cycles % 1 < 0.5, 1.0, -1.0),
    "sawtooth": lambda cycles: 2 * (cycles % 1) - 1,
    "triangle": lambda cycles: 4 * np.abs(cycles % 1 - 0.5) - 1,
}
MOST_CLASSES = 1000


@dataclass(kw_only=True, eq=False)
class Classification(LabelledFeatures):
    """Waveforms follow each other, and the class is which ones and in which order.

    ::

        segments=2                                  class
        ⎺⎽⎺⎽⎺⎽⎺⎽∿∿∿∿∿∿∿    inputs (28, 1)          square→sine      target: its number
        ∿∿∿∿∿⎺⎽⎺⎽⎺⎽        inputs (22, 1)          sine→square
        ⩘⩘⩘⩘⩘⩘⩘/|/|/|/|/|  inputs (34, 1)          triangle→sawtooth

    The segments of a sequence are equally long; each has its own frequency and
    phase, and all of it is under noise. The end of a sequence shows only its
    last segment, so that the earlier ones must be remembered: who sees the last
    segment alone guesses right once in ``len(shapes) ** (segments - 1)`` times.

    Attributes:
        shapes: what a segment may be: sine, square, sawtooth, triangle.
        segments: waveforms that follow each other; each order of shapes, repetitions too, is a class.
        min_length: steps of the shortest sequence.
        length: steps of the longest sequence; all lengths between are as likely.
        frequency: cycles per step, of each segment.
        noise: standard deviation of the Gaussian noise; the waveforms go from -1 to 1.
        scaling: see :class:`rnnlab.data.labelled.LabelledFeatures`.
        moments: see :class:`rnnlab.data.labelled.LabelledFeatures`.

    Raises:
        InputError: a shape is unknown or there twice, there are none, a range is
            upside down, the frequencies leave 0 … 0.5 cycles per step, the shortest
            sequence has fewer steps than segments, or there are over 1,000 classes.
    """

    num_samples: PositiveInt = 2000
    shapes: Sequence[str] = tuple(SHAPES)
    segments: PositiveInt = 2
    min_length: PositiveInt = 20
    length: PositiveInt = 40
    frequency: Range = (0.1, 0.2)
    noise: NonNegativeFloat = 0.1

    def __post_init__(self) -> None:
        check_lengths(self.min_length, self.length)
        check_range("data.frequency", self.frequency)
        low, high = self.frequency
        if low < 0 or high > NYQUIST:
            raise InputError(f"data.frequency={list(self.frequency)} leaves 0 … {NYQUIST} cycles per step")
        for shape in self.shapes:
            if shape not in SHAPES:
                raise InputError(
                    f"data.shapes: no shape '{shape}'{nearest(shape, SHAPES)} (known: {', '.join(SHAPES)})"
                )
        if len(set(self.shapes)) < max(2, len(self.shapes)):
            raise InputError(f"data.shapes={list(self.shapes)}: give at least two, each once, of {', '.join(SHAPES)}")
        if self.segments > self.min_length:
            raise InputError(
                f"data.segments={self.segments} may not be above data.min_length={self.min_length}: "
                "each waveform needs a step"
            )
        if len(self.shapes) ** self.segments > MOST_CLASSES:
            raise InputError(
                f"data.segments={self.segments} of {len(self.shapes)} data.shapes make "
                f"{len(self.shapes) ** self.segments:,} classes, more than {MOST_CLASSES:,}"
            )
        super().__post_init__()

    @property
    def classes(self) -> list[tuple[str, ...]]:
        """The shapes of each class, in their order."""
        return list(product(self.shapes, repeat=self.segments))

    @property
    def spec(self) -> DataSpec:
        names = tuple("→".join(shapes) for shapes in self.classes)
        return DataSpec(
            input=InputSpec(features=1),
            target=TargetSpec("class", len(names), names),
            length=self.length,
            class_frequencies=self.class_frequencies(len(names)),
        )

    def unscaled(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        steps = rng.integers(self.min_length, self.length + 1)
        numbers = rng.integers(len(self.shapes), size=self.segments)
        low, high = self.frequency
        frequency = rng.uniform(low, high, self.segments)
        phase = rng.random(self.segments)
        parts = np.array_split(np.arange(steps), self.segments)
        wave = np.concatenate(
            [SHAPES[self.shapes[k]](frequency[i] * parts[i] + phase[i]) for i, k in enumerate(numbers)]
        )
        label = int(np.ravel_multi_index(numbers, (len(self.shapes),) * self.segments))  # as ``classes`` counts
        return Sample((wave + self.noise * rng.standard_normal(steps))[:, None], label)
