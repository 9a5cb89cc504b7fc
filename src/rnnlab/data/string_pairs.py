"""A string, and what a rule makes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from rnnlab.data.rule_pairs import RulePairs
from rnnlab.data.sequence import check_lengths
from rnnlab.shapes import PositiveInt

Rule = Literal["reverse", "copy", "duplicate", "sort", "swap"]
RULES: dict[str, Callable[[str], str]] = {
    "reverse": lambda text: text[::-1],
    "copy": lambda text: text,
    "duplicate": lambda text: 2 * text,
    "sort": lambda text: "".join(sorted(text)),
    "swap": lambda text: text[len(text) // 2 :] + text[: len(text) // 2],
}


@dataclass(kw_only=True, eq=False)
class StringPairs(RulePairs):
    """Letters at random, and what a rule makes of them.

    ::

        rule=reverse     c a b d      target (5,)   d b a c <end>
        rule=copy        c a b d      target (5,)   c a b d <end>
        rule=duplicate   c a b d      target (9,)   c a b d c a b d <end>
        rule=sort        c a b d      target (5,)   a b c d <end>
        rule=swap        c a b d      target (5,)   b d c a <end>    its halves

    With attention all but ``sort`` are a matter of where to look.

    Attributes:
        rule: which it is.
        length: letters of the longest string.
        min_length: of the shortest.
        letters: different ones, from ``a`` on, all as likely.
        num_samples: strings in the three splits together.

    Raises:
        InputError: the shortest is longer than the longest.
    """

    rule: Rule = "reverse"
    length: PositiveInt = 12
    min_length: PositiveInt = 3
    letters: Annotated[int, Ge(2), Le(26)] = 12

    def __post_init__(self) -> None:
        check_lengths(self.min_length, self.length)
        super().__post_init__()

    def pair(self, rng: np.random.Generator) -> tuple[str, str]:
        length = int(rng.integers(self.min_length, self.length + 1))
        text = "".join(ascii_lowercase[k] for k in rng.integers(self.letters, size=length))
        return text, RULES[self.rule](text)

    @property
    def source_tokens(self) -> Sequence[str]:
        return ascii_lowercase[: self.letters]

    @property
    def target_tokens(self) -> Sequence[str]:
        return self.source_tokens
