"""The temporal order problem."""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from rnnlab.data.diagnostic import Diagnostic
from rnnlab.data.split import Sample
from rnnlab.shapes import PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

DISTRACTORS = 4
X, START, END = DISTRACTORS, DISTRACTORS + 2, DISTRACTORS + 3
PLACES = {2: ((0.1, 0.2), (0.5, 0.6)), 3: ((0.1, 0.2), (0.33, 0.43), (0.66, 0.76))}
"""Between which parts of the sequence each relevant symbol stands."""


@dataclass(kw_only=True, eq=False)
class TemporalOrder(Diagnostic):
    """Two or three X or Y, far apart among other symbols: the class is their order.

    ::

        relevant=2 length=12 (E starts and B ends every sequence)

        inputs (12,)   E d X b a a c Y d a c B      target  1, X→Y
        inputs (12,)   E c Y a d b X b c a b B      target  2, Y→X

    Problems 6a and 6b of Hochreiter & Schmidhuber (1997, section 5.6), whose
    sequences have 100 to 110 steps and their two relevant symbols at steps 10
    to 20 and 50 to 60 (three: 10 to 20, 33 to 43, 66 to 76). Here these places
    grow with the length of the sequence.

    Baseline: one class for all has an accuracy of 1/4 and a cross-entropy of
    ln 4; with three relevant symbols 1/8 and ln 8.

    Attributes:
        length: steps of the longest sequence.
        relevant: symbols whose order is the class: 2 for problem 6a, 3 for 6b.
    """

    num_samples: PositiveInt = 2000
    length: PositiveInt = 110
    min_length: PositiveInt | None = 100
    relevant: Literal[2, 3] = 2

    @property
    def shortest(self) -> int:
        return 10

    @property
    def spec(self) -> DataSpec:
        names = tuple("→".join(order) for order in product("XY", repeat=self.relevant))
        return DataSpec(
            input=InputSpec(vocabulary=DISTRACTORS + 4),
            target=TargetSpec("class", len(names), names),
            length=self.longest,
            class_frequencies=self.class_frequencies(len(names)),
        )

    def example(self, rng: np.random.Generator, length: int) -> Sample:
        inputs = rng.integers(DISTRACTORS, size=length)
        inputs[0], inputs[-1] = START, END
        order = rng.integers(2, size=self.relevant)
        for symbol, (low, high) in zip(order, PLACES[self.relevant], strict=True):
            inputs[rng.integers(int(low * length), int(high * length) + 1)] = X + symbol
        return Sample(inputs, int(np.ravel_multi_index(tuple(order), (2,) * self.relevant)))
