"""Cells whose step is drawn at random, for what must hold of every step."""

import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.cells.cell import Cell


def seeds(fast: int, slow: int, exhaustive: int) -> list[Any]:
    """So many seeds of cells for the fast tests, up to so many for the slow ones, the rest for the exhaustive ones."""
    return [
        *range(fast),
        *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(fast, slow)),
        *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(slow, exhaustive)),
    ]


UNARY = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "logsigmoid": F.logsigmoid,
    "elu": F.elu,
    "leaky_relu": F.leaky_relu,
    "sin": torch.sin,
    "cos": torch.cos,
    "exp": lambda a: torch.exp(-a.abs()),
    "log": lambda a: torch.log(a.abs() + 0.5),
    "log1p": lambda a: torch.log1p(a.square()),
    "sqrt": lambda a: torch.sqrt(a.square() + 0.1),
    "rsqrt": lambda a: torch.rsqrt(a.square() + 0.5),
    "reciprocal": lambda a: 1 / (1 + a.abs()),
    "erf": torch.erf,
    "square": torch.square,
    "cube": lambda a: a.pow(3) / (1 + a.pow(2)),
    "clamp": lambda a: a.clamp(-0.7, 0.4),
    "hardtanh": F.hardtanh,
    "softmax": lambda a: a.softmax(-1),
    "log_softmax": lambda a: a.log_softmax(-1),
    "centered": lambda a: a - a.mean(-1, keepdim=True),
    "normalised": lambda a: a / (a.norm(dim=-1, keepdim=True) + 1),
    "rms": lambda a: a * torch.rsqrt(a.square().mean(-1, keepdim=True) + 0.1),
    "largest": lambda a: a - a.amax(-1, keepdim=True),
    "flipped": lambda a: a.flip(-1),
    "rolled": lambda a: a.roll(1, -1),
    "half": lambda a: F.pad(a[:, : (a.shape[1] + 1) // 2], (0, a.shape[1] // 2)),
    "negative": lambda a: -a,
    "masked": lambda a: a.masked_fill(a > 0.3, 0.25),
}
BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": lambda a, b: a / (1 + b.abs()),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "where": lambda a, b: torch.where(a > b, a, 0.5 * b),
    "gate": lambda a, b: torch.sigmoid(a) * b,
    "lerp": lambda a, b: torch.lerp(a, b, 0.3),
    "addcmul": lambda a, b: torch.addcmul(a, a, b, value=0.5),
    "scaled": lambda a, b: a * b.mean(-1, keepdim=True),
    "pairs": lambda a, b: torch.stack([a, b], 1).sum(1),
}


class RandomCell(Cell[Any]):
    """A step of products, gates, norms, nonlinearities, several states and values that are used again.

    Args:
        input_size: features of a step.
        hidden_size: units.
        seed: of the step and its weights.
        length: operations.
    """

    def __init__(self, input_size: int, hidden_size: int, seed: int, length: int = 10) -> None:
        super().__init__(input_size, hidden_size)
        chance = random.Random(seed)
        generator = torch.Generator().manual_seed(seed)
        self.states = chance.choice([1, 1, 2, 3])
        self.weights = nn.ParameterList()
        # or rows that hardly vary would magnify rounding errors at each step
        self.norm = nn.LayerNorm(hidden_size, eps=0.1)
        self.register_buffer("scale", 0.5 + torch.rand(hidden_size, generator=generator))

        def weight(*shape: int) -> int:
            self.weights.append(nn.Parameter(torch.randn(*shape, generator=generator) * shape[-1] ** -0.5))
            return len(self.weights) - 1

        # values 0, 1, … are x's projection and the states; each instruction adds one, or several
        count = 1 + self.states
        self.project = weight(hidden_size, input_size), weight(hidden_size)
        self.program: list[tuple[Any, ...]] = []
        for _ in range(length):
            kind = chance.choices(
                ["unary", "binary", "linear", "gates", "norm", "scale", "wide", "vector"], [5, 6, 3, 1, 1, 1, 1, 1]
            )[0]
            one, other = (chance.randrange(max(0, count - 5), count) for _ in range(2))
            if kind == "unary":
                self.program.append((kind, chance.choice(sorted(UNARY)), one))
            elif kind == "binary":
                self.program.append((kind, chance.choice(sorted(BINARY)), one, other))
            elif kind == "linear":
                self.program.append((kind, weight(hidden_size, hidden_size), one))
            elif kind == "gates":
                self.program.append((kind, weight(3 * hidden_size, hidden_size), weight(3 * hidden_size), one))
                count += 2
            elif kind == "wide":
                wide = chance.choice([2, 5, hidden_size + 3])
                self.program.append((kind, weight(wide, 2 * hidden_size), weight(hidden_size, wide), one, other))
            elif kind == "vector":
                self.program.append((kind, weight(hidden_size), one))
            else:
                self.program.append((kind, one))
            count += 1
        self.results = [chance.randrange(max(1, count - 6), count) for _ in range(self.states + 1)]
        self.bounded = [chance.choice(["tanh", "norm"]) for _ in range(self.states)]
        with torch.no_grad():  # at 0 some steps have kinks, where a rounding error decides about the gradient
            self.norm.bias.copy_(torch.randn(hidden_size, generator=generator))

    def initial_state(self, batch_size: int) -> Any:
        zeros = self.norm.weight.new_zeros(batch_size, self.hidden_size)
        return zeros if self.states == 1 else (zeros,) * self.states

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        w = self.weights
        values = [F.linear(x, w[self.project[0]], w[self.project[1]])]
        values += [state] if self.states == 1 else list(state)
        for kind, *rest in self.program:
            if kind == "unary":
                values.append(UNARY[rest[0]](values[rest[1]]))
            elif kind == "binary":
                values.append(BINARY[rest[0]](values[rest[1]], values[rest[2]]))
            elif kind == "linear":
                values.append(F.linear(values[rest[1]], w[rest[0]]))
            elif kind == "gates":
                values += F.linear(values[rest[2]], w[rest[0]], w[rest[1]]).chunk(3, -1)
            elif kind == "wide":
                both = torch.cat([values[rest[2]], values[rest[3]]], -1)
                values.append(F.linear(F.linear(both, w[rest[0]]).tanh(), w[rest[1]]))
            elif kind == "vector":
                values.append(values[rest[1]] * w[rest[0]])
            elif kind == "norm":
                values.append(self.norm(values[rest[0]]))
            else:
                values.append(values[rest[0]] * self.scale)
        output, *after = (values[number] for number in self.results)
        after = [
            part.tanh() if how == "tanh" else self.norm(part) for part, how in zip(after, self.bounded, strict=True)
        ]
        return output.tanh(), after[0] if self.states == 1 else tuple(after)
