"""Delayed recall of the first token."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from rnnlab.data.diagnostic import Diagnostic
from rnnlab.data.split import Sample
from rnnlab.shapes import PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec


@dataclass(kw_only=True, eq=False)
class RememberFirst(Diagnostic):
    """The class is the first token, whatever came after it.

    ::

        num_classes=4 length=9

        inputs (9,)   2 0 3 3 1 0 2 1 3      target  2
        inputs (9,)   0 1 1 3 2 2 0 3 1      target  0

    What follows is of the same tokens, drawn by lot: the plainest test of
    whether a gradient reaches back over ``length - 1`` steps, and of whether a
    state withstands new input (delayed recall).

    Baseline: any token has an accuracy of 1 / ``num_classes`` and a cross-entropy of ln ``num_classes``.

    Attributes:
        length: steps of the longest sequence.
        num_classes: different tokens, all as likely.
    """

    num_samples: PositiveInt = 2000
    length: PositiveInt = 20
    num_classes: Annotated[int, Ge(2)] = 8

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(vocabulary=self.num_classes),
            target=TargetSpec("class", self.num_classes),
            length=self.longest,
            class_frequencies=self.class_frequencies(self.num_classes),
        )

    def example(self, rng: np.random.Generator, length: int) -> Sample:
        tokens = rng.integers(self.num_classes, size=length)
        return Sample(tokens, int(tokens[0]))
