"""What a cell looks like: who acts on whom within one step, and what its initial weights remember."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from pagemaker.prose import Equation
from rnnlab.cells.cell import Cell
from rnnlab.data.adding import Adding
from rnnlab.instruments import style
from rnnlab.spec import Batch

# ---- who acts on whom -------------------------------------------------------------------------

SYMBOL = re.compile(r"(?<![A-Za-z])([A-Za-zα-ωΑ-Ωāēū]\u0304?)(?:'|̂)?(?:\^[a-z])?_(\{t-1\}|\{t-j\}|t)(?![A-Za-z])")
GROUP = re.compile(r"\(([^()]*)\)_t")
GATE, CANDIDATE, SUM, INPUT = "gate", "squashed", "sum", "given"
LOOKS = {GATE: "#FBE3C0", CANDIDATE: "#CDEBE1", SUM: "#D3E6F4", INPUT: "#EFEFEF"}
EDGES = {GATE: style.ORANGE, CANDIDATE: style.GREEN, SUM: style.BLUE, INPUT: style.QUIET}


@dataclass
class Node:
    """A variable of one step: how it is written, what it is, and on what it depends."""

    label: str
    kind: str
    sources: list[str] = field(default_factory=list)
    place: tuple[float, float] = (0.0, 0.0)


def graph(equations: list[Equation]) -> dict[str, Node]:
    """The variables of a step by name, each after those that it depends on.

    A variable of the step before has a ``-`` behind its name. Empty where the equations are of another form.
    """
    nodes: dict[str, Node] = {}
    steps = [each for each in equations if SYMBOL.fullmatch(each.left) or GROUP.fullmatch(each.left)]
    for each in steps:
        group = GROUP.fullmatch(each.left)
        names = [part.strip() for part in group[1].split(",")] if group else [SYMBOL.fullmatch(each.left)[1]]  # type: ignore[index]
        kind = GATE if group else _kind(each.right)
        for symbol, when in SYMBOL.findall(each.right):
            source = symbol if when == "t" else f"{symbol}-"
            if source not in nodes:
                nodes[source] = Node(f"${_math(symbol)}_{{{when.strip('{}')}}}$", INPUT)
        sources = list(dict.fromkeys(s if when == "t" else f"{s}-" for s, when in SYMBOL.findall(each.right)))
        for name in names:
            if name in nodes and nodes[name].kind != INPUT:
                return {}
            nodes.pop(name, None)
            nodes[name] = Node(f"${_math(name)}_t$", kind, sources)
    # a picture that leaves something out would be worse than none: all that is given is the input and states of before
    given = {name for name, node in nodes.items() if node.kind == INPUT and not name.endswith("-")}
    told = all(node.sources for node in nodes.values() if node.kind != INPUT)
    return nodes if told and given <= {"x"} and any(name.rstrip("-") == "x" for name in nodes) else {}


def _kind(right: str) -> str:
    """A gate or a candidate is one squashing function of a sum, perhaps times a constant."""
    outside = right
    while "(" in outside and ")" in outside:
        outside, before = re.sub(r"\([^()]*\)", "", outside), outside
        if outside == before:
            break
    if "⊙" in outside or " + " in outside or " - " in outside:
        return SUM
    if re.match(r"\W*(Δ )?(σ|exp)\b", right):
        return GATE
    return CANDIDATE if re.match(r"(tanh|φ|g)\(", right) else SUM


def _math(symbol: str) -> str:
    letter = {"ā": r"\bar{a}"}.get(symbol, symbol[0])
    return rf"\bar{{{letter}}}" if symbol.endswith("\u0304") else letter


def _place(nodes: dict[str, Node]) -> None:
    """States of the step before on the left, each at the height of its successor; the input at the bottom."""
    depth: dict[str, int] = {}
    for name, node in nodes.items():
        depth[name] = max((depth.get(source, 0) + 1 for source in node.sources), default=0)
    states = [name for name in nodes if f"{name}-" in nodes]
    inner = [name for name in nodes if nodes[name].kind != INPUT and name not in states]
    last = max(depth.values())
    final = [name for name in inner if depth[name] == last]
    inner = [name for name in inner if name not in final]
    # states first defined run along the top, the last of several along the bottom, so that gates stand between
    low = states[-1:] if len(states) > 1 else []
    high = [name for name in states if name not in low]
    columns: dict[int, list[str]] = {}
    for name in inner:
        columns.setdefault(depth[name], []).append(name)
    rows = max(map(len, columns.values()), default=0)
    rows = rows or 0.6  # type: ignore[assignment]
    for column, names in columns.items():
        for i, name in enumerate(names):
            nodes[name].place = (column, (rows - len(names)) / 2 + len(names) - 1 - i)
    for i, name in enumerate(high):
        nodes[name].place = (depth[name], rows + 0.15 + 0.95 * (len(high) - 1 - i))
    for name in low:
        nodes[name].place = (depth[name], -1.15 if columns else -0.8)
    for name in final:
        nodes[name].place = (depth[name], (rows - 1) / 2)
    floor = min((node.place[1] for node in nodes.values()), default=0.0)
    for name, node in nodes.items():
        if node.kind == INPUT:
            of = name.rstrip("-")
            node.place = (
                0,
                nodes[of].place[1] if name.endswith("-") and of in states else floor - (0.95 if low else 1.0),
            )
    given = [node for node in nodes.values() if node.kind == INPUT and node.place[1] == floor - (0.95 if low else 1.0)]
    for i, node in enumerate(given):
        node.place = (0, node.place[1] + 0.9 * (len(given) - 1 - i) if len(given) > 1 and not low else node.place[1])


def flow(equations: list[Equation]) -> Figure | None:
    """A step of the cell as a picture of what depends on what; ``None`` where the equations do not tell."""
    nodes = graph(equations)
    if not any(name.endswith("-") for name in nodes):
        return None
    _place(nodes)
    gloss = {SYMBOL.fullmatch(e.left)[1]: e.gloss for e in equations if SYMBOL.fullmatch(e.left) and e.gloss}  # type: ignore[index]
    xs = [node.place[0] for node in nodes.values()]
    ys = [node.place[1] for node in nodes.values()]
    wide, high = 1.75, 0.78
    fig = Figure(
        figsize=(wide * (max(xs) - min(xs)) + 2.0, high * (max(ys) - min(ys)) + 1.35), dpi=style.DPI, facecolor="white"
    )
    ax = fig.add_axes((0, 0, 1, 1))
    ax.axis("off")
    ax.set_xlim(-1.0, wide * max(xs) + 1.0)
    ax.set_ylim(high * min(ys) - 0.85, high * max(ys) + 0.5)
    ax.set_aspect("equal")
    box = (0.42, 0.23)
    for name, node in nodes.items():
        to = (node.place[0] * wide, node.place[1] * high)
        for source in node.sources:
            if source == name:
                continue
            start = nodes[source]
            begin = (start.place[0] * wide, start.place[1] * high)
            ahead = to[0] > begin[0]
            a = (begin[0] + box[0], begin[1]) if ahead else (begin[0], begin[1] + np.sign(to[1] - begin[1]) * box[1])
            b = (to[0] - box[0], to[1]) if ahead else (to[0], to[1] - np.sign(to[1] - begin[1]) * box[1])
            ax.add_patch(_arrow(a, b, EDGES[start.kind], level=abs(a[1] - b[1]) < 1e-6))
    for name, node in nodes.items():
        x, y = node.place[0] * wide, node.place[1] * high
        ax.add_patch(
            FancyBboxPatch(
                (x - box[0], y - box[1]), 2 * box[0], 2 * box[1], boxstyle="round,pad=0,rounding_size=0.12",
                facecolor=LOOKS[node.kind], edgecolor=EDGES[node.kind], linewidth=1.2, zorder=3,
            )
        )  # fmt: skip
        words = gloss.get(name, "")
        words = words if len(words) < 22 and "=" not in words and node.kind != INPUT else ""
        ax.text(x, y, node.label, size=14, ha="center", va="center", color=style.INK, zorder=4)
        if words:
            ax.text(
                x, y - box[1] - 0.04, words, size=7.5, ha="center", va="top", color=style.QUIET, zorder=5,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
            )  # fmt: skip
    kinds = [kind for kind in (INPUT, GATE, CANDIDATE, SUM) if any(node.kind == kind for node in nodes.values())]
    says = {INPUT: "given", GATE: "gate", CANDIDATE: "squashed", SUM: "combined"}
    place = 0.0
    for kind in kinds:
        ax.scatter([-0.9 + place], [high * min(ys) - 0.62], s=70, marker="s", c=LOOKS[kind], edgecolors=EDGES[kind])
        ax.text(-0.78 + place, high * min(ys) - 0.62, says[kind], size=8, va="center", color=style.QUIET)
        place += 0.95
    return fig


def _arrow(begin: tuple[float, float], end: tuple[float, float], colour: str, level: bool) -> FancyArrowPatch:
    from matplotlib.path import Path

    dx = (end[0] - begin[0]) * 0.5
    if level or dx <= 0:
        path = Path([begin, end])
    else:
        path = Path(
            [begin, (begin[0] + dx, begin[1]), (end[0] - dx, end[1]), end],
            [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
        )
    return FancyArrowPatch(
        path=path, arrowstyle="-|>,head_length=4,head_width=2.2", color=colour, linewidth=1.3, alpha=0.85, zorder=2,
        shrinkA=0, shrinkB=0, fill=False,
    )  # fmt: skip


# ---- what initial weights remember ---------------------------------------------------------------

UNITS, FEATURES, SHOWN, STEPS, BATCH = 48, 4, 100, 200, 8
OTHERS = ("rnn", "lstm", "gru")
PLACES = ((0.035, 0.125, 0.455, 0.6), (0.497, 0.125, 0.01, 0.6), (0.615, 0.125, 0.375, 0.6))
"""Left, bottom, width and height of the echo, its scale and the reach, as shares of the figure."""
Make = Callable[[str], Cell]


@torch.no_grad()
def echo(cell: Cell) -> np.ndarray:
    """``(units, steps)``: by how much the state differs where the first input alone is another."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, SHOWN, FEATURES, generator=generator)
    other = x.clone()
    other[:, 0] += torch.randn(1, FEATURES, generator=generator)
    records: list[list] = [[], []]
    for way, record in zip((x, other), records, strict=True):
        cell.unroll(way, record=record)
    difference = [cell.memory(b) - cell.memory(a) for a, b in zip(*records, strict=True)]
    stacked = torch.stack(difference)[:, 0]
    return (stacked.real if stacked.is_complex() else stacked).flatten(1).T.double().numpy()


