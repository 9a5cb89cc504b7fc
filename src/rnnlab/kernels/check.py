"""A derived layer held against the loop."""

from collections.abc import Callable, Sequence
from contextlib import suppress
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

ROUNDING = 8
"""By how many times the loop's own rounding, where that is more."""


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
        weights: list[Tensor] = []

        def loop(x: Tensor, parts: Sequence[Tensor], tensors: Sequence[Tensor]) -> Sequence[Tensor]:
            own = {f"cell.{name}": tensor for name, tensor in zip(names, tensors, strict=True)}
            output, after = functional_call(
                UnrollModule(cell), own, (x, parts[0] if derived.single else tuple(parts))
            )  # fmt: skip
            return [output, *([after] if derived.single else after)]

        def results(way: Any, precision: torch.dtype) -> list[Tensor]:
            """Of a loss of all that it gives: values and gradients, in another precision where that is asked for."""
            torch.manual_seed(3)
            given = [
                tensor.detach().to(precision if tensor.dtype == dtype else tensor.dtype)
                .requires_grad_(tensor.requires_grad) for tensor in (x, *parts, *tensors)
            ]  # fmt: skip
            wanted = [tensor for tensor in given if tensor.requires_grad]
            every = way(given[0], given[1 : 1 + len(parts)], given[1 + len(parts) :])
            if not weights:
                weights.extend(noise(*each.shape) for each in every)
            loss = sum((each * weight).sum() for each, weight in zip(every, weights, strict=True) if each.requires_grad)
            grads: Sequence[Tensor | None] = [None] * len(wanted)
            if isinstance(loss, Tensor):
                grads = torch.autograd.grad(loss, wanted, allow_unused=True)
            nothing = torch.zeros((), dtype=precision, device=device)
            return [nothing if each is None else each.detach() for each in (*every, *grads)]

        ours, expected = results(run, dtype), results(loop, dtype)
        bounds = [TOLERANCE[dtype] * (float(each.abs().nan_to_num().max()) + 1e-3) for each in expected]
        if _agree(ours, expected, bounds):
            return
        if dtype == torch.float32 and not derived.random:
            # where differences of almost equal numbers are magnified, as by a norm of one unit, the loop rounds as much
            with suppress(RuntimeError):  # a step may know no other precision
                exact = [each.to(dtype) for each in results(loop, torch.float64)]
                for number, (each, other) in enumerate(zip(expected, exact, strict=True)):
                    bounds[number] += ROUNDING * float((each - other).abs().nan_to_num().max())
                if _agree(ours, exact, bounds):
                    return
        raise NotDerivable("its kernel computes something else: it reads or changes what PyTorch does not see")


def _agree(ours: Sequence[Tensor], expected: Sequence[Tensor], bounds: Sequence[float]) -> bool:
    """Whether they differ by no more than the bounds."""
    for one, other, bound in zip(ours, expected, bounds, strict=True):
        first, second = torch.broadcast_tensors(one, other)
        if not torch.allclose(first, second, rtol=0, atol=bound, equal_nan=True):
            return False
    return True
