"""Sharing labelled examples out among splits, class by class."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

Balance = Literal["none", "oversample", "undersample"]


def rarest_class(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``(groups,)`` the class of each group of examples that fewest examples have.

    Args:
        groups: ``(examples,)`` numbers from 0 of what must stay together, such as all examples with one text.
        labels: ``(examples,)`` class numbers.
    """
    rarest = np.zeros(groups.max() + 1, np.int64)
    frequent_first = np.argsort(-np.bincount(labels)[labels], kind="stable")
    rarest[groups[frequent_first]] = labels[frequent_first]  # of several that are written, the last stays
    return rarest


def quotas(sizes: Sequence[int], total: int, least: int) -> list[int]:
    """At most ``total`` examples, shared among classes by their sizes, ``least`` (or all) of each at least."""
    first = np.minimum(sizes, least)
    more = np.asarray(sizes) - first
    spare = max(0, min(total, sum(sizes)) - int(first.sum()))
    return [int(n) for n in first + more * spare // max(1, int(more.sum()))]


def share_out(
    members: np.ndarray, weights: np.ndarray, quota: int, fractions: Sequence[float], rng: np.random.Generator
) -> list[np.ndarray]:
    """Deals the members of a class: each fraction gets one at least, as long as there are any; the rest comes first.

    Args:
        members: ``(members,)`` numbers of groups.
        weights: ``(members,)`` examples of each.
        quota: how many examples are dealt at most.
        fractions: shares of the parts that are dealt first.
        rng: for the order.

    Returns:
        The rest, then one array for each fraction.
    """
    order = rng.permutation(len(members))
    dealt = members[order][np.cumsum(weights[order]) <= quota]
    ends = np.cumsum([max(1, round(share * len(dealt))) for share in fractions])
    *parts, rest = np.split(dealt, ends)
    return [rest, *parts]


def balanced(labels: np.ndarray, how: Balance, rng: np.random.Generator) -> np.ndarray:
    """Indices into ``labels`` that have each class as often: as the most frequent has it, or as the rarest.

    With ``oversample`` each example is there, and none more than once oftener than another of its class.
    """
    if how == "none":
        return np.arange(len(labels))
    classes = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    sizes = [len(members) for members in classes]
    size = max(sizes) if how == "oversample" else min(sizes)
    chosen = [np.resize(rng.permutation(members), size) for members in classes]
    return np.sort(np.concatenate(chosen))


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
