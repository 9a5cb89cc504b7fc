"""What the diagnostics of memory share: a problem of any length, trained short and tested long."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Len

from rnnlab.data.sequence import SequenceData, check_lengths, check_range
from rnnlab.data.split import Sample, SplitName
from rnnlab.errors import InputError
from rnnlab.shapes import PositiveInt
from rnnlab.spec import IGNORED

LengthRange = Annotated[Sequence[PositiveInt], Len(2, 2)]
"""The shortest and the longest; all lengths between are as likely."""


@dataclass(kw_only=True, eq=False)
class Diagnostic(SequenceData):
    """A rule that makes a problem of any length.

    A data set implements ``example``, and says what its length counts: steps,
    symbols to remember, blanks to wait. Training and validation have lengths
    from ``min_length`` to ``length``. The test has the same, or others: who
    learned the rule, and not the sequences, follows it further than it was
    trained.

    Attributes:
        length: of the longest problem in training and validation.
        min_length: of the shortest; ``None`` where all are as long as the longest.
        test_length: of the shortest and the longest problem in the test; ``None`` for those of training.

    Raises:
        InputError: lengths are upside down, or too short for the rule.
    """

    length: PositiveInt = 40
    min_length: PositiveInt | None = None
    test_length: LengthRange | None = None

    def __post_init__(self) -> None:
        if self.min_length is not None:
            check_lengths(self.min_length, self.length)
        if self.test_length is not None:
            check_range("data.test_length", self.test_length)
        trained = "length" if self.min_length is None else "min_length"
        for key, low in ((trained, self.lengths("train")[0]), ("test_length", self.lengths("test")[0])):
            if low < self.shortest:
                raise InputError(
                    f"data.{key}={getattr(self, key)}: with these options a problem has at least length {self.shortest}"
                )
        super().__post_init__()

    @property
    def shortest(self) -> int:
        """The shortest length at which the rule makes sense."""
        return 1

    def lengths(self, split: SplitName) -> tuple[int, int]:
        """The shortest and the longest problem of a split."""
        if split == "test" and self.test_length is not None:
            low, high = self.test_length
            return low, high
        return self.length if self.min_length is None else self.min_length, self.length

    @property
    def longest(self) -> int:
        """Of all splits."""
        return max(self.lengths("train")[1], self.lengths("test")[1])

    @property
    def repetition_note(self) -> str:
        """For rules whose short problems are few: what the scores are worth."""
        note = "Short problems are few, so that validation repeats some of training's"
        if self.test_length is None:
            return f"{note}; data.test_length=[LOW, HIGH] tests on longer ones."
        low, high = self.test_length
        return f"{note}; the test, of length {low} to {high}, tells whether the rule was learned."

    @abstractmethod
    def example(self, rng: np.random.Generator, length: int) -> Sample:
        """One problem of a length, drawn from ``rng`` alone."""

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        low, high = self.lengths(split)
        return self.example(rng, int(rng.integers(low, high + 1)))


def answer_after(prompt: np.ndarray, answer: np.ndarray, cue: int) -> Sample:
    """First the prompt, at which nothing is asked, then a cue for each token of the answer."""
    return Sample(
        inputs=np.concatenate([prompt, np.full(len(answer), cue)]),
        target=np.concatenate([np.full(len(prompt), IGNORED), answer]),
    )
