"""How a recurrence is executed: in kernels derived from a cell's ``step`` where that can be done, else as a loop.

On a CPU :func:`derived` traces ``step`` (:mod:`~rnnlab.kernels.tracing`), plans two kernels and the products around
them (:mod:`~rnnlab.kernels.planning`), compiles these (:mod:`~rnnlab.kernels.printing`,
:mod:`~rnnlab.kernels.native`) and holds the result once against the loop (:mod:`~rnnlab.kernels.check`). What PyTorch
has to look into, and what a kernel would get wrong, runs as the loop: see :func:`is_plain`.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks

from rnnlab.kernels.calling import tensors_of
from rnnlab.kernels.fingerprint import HOOKS, Watch, fingerprint
from rnnlab.kernels.layout import zero_padding
from rnnlab.kernels.members import across_members, is_stacked, is_tracing, loop_of_members, randomness_of_members
from rnnlab.shapes import Lengths, State

if TYPE_CHECKING:
    from rnnlab.kernels.eager import Eager
    from rnnlab.kernels.layer import Derived

log = logging.getLogger(__name__)

KEPT = 256
"""Layers that are remembered, by what they were derived from."""
FEW_STEPS = 3
"""Shorter sequences run as a loop: what a layer prepares takes longer than that."""

_DERIVED: "OrderedDict[Any, tuple[Derived | Eager | None, Any]]" = OrderedDict()
_TOLD: set[Any] = set()

_PLAIN = (Tensor, nn.Parameter)
_NUMBERS = (torch.float32, torch.float64)

Kind = tuple[torch.dtype, torch.device, bool]
"""Of a layer: the type of its numbers, the device, and whether it runs in operations of PyTorch."""
Found: TypeAlias = "tuple[Derived | Eager | None, Sequence[Tensor] | None]"
"""A layer, and the cell's tensors in its order, where these are known to be still the cell's own."""

_WATCHED: "WeakKeyDictionary[Any, tuple[Watch, Kind, Found]]" = WeakKeyDictionary()
"""What was found for a cell when it was last looked at."""
_WATCHED_MEMBERS: "WeakKeyDictionary[Any, tuple[Watch, Kind, Derived | Eager | None]]" = WeakKeyDictionary()
"""Likewise, of the members of a fleet for which it stands."""


def is_plain(cell: nn.Module, x: Tensor, state: State | None, lengths: Lengths | None) -> bool:
    """Whether a layer may be derived for this input: on one device, in float32 or float64, with nothing that has to see
    the operations of every step (autocast, transforms of ``torch.func``, tracers and compilers, modes, hooks, a step
    that was put in place of the class's own, tensors of another class).
    """
    return is_plain_call(x, state, lengths) and is_plain_cell(cell, [*cell.parameters(), *cell.buffers()], x)


def is_plain_cell(cell: nn.Module, given: Sequence[Tensor], x: Tensor) -> bool:
    """The part of :func:`is_plain` that depends on a cell and the values of its parameters and buffers."""
    return (
        all(tensor.dtype == x.dtype for tensor in given if tensor.is_floating_point() or tensor.is_complex())
        and all(type(tensor) in _PLAIN and tensor.device == x.device for tensor in given)
        and "step" not in vars(cell)  # compiled, or somebody's who wants to be asked at each step
        and not any(buffer.requires_grad for buffer in cell.buffers())
        and not _has_hooks(cell)
    )


def is_plain_call(x: Tensor, state: State | None, lengths: Tensor | None) -> bool:
    """The part of :func:`is_plain` that depends on no cell."""
    dtype, device = x.dtype, x.device
    parts: Sequence[Tensor] = () if state is None else (state,) if isinstance(state, Tensor) else state
    return (
        dtype in _NUMBERS
        and type(x) in _PLAIN
        and device.type in ("cpu", "cuda")
        and all(type(part) in _PLAIN and part.device == device for part in parts)
        and all(part.dtype == dtype for part in parts if part.is_floating_point() or part.is_complex())
        and (lengths is None or (type(lengths) is Tensor and lengths.device == device))
        and x.layout is torch.strided
        and not global_hooks._has_any_global_hook()
        and not torch.is_autocast_enabled(device.type)
        and not torch._C._are_functorch_transforms_active()
        and not torch.compiler.is_compiling()
        and not is_tracing()
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._len_torch_function_stack() == 0
    )


def _has_hooks(cell: nn.Module) -> bool:
    """Whether somebody wants to be told of a call of a module in the cell, at each step."""
    return any(getattr(module, name) for module in cell.modules() if module is not cell for name in HOOKS)


def derived(
    cell: Any, x: Tensor, state: State | None = None, lengths: Lengths | None = None
) -> "Derived | Eager | None":  # fmt: skip
    """The layer that is derived from a cell's ``step``, where it may run on this input; otherwise ``None``.

    Where ``step`` can't be derived one log line says why.

    Args:
        cell: of type :class:`rnnlab.cells.cell.Cell`.
        x: ``(batch, time, features)``.
        state: as the cell is handed it.
        lengths: likewise.
    """
    return _found(cell, x, state, lengths)[0]


def _found(cell: Any, x: Tensor, state: State | None, lengths: Lengths | None) -> Found:
    """As :func:`derived`, and the cell's tensors in the layer's order, where they needn't be looked up again."""
    if x.dim() != 3 or x.shape[1] < FEW_STEPS or not is_plain_call(x, state, lengths):
        return None, None
    known = _WATCHED.get(cell)
    kind = x.dtype, x.device, cell.backend == "eager" or not x.is_cpu
    if known is not None and known[1] == kind and known[0].holds():
        return known[2]
    if not is_plain_cell(cell, [*cell.parameters(), *cell.buffers()], x):
        return None, None
    layer = _remembered(cell, kind, None)
    watch = Watch(cell)
    if not watch.able:
        return layer, None
    found = layer, None if layer is None else tensors_of(cell, layer.trace.names)
    _WATCHED[cell] = watch, kind, found
    return found


def _of_members(cell: Any, kind: Kind, named: dict[str, Tensor]) -> "Derived | Eager | None":
    """As :func:`_remembered`, for the members of a fleet."""
    known = _WATCHED_MEMBERS.get(cell)
    if known is not None and known[1] == kind and known[0].holds():
        return known[2]
    layer = _remembered(cell, kind, {name: tensor[0] for name, tensor in named.items()})
    watch = Watch(cell, members=True)
    if watch.able:
        _WATCHED_MEMBERS[cell] = watch, kind, layer
    return layer


def _remembered(cell: Any, kind: Kind, named: dict[str, Tensor] | None) -> "Derived | Eager | None":
    alive: list[Any] = []
    key = *kind, fingerprint(cell, alive)
    if key in _DERIVED:
        _DERIVED.move_to_end(key)
    else:
        # what the key knows by its address must not be given back
        _DERIVED[key] = _derive(cell, key, named), alive
        while len(_DERIVED) > KEPT:
            _DERIVED.popitem(last=False)
    return _DERIVED[key][0]


def run(
    cell: Any, x: Tensor, state: Any, lengths: Lengths | None, instead: Callable[..., tuple[Tensor, Any]] | None = None
) -> tuple[Tensor, Any]:
    """One layer, one direction: through the layer that is derived from ``step``, or through the loop.

    Args:
        cell: of type :class:`rnnlab.cells.cell.Cell`.
        x: ``(batch, time, features)``; padding may hold anything.
        state: before the first step.
        lengths: ``(batch,)`` valid steps of each sequence.
        instead: what runs where no layer is derived, in place of the loop; its input is zero on padding.

    Returns:
        As :meth:`rnnlab.cells.cell.Cell.unroll`.
    """
    if is_stacked():
        return _run_members(cell, x, state, lengths)
    layer, tensors = _found(cell, x, state, lengths)
    if layer is not None:
        return layer(cell, x, state, lengths, tensors)
    return (instead or cell._unroll)(zero_padding(x, lengths), state, lengths)


def _run_members(cell: Any, x: Tensor, state: Any, lengths: Lengths | None) -> tuple[Tensor, Any]:
    """As :func:`run` under one level of ``torch.func.vmap``: for all members together."""
    named = {**dict(cell.named_parameters()), **dict(cell.named_buffers())}
    single = isinstance(state, Tensor)
    parts: Sequence[Tensor] = [state] if single else list(state)
    count, randomness = len(parts), randomness_of_members()

    def layer(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        tensors = dict(zip(named, rest[count : count + len(named)], strict=True))
        return run_stacked(
            cell, x, rest[:count], None if lengths is None else rest[-1], tensors, single, randomness
        )  # fmt: skip

    given = [] if lengths is None else [lengths]
    output, *last = across_members(layer, x, *parts, *named.values(), *given)
    return output, last[0] if single else tuple(last)


def run_stacked(
    cell: Any, x: Tensor, parts: Sequence[Tensor], lengths: Tensor | None, named: dict[str, Tensor], single: bool,
    randomness: str = "error",
) -> tuple[Tensor, ...]:  # fmt: skip
    """One layer of all members of a fleet: all tensors have a leading axis of members.

    Args:
        cell: one of them; it gives the step alone.
        x: ``(members, batch, time, features)``; padding may hold anything.
        parts: of the state before the first step.
        lengths: ``(members, batch)`` valid steps of each sequence.
        named: parameters and buffers.
        single: whether the state is a tensor and no tuple.
        randomness: as ``torch.func.vmap`` has it, for a step that draws numbers.

    Returns:
        The output ``(members, batch, time, hidden)``, and the parts of the last state.
    """
    if (
        x.shape[2] >= FEW_STEPS
        and x.is_cpu
        and is_plain_call(x, tuple(parts), lengths)
        and is_plain_cell(cell, [*named.values()], x)
    ):
        found: Any = _of_members(cell, (x.dtype, x.device, False), named)
        if found is not None and not found.random:
            return found.stacked(cell, x, parts, lengths, named)
    return loop_of_members(cell, zero_padding(x, lengths), parts, lengths, named, single, randomness)


def _derive(cell: Any, key: Any, named: dict[str, Tensor] | None) -> "Derived | Eager | None":
    # nothing of it is imported before there is work
    from rnnlab.kernels.check import check
    from rnnlab.kernels.eager import Eager
    from rnnlab.kernels.graphs import cuda_graph
    from rnnlab.kernels.layer import Derived
    from rnnlab.kernels.nodes import NotDerivable

    name, (dtype, device, eager, _) = cell.title, key
    found: Derived | Eager
    try:
        # in inference mode PyTorch hands out some operations whole, which the trace must see in parts
        with torch.inference_mode(False):
            if eager:
                capture = cuda_graph if device.type == "cuda" else None
                found = Eager(cell, dtype, device, capture)
                check(found, cell, dtype, named, partial(found.apply, cell, None), device)
            else:
                found = Derived(cell, dtype)
                check(found, cell, dtype, named)
        if key != (*key[:3], fingerprint(cell, [])):
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
