"""Sine waves, to be forecast."""

from dataclasses import dataclass

import numpy as np

from rnnlab.data.sequence import Range, SequenceData, check_range
from rnnlab.data.split import Sample, SplitName
from rnnlab.errors import InputError
from rnnlab.shapes import NonNegativeFloat, NonNegativeInt, PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

NYQUIST = 0.5
"""Cycles per step above which a sampled wave looks like a slower one."""


@dataclass(kw_only=True, eq=False)
class Sine(SequenceData):
    """Each sequence is a wave of its own; at every step the target is the wave ``horizon`` steps later.

    ::

        length=6 horizon=1 future_length=3 noise=0

        step                              0    1    2    3    4    5    6    7    8    9
        inputs  (6, 1)  what is seen     0.0  0.5  0.9  1.0  0.9  0.5
        target  (6, 1)  what comes next       0.5  0.9  1.0  0.9  0.5  0.0
        future  (3, 1)  and after that                                    -0.5 -0.9 -1.0

    The wave at step t, with frequency f, phase φ and amplitude a drawn for
    each of its n components::

        x(t) = exp(-damping·t) / √n · Σ a·sin(2π(f·t + chirp·t²/2) + φ)

    Division by √n gives a mixture the power of a single wave, so that errors
    are comparable between them. Inputs and targets are the observed wave, with
    its noise. The future is the wave itself, without noise: it is what a
    closed-loop rollout is held against, and nobody could foretell the noise.
    A longer window or future adds steps to the same waves.

    The defaults have periods of 10 to 50 steps, so that a network must find out
    the frequency of each wave as it goes. They have a little noise, since it is
    what makes rollouts hold: on clean waves a network comes to lean on the last
    value seen rather than on its state, and once alone its own errors carry it off.

    Attributes:
        length: steps of the window.
        horizon: steps from an input to its target.
        frequency: cycles per step; 0.02 is a period of 50 steps, the notebooks'.
        phase: radians.
        amplitude: half the height of a component, in the unit of the values.
        noise: standard deviation of the Gaussian noise on the observed wave, in the unit of the values.
        components: waves that are mixed into one.
        damping: rate at which the amplitude dies away, per step; 0.01 leaves 37 % after 100 steps.
        chirp: change of the frequency, cycles per step per step.
        future_length: steps of the true wave that follow the last target.

    Raises:
        InputError: a range is upside down, a frequency leaves 0 … 0.5 cycles
            per step, or the horizon is no shorter than the window.
    """

    length: PositiveInt = 50
    horizon: PositiveInt = 1
    frequency: Range = (0.02, 0.1)
    phase: Range = (0.0, 2 * np.pi)
    amplitude: Range = (0.5, 1.0)
    noise: NonNegativeFloat = 0.1
    components: PositiveInt = 1
    damping: NonNegativeFloat = 0.0
    chirp: float = 0.0
    future_length: NonNegativeInt = 50

    def __post_init__(self) -> None:
        check_range("data.frequency", self.frequency)
        check_range("data.phase", self.phase)
        check_range("data.amplitude", self.amplitude)
        if self.horizon >= self.length:
            raise InputError(f"data.horizon={self.horizon} must be below data.length={self.length}, the window's steps")
        low, high = self.frequency
        drift = self.chirp * (self.length + self.horizon + self.future_length - 1)
        if min(low, low + drift) < 0 or max(high, high + drift) > NYQUIST:
            with_chirp = f" with data.chirp={self.chirp}" if self.chirp else ""
            raise InputError(
                f"data.frequency={list(self.frequency)}{with_chirp} leaves 0 … {NYQUIST} cycles per step: "
                "a faster wave cannot be told from a slower one"
            )
        super().__post_init__()

    @property
    def spec(self) -> DataSpec:
        low, high = self.frequency
        period = None
        if low == high > 0 and not self.chirp and abs(1 / low - round(1 / low)) < 1e-6:
            period = round(1 / low)
        return DataSpec(
            input=InputSpec(features=1),
            target=TargetSpec("values", 1, ("wave",)),
            length=self.length,
            horizon=self.horizon,
            period=period,
            clean_future=self.noise > 0 and self.future_length > 0,
        )

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        n, seen = self.components, self.length + self.horizon
        frequency, phase, amplitude = (
            rng.uniform(low, high, (n, 1)) for low, high in (self.frequency, self.phase, self.amplitude)
        )
        t = np.arange(seen + self.future_length)
        cycles = frequency * t + self.chirp * t**2 / 2
        components = amplitude * np.sin(2 * np.pi * cycles + phase)
        wave = np.exp(-self.damping * t) / np.sqrt(n) * components.sum(0)
        observed = (wave[:seen] + self.noise * rng.standard_normal(seen))[:, None]
        return Sample(
            inputs=observed[: self.length],
            target=observed[self.horizon :],
            future=wave[seen:, None] if self.future_length else None,
        )
