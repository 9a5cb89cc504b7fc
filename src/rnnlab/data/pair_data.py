"""Texts that are read, and texts that are to be said: what all such data sets have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from rnnlab.data.pair_reader import PairReader
from rnnlab.data.said_targets import of_targets
from rnnlab.data.sequence import SequenceData
from rnnlab.data.split import SPLITS, Sample
from rnnlab.data.text_encoder import TextEncoder
from rnnlab.spec import Batch, DataSpec, InputSpec, valid_steps

CHUNK = 4096
"""Pairs that are counted at a time."""


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
        train, size = self.split("train"), len(theirs.vocabulary) + 1
        beside = [side_by_side(train.batch(index), size) for index in torch.arange(len(train)).split(CHUNK)]
        return DataSpec(
            input=InputSpec(
                vocabulary=len(ours.vocabulary), unknown=None if ours.unit == "byte" else 0, names=ours.vocabulary
            ),
            length=max(split.longest for split in map(self.split, SPLITS)),
            dictionary=dictionary(np.concatenate(beside), len(ours.vocabulary), size),
            step_unit=ours.unit,
            note=self.note,
            **of_targets(train.targets, theirs.vocabulary, theirs.unit, unknown),
        )

    @property
    def reader(self) -> PairReader:
        encoder, _ = self.encoders
        return PairReader(encoder.vocabulary, encoder.unit, encoder.normalization, encoder.lower)


def side_by_side(batch: Batch, size: int) -> np.ndarray:
    """``(tokens,)`` each token that is read with the one of the target at its place, as ``read * size + said``.

    The place of token i of m is token ⌊(i + ½) n / m⌋ of the n of the target, its end left out: both sides are as long
    as each other, so to say.
    """
    valid = valid_steps(batch.inputs, batch.lengths)
    m, n = valid.sum(1, keepdim=True), (batch.targets >= 0).sum(1, keepdim=True) - 1
    place = torch.div((2 * torch.arange(valid.shape[1]) + 1) * n, 2 * m, rounding_mode="floor")
    said = batch.targets.gather(1, place.clamp(max=batch.targets.shape[1] - 1))
    codes: np.ndarray = (batch.inputs * size + said)[valid & (n > 0)].numpy()
    return codes


def dictionary(codes: np.ndarray, vocabulary: int, size: int) -> tuple[int, ...]:
    """For each token that is read the one that most often stands at its place, -1 where it is never read.

    Args:
        codes: of :func:`side_by_side`.
        vocabulary: how many tokens can be read.
        size: how many can be said.
    """
    pairs, counts = np.unique(codes, return_counts=True)
    order = np.argsort(counts, kind="stable")  # of several the last one stays
    best = np.full(vocabulary, -1)
    best[pairs[order] // size] = pairs[order] % size
    return tuple(best.tolist())
