"""A plan's kernels in LLVM's language.

A tile of a few rows goes through all steps, its state in the cache, its products in registers. A step runs in stages: a
product, or a sum over a row, begins a new one where what it works on was made in the one before. In a stage each block
of columns first gets its products and then all that is element-wise.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rnnlab.kernels.planning import LEAVES, TESTS, Expr, Kernel, Place

LIBRARY = {
    name: name for name in "sin cos tan asin acos atan sinh cosh erf erfc expm1 exp2 log2 log10 pow atan2".split()
}
"""Element-wise operations that C's library has: slower, one number after the other."""
Body = Callable[[str], None]


@dataclass(frozen=True)
class Machine:
    """What a processor can do.

    Attributes:
        bytes: of a vector register.
        accumulators: of its registers, for products.
    """

    bytes: int
    accumulators: int


class Text:
    """The lines of a function, for float or double."""

    def __init__(self, real: str) -> None:
        self.lines: list[str] = []
        self.entry: list[str] = []
        self.count = 0
        self.real, self.bytes = real, 4 if real == "float" else 8
        self.declared: set[str] = set()

    def new(self) -> str:
        """A new name."""
        self.count += 1
        return f"%v{self.count}"

    def op(self, text: str) -> str:
        """A line that gives a value; the value's name."""
        name = self.new()
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """A line that gives none."""
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        """Begins a block."""
        self.lines.append(f"{name}:")

    def vector(self, n: int) -> str:
        """The type of n numbers."""
        return f"<{n} x {self.real}>"

    def number(self, value: float) -> str:
        """A constant."""
        if self.real == "float":
            try:
                value = struct.unpack("f", struct.pack("f", value))[0]
            except OverflowError:
                value = float("inf") if value > 0 else -float("inf")
        return "0x" + struct.pack(">d", value).hex().upper()

    def splat(self, value: float, n: int) -> str:
        """A constant, n times."""
        return "<" + ", ".join([f"{self.real} {self.number(value)}"] * n) + ">"

    def integers(self, value: int, n: int) -> str:
        """A whole number as wide as a number, n times."""
        return "<" + ", ".join([f"{self.integer} {value}"] * n) + ">"

    @property
    def integer(self) -> str:
        """The type of whole numbers as wide as a number."""
        return f"i{8 * self.bytes}"

    def alloca(self, kind: str, align: int = 64) -> str:
        """Memory of the function."""
        name = self.new()
        self.entry.append(f"  {name} = alloca {kind}, align {align}")
        return name

    def load(self, pointer: str, n: int) -> str:
        """N numbers."""
        return self.op(f"load {self.vector(n)}, ptr {pointer}, align {self.bytes}")

    def store(self, value: str, pointer: str, n: int) -> None:
        """N numbers."""
        self.do(f"store {self.vector(n)} {value}, ptr {pointer}, align {self.bytes}")

    def broadcast(self, scalar: str, n: int) -> str:
        """A number n times."""
        first = self.op(f"insertelement {self.vector(n)} poison, {self.real} {scalar}, i32 0")
        return self.op(f"shufflevector {self.vector(n)} {first}, {self.vector(n)} poison, <{n} x i32> zeroinitializer")

    def call(self, name: str, n: int, *args: str) -> str:
        """An intrinsic function of vectors."""
        kind, suffix = self.vector(n), f"v{n}f{8 * self.bytes}"
        self.declared.add(f"declare {kind} @llvm.{name}.{suffix}({', '.join([kind] * len(args))})")
        return self.op(f"call {kind} @llvm.{name}.{suffix}({', '.join(f'{kind} {arg}' for arg in args)})")

    def arithmetic(self, op: str, a: str, b: str, n: int) -> str:
        """fadd, fsub, fmul or fdiv; a product and a sum may become one operation."""
        return self.op(f"{op} contract {self.vector(n)} {a}, {b}")

    def select(self, test: str, a: str, b: str, yes: str, no: str, n: int) -> str:
        """``yes`` where a test of a and b holds."""
        kind = self.vector(n)
        found = self.op(f"fcmp {test} {kind} {a}, {b}")
        return self.op(f"select <{n} x i1> {found}, {kind} {yes}, {kind} {no}")

    def loop(self, begin: str, end: str, step: int, body: Body, down: bool = False) -> None:
        """``body(index)`` for begin ≤ index < end, or from end - step down to begin."""
        slot = self.alloca("i64", 8)
        self.count += 1
        tag = f"L{self.count}"
        self.do(f"store i64 {end if down else begin}, ptr {slot}")
        self.do(f"br label %{tag}h")
        self.label(f"{tag}h")
        index = self.op(f"load i64, ptr {slot}")
        test = self.op(f"icmp sgt i64 {index}, {begin}" if down else f"icmp slt i64 {index}, {end}")
        self.do(f"br i1 {test}, label %{tag}b, label %{tag}e")
        self.label(f"{tag}b")
        if down:
            index = self.op(f"sub i64 {index}, {step}")
        body(index)
        self.do(f"store i64 {index if down else self.op(f'add i64 {index}, {step}')}, ptr {slot}")
        self.do(f"br label %{tag}h")
        self.label(f"{tag}e")

    def when(self, test: str, body: Callable[[], None]) -> None:
        """``body()`` where a test holds."""
        self.count += 1
        tag = f"W{self.count}"
        self.do(f"br i1 {test}, label %{tag}y, label %{tag}n")
        self.label(f"{tag}y")
        body()
        self.do(f"br label %{tag}n")
        self.label(f"{tag}n")


