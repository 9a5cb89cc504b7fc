"""Training sequences changed at random, so that a network cannot learn them by heart."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Gt, Le
from torch import Tensor

from rnnlab.errors import InputError
from rnnlab.files.rolls import NAMES as KEY_NAMES
from rnnlab.shapes import Features, Fraction, Inputs, Lengths, NonNegativeFloat, NonNegativeInt, PositiveInt
from rnnlab.spec import Batch, DataSpec, valid_steps

Share = Annotated[float, Gt(0), Le(1)]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What may happen to a training sequence each time that it is met; validation and test are never touched.

    In this order: music is transposed, a window is cut out, time is warped
    within it, features are scaled, noise is added. The class stays. Each is
    drawn anew for every sequence of every epoch. The time since the step before is none of the
    features (:mod:`rnnlab.elapsed`), and stays what it is.

    Jitter, scaling and warping are those of T. T. Um et al., "Data augmentation
    of wearable sensor data for Parkinson's disease monitoring using
    convolutional neural networks" (2017), arXiv 1706.00527; window slicing is
    that of A. Le Guennec, S. Malinowski & R. Tavenard, "Data augmentation for
    time series classification using convolutional neural networks" (2016),
    though here the test reads whole sequences; token masking is the blank
    noising of Z. Xie et al., "Data noising as smoothing in neural network
    language models" (2017), arXiv 1703.02573; feature and step masking are
    those of D. S. Park et al., "SpecAugment: a simple data augmentation method
    for automatic speech recognition" (2019), arXiv 1904.08779, where a masked
    number is 0, the mean of scaled features.

    Attributes:
        jitter: standard deviation of Gaussian noise on every input, in standard deviations of its feature
            over the training split.
        scaling: standard deviation of the factor, around 1, by which each feature of a sequence is multiplied.
            Where targets are later inputs they are multiplied too.
        time_warping: standard deviation of the logarithm of the speed at which time passes, at ``warp_knots``
            points within a sequence and at its two ends; between them it goes in straight lines. The first and
            the last step stay in place.
        warp_knots: how often within a sequence the speed may turn.
        window: share of its steps that a sequence keeps, anywhere in it.
        feature_masking: share of the features, next to each other, that are masked in a sequence, at most; twice.
        step_masking: share of the steps, next to each other, that are masked in a sequence, at most; twice.
        token_masking: share of the tokens that are replaced by ``mask_token``; targets are not.
        mask_token: the number of a token; ``None`` for the data's own ``<unk>``.
        transposition: semitones by which a sequence of piano keys is moved up or down, at most, every number of them
            as likely; what it is to predict moves with it. It moves only so far that all its keys stay on the piano.
    """

    jitter: NonNegativeFloat = 0.0
    scaling: NonNegativeFloat = 0.0
    time_warping: NonNegativeFloat = 0.0
    warp_knots: PositiveInt = 4
    window: Share = 1.0
    feature_masking: Fraction = 0.0
    step_masking: Fraction = 0.0
    token_masking: Fraction = 0.0
    mask_token: NonNegativeInt | None = None
    transposition: NonNegativeInt = 0

    @property
    def changes(self) -> dict[str, float]:
        """What is switched on, and how far."""
        off = Augmentation()
        names = (
            "jitter", "scaling", "time_warping", "window", "feature_masking", "step_masking", "token_masking",
            "transposition",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(off, name)}

    def check(self, spec: DataSpec) -> None:
        """Refuses what makes no sense for a data set.

        Raises:
            InputError: naming the key, and what it is for.
        """
        tokens, target = spec.input.vocabulary is not None, spec.target
        for name, value in self.changes.items():
            option = f"data.augmentation.{name}={value}"
            if tokens and name in ("jitter", "scaling", "time_warping", "feature_masking", "step_masking"):
                raise InputError(f"{option} is for real features, and this data's inputs are tokens: leave it at 0")
            if not tokens and name == "token_masking":
                raise InputError(f"{option} is for tokens, and this data's inputs are real features: leave it at 0")
            if name in ("time_warping", "window") and not target.classifies:
                answers = "answers of every step" if target.per_step else "numbers that hang on every step"
                raise InputError(
                    f"{option} is for one class a sequence, and this data has {answers}: "
                    f"leave it at {getattr(Augmentation, name):g}"
                )
            if name == "time_warping" and spec.input.elapsed is not None:
                raise InputError(f"{option} is for steps that are equally far apart, and these are not: leave it at 0")
            continues = spec.horizon is not None and target.size == spec.input.features
            if name == "scaling" and not (target.categorical or (target.per_step and continues)):
                raise InputError(f"{option} would change this data's answers, which are no later inputs: leave it at 0")
            if name == "step_masking" and target.per_step:
                raise InputError(f"{option} hides steps whose answers are asked for: leave it at 0")
            if name == "transposition" and target.names != KEY_NAMES:
                raise InputError(f"{option} is for piano keys, which this data's targets are not: leave it at 0")
            if name == "token_masking":
                self._check_mask(spec)

    def _check_mask(self, spec: DataSpec) -> None:
        vocabulary = spec.input.vocabulary or 0
        if self.mask_token is None and spec.input.unknown is None:
            raise InputError(
                f"data.augmentation.token_masking={self.token_masking}: this data has no token for what is unknown; "
                f"say which one masks by data.augmentation.mask_token=0 … {vocabulary - 1}"
            )
        if self.mask_token is not None and self.mask_token >= vocabulary:
            raise InputError(
                f"data.augmentation.mask_token={self.mask_token}: there are {vocabulary} tokens, "
                f"numbered 0 … {vocabulary - 1}"
            )


