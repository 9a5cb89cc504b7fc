"""New sequences of features."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from rnnlab.data.reader import CLASS, SEQUENCE, Arrival, Given, StepReader, check_class, refuse_own_moments
from rnnlab.data.ts_file import read_ts
from rnnlab.errors import InputError
from rnnlab.files.source import (
    Format,
    Source,
    as_numbers,
    brief,
)
from rnnlab.spec import Scaling


@dataclass(frozen=True, eq=False)
class FeatureReader(StepReader):
    """Real numbers, a row a step.

    Attributes:
        names: of the features.
        classes: see :class:`StepReader`.
        shift: what is subtracted from each feature; empty for nothing.
        scale: what it is then divided by.
        own_moments: each sequence by its own mean and standard deviation instead.
        fill: a missing value becomes the one before it, or else the first after it.
        patch: steps that the network reads at once, side by side.
        unscaled: features, from 0, that ``own_moments`` leaves as they are, such as the time since the step before.
    """

    formats: ClassVar[tuple[Format, ...]] = ("csv", "tsv", "jsonl", "parquet", "ts")
    shift: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    own_moments: bool = False
    fill: bool = False
    patch: int = 1
    unscaled: tuple[int, ...] = ()

    @property
    def in_single_steps(self) -> "FeatureReader":
        return replace(self, patch=1)

    @property
    def features(self) -> tuple[str, ...]:
        if self.patch == 1:
            return self.names
        return tuple(f"{name} +{step}" for step in range(self.patch) for name in self.names)

    @property
    def input_scaling(self) -> Scaling:
        if self.own_moments or not self.shift:
            return Scaling()
        return Scaling(tuple(self.shift) * self.patch, tuple(self.scale) * self.patch)

    def describe(self) -> str:
        short = "" if self.names[0] == "f0" else " (or f0, f1, …)"
        cells = ",".join(f"{0.1 * (k + 1):.1f}" for k in range(min(len(self.names), 4)))
        more = ",…" if len(self.names) > 4 else ""
        known = f"  (a key '{CLASS}' or a column '{CLASS}' may tell the true class)\n" if self.classes else ""
        known += "  a .ts file of the UCR and UEA archives\n" if self.classes else ""
        return (
            f"sequences of {self._step} a step, in the units of the training data\n"
            f"  CSV, Parquet: a row a step, columns {','.join(self.names[:12])}{', …' if len(self.names) > 12 else ''}"
            f"{short}, and '{SEQUENCE}' where there are several, such as\n"
            f"      {SEQUENCE},{','.join(self.names[:4])}{more}\n      a,{cells}{more}\n"
            f'  JSON lines: a line a sequence, {{"inputs": [[{cells}{more}], …]}} or [[{cells}{more}], …]\n'
            f"{known}  --stream: a line a step, CSV or JSON; an empty line, or another sequence, starts afresh"
        )

    @property
    def example(self) -> str:
        return f"a row a step with the columns {', '.join(self.names[:12])}{', …' if len(self.names) > 12 else ''}"

    def read(self, source: Source) -> Iterator[Given]:
        if source.format != "ts":
            yield from super().read(source)
            return
        if source.path is None:
            raise InputError("a .ts file is read from the disk: give --input FILE.ts")
        file = read_ts(source.path)
        for number, (values, label, line) in enumerate(zip(file.sequences, file.labels, file.lines, strict=True)):
            place = f"{source.path}, line {line}"
            truth = check_class(label, self.classes, place) if self.classes else None
            yield Given(number, self.array(values, place), truth)

    def array(self, x: Any, place: str) -> np.ndarray:
        return patched(self._scaled(x, place), self.patch)

    def row(self, x: np.ndarray, place: str) -> np.ndarray | np.generic:
        return self._scaled(x[None], place)[0]

    def step(self, x: Any) -> np.ndarray | np.generic:
        if self.patch > 1:
            raise InputError(
                f"this run reads {self.patch} steps at once (data.patch={self.patch}): give whole sequences, or train "
                "with data.patch=1"
            )
        refuse_own_moments(self.own_moments)
        return super().step(x)

    def _scaled(self, x: Any, place: str) -> np.ndarray:
        """``(time, features)`` in the network's units, step by step."""
        try:
            values = as_numbers(x)
        except (TypeError, ValueError, OverflowError):
            raise InputError(
                f"{place}: a sequence is a list of steps of {self._step}, all of numbers: {brief(x)}"
            ) from None
        if values.ndim == 1 and len(self.names) == 1:
            values = values[:, None]
        if values.ndim != 2 or values.shape[1] != len(self.names):
            shape = f"{values.shape[-1]} a step" if values.ndim == 2 else f"the shape {values.shape}"
            raise InputError(f"{place} has {shape}, and this run reads {self._step} a step")
        if not len(values):
            raise InputError(f"{place} has no step")
        values = self._filled(values, place)
        if self.own_moments:
            mean, deviation = moments_of(values, self.unscaled)
            values = (values - mean) / deviation
        elif self.shift:
            values = (values - np.asarray(self.shift)) / np.asarray(self.scale)
        return values.astype(np.float32)

    def _filled(self, values: np.ndarray, place: str) -> np.ndarray:
        missing = ~np.isfinite(values)
        if not missing.any():
            return values
        step, feature = np.argwhere(missing)[0].tolist()
        if not self.fill or missing.all(0).any() or np.isinf(values).any():
            raise InputError(
                f"{place}, step {step}, {self.names[feature]}: {values[step, feature]} is no finite number"
            )
        steps = np.arange(len(values))[:, None]
        last = np.maximum.accumulate(np.where(missing, -1, steps), 0)
        return np.take_along_axis(values, np.where(last < 0, np.argmin(missing, 0), last), 0)

    def _is_several(self, x: np.ndarray) -> bool:
        return x.ndim == 3 or (x.ndim == 2 and x.shape[1] != len(self.names) and len(self.names) == 1)

    def take(self, x: Any) -> Iterator[Given]:
        together = self._together(x) if isinstance(x, np.ndarray) else None
        if together is None:
            yield from super().take(x)
            return
        for number, inputs in enumerate(together):
            yield Given(number, inputs)

    def _numbers(self, cells: Sequence[str]) -> np.ndarray | None:
        try:
            values = [float(cell) for cell in cells]
        except ValueError:
            return None
        if not all(map(math.isfinite, values)):
            return None
        step = np.array(values)
        if self.shift:
            step = (step - np.asarray(self.shift)) / np.asarray(self.scale)
        return step.astype(np.float32)

    def _together(self, x: np.ndarray) -> np.ndarray | None:
        """``(batch, time, features)`` of sequences alike in length, all at once; ``None`` where each is a case of its
        own: :meth:`array` says what is wrong with it.
        """
        if x.ndim != 3 or x.shape[2] != len(self.names) or not x.shape[1] or x.dtype.kind not in "fiu":
            return None
        if self.own_moments or not np.isfinite(x).all():
            return None
        if self.shift:
            x = (x.astype(np.float64) - np.asarray(self.shift)) / np.asarray(self.scale)
        return patched(x.astype(np.float32), self.patch)

    def stream(self, lines: Iterator[str], name: str) -> Iterator[Arrival | None]:
        refuse_own_moments(self.own_moments)
        arrivals = super().stream(lines, name)
        return arrivals if self.patch == 1 else self._gathered(arrivals)

    def _gathered(self, arrivals: Iterator[Arrival | None]) -> Iterator[Arrival | None]:
        """A patch of steps each, the last one of a sequence filled up at its end."""
        steps: list[Arrival] = []
        for arrival in arrivals:
            if steps and (arrival is None or arrival.restart):
                yield self._patch(steps)
                steps.clear()
            if arrival is None:
                yield None
                continue
            steps.append(arrival)
            if len(steps) == self.patch:
                yield self._patch(steps)
                steps.clear()
        if steps:
            yield self._patch(steps)

    def _patch(self, steps: list[Arrival]) -> Arrival:
        inputs = np.stack([np.asarray(arrival.inputs) for arrival in steps])
        return steps[0]._replace(inputs=patched(inputs, self.patch)[0], labels=steps[-1].labels)


