"""What a data set knows of its targets where they are sequences of their own length."""

from collections import Counter
from typing import Any

import numpy as np
from torch import Tensor

from rnnlab.spec import TargetSpec

END = "<end>"
"""The name of the token that ends a target; where it is transcribed, that of the blank."""


def of_targets(targets: Tensor, vocabulary: tuple[str, ...], unit: str, unknown: int | None) -> dict[str, Any]:
    """Arguments of :class:`rnnlab.spec.DataSpec`: what the targets are, how frequent each token and which sequence is
    most frequent.

    Args:
        targets: ``(sequences, tokens)`` of the training split, an end of its own behind each.
        vocabulary: what each number below that of the end stands for.
        unit: of a token.
        unknown: the token that stands for all that have none of their own.
    """
    names = (*vocabulary, END)
    # one more of each, so that none is 0
    counts = np.bincount(targets[targets >= 0].numpy(), minlength=len(names)) + 1
    common = Counter(tuple(row) for row in targets.tolist()).most_common(1)[0][0]
    return {
        "target": TargetSpec(
            "sequence", len(names), names, end=len(names) - 1, unknown=unknown, unit=unit, longest=targets.shape[1]
        ),
        "token_frequencies": tuple((counts / counts.sum()).tolist()),
        "common_target": tuple(number for number in common if 0 <= number < len(names) - 1),
    }
