"""Parts of the input (columns, spans of steps, tokens), and how each is exchanged for that of other sequences."""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from rnnlab.instruments.sequence_plot import shown
from rnnlab.instruments.subject import Subject
from rnnlab.spec import Batch, valid_steps

COLUMNS, SPANS, TOKENS = 24, 20, 12
"""Columns and spans of steps that are told apart, at most, and the most frequent tokens."""
ENCODED = re.compile(r"(=.*| #\d+| is missing)$")
"""What the name of a feature has behind that of its column: a level, a bucket of a text's words, a mask."""
PATCHED = re.compile(r" \+\d+$")

Shuffle = Callable[[Tensor, Tensor], Tensor]
"""Of ``(batch, time, …)`` inputs and those of other sequences: the inputs with one part from the others."""


def columns_of(subject: Subject) -> dict[str, list[int]]:
    """The features of each column of the input: of one that is encoded in several all of them.

    Neighbouring columns stand together where there are too many.
    """
    number = subject.task.spec.input.features or 0
    names = subject.feature_names or tuple(f"feature {k}" for k in range(number))
    bases = [PATCHED.sub("", name) for name in names]
    columns = [ENCODED.sub("", name) for name in bases]
    found: dict[str, list[int]] = {}
    for k, name in enumerate(columns):
        found.setdefault(name, []).append(k)
    if len(found) <= COLUMNS:
        return found
    keys = list(found)
    together = {}
    for first, last in spans_of(len(keys), COLUMNS):
        name = keys[first] if last == first + 1 else f"{keys[first]} … {keys[last - 1]}"
        together[name] = [k for key in keys[first:last] for k in found[key]]
    return together


def spans_of(number: int, most: int, from_end: bool = False) -> list[tuple[int, int]]:
    """First and last (exclusive) of at most so many spans, equally wide but for that at the far end."""
    width = -(-number // most)
    ends = sorted({*range(number, 0, -width), 0} if from_end else {*range(0, number, width), number})
    return list(pairwise(ends))


def span_name(span: tuple[int, int], steps: int, from_now: bool) -> str:
    """The steps of a span in words, counted backwards from the last one where that is now."""
    first, last = span[0], span[1] - 1
    if from_now:
        first, last = first - steps + 1, last - steps + 1
    return f"{first}" if first == last else f"{first} to {last}"


def tokens_of(subject: Subject, batch: Batch) -> Iterator[tuple[int, str, Tensor]]:
    """The most frequent tokens, their names, and all tokens that are read, as often as they are."""
    read = batch.inputs[valid_steps(batch.inputs, batch.lengths)]
    for token in torch.bincount(read.flatten()).argsort(descending=True, stable=True)[:TOKENS].tolist():
        if bool((read == token).any()):
            yield token, f"'{shown(subject.token_names[token])}'", read


def exchange_columns(features: list[int]) -> Shuffle:
    """Some features at all steps from others."""

    def shuffle(inputs: Tensor, others: Tensor) -> Tensor:
        inputs[..., features] = others[..., features]
        return inputs

    return shuffle


def exchange_steps(span: tuple[int, int]) -> Shuffle:
    """Some steps from others."""

    def shuffle(inputs: Tensor, others: Tensor) -> Tensor:
        inputs[:, slice(*span)] = others[:, slice(*span)]
        return inputs

    return shuffle


def exchange_token(token: int, read: Tensor) -> Shuffle:
    """Each occurrence of a token replaced by one drawn from all that are read."""

    def shuffle(inputs: Tensor, others: Tensor) -> Tensor:
        # drawn by a generator that begins anew for each token: tokens are exchanged alike in all of them
        random = torch.Generator().manual_seed(int(others.sum()))
        drawn = read[torch.randint(len(read), inputs.shape, generator=random).to(read.device)]
        return torch.where(inputs == token, drawn, inputs)

    return shuffle


def read_again(others: Tensor, lengths: Tensor | None, donor: Tensor) -> Tensor:
    """The donors' inputs, each read again from its start where it ends: there is no padding in them."""
    if lengths is None:
        return others
    times = torch.arange(others.shape[1], device=others.device) % lengths[donor.to(lengths.device)][:, None]
    rows = torch.arange(len(others), device=others.device)[:, None]
    return others[rows, times]
