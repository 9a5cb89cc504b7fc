"""Text from a language model, token by token."""

import codecs
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.text_reader import CorpusReader
from rnnlab.use.options import Sampling
from rnnlab.use.stepper import Stepper

BLOCK = 256
"""Random numbers that are drawn at a time."""
CLOSING, OPENING = frozenset(".,;:!?)]}%"), frozenset("([{\n")
"""Before and after these signs no space is written between words."""


def shares(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    never: int | None = None,
) -> np.ndarray:
    """``(samples, tokens)`` with what probability each token is said next; rows need not sum to 1.

    Args:
        logits: ``(samples, tokens)``.
        temperature: by which they are divided; 0: the most probable token alone.
        top_k: only so many of the most probable tokens (Fan, Lewis and Dauphin 2018, arXiv 1805.04833).
        top_p: only the most probable tokens that together have this probability (nucleus sampling; Holtzman et al.
            2020, arXiv 1904.09751), after the temperature.
        never: a token that is not said.
    """
    if temperature not in (0, 1):
        logits = logits / temperature
    found = logits.softmax(-1).numpy(force=True)
    if never is not None:
        found[:, never] = 0
    if temperature == 0:
        return (np.arange(found.shape[1]) == found.argmax(1)[:, None]).astype(found.dtype)
    if top_k is None and top_p is None:
        return found
    order = np.argsort(-found, 1, kind="stable")
    ranked = np.take_along_axis(found, order, 1)
    if top_k is not None:
        ranked[:, top_k:] = 0
    if top_p is not None:
        # a token stays as long as those before it have not reached the share
        before = ranked.cumsum(1, dtype=np.float64) - ranked
        ranked[before >= top_p * ranked.sum(1, keepdims=True, dtype=np.float64)] = 0
    np.put_along_axis(found, order, ranked, 1)
    return found


def generate(stepper: Stepper, prompt: np.ndarray, sampling: Sampling, never: int | None = None) -> Iterator[list[int]]:
    """The tokens that follow a prompt, of all samples side by side, step by step.

    Each sample draws from a generator of its own, seeded by ``(seed, sample)``.

    Args:
        stepper: of the networks.
        prompt: ``(time,)`` token numbers, at least one.
        sampling: how tokens are chosen, and how many.
        never: a token that is not said.
    """
    draws = [np.random.default_rng((sampling.seed, sample)) for sample in range(sampling.samples)]
    device = stepper.networks[0].readout.weight.device
    output, state = stepper.read(torch.from_numpy(prompt).to(device).expand(sampling.samples, -1))
    block: list[list[float]] = []
    for step in range(sampling.length):
        if step % BLOCK == 0:
            block = np.stack([rng.random(BLOCK) for rng in draws], 1).tolist()
        found = shares(output, sampling.temperature, sampling.top_k, sampling.top_p, never)
        chosen = [_drawn(row, draw) for row, draw in zip(found, block[step % BLOCK], strict=True)]
        yield chosen
        if step + 1 < sampling.length:
            output, state = stepper(torch.from_numpy(np.array(chosen)).to(device), state)


def _drawn(row: np.ndarray, draw: float) -> int:
    """By the inverse of the cumulative distribution: one random number a token, whatever the vocabulary."""
    # in double precision: a sum of thousands of small shares has lost the last of them in single
    cumulative = row.cumsum(dtype=np.float64)
    return int(cumulative.searchsorted(draw * cumulative[-1], "right"))


class Writer:
    """Tokens as text, piece by piece.

    Words are parted by spaces, but before a closing sign and after an opening
    one; bytes appear as soon as they are whole characters.
    """

    def __init__(self, reader: CorpusReader) -> None:
        self.reader = reader
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._last = ""

    def write(self, numbers: Sequence[int]) -> str:
        """What these tokens add to the text."""
        if self.reader.unit == "byte":
            return self._bytes.decode(bytes(numbers))
        tokens = [self.reader.token(number) for number in numbers]
        if self.reader.unit == "character":
            return "".join(tokens)
        text = ""
        for token in tokens:
            if self._last and self._last not in OPENING and token not in CLOSING and token != "\n":
                text += " "
            text += token
            self._last = token
        return text

    def end(self) -> str:
        """What is left of a character that never became whole."""
        return self._bytes.decode(b"", final=True)
