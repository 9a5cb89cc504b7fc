"""Sums of whole numbers, digit by digit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Le

from rnnlab.data.rule_pairs import RulePairs
from rnnlab.shapes import PositiveInt


@dataclass(kw_only=True, eq=False)
class Addition(RulePairs):
    """Two numbers of up to ``digits`` digits, and their sum.

    ::

        digits=2
        inputs  (5,)   1 2 + 3 4      target (3,)   4 6 <end>
        inputs  (4,)   9 9 + 5        target (4,)   1 0 4 <end>

    Keras' example "addition_rnn" (W. Zaremba & I. Sutskever, "Learning to
    execute" (2014), arXiv 1410.4615): with an LSTM of 128 units 99 % of the
    digits of two-digit sums are right after 5,000 examples in 55 epochs, of
    three digits after 50,000 in 100. There the question is reversed and padded;
    here it has the length that it has. Its numbers have one to ``digits``
    digits, as often each.

    Attributes:
        digits: of a number, at most.
        reverse: the question is read from its end.
        num_samples: sums in the three splits together.
    """

    digits: Annotated[PositiveInt, Le(9)] = 2
    reverse: bool = False

    def pair(self, rng: np.random.Generator) -> tuple[str, str]:
        a, b = (int(rng.integers(10**digits)) for digits in rng.integers(1, self.digits + 1, size=2))
        question = f"{a}+{b}"
        return question[::-1] if self.reverse else question, str(a + b)

    @property
    def source_tokens(self) -> Sequence[str]:
        return "+0123456789"

    @property
    def target_tokens(self) -> Sequence[str]:
        return "0123456789"
