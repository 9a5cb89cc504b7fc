"""Native work shared out among threads: PyTorch's own, where they are to be had, or some of Python's.

PyTorch's wait busily for a while after each of its operations, on the cores that others would need. So the same threads
take the pieces of a kernel, by the library of OpenMP that PyTorch has loaded.
"""

import ctypes
import os
import sys
import threading
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnnlab.kernels import native

SHARE = 2**19
"""Multiply-adds that a thread must have to do, or it is not worth waking: some 20 microseconds."""

_POOLS: dict[int, ThreadPoolExecutor] = {}
_LOCK = threading.Lock()


def share_out(
    function: Any, before: Sequence[int], after: Sequence[int], pieces: int, work: int, sizes: np.ndarray | None = None
) -> None:
    """Does ``pieces`` of work, each thread some of them that follow each other.

    Pieces know nothing of each other, so that the result is the same for any number of threads.

    Args:
        function: native, of whole numbers and addresses: it is called with ``before``, the first piece, the one behind
            the last, and ``after``.
        before: arguments.
        after: arguments.
        pieces: their number.
        work: multiply-adds of all of them, or what takes as long.
        sizes: of the pieces, where they differ.
    """
    threads = 1 if work < 2 * SHARE else torch.get_num_threads()
    parts = min(threads, pieces, work // SHARE)
    if parts <= 1:
        function(*before, 0, pieces, *after)
        return
    # each gets as much as the others
    done = np.cumsum(np.ones(pieces) if sizes is None else sizes)
    edges = [0, *np.searchsorted(done, done[-1] * np.arange(1, parts) / parts, "right").tolist(), pieces]
    edges = sorted(set(edges))
    openmp = _openmp()
    if openmp is None:
        pool = _pool()
        spans = [(*before, *span, *after) for span in pairwise(edges)]
        jobs = [pool.submit(function, *span) for span in spans[1:]]
        function(*spans[0])
        for job in jobs:
            job.result()
        return
    parallel, numbers = openmp
    bounds = array("q", edges)
    address = ctypes.cast(function, ctypes.c_void_p).value or 0
    data = array("q", [*numbers, address, bounds.buffer_info()[0], len(edges) - 1, *before, *after])
    # all of PyTorch's threads, though some find nothing to do: another number would make it end and start some
    parallel(_share(len(before), len(after)), data.buffer_info()[0], threads, 0)


def _pool() -> ThreadPoolExecutor:
    """Of this process: a child that was forked has none of its parent's threads."""
    with _LOCK:
        if os.getpid() not in _POOLS:
            _POOLS.clear()
            _POOLS[os.getpid()] = ThreadPoolExecutor(64, thread_name_prefix="rnnlab-kernels")
        return _POOLS[os.getpid()]


@cache
def _openmp() -> tuple[Any, tuple[int, int]] | None:
    """What calls a function in all threads, and the addresses of what tells a thread its number and that of all.

    ``None`` where it is not known which library PyTorch's threads are of.
    """
    if sys.platform != "linux":
        return None
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8")
        found = {line.split(None, 5)[5] for line in maps.splitlines() if any(n in line for n in ("gomp", "iomp5"))}
        own = {path for path in found if Path(path).is_relative_to(Path(torch.__file__).parent)}
        (path,) = own or found
        library = ctypes.CDLL(path)
        parallel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)(
            ("GOMP_parallel", library)
        )
        names = ("omp_get_thread_num", "omp_get_num_threads")
        one, all_of_them = (ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in names)
        return parallel, (one, all_of_them)
    except (OSError, ValueError, AttributeError, IndexError):
        return None


@cache
def _share(before: int, after: int) -> int:
    """The address of a function that does a thread's parts: it is handed the numbers that :func:`share_out` writes."""

    def load(number: int) -> str:
        return f"  %a{number} = getelementptr i64, ptr %data, i64 {number}\n  %v{number} = load i64, ptr %a{number}"

    given = [f"i64 %v{5 + number}" for number in range(before + after)]
    arguments = ", ".join([*given[:before], "i64 %first", "i64 %last", *given[before:]])
    loads = "\n".join(map(load, range(5 + before + after)))
    return native.load(
        f"""define void @share(ptr %data) {{
entry:
{loads}
  %number = inttoptr i64 %v0 to ptr
  %count = inttoptr i64 %v1 to ptr
  %function = inttoptr i64 %v2 to ptr
  %edges = inttoptr i64 %v3 to ptr
  %me32 = call i32 %number()
  %all32 = call i32 %count()
  %me = sext i32 %me32 to i64
  %all = sext i32 %all32 to i64
  br label %head
head:
  %part = phi i64 [ %me, %entry ], [ %next, %body ]
  %more = icmp slt i64 %part, %v4
  br i1 %more, label %body, label %end
body:
  %begin = getelementptr i64, ptr %edges, i64 %part
  %behind = getelementptr i64, ptr %begin, i64 1
  %first = load i64, ptr %begin
  %last = load i64, ptr %behind
  call void %function({arguments})
  %next = add i64 %part, %all
  br label %head
end:
  ret void
}}""",
        "share",
    )