@dataclass(frozen=True, eq=False)
class Augmenter:
    """An augmentation for one data set; what it does to a batch depends on ``(seed, epoch, position)`` alone.

    Attributes:
        augmentation: what is done.
        spec: of the data, for which the augmentation has been checked.
        deviation: ``(features,)`` standard deviations over the training split; used by jitter alone.
        seed: whole numbers of one's own for a run and, in it, for each process.
    """

    augmentation: Augmentation
    spec: DataSpec
    deviation: Tensor | None
    seed: tuple[int, ...]

    def __call__(self, batch: Batch, epoch: int, position: int) -> Batch:
        """The batch that stands at ``position`` in ``epoch``, changed; the given one is not."""
        options = self.augmentation
        number = np.random.SeedSequence((*self.seed, epoch, position)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(number[0]))
        inputs, targets, lengths, future = batch.inputs, batch.targets, batch.lengths, batch.future
        if options.transposition:
            inputs, targets = transposed(inputs, targets, options.transposition, generator)
        if options.window < 1:
            inputs, lengths = sliced(inputs, lengths, options.window, generator)
        read = inputs
        if options.time_warping:
            inputs = warped(inputs, lengths, options.time_warping, options.warp_knots, generator)
        if options.scaling:
            factor = 1 + options.scaling * torch.randn(len(inputs), 1, inputs.shape[2], generator=generator)
            inputs = inputs * factor
            if not self.spec.target.categorical:
                targets, future = targets * factor, None if future is None else future * factor
        if options.jitter:
            assert self.deviation is not None
            noise = options.jitter * self.deviation * torch.randn(inputs.shape, generator=generator)
            inputs = inputs + noise * valid_steps(inputs, lengths)[..., None]
        if options.feature_masking:
            size = inputs.shape[2]
            hidden = masked(torch.full((len(inputs),), size), size, options.feature_masking, generator)
            inputs = inputs.masked_fill(hidden[:, None], 0)
        if options.step_masking:
            full = torch.full((len(inputs),), inputs.shape[1]) if lengths is None else lengths
            hidden = masked(full, inputs.shape[1], options.step_masking, generator)
            inputs = inputs.masked_fill(hidden[..., None], 0)
        if options.token_masking:
            token = self.spec.input.unknown if options.mask_token is None else options.mask_token
            assert token is not None
            chosen = torch.rand(inputs.shape, generator=generator) < options.token_masking
            inputs = inputs.masked_fill(chosen & valid_steps(inputs, lengths), token)
        at = self.spec.input.elapsed
        if at is not None:
            inputs = torch.cat([inputs[..., :at], read[..., at : at + 1], inputs[..., at + 1 :]], -1)
        return batch._replace(inputs=inputs, targets=targets, lengths=lengths, future=future)


