"""Dropout whose draws do not hang on how a layer is executed."""

import torch
from torch import Tensor, nn


class LayerDropout(nn.Dropout):
    """Dropout whose mask is drawn in the order of ``(batch, time, hidden)``.

    PyTorch draws in the order of memory, which is not the same after a layer
    by hand and after its reference loop: one seed would mean two trainings.
    """

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.contiguous()) if self.training and self.p else input


def masked(dropout: nn.Module, x: Tensor, part: Tensor) -> Tensor:
    """A tensor times a mask that is drawn for a part of it and broadcast over the rest.

    Args:
        dropout: :class:`LayerDropout`, or what stands for it in a stack of members.
        x: such as ``(batch, time, features)``.
        part: of it, such as ``(batch, 1, features)``: of its shape is the mask.
    """
    return x * dropout(torch.ones_like(part)) if drops(dropout) else x


def drops(dropout: nn.Module | None) -> bool:
    """Whether a dropout, or what stands for it in a stack of members, drops anything now."""
    if dropout is None:
        return False
    return not isinstance(dropout, nn.Dropout) or (dropout.training and dropout.p > 0)
