"""From a cell's ``step`` to the list of operations of one step and of its vector-Jacobian product.

``step`` runs once, forward and backward, on a batch of ``marker`` rows, a prime number that occurs nowhere else, while
every operation that reaches PyTorch's dispatcher is written down. Since the rows of a batch know nothing of each
other, the operations that are independent of the state then also run on the rows of *all* steps at once: the input's
projections before the recurrence, the gradients of the parameters after it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from rnnlab.kernels.calling import functional_call
from rnnlab.kernels.decompositions import decompositions, layer_norm_of_input
from rnnlab.kernels.nodes import (
    BACKWARD,
    INPUT,
    PARAMETERS,
    STATE,
    Node,
    NotDerivable,
    Trace,
    leaves_of,
    map_leaves,
    name_of,
    needed,
)
from rnnlab.shapes import State

aten: Any = torch.ops.aten


class StepModule(nn.Module):
    """A cell whose ``forward`` is its ``step``, for ``torch.func.functional_call``."""

    cell: Any
    """A :class:`rnnlab.cells.cell.Cell`, which is made of kernels itself."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, state: State | None) -> Any:
        """Of ``x`` alone the state before the first step."""
        return self.cell.initial_state(len(x)) if state is None else self.cell.step(x, state)


def trace(cell: Any, dtype: torch.dtype) -> Trace:
    """Writes down a cell's step.

    Args:
        cell: of type :class:`rnnlab.cells.cell.Cell`.
        dtype: of its parameters: float32 or float64.

    Raises:
        NotDerivable: what it does is no fixed list of operations on the rows of a batch.
    """
    step = StepModule(cell)
    tensors = {**dict(step.named_parameters()), **dict(step.named_buffers())}
    sizes = {size for tensor in tensors.values() for size in tensor.shape} | {cell.input_size, cell.hidden_size}
    marker = next(n for n in (61, 67, 71, 73, 79, 83, 89, 97, 101, 103) if all(size % n for size in sizes if size))
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        generator = torch.Generator().manual_seed(0)
        trained = {name for name, _ in step.named_parameters()}
        leaves = {}
        for name, tensor in tensors.items():
            # of the values nothing depends, and those of a fleet's members are not at hand
            like = torch.zeros(tensor.shape, dtype=tensor.dtype)
            if tensor.dtype == dtype:
                like.normal_(generator=generator).requires_grad_(name in trained)
            # a copy, which a step may change in place without autograd's own complaint before ours
            leaves[name] = like.clone()
        with torch.no_grad():
            start = functional_call(step, leaves, (torch.zeros(marker, cell.input_size, dtype=dtype), None))
        single = isinstance(start, Tensor)
        parts = [start] if single else list(start)
        x = torch.randn(marker, cell.input_size, dtype=dtype, generator=generator).requires_grad_().clone()
        states = [part.detach().clone().requires_grad_().clone() for part in parts]
        recorder = _Recorder(Trace(marker, list(leaves), single))
        found = recorder.trace
        found.tensors = [recorder.input(leaf, PARAMETERS) for leaf in leaves.values()]
        found.x = recorder.input(x, INPUT)
        found.states = [recorder.input(state, STATE) for state in states]
        try:
            with recorder:
                output, after = functional_call(step, leaves, (x, states[0] if single else tuple(states)))
        except NotDerivable:
            raise
        except Exception as error:
            raise NotDerivable(f"it raises {type(error).__name__}: {_first_line(error)}") from error
        new_states = [after] if single else list(after)
        for part, new in zip(states, new_states, strict=True):
            if new.shape != part.shape or new.dtype != part.dtype:
                raise NotDerivable("a part of the state changes its shape or type")
        if output.shape != (marker, cell.hidden_size):
            raise NotDerivable(f"its output is no (batch, {cell.hidden_size})")
        results = [output, *new_states]
        found.output, *found.new_states = (recorder.node(result) for result in results)
        given = [torch.randn(result.shape, dtype=dtype, generator=generator) for result in results]
        found.tangent, *found.tangents = (recorder.input(tangent, BACKWARD) for tangent in given)
        live = [(result, tangent) for result, tangent in zip(results, given, strict=True) if result.requires_grad]
        wanted = [leaf for leaf in (*leaves.values(), x, *states) if leaf.requires_grad]
        grads: dict[int, Tensor | None] = {}
        if live:
            try:
                with recorder, torch.no_grad():
                    roots, tangents = zip(*live, strict=True)
                    pulled = torch.autograd.grad(roots, wanted, tangents, allow_unused=True)
            except NotDerivable:
                raise
            except Exception as error:
                raise NotDerivable(f"its gradient raises {type(error).__name__}: {_first_line(error)}") from error
            grads = {id(leaf): grad for leaf, grad in zip(wanted, pulled, strict=True)}
        nodes = [
            None if grads.get(id(leaf)) is None else recorder.node(grads[id(leaf)])
            for leaf in (*leaves.values(), x, *states)
        ]
        count = len(leaves)
        found.grad_tensors, found.grad_x, found.grad_states = nodes[:count], nodes[count], nodes[count + 1 :]
    _check_rows(found)
    return found


