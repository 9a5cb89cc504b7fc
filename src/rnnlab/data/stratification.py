"""Splits that show every class in its share."""

from collections.abc import Sequence

import numpy as np


def stratified_order(labels: Sequence[int] | np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """An order of examples in which every stretch holds each class in its share of the whole, up to rounding.

    ::

        labels  a a a a b b      order  2 4 0 1 5 3      labels in that order  a b a a b a

    Within a class the order is random. Example k of the n of its class stands
    at the share (k + ½)/n of the way, so that the first tenth of the order has
    a tenth of each class, and a class's only example stands in the middle.

    Args:
        labels: ``(examples,)`` class numbers.
        seed: of the order.

    Returns:
        ``(examples,)`` indices of examples.
    """
    labels = np.asarray(labels)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels[shuffled] == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    # stable: where classes stand at the same place, the shuffle decides which comes first
    return shuffled[np.argsort(place, kind="stable")]
