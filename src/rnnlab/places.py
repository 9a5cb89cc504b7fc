"""Recurrences with a state at every place of a frame, within a network whose steps are rows of numbers."""

from functools import partial
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.spec import InputSpec, TargetSpec


def placed(cell: Any, input: InputSpec, reads_frames: bool) -> tuple[Any, int]:
    """What makes the cells of a network, and how many places each has a state at.

    Args:
        cell: what makes them, from the sizes of their input and their output; of a class with ``on_places`` it is told
            the height and the width of the frames.
        input: of the network.
        reads_frames: the cells read the frames themselves, and not a vector of each.
    """
    kind = cell.func if isinstance(cell, partial) else cell
    if input.frame is None or not reads_frames or not getattr(kind, "on_places", False):
        return cell, 1
    _, height, width = input.frame
    return partial(cell, places=(height, width)), height * width


def readout_of(units: int, target: TargetSpec, places: int) -> nn.Linear:
    """From units to what is predicted; of a state at every place of a frame to its pixel there alone."""
    if target.frame is None or places == 1 or prod(target.frame[1:]) != places or target.size != prod(target.frame):
        return nn.Linear(units, target.size)
    return PlaceReadout(units // places, target.frame[0], places)


class PlaceReadout(nn.Linear):
    """The same linear layer at every place, a convolution of 1 x 1: ``(…, units * places)`` to ``(…, size * places)``.

    Shi et al. (2015), section 3.3.

    Args:
        units: of a place.
        size: of what is predicted of it.
        places: of a frame.
    """

    def __init__(self, units: int, size: int, places: int) -> None:
        super().__init__(units, size)
        self.places, self.in_features, self.out_features = places, units * places, size * places

    def forward(self, input: Tensor) -> Tensor:
        at = input.unflatten(-1, (-1, self.places)).transpose(-1, -2)
        return F.linear(at, self.weight, self.bias).transpose(-1, -2).flatten(-2)
