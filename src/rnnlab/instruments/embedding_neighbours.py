"""Which tokens the network takes for alike."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture, Table
from rnnlab.instruments.principal_components import PrincipalComponents
from rnnlab.instruments.sequence_plot import shown
from rnnlab.instruments.subject import Subject
from rnnlab.spec import valid_steps

NEIGHBOURS = 5
MAPPED = 48
"""Tokens that are drawn, the most frequent."""
LISTED = 40
COUNTED = 1000
"""Sequences in which tokens are counted."""
FEWEST = 4


@dataclass(frozen=True)
class Embedding:
    """The most frequent tokens, the most frequent first.

    Attributes:
        names: ``(tokens,)``.
        counts: ``(tokens,)`` in some sequences.
        vectors: ``(tokens, size)``.
        cosine: ``(tokens, tokens)`` cosine similarity.
        vocabulary: number of all tokens.
    """

    names: list[str]
    counts: np.ndarray
    vectors: np.ndarray
    cosine: np.ndarray
    vocabulary: int


class EmbeddingNeighbours(Instrument[Embedding]):
    """Cosine similarity of the tokens' embeddings."""

    of_sequences = True
    rank = 60
    title = "Embeddings: which tokens are alike to the network"
    reading = (
        "Left: tokens whose embeddings point the same way stand together (two principal components show a part of the "
        "truth). Right: cosine similarity, red for alike and blue for opposite. The table lists the nearest "
        "neighbours in the whole space."
    )

    def missing(self, subject: Subject) -> str | None:
        if not isinstance(subject.network.encoder, nn.Embedding):
            return "the input is real numbers: there are no tokens to embed"
        number = subject.network.encoder.num_embeddings
        return None if number >= FEWEST else f"with {number} tokens there are no neighbours to speak of"

    def measure(self, subject: Subject) -> Embedding:
        encoder = subject.network.encoder
        assert isinstance(encoder, nn.Embedding)
        batch = subject.take(slice(0, COUNTED))
        tokens = batch.inputs[valid_steps(batch.inputs, batch.lengths)]
        counts = torch.bincount(tokens, minlength=encoder.num_embeddings)
        order = torch.argsort(counts, descending=True, stable=True)
        order = order[counts[order] > 0][:MAPPED] if (counts > 0).sum() >= FEWEST else order[:MAPPED]
        vectors = encoder.weight.detach()[order].double()
        unit = nn.functional.normalize(vectors, dim=1)
        return Embedding(
            [subject.token_names[int(token)] for token in order],
            counts[order].cpu().numpy(),
            style.array(vectors),
            style.array(unit @ unit.T),
            encoder.num_embeddings,
        )

    def draw(self, subject: Subject, measured: Embedding) -> Picture:
        number, size = measured.vectors.shape
        components = PrincipalComponents(measured.vectors)
        which = f"the {number} most frequent of {measured.vocabulary}" if number < measured.vocabulary else f"{number}"
        fig = style.figure(
            "Embeddings: which tokens are alike to the network",
            f"{which} tokens, embedded in {size} dimensions",
            width=12.0,
            height=5.4,
        )
        left, right = fig.subplots(1, 2, width_ratios=(1.1, 1))
        components.label(left, "embeddings in two principal components")
        points = components.project(measured.vectors)
        left.scatter(*points.T, s=8, color=style.FAINT)
        for name, (x, y) in zip(measured.names, points, strict=True):
            left.annotate(
                shown(name), (x, y), ha="center", va="bottom", size=style.TICK, color=style.BLUE, family="monospace"
            )
        left.margins(0.08)
        style.dress(right, title="cosine similarity", grid=False)
        order = np.argsort(np.arctan2(*points.T[::-1]), kind="stable")
        image = right.imshow(measured.cosine[np.ix_(order, order)], cmap=style.DIVERGING, vmin=-1, vmax=1)
        names = [shown(measured.names[i]) for i in order]
        font = min(style.TICK, max(5.5, 300 / number))
        right.set_xticks(range(number), names, size=font, family="monospace", rotation=90 if number > 20 else 0)
        right.set_yticks(range(number), names, size=font, family="monospace")
        right.tick_params(length=0)
        style.colour_bar(fig, image, right, "cosine similarity")
        rows = []
        for token in range(min(LISTED, number)):
            nearest = [i for i in np.argsort(-measured.cosine[token], kind="stable") if i != token][:NEIGHBOURS]
            near = "  ".join(f"{_quoted(measured.names[i])} {measured.cosine[token, i]:.2f}" for i in nearest)
            rows.append((_quoted(measured.names[token]), int(measured.counts[token]), near))
        return Picture(fig, Table(("token", "count", "nearest neighbours (cosine similarity)"), rows))


def _quoted(name: str) -> str:
    return repr(name) if name.isspace() or not name.isprintable() else name