# ---- element-wise operations ----------------------------------------------------------------------------------
# Numbers that are not a number stay so: a minimum or maximum is chosen by a comparison that is false for them.


def _clamp(t: Text, x: str, low: float, high: float, n: int) -> str:
    x = t.select("olt", x, t.splat(low, n), t.splat(low, n), x, n)
    return t.select("ogt", x, t.splat(high, n), t.splat(high, n), x, n)


def _polynomial(t: Text, x: str, coefficients: Iterable[float], n: int) -> str:
    first, *others = coefficients
    total = t.splat(first, n)
    for coefficient in others:
        total = t.call("fma", n, total, x, t.splat(coefficient, n))
    return total


def _exp(t: Text, x: str, n: int) -> str:
    single = t.real == "float"
    low, high = (-87.3, 88.72) if single else (-708.0, 709.78)
    c = _clamp(t, x, low, high, n)
    k = t.call("rint", n, t.arithmetic("fmul", c, t.splat(1.4426950408889634, n), n))
    # log 2 in two parts, the first with so few digits that its product with k is exact
    parts = (0.693359375, -2.12194440e-4) if single else (0.6931471803691238, 1.9082149292705877e-10)
    rest = c
    for part in parts:
        rest = t.call("fma", n, k, t.splat(-part, n), rest)
    if single:
        powers = [1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1]
    else:
        powers, factorial = [], 1.0
        for number in range(1, 14):
            factorial *= number
            powers.insert(0, 1 / factorial)
        powers = powers[:-1]
    p = _polynomial(t, rest, powers, n)
    p = t.call("fma", n, p, t.arithmetic("fmul", rest, rest, n), rest)
    p = t.arithmetic("fadd", p, t.splat(1.0, n), n)
    # 2^k in two halves, since that of the largest k is no number of its own
    bias, shift = (127, 23) if single else (1023, 52)
    kind = f"<{n} x {t.integer}>"
    exponent = t.op(f"fptosi {t.vector(n)} {k} to {kind}")
    half = t.op(f"ashr {kind} {exponent}, {t.integers(1, n)}")
    made = p
    for piece in (half, t.op(f"sub {kind} {exponent}, {half}")):
        power = t.op(f"add {kind} {piece}, {t.integers(bias, n)}")
        power = t.op(f"shl {kind} {power}, {t.integers(shift, n)}")
        made = t.arithmetic("fmul", made, t.op(f"bitcast {kind} {power} to {t.vector(n)}"), n)
    made = t.select("olt", x, t.splat(low, n), t.splat(0.0, n), made, n)
    return t.select("ogt", x, t.splat(high, n), t.splat(float("inf"), n), made, n)


