"""Token sequences of very different length, without the padding between them."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.split import CutOnDemand
from rnnlab.spec import IGNORED, Batch


class Rows:
    """Token sequences one after the other in memory.

    Args:
        sequences: ``(time,)`` token numbers, none of them empty.

    Attributes:
        ids: ``(tokens,)`` all of them.
        lengths: ``(sequences,)``.
    """

    def __init__(self, sequences: Iterable[np.ndarray]) -> None:
        # a bytearray grows in place, where many small arrays would take ten times the memory of their numbers
        buffer, sizes = bytearray(), []
        for sequence in sequences:
            buffer += sequence.astype(np.int32).tobytes()
            sizes.append(len(sequence))
        self.ids = torch.from_numpy(np.frombuffer(buffer, np.int32))
        self.lengths = torch.tensor(sizes)
        self.starts = self.lengths.cumsum(0) - self.lengths

    def padded(self, index: slice | Tensor, padding: int = 0) -> Tensor:
        """``(batch, time)`` the sequences at ``index``, each padded to the longest of them."""
        lengths, starts = self.lengths[index], self.starts[index]
        step = torch.arange(int(lengths.max()))
        tokens = self.ids[(starts[:, None] + step).clamp(max=len(self.ids) - 1)].long()
        return tokens.masked_fill(step >= lengths[:, None], padding)


class Packed(CutOnDemand):
    """Sequences one after the other in memory; a batch is padded with zeros when it is cut, to its own longest.

    Args:
        sequences: ``(time,)`` token numbers, none of them empty.
        targets: ``(sequences,)`` class numbers.
    """

    rows: Rows
    lengths: Tensor
    classes: Tensor

    def __init__(self, sequences: Iterable[np.ndarray], targets: Tensor) -> None:
        rows = Rows(sequences)
        super().__init__(rows=rows, lengths=rows.lengths, classes=targets)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def ids(self) -> Tensor:
        """``(tokens,)`` of all sequences."""
        return self.rows.ids

    @property
    def targets(self) -> Tensor:
        """``(sequences,)``."""
        return self.classes

    def batch(self, index: slice | Tensor) -> Batch:
        return Batch(self.rows.padded(index), self.classes[index], self.rows.lengths[index])


class PackedPairs(CutOnDemand):
    """Sequences, and those that are to be said to them, padded when a batch is cut, each side to its own longest.

    Args:
        sequences: ``(time,)`` tokens that are read.
        answers: of each the ``(steps,)`` tokens that are to be said, the end among them, and perhaps further ones that
            are as right.
    """

    read: Rows
    said: Rows
    table: Tensor
    """``(sequences, answers)`` which of the rows are the answers; the first again where there are fewer."""

    def __init__(self, sequences: Iterable[np.ndarray], answers: Iterable[Sequence[np.ndarray]]) -> None:
        several = list(answers)
        read, said = Rows(sequences), Rows(answer for each in several for answer in each)
        counts = torch.tensor([len(each) for each in several])
        first, place = counts.cumsum(0) - counts, torch.arange(int(counts.max()))
        table = first[:, None] + place * (place < counts[:, None])
        super().__init__(
            read=read, said=said, table=table, lengths=read.lengths, target_lengths=said.lengths[table[:, 0]]
        )

    def __len__(self) -> int:
        return len(self.table)

    @property
    def others(self) -> Tensor | None:
        """``(sequences, answers, steps)`` of all sequences, cut and copied."""
        return self.batch(slice(None)).others

    def batch(self, index: slice | Tensor) -> Batch:
        rows, others = self.table[index], None
        if rows.shape[1] > 1:
            others = self.said.padded(rows[:, 1:].flatten(), IGNORED).view(len(rows), rows.shape[1] - 1, -1)
        targets = self.said.padded(rows[:, 0], IGNORED)
        return Batch(self.read.padded(index), targets, self.read.lengths[index], others=others)
