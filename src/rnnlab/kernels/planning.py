"""What the two kernels of a traced step compute, as expressions on pieces of a row, and what is left to products.

A value of the trace ``(batch, …)`` is a row of numbers for each sequence. Operations that only move numbers (``chunk``,
``cat``, ``view``, slices) cost nothing: every other value is cut into the pieces that its users take from it, so that
each piece is made from whole pieces. The forward kernel takes the state over one step. The backward kernel takes the
gradient back over one step and hands out the rows (edges) from which the gradients of parameters and of x are found
by matrix products over many steps at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from rnnlab.kernels.expressions import CHEAP, ELEMENTWISE, LEAVES, Expr, below
from rnnlab.kernels.nodes import BACKWARD, INPUT, PARAMETERS, STATE, Node, Trace, needed
from rnnlab.kernels.origins import LAYOUT, REDUCED, packet_of, width_of
from rnnlab.kernels.pieces import Pieces, panels_of

aten: Any = torch.ops.aten

Place = tuple[str, int, int]
"""A buffer, the first number in its row, and steps later."""


@dataclass
class Kernel:
    """One direction.

    Attributes:
        reverse: from the last step to the first.
        writes: what it writes where. To ``total``, of which each tile has a row, it is added.
        sizes: of the buffers that it is handed: numbers in a row, 0 for parameters. ``start`` (a row for each
            sequence) is the state before its first step, ``begun`` its gradient, ``ended`` that of its last state;
            ``held`` is not 0 where a row holds a step.
        panels: weights of products that are handed over so many columns after the other.
    """

    reverse: bool
    writes: dict[Place, Expr] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    panels: dict[str, int] = field(default_factory=dict)

    def expressions(self) -> list[Expr]:
        """All that it needs, each after those that it is made of."""
        return below(self.writes.values())

    @property
    def work(self) -> int:
        """Multiply-adds of a row at a step, or what takes as long: a number that is read or written counts as 16."""
        products = (e.width * sum(arg.width for arg in e.args) for e in self.expressions() if e.op == "mm")
        return 16 * sum(self.sizes.values()) + sum(products)


@dataclass
class Plan:
    """How a traced step is run.

    Attributes:
        trace: the step.
        forward: the kernel.
        backward: the kernel.
        parameters: by name what is handed to the kernels as a contiguous tensor: a node, and what is done to its value,
            which may have an axis of members in front.
        inputs: by name the values that depend on x alone and are read by the kernels.
        masked: as ``backward``, where some rows hold no step.
        edges: by name the nodes that the backward kernel writes for the operations after it.
        totals: sums over rows that it finds itself, and where they begin in those of a tile.
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
    masked: Kernel
    parameters: dict[str, tuple[Node, Callable[[torch.Tensor], torch.Tensor]]]
    inputs: dict[str, Node]
    edges: dict[str, Node]
    totals: dict[Node, int]
    saved: int
    before: list[Node]
    of_inputs: list[Node]
    after: list[Node]
    rows_for_after: list[Node]
    output: int | None


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
    totals: dict[Node, int] = {}
    total = 0
    for node in sorted(needed(wanted), key=lambda node: node.number):
        gone = after | totals.keys()
        if node in carried or node.kind == PARAMETERS:
            continue
        if node.kind < BACKWARD and (node.dtype is None or node.shape[:1] == (found.marker,)):
            continue  # but for what only the gradient of a matrix needs: the rows of its operand as columns
        if _row_by_row(node, gone, found.marker):
            continue
        if _is_total(node, gone, found.marker):
            totals[node], total = total, total + width_of(node.args[0])
        else:
            after.add(node)
    edges: list[Node] = []
    rows_for_after: list[Node] = []
    gone = after | totals.keys()
    roots = [root for root in wanted if root is not None and root not in gone and root.kind >= STATE]
    done = sorted(after, key=lambda node: node.number)
    for node in [*(arg for user in done for arg in user.inputs()), *roots]:
        if node in gone:
            continue
        if node.kind == INPUT or node in found.states:
            rows_for_after.append(node)
        elif node.kind >= STATE:
            edges.append(node)
    edges, rows_for_after = list(dict.fromkeys(edges)), list(dict.fromkeys(rows_for_after))
    grads = [grad for grad in found.grad_states if grad is not None]
    summed = [node.args[0] for node in totals]
    pieces.cut([*results, *grads, *edges, *summed])

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
    for node, begin in totals.items():
        backward.writes |= {("total", begin + at, 0): expr for at, expr in pieces.pieces(node.args[0])}
    saved = _save(pieces, forward, backward)
    held, zero = pieces.e.make("rows", data=("held", 0, 0), width=1), pieces.e.const(0)
    masked = Kernel(True)
    for place, expr in backward.writes.items():
        # whatever stands there, not-a-number included
        masked.writes[place] = pieces.e.make("where", held, expr, zero) if place[0] == "total" else expr

    used = {
        expr.data[0]
        for kernel in (forward, backward)
        for expr in kernel.expressions()
        if expr.op in ("rows", "parameter", "mm")
    }
    inputs = {name: node for name, node in pieces.origins.inputs.items() if name in used}
    parameters = {name: value for name, value in pieces.origins.parameters.items() if name in used}
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
        "total": total,
        **vectors,
    }
    masked.sizes = {**backward.sizes, "held": 1}
    of_done = [arg for node in done for arg in node.inputs() if arg.kind <= INPUT]
    basis = needed([*inputs.values(), *(node for node, _ in parameters.values()), *of_done])
    ordered = [node for node in sorted(basis, key=lambda node: node.number) if node.op != "input"]
    return Plan(
        trace=found, forward=forward, backward=backward, masked=masked, parameters=parameters, inputs=inputs,
        edges=names, totals=totals, saved=saved,
        before=[node for node in ordered if node.kind == PARAMETERS],
        of_inputs=[node for node in ordered if node.kind == INPUT],
        after=done, rows_for_after=rows_for_after, output=output,
    )  # fmt: skip