def _small_exp(t: Text, x: str, n: int) -> str:
    """exp for a double between -50 and 50, for what is built on it."""
    return _exp(t, x, n)


def _tanh(t: Text, x: str, n: int) -> str:
    if t.real == "double":
        # tanh |x| = (1 - e) / (1 + e), e = exp(-2 |x|); near 0 the series, where the difference loses digits
        size = t.call("fabs", n, x)
        e = _exp(t, t.arithmetic("fmul", size, t.splat(-2.0, n), n), n)
        one = t.splat(1.0, n)
        far = t.arithmetic("fdiv", t.arithmetic("fsub", one, e, n), t.arithmetic("fadd", one, e, n), n)
        square = t.arithmetic("fmul", size, size, n)
        series = [-929569 / 638512875, 21844 / 6081075, -1382 / 155925, 62 / 2835, -17 / 315, 2 / 15, -1 / 3, 1.0]
        near = t.arithmetic("fmul", size, _polynomial(t, square, series, n), n)
        made = t.select("olt", size, t.splat(0.06, n), near, far, n)
        return t.call("copysign", n, made, x)
    # a rational approximation, as in Eigen
    c = _clamp(t, x, -7.90531110763549805, 7.90531110763549805, n)
    s = t.arithmetic("fmul", c, c, n)
    above = [-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
             1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03]  # fmt: skip
    below = [1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03]
    p = t.arithmetic("fmul", _polynomial(t, s, above, n), c, n)
    return t.arithmetic("fdiv", p, _polynomial(t, s, below, n), n)


def _sigmoid(t: Text, x: str, n: int) -> str:
    if t.real == "double":
        e = t.arithmetic("fadd", _exp(t, t.op(f"fneg {t.vector(n)} {x}"), n), t.splat(1.0, n), n)
        return t.arithmetic("fdiv", t.splat(1.0, n), e, n)
    half = t.splat(0.5, n)
    return t.call("fma", n, _tanh(t, t.arithmetic("fmul", x, half, n), n), half, half)


def _log_of_normal(t: Text, x: str, n: int) -> str:
    kind = f"<{n} x {t.integer}>"
    mantissa, bias, shift = (0x7FFFFF, 127, 23) if t.real == "float" else ((1 << 52) - 1, 1023, 52)
    bits = t.op(f"bitcast {t.vector(n)} {x} to {kind}")
    e = t.op(f"lshr {kind} {bits}, {t.integers(shift, n)}")
    e = t.op(f"sub {kind} {e}, {t.integers(bias, n)}")
    e = t.op(f"sitofp {kind} {e} to {t.vector(n)}")
    m = t.op(f"and {kind} {bits}, {t.integers(mantissa, n)}")
    m = t.op(f"or {kind} {m}, {t.integers(bias << shift, n)}")
    m = t.op(f"bitcast {kind} {m} to {t.vector(n)}")
    root = t.splat(1.4142135623730951, n)
    halved, raised = t.arithmetic("fmul", m, t.splat(0.5, n), n), t.arithmetic("fadd", e, t.splat(1.0, n), n)
    e = t.select("ogt", m, root, raised, e, n)
    m = t.select("ogt", m, root, halved, m, n)
    one = t.splat(1.0, n)
    s = t.arithmetic("fdiv", t.arithmetic("fsub", m, one, n), t.arithmetic("fadd", m, one, n), n)
    z = t.arithmetic("fmul", s, s, n)
    terms = 5 if t.real == "float" else 11
    p = _polynomial(t, z, [2 / (2 * k + 1) for k in range(terms - 1, -1, -1)], n)
    return t.call("fma", n, e, t.splat(0.6931471805599453, n), t.arithmetic("fmul", p, s, n))


def _log_at_edges(t: Text, made: str, x: str, n: int) -> str:
    """0, negative numbers, infinity and what is no number."""
    made = t.select("oeq", x, t.splat(0.0, n), t.splat(-float("inf"), n), made, n)
    made = t.select("ult", x, t.splat(0.0, n), t.splat(float("nan"), n), made, n)
    return t.select("oeq", x, t.splat(float("inf"), n), x, made, n)


