"""Pairs of sequences that are drawn by a rule: what is read, and what is to be said."""

import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from rnnlab.data.corpus import UNKNOWN, Unit
from rnnlab.data.pair_reader import PairReader
from rnnlab.data.sequence import SPLITS, Sample, SequenceData, SplitName
from rnnlab.data.text_encoder import TextEncoder
from rnnlab.errors import InputError
from rnnlab.shapes import PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

END = "<end>"
"""The name of the token that ends a target."""
TRIES = 10_000
"""Draws after which a rule is taken for one that has nothing for a split."""


def owner(text: str, val_fraction: float, test_fraction: float) -> SplitName:
    """The one split that a text belongs to, whenever and however often it is drawn."""
    place = zlib.crc32(text.encode()) / 2**32
    return "val" if place < val_fraction else "test" if place >= 1 - test_fraction else "train"


@dataclass(kw_only=True, eq=False)
class RulePairs(SequenceData, ABC):
    """Texts and their answers, drawn by a rule; no two splits share a text.

    A rule says in ``pair`` what is read and what is to be said, and in
    ``source_tokens`` and ``target_tokens`` of what tokens both are made.
    """

    source_unit: ClassVar[Unit] = "character"
    target_unit: ClassVar[Unit] = "character"
    num_samples: PositiveInt = 5000

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
        """What numbers both sides."""
        source, target = (UNKNOWN, *self.source_tokens), (UNKNOWN, *self.target_tokens)
        return TextEncoder(source, self.source_unit, "none"), TextEncoder(target, self.target_unit, "none")

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        source, target = self.drawn(rng, split)
        ours, theirs = self.encoders
        return Sample(ours.numbers(source), np.append(theirs.numbers(target), len(theirs.vocabulary)))

    @cached_property
    def spec(self) -> DataSpec:
        ours, theirs = self.encoders
        names = (*theirs.vocabulary, END)
        targets = self.split("train").targets
        # one more of each, so that none is 0
        counts = np.bincount(targets[targets >= 0].numpy(), minlength=len(names)) + 1
        common = Counter(tuple(row) for row in targets.tolist()).most_common(1)[0][0]
        return DataSpec(
            input=InputSpec(vocabulary=len(ours.vocabulary), unknown=0, names=ours.vocabulary),
            target=TargetSpec(
                "sequence",
                len(names),
                names,
                end=len(names) - 1,
                unknown=0,
                unit=self.target_unit,
                longest=targets.shape[1],
            ),
            length=max(self.split(split).inputs.shape[1] for split in SPLITS),
            token_frequencies=tuple((counts / counts.sum()).tolist()),
            common_target=tuple(number for number in common if 0 <= number < len(names) - 1),
            step_unit=self.source_unit,
            note="drawn by rule; no two splits share a text, within one it may come again",
        )

    @property
    def reader(self) -> PairReader:
        encoder, _ = self.encoders
        return PairReader(encoder.vocabulary, encoder.unit, encoder.normalization)
