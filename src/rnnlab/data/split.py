"""The sequences of a split, and how samples are stacked to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnlab.ridge import Folds
from rnnlab.spec import IGNORED, Batch

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


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
    def longest(self) -> int:
        """Steps of its longest sequence; where sequences are cut on demand, none is for that."""
        return self.inputs.shape[1] if self.lengths is None else int(self.lengths.max())

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

    def folds(self) -> Folds | None:
        """By which sequences a constant is chosen without the validation part; ``None``: they are independent."""
        return None

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
