"""The language aⁿbⁿ."""

from dataclasses import dataclass

import numpy as np

from rnnlab.data.diagnostic import Diagnostic, LengthRange
from rnnlab.data.split import Sample
from rnnlab.shapes import PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec


@dataclass(kw_only=True, eq=False)
class AnBn(Diagnostic):
    """Whether as many b follow as a came before.

    ::

        length=3 (a is 0, b is 1)

        inputs (6,)   0 0 0 1 1 1      target  1, aⁿbⁿ
        inputs (6,)   0 0 1 1 1 1      target  0, other
        inputs (6,)   0 0 0 0 0 1      target  0

    Recognition, not prediction of the next symbol as in Gers & Schmidhuber
    (2001): the string is judged once, at its end. It is of the language in one
    half of the cases; in the other, a and b part at another place of a string
    that is as long, so that neither the length nor the order of the symbols
    gives it away, and one has to count.

    Baseline: one class for all has an accuracy of 1/2, and a cross-entropy of ln 2.

    Attributes:
        length: n of the longest string; a sequence has twice as many steps.
    """

    num_samples: PositiveInt = 2000
    min_length: PositiveInt | None = 1
    test_length: LengthRange | None = (41, 50)

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(vocabulary=2),
            target=TargetSpec("class", 2, ("other", "aⁿbⁿ")),
            length=2 * self.longest,
            class_frequencies=self.class_frequencies(2),
            note=self.repetition_note,
        )

    def example(self, rng: np.random.Generator, length: int) -> Sample:
        member, n = int(rng.integers(2)), length
        # any other place for the first b, from the first step to behind the last
        a = n if member else (n + int(rng.integers(1, 2 * n + 1))) % (2 * n + 1)
        return Sample(np.repeat([0, 1], [a, 2 * n - a]), member)
