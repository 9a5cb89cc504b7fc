"""Selective copying."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from rnnlab.data.diagnostic import Diagnostic, answer_after
from rnnlab.data.split import Sample
from rnnlab.shapes import PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

BLANK = 0


@dataclass(kw_only=True, eq=False)
class SelectiveCopy(Diagnostic):
    """Symbols strewn among blanks, to be repeated in their order.

    ::

        symbols=8 copied=3 length=8 (blanks are dots, 9 asks for the answer, - asks nothing)

        inputs  (11,)   . 4 . . 8 . . 1 9 9 9
        target  (11,)   - - - - - - - - 3 7 0      0 is symbol 1, since a blank is never asked for

    When a symbol comes is different in every sequence, so that counting steps
    is of no help: one has to see what is worth remembering (Gu & Dao 2023,
    arXiv 2312.00752, section 4.1.1; with 4,096 steps, 16 symbols in all and
    16 to copy also Feng et al. 2024, arXiv 2410.01201).

    Baseline: any symbol has a cross-entropy of ln ``symbols`` and an accuracy of 1 / ``symbols``.

    Attributes:
        length: steps in which the symbols and the blanks stand; the answer follows.
        symbols: different ones, all as likely.
        copied: symbols to remember.
    """

    length: PositiveInt = 64
    symbols: Annotated[int, Ge(2)] = 14
    copied: PositiveInt = 8

    @property
    def shortest(self) -> int:
        return self.copied

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(vocabulary=self.symbols + 2),
            target=TargetSpec("tokens", self.symbols, tuple(str(symbol) for symbol in range(1, self.symbols + 1))),
            length=self.longest + self.copied,
        )

    def example(self, rng: np.random.Generator, length: int) -> Sample:
        answer = rng.integers(self.symbols, size=self.copied)
        prompt = np.full(length, BLANK)
        prompt[np.sort(rng.permutation(length)[: self.copied])] = answer + 1
        return answer_after(prompt, answer, cue=self.symbols + 1)
