"""Nodes of a trace as a list of calls of PyTorch, with all that can be looked up once looked up once."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.func import vmap

from rnnlab.kernels.nodes import Node, map_leaves
from rnnlab.kernels.origins import is_multiple
from rnnlab.kernels.products import rows_times, sum_of_products

aten: Any = torch.ops.aten
CPU = torch.device("cpu")


class _Slot:
    """Where a value lies while a program runs."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class Program:
    """Nodes to be run on any number of rows.

    Args:
        nodes: in the order in which they are run; constants among them are passed over.
        results: the values that are wanted, in order.
        marker: rows of the trace.
        device: on which it runs.

    Attributes:
        given: the values that it is called with, in order: those that its nodes need and do not make.
        results: the nodes whose values it gives.
    """

    def __init__(self, nodes: Iterable[Node], results: Sequence[Node], marker: int, device: torch.device = CPU) -> None:
        self.results = list(results)
        self.marker, self.device = marker, device
        made = [node for node in nodes if node.op not in ("full", "constant", "input")]
        own = set(made)
        read = {node: node.inputs() for node in made}
        # what is turned only to be multiplied is read as it stands
        turned = [
            node for node in made if node.op is aten.mm.default and node.args[0] in own and _is_turn(node.args[0])
        ]
        read.update({node: [node.args[0].args[0], node.args[1]] for node in turned})
        needed = {arg for args in read.values() for arg in args}.union(results)
        made = [node for node in made if not _is_turn(node) or node in needed]
        leaves = [arg for node in made for arg in read[node]] + self.results
        self.given = [node for node in dict.fromkeys(leaves) if node not in own and node.op not in ("full", "constant")]
        self._slots: dict[Node, int] = {node: number for number, node in enumerate(self.given)}
        self._constants: list[Any] = []
        self._sized: list[tuple[int, int]] = []
        self._full: list[tuple[int, Node]] = []
        self._numbers: dict[int, int] = {}
        for node in leaves:
            if node.op == "constant" and node not in self._slots:
                self._slots[node] = self._constant(node.value.to(device))
            elif node.op == "full" and node not in self._slots:
                self._slots[node] = self._constant(None)
                self._full.append((self._slots[node], node))
        for node in made:
            self._slots[node] = self._constant(None)
        self._calls = [
            self._call(node) if node not in turned else self._sum_over_rows(node, *read[node]) for node in made
        ]
        stacked = [sum_over_rows if node in turned else _of_members(node) for node in made]
        known = all(stacked) and not any(node.op in ("full", "constant") for node in self.results)
        self._stacked: list[Any] = stacked if known else []
        self._wanted = [self._slots[node] for node in self.results]

    def _constant(self, value: Any) -> int:
        self._constants.append(value)
        return len(self.given) + len(self._constants) - 1

    def _sum_over_rows(self, node: Node, a: Node, b: Node) -> tuple[Any, Any, dict[str, Any], int, bool]:
        return sum_over_rows, (self._slots[a], self._slots[b]), {}, self._slots[node], False

    def _call(self, node: Node) -> tuple[Any, Any, dict[str, Any], int, bool]:
        if node.op == "item":
            whole, number = node.args
            return _item, (self._slots[whole], self._constant(number)), {}, self._slots[node], False
        function = _DIRECT.get(node.op, node.op)
        kwargs = {name: map_leaves(self._placed, arg) for name, arg in node.kwargs.items()}
        nested = any(isinstance(arg, (tuple, list)) and self._varies(arg) for arg in node.args)
        if nested or any(self._varies(arg) for arg in node.kwargs.values()):
            return function, map_leaves(self._placed, node.args), kwargs, self._slots[node], True
        places = tuple(
            self._placed(arg).number if isinstance(self._placed(arg), _Slot) else self._constant(arg)
            for arg in node.args
        )
        return function, places, kwargs, self._slots[node], False

    def _placed(self, arg: Any) -> Any:
        if isinstance(arg, Node):
            return _Slot(self._slots[arg])
        if isinstance(arg, torch.device):
            return self.device
        if is_multiple(arg, self.marker):
            if arg not in self._numbers:
                self._numbers[arg] = self._constant(None)
                self._sized.append((self._numbers[arg], arg))
            return _Slot(self._numbers[arg])
        return arg

    def _varies(self, arg: Any) -> bool:
        if isinstance(arg, (tuple, list)):
            return any(map(self._varies, arg))
        return isinstance(arg, Node) or is_multiple(arg, self.marker)

    def __call__(self, values: Iterable[Any], rows: int) -> list[Any]:
        """Runs it.

        Args:
            values: of the nodes :attr:`given`.
            rows: of a batch, in place of those of the trace.

        Returns:
            The values of the nodes :attr:`results`.
        """
        return self._run(self._calls, values, rows)

    def of_members(self, values: Sequence[Tensor], rows: int) -> Sequence[Any]:
        """As a call, for all members of a fleet: each value has an axis of members in front."""
        if not self.results:
            return []
        if not self._stacked:
            return vmap(lambda *own: tuple(self(own, rows)))(*values)
        calls = [(function, *call[1:]) for function, call in zip(self._stacked, self._calls, strict=True)]
        return self._run(calls, values, rows)

    def _run(self, calls: Sequence[Any], values: Iterable[Any], rows: int) -> list[Any]:
        slots = [*values, *self._constants]
        marker = self.marker
        for number, size in self._sized:
            slots[number] = rows * size // marker
        for number, node in self._full:
            shape = [rows * size // marker if is_multiple(size, marker) else size for size in node.shape]
            slots[number] = torch.full(shape, node.value, dtype=node.dtype, device=self.device)
        for function, places, kwargs, result, nested in calls:
            if nested:

                def value(arg: Any) -> Any:
                    return slots[arg.number] if isinstance(arg, _Slot) else arg

                named = {name: map_leaves(value, arg) for name, arg in kwargs.items()}
                slots[result] = function(*map_leaves(value, places), **named)
            else:
                slots[result] = function(*[slots[place] for place in places], **kwargs)
        return [slots[place] for place in self._wanted]


def _of_members(node: Node) -> Callable[..., Any] | None:
    """What gives a node's values for all members of those of its arguments, all with an axis of members in front;
    ``None`` where that is left to ``vmap``, which takes longer than what a small fleet computes.
    """
    op, args = node.op, node.args
    if op == "item":
        return _item
    if node.kwargs or not isinstance(args[0], Node) or _is_shared(args[0]):
        return None
    first = len(args[0].shape)
    if op in (aten.mm.default, aten.addmm.default):
        return None if any(map(_is_shared, args)) else _DIRECT[op]
    if op is aten.t.default and first == 2:
        return _turned
    if op in (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor):
        other = args[1]
        # a scalar, or what all members share, stands beside any value; otherwise both have as many axes
        if not isinstance(other, Node) or _is_shared(other) or len(other.shape) == first:
            return _DIRECT.get(op, op)
    if op in (aten.sum.dim_IntList, aten.mean.dim):
        return partial(_reduced, op)
    if op in (aten.view.default, aten._unsafe_view.default):
        return _viewed
    if op is aten.split.Tensor:
        return _split
    if op is aten.native_layer_norm.default and not any(isinstance(arg, Node) for arg in args[1:]):
        return op  # over the last axes
    return op if op in _ALONE else None


def _is_turn(node: Any) -> bool:
    return isinstance(node, Node) and node.op is aten.t.default


def _is_shared(node: Node) -> bool:
    """Whether all members have the same value, without an axis of members."""
    return node.op in ("full", "constant")


def _turned(a: Tensor) -> Tensor:
    return a.transpose(-2, -1)


def _reduced(op: Any, a: Tensor, axes: Sequence[int], keepdim: bool = False) -> Tensor:
    return op(a, [axis + (axis >= 0) for axis in axes], keepdim)


def _viewed(a: Tensor, shape: Sequence[int]) -> Tensor:
    return a.reshape(len(a), *shape)


def _split(a: Tensor, size: int, axis: int = 0) -> Sequence[Tensor]:
    return a.split(size, axis + (axis >= 0))


def draw(nodes: Sequence[Node], marker: int, batch: int, time: int, device: torch.device = CPU) -> dict[Node, Tensor]:
    """The random numbers of all steps, ``(time, batch, …)``, drawn in the order in which the loop draws them."""
    drawn: dict[Node, list[Tensor]] = {node: [] for node in nodes}
    programs = {node: Program([node], [node], marker, device) for node in nodes}
    for _ in range(time):
        for node in nodes:
            drawn[node].append(programs[node]([], batch)[0])
    return {node: torch.stack(each) if each else torch.empty(0, device=device) for node, each in drawn.items()}


def _item(values: Sequence[Any], number: int) -> Any:
    return values[number]


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b``: a weight's gradient, whose ``a`` has a column for each row of ``b``, or rows times a weight."""
    if torch._C._are_functorch_transforms_active():
        return _OfMembers.apply(None, a, b)
    found = sum_of_products(a.transpose(-2, -1), b) if a.stride(-2) == 1 else rows_times(a, b)
    return torch.matmul(a, b) if found is None else found


def sum_over_rows(a: Tensor, b: Tensor) -> Tensor:
    """``aᵀ @ b``: a weight's gradient."""
    if torch._C._are_functorch_transforms_active():
        return _OfMembers.apply(None, a.transpose(-2, -1), b)
    found = sum_of_products(a, b)
    return torch.matmul(a.transpose(-2, -1), b) if found is None else found


def affine(bias: Tensor, a: Tensor, b: Tensor, **options: Any) -> Tensor:
    """``a @ b + bias``."""
    if options:
        return torch.addmm(bias, a, b, **options)
    if torch._C._are_functorch_transforms_active():
        return _OfMembers.apply(bias, a, b)
    found = rows_times(a, b, bias)
    if found is not None:
        return found
    return torch.addmm(bias, a, b) if a.dim() == 2 else torch.matmul(a, b) + bias.unsqueeze(-2)


class _OfMembers(Function):
    """A product under ``vmap``: for all members together, where none is differentiated."""

    @staticmethod
    def forward(bias: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
        return product(a, b) if bias is None else affine(bias, a, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], bias: Tensor | None, a: Tensor, b: Tensor) -> tuple[Any, int]:
        def every(tensor: Tensor, axis: int | None) -> Tensor:
            return tensor.expand(info.batch_size, *tensor.shape) if axis is None else tensor.movedim(axis, 0)

        a, b = every(a, in_dims[1]), every(b, in_dims[2])
        return product(a, b) if bias is None else affine(every(bias, in_dims[0]), a, b), 0


_DIRECT: dict[Any, Callable[..., Tensor]] = {
    aten.t.default: Tensor.t,
    aten.view.default: Tensor.view,
    aten.mm.default: product,
    aten.addmm.default: affine,
    aten.add.Tensor: torch.add,
    aten.sub.Tensor: torch.sub,
    aten.mul.Tensor: torch.mul,
}
"""What is called in place of an operation."""
_ALONE = {
    getattr(aten, name).default for name in "neg tanh sigmoid exp log sqrt rsqrt reciprocal relu sin cos abs".split()
}
"""Operations on one value, number by number."""
