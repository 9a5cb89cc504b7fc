"""The contract of a data set of sequences."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from annotated_types import Len
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from rnnlab.data.augmentation import Augmentation, Augmenter
from rnnlab.data.reader import FeatureReader, Reader, TokenReader
from rnnlab.errors import InputError
from rnnlab.shapes import AutoSize, Fraction, NonNegativeInt, PositiveInt
from rnnlab.spec import IGNORED, Batch, DataSpec, valid_steps

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")

Range = Annotated[Sequence[float], Len(2, 2)]
"""The low and the high end of what is drawn evenly; both alike for a value that is fixed."""


class Sample(NamedTuple):
    """One sequence: ``inputs`` ``(time, features)`` or ``(time,)``, its ``target``, and perhaps its ``future``.

    A target is a class number, one-dimensional real numbers for the whole sequence, or ``(time, size)`` real numbers
    or ``(time,)`` token numbers; of a sequence of its own length its tokens, its end included.
    """

    inputs: np.ndarray
    target: np.ndarray | int
    future: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Split:
    """A split in memory, padded at the end to its longest sequence; :class:`rnnlab.spec.Batch` has the shapes."""

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None = None
    future: Tensor | None = None
    target_lengths: Tensor | None = None
    """``(sequences,)`` tokens of each target, where they have a length of their own."""
    others: Tensor | None = None
    """``(sequences, answers, steps)`` further targets that are as right; see :class:`rnnlab.spec.Batch`."""

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def sizes(self) -> Tensor | None:
        """``(sequences,)`` by which sequences of like size stand side by side: their lengths, and among those of one
        length the lengths of their targets; ``None`` where all are alike.
        """
        if self.target_lengths is None:
            return self.lengths
        if self.lengths is None:
            return self.target_lengths
        return self.lengths * (self.target_lengths.max() + 1) + self.target_lengths

    def batch(self, index: slice | Tensor) -> Batch:
        """The sequences at ``index``, padded no further than they need."""
        inputs, targets, lengths = self.inputs[index], self.targets[index], None
        if self.lengths is not None:
            lengths = self.lengths[index]
            longest = int(lengths.max())
            inputs = inputs[:, :longest]
            targets = targets[:, :longest] if self.targets_have_time else targets
        if self.target_lengths is not None:
            targets = targets[:, : int(self.target_lengths[index].max())]
        future, others = (None if part is None else part[index] for part in (self.future, self.others))
        return Batch(inputs, targets, lengths, future, others=others)

    @property
    def targets_have_time(self) -> bool:
        """Whether they are values or tokens of every step, and not a class or values of the whole sequence."""
        if self.target_lengths is not None:
            return False
        return self.targets.dim() == (3 if self.targets.is_floating_point() else 2)


class CutOnDemand(Split):
    """A split whose sequences are cut when they are asked for, by ``batch`` and ``__len__`` of a subclass.

    Args:
        parts: what they are cut from, to be attributes.
    """

    def __init__(self, **parts: Any) -> None:
        for name, part in parts.items():
            object.__setattr__(self, name, part)  # Split is frozen

    @property
    def inputs(self) -> Tensor:
        """Of all sequences, cut and copied."""
        return self.batch(slice(None)).inputs

    @property
    def targets(self) -> Tensor:
        """Likewise."""
        return self.batch(slice(None)).targets

    def numbers(self, index: slice | Tensor) -> np.ndarray:
        """``(batch,)`` the numbers of the sequences at ``index``."""
        return np.arange(*index.indices(len(self))) if isinstance(index, slice) else index.numpy()


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
    num_samples: PositiveInt = 1000
    val_fraction: Fraction = 0.1
    test_fraction: Fraction = 0.1
    seed: NonNegativeInt = 0
    shuffle_seed: NonNegativeInt = 0
    num_workers: NonNegativeInt = 0
    bucket: bool = True
    augmentation: Augmentation | None = None
    rivals: ClassVar[tuple[str, ...]] = ()
    """Names of :meth:`baselines` that are no trivial predictors, but what a good network is held against."""
    held_out: ClassVar[str] = "test"
    """What pictures call the sequences of the test split."""

    def __post_init__(self) -> None:
        super().__init__()
        self._splits: dict[SplitName, Split] = {}
        self.batches_per_epoch: int | None = None  # of training; a pass over the data by default
        fractions = f"data.val_fraction={self.val_fraction} and data.test_fraction={self.test_fraction}"
        if self.val_fraction + self.test_fraction >= 1:
            raise InputError(f"{fractions} leave nothing to train on: together they must be below 1")
        for split in SPLITS:
            if self.size(split) < 1:
                raise InputError(
                    f"data.num_samples={self.num_samples} with {fractions} leaves no sequence for {split}: give more"
                )
        if self.batch_size == "auto":  # type: ignore[comparison-overlap]
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

    @property
    def batches_per_pass(self) -> int:
        """Training batches of one pass over the data; told without loading it."""
        return _ceil(self.size("train"), self.batch_size)

    @property
    def batches_of_validation(self) -> int:
        """Batches of a validation; told without loading it."""
        return _ceil(self.size("val"), EVALUATION_FACTOR * self.batch_size)

    def load(self, split: SplitName) -> Split:
        """All sequences of a split, stacked and padded."""
        number = SPLITS.index(split)
        return stack(
            [self.sample(np.random.default_rng((self.seed, number, i)), split, i) for i in range(self.size(split))]
        )

    def split(self, split: SplitName) -> Split:
        """A split, loaded at the first call and kept."""
        if split not in self._splits:
            self._splits[split] = self.load(split)
        return self._splits[split]

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
        overfit = self.trainer is not None and self.trainer.overfit_batches > 0  # type: ignore[attr-defined]
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
            every = _ceil(len(split), ENOUGH_TO_MEASURE)  # all of them, cut from one long series, may not fit in memory
            some = split.batch(torch.arange(0, len(split), every))
            deviation = some.inputs[valid_steps(some.inputs, some.lengths)].std(0, correction=0)
        rank = self.trainer.global_rank if self.trainer else 0
        # one number behind that of the batch order, which stands behind those of the splits
        return Augmenter(augmentation, spec, deviation, (self.shuffle_seed, len(SPLITS) + 1, rank))

    def in_order(self, split: SplitName) -> "Batches":
        """A split in the order of the data, all of it in every process, nothing changed at random."""
        served = self.split(split)
        return Batches(served, BatchOrder(len(served), EVALUATION_FACTOR * self.batch_size, None, seed=None))

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
# Batches that are sorted by length together: enough to pad little, few enough to stay random.
BUCKET_POOL = 32


class BatchOrder(Sampler[Tensor]):
    """Which sequences stand in which batch: a pure function of ``(seed, epoch)``.

    Processes share a shuffled order batch by batch, the first ones again where
    the batches do not come out even, since each must make as many steps as the
    others. They share the data's own order sequence by sequence, none twice, so
    that scores are exact.

    Args:
        size: number of sequences.
        batch_size: sequences a batch; one batch may be smaller.
        lengths: ``(size,)``; given, shuffled batches are made of sequences of like length.
        seed: of the shuffle; ``None`` keeps the order of the data.
        rank: of this process among ``world`` processes.
    """

    def __init__(
        self, size: int, batch_size: int, lengths: Tensor | None, seed: int | None, rank: int = 0, world: int = 1
    ) -> None:
        self.size, self.batch_size, self.lengths, self.seed = size, batch_size, lengths, seed
        self.rank, self.world = rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls it before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.seed is None:
            return _ceil(len(range(self.rank, self.size, self.world)), self.batch_size)
        return _ceil(_ceil(self.size, self.batch_size), self.world)

    def __iter__(self) -> Iterator[Tensor]:
        if self.seed is None:
            return iter(torch.arange(self.rank, self.size, self.world).split(self.batch_size))
        # numbers below len(SPLITS) are those of the samples' own generators
        rng = np.random.default_rng((self.seed, len(SPLITS), self.epoch))
        order = torch.from_numpy(rng.permutation(self.size))
        if self.lengths is not None:
            lengths = self.lengths[order]
            pool = torch.arange(self.size) // (BUCKET_POOL * self.batch_size)
            # one sort by (pool, length): each pool sorts its shuffled sequences by length
            order = order[torch.argsort(pool * (lengths.max() + 1) + lengths, stable=True)]
        batches = order.split(self.batch_size)
        if self.lengths is not None:
            batches = tuple(batches[i] for i in rng.permutation(len(batches)))
        return (batches[i % len(batches)] for i in range(self.rank, len(self) * self.world, self.world))


class StreamOrder(Sampler[Tensor]):
    """Consecutive sequences in parallel streams: row i of a batch goes on where row i of the batch before it ended.

    Each stream is a run of neighbours. Where they do not come out even the
    first streams have one more, and the last batch has only their rows.
    Processes share the streams.

    Args:
        size: number of sequences.
        batch_size: streams a process.
        rank: of this process among ``world`` processes.
        alike: each process must make as many steps as the others; several of
            them leave out the last sequences where they do not come out even.
    """

    seed = None  # nothing is drawn, and the order is the same in every epoch
    epoch = 0

    def __init__(self, size: int, batch_size: int, rank: int = 0, world: int = 1, alike: bool = False) -> None:
        streams = min(batch_size * world, size)
        self.steps, longer = divmod(size, streams)
        if alike and world > 1:
            longer = 0
        numbers = range(rank, streams, world)
        self.starts = torch.tensor([number * self.steps + min(number, longer) for number in numbers])
        self.longer = sum(number < longer for number in numbers)

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls it before each epoch, where what is done to the sequences depends on it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps + (self.longer > 0)

    def __iter__(self) -> Iterator[Tensor]:
        for step in range(self.steps):
            yield self.starts + step
        if self.longer:
            yield self.starts[: self.longer] + self.steps


class Divided(Sampler[Tensor]):
    """Epochs of so many batches, cut from passes over the data that follow each other without end.

    A small data set has several passes in an epoch, a large one several epochs in a pass.

    Args:
        passes: the batches of a pass, by its number.
        length: batches of an epoch.
    """

    def __init__(self, passes: BatchOrder | StreamOrder, length: int) -> None:
        self.passes, self.length = passes, length
        self.seed = passes.seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls it before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Tensor]:
        number, start = divmod(self.epoch * self.length, len(self.passes))
        left = self.length
        while left:
            self.passes.set_epoch(number)
            batches = list(self.passes)[start : start + left]
            yield from batches
            left -= len(batches)
            number, start = number + 1, 0


class Batches:
    """A split served batch by batch, able to say where it is and to go on from there.

    Lightning keeps ``state_dict`` in its checkpoints. A state that was saved in
    the middle of an epoch goes on in the middle of that epoch; in any other
    epoch everything is served.
    """

    batch_sampler = None  # Lightning looks for it wherever there is a ``sampler``

    def __init__(self, split: Split, order: BatchOrder | StreamOrder, num_workers: int = 0) -> None:
        self.split, self.num_workers = split, num_workers
        self.order: BatchOrder | StreamOrder | Divided = order
        if order.seed is not None:
            # where Lightning finds ``set_epoch``, and what it takes for shuffled
            self.sampler: BatchOrder | StreamOrder | Divided = order
        self._state = {"epoch": 0, "position": 0}
        self._saved: dict[str, int] | None = None
        self._augmenter: Augmenter | None = None

    def divide(self, batches: int) -> None:
        """From now on an epoch is so many batches, and not a pass over the data."""
        assert not isinstance(self.order, Divided)
        if batches != len(self.order):
            self.order = Divided(self.order, batches)
            self.sampler = self.order

    def augment(self, augmenter: Augmenter) -> None:
        """From now on changes every batch by what ``augmenter`` draws for its epoch and position."""
        self._augmenter = augmenter
        self.sampler = self.order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        # Lightning asks for the iterator before it sets the epoch; a generator starts at the first batch, after it.
        for batch in self._cut(self.rest()):
            epoch, position = self._state["epoch"], self._state["position"]
            self._state["position"] += 1
            yield batch if self._augmenter is None else self._augmenter(batch, epoch, position)

    def rest(self) -> list[Tensor]:
        """The sequences of each batch that the epoch still has, for somebody who cuts and counts them himself."""
        epoch, start = self.order.epoch, 0
        if self._saved is not None and self._saved["epoch"] == epoch:
            start = self._saved["position"] % len(self)  # one that was saved at an epoch's end starts the next
        self._saved = None
        self._state = {"epoch": epoch, "position": start}
        return list(self.order)[start:]

    def passed(self) -> None:
        """Counts a batch that somebody else has cut."""
        self._state["position"] += 1

    @property
    def is_augmented(self) -> bool:
        return self._augmenter is not None

    def cut(self, index: Tensor, epoch: int, position: int) -> Batch:
        """The batch at a position of an epoch."""
        batch = self.split.batch(index)
        return batch if self._augmenter is None else self._augmenter(batch, epoch, position)

    def _cut(self, indices: list[Tensor]) -> Iterable[Batch]:
        if not self.num_workers:
            return map(self.split.batch, indices)
        return DataLoader(
            indices,  # type: ignore[arg-type]
            batch_size=None,
            collate_fn=self.split.batch,  # type: ignore[arg-type]
            num_workers=self.num_workers,
            generator=torch.Generator(),  # the default would draw from the global one, and so change the training
        )

    def state_dict(self) -> dict[str, int]:
        return dict(self._state)

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._saved = dict(state)


def stack(samples: Sequence[Sample]) -> Split:
    """Stacks samples of equal or varying length into one :class:`Split`.

    Padding stands at the end: zeros, and ``IGNORED`` where targets are tokens.
    """
    lengths = [len(sample.inputs) for sample in samples]
    longest = max(lengths)

    def padded(arrays: Sequence[np.ndarray], padding: int = 0) -> Tensor:
        first, longest = arrays[0], max(map(len, arrays))
        dtype = np.float32 if first.dtype.kind == "f" else np.int64
        out = np.full((len(arrays), longest, *first.shape[1:]), padding, dtype)
        for row, array in zip(out, arrays, strict=True):
            row[: len(array)] = array
        return torch.from_numpy(out)

    def stacked(targets: list[Any]) -> Tensor:
        first = targets[0]
        if not isinstance(first, np.ndarray):
            return torch.tensor(targets)
        if first.dtype.kind != "f":
            return padded(targets, IGNORED)
        return padded(targets) if first.ndim == 2 else torch.from_numpy(np.stack(targets).astype(np.float32))

    targets = [sample.target for sample in samples]
    own = [len(target) for target in targets if isinstance(target, np.ndarray) and target.dtype.kind != "f"]
    futures = [sample.future for sample in samples if sample.future is not None]
    return Split(
        inputs=padded([sample.inputs for sample in samples]),
        targets=stacked(targets),
        lengths=None if min(lengths) == longest else torch.tensor(lengths),
        future=torch.from_numpy(np.stack(futures).astype(np.float32)) if futures else None,
        target_lengths=torch.tensor(own) if own and own != lengths else None,
    )


def check_range(key: str, bounds: Range) -> None:
    """Refuses a range whose low end is above its high end.

    Raises:
        InputError: naming the key.
    """
    low, high = bounds
    if low > high:
        raise InputError(f"{key}={list(bounds)}: the low end comes first, and may not be above the high end")


def check_lengths(min_length: int, length: int) -> None:
    """Refuses a shortest sequence that is longer than the longest.

    Raises:
        InputError: naming the keys.
    """
    if min_length > length:
        raise InputError(f"data.min_length={min_length} may not be above data.length={length}, the longest sequence")


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
