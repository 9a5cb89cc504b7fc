"""In which stage of a step each expression is made, and where it is kept for later stages.

A product, or a sum over a row, begins a new stage where what it works on was made in the one before.
"""

from rnnlab.kernels.expressions import LEAVES, Expr
from rnnlab.kernels.planning import Kernel, Place


def is_single(e: Expr) -> bool:
    """Whether it is one number of each row."""
    return e.width == 1


class Schedule:
    """The stages of a kernel.

    Attributes:
        seen: all expressions, each after those that it is made of.
        stage: in which each is made.
        last_stage: the highest of them.
        home: where what crosses stages is read again: where it is written anyway, or a number for memory of the tile.
        crossing: what needs memory of the tile, in order.
    """

    def __init__(self, kernel: Kernel) -> None:
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
        self.home: dict[Expr, Place | int] = {}
        for place, e in kernel.writes.items():
            if not place[0].startswith(("carry", "total")):
                self.home.setdefault(e, place)
        self.crossing: list[Expr] = []
        for e in self.seen:
            if not is_single(e) and e.op not in LEAVES and (last.get(e, -1) > self.stage[e] or e in operands):
                self.crossing.append(e)
                self.home.setdefault(e, len(self.crossing))
