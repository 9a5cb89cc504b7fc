"""Long inputs of features, and what is said in them: what all such data sets have in common."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from rnnlab.data.labelled import LabelledFeatures
from rnnlab.data.said_targets import of_targets
from rnnlab.data.split import SPLITS, Sample, SplitName
from rnnlab.spec import DataSpec, InputSpec


@dataclass(kw_only=True, eq=False)
class TranscribedFeatures(LabelledFeatures):
    """Features, and a text that stands somewhere in them; each target ends with a token of its own.

    A data set says in ``heard`` what both are, and in ``tokens`` of what texts are made.
    """

    step_unit: ClassVar[str] = "step"

    @abstractmethod
    def heard(self, rng: np.random.Generator, split: SplitName, index: int) -> tuple[np.ndarray, Sequence[int]]:
        """``(time, features)`` unscaled, and the numbers of the tokens that are said in them."""

    @property
    @abstractmethod
    def tokens(self) -> tuple[str, ...]:
        """What each number stands for."""

    @property
    def target_unit(self) -> str:
        """Of a token."""
        return "character"

    @property
    def unknown(self) -> int | None:
        """The token that stands for all that have none of their own; ``None`` where there is none."""
        return None

    @property
    def note(self) -> str:
        """As :attr:`rnnlab.spec.DataSpec.note`."""
        return ""

    def unscaled(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        features, tokens = self.heard(rng, split, index)
        return Sample(features, np.array([*tokens, len(self.tokens)], np.int64))

    @cached_property
    def spec(self) -> DataSpec:
        train = self.split("train")
        return DataSpec(
            input=InputSpec(features=train.batch(slice(1)).inputs.shape[2]),
            length=max(self.split(split).longest for split in SPLITS),
            step_unit=self.step_unit,
            note=self.note,
            **of_targets(train.targets, self.tokens, self.target_unit, self.unknown),
        )
