"""What a network with a decoder says by itself: token by token, until the end."""

from typing import NamedTuple

import torch
from torch import Tensor

from rnnlab.network import Network
from rnnlab.shapes import Inputs, Lengths
from rnnlab.spec import IGNORED


class Said(NamedTuple):
    """Sequences that were said.

    tokens
        ``(batch, steps)`` without the end, ``IGNORED`` behind the last of each.
    score
        ``(batch,)`` the logarithm of the probability of each, its end included.
    weights
        ``(batch, steps + 1, time)`` of the attention, the last step of each that of its end; ``None`` without one.
    """

    tokens: Tensor
    score: Tensor
    weights: Tensor | None


@torch.no_grad()
def greedy(network: Network, inputs: Inputs, lengths: Lengths | None, end: int, longest: int) -> Said:
    """The most probable token at each step, until it is the end.

    Args:
        network: with a decoder.
        inputs: ``(batch, time, features)`` or ``(batch, time)`` tokens.
        lengths: ``(batch,)`` valid steps.
        end: the token that ends a sequence.
        longest: tokens after which a sequence that has not ended is cut.
    """
    assert network.decoder is not None
    memory, state = network.encode(inputs, lengths)
    before = torch.full((len(inputs),), network.decoder.start, device=inputs.device)
    score = memory.hidden.new_zeros(len(inputs))
    open_ = torch.ones(len(inputs), dtype=torch.bool, device=inputs.device)
    tokens, weights = [], []
    for _ in range(longest + 1):
        scores, state, weight = network.say(before, state, memory)
        best, before = scores.log_softmax(-1).max(-1)
        score = score + best * open_
        open_ = open_ & (before != end)
        tokens.append(before.where(open_, torch.full_like(before, IGNORED)))
        weights.append(weight)
        if not open_.any():
            break
    said = torch.stack(tokens, 1)[:, :longest]
    kept = [weight for weight in weights if weight is not None]
    # the last step of each is an end, or cut
    said = said[:, : max(1, int((said != IGNORED).sum(1).max()))]
    return Said(said, score, torch.stack(kept, 1)[:, : said.shape[1] + 1] if kept else None)