def transposed(inputs: Features, targets: Features, most: int, generator: torch.Generator) -> tuple[Features, Features]:
    """Piano rolls ``(batch, time, keys)``, each moved up or down by up to ``most`` keys, its targets by as many.

    As far as its own lowest and highest key allow: none is lost at the ends of the piano.
    """
    keys = inputs.shape[2]
    down = (inputs != 0).any(1) | (targets != 0).any(1)
    below = down.int().argmax(1).clamp_max(most)
    above = down.flip(1).int().argmax(1).clamp_max(most)
    move = (torch.rand(len(inputs), generator=generator) * (below + above + 1)).long() - below
    source = (torch.arange(keys) - move[:, None]) % keys  # what comes round at the ends is silent

    def moved(roll: Features) -> Features:
        return roll.gather(2, source[:, None].expand_as(roll))

    return moved(inputs), moved(targets)


def sliced(
    inputs: Inputs, lengths: Lengths | None, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """A stretch of each sequence, ``share`` of its steps and at least one, every place as likely; and its lengths."""
    batch, time = inputs.shape[:2]
    full = torch.full((batch,), time) if lengths is None else lengths
    kept = (share * full).round().long().clamp_min(1)
    start = (torch.rand(batch, generator=generator) * (full - kept + 1)).long()
    longest = int(kept.max())
    step = (start[:, None] + torch.arange(longest)).clamp_max(time - 1)
    cut = inputs[torch.arange(batch)[:, None], step]
    if lengths is None:
        return cut, None
    padding = ~valid_steps(cut, kept)
    return cut.masked_fill(padding if cut.dim() == 2 else padding[..., None], 0), kept


def masked(sizes: Tensor, most: int, share: float, generator: torch.Generator) -> Tensor:
    """``(batch, most)`` true in two stretches of the first ``sizes`` places, each up to ``share`` of them wide."""
    hidden = torch.zeros(len(sizes), most, dtype=torch.bool)
    place = torch.arange(most)
    for _ in range(2):
        width = (torch.rand(len(sizes), generator=generator) * (share * sizes + 1)).long()
        start = (torch.rand(len(sizes), generator=generator) * (sizes - width + 1)).long()
        hidden |= (place >= start[:, None]) & (place < (start + width)[:, None])
    return hidden


def warped(
    inputs: Features, lengths: Lengths | None, deviation: float, knots: int, generator: torch.Generator
) -> Tensor:
    """Each sequence as if time had passed now faster, now slower: read by linear interpolation at :func:`warp`."""
    batch, time = inputs.shape[:2]
    full = torch.full((batch,), time) if lengths is None else lengths
    speed = deviation * torch.randn(batch, knots + 2, generator=generator)
    place = warp(full, time, speed)
    before = place.floor().long().minimum((full - 2).clamp_min(0)[:, None])
    after = (before + 1).minimum(full[:, None] - 1)
    row = torch.arange(batch)[:, None]
    read = torch.lerp(inputs[row, before], inputs[row, after], (place - before)[..., None])
    return read if lengths is None else read * valid_steps(inputs, lengths)[..., None]


def warp(lengths: Lengths, time: int, log_speed: Tensor) -> Tensor:
    """Where each step of a warped sequence is read from.

    Args:
        lengths: ``(batch,)`` steps of each sequence.
        time: steps of the longest.
        log_speed: ``(batch, knots)`` logarithm of the speed at even distances from the first step to the last.

    Returns:
        ``(batch, time)``: 0 at the first step, ``length - 1`` at the last and in the padding, rising between.
    """
    last = (lengths - 1)[:, None]
    step = torch.arange(time)
    knots = log_speed.shape[1]
    # each step's place among the knots, and the speed there
    place = (step / last.clamp_min(1)).clamp_max(1) * (knots - 1)
    before = place.long().clamp_max(knots - 2)
    left, right = log_speed.gather(1, before), log_speed.gather(1, before + 1)
    speed = torch.lerp(left, right, place - before).exp()
    # the way from each step to the next by the trapezoid rule; none in the padding
    way = (speed[:, 1:] + speed[:, :-1]) / 2 * (step[1:] <= last)
    gone = torch.cat([torch.zeros(len(lengths), 1), way.cumsum(1)], 1)
    return gone / gone[:, -1:].clamp_min(torch.finfo(gone.dtype).tiny) * last
