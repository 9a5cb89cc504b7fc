"""Temporal convolutions in front of a recurrence, or beside it.

In front there are two, each followed by group normalisation and a rectifier: the first is 8 steps wide and may leave
steps out (``stride``), the second 5, as the first two of the fully convolutional network of Z. Wang, W. Yan & T. Oates,
"Time series classification from scratch with deep neural networks: a strong baseline" (2017), arXiv 1611.06455. Group
normalisation (Y. Wu & K. He, "Group normalization" (2018), arXiv 1803.08494) in place of batch normalisation, since it
does the same in training and afterwards, however small a batch is.

Beside the recurrence stands that network as it was published (:func:`fully_convolutional`), its outputs averaged over
time: with an LSTM this is the LSTM-FCN of F. Karim, S. Majumdar, H. Darabi & S. Chen, "LSTM fully convolutional
networks for time series classification" (2018), IEEE Access 6, arXiv 1709.05206.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.errors import InputError
from rnnlab.shapes import Lengths

WIDTHS = (8, 5)
GROUP = 8
"""Channels that are normalised together, at least."""
EPSILON = 1e-5
FCN_CHANNELS, FCN_WIDTHS = (128, 256, 128), (8, 5, 3)


class Convolutions(nn.Module):
    """``(batch, time, features)`` to ``(batch, ⌈time / stride⌉, channels)``, and lengths to ⌈length / stride⌉.

    A step is the middle of what it reads, and the mean and variance of a group of channels are over all valid steps.
    Where it is ``causal`` a step reads what came before it alone, and is normalised by itself, over all channels.

    Args:
        features: of a step.
        channels: of each convolution; one number for all.
        stride: of the first convolution: steps from one output to the next.
        causal: see above.
        widths: of the convolutions, in steps.
        normalization: over the steps and a group of channels of each sequence (``group``), or over the valid steps of a
            batch for each channel (``batch``), and after training by what was usual in training.
    """

    def __init__(
        self,
        features: int,
        channels: int | Sequence[int],
        stride: int = 1,
        causal: bool = False,
        widths: Sequence[int] = WIDTHS,
        normalization: Literal["group", "batch"] = "group",
    ) -> None:
        super().__init__()
        sizes = [channels] * len(widths) if isinstance(channels, int) else list(channels)
        self.features, self.channels, self.stride, self.causal = features, sizes[-1], stride, causal
        # of a step alone, and of a few channels, they are one group: in a group of its own a channel would lose what it
        # is on average
        most = [1 if causal else max(1, size // GROUP) for size in sizes]
        self.groups = [
            next(groups for groups in range(limit, 0, -1) if size % groups == 0)
            for limit, size in zip(most, sizes, strict=True)
        ]
        strides = [stride] + [1] * (len(sizes) - 1)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, size, width, stride=step)
            for before, size, width, step in zip([features, *sizes], sizes, widths, strides, strict=False)
        )
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(size)) for size in sizes)
        self.shifts = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in sizes)
        of_batches = sizes if normalization == "batch" else []
        self.batch_normalizations = nn.ModuleList(nn.BatchNorm1d(size, EPSILON, affine=False) for size in of_batches)

    def lengths(self, lengths: Lengths | None) -> Lengths | None:
        """Valid steps of the output, of those of the input."""
        return None if lengths is None else torch.div(lengths + self.stride - 1, self.stride, rounding_mode="floor")

    def forward(self, x: Tensor, lengths: Lengths | None = None) -> Tensor:
        for number, convolution in enumerate(self.convolutions):
            assert isinstance(convolution, nn.Conv1d)
            if lengths is not None:  # what stands beyond the end is as what stands before the start
                x = x.masked_fill(~_valid(x, lengths), 0.0)
            around = convolution.kernel_size[0] - 1
            before = around if self.causal else around // 2
            x = F.pad(x.transpose(1, 2), (before, around - before))
            x = convolution(x).transpose(1, 2)
            if torch.compiler.is_exporting():  # else the order in memory hangs on the number of steps
                x = x.contiguous()
            if convolution.stride[0] > 1:
                lengths = self.lengths(lengths)
            if self.batch_normalizations:
                x = self._normalized_by_batch(x, lengths, number)
            else:
                x = self._normalized_by_group(x, lengths, self.groups[number])
            x = (x * self.scales[number] + self.shifts[number]).relu()
        return x

    def average(self, x: Tensor, lengths: Lengths | None = None) -> Tensor:
        """``(batch, channels)`` of the outputs, over all valid steps."""
        output, lengths = self(x, lengths), self.lengths(lengths)
        if lengths is None:
            return output.mean(1)
        return output.masked_fill(~_valid(output, lengths), 0.0).sum(1) / lengths[:, None]

    def _normalized_by_batch(self, x: Tensor, lengths: Lengths | None, number: int) -> Tensor:
        normalization = self.batch_normalizations[number]
        if lengths is None or not normalization.training:
            return normalization(x.flatten(0, 1)).view_as(x)
        valid = _valid(x, lengths)
        return torch.zeros_like(x).masked_scatter(valid, normalization(x[valid[..., 0]]))

    def _normalized_by_group(self, x: Tensor, lengths: Lengths | None, groups: int) -> Tensor:
        grouped = x.unflatten(-1, (groups, -1))
        if self.causal and x.shape[-1] == 1:
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


def fully_convolutional(features: int) -> Convolutions:
    """The fully convolutional network of Wang et al. (2017): 128, 256 and 128 channels of 8, 5 and 3 steps."""
    return Convolutions(features, FCN_CHANNELS, widths=FCN_WIDTHS, normalization="batch")


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
