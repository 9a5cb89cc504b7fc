"""Labelled images and clips, scaled for the network, and new ones read in the same way."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnlab.data.frame_reader import FrameReader, channel_moments, scaled_by_channel
from rnnlab.data.labelled import LabelledFeatures
from rnnlab.errors import InputError


@dataclass(kw_only=True, eq=False)
class LabelledFrames(LabelledFeatures):
    """Labelled features that are pixels: a channel is that of the image, over all its pixels and all frames.

    Each pixel by itself would be nothing but 0 where there is one frame, or where nothing moves.
    """

    @property
    @abstractmethod
    def frame_shape(self) -> tuple[int, ...]:
        """Channels, height and width."""

    def check_no_next_frames(self, instead: str) -> None:
        """Refuses a scaling where the next frames are asked for.

        Args:
            instead: what else ``data.predict`` may be.

        Raises:
            InputError: there is one.
        """
        if self.scaling != "none":
            raise InputError(
                f"data.scaling={self.scaling} is for classes: the next frames are predicted as pixels between 0 and 1, "
                f"and read again as they are predicted; use data.scaling=none, or data.predict={instead}"
            )

    def measure(self, sequences: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return channel_moments(sequences, self.frame_shape)

    def scaled(self, values: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        return scaled_by_channel(values, mean, deviation)

    @property
    def reading(self) -> dict[str, Any]:
        """Further arguments of the reader."""
        return {}

    @property
    def reader(self) -> FrameReader:
        target, (shift, scale) = self.spec.target, self.plain_scale
        classes, own = target.names if target.classifies else (), self.scaling == "per_sequence"
        return FrameReader(self.frame_shape, classes, shift=shift, scale=scale, own_moments=own, **self.reading)
