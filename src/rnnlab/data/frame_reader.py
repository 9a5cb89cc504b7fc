"""New images, folders of numbered frames, and videos."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rnnlab.data.feature_reader import Moments
from rnnlab.data.reader import Given, Reader, refuse_own_moments
from rnnlab.errors import InputError
from rnnlab.files.images import WHITE, Clip, Look, clips_of, is_frames, read_clip
from rnnlab.files.source import Format, Source, as_numbers, brief, find, listed
from rnnlab.spec import Scaling


def channel_moments(sequences: Iterable[np.ndarray], frame: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """``(channels,)`` mean and standard deviation over all pixels of sequences ``(time, features)`` of frames."""
    channels = frame[0]
    parts = (np.asarray(rows, np.float64).reshape(len(rows), channels, -1) for rows in sequences)
    # side by side in double precision all frames might be more than memory holds
    return Moments.together([Moments.of(part.swapaxes(1, 2).reshape(-1, channels)) for part in parts]).scale


def scaled_by_channel(rows: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """``(time, features)`` of frames, each channel less its mean ``(channels,)``, divided by its deviation."""
    pixels = np.asarray(rows, np.float64).reshape(len(rows), len(mean), -1)
    scaled: np.ndarray = (pixels - mean[:, None]) / deviation[:, None]
    return scaled.reshape(rows.shape)


@dataclass(frozen=True, eq=False)
class FrameReader(Reader):
    """Frames whose pixels are between 0 and 1, from files of images; or as arrays in memory.

    Attributes:
        frame: channels, height and width.
        classes: of the run, by name: a file in a folder of that name is of that class.
        resize: images are brought to the size of the frame; else others are refused.
        every: of the frames of a clip each so-manieth is read.
        longest: frames of a clip, its first; ``None`` for all.
        fewest: frames of a sequence, at least.
        moving: images side by side in a folder are the frames of one sequence.
        shift: what is subtracted from each channel; empty for nothing.
        scale: what it is then divided by.
        own_moments: each channel by its own mean and standard deviation in the sequence instead.
    """

    reads_folders: ClassVar[bool] = True
    formats: ClassVar[tuple[Format, ...]] = ("frames",)

    frame: tuple[int, ...]
    classes: tuple[str, ...] = ()
    resize: bool = False
    every: int = 1
    longest: int | None = None
    fewest: int = 1
    moving: bool = True
    shift: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    own_moments: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        channels, height, width = self.frame
        names = [f"r{row}c{column}" for row in range(height) for column in range(width)]
        return tuple(
            names if channels == 1 else [f"{color} {name}" for color in ("red", "green", "blue") for name in names]
        )

    @property
    def input_scaling(self) -> Scaling:
        if self.own_moments or not self.shift:
            return Scaling()
        _, height, width = self.frame
        shift, scale = (np.repeat(part, height * width).tolist() for part in (self.shift, self.scale))
        return Scaling(tuple(shift), tuple(scale))

    @property
    def look(self) -> Look:
        """How images become numbers."""
        channels, height, width = self.frame
        return Look(channels == 3, (height, width) if self.resize else None, self.every, self.longest)

    @property
    def _shape(self) -> str:
        channels, height, width = self.frame
        return f"{width} x {height} pixels{' of three colours' if channels == 3 else ', of greys'}"

    def describe(self) -> str:
        size = f"of any size, brought to {self._shape}" if self.resize else f"of {self._shape}"
        beside = (
            "images side by side are the frames of one sequence, in the order of their numbers"
            if self.moving
            else ("each image is read by itself")
        )
        known = "\n  a folder named after a class tells the true class of what is in it" if self.classes else ""
        return (
            f"images {size}\n  a folder: {beside}; each folder in it likewise\n  an image, or a video (.mp4 …, with "
            f"the extra video){known}\n  in Python: arrays (time, {', '.join(map(str, self.frame))}) between 0 and 1, "
            "one or a list of them"
        )

    @property
    def example(self) -> str:
        return f"a folder of images of {self._shape}"

    def open(self, place: Any, format: Format | None = None) -> Source:
        path = find(place)
        if path is None or not is_frames(path) or format not in (None, "frames"):
            raise InputError(f"--input {place}: this run reads images and videos: give {self.example}, or one image")
        return Source(f"--input {path}", "frames", b"", path)

    def read(self, source: Source) -> Iterator[Given]:
        assert source.path is not None
        for clip in clips_of(source.path, source.name, self.moving):
            truth = clip.kind if clip.kind in self.classes else None
            yield Given(clip.name, self.clip(clip), truth)

    def clip(self, clip: Clip) -> np.ndarray:
        """``(time, features)`` of a clip.

        Raises:
            InputError: as :func:`rnnlab.files.images.read_clip`, or it is too short.
        """
        frames = read_clip(clip, self.look, self.frame)
        return self._read(frames.reshape(len(frames), -1).astype(np.float32) / WHITE, clip.name)

    def _read(self, frames: np.ndarray, place: str) -> np.ndarray:
        """``(time, features)`` of pixels as the network reads them."""
        if len(frames) < self.fewest:
            raise InputError(
                f"{place} has {len(frames)} frame{'s' * (len(frames) != 1)}, and this run needs {self.fewest} or more"
            )
        if self.own_moments:
            frames = scaled_by_channel(frames, *channel_moments([frames], self.frame))
        elif self.shift:
            frames = scaled_by_channel(frames, np.asarray(self.shift), np.asarray(self.scale))
        return frames.astype(np.float32)

    def take(self, x: Any) -> Iterator[Given]:
        for number, each in enumerate(self._separate(x)):
            place = f"sequence {number}"
            try:
                frames = as_numbers(each)
            except (TypeError, ValueError, OverflowError):
                raise InputError(f"{place}: give frames {tuple(self.frame)} of numbers, not {brief(each)}") from None
            size = int(np.prod(self.frame))
            if frames.ndim == 1 or frames.shape[1:] not in ((size,), tuple(self.frame), tuple(self.frame[-2:])):
                wanted = ", ".join(map(str, self.frame))
                raise InputError(f"{place} has the shape {frames.shape}, and this run reads (time, {wanted})")
            if frames[0].size != size or not len(frames):
                raise InputError(f"{place} has the shape {frames.shape}, and a frame {tuple(self.frame)}")
            if not np.isfinite(frames).all() or frames.min() < 0 or frames.max() > 1:
                raise InputError(f"{place}: pixels are numbers between 0 and 1 (divide bytes by 255)")
            yield Given(number, self._read(frames.reshape(len(frames), -1), place))

    def _separate(self, x: Any) -> Sequence[Any]:
        """The sequences of what may be one or several, of which several have one dimension more."""
        if not hasattr(x, "ndim"):
            return listed(x, f"sequences of frames {tuple(self.frame)}")
        shape = tuple(x.shape)
        forms = (tuple(self.frame), tuple(self.frame[-2:]), (int(np.prod(self.frame)),))
        frame = next((len(form) for form in forms if shape[-len(form) :] == form), 0)
        return list(x) if frame and len(shape) == frame + 2 else [x]

    def step(self, x: Any) -> np.ndarray:
        refuse_own_moments(self.own_moments)
        (given,) = self.take([as_numbers(x)[None]])
        row: np.ndarray = given.inputs[0]
        return row