def reach(cell: Cell) -> np.ndarray:
    """``(steps,)``: the gradient of the last output with respect to the input of k steps ago, as a share of its sum."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, STEPS, FEATURES, generator=generator).requires_grad_()
    output, _ = cell(x)
    weights = torch.randn(output[:, -1].shape, generator=generator)
    (gradient,) = torch.autograd.grad((output[:, -1] * weights).sum(), x)
    return gradient.detach().norm(dim=-1).mean(0).flip(0).double().numpy()


def memory(name: str, make: Make) -> Figure:
    """What one input leaves in the state, unit by unit; and how far back the gradient reaches, beside the classics."""
    cell = make(name)
    fig = style.figure(
        f"What {name} remembers before it has learned anything",
        f"{UNITS} units at their initial weights, reading noise. Left: how the state differs, step by step, if nothing "
        "but the first input was another. Right: how the last output depends on the input of so many steps ago.",
        9.6, 3.5,
    )  # fmt: skip
    # laid out by hand: the layout engine would take most of the time that all these pictures take
    fig.set_layout_engine("none")
    left, bar_place, right = (fig.add_axes(place) for place in PLACES)
    difference = echo(cell)
    # units whose difference dies first stand at the top
    span = np.abs(difference)
    order = np.argsort((span * np.arange(span.shape[1])).sum(1) / np.maximum(span.sum(1), 1e-12))
    most = float(np.quantile(span, 0.995)) or float(span.max()) or 1.0
    image = left.imshow(
        difference[order] / most, aspect="auto", cmap=style.DIVERGING, vmin=-1, vmax=1, interpolation="nearest",
        extent=(0.5, SHOWN + 0.5, len(order) + 0.5, 0.5),
    )  # fmt: skip
    style.dress(left, "steps since the other input", "unit", grid=False)
    left.set_yticks([])
    bar = fig.colorbar(image, cax=bar_place, ticks=[-1, 0, 1])
    bar.ax.tick_params(labelsize=style.TICK, color=style.FAINT, labelcolor=style.INK)
    bar.outline.set_visible(False)
    for other, colour in zip(OTHERS, (style.ORANGE, style.GREEN, style.PURPLE), strict=True):
        if other != name:
            right.plot(_shares(_reach_of(other, make)), color=colour, linewidth=1.2, alpha=0.8, label=other)
    right.plot(_shares(reach(cell)), color=style.BLUE, linewidth=2.6, label=name)
    style.dress(right, "steps ago", "gradient, the latest input's = 1")
    right.set_yscale("log")
    right.set_ylim(1e-7, 30)
    right.set_xlim(0, STEPS - 1)
    right.minorticks_off()
    right.legend(fontsize=style.TICK, frameon=False, loc="lower left", bbox_to_anchor=(-0.03, 0.98), ncols=4)
    return fig


# ---- gates over time -------------------------------------------------------------------------------

GATED_UNITS, GATED_STEPS, LESSONS, LESSON = 16, 12, 250, 32
"""Units and steps of what is drawn, and the training behind it: updates, and sequences an update."""
RATE, MEAN = 0.02, 1 / 6
"""Of Adam; and the squared error of who always says 1, the mean."""


def gates(name: str, factory: Callable[[int, int], Cell]) -> Figure | None:
    """Every gate of a cell along a sequence of the adding problem, before and after some updates; ``None`` without.

    The adding problem (:class:`rnnlab.data.adding.Adding`) asks for the sum of the two numbers that are marked: what a
    gate is good for is seen at the marks.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cell = factory(2, GATED_UNITS)
        readout = torch.nn.Linear(GATED_UNITS, 1)
        data = Adding(num_samples=LESSON * LESSONS + 200, min_length=GATED_STEPS, length=GATED_STEPS)
        shown = data.split("test").inputs[:1]
        before = _gates_along(cell.eval(), shown)
        if not before:
            return None
        error = _learn_to_add(cell.train(), readout, data)
        after = _gates_along(cell.eval(), shown)
    names, stages = list(before), {"before": before}
    told = f"after {LESSONS} updates the squared error is {style.short(error)}, that of the mean {MEAN:.2f}"
    if error < MEAN / 2:
        stages["after"] = after
    else:
        told += ": it has learned nothing yet that its gates could show"
    fig = style.figure(
        f"The gates of {name} over time" + (", before and after learning to add" if len(stages) > 1 else ""),
        f"a sequence of the adding problem: every step shows a number, two are marked (dotted) and their sum is asked "
        f"at the end. {GATED_UNITS} units; {told}",
        9.6, 1.6 + 1.15 * len(names),
    )  # fmt: skip
    fig.set_layout_engine("none")
    heights = [0.45, *[1.0] * len(names)]
    grid = fig.subplots(
        len(names) + 1, len(stages), sharex=True, squeeze=False,
        gridspec_kw={
            "height_ratios": heights, "left": 0.1, "right": 0.9, "top": 1 - 1.12 / fig.get_figheight(),
            "bottom": 0.5 / fig.get_figheight(), "hspace": 0.12, "wspace": 0.05,
        },
    )  # fmt: skip
    marks = torch.nonzero(shown[0, :, 1])[:, 0].tolist()
    image = None
    for column, (when, found) in enumerate(stages.items()):
        top = style.dress(grid[0, column], title=when, grid=False)
        top.bar(range(GATED_STEPS), shown[0, :, 0].numpy(), color=style.FAINT)
        top.bar(marks, shown[0, marks, 0].numpy(), color=style.VERMILION)
        top.set_yticks([])
        for ax, gate in zip(grid[1:, column], names, strict=True):
            style.dress(ax, "", gate if not column else "", grid=False)
            order = np.argsort(list(stages.values())[-1][gate].mean(0), kind="stable")
            image = ax.imshow(
                found[gate][:, order].T, aspect="auto", cmap=style.SEQUENTIAL, vmin=0, vmax=1, interpolation="nearest"
            )
            ax.set_yticks([])
            for mark in marks:
                ax.axvline(mark, color="white", linestyle=":", linewidth=1.4)
        grid[-1, column].set_xlabel("time step", size=style.LABEL, color=style.INK)
        style.whole_numbers(grid[-1, column].xaxis)
    bar = fig.colorbar(image, cax=fig.add_axes((0.915, 0.5 / fig.get_figheight(), 0.012, 0.6)), ticks=[0, 0.5, 1])
    bar.ax.tick_params(labelsize=style.TICK, color=style.FAINT, labelcolor=style.INK)
    bar.set_label("0 shut … 1 open", size=style.TICK)
    bar.outline.set_visible(False)
    return fig


