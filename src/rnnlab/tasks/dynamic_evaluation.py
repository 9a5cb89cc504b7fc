"""Dynamic evaluation: a network that learns on from the text that it is tested on, as a compressor does."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn

from rnnlab.cells.cell import detach_state
from rnnlab.network import Network
from rnnlab.spec import IGNORED, Batch

SEGMENT = 20
"""Tokens that are predicted before they are learned from."""
LARGEST_GRADIENT = 1.0
"""Norm beyond which the gradient of a segment is scaled down."""


def learning_on(
    network: Network, batches: Iterable[Batch], loss: Callable[[Tensor, Batch], Tensor], rate: float
) -> Iterator[tuple[Tensor, Batch]]:
    """Predicts a text segment by segment, and learns from each before the next (Krause, Kahembwe, Murray and Renals
    2018, arXiv 1709.07432; the mean square of the gradient, theirs of the training part, is here of the text so far).

    The network stays as it is: a copy of it learns. Dropout is off.

    Args:
        network: trained.
        batches: of tokens ``(streams, time)``, each the continuation of the one before.
        loss: of a prediction, to be learned from.
        rate: of learning.

    Yields:
        The prediction ``(streams, time, size)`` of a segment, made before anything of it was learned, and the segment.
    """
    with _able_to_learn():
        network = deepcopy(network).eval()
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        # without momentum: what was just read counts at once, and most for what comes next
        optimizer = torch.optim.Adam(parameters, lr=rate, betas=(0.0, 0.999))
    state = None
    for segment in _segments(batches):
        with _able_to_learn():
            output, after = network(segment.inputs, state)
            state = tuple(map(detach_state, after))
        yield output.detach(), segment
        if (segment.targets == IGNORED).all():  # the end of the last stream
            continue
        with _able_to_learn():
            optimizer.zero_grad()
            loss(output, segment).backward()
            nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
            optimizer.step()


def _segments(batches: Iterable[Batch]) -> Iterator[Batch]:
    for batch in batches:
        for begin in range(0, batch.inputs.shape[1], SEGMENT):
            part = slice(begin, begin + SEGMENT)
            with _able_to_learn():  # what was made in inference mode has no backward pass, its copy has
                segment = Batch(batch.inputs[:, part].clone(), batch.targets[:, part].clone())
            yield segment


@contextmanager
def _able_to_learn() -> Iterator[None]:
    """A test runs in inference mode, where nothing can be learned."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
