"""The echo state network: a random recurrence that is never trained, under a readout that is.

    h_t = (1 - α) h_{t-1} + α tanh(W_in x_t + W h_{t-1} + b)

H. Jaeger, "The 'echo state' approach to analysing and training recurrent neural
networks" (2001), GMD report 148; the leak α is from H. Jaeger,
M. Lukoševičius, D. Popovici & U. Siewert, "Optimization and applications of
echo state networks with leaky-integrator neurons" (2007), Neural Networks
20(3); how W is drawn, and what its scales are for, is section 3 of
M. Lukoševičius, "A practical guide to applying echo state networks" (2012).

The readout is found by ridge regression, as there (``model.solver=ridge``), or
trained like any other, by the task's own loss (``gradient``), and so is an
embedding of tokens, through the reservoir. Several layers are a deep reservoir,
of which the readout sees the last.

Units may have leaks of their own: fast and slow ones, spread evenly over the
orders of magnitude, remember the last steps and the whole sequence at once
(leaky units of several time constants: Jaeger et al. 2007, section 5). Several
input scales make several reservoirs side by side, from almost linear to
saturated, none of which hears of another.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Len
from torch import Tensor
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.eigenvalues import eigenvalues
from rnnlab.errors import InputError
from rnnlab.shapes import Hidden, NonNegativeFloat, PositiveFloat, PositiveInt, Step


class ESN(Cell[Tensor]):
    """The state is h ``(batch, hidden)``. W_in, W and b are buffers: kept with the weights, not counted as parameters.

    They are drawn from torch's generator, so that the seed of a run is the seed
    of its reservoir. Where neither the input nor the state asks for a
    gradient there is no graph, and a step of training costs a forward pass and the readout.

    Args:
        input_size: features of a step.
        hidden_size: units.
        spectral_radius: largest |eigenvalue| of W. The larger, the longer is the memory; from about 1 on (with
            α = 1) the state may keep traces of its start for good.
        input_scaling: W_in is uniform in ± this; the larger, the less linear the reservoir. Of several numbers each
            has a reservoir of its own, and as many units as the others.
        bias_scaling: b is uniform in ± this.
        leak_rate: α, at most 1: the speed of the units; of two numbers each unit draws its own between them, evenly on
            a logarithmic scale.
        connections: inputs of a unit from others, uniform in ±1 before W is scaled; all where there are fewer units.
        backend: ``reference`` and ``auto`` are both the loop over ``step``.

    Raises:
        InputError: the leak rate is above 1, or the slower one of two comes second.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        spectral_radius: NonNegativeFloat = 0.9,
        input_scaling: PositiveFloat | Annotated[Sequence[PositiveFloat], Len(1)] = 1.0,
        bias_scaling: NonNegativeFloat = 0.2,
        leak_rate: PositiveFloat | Annotated[Sequence[PositiveFloat], Len(2, 2)] = 1.0,
        connections: PositiveInt = 10,
        backend: Literal["auto", "reference"] = "auto",
    ) -> None:
        leaks = [leak_rate] if isinstance(leak_rate, int | float) else list(leak_rate)
        scales = [input_scaling] if isinstance(input_scaling, int | float) else list(input_scaling)
        if max(leaks) > 1:
            raise InputError(f"model.cell.leak_rate={leak_rate} must be above 0 and at most 1")
        if leaks[0] > leaks[-1]:
            raise InputError(f"model.cell.leak_rate={list(leaks)}: the slowest comes first")
        super().__init__(input_size, hidden_size)
        self.backend = backend
        sizes = [len(part) for part in torch.arange(hidden_size).tensor_split(len(scales))]
        scale = torch.repeat_interleave(torch.tensor(scales), torch.tensor(sizes))[:, None]
        self.register_buffer("weight_ih", _uniform(hidden_size, input_size) * scale)
        # with fewer units than scales the last ones have no reservoir
        blocks = [reservoir(size, min(connections, size), spectral_radius) for size in sizes if size]
        self.register_buffer("weight_hh", torch.block_diag(*blocks))
        self.register_buffer("bias", _uniform(hidden_size) * bias_scaling)
        self.leak_rate: float | Tensor = leaks[0]
        if len(leaks) > 1:
            low, high = math.log(leaks[0]), math.log(leaks[1])
            del self.leak_rate
            self.register_buffer("leak_rate", (low + (high - low) * torch.rand(hidden_size)).exp())

    def initial_state(self, batch_size: int) -> Hidden:
        return self.weight_hh.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Step, state: Hidden) -> tuple[Hidden, Hidden]:
        new = (F.linear(x, self.weight_ih, self.bias) + F.linear(state, self.weight_hh)).tanh()
        h = (1 - self.leak_rate) * state + self.leak_rate * new
        return h, h

    def recurrent_weights(self) -> dict[str, Tensor]:
        return {"hidden": self.weight_hh}


def reservoir(units: int, connections: int, spectral_radius: float) -> Tensor:
    """``(units, units)``: in each row as many weights as there are connections, and the largest |eigenvalue| as asked.

    Since every unit hears of one at least there is a cycle, so that the radius is never zero before scaling.
    """
    heard = torch.rand(units, units).argsort(1)[:, :connections]
    weight = torch.zeros(units, units).scatter_(1, heard, _uniform(units, connections))
    radius = eigenvalues(weight).abs().max()
    return (weight.double() * (spectral_radius / radius)).float()


def _uniform(*shape: int) -> Tensor:
    return 2 * torch.rand(*shape) - 1
