"""How many threads a training takes."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch

# The product of batch and largest weight matrix from which a second thread makes a layer at least 1.3 times as fast
# (benchmarks/threads.py). It pays a little from 2**20 on, but where a neighbour takes the other core, two threads
# are four times slower than one: too much to risk for a little.
WORTH_MORE_THREADS = 2**22


def choose_threads(num_threads: int | Literal["auto"], batch_size: int, parameters: Sequence[int]) -> int:
    """How many threads torch should use: for a small net one, since every step waits for the slowest thread.

    Args:
        num_threads: the user's choice, or ``auto``.
        batch_size: sequences a batch.
        parameters: sizes of the net's parameters, in elements.
    """
    if num_threads != "auto":
        return num_threads
    cores = (
        int(os.environ.get("OMP_NUM_THREADS", "0")) or len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )
    return cores if batch_size * max(parameters, default=0) >= WORTH_MORE_THREADS else 1


@contextmanager
def one_thread() -> Iterator[None]:
    """For numbers that must be the same on any machine: how a matrix is factorised rounds by the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
