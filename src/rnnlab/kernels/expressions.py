"""Expressions on pieces of rows: what the kernels of a step are written as, before they are printed."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

aten: Any = torch.ops.aten


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
