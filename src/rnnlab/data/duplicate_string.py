"""A string, twice."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rnnlab.data.string_problem import StringProblem


@dataclass(kw_only=True, eq=False)
class DuplicateString(StringProblem):
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

    steps_a_symbol: ClassVar[int] = 3

    def answer(self, string: np.ndarray) -> np.ndarray:
        return np.tile(string, 2)