class Moments(NamedTuple):
    """What is known of the channels of some steps, enough for their mean and deviation, alone or beside others.

    steps
        How many.
    mean
        ``(channels,)``.
    variance
        ``(channels,)``.
    largest
        ``(channels,)`` absolute value.
    """

    steps: int
    mean: np.ndarray
    variance: np.ndarray
    largest: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Moments":
        """Of ``(steps, channels)``."""
        return cls(len(values), values.mean(0), values.var(0), np.abs(values).max(0))

    @classmethod
    def together(cls, parts: Sequence["Moments"]) -> "Moments":
        """Of all steps of several parts (T. F. Chan, G. H. Golub & R. J. LeVeque, "Updating formulae and a pairwise
        algorithm for computing sample variances" (1979), equation 2.1).
        """
        counts, means, variances, largest = (np.array(part) for part in zip(*parts, strict=True))
        mean = counts @ means / counts.sum()
        variance = counts @ (variances + (means - mean) ** 2) / counts.sum()
        return cls(int(counts.sum()), mean, variance, largest.max(0))

    @property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each channel; 1 for a channel that stands still."""
        deviation = np.sqrt(self.variance)
        # what rounding leaves of a constant is no spread
        return self.mean, np.where(deviation <= 1e-7 * self.largest, 1.0, deviation)


def moments_of(values: np.ndarray, unscaled: Sequence[int] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel of ``(steps, channels)``; 1 for a channel that stands still, and 0
    and 1 for those that are to stay as they are.
    """
    mean, deviation = Moments.of(values).scale
    mean[list(unscaled)], deviation[list(unscaled)] = 0.0, 1.0
    return mean, deviation


def patched(values: np.ndarray, patch: int) -> np.ndarray:
    """Puts steps side by side, the last one repeated where they don't come out even: ``(…, time, features)`` to
    ``(…, ⌈time / patch⌉, patch * features)``.
    """
    if patch == 1:
        return values
    *rest, time, features = values.shape
    missing = -time % patch
    if missing:
        values = np.concatenate([values, np.repeat(values[..., -1:, :], missing, -2)], -2)
    return values.reshape(*rest, (time + missing) // patch, patch * features)
