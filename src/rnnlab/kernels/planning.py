"""What the two kernels of a traced step compute, as expressions on pieces of a row, and what is left to products.

A value of the trace ``(batch, …)`` is a row of numbers for each sequence. Operations that only move numbers (``chunk``,
``cat``, ``view``, slices) cost nothing: every other value is cut into the pieces that its users take from it, so that
each piece is made from whole pieces. The forward kernel takes the state over one step. The backward kernel takes the
gradient back over one step and hands out the rows (edges) from which the gradients of parameters and of x are found
by matrix products over many steps at once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import torch

from rnnlab.kernels.tracing import (
    BACKWARD,
    INPUT,
    PARAMETERS,
    STATE,
    Node,
    NotDerivable,
    Trace,
    map_leaves,
    name_of,
    needed,
)

aten: Any = torch.ops.aten

MOST_PIECES = 40
"""Of one value: beyond that a kernel's text grows out of hand."""


class Expr:
    """An expression: an operation on others, of ``width`` numbers a row; one of width 1 stands beside any other.

    ``rows`` (buffer, offset, shift) reads a row of a buffer, ``shift`` steps later; ``parameter`` (name, offset) and
    ``const`` (number) are the same for all rows; ``mm`` (weight, column, columns) is the product of its arguments, side
    by side, and some columns of a weight; ``rowsum`` and ``rowmax`` take a row to one number.

    Equal expressions are one object, and come after those that they are made of.
    """

    __slots__ = ("args", "boolean", "data", "number", "op", "width")

    def __init__(self, op: str, args: tuple["Expr", ...], data: tuple[Any, ...], width: int, number: int) -> None:
        self.op, self.args, self.data, self.width, self.number = op, args, data, width, number
        self.boolean: bool = op in TESTS or (op == "where" and args[1].boolean) or (op == "spread" and args[0].boolean)

    def __repr__(self) -> str:
        return f"{self.op}#{self.number}"


