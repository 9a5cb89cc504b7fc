"""Texts that are read, and texts that are to be said: what all such data sets have in common."""

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rnnlab.data.pair_reader import PairReader
from rnnlab.data.sequence import SequenceData
from rnnlab.data.split import SPLITS, Sample
from rnnlab.data.text_encoder import TextEncoder
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

END = "<end>"
"""The name of the token that ends a target."""


@dataclass(kw_only=True, eq=False)
class PairData(SequenceData, ABC):
    """Texts and what is to be said to them, as tokens; each target ends with a token of its own."""

    @property
    @abstractmethod
    def encoders(self) -> tuple[TextEncoder, TextEncoder]:
        """What numbers the texts that are read, and those that are said."""

    @property
    @abstractmethod
    def note(self) -> str:
        """As :attr:`rnnlab.spec.DataSpec.note`."""

    def numbered(self, source: str, target: str) -> Sample:
        """A pair of texts, which are normalized, as tokens."""
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
            input=InputSpec(
                vocabulary=len(ours.vocabulary), unknown=None if ours.unit == "byte" else 0, names=ours.vocabulary
            ),
            target=TargetSpec(
                "sequence",
                len(names),
                names,
                end=len(names) - 1,
                unknown=None if theirs.unit == "byte" else 0,
                unit=theirs.unit,
                longest=targets.shape[1],
            ),
            length=max(self.split(split).inputs.shape[1] for split in SPLITS),
            token_frequencies=tuple((counts / counts.sum()).tolist()),
            common_target=tuple(number for number in common if 0 <= number < len(names) - 1),
            step_unit=ours.unit,
            note=self.note,
        )

    @property
    def reader(self) -> PairReader:
        encoder, _ = self.encoders
        return PairReader(encoder.vocabulary, encoder.unit, encoder.normalization, encoder.lower)
