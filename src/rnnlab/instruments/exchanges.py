"""Parts of what is read (columns, spans of steps, tokens), and how each is exchanged for that of other sequences."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from rnnlab.data.series_windows import Part, Windows
from rnnlab.instruments.sequence_plot import shown
from rnnlab.instruments.subject import Subject
from rnnlab.spec import Batch, valid_steps

COLUMNS, SPANS, TOKENS = 24, 20, 12
"""Columns and spans of steps that are told apart, at most, and the most frequent tokens."""
ENCODED = re.compile(r"(=.*| #\d+| is missing)$")
"""What the name of a feature has behind that of its column: a level, a bucket of a text's words, a mask."""
PATCHED = re.compile(r" \+\d+$")

Exchange = Callable[[Tensor], Batch]
"""Of some sequences with one part from others, whose ``(batch,)`` places among them these are."""
Shuffle = Callable[[Tensor, Tensor], Tensor]
"""Of ``(batch, time, …)`` inputs and those of other sequences: the inputs with one part from the others."""


class Exchanges(ABC):
    """The parts that can be exchanged.

    Args:
        subject: on whose split.

    Attributes:
        steps: of a sequence, up to the last.
        spans: of steps, the first and the last (exclusive) of each.
        columns: so many, or so many tokens at most.
    """

    steps: int
    spans: list[tuple[int, int]]
    columns: int

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    @abstractmethod
    def of(self, numbers: Tensor, batch: Batch) -> tuple[list[tuple[str, Exchange]], list[Exchange]]:
        """Of the sequences of these numbers: of each column, by its name, and of each span."""


class InputExchanges(Exchanges):
    """Of what the network reads, where its output is all that is predicted."""

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        split = subject.data.split(subject.split)
        self.steps = split.batch(slice(0, 1)).inputs.shape[1] if split.lengths is None else int(split.lengths.max())
        self.spans = spans_of(self.steps, SPANS, subject.task.forecasts)
        self._features = {} if subject.task.spec.input.vocabulary is not None else columns_of(subject)
        self.columns = len(self._features) or TOKENS

    def of(self, numbers: Tensor, batch: Batch) -> tuple[list[tuple[str, Exchange]], list[Exchange]]:
        def exchange(shuffle: Shuffle) -> Exchange:
            def exchanged(donor: Tensor) -> Batch:
                others = read_again(batch.inputs[donor.to(batch.inputs.device)], batch.lengths, donor)
                return batch._replace(inputs=shuffle(batch.inputs.clone(), others))

            return exchanged

        columns = [(name, exchange_columns(features)) for name, features in self._features.items()]
        if not columns:
            columns = [(name, exchange_token(token, read)) for token, name, read in tokens_of(self.subject, batch)]
        spans = [exchange(exchange_steps(span)) for span in self.spans]
        return [(name, exchange(shuffle)) for name, shuffle in columns], spans


class WindowExchanges(Exchanges):
    """Of values of time series, wherever they are read: by the network, and by the linear part, or whatever its
    forecasts are added to, which may reach further back.
    """

    def __init__(self, subject: Subject, windows: Windows) -> None:
        super().__init__(subject)
        self._windows, layout = windows, windows.layout
        columns = layout.of
        self.steps = layout.depends_on
        self.spans = spans_of(self.steps, SPANS, True)
        if columns.known:
            self.spans.append((self.steps, self.steps + layout.horizon))
        every = slice(None)
        numbered = {name: [number] for number, name in enumerate(columns.numbers)}
        times = "calendar" if layout.calendar or (layout.ridge is not None and layout.ridge.calendar) else ""
        times = times or ("elapsed time" if layout.elapsed is not None else "")
        self._parts = [(name, Part(every, numbers)) for name, numbers in few(numbered).items()]
        if times:
            self._parts.append((times, Part(every, [], times=True)))
        self.columns = len(self._parts)

    def of(self, numbers: Tensor, batch: Batch) -> tuple[list[tuple[str, Exchange]], list[Exchange]]:
        def exchange(part: Part) -> Exchange:
            return lambda donor: self.subject.moved(self._windows.exchanged(numbers, numbers[donor], part))

        now = self._windows.layout.before + self._windows.length
        columns = list(range(len(self._windows.layout.of.numbers)))
        rows = [slice(now - self.steps + first, now - self.steps + last) for first, last in self.spans]
        spans = [exchange(Part(span, columns)) for span in rows]
        return [(name, exchange(part)) for name, part in self._parts], spans


def exchanges_of(subject: Subject) -> Exchanges:
    """Those of a subject."""
    split = subject.data.split(subject.split)
    return WindowExchanges(subject, split) if isinstance(split, Windows) else InputExchanges(subject)


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
    return few(found)


def few(columns: dict[str, list[int]]) -> dict[str, list[int]]:
    """At most ``COLUMNS``: of more, neighbours stand together."""
    if len(columns) <= COLUMNS:
        return columns
    keys = list(columns)
    together = {}
    for first, last in spans_of(len(keys), COLUMNS):
        name = keys[first] if last == first + 1 else f"{keys[first]} … {keys[last - 1]}"
        together[name] = [k for key in keys[first:last] for k in columns[key]]
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
