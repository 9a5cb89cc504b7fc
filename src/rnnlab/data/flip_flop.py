"""Flip-flops: bits that pulses set and that must be kept."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Le

from rnnlab.data.diagnostic import Diagnostic
from rnnlab.data.split import Sample
from rnnlab.shapes import Fraction, PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec


@dataclass(kw_only=True, eq=False)
class FlipFlop(Diagnostic):
    """Pulses of 1 and -1 on some channels; the target of each is the sign of its last pulse, at every step.

    ::

        bits=2

        step              0   1   2   3   4   5   6
        inputs  (7, 2)    1   0   0  -1   0   0   0
                         -1   0   0   0   1   0   1
        targets (7, 2)    1   1   1  -1  -1  -1  -1
                         -1  -1  -1  -1   1   1   1

    At the first step each channel has a pulse, so that there is always a last one. The "3-bit flip-flop" of D. Sussillo
    & O. Barak, "Opening the black box" (2013), Neural Computation 25(3): a network that has learned it keeps each of
    the 2 ** bits memories in a stable fixed point, and between them lie saddles (``rnnlab inspect`` draws them).

    Baseline: 0, the mean of the targets, has a mean squared error of 1.

    Attributes:
        length: steps of the longest sequence.
        bits: channels.
        pulses: the probability of a pulse, of each channel at each step after the first.
    """

    length: PositiveInt = 50
    bits: Annotated[PositiveInt, Le(16)] = 3
    pulses: Fraction = 0.1

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(features=self.bits),
            target=TargetSpec("values", self.bits, tuple(f"bit {k}" for k in range(self.bits))),
            length=self.longest,
        )

    def example(self, rng: np.random.Generator, length: int) -> Sample:
        signs = rng.choice([-1.0, 1.0], (length, self.bits))
        there = rng.random((length, self.bits)) < self.pulses
        there[0] = True
        # the step of the last pulse, of each channel
        last = np.maximum.accumulate(np.where(there, np.arange(length)[:, None], 0), 0)
        return Sample(signs * there, np.take_along_axis(signs, last, 0))
