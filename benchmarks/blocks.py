"""``python -m benchmarks blocks``: blocks and mixed layers around cells, against the same network by hand in torch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measurement import Result, Verdict, publish
from benchmarks.sequences import in_turn
from rnnlab.blocks import EXPANSION
from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.network import Network
from rnnlab.spec import InputSpec, TargetSpec

BATCH, STEPS, FEATURES, UNITS, CLASSES = 32, 100, 64, 64, 10
LIMIT = 1.1
"""Of the time by hand."""
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "two GRU layers": ({}, {}),
    "residual": ({"block": "residual"}, {"block": "residual"}),
    "prenorm": ({"block": "prenorm"}, {"block": "prenorm"}),
    "glu": ({"block": "glu"}, {"block": "glu"}),
    "gated MLP": ({"block": "gated_mlp"}, {"block": "gated_mlp"}),
    "short convolution of 4": ({"short_conv": 4}, {"short_conv": 4}),
    "a GRU of 64, then one of 32": ({"hidden_size": [64, 32]}, {"sizes": (64, 32)}),
    "a GRU, then an LSTM": ({"cells": [GRU, LSTM]}, {"layers": (nn.GRU, nn.LSTM)}),
    "both directions, summed": ({"bidirectional": True, "merge": "sum"}, {"both": True}),
}
"""What a network of ours is given, and what the one by hand."""


class Layer(nn.Module):
    """A layer of torch's own and what stands around it, as a person writes it."""

    def __init__(self, layer: Callable[..., nn.Module], given: int, size: int, block: str, both: bool,
                 short_conv: int | None) -> None:  # fmt: skip
        super().__init__()
        self.block, self.both = block, both
        self.layer = layer(given, size, batch_first=True, bidirectional=both)
        self.norm, self.second_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.glu = nn.Linear(size, 2 * size)
        self.up, self.down = nn.Linear(size, 2 * EXPANSION * size), nn.Linear(EXPANSION * size, size)
        # each direction has a convolution of its own in ours; here there is one direction
        self.convolution = nn.Conv1d(given, given, short_conv, groups=given) if short_conv else None

    def forward(self, x: Tensor) -> Tensor:
        read = x if self.block in ("plain", "residual") else self.norm(x)
        if self.convolution is not None:
            padded = F.pad(read.transpose(1, 2), (self.convolution.kernel_size[0] - 1, 0))
            read = self.convolution(padded).transpose(1, 2)
        h = self.layer(read)[0]
        if self.both:
            forward, backward = h.chunk(2, -1)
            h = forward + backward
        if self.block == "plain":
            return h
        if self.block == "glu":
            h = F.glu(self.glu(h), -1)
        y = x + h
        if self.block == "gated_mlp":
            gate, value = self.up(self.second_norm(y)).chunk(2, -1)
            y = y + self.down(F.gelu(gate) * value)
        return y


class ByHand(nn.Module):
    """The network with torch's own layers, read out at its last step."""

    def __init__(
        self, block: str = "plain", sizes: Sequence[int] = (UNITS, UNITS), both: bool = False,
        layers: Sequence[Callable[..., nn.Module]] = (nn.GRU, nn.GRU), short_conv: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.stack = nn.Sequential(*(
            Layer(layer, given, size, block, both, short_conv)
            for layer, given, size in zip(layers, (FEATURES, *sizes), sizes, strict=False)
        ))  # fmt: skip
        self.head = nn.Linear(sizes[-1], CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.stack(x)[:, -1])
        return scores


def measure(quick: bool) -> Result:
    """A forward and a backward pass of each, in turn."""
    rounds = 5 if quick else 25
    torch.manual_seed(0)
    inputs = torch.randn(BATCH, STEPS, FEATURES)
    targets = torch.randint(CLASSES, (BATCH,))
    rows, verdicts, numbers = [], [], {}
    for name, (given, hand) in CASES.items():
        options: dict[str, Any] = {"cell": GRU, "hidden_size": UNITS, "num_layers": 2, **given}
        ours = Network(InputSpec(features=FEATURES), TargetSpec("class", CLASSES), **options)
        theirs = ByHand(**hand)
        taken, our_own = in_turn(
            rounds,
            partial(passes, theirs, inputs, targets),
            partial(passes, partial(scores_of, ours), inputs, targets),
        )
        rows.append([name, f"{1000 * taken:.1f}", f"{1000 * our_own:.1f}", f"{our_own / taken:.2f}"])
        verdicts.append(Verdict(f"{name}: at most {LIMIT} of the time by hand", f"{our_own / taken:.2f}",
                                our_own / taken <= LIMIT))  # fmt: skip
        numbers[name] = {"by hand": taken, "rnnlab": our_own}
    return Result(
        "blocks",
        f"Milliseconds of a forward and a backward pass of two layers of {UNITS} units over {STEPS} steps of {BATCH} "
        "sequences, one thread: ours, and the same written with nn.GRU, nn.LSTM, nn.LayerNorm, nn.Linear, nn.Conv1d.",
        ["around the cells", "by hand", "rnnlab", "time, rnnlab / by hand"],
        rows,
        verdicts,
        [],
        numbers,
    )


def scores_of(network: Network, x: Tensor) -> Tensor:
    """What is read out, without the state."""
    return network(x)[0]


def passes(network: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor) -> None:
    """Forward and backward."""
    F.cross_entropy(network(inputs), targets).backward()


if __name__ == "__main__":
    publish(measure(quick=False), quick=False)
