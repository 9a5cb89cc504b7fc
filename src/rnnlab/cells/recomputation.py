"""A layer over a long sequence in the memory of a short one.

A sequence of T steps runs in √T segments of √T steps. Of each only the state
that it starts from is kept; its forward pass is computed once more when its
backward pass needs what was in between. Beside the input and the output, which
are there in any case, memory is then that of 2√T steps, for one more forward pass.

T. Chen, B. Xu, C. Zhang & C. Guestrin, "Training deep nets with sublinear
memory cost" (2016), arXiv 1604.06174. ``torch.utils.checkpoint`` without
reentry keeps the graph, whose nodes alone are most of what a loop of small
steps takes; with reentry it knows no ``torch.autograd.grad``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rnnlab.cells.cell import Cell
from rnnlab.cells.checks import check_call, is_transformed, refuse_twice
from rnnlab.kernels.calling import functional_call
from rnnlab.shapes import Features, HiddenSequence, Lengths, State


def recomputed(
    cell: Cell[Any], x: Features, state: State | None = None, lengths: Lengths | None = None
) -> tuple[HiddenSequence, Any]:
    """As ``cell(x, state, lengths)``, in value and in gradient; where nothing is differentiated it is just that."""
    time = x.shape[1]
    if not torch.is_grad_enabled() or time < 4 or is_transformed() or not len(x):
        return cell(x, state, lengths)
    check_call(cell, x, state, lengths)
    state = cell.initial_state(len(x)) if state is None else state
    parts = state if isinstance(state, tuple) else (state,)
    names = [name for name, _ in cell.named_parameters()]
    size = -(-time // isqrt(time))
    output, *last = _Segments.apply(cell, names, size, lengths, x, *parts, *cell.parameters())
    return output, tuple(last) if isinstance(state, tuple) else last[0]


class _Segments(Function):
    """x, the parts of the state and the parameters to the output and the parts of the last state."""

    @staticmethod
    def forward(
        ctx: Any, cell: Cell[Any], names: list[str], size: int, lengths: Tensor | None, x: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        parts = rest[: len(rest) - len(names)]
        outputs: list[Tensor] = []
        starts: list[Tensor] = []
        ctx.draws = []
        for number, segment in enumerate(x.split(size, 1)):
            # a copy, since a state may be a view of all states of the segment before
            parts = tuple(part.clone() for part in parts)
            starts += parts
            before = _random_state(x)
            output, state = cell(segment, _state(parts, cell), _valid(lengths, number, segment, size))
            parts = state if isinstance(state, tuple) else (state,)
            outputs.append(output)
            drew = not all(map(torch.equal, before, _random_state(x)))
            ctx.draws.append(before if drew else None)
        ctx.autocast = _autocast(x)
        ctx.save_for_backward(x, lengths, *rest[len(rest) - len(names) :], *starts)
        ctx.cell, ctx.names, ctx.size, ctx.parts = cell, names, size, len(parts)
        return torch.cat(outputs, 1), *(part.clone() for part in parts)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor, *grad_last: Tensor) -> tuple[Tensor | None, ...]:
        refuse_twice(grad_output, *grad_last)
        x, lengths, *rest = ctx.saved_tensors
        cell, names, size, number_of_parts = ctx.cell, ctx.names, ctx.size, ctx.parts
        parameters, starts = rest[: len(names)], rest[len(names) :]
        # they may have been others than the cell's own, and they are leaves of the segment's graph
        leaves = {
            name: value.detach().requires_grad_(value.requires_grad)
            for name, value in zip(names, parameters, strict=True)
        }
        trained = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
        grads = {name: torch.zeros_like(leaf) for name, leaf in trained.items()}
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[4] else None
        later = list(grad_last)
        segments = list(zip(x.split(size, 1), grad_output.split(size, 1), strict=True))
        for number in reversed(range(len(segments))):
            segment, direct = segments[number]
            segment = segment.detach().requires_grad_(grad_x is not None)
            parts = [
                part.detach().requires_grad_()
                for part in starts[number * number_of_parts : (number + 1) * number_of_parts]
            ]
            with torch.enable_grad(), _drawn_again(ctx.draws[number], x), torch.autocast(**ctx.autocast):
                arguments = (segment, _state(tuple(parts), cell), _valid(lengths, number, segment, size))
                output, state = functional_call(cell, leaves, arguments)
            results = [output, *(state if isinstance(state, tuple) else (state,))]
            wanted = [*parts, *trained.values(), *([] if grad_x is None else [segment])]
            found = torch.autograd.grad(results, wanted, [direct, *later], allow_unused=True, materialize_grads=True)
            later = list(found[:number_of_parts])
            for total, grad in zip(grads.values(), found[number_of_parts:], strict=False):
                total.add_(grad)
            if grad_x is not None:
                grad_x[:, number * size : number * size + segment.shape[1]] = found[-1]
        return None, None, None, None, grad_x, *later, *(grads.get(name) for name in names)


def _random_state(x: Tensor) -> list[Tensor]:
    """Of the generators that a step may draw from."""
    if torch._C._len_torch_dispatch_stack():  # somebody looks on who makes no numbers
        return []
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(x.device)] if x.is_cuda else [])]


@contextmanager
def _drawn_again(before: list[Tensor] | None, x: Tensor) -> Iterator[None]:
    """The numbers that were drawn from a state on are drawn once more, and nobody else's."""
    if before is None:
        yield
        return
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.set_rng_state(before[0])
        if x.is_cuda:
            torch.cuda.set_rng_state(before[1], x.device)
        yield


def _autocast(x: Tensor) -> dict[str, Any]:
    """How the forward pass computes, for the second one, which may be computed outside its context."""
    kind = x.device.type
    return {
        "device_type": kind, "dtype": torch.get_autocast_dtype(kind), "enabled": torch.is_autocast_enabled(kind),
        "cache_enabled": False,  # of weights that are leaves of this segment alone
    }  # fmt: skip


def _state(parts: tuple[Tensor, ...], cell: Cell[Any]) -> State:
    return parts if isinstance(cell.initial_state(1), tuple) else parts[0]


def _valid(lengths: Tensor | None, number: int, segment: Tensor, size: int) -> Tensor | None:
    """Valid steps of each sequence in a segment."""
    return None if lengths is None else (lengths - number * size).clamp(0, segment.shape[1])
