"""Temporal convolutions in front of a recurrence.

Two of them, each followed by group normalisation and a rectifier: the first is 8 steps wide and may leave steps out
(``stride``), the second 5, as the first two of the fully convolutional network of Z. Wang, W. Yan & T. Oates, "Time
series classification from scratch with deep neural networks: a strong baseline" (2017), arXiv 1611.06455. Group
normalisation (Y. Wu & K. He, "Group normalization" (2018), arXiv 1803.08494) in place of batch normalisation, since it
does the same in training and afterwards, however small a batch is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.errors import InputError
from rnnlab.shapes import Lengths

WIDTHS = (8, 5)
GROUP = 8
"""Channels that are normalised together, at least."""
EPSILON = 1e-5


class Convolutions(nn.Module):
    """``(batch, time, features)`` to ``(batch, ⌈time / stride⌉, channels)``, and lengths likewise.

    A step is the middle of what it reads, and the mean and variance of a group of channels are over all valid steps.
    Where it is ``causal`` a step reads what came before it alone, and is normalised by itself, over all channels.

    Args:
        features: of a step.
        channels: of both convolutions.
        stride: steps from one output to the next.
        causal: see above.
    """

    def __init__(self, features: int, channels: int, stride: int = 1, causal: bool = False) -> None:
        super().__init__()
        self.features, self.channels, self.stride, self.causal = features, channels, stride, causal
        # of a step alone, and of a few channels, they are one group: in a group of its own a channel would lose what it
        # is on average
        most = 1 if causal else max(1, channels // GROUP)
        self.groups = next(groups for groups in range(most, 0, -1) if channels % groups == 0)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(size, channels, width, stride=step)
            for size, width, step in zip((features, channels), WIDTHS, (stride, 1), strict=True)
        )
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(channels)) for _ in WIDTHS)
        self.shifts = nn.ParameterList(nn.Parameter(torch.zeros(channels)) for _ in WIDTHS)

    def lengths(self, lengths: Lengths | None) -> Lengths | None:
        """Valid steps of the output, of those of the input."""
        return None if lengths is None else torch.div(lengths + self.stride - 1, self.stride, rounding_mode="floor")

    def forward(self, x: Tensor, lengths: Lengths | None = None) -> Tensor:
        for convolution, scale, shift in zip(self.convolutions, self.scales, self.shifts, strict=True):
            assert isinstance(convolution, nn.Conv1d)
            if lengths is not None:  # what stands beyond the end is as what stands before the start
                x = x.masked_fill(~_valid(x, lengths), 0.0)
            around = convolution.kernel_size[0] - 1
            before = around if self.causal else around // 2
            x = F.pad(x.transpose(1, 2), (before, around - before))
            x = convolution(x).transpose(1, 2)
            if convolution.stride[0] > 1:
                lengths = self.lengths(lengths)
            x = (self._normalised(x, lengths) * scale + shift).relu()
        return x

    def _normalised(self, x: Tensor, lengths: Lengths | None) -> Tensor:
        grouped = x.unflatten(-1, (self.groups, -1))
        if self.causal and self.channels == 1:
            return x
        if self.causal:
            mean, variance = grouped.mean(-1, keepdim=True), grouped.var(-1, correction=0, keepdim=True)
        elif lengths is None:
            mean = grouped.mean((1, 3), keepdim=True)
            variance = grouped.var((1, 3), correction=0, keepdim=True)
        else:
            valid = _valid(x, lengths)[..., None]
            number = lengths.view(-1, 1, 1, 1) * grouped.shape[-1]
            mean = grouped.masked_fill(~valid, 0.0).sum((1, 3), keepdim=True) / number
            centred = (grouped - mean).masked_fill(~valid, 0.0)
            variance = centred.square().sum((1, 3), keepdim=True) / number
        return ((grouped - mean) * (variance + EPSILON).rsqrt()).flatten(2)


def _valid(x: Tensor, lengths: Lengths) -> Tensor:
    """``(batch, time, 1)``."""
    return (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]


def check_stride(stride: int, per_step: bool) -> None:
    """Refuses to leave out steps at which something is predicted.

    Raises:
        InputError: naming the key.
    """
    if per_step and stride > 1:
        raise InputError(
            f"model.encoder_stride={stride} leaves out steps, and this data wants a prediction at each: use "
            "model.encoder_stride=1"
        )
