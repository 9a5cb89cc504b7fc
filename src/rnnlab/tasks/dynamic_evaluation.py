"""Dynamic evaluation: a network that learns on from the text that it is tested on, as a compressor does."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn

from rnnlab.cells.cell import detach_state
from rnnlab.network import Network
from rnnlab.spec import Batch

LARGEST_GRADIENT = 1.0
"""Norm beyond which the gradient of a batch is scaled down."""


def learning_on(
    network: Network, batches: Iterable[Batch], loss: Callable[[Tensor, Batch], Tensor], rate: float
) -> Iterator[tuple[Tensor, Batch]]:
    """Predicts each batch, and learns from it before the next (Krause, Kahembwe, Murray and Renals 2018,
    arXiv 1709.07432; by steps of Adam, in place of the gradient's mean square over the training part).

    The network stays as it is: a copy of it learns. Dropout is off.

    Args:
        network: trained.
        batches: of sequences that follow each other: the state is carried from each to the next.
        loss: of a prediction, to be learned from.
        rate: of learning.

    Yields:
        The prediction ``(batch, time, size)``, made before anything of the batch was learned, and the batch.
    """
    with _able_to_learn():
        network = deepcopy(network).eval()
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(parameters, lr=rate)
    state = None
    for given in batches:
        with _able_to_learn():
            batch = given.map(torch.clone)  # what was made in inference mode has no backward pass
            output, after = network(batch.inputs, state, batch.lengths)
            state = tuple(map(detach_state, after))
        yield output.detach(), batch
        with _able_to_learn():
            optimizer.zero_grad()
            loss(output, batch).backward()
            nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
            optimizer.step()


@contextmanager
def _able_to_learn() -> Iterator[None]:
    """A test runs in inference mode, where nothing can be learned."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
