"""A function in LLVM's language that takes a tile of rows through the steps.

A tile of a few rows goes through all steps, its state in the cache, its products in registers. A step runs in stages: a
product, or a sum over a row, begins a new one where what it works on was made in the one before. In a stage each block
of columns first gets its products and then all that is element-wise.
"""

from rnnlab.kernels.expressions import LEAVES, Expr
from rnnlab.kernels.llvm_math import elementwise
from rnnlab.kernels.llvm_text import Body, Machine, Text
from rnnlab.kernels.planning import Kernel, Place
from rnnlab.kernels.schedule import Schedule, is_single
from rnnlab.kernels.tile_products import print_products


def as_number(t: Text, e: Expr, value: str, n: int) -> str:
    """N values as they stand in memory."""
    if not e.boolean:
        return value
    return t.op(f"select <{n} x i1> {value}, {t.vector(n)} {t.splat(1.0, n)}, {t.vector(n)} zeroinitializer")


def as_truth(t: Text, e: Expr, value: str, n: int) -> str:
    """N values from memory as they are computed with."""
    return t.op(f"fcmp une {t.vector(n)} {value}, zeroinitializer") if e.boolean else value


def total_of(t: Text, e: Expr, parts: str, n: int) -> str:
    """The sum or the maximum of n numbers."""
    if n == 1:
        return t.op(f"extractelement {t.vector(1)} {parts}, i32 0")
    if e.op == "rowsum":
        name = f"@llvm.vector.reduce.fadd.v{n}f{8 * t.bytes}"
        t.declared.add(f"declare {t.real} {name}({t.real}, {t.vector(n)})")
        return t.op(f"call reassoc {t.real} {name}({t.real} 0.0, {t.vector(n)} {parts})")
    while n > 1:
        n //= 2
        parts = elementwise(t, "max", list(halves(t, parts, n)), n, False)
    return t.op(f"extractelement {t.vector(1)} {parts}, i32 0")


def halves(t: Text, parts: str, n: int) -> tuple[str, str]:
    """The first n and the last n of twice as many numbers."""

    def some(first: int) -> str:
        mask = ", ".join(f"i32 {lane}" for lane in range(first, first + n))
        kind = t.vector(2 * n)
        return t.op(f"shufflevector {kind} {parts}, {kind} poison, <{n} x i32> <{mask}>")

    return some(0), some(n)


