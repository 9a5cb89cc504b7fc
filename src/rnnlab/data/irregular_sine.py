"""Sine waves seen at irregular times, whose frequency shows in values and times together alone."""

from dataclasses import dataclass, replace

import numpy as np

from rnnlab.data.feature_reader import FeatureReader
from rnnlab.data.labelled import LabelledFeatures
from rnnlab.data.sequence import Range, check_range
from rnnlab.data.split import Sample, SplitName
from rnnlab.errors import InputError
from rnnlab.shapes import NonNegativeFloat, PositiveFloat, PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

NAMES = ("slow", "fast")


@dataclass(kw_only=True, eq=False)
class IrregularSine(LabelledFeatures):
    """A sine wave at the times of a Poisson process, under noise; the class is its frequency in time.

    ::

        target   inputs (5, 2)                                      value, time since the step before
        slow     0.1  0.9  0.2 -0.7 -0.9     1.0  3.1  0.4  2.2  1.2
        fast     0.1  0.9  0.2 -0.7 -0.9     1.0  1.5  0.2  1.1  0.6     the same values in half the time

    How far the phase goes from step to step is drawn from one distribution for both classes, so that values alone tell
    nothing: without the times nobody beats chance. Times alone tell little: a fast wave is seen twice as often for the
    same phase, and how often varies more than that from wave to wave. With ``cycles`` from 0.02 to 0.2 who knows how
    long a sequence takes, and nothing else, is right 65 times in 100.

    Attributes:
        length: steps of every sequence.
        cycles: of the wave from step to step on average, drawn log-uniform for each sequence.
        ratio: frequency of the fast waves in terms of the slow ones'.
        noise: standard deviation of the Gaussian noise; the waves go from -1 to 1.
        elapsed: the network reads the time since the step before (:mod:`rnnlab.elapsed`), in units of what is usual.
        scaling: of the values, as :class:`rnnlab.data.labelled.LabelledFeatures` has it; times stay as they are.
        moments: see :class:`rnnlab.data.labelled.LabelledFeatures`.

    Raises:
        InputError: the ratio is no ratio of two, or a range is upside down or begins at 0.
    """

    num_samples: PositiveInt = 3000
    length: PositiveInt = 40
    cycles: Range = (0.02, 0.2)
    ratio: PositiveFloat = 2.0
    noise: NonNegativeFloat = 0.05
    elapsed: bool = True

    def __post_init__(self) -> None:
        check_range("data.cycles", self.cycles)
        if self.cycles[0] <= 0:
            raise InputError(
                f"data.cycles={list(self.cycles)} must be above 0: a wave that stands still has no frequency"
            )
        if self.ratio <= 1:
            raise InputError(f"data.ratio={self.ratio:g} must be above 1: else slow and fast are one, or the other way")
        super().__post_init__()

    @property
    def spec(self) -> DataSpec:
        told = "each step with the time since the one before" if self.elapsed else "nobody tells the times"
        return DataSpec(
            input=InputSpec(features=2, elapsed=1) if self.elapsed else InputSpec(features=1),
            target=TargetSpec("class", 2, NAMES),
            length=self.length,
            class_frequencies=self.class_frequencies(2),
            note=f"a wave's frequency shows in values and times together: {told}",
        )

    @property
    def unscaled_features(self) -> tuple[int, ...]:
        return (1,) if self.elapsed else ()

    def unscaled(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        label = int(rng.integers(2))
        low, high = np.log(self.cycles)
        cycles = np.exp(rng.uniform(low, high))
        passed = rng.exponential(1.0, self.length)
        values = np.sin(2 * np.pi * (cycles * np.cumsum(passed) + rng.random()))
        values += self.noise * rng.standard_normal(self.length)
        if not self.elapsed:
            return Sample(values[:, None], label)
        # the middle of both classes is 1
        frequency = np.exp((low + high) / 2) * self.ratio ** (label - 0.5)
        elapsed = passed * cycles / frequency / np.log(2)
        elapsed[0] = 1.0
        return Sample(np.stack([values, elapsed], 1), label)

    @property
    def feature_reader(self) -> FeatureReader:
        return replace(super().feature_reader, names=("value", "elapsed") if self.elapsed else ("value",))
