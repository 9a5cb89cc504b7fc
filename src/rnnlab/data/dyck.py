"""The language of well-nested brackets."""

from dataclasses import dataclass

import numpy as np

from rnnlab.data.diagnostic import Diagnostic, LengthRange
from rnnlab.data.split import Sample
from rnnlab.shapes import PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

OPENING, CLOSING = 0, 1
KINDS = ("nested", "nested", "turned", "too early")


@dataclass(kw_only=True, eq=False)
class Dyck(Diagnostic):
    """Whether brackets are well nested (Dyck-1, one kind of bracket).

    ::

        length=4 (opening is 0, closing is 1)

        inputs (8,)   ( ( ) ( ) ) ( )      target  1, nested
        inputs (8,)   ( ( ) ( ( ) ( )      target  0, other: one bracket is turned
        inputs (8,)   ( ) ) ( ( ( ) )      target  0, other: closed before it was opened

    Recognition: the string is judged once, at its end. One half of the strings
    are nested, each of its length as likely. Of the others one half have one
    bracket turned, so that a count gives them away, and one half have as many
    of each but close one too early, so that a count alone does not.

    Baseline: one class for all has an accuracy of 1/2, and a cross-entropy of ln 2.

    Attributes:
        length: pairs of brackets in the longest string; a sequence has twice as many steps.
    """

    num_samples: PositiveInt = 2000
    min_length: PositiveInt | None = 1
    test_length: LengthRange | None = (41, 100)

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(vocabulary=2),
            target=TargetSpec("class", 2, ("other", "nested")),
            length=2 * self.longest,
            class_frequencies=self.class_frequencies(2),
            note=self.repetition_note,
        )

    def example(self, rng: np.random.Generator, length: int) -> Sample:
        kind = KINDS[rng.integers(len(KINDS))]
        if kind == "too early":
            return Sample(_too_early(rng, length), 0)
        brackets = _nested(rng, length)
        if kind == "turned":
            brackets[rng.integers(2 * length)] ^= 1
        return Sample(brackets, int(kind == "nested"))


def _nested(rng: np.random.Generator, pairs: int) -> np.ndarray:
    """One of all nested strings, each as likely: the cycle lemma (Dvoretzky & Motzkin 1947).

    Of the rotations of a string with one closing bracket too many, exactly one is nested up to that last bracket.
    """
    brackets = rng.permutation(np.repeat([OPENING, CLOSING], [pairs, pairs + 1]))
    lowest = int(np.argmin(np.cumsum(1 - 2 * brackets)))
    return np.roll(brackets, -lowest - 1)[:-1]


def _too_early(rng: np.random.Generator, pairs: int) -> np.ndarray:
    """As many of each, not nested."""
    brackets = rng.permutation(np.repeat([OPENING, CLOSING], pairs))
    is_nested = np.cumsum(1 - 2 * brackets).min() >= 0
    return 1 - brackets if is_nested else brackets
