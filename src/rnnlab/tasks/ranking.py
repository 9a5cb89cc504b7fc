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
    right, wrong, _ = _counts(scores, there)
    found, said = right.flip(0).cumsum(0), (right + wrong).flip(0).cumsum(0)
    return (right.flip(0) * found / said).sum() / there.sum()


def auroc_parts(scores: Tensor, there: Tensor) -> Tensor:
    """``(examples,)`` what each counts for in :func:`auroc`, which is their mean: of one that is there the share of
    those not there that it is above, the other way about of one that is not, as far from the area as it moves it.

    Their spread is the variance of E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, "Comparing the areas under two
    or more correlated receiver operating characteristic curves: a nonparametric approach", Biometrics 44 (1988), and
    that of the differences of two predictors the one of their difference.

    Args:
        scores: ``(examples,)``.
        there: ``(examples,)`` true where it is; twice at least, as is what is not.
    """
    right, wrong, place = _counts(scores, there)
    positive, negative = right.sum(), wrong.sum()
    below = ((wrong.cumsum(0) - wrong / 2) / negative)[place]
    above = ((positive - right.cumsum(0) + right / 2) / positive)[place]
    area = below[there].mean()
    # sums of squares are divided by one less than their number
    moved = torch.where(
        there,
        (below - area) / (positive * (positive - 1)).sqrt(),
        (above - area) / (negative * (negative - 1)).sqrt(),
    )
    return area + len(there) * moved


def average_precision_parts(scores: Tensor, there: Tensor) -> Tensor:
    """``(examples,)`` what each counts for in :func:`average_precision`, which is their mean: as far from it as the
    score of all the others is on the other side, times their number (the jackknife: B. Efron, "The jackknife, the
    bootstrap and other resampling plans", 1982, chapter 3).

    Args:
        scores: ``(examples,)``.
        there: ``(examples,)`` true where it is, twice at least.
    """
    right, wrong, place = _counts(scores, there)
    found, said = (each.flip(0).cumsum(0).flip(0) for each in (right, right + wrong))
    positive = right.sum()
    kept = right * found / said
    above = kept.sum() - kept.cumsum(0)
    # an example is one of those that are said at each threshold that is not above its score
    others = (said - 1).clamp_min(1)
    without_wrong = above + (right * found / others).cumsum(0)
    lower = right * (found - 1) / others
    without_right = above + lower.cumsum(0) - (found - 1) / others
    left = torch.where(there, without_right[place] / (positive - 1), without_wrong[place] / positive)
    return kept.sum() / positive + (len(there) - 1) * (left.mean() - left)


def _counts(scores: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``(values,)`` how many of each score are there, in ascending order, and how many are not, and ``(examples,)`` the
    place of each example's score among them.
    """
    values, place, counts = scores.double().unique(return_inverse=True, return_counts=True)
    right = torch.zeros(len(values), dtype=torch.float64, device=scores.device).index_add_(0, place, there.double())
    return right, counts - right, place


class Ranking(Metric):
    """The mean over labels of :func:`auroc` or :func:`average_precision`, of those for which it is defined."""

    higher_is_better = True
    full_state_update = False
    scores: list[Tensor]
    there: list[Tensor]

    def __init__(self, score: Literal["auroc", "average_precision"], **options: Any) -> None:
        super().__init__(**options)
        self.rank, self.parts = {
            "auroc": (auroc, auroc_parts),
            "average_precision": (average_precision, average_precision_parts),
        }[score]
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

    def counted(self) -> Tensor:
        """``(examples,)`` what each counts for in the score, which is their mean; empty where it is made of fewer than
        ``FEWEST`` examples of the rarer kind, over all labels, or of one alone.
        """
        scores, there = dim_zero_cat(self.scores), dim_zero_cat(self.there)
        labels = [k for k in range(scores.shape[1]) if self.rank(scores[:, k], there[:, k]).isfinite()]
        found = there[:, labels].sum(0)
        rarer = torch.minimum(found, len(there) - found)
        if not labels or int(rarer.min()) < 2 or int(rarer.sum()) < FEWEST:
            return torch.zeros(0)
        return torch.stack([self._counted(scores[:, k].double(), there[:, k]) for k in labels]).mean(0)

    def _counted(self, scores: Tensor, there: Tensor) -> Tensor:
        """Of one label. Where all are in the right order, or all in the wrong one, they are as far from the score as if
        one of the rarer kind were at the wrong end, so that they have a spread.
        """
        parts = self.parts(scores, there)
        if scores[there].min() > scores[~there].max():
            right = 1
        elif scores[there].max() < scores[~there].min():
            right = -1
        else:
            return parts
        # away from those of its kind, whose nearest to the others is moved beyond them
        rarer, up = (there, right) if 2 * there.sum() <= len(there) else (~there, -right)
        moved = scores.clone()
        moved[torch.where(rarer, up * scores, torch.inf).argmin()] = -up * (1 + scores.abs().max())
        spread = self.parts(moved, there)
        return parts.mean() + spread - spread.mean()


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


FEWEST = 10
"""Examples with a label, or without it where these are rarer, over all labels, from which on the spread of what each
example counts for tells how sure a score is: in simulations the 95 % interval of a difference held the true one in 91
to 97 % of the cases with about 10 of them, in 77 to 97 % with about 5."""
FEW = 5
"""Examples with a label, and without, below which no threshold is chosen."""
