"""How a decoder learns where to look."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnnlab.instruments import style
from rnnlab.instruments.attention_maps import AttentionMaps, label_tokens
from rnnlab.instruments.instrument import Instrument, Picture, some
from rnnlab.instruments.subject import Subject, at_rest
from rnnlab.spec import IGNORED

SHOWN = 6
"""Maps beside each other, at most."""
MANY = 40
"""Tokens beyond which a sequence makes a poor picture."""


@dataclass(frozen=True)
class Maps:
    """Weights ``(said, read)`` of the attention by stage, the kept weights' last; and the tokens of both axes."""

    stages: Mapping[str, np.ndarray]
    read: tuple[str, ...]
    said: tuple[str, ...]


class AttentionOverTraining(Instrument[Maps]):
    """Where the decoder looks in one test sequence, before training and after more and more of it.

    The true answer is told token by token, so that the rows are the same in all maps. Measured before training, after
    epochs 1, 2, 4, 8 …, and once more when it is drawn.
    """

    of_sequences = True
    of_training = True
    in_inspect = False
    rank = 66

    def __init__(self) -> None:
        self._weights: dict[int, Tensor] = {}

    def missing(self, subject: Subject) -> str | None:
        return AttentionMaps().missing(subject)

    def observe(self, subject: Subject, epoch: int) -> None:
        if epoch & (epoch - 1) == 0:
            self._weights[epoch] = self._now(subject)

    def state(self) -> dict[str, Tensor]:
        return {str(epoch): weights for epoch, weights in self._weights.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._weights = {int(epoch): weights for epoch, weights in state.items()}

    def _number(self, subject: Subject) -> int:
        """Of the sequence: the longest of the first ones that is not too long."""
        split = subject.data.split(subject.split)
        lengths = [len(subject.one(number).inputs[0]) for number in range(min(64, len(split)))]
        return max(range(len(lengths)), key=lambda number: (lengths[number] <= MANY, lengths[number]))

    def _now(self, subject: Subject) -> Tensor:
        """``(said, read)`` weights of the sequence."""
        batch = subject.one(self._number(subject))
        with at_rest(subject.network), torch.no_grad():
            _, weights = subject.network.teach(batch.inputs, batch.targets)
        assert weights is not None
        return weights[0].cpu()

    def measure(self, subject: Subject) -> Maps:
        batch, names, read = subject.one(self._number(subject)), style.names(subject.task.spec), subject.token_names
        stages = {
            f"epoch {epoch}" if epoch else style.BEFORE: style.array(each) for epoch, each in self._weights.items()
        }
        tokens = [token for token in batch.targets[0].tolist() if token != IGNORED]
        inputs = batch.inputs[0].tolist() if read else range(batch.inputs.shape[1])
        return Maps(
            {**stages, subject.kept_name: style.array(self._now(subject))},
            tuple(read[token] if read else str(token) for token in inputs),
            tuple(names[token] for token in tokens),
        )

    def draw(self, subject: Subject, measured: Maps) -> Picture:
        every = list(measured.stages.items())
        shown = [every[number] for number in some(len(every), SHOWN)]
        fig = style.figure(
            "How the decoder learns where to look",
            "share of the attention on each token that was read (columns), for each of the true answer (rows)",
            width=2.6 * len(shown) + 1.2,
            height=3.4,
        )
        axes = list(fig.subplots(1, len(shown), squeeze=False, sharey=True).flat)
        for ax, (name, weights) in zip(axes, shown, strict=True):
            style.dress(ax, grid=False)
            image = ax.imshow(weights, cmap=style.SHARES, vmin=0, vmax=1, aspect="auto")
            label_tokens(ax.set_xticks, measured.read, rotation=90)
            label_tokens(ax.set_yticks, measured.said, rotation=0)
            ax.tick_params(length=0)
            ax.set_title(name, size=style.TICK, color=style.INK, loc="left")
        style.colour_bar(fig, image, axes, "share of the attention", shrink=0.8)
        return Picture(fig)
