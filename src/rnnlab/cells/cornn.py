"""The coupled oscillatory recurrent network.

    z_t = z_{t-1} + Δ (tanh(W y_{t-1} + U z_{t-1} + V x_t + b) - γ y_{t-1} - ε z_{t-1})    velocity
    y_t = y_{t-1} + Δ z_t                                                                  position

T. K. Rusch & S. Mishra, "Coupled oscillatory recurrent neural network (coRNN):
an accurate and (gradient) stable architecture for learning long time
dependencies" (2020), arXiv 2010.00951, equation 3 with the damping taken from
the step before, as in the authors' code. Each unit is a damped oscillator,
driven by all; gradients stay bounded where Δ is small against γ and ε.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.shapes import Hidden, PositiveFloat, PositiveInt, Step

OscillatorState = tuple[Hidden, Hidden]
"""y and z, each ``(batch, hidden)``; y is the output."""


class CoRNN(Cell[OscillatorState]):
    """All weights start uniform in ±1/√(features + 2 hidden), as those of the authors' one linear layer do.

    Args:
        input_size: features of a step.
        hidden_size: units.
        dt: Δ, a time step. This and the next two are the authors' for HAR-2, of 128 steps.
        gamma: γ, the square of an undriven unit's angular frequency.
        epsilon: ε, its damping.
        backend: ``reference`` is the loop over ``step``, ``auto`` on a CPU the layer that is derived from it: the same.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        dt: PositiveFloat = 0.1,
        gamma: PositiveFloat = 0.2,
        epsilon: PositiveFloat = 6.4,
        backend: Literal["auto", "reference"] = "auto",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.dt, self.gamma, self.epsilon, self.backend = dt, gamma, epsilon, backend
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.weight_zh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        bound = (input_size + 2 * hidden_size) ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def initial_state(self, batch_size: int) -> OscillatorState:
        zeros = self.weight_hh.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def step(self, x: Step, state: OscillatorState) -> tuple[Hidden, OscillatorState]:
        y, z = state
        drive = F.linear(x, self.weight_ih, self.bias) + F.linear(y, self.weight_hh) + F.linear(z, self.weight_zh)
        z = z + self.dt * (drive.tanh() - self.gamma * y - self.epsilon * z)
        y = y + self.dt * z
        return y, (y, z)

    def recurrent_weights(self) -> dict[str, Tensor]:
        return {"position": self.weight_hh, "velocity": self.weight_zh}
