"""Sequences of real numbers with one label each, scaled for the network, and new ones read in the same way."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from rnnlab.data.feature_reader import FeatureReader, moments_of
from rnnlab.data.reader import Reader
from rnnlab.data.sequence import SequenceData
from rnnlab.data.split import Sample, SplitName


@dataclass(kw_only=True, eq=False)
class LabelledFeatures(SequenceData):
    """What a data set of labelled sequences of features has in common: it implements ``unscaled`` and ``spec``.

    Attributes:
        scaling: ``standard``, each channel by its mean and standard deviation in the training part;
            ``per_sequence``, by those of the sequence itself; or ``none``.
        moments: mean and standard deviation of each channel; ``None`` for those of the training part. A trained run
            hands in its own.
    """

    scaling: Literal["standard", "per_sequence", "none"] = "none"
    moments: Sequence[Sequence[float]] | None = None

    @abstractmethod
    def unscaled(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        """Sequence ``index`` of ``split`` in the data's own units, drawn from ``rng`` alone."""

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        found = self.unscaled(rng, split, index)
        return found._replace(inputs=self.as_read(found.inputs))

    def as_read(self, values: np.ndarray) -> np.ndarray:
        """What the network reads of ``(time, channels)`` in the data's own units."""
        if self.scaling == "none":
            return values
        return self.scaled(values, *(self.scale if self.scaling == "standard" else self.measure([values])))

    @property
    def unscaled_features(self) -> tuple[int, ...]:
        """Which features, from 0, stay as they are, such as the time since the step before."""
        return ()

    def measure(self, sequences: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each channel over all steps of some sequences ``(time, features)``."""
        return moments_of(np.concatenate(list(sequences)), self.unscaled_features)

    def scaled(self, values: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """``(time, features)`` with each channel brought to mean 0 and standard deviation 1, where these are its own.

        Args:
            values: in the data's own units.
            mean: ``(channels,)``.
            deviation: ``(channels,)``.
        """
        return (values - mean) / deviation

    @cached_property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each channel over all steps of the training part."""
        if self.moments is not None:
            mean, deviation = np.asarray(self.moments, np.float64)
            return mean, deviation
        rngs = (np.random.default_rng((self.seed, 0, index)) for index in range(self.measured))
        return self.measure(self.unscaled(rng, "train", i).inputs for i, rng in enumerate(rngs))

    @property
    def plain_scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The shift and the scale of all sequences in plain values; empty where each has its own, or none has any."""
        if self.scaling != "standard":
            return (), ()
        shift, scale = (tuple(part.tolist()) for part in self.scale)
        return shift, scale

    @property
    def measured(self) -> int:
        """Training sequences that the scaling is measured on: where there is a file, all, whatever ``num_samples``."""
        return self.size("train")

    def state_dict(self) -> dict[str, Any]:
        """Arguments of the constructor: how channels are scaled; nothing where they are not."""
        if self.scaling == "none":
            return {}
        state: dict[str, Any] = {"scaling": self.scaling}
        if self.scaling == "standard":
            state["moments"] = [part.tolist() for part in self.scale]
        return state

    @property
    def reader(self) -> Reader:
        return self.feature_reader

    @property
    def feature_reader(self) -> FeatureReader:
        """What reads new features as they are scaled here."""
        spec = self.spec
        names = tuple(f"f{k}" for k in range(spec.input.features or 0))
        own = self.scaling == "per_sequence"
        return FeatureReader(
            names, spec.target.names, *self.plain_scale, own_moments=own, unscaled=self.unscaled_features
        )
