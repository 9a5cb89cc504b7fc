"""Small pictures that move through a frame: what all such data sets have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from rnnlab.data.labelled_frames import LabelledFrames
from rnnlab.data.sequence import Range, check_range
from rnnlab.data.split import Sample, SplitName
from rnnlab.errors import InputError
from rnnlab.shapes import Fraction, NonNegativeInt, PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

DIRECTIONS = {"right": (0, 1), "left": (0, -1), "down": (1, 0), "up": (-1, 0)}
"""Rows and columns, by name."""


@dataclass(kw_only=True, eq=False)
class MovingFrames(LabelledFrames, ABC):
    """Sprites on black that move at a constant speed; a frame is a step, its pixels between 0 and 1 its features.

    Either it is asked what moves where: one sprite moves right, left, down or
    up, and what leaves the frame comes in again on the other side. Or it is
    asked for the next frame, at every step: sprites move in any direction and
    bounce off the edges, as the digits of N. Srivastava, E. Mansimov & R.
    Salakhutdinov, "Unsupervised learning of video representations using LSTMs"
    (2015), arXiv 1502.04681, section 3.2.

    Attributes:
        predict: ``motion``, what moves where; or ``next_frames``.
        length: frames of every sequence.
        frame_size: pixels of a side of the frame.
        objects: sprites in a frame; the brighter one covers the other.
        speed: pixels a frame, lowest and highest.
        noise: standard deviation of what is added to each pixel, which stays between 0 and 1; the next frames are
            without.
        future_length: frames after the last target, for rollouts.
        scaling: of frames whose motion is asked for, as :class:`rnnlab.data.labelled_frames.LabelledFrames` has it.
        moments: see :class:`rnnlab.data.labelled.LabelledFeatures`.

    Raises:
        InputError: a sprite has no room to move, it is too fast to tell where it goes, there are several of whom it is
            asked what moves, or the next frames are to be scaled.
    """

    predict: Literal["motion", "next_frames"] = "motion"
    length: PositiveInt = 10
    frame_size: PositiveInt = 16
    objects: PositiveInt = 1
    speed: Range = (0.5, 1.5)
    noise: Fraction = 0.1
    future_length: NonNegativeInt = 10

    def __post_init__(self) -> None:
        check_range("data.speed", self.speed)
        if self.frame_size < self.sprite_side + 2:
            raise InputError(
                f"data.frame_size={self.frame_size}: what moves is {self.sprite_side} pixels wide: give "
                f"{self.sprite_side + 2} or more"
            )
        if not 0 <= self.speed[0] <= self.speed[1] < self.frame_size / 2:
            raise InputError(
                f"data.speed={list(self.speed)} must be from 0 to below {self.frame_size / 2:g} pixels a frame, half "
                f"of data.frame_size={self.frame_size}"
            )
        if self.predict == "motion" and self.objects > 1:
            raise InputError(
                f"data.objects={self.objects}: what moves where is asked of one object: use data.objects=1, or "
                "data.predict=next_frames"
            )
        if self.predict == "next_frames":
            self.check_no_next_frames("motion")
        super().__post_init__()

    @property
    @abstractmethod
    def sprite_side(self) -> int:
        """Pixels of the longer side of a sprite."""

    @property
    @abstractmethod
    def kinds(self) -> tuple[str, ...]:
        """What may move, by name."""

    @abstractmethod
    def sprite(self, rng: np.random.Generator, split: SplitName, kind: int) -> np.ndarray:
        """``(rows, columns)`` between 0 and 1."""

    @property
    def note(self) -> str:
        """As :attr:`rnnlab.spec.DataSpec.note`."""
        return ""

    def unscaled(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        low, high = self.speed
        if self.predict == "motion":
            kind, direction = int(rng.integers(len(self.kinds))), int(rng.integers(len(DIRECTIONS)))
            velocity = rng.uniform(low, high) * np.array(list(DIRECTIONS.values())[direction])
            sprite, start = self.sprite(rng, split, kind), rng.uniform(0, self.frame_size, 2)
            frames = self._frames([sprite], [start + velocity * np.arange(self.length)[:, None]])
            return Sample(self._noisy(rng, frames), kind * len(DIRECTIONS) + direction)
        sprites, paths = [], []
        total = self.length + 1 + self.future_length
        for _ in range(self.objects):
            sprite, angle = self.sprite(rng, split, int(rng.integers(len(self.kinds)))), rng.uniform(0, 2 * np.pi)
            room = self.frame_size - np.array(sprite.shape)
            velocity = rng.uniform(low, high) * np.array([np.sin(angle), np.cos(angle)])
            way = rng.uniform(0, room) + velocity * np.arange(total)[:, None]
            sprites.append(sprite)
            paths.append(room - np.abs(way % (2 * room) - room))  # there and back
        frames = self._frames(sprites, paths)
        seen = self._noisy(rng, frames[: self.length + 1])
        return Sample(seen[:-1], seen[1:], frames[self.length + 1 :] if self.future_length else None)

    def _noisy(self, rng: np.random.Generator, frames: np.ndarray) -> np.ndarray:
        if not self.noise:
            return frames
        noisy: np.ndarray = (frames + rng.normal(0, self.noise, frames.shape)).clip(0, 1)
        return noisy

    def _frames(self, sprites: list[np.ndarray], paths: list[np.ndarray]) -> np.ndarray:
        """``(time, pixels)`` of sprites whose upper left corners are at ``(time, 2)`` rows and columns."""
        frames = np.zeros((len(paths[0]), self.frame_size, self.frame_size))
        for sprite, path in zip(sprites, paths, strict=True):
            for frame, corner in zip(frames, path, strict=True):
                put(frame, sprite, corner)
        return frames.reshape(len(frames), -1)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return 1, self.frame_size, self.frame_size

    @cached_property
    def spec(self) -> DataSpec:
        frame = self.frame_shape
        pixels = self.frame_size * self.frame_size
        input = InputSpec(features=pixels, frame=frame)
        if self.predict == "next_frames":
            target = TargetSpec("values", pixels, frame=frame)
            return DataSpec(input, target, self.length, horizon=1, step_unit="frame", note=self.note)
        names = tuple(f"{kind} {direction}" for kind in self.kinds for direction in DIRECTIONS)
        target = TargetSpec("class", len(names), names)
        frequencies = self.class_frequencies(len(names))
        return DataSpec(input, target, self.length, class_frequencies=frequencies, step_unit="frame", note=self.note)


def put(frame: np.ndarray, sprite: np.ndarray, corner: np.ndarray) -> None:
    """Puts a sprite into a frame, between its pixels by linear interpolation, over its edges to the other side; where
    something is already the brighter one stays.
    """
    whole = np.floor(corner).astype(np.int64)
    down, right = corner - whole
    padded = np.pad(sprite, 1)
    above = (1 - right) * padded[:, 1:] + right * padded[:, :-1]
    moved = (1 - down) * above[1:] + down * above[:-1]
    rows, columns = (
        (start + np.arange(count)) % side for start, count, side in zip(whole, moved.shape, frame.shape, strict=True)
    )
    place = np.ix_(rows, columns)
    frame[place] = np.maximum(frame[place], moved)
