"""Handwritten digits, read pixel by pixel."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from rnnlab.data.labelled import LabelledFeatures
from rnnlab.data.split import SPLITS, Sample, SplitName
from rnnlab.data.splitting import check_folds
from rnnlab.data.splitting import cut as cut_in_folds
from rnnlab.data.strata import stratified_order
from rnnlab.extras import need
from rnnlab.shapes import AUTO, AutoSize, Fraction, NonNegativeInt, PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

SIDE, WHITE, DIGITS = 8, 16.0, 10


@dataclass(kw_only=True, eq=False)
class Digits(LabelledFeatures):
    """1,797 handwritten digits of 8 × 8 pixels, as sequences; the class is the digit.

    ::

        order=pixels  inputs (64, 1)   one pixel a step, row after row         target  7
        order=rows    inputs (8, 8)    one row of pixels a step                target  7

    The small sister of sequential MNIST: Q. V. Le, N. Jaitly & G. E. Hinton,
    "A simple way to initialize recurrent networks of rectified linear units"
    (2015), arXiv 1504.00941. There too, permuting the pixels of all digits
    alike makes it harder: neighbours in the picture are then far apart in time.

    The digits are those that scikit-learn carries, the test part of E. Alpaydin
    & C. Kaynak, "Optical recognition of handwritten digits" (UCI, 1998). Pixels
    go from 0 to 1. Every split has each digit in its proportion.

    Attributes:
        order: ``pixels``, 64 steps; or ``rows``, 8 steps.
        permute: one and the same permutation, drawn from ``seed``, for the pixels of all digits.
        num_samples: in the three splits, at most; ``None`` for all.
        folds: parts of which one is the test, for cross-validation; ``None``: the test is a share.
        fold: which of them is tested, from 0.
        seed: of the splits and the permutation.
        scaling: see :class:`rnnlab.data.labelled.LabelledFeatures`.
        moments: see :class:`rnnlab.data.labelled.LabelledFeatures`.

    Raises:
        InputError: scikit-learn is not installed, or a split stays empty.
    """

    order: Literal["pixels", "rows"] = "pixels"
    permute: bool = False
    num_samples: PositiveInt | None = None
    test_fraction: Fraction = 0.2
    folds: PositiveInt | None = None
    fold: NonNegativeInt = 0
    batch_size: AutoSize = AUTO

    def __post_init__(self) -> None:
        need("datasets", "sklearn", "data=digits")
        check_folds(self.folds, self.fold)
        super().__post_init__()

    @cached_property
    def _pictures(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels ``(digits, 64)`` between 0 and 1, and labels ``(digits,)``."""
        from sklearn.datasets import load_digits  # takes a second

        pixels, labels = load_digits(return_X_y=True)
        pixels = pixels / WHITE
        if self.permute:
            pixels = pixels[:, np.random.default_rng((self.seed, len(SPLITS) + 1)).permutation(SIDE * SIDE)]
        return pixels, labels

    @cached_property
    def _parts(self) -> dict[SplitName, np.ndarray]:
        """Which digits are in a split, in an order whose every start is stratified."""
        labels = self._pictures[1]
        seed = (self.seed, len(SPLITS))
        if self.folds is not None:
            pieces = cut_in_folds(len(labels), (self.val_fraction, 0), seed, labels, None, self.folds, self.fold)
            return dict(zip(SPLITS, pieces, strict=True))
        order = stratified_order(labels, seed)
        val, test = (round(share * len(order)) for share in (self.val_fraction, self.test_fraction))
        cut = np.split(order, [len(order) - val - test, len(order) - test])
        return {
            split: members[stratified_order(labels[members], seed)] for split, members in zip(SPLITS, cut, strict=True)
        }

    def numbers_in_whole(self, split: SplitName) -> np.ndarray:
        return self._parts[split][: self.size(split)]

    def size(self, split: SplitName) -> int:
        there = len(self._parts[split])
        return there if self.num_samples is None else min(there, super().size(split))

    def unscaled(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        pixels, labels = self._pictures
        number = self._parts[split][index]
        return Sample(pixels[number].reshape((-1, 1) if self.order == "pixels" else (SIDE, SIDE)), int(labels[number]))

    @cached_property
    def spec(self) -> DataSpec:
        rows = self.order == "rows"
        return DataSpec(
            input=InputSpec(features=SIDE if rows else 1),
            target=TargetSpec("class", DIGITS, tuple(map(str, range(DIGITS)))),
            length=SIDE if rows else SIDE * SIDE,
            class_frequencies=self.class_frequencies(DIGITS),
            note="every digit is in one split alone, but one writer's may be in several",
        )
