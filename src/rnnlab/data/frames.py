"""Images and frames of one's own, from folders and videos."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rnnlab.data.labelled_frames import LabelledFrames
from rnnlab.data.moving_shapes import MovingShapes
from rnnlab.data.split import SPLITS, Sample, SplitName
from rnnlab.data.splitting import cut
from rnnlab.errors import InputError
from rnnlab.files.images import WHITE, Clip, Look, clips_of, labelled_clips, read_clip
from rnnlab.files.memory import gigabytes, machine_memory
from rnnlab.shapes import FilePath, PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

WINDOW = 10
"""Frames of a sequence of which the next ones are predicted, where nobody says how many."""


@dataclass(kw_only=True, eq=False)
class Frames(LabelledFrames):
    """The classes of images or clips; or the next frames of clips. Pixels are between 0 and 1.

    ::

        data.path=FOLDER     FOLDER/cat/a.png                 an image is a sequence of one frame
                             FOLDER/walk/first/001.png        a folder of numbered frames is a sequence,
                                    walk/first/002.png
                                    run/second.mp4            and so is a video (the extra video)

        predict=class        inputs (time, channels * height * width)           target  walk
        predict=next_frames  windows of ``length`` frames of all clips          targets  the frame after each

    Without a path the frames are those of ``data=moving_shapes``, drawn by rule. Next frames are held out by clips;
    where there are one or two, by time: the end is the test.

    Attributes:
        path: a folder; ``None`` for the moving shapes.
        predict: ``class``: the name of the folder in which an image or a clip lies; or ``next_frames``.
        frame_size: height and width to which images are brought, or one number for both; ``None``: they are alike.
        color: three channels; or one, of greys.
        length: frames of a sequence, at most: the first of a clip, or those of a window; ``None``: all, or 10.
        every: of the frames of a clip each so-manieth is read.
        num_samples: sequences in the three splits, at most; ``None`` for all.
        frame: channels, height and width; ``None`` for those of the first image. A trained run hands in its own.
        classes: their names; ``None`` for those of the folders. A trained run hands in its own.
        scaling: of frames whose class is asked for, as :class:`rnnlab.data.labelled_frames.LabelledFrames` has it.
        moments: see :class:`rnnlab.data.labelled.LabelledFeatures`.

    Raises:
        InputError: there are no images, one is broken or of another size, there are too few, or the next frames are to
            be scaled.
    """

    path: FilePath | None = None
    predict: Literal["class", "next_frames"] = "class"
    frame_size: PositiveInt | Sequence[PositiveInt] | None = None
    color: bool = False
    length: PositiveInt | None = None
    every: PositiveInt = 1
    num_samples: PositiveInt | None = None
    frame: Sequence[PositiveInt] | None = None
    classes: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("val_fraction", "test_fraction"):
            if not getattr(self, name):
                raise InputError(f"data.{name}=0 leaves no sequence for {name.split('_')[0]}: give it a share")
        if isinstance(self.frame_size, Sequence) and len(self.frame_size) != 2:
            raise InputError(f"data.frame_size={list(self.frame_size)}: give the height and the width, or one number")
        if self.path is None and (self.frame_size is not None or self.color or self.every > 1):
            raise InputError("data.frame_size, data.color and data.every are for data.path=FOLDER: give it, too")
        if self.predict == "next_frames":
            self.check_no_next_frames("class")
        super().__post_init__()

    # ---- what is read -----------------------------------------------------------------------------

    @cached_property
    def _rule(self) -> MovingShapes:
        """What is drawn where there is no path."""
        return MovingShapes(
            predict="motion" if self.predict == "class" else "next_frames",
            length=self.length or WINDOW,
            num_samples=self.num_samples or MovingShapes.num_samples,
            val_fraction=self.val_fraction,
            test_fraction=self.test_fraction,
            seed=self.seed,
        )

    @property
    def _key(self) -> str:
        return f"data.path={self.path}"

    @property
    def _look(self) -> Look:
        size = self.frame_size
        sides = None if size is None else (size, size) if isinstance(size, int) else (size[0], size[1])
        return Look(self.color, sides, self.every, self.length if self.predict == "class" else None)

    @cached_property
    def _found(self) -> tuple[list[Clip], bool]:
        """The clips, and whether they have several frames."""
        assert self.path is not None
        path = Path(self.path).expanduser()
        if not path.exists():
            raise InputError(f"{self._key}: there is no such folder")
        if self.predict == "class":
            return labelled_clips(path, self._key)
        return clips_of(path, self._key, moving=True), True

    @cached_property
    def _clips(self) -> list[np.ndarray]:
        """``(time, channels, height, width)`` of bytes, of each clip."""
        clips: list[np.ndarray] = []
        frame, size = None if self.frame is None else tuple(self.frame), 0
        for clip in self._found[0]:
            pixels = read_clip(clip, self._look, frame)
            frame = frame or pixels.shape[1:]
            if self.predict == "next_frames" and len(pixels) < 2:
                raise InputError(f"{self._key}: {clip.name} has one frame, and none that could be predicted after it")
            size += 8 * pixels.size  # each of four bytes, and once more as they are stacked
            if size > machine_memory():
                raise InputError(
                    f"{self._key}: its frames need more than the {gigabytes(machine_memory())} of memory that there "
                    "are: give data.frame_size, data.every or data.length"
                )
            clips.append(pixels)
        return clips

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Of the folders, by name."""
        there = sorted({clip.kind for clip in self._found[0]})
        if self.classes is None:
            return tuple(there)
        if unknown := [name for name in there if name not in self.classes]:
            raise InputError(f"{self._key}: {unknown[0]} is none of the classes that this run knows")
        return tuple(self.classes)

    @cached_property
    def _windows(self) -> list[tuple[int, int, int]]:
        """Clip, first and last frame but one, of each sequence."""
        if self.predict == "class":
            return [(number, 0, len(clip)) for number, clip in enumerate(self._clips)]
        length = self.length or WINDOW
        return [
            (number, start, min(start + length, len(clip) - 1))
            for number, clip in enumerate(self._clips)
            for start in range(0, len(clip) - 1, length)
        ]

    @cached_property
    def _parts(self) -> dict[SplitName, np.ndarray]:
        """Which sequences are in a split."""
        clips = np.array([clip for clip, _, _ in self._windows])
        fractions, seed, size = (self.val_fraction, self.test_fraction), (self.seed, len(SPLITS)), len(clips)
        if self.predict == "class":
            labels = np.array([self.class_names.index(self._found[0][clip].kind) for clip in clips])
            parts = cut(size, fractions, seed, labels)
        elif len(self._clips) >= len(SPLITS):
            parts = self._by_clips(clips)
        else:
            held = [max(1, round(share * size)) for share in fractions]
            ends = [max(0, size - sum(held)), max(0, size - held[1])]
            train, val, test = np.split(np.arange(size), ends)
            parts = (train, val, test)
        if min(map(len, parts)) == 0:
            what = "images or clips" if self.predict == "class" else f"windows of {self.length or WINDOW} frames"
            raise InputError(
                f"{self._key} has {size} {what}, and train, validation and test need one each, of clips of their own: "
                "give more" + ("" if self.predict == "class" else ", or a smaller data.length")
            )
        return dict(zip(SPLITS, parts, strict=True))

    def _by_clips(self, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which windows are in each split, of the ``(windows,)`` clips that they are of; one clip at least."""
        order = np.random.default_rng((self.seed, len(SPLITS))).permutation(len(self._clips))
        val, test = (max(1, round(share * len(order))) for share in (self.val_fraction, self.test_fraction))
        train, held, tested = np.split(order, [len(order) - val - test, len(order) - test])

        def windows(chosen: np.ndarray) -> np.ndarray:
            found: np.ndarray = np.flatnonzero(np.isin(clips, chosen))
            return found

        return windows(train), windows(held), windows(tested)

    # ---- what the network gets ----------------------------------------------------------------------

    def size(self, split: SplitName) -> int:
        if self.path is None:
            return self._rule.size(split)
        there = len(self._parts[split])
        return there if self.num_samples is None else min(there, max(1, super().size(split)))

    def numbers_in_whole(self, split: SplitName) -> np.ndarray | None:
        return None if self.path is None else self._parts[split][: self.size(split)]

    def unscaled(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        if self.path is None:
            return self._rule.unscaled(rng, split, index)
        clip, start, end = self._windows[self._parts[split][index]]
        pixels = self._clips[clip][start : end + 1].astype(np.float32) / WHITE
        rows = pixels.reshape(len(pixels), -1)
        if self.predict == "class":
            return Sample(rows, self.class_names.index(self._found[0][clip].kind))
        return Sample(rows[:-1], rows[1:])

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return self._rule.frame_shape if self.path is None else self._clips[0].shape[1:]

    @cached_property
    def spec(self) -> DataSpec:
        if self.path is None:
            return self._rule.spec
        frame = self.frame_shape
        features = int(np.prod(frame))
        input = InputSpec(features=features, frame=frame)
        length = max(end - start for _, start, end in self._windows)
        if self.predict == "next_frames":
            target = TargetSpec("values", features, frame=frame)
            return DataSpec(input, target, length, horizon=1, step_unit="frame", note=self._note)
        names = self.class_names
        frequencies = self.class_frequencies(len(names))
        return DataSpec(
            input, TargetSpec("class", len(names), names), length, class_frequencies=frequencies, step_unit="frame",
            note=self._note,
        )  # fmt: skip

    @property
    def _note(self) -> str:
        clips, frames = len(self._clips), sum(map(len, self._clips))
        of = "images" if clips == frames else f"clips of {frames:,} frames"
        if self.predict == "next_frames" and clips < len(SPLITS):
            of += ", whose end is the test"
        channels, height, width = self._clips[0].shape[1:]
        return f"{clips:,} {of}, {width} x {height} pixels{' of three colours' * (channels == 3)}"

    def state_dict(self) -> dict[str, Any]:
        """Arguments of the constructor: the frame, and what the classes stand for."""
        state = super().state_dict()
        if self.path is None:
            return state
        state["frame"] = list(self.frame_shape)
        return state | ({"classes": list(self.class_names)} if self.predict == "class" else {})

    @property
    def reading(self) -> dict[str, Any]:
        if self.path is None:
            return {}
        resized, several = self.frame_size is not None, self._found[1]
        return {"resize": resized, "every": self.every, "longest": self._look.longest, "moving": several}