def in_panels(found: Plan, columns: int, longer: int) -> None:
    """Has weights handed over a panel of columns after the other, as products go through them: a column of a weight
    whose rows are a power of two long falls into so few places of a cache that they push each other out.

    Args:
        found: the plan.
        columns: of a panel, the most that a kernel takes at a time.
        longer: numbers of a row of a weight, and no fewer, for which that is done.
    """
    kernels = found.forward, found.backward, found.masked
    parts: dict[str, list[int]] = {}
    for e in (e for kernel in kernels for e in kernel.expressions() if e.op == "mm"):
        name, begin, whole = e.data
        parts.setdefault(name, [whole]).extend((begin, e.width))
    fit = [name for name, (whole, *rest) in parts.items()
           if whole >= longer and not any(number % columns for number in (whole, *rest))]  # fmt: skip
    for name in fit:
        found.parameters[name] = found.parameters[name][0], partial(panels_of, width=columns)
    for kernel in kernels:
        kernel.panels = dict.fromkeys(fit, columns)


def _row_by_row(node: Node, gone: set[Node], marker: int) -> bool:
    """Whether a value of the backward pass, made of none of ``gone``, can be left to the kernel."""
    packet = packet_of(node.args[0]) if node.op == "item" else packet_of(node)
    if node.op == "input":
        return True
    if node.shape[:1] != (marker,) and node.dtype is not None:
        return False
    if packet in REDUCED and (len(node.args) < 2 or not node.args[1] or 0 in node.args[1]):
        return False
    if packet not in ELEMENTWISE and packet not in LAYOUT and packet not in REDUCED:
        return False
    return not any(arg in gone for arg in node.inputs())


def _is_total(node: Node, gone: set[Node], marker: int) -> bool:
    """Whether it is a sum over the rows of what the kernel finds row by row."""
    if node.op is not aten.sum.dim_IntList or list(node.args[1]) != [0] or node.kwargs:
        return False
    what = node.args[0]
    return what.kind >= STATE and what.shape[:1] == (marker,) and what not in gone


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
