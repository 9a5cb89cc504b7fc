"""Texts that are read, and texts that are to be said: what all such data sets have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rnnlab.data.pair_reader import PairReader
from rnnlab.data.said_targets import of_targets
from rnnlab.data.sequence import SequenceData
from rnnlab.data.split import SPLITS, Sample
from rnnlab.data.text_encoder import TextEncoder
from rnnlab.spec import DataSpec, InputSpec


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
        unknown = None if theirs.unit == "byte" else 0
        return DataSpec(
            input=InputSpec(
                vocabulary=len(ours.vocabulary), unknown=None if ours.unit == "byte" else 0, names=ours.vocabulary
            ),
            length=max(self.split(split).inputs.shape[1] for split in SPLITS),
            step_unit=ours.unit,
            note=self.note,
            **of_targets(self.split("train").targets, theirs.vocabulary, theirs.unit, unknown),
        )

    @property
    def reader(self) -> PairReader:
        encoder, _ = self.encoders
        return PairReader(encoder.vocabulary, encoder.unit, encoder.normalization, encoder.lower)
