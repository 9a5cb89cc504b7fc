"""Simple shapes that move through a frame."""

from dataclasses import dataclass

import numpy as np

from rnnlab.data.moving import MovingFrames
from rnnlab.data.split import SplitName
from rnnlab.shapes import PositiveInt

RADIUS = 3


def _shapes() -> dict[str, np.ndarray]:
    """Of seven pixels a side, each pixel the share of it that is covered, about."""
    y, x = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1].astype(np.float64)
    inside = {
        "square": 2.5 - np.maximum(abs(x), abs(y)),
        "disc": 3.0 - np.hypot(x, y),
        "cross": 1.0 - np.minimum(abs(x), abs(y)),
        "triangle": (y + RADIUS) / 2 - abs(x),
    }
    return {name: (distance + 0.5).clip(0, 1) for name, distance in inside.items()}


SHAPES = _shapes()


@dataclass(kw_only=True, eq=False)
class MovingShapes(MovingFrames):
    """Squares, discs, crosses and triangles on the move.

    ::

        predict=motion        inputs (10, 256)  10 frames of 16 x 16 pixels   target  disc left
        predict=next_frames   inputs (10, 256)  frames 0 to 9                 targets (10, 256)  frames 1 to 10

    Attributes:
        num_samples: sequences in the three splits together.
    """

    num_samples: PositiveInt = 2000

    @property
    def sprite_side(self) -> int:
        return 2 * RADIUS + 1

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(SHAPES)

    def sprite(self, rng: np.random.Generator, split: SplitName, kind: int) -> np.ndarray:
        return SHAPES[self.kinds[kind]]
