"""What flows between data, network and task: a batch, and what a data set says of itself.

Sizes flow once: the data states them here, the network and the task are built
for what it states, and no config repeats them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from rnnlab.errors import InputError
from rnnlab.shapes import Inputs, Lengths

IGNORED = -100
"""The token target of a step at which nothing is asked, padding included: it counts in no loss and no score.
The number is torch's own ``ignore_index``."""


class Origin(NamedTuple):
    """What belongs to a forecast made at the last step of each sequence, over ``steps`` steps ahead.

    actual
        ``(batch, time + steps, values)`` observed values in the data's own
        units, of the window and of the steps ahead; not a number where unknown.
    scales
        ``(batch, 3, steps, values)``: the shift and the scale that bring the
        network's numbers back to units (to their logarithm where
        ``Scaling.log``), and the mean absolute error, in units, of a naive
        one-step forecast on the training part, which is the unit of MASE.
    references
        ``(batch, predictors, steps, values)`` forecasts of simple predictors, on
        the network's scale; ``DataSpec.references`` names them.
    ahead
        ``(batch, steps - 1, features - values)`` the inputs beside the predicted
        values at the steps of a rollout; ``None`` where there are no others.
    """

    actual: Tensor
    scales: Tensor
    references: Tensor
    ahead: Tensor | None = None


