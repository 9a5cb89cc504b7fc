"""The lines of a function in LLVM's language."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

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
