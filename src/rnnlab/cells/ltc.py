"""The liquid time-constant network.

    dh/dt = -(1/T + f) ⊙ h + f ⊙ A                        T: time constants; A: what each unit goes to
    f = σ(W x_t + U h + b)
    h_{k+1} = (h_k + Δ f(h_k) ⊙ A) / (1 + Δ (1/T + f(h_k)))    Δ = τ_t / L; h_0 the state before, h_L that after

The equation is solved from a step to the next in L pieces of the fused solver; τ_t is the time since the step before, 1
where steps are equally far apart.

R. Hasani, M. Lechner, A. Amini, D. Rus & R. Grosu, "Liquid time-constant networks" (2020), arXiv 2006.04439: equations
1 and 3, algorithm 1. f may be any network there; a sigmoid keeps the denominator above 1, and so h between 0 and A
(theorem 2), however long a step is.
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

BIAS, GAIN = -3.0, 2.0
"""b at the start, and by how much W is larger than ``init`` has it: f is small, so that a unit forgets slowly, and the
input can open it. With them 32 units learn to keep a bit over 20 steps, and without them not over 10."""


class LTC(Cell[Tensor]):
    """The state is h ``(batch, hidden)``; T starts log-uniform, A as a random sign for each unit.

    Args:
        input_size: features of a step.
        hidden_size: units.
        unfolds: L, pieces of a step; the authors' is 6.
        time_min: T starts log-uniform from here, in steps …
        time_max: … to here.
        init: see :mod:`rnnlab.cells.initialization`.
        backend: ``reference`` is the loop over ``step``, ``auto`` on a CPU the layer that is derived from it: the same.
        elapsed: the last feature is the time since the step before, in usual steps; the network says it of its data.
    """

    uses_elapsed: ClassVar[bool] = True

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        unfolds: PositiveInt = 6,
        time_min: PositiveFloat = 10.0,
        time_max: PositiveFloat = 1000.0,
        init: Literal["orthogonal", "torch"] = "orthogonal",
        backend: Literal["auto", "reference"] = "auto",
        elapsed: bool = False,
    ) -> None:
        if time_min > time_max:
            raise InputError(f"model.cell.time_min={time_min} must be at most model.cell.time_max={time_max}")
        super().__init__(input_size, hidden_size)
        self.unfolds, self.backend, self.elapsed = unfolds, backend, elapsed
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size - elapsed))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        initialize_(init, self.weight_ih, self.weight_hh, self.bias)
        with torch.no_grad():
            self.weight_ih.mul_(GAIN)
            self.bias.fill_(BIAS)
        span = math.log(time_max) - math.log(time_min)
        self.log_time = nn.Parameter(math.log(time_min) + span * torch.rand(hidden_size))
        self.target = nn.Parameter(torch.randint(2, (hidden_size,)) * 2.0 - 1)

    def initial_state(self, batch_size: int) -> Hidden:
        return self.weight_hh.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Step, state: Hidden) -> tuple[Hidden, Hidden]:
        x, elapsed = self._since(x)
        drive, leak, h = F.linear(x, self.weight_ih, self.bias), (-self.log_time).exp(), state
        piece = elapsed / self.unfolds
        for _ in range(self.unfolds):
            f = (drive + F.linear(h, self.weight_hh)).sigmoid()
            h = (h + piece * (f * self.target)) / (1 + piece * (leak + f))
        return h, h

    def gates(self, x: Step, state: Hidden) -> dict[str, Tensor]:
        """f at the start of the step."""
        x, _ = self._since(x)
        return {"conductance": (F.linear(x, self.weight_ih, self.bias) + F.linear(state, self.weight_hh)).sigmoid()}

    def recurrent_weights(self) -> dict[str, Tensor]:
        return {"conductance": self.weight_hh}
