"""Token sequences of very different length, without the padding between them."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.split import CutOnDemand
from rnnlab.spec import Batch


class Packed(CutOnDemand):
    """Sequences one after the other in memory; a batch is padded with zeros when it is cut, to its own longest.

    Args:
        sequences: ``(time,)`` token numbers, none of them empty.
        targets: ``(sequences,)`` class numbers.
    """

    ids: Tensor
    starts: Tensor
    lengths: Tensor
    classes: Tensor

    def __init__(self, sequences: Iterable[np.ndarray], targets: Tensor) -> None:
        # a bytearray grows in place, where many small arrays would take ten times the memory of their numbers
        buffer, sizes = bytearray(), []
        for sequence in sequences:
            buffer += sequence.astype(np.int32).tobytes()
            sizes.append(len(sequence))
        lengths = torch.tensor(sizes)
        super().__init__(
            ids=torch.from_numpy(np.frombuffer(buffer, np.int32)),
            lengths=lengths,
            starts=lengths.cumsum(0) - lengths,
            classes=targets,
        )

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def targets(self) -> Tensor:
        """``(sequences,)``."""
        return self.classes

    def batch(self, index: slice | Tensor) -> Batch:
        lengths, starts = self.lengths[index], self.starts[index]
        step = torch.arange(int(lengths.max()))
        tokens = self.ids[(starts[:, None] + step).clamp(max=len(self.ids) - 1)].long()
        return Batch(tokens * (step < lengths[:, None]), self.classes[index], lengths)
