"""The Mogrifier LSTM: input and state gate each other before they meet in an LSTM.

    x⁽ⁱ⁾ = 2σ(Q_i h⁽ⁱ⁻¹⁾) ⊙ x⁽ⁱ⁻²⁾    for odd i,    h⁽ⁱ⁾ = 2σ(R_i x⁽ⁱ⁻¹⁾) ⊙ h⁽ⁱ⁻²⁾    for even i ≤ rounds
    (i, f, g, o)_t = W x⁽*⁾ + U h⁽*⁾ + b
    c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ tanh(g),    h_t = σ(o) ⊙ tanh(c_t)

with x⁽⁻¹⁾ = x_t, h⁽⁰⁾ = h_{t-1}, and * the last of each.

G. Melis, T. Kočiský & P. Blunsom, "Mogrifier LSTM" (2019), arXiv 1909.01792,
equations 1 and 2. Q and R are full matrices here; the paper also factorises them to save parameters.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.initialization import initialize_
from rnnlab.shapes import Hidden, NonNegativeInt, PositiveInt, Step

LSTMState = tuple[Hidden, Hidden]
"""h and c, each ``(batch, hidden)``."""


class MogrifierLSTM(Cell[LSTMState]):
    """The gates are stacked in the order i, f, g, o.

    Args:
        input_size: features of a step.
        hidden_size: units.
        rounds: of gating each other; 0 is an LSTM. The paper's best are 5 or 6.
        init: see :mod:`rnnlab.cells.initialization`; with ``orthogonal`` the forget gate's bias starts at 1.
            Q and R start Xavier-uniform, or uniform as ``torch`` does.
        backend: ``reference`` is the loop over ``step``, ``auto`` on a CPU the layer that is derived from it: the same.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        rounds: NonNegativeInt = 5,
        init: Literal["orthogonal", "torch"] = "orthogonal",
        backend: Literal["auto", "reference"] = "auto",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.backend = backend
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        initialize_(init, *self.parameters())
        if init == "orthogonal":
            nn.init.ones_(self.bias[hidden_size : 2 * hidden_size])
        # Q of odd rounds and R of even ones, in turn
        shapes = ((input_size, hidden_size), (hidden_size, input_size))
        self.mogrifiers = nn.ParameterList(nn.Parameter(torch.empty(shapes[number % 2])) for number in range(rounds))
        for weight in self.mogrifiers:
            if init == "orthogonal":
                nn.init.xavier_uniform_(weight)
            else:
                nn.init.uniform_(weight, -(hidden_size**-0.5), hidden_size**-0.5)

    def initial_state(self, batch_size: int) -> LSTMState:
        zeros = self.weight_hh.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def step(self, x: Step, state: LSTMState) -> tuple[Hidden, LSTMState]:
        h, c = state
        i, f, g, o = self._gates_and_candidate(x, h)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h, (h, c)

    def _gates_and_candidate(self, x: Step, h: Hidden) -> tuple[Tensor, ...]:
        """Before their squashing, of an input and a state that have gated each other."""
        for number, weight in enumerate(self.mogrifiers):
            if number % 2 == 0:
                x = 2 * F.linear(h, weight).sigmoid() * x
            else:
                h = 2 * F.linear(x, weight).sigmoid() * h
        return (F.linear(x, self.weight_ih, self.bias) + F.linear(h, self.weight_hh)).chunk(4, -1)

    def gates(self, x: Step, state: LSTMState) -> dict[str, Tensor]:
        i, f, _, o = self._gates_and_candidate(x, state[0])
        return {"input": i.sigmoid(), "forget": f.sigmoid(), "output": o.sigmoid()}

    def recurrent_weights(self) -> dict[str, Tensor]:
        return dict(zip(("input", "forget", "candidate", "output"), self.weight_hh.chunk(4), strict=True))
