"""How many threads a network takes."""

import os
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from rnnlab.runs.threads import use_threads


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("network", "batch", "number"),
    [
        (nn.GRU(8, 64), 32, 1),
        (nn.GRU(8, 256), 32, 3),
        (nn.GRU(8, 64), 512, 3),
        # rows of it are looked up
        (nn.Sequential(nn.Embedding(100_000, 64), nn.Linear(64, 64)), 32, 1),
        (nn.Sequential(nn.Embedding(100_000, 64), nn.Linear(64, 100_000)), 32, 3),
    ],
    ids=["small", "large", "large batch", "embedding", "as many classes"],
)
def test_a_large_network_takes_all_threads_and_a_small_one_takes_one(
    network: nn.Module, batch: int, number: int
) -> None:
    use_threads("auto", batch, network)
    assert torch.get_num_threads() == number
    use_threads(2, batch, network)
    assert torch.get_num_threads() == 2


def test_an_embedding_whose_weights_are_read_out_counts() -> None:
    network = nn.Sequential(nn.Embedding(100_000, 64), nn.Linear(64, 100_000))
    network[0].weight = network[1].weight
    use_threads("auto", 32, network)
    assert torch.get_num_threads() == 3


def test_without_a_word_there_are_as_many_threads_as_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 4, 5}, raising=False)
    use_threads("auto", 32, nn.GRU(8, 256))
    assert torch.get_num_threads() == 4
