"""What a network says at each step of a long input, and what comes of it."""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes

from rnnlab import ctc
from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture, Table
from rnnlab.instruments.subject import Subject, at_rest
from rnnlab.spec import IGNORED
from rnnlab.tasks.sequence_scores import errors
from rnnlab.tasks.transcription import Transcription

SHOWN = 3
"""Of the worst and of the best examples, each."""
LOOKED_AT = 1000
"""Sequences of the split among which they are looked for, its first."""
NAMED = 8
"""Tokens of a picture that have a colour."""


@dataclass(frozen=True)
class Heard:
    """A sequence, and what was said of it.

    Attributes:
        number: of the sequence in its split.
        inputs: ``(time, features)``.
        probabilities: ``(steps, size)`` of each token at each step of the network.
        begins: ``(tokens,)`` the step at which each token that was said begins.
        said: the tokens that were said.
        truth: what was asked for, as a text.
        answer: what was said, as a text.
        wrong: tokens to mend.
        score: the logarithm of the probability of what was said.
    """

    number: int
    inputs: np.ndarray
    probabilities: np.ndarray
    begins: list[int]
    said: list[int]
    truth: str
    answer: str
    wrong: int
    score: float


class Posteriors(Instrument[tuple[list[Heard], list[Heard]]]):
    """The probability of each token and of the blank at each step, under the features that were read there.

    The sequences with the most tokens to mend, and the longest of those that are right.
    """

    needs_truth = True
    of_sequences = True
    rank = 66
    title = "What is said where"
    reading = (
        "Above the features, below the probability of each token at the same time: the blank is grey, and each peak of "
        "another colour is a token that is said, most often for a step or two."
    )

    def missing(self, subject: Subject) -> str | None:
        if not isinstance(subject.task, Transcription):
            return "nothing is transcribed step by step"
        return None if subject.task.spec.input.features is not None else "what is read is tokens"

    def measure(self, subject: Subject) -> tuple[list[Heard], list[Heard]]:
        task = subject.task_as(Transcription)
        found: list[tuple[int, int, float, int]] = []
        with at_rest(subject.network), torch.no_grad():
            for index in torch.arange(min(LOOKED_AT, subject.size)).split(4 * subject.data.batch_size):
                batch = subject.take(index)
                scores, lengths = task(batch), task.steps(batch)
                path = ctc.best_path(scores, lengths, task.blank)
                wrong, asked = errors(path.tokens, task.truth(batch))
                probability = task.log_probability(scores, lengths, path.tokens)
                found += zip(wrong.tolist(), asked.tolist(), probability.tolist(), index.tolist(), strict=True)
            worst = sorted((each for each in found if each[0]), key=lambda each: (-each[0], each[2]))[:SHOWN]
            best = sorted((each for each in found if not each[0]), key=lambda each: (-each[1], -each[2]))[:SHOWN]
            return [_heard(subject, task, each[3]) for each in worst], [_heard(subject, task, each[3]) for each in best]

    def draw(self, subject: Subject, measured: tuple[list[Heard], list[Heard]]) -> Picture:
        task = subject.task_as(Transcription)
        examples = [*measured[0], *measured[1]]
        fig = style.figure(
            self.title,
            f"features above, the probability of each token below; the worst and the longest right of "
            f"{min(LOOKED_AT, subject.size):,} {subject.called} sequences",
            width=10.0,
            height=2.4 * len(examples) + 0.4,
        )
        axes = fig.subplots(2 * len(examples), 1, squeeze=False)[:, 0]
        for row, example in enumerate(examples):
            _features(axes[2 * row], example)
            last = row == len(examples) - 1
            _curves(axes[2 * row + 1], example, task, style.time_label(task.spec) if last else "")
        rows = [(name, e.number, e.truth, e.answer, e.wrong, e.score)
                for name, part in zip(("worst", "right"), measured, strict=True) for e in part]  # fmt: skip
        return Picture(fig, Table(("which", "sequence", "truth", "said", "to mend", "log probability"), rows))


def _heard(subject: Subject, task: Transcription, number: int) -> Heard:
    batch = subject.one(number)
    scores, lengths = task(batch), task.steps(batch)
    path = ctc.best_path(scores, lengths, task.blank)
    wrong, _ = errors(path.tokens, task.truth(batch))
    kept = path.tokens[0] != IGNORED
    return Heard(
        number,
        style.array(batch.inputs[0]),
        style.array(ctc.log_probabilities(scores, lengths)[0].exp()),
        path.steps[0][kept].tolist(),
        path.tokens[0][kept].tolist(),
        task.written(batch.targets)[0],
        task.written(path.tokens)[0],
        int(wrong[0]),
        float(task.log_probability(scores, lengths, path.tokens)[0]),
    )


def _features(ax: Axes, example: Heard) -> None:
    style.dress(ax, grid=False)
    inputs = example.inputs
    ax.imshow(inputs.T, aspect="auto", cmap=style.SEQUENTIAL, interpolation="nearest", origin="lower",
              extent=(0, len(inputs), 0, inputs.shape[1]))  # fmt: skip
    ax.set_xticks([])
    ax.set_yticks([])
    title = f"said: {style.beginning(example.answer, 60)}"
    if example.wrong:
        title = f"{example.wrong} to mend   {title}   truth: {style.beginning(example.truth, 60)}"
    colour = style.VERMILION if example.wrong else style.INK
    ax.set_title(style.plain(title), size=style.TICK, color=colour, loc="left")


def _curves(ax: Axes, example: Heard, task: Transcription, label: str) -> None:
    style.dress(ax, label, "probability")
    steps, size = example.probabilities.shape
    # a step of the network may be several of the input
    times = (np.arange(steps) + 0.5) * len(example.inputs) / steps
    names = style.names(task.spec)
    ax.fill_between(times, example.probabilities[:, task.blank], color=style.FAINT, linewidth=0)
    said = list(dict.fromkeys(example.said))
    for token in range(size):
        if token != task.blank and example.probabilities[:, token].max() > 0.1:
            place = said.index(token) if token in said else NAMED
            colour = style.PALETTE[place % len(style.PALETTE)] if place < NAMED else style.QUIET
            ax.plot(times, example.probabilities[:, token], color=colour, linewidth=1.2)
    for begin, token in zip(example.begins, example.said, strict=True):
        ax.text(times[begin], 1.02, style.plain(_visible(names[token])), size=style.TICK - 1, ha="center")
    ax.set_xlim(0, len(example.inputs))
    ax.set_ylim(0, 1.25)
    ax.set_yticks([0, 1])


def _visible(name: str) -> str:
    return "␣" if name == " " else name
