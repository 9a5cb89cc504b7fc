"""A string, backwards."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rnnlab.data.string_problem import StringProblem


@dataclass(kw_only=True, eq=False)
class ReverseString(StringProblem):
    """A string is read, and then said backwards.

    ::

        symbols=2 length=5 (2 asks for the answer, - asks nothing)

        inputs  (10,)   0 1 1 0 1 2 2 2 2 2
        target  (10,)   - - - - - 1 0 1 1 0

    A stack solves it; a network of H units has no room for strings of any
    length (Delétang et al. 2022, arXiv 2207.02098, "reverse string").

    Baseline: any symbol has a cross-entropy of ln ``symbols`` and an accuracy
    of 1 / ``symbols``; the whole string is right once in ``symbols ** n`` times.

    Attributes:
        length: symbols of the longest string; a sequence has twice as many steps.
        symbols: different ones, all as likely.
    """

    steps_a_symbol: ClassVar[int] = 2

    def answer(self, string: np.ndarray) -> np.ndarray:
        return string[::-1]
