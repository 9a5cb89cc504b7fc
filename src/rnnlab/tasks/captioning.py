"""A sentence of an image, or of the frames of a sequence."""

from typing import Any

import numpy as np
from torch import Tensor
from torchmetrics import Metric

from rnnlab.image_encoder import ImageEncoder
from rnnlab.tasks.sequence_scores import ExactMatch, Truth, right
from rnnlab.tasks.sequence_task import NEVER
from rnnlab.tasks.translation import Translation


class KnownWordsMatch(ExactMatch):
    """Of the sequences that can be right, all words of an answer being known, the share that is; 0 of none."""

    def update(self, answer: Any, truth: Truth) -> None:
        can = (truth.references != NEVER).all(-1).any(-1)
        self.right = self.right + (right(answer.tokens, truth) & can).sum()
        self.count = self.count + can.sum()

    def compute(self) -> Tensor:
        return self.right / self.count.clamp_min(1)


class Captioning(Translation):
    """What :class:`rnnlab.tasks.translation.Translation` is for texts, for images: the decoder attends to the places of
    the map that convolutions make of each (K. Xu et al., "Show, attend and tell", 2015, arXiv 1502.03044).

    Beside its scores stands ``exact_match_known``, of the sentences whose words were all in training. Where no sentence
    of the test was there as a whole, it says how often parts are put together that never were.
    """

    def metrics(self) -> dict[str, Metric]:
        return {**super().metrics(), "exact_match_known": KnownWordsMatch()}

    @property
    def looks_at_places(self) -> bool:
        """Whether the decoder attends to places of the image."""
        return isinstance(self.network.encoder, ImageEncoder)

    def on_places(self, weights: np.ndarray) -> np.ndarray:
        """``(…, time * places)`` weights of the attention as ``(…, time, rows, columns)``."""
        encoder = self.network.encoder
        rows, columns = encoder.places if isinstance(encoder, ImageEncoder) else (1, 1)
        return weights.reshape(*weights.shape[:-1], -1, rows, columns)
