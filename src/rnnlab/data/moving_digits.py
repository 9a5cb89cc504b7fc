"""Handwritten digits that move through a frame."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rnnlab.data.digits import DIGITS, SIDE, WHITE
from rnnlab.data.moving import MovingFrames
from rnnlab.data.split import SPLITS, SplitName
from rnnlab.data.strata import stratified_order
from rnnlab.extras import need
from rnnlab.shapes import PositiveInt


@dataclass(kw_only=True, eq=False)
class MovingDigits(MovingFrames):
    """The digits of ``data=digits`` on the move: a small sister of Moving MNIST, which has two of 28 x 28 pixels in a
    frame of 64 x 64 (Srivastava et al. 2015, section 3.2).

    ::

        predict=motion        inputs (10, 256)  10 frames of 16 x 16 pixels   target  7 up
        predict=next_frames   inputs (10, 256)  frames 0 to 9                 targets (10, 256)  frames 1 to 10

    A handwritten digit is in one split alone, but one writer's may be in several.

    Attributes:
        num_samples: sequences in the three splits together.

    Raises:
        InputError: scikit-learn is not installed.
    """

    num_samples: PositiveInt = 4000

    def __post_init__(self) -> None:
        need("datasets", "sklearn", "data=moving_digits")
        super().__post_init__()

    @property
    def sprite_side(self) -> int:
        return SIDE

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(map(str, range(DIGITS)))

    @property
    def note(self) -> str:
        return "every handwritten digit is in one split alone, but one writer's may be in several"

    @cached_property
    def _pictures(self) -> dict[SplitName, list[np.ndarray]]:
        """The digits of a split by their class, each ``(digits, rows, columns)``."""
        from sklearn.datasets import load_digits  # takes a second

        pixels, labels = load_digits(return_X_y=True)
        order = stratified_order(labels, (self.seed, len(SPLITS)))
        val, test = (max(DIGITS, round(share * len(order))) for share in (self.val_fraction, self.test_fraction))
        parts = np.split(order, [len(order) - val - test, len(order) - test])
        pictures = (pixels / WHITE).reshape(-1, SIDE, SIDE)
        return {
            split: [pictures[part[labels[part] == digit]] for digit in range(DIGITS)]
            for split, part in zip(SPLITS, parts, strict=True)
        }

    def sprite(self, rng: np.random.Generator, split: SplitName, kind: int) -> np.ndarray:
        digits = self._pictures[split][kind]
        chosen: np.ndarray = digits[rng.integers(len(digits))]
        return chosen
