"""Sums of whole numbers, digit by digit."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil, isqrt
from typing import Annotated

import numpy as np
from annotated_types import Le

from rnnlab.data.rule_pairs import RulePairs
from rnnlab.data.split import SPLITS, Sample, SplitName
from rnnlab.errors import InputError
from rnnlab.shapes import PositiveInt


@dataclass(kw_only=True, eq=False)
class Addition(RulePairs):
    """Two numbers of up to ``digits`` digits, and their sum.

    ::

        digits=2
        inputs  (5,)   1 2 + 3 4      target (3,)   4 6 <end>
        inputs  (4,)   9 9 + 5        target (4,)   1 0 4 <end>

    No sum comes twice, in whatever order its two numbers stand, so that no split has one of another split. Each number
    below 10^digits is as likely as every other one.

    Keras' example "addition_rnn" (W. Zaremba & I. Sutskever, "Learning to
    execute" (2014), arXiv 1410.4615): with an LSTM of 128 units 99 % of the
    digits of two-digit sums are right after 5,000 examples in 55 epochs, of
    three digits after 50,000 in 100. There the question is reversed and padded;
    here it has the length that it has.

    Attributes:
        digits: of a number, at most.
        reverse: the question is read from its end.
        num_samples: sums in the three splits together.

    Raises:
        InputError: there are fewer different sums.
    """

    digits: Annotated[PositiveInt, Le(9)] = 2
    reverse: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for split in SPLITS:
            start, end = self._range(split)
            if self.size(split) > end - start:
                raise InputError(
                    f"data.num_samples={self.num_samples}: of the {self.sums:,} sums of data.digits={self.digits} "
                    f"{split} has {end - start:,}, and each comes once: take fewer, or more digits"
                )

    @property
    def sums(self) -> int:
        """How many there are, whichever number stands first."""
        numbers = 10**self.digits
        return numbers * (numbers + 1) // 2

    def _range(self, split: SplitName) -> tuple[int, int]:
        """The first of a split's sums in their drawn order, and the one behind its last."""
        test = ceil(self.sums * self.test_fraction)
        val = test + ceil(self.sums * self.val_fraction)
        return {"test": (0, test), "val": (test, val), "train": (val, self.sums)}[split]

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        start, _ = self._range(split)
        place = shuffled(start + index, self.sums, self.seed)
        b = (isqrt(8 * place + 1) - 1) // 2  # the pairs (a, b) with a up to b, in the order of b
        a = place - b * (b + 1) // 2
        if rng.integers(2):
            a, b = b, a
        question = f"{a}+{b}"
        return self.numbered(question[::-1] if self.reverse else question, str(a + b))

    def pair(self, rng: np.random.Generator) -> tuple[str, str]:
        a, b = rng.integers(10**self.digits, size=2).tolist()
        question = f"{a}+{b}"
        return question[::-1] if self.reverse else question, str(a + b)

    @property
    def note(self) -> str:
        return f"drawn by rule; each of the {self.sums:,} sums comes at most once"

    @property
    def source_tokens(self) -> Sequence[str]:
        return "+0123456789"

    @property
    def target_tokens(self) -> Sequence[str]:
        return "0123456789"


def shuffled(place: int, size: int, seed: int) -> int:
    """Where a number below ``size`` comes in an order that is drawn, of which no list is kept.

    A Feistel network of four rounds, walked on until it is below ``size`` again (J. Black & P. Rogaway, "Ciphers with
    arbitrary finite domains", 2002).
    """
    half = max(1, (size.bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = place >> half, place & mask
        for turn in range(4):
            digest = blake2b(f"{seed} {turn} {right}".encode(), digest_size=8).digest()
            left, right = right, left ^ (int.from_bytes(digest, "big") & mask)
        place = left << half | right
        if place < size:
            return place
