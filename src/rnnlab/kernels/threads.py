"""Native work shared out among threads."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch

SHARE = 2**21
"""Numbers that a thread must have to compute with, or it is not worth waking."""

_POOLS: dict[int, ThreadPoolExecutor] = {}
_LOCK = threading.Lock()


def _pool() -> ThreadPoolExecutor:
    """Of this process: a child that was forked has none of its parent's threads."""
    with _LOCK:
        if os.getpid() not in _POOLS:
            _POOLS.clear()
            _POOLS[os.getpid()] = ThreadPoolExecutor(64, thread_name_prefix="rnnlab-kernels")
        return _POOLS[os.getpid()]


def share_out(run: Callable[[int, int], object], pieces: int, work: int, sizes: np.ndarray | None = None) -> None:
    """Does ``pieces`` of work, each thread some of them that follow each other.

    Pieces know nothing of each other, so that the result is the same for any number of threads.

    Args:
        run: does the pieces from its first argument to its second.
        pieces: their number.
        work: numbers to compute with.
        sizes: of the pieces, where they differ.
    """
    threads = 1 if work < 2 * SHARE else min(torch.get_num_threads(), pieces, work // SHARE)
    if threads <= 1:
        run(0, pieces)
        return
    # each gets as much as the others
    done = np.cumsum(np.ones(pieces) if sizes is None else sizes)
    edges = [0, *np.searchsorted(done, done[-1] * np.arange(1, threads) / threads, "right").tolist(), pieces]
    pool = _pool()
    jobs = [pool.submit(run, first, last) for first, last in pairwise(edges[1:]) if first < last]
    run(edges[0], edges[1])
    for job in jobs:
        job.result()
