"""A plan's kernels in LLVM's language: a function for a tile, and one that takes all tiles through the steps."""

from rnnlab.kernels.llvm_text import Machine, Text
from rnnlab.kernels.planning import Kernel
from rnnlab.kernels.tile import Tile


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
