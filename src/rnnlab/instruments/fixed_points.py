"""States at which a network stands still, and where it goes from there."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from torch import Tensor

from rnnlab.instruments import style
from rnnlab.instruments.fixed_point_search import STEPS, Step, find, flat
from rnnlab.instruments.instrument import Entry, Instrument, Picture, Table
from rnnlab.instruments.principal_components import PrincipalComponents
from rnnlab.instruments.subject import Subject, walk
from rnnlab.network import Network
from rnnlab.shapes import PositiveInt
from rnnlab.spec import Batch, valid_steps

SEQUENCES, DRAWN = 64, 24
"""Whose trajectories starts are taken from, and that are drawn."""
LARGEST = 512
"""Numbers of a state up to which its Jacobians are made."""
EFFORT = 3e10
"""Multiplications that the search may cost: some seconds of one processor core."""
FEWEST = 16
LISTED = 40
MODES = 3
"""Unstable directions that are drawn of each."""


@dataclass(frozen=True)
class FixedPoints:
    """Of one network.

    Attributes:
        points: ``(points, n)`` states, of all cells one after the other; the stable ones first.
        eigenvalues: complex ``(points, n)`` of the Jacobian of one step, the largest first.
        modes: complex ``(points, n, MODES)`` their first eigenvectors, as columns.
        outputs: ``(points, size)`` what the network says there; empty where it reads out more than one step.
        paths: of each sequence the ``(time, n)`` states.
        starts: so many states the search began from.
        still: so many of them ended at a fixed point.
        given: the input at all steps, in words.
    """

    points: np.ndarray
    eigenvalues: np.ndarray
    modes: np.ndarray
    outputs: np.ndarray
    paths: list[np.ndarray]
    starts: int
    still: int
    given: str

    @property
    def unstable(self) -> np.ndarray:
        """``(points,)`` numbers of eigenvalues outside of the unit circle."""
        return (np.abs(self.eigenvalues) > 1).sum(1)

    @property
    def stable(self) -> int:
        """Fixed points to which all that is near comes back."""
        return int((self.unstable == 0).sum())


class FixedPointSearch(Instrument[FixedPoints]):
    """Fixed points of the trained network under a constant input, on its trajectories, with their unstable modes.

    A state h is a fixed point of the step F where F(h, x*) = h. From many states of the trajectories, and from the
    middles of pairs of them, the speed q(h) = ½ ‖F(h, x*) - h‖² is minimised by Adam in double precision, and what is
    nearly still is made so by Newton's method (D. Sussillo & O. Barak, "Opening the black box: low-dimensional dynamics
    in high-dimensional recurrent neural networks", 2013, Neural Computation 25(3), section 2). x* is the median of each
    feature, or the most frequent token. The state is that of all cells together. A fixed point is stable where all
    eigenvalues of ∂F/∂h lie within the unit circle; each one outside of it is a mode in which the state leaves.

    Args:
        starts: states that the search begins from, fewer of large networks.
    """

    along_time = True
    rank = 25
    title = "Fixed points: where the state stands still, and how it leaves"
    reading = (
        "Grey lines are the ways of the state in its principal components. Dots are stable fixed points, which keep "
        "what is remembered; crosses are unstable ones, with lines along the directions in which the state leaves. "
        "With one such direction they part the basins of two stable ones."
    )

    def __init__(self, starts: PositiveInt = 256) -> None:
        self.starts = starts

    def missing(self, subject: Subject) -> str | None:
        network = subject.network
        if not network.streams:
            how = "both directions" if network.bidirectional else f"several steps at once ({network.whole})"
            return f"the network reads {how}, and has no state that is carried from step to step"
        if network.ngrams is not None:
            return "the tokens before each step are a part of the state (n-grams), which has no derivative"
        size, weights = flat(network.initial_state(1)).shape[1], _weights(network)
        if size > LARGEST:
            return f"a state of {size:,} numbers is too large for its Jacobian (at most {LARGEST:,})"
        if FEWEST * 6 * weights * STEPS > EFFORT:
            return f"a network of {weights:,} weights is too large for the search"
        return None

    def measure(self, subject: Subject) -> FixedPoints:
        network = copy.deepcopy(subject.network).double().eval().requires_grad_(False)
        number = min(SEQUENCES, subject.size)
        batch = subject.take(torch.linspace(0, subject.size - 1, number).round().long()).map(_double)
        paths = trajectories(network, batch)
        x, given = constant_input(subject, batch)
        step = Step(network, x)
        starts = min(self.starts, int(EFFORT / (6 * _weights(network) * STEPS)))
        seen = torch.cat(paths)
        points, still = find(step, seen, starts)
        jacobians = step.jacobian(points)
        values, vectors = torch.linalg.eig(jacobians)
        order = values.abs().argsort(1, descending=True)
        values = values.gather(1, order)
        vectors = vectors.gather(2, order[:, None].expand_as(vectors))[..., :MODES]
        ranked = (values.abs() > 1).sum(1).argsort(stable=True)
        one_step = network.readout_kind in ("every", "last")
        outputs = step.output(points)[ranked] if one_step else points.new_empty(len(points), 0)
        return FixedPoints(
            style.array(points[ranked]),
            values[ranked].cpu().numpy(),
            vectors[ranked].cpu().numpy(),
            style.array(subject.task.point(outputs)) if outputs.shape[1] else style.array(outputs),
            [style.array(path) for path in paths[:DRAWN]],
            starts,
            still,
            given,
        )

    def draw(self, subject: Subject, measured: FixedPoints) -> Picture:
        number, stable = len(measured.points), measured.stable
        fig = style.figure(
            "Fixed points: where the state stands still, and how it leaves",
            f"{stable} stable and {number - stable} unstable fixed points with {measured.given} as the input at every "
            f"step; {measured.still} of {measured.starts} starts ended at one",
            width=13.0,
            height=4.4,
        )
        first, second, plane = fig.subplots(1, 3)
        axes = _Axes(measured)
        axes.draw(first, 0, 1)
        axes.draw(second, 0, 2)
        _eigenvalues(plane, measured)
        handles, labels = first.get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=style.TICK, frameon=False)
        table = Table(
            ("fixed point", "unstable modes", "largest |eigenvalue|", "says"),
            [
                (k, int(unstable), float(np.abs(values[0])), said)
                for k, (unstable, values, said) in enumerate(
                    zip(measured.unstable, measured.eigenvalues, _said(subject, measured), strict=True)
                )
            ][:LISTED],
        )
        return Picture(fig, table, {"fixed points": f"{stable} stable, {number - stable} unstable"})

    def compare(self, measured: Mapping[str, FixedPoints]) -> Picture:
        columns = min(4, len(measured))
        rows = -(-len(measured) // columns)
        fig = style.figure(
            "Fixed points on the ways of the state",
            "dots are stable, crosses unstable, with lines along their unstable modes",
            width=4.0 * columns + 0.4,
            height=3.9 * rows,
        )
        grid = fig.subplots(rows, columns, squeeze=False).flatten()
        for ax, (name, each) in zip(grid, measured.items(), strict=False):
            _Axes(each).draw(ax, 0, 1, f"{name}: {each.stable} stable, {len(each.points) - each.stable} unstable")
        for ax in grid[len(measured) :]:
            ax.set_visible(False)
        told: list[tuple[Entry, ...]] = [
            (name, each.stable, *(int((each.unstable == k).sum()) for k in (1, 2)), int((each.unstable > 2).sum()))
            for name, each in measured.items()
        ]
        table = Table(("run", "stable", "one unstable mode", "two", "more"), told)
        return Picture(fig, table, {name: f"{each.stable} stable fixed points" for name, each in measured.items()})


# ---- one step ------------------------------------------------------------------------------------------


def trajectories(network: Network, batch: Batch) -> list[Tensor]:
    """Of each sequence the ``(time, n)`` states of all cells before each of its steps, the first left out."""
    walks = walk(network, batch)
    parts = []
    for way in walks:
        tensors = (way.before,) if isinstance(way.before, Tensor) else way.before
        parts += [tensor.flatten(2) for tensor in tensors]
    whole = torch.cat(parts, 2)
    lengths = walks[0].lengths.tolist()
    return [path[min(1, length - 1) : length] for path, length in zip(whole, lengths, strict=True)]


def constant_input(subject: Subject, batch: Batch) -> tuple[Tensor, str]:
    """The median of each feature, or the most frequent token; and in words."""
    read = batch.inputs[valid_steps(batch.inputs, batch.lengths)]
    if subject.task.spec.input.vocabulary is not None:
        token = torch.bincount(read).argmax()
        return token[None, None], f"the token '{subject.token_names[int(token)]}'"
    x = read.median(0).values[None, None] + 0.0  # a zero without a sign
    shown = ", ".join(style.short(float(value)) for value in x[0, 0, :4])
    return x, f"({shown}{', …' if x.shape[-1] > 4 else ''})"


def _double(part: Tensor) -> Tensor:
    return part.double() if part.is_floating_point() else part


def _weights(network: Network) -> int:
    # a reservoir's are no parameters, and cost as much
    return 1 + sum(weights.numel() for weights in (*network.layers.parameters(), *network.layers.buffers()))


# ---- drawing -------------------------------------------------------------------------------------------


class _Axes:
    """The principal components of the trajectories, and what is drawn in them."""

    def __init__(self, measured: FixedPoints) -> None:
        self.measured = measured
        states = np.concatenate(measured.paths)
        components = PrincipalComponents(states, 3)
        self.mean, self.directions, self.explained = components.mean, components.directions, components.explained
        self.size = float(np.sqrt(components.variance[0] / len(states)))

    def draw(self, ax: Axes, x: int, y: int, title: str = "") -> None:
        """The ways, the points and their modes in two of the components."""
        across, up = (f"component {k + 1} ({self.explained[k]:.0%})" for k in (x, y))
        style.dress(ax, across, up, title)
        plane = self.directions[[x, y]]
        for number, path in enumerate(self.measured.paths):
            label = "ways of the state" if number == 0 else None
            ax.plot(*((path - self.mean) @ plane.T).T, color=style.FAINT, linewidth=0.7, alpha=0.7, label=label)
        points, unstable = (self.measured.points - self.mean) @ plane.T, self.measured.unstable
        label = "unstable modes"
        for point, number, modes in zip(points, unstable, self.measured.modes, strict=True):
            last: np.ndarray | None = None
            for mode in modes.T[: min(number, MODES)]:
                if last is not None and np.allclose(mode, last.conj()):
                    continue  # of a pair the other one, in the same plane
                last = mode
                line = 0.35 * self.size * (mode.real / (np.linalg.norm(mode.real) or 1.0)) @ plane.T
                ends = np.stack([point - line, point + line])
                ax.plot(*ends.T, color=style.VERMILION, linewidth=1.6, label=label, zorder=3)
                label = "_"
        look: dict[str, Any] = {"zorder": 4, "linewidths": 1.4}
        leaving, staying = points[unstable > 0], points[unstable == 0]
        ax.scatter(leaving[:, 0], leaving[:, 1], marker="x", s=34, color=style.VERMILION, label="unstable", **look)
        ax.scatter(staying[:, 0], staying[:, 1], marker="o", s=44, color=style.BLUE, label="stable", **look)


def _eigenvalues(ax: Axes, measured: FixedPoints) -> None:
    style.dress(ax, "real part", "imaginary part", "eigenvalues of one step's Jacobian")
    ax.add_patch(Circle((0, 0), 1, fill=False, linestyle="--", color=style.INK, linewidth=1.0))
    for values, unstable in zip(measured.eigenvalues[::-1], measured.unstable[::-1], strict=True):
        colour = style.VERMILION if unstable else style.BLUE
        ax.scatter(values.real, values.imag, s=9, color=colour, alpha=0.5, linewidths=0)
    reach = 1.1 * max(1.0, float(np.abs(measured.eigenvalues).max(initial=0.0)))
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), box_aspect=1)


def _said(subject: Subject, measured: FixedPoints) -> list[str]:
    """What the network says at each point, in words."""
    target = subject.task.spec.target
    if not measured.outputs.shape[1]:
        return [""] * len(measured.points)
    if target.categorical:
        return [target.labels[int(output.argmax())] for output in measured.outputs]
    return [", ".join(style.short(round(float(value), 2)) for value in output[:8]) for output in measured.outputs]
