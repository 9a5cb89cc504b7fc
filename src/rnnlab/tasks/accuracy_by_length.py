"""How accuracy holds out where sequences get longer."""

import torch
from torch import Tensor
from torchmetrics import Metric

LENGTHS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


class AccuracyByLength(Metric):
    """``accuracy@n``: the mean over sequences of more steps than the length before n in ``LENGTHS``, and of at most n.

    A group without a sequence is left out, and so are sequences of more steps than the last length.
    """

    right: Tensor
    count: Tensor
    bounds: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("right", torch.zeros(len(LENGTHS) + 1), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(len(LENGTHS) + 1), dist_reduce_fx="sum")
        self.register_buffer("bounds", torch.tensor(LENGTHS), persistent=False)

    def update(self, accuracy: Tensor, lengths: Tensor) -> None:
        """Takes the ``(batch,)`` accuracy of each sequence and its ``(batch,)`` steps."""
        group = torch.bucketize(lengths, self.bounds)
        self.right = self.right.index_add(0, group, accuracy)
        self.count = self.count.index_add(0, group, torch.ones_like(accuracy))

    def compute(self) -> dict[str, Tensor]:
        means = self.right / self.count
        return {
            f"accuracy@{length}": mean
            for length, mean, count in zip(LENGTHS, means, self.count, strict=False)
            if count > 0
        }
