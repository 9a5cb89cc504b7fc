"""What duplicating and reversing a string share: it is read, and then an answer made from it is given."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge

from rnnlab.data.diagnostic import Diagnostic, LengthRange, answer_after
from rnnlab.data.split import Sample
from rnnlab.shapes import PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec


@dataclass(kw_only=True, eq=False)
class StringProblem(Diagnostic):
    """A string of symbols, all as likely, and a cue for each symbol of the answer.

    A data set implements ``answer``.

    Attributes:
        length: symbols of the longest string.
        symbols: different ones.
        steps_a_symbol: steps of a sequence for each symbol of its string.
    """

    num_samples: PositiveInt = 2000
    length: PositiveInt = 10
    min_length: PositiveInt | None = 1
    test_length: LengthRange | None = (11, 20)
    symbols: Annotated[int, Ge(2)] = 2

    steps_a_symbol: ClassVar[int]

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(vocabulary=self.symbols + 1),
            target=TargetSpec("tokens", self.symbols),
            length=self.steps_a_symbol * self.longest,
            note=self.repetition_note,
        )

    @abstractmethod
    def answer(self, string: np.ndarray) -> np.ndarray:
        """What is asked for after a string ``(symbols,)``."""

    def example(self, rng: np.random.Generator, length: int) -> Sample:
        string = rng.integers(self.symbols, size=length)
        return answer_after(string, self.answer(string), cue=self.symbols)
