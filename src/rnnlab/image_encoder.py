"""Convolutions over the places of an image, the same for every frame of a sequence.

Convolutions of 3 × 3 places and of stride 2, each with twice the channels of
the one before, until the longer side of the map has few enough places; then one
of stride 1. Each is followed by group normalisation (Y. Wu & K. He, "Group
normalization" (2018), arXiv 1803.08494) and a rectifier. A linear layer makes
one vector of all places of the map, so that it still knows what is where.

For a decoder the map itself is the memory: it attends to places, as in K. Xu et
al., "Show, attend and tell: neural image caption generation with visual
attention" (2015), arXiv 1502.03044.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.errors import InputError
from rnnlab.kernels.layout import zero_padding
from rnnlab.shapes import Lengths
from rnnlab.spec import InputSpec

FIRST, MOST = 16, 64
"""Channels of the first convolution, and of the widest."""
GROUP = 8
"""Channels that are normalised together."""
VECTOR_SIDE, MEMORY_SIDE = 4, 8
"""Places of the longer side of the map, at most: of which one vector is made, and which a decoder attends to."""


class ImageEncoder(nn.Module):
    """``(batch, time, channels * height * width)`` to ``(batch, time, size)``, each frame by itself.

    Args:
        frame: channels, height and width.
        size: of the vector.
        side: places of the longer side of the map, at most.
        places: each has a learned position, which :meth:`memory` adds to what is there.

    Attributes:
        features: numbers of a frame.
        channels: of the map.
        places: rows and columns of the map.
    """

    def __init__(self, frame: Sequence[int], size: int, side: int = VECTOR_SIDE, places: bool = False) -> None:
        super().__init__()
        before, height, width = frame
        self.frame, self.features, self.size = (before, height, width), before * height * width, size
        self.convolutions, self.normalizations = nn.ModuleList(), nn.ModuleList()
        channels = FIRST
        while max(height, width) > side or not len(self.convolutions):
            self._add(before, channels, 2)
            before, channels = channels, min(2 * channels, MOST)
            height, width = (height + 1) // 2, (width + 1) // 2
        self._add(before, channels, 1)
        self.channels, self.places = channels, (height, width)
        self.linear = nn.Linear(channels * height * width, size)
        # of a place, which knows by itself what is there, and not where it is
        self.positions = nn.Parameter(0.1 * torch.randn(height * width, channels)) if places else None

    def _add(self, before: int, channels: int, stride: int) -> None:
        self.convolutions.append(nn.Conv2d(before, channels, 3, stride, padding=1))
        self.normalizations.append(nn.GroupNorm(channels // GROUP, channels))

    def forward(self, x: Tensor, lengths: Lengths | None = None) -> Tensor:
        """The vectors; of padding those of black frames, whatever stands there."""
        return self.vectors(self.maps(x, lengths))

    def maps(self, x: Tensor, lengths: Lengths | None = None) -> Tensor:
        """``(batch, time, channels, rows, columns)``."""
        batch, time = x.shape[:2]
        # whose weights' gradient must not meet what padding holds
        y = zero_padding(x, lengths).reshape(batch * time, *self.frame)
        for convolution, normalization in zip(self.convolutions, self.normalizations, strict=True):
            y = normalization(convolution(y)).relu()
        return y.unflatten(0, (batch, time))

    def vectors(self, maps: Tensor) -> Tensor:
        """``(batch, time, size)`` of the maps."""
        return F.relu(self.linear(maps.flatten(2)))

    def memory(self, maps: Tensor) -> Tensor:
        """``(batch, time * places, channels)``: every place of every frame, row by row, and where it is."""
        places = maps.flatten(3).transpose(2, 3)
        return (places if self.positions is None else places + self.positions).flatten(1, 2)


def image_encoder(input: InputSpec, size: int, decodes: bool) -> ImageEncoder:
    """The encoder of ``model.encoder=conv2d``.

    Raises:
        InputError: the data has no frames.
    """
    if input.frame is None:
        kind = "tokens" if input.vocabulary is not None else "features without places"
        raise InputError(
            f"model.encoder=conv2d is for images and frames (data=moving_shapes, say), and the input of this data is "
            f"{kind}: use model.encoder=none{'' if input.vocabulary is not None else ', linear'} or conv"
        )
    return ImageEncoder(input.frame, size, MEMORY_SIDE if decodes else VECTOR_SIDE, places=decodes)
