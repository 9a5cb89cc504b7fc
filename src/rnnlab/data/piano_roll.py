"""Music as the keys of a piano that are down at each step."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from rnnlab.data.roll_reader import RollReader
from rnnlab.data.sequence import SequenceData
from rnnlab.data.split import SPLITS, Sample, SplitName
from rnnlab.data.splitting import check_folds, cut
from rnnlab.errors import InputError
from rnnlab.files.rolls import KEYS, LOWEST, NAMES, read
from rnnlab.shapes import AutoSize, FilePath, NonNegativeInt, PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

MADE = 400
"""Pieces that are made where no number is given."""
CHORD_STEPS = 4
SCALE = (0, 2, 4, 5, 7, 9, 11)
"""Semitones of a major scale."""
FOLLOWS = {0: (3, 4, 5), 1: (4,), 3: (4, 1, 0), 4: (0, 5), 5: (3, 1)}
"""Which degrees of the scale, counted from 0, a chord on a degree is followed by: I, ii, IV, V and vi."""


@dataclass(kw_only=True, eq=False)
class PianoRoll(SequenceData):
    """Which of the 88 keys of a piano are down at the next step: several answers at once, each yes or no.

    ::

        length=4, four of the 88 keys

        inputs  (4, 88)   C2 E4 G4 E5   C2 E4 G4 G5   C2 E4 G4 G5   C2 E4 G4 C5
        targets (4, 88)   C2 E4 G4 G5   C2 E4 G4 G5   C2 E4 G4 C5   F2 F4 A4 C5

    The task of N. Boulanger-Lewandowski, Y. Bengio & P. Vincent, "Modeling temporal dependencies in
    high-dimensional sequences" (2012), arXiv 1206.6392, with keys that are independent given what was heard, as
    S. Bai, J. Z. Kolter & V. Koltun (2018), arXiv 1803.01271, take it. The loss is in nats a step, summed over keys.

    Without a path the music is made: in a key of its own each piece goes through chords of four steps, I, ii, IV, V
    and vi as one may follow the other, the root in the bass, the triad above it, and a melody of the chord's notes
    that is held or moves at each step.

    Baselines: ``label frequencies``, how often each key is down in training; ``repeat``, how often a key is down after
    a step at which it was, and after one at which it was not.

    Attributes:
        path: a ``.mat`` file of the published sets (its own three parts), a MIDI file, a folder of them, or a CSV
            (:func:`rnnlab.files.rolls.read`). What gives no parts is shared out at random; of one or two pieces the end
            of each is the test, and what comes before it the validation part.
        steps_per_beat: of MIDI files: steps of a quarter note.
        length: steps of a piece that is made; of a file's, the pieces of training are cut into parts of at most so
            many, and those held out stay whole.
        num_samples: pieces in the three splits, at most; ``None`` for all of a file, or 400 made ones.
        folds: parts of a file's pieces, of which one is the test, for cross-validation; ``None``: the test is a share.
        fold: which of them is tested, from 0.

    Raises:
        InputError: there is no music at the path, or it has parts of its own and is to be folded.
    """

    path: FilePath | None = None
    steps_per_beat: PositiveInt = 2
    length: PositiveInt = 64
    num_samples: PositiveInt | None = None
    batch_size: AutoSize = 16
    folds: PositiveInt | None = None
    fold: NonNegativeInt = 0

    def __post_init__(self) -> None:
        check_folds(self.folds, self.fold)
        if self.folds is not None and self.path is None:
            raise InputError(
                f"data.folds={self.folds}: this music is made, and another data.seed makes more; give data.path=…"
            )
        super().__post_init__()

    def numbers_in_whole(self, split: SplitName) -> np.ndarray | None:
        if self.folds is None or split == "train":  # which is cut
            return None
        _ = self._pieces
        return self._places[split]

    @cached_property
    def _pieces(self) -> dict[SplitName, list[np.ndarray]]:
        """Of a file: by split, those of training cut."""
        assert self.path is not None
        found = read(Path(self.path).expanduser(), self.steps_per_beat)
        pieces: dict[SplitName, list[np.ndarray]] = {split: found.get(split, []) for split in SPLITS}
        if self.folds is not None:
            if None not in found:
                raise InputError(
                    f"data.folds={self.folds}: data.path={self.path} has its own train, validation and test parts"
                )
            shared = found[None]
            parts = cut(
                len(shared), (self.val_fraction, 0), (self.seed, len(SPLITS)), None, None, self.folds, self.fold
            )
            self._places = dict(zip(SPLITS, parts, strict=True))
            pieces = {split: [shared[number] for number in part] for split, part in self._places.items()}
        elif None in found and len(found[None]) < len(SPLITS):
            cuts = [[round(share * len(piece)) for share in self._ends] for piece in found[None]]
            parts_in_time = (np.split(piece, ends) for piece, ends in zip(found[None], cuts, strict=True))
            by_split = zip(*parts_in_time, strict=True)
            # a step and the one that is predicted, at least
            pieces = {
                split: [part for part in parts if len(part) > 1] for split, parts in zip(SPLITS, by_split, strict=True)
            }
        elif None in found:
            shared = found[None]
            order = np.random.default_rng((self.seed, len(SPLITS))).permutation(len(shared))
            ends = [round(share * len(order)) for share in self._ends]
            shares = zip(SPLITS, np.split(order, ends), strict=True)
            pieces = {split: [shared[number] for number in part] for split, part in shares}
        empty = [split for split in SPLITS if not pieces[split]]
        if empty:
            raise InputError(f"data.path={self.path} leaves no piece for {empty[0]}: give more, or other fractions")
        # a step more than is read, the last one's target; what is left over of one step has none
        pieces["train"] = [
            piece[start : start + self.length + 1]
            for piece in pieces["train"]
            for start in range(0, len(piece) - 1, self.length)
        ]
        return pieces

    @property
    def _ends(self) -> tuple[float, float]:
        """Of the training and of the validation part, as shares of the whole."""
        return 1 - self.val_fraction - self.test_fraction, 1 - self.test_fraction

    def size(self, split: SplitName) -> int:
        limit = self.num_samples
        if self.path is None:
            return _share(limit or MADE, split, self.val_fraction, self.test_fraction)
        there = len(self._pieces[split])
        return there if limit is None else min(there, _share(limit, split, self.val_fraction, self.test_fraction))

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        roll = made(rng, self.length + 1) if self.path is None else self._pieces[split][index]
        roll = roll.astype(np.float32)
        return Sample(roll[:-1], roll[1:])

    @cached_property
    def spec(self) -> DataSpec:
        train = self._rolls("train")
        down, steps = sum(roll.sum(0) for roll in train), sum(map(len, train))
        return DataSpec(
            input=InputSpec(features=KEYS),
            target=TargetSpec("values", KEYS, NAMES, binary=True),
            length=self.length if self.path is None else max(len(roll) for s in SPLITS for roll in self._rolls(s)) - 1,
            # as if each key had been down once more, and once more not
            target_mean=tuple(((down + 1) / (steps + 2)).tolist()),
        )

    def _rolls(self, split: SplitName) -> list[np.ndarray]:
        """The pieces, the first step that is only read with them."""
        if self.path is not None:
            return self._pieces[split][: self.size(split)]
        number = SPLITS.index(split)
        generators = (np.random.default_rng((self.seed, number, index)) for index in range(self.size(split)))
        return [made(rng, self.length + 1) for rng in generators]

    @property
    def reader(self) -> RollReader:
        return RollReader(NAMES, steps_per_beat=self.steps_per_beat)

    def baselines(self) -> dict[str, float]:
        """``repeat``: by how often each key is down after a step at which it was, and after one at which it was not."""
        down, steps = np.zeros((2, KEYS)), np.zeros((2, KEYS))
        for roll in self._rolls("train"):
            for before in (0, 1):
                there = roll[:-1] == before
                down[before] += (roll[1:] * there).sum(0)
                steps[before] += there.sum(0)
        p = (down + 1) / (steps + 2)
        total, number = 0.0, 0
        for roll in self._rolls("test"):
            said = np.where(roll[:-1] == 1, p[1], p[0])
            total -= np.log(np.where(roll[1:] == 1, said, 1 - said)).sum()
            number += len(roll) - 1
        return {"repeat": float(total / number)}


def _share(number: int, split: SplitName, val_fraction: float, test_fraction: float) -> int:
    held_out = {"val": round(number * val_fraction), "test": round(number * test_fraction)}
    return held_out.get(split, number - sum(held_out.values()))


def made(rng: np.random.Generator, steps: int) -> np.ndarray:
    """``(steps, 88)`` of a piece in a key of its own."""
    tonic, degree = int(rng.integers(12)), 0
    roll = np.zeros((steps, KEYS), np.uint8)
    melody = -1
    for start in range(0, steps, CHORD_STEPS):
        pitches = [(tonic + SCALE[(degree + third) % 7]) % 12 for third in (0, 2, 4)]
        chord = [36 + pitches[0], *(60 + pitch for pitch in pitches)]
        roll[start : start + CHORD_STEPS, [note - LOWEST for note in chord]] = 1
        for step in range(start, min(start + CHORD_STEPS, steps)):
            if melody not in pitches or rng.random() < 0.5:
                melody = int(rng.choice(pitches))
            roll[step, 72 + melody - LOWEST] = 1
        degree = int(rng.choice(FOLLOWS[degree]))
    return roll
