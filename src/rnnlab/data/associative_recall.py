"""Multi-query associative recall."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from rnnlab.data.diagnostic import Diagnostic
from rnnlab.data.split import Sample
from rnnlab.errors import InputError
from rnnlab.shapes import PositiveFloat, PositiveInt
from rnnlab.spec import IGNORED, DataSpec, InputSpec, TargetSpec

BLANK = 0


@dataclass(kw_only=True, eq=False)
class AssociativeRecall(Diagnostic):
    """Pairs of a key and a value; later a key comes again, and its value is asked.

    ::

        pairs=3 length=16 (keys are letters, values numbers, blanks dots, - asks nothing)

        inputs  (16,)   C 7 A 2 D 4 A . . . D . C . . .
        target  (16,)   - - - - - - 2 - - - 4 - 7 - - -

    Each key of a sequence is asked for once. Queries stand at every second step
    after the pairs, sooner rather than later: the gap g has a probability in
    proportion to g ** (``power`` - 1). This is MQAR of Arora et al. (2023, arXiv
    2312.04927), whose state must hold all pairs at
    once; steps in between are blank, as one of its options has them.

    Baseline: any value has a cross-entropy of ln ``num_values`` and an accuracy
    of 1 / ``num_values``. (Who keeps the values of a sequence without their keys
    is right about once in ``pairs`` times.)

    Attributes:
        length: steps of the longest sequence, at least four a pair.
        pairs: keys in a sequence.
        num_keys: different keys.
        num_values: different values, all as likely.
        power: of the law of the gaps; 1 makes all gaps as likely.

    Raises:
        InputError: there are more pairs than keys.
    """

    num_samples: PositiveInt = 2000
    length: PositiveInt = 64
    pairs: PositiveInt = 4
    num_keys: PositiveInt = 32
    num_values: Annotated[int, Ge(2)] = 32
    power: PositiveFloat = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pairs > self.num_keys:
            raise InputError(f"data.pairs={self.pairs} may not be above data.num_keys={self.num_keys}")

    @property
    def shortest(self) -> int:
        return 4 * self.pairs

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(vocabulary=1 + self.num_keys + self.num_values),
            target=TargetSpec("tokens", self.num_values),
            length=self.longest,
        )

    def example(self, rng: np.random.Generator, length: int) -> Sample:
        keys = 1 + rng.permutation(self.num_keys)[: self.pairs]
        values = rng.integers(self.num_values, size=self.pairs)
        inputs, target = np.full(length, BLANK), np.full(length, IGNORED)
        inputs[: 2 * self.pairs : 2] = keys
        inputs[1 : 2 * self.pairs : 2] = 1 + self.num_keys + values
        gap = np.arange((length - 2 * self.pairs) // 2)
        weight = (gap + 1.0) ** (self.power - 1)
        asked = 2 * self.pairs + 2 * rng.choice(gap, self.pairs, replace=False, p=weight / weight.sum())
        inputs[asked], target[asked] = keys, values
        return Sample(inputs, target)
