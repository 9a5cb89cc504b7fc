"""Where on an image a decoder looks while it says each word."""

from dataclasses import dataclass

import numpy as np

from rnnlab.instruments import style
from rnnlab.instruments.attention_maps import Example, examples
from rnnlab.instruments.instrument import Instrument, Picture
from rnnlab.instruments.montage import images, shades, show
from rnnlab.instruments.subject import Subject
from rnnlab.tasks.captioning import Captioning

SHOWN = 3
"""Of the worst and of the best examples, each."""
WORDS = 9
DIM = 0.25
"""Of a place that has no attention at all so much is seen."""


@dataclass(frozen=True)
class Looked:
    """An image ``(height, width, 3)``, what was said of it, and ``(words, height, width)`` of the attention."""

    image: np.ndarray
    example: Example
    weights: np.ndarray


class AttentionPlaces(Instrument[list[Looked]]):
    """The image, and for each word that was said the places that have most of the attention: bright ones.

    Above, the examples with the most words to mend; below, the longest of those that are right.
    """

    needs_truth = True
    of_sequences = True
    rank = 64
    title = "Where on the image the decoder looks"

    def missing(self, subject: Subject) -> str | None:
        if not isinstance(subject.task, Captioning):
            return "no decoder looks at an image"
        decoder = subject.network.decoder
        if decoder is None or decoder.attention is None:
            return "the decoder has no attention (model.attention=none)"
        return (
            None if subject.task.looks_at_places else "the memory is of whole images (model.encoder=conv2d has places)"
        )

    def measure(self, subject: Subject) -> list[Looked]:
        task = subject.task_as(Captioning)
        worst, best = examples(subject, SHOWN)
        frame = task.spec.input.frame
        assert frame is not None
        found = []
        for example in [*worst, *best]:
            inputs = subject.one(example.number).inputs[0, :1]
            image = images(inputs, frame, shades(inputs))[0]
            height, width, _ = image.shape
            weights = task.on_places(example.weights)[:WORDS, 0]
            rows = np.arange(height) * weights.shape[1] // height
            columns = np.arange(width) * weights.shape[2] // width
            found.append(Looked(image, example, weights[:, rows][:, :, columns]))
        return found

    def draw(self, subject: Subject, measured: list[Looked]) -> Picture:
        most = max(len(looked.weights) for looked in measured) + 1
        height, width, _ = measured[0].image.shape
        tall = height / (most * width) * 9.0 + 0.75
        fig = style.figure(
            self.title,
            "the image, then one for each word: the brighter a place, the more of the attention it has",
            width=10.0,
            height=tall * len(measured) + 0.3,
        )
        axes = fig.subplots(len(measured), 1, squeeze=False)[:, 0]
        for ax, looked in zip(axes, measured, strict=True):
            blank = [np.ones_like(looked.image)] * (most - 1 - len(looked.weights))
            tiles = [looked.image]
            for weights in looked.weights:
                share = (weights / max(float(weights.max()), 1e-9))[..., None]
                shown = looked.image * (DIM + (1 - DIM) * share)
                tiles.append(np.maximum(shown, share * (0.9, 0.45, 0.0) * 0.6))
            names = style.ticks(looked.example.said[:WORDS], 11)
            show(ax, [[*tiles, *blank]], above=["image", *names])
            title = looked.example.answer
            if looked.example.wrong:
                title += f"   truth: {looked.example.truth}"
            colour = style.VERMILION if looked.example.wrong else style.INK
            ax.set_title(style.plain(style.beginning(title, 120)), size=style.TICK, color=colour, loc="left")
        return Picture(fig)