class Tile:
    """A function that takes a tile of ``rows`` rows through the steps.

    Args:
        name: of the function.
        kernel: what it computes.
        real: float or double.
        rows: of a tile.
        machine: for which.
    """

    def __init__(self, name: str, kernel: Kernel, real: str, rows: int, machine: Machine) -> None:
        self.name, self.kernel, self.rows, self.machine = name, kernel, rows, machine
        self.t = Text(real)
        self.lanes = machine.bytes // self.t.bytes
        self.order = list(kernel.sizes)
        self.schedule = Schedule(kernel)
        self.seen, self.stage, self.home = self.schedule.seen, self.schedule.stage, self.schedule.home

    # ---- addresses
    def base(self, name: str) -> str:
        """Where a buffer begins."""
        return f"%p{self.order.index(name)}"

    def line(self, place: Place | int, row: str, width: int) -> str:
        """Where the numbers of a row of the tile begin, in a buffer or in memory of the tile."""
        t = self.t
        if isinstance(place, int):
            at = t.op(f"mul i64 {row}, {width}")
            return t.op(f"getelementptr {t.real}, ptr {self.scratch[place]}, i64 {at}")
        name, offset, shift = place
        at = t.op(f"add i64 {self.bases[_time_of(name), shift]}, {row}")
        at = t.op(f"mul i64 {at}, {self.kernel.sizes[name]}")
        at = t.op(f"add i64 {at}, {offset}")
        return t.op(f"getelementptr {t.real}, ptr {self.base(name)}, i64 {at}")

    def address(self, place: Place | int, row: str, column: str, width: int) -> str:
        """Of a column there."""
        return self.t.op(f"getelementptr {self.t.real}, ptr {self.line(place, row, width)}, i64 {column}")

    def each_row(self, body: Body) -> None:
        """``body(row)`` for each of the tile."""
        if self.rows == 1:
            body("0")
        else:
            self.t.loop("0", str(self.rows), 1, body)

    # ---- the function
    def text(self) -> str:
        """All of it."""
        t, rows = self.t, self.rows
        self.scratch = {
            home: t.alloca(f"[{rows * e.width} x {t.real}]") for e, home in self.home.items() if isinstance(home, int)
        }
        self.ones = {
            e: t.alloca(f"[{rows} x {t.real}]") for e in self.seen if is_single(e) and e.op not in LEAVES
        }  # fmt: skip
        self.partial = {
            e: t.alloca(f"[{rows} x {t.vector(self._block(e.args[0].width))}]")
            for e in self.seen
            if e.op in ("rowsum", "rowmax")
        }

        def step(time: str) -> None:
            self.bases: dict[tuple[str, int], str] = {}
            for name, shift in sorted(self._uses()):
                kind = _time_of(name)
                if name == "total" or (kind, shift) in self.bases:
                    continue
                when = t.op(f"add i64 {time}, {shift}")
                if kind == "carry":
                    when = t.op(f"and i64 {when}, 1")
                self.bases[kind, shift] = t.op(f"add i64 {t.op(f'mul i64 {when}, %R')}, %r")
            for stage in range(self.schedule.last_stage + 1):
                self._stage(stage)

        t.loop("%t0", "%t1", 1, step, down=self.kernel.reverse)
        t.do("ret void")
        pointers = []
        for number in range(len(self.order)):
            pointers += [
                f"  %a{number} = getelementptr ptr, ptr %buffers, i64 {number}",
                f"  %p{number} = load ptr, ptr %a{number}",
            ]
        arguments = "i64 %t0, i64 %t1, i64 %r, i64 %R, ptr noalias %buffers"
        head = f"define internal void @{self.name}({arguments}) #0 {{\nentry:"
        return "\n".join([head, *t.entry, *pointers, *t.lines, "}"])

    def _uses(self) -> set[tuple[str, int]]:
        read = {(e.data[0], e.data[2]) for e in self.seen if e.op == "rows"}
        return read | {(name, shift) for name, _, shift in self.kernel.writes}

    def _block(self, width: int) -> int:
        """Numbers of a block of columns."""
        return min(self.lanes, 1 << (width.bit_length() - 1))

    def slot(self, e: Expr, row: str) -> str:
        """Where the single number of a row of the tile lies."""
        return self.t.op(f"getelementptr {self.t.real}, ptr {self.ones[e]}, i64 {row}")

    def _part(self, e: Expr, row: str) -> str:
        kind = self.t.vector(self._block(e.args[0].width))
        return self.t.op(f"getelementptr {kind}, ptr {self.partial[e]}, i64 {row}")

    def _stage(self, stage: int) -> None:
        t = self.t
        reductions = [e for e in self.seen if e.op in ("rowsum", "rowmax")]
        complete = [e for e in reductions if self.stage[e] == stage]
        sums = [e for e in reductions if self.stage[e] == stage + 1]
        singles = [e for e in self.ones if self.stage[e] == stage and e not in self.partial]
        written = [
            (p, e) for p, e in self.kernel.writes.items() if is_single(e) and self.stage[e] == stage
        ]  # fmt: skip

        def before(row: str) -> None:
            """Sums over rows that are complete now, what is a single number of each row, and new sums."""
            for e in complete:
                n = self._block(e.args[0].width)
                total = total_of(t, e, self.t.load(self._part(e, row), n), n)
                t.do(f"store {t.real} {total}, ptr {self.slot(e, row)}")
            values: dict[Expr, str] = {}
            for e in singles:
                args = [self._value(arg, row, "0", 1, values, stage) for arg in e.args]
                values[e] = elementwise(t, e.op, args, 1, e.boolean)
                self.t.store(as_number(t, e, values[e], 1), self.slot(e, row), 1)
            for place, e in written:
                value = as_number(t, e, self._value(e, row, "0", 1, values, stage), 1)
                if place[0] == "total":
                    self._add_to_total(place, "0", value, 1)
                else:
                    self.t.store(value, self.address(place, row, "0", 1), 1)
            for e in sums:
                n = self._block(e.args[0].width)
                empty = "zeroinitializer" if e.op == "rowsum" else t.splat(-float("inf"), n)
                self.t.store(empty, self._part(e, row), n)

        if complete or singles or written or sums:
            self.each_row(before)
        wide = [(p, e) for p, e in self.kernel.writes.items() if not is_single(e) and self.stage[e] == stage]
        crossing = [e for e in self.schedule.crossing if self.stage[e] == stage and isinstance(self.home[e], int)]
        products = [e for e in self.seen if e.op == "mm" and self.stage[e] == stage]
        widths = {e.width for e in products} | {e.width for _, e in wide} | {e.width for e in crossing}
        widths |= {e.args[0].width for e in sums}
        for width in sorted(widths):
            self._columns(
                stage, width,
                [e for e in products if e.width == width], [(p, e) for p, e in wide if e.width == width],
                [e for e in crossing if e.width == width], [e for e in sums if e.args[0].width == width],
            )  # fmt: skip

    def _columns(
        self, stage: int, width: int, products: list[Expr], wanted: list[tuple[Place, Expr]], crossing: list[Expr],
        sums: list[Expr],
    ) -> None:  # fmt: skip
        """What a stage does with values of one width."""
        t = self.t
        lanes = most = self._block(width)
        registers = self.machine.accumulators
        # two vectors for each row, or more is loaded than multiplied: of half of the rows where registers are few
        half = self.rows if registers >= 2 * self.rows else max(1, self.rows // 2)
        while (
            products and most >= self.lanes and width % (2 * most) == 0
            and 2 * (most // self.lanes) * len(products) * half <= registers
        ):  # fmt: skip
            most *= 2
        vectors = max(1, most // self.lanes) * len(products)
        at_once = half if vectors > 1 else self.rows
        # no more at a time than registers hold
        together = max(1, registers // (at_once * max(1, most // self.lanes)))
        groups = -(-len(products) // together)

        def block(column: str, n: int) -> None:
            found: dict[Expr, str] = {}
            for group in range(groups):
                found |= print_products(self, products[group::groups], column, n, at_once)

            totals = {place: t.alloca(t.vector(n)) for place, _ in wanted if place[0] == "total"}
            for slot in totals.values():
                t.store("zeroinitializer", slot, n)

            def row_of(row: str) -> None:
                values: dict[Expr, str] = {}
                for e in products:
                    values[e] = self.t.load(t.op(f"getelementptr {t.vector(n)}, ptr {found[e]}, i64 {row}"), n)
                for place, e in wanted:
                    value = as_number(t, e, self._value(e, row, column, n, values, stage), n)
                    if place in totals:  # of the tile's rows in a register
                        slot = totals[place]
                        t.store(t.arithmetic("fadd", self.t.load(slot, n), value, n), slot, n)
                        continue
                    self.t.store(value, self.address(place, row, column, n), n)
                for e in crossing:
                    value = as_number(t, e, self._value(e, row, column, n, values, stage), n)
                    self.t.store(value, self.address(self.home[e], row, column, e.width), n)
                for e in sums:
                    self._add(e, self._value(e.args[0], row, column, n, values, stage), row, n)

            self.each_row(row_of)
            for place, slot in totals.items():
                self._add_to_total(place, column, self.t.load(slot, n), n)

        whole = width - width % most
        if whole == most:
            block("0", most)
        elif whole:
            t.loop("0", str(whole), most, lambda column: block(column, most))
        column, rest = whole, width - whole
        while rest:  # what is left, in powers of two
            n = min(1 << (rest.bit_length() - 1), lanes)
            block(str(column), n)
            column, rest = column + n, rest - n

    def _add(self, e: Expr, value: str, row: str, n: int) -> None:
        """Adds a block of columns to the sum of a row, or to its maximum."""
        t, size = self.t, self._block(e.args[0].width)
        slot = self._part(e, row)
        if n < size:
            # the columns that are left
            slot = t.op(f"getelementptr {t.real}, ptr {slot}, i64 0")
        while n > size:  # the halves of a block of several vectors
            n //= 2
            value = self._combined(e, *halves(t, value, n), n)
        made = self._combined(e, value, self.t.load(slot, n), n)
        self.t.store(made, slot, n)

    def _combined(self, e: Expr, a: str, b: str, n: int) -> str:
        """Of two vectors the sum, or the larger numbers."""
        if e.op == "rowsum":
            return self.t.arithmetic("fadd", a, b, n)
        return elementwise(self.t, "max", [a, b], n, False)

    def _add_to_total(self, place: Place, column: str, value: str, n: int) -> None:
        """Adds to numbers of the tile's row of sums over its rows."""
        t, (name, offset, _) = self.t, place
        at = t.op(f"mul i64 {t.op(f'sdiv i64 %r, {self.rows}')}, {self.kernel.sizes[name]}")
        at = t.op(f"add i64 {t.op(f'add i64 {at}, {offset}')}, {column}")
        pointer = t.op(f"getelementptr {t.real}, ptr {self.base(name)}, i64 {at}")
        t.store(t.arithmetic("fadd", self.t.load(pointer, n), value, n), pointer, n)

    def _value(self, e: Expr, row: str, column: str, n: int, values: dict[Expr, str], stage: int) -> str:
        if e in values:
            return values[e]
        # what it is made of first, without recursion: an expression may be hundreds deep
        stack = [e]
        while stack:
            top = stack[-1]
            if top in values:
                stack.pop()
                continue
            found = self._at_hand(top, row, column, n, stage)
            if found is None:
                missing = [arg for arg in top.args if arg not in values]
                if missing:
                    stack += missing
                    continue
                found = elementwise(self.t, top.op, [values[arg] for arg in top.args], n, top.boolean)
            values[top] = found
            stack.pop()
        return values[e]

    def _at_hand(self, e: Expr, row: str, column: str, n: int, stage: int) -> str | None:
        """N numbers of an expression that stands in memory."""
        t = self.t
        if e.op == "const":
            return t.splat(e.data[0], n)
        if e.op == "parameter":
            name, begin = e.data
            at = str(begin) if is_single(e) else t.op(f"add i64 {column}, {begin}")
            pointer = t.op(f"getelementptr {t.real}, ptr {self.base(name)}, i64 {at}")
            return t.broadcast(t.op(f"load {t.real}, ptr {pointer}"), n) if is_single(e) else self.t.load(pointer, n)
        if e.op == "rows":
            if is_single(e):
                return t.broadcast(t.op(f"load {t.real}, ptr {self.line(e.data, row, 1)}"), n)
            return self.t.load(self.address(e.data, row, column, e.width), n)
        if e in self.ones and (n > 1 or self.stage[e] < stage or e in self.partial):
            return as_truth(t, e, t.broadcast(t.op(f"load {t.real}, ptr {self.slot(e, row)}"), n), n)
        if self.stage[e] < stage and e in self.home:
            return as_truth(t, e, self.t.load(self.address(self.home[e], row, column, e.width), n), n)
        return None


def _time_of(name: str) -> str:
    """How a buffer's rows are found at a time."""
    return "carry" if name.startswith("carry") else "state" if name.startswith("state") else "rows"
