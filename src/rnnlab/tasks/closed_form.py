"""The readout of a network in closed form: ridge regression of the targets on what is read out.

Everything before the readout stays as it was drawn, as in an echo state network (H. Jaeger 2001). Real values are
targets as they are. Of classes and tokens there is one target each, 1 where it is the right one and -1 elsewhere; the
scores are then scaled by the one number that makes the cross-entropy of their softmax, of each row left out in turn,
the least, so that they are probabilities of some worth (J. Platt 1999 in one parameter; C. Guo et al., "On calibration
of modern neural networks" (2017), arXiv 1706.04599, section 4.2). That changes no decision.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.network import Network
from rnnlab.ridge import PENALTIES, SCORED, Folds, Ridge, fit_ridge
from rnnlab.spec import IGNORED, Batch, TargetSpec, valid_steps

KEPT = 2**26
"""Numbers that are kept of what is read out, rather than to be computed again for each pass over the rows: 256 MB."""
FOLDS = "ridge/folds"
"""The score of an epoch that says by how many folds its penalty was chosen; by leaving out each row where 0."""
SEEN = 4096
"""Steps, evenly spread, that tell which values a unit takes on."""
SCALES = tuple(2.0 ** (k / 4) for k in range(-8, 33))
"""Of the scores, to choose from: a quarter to 256."""


@torch.no_grad()
def solve(
    network: Network, target: TargetSpec, batches: Callable[[], Iterable[Batch]], folds: Folds | None = None
) -> Ridge:
    """Sets the weights of a network's readout, and the thresholds that it reads by.

    Args:
        network: whose readout has as many outputs as the target has.
        target: what is predicted.
        batches: the training split, the same at each call.
        folds: by which sequences the penalty is chosen; ``None``: by leaving out each row.
    """
    network.eval()
    if network.readout_kind == "statistics":
        set_thresholds(network, batches)
    rows = _Rows(network, target, batches, folds)
    penalties = PENALTIES if network.penalty == "auto" else [network.penalty]
    ridge = fit_ridge(rows, penalties, standardize=True)
    scale = 1.0
    if target.categorical or target.binary:
        left_out, wanted = ridge.left_out, torch.cat([wanted for _, wanted, *_ in rows()])
        scale = best_scale(left_out, wanted.argmax(1)) if target.categorical else best_scale_of_labels(left_out, wanted)
    readout = network.readout
    readout.weight.copy_(scale * ridge.weight)
    readout.bias.copy_(scale * ridge.bias)
    return ridge


def set_thresholds(network: Network, batches: Callable[[], Iterable[Batch]]) -> None:
    """Each unit's threshold is that quantile of the values that it takes on which it has drawn."""
    steps = sum(int(valid_steps(batch.inputs, batch.lengths).sum()) for batch in batches())
    every, seen, number = -(-steps // SEEN), [], 0
    for batch in batches():
        hidden = _hidden(network, batch)
        chosen = (torch.arange(len(hidden)) + number) % every == 0
        number += len(hidden)
        seen.append(hidden[chosen.to(hidden.device)])
    values = torch.cat(seen).sort(0).values
    places = (network.quantiles * (len(values) - 1)).round().long()
    network.thresholds.copy_(values.gather(0, places[None])[0])


def best_scale(left_out: Tensor, classes: Tensor) -> float:
    """The factor of scores ``(rows, classes)`` by which their softmax has the least cross-entropy."""
    # as if each class had been seen once more among those of each other one: where all rows left out are told apart, no
    # scale would be large enough (J. Platt 1999, section 2.2)
    number = left_out.shape[1]
    smoothing = number / (len(left_out) + number)
    losses = [float(F.cross_entropy(scale * left_out, classes, label_smoothing=smoothing)) for scale in SCALES]
    return SCALES[min(range(len(SCALES)), key=losses.__getitem__)]


def best_scale_of_labels(left_out: Tensor, signs: Tensor) -> float:
    """The same of ``(rows, labels)`` scores, each of which is to be positive or negative as ``signs`` are 1 or -1."""
    losses = [float(F.softplus(-scale * left_out * signs.to(left_out)).mean()) for scale in SCALES]
    return SCALES[min(range(len(SCALES)), key=losses.__getitem__)]


def _hidden(network: Network, batch: Batch) -> Tensor:
    """``(rows, hidden)`` of all valid steps."""
    hidden = network.hidden(batch.inputs, None, batch.lengths)[0][..., : network.units]
    return hidden[valid_steps(hidden, network.read_lengths(batch.lengths))]


class _Rows:
    """What is read out and what it should give, batch by batch, and in which folds where there are any."""

    def __init__(
        self, network: Network, target: TargetSpec, batches: Callable[[], Iterable[Batch]], folds: Folds | None
    ) -> None:
        self.network, self.target, self.batches, self.folds = network, target, batches, folds
        self._kept: list[tuple[Tensor, ...]] | None = []

    def __call__(self) -> Iterator[tuple[Tensor, ...]]:
        if self._kept:
            yield from self._kept
            return
        kept: list[tuple[Tensor, ...]] = []
        numbers, sequences = 0, 0
        for batch in self.batches():
            row = tuple(each.cpu() for each in self._of(batch, sequences))
            sequences += len(batch.inputs)
            numbers += row[0].numel()
            if numbers <= KEPT:
                kept.append(row)
            yield row
        self._kept = kept if numbers <= KEPT else None

    def _of(self, batch: Batch, before: int) -> tuple[Tensor, ...]:
        network, target, lengths = self.network, self.target, batch.lengths
        hidden, _ = network.hidden(batch.inputs, None, lengths)
        if target.per_step:
            hidden, wanted = network.at_steps(batch.inputs, hidden, lengths), batch.targets
            if target.categorical:
                asked = wanted != IGNORED
            else:
                asked = valid_steps(batch.inputs, lengths) & wanted.isfinite().all(-1)
            row = hidden[asked], self._numbers(wanted[asked])
            return row if self.folds is None else (*row, self._roles(asked, before, self.folds))
        lengths, wanted = network.read_lengths(lengths), self._numbers(batch.targets)
        if network.readout_kind != "vote":
            return network.pool(hidden, lengths), wanted
        asked = valid_steps(hidden, lengths)
        return hidden[asked], wanted[:, None].expand(-1, hidden.shape[1], -1)[asked]

    def _numbers(self, targets: Tensor) -> Tensor:
        if self.target.categorical:
            return 2.0 * F.one_hot(targets, self.target.size) - 1.0
        return 2 * targets - 1 if self.target.binary else targets

    @staticmethod
    def _roles(asked: Tensor, before: int, folds: Folds) -> Tensor:
        """``(rows, folds)`` of the steps asked for, of sequences that come after so many."""
        sequence, step = asked.cpu().nonzero(as_tuple=True)
        roles = folds.roles[before + sequence]
        if folds.last:
            early = step < asked.shape[1] - 1
            roles = roles.masked_fill((roles == SCORED) & early[:, None], 0)
        return roles
