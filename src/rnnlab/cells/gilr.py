"""The gated impulse linear recurrent layer, which trains in parallel over time.

    g_t = σ(U x_t + b_g)                     gate
    i_t = tanh(V x_t + b_i)                  impulse
    h_t = g_t ⊙ h_{t-1} + (1 - g_t) ⊙ i_t

E. Martin & C. Cundy, "Parallelizing linear recurrent neural nets over sequence
length" (2018), arXiv 1709.04057, section 3.1: the first to train a gated
recurrence by a parallel scan.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.diagonal_recurrence import leaky_recurrence
from rnnlab.cells.initialization import chrono
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, PositiveInt, Step


class GILR(Cell[Tensor]):
    """The state is h ``(batch, hidden)``; the rows of the weights are g, i.

    Args:
        input_size: features of a step.
        hidden_size: units.
        time_steps: T of :func:`rnnlab.cells.initialization.chrono`, the span of the longest memory at the start.
        backend: ``reference`` is the loop over ``step``, ``auto`` the parallel form.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        time_steps: PositiveInt = 100,
        backend: Literal["auto", "reference"] = "auto",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.backend = backend
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.bias = nn.Parameter(torch.cat([chrono(hidden_size, time_steps), torch.zeros(hidden_size)]))
        for gate in self.weight_ih.split(hidden_size):
            nn.init.xavier_uniform_(gate)

    def initial_state(self, batch_size: int) -> Hidden:
        return self.weight_ih.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Step, state: Hidden) -> tuple[Hidden, Hidden]:
        g, i = self._gate_and_impulse(x)
        h = g * state + (1 - g) * i
        return h, h

    def _forward(self, x: Features, state: Hidden, lengths: Lengths | None) -> tuple[HiddenSequence, Hidden]:
        g, i = self._gate_and_impulse(x)
        return leaky_recurrence(g, i, state, lengths)

    def gates(self, x: Step, state: Hidden) -> dict[str, Tensor]:
        return {"forget": self._gate_and_impulse(x)[0]}

    def _gate_and_impulse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        g, i = F.linear(x, self.weight_ih, self.bias).chunk(2, -1)
        return g.sigmoid(), i.tanh()
