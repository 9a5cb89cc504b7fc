"""Sequences of tokens that are to be said: what a data set tells of them, and how several right ones are stacked."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.text_encoder import TextEncoder
from rnnlab.spec import IGNORED, TargetSpec

END = "<end>"
"""The name of the token that ends a target."""


def ended(encoder: TextEncoder, text: str) -> np.ndarray:
    """``(steps,)`` tokens of a text that is normalized, and the end."""
    return np.append(encoder.numbers(text), len(encoder.vocabulary))


def target_facts(encoder: TextEncoder, targets: Tensor) -> dict[str, Any]:
    """``target``, ``token_frequencies`` and ``common_target`` of a :class:`rnnlab.spec.DataSpec`.

    Args:
        encoder: of what is said.
        targets: ``(sequences, steps)`` of the training split.
    """
    names = (*encoder.vocabulary, END)
    # one more of each, so that none is 0
    counts = np.bincount(targets[targets >= 0].numpy(), minlength=len(names)) + 1
    common = Counter(tuple(row) for row in targets.tolist()).most_common(1)[0][0]
    target = TargetSpec(
        "sequence",
        len(names),
        names,
        end=len(names) - 1,
        unknown=None if encoder.unit == "byte" else 0,
        unit=encoder.unit,
        longest=targets.shape[1],
    )
    return {
        "target": target,
        "token_frequencies": tuple((counts / counts.sum()).tolist()),
        "common_target": tuple(number for number in common if 0 <= number < len(names) - 1),
    }


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
