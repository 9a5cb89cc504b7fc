"""What one step does to a small difference between two states: the Jacobian's spectrum, and Lyapunov exponents."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Circle
from torch import Tensor

from rnnlab.cells.cell import Cell, map_state
from rnnlab.cells.eigenvalues import eigenvalues
from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture, Table, cell_name, some
from rnnlab.instruments.subject import Subject, Walk, walk
from rnnlab.shapes import State

SEQUENCES = 8
EFFORT = 3e10
"""Multiplications that may be spent on a cell: some seconds of one processor core."""
TRANSIENT = 0.1
"""Share of the steps that is left out of the exponents: until the directions have turned to where they grow most."""
LOOKED_AT = 6
"""Steps whose eigenvalues are drawn."""
LARGEST = 1536
"""Numbers of a state up to which they are: beyond, the eigenvalues of a few Jacobians would take minutes."""
FLOOR = -8.0
"""Of the exponents that are drawn, in nats a step: below it a difference is gone after two steps."""
CELLS = 2
EXPONENTS = 128
"""At most as many of a spectrum are drawn, the largest."""


@dataclass(frozen=True)
class CellDynamics:
    """Of one cell.

    Attributes:
        eigenvalues: complex ``(times, sequences * state)`` of ∂s_t/∂s_{t-1}.
        times: at which steps.
        exponents: ``(sequences, state)`` Lyapunov exponents in nats a step, the largest first.
        steps: over which they are a mean.
        before: the same before training, where it is known.
    """

    eigenvalues: np.ndarray
    times: list[int]
    exponents: np.ndarray
    steps: int
    before: np.ndarray | None

    @property
    def largest(self) -> float:
        """The mean of the sequences' largest exponents."""
        return float(self.exponents[:, 0].mean())

    @property
    def spread(self) -> float:
        """The standard deviation of the largest exponent over the sequences."""
        return float(self.exponents[:, 0].std())

    @property
    def radius(self) -> float:
        """The largest absolute eigenvalue."""
        return float(np.abs(self.eigenvalues).max())


Dynamics = Mapping[str, CellDynamics]
"""By the cell's name."""


