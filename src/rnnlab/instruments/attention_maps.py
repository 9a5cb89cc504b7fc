"""Where a decoder looks while it says each token."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnnlab.decoding import Said, greedy
from rnnlab.image_encoder import ImageEncoder
from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture
from rnnlab.instruments.subject import Subject, at_rest
from rnnlab.spec import IGNORED, Batch
from rnnlab.tasks.sequence_scores import errors
from rnnlab.tasks.translation import Translation

SHOWN = 3
"""Of the worst and of the best examples, each."""
LOOKED_AT = 1000
"""Sequences of the split among which they are looked for, its first."""
NAMED = 40
"""Tokens on an axis that are named one by one."""


@dataclass(frozen=True)
class Example:
    """A sequence that was read, and what was said of it.

    Attributes:
        number: of the sequence in its split.
        read: its tokens, as they are written.
        said: what was said, token by token; the last one is the end where it was said.
        truth: what was asked for, as a text.
        answer: what was said, as a text.
        wrong: tokens to mend.
        score: the logarithm of the probability of what was said.
        weights: ``(said, read)`` of the attention; empty without one.
    """

    number: int
    read: list[str]
    said: list[str]
    truth: str
    answer: str
    wrong: int
    score: float
    weights: np.ndarray


def examples(subject: Subject, shown: int) -> tuple[list[Example], list[Example]]:
    """The worst and the best: most tokens to mend, then least sure; and right, the longest first, then the surest. Of
    texts to which nobody knows the right answer all count as right.
    """
    task = subject.task_as(Translation)
    found: list[tuple[int, float, int, int]] = []
    with at_rest(subject.network):
        for index in torch.arange(min(LOOKED_AT, subject.size)).split(4 * subject.data.batch_size):
            batch = subject.take(index)
            said = _said(task, batch)
            wrong = _wrong(subject, task, said, batch)
            long = (said.tokens != IGNORED).sum(1)
            found += zip(wrong.tolist(), said.score.tolist(), long.tolist(), index.tolist(), strict=True)
        worst = sorted((each for each in found if each[0]), key=lambda each: (-each[0], each[1]))[:shown]
        best = sorted((each for each in found if not each[0]), key=lambda each: (-each[2], -each[1]))[:shown]
        first, second = ([_example(subject, task, number) for *_, number in part] for part in (worst, best))
        return first, second


def _example(subject: Subject, task: Translation, number: int) -> Example:
    batch = subject.one(number)
    said = _said(task, batch)
    wrong = _wrong(subject, task, said, batch)
    tokens = said.tokens[0][said.tokens[0] != IGNORED].tolist()
    names = style.names(task.spec)
    weights = np.zeros((0, 0)) if said.weights is None else style.array(said.weights[0])
    ended = len(weights) > len(tokens)
    names_read = subject.token_names
    read = [str(k) for k in range(batch.inputs.shape[1])]
    if names_read:
        read = [names_read[token] for token in batch.inputs[0].tolist()]
    elif task.spec.input.frame is not None:
        read = [f"image {subject.name_of(number)}"]
    return Example(
        number,
        read,
        [names[token] for token in tokens] + [names[task.end]] * ended,
        task.written(batch.targets)[0],
        task.written(said.tokens)[0],
        int(wrong[0]),
        float(said.score[0]),
        weights,
    )


def _wrong(subject: Subject, task: Translation, said: Said, batch: Batch) -> Tensor:
    """``(batch,)`` tokens to mend; none, where nobody knows what is right."""
    if subject.unanswered:
        return torch.zeros(len(said.tokens), dtype=torch.int64, device=said.tokens.device)
    return errors(said.tokens, task.truth(batch))[0]


def _said(task: Translation, batch: Batch) -> Said:
    """The most probable token at each step, with the attention's weights."""
    return greedy(task.network, batch.inputs, batch.lengths, task.end, task.max_length)


class AttentionMaps(Instrument[tuple[list[Example], list[Example]]]):
    """For each token that is said (rows) how much of the attention is on each token that was read (columns).

    Above, the examples with the most tokens to mend; below, the longest of those that are right.
    """

    of_sequences = True
    rank = 65
    title = "Where the decoder looks"
    reading = (
        "A row is a token that was said, a column one that was read; a row adds up to 1. A dark path from the upper "
        "left to the lower right reads and says in the same order."
    )

    def missing(self, subject: Subject) -> str | None:
        if not isinstance(subject.task, Translation):
            return "no decoder looks back at what was read"
        decoder = subject.network.decoder
        if decoder is None or decoder.attention is None:
            return "the decoder has no attention (model.attention=none)"
        if isinstance(subject.network.encoder, ImageEncoder):
            return "the decoder looks at places of an image (instruments=attention_places)"
        return None

    def measure(self, subject: Subject) -> tuple[list[Example], list[Example]]:
        return examples(subject, SHOWN)

    def draw(self, subject: Subject, measured: tuple[list[Example], list[Example]]) -> Picture:
        worst, best = measured
        right = "said" if subject.unanswered else "right"
        rows = [(name, part) for name, part in (("worst", worst), (right, best)) if part]
        which = "the longest" if subject.unanswered else "the worst and the longest right"
        fig = style.figure(
            "Where the decoder looks",
            f"share of the attention on each token that was read, for each that was said; {which} of "
            f"{min(LOOKED_AT, subject.size):,} {subject.called} sequences",
            width=3.6 * SHOWN + 1.0,
            height=4.0 * len(rows),
        )
        axes = fig.subplots(len(rows), SHOWN, squeeze=False)
        image = None
        for row, (name, part) in zip(axes, rows, strict=True):
            for ax, example in zip(row, part, strict=False):
                style.dress(ax, grid=False)
                image = ax.imshow(example.weights, cmap=style.SHARES, vmin=0, vmax=1, aspect="auto")
                label_tokens(ax.set_xticks, example.read, rotation=90)
                label_tokens(ax.set_yticks, example.said, rotation=0)
                ax.tick_params(length=0)
                title = f"{name}: {style.beginning(example.answer, 30)}"
                if example.wrong:
                    title += f"\ntruth: {style.beginning(example.truth, 30)}"
                ax.set_title(
                    style.plain(title),
                    size=style.TICK,
                    color=style.VERMILION if example.wrong else style.INK,
                    loc="left",
                )
            for ax in row[len(part) :]:
                ax.set_axis_off()
        if image is not None:
            style.colour_bar(fig, image, list(axes.flat), "share of the attention", shrink=0.6)
        return Picture(fig)


def label_tokens(set_ticks: object, names: Sequence[str], rotation: float) -> None:
    """Names the tokens on an axis; of many each second one, or third."""
    every = -(-len(names) // NAMED)
    assert callable(set_ticks)
    set_ticks(
        range(0, len(names), every),
        style.ticks([_visible(name) for name in names[::every]], 12),
        rotation=rotation,
        size=style.TICK - 1,
    )


def _visible(name: str) -> str:
    return "␣" if name == " " else name
