"""How a score holds out where sequences get longer."""

import torch
from torch import Tensor
from torchmetrics import Metric

LENGTHS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


class MeanByLength(Metric):
    """``accuracy_length_n``: the mean over sequences of at most n steps, above the one before it in ``LENGTHS``.

    A group without a sequence is left out, and so are sequences of more steps than the last length.

    Args:
        name: of the score, where it is another one.
    """

    total: Tensor
    count: Tensor
    bounds: Tensor

    def __init__(self, name: str = "accuracy") -> None:
        super().__init__()
        self.name = name
        self.add_state("total", torch.zeros(len(LENGTHS) + 1), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(len(LENGTHS) + 1), dist_reduce_fx="sum")
        self.register_buffer("bounds", torch.tensor(LENGTHS), persistent=False)

    def update(self, score: Tensor, lengths: Tensor) -> None:
        """Takes the ``(batch,)`` score of each sequence and its ``(batch,)`` steps."""
        group = torch.bucketize(lengths, self.bounds)
        self.total = self.total.index_add(0, group, score)
        self.count = self.count.index_add(0, group, torch.ones_like(score))

    def compute(self) -> dict[str, Tensor]:
        means = self.total / self.count
        return {
            f"{self.name}_length_{length}": mean
            for length, mean, count in zip(LENGTHS, means, self.count, strict=False)
            if count > 0
        }