def _check_rows(found: Trace) -> None:
    """Raises where a value of a step mixes the rows of the batch.

    What depends on the state is looked at, operation by operation, where it is compiled.
    """
    for state in found.states:
        if len(state.shape) < 2 or state.shape[0] != found.marker:
            raise NotDerivable("a part of the state is no (batch, width)")
        if not state.dtype or not state.dtype.is_floating_point:
            raise NotDerivable("a part of the state is not made of real numbers")
    for node in needed([found.output, *found.new_states]):
        if node.kind == INPUT and node.shape[:1] != (found.marker,) and node.dtype is not None:
            raise NotDerivable(f"{name_of(node.op)} mixes the rows of a batch: a step must treat each row by itself")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]


# ---- recording -------------------------------------------------------------------------------------------------

_SAME = {aten.detach, aten.alias, aten.clone, aten.lift_fresh, aten.lift_fresh_copy, aten.contiguous, aten.detach_}
_SAME_IF_ALIKE = {aten.view, aten.expand, aten._to_copy, aten.to, aten._unsafe_view, aten.reshape, aten.conj_physical}
_FULL = {
    aten.zeros: 0, aten.ones: 1, aten.zeros_like: 0, aten.ones_like: 1, aten.new_zeros: 0, aten.new_ones: 1,
    aten.empty: 0, aten.empty_like: 0, aten.new_empty: 0, aten.empty_strided: 0, aten.new_empty_strided: 0,
    aten.full: None, aten.full_like: None, aten.new_full: None, aten.scalar_tensor: None,
}  # fmt: skip
_VALUE_AT = {aten.full: 1, aten.full_like: 1, aten.new_full: 2, aten.scalar_tensor: 0}
_SAFE = {
    aten.unsafe_split.Tensor: aten.split.Tensor,
    aten.unsafe_split_with_sizes.default: aten.split_with_sizes.default,
}
"""What gives the same numbers as an operation whose results torch.nn's own cells change in place."""


