"""Frames side by side in one picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from rnnlab.instruments import style

GAP = 1
"""Pixels between frames."""


def shades(rows: Tensor) -> tuple[float, float]:
    """What is drawn black and white: of pixels 0 and 1, and of those that were scaled the darkest and the brightest."""
    low, high = float(rows.min()), float(rows.max())
    return (low, high) if low < high and (low < 0 or high > 1) else (0.0, 1.0)


def images(rows: Tensor, frame: Sequence[int], ends: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    """``(n, features)`` as ``(n, height, width, 3)``, between 0, the first of the ends, and 1."""
    black, white = ends
    pixels = ((style.array(rows) - black) / (white - black)).reshape(-1, *frame).clip(0, 1).transpose(0, 2, 3, 1)
    whole: np.ndarray = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    return whole


def grid(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Frames ``(height, width, 3)`` in rows and columns on white."""
    height, width, _ = rows[0][0].shape
    columns = max(map(len, rows))
    whole = np.ones((len(rows) * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3))
    for row, frames in enumerate(rows):
        for column, frame in enumerate(frames):
            top, left = row * (height + GAP), column * (width + GAP)
            whole[top : top + height, left : left + width] = frame
    return whole


def show(ax: Axes, rows: Sequence[Sequence[np.ndarray]], names: Sequence[str] = (), above: Sequence[str] = ()) -> None:
    """Draws such a grid, with the names of its rows, and what stands above its columns."""
    height, width, _ = rows[0][0].shape
    style.dress(ax, grid=False)
    ax.imshow(grid(rows), interpolation="nearest")
    middles = [row * (height + GAP) + height / 2 - 0.5 for row in range(len(names))]
    ax.set_yticks(middles, names, size=style.TICK)
    ax.set_xticks([column * (width + GAP) + width / 2 - 0.5 for column in range(len(above))], above, size=style.TICK)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
