"""The plane in which states, or embeddings, are drawn."""

import numpy as np
from matplotlib.axes import Axes

from rnnlab.instruments import style


class PrincipalComponents:
    """The directions in which states vary most, found exactly: torch.pca_lowrank draws at random where to look.

    Args:
        states: ``(points, units)``.
        number: of directions.

    Attributes:
        directions: ``(number, units)``, zero where there are fewer units.
        variance: ``(number,)`` sums of squares about the mean.
        explained: ``(number,)`` shares of all variance.
    """

    def __init__(self, states: np.ndarray, number: int = 2) -> None:
        self.mean = states.mean(0)
        _, singular, directions = np.linalg.svd(states - self.mean, full_matrices=False)
        missing = max(0, number - len(directions))  # a network of one unit moves along one direction only
        self.directions = np.pad(directions, ((0, missing), (0, 0)))[:number]
        variance = np.pad(singular**2, (0, missing))
        self.variance, self.explained = variance[:number], variance[:number] / (variance.sum() or 1.0)

    def project(self, states: np.ndarray) -> np.ndarray:
        """``(points, units)`` to ``(points, number)``."""
        return (states - self.mean) @ self.directions.T

    def order(self, units: slice) -> np.ndarray:
        """Sorts units by their angle in the plane of both components: neighbours rise and fall together."""
        first, second = (self.directions * np.sqrt(self.variance[:, None]))[:, units]
        return np.argsort(np.arctan2(second, first), kind="stable")

    def label(self, ax: Axes, title: str) -> None:
        first, second = self.explained
        style.dress(ax, f"component 1 ({first:.0%} of the variance)", f"component 2 ({second:.0%})", title)
