"""Time-series classification: the UCR and UEA archives, and files of one's own in their format."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rnnlab.data.feature_reader import FeatureReader, patched
from rnnlab.data.labelled import LabelledFeatures
from rnnlab.data.split import SPLITS, Sample, SplitName
from rnnlab.data.splitting import check_folds
from rnnlab.data.strata import stratified_order
from rnnlab.data.ts_file import TsFile, read_ts
from rnnlab.data.ucr_archive import Files, find_files, find_named
from rnnlab.errors import InputError, nearest
from rnnlab.ranges import Download
from rnnlab.shapes import AUTO, AutoSize, FilePath, Fraction, NonNegativeInt, PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

DEFAULT = "JapaneseVowels"
PATCHES = 64
"""Steps that are left, at least, of the longest sequence where ``patch`` is ``auto``."""


@dataclass(kw_only=True, eq=False)
class UCR(LabelledFeatures):
    """Labelled series of any length and any number of channels, with the split that they were published with.

    ::

        name=JapaneseVowels: which of nine speakers said /ae/? 12 coefficients a frame, 7 to 29 frames

        inputs  (20, 12)    1.86 -0.21  0.26 …        target  0     (speaker 1)
                            1.89 -0.19  0.24 …
                            …

    The published test sequences are the test and nothing else: they choose no
    epoch and scale nothing. Validation is a share of the training sequences,
    with every class in its proportion. Where one's own data has no test file,
    the test is another such share. With ``folds`` it is a part of the training
    file, too, for choices that must not look at the test file: runs number 0 to
    ``folds`` - 1 are a cross-validation.

    H. A. Dau et al., "The UCR time series archive" (2019), arXiv 1810.07758;
    A. Bagnall et al., "The UEA multivariate time series classification archive,
    2018", arXiv 1811.00075.

    Attributes:
        name: of a data set of the archives; the package aeon carries some, and can get the others.
        path: a ``.ts`` file of one's own (``NAME_TRAIN.ts``, with ``NAME_TEST.ts`` beside it), or their folder.
        test_path: the test file, where it has another name.
        download: get a named data set that is not on this machine.
        download_path: the folder for it.
        missing: ``refuse`` missing values, or ``fill`` them with the last value before, or else the first after.
        scaling: see :class:`rnnlab.data.labelled.LabelledFeatures`.
        patch: steps that the network reads at once, side by side as features. ``auto`` leaves about :data:`PATCHES` of
            the longest training sequence. The last value fills up the last patch.
        num_samples: at most so many sequences in the three splits, shared out by the fractions; ``None`` for all.
        val_fraction: share of the training file for validation.
        test_fraction: share of it for the test, where there is no test file.
        folds: parts of the training file, for cross-validation within it; ``None``: the test is the test file.
        fold: which of them is tested, from 0.
        seed: of what goes to validation.
        classes: what each class number stands for; ``None`` for what the training file has. A trained run hands in its
            own.
        moments: see :class:`rnnlab.data.labelled.LabelledFeatures`.

    Raises:
        InputError: there is no such data set, a file cannot be read (with the line), or a split stays empty.
    """

    name: str | None = None
    path: FilePath | None = None
    test_path: FilePath | None = None
    download: Download = False
    download_path: str = "~/.cache/rnnlab/ucr"
    missing: Literal["refuse", "fill"] = "refuse"
    scaling: Literal["standard", "per_sequence", "none"] = "standard"
    patch: AutoSize = 1
    num_samples: PositiveInt | None = None
    val_fraction: Fraction = 0.1
    folds: PositiveInt | None = None
    fold: NonNegativeInt = 0
    batch_size: AutoSize = AUTO
    classes: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.name is not None and self.path is not None:
            raise InputError(f"data.name={self.name} and data.path={self.path}: give one of them")
        if self.test_path is not None and self.path is None:
            raise InputError(f"data.test_path={self.test_path} is for one's own data: give data.path too")
        check_folds(self.folds, self.fold)
        if self.val_fraction + self.test_fraction < 1:
            self._check_splits()
        longest = max(len(values) for values in self.read["train"].sequences)
        if self.patch == AUTO:
            self.patch = max(1, longest // PATCHES)
        elif self.patch > longest and self.classes is None:  # else a trained run reads other data
            raise InputError(
                f"data.patch={self.patch}: the longest training sequence has {longest:,} steps, and a patch is some of "
                f"them: at most {longest}"
            )
        super().__post_init__()

    @cached_property
    def files(self) -> Files:
        """Where the data is read from."""
        if self.path is not None:
            test = None if self.test_path is None else Path(self.test_path).expanduser()
            return find_files(Path(self.path).expanduser(), test)
        return find_named(self.name or DEFAULT, self.download, Path(self.download_path).expanduser())

    @cached_property
    def read(self) -> dict[Literal["train", "test"], TsFile]:
        """The training file and, where there is one, the test file."""
        found: dict[Literal["train", "test"], TsFile] = {"train": read_ts(self.files.train)}
        if self.files.test is not None:
            found["test"] = read_ts(self.files.test)
        return found

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """By number: those of the file's head that have sequences, or else in alphabetical order."""
        file = self.read["train"]
        there = set(file.labels)
        if self.classes is None:
            return tuple(name for name in file.classes or sorted(there) if name in there)
        unknown = sorted(there.difference(self.classes))
        if unknown:
            raise InputError(
                f"{file.path}: class '{unknown[0]}' is none of data.classes{nearest(unknown[0], self.classes)} "
                f"({', '.join(self.classes)})"
            )
        return tuple(self.classes)

    def state_dict(self) -> dict[str, Any]:
        """Arguments of the constructor: what class numbers stand for, and how channels are scaled."""
        state = {"classes": list(self.class_names), "scaling": self.scaling, "patch": self.patch}
        return state | super().state_dict()

    @cached_property
    def parts(self) -> dict[SplitName, tuple[TsFile, np.ndarray]]:
        """Of each split its file, and which of its sequences, in an order whose every start is stratified."""
        train = self.read["train"]
        order = self._stratified(train, np.arange(len(train.labels)))
        if self.folds is not None:  # the tested one last
            pieces = np.array_split(order, self.folds)
            rest = np.concatenate([piece for number, piece in enumerate(pieces) if number != self.fold])
            val = round(self.val_fraction * len(rest))
            cut = [rest[: len(rest) - val], rest[len(rest) - val :], pieces[self.fold]]
            return {
                split: (train, self._stratified(train, members)) for split, members in zip(SPLITS, cut, strict=True)
            }
        val, test = round(self.val_fraction * len(order)), 0
        if "test" not in self.read:
            test = round(self.test_fraction * len(order))
        cut = np.split(order, [len(order) - val - test, len(order) - test])
        parts: dict[SplitName, tuple[TsFile, np.ndarray]] = {
            split: (train, self._stratified(train, members)) for split, members in zip(SPLITS, cut, strict=True)
        }
        if "test" in self.read:
            file = self.read["test"]
            parts["test"] = (file, self._stratified(file, np.arange(len(file.labels))))
        return parts

    def _stratified(self, file: TsFile, members: np.ndarray) -> np.ndarray:
        labels = [self.class_names.index(file.labels[i]) for i in members]
        return members[stratified_order(labels, (self.seed, len(SPLITS)))]

    def filled(self, file: TsFile, number: int) -> np.ndarray:
        """``(time, channels)`` of a sequence, each missing value the one before it.

        Raises:
            InputError: one is missing, and ``missing=refuse``; or a channel has none.
        """
        values = file.sequences[number]
        missing = np.isnan(values)
        if not missing.any():
            return values
        place = f"{file.path}, line {file.lines[number]}"
        channel, step = np.argwhere(missing.T)[0].tolist()
        if self.missing == "refuse":
            raise InputError(
                f"{place}, channel {channel + 1}, step {step + 1}: a value is missing; "
                "data.missing=fill repeats the value before it"
            )
        if missing.all(0).any():
            channel = int(np.argmax(missing.all(0)))
            raise InputError(f"{place}, channel {channel + 1}: all values are missing, so that none can fill them")
        steps = np.arange(len(values))[:, None]
        last = np.maximum.accumulate(np.where(missing, -1, steps), 0)
        first = np.argmin(missing, 0)
        return np.take_along_axis(values, np.where(last < 0, first, last), 0)

    def size(self, split: SplitName) -> int:
        there = len(self.parts[split][1])
        return there if self.num_samples is None else min(there, super().size(split))

    def numbers_in_whole(self, split: SplitName) -> np.ndarray | None:
        # a test file of its own is another whole
        return self.parts[split][1][: self.size(split)] if self.folds is not None else None

    @property
    def measured(self) -> int:
        return len(self.parts["train"][1])

    def unscaled(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        file, members = self.parts[split]
        number = int(members[index])
        return Sample(self.filled(file, number), self.class_names.index(file.labels[number]))

    def as_read(self, values: np.ndarray) -> np.ndarray:
        return patched(super().as_read(values), self.patch)

    @cached_property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(features=self.patch * self._channels),
            target=TargetSpec("class", len(self.class_names), self.class_names),
            length=-(-max(len(values) for file in self.read.values() for values in file.sequences) // self.patch),
            class_frequencies=self.class_frequencies(len(self.class_names)),
            note=self._note(),
        )

    @property
    def feature_reader(self) -> FeatureReader:
        names = tuple(f"f{k}" for k in range(self._channels))
        return replace(super().feature_reader, names=names, fill=self.missing == "fill", patch=self.patch)

    @property
    def _channels(self) -> int:
        return self.read["train"].sequences[0].shape[1]

    def _note(self) -> str:
        if self.folds is not None:
            return (
                f"{self.files.title}: the test is part {self.fold + 1} of {self.folds} of its training file, "
                f"validation a stratified {self.val_fraction:.0%} of the others"
            )
        test = "the test is its published one" if self.path is None else "the test is its test file"
        if "test" not in self.read:
            test = f"the test is a stratified {self.test_fraction:.0%} of its only file"
        note = f"{self.files.title}: {test}, validation a stratified {self.val_fraction:.0%} of what is trained on"
        single = [name for name, number in Counter(self.read["train"].labels).items() if number == 1]
        if single:
            note += f"; with one example alone, and so never validated: class {', '.join(single)}"
        return note

    # ---- what cannot work -----------------------------------------------------------------------

    def _check_splits(self) -> None:
        train = self.read["train"]
        if len(self.class_names) < 2:
            raise InputError(
                f"{train.path}: all sequences are of class '{self.class_names[0]}': give at least two classes"
            )
        if "test" in self.read:
            self._check_test(self.read["test"])
        for split in SPLITS:
            if not len(self.parts[split][1]):
                key = "val_fraction" if split != "test" else "test_fraction" if self.folds is None else "folds"
                raise InputError(
                    f"data.{key}={getattr(self, key)} of the {len(train.labels)} sequences in {train.path} leaves "
                    f"none for {split}"
                )
        for file in self.read.values():
            for number in range(len(file.labels)):
                self.filled(file, number)

    def _check_test(self, test: TsFile) -> None:
        for number, label in zip(test.lines, test.labels, strict=True):
            if label not in self.class_names:
                raise InputError(
                    f"{test.path}, line {number}: class '{label}' is in no training sequence "
                    f"(known: {', '.join(self.class_names)})"
                )
        channels = test.sequences[0].shape[1]
        if channels != self._channels:
            raise InputError(
                f"{test.path} has sequences of {channels} channels, and {self.read['train'].path} of {self._channels}"
            )
