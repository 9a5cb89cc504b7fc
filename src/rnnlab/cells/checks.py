"""What a cell is called with, checked before any kernel sees a pointer: native code trusts its caller, and would
answer in silence, or end the process.

As in torch.nn, sizes, types and devices are held against the cell's own. On a CPU that takes a few microseconds a call.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from rnnlab.errors import InputError
from rnnlab.kernels.members import is_tracing

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
"""Types that lengths may have."""


@runtime_checkable
class Checked(Protocol):
    """A :class:`rnnlab.cells.cell.Cell`, as far as its arguments are held against it."""

    input_size: int
    hidden_size: int

    def initial_state(self, batch_size: int) -> Any: ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]: ...

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]: ...


def is_transformed() -> bool:
    """Whether a transform (``torch.func``, forward-mode derivatives) or a tracer (``torch.jit.trace``) looks on."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0 or is_tracing()


LOOP = "go through the loop over `step`: set model.cell.backend=reference"


def refuse_twice(*grads: Tensor | None) -> None:
    """Called first by a backward pass that can't be differentiated itself.

    Args:
        grads: of what the layer gave.

    Raises:
        RuntimeError: a second derivative or a batch of gradients is asked for.
    """
    refuse_batches(*grads)
    if torch.is_grad_enabled():
        raise RuntimeError(f"second derivatives {LOOP}")


def refuse_batches(*grads: Tensor | None) -> None:
    """As :func:`refuse_twice`, where second derivatives are known."""
    functions = torch._C._functorch
    if any(g is not None and (functions.is_legacy_batchedtensor(g) or functions.is_batchedtensor(g)) for g in grads):
        raise RuntimeError(f"batches of gradients (jacobian(vectorize=True), is_grads_batched) {LOOP}")


def check_call(cell: Checked, x: Tensor, state: Any, lengths: Tensor | None) -> int | None:
    """Holds the arguments of :meth:`Cell.forward` against the cell.

    Returns:
        The length of the longest sequence; ``None`` where it isn't known without waiting for a device.

    Raises:
        InputError: a size, a type, a device, or the structure of the state is another.
    """
    if x.dim() != 3 or x.shape[2] != cell.input_size:
        raise InputError(
            f"the input of {_name(cell)} must have the shape (batch, time, {cell.input_size}), and has {_shape(x)}"
        )
    batch, time, _ = x.shape
    if not time:
        raise InputError(f"the input of {_name(cell)} has no time step: its shape is {_shape(x)}")
    check_like(f"the input of {_name(cell)}", x, _weight(cell))
    if state is not None:
        check_state(cell, state, batch)
    return time if lengths is None else check_lengths(lengths, batch, time, x.device)


def _weight(cell: Checked) -> Tensor | None:
    """The first of its parameters, or else of its buffers."""
    # most cells have some of their own, and a walk through all modules takes longer than all other checks
    first = next(iter(vars(cell)["_parameters"].values()), None)
    first = next(cell.parameters(), None) if first is None else first
    return next(cell.buffers(), None) if first is None else first


def check_traced(module: nn.Module) -> None:
    """Refuses a trace of a function around a module: its parameters would be constants of the graph.

    Raises:
        InputError: they need gradients, which constants cannot have.
    """
    if not is_tracing():
        return
    for parameter in module.parameters():
        if parameter.requires_grad:
            try:
                torch._C._get_value_trace(parameter)  # type: ignore[attr-defined]  # torch has no stub of it
            except RuntimeError:
                raise InputError(
                    "torch.jit.trace of a function makes constants of the parameters that it uses, which need "
                    "gradients: trace the module itself, or a module around it, or call requires_grad_(False) first"
                ) from None
            return


def check_like(what: str, x: Tensor, weight: Tensor | None) -> None:
    """Holds a tensor's type and device against those of a weight.

    Raises:
        InputError: they are others.
    """
    if weight is None:
        return
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise InputError(f"{what} must have the type {weight.dtype} of the weights, and has {x.dtype}")
    if x.device != weight.device:
        raise InputError(f"{what} is on {x.device}, and the weights are on {weight.device}")


