"""Parity of a string of bits."""

from dataclasses import dataclass

import numpy as np

from rnnlab.data.diagnostic import Diagnostic, LengthRange
from rnnlab.data.split import Sample
from rnnlab.shapes import PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec


@dataclass(kw_only=True, eq=False)
class Parity(Diagnostic):
    """Whether the number of ones is even or odd.

    ::

        inputs (7,)   0 1 1 0 1 0 0      target  1, odd
        inputs (4,)   1 0 0 1            target  0, even

    One bit of memory is enough, and every single input matters. A network that
    found the two-state automaton is right at any length; one that learned what
    strings of its training look like is at chance beyond them (Delétang et al.
    2022, arXiv 2207.02098, "parity check"). Until it is found the loss stays on
    a long plateau.

    Baseline: one class for all has an accuracy of 1/2, and a cross-entropy of ln 2.

    Attributes:
        length: bits of the longest string.
    """

    num_samples: PositiveInt = 2000
    min_length: PositiveInt | None = 1
    test_length: LengthRange | None = (41, 500)

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(vocabulary=2),
            target=TargetSpec("class", 2, ("even", "odd")),
            length=self.longest,
            class_frequencies=self.class_frequencies(2),
            note=self.repetition_note,
        )

    def example(self, rng: np.random.Generator, length: int) -> Sample:
        bits = rng.integers(2, size=length)
        return Sample(bits, int(bits.sum() % 2))
