"""Sharing sequences out among splits: class by class, groups whole, in folds."""

from collections.abc import Sequence

import numpy as np

from rnnlab.data.strata import rarest_class, stratified_order
from rnnlab.errors import InputError


def check_folds(folds: int | None, fold: int) -> None:
    """Refuses a fold that is not there.

    Raises:
        InputError: naming both.
    """
    if folds is not None and not fold < folds > 1:
        raise InputError(f"data.folds={folds} and data.fold={fold}: at least 2 folds, counted from 0")


def cut(
    size: int,
    fractions: tuple[float, float],
    seed: Sequence[int],
    labels: Sequence[int] | np.ndarray | None = None,
    groups: np.ndarray | None = None,
    folds: int | None = None,
    fold: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of sequences to train on, to validate on and to test on, each in an order whose every start is mixed.

    ::

        folds=3 fold=1      part 0 | part 1 | part 2      test: part 1; the end of the others: validation

    Folds that differ by a few sequences train on as many: some leave one or two out.

    Args:
        size: how many sequences there are.
        fractions: shares for validation and for the test; with folds, of what is not tested the first one alone.
        seed: of the order.
        labels: ``(size,)`` classes that each part is to have in the proportion of the whole; ``None``: none.
        groups: ``(size,)`` numbers from 0 of what must not be torn apart; ``None``: each sequence is one.
        folds: parts of which each is the test once; ``None``: the test is a share.
        fold: the part that is the test, from 0.
    """
    labels = np.zeros(size, np.int64) if labels is None else np.asarray(labels)
    if groups is None:
        groups = np.arange(size)
    weights = np.bincount(groups)
    order = stratified_order(rarest_class(groups, labels), seed)
    val, test = fractions
    if folds is None:
        train, held, tested = _pieces(order, weights, [1 - val - test, val, test])
    else:
        pieces = _pieces(order, weights, [1 / folds] * folds)
        tested = pieces[fold]
        shared = [_pieces(np.concatenate(pieces[:out] + pieces[out + 1 :]), weights, [1 - val, val])
                  for out in range(folds)]  # fmt: skip
        train, held = shared[fold]
    members = np.argsort(groups, kind="stable")
    starts = np.concatenate([[0], np.cumsum(weights)])

    def of(units: np.ndarray) -> np.ndarray:
        if not len(units):
            return np.zeros(0, np.int64)
        return np.concatenate([members[starts[unit] : starts[unit + 1]] for unit in units])

    if folds is None:
        return of(train), of(held), of(tested)
    alike = [_alike([int(weights[part].sum()) for part in parts]) for parts in zip(*shared, strict=True)]
    return of(train)[: alike[0]], of(held)[: alike[1]], of(tested)


def _alike(sizes: Sequence[int]) -> int | None:
    """How many sequences each fold takes of a part, so that all train on as many and a fleet stacks them; ``None``,
    all of its own, where that would cost more than a fiftieth, as where groups are large.
    """
    least = min(sizes)
    return least if max(sizes) - least <= max(1, max(sizes) // 50) else None


def _pieces(order: np.ndarray, weights: np.ndarray, shares: Sequence[float]) -> list[np.ndarray]:
    """Stretches of an order; a unit is in the one in which the middle of its weight lies."""
    sizes = weights[order]
    middle = np.cumsum(sizes) - sizes / 2
    # what rounding leaves of a share is none: 0.7 + 0.2 + 0.1 is not quite 1
    ends = np.round(np.cumsum(shares)[:-1] * sizes.sum(), 6)
    return np.split(order, np.searchsorted(middle, ends))