def _log(t: Text, x: str, n: int) -> str:
    # numbers too small to be normal are made larger first
    tiny, by, power = (1.1754944e-38, 2.0**25, 25) if t.real == "float" else (2.2250738585072014e-308, 2.0**54, 54)
    larger = t.arithmetic("fmul", x, t.splat(by, n), n)
    normal = t.select("olt", x, t.splat(tiny, n), larger, x, n)
    made = _log_of_normal(t, normal, n)
    less = t.arithmetic("fsub", made, t.splat(power * 0.6931471805599453, n), n)
    return _log_at_edges(t, t.select("olt", x, t.splat(tiny, n), less, made, n), x, n)


def _log1p(t: Text, x: str, n: int) -> str:
    one = t.splat(1.0, n)
    w = t.op(f"fadd {t.vector(n)} {x}, {one}")
    # log w, and what was lost in the sum
    lost = t.op(f"fsub {t.vector(n)} {w}, {one}")
    lost = t.op(f"fsub {t.vector(n)} {x}, {lost}")
    made = t.arithmetic("fadd", _log_of_normal(t, w, n), t.arithmetic("fdiv", lost, w, n), n)
    return _log_at_edges(t, made, w, n)


def _from_library(t: Text, op: str, args: list[str], n: int) -> str:
    name = LIBRARY[op] + ("f" if t.real == "float" else "")
    t.declared.add(f"declare {t.real} @{name}({', '.join([t.real] * len(args))})")
    made = "poison"
    for lane in range(n):
        parts = [t.op(f"extractelement {t.vector(n)} {arg}, i32 {lane}") for arg in args]
        value = t.op(f"call {t.real} @{name}({', '.join(f'{t.real} {part}' for part in parts)})")
        made = t.op(f"insertelement {t.vector(n)} {made}, {t.real} {value}, i32 {lane}")
    return made


_ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_TESTS = {"eq": "oeq", "gt": "ogt", "lt": "olt", "ge": "oge", "le": "ole", "ne": "une"}
_INTRINSIC = {"abs": "fabs", "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "round": "roundeven", "trunc": "trunc"}
_MADE = {"exp": _exp, "tanh": _tanh, "sigmoid": _sigmoid, "log": _log, "log1p": _log1p}


def elementwise(t: Text, op: str, args: list[str], n: int, boolean: bool) -> str:
    """An element-wise operation of n numbers."""
    kind, truth = t.vector(n), f"<{n} x i1>"
    if op in _ARITHMETIC:
        return t.arithmetic(_ARITHMETIC[op], args[0], args[1], n)
    if op in _TESTS:
        return t.op(f"fcmp {_TESTS[op]} {kind} {args[0]}, {args[1]}")
    if op in _INTRINSIC:
        return t.call(_INTRINSIC[op], n, *args)
    if op in _MADE:
        return _MADE[op](t, args[0], n)
    if op in ("max", "min"):
        # b where it is no number, a where that is none
        a, b = args
        better = t.op(f"fcmp {'ogt' if op == 'max' else 'olt'} {kind} {a}, {b}")
        broken = t.op(f"fcmp uno {kind} {a}, {a}")
        either = t.op(f"or {truth} {better}, {broken}")
        return t.op(f"select {truth} {either}, {kind} {a}, {kind} {b}")
    if op in ("and", "or", "xor"):
        return t.op(f"{op} {truth} {args[0]}, {args[1]}")
    if op == "not":
        return t.op(f"xor {truth} {args[0]}, <{', '.join(['i1 true'] * n)}>")
    if op == "where":
        kind = truth if boolean else kind
        return t.op(f"select {truth} {args[0]}, {kind} {args[1]}, {kind} {args[2]}")
    if op == "neg":
        return t.op(f"fneg {kind} {args[0]}")
    if op == "spread":
        return args[0]
    return _from_library(t, op, args, n)


def can_print(op: str) -> bool:
    """Whether there is such an element-wise operation."""
    known = {*_ARITHMETIC, *_INTRINSIC, *_MADE, *LIBRARY, *TESTS, "max", "min", "where", "neg", "spread"}
    return op in known


# ---- a kernel -----------------------------------------------------------------------------------------------------


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
        self.seen = kernel.expressions()
        self.stage: dict[Expr, int] = {}
        for e in self.seen:
            if e.op == "mm":
                at = max((self.stage[arg] + 1 for arg in e.args if arg.op not in LEAVES), default=0)
            elif e.op in ("rowsum", "rowmax"):
                at = self.stage[e.args[0]] + 1
            else:
                at = max((self.stage[arg] for arg in e.args), default=0)
            self.stage[e] = at
        self.last_stage = max(self.stage.values(), default=0)
        last: dict[Expr, int] = {}  # the last stage that needs it
        for e in self.seen:
            for arg in e.args:
                last[arg] = max(last.get(arg, 0), self.stage[e] - (e.op in ("rowsum", "rowmax")))
        operands = {arg for e in self.seen if e.op == "mm" for arg in e.args}
        # where what crosses stages is read again: where it is written anyway, or in memory of the tile
        self.home: dict[Expr, Place | int] = {}
        for place, e in kernel.writes.items():
            if not place[0].startswith("carry"):
                self.home.setdefault(e, place)
        self.crossing: list[Expr] = []
        for e in self.seen:
            if not self._single(e) and e.op not in LEAVES and (last.get(e, -1) > self.stage[e] or e in operands):
                self.crossing.append(e)
                self.home.setdefault(e, len(self.crossing))

    @staticmethod
    def _single(e: Expr) -> bool:
        return e.width == 1

    def most_products(self) -> int:
        """Of one width in a stage."""
        counts: dict[tuple[int, int], int] = {}
        for e in self.seen:
            if e.op == "mm":
                key = self.stage[e], e.width
                counts[key] = counts.get(key, 0) + 1
        return max(counts.values(), default=1)

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
            e: t.alloca(f"[{rows} x {t.real}]") for e in self.seen if self._single(e) and e.op not in LEAVES
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
                if (kind, shift) in self.bases:
                    continue
                when = t.op(f"add i64 {time}, {shift}")
                if kind == "carry":
                    when = t.op(f"and i64 {when}, 1")
                self.bases[kind, shift] = t.op(f"add i64 {t.op(f'mul i64 {when}, %R')}, %r")
            for stage in range(self.last_stage + 1):
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

    def _slot(self, e: Expr, row: str) -> str:
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
            (p, e) for p, e in self.kernel.writes.items() if self._single(e) and self.stage[e] == stage
        ]  # fmt: skip

        def before(row: str) -> None:
            """Sums over rows that are complete now, what is a single number of each row, and new sums."""
            for e in complete:
                n = self._block(e.args[0].width)
                total = self._total(e, self.t.load(self._part(e, row), n), n)
                t.do(f"store {t.real} {total}, ptr {self._slot(e, row)}")
            values: dict[Expr, str] = {}
            for e in singles:
                args = [self._value(arg, row, "0", 1, values, stage) for arg in e.args]
                values[e] = elementwise(t, e.op, args, 1, e.boolean)
                self.t.store(self._number(e, values[e], 1), self._slot(e, row), 1)
            for place, e in written:
                value = self._number(e, self._value(e, row, "0", 1, values, stage), 1)
                self.t.store(value, self.address(place, row, "0", 1), 1)
            for e in sums:
                n = self._block(e.args[0].width)
                empty = "zeroinitializer" if e.op == "rowsum" else t.splat(-float("inf"), n)
                self.t.store(empty, self._part(e, row), n)

        if complete or singles or written or sums:
            self.each_row(before)
        wide = [(p, e) for p, e in self.kernel.writes.items() if not self._single(e) and self.stage[e] == stage]
        crossing = [e for e in self.crossing if self.stage[e] == stage and isinstance(self.home[e], int)]
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
        lanes = self._block(width)
        most = lanes
        while (
            products and not sums and most >= self.lanes and width % (2 * most) == 0
            and 2 * (most // self.lanes) * len(products) * self.rows <= self.machine.accumulators
        ):  # fmt: skip
            most *= 2

        # no more at a time than registers hold
        groups = -(-len(products) * self.rows // self.machine.accumulators) if products else 0

        def block(column: str, n: int) -> None:
            found: dict[Expr, str] = {}
            for group in range(groups):
                found |= self._products(products[group::groups], column, n)

            def row_of(row: str) -> None:
                values: dict[Expr, str] = {}
                for e in products:
                    values[e] = self.t.load(t.op(f"getelementptr {t.vector(n)}, ptr {found[e]}, i64 {row}"), n)
                for place, e in wanted:
                    value = self._number(e, self._value(e, row, column, n, values, stage), n)
                    self.t.store(value, self.address(place, row, column, n), n)
                for e in crossing:
                    value = self._number(e, self._value(e, row, column, n, values, stage), n)
                    self.t.store(value, self.address(self.home[e], row, column, e.width), n)
                for e in sums:
                    self._add(e, self._value(e.args[0], row, column, n, values, stage), row, n)

            self.each_row(row_of)

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

    def _number(self, e: Expr, value: str, n: int) -> str:
        """A value as it stands in memory."""
        t = self.t
        if not e.boolean:
            return value
        return t.op(f"select <{n} x i1> {value}, {t.vector(n)} {t.splat(1.0, n)}, {t.vector(n)} zeroinitializer")

    def _add(self, e: Expr, value: str, row: str, n: int) -> None:
        """Adds a block of columns to the sum of a row, or to its maximum."""
        t, size = self.t, self._block(e.args[0].width)
        slot = self._part(e, row)
        if n < size:
            # the columns that are left
            slot = t.op(f"getelementptr {t.real}, ptr {slot}, i64 0")
        before = self.t.load(slot, n)
        made = (
            t.arithmetic("fadd", value, before, n)
            if e.op == "rowsum"
            else elementwise(t, "max", [value, before], n, False)
        )
        self.t.store(made, slot, n)

    def _total(self, e: Expr, parts: str, n: int) -> str:
        """The sum or the maximum of n numbers."""
        t = self.t
        if n == 1:
            return t.op(f"extractelement {t.vector(1)} {parts}, i32 0")
        if e.op == "rowsum":
            name = f"@llvm.vector.reduce.fadd.v{n}f{8 * t.bytes}"
            t.declared.add(f"declare {t.real} {name}({t.real}, {t.vector(n)})")
            return t.op(f"call reassoc {t.real} {name}({t.real} 0.0, {t.vector(n)} {parts})")
        while n > 1:
            n //= 2
            halves = []
            for first in (0, n):
                mask = ", ".join(f"i32 {lane}" for lane in range(first, first + n))
                kind = t.vector(2 * n)
                halves.append(t.op(f"shufflevector {kind} {parts}, {kind} poison, <{n} x i32> <{mask}>"))
            parts = elementwise(t, "max", halves, n, False)
        return t.op(f"extractelement {t.vector(1)} {parts}, i32 0")

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
            at = str(begin) if self._single(e) else t.op(f"add i64 {column}, {begin}")
            pointer = t.op(f"getelementptr {t.real}, ptr {self.base(name)}, i64 {at}")
            return self._wide(t.op(f"load {t.real}, ptr {pointer}"), n) if self._single(e) else self.t.load(pointer, n)
        if e.op == "rows":
            if self._single(e):
                return self._wide(t.op(f"load {t.real}, ptr {self.line(e.data, row, 1)}"), n)
            return self.t.load(self.address(e.data, row, column, e.width), n)
        if e in self.ones and (n > 1 or self.stage[e] < stage or e in self.partial):
            return self._truth(e, self._wide(t.op(f"load {t.real}, ptr {self._slot(e, row)}"), n), n)
        if self.stage[e] < stage and e in self.home:
            return self._truth(e, self.t.load(self.address(self.home[e], row, column, e.width), n), n)
        return None

    def _wide(self, scalar: str, n: int) -> str:
        return self.t.broadcast(scalar, n)

    def _truth(self, e: Expr, value: str, n: int) -> str:
        """A value from memory as it is computed with."""
        return self.t.op(f"fcmp une {self.t.vector(n)} {value}, zeroinitializer") if e.boolean else value

    def _products(self, products: list[Expr], column: str, n: int) -> dict[Expr, str]:
        """A block of columns of each product, for each row of the tile, in registers and then in memory."""
        t = self.t
        if not products:
            return {}
        slots = {e: [t.alloca(t.vector(n)) for _ in range(self.rows)] for e in products}
        for e in products:
            for slot in slots[e]:
                self.t.store("zeroinitializer", slot, n)
        # by operand, so that its numbers are fetched once for all products
        users: dict[Expr, list[tuple[Expr, int]]] = {}
        for e in products:
            first = 0
            for operand in e.args:
                users.setdefault(operand, []).append((e, first))
                first += operand.width
        for operand, group in users.items():
            if operand.op == "const" and operand.data[0] == 0:
                continue
            lines = None
            if operand.op != "const":
                lines = [self._operand_line(operand, str(row)) for row in range(self.rows)]
            firsts = []
            for e, first in group:
                name, begin, columns = e.data
                at = t.op(f"add i64 {column}, {first * columns + begin}")
                firsts.append(t.op(f"getelementptr {t.real}, ptr {self.base(name)}, i64 {at}"))

            def inner(
                k: str, operand: Expr = operand, lines: Any = lines, firsts: Any = firsts, group: Any = group
            ) -> None:
                weights = []
                for (e, _), pointer in zip(group, firsts, strict=True):
                    at = t.op(f"mul i64 {k}, {e.data[2]}")
                    weights.append(self.t.load(t.op(f"getelementptr {t.real}, ptr {pointer}, i64 {at}"), n))
                for row in range(self.rows):
                    if lines is None:
                        number = t.splat(operand.data[0], n)
                    else:
                        place = t.op(f"getelementptr {t.real}, ptr {lines[row]}, i64 {k}")
                        number = t.broadcast(t.op(f"load {t.real}, ptr {place}"), n)
                    for (e, _), weight in zip(group, weights, strict=True):
                        slot = slots[e][row]
                        self.t.store(t.call("fma", n, number, weight, self.t.load(slot, n)), slot, n)

            if operand.width == 1:
                inner("0")
            else:
                t.loop("0", str(operand.width), 1, inner)
        found = {}
        for e in products:
            found[e] = t.alloca(f"[{self.rows} x {t.vector(n)}]")
            for row, slot in enumerate(slots[e]):
                self.t.store(self.t.load(slot, n), t.op(f"getelementptr {t.vector(n)}, ptr {found[e]}, i64 {row}"), n)
        return found

    def _operand_line(self, e: Expr, row: str) -> str:
        t = self.t
        if e.op == "parameter":
            return t.op(f"getelementptr {t.real}, ptr {self.base(e.data[0])}, i64 {e.data[1]}")
        if e.op == "rows":
            return self.line(e.data, row, e.width)
        if e in self.ones:
            return self._slot(e, row)
        return self.line(self.home[e], row, e.width)


def _time_of(name: str) -> str:
    """How a buffer's rows are found at a time."""
    return "carry" if name.startswith("carry") else "state" if name.startswith("state") else "rows"


def tile_rows(kernel: Kernel, real: str, machine: Machine) -> int:
    """Rows of a kernel's tiles."""
    return 8


def print_kernel(name: str, kernel: Kernel, real: str, machine: Machine) -> str:
    """A module with one function ``name(t0, t1, first, last, tiles, R, events, tables)``.

    It takes the tiles ``first`` to ``last`` of the table (:meth:`rnnlab.kernels.layout.Layout.tables`) through the
    steps from t0 to t1 or their own end, and at each of their events a lane over into its next sequence. R rows are a
    step's; ``tables`` has for each member the addresses of the buffers.
    """
    tile = Tile(f"{name}_tile", kernel, real, tile_rows(kernel, real, machine), machine)
    text = tile.text()
    attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{8 * machine.bytes}" }}'
    return "\n\n".join([*sorted(tile.t.declared), text, _driver(name, kernel, real), attributes])


def _load_integer(t: Text, table: str, at: str) -> str:
    pointer = t.op(f"getelementptr i64, ptr {table}, i64 {at}")
    return t.op(f"load i64, ptr {pointer}")


def _driver(name: str, kernel: Kernel, real: str) -> str:
    t, order = Text(real), list(kernel.sizes)

    def through(number: str) -> None:
        first = t.op(f"mul i64 {number}, 5")
        row, end, member, begin, last = (
            _load_integer(t, "%tiles", t.op(f"add i64 {first}, {place}")) for place in range(5)
        )
        earlier = t.op(f"icmp slt i64 {end}, %t1")
        stop = t.op(f"select i1 {earlier}, i64 {end}, i64 %t1")
        table = t.op(f"getelementptr ptr, ptr %tables, i64 {t.op(f'mul i64 {member}, {len(order)}')}")
        slot = t.alloca("i64", 8)
        t.do(f"store i64 {stop if kernel.reverse else '%t0'}, ptr {slot}")

        def run_to(time: str) -> None:
            now = t.op(f"load i64, ptr {slot}")
            low, high = (time, now) if kernel.reverse else (now, time)
            t.do(f"call void @{name}_tile(i64 {low}, i64 {high}, i64 {row}, i64 %R, ptr {table})")

        def event(number: str) -> None:
            first = t.op(f"mul i64 {number}, 4")
            step, where, after, before = (
                _load_integer(t, "%events", t.op(f"add i64 {first}, {place}")) for place in range(4)
            )
            inside = t.op(f"and i1 {t.op(f'icmp sge i64 {step}, %t0')}, {t.op(f'icmp slt i64 {step}, {stop}')}")

            def happen() -> None:
                next_step = t.op(f"add i64 {step}, 1")
                time = step if kernel.reverse else next_step
                run_to(time)
                t.do(f"store i64 {time}, ptr {slot}")
                _hand_over(t, kernel, table, step, next_step, where, after, before)

            t.when(inside, happen)

        t.loop(begin, last, 1, event, down=kernel.reverse)
        run_to("%t0" if kernel.reverse else stop)

    t.loop("%first", "%last", 1, through)
    t.do("ret void")
    arguments = "i64 %t0, i64 %t1, i64 %first, i64 %last, ptr %tiles, i64 %R, ptr noalias %events, ptr noalias %tables"
    return "\n".join([f"define void @{name}({arguments}) #0 {{\nentry:", *t.entry, *t.lines, "}"])


def _hand_over(
    t: Text, kernel: Kernel, table: str, step: str, next_step: str, row: str, after: str, before: str
) -> None:  # fmt: skip
    """Between two sequences of a lane: the state is that from which the next one starts; or its gradient is put by, and
    that of the last state of the sequence before goes on.
    """
    order = list(kernel.sizes)

    def line(buffer: str, number: str) -> str:
        pointer = t.op(f"load ptr, ptr {t.op(f'getelementptr ptr, ptr {table}, i64 {order.index(buffer)}')}")
        return t.op(f"getelementptr {t.real}, ptr {pointer}, i64 {t.op(f'mul i64 {number}, {kernel.sizes[buffer]}')}")

    def copy(source: str, target: str, width: int) -> None:
        def number(at: str) -> None:
            value = t.op(f"load {t.real}, ptr {t.op(f'getelementptr {t.real}, ptr {source}, i64 {at}')}")
            t.do(f"store {t.real} {value}, ptr {t.op(f'getelementptr {t.real}, ptr {target}, i64 {at}')}")

        t.loop("0", str(width), 1, number)

    def row_at(time: str) -> str:
        return t.op(f"add i64 {t.op(f'mul i64 {time}, %R')}, {row}")

    for buffer, width in kernel.sizes.items():
        if not kernel.reverse and buffer.startswith("start"):
            copy(line(buffer, after), line(buffer.replace("start", "state"), row_at(next_step)), width)
        if kernel.reverse and buffer.startswith("carry"):
            later, now = (row_at(t.op(f"and i64 {time}, 1")) for time in (next_step, step))
            copy(line(buffer, later), line(buffer.replace("carry", "begun"), after), width)
            copy(line(buffer.replace("carry", "ended"), before), line(buffer, now), width)
