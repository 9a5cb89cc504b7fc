"""Many networks alike at once: how a layer is run for all members of a stack together.

A stack of networks is one network under ``torch.func.vmap``, its parameters with
a leading axis of members. Most operations know what to do with that axis. A
recurrence is no such operation: it says itself how it runs for all
members, with the axis in front of every tensor, and is reached through
:func:`across_members` while :func:`stacking` is on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.checks import refuse_twice
from rnnlab.kernels import run_stacked

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


def derived_across_members(cell: Any, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
    """A layer for all members of a stack by what is derived from ``step``, or by the loop; as a cell's ``_forward``."""
    named = {**dict(cell.named_parameters()), **dict(cell.named_buffers())}
    parts = [state] if isinstance(state, Tensor) else list(state)
    count = len(parts)

    def layer(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        tensors = dict(zip(named, rest[count : count + len(named)], strict=True))
        return run_stacked(cell, x, rest[:count], None if lengths is None else rest[-1], tensors)

    given = [] if lengths is None else [lengths]
    output, *last = across_members(layer, x, *parts, *named.values(), *given)
    return output, last[0] if isinstance(state, Tensor) else tuple(last)


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


NARROW = 4
"""Features up to which a product by each of them is faster than a matrix product."""


def narrow_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``(…, size)`` of ``(…, features)`` for few outputs, where a batched matrix product is ten times as slow.

    Args:
        x: ``(members, …, features)``.
        weight: ``(members, size, features)``.
        bias: ``(members, size)``.
    """
    shape = x.shape[:-1]
    return _NarrowLinear.apply(x.reshape(len(x), -1, x.shape[-1]), weight, bias).view(*shape, -1)


class _NarrowLinear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        made = x.new_empty(*x.shape[:2], weight.shape[1])
        with torch.inference_mode():
            for out, member, rows in zip(made.unbind(0), x.unbind(0), weight.unbind(0), strict=True):
                for number, row in enumerate(rows.unbind(0)):
                    out[:, number] = torch.mv(member, row)
            made += bias[:, None]
        return made

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        refuse_twice(grad)
        x, weight = ctx.saved_tensors
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = grad[..., :1] * weight[:, :1]
            for number in range(1, weight.shape[1]):
                grad_x.addcmul_(grad[..., number, None], weight[:, None, number])
        return grad_x, torch.bmm(grad.transpose(1, 2), x), grad.sum(1)
