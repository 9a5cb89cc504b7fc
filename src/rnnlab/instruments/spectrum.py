"""Eigenvalues of the recurrent weights: what one step back does to a gradient."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from torch import Tensor

from rnnlab.cells.eigenvalues import eigenvalues as of_matrix
from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture, Table, cell_name, some
from rnnlab.instruments.subject import Subject
from rnnlab.network import Network
from rnnlab.shapes import PositiveInt

TITLE = "Eigenvalues of the recurrent weights"


class Spectrum(Instrument[dict[str, Tensor]]):
    """Eigenvalues of each recurrent weight matrix in the complex plane, before and after training.

    A plain recurrent network whose eigenvalues all lie within the unit circle
    forgets, one with eigenvalues outside of it can blow up (Pascanu et al.
    2013, section 2.1); a gate bounds what its matrix can do.

    Args:
        cells: at most as many rows, one a layer and direction.
    """

    of_training = True
    of_sequences = True
    reading = (
        "Eigenvalues of the recurrent weights, before (rings) and after training (dots): within the circle a linear "
        "recurrence forgets."
    )

    def __init__(self, cells: PositiveInt = 4) -> None:
        self.cells = cells
        self._initial: dict[str, Tensor] = {}

    def observe(self, subject: Subject, epoch: int) -> None:
        if epoch == 0:
            self._initial = eigenvalues(subject.network)

    def state(self) -> dict[str, Tensor]:
        return dict(self._initial)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._initial = dict(state)

    def missing(self, subject: Subject) -> str | None:
        if any(cell.recurrent_weights() for cell in subject.network.cells()):
            return None
        return "its cells have no matrix of recurrent weights"

    def measure(self, subject: Subject) -> dict[str, Tensor]:
        """Complex ``(hidden,)`` eigenvalues by ``<cell number>.<gate>``; empty where a weight is not finite."""
        network = subject.network
        if not all(parameter.isfinite().all() for parameter in network.parameters()):
            return {}
        return eigenvalues(network)

    def draw(self, subject: Subject, measured: dict[str, Tensor]) -> Picture:
        network, now = subject.network, measured
        if not now:
            return Picture(style.message(style.figure(TITLE), "the weights are not finite: the network has blown up"))
        shown = some(len(network.cells()), self.cells)
        panels = [[(number, gate) for gate in network.cells()[number].recurrent_weights()] for number in shown]
        if all(len(row) == 1 for row in panels):  # cells without gates stand side by side
            panels = [[panel for row in panels for panel in row]]
        columns = max(map(len, panels))
        when = "before → after training" if self._initial else "of the network as it is"
        side = 4.6 if columns == 1 else 2.9
        fig = style.figure(
            TITLE,
            f"ρ, the largest absolute value, {when}; a linear recurrence forgets within the unit circle, grows outside",
            width=side * columns + 0.8,
            # a little higher than the squares need, or their titles slide under the headline
            height=(side + 0.45) * len(panels) + 0.7,
        )
        grid = fig.subplots(len(panels), columns, squeeze=False, sharex=True, sharey=True)
        reach = 1.1 * max([1.0, *map(radius, now.values()), *map(radius, self._initial.values())])
        for axes, row in zip(grid, panels, strict=True):
            for ax in axes[len(row) :]:
                ax.set_visible(False)
            for ax, (number, gate) in zip(axes, row, strict=False):
                key = f"{number}.{gate}"
                title = self._title(cell_name(network, number), gate, self._initial.get(key), now[key])
                style.dress(ax, "real part", "imaginary part", title)
                self._plane(ax, reach, self._initial.get(key), now[key], subject.kept_name)
                ax.label_outer()
        style.legend(fig, grid[0, 0])
        rows = [(key.split(".", 1)[1], radius(values)) for key, values in now.items()]
        return Picture(fig, Table(("recurrent weights", "largest |eigenvalue|"), rows))

    def _title(self, cell: str, gate: str, initial: Tensor | None, now: Tensor) -> str:
        before = "" if initial is None else f"{radius(initial):.2f} → "
        title = f"{gate}: ρ = {before}{radius(now):.2f}"
        return f"{cell}\n{title}" if cell else title

    def _plane(self, ax: Axes, reach: float, initial: Tensor | None, now: Tensor, name: str) -> None:
        ax.add_patch(Circle((0, 0), 1, fill=False, linestyle="--", color=style.INK, linewidth=1.0))
        for line in (ax.axhline, ax.axvline):
            line(0, color=style.FAINT, linewidth=0.8, zorder=0)
        if initial is not None:
            ax.scatter(
                *_plane_of(initial), s=26, facecolors="none", edgecolors=style.ORANGE, linewidths=1.1,
                label="before training",
            )  # fmt: skip
        ax.scatter(
            *_plane_of(now), s=22, color=style.BLUE, alpha=0.85, edgecolors="white", linewidths=0.4, zorder=3,
            label=name,
        )  # fmt: skip
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), box_aspect=1)


def eigenvalues(network: Network) -> dict[str, Tensor]:
    """Complex ``(hidden,)`` eigenvalues by ``<cell number>.<gate>``, on the CPU; not numbers where weights are none."""
    return {
        f"{number}.{gate}": of_matrix(weights.detach().cpu())
        for number, cell in enumerate(network.cells())
        for gate, weights in cell.recurrent_weights().items()
    }


def radius(values: Tensor) -> float:
    """The spectral radius: the largest absolute value."""
    return float(values.abs().max())


def _plane_of(values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return values.real.numpy(), values.imag.numpy()