@torch.no_grad()
def _gates_along(cell: Cell, x: torch.Tensor) -> dict[str, np.ndarray]:
    """``(time, units)`` of each gate along one sequence."""
    state = cell.initial_state(1)
    found: dict[str, list[np.ndarray]] = {}
    for step in x.unbind(1):
        for gate, values in cell.gates(step, state).items():
            found.setdefault(gate, []).append(values[0].numpy())
        _, state = cell.step(step, state)
    return {gate: np.stack(values) for gate, values in found.items()}


def _learn_to_add(cell: Cell, readout: torch.nn.Linear, data: Adding) -> float:
    """Some updates by Adam; returns the mean squared error on sequences that were not among them."""
    optimizer = torch.optim.Adam([*cell.parameters(), *readout.parameters()], lr=RATE)

    def error(batch: Batch) -> torch.Tensor:
        return torch.nn.functional.mse_loss(readout(cell(batch.inputs)[0][:, -1]), batch.targets)

    train = data.split("train")
    for update in range(LESSONS):
        optimizer.zero_grad()
        start = update * LESSON % (len(train) - LESSON)
        error(train.batch(slice(start, start + LESSON))).backward()
        torch.nn.utils.clip_grad_norm_(cell.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        return float(error(data.split("test").batch(slice(None))))


@cache
def _reach_of(name: str, make: Make) -> np.ndarray:
    return reach(make(name))


def _shares(gradient: np.ndarray) -> np.ndarray:
    # below what single precision can tell there is nothing to see
    shares = gradient / max(float(gradient[0]), 1e-30)
    return np.where(shares > 1e-9, shares, np.nan)
