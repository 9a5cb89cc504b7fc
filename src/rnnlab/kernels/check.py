"""A derived layer held against the loop."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rnnlab.kernels.calling import functional_call
from rnnlab.kernels.layout import dense
from rnnlab.kernels.loop import UnrollModule
from rnnlab.kernels.nodes import NotDerivable
from rnnlab.kernels.program import CPU
from rnnlab.kernels.tracing import StepModule

TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-8}
"""By how much a derived layer may differ from the loop when it is checked, relative to the largest number: many times
the rounding, and far below any mistake."""


def check(
    derived: Any, cell: Any, dtype: torch.dtype, named: dict[str, Tensor] | None = None,
    run: Callable[[Tensor, Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]] | None = None,
    device: torch.device = CPU,
) -> None:  # fmt: skip
    """Holds a derived layer against the loop, in value and in gradient, over two blocks of steps.

    Args:
        derived: the layer.
        cell: from which it was derived.
        dtype: of its parameters.
        named: values of its parameters and buffers, where they aren't the cell's own.
        run: takes x, the parts of the state and the tensors through it.
        device: on which.

    Raises:
        NotDerivable: they differ.
    """
    batch, time = 3, 5
    rows = 3 * dense(batch, time).lanes
    run = run or (lambda x, parts, tensors: derived.apply(cell, None, x, parts, tensors, rows))
    names = [name.removeprefix("cell.") for name in derived.trace.names]
    trained = {name for name, _ in cell.named_parameters()}
    named = named or {**dict(cell.named_parameters()), **dict(cell.named_buffers())}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.enable_grad():
        generator = torch.Generator().manual_seed(1)

        def noise(*shape: int) -> Tensor:
            return torch.randn(shape, dtype=dtype, generator=generator).to(device)

        tensors = []
        for name in names:
            value = named[name].detach().to(device, copy=True)
            if value.dtype == dtype and name in trained:
                value = (value + 0.03 * noise(*value.shape)).requires_grad_()
            tensors.append(value)
        x = noise(batch, time, cell.input_size).requires_grad_()
        with torch.no_grad():
            torch.manual_seed(2)
            own = {f"cell.{name}": tensor for name, tensor in zip(names, tensors, strict=True)}
            first = functional_call(StepModule(cell), own, (x, None))
            start = functional_call(UnrollModule(cell), own, (noise(batch, 2, cell.input_size), first))[1]
        parts = [part.clone().requires_grad_() for part in ((start,) if derived.single else start)]
        wanted = [tensor for tensor in (x, *parts, *tensors) if tensor.requires_grad]
        weights: list[Tensor] = []
        results = []
        for kind in ("derived", "loop"):
            torch.manual_seed(3)
            if kind == "derived":
                output, *last = run(x, parts, tensors)
            else:
                state = parts[0] if derived.single else tuple(parts)
                output, after = functional_call(UnrollModule(cell), own, (x, state))
                last = [after] if derived.single else list(after)
            every = [output, *last]
            weights = weights or [noise(*each.shape) for each in every]
            loss = sum((each * weight).sum() for each, weight in zip(every, weights, strict=True) if each.requires_grad)
            grads: Sequence[Tensor | None] = [None] * len(wanted)
            if isinstance(loss, Tensor):
                grads = torch.autograd.grad(loss, wanted, allow_unused=True)
            results.append([*every, *grads])
    for ours, expected in zip(*results, strict=True):
        one, other = (torch.zeros((), dtype=dtype) if each is None else each.detach() for each in (ours, expected))
        bound = TOLERANCE[dtype] * (float(other.abs().nan_to_num().max()) + 1e-3)
        one, other = torch.broadcast_tensors(one, other)
        if not torch.allclose(one, other, rtol=0, atol=bound, equal_nan=True):
            raise NotDerivable("its kernel computes something else: it reads or changes what PyTorch does not see")
