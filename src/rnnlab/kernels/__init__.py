"""How a recurrence is executed: in kernels derived from a cell's ``step`` where that can be done, else as a loop.

On a CPU :func:`derived` traces ``step`` (:mod:`~rnnlab.kernels.tracing`), plans two kernels and the products around
them (:mod:`~rnnlab.kernels.planning`), compiles these (:mod:`~rnnlab.kernels.printing`,
:mod:`~rnnlab.kernels.native`) and holds the result once against the loop (:mod:`~rnnlab.kernels.layer`). What PyTorch
has to look into, and what a kernel would get wrong, runs as the loop: see :func:`is_plain`.
"""

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks

from rnnlab.kernels.fingerprint import fingerprint
from rnnlab.shapes import Lengths, State

if TYPE_CHECKING:
    from rnnlab.kernels.layer import Derived

log = logging.getLogger(__name__)

KEPT = 256
"""Layers that are remembered, by what they were derived from."""
FEW_STEPS = 3
"""Shorter sequences run as a loop: what a layer prepares takes longer than that."""

_DERIVED: "OrderedDict[Any, tuple[Derived | None, Any]]" = OrderedDict()
_TOLD: set[Any] = set()

_PLAIN = (Tensor, nn.Parameter)


def is_plain(cell: nn.Module, x: Tensor, state: State | None, lengths: Lengths | None) -> bool:
    """Whether a layer may run in kernels on this input: on a CPU, in float32 or float64, with nothing that has to see
    the operations of every step (autocast, transforms of ``torch.func``, tracers and compilers, modes, hooks, tensors
    of another class).
    """
    given = [x, *cell.parameters(), *cell.buffers()]
    given += [] if state is None else [state] if isinstance(state, Tensor) else list(state)
    numbers = {tensor.dtype for tensor in given if tensor.is_floating_point() or tensor.is_complex()}
    return (
        len(numbers) == 1
        and x.dtype in (torch.float32, torch.float64)
        and all(type(tensor) in _PLAIN and tensor.device.type == "cpu" for tensor in given)
        and (lengths is None or (type(lengths) is Tensor and lengths.device.type == "cpu"))
        and x.layout is torch.strided
        and not any(buffer.requires_grad for buffer in cell.buffers())
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined]
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._len_torch_function_stack() == 0
        and not _has_hooks(cell)
    )


def _has_hooks(cell: nn.Module) -> bool:
    """Whether somebody wants to be told of a call of a module in the cell, at each step."""
    if global_hooks._has_any_global_hook():
        return True
    inner = [module for module in cell.modules() if module is not cell]
    return any(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
        for module in inner
    )


def derived(cell: Any, x: Tensor, state: State | None = None, lengths: Lengths | None = None) -> "Derived | None":
    """The layer that is derived from a cell's ``step``, where it may run on this input; otherwise ``None``.

    Where ``step`` can't be derived one log line says why.

    Args:
        cell: of type :class:`rnnlab.cells.cell.Cell`.
        x: ``(batch, time, features)``.
        state: as the cell is handed it.
        lengths: likewise.
    """
    if x.dim() != 3 or x.shape[1] < FEW_STEPS or not is_plain(cell, x, state, lengths):
        return None
    alive: list[Any] = []
    key = x.dtype, fingerprint(cell, alive)
    if key in _DERIVED:
        _DERIVED.move_to_end(key)
    else:
        # what the key knows by its address must not be given back
        _DERIVED[key] = _derive(cell, x.dtype, key), alive
        while len(_DERIVED) > KEPT:
            _DERIVED.popitem(last=False)
    return _DERIVED[key][0]


def run(cell: Any, x: Tensor, state: Any, lengths: Lengths | None) -> tuple[Tensor, Any]:
    """One layer, one direction: through the layer that is derived from ``step``, or through the loop.

    Args:
        cell: of type :class:`rnnlab.cells.cell.Cell`.
        x: ``(batch, time, features)``, zero on padding.
        state: before the first step.
        lengths: ``(batch,)`` valid steps of each sequence.

    Returns:
        As :meth:`rnnlab.cells.cell.Cell.unroll`.
    """
    found = derived(cell, x, state, lengths)
    return cell._unroll(x, state, lengths) if found is None else found(cell, x, state, lengths)


def _derive(cell: Any, dtype: torch.dtype, key: Any) -> "Derived | None":
    # nothing of it is imported before there is work
    from rnnlab.kernels.layer import Derived, check
    from rnnlab.kernels.tracing import NotDerivable

    name = type(cell).__name__
    try:
        found = Derived(cell, dtype)
        check(found, cell, dtype)
        if key != (dtype, fingerprint(cell, [])):
            raise NotDerivable("step changes attributes of the cell")
    except NotDerivable as reason:
        _say(f"{name} runs as a loop over its step, which takes three to five times as long: {reason}")
        return None
    except Exception as error:  # noqa: BLE001 (whatever a compiler stumbles over, the loop is right)
        _say(f"{name} runs as a loop over its step: deriving a kernel raised {type(error).__name__}: {error}")
        return None
    return found


def _say(line: str) -> None:
    if line not in _TOLD:
        _TOLD.add(line)
        log.warning(line)
