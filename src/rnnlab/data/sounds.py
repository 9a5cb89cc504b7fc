"""Files of sound as features, cut into batches in a memory that is bounded."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.feature_reader import Moments
from rnnlab.data.log_mel import LogMel
from rnnlab.data.packed import Rows
from rnnlab.data.split import CutOnDemand
from rnnlab.files.sound import check_rate, measure, read_sound
from rnnlab.spec import IGNORED, Batch


class Heard:
    """Features of files: kept as long as there is room for them, computed anew after that.

    Args:
        ear: what makes features of a sound.
        room: bytes of features that are kept; those are kept that were asked for first.
    """

    def __init__(self, ear: LogMel, room: float) -> None:
        self.ear, self.room = ear, room
        self._kept: dict[Path, np.ndarray] = {}
        self._frames: dict[Path, int] = {}
        self._moments: dict[Path, Moments] = {}

    def __call__(self, path: Path) -> np.ndarray:
        """``(frames, bands)`` in single precision.

        Raises:
            InputError: the file is no sound, or of another rate.
        """
        if path in self._kept:
            return self._kept[path]
        sound = read_sound(path, str(path))
        check_rate(sound.rate, self.ear.rate, str(path))
        features = self.ear(sound.samples).astype(np.float32)
        self._frames[path] = len(features)
        if path not in self._moments:
            self._moments[path] = Moments.of(features.astype(np.float64))
        if features.nbytes <= self.room:
            self.room -= features.nbytes
            self._kept[path] = features
        return features

    def frames(self, path: Path) -> int:
        """How many a file has, by what stands at its beginning.

        Raises:
            InputError: as :func:`rnnlab.files.sound.measure`, or it is of another rate.
        """
        if path not in self._frames:
            samples, rate = measure(path, str(path))
            check_rate(rate, self.ear.rate, str(path))
            self._frames[path] = max(1, self.ear.frames(samples))
        return self._frames[path]

    def moments(self, paths: Sequence[Path]) -> Moments:
        """Of all frames of several files; each of them is read once for that."""
        for path in paths:
            if path not in self._moments:
                self(path)
        return Moments.together([self._moments[path] for path in paths])


class Sounds(CutOnDemand):
    """Files and what is said in them; a batch is padded with zeros when it is cut, to its own longest.

    Args:
        heard: what makes features of a file.
        paths: of the files.
        texts: ``(tokens,)`` of each, the end among them.
        scales: mean and deviation of each band by which a file is scaled, or ``None`` for as it is.
    """

    heard: Heard
    paths: Sequence[Path]
    said: Rows
    lengths: Tensor
    scales: Sequence[tuple[np.ndarray, np.ndarray] | None]

    def __init__(
        self,
        heard: Heard,
        paths: Sequence[Path],
        texts: Sequence[np.ndarray],
        scales: Sequence[tuple[np.ndarray, np.ndarray] | None],
    ) -> None:
        said, lengths = Rows(texts), torch.tensor([heard.frames(path) for path in paths])
        super().__init__(
            heard=heard, paths=paths, said=said, scales=scales, lengths=lengths, target_lengths=said.lengths
        )

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def targets(self) -> Tensor:
        """``(sequences, tokens)``, for which no sound is read."""
        return self.said.padded(slice(None), IGNORED)

    def features(self, number: int) -> np.ndarray:
        """``(frames, bands)`` of one file as the network reads them, in double precision."""
        found, scale = self.heard(self.paths[number]).astype(np.float64), self.scales[number]
        return found if scale is None else (found - scale[0]) / scale[1]

    def batch(self, index: slice | Tensor) -> Batch:
        lengths = self.lengths[index]
        inputs = torch.zeros(len(lengths), int(lengths.max()), self.heard.ear.bands)
        for row, number in zip(inputs, self.numbers(index).tolist(), strict=True):
            found = self.features(number)
            row[: len(found)] = torch.from_numpy(found)
        return Batch(inputs, self.said.padded(index, IGNORED), lengths)
