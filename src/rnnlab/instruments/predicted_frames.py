"""Frames to come: as they were, and as they were predicted."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture, Table, some
from rnnlab.instruments.montage import images, show
from rnnlab.instruments.subject import Subject, at_rest
from rnnlab.shapes import PositiveInt
from rnnlab.tasks.next_frames import NextFrames


@dataclass(frozen=True)
class Shown:
    """Some frames of a sequence, each ``(frames, height, width, 3)``.

    Attributes:
        number: of the sequence.
        when: what stands above each frame.
        truth: as they were.
        predicted: as they were predicted.
        errors: mean squared, of each frame.
        standing: the same of the last known frame.
    """

    number: int
    when: list[str]
    truth: np.ndarray
    predicted: np.ndarray
    errors: np.ndarray
    standing: np.ndarray


class PredictedFrames(Instrument[list[Shown]]):
    """Frames as they were (truth) and as they were predicted, one step ahead while the truth is told, then beyond the
    end of the sequence (+1, +2 …), where the network reads its own frames; and the size of the error, white for 1.

    Args:
        sequences: that are drawn.
        frames: of each, at most, of those that are told and of those beyond.
    """

    needs_truth = True
    rank = 12
    title = "The frames to come"

    def __init__(self, sequences: PositiveInt = 2, frames: PositiveInt = 6) -> None:
        self.sequences, self.frames = sequences, frames

    def missing(self, subject: Subject) -> str | None:
        return None if isinstance(subject.task, NextFrames) else "no frames are predicted"

    def measure(self, subject: Subject) -> list[Shown]:
        return [self._measure(subject, number) for number in range(min(self.sequences, subject.size))]

    @torch.no_grad()
    def _measure(self, subject: Subject, number: int) -> Shown:
        task, batch = subject.task, subject.one(number)
        frame = task.spec.target.frame
        assert frame is not None
        steps = some(batch.inputs.shape[1], self.frames)
        when = [str(step + 1) for step in steps]
        predicted, truth, last = (
            task.point(subject.predict(batch))[0, steps],
            batch.targets[0, steps],
            batch.inputs[0, steps],
        )
        if batch.future is not None and batch.future.shape[1]:
            ahead = some(batch.future.shape[1], self.frames)
            with at_rest(subject.network):
                beyond = task.rollout(batch.inputs, batch.future.shape[1])[0, ahead]
            predicted, truth = torch.cat([predicted, beyond]), torch.cat([truth, batch.future[0, ahead]])
            last = torch.cat([last, batch.targets[0, -1:].expand(len(ahead), -1)])
            when += [f"+{step + 1}" for step in ahead]

        def error(guess: Tensor) -> np.ndarray:
            found: np.ndarray = style.array((guess - truth).square().mean(1))
            return found

        return Shown(number, when, images(truth, frame), images(predicted, frame), error(predicted), error(last))

    def draw(self, subject: Subject, measured: list[Shown]) -> Picture:
        first = measured[0]
        columns, (height, width, _) = len(first.when), first.truth[0].shape
        tall = 3 * height / (columns * width) * 8.4 + 0.5
        fig = style.figure(
            self.title,
            "above each frame its number: those behind a + lie beyond what the network is told; error: its size",
            width=9.5,
            height=tall * len(measured) + 0.3,
        )
        axes = fig.subplots(len(measured), 1, squeeze=False)[:, 0]
        for ax, shown in zip(axes, measured, strict=True):
            error = np.abs(shown.truth - shown.predicted)
            show(
                ax, [list(shown.truth), list(shown.predicted), list(error)], ("truth", "predicted", "error"), shown.when
            )
        rows = [
            (subject.name_of(shown.number), when, float(error), float(standing))
            for shown in measured
            for when, error, standing in zip(shown.when, shown.errors, shown.standing, strict=True)
        ]
        return Picture(
            fig, Table(("sequence", "frame", "mean squared error", "of the last frame standing still"), rows)
        )
