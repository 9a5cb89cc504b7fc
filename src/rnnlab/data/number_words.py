"""Numbers in words, and in digits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from rnnlab.data.corpus import Unit
from rnnlab.data.rule_pairs import RulePairs
from rnnlab.shapes import PositiveInt

BELOW_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
GROUPS = ("", "thousand", "million")


def in_words(number: int) -> list[str]:
    """A whole number from 0 up to 999,999,999 in English words, as they are spoken without ``and``."""
    if number == 0:
        return ["zero"]
    words: list[str] = []
    for power, name in reversed(list(enumerate(GROUPS))):
        group = number // 1000**power % 1000
        if group:
            words += _below_a_thousand(group) + ([name] if name else [])
    return words


def _below_a_thousand(number: int) -> list[str]:
    hundreds, rest = divmod(number, 100)
    words = [BELOW_TWENTY[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        words.append(TENS[rest // 10 - 2])
        rest %= 10
    return words + ([BELOW_TWENTY[rest]] if rest else [])


@dataclass(kw_only=True, eq=False)
class NumberWords(RulePairs):
    """A number in English words, which is to be written in digits.

    ::

        three hundred twelve      inputs (3,)  three hundred twelve      target (4,)  3 1 2 <end>
        nine thousand five        inputs (3,)  nine thousand five        target (5,)  9 0 0 5 <end>

    What no word says, the zeros, must be said all the same, and where a word
    belongs hangs on those after it. Each number of digits is as frequent as
    every other one, up to ``digits`` of them.

    Attributes:
        digits: of the largest number.
        direction: ``to_digits``, or ``to_words`` the other way round.
        num_samples: numbers in the three splits together.
    """

    digits: Annotated[PositiveInt, Ge(2), Le(9)] = 6
    direction: Literal["to_digits", "to_words"] = "to_digits"

    def __post_init__(self) -> None:
        units: tuple[Unit, Unit] = ("word", "character")
        ours, theirs = units if self.direction == "to_digits" else units[::-1]
        self.source_unit, self.target_unit = ours, theirs  # type: ignore[misc]
        super().__post_init__()

    def pair(self, rng: np.random.Generator) -> tuple[str, str]:
        digits = int(rng.integers(1, self.digits + 1))
        number = int(rng.integers(0 if digits == 1 else 10 ** (digits - 1), 10**digits))
        words, figures = " ".join(in_words(number)), str(number)
        return (words, figures) if self.direction == "to_digits" else (figures, words)

    @property
    def _words(self) -> Sequence[str]:
        groups = [name for power, name in enumerate(GROUPS) if name and self.digits > 3 * power]
        return sorted([*BELOW_TWENTY, *TENS, "hundred", *groups])

    @property
    def source_tokens(self) -> Sequence[str]:
        return self._words if self.direction == "to_digits" else "0123456789"

    @property
    def target_tokens(self) -> Sequence[str]:
        return "0123456789" if self.direction == "to_digits" else self._words