def check_state(cell: Checked, state: Any, batch: int) -> None:
    """Holds a state against what :meth:`Cell.initial_state` gives.

    Raises:
        InputError: its structure, a size, a type or a device is another.
    """
    own = cell.initial_state(1)
    expected: Sequence[Tensor] = (own,) if isinstance(own, Tensor) else own
    one = isinstance(own, Tensor)
    given: Sequence[Any] = (state,) if one else state if isinstance(state, tuple | list) else ()
    if len(given) != len(expected) or not all(isinstance(part, Tensor) for part in given):
        wanted = "a tensor" if one else f"a tuple of {len(expected)} tensors"
        has = f"a tuple of {len(state)}" if isinstance(state, tuple | list) else f"a {type(state).__name__}"
        raise InputError(f"the state of {_name(cell)} is {wanted}, and was given as {has}")
    for part, like in zip(given, expected, strict=True):
        if part.shape != (batch, *like.shape[1:]):
            raise InputError(
                f"a state of {_name(cell)} must have the shape {(batch, *like.shape[1:])}, and has {_shape(part)}"
            )
        check_like(f"a state of {_name(cell)}", part, like)


def check_step(cell: Checked, made: Any, before: Any, batch: int) -> None:
    """Holds what :meth:`Cell.step` returned against what it is to return.

    Raises:
        InputError: it is no output and state, a size is another, or the state has another structure than before.
    """
    name = f"{_name(cell)}.step"
    if not isinstance(made, tuple | list) or len(made) != 2 or not isinstance(made[0], Tensor):
        has = f"a tuple of {len(made)}" if isinstance(made, tuple | list) else f"a {type(made).__name__}"
        raise InputError(f"{name} must return the output and the next state, and returned {has}")
    output, after = made
    if output.shape != (batch, cell.hidden_size):
        raise InputError(
            f"{name} must return an output of the shape (batch, hidden_size), here {(batch, cell.hidden_size)}, and "
            f"returned {_shape(output)}"
        )
    old, new = (list(state) if isinstance(state, tuple | list) else [state] for state in (before, after))
    alike = isinstance(before, Tensor) == isinstance(after, Tensor) and len(old) == len(new)
    if not alike or any(getattr(part, "shape", None) != like.shape for part, like in zip(new, old, strict=True)):
        was, is_ = (
            ", ".join(str(_shape(part)) if isinstance(part, Tensor) else type(part).__name__ for part in each)
            or "nothing"
            for each in (old, new)
        )
        raise InputError(f"{name} must return a state like the one that it was given, {was}, and returned {is_}")


def check_lengths(lengths: Tensor, batch: int, time: int, device: torch.device, least: int = 0) -> int | None:
    """Holds the valid steps of each sequence against the input.

    Args:
        lengths: ``(batch,)``.
        batch: sequences.
        time: steps of the padded input.
        device: of the input.
        least: allowed.

    Returns:
        The longest of them; ``None`` where it isn't known without waiting for a device.

    Raises:
        InputError: they are no whole numbers from ``least`` to ``time``, one a sequence, on the input's device.
    """
    given: Any = lengths  # a caller's, whatever its annotation says
    if not isinstance(given, Tensor) or given.dtype not in WHOLE or given.shape != (batch,):
        has = f"{given.dtype} of shape {_shape(given)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise InputError(f"lengths must be whole numbers, a tensor of shape ({batch},), and are {has}")
    if lengths.device != device:
        raise InputError(f"lengths are on {lengths.device}, and the input is on {device}")
    functions = torch._C._functorch
    while functions.is_batchedtensor(lengths):  # those of all members
        lengths = functions.get_unwrapped(lengths)
    # a tensor without values has no numbers to look at
    if not batch or type(lengths) is not Tensor or functions.is_functorch_wrapped_tensor(lengths):
        return 0 if not batch else None
    said = f"lengths must be from {least} to {time}, the steps of the input"
    if lengths.is_cuda:
        smallest, largest = lengths.aminmax()
        torch._assert_async((smallest >= least) & (largest <= time), said)
        return None
    values = lengths.flatten().tolist()  # a fifth of the time of operations on a few numbers
    low, high = min(values), max(values)
    if low < least or high > time:
        raise InputError(f"{said}, and one of them is {low if low < least else high}")
    return high


def _name(cell: Checked) -> str:
    return type(cell).__name__


def _shape(x: Tensor) -> str:
    return str(tuple(int(size) for size in x.shape))  # in a trace they are tensors


def check_heads(num_heads: int, hidden_size: int) -> None:
    """Raises InputError where the units can't be shared out among the heads."""
    if hidden_size % num_heads:
        nearest = min((n for n in range(1, hidden_size + 1) if hidden_size % n == 0), key=lambda n: abs(n - num_heads))
        raise InputError(
            f"model.cell.num_heads={num_heads} must divide model.hidden_size={hidden_size}: "
            f"the nearest that does is {nearest}"
        )
