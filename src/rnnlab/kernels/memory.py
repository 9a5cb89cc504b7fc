"""The memory of layers: what they take again and again, and what belongs to their caller."""

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

import torch
from torch import Tensor


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


def own_tensor(tensor: Tensor) -> Tensor:
    """The same numbers in the same memory, but no view: autograd refuses to change a result that is one in place."""
    if not tensor._is_view():
        return tensor
    return tensor.new_empty(0).set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())


def shaped(tensor: Tensor, shape: torch.Size) -> Tensor:
    """The same numbers in another shape, but no view."""
    return tensor if tensor.shape == shape else own_tensor(tensor.view(shape))


def apart(grads: Sequence[Tensor | None], tensors: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradients in the shapes of their tensors, no two of them in the same memory: whoever changes one in place, as
    clipping does, would change the other.
    """
    found: list[Tensor | None] = []
    seen: set[int] = set()
    for grad, tensor in zip(grads, tensors, strict=True):
        if grad is None:
            found.append(None)
            continue
        own = grad if grad.shape == tensor.shape else grad.reshape(tensor.shape)
        where = own.data_ptr()
        found.append(own.clone() if where in seen else own)
        seen.add(where)
    return found
