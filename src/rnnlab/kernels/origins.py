"""Where each number of a row comes from.

Operations that only move numbers (``chunk``, ``cat``, ``view``, slices) make nothing: a number of their result is one
of a maker's, of a value that is computed, read from memory or a parameter.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch

from rnnlab.kernels.expressions import ELEMENTWISE, Expr, Expressions
from rnnlab.kernels.nodes import INPUT, PARAMETERS, Node, NotDerivable, Trace, map_leaves, name_of

aten: Any = torch.ops.aten

LAYOUT = {
    getattr(aten, name)
    for name in """
        view _unsafe_view reshape expand permute transpose squeeze unsqueeze slice select cat stack split
        split_with_sizes chunk unbind flip roll repeat constant_pad_nd slice_scatter select_scatter narrow unflatten
        flatten movedim
    """.split()
}
"""Operations that only move numbers."""
REDUCED = {aten.sum, aten.mean, aten.amax, aten.amin}
CONVERTED = {aten.to, aten._to_copy}
COUNTED = {aten.where, aten.add, aten.sub, aten.mul, aten.neg, aten.sum, *CONVERTED}
PRODUCTS = {aten.mm, aten.addmm}
LIGHT = {aten.add, aten.sub, aten.mul, aten.neg}
"""Operations on values of the input that a kernel does in no time."""


def packet_of(node: Node) -> Any:
    """The operation without its overload."""
    return getattr(node.op, "overloadpacket", node.op)


def width_of(node: Node) -> int:
    """Numbers in a row."""
    return prod(node.tail)


def is_multiple(value: Any, marker: int) -> bool:
    """Whether a number of the trace stands for the rows of a batch, or a multiple of them."""
    return type(value) is int and value > 0 and value % marker == 0


def _mixed(node: Node) -> NotDerivable:
    """Says that a value has no row for each sequence."""
    turned = packet_of(node) in (aten.transpose, aten.permute)
    return NotDerivable(
        f"{name_of(node.op)} mixes the rows of a batch: a step must treat each row by itself"
        + (", and multiply by weights of heads as rows @ torch.block_diag(*weights)" if turned else "")
    )


@dataclass(eq=False)
class Maker:
    """What makes numbers of a row: a value of the trace that is no mere rearrangement of others, or a parameter.

    Attributes:
        number: among all.
        width: numbers in a row.
        leaf: makes an expression of a range, where the numbers lie in memory.
        node: otherwise the value.
        operands: for each argument of an element-wise operation where each of its numbers comes from, or a number.
        sources: of a product the operand's numbers; of a reduction, for each result, what is reduced.
        cuts: where it is cut.
        pieces: by their beginnings.
    """

    number: int
    width: int
    leaf: Callable[[int, int], Expr] | None = None
    node: Node | None = None
    operands: list[Any] = field(default_factory=list)
    sources: np.ndarray | None = None
    cuts: set[int] = field(default_factory=set)
    pieces: dict[int, Expr] = field(default_factory=dict)
    _tables: list[np.ndarray] = field(default_factory=list)

    def tables(self) -> list[np.ndarray]:
        """The sources, a piece of them for each result where they belong to one."""
        if self.sources is not None and not self._tables:
            self._tables = [self.sources] if self.sources.ndim == 1 else list(self.sources)
        return self._tables


SHIFT = 32
"""A number of a row is known by its maker's number, so many bits to the left, and its place in it."""
OTHER_ROW = 1 << 60


