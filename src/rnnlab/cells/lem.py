"""Long expressive memory.

    Δ_t = Δ σ(W_1 y_{t-1} + V_1 x_t + b_1)                       time step of z, for each unit
    z_t = (1 - Δ_t) ⊙ z_{t-1} + Δ_t ⊙ tanh(W_z y_{t-1} + V_z x_t + b_z)
    Δ̄_t = Δ σ(W_2 y_{t-1} + V_2 x_t + b_2)                       time step of y
    y_t = (1 - Δ̄_t) ⊙ y_{t-1} + Δ̄_t ⊙ tanh(W_y z_t + V_y x_t + b_y)

T. K. Rusch, S. Mishra, N. B. Erichson & M. W. Mahoney, "Long expressive memory
for sequence modeling" (2021), arXiv 2110.04744, equation 3: two ordinary
differential equations with time scales of their own, of each unit and step.

Where steps are not equally far apart, what a step of length 1 leaves of a state, 1 - Δ_t, is left τ_t times by one of
length τ_t, the time since the step before: (1 - Δ_t)^τ_t in its place. To first order that is a time step of Δ_t τ_t,
which itself would be unstable beyond 1.
"""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.initialization import initialize_
from rnnlab.errors import InputError
from rnnlab.shapes import Hidden, PositiveFloat, PositiveInt, Step

LEMState = tuple[Hidden, Hidden]
"""y and z, each ``(batch, hidden)``; y is the output."""


class LEM(Cell[LEMState]):
    """The rows of the weights are stacked in the order 1, z, 2, y; ``weight_zh`` is W_y.

    Args:
        input_size: features of a step.
        hidden_size: units.
        dt: Δ, the longest time step.
        init: see :mod:`rnnlab.cells.initialization`; the paper's experiments start with ``torch``.
        backend: ``reference`` is the loop over ``step``, ``auto`` on a CPU the layer that is derived from it: the same.
        elapsed: the last feature is the time since the step before, in usual steps; the network says it of its data.

    Raises:
        InputError: the longest step is above 1, and steps are not equally far apart.
    """

    uses_elapsed: ClassVar[bool] = True

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        dt: PositiveFloat = 1.0,
        init: Literal["orthogonal", "torch"] = "torch",
        backend: Literal["auto", "reference"] = "auto",
        elapsed: bool = False,
    ) -> None:
        if elapsed and dt > 1:
            raise InputError(
                f"model.cell.dt={dt:g} must be at most 1 where steps are not equally far apart: a step beyond 1 passes "
                "what it goes to, and has no fractions"
            )
        super().__init__(input_size, hidden_size)
        self.dt, self.backend, self.elapsed = dt, backend, elapsed
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size - elapsed))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.weight_zh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        # the input's and the recurrent bias, which the authors keep apart, act as one
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        initialize_(init, self.weight_ih, self.weight_hh, self.bias)
        if init == "torch":
            nn.init.uniform_(self.weight_zh, -(hidden_size**-0.5), hidden_size**-0.5)
        else:
            nn.init.orthogonal_(self.weight_zh)

    def initial_state(self, batch_size: int) -> LEMState:
        zeros = self.weight_hh.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def step(self, x: Step, state: LEMState) -> tuple[Hidden, LEMState]:
        y, z = state
        x, elapsed = self._since(x)
        x_1, x_z, x_2, x_y = F.linear(x, self.weight_ih, self.bias).chunk(4, -1)
        y_1, y_z, y_2 = F.linear(y, self.weight_hh).chunk(3, -1)
        step_z, step_y = self._passed(x_1 + y_1, elapsed), self._passed(x_2 + y_2, elapsed)
        z = (1 - step_z) * z + step_z * (x_z + y_z).tanh()
        y = (1 - step_y) * y + step_y * (x_y + F.linear(z, self.weight_zh)).tanh()
        return y, (y, z)

    def _passed(self, a: Tensor, elapsed: Tensor | float) -> Tensor:
        """Δ_t = Δ σ(a), or 1 - (1 - Δ_t)^τ_t."""
        if isinstance(elapsed, float):
            return self.dt * a.sigmoid()
        # log(1 - Δ σ(a)), of which σ(a) = 1 would make an infinity times 0
        left = F.logsigmoid(-a)
        if self.dt < 1:
            left = left - F.logsigmoid(-a - math.log1p(-self.dt))
        return -torch.expm1(left * elapsed)

    def gates(self, x: Step, state: LEMState) -> dict[str, Tensor]:
        # the steps in time, as shares of the longest
        x, _ = self._since(x)
        x_1, _, x_2, _ = F.linear(x, self.weight_ih, self.bias).chunk(4, -1)
        y_1, _, y_2 = F.linear(state[0], self.weight_hh).chunk(3, -1)
        return {"step of z": (x_1 + y_1).sigmoid(), "step of y": (x_2 + y_2).sigmoid()}

    def recurrent_weights(self) -> dict[str, Tensor]:
        names = ("step of z", "candidate of z", "step of y")
        weights = dict(zip(names, self.weight_hh.chunk(3), strict=True))
        return {**weights, "candidate of y": self.weight_zh}
