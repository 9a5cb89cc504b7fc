"""What a network with a decoder says by itself: token by token, until the end."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.errors import InputError
from rnnlab.shapes import Inputs, Lengths
from rnnlab.spec import IGNORED


@runtime_checkable
class Speaker(Protocol):
    """A network with a decoder, or several that decode together (:class:`rnnlab.runs.ensemble.Speakers`)."""

    decoder: Any

    def encode(self, inputs: Inputs, lengths: Lengths | None = None) -> tuple[Any, Any]:
        """What was read, and the state before the first token: see :meth:`rnnlab.network.Network.encode`."""

    def say(self, tokens: Tensor, state: Any, memory: Any) -> tuple[Tensor, Any, Tensor | None]:
        """One step: see :meth:`rnnlab.network.Network.say`."""


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
def greedy(network: Speaker, inputs: Inputs, lengths: Lengths | None, end: int, longest: int) -> Said:
    """The most probable token at each step, until it is the end, which comes after ``longest`` tokens at last.

    Args:
        network: with a decoder.
        inputs: ``(batch, time, features)`` or ``(batch, time)`` tokens.
        lengths: ``(batch,)`` valid steps.
        end: the token that ends a sequence.
        longest: tokens of a sequence, at most.
    """
    memory, state = network.encode(inputs, lengths)
    before = torch.full((len(inputs),), network.decoder.start, device=inputs.device)
    score = memory.hidden.new_zeros(len(inputs))
    going = torch.ones(len(inputs), dtype=torch.bool, device=inputs.device)
    tokens, weights = [], []
    for step in range(longest + 1):
        scores, state, weight = network.say(before, state, memory)
        logs = scores.log_softmax(-1)
        best, before = logs.max(-1)
        if step == longest:
            best, before = logs[:, end], torch.full_like(before, end)
        score = score + best * going
        going = going & (before != end)
        tokens.append(before.where(going, torch.full_like(before, IGNORED)))
        weights.append(weight)
        if not going.any():
            break
    kept = [weight for weight in weights if weight is not None]
    said = torch.stack(tokens, 1)[:, : max(1, len(tokens) - 1)]
    return Said(said, score, torch.stack(kept, 1)[:, : said.shape[1] + 1] if kept else None)


@dataclass(frozen=True)
class Search:
    """How sequences are searched for.

    Attributes:
        beam: unfinished sequences that are kept at each step; 1 is greedy.
        nbest: of the finished ones that are told, the best first.
        length_penalty: the α of Y. Wu et al., "Google's neural machine translation system" (2016), equation 14: the
            logarithm of the probability is divided by ((5 + tokens) / 6)^α, the end being a token; 0 for none.
        no_repeat: no n-gram of so many tokens comes twice in a sequence; ``None`` for whatever comes.

    Raises:
        InputError: a number is too small, or more are to be told than are kept.
    """

    beam: int = 1
    nbest: int = 1
    length_penalty: float = 0.0
    no_repeat: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("beam", self.beam), ("nbest", self.nbest), ("no_repeat", self.no_repeat)):
            if value is not None and value < 1:
                raise InputError(f"{name}={value} must be 1 or more")
        if not 0 <= self.length_penalty < float("inf"):
            raise InputError(f"length_penalty={self.length_penalty} must be 0 or more, and finite")
        if self.nbest > self.beam:
            raise InputError(
                f"nbest={self.nbest} is more than the beam={self.beam} keeps: give beam={self.nbest} or more"
            )

    def ranked(self, score: float, tokens: int) -> float:
        """By which sequences are ordered: of the logarithm of a probability and the tokens, the end included."""
        return float(score / ((5 + tokens) / 6) ** self.length_penalty)


class Hypothesis(NamedTuple):
    """A sequence that was found.

    tokens
        Without the end.
    score
        The logarithm of its probability, its end included.
    rank
        What it is ordered by, the highest first.
    alignment
        For each token the step of the input that has most of the attention; empty without attention.
    """

    tokens: list[int]
    score: float
    rank: float
    alignment: list[int]


@torch.no_grad()
def beam_search(
    network: Speaker, inputs: Inputs, lengths: Lengths | None, end: int, longest: int, search: Search
) -> list[list[Hypothesis]]:
    """The most probable sequences that a search of limited breadth finds, of each input the best first.

    A sequence that is finished leaves the beam, which is narrower by one from
    then on (Sutskever et al. 2014, section 3.2): so a beam of 1 is
    :func:`greedy`, whatever the length penalty, and one that is as broad as
    there are sequences finds the best of all.

    Args:
        network: with a decoder.
        inputs: as of :func:`greedy`.
        lengths: as of :func:`greedy`.
        end: as of :func:`greedy`.
        longest: as of :func:`greedy`.
        search: its breadth, and how sequences are ordered.
    """
    size, beam, device = len(inputs), search.beam, inputs.device
    memory, state = network.encode(inputs, lengths)
    every = torch.arange(size, device=device).repeat_interleave(beam)
    memory, state = memory.select(every), state.select(every)
    before = torch.full((size * beam,), network.decoder.start, device=device)
    # one beginning, not so many alike
    scores = torch.full((size, beam), -torch.inf, device=device, dtype=memory.hidden.dtype)
    scores[:, 0] = 0
    tokens = torch.empty(size, beam, 0, dtype=torch.int64, device=device)
    places = torch.empty_like(tokens)
    found: list[list[Hypothesis]] = [[] for _ in range(size)]
    for step in range(longest + 1):
        said, state, weights = network.say(before, state, memory)
        logs = said.log_softmax(-1).view(size, beam, -1)
        if search.no_repeat is not None:
            _block(logs, tokens, search.no_repeat)
        if step == longest:  # nothing but the end may follow
            logs = torch.where(torch.arange(logs.shape[-1], device=device) == end, logs, -torch.inf)
        vocabulary = logs.shape[-1]
        scores, chosen = (scores[..., None] + logs).flatten(1).topk(beam)
        parent, token = torch.div(chosen, vocabulary, rounding_mode="floor"), chosen % vocabulary
        looked = places.new_zeros(size, beam) if weights is None else weights.argmax(-1).view(size, beam)
        tokens = torch.cat([tokens.gather(1, parent[..., None].expand(-1, -1, step)), token[..., None]], 2)
        places = torch.cat([places, looked[..., None]], 2).gather(1, parent[..., None].expand(-1, -1, step + 1))
        left = torch.tensor([beam - len(own) for own in found], device=device)
        alive = (torch.arange(beam, device=device) < left[:, None]) & scores.isfinite()
        ended = alive & (token == end)
        for row, slot in ended.nonzero().tolist():
            own, score = tokens[row, slot, :-1].tolist(), float(scores[row, slot])
            alignment = [] if weights is None else places[row, slot, :-1].tolist()
            found[row].append(Hypothesis(own, score, search.ranked(score, len(own) + 1), alignment))
        scores = scores.masked_fill(~alive | ended, -torch.inf)
        if not scores.isfinite().any():
            break
        rows = (torch.arange(size, device=device)[:, None] * beam + parent).flatten()
        state, before = state.select(rows), token.flatten()
    return [sorted(own, key=lambda each: -each.rank)[: search.nbest] for own in found]


def _block(logs: Tensor, tokens: Tensor, size: int) -> None:
    """Takes away what would make an n-gram come twice: ``(batch, beam, vocabulary)`` in place."""
    for row, own in enumerate(tokens.tolist()):
        for slot, said in enumerate(own):
            last = said[len(said) - size + 1 :]
            for start in range(len(said) - size + 1):
                if said[start : start + size - 1] == last:
                    logs[row, slot, said[start + size - 1]] = -torch.inf


def stacked(hypotheses: list[list[Hypothesis]], device: torch.device) -> Said:
    """The best of each, side by side, without the weights of the attention; nothing where none was found."""
    best = [own[0] if own else Hypothesis([], -torch.inf, -torch.inf, []) for own in hypotheses]
    longest = max(1, *(len(each.tokens) for each in best))
    rows = F.pad(torch.empty(len(best), 0, dtype=torch.int64, device=device), (0, longest), value=IGNORED)
    for row, each in zip(rows, best, strict=True):
        row[: len(each.tokens)] = torch.tensor(each.tokens, dtype=torch.int64, device=device)
    return Said(rows, torch.tensor([each.score for each in best], device=device), None)
