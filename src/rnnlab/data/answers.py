"""Sequences of tokens that are to be said: several right ones, stacked."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.text_encoder import TextEncoder
from rnnlab.spec import IGNORED


def ended(encoder: TextEncoder, text: str) -> np.ndarray:
    """``(steps,)`` tokens of a text that is normalized, and the end."""
    return np.append(encoder.numbers(text), len(encoder.vocabulary))


def further(encoder: TextEncoder, answers: Sequence[Sequence[str]]) -> Tensor | None:
    """``(sequences, answers, steps)`` all but the first of the right answers to each, the first again where there are
    fewer (:class:`rnnlab.spec.Batch`); ``None`` where none has several.
    """
    most = max(map(len, answers))
    if most == 1:
        return None
    rows = [
        [ended(encoder, answer) for answer in [*several[1:], *[several[0]] * (most - len(several))]]
        for several in answers
    ]
    others = np.full((len(rows), most - 1, max(len(row) for several in rows for row in several)), IGNORED, np.int64)
    for place, several in zip(others, rows, strict=True):
        for line, row in zip(place, several, strict=True):
            line[: len(row)] = row
    return torch.from_numpy(others)
