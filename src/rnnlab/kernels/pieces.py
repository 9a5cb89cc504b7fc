"""Values of a trace in pieces: each is cut where its users cut it, so that every piece is made from whole pieces."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from rnnlab.kernels.expressions import ELEMENTWISE, Expr, Expressions
from rnnlab.kernels.nodes import STATE, Node, NotDerivable, Trace, name_of, needed
from rnnlab.kernels.origins import CONVERTED, PRODUCTS, SHIFT, Maker, Origins, packet_of

aten: Any = torch.ops.aten

MOST_PIECES = 40
"""Of one value: beyond that a kernel's text grows out of hand."""


class Pieces:
    """The values that kernels compute, in pieces."""

    def __init__(self, found: Trace) -> None:
        self.e = Expressions()
        self.origins = Origins(found, self.e)
        self._breaks: dict[int, tuple[np.ndarray, frozenset[int]]] = {}

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
                self.origins.sources(node)  # in order, so that none asks deeply for what it is made of
        users = [self.origins.sources(root).reshape(-1) for root in roots]
        computed = [maker for maker in self.origins.makers if maker.leaf is None]
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
            maker = self.origins.makers[first >> SHIFT]
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
                source = self.origins.makers[first >> SHIFT]
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
        for begin, end, first, last in runs(self.origins.sources(node).reshape(-1)):
            at = begin
            exprs = self._range(first, last)
            if last == first:
                exprs = [self.e.make("spread", expr, data=(end - begin,)) for expr in exprs]
            for expr in exprs:
                found.append((at, expr))
                at += expr.width
        return found

    def _range(self, first: int, last: int) -> list[Expr]:
        maker = self.origins.makers[first >> SHIFT]
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
            self.origins.parameters[name] = (weight, as_it_is)
            return e.make("mm", *operands, data=(name, begin, columns), width=end - begin)
        # one column: each row times that column, summed up
        maker = self.origins.parameter(weight, f"column{begin}", lambda value: value[..., begin], weight.shape[0])
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


def panels_of(value: torch.Tensor, width: int) -> torch.Tensor:
    """A weight ``(…, rows, columns)`` as ``(…, panels, rows, width)``: so many columns one after the other."""
    return value.unflatten(-1, (-1, width)).transpose(-3, -2)


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
