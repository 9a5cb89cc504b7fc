"""Products over many rows in code of our own: the sum over rows of the product of two, and rows times a weight.

They are what a layer leaves to products beside its kernels: gradients of weights, projections of the input. A general
library copies its operands first, and on some processors leaves half of the width of the vector registers unused.
"""

import ctypes
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from rnnlab.kernels import native
from rnnlab.kernels.llvm_text import Machine, Text
from rnnlab.kernels.threads import share_out

BLOCK = 256
"""Rows that are gone through at a time, so that they are still in the cache for the next tile."""
TILES = 8
"""Of a block of rows that are gone through for the same columns of a weight."""
LEAST = 64
"""Fewer rows are left to PyTorch."""


def sum_of_products(a: Tensor, b: Tensor) -> Tensor | None:
    """``aᵀ b`` of ``(…, rows, m)`` and ``(…, rows, n)``; ``None`` where that is left to PyTorch."""
    rows, m = a.shape[-2:]
    n = b.shape[-1]
    if rows < LEAST or not (_suits(a) and _suits(b)):
        return None
    function, tiles, turned = _function(m, n, _NAMES[a.dtype])
    if turned:
        a, b = b, a
    c = a.new_zeros(*a.shape[:-2], a.shape[-1], b.shape[-1])
    for pointers in _each(a, b, c):
        share_out(function, (rows, *pointers), (), tiles, m * n * rows)
    return c.transpose(-2, -1) if turned else c


