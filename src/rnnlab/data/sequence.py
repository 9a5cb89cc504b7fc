"""The contract of a data set of sequences."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Len
from lightning import LightningDataModule

from rnnlab.data.augmentation import Augmentation, Augmenter
from rnnlab.data.batches import Batches, BatchOrder, ceil
from rnnlab.data.feature_reader import FeatureReader
from rnnlab.data.reader import Reader
from rnnlab.data.split import SPLITS, Split, stack
from rnnlab.data.split import Sample as Sample  # a data set of one's own imports these two from here
from rnnlab.data.split import SplitName as SplitName
from rnnlab.data.token_reader import TokenReader
from rnnlab.errors import InputError
from rnnlab.files.memory import gigabytes, machine_memory
from rnnlab.shapes import AUTO, AutoSize, Fraction, NonNegativeInt, PositiveInt
from rnnlab.spec import Batch, DataSpec, valid_steps

MANY = 100_000
"""Sequences of a split: of more it is first asked whether memory holds them."""
Range = Annotated[Sequence[float], Len(2, 2)]
"""The low and the high end of what is drawn evenly; both alike for a value that is fixed."""


@dataclass(kw_only=True, eq=False)
class SequenceData(LightningDataModule, ABC):
    """Sequences whose every sample is a pure function of ``(seed, split, index)``.

    A data set implements ``spec`` and ``sample``; where its samples come from
    somewhere else than a rule (a file, a package) it may override ``size`` and
    ``load``. A subclass is a ``@dataclass(kw_only=True, eq=False)``: its fields
    are its options, and their annotations are checked before a run starts.
    What annotations cannot say it checks in ``__post_init__``, before it calls
    this one's.

    Attributes:
        batch_size: sequences a batch; ``auto`` is 16 where fewer than :data:`FEW` are trained on, and else 32.
        num_samples: sequences in the three splits together.
        val_fraction: share of them held out for validation.
        test_fraction: share of them held out for the test.
        seed: of the samples. The same seed gives the same samples on any
            machine, with any number of workers, before and after a resume.
        shuffle_seed: of the order in which a run meets them.
        num_workers: processes that cut batches; 0, the fastest for data in
            memory, cuts them in the training process.
        bucket: batches hold sequences of like length, so that little is padded.
        augmentation: what may change the sequences of a training batch at random.

    Raises:
        InputError: the fractions or ``num_samples`` leave a split empty.
    """

    batch_size: AutoSize = 32
    if TYPE_CHECKING:
        num_samples: Any = 1000  # data that is read may have all there is, None, which a subclass then declares
    else:
        num_samples: PositiveInt = 1000
    val_fraction: Fraction = 0.1
    test_fraction: Fraction = 0.1
    seed: NonNegativeInt = 0
    shuffle_seed: NonNegativeInt = 0
    num_workers: NonNegativeInt = 0
    bucket: bool = True
    augmentation: Augmentation | None = None
    rivals: ClassVar[tuple[str, ...]] = ()
    """Names of predictors that are told more than the network is: they are shown, and no verdict goes by them."""
    held_out: ClassVar[str] = "test"
    """What pictures call the sequences of the test split."""

    def __post_init__(self) -> None:
        super().__init__()
        self.loaded: dict[SplitName, Split] = {}  # by :meth:`split`; several runs on the same data may share it
        self.batches_per_epoch: int | None = None  # of training; a pass over the data by default
        fractions = f"data.val_fraction={self.val_fraction} and data.test_fraction={self.test_fraction}"
        if self.val_fraction + self.test_fraction >= 1:
            raise InputError(f"{fractions} leave nothing to train on: together they must be below 1")
        for split in SPLITS:
            if self.size(split) < 1:
                raise InputError(
                    f"data.num_samples={self.num_samples} with {fractions} leaves no sequence for {split}: give more"
                )
        if self.batch_size == AUTO:
            self.batch_size = SMALL_BATCH if self.size("train") < FEW else USUAL_BATCH

    # Lightning's own asks every loader for its torch data set, which these have none of.
    def __str__(self) -> str:
        return repr(self)

    @property
    @abstractmethod
    def spec(self) -> DataSpec:
        """What the data is: sizes, names, units. Known without loading more than that needs."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        """Sequence ``index`` of ``split``, drawn from ``rng`` alone."""

    def size(self, split: SplitName) -> int:
        """Number of sequences of a split."""
        held_out = {
            "val": round(self.num_samples * self.val_fraction),
            "test": round(self.num_samples * self.test_fraction),
        }
        return held_out.get(split, self.num_samples - sum(held_out.values()))

    def numbers_in_whole(self, split: SplitName) -> np.ndarray | None:
        """``(sequences,)`` where each sequence of a split stands in the whole data, from 0; ``None`` where it is drawn,
        or a part of a longer series.
        """
        return None

    @property
    def batches_per_pass(self) -> int:
        """Training batches of one pass over the data; told without loading it."""
        return ceil(self.size("train"), self.batch_size)

    @property
    def batches_of_validation(self) -> int:
        """Batches of a validation; told without loading it."""
        return ceil(self.size("val"), EVALUATION_FACTOR * self.batch_size)

    def load(self, split: SplitName) -> Split:
        """All sequences of a split, stacked and padded.

        Raises:
            InputError: they are more than memory holds.
        """
        number, count = SPLITS.index(split), self.size(split)

        def drawn(i: int) -> Sample:
            return self.sample(np.random.default_rng((self.seed, number, i)), split, i)

        if count > MANY:  # before hours are spent on drawing them
            needed = 2 * count * sum(np.asarray(part).nbytes for part in drawn(0) if part is not None)
            if needed > machine_memory():
                raise InputError(
                    f"data.num_samples={self.num_samples}: the {count:,} sequences of {split} need about "
                    f"{gigabytes(needed)} of memory, and this machine has {gigabytes(machine_memory())}: take fewer"
                )
        return stack([drawn(i) for i in range(count)])

    def split(self, split: SplitName) -> Split:
        """A split, loaded at the first call and kept."""
        if split not in self.loaded:
            self.loaded[split] = self.load(split)
        return self.loaded[split]

    @property
    def training_lengths(self) -> tuple[int, int]:
        """Steps of the shortest and of the longest sequence of the training split."""
        split = self.split("train")
        if split.lengths is not None:
            return int(split.lengths.min()), int(split.lengths.max())
        steps = split.batch(torch.tensor([0])).inputs.shape[1]
        return steps, steps

    def class_frequencies(self, classes: int) -> tuple[float, ...]:
        """Share of each of ``classes`` classes among the labels of the training split."""
        labels = self.split("train").targets
        return tuple((torch.bincount(labels, minlength=classes) / len(labels)).tolist())

    def baselines(self) -> dict[str, float]:
        """Loss on the test split, by name, of predictors that need more of the data than its ``spec`` tells."""
        return {}

    def predictors(self) -> dict[str, torch.Tensor]:
        """What other predictors say of the sequences of the test split, by name, in the form of a network's output."""
        return {}

    @property
    def reader(self) -> Reader:
        """How new data is read for a network that was trained on this: as the network reads it, by default.

        Data that is scaled, or numbered by names, says so in a reader of its own.
        """
        spec = self.spec
        classes = spec.target.names if spec.target.classifies else ()
        if spec.input.vocabulary is not None:
            return TokenReader(classes=classes, vocabulary=spec.input.vocabulary)
        names = [f"f{k}" for k in range(spec.input.features or 0)]
        if spec.horizon is not None:  # the first ones are what is predicted
            names[: spec.target.size] = spec.target.names or names[: spec.target.size]
        return FeatureReader(tuple(names), classes)

    def as_measured(self) -> "SequenceData":
        """The same data, read so that each measured feature stands for itself: as it is, by default.

        Raises:
            InputError: an option that was given says otherwise.
        """
        return self

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Of the features that the network reads, for labels; empty where they are tokens or nobody knows."""
        return self.reader.features

    def state_dict(self) -> dict[str, Any]:
        """Arguments of the constructor by which other data is numbered as this is, such as its vocabulary.

        A checkpoint holds them as plain values; where its weights are used they are handed in again.
        """
        return {}

    def setup(self, stage: str | None = None) -> None:
        needed: dict[str | None, tuple[SplitName, ...]] = {
            "fit": ("train", "val"),
            "validate": ("val",),
            "test": ("test",),
            "predict": ("test",),
        }
        for name in needed.get(stage, SPLITS):
            self.split(name)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """As Lightning's, which would search the batch for anything that can be moved, at every step."""
        wait = device.type in ("cpu", "mps")  # as there: a transfer that nobody waits for may be read too early
        if device.type == "mps":  # which has no double precision
            batch = batch.map(lambda part: part.float() if part.dtype == torch.float64 else part)
        return batch.map(lambda part: part.to(device, non_blocking=not wait))

    def train_dataloader(self) -> "Batches":
        # a run that overfits on purpose meets the same few batches in every epoch
        trainer: Any = self.trainer  # Lightning annotates none of its limits
        overfit = trainer is not None and trainer.overfit_batches > 0
        batches = self._batches("train", self.batch_size, shuffle=not overfit)
        if self.batches_per_epoch is not None and not overfit:
            batches.divide(self.batches_per_epoch)
        if self.augmentation is not None and self.augmentation.changes and not overfit:
            batches.augment(self._augmenter(self.augmentation))
        return batches

    def _augmenter(self, augmentation: Augmentation) -> Augmenter:
        spec = self.spec
        augmentation.check(spec)
        deviation = None
        if augmentation.jitter:
            split = self.split("train")
            # all of them, cut from one long series or of many files, may not fit in memory
            every = max(ceil(len(split), ENOUGH_TO_MEASURE), ceil(len(split) * split.longest, STEPS_TO_MEASURE))
            some = split.batch(torch.arange(0, len(split), every))
            deviation = some.inputs[valid_steps(some.inputs, some.lengths)].std(0, correction=0)
        rank = self.trainer.global_rank if self.trainer else 0
        # one number behind that of the batch order, which stands behind those of the splits
        return Augmenter(augmentation, spec, deviation, (self.shuffle_seed, len(SPLITS) + 1, rank))

    def in_order(self, split: SplitName, batch_size: int | None = None) -> "Batches":
        """A split in the order of the data, all of it in every process, nothing changed at random."""
        served = self.split(split)
        return Batches(
            served, BatchOrder(len(served), batch_size or EVALUATION_FACTOR * self.batch_size, None, seed=None)
        )

    def val_dataloader(self) -> "Batches":
        return self._batches("val", EVALUATION_FACTOR * self.batch_size, shuffle=False)

    def test_dataloader(self) -> "Batches":
        return self._batches("test", EVALUATION_FACTOR * self.batch_size, shuffle=False)

    def predict_dataloader(self) -> "Batches":
        return self.test_dataloader()

    def _batches(self, name: SplitName, batch_size: int, shuffle: bool) -> "Batches":
        split = self.split(name)
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        order = BatchOrder(
            len(split),
            batch_size,
            lengths=split.sizes if self.bucket else None,
            seed=self.shuffle_seed if shuffle else None,
            rank=rank,
            world=world,
        )
        return Batches(split, order, self.num_workers)


FEW = 1000
"""Training sequences below which batches are small: with large ones a pass over them would be a handful of updates."""
SMALL_BATCH, USUAL_BATCH = 16, 32
# Without gradients to keep, four times the training batch fits in the same memory.
EVALUATION_FACTOR = 4
# Training sequences, evenly spread, that tell the standard deviation of a feature.
ENOUGH_TO_MEASURE = 10_000
# Steps in them, with their padding.
STEPS_TO_MEASURE = 2_000_000


def check_range(key: str, bounds: Range) -> None:
    """Refuses a range whose low end is above its high end.

    Raises:
        InputError: naming the key.
    """
    low, high = bounds
    if low > high:
        raise InputError(f"{key}={list(bounds)}: the low end comes first, and may not be above the high end")


def check_lengths(min_length: int, length: int, name: str = "length") -> None:
    """Refuses a shortest sequence that is longer than the longest, by the name of the key.

    Raises:
        InputError: naming the keys.
    """
    if min_length > length:
        raise InputError(f"data.min_{name}={min_length} may not be above data.{name}={length}, the longest sequence")
