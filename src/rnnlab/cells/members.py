"""Many networks alike at once: how a layer is run for all members of a stack together.

A stack of networks is one network under ``torch.func.vmap``, its parameters with
a leading axis of members. Most operations know what to do with that axis. A
recurrence by hand is no such operation: it says itself how it runs for all
members, with the axis in front of every tensor, and is reached through
:func:`across_members` while :func:`stacking` is on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

MemberLayer = Callable[..., Tensor | tuple[Tensor, ...]]
"""From tensors ``(members, …)`` to one or several ``(members, …)``, differentiable."""

_stacking = False


@contextmanager
def stacking() -> Iterator[None]:
    """What ``torch.func.vmap`` runs in this block is a stack of members."""
    global _stacking  # noqa: PLW0603 (as autograd's own switches; one thread computes at a time)
    before, _stacking = _stacking, True
    try:
        yield
    finally:
        _stacking = before


def is_stacked() -> bool:
    """Whether a layer is being run for all members of a stack together."""
    return _stacking and torch._C._are_functorch_transforms_active()


def across_members(layer: MemberLayer, *tensors: Tensor) -> Any:
    """Runs ``layer`` on all members' tensors.

    Args:
        layer: see :data:`MemberLayer`.
        tensors: of one member, as a function under ``vmap`` sees them.

    Returns:
        What ``layer`` gives, of one member.
    """
    return _Across.apply(layer, *tensors)


class _Across(Function):
    """No function of its own: the place where ``vmap`` hands over all members' tensors."""

    @staticmethod
    def forward(layer: MemberLayer, *tensors: Tensor) -> Tensor:
        raise RuntimeError("a layer runs across members only under torch.func.vmap")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: autograd follows what ``layer`` does."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], layer: MemberLayer, *tensors: Tensor) -> tuple[Any, Any]:
        every = [
            tensor.expand(info.batch_size, *tensor.shape) if axis is None else tensor.movedim(axis, 0)
            for tensor, axis in zip(tensors, in_dims[1:], strict=True)
        ]
        made = layer(*every)
        return made, 0 if isinstance(made, Tensor) else (0,) * len(made)


CACHE = 2**20
"""Bytes of a block's widest tensor: with its others it then stays within a cache of some megabytes."""


def member_blocks(time: int, step_bytes: int) -> list[tuple[int, int]]:
    """Begin and end of the blocks of steps that a layer is run in, of ``step_bytes`` a step."""
    size = max(1, min(16, CACHE // max(1, step_bytes)))
    return [(begin, min(time, begin + size)) for begin in range(0, time, size)]
