"""The copy memory problem."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from rnnlab.data.diagnostic import Diagnostic
from rnnlab.data.split import Sample
from rnnlab.shapes import PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

BLANK = 0


@dataclass(kw_only=True, eq=False)
class CopyMemory(Diagnostic):
    """Symbols at the start, to be repeated in their order after a long silence.

    ::

        symbols=8 copied=3 length=5 (blanks are dots, and 9 asks for the answer)

        inputs  (11,)   4 8 1 . . . . 9 9 9 9
        target  (11,)   . . . . . . . . 4 8 1

    With the default of ten symbols this is the problem of Hochreiter &
    Schmidhuber (1997) as Arjovsky et al. (2016) and Bai et al. (2018, arXiv
    1803.01271) pose it: T + 20 steps for ``length`` T, of which the last ten are
    answers and the others blank. Every step counts in the loss, the answers
    alone in the accuracy.

    Baseline: blanks at the right steps and then any symbol have a
    cross-entropy of ``copied`` · ln ``symbols`` / (T + 2 ``copied``), which is
    10 ln 8 / (T + 20), and an accuracy of 1 / ``symbols``.

    Attributes:
        length: T, steps from the last symbol to the first answer.
        symbols: different ones, all as likely.
        copied: symbols to remember.
    """

    num_samples: PositiveInt = 10_000
    length: PositiveInt = 10
    symbols: Annotated[int, Ge(2)] = 8
    copied: PositiveInt = 10

    @property
    def spec(self) -> DataSpec:
        names = ("blank", *(str(symbol) for symbol in range(1, self.symbols + 1)))
        return DataSpec(
            input=InputSpec(vocabulary=self.symbols + 2),
            target=TargetSpec("tokens", len(names), names, blank=BLANK),
            length=self.longest + 2 * self.copied,
        )

    def example(self, rng: np.random.Generator, length: int) -> Sample:
        symbols = rng.integers(1, self.symbols + 1, self.copied)
        waiting = np.full(length - 1, BLANK)
        cues = np.full(1 + self.copied, self.symbols + 1)
        silence = np.full(self.copied + length, BLANK)
        return Sample(np.concatenate([symbols, waiting, cues]), np.concatenate([silence, symbols]))
