"""From a cell's ``step`` to the list of operations of one step and of its vector-Jacobian product.

``step`` runs once, forward and backward, on a batch of ``marker`` rows, a prime number that occurs nowhere else, while
every operation that reaches PyTorch's dispatcher is written down. Since the rows of a batch know nothing of each
other, the operations that are independent of the state then also run on the rows of *all* steps at once: the input's
projections before the recurrence, the gradients of the parameters after it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from rnnlab.shapes import State

aten: Any = torch.ops.aten

PARAMETERS, INPUT, STATE, BACKWARD = range(4)
"""What a value depends on, each including those before it: parameters and constants; x; the state; the gradient that
comes from later steps."""


class NotDerivable(Exception):
    """``step`` is left to the loop; the message says what stands in the way, and the way out where there is one."""


class Node:
    """A value of the trace.

    Attributes:
        op: the operation that makes it; ``input``, ``constant``, ``full`` (a tensor of one number), or ``item`` (one of
            several results).
        args: with nodes in place of tensors.
        kwargs: likewise.
        shape: of the trace, where the batch has ``marker`` rows.
        dtype: of the value.
        kind: PARAMETERS, INPUT, STATE or BACKWARD.
        number: the place in the list of all nodes.
        value: of a constant the tensor, of ``full`` the number.
        random: whether new numbers are drawn for it at each step.
    """

    __slots__ = ("args", "dtype", "kind", "kwargs", "number", "op", "random", "shape", "value")

    def __init__(
        self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shape: tuple[int, ...], dtype: torch.dtype | None,
        kind: int, number: int, value: Any = None, random: bool = False,
    ) -> None:  # fmt: skip
        self.op, self.args, self.kwargs, self.shape, self.dtype = op, args, kwargs, shape, dtype
        self.kind, self.number, self.value, self.random = kind, number, value, random

    @property
    def tail(self) -> tuple[int, ...]:
        """The shape without the batch."""
        return self.shape[1:]

    def inputs(self) -> list["Node"]:
        """The nodes among the arguments."""
        return [node for node in _leaves((self.args, tuple(self.kwargs.values()))) if isinstance(node, Node)]

    def __repr__(self) -> str:
        return f"%{self.number}"


@dataclass
class Trace:
    """The operations of a step and of its vector-Jacobian product.

    Attributes:
        nodes: in the order in which they were made.
        marker: rows of the batch.
        names: of the parameters and buffers, in the order of ``tensors``.
        tensors: their nodes.
        x: the input's node.
        states: of the state before the step.
        tangent: gradient with respect to the output.
        tangents: gradient with respect to each part of the state after the step.
        output: of the step.
        new_states: the state after the step.
        grad_tensors: gradients; ``None`` where there is none.
        grad_x: likewise.
        grad_states: likewise.
        single: whether the state is a tensor and no tuple.
    """

    marker: int
    names: list[str]
    single: bool
    nodes: list[Node] = field(default_factory=list)
    tensors: list[Node] = field(default_factory=list)
    x: Node = None  # type: ignore[assignment]
    states: list[Node] = field(default_factory=list)
    tangent: Node = None  # type: ignore[assignment]
    tangents: list[Node] = field(default_factory=list)
    output: Node = None  # type: ignore[assignment]
    new_states: list[Node] = field(default_factory=list)
    grad_tensors: list[Node | None] = field(default_factory=list)
    grad_x: Node | None = None
    grad_states: list[Node | None] = field(default_factory=list)

    @property
    def random(self) -> list[Node]:
        """The nodes for which numbers are drawn at each step, in the order of drawing."""
        used = needed([self.output, *self.new_states])
        return [node for node in self.nodes if node.random and node in used]


class StepModule(nn.Module):
    """A cell whose ``forward`` is its ``step``, for ``torch.func.functional_call``."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, state: State | None) -> Any:
        """Of ``x`` alone the state before the first step."""
        return self.cell.initial_state(len(x)) if state is None else self.cell.step(x, state)  # type: ignore[operator]


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


def needed(roots: Iterable[Node | None]) -> set[Node]:
    """The nodes from which the roots are made, and they themselves."""
    seen: set[Node] = set()
    stack = [root for root in roots if root is not None]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(node.inputs())
    return seen


def name_of(op: Any) -> str:
    """An operation as its users call it."""
    return f"torch.{op.overloadpacket.__name__}" if hasattr(op, "overloadpacket") else str(op)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]