class Batch(NamedTuple):
    """Sequences side by side, padded at their end.

    inputs
        ``(batch, time, features)`` real numbers, or ``(batch, time)`` token numbers.
    targets
        What the network's output is held against: ``(batch, time, size)`` real
        numbers (``values``; not a number where ``DataSpec.gaps`` and nobody
        knows), ``(batch, size)`` real numbers (``value``),
        ``(batch,)`` class numbers (``class``), or ``(batch, time)`` token
        numbers (``tokens``), ``IGNORED`` where nothing is asked. Of a
        ``sequence`` ``(batch, steps)`` token numbers, the end of each among
        them and ``IGNORED`` behind it.
    lengths
        ``(batch,)`` valid steps of each sequence; ``None`` where all are full.
    future
        ``(batch, steps, size)`` the true values after the last target, for
        rollouts beyond the window; ``None`` where the data has none.
    origin
        What a forecast at each sequence's last step is held against; ``None``
        where every step is scored alike, and in training.
    others
        ``(batch, answers, steps)`` further targets of a ``sequence`` that are as right, the first one again where
        there are fewer; ``None`` where each input has one.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None = None
    future: Tensor | None = None
    origin: Origin | None = None
    others: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """A batch whose every tensor is what ``function`` makes of it."""

        def mapped(part: Tensor | Origin | None) -> Any:
            if isinstance(part, Origin):
                return Origin(*map(mapped, part))
            return None if part is None else function(part)

        return Batch(*map(mapped, self))


@dataclass(frozen=True)
class InputSpec:
    """Either ``features`` real numbers a step, or tokens numbered from 0 below ``vocabulary``.

    ``unknown`` is the number of the token that stands for all that have none of their own; ``None`` where there is no
    such token. ``length`` is that of the longest sequence, for a network that must know it; ``None`` where nobody does.
    ``names`` are those of the tokens; empty where they have none, or nobody needs them.
    ``ngrams`` are the fewest and the most tokens of the n-grams that are read beside each token, by a hash
    below ``buckets`` (:mod:`rnnlab.ngrams`); ``None`` where none are.
    ``frame`` are the channels, the height and the width of an image, whose pixels are the features of a step, row by
    row and channel after channel; ``None`` where a step is no image.
    ``elapsed`` is the feature that is the time since the step before, from 0, in units of the usual one of the training
    part; 1 at the first step of a sequence, since nobody knows. ``None`` where steps are equally far apart
    (:mod:`rnnlab.elapsed`).
    ``masks`` are pairs of features: a value, and what is 1 where it is missing and the last known one stands for it.
    """

    features: int | None = None
    vocabulary: int | None = None
    unknown: int | None = None
    length: int | None = None
    ngrams: Sequence[int] | None = None
    buckets: int = 0
    names: tuple[str, ...] = ()
    frame: Sequence[int] | None = None
    elapsed: int | None = None
    masks: Sequence[Sequence[int]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "masks", tuple((value, mask) for value, mask in self.masks))
        if self.elapsed is not None and not 0 <= self.elapsed < (self.features or 0):
            raise ValueError(f"feature {self.elapsed} of {self.features} is no time since the step before")
        if self.frame is not None:
            channels, height, width = self.frame
            if self.features != channels * height * width:
                raise ValueError(f"{self.features} features are no frame of {channels} x {height} x {width}")
            object.__setattr__(self, "frame", (channels, height, width))  # a list, where it comes from a checkpoint
        if (self.features is None) == (self.vocabulary is None):
            raise ValueError("an input has either features or a vocabulary")
        if self.ngrams is not None:
            fewest, most = self.ngrams
            if fewest > most:
                raise InputError(f"data.ngrams=[{fewest}, {most}]: first the fewest tokens of an n-gram, then the most")
            object.__setattr__(self, "ngrams", (fewest, most))  # a list, where it comes from a config

    @property
    def in_words(self) -> str:
        """What a step is."""
        if self.features is None:
            return f"one of {self.vocabulary} tokens"
        return f"{self.features} feature{'s' if self.features != 1 else ''}"


@dataclass(frozen=True)
class TargetSpec:
    """What is predicted.

    kind
        ``values``: ``size`` real numbers at every step. ``value``: ``size``
        real numbers for the whole sequence. ``class``: one of ``size`` classes
        for the whole sequence. ``tokens``: one of ``size`` tokens at every step
        whose target is not ``IGNORED``. ``sequence``: as many of ``size``
        tokens as there are, the last of them ``end``. ``aligned``, of what a
        network puts out alone: at each of its steps, however many it makes of
        those of the input, one of ``size`` tokens, the ``blank`` among them.
    names
        Of the values, the classes or the tokens; empty where they have none.
    blank
        The token that means that there is nothing to say: it counts in the
        loss, but saying nothing is no feat, so accuracy leaves it out.
    binary
        Each of the values is 0 or 1: a label that is there or not.
    end
        The token that ends a ``sequence``. What it starts with is no answer: a decoder has a token of its own for it.
    unknown
        The token that stands for all that have none of their own: never a right answer.
    unit
        Of a token of a ``sequence``: character, byte, word …
    longest
        Tokens of the longest ``sequence`` of the training split, its end included.
    frame
        Channels, height and width of an image whose pixels the ``values`` of a step are; ``None`` where they are none.
    code
        Numbers that a network makes of the whole sequence, and of which alone it makes the ``values`` of all steps;
        ``None`` where the values of a step are made of what was read.
    """

    kind: Literal["values", "value", "class", "tokens", "sequence", "aligned"]
    size: int
    names: tuple[str, ...] = ()
    blank: int | None = None
    binary: bool = False
    end: int | None = None
    unknown: int | None = None
    unit: str = "token"
    longest: int | None = None
    frame: Sequence[int] | None = None
    code: int | None = None

    def __post_init__(self) -> None:
        if self.frame is not None:  # a list, where it comes from a checkpoint
            object.__setattr__(self, "frame", tuple(self.frame))

    @property
    def per_step(self) -> bool:
        return self.kind in ("values", "tokens", "aligned")

    @property
    def categorical(self) -> bool:
        """Whether it is made of classes or tokens, each one of ``size``."""
        return self.kind in ("class", "tokens", "sequence", "aligned")

    @property
    def classifies(self) -> bool:
        """Whether it is one class for the whole sequence."""
        return self.kind == "class"

    @property
    def of_own_length(self) -> bool:
        """Whether it is a sequence of tokens with a length of its own."""
        return self.kind == "sequence"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names; the numbers where there are none."""
        return self.names or tuple(map(str, range(self.size)))

    @property
    def in_words(self) -> str:
        """How much is predicted."""
        if self.of_own_length:
            return f"up to {self.longest or 0} {self.unit}s, each one of {self.size}"
        values = f"{self.size} value{'s' if self.size != 1 else ''}"
        chosen = f"one of {self.size} {'tokens' if self.per_step else 'classes'}"
        return (chosen if self.categorical else values) + " a step" * self.per_step

    def asked(self, targets: Tensor) -> Tensor:
        """Where ``(batch, time)`` token targets are answers: neither ``IGNORED`` nor the blank."""
        asked = targets != IGNORED
        return asked if self.blank is None else asked & (targets != self.blank)


