"""The layers of a network as they are read before training."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch import nn

from rnnlab.cells.cell import Cell
from rnnlab.decoder import Decoder
from rnnlab.image_encoder import ImageEncoder
from rnnlab.pooling import POOLING

if TYPE_CHECKING:
    from rnnlab.network import Network


@dataclass(frozen=True)
class Layer:
    """A row of the summary that is read before training: ``shape`` of the output, with ``None`` where it varies."""

    name: str
    shape: tuple[int | None, ...]
    parameters: int


def summary(network: "Network", length: int | None = None) -> list[Layer]:
    """The layers in order, with every parameter in one of them; a layer of two directions is one row.

    Args:
        network: of any kind.
        length: steps of a sequence, where all are alike.
    """
    rows, initial = [], iter(network.initial)
    if isinstance(network.encoder, nn.Embedding):
        kind = "Embedding" if network.ngrams is None else "Embedding of tokens and n-grams"
        rows.append(Layer(kind, (None, length, network.encoder.embedding_dim), _count(network.encoder)))
    elif isinstance(network.encoder, nn.Linear):
        rows.append(Layer("Linear", (None, length, network.encoder.out_features), _count(network.encoder)))
    elif isinstance(network.encoder, ImageEncoder):
        rows.append(Layer("Convolutions of images", (None, length, network.encoder.size), _count(network.encoder)))
    if network.token_dropout.p or network.embedding_dropout.p:
        given = network.width if network.convolutions is None else network.convolutions.features
        width = rows[-1].shape[-1] if rows else given
        rows.append(Layer("Dropout", (None, length, width), 0))
    if network.convolutions is not None:
        steps = None if length is None else -(-length // network.convolutions.stride)
        kind = "Causal convolutions" if network.convolutions.causal else "Convolutions"
        rows.append(Layer(kind, (None, steps, network.convolutions.channels), _count(network.convolutions)))
        length = steps
    if network.steps is not None:
        rows.append(Layer("Transposed", (None, network.channels, network.steps), 0))
        length = network.channels
    for number, layer in enumerate(network.layers):
        if number and network.dropout.p and network.block == "plain":
            rows.append(Layer("Dropout", (None, length, rows[-1].shape[-1]), 0))
        cells: Any = layer  # a list of them, of which torch knows that it is a module
        states = [cell.initial_state(1) for cell in cells] if network.initial else []
        parts = sum(len(state) if isinstance(state, tuple) else 1 for state in states)
        learned = sum(part.numel() for part in islice(initial, parts))
        around = _count(network.blocks[number]) if network.blocks else 0
        first: Any = next(layer.children())
        size = network.widths[number]
        rows.append(Layer(_name(network, first.title), (None, length, size), _count(layer) + learned + around))
    read = network.readout.in_features - network.beside_channels
    if network.readout_kind != "every" and network.decoder is None:
        rows.append(Layer(POOLING[network.readout_kind], (None, read), 0))
    if network.readout_dropout.p and network.decoder is None:
        rows.append(Layer("Dropout", rows[-1].shape, 0))
    if network.beside is not None:
        kind = "Convolutions beside, mean" if network.beside_channels else "N-grams beside, linear"
        rows.append(
            Layer(kind, (None, network.beside_channels or network.readout.out_features), _count(network.beside))
        )
    if network.rebuilder is not None:
        cell = network.rebuilder.cell
        bottleneck = network.rebuilder.bottleneck
        rows.append(Layer("Linear, the code", (None, bottleneck.out_features), _count(bottleneck)))
        begun = _count(cell) + _count(network.rebuilder.begin)
        rows.append(Layer(f"{cell.title} that rebuilds", (None, length, cell.hidden_size), begun))
        rows.append(Layer("Linear", (None, length, network.readout.out_features), _count(network.readout)))
        return rows
    if network.decoder is not None:
        return [*rows, *_of_decoder(network, network.decoder)]
    shape = (None, length) if network.readout_kind == "every" else (None,)
    tied = isinstance(network.encoder, nn.Embedding) and network.encoder.weight is network.readout.weight
    own = network.readout.bias.numel() if tied else _count(network.readout)
    rows.append(Layer("Linear, tied" if tied else "Linear", (*shape, network.readout.out_features), own))
    return rows


def elapsed_in_words(network: "Network") -> str:
    """What becomes of the time since the step before, and of what says that a value is missing; empty where nothing is
    known of them.
    """
    cells = network.cells()
    told, others = _titles(cell for cell in cells if cell.elapsed), _titles(cell for cell in cells if not cell.elapsed)
    parts = []
    missing = _titles(cell for cell in cells if cell.masks)
    if told:
        parts.append(f"{told} {'know' if ' and ' in told else 'knows'} how far apart steps are")
        parts[0] += ", and which values are missing" * (missing == told)
    if missing and missing != told:
        parts.append(f"{missing} knows which values are missing")
    elif network.hides_masks:
        parts.append(f"{cells[0].title} cannot tell which values are missing behind what stands in front of it")
    if network.elapsed is not None and not network.drops_elapsed:
        around = network.convolutions is not None or network.beside_channels
        who = "the convolutions" if around else others
        parts.append(f"log(1 + the time since the step before) is a feature for {who}")
    return "; ".join(parts)


def _titles(cells: Iterable[Cell[Any]]) -> str:
    return " and ".join(dict.fromkeys(cell.title for cell in cells))


def _name(network: "Network", cell: str) -> str:
    """Of a layer: its cell, and what is around it."""
    name = f"Bidirectional {cell}" if network.bidirectional else cell
    name += "" if network.merge == "concat" else f", {network.merge}"
    name += "" if network.short_conv is None else f", convolution of {network.short_conv}"
    return name if network.block == "plain" else f"{name}, {network.block}"


def _of_decoder(network: "Network", decoder: Decoder) -> list[Layer]:
    """The rows of the decoder, and of what leads to it."""
    rows = []
    if bridged := _count(network.bridge):
        rows.append(Layer("Bridge, linear", (None, network.hidden_size), bridged))
    embedding = decoder.embedding
    rows.append(Layer("Embedding of the target", (None, None, embedding.embedding_dim), _count(embedding)))
    for number, cell in enumerate(decoder.cells()):
        if number and decoder.dropout.p:
            rows.append(Layer("Dropout", (None, None, network.hidden_size), 0))
        rows.append(Layer(f"{cell.title} decoder", (None, None, network.hidden_size), _count(cell)))
    if decoder.attention is not None:
        learned = _count(decoder.attention) + _count(decoder.combine)
        name = f"Attention, {decoder.attention.score}" + ", coverage" * decoder.coverage
        rows.append(Layer(name, (None, None, network.hidden_size), learned))
    if decoder.gate is not None:
        rows.append(Layer("Pointer", (None, None, 1), _count(decoder.gate)))
    if network.readout_dropout.p:
        rows.append(Layer("Dropout", rows[-1].shape, 0))
    rows.append(Layer("Linear", (None, None, network.readout.out_features), _count(network.readout)))
    return rows


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
