"""Sequences of any length, side by side in one tensor."""

import torch
from torch import Tensor

from rnnlab.data.split import CutOnDemand
from rnnlab.spec import IGNORED, Batch


class FlatSplit(CutOnDemand):
    """Sequences one after the other in memory; a batch is padded with zeros when it is cut, to its own longest.

    Args:
        features: ``(rows, features)`` as the network reads them, of the whole table.
        starts: ``(sequences,)`` the first row of each sequence of the split.
        lengths: ``(sequences,)``.
        labels: ``(sequences, …)``, or ``(rows,)`` of the whole table where each step has a label.
    """

    features: Tensor
    starts: Tensor
    lengths: Tensor
    labels: Tensor
    per_step: bool

    def __init__(self, features: Tensor, starts: Tensor, lengths: Tensor, labels: Tensor, per_step: bool) -> None:
        super().__init__(features=features, starts=starts, lengths=lengths, labels=labels, per_step=per_step)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def targets(self) -> Tensor:
        return self.batch(slice(None)).targets if self.per_step else self.labels

    def batch(self, index: slice | Tensor) -> Batch:
        lengths, starts = self.lengths[index], self.starts[index]
        step = torch.arange(int(lengths.max()))
        valid = step < lengths[:, None]
        rows = (starts[:, None] + step).clamp(max=len(self.features) - 1)
        inputs = self.features[rows] * valid[..., None]
        targets = self.labels[rows].masked_fill(~valid, IGNORED) if self.per_step else self.labels[index]
        return Batch(inputs, targets, None if bool(valid.all()) else lengths)
