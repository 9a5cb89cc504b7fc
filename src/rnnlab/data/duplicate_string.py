"""A string, twice."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from rnnlab.data.diagnostic import Diagnostic, LengthRange, answer_after
from rnnlab.data.split import Sample
from rnnlab.shapes import PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec


@dataclass(kw_only=True, eq=False)
class DuplicateString(Diagnostic):
    """A string is read, and then said twice.

    ::

        symbols=2 length=3 (2 asks for the answer, - asks nothing)

        inputs  (9,)   0 1 1 2 2 2 2 2 2
        target  (9,)   - - - 0 1 1 0 1 1

    It takes a queue, where reversing takes a stack, and one that can be read
    again (Delétang et al. 2022, arXiv 2207.02098, "duplicate string").

    Baseline: any symbol has a cross-entropy of ln ``symbols`` and an accuracy
    of 1 / ``symbols``.

    Attributes:
        length: symbols of the longest string; a sequence has three times as many steps.
        symbols: different ones, all as likely.
    """

    num_samples: PositiveInt = 2000
    length: PositiveInt = 10
    min_length: PositiveInt | None = 1
    test_length: LengthRange | None = (11, 20)
    symbols: Annotated[int, Ge(2)] = 2

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(vocabulary=self.symbols + 1),
            target=TargetSpec("tokens", self.symbols),
            length=3 * self.longest,
            note=self.repetition_note,
        )

    def example(self, rng: np.random.Generator, length: int) -> Sample:
        string = rng.integers(self.symbols, size=length)
        return answer_after(string, np.tile(string, 2), cue=self.symbols)
