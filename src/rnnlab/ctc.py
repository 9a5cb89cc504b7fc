"""Connectionist temporal classification: which sequence is said by one token, or none, at each of many steps.

A. Graves, S. Fernández, F. Gomez & J. Schmidhuber, "Connectionist temporal classification: labelling unsegmented
sequence data with recurrent neural networks" (2006). A path has a token or the blank at each step; it says what is left
of it once repetitions are one, and then blanks gone. The probability of a sequence is that of all its paths together.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.errors import InputError
from rnnlab.spec import IGNORED

NOTHING = -math.inf


class Path(NamedTuple):
    """The most probable path, and what it says.

    tokens
        ``(batch, said)``, ``IGNORED`` behind the last of each.
    steps
        ``(batch, said)`` the step at which each token begins, ``IGNORED`` behind the last.
    """

    tokens: Tensor
    steps: Tensor


def valid(scores: Tensor, lengths: Tensor) -> Tensor:
    """``(batch, steps)`` true where a step of ``(batch, steps, size)`` scores belongs to its sequence."""
    return torch.arange(scores.shape[1], device=scores.device) < lengths[:, None]


def log_probabilities(scores: Tensor, lengths: Tensor) -> Tensor:
    """``(batch, steps, size)``, at least in single precision; what stands in padding counts nowhere."""
    scores = scores.masked_fill(~valid(scores, lengths)[..., None], 0.0)
    return (scores if scores.dtype == torch.float64 else scores.float()).log_softmax(-1)


def negative_log_likelihood(scores: Tensor, lengths: Tensor, targets: Tensor, blank: int) -> Tensor:
    """``(batch,)`` in nats, of all paths together (equation 8 of Graves et al.).

    Args:
        scores: ``(batch, steps, size)``.
        lengths: ``(batch,)`` valid steps.
        targets: ``(batch, tokens)``, ``IGNORED`` behind the last of each.
        blank: the number of the token that says nothing.

    Returns:
        Zero, with no gradient, where the steps are too few for the target (:func:`steps_needed`).
    """
    asked = targets != IGNORED
    return F.ctc_loss(
        log_probabilities(scores, lengths).transpose(0, 1),
        targets.masked_fill(~asked, (blank + 1) % scores.shape[2]),
        lengths,
        asked.sum(1),
        blank,
        reduction="none",
        zero_infinity=True,
    )


def steps_needed(targets: Tensor) -> Tensor:
    """``(batch,)`` the fewest steps that say ``(batch, tokens)``: one a token, a blank between two that are alike."""
    asked = targets != IGNORED
    alike = (targets[:, 1:] == targets[:, :-1]) & asked[:, 1:]
    return asked.sum(1) + alike.sum(1)


def best_path(scores: Tensor, lengths: Tensor, blank: int) -> Path:
    """The most probable token at each step ("best path decoding"): greedy."""
    best = scores.argmax(-1)
    before = torch.cat([torch.full_like(best[:, :1], blank), best[:, :-1]], 1)
    begins = (best != blank) & (best != before) & valid(scores, lengths)
    place = (begins.cumsum(1) - 1).masked_fill(~begins, scores.shape[1])
    # one column more takes what says nothing, and is cut off again
    empty = best.new_full((len(best), scores.shape[1] + 1), IGNORED)
    steps = torch.arange(scores.shape[1], device=best.device).expand_as(best)
    most = max(1, int(begins.sum(1).max())) if len(best) else 1
    tokens, at = (empty.scatter(1, place, each)[:, :-1][:, :most] for each in (best, steps))
    return Path(tokens, at)


def prefix_beam_search(log_probs: Sequence[Sequence[float]], blank: int, beam: int) -> list[tuple[int, ...]]:
    """The sequences that are most probable over all their paths, the best first: at most ``beam`` of them.

    The prefixes of each step are kept with the probability of their paths that end in a blank and of those that end in
    their last token (A. Y. Hannun, A. L. Maas, D. Jurafsky & A. Y. Ng, "First-pass large vocabulary continuous speech
    recognition using bi-directional recurrent DNNs" (2014), algorithm 1). With a beam that no prefix falls out of it is
    exact.

    Args:
        log_probs: of each token at each step.
        blank: the number of the token that says nothing.
        beam: prefixes that are kept at each step.

    Raises:
        InputError: the beam is below 1.
    """
    if beam < 1:
        raise InputError(f"beam={beam} must be at least 1")
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, NOTHING)}
    for step in log_probs:
        after: dict[tuple[int, ...], list[float]] = {}
        for prefix, (by_blank, by_token) in kept.items():
            together = _sum(by_blank, by_token)
            own = after.setdefault(prefix, [NOTHING, NOTHING])
            own[0] = _sum(own[0], together + step[blank])
            if prefix:
                own[1] = _sum(own[1], by_token + step[prefix[-1]])
            for token, log_prob in enumerate(step):
                if token == blank:
                    continue
                # after itself a token is a new one only behind a blank
                came = by_blank if prefix and token == prefix[-1] else together
                if came == NOTHING:
                    continue
                longer = after.setdefault((*prefix, token), [NOTHING, NOTHING])
                longer[1] = _sum(longer[1], came + log_prob)
        best = sorted(after.items(), key=lambda each: -_sum(*each[1]))[:beam]
        kept = {prefix: (ends[0], ends[1]) for prefix, ends in best}
    return list(kept)


def _sum(a: float, b: float) -> float:
    """The logarithm of the sum of two probabilities, of their logarithms."""
    if a < b:
        a, b = b, a
    return a if b == NOTHING else a + math.log1p(math.exp(b - a))


class Greedy:
    """The best path of a stream, step by step: as :func:`best_path`, in constant memory."""

    def __init__(self, blank: int) -> None:
        self.blank = self.before = blank

    def __call__(self, best: int) -> int | None:
        """The token that begins at a step whose most probable one is ``best``; ``None`` where none does."""
        begins = best not in (self.blank, self.before)
        self.before = best
        return best if begins else None