@dataclass(frozen=True)
class Scaling:
    """Maps the network's numbers back to the data's own units: ``x * scale + shift``.

    by_sequence
        Each sequence has a shift and a scale of its own: ``Origin.scales``.
    log
        What comes out is the natural logarithm of the values.
    """

    shift: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    by_sequence: bool = False
    log: bool = False

    @property
    def keeps_differences(self) -> bool:
        """Whether an error has the same size in both units."""
        return not (self.by_sequence or self.log) and set(self.scale) == {1.0}

    def reading(self) -> dict[str, Any]:
        """How an output is brought to units, as plain values."""
        exponential = ", then its exponential" if self.log else ""
        rule = f"value = output * scale + shift{exponential}"
        return {"shift": list(self.shift), "scale": list(self.scale), "log": self.log, "rule": rule}

    def to_units(self, values: Tensor) -> Tensor:
        """Scales ``(…, size)`` values back into the data's units."""
        shift, scale = (torch.tensor(v, dtype=values.dtype, device=values.device) for v in (self.shift, self.scale))
        return values * scale + shift


@dataclass(frozen=True)
class Reference:
    """A simple predictor whose forecasts stand in ``Origin.references``.

    name
        Under which its scores are reported.
    errors
        Standard deviation of its error on the training part, on the network's
        scale, for each value at each step ahead, the steps first.
    """

    name: str
    errors: tuple[float, ...]


@dataclass(frozen=True)
class DataSpec:
    """What a data set says of itself.

    length
        Steps of its longest sequence.
    horizon
        For ``values`` that continue the input: the target at step t is the
        input of step t + horizon; with 0 it is the input itself, which is
        to be rebuilt. ``None`` where targets are no later inputs,
        so that a prediction cannot be fed back.
    period
        Steps of one season, for the seasonal-naive baseline.
    steps_ahead
        Forecasts are scored at the last step of each sequence alone, so many
        steps ahead. Where ``horizon`` is ``None`` the target at a step holds all
        of these steps, the first step's values first; else they are reached by
        feeding predictions back. ``None``: every step is scored.
    references
        Simple predictors that are scored on the same sequences, the first of
        them the baseline.
    gaps
        Some targets are unknown (not a number): they count in no loss and no score.
    class_frequencies
        Of the training split, for the majority baseline and class weights.
    token_frequencies
        Of the targets in the training split, none of them 0, for the unigram
        baseline; empty where there is no such baseline.
    common_target
        The tokens of the most frequent ``sequence`` of the training split, without its end.
    dictionary
        For each token of the input the one of a ``sequence`` that in the training split stands most often at its place,
        -1 where it is never read; empty where no input is held against it.
    target_mean
        Of each ``value``, on the network's scale, for the constant baseline;
        0 by default. Of labels (``TargetSpec.binary``) how often each is there.
    streamed
        Row i of a batch goes on where row i of the batch before it ended, so
        that a state can be carried along.
    unit
        Of the values, for axes and metrics.
    residual
        Which of ``references`` the targets are what is left over of, so that a readout of zeros is where learning
        begins: the linear part, or the naive forecast in its place; empty for none.
    clean_future
        The true values after the window are without the noise of those in it.
    note
        One honest sentence that a person should read beside the scores.
    """

    input: InputSpec
    target: TargetSpec
    length: int
    horizon: int | None = None
    period: int | None = None
    steps_ahead: int | None = None
    references: tuple[Reference, ...] = ()
    gaps: bool = False
    scaling: Scaling = field(default_factory=Scaling)
    class_frequencies: tuple[float, ...] = ()
    token_frequencies: tuple[float, ...] = ()
    common_target: tuple[int, ...] = ()
    dictionary: tuple[int, ...] = ()
    target_mean: tuple[float, ...] = ()
    streamed: bool = False
    unit: str = ""
    step_unit: str = "step"
    residual: str = ""
    clean_future: bool = False
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """The same as plain values, as a checkpoint may hold them."""
        return asdict(self)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "DataSpec":
        """What :meth:`plain` gave.

        Raises:
            TypeError: or ValueError, where it never gave that.
        """
        parts = {
            "input": InputSpec(**values["input"]),
            "target": TargetSpec(**values["target"]),
            "scaling": Scaling(**values["scaling"]),
            "references": tuple(Reference(**each) for each in values["references"]),
        }
        return cls(**{**values, **parts})


def valid_steps(inputs: Inputs, lengths: Lengths | None) -> Tensor:
    """``(batch, time)`` true where a step belongs to its sequence and not to the padding."""
    batch, time = inputs.shape[:2]
    if lengths is None:
        return torch.ones(batch, time, dtype=torch.bool, device=inputs.device)
    return torch.arange(time, device=inputs.device) < lengths[:, None]
