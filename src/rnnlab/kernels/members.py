"""Many networks alike at once: under ``torch.func.vmap`` a recurrence runs for all members together.

Most operations know what to do with an axis of members. A recurrence is no such operation: it says itself how it runs
when the axis stands in front of each of its tensors, and is reached through :func:`across_members`. That is so where
one ``vmap`` is all that looks on; under any other transform, or several, the loop over ``step`` runs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter
from torch.autograd import Function, forward_ad
from torch.func import vmap

from rnnlab.kernels.calling import functional_call
from rnnlab.shapes import State

MemberLayer = Callable[..., Tensor | tuple[Tensor, ...]]
"""From tensors ``(members, …)`` to one or several ``(members, …)``, differentiable."""


def is_stacked() -> bool:
    """Whether one level of ``torch.func.vmap`` looks on, and nothing else: no gradient inside it, no second level."""
    if not torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return False
    functions = torch._C._functorch
    levels = functions.get_interpreter_stack() or []
    return len(levels) == 1 and levels[0].key() == functions.TransformType.Vmap


def is_tracing() -> bool:
    """Whether ``torch.jit.trace`` looks on."""
    jit: Any = torch.jit  # torch exports the function, and does not declare it
    return bool(jit.is_tracing())


def randomness_of_members() -> str:
    """What that level says of random numbers: ``error``, ``same`` or ``different``."""
    level: Any = retrieve_current_functorch_interpreter()
    return level.randomness()


def across_members(layer: MemberLayer, *tensors: Tensor) -> Any:
    """Runs ``layer`` on all members' tensors.

    Args:
        layer: see :data:`MemberLayer`.
        tensors: of one member, as a function under ``vmap`` sees them.

    Returns:
        What ``layer`` gives, of one member.
    """
    if any(map(torch._C._functorch.is_batchedtensor, tensors)):
        return _Across.apply(layer, *tensors)
    # all members share them, and what comes of them
    with retrieve_current_functorch_interpreter().lower():
        made = layer(*(tensor[None] for tensor in tensors))
        return made[0] if isinstance(made, Tensor) else tuple(part[0] for part in made)


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


def loop_of_members(
    cell: Any, x: Tensor, parts: Sequence[Tensor], lengths: Tensor | None, named: dict[str, Tensor], single: bool,
    randomness: str = "error",
) -> tuple[Tensor, ...]:  # fmt: skip
    """The loop over ``step`` for all members: arguments and results as :func:`rnnlab.kernels.run_stacked`.

    Args:
        cell: one of them.
        x: ``(members, batch, time, features)``.
        parts: of the state before the first step.
        lengths: ``(members, batch)``.
        named: parameters and buffers.
        single: whether the state is a tensor and no tuple.
        randomness: as ``torch.func.vmap`` has it.
    """
    from rnnlab.kernels.loop import UnrollModule

    module = UnrollModule(cell)

    def loop(
        x: Tensor, parts: Sequence[Tensor], lengths: Tensor | None, named: dict[str, Tensor]
    ) -> tuple[Tensor, ...]:
        tensors = {f"cell.{name}": tensor for name, tensor in named.items()}
        state: State = parts[0] if single else tuple(parts)
        output, last = functional_call(module, tensors, (x, state, lengths))
        return (output, last) if single else (output, *last)

    axes = (0, 0, None if lengths is None else 0, 0)
    return vmap(loop, in_dims=axes, randomness=randomness)(x, list(parts), lengths, dict(named))


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
        x, weight = ctx.saved_tensors
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = grad[..., :1] * weight[:, :1]
            for number in range(1, weight.shape[1]):
                grad_x = torch.addcmul(grad_x, grad[..., number, None], weight[:, None, number])
        return grad_x, torch.bmm(grad.transpose(1, 2), x), grad.sum(1)