class Lyapunov(Instrument[Dynamics]):
    """Eigenvalues of the recurrent Jacobian along the way, and the Lyapunov spectrum.

    The state s is the whole state of a cell, as the LSTM's (h, c). The input
    of the cell is given, so that of stacked layers each has its own spectrum,
    and that of the network is all of them together (its Jacobian is block
    triangular). Exponents are by the QR method of G. Benettin et al. (1980) as
    R. Engelken, F. Wolf & L. F. Abbott have it for recurrent networks
    ("Lyapunov spectra of chaotic recurrent neural networks", 2020, arXiv
    2006.02427): Q_t R_t = J_t Q_{t-1}, λ_i = mean over t of log |R_t,ii|.
    """

    along_time = True
    rank = 20
    title = "What one step does to a small difference: Jacobian and Lyapunov exponents"
    reading = (
        "Eigenvalues within the dashed circle shrink a difference between two states, outside of it they let it grow; "
        "the Lyapunov exponents say what becomes of it in the long run: it is forgotten (below 0), kept (near 0), or "
        "blown up, as in chaos (above 0)."
    )

    def missing(self, subject: Subject) -> str | None:
        longest = subject.full(1).inputs.shape[1]
        if longest <= 2:
            return "sequences of fewer than three steps have no long run"
        cell = subject.network.cells()[0]
        size = _flat(cell.initial_state(1))[0].shape[1]
        if size > LARGEST:
            return (
                f"a state of {type(cell).__name__} is {size:,} numbers, too many for its Jacobian (at most {LARGEST:,})"
            )
        return None

    def measure(self, subject: Subject) -> Dynamics:
        now = self._exponents(subject)
        before: dict[str, tuple[Any, ...]] = {}
        if "before training" in subject.stages:
            with subject.at("before training"):
                before = self._exponents(subject)
        return {
            name: CellDynamics(eigenvalues, times, exponents, steps, before[name][2] if name in before else None)
            for name, (eigenvalues, times, exponents, steps) in now.items()
        }

    def _exponents(self, subject: Subject) -> dict[str, tuple[np.ndarray, list[int], np.ndarray, int]]:
        network = subject.network
        batch = subject.full(SEQUENCES)
        ways = 2 if network.bidirectional else 1
        numbers = [ways * layer + way for layer in some(network.num_layers, CELLS) for way in range(ways)]
        walks = walk(network, batch)
        found = {}
        for number in numbers:
            cell, way = network.cells()[number], walks[number]
            sequences, steps = affordable(cell, way)
            jacobians = along(cell, way, sequences, steps)
            times = some(len(jacobians), LOOKED_AT)
            values = eigenvalues(jacobians[times]).flatten(1).numpy()
            exponents = lyapunov_exponents(jacobians)
            found[cell_name(network, number)] = (values, times, exponents.numpy(), len(jacobians))
        return found

    def draw(self, subject: Subject, measured: Dynamics) -> Picture:
        first = next(iter(measured.values()))
        fig = style.figure(
            "What one step does to a small difference between two states",
            f"along {_sequences(first)}; largest Lyapunov exponent "
            + "; ".join(f"{name + ': ' if name else ''}{_exponent(each)}" for name, each in measured.items()),
            width=10.4,
            height=4.3 * len(measured),
        )
        grid = fig.subplots(len(measured), 2, squeeze=False, width_ratios=(1, 1.15))
        reach = _reach(measured.values())
        for (left, right), (name, each) in zip(grid, measured.items(), strict=True):
            _plane(left, each, reach, _title(name, "eigenvalues of the Jacobian"))
            norm = Normalize(0, max(1, each.times[-1]))
            style.colour_bar(fig, ScalarMappable(norm, style.colour_map(style.SEQUENTIAL)), left, "time step")
            _spectrum(right, _title(name, "Lyapunov exponents"))
            if each.before is not None:
                _exponents(right, each.before, "before training", color=style.ORANGE, linewidth=1.5)
            _exponents(right, each.exponents, "kept weights", color=style.BLUE, linewidth=2.4, spread=True)
            right.legend(fontsize=style.TICK, frameon=False)
        rows = []
        for name, each in measured.items():
            for when, exponents in (("before training", each.before), ("kept weights", each.exponents)):
                if exponents is not None:
                    radius = each.radius if when == "kept weights" else math.nan
                    rows.append((name or "the cell", when, *_told(exponents), radius))
        table = Table(("cell", "weights", *TOLD, "largest |eigenvalue|"), rows)
        facts = {
            f"largest Lyapunov exponent{', ' + name if name else ''}": _exponent(each)
            for name, each in measured.items()
        }
        return Picture(fig, table, facts)

    def compare(self, measured: Mapping[str, Dynamics]) -> Picture:
        firsts = {name: next(iter(each.values())) for name, each in measured.items()}
        panels = len(firsts) + 1
        columns = min(4, panels)
        rows = -(-panels // columns)
        layer = " of the first layer" if any(len(each) > 1 for each in measured.values()) else ""
        fig = style.figure(
            "What one step does to a small difference between two states",
            f"eigenvalues of the Jacobian along the sequences, early (dark) to late (light), and the Lyapunov exponents"
            f"{layer}, mean over the sequences",
            width=3.3 * columns + 0.4,
            height=3.6 * rows,
        )
        grid = fig.subplots(rows, columns, squeeze=False).flatten()
        reach = _reach(firsts.values())
        for ax, (name, each) in zip(grid, firsts.items(), strict=False):
            _plane(ax, each, reach, f"{name}: λ₁ = {each.largest:.3f}")
        last = grid[len(firsts)]
        _spectrum(last, "Lyapunov exponents")
        for (name, each), colour in zip(firsts.items(), style.colours(len(firsts)), strict=True):
            _exponents(last, each.exponents, name, color=colour, linewidth=2.2)
        last.set_box_aspect(1)
        last.legend(fontsize=style.TICK - 1, frameon=False)
        for ax in grid[panels:]:
            ax.set_visible(False)
        told = [(name, *_told(each.exponents), each.radius) for name, each in firsts.items()]
        table = Table(("run", *TOLD, "largest |eigenvalue|"), told)
        return Picture(fig, table, {name: f"largest exponent {_exponent(each)}" for name, each in firsts.items()})


TOLD = ("largest exponent", "± over sequences", "exponents above 0", "a difference halves (or doubles) in steps")


# ---- measuring -------------------------------------------------------------------------------------


def jacobian(cell: Cell[Any], x: Tensor, state: State) -> Tensor:
    """``(batch, n, n)`` of one step: row i, column j is ∂(new state)_i / ∂(state)_j, with the input ``x`` given.

    The state's tensors stand one after the other, each as a row. One step of
    n copies of each sequence, and one backward pass that asks each copy for
    one row: any cell will do whose sequences don't mix.
    """
    flat, shapes = _flat(state)
    batch, size = flat.shape
    with torch.inference_mode(False), torch.enable_grad():
        copies = flat.detach().repeat_interleave(size, 0).requires_grad_()
        _, after = cell.step(x.detach().repeat_interleave(size, 0), _unflat(copies, shapes, state))
        new, _ = _flat(after)
        rows = torch.eye(size, dtype=new.dtype, device=new.device).repeat(batch, 1)
        (gradient,) = torch.autograd.grad(new, copies, rows, allow_unused=True, materialize_grads=True)
    return gradient.view(batch, size, size)


def along(cell: Cell[Any], way: Walk, sequences: int, steps: int) -> Tensor:
    """``(steps, sequences, n, n)`` Jacobians along a way, in double precision, from its first step on."""
    found = []
    for t in range(min(steps, way.inputs.shape[1])):
        state = map_state(lambda part, t=t: part[:sequences, t], way.before)
        found.append(jacobian(cell, way.inputs[:sequences, t], state).double().cpu())
    return torch.stack(found)


def lyapunov_exponents(jacobians: Tensor, transient: float = TRANSIENT) -> Tensor:
    """``(sequences, n)`` Lyapunov exponents in nats a step, the largest first, of ``(steps, sequences, n, n)``.

    Directions are made orthonormal after every step (Engelken et al. 2020); the first share of the steps
    turns them, and does not count. A direction that is lost for good has -inf.
    """
    steps, _, size, _ = jacobians.shape
    skipped = int(transient * steps)
    q = torch.eye(size, dtype=jacobians.dtype).expand(jacobians.shape[1:]).clone()
    total = torch.zeros(jacobians.shape[1:3], dtype=jacobians.dtype)
    for t, each in enumerate(jacobians):
        q, r = torch.linalg.qr(each @ q)
        if t >= skipped:
            total += r.diagonal(dim1=-2, dim2=-1).abs().log()
    return (total / (steps - skipped)).sort(-1, descending=True).values


def affordable(cell: Cell[Any], way: Walk) -> tuple[int, int]:
    """So many sequences and steps of a way that their Jacobians cost about ``EFFORT``."""
    size = _flat(map_state(lambda part: part[:1, 0], way.before))[0].shape[1]
    weights = sum(parameter.numel() for parameter in cell.parameters())
    one = 3 * size * weights + 4 * size**3
    sequences, steps = way.inputs.shape[:2]
    most = max(8, int(EFFORT / one))
    sequences = max(1, min(sequences, most // steps))
    return sequences, min(steps, most // sequences)


def _flat(state: State) -> tuple[Tensor, list[torch.Size]]:
    parts = (state,) if isinstance(state, Tensor) else state
    return torch.cat([part.flatten(1) for part in parts], 1), [part.shape[1:] for part in parts]


def _unflat(flat: Tensor, shapes: list[torch.Size], like: State) -> State:
    parts = flat.split([shape.numel() for shape in shapes], 1)
    whole = tuple(part.reshape(len(flat), *shape) for part, shape in zip(parts, shapes, strict=True))
    return whole[0] if isinstance(like, Tensor) else whole


# ---- drawing ---------------------------------------------------------------------------------------


def _sequences(each: CellDynamics) -> str:
    number = len(each.exponents)
    return f"{number} sequences, {each.steps} steps each" if number > 1 else f"{each.steps} steps of one sequence"


def _exponent(each: CellDynamics) -> str:
    spread = f" ± {each.spread:.3f}" if len(each.exponents) > 1 else ""
    return f"{each.largest:.3f}{spread} a step"


def _told(exponents: np.ndarray) -> tuple[float, float, str, float]:
    largest = float(exponents[:, 0].mean())
    above = float((exponents > 0).sum(1).mean())
    time = math.log(2) / abs(largest) if largest and math.isfinite(largest) else math.nan
    return largest, float(exponents[:, 0].std()), f"{style.short(above)} of {exponents.shape[1]}", time


def _reach(all_: Any) -> float:
    return 1.1 * max([1.0, *(each.radius for each in all_ if math.isfinite(each.radius))])


def _title(cell: str, what: str) -> str:
    return f"{cell}: {what}" if cell else what


def _plane(ax: Axes, each: CellDynamics, reach: float, title: str) -> None:
    style.dress(ax, "real part", "imaginary part", title)
    ax.add_patch(Circle((0, 0), 1, fill=False, linestyle="--", color=style.INK, linewidth=1.0))
    for line in (ax.axhline, ax.axvline):
        line(0, color=style.FAINT, linewidth=0.8, zorder=0)
    norm, colour = Normalize(0, max(1, each.times[-1])), style.colour_map(style.SEQUENTIAL)
    for time, values in zip(each.times, each.eigenvalues, strict=True):
        ax.scatter(values.real, values.imag, s=9, color=colour(0.92 * norm(time)), alpha=0.6, linewidths=0)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), box_aspect=1)


def _spectrum(ax: Axes, title: str) -> None:
    style.dress(ax, f"exponent, the largest {EXPONENTS} at most", "nats a step", title)
    ax.axhline(0, color=style.INK, linestyle="--", linewidth=1.0)
    style.whole_numbers(ax.xaxis)


def _exponents(ax: Axes, exponents: np.ndarray, label: str, spread: bool = False, **look: Any) -> None:
    shown = np.where(exponents[:, :EXPONENTS] > FLOOR, exponents[:, :EXPONENTS], np.nan)
    shown = shown[:, np.isfinite(shown).all(0)]
    numbers = np.arange(1, shown.shape[1] + 1)
    if not len(numbers):
        return
    if spread and len(shown) > 1:
        ax.fill_between(numbers, shown.min(0), shown.max(0), color=look["color"], alpha=0.2, linewidth=0)
    ax.plot(numbers, shown.mean(0), label=label, marker=style.markers(len(numbers)), markersize=3, **look)