class _Recorder(TorchDispatchMode):
    """Writes down what happens while it is active."""

    def __init__(self, found: Trace) -> None:
        super().__init__()
        self.trace = found
        self._of: dict[int, Node] = {}
        self._alive: list[Any] = []  # so that no id is used again
        self._known: dict[Any, list[Node]] = {}
        self._by_storage: dict[int, list[Tensor]] = {}
        self._stale: set[int] = set()
        self._inputs: set[int] = set()
        self._table = decompositions()

    # ---- nodes
    def _new(self, op: Any, args: Any, kwargs: Any, result: Any, kind: int, **more: Any) -> Node:
        shape, dtype = (tuple(result.shape), result.dtype) if isinstance(result, Tensor) else ((), None)
        node = Node(op, args, kwargs, shape, dtype, kind, len(self.trace.nodes), **more)
        self.trace.nodes.append(node)
        return node

    def _bind(self, tensor: Tensor, node: Node) -> None:
        if id(tensor) not in self._of:
            self._alive.append(tensor)
            self._by_storage.setdefault(_storage(tensor), []).append(tensor)
        self._of[id(tensor)] = node

    def input(self, tensor: Tensor, kind: int) -> Node:
        """A tensor that is handed in."""
        node = self._new("input", (), {}, tensor, kind)
        self._bind(tensor, node)
        self._inputs.add(_storage(tensor))
        return node

    def node(self, value: Any) -> Any:
        """Of a tensor its node; anything else is what it is."""
        if not isinstance(value, Tensor):
            return value
        if id(value) in self._stale:
            raise NotDerivable("it changes a tensor in place of which there are views: write torch.cat or torch.where")
        if id(value) not in self._of:
            if value.requires_grad:
                raise NotDerivable("it uses a parameter that is none of the cell's own")
            if self.trace.marker in value.shape:
                raise NotDerivable("it uses a tensor that PyTorch did not see being made")
            self._bind(value, self._new("constant", (), {}, value, PARAMETERS, value=value.detach()))
        return self._of[id(value)]

    # ---- operations
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if packet in (aten._local_scalar_dense, aten.is_nonzero, aten.equal, aten.nonzero, aten.masked_select):
            raise NotDerivable(
                "what it computes depends on a value that it reads from a tensor: torch.where chooses value by value"
            )
        if func in self._table and not self._is_kept(func, args):
            instead = self._table[func]
            if func is aten.native_layer_norm.default and self.node(args[0]).kind == INPUT:
                instead = layer_norm_of_input
            with self:
                made = instead(*args, **kwargs)
            if made is not NotImplemented:
                return made
        result = func(*args, **kwargs)
        schema = func._schema
        changed = [argument for argument in schema.arguments if argument.alias_info and argument.alias_info.is_write]
        if changed:
            return self._in_place(func, args, kwargs, result, len(changed))
        self._record(func, args, kwargs, result)
        return result

    def _is_kept(self, func: Any, args: Any) -> bool:
        """Whether an operation is written down as it is: the moments of rows of the input."""
        return (
            func is aten.native_layer_norm.default
            and self.node(args[0]).kind == INPUT
            and args[2] is None
            and args[3] is None
        )

    def _record(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        func = _SAFE.get(func, func)
        packet = func.overloadpacket
        if packet in _SAME:
            self._bind(result, self.node(args[0]))
            return
        if packet in _FULL:
            value = _FULL[packet]
            if value is None:
                value = kwargs.get("fill_value", args[_VALUE_AT[packet]] if len(args) > _VALUE_AT[packet] else None)
            if isinstance(value, (int, float, bool)):
                self._bind(result, self._new("full", (), {}, result, PARAMETERS, value=float(value)))
                return
        given, named = map_leaves(self.node, args), {name: map_leaves(self.node, v) for name, v in kwargs.items()}
        if packet in _SAME_IF_ALIKE and given[0].shape == tuple(result.shape) and given[0].dtype == result.dtype:
            self._bind(result, given[0])
            return
        if packet is aten.t and given[0].op is func:
            self._bind(result, given[0].args[0])
            return
        random = torch.Tag.nondeterministic_seeded in func.tags
        if random and packet in (aten.rand_like, aten.randn_like):
            given = (self._new("full", (), {}, args[0], PARAMETERS, value=0.0), *given[1:])  # its shape alone matters
        inputs = [leaf for leaf in leaves_of((given, tuple(named.values()))) if isinstance(leaf, Node)]
        kind = max((node.kind for node in inputs), default=PARAMETERS)
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        if kind == PARAMETERS and any(isinstance(each, Tensor) and self.trace.marker in each.shape for each in results):
            kind = INPUT
        if random:
            if kind > INPUT:
                raise NotDerivable(f"{name_of(func)} draws numbers that depend on the state")
            kind = INPUT
        key = None if random else (func, repr(given), repr(named))
        nodes = self._known.get(key) if key else None
        if nodes is None:
            if isinstance(result, Tensor):
                nodes = [self._new(func, given, named, result, kind, random=random)]
            else:
                whole = self._new(func, given, named, None, kind, random=random)
                nodes = [
                    self._new("item", (whole, number), {}, each, kind)
                    for number, each in enumerate(results)
                    if isinstance(each, Tensor)
                ]
            if key:
                self._known[key] = nodes
        for tensor, node in zip([each for each in results if isinstance(each, Tensor)], nodes, strict=True):
            self._bind(tensor, node)

    def _in_place(self, func: Any, args: Any, kwargs: Any, result: Any, changed: int) -> Any:
        target = args[0] if args else None
        if changed != 1 or not isinstance(target, Tensor) or "out" in kwargs:
            raise NotDerivable(f"{name_of(func)} writes into given tensors")
        where = _storage(target)
        if where in self._inputs:
            raise NotDerivable(f"{name_of(func)} changes its input, its state, a parameter or a buffer in place")
        before = self.node(target)
        args = (before, *map_leaves(self.node, args[1:]))
        named = {name: map_leaves(self.node, value) for name, value in kwargs.items()}
        inputs = [leaf for leaf in leaves_of((args, tuple(named.values()))) if isinstance(leaf, Node)]
        random = torch.Tag.nondeterministic_seeded in func.tags
        kind = max(node.kind for node in inputs)
        if kind == PARAMETERS and self.trace.marker in target.shape:
            kind = INPUT
        if random and kind > INPUT:
            raise NotDerivable(f"{name_of(func)} draws numbers that depend on the state")
        if func.overloadpacket is aten.copy_:
            source = args[1]
            if source.shape != before.shape or source.dtype != before.dtype:
                raise NotDerivable("it copies into a tensor of another shape or type")
            node = source
        elif func.overloadpacket in (aten.zero_, aten.fill_) and not isinstance(args[-1] if len(args) > 1 else 0, Node):
            value = 0.0 if func.overloadpacket is aten.zero_ else float(args[1])
            node = self._new("full", (), {}, target, PARAMETERS, value=value)
        else:
            node = self._new(func if random else _functional(func), args, named, target, kind, random=random)
        for other in self._by_storage.get(where, []):
            if other is not target and _overlap(other, target):
                self._stale.add(id(other))
        self._bind(target, node)
        if isinstance(result, Tensor) and result is not target:
            self._bind(result, node)
        return result


def _functional(func: Any) -> Any:
    """The operation that gives what this one writes in place."""
    name = func.overloadpacket.__name__
    packet = getattr(aten, name.removesuffix("_"), None)
    found = getattr(packet, func._overloadname, None)
    if packet is aten.transpose:
        raise NotDerivable(
            "torch.transpose_ writes in place, as layers of many steps do (nn.GRU, a cell called as a layer): "
            "nn.GRUCell, or the cell's own step, takes one"
        )
    if not name.endswith("_") or found is None:
        raise NotDerivable(f"{name_of(func)} writes in place")
    return found


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one storage have a number in common."""
    if one.dtype != other.dtype:
        return True
    held = torch.zeros(one.untyped_storage().nbytes() // one.element_size(), dtype=torch.bool)
    held.as_strided(one.shape, one.stride(), one.storage_offset()).fill_(True)
    return bool(held.as_strided(other.shape, other.stride(), other.storage_offset()).any())