TESTS = {"eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "xor"}
LEAVES = {"rows", "parameter", "const"}
CHEAP = {"add", "sub", "mul", "neg", "abs", "max", "min", "where", *TESTS}
"""Operations that are rather done again than read from memory."""

Place = tuple[str, int, int]
"""A buffer, the first number in its row, and steps later."""


@dataclass
class Kernel:
    """One direction.

    Attributes:
        reverse: from the last step to the first.
        writes: what it writes where.
        sizes: of the buffers that it is handed: numbers in a row, 0 for parameters. ``start`` (a row for each
            sequence) is the state before its first step, ``begun`` its gradient, ``ended`` that of its last state.
    """

    reverse: bool
    writes: dict[Place, Expr] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def expressions(self) -> list[Expr]:
        """All that it needs, each after those that it is made of."""
        return below(self.writes.values())


@dataclass
class Plan:
    """How a traced step is run.

    Attributes:
        trace: the step.
        forward: the kernel.
        backward: the kernel.
        parameters: by name what is handed to the kernels as a contiguous tensor: a node, and what is done to its value.
        inputs: by name the values that depend on x alone and are read by the kernels.
        edges: by name the nodes that the backward kernel writes for the operations after it.
        saved: numbers a row that the forward kernel keeps for the backward one.
        before: nodes that are computed from parameters alone.
        of_inputs: nodes that depend on x alone.
        after: nodes that are computed from the edges, for the gradients of parameters and of x.
        rows_for_after: nodes that these need of the steps, and which no kernel writes.
        output: the number of the state's part that is the output, or ``None``.
    """

    trace: Trace
    forward: Kernel
    backward: Kernel
    parameters: dict[str, tuple[Node, Callable[[torch.Tensor], torch.Tensor]]]
    inputs: dict[str, Node]
    edges: dict[str, Node]
    saved: int
    before: list[Node]
    of_inputs: list[Node]
    after: list[Node]
    rows_for_after: list[Node]
    output: int | None


def below(roots: Iterable[Expr]) -> list[Expr]:
    """The roots and all they are made of, each after those that it is made of."""
    seen: dict[Expr, None] = {}
    stack = list(roots)
    while stack:
        expr = stack.pop()
        if expr not in seen:
            seen[expr] = None
            stack.extend(expr.args)
    return sorted(seen, key=lambda expr: expr.number)


def width_of(node: Node) -> int:
    """Numbers in a row."""
    return prod(node.tail)


# ---- expressions -----------------------------------------------------------------------------------------------


class Expressions:
    """Makes expressions."""

    def __init__(self) -> None:
        self._known: dict[Any, Expr] = {}

    def make(self, op: str, *args: Expr, data: tuple[Any, ...] = (), width: int = 0) -> Expr:
        """The expression, in its simplest form."""
        if op == "spread":
            (width,) = data
            if width == 1:
                return args[0]
        elif op in ("mm", "rowsum", "rowmax"):
            args = tuple(map(self._number, args))
        elif op not in LEAVES:
            args = self._converted(op, args)
            width = max(arg.width for arg in args)
            simple = self._simple(op, args, width)
            if simple is not None:
                return simple
        key = (op, args, data, width)
        if key not in self._known:
            self._known[key] = Expr(op, args, data, width, len(self._known))
        return self._known[key]

    def const(self, value: float) -> Expr:
        """A number."""
        return self.make("const", data=(float(value),), width=1)

    def _converted(self, op: str, args: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """Arguments as numbers or as truth values, as the operation wants them."""
        if op in ("and", "or", "not", "xor"):
            return tuple(map(self._truth, args))
        if op == "where":
            condition, *values = args
            alike = all(value.boolean for value in values)
            return (self._truth(condition), *(values if alike else map(self._number, values)))
        return tuple(map(self._number, args))

    def _truth(self, expr: Expr) -> Expr:
        return expr if expr.boolean else self.make("ne", expr, self.const(0))

    def _number(self, expr: Expr) -> Expr:
        return self.make("where", expr, self.const(1), self.const(0)) if expr.boolean else expr

    def _simple(self, op: str, args: tuple[Expr, ...], width: int) -> Expr | None:
        values: list[Any] = [arg.data[0] if arg.op == "const" else None for arg in args]
        if len(args) == 2 and None not in values and op in ("add", "sub", "mul"):
            first, second = values
            return self.const({"add": first + second, "sub": first - second, "mul": first * second}[op])
        if op in ("add", "sub") and values[1] == 0 and args[0].width == width:
            return args[0]
        if op == "add" and values[0] == 0 and args[1].width == width:
            return args[1]
        if op == "mul":
            for number, other in ((0, 1), (1, 0)):
                if values[number] == 1 and args[other].width == width:
                    return args[other]
        if op == "div" and values[1] == 1 and args[0].width == width:
            return args[0]
        return None


def _elementwise() -> dict[Any, Callable[..., Expr]]:
    """By operation what makes its expression of the arguments' expressions."""

    def plain(name: str) -> Callable[..., Expr]:
        return lambda e, *args: e.make(name, *args)

    def added(name: str) -> Callable[..., Expr]:
        def make(e: Expressions, a: Expr, b: Expr, alpha: float = 1) -> Expr:
            return e.make(name, a, b if alpha == 1 else e.make("mul", b, e.const(alpha)))

        return make

    def clamp(e: Expressions, a: Expr, low: Expr | None = None, high: Expr | None = None) -> Expr:
        a = a if low is None else e.make("max", a, low)
        return a if high is None else e.make("min", a, high)

    def power(e: Expressions, a: Expr, b: Expr) -> Expr:
        value = b.data[0] if b.op == "const" else None
        if value in (1.0, 2.0, 3.0, 4.0):
            square = e.make("mul", a, a)
            return {1: a, 2: square, 3: e.make("mul", square, a), 4: e.make("mul", square, square)}[int(value)]
        if value == 0.0:
            return e.const(1)
        if value == 0.5:
            return e.make("sqrt", a)
        if value == -1.0:
            return e.make("div", e.const(1), a)
        if value == -0.5:
            return e.make("div", e.const(1), e.make("sqrt", a))
        return e.make("pow", a, b)

    def sign(e: Expressions, a: Expr) -> Expr:
        zero, one, minus = e.const(0), e.const(1), e.const(-1)
        return e.make("where", e.make("gt", a, zero), one, e.make("where", e.make("lt", a, zero), minus, zero))

    table: dict[Any, Callable[..., Expr]] = {
        aten.add: added("add"), aten.sub: added("sub"),
        aten.rsub: lambda e, a, b, alpha=1: added("sub")(e, b, a, alpha),
        aten.mul: plain("mul"), aten.div: plain("div"), aten.neg: plain("neg"), aten.abs: plain("abs"),
        aten.relu: lambda e, a: e.make("max", a, e.const(0)),
        aten.reciprocal: lambda e, a: e.make("div", e.const(1), a),
        aten.rsqrt: lambda e, a: e.make("div", e.const(1), e.make("sqrt", a)), aten.clamp: clamp,
        aten.clamp_min: clamp, aten.clamp_max: lambda e, a, high: clamp(e, a, None, high), aten.pow: power,
        aten.square: lambda e, a: e.make("mul", a, a), aten.sign: sign, aten.sgn: sign,
        aten.where: plain("where"),
        aten.masked_fill: lambda e, a, mask, value: e.make("where", mask, value, a),
        aten.logical_and: plain("and"), aten.bitwise_and: plain("and"),
        aten.__and__: plain("and"),
        aten.__or__: plain("or"),
        aten.__xor__: plain("xor"),
        aten.logical_or: plain("or"), aten.bitwise_or: plain("or"), aten.logical_not: plain("not"),
        aten.bitwise_not: plain("not"), aten.logical_xor: plain("xor"), aten.bitwise_xor: plain("xor"),
        aten.maximum: plain("max"), aten.minimum: plain("min"), aten.isnan: lambda e, a: e.make("ne", a, a),
    }  # fmt: skip
    same = """
        sigmoid tanh exp log log1p sqrt floor ceil round trunc eq ne lt le gt ge
        sin cos tan asin acos atan sinh cosh erf erfc expm1 exp2 log2 log10 atan2
    """.split()
    table.update({getattr(aten, name): plain(name) for name in same})
    return table


ELEMENTWISE = _elementwise()
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


def packet_of(node: Node) -> Any:
    """The operation without its overload."""
    return getattr(node.op, "overloadpacket", node.op)


# ---- cutting values into pieces ---------------------------------------------------------------------------------


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


class Pieces:
    """The values that kernels compute, in pieces."""

    def __init__(self, found: Trace) -> None:
        self.trace, self.e = found, Expressions()
        self.parameters: dict[str, tuple[Node, Callable[[torch.Tensor], torch.Tensor]]] = {}
        self.inputs: dict[str, Node] = {}
        self.makers: list[Maker] = []
        self._of: dict[Any, Any] = {}
        self._breaks: dict[int, tuple[np.ndarray, frozenset[int]]] = {}
        self._leaves = {node: (f"state{number}", 0) for number, node in enumerate(found.states)}
        self._leaves[found.tangent] = ("tangent", 0)
        self._leaves |= {node: (f"carry{number}", 1) for number, node in enumerate(found.tangents)}

    # ---- where numbers come from
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
            raise NotDerivable(f"{name_of(node.op)} mixes the rows of a batch: a step must treat each row by itself")
        if node in self._leaves:
            return self._whole(self._maker(width=width_of(node), leaf=self._rows(*self._leaves[node])), node.tail)
        if node.op == "item" and packet_of(node.args[0]) in LAYOUT:
            return self._layout(node.args[0], node.args[1])
        if packet in LAYOUT and all(each.shape[:1] == (marker,) for each in node.inputs()):
            return self._layout(node, None)
        if packet in CONVERTED and node.dtype == node.args[0].dtype:
            return self.sources(node.args[0])
        if node.kind == INPUT:
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
        raise NotDerivable(f"there is no kernel for {name_of(node.op)} on what depends on the state")

    def _rows(self, name: str, shift: int) -> Callable[[int, int], Expr]:
        return lambda begin, end: self.e.make("rows", data=(name, begin, shift), width=end - begin)

    def _layout(self, node: Node, item: int | None) -> np.ndarray:
        """Runs an operation that moves numbers on the numbers of two rows."""

        def two_rows(value: Any) -> Any:
            if isinstance(value, Node):
                row = torch.from_numpy(np.ascontiguousarray(self.sources(value)))
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
        raise NotDerivable(f"{name_of(node.op)} mixes the rows of a batch: a step must treat each row by itself")

    def _parameter(self, node: Node, how: str, change: Callable[[torch.Tensor], torch.Tensor], width: int) -> Maker:
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
            if arg.dtype == torch.bool:
                raise NotDerivable("it chooses by a constant mask: write it as numbers")
            shape: tuple[int, ...] | None = arg.shape
            if len(arg.shape) == len(node.shape) and arg.shape:
                shape = arg.shape[1:] if arg.shape[0] == 1 else None
            if shape is None or len(shape) > len(tail):
                raise NotDerivable(f"a parameter of shape {arg.shape} stands beside rows of shape {tail}")
            if prod(shape) == 1:
                maker = self._parameter(arg, "", partial(torch.reshape, shape=(1,)), 1)
                return np.broadcast_to(self._whole(maker, (1,)), (width,))

            def expanded(value: torch.Tensor) -> torch.Tensor:
                return value.reshape(shape).expand(tail)

            maker = self._parameter(arg, "x".join(map(str, tail)), expanded, width)
            return self._whole(maker, (width,))
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

    # ---- cutting
    def _runs(self, array: np.ndarray, cuts: Iterable[int] = ()) -> list[tuple[int, int, int, int]]:
        """As :func:`runs`, of an array that is asked about again and again while cuts are brought into line."""
        known = self._breaks.get(id(array))
        if known is None:
            known = self._breaks[id(array)] = array, frozenset(breaks(array))
        return stretches(array, known[1].union(cut for cut in cuts if 0 < cut < len(array)))

    def cut(self, roots: Iterable[Node]) -> None:
        """Cuts all that the roots need, and makes the pieces."""
        roots = list(roots)
        for node in sorted(needed(roots), key=lambda node: node.number):
            if node.kind >= STATE and node.dtype is not None:
                self.sources(node)  # in order, so that none asks deeply for what it is made of
        users = [self.sources(root).reshape(-1) for root in roots]
        computed = [maker for maker in self.makers if maker.leaf is None]
        for maker in computed:
            if maker.sources is not None and maker.sources.ndim == 2:
                maker.cuts.update(range(1, maker.width))
        changed = True
        while changed:
            changed = False
            for maker in reversed(computed):
                changed |= self._align(maker)
            for user in users:
                changed |= self._cut_at_ends(self._runs(user))
        for maker in computed:
            if len(maker.cuts) >= MOST_PIECES:
                raise NotDerivable(f"a value of {maker.width} numbers falls into too many pieces")
        for maker in computed:
            edges = [0, *sorted(maker.cuts), maker.width]
            for begin, end in pairwise(edges):
                maker.pieces[begin] = self._piece(maker, begin, end)

    def _cut_at_ends(self, ranges: Iterable[tuple[int, int, int, int]]) -> bool:
        changed = False
        for _, _, first, last in ranges:
            maker = self.makers[first >> SHIFT]
            if maker.leaf is None:
                before = len(maker.cuts)
                place, end = first & ((1 << SHIFT) - 1), (last & ((1 << SHIFT) - 1)) + 1
                maker.cuts |= {at for at in (place, end) if 0 < at < maker.width}
                changed |= len(maker.cuts) > before
        return changed

    def _align(self, maker: Maker) -> bool:
        """Brings the cuts of a value and of what it is made from into line."""
        before = len(maker.cuts)
        if maker.sources is not None:
            changed = False
            for table in maker.tables():
                changed |= self._cut_at_ends(self._runs(table))
            return changed
        arrays = [operand for operand in maker.operands if isinstance(operand, np.ndarray)]
        for array in arrays:
            found = self._runs(array)
            maker.cuts.update(begin for begin, _, _, _ in found if begin)
            for begin, end, first, last in found:
                source = self.makers[first >> SHIFT]
                if source.leaf is None and last > first:
                    place = first & ((1 << SHIFT) - 1)
                    maker.cuts.update(begin + at - place for at in source.cuts if place < at < place + end - begin)
        changed = len(maker.cuts) > before
        edges = sorted(maker.cuts)
        for array in arrays:
            changed |= self._cut_at_ends(self._runs(array, edges))
        return changed

    # ---- making
    def pieces(self, node: Node) -> list[tuple[int, Expr]]:
        """The expressions of a row, each with its beginning."""
        found: list[tuple[int, Expr]] = []
        for begin, end, first, last in runs(self.sources(node).reshape(-1)):
            at = begin
            exprs = self._range(first, last)
            if last == first:
                exprs = [self.e.make("spread", expr, data=(end - begin,)) for expr in exprs]
            for expr in exprs:
                found.append((at, expr))
                at += expr.width
        return found

    def _range(self, first: int, last: int) -> list[Expr]:
        maker = self.makers[first >> SHIFT]
        begin, end = first & ((1 << SHIFT) - 1), (last & ((1 << SHIFT) - 1)) + 1
        if maker.leaf is not None:
            return [maker.leaf(begin, end)]
        found = []
        while begin < end:
            piece = maker.pieces[begin]
            found.append(piece)
            begin += self._piece_width(maker, begin)
        return found

    def _piece_width(self, maker: Maker, begin: int) -> int:
        return min([cut for cut in maker.cuts if cut > begin], default=maker.width) - begin

    def _one(self, array: np.ndarray, begin: int, end: int) -> Expr:
        found = self._range(int(array[begin]), int(array[end - 1]))
        assert len(found) == 1
        return found[0]

    def _piece(self, maker: Maker, begin: int, end: int) -> Expr:
        node, e = maker.node, self.e
        assert node is not None
        packet = packet_of(node)
        if maker.sources is None:
            args: list[Any] = []
            for operand in maker.operands:
                if isinstance(operand, np.ndarray):
                    args.append(self._one(operand, begin, end))
                else:
                    args.append(None if operand is None else e.const(operand))
            if packet is aten.addmm:
                made = e.make("add", *args)
            elif packet in CONVERTED:
                made = (
                    e.make("ne", args[0], e.const(0))
                    if node.dtype == torch.bool
                    else e.make("mul", args[0], e.const(1))
                )
            else:
                alpha = node.kwargs.get("alpha", 1)
                if set(node.kwargs) - {"alpha"}:
                    raise NotDerivable(f"{name_of(node.op)} with {', '.join(node.kwargs)}")
                made = ELEMENTWISE[packet](e, *args, *([] if alpha == 1 else [alpha]))
            if made.width != end - begin:
                # made of numbers that are the same in all of the piece
                made = e.make("spread", made, data=(end - begin,))
            return made
        if packet in PRODUCTS:
            return self._product_piece(node, maker.sources, begin, end)
        row = maker.sources[begin]
        parts: list[Expr] = []
        for b, n, first, last in runs(row):
            found = self._range(first, last)
            again = last == first and packet in (aten.sum, aten.mean)
            parts += [e.make("mul", expr, e.const(n - b)) for expr in found] if again else found
        return self._reduced(packet, parts, len(row))

    def _product_piece(self, node: Node, sources: np.ndarray, begin: int, end: int) -> Expr:
        e, columns = self.e, node.shape[1]
        weight = node.args[-1] if packet_of(node) is aten.mm else node.args[2]
        operands: list[Expr] = []
        for b, n, first, last in runs(sources):
            found = self._range(first, last)
            operands += found if last > first else found * (n - b)
        if len(operands) > MOST_PIECES:
            raise NotDerivable("a product of too many pieces")
        if end - begin > 1:
            name = f"weight{weight.number}"
            self.parameters[name] = (weight, as_it_is)
            return e.make("mm", *operands, data=(name, begin, columns), width=end - begin)
        # one column: each row times that column, summed up
        maker = self._parameter(weight, f"column{begin}", lambda value: value[:, begin], weight.shape[0])
        assert maker.leaf is not None
        terms, at = [], 0
        for operand in operands:
            terms.append(e.make("mul", operand, maker.leaf(at, at + operand.width)))
            at += operand.width
        return self._reduced(aten.sum, terms, at)

    def _reduced(self, packet: Any, parts: list[Expr], count: int) -> Expr:
        """Parts of a row to one number: those of one width are put together first."""
        e = self.e
        name, over = ("add", "rowsum") if packet in (aten.sum, aten.mean) else ("max", "rowmax")
        if packet is aten.amin:
            parts = [e.make("neg", part) for part in parts]
        by_width: dict[int, Expr] = {}
        for part in parts:
            known = by_width.get(part.width)
            by_width[part.width] = part if known is None else e.make(name, known, part)
        total: Expr | None = None
        for width, part in by_width.items():
            number = part if width == 1 else e.make(over, part, width=1)
            total = number if total is None else e.make(name, total, number)
        assert total is not None
        if packet is aten.mean:
            return e.make("mul", total, e.const(1 / count))
        return e.make("neg", total) if packet is aten.amin else total


def as_it_is(value: torch.Tensor) -> torch.Tensor:
    """What is done to a parameter that a kernel reads as it is."""
    return value


def is_multiple(value: Any, marker: int) -> bool:
    """Whether a number of the trace stands for the rows of a batch, or a multiple of them."""
    return type(value) is int and value > 0 and value % marker == 0


def runs(array: np.ndarray, cuts: Iterable[int] = ()) -> list[tuple[int, int, int, int]]:
    """Begin, end, first and last number of stretches of numbers that follow each other, or are all the same."""
    return stretches(array, breaks(array).union(cut for cut in cuts if 0 < cut < len(array)))


def breaks(array: np.ndarray) -> set[int]:
    """Where such stretches end."""
    if len(array) == 1:
        return set()
    steps = array[1:] - array[:-1]
    alike = (steps == 0) | (steps == 1)
    found = set(((~alike).nonzero()[0] + 1).tolist())
    turned = alike[1:] & alike[:-1] & (steps[1:] != steps[:-1])
    return found | set((turned.nonzero()[0] + 2).tolist())


def stretches(array: np.ndarray, edges: Iterable[int]) -> list[tuple[int, int, int, int]]:
    """Begin, end, first and last number of what lies between edges."""
    return [(b, n, int(array[b]), int(array[n - 1])) for b, n in pairwise([0, *sorted(edges), len(array)])]


# ---- the plan ----------------------------------------------------------------------------------------------------


def plan(found: Trace) -> Plan:
    """Shares a traced step out among the kernels and the operations around them.

    Raises:
        NotDerivable: something of it can't be done in a kernel.
    """
    pieces = Pieces(found)
    results = [found.output, *found.new_states]
    carried = needed(found.grad_states)
    wanted = [*found.grad_tensors, found.grad_x]
    after: set[Node] = set()
    for node in sorted(needed(wanted), key=lambda node: node.number):
        if node.kind == BACKWARD and node not in carried and not _row_by_row(node, after, found.marker):
            after.add(node)
    edges: list[Node] = []
    rows_for_after: list[Node] = []
    roots = [root for root in wanted if root is not None and root not in after and root.kind >= STATE]
    done = sorted(after, key=lambda node: node.number)
    for node in [*(arg for user in done for arg in user.inputs()), *roots]:
        if node in after:
            continue
        if node.kind == INPUT or node in found.states:
            rows_for_after.append(node)
        elif node.kind >= STATE:
            edges.append(node)
    edges, rows_for_after = list(dict.fromkeys(edges)), list(dict.fromkeys(rows_for_after))
    grads = [grad for grad in found.grad_states if grad is not None]
    pieces.cut([*results, *grads, *edges])

    forward, backward = Kernel(False), Kernel(True)
    for number, node in enumerate(found.new_states):
        forward.writes |= {(f"state{number}", at, 1): expr for at, expr in pieces.pieces(node)}
    output = next((number for number, node in enumerate(found.new_states) if node is found.output), None)
    if output is None:
        forward.writes |= {("output", at, 0): expr for at, expr in pieces.pieces(found.output)}
    for number, (state, grad) in enumerate(zip(found.states, found.grad_states, strict=True)):
        zero = pieces.e.make("spread", pieces.e.const(0), data=(width_of(state),))
        made = [(0, zero)] if grad is None else pieces.pieces(grad)
        backward.writes |= {(f"carry{number}", at, 0): expr for at, expr in made}
    names = {f"edge{node.number}": node for node in edges}
    for name, node in names.items():
        backward.writes |= {(name, at, 0): expr for at, expr in pieces.pieces(node)}
    saved = _save(pieces, forward, backward)

    used = {
        expr.data[0]
        for kernel in (forward, backward)
        for expr in kernel.expressions()
        if expr.op in ("rows", "parameter", "mm")
    }
    inputs = {name: node for name, node in pieces.inputs.items() if name in used}
    parameters = {name: value for name, value in pieces.parameters.items() if name in used}
    rows = {f"state{number}": width_of(state) for number, state in enumerate(found.states)}
    rows |= {name: width_of(node) for name, node in inputs.items()} | {"saved": saved}
    vectors = dict.fromkeys(parameters, 0)
    hidden = width_of(found.output)

    def of_states(name: str) -> dict[str, int]:
        return {f"{name}{number}": width_of(state) for number, state in enumerate(found.states)}

    forward.sizes = {**rows, **of_states("start"), "output": hidden, **vectors}
    backward.sizes = {
        **rows,
        **of_states("carry"),
        **of_states("begun"),
        **of_states("ended"),
        "tangent": hidden,
        **{n: width_of(node) for n, node in names.items()},
        **vectors,
    }
    basis = needed(
        [*inputs.values(), *(node for node, _ in parameters.values()), *(a for n in done for a in n.inputs())]
    )
    ordered = [node for node in sorted(basis, key=lambda node: node.number) if node.op != "input"]
    return Plan(
        trace=found, forward=forward, backward=backward, parameters=parameters, inputs=inputs, edges=names, saved=saved,
        before=[node for node in ordered if node.kind == PARAMETERS],
        of_inputs=[node for node in ordered if node.kind == INPUT],
        after=done, rows_for_after=rows_for_after, output=output,
    )  # fmt: skip


def _row_by_row(node: Node, after: set[Node], marker: int) -> bool:
    """Whether a value of the backward pass can be left to the kernel."""
    packet = packet_of(node.args[0]) if node.op == "item" else packet_of(node)
    if node.op == "input":
        return True
    if node.shape[:1] != (marker,) and node.dtype is not None:
        return False
    if packet in REDUCED and (len(node.args) < 2 or not node.args[1] or 0 in node.args[1]):
        return False
    if packet not in ELEMENTWISE and packet not in LAYOUT and packet not in REDUCED:
        return False
    return not any(arg in after for arg in node.inputs())


def _save(pieces: Pieces, forward: Kernel, backward: Kernel) -> int:
    """Decides what the forward kernel keeps; the backward kernel then starts from that."""
    e = pieces.e
    computed = set(forward.expressions())
    reads_state: dict[Expr, bool] = {}
    for expr in below([*forward.writes.values(), *backward.writes.values()]):
        leaf = expr.op == "rows" and expr.data[0].startswith("state")
        reads_state[expr] = leaf or any(reads_state[arg] for arg in expr.args)
    # what both passes need, where the backward one first meets it
    frontier: dict[Expr, None] = {}
    stack, seen = list(backward.writes.values()), set[Expr]()
    while stack:
        expr = stack.pop()
        if expr in seen or expr.op in LEAVES:
            continue
        seen.add(expr)
        if expr in computed and reads_state[expr]:
            frontier[expr] = None
        else:
            stack.extend(expr.args)
    kept: dict[Expr, Expr] = {}
    for (name, at, shift), expr in forward.writes.items():
        if expr in frontier and name.startswith("state"):
            kept.setdefault(expr, e.make("rows", data=(name, at, shift), width=expr.width))
    saved = 0

    def keep(expr: Expr) -> None:
        nonlocal saved
        forward.writes["saved", saved, 0] = expr
        row = e.make("rows", data=("saved", saved, 0), width=expr.width)
        kept[expr] = e.make("ne", row, e.const(0)) if expr.boolean else row
        saved += expr.width

    ordered = sorted(frontier, key=lambda expr: expr.number)
    for expr in ordered:
        if expr not in kept and expr.op not in CHEAP:
            keep(expr)
    cheap: dict[Expr, bool] = {}
    for expr in below(ordered):
        again = expr.op in ("parameter", "const", "rows") or (expr.op in CHEAP and all(cheap[arg] for arg in expr.args))
        cheap[expr] = expr in kept or again
    for expr in ordered:
        if expr not in kept and not cheap[expr]:
            keep(expr)
    replaced: dict[Expr, Expr] = {}
    for expr in below(backward.writes.values()):
        if expr in kept:
            replaced[expr] = kept[expr]
        elif expr.op in LEAVES:
            replaced[expr] = expr
        else:
            replaced[expr] = e.make(expr.op, *(replaced[arg] for arg in expr.args), data=expr.data, width=expr.width)
    backward.writes = {place: replaced[expr] for place, expr in backward.writes.items()}
    return saved
