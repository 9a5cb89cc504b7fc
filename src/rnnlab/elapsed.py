"""The time since the step before, on its way from the data to the cells that use it.

:attr:`rnnlab.spec.InputSpec.elapsed` says which feature it is. A cell whose class says ``uses_elapsed`` reads it as its
last feature, in every layer; what reads it otherwise (a cell that knows no times, a convolution) finds
log(1 + τ) among the features, since gaps may be of any size.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rnnlab.kernels.layout import zero_padding
from rnnlab.shapes import Lengths


def declares(make: Any, name: str) -> bool:
    """Whether the class of the cells that ``make`` makes declares something, such as ``uses_elapsed``."""
    kind = make.func if isinstance(make, partial) else make
    return bool(getattr(kind, name, False))


def informed(make: Any, elapsed: bool, masks: Sequence[Sequence[int]] = ()) -> tuple[Any, int]:
    """What makes the cells of a layer, with the options that these features need, and how many features that adds.

    Args:
        make: from the sizes of input and output.
        elapsed: a layer can be handed the time since the step before.
        masks: of the features that the layer reads, as :attr:`rnnlab.spec.InputSpec.masks`.
    """
    more: dict[str, Any] = {}
    if elapsed and declares(make, "uses_elapsed"):
        more["elapsed"] = True
    if masks and declares(make, "uses_masks"):
        more["masks"] = tuple(masks)
    return (partial(make, **more) if more else make), int("elapsed" in more)


def without(masks: Sequence[Sequence[int]], at: int | None) -> list[tuple[int, int]]:
    """The pairs of :attr:`rnnlab.spec.InputSpec.masks` where feature ``at`` is taken out."""
    if at is None:
        return [(value, mask) for value, mask in masks]
    return [(value - (value > at), mask - (mask > at)) for value, mask in masks]


def apart(inputs: Tensor, at: int, dropped: bool) -> tuple[Tensor, Tensor]:
    """The features ``(…, features)`` that are read as such, and the time ``(…, 1)`` since the step before.

    Args:
        inputs: ``(…, features)``.
        at: which feature is that time.
        dropped: whether it is no feature then, or else log(1 + τ).
    """
    elapsed = inputs[..., at : at + 1].clamp_min(0)
    column = [] if dropped else [elapsed.log1p()]
    return torch.cat([inputs[..., :at], *column, inputs[..., at + 1 :]], -1), elapsed


def strided(elapsed: Tensor, lengths: Lengths | None, stride: int) -> Tensor:
    """``(batch, ⌈time / stride⌉, 1)`` the time from one kept step to the next, in units of ``stride`` usual steps."""
    if stride == 1:
        return elapsed
    elapsed = zero_padding(elapsed, lengths)
    passed = elapsed.cumsum(1)[:, ::stride]
    return torch.cat([elapsed[:, :1], passed.diff(dim=1) / stride], 1)


def to_the_next(elapsed: Tensor, lengths: Lengths | None) -> Tensor:
    """``(batch, time, 1)`` the time from each step to the next one, 1 at the last: the time since the step before, for
    who reads from the end.
    """
    after = torch.cat([elapsed[:, 1:], torch.ones_like(elapsed[:, :1])], 1)
    if lengths is None:
        return after
    last = torch.arange(elapsed.shape[1], device=elapsed.device) == lengths[:, None] - 1
    return after.masked_fill(last[..., None], 1.0)
