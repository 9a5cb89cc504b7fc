"""The memory that layers take again and again."""

import ctypes
from contextlib import suppress
from functools import cache


@cache
def keep_memory() -> None:
    """Asks glibc to keep large pieces of memory that are given back: a training takes the same ones at every step.

    By default it returns them to the system, which hands them out anew page by page: half of the time of a small
    layer, whose kernels fill a few megabytes a pass.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            libc.mallopt(option, 2**30)
