"""Pairs of sequences that are drawn by a rule: what is read, and what is to be said."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rnnlab.data.corpus import UNKNOWN, Unit
from rnnlab.data.pair_data import PairData
from rnnlab.data.split import Sample, SplitName
from rnnlab.data.text_encoder import TextEncoder
from rnnlab.errors import InputError
from rnnlab.shapes import PositiveInt

TRIES = 10_000
"""Draws after which a rule is taken for one that has nothing for a split."""


def owner(text: str, val_fraction: float, test_fraction: float) -> SplitName:
    """The one split that a text belongs to, whenever and however often it is drawn."""
    place = zlib.crc32(text.encode()) / 2**32
    return "val" if place < val_fraction else "test" if place >= 1 - test_fraction else "train"


@dataclass(kw_only=True, eq=False)
class RulePairs(PairData, ABC):
    """Texts and their answers, drawn by a rule; no two splits share a text.

    A rule says in ``pair`` what is read and what is to be said, and in
    ``source_tokens`` and ``target_tokens`` of what tokens both are made.
    """

    num_samples: PositiveInt = 5000

    @property
    def source_unit(self) -> Unit:
        """Of a token that is read."""
        return "character"

    @property
    def target_unit(self) -> Unit:
        """Of a token that is to be said."""
        return "character"

    @abstractmethod
    def pair(self, rng: np.random.Generator) -> tuple[str, str]:
        """A text to read, and the one to say."""

    @property
    @abstractmethod
    def source_tokens(self) -> Sequence[str]:
        """All characters, or words, that texts to read are made of."""

    @property
    @abstractmethod
    def target_tokens(self) -> Sequence[str]:
        """The same of the texts to say."""

    def drawn(self, rng: np.random.Generator, split: SplitName) -> tuple[str, str]:
        """The first pair that belongs to a split.

        Raises:
            InputError: the rule has too few texts for one to belong to it.
        """
        for _ in range(TRIES):
            source, target = self.pair(rng)
            if owner(source, self.val_fraction, self.test_fraction) == split:
                return source, target
        raise InputError(
            f"data={type(self).__name__}: the rule makes so few different texts that {split} has none of its own: let "
            f"it make longer ones, or give data.val_fraction={self.val_fraction} and data.test_fraction="
            f"{self.test_fraction} other values"
        )

    @cached_property
    def encoders(self) -> tuple[TextEncoder, TextEncoder]:
        source, target = (UNKNOWN, *self.source_tokens), (UNKNOWN, *self.target_tokens)
        return TextEncoder(source, self.source_unit, "none"), TextEncoder(target, self.target_unit, "none")

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        return self.numbered(*self.drawn(rng, split))

    @property
    def note(self) -> str:
        return "drawn by rule; no two splits share a text, within one it may come again"
