"""The undamped independent controlled oscillatory network.

    z_t = z_{t-1} - Δ σ(c) ⊙ (tanh(w ⊙ y_{t-1} + V x_t + b) + α y_{t-1})    velocity
    y_t = y_{t-1} + Δ σ(c) ⊙ z_t                                            position

T. K. Rusch & S. Mishra, "UnICORNN: a recurrent neural network for learning very
long time dependencies" (2021), arXiv 2103.05487, equation 5, initialised as in
the authors' code. Each unit is an oscillator without damping and sees its own past alone, at a frequency
that it learns; units meet in the next layer. The map is symplectic: no state is forgotten.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.cornn import OscillatorState
from rnnlab.shapes import Hidden, NonNegativeFloat, PositiveFloat, PositiveInt, Step


class UnICORNN(Cell[OscillatorState]):
    """The state is y and z, each ``(batch, hidden)``; y is the output.

    w starts uniform in [0, 1], c in ±0.1, V as Kaiming's for a leaky ReLU of slope 8, b at zero.

    Args:
        input_size: features of a step.
        hidden_size: units.
        dt: Δ. This and α are the authors' for permuted MNIST of 784 steps.
        alpha: α, which pulls the position back.
        backend: ``reference`` is the loop over ``step``, ``auto`` on a CPU the layer that is derived from it: the same.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        dt: PositiveFloat = 0.19,
        alpha: NonNegativeFloat = 30.65,
        backend: Literal["auto", "reference"] = "auto",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.dt, self.alpha, self.backend = dt, alpha, backend
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.rand(hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        self.control = nn.Parameter(torch.empty(hidden_size).uniform_(-0.1, 0.1))
        nn.init.kaiming_uniform_(self.weight_ih, a=8)

    def initial_state(self, batch_size: int) -> OscillatorState:
        zeros = self.weight_hh.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def step(self, x: Step, state: OscillatorState) -> tuple[Hidden, OscillatorState]:
        y, z = state
        step = self.dt * self.control.sigmoid()
        z = z - step * ((self.weight_hh * y + F.linear(x, self.weight_ih, self.bias)).tanh() + self.alpha * y)
        y = y + step * z
        return y, (y, z)

    def recurrent_weights(self) -> dict[str, Tensor]:
        return {"position": self.weight_hh.diag()}
