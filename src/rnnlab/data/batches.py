"""In which order sequences are served, and the batches that are cut from them."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from rnnlab.data.augmentation import Augmenter
from rnnlab.data.split import SPLITS, Split
from rnnlab.spec import Batch

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
            return ceil(len(range(self.rank, self.size, self.world)), self.batch_size)
        return ceil(ceil(self.size, self.batch_size), self.world)

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

    def begins_pass(self, position: int) -> bool:
        """Whether a pass starts at a position of this epoch."""
        return (self.epoch * self.length + position) % len(self.passes) == 0

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
        self.passes = order
        """The batches of one pass over the data."""
        self.order: BatchOrder | StreamOrder | Divided = order
        if order.seed is not None:
            # where Lightning finds ``set_epoch``, and what it takes for shuffled
            self.sampler: BatchOrder | StreamOrder | Divided = order
        self._state = {"epoch": 0, "position": 0}
        self._saved: dict[str, int] | None = None
        self._augmenter: Augmenter | None = None

    def divide(self, batches: int) -> None:
        """From now on an epoch is so many batches, and not a pass over the data."""
        if batches != len(self.passes):
            self.order = Divided(self.passes, batches)
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

    def begins_pass(self, position: int) -> bool:
        """Whether the batch at a position of this epoch is the first one of a pass over the data."""
        order = self.order
        return position == 0 if not isinstance(order, Divided) else order.begins_pass(position)

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
        # torch annotates a data set and lists of its samples, and takes any sequence and whatever cuts a part of it
        wanted: Any = indices
        cut: Any = self.split.batch
        return DataLoader(
            wanted,
            batch_size=None,
            collate_fn=cut,
            num_workers=self.num_workers,
            generator=torch.Generator(),  # the default would draw from the global one, and so change the training
        )

    def state_dict(self) -> dict[str, int]:
        return dict(self._state)

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._saved = dict(state)


def ceil(a: int, b: int) -> int:
    """The quotient, rounded up."""
    return -(-a // b)
