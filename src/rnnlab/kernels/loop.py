"""A layer's gradients through the loop over ``step``, where a kernel has none: those of gradients, and of batches."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnlab.kernels.calling import functional_call
from rnnlab.kernels.layout import zero_padding
from rnnlab.kernels.members import loop_of_members
from rnnlab.kernels.tracing import StepModule
from rnnlab.shapes import State


def through_the_loop(
    ctx: Any, x: Tensor, lengths: Tensor | None, rest: Sequence[Tensor], direct: Tensor | None,
    last: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients that can be differentiated again, and batches of gradients: through the loop over ``step``."""
    derived = ctx.derived
    if derived.random:
        raise RuntimeError(
            "a step that draws random numbers has these derivatives only with model.cell.backend=reference"
        )
    count = len(derived.trace.states)
    module = UnrollModule(ctx.cell)
    names = [f"cell.{name.removeprefix('cell.')}" for name in derived.trace.names]
    tensors = dict(zip(names, rest[count:], strict=True))
    state = rest[0] if derived.single else tuple(rest[:count])
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        clean = zero_padding(x, lengths)
        if ctx.stacked:
            named = dict(zip((name.removeprefix("cell.") for name in names), rest[count:], strict=True))
            results = loop_of_members(ctx.cell, clean, rest[:count], lengths, named, derived.single)
        else:
            output, after = functional_call(module, tensors, (clean, state, lengths))
            results = (output, *((after,) if derived.single else after))
    pairs = [
        (result, grad)
        for result, grad in zip(results, (direct, *last), strict=True)
        if grad is not None and result.requires_grad
    ]
    inputs = [x, *rest]
    wanted = [number for number, tensor in enumerate(inputs) if tensor.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    outputs, grads = zip(*pairs, strict=True)
    found = torch.autograd.grad(
        outputs, [inputs[number] for number in wanted], grads, create_graph=again, allow_unused=True
    )  # fmt: skip
    by_number = dict(zip(wanted, found, strict=True))
    return tuple(by_number.get(number) for number in range(len(inputs)))


def is_batched(grad: Tensor | None) -> bool:
    """Whether a gradient stands for many at once."""
    functions = torch._C._functorch
    return grad is not None and (functions.is_legacy_batchedtensor(grad) or functions.is_batchedtensor(grad))


class UnrollModule(StepModule):
    """A cell whose ``forward`` is the loop."""

    def forward(self, x: Tensor, state: State | None, lengths: Tensor | None = None) -> Any:
        return self.cell._unroll(x, state, lengths)