def map_leaves(function: Any, value: Any) -> Any:
    """``function`` of everything in nested tuples and lists."""
    if isinstance(value, (tuple, list)):
        return type(value)([map_leaves(function, part) for part in value])
    return function(value)


# ---- recording -------------------------------------------------------------------------------------------------

_SAME = {aten.detach, aten.alias, aten.clone, aten.lift_fresh, aten.lift_fresh_copy, aten.contiguous, aten.detach_}
_SAME_IF_ALIKE = {aten.view, aten.expand, aten._to_copy, aten.to, aten._unsafe_view, aten.reshape, aten.conj_physical}
_FULL = {
    aten.zeros: 0, aten.ones: 1, aten.zeros_like: 0, aten.ones_like: 1, aten.new_zeros: 0, aten.new_ones: 1,
    aten.empty: 0, aten.empty_like: 0, aten.new_empty: 0, aten.empty_strided: 0, aten.new_empty_strided: 0,
    aten.full: None, aten.full_like: None, aten.new_full: None, aten.scalar_tensor: None,
}  # fmt: skip
_VALUE_AT = {aten.full: 1, aten.full_like: 1, aten.new_full: 2, aten.scalar_tensor: 0}


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
        if func in self._table:
            with self:
                made = self._table[func](*args, **kwargs)
            if made is not NotImplemented:
                return made
        result = func(*args, **kwargs)
        schema = func._schema
        changed = [argument for argument in schema.arguments if argument.alias_info and argument.alias_info.is_write]
        if changed:
            return self._in_place(func, args, kwargs, result, len(changed))
        self._record(func, args, kwargs, result)
        return result

    def _record(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
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
        inputs = [leaf for leaf in _leaves((given, tuple(named.values()))) if isinstance(leaf, Node)]
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
        inputs = [leaf for leaf in _leaves((args, tuple(named.values()))) if isinstance(leaf, Node)]
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
            if other is not target:
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
    if not name.endswith("_") or found is None:
        raise NotDerivable(f"{name_of(func)} writes in place")
    return found


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


_TABLE: dict[Any, Any] = {}


def decompositions() -> dict[Any, Any]:
    """Operations that are written down as others, from those that no kernel has to know."""
    if not _TABLE:
        from torch._decomp import get_decompositions

        wanted = """
            sigmoid_backward tanh_backward threshold_backward gelu gelu_backward silu silu_backward hardtanh
            hardtanh_backward hardsigmoid hardsigmoid_backward hardswish hardswish_backward leaky_relu
            leaky_relu_backward elu elu_backward softplus softplus_backward log_sigmoid_forward log_sigmoid_backward
            _softmax _softmax_backward_data _log_softmax _log_softmax_backward_data native_layer_norm_backward
            addcmul addcdiv lerp rsub slice_backward select_backward masked_fill mish mish_backward logaddexp
            _fused_rms_norm _fused_rms_norm_backward std var var_mean logsumexp glu glu_backward softshrink hardshrink
            celu selu square frac addmv mv dot native_group_norm native_group_norm_backward xlogy hypot unfold_backward
            squeeze_copy trace linalg_vector_norm norm unsqueeze_copy threshold _prelu_kernel _prelu_kernel_backward
        """.split()  # fmt: skip
        packets = [getattr(aten, name) for name in wanted if hasattr(aten, name)]
        _TABLE.update(get_decompositions(packets))
        _TABLE[aten.native_layer_norm.default] = _layer_norm
        _TABLE[aten.addcmul.default] = lambda a, b, c, value=1: a + (b * c if value == 1 else value * (b * c))
        _TABLE[aten.lerp.Tensor] = lambda a, b, weight: a + weight * (b - a)
        _TABLE[aten.lerp.Scalar] = lambda a, b, weight: a + weight * (b - a)
        for op in [op for op in _TABLE if op._schema.arguments and op._schema.is_mutable]:
            del _TABLE[op]
    return _TABLE


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    axes = list(range(x.dim() - len(shape), x.dim()))
    mean = x.mean(axes, keepdim=True)
    centered = x - mean
    rstd = ((centered * centered).mean(axes, keepdim=True) + eps).rsqrt()
    normed = centered * rstd
    if weight is not None:
        normed = normed * weight
    if bias is not None:
        normed = normed + bias
    return normed, mean, rstd
