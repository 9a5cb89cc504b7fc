"""Labelled examples are shared out class by class."""

from collections import Counter

import numpy as np
import pytest

from rnnlab.data.strata import balanced, quotas, rarest_class, share_out, stratified_order


@pytest.mark.parametrize("sizes", [[7], [40, 30, 20, 10], [1, 99], [500, 3, 1]])
def test_every_stretch_of_an_order_has_each_class_in_its_share(sizes: list[int]) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(range(len(sizes)), sizes))
    order = stratified_order(labels, (1, 2))
    assert sorted(order) == list(range(len(labels)))
    for label, size in enumerate(sizes):
        places = np.flatnonzero(labels[order] == label)
        # example k of n stands at (k + ½)/n of the way, up to what the other classes' rounding moves it
        expected = (np.arange(size) + 0.5) / size * len(labels) - 0.5
        assert np.abs(places - expected).max() <= len(sizes) / 2


def test_the_only_example_of_a_class_stands_in_the_middle() -> None:
    labels = [0] * 50 + [1] + [0] * 50
    assert stratified_order(labels, (0,))[50] == 50


def test_an_order_is_drawn_by_its_seed_within_classes_and_where_they_meet() -> None:
    labels = np.repeat([0, 1], 40)  # at each place stand one of each class
    order = stratified_order(labels, (3, 1))
    assert (order == stratified_order(labels, (3, 1))).all()
    assert (order != stratified_order(labels, (3, 2))).any()
    first_class = order[labels[order] == 0]
    assert (np.diff(first_class) < 0).any() and (np.diff(first_class) > 0).any()
    pairs = labels[order].reshape(-1, 2)
    assert (pairs.sum(1) == 1).all()
    assert 5 < pairs[:, 0].sum() < 35  # neither class always comes first
    # which comes first the shuffle says, and no sorting algorithm
    shuffled = np.random.default_rng((3, 1)).permutation(80)
    rank = {example: place for place, example in enumerate(shuffled)}
    assert all(rank[a] < rank[b] for a, b in order.reshape(-1, 2))


def test_a_group_has_the_class_that_fewest_examples_have() -> None:
    groups = np.array([0, 0, 1, 1, 2, 3, 2, 0])
    labels = np.array([0, 1, 0, 0, 2, 0, 1, 2])  # 0 is there four times, 1 and 2 twice
    rarest = rarest_class(groups, labels)
    assert rarest.tolist()[1:] == [0, 1, 0] and rarest[0] == 2  # of classes that are equally rare, the later example's
    assert rarest_class(np.arange(30), np.repeat([0, 1], [20, 10])).tolist() == [0] * 20 + [1] * 10
    # twenty examples of two classes that are equally rare: the last one decides, and no sorting algorithm
    assert rarest_class(np.zeros(40, int), np.tile([0, 1], 20)).tolist() == [1]
    assert rarest_class(np.zeros(40, int), np.tile([1, 0], 20)).tolist() == [0]


@pytest.mark.parametrize(
    ("sizes", "total", "least", "expected"),
    [
        ([60, 30, 10], 10, 0, [6, 3, 1]),
        ([60, 30, 10], 1000, 1, [60, 30, 10]),  # no more than there are
        ([60, 30, 10], 100, 1, [60, 30, 10]),
        ([97, 2, 1], 10, 1, [7, 1, 1]),  # one of each at least, and a share of what is left, rounded down
        ([97, 2, 1], 50, 3, [47, 2, 1]),  # all of a class that has fewer
        ([5, 5], 1, 3, [3, 3]),  # the least goes first
        ([4, 0], 4, 1, [4, 0]),
        ([1, 1], 2, 1, [1, 1]),
    ],
)
def test_classes_share_what_there_is_by_their_sizes(
    sizes: list[int], total: int, least: int, expected: list[int]
) -> None:
    assert quotas(sizes, total, least) == expected


def test_members_are_dealt_without_repetition_and_by_their_fractions() -> None:
    members = np.arange(100, 150)
    rest, val, test = share_out(members, np.ones(50, int), 40, (0.25, 0.1), np.random.default_rng(0))
    assert (len(rest), len(val), len(test)) == (26, 10, 4)
    dealt = [*val, *test, *rest]
    assert len(set(dealt)) == 40 and set(dealt) <= set(members.tolist())
    assert dealt != sorted(dealt)
    again = share_out(members, np.ones(50, int), 40, (0.25, 0.1), np.random.default_rng(0))
    assert all((a == b).all() for a, b in zip(again, (rest, val, test), strict=True))


def test_members_count_as_many_examples_as_they_hold_and_each_part_gets_one() -> None:
    weights = np.array([5, 5, 5, 5])
    assert sum(map(len, share_out(np.arange(4), weights, 14, (0.5,), np.random.default_rng(1)))) == 2
    assert sum(map(len, share_out(np.arange(4), weights, 15, (0.5,), np.random.default_rng(1)))) == 3
    rest, val, test = share_out(np.arange(3), np.ones(3, int), 3, (0.01, 0.01), np.random.default_rng(1))
    assert (len(rest), len(val), len(test)) == (1, 1, 1)
    parts = share_out(np.arange(1), np.ones(1, int), 1, (0.1, 0.1), np.random.default_rng(1))
    assert [len(part) for part in parts] == [0, 1, 0]


def test_balanced_classes_are_equally_frequent() -> None:
    labels = np.array([2] * 7 + [0] * 3 + [5] * 2)
    assert balanced(labels, "none", np.random.default_rng(0)).tolist() == list(range(12))
    more = balanced(labels, "oversample", np.random.default_rng(0))
    assert Counter(labels[more].tolist()) == {2: 7, 0: 7, 5: 7}
    times = Counter(more.tolist())
    assert set(times) == set(range(12)) and more.tolist() == sorted(more)
    for k in (0, 2, 5):  # none more than once oftener than another of its class
        counts = [times[index] for index in np.flatnonzero(labels == k)]
        assert max(counts) - min(counts) <= 1
    fewer = balanced(labels, "undersample", np.random.default_rng(0))
    assert Counter(labels[fewer].tolist()) == {2: 2, 0: 2, 5: 2}
    assert len(set(fewer.tolist())) == 6 and fewer.tolist() == sorted(fewer)
    assert any(
        balanced(labels, "undersample", np.random.default_rng(seed)).tolist() != fewer.tolist() for seed in (1, 2, 3)
    )