def rows_times(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor | None:
    """``a b + bias`` of ``(…, rows, m)``, ``(…, m, n)`` and ``(…, n)``; ``None`` where that is left to PyTorch."""
    rows, m = a.shape[-2:]
    n = b.shape[-1]
    if rows < LEAST or not _suits(a) or (bias is not None and bias.shape != (*b.shape[:-2], n)):
        return None
    function, size = _rows_function(m, n, _NAMES[a.dtype])
    b, c = b.contiguous(), a.new_empty(*a.shape[:-1], n)
    bias = b.new_zeros(*b.shape[:-2], n) if bias is None else bias.contiguous()
    for pointers in _each(a, b, c, bias):
        share_out(function, (rows, *pointers), (), -(-rows // size), m * n * rows)
    return c


def _suits(a: Tensor) -> bool:
    return a.is_cpu and a.dtype in _NAMES and a.stride(-1) == 1 and a.stride(-2) == a.shape[-1]


def _each(*tensors: Tensor) -> Iterable[Sequence[int]]:
    """Their addresses, or those of each member's parts of ``(members, rows, columns)``."""
    first = [tensor.data_ptr() for tensor in tensors]
    if tensors[0].dim() == 2:
        return [first]
    strides = [tensor.stride(0) * tensor.element_size() for tensor in tensors]
    return (
        [address + member * stride for address, stride in zip(first, strides, strict=True)]
        for member in range(len(tensors[0]))
    )


_NAMES = {torch.float32: "float", torch.float64: "double"}


@cache
def _function(m: int, n: int, real: str) -> tuple[Any, int, bool]:
    """The function, its number of tiles, and whether it gives ``bᵀ a``: the columns of one fill vector registers."""
    machine = native.machine()
    lanes = machine.bytes // Text(real).bytes
    turned = n < lanes and n < m
    m, n = (n, m) if turned else (m, n)
    height, vectors = _shape(m, n, lanes, machine.accumulators)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, *([ctypes.c_void_p] * 3), ctypes.c_int64, ctypes.c_int64)
    text = print_sum(m, n, real, machine, height, vectors)
    return kind(native.load(text, "sum")), -(-m // height), turned


@cache
def _rows_function(m: int, n: int, real: str) -> tuple[Any, int]:
    """The function, and the rows of a block."""
    machine = native.machine()
    height, vectors = _shape(LEAST, n, machine.bytes // Text(real).bytes, machine.accumulators)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, *([ctypes.c_void_p] * 4), ctypes.c_int64, ctypes.c_int64)
    return kind(native.load(print_rows(m, n, real, machine, height, vectors), "rows")), TILES * height


def _shape(m: int, n: int, lanes: int, accumulators: int) -> tuple[int, int]:
    """Rows and vectors of a tile: those with which the whole takes the fewest cycles."""

    def cycles(vectors: int) -> float:
        height, total = accumulators // vectors, 0.0
        for rows, times in ((height, m // height), (m % height, 1)):
            left = -(-n // lanes)
            while rows and left > 0:
                width = min(vectors, left)
                # two multiply-adds a cycle, each done after four, and two loads
                total += times * max(rows * width / 2, 4, (rows + width) / 2)
                left -= width
        return total

    # a row of b stands in registers beside the accumulators, which are three quarters of them, and so does a factor
    best = min(range(1, min(5, accumulators // 3)), key=cycles)
    return accumulators // best, best


class _Product:
    """What the two functions share: tiles of c, some rows and some vectors of columns, that stay in registers.

    Args:
        real: float or double.
        machine: for which.
        n: columns of c.
        vectors: of columns of a tile.
    """

    def __init__(self, real: str, machine: Machine, n: int, vectors: int) -> None:
        self.t = Text(real)
        self.lanes, self.machine = machine.bytes // self.t.bytes, machine
        self.n, self.vectors = n, vectors

    def sum_of(self, *parts: str) -> str:
        """Of whole numbers."""
        total, *others = parts
        for part in others:
            total = self.t.op(f"add i64 {total}, {part}")
        return total

    def times(self, a: str, b: int) -> str:
        """Of whole numbers."""
        return self.t.op(f"mul i64 {a}, {b}")

    def pointer(self, base: str, at: str) -> str:
        """Of the number at a place."""
        return self.t.op(f"getelementptr {self.t.real}, ptr {base}, i64 {at}")

    def tile(
        self, row: str, rows: int, column: str, widths: Sequence[int], bias: str | None,
        factors: Callable[[str], tuple[str, int]], k0: str, k1: str,
    ) -> None:  # fmt: skip
        """One of them: the sum over k of a factor for each row times row k of b. Factors begin at a pointer, so many
        numbers apart. It begins with the bias; without one it is added to what stands in c.
        """
        t = self.t
        places = [sum(widths[:number]) for number in range(len(widths))]
        slots = [[t.alloca(t.vector(width)) for width in widths] for _ in range(rows)]

        def of_c(number: int) -> list[str]:
            first = self.times(self.sum_of(row, str(number)), self.n)
            return [self.pointer("%c", self.sum_of(first, column, str(place))) for place in places]

        for number in range(rows):
            for slot, place, width in zip(slots[number], places, widths, strict=True):
                first = "zeroinitializer"
                if bias is not None:
                    first = t.load(self.pointer(bias, self.sum_of(column, str(place))), width)
                t.store(first, slot, width)

        def inner(k: str) -> None:
            b = self.pointer("%b", self.sum_of(self.times(k, self.n), column))
            read = [t.load(self.pointer(b, str(place)), width) for place, width in zip(places, widths, strict=True)]
            first, apart = factors(k)
            for number in range(rows):
                factor = t.op(f"load {t.real}, ptr {self.pointer(first, str(number * apart))}")
                for slot, vector, width in zip(slots[number], read, widths, strict=True):
                    made = t.call("fma", width, t.broadcast(factor, width), vector, t.load(slot, width))
                    t.store(made, slot, width)

        t.loop(k0, k1, 1, inner)
        for number in range(rows):
            for slot, at, width in zip(slots[number], of_c(number), widths, strict=True):
                total = t.load(slot, width)
                if bias is None:
                    # by blocks: a sum over very many rows would lose digits
                    total = t.arithmetic("fadd", total, t.load(at, width), width)
                t.store(total, at, width)

    def columns(self, body: Callable[[str, Sequence[int]], None]) -> None:
        """``body(column, widths)`` for all columns of c, a tile's at a time."""
        wide = self.vectors * self.lanes
        whole = self.n - self.n % wide
        if whole:
            self.t.loop("0", str(whole), wide, lambda column: body(column, [self.lanes] * self.vectors))
        left, widths = self.n - whole, []
        while left:
            widths.append(min(self.lanes, 1 << (left.bit_length() - 1)))
            left -= widths[-1]
        for begin in range(0, len(widths), self.vectors):
            body(str(whole + sum(widths[:begin])), widths[begin : begin + self.vectors])

    def least(self, a: str, b: str) -> str:
        """The smaller of two whole numbers."""
        t = self.t
        return t.op(f"select i1 {t.op(f'icmp slt i64 {a}, {b}')}, i64 {a}, i64 {b}")

    def text(self, name: str, arguments: str) -> str:
        """The module."""
        t = self.t
        t.do("ret void")
        head = f"define void @{name}({arguments}) #0 {{\nentry:"
        attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{8 * self.machine.bytes}" }}'
        return "\n\n".join([*sorted(t.declared), "\n".join([head, *t.entry, *t.lines, "}"]), attributes])


def print_sum(m: int, n: int, real: str, machine: Machine, height: int, vectors: int) -> str:
    """A module with one function ``sum(rows, a, b, c, first, last)``: adds ``aᵀ b`` to c, in the tiles of its rows from
    ``first`` to ``last``. A tile has ``height`` rows and so many vectors of columns.
    """
    p = _Product(real, machine, n, vectors)
    t, (full, rest) = p.t, divmod(m, height)

    def rows(row: str, count: int, k0: str, k1: str) -> None:
        def factors(k: str) -> tuple[str, int]:
            return p.pointer("%a", p.sum_of(p.times(k, m), row)), 1

        p.columns(lambda column, widths: p.tile(row, count, column, widths, None, factors, k0, k1))

    def block(k0: str) -> None:
        k1 = p.least(p.sum_of(k0, str(BLOCK)), "%rows")
        if full:
            t.loop("%first", p.least("%last", str(full)), 1, lambda i: rows(p.times(i, height), height, k0, k1))
        if rest:
            t.when(t.op(f"icmp sgt i64 %last, {full}"), lambda: rows(str(full * height), rest, k0, k1))

    t.loop("0", "%rows", BLOCK, block)
    return p.text("sum", "i64 %rows, ptr noalias %a, ptr noalias %b, ptr noalias %c, i64 %first, i64 %last")


def print_rows(m: int, n: int, real: str, machine: Machine, height: int, vectors: int) -> str:
    """A module with one function ``rows(rows, a, b, c, bias, first, last)``: c becomes ``a b + bias``, in its blocks of
    :data:`TILES` tiles from ``first`` to ``last``. There are at least ``height`` rows, those of a tile.
    """
    p = _Product(real, machine, n, vectors)
    t, size = p.t, TILES * height
    last_tile = t.op(f"sub i64 %rows, {height}")

    def block(number: str) -> None:
        begin = p.times(number, size)
        end = p.least(p.sum_of(begin, str(size)), "%rows")

        def columns(column: str, widths: Sequence[int]) -> None:
            def tile(row: str) -> None:
                row = p.least(row, last_tile)  # the last one does some rows again

                def factors(k: str) -> tuple[str, int]:
                    return p.pointer("%a", p.sum_of(p.times(row, m), k)), m

                p.tile(row, height, column, widths, "%bias", factors, "0", str(m))

            t.loop(begin, end, height, tile)

        p.columns(columns)

    t.loop("%first", "%last", 1, block)
    arguments = "i64 %rows, ptr noalias %a, ptr noalias %b, ptr noalias %c, ptr noalias %bias, i64 %first, i64 %last"
    return p.text("rows", arguments)
