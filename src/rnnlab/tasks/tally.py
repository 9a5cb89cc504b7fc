"""How sure a score is that is no mean over sequences, such as F1: what each test sequence adds to it."""

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from torchmetrics import Metric

from rnnlab.spec import Batch

STEP = 1e-3
"""Of the difference quotients, as a share of what they are taken of: some scores are rounded to single precision."""
SAME = 1e-6
"""By which two means of zeros and ones may differ, in single precision."""
MOST_PIECES = 2000
"""Pieces of a test split: more of them would make an interval no surer, and the test longer."""


@runtime_checkable
class Counting(Protocol):
    """A metric that knows by itself what each sequence counts for, since it is no function of sums."""

    def counted(self) -> Tensor:
        """``(sequences,)`` of all that it was updated with, whose mean is the score; empty where it can't tell."""
        ...


class Tally:
    """A score that is a function of sums over the test sequences, made linear in what each of them adds.

    ``torchmetrics`` keeps of a score the sums that it is a function of: of F1 the true and false positives and the
    false negatives of each class. Where a score f is such a function of the sums T = Σ sᵢ, a sequence counts for

        uᵢ = f(T) + n (∇f(T) · sᵢ − ∇f(T) · T / n)

    whose mean is f(T), and whose spread tells how far the score varies with the sequences that are drawn. This is the
    delta method, or infinitesimal jackknife (B. Efron, "The jackknife, the bootstrap and other resampling plans", 1982,
    chapter 6), which K. Takahashi, K. Yamamoto, A. Kuchiba and T. Koyama use for F1 ("Confidence interval for
    micro-averaged F1 and macro-averaged F1 scores", Applied Intelligence 52, 2022). The uᵢ of two predictors on the
    same sequences are paired as any other score of a sequence is.

    Args:
        metric: a fresh one.
    """

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._counting = isinstance(metric, Counting)
        self._metrics: dict[str, Metric] = {}
        self._rows: dict[str, list[Tensor]] = {}
        self._sizes: dict[str, list[Tensor]] = {}

    def add(
        self, name: str, output: Any, batch: Batch, compared: Callable[[Any, Batch], Iterable[Any]], sequences: int
    ) -> None:
        """Counts what a predictor says of a batch.

        Args:
            name: of the predictor.
            output: tensors whose first axis is that of the batch.
            batch: of the test.
            compared: of an output and its batch, what the metric takes.
            sequences: of the whole test, about; where they are many some neighbours are counted together.
        """
        metric = self._metric.to(batch.inputs.device)
        if self._counting:
            self._metrics.setdefault(name, metric.clone()).update(*compared(output, batch))
            return
        size = -(-sequences // MOST_PIECES)
        rows, sizes = [], []
        for start in range(0, len(batch.inputs), size):
            piece = slice(start, start + size)
            one = batch.map(itemgetter(piece))
            metric.reset()
            metric.update(*compared(tree_map(itemgetter(piece), output), one))
            states = [state for state in metric.metric_state.values() if isinstance(state, Tensor)]
            rows.append(torch.cat([*(state.detach().flatten().double().cpu() for state in states), torch.zeros(0)]))
            sizes.append(len(one.inputs))
        self.count(name, torch.stack(rows), torch.tensor(sizes))

    def count(self, name: str, rows: Tensor, sizes: Tensor) -> None:
        """Adds ``(pieces, sums)`` of a predictor, in the order of the metric's states, of ``(pieces,)`` sequences."""
        self._rows.setdefault(name, []).append(rows)
        self._sizes.setdefault(name, []).append(sizes)

    def items(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Of each predictor ``(pieces,)`` what each piece of the test counts for, and ``(pieces,)`` of how many
        sequences it is; empty where the metric keeps anything but sums and is not :class:`Counting`.
        """
        counted = {name: metric.counted() for name, metric in self._metrics.items() if isinstance(metric, Counting)}
        if self._counting:
            return {name: (each.cpu(), torch.ones(len(each))) for name, each in counted.items() if len(each)}
        if any(not isinstance(state, Tensor) for state in self._metric.metric_state.values()):
            return {}
        found = {}
        for name, rows in self._rows.items():
            sizes = torch.cat(self._sizes[name])
            found[name] = self._linear(torch.cat(rows), sizes), sizes
        return found

    def _linear(self, rows: Tensor, sizes: Tensor) -> Tensor:
        total = rows.sum(0)
        gradient = torch.zeros_like(total)
        # a sum that is 0 has no part in any sequence either
        for number in total.nonzero()[:, 0].tolist():
            step = torch.zeros_like(total)
            step[number] = STEP * total[number].abs()
            gradient[number] = (self._score(total + step) - self._score(total - step)) / (2 * step[number])
        shares = sizes / sizes.sum()
        score = self._score(total)
        linear = score + (rows @ gradient) / shares - gradient @ total
        # the difference quotients of what is a mean of zeros and ones give nearly these
        whole = linear.round()
        near = ((linear - whole).abs() < STEP) & ((whole == 0) | (whole == 1))
        return whole if near.all() and abs(float(whole @ shares.to(whole)) - score) < SAME else linear

    def _score(self, sums: Tensor) -> float:
        """The metric of other sums."""
        first = 0
        for name, state in self._metric.metric_state.items():
            assert isinstance(state, Tensor)
            last = first + state.numel()
            setattr(self._metric, name, sums[first:last].view(state.shape))
            first = last
        # the class's own: that of the object keeps its last result, and takes part in the exchange of processes
        score = type(self._metric).compute(self._metric)
        return float(score) if isinstance(score, Tensor) and score.numel() == 1 else float("nan")
