"""The products of a tile: columns of a weight, for a few rows at a time, in registers."""

from typing import TYPE_CHECKING, Any

from rnnlab.kernels.expressions import Expr

if TYPE_CHECKING:
    from rnnlab.kernels.tile import Tile


def print_products(tile: "Tile", products: list[Expr], column: str, n: int, at_once: int) -> dict[Expr, str]:
    """A block of columns of each product, for each row of a tile: ``at_once`` rows in registers, and then in memory."""
    t = tile.t
    found = {e: t.alloca(f"[{tile.rows} x {t.vector(n)}]") for e in products}
    slots = {e: [t.alloca(t.vector(n)) for _ in range(at_once)] for e in products}

    def some(first: str) -> None:
        rows = [first if not row else t.op(f"add i64 {first}, {row}") for row in range(at_once)]
        _multiply(tile, slots, rows, column, n)
        for e in products:
            for row, slot in zip(rows, slots[e], strict=True):
                t.store(t.load(slot, n), t.op(f"getelementptr {t.vector(n)}, ptr {found[e]}, i64 {row}"), n)

    if products:
        t.loop("0", str(tile.rows), at_once, some)
    return found


def _multiply(tile: "Tile", slots: dict[Expr, list[str]], rows: list[str], column: str, n: int) -> None:
    """Products of some rows, each into a slot for each row, which become registers."""
    t = tile.t
    for own in slots.values():
        for slot in own:
            t.store("zeroinitializer", slot, n)
    # by operand, so that its numbers are fetched once for all products
    users: dict[Expr, list[tuple[Expr, int]]] = {}
    for e in slots:
        first = 0
        for operand in e.args:
            users.setdefault(operand, []).append((e, first))
            first += operand.width
    for operand, group in users.items():
        if operand.op == "const" and operand.data[0] == 0:
            continue
        lines = None if operand.op == "const" else [operand_line(tile, operand, row) for row in rows]
        firsts = [_weights(tile, e, first, column) for e, first in group]

        def inner(
            k: str, operand: Expr = operand, lines: Any = lines, firsts: Any = firsts, group: Any = group
        ) -> None:
            weights = []
            for (e, _), pointer in zip(group, firsts, strict=True):
                name, _, columns = e.data
                at = t.op(f"mul i64 {k}, {tile.kernel.panels.get(name, columns)}")
                weights.append(t.load(t.op(f"getelementptr {t.real}, ptr {pointer}, i64 {at}"), n))
            for row in range(len(rows)):
                if lines is None:
                    number = t.splat(operand.data[0], n)
                else:
                    place = t.op(f"getelementptr {t.real}, ptr {lines[row]}, i64 {k}")
                    number = t.broadcast(t.op(f"load {t.real}, ptr {place}"), n)
                for (e, _), weight in zip(group, weights, strict=True):
                    slot = slots[e][row]
                    t.store(t.call("fma", n, number, weight, t.load(slot, n)), slot, n)

        if operand.width == 1:
            inner("0")
        else:
            t.loop("0", str(operand.width), 1, inner)


def _weights(tile: "Tile", e: Expr, first: int, column: str) -> str:
    """Where the numbers of a weight lie that a block of columns of a product needs of its operand's row ``first``."""
    t, (name, begin, columns) = tile.t, e.data
    panel = tile.kernel.panels.get(name)
    if panel is None:
        at = t.op(f"add i64 {column}, {first * columns + begin}")
    else:
        rows = sum(arg.width for arg in e.args)
        at = t.op(f"add i64 {column}, {begin}")
        whole, rest = t.op(f"udiv i64 {at}, {panel}"), t.op(f"urem i64 {at}, {panel}")
        at = t.op(f"add i64 {t.op(f'mul i64 {whole}, {rows * panel}')}, {rest}")
        at = t.op(f"add i64 {at}, {first * panel}")
    return t.op(f"getelementptr {t.real}, ptr {tile.base(name)}, i64 {at}")


def operand_line(tile: "Tile", e: Expr, row: str) -> str:
    """Where the numbers of a product's operand begin, of a row of the tile."""
    t = tile.t
    if e.op == "parameter":
        return t.op(f"getelementptr {t.real}, ptr {tile.base(e.data[0])}, i64 {e.data[1]}")
    if e.op == "rows":
        return tile.line(e.data, row, e.width)
    if e in tile.ones:
        return tile.slot(e, row)
    return tile.line(tile.home[e], row, e.width)
