"""Sums and products modulo a number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Len

from rnnlab.data.diagnostic import Diagnostic, LengthRange
from rnnlab.data.split import Sample
from rnnlab.errors import InputError
from rnnlab.shapes import PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

Operator = Literal["+", "-", "*"]


@dataclass(kw_only=True, eq=False)
class ModularArithmetic(Diagnostic):
    """The value of an expression without brackets, modulo ``modulus``; products go before sums.

    ::

        modulus=5

        inputs (7,)   2 + 3 * 4 - 1      target  3    2 + 12 - 1 = 13
        inputs (3,)   0 - 2              target  3

    Numbers are tokens below ``modulus``, operators follow. An automaton with a
    sum, a sign and a product for states solves it (Delétang et al. 2022, arXiv
    2207.02098, "modular arithmetic (simple)").

    Baseline: where an expression has a number that is in no product, all
    values are as likely. One class for all then has an accuracy of 1 /
    ``modulus`` and a cross-entropy of ln ``modulus``; pure products, which are
    rare at length, are 0 more often.

    Attributes:
        length: tokens of the longest expression; an even length is one token shorter.
        modulus: numbers go from 0 to ``modulus`` - 1.
        operators: of ``+``, ``-`` and ``*``, all as likely.

    Raises:
        InputError: an operator is there twice.
    """

    num_samples: PositiveInt = 10_000
    length: PositiveInt = 9
    min_length: PositiveInt | None = 1
    test_length: LengthRange | None = (11, 19)
    modulus: Annotated[int, Ge(2)] = 5
    operators: Annotated[Sequence[Operator], Len(1, 3)] = ("+", "-", "*")

    def __post_init__(self) -> None:
        if len(set(self.operators)) < len(self.operators):
            raise InputError(f"data.operators={list(self.operators)}: each once")
        super().__post_init__()

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(vocabulary=self.modulus + len(self.operators)),
            target=TargetSpec("class", self.modulus),
            length=self.longest,
            class_frequencies=self.class_frequencies(self.modulus),
            note=self.repetition_note,
        )

    def example(self, rng: np.random.Generator, length: int) -> Sample:
        count = (length + 1) // 2
        numbers = rng.integers(self.modulus, size=count)
        chosen = rng.integers(len(self.operators), size=count - 1)
        inputs = np.empty(2 * count - 1, np.int64)
        inputs[::2], inputs[1::2] = numbers, self.modulus + chosen
        return Sample(inputs, self._value(numbers.tolist(), [self.operators[i] for i in chosen]))

    def _value(self, numbers: Sequence[int], operators: Sequence[Operator]) -> int:
        total, term = 0, numbers[0]
        for operator, number in zip(operators, numbers[1:], strict=True):
            if operator == "*":
                term = term * number % self.modulus
            else:
                total, term = total + term, number if operator == "+" else -number
        return (total + term) % self.modulus
