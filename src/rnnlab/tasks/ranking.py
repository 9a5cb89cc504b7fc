"""How well scores rank what is there above what is not, whatever the threshold."""

from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat


def auroc(scores: Tensor, there: Tensor) -> Tensor:
    """Area under the receiver operating characteristic: how often what is there has the higher score; ties count half.

    Not a number where everything is there, or nothing.

    Args:
        scores: ``(examples,)``.
        there: ``(examples,)`` true where it is.
    """
    values, place, counts = scores.double().unique(return_inverse=True, return_counts=True)
    if not len(values):
        return torch.tensor(torch.nan)
    rank = (counts.cumsum(0) - (counts - 1) / 2)[place]  # ties share the mean of their ranks
    positive = there.sum()
    above = rank[there].sum() - positive * (positive + 1) / 2
    return above / (positive * (len(there) - positive))


def average_precision(scores: Tensor, there: Tensor) -> Tensor:
    """The precision at each threshold, weighted by the recall that it adds; not a number where nothing is there.

    Args:
        scores: ``(examples,)``.
        there: ``(examples,)`` true where it is.
    """
    values, place, counts = scores.double().unique(return_inverse=True, return_counts=True)
    right = torch.zeros(len(values), dtype=torch.float64, device=scores.device).index_add_(0, place, there.double())
    found, said = right.flip(0).cumsum(0), counts.flip(0).cumsum(0)
    return (right.flip(0) * found / said).sum() / there.sum()


class Ranking(Metric):
    """The mean over labels of :func:`auroc` or :func:`average_precision`, of those for which it is defined."""

    higher_is_better = True
    full_state_update = False
    scores: list[Tensor]
    there: list[Tensor]

    def __init__(self, score: Literal["auroc", "average_precision"], **options: Any) -> None:
        super().__init__(**options)
        self.rank = {"auroc": auroc, "average_precision": average_precision}[score]
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("there", default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, there: Tensor) -> None:
        """Takes ``(examples, labels)`` scores, and what is there as 0 and 1."""
        self.scores.append(scores.detach())
        self.there.append(there.detach() > 0)

    def compute(self) -> Tensor:
        """0 where it is defined for no label."""
        scores, there = dim_zero_cat(self.scores), dim_zero_cat(self.there)
        each = torch.stack([self.rank(scores[:, k], there[:, k]) for k in range(scores.shape[1])])
        known = each[~each.isnan()]
        return (known.mean() if len(known) else torch.zeros((), device=scores.device)).float()


def best_threshold(scores: Tensor, there: Tensor) -> float:
    """The threshold of the highest F1, in the middle between two scores; one half where too little is there to tell.

    Args:
        scores: ``(examples,)`` probabilities.
        there: ``(examples,)`` true where it is.
    """
    if int(there.sum()) < FEW or int((~there).sum()) < FEW:
        return 0.5
    values, place, counts = scores.double().unique(return_inverse=True, return_counts=True)
    right = torch.zeros(len(values), dtype=torch.float64, device=scores.device).index_add_(0, place, there.double())
    found, said = right.flip(0).cumsum(0).flip(0), counts.flip(0).cumsum(0).flip(0)
    best = int((2 * found / (said + there.sum())).argmax())
    below = values[best - 1] if best else values[best]
    return float((values[best] + below) / 2)


FEW = 5
"""Examples with a label, and without, below which no threshold is chosen."""
