"""What flows between data, network and task: a batch, and what a data set says of itself.

Sizes flow once: the data states them here, the network and the task are built
for what it states, and no config repeats them.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rnnlab.shapes import Inputs, Lengths

IGNORED = -100
"""The token target of a step at which nothing is asked, padding included: it counts in no loss and no score.
The number is torch's own ``ignore_index``."""


class Batch(NamedTuple):
    """Sequences side by side, padded at their end.

    inputs
        ``(batch, time, features)`` real numbers, or ``(batch, time)`` token numbers.
    targets
        What the network's output is held against: ``(batch, time, size)`` real
        numbers (``values``), ``(batch, size)`` real numbers (``value``),
        ``(batch,)`` class numbers (``class``), or ``(batch, time)`` token
        numbers (``tokens``), ``IGNORED`` where nothing is asked.
    lengths
        ``(batch,)`` valid steps of each sequence; ``None`` where all are full.
    future
        ``(batch, steps, size)`` the true values after the last target, for
        rollouts beyond the window; ``None`` where the data has none.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None = None
    future: Tensor | None = None


@dataclass(frozen=True)
class InputSpec:
    """Either ``features`` real numbers a step, or tokens numbered from 0 below ``vocabulary``.

    ``unknown`` is the number of the token that stands for all that have none of their own; ``None`` where there is no
    such token.
    """

    features: int | None = None
    vocabulary: int | None = None
    unknown: int | None = None

    def __post_init__(self) -> None:
        if (self.features is None) == (self.vocabulary is None):
            raise ValueError("an input has either features or a vocabulary")


@dataclass(frozen=True)
class TargetSpec:
    """What is predicted.

    kind
        ``values``: ``size`` real numbers at every step. ``value``: ``size``
        real numbers for the whole sequence. ``class``: one of ``size`` classes
        for the whole sequence. ``tokens``: one of ``size`` tokens at every step
        whose target is not ``IGNORED``.
    names
        Of the values, the classes or the tokens; empty where they have none.
    blank
        The token that means that there is nothing to say: it counts in the
        loss, but saying nothing is no feat, so accuracy leaves it out.
    """

    kind: Literal["values", "value", "class", "tokens"]
    size: int
    names: tuple[str, ...] = ()
    blank: int | None = None

    @property
    def per_step(self) -> bool:
        return self.kind in ("values", "tokens")


@dataclass(frozen=True)
class Scaling:
    """Maps the network's numbers back to the data's own units: ``x * scale + shift``."""

    shift: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)

    def to_units(self, values: Tensor) -> Tensor:
        """Scales ``(…, size)`` values back into the data's units."""
        shift, scale = (torch.tensor(v, dtype=values.dtype, device=values.device) for v in (self.shift, self.scale))
        return values * scale + shift


@dataclass(frozen=True)
class DataSpec:
    """What a data set says of itself.

    length
        Steps of its longest sequence.
    horizon
        For ``values`` that continue the input: the target at step t is the
        input of step t + horizon. ``None`` where targets are no later inputs,
        so that a prediction cannot be fed back.
    period
        Steps of one season, for the seasonal-naive baseline.
    class_frequencies
        Of the training split, for the majority baseline and class weights.
    token_frequencies
        Of the targets in the training split, none of them 0, for the unigram
        baseline; empty where there is no such baseline.
    target_mean
        Of each ``value``, on the network's scale, for the constant baseline;
        0 by default.
    streamed
        Row i of a batch goes on where row i of the batch before it ended, so
        that a state can be carried along.
    unit
        Of the values, for axes and metrics.
    note
        One honest sentence that a person should read beside the scores.
    """

    input: InputSpec
    target: TargetSpec
    length: int
    horizon: int | None = None
    period: int | None = None
    scaling: Scaling = field(default_factory=Scaling)
    class_frequencies: tuple[float, ...] = ()
    token_frequencies: tuple[float, ...] = ()
    target_mean: tuple[float, ...] = ()
    streamed: bool = False
    unit: str = ""
    step_unit: str = "step"
    note: str = ""


def valid_steps(inputs: Inputs, lengths: Lengths | None) -> Tensor:
    """``(batch, time)`` true where a step belongs to its sequence and not to the padding."""
    batch, time = inputs.shape[:2]
    if lengths is None:
        return torch.ones(batch, time, dtype=torch.bool, device=inputs.device)
    return torch.arange(time, device=inputs.device) < lengths[:, None]
