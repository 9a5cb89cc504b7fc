"""How many threads a training takes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

# The product of batch and largest weight matrix from which a second thread is taken. On an idle machine it pays from
# 2**20 on (benchmarks/threads.py), but where others have the cores, two threads of a step that takes some milliseconds
# wait for each other, and take three to five times as long as one.
WORTH_MORE_THREADS = 2**22


def use_threads(num_threads: int | Literal["auto"], batch_size: int, *networks: nn.Module) -> None:
    """Has torch use as many threads as pay, in the whole process: for a small net one, since a step waits for the
    slowest thread.

    Args:
        num_threads: the user's choice, or ``auto``.
        batch_size: sequences a batch.
        networks: that are run. Embeddings don't count: rows of them are looked up, and no product is as large.
    """
    if num_threads == "auto":
        used = (module for network in networks for module in network.modules())
        sizes = [
            parameter.numel()
            for module in used
            if not isinstance(module, nn.Embedding | nn.EmbeddingBag)
            for parameter in module.parameters(recurse=False)
        ]
        num_threads = _cores() if batch_size * max(sizes, default=0) >= WORTH_MORE_THREADS else 1
    torch.set_num_threads(num_threads)


def _cores() -> int:
    """That this process may use."""
    told = int(os.environ.get("OMP_NUM_THREADS", "0"))
    return told or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@contextmanager
def one_thread() -> Iterator[None]:
    """For numbers that must be the same on any machine: how a matrix is factorised rounds by the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