class Origins:
    """The makers of a trace, and which of them makes each number.

    Attributes:
        makers: all, by number.
        parameters: by name what kernels read as a contiguous tensor: a node, and what is done to its value, which may
            have an axis of members in front.
        inputs: by name the values that depend on x alone and are read by kernels.
    """

    def __init__(self, found: Trace, expressions: Expressions) -> None:
        self.trace, self.e = found, expressions
        self.parameters: dict[str, tuple[Node, Callable[[torch.Tensor], torch.Tensor]]] = {}
        self.inputs: dict[str, Node] = {}
        self.makers: list[Maker] = []
        self._of: dict[Any, Any] = {}
        self._leaves = {node: (f"state{number}", 0) for number, node in enumerate(found.states)}
        self._leaves[found.tangent] = ("tangent", 0)
        self._leaves |= {node: (f"carry{number}", 1) for number, node in enumerate(found.tangents)}

    def sources(self, node: Node) -> np.ndarray:
        """Of each number of a row, in the shape of the value without the batch, where it is made."""
        if node not in self._of:
            self._of[node] = self._sources(node)
        return self._of[node]

    def _whole(self, maker: Maker, tail: tuple[int, ...]) -> np.ndarray:
        return (np.arange(maker.width, dtype=np.int64) + (maker.number << SHIFT)).reshape(tail)

    def _maker(self, **options: Any) -> Maker:
        self.makers.append(Maker(len(self.makers), **options))
        return self.makers[-1]

    def _sources(self, node: Node) -> np.ndarray:
        packet, marker = packet_of(node), self.trace.marker
        if node.op == "full":
            leaf = lambda begin, end: self.e.const(node.value)  # noqa: E731
            return np.broadcast_to(self._whole(self._maker(width=1, leaf=leaf), (1,)), node.tail)
        if node.shape[:1] != (marker,):
            raise _mixed(node)
        if node in self._leaves:
            return self._whole(self._maker(width=width_of(node), leaf=self._rows(*self._leaves[node])), node.tail)
        if node.op == "item" and packet_of(node.args[0]) in LAYOUT:
            return self._layout(node.args[0], node.args[1])
        if packet in LAYOUT and all(each.shape[:1] == (marker,) for each in node.inputs()):
            return self._layout(node, None)
        if packet in CONVERTED and node.dtype == node.args[0].dtype:
            return self.sources(node.args[0])
        if node.kind == INPUT and not self._is_light(node):
            name = f"input{node.number}"
            self._check_dtype(node)
            self.inputs[name] = node
            return self._whole(self._maker(width=width_of(node), leaf=self._rows(name, 0)), node.tail)
        self._check_dtype(node)
        if packet in PRODUCTS:
            return self._product(node)
        if packet in REDUCED:
            return self._reduction(node)
        if packet in ELEMENTWISE or packet in CONVERTED:
            given = node.args[:1] if packet in CONVERTED else node.args
            operands = [None if arg is None else self._operand(arg, node) for arg in given]
            return self._whole(self._maker(width=width_of(node), node=node, operands=operands), node.tail)
        op = node.args[0].op if node.op == "item" else node.op  # of several results this is one
        raise NotDerivable(
            f"there is no kernel for {name_of(op)} on what depends on the state (there are for products, element-wise "
            "functions, sums, means, norms, softmax, chunk, cat and slices)"
        )

    def _is_light(self, node: Node) -> bool:
        """Whether a value that depends on x alone is rather computed in the kernels than for all steps before them: it
        is made of one value as wide, numbers of rows, and parameters, so that no more is read than it itself would be.
        """
        if packet_of(node) not in LIGHT or width_of(node) == 1 or set(node.kwargs) - {"alpha"}:
            return False
        wide = 0
        for arg in node.inputs():
            if arg.dtype != self.trace.x.dtype:
                return False
            if arg.kind == INPUT:
                wide += arg.shape == node.shape
                if arg.shape != node.shape and (len(arg.shape) != len(node.shape) or width_of(arg) != 1):
                    return False
            elif len(arg.shape) >= len(node.shape) and arg.op != "full":
                return False
        return wide == 1

    def _rows(self, name: str, shift: int) -> Callable[[int, int], Expr]:
        return lambda begin, end: self.e.make("rows", data=(name, begin, shift), width=end - begin)

    def _layout(self, node: Node, item: int | None) -> np.ndarray:
        """Runs an operation that moves numbers on the numbers of two rows."""

        def two_rows(value: Any) -> Any:
            if isinstance(value, Node):
                row = torch.from_numpy(self.sources(value).copy())  # of a single number, too, in its own shape
                return torch.stack([row, row + OTHER_ROW])
            return 2 * value // self.trace.marker if is_multiple(value, self.trace.marker) else value

        try:
            made = node.op(
                *map_leaves(two_rows, node.args), **{k: map_leaves(two_rows, v) for k, v in node.kwargs.items()}
            )
        except RuntimeError as error:
            raise NotDerivable(f"{name_of(node.op)} on what depends on the state") from error
        made = made if item is None else made[item]
        if made.shape[:1] == (2,):
            first, second = made
            zero = (first == 0) & (second == 0)  # filled up
            if bool(((second - first == OTHER_ROW) | zero).all()):
                filling = self._maker(width=1, leaf=lambda begin, end: self.e.const(0)).number << SHIFT
                return torch.where(zero, filling, first).contiguous().numpy()
        raise _mixed(node)

    def parameter(self, node: Node, how: str, change: Callable[[torch.Tensor], torch.Tensor], width: int) -> Maker:
        """What makes the numbers of a parameter, changed in the way that ``how`` names."""
        key = (node, how)
        if key not in self._of:
            name = f"parameter{node.number}{how}"
            self.parameters[name] = (node, change)

            def leaf(begin: int, end: int) -> Expr:
                return self.e.make("parameter", data=(name, begin), width=end - begin)

            self._of[key] = self._maker(width=width, leaf=leaf)
        return self._of[key]

    def _operand(self, arg: Any, node: Node) -> Any:
        """Where each number of an argument of an element-wise operation comes from, or the number itself."""
        if not isinstance(arg, Node):
            return arg
        tail, width = node.tail, width_of(node)
        if arg.op == "full":
            return arg.value
        if arg.kind == PARAMETERS:
            self._check_dtype(arg)
            shape: tuple[int, ...] | None = arg.shape
            if len(arg.shape) == len(node.shape) and arg.shape:
                shape = arg.shape[1:] if arg.shape[0] == 1 else None
            if shape is None or len(shape) > len(tail):
                raise NotDerivable(f"a parameter of shape {arg.shape} stands beside rows of shape {tail}")
            within, dtype, axes = tail if prod(shape) > 1 else (1,), self.trace.x.dtype, len(arg.shape)
            own = (1,) * (len(within) - len(shape)) + shape if prod(shape) > 1 else (1,)

            def expanded(value: torch.Tensor) -> torch.Tensor:
                members = value.shape[: value.dim() - axes]
                if value.shape == (*members, *within) and value.dtype == dtype:
                    return value
                # what is true is 1, a mask among the rest
                return value.reshape(*members, *own).expand(*members, *within).to(dtype)

            maker = self.parameter(arg, "x".join(map(str, within)), expanded, prod(within))
            return np.broadcast_to(self._whole(maker, (prod(within),)), (width,))
        if len(arg.shape) != len(node.shape):
            raise NotDerivable(f"{name_of(node.op)} of values with {len(arg.shape)} and {len(node.shape)} axes")
        return np.ascontiguousarray(np.broadcast_to(self.sources(arg), tail)).reshape(-1)

    def _product(self, node: Node) -> np.ndarray:
        bias, (rows, weight) = (None, node.args) if packet_of(node) is aten.mm else (node.args[0], node.args[1:3])
        if weight.kind != PARAMETERS or node.kwargs:
            raise NotDerivable("it multiplies what depends on the state by a matrix that does, too")
        self._check_dtype(weight)
        product = self._maker(width=width_of(node), node=node, sources=self.sources(rows).reshape(-1))
        whole = self._whole(product, node.tail)
        if bias is None:
            return whole
        operands = [whole.reshape(-1), self._operand(bias, node)]
        return self._whole(self._maker(width=width_of(node), node=node, operands=operands), node.tail)

    def _reduction(self, node: Node) -> np.ndarray:
        rows = self.sources(node.args[0])
        axes = node.args[1] if len(node.args) > 1 and node.args[1] else []
        axes = sorted({axis % (rows.ndim + 1) for axis in axes})
        if not axes or 0 in axes:
            raise NotDerivable(f"{name_of(node.op)} mixes the rows of a batch: a step must treat each row by itself")
        kept = [axis - 1 for axis in range(1, rows.ndim + 1) if axis not in axes]
        gone = [axis - 1 for axis in axes]
        table = rows.transpose(kept + gone).reshape(width_of(node), -1)
        return self._whole(self._maker(width=width_of(node), node=node, sources=table), node.tail)

    def _check_dtype(self, node: Node) -> None:
        # counts and signs are small enough to be exact as any kind of number
        small = node.dtype == torch.int64 and packet_of(node) in COUNTED
        if node.dtype not in (self.trace.x.dtype, torch.bool) and not small:
            raise NotDerivable(f"{name_of(node.op)} gives {node.dtype} beside {self.trace.x.dtype}")
