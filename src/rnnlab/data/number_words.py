"""Numbers in words, and in digits."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from rnnlab.data.corpus import Unit
from rnnlab.data.rule_pairs import RulePairs
from rnnlab.errors import InputError, nearest
from rnnlab.extras import need
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
    every other one, up to ``digits`` of them. Other languages, in which many
    write a number as one word, are read and said letter by letter, as the
    package ``num2words`` writes them.

    Attributes:
        digits: of the largest number.
        language: ``en``; or one of ``num2words``: de, fr, es, ru, ja …
        direction: ``to_digits``, or ``to_words`` the other way round.
        num_samples: numbers in the three splits together.

    Raises:
        InputError: the package is not installed, or does not know the language, or not so large a number in it.
    """

    digits: Annotated[PositiveInt, Ge(2), Le(9)] = 6
    language: str = "en"
    direction: Literal["to_digits", "to_words"] = "to_digits"

    def __post_init__(self) -> None:
        if self.language != "en":
            self._check_language()
        super().__post_init__()

    def _check_language(self) -> None:
        need("pairs", "num2words", f"data.language={self.language}", "data.language=en needs nothing")
        from num2words import CONVERTER_CLASSES

        if self.language not in CONVERTER_CLASSES:
            known = sorted(CONVERTER_CLASSES)
            raise InputError(
                f"data.language={self.language}: num2words has no such language{nearest(self.language, known)} (it has "
                f"{', '.join(known)})"
            )
        try:
            self.words(10**self.digits - 1)
        except (NotImplementedError, OverflowError, ValueError, KeyError, IndexError):
            raise InputError(
                f"data.digits={self.digits}: num2words does not write numbers so large in data.language={self.language}"
            ) from None

    def words(self, number: int) -> str:
        """A number as it is spoken."""
        if self.language == "en":
            return " ".join(in_words(number))
        from num2words import num2words

        return unicodedata.normalize("NFC", str(num2words(number, lang=self.language)).lower().strip())

    def pair(self, rng: np.random.Generator) -> tuple[str, str]:
        digits = int(rng.integers(1, self.digits + 1))
        number = int(rng.integers(0 if digits == 1 else 10 ** (digits - 1), 10**digits))
        words, figures = self.words(number), str(number)
        return (words, figures) if self.direction == "to_digits" else (figures, words)

    @cached_property
    def _words(self) -> Sequence[str]:
        """All tokens that numbers are said in."""
        if self.language != "en":
            # each hundred, and what follows on it, comes at each power of a thousand in the same words
            every = [*range(1000), *(k * 10**power for power in range(3, self.digits) for k in range(1, 10))]
            return sorted({letter for number in every for letter in self.words(number)})
        groups = [name for power, name in enumerate(GROUPS) if name and self.digits > 3 * power]
        return sorted([*BELOW_TWENTY, *TENS, "hundred", *groups])

    @property
    def _unit(self) -> Unit:
        """Of a token in which numbers are said."""
        return "word" if self.language == "en" else "character"

    @property
    def source_unit(self) -> Unit:
        return self._unit if self.direction == "to_digits" else "character"

    @property
    def target_unit(self) -> Unit:
        return "character" if self.direction == "to_digits" else self._unit

    @property
    def source_tokens(self) -> Sequence[str]:
        return self._words if self.direction == "to_digits" else "0123456789"

    @property
    def target_tokens(self) -> Sequence[str]:
        return "0123456789" if self.direction == "to_digits" else self._words
