"""The scalar LSTM of xLSTM: exponential gates, a normaliser and a stabiliser.

    (z̃, ĩ, f̃, õ)_t = W x_t + R h_{t-1} + b
    m_t = max(log σ(f̃_t) + m_{t-1}, ĩ_t)                stabiliser
    i_t = exp(ĩ_t - m_t),    f_t = exp(log σ(f̃_t) + m_{t-1} - m_t)
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ tanh(z̃_t),    n_t = f_t ⊙ n_{t-1} + i_t
    h_t = σ(õ_t) ⊙ c_t / n_t

M. Beck et al., "xLSTM: extended long short-term memory" (2024), arXiv
2405.04517, equations 8 to 17, with the forget gate σ. The stabiliser cancels in
c/n: it keeps exp from overflowing. The paper's block around the cell
(convolution, norm, projection) and its heads are not in it: R is one full matrix.

An exponential gate lets a single step outweigh all before it, as it does for
the first step of all: before that n = 0, c = 0, and m = 0 stands for nothing yet.
With an i that is far below that m, exp(ĩ - m) of the first step would be 0, and h
0/0; the stabiliser is then ĩ alone, as it would be if m began at -∞. From the
first step on the larger of i and f is 1, so that n stays above 0.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.initialization import initialize_
from rnnlab.shapes import Hidden, PositiveInt, Step

SLSTMState = tuple[Hidden, Hidden, Hidden, Hidden]
"""h, c, n and m, each ``(batch, hidden)``."""

NEGLIGIBLE = 30.0
"""By so much a gate's logarithm is below another's, that its share of a sum is below the last digit of float32."""


class SLSTM(Cell[SLSTMState]):
    """The gates are stacked in the order i, f, z, o.

    Args:
        input_size: features of a step.
        hidden_size: units.
        init: see :mod:`rnnlab.cells.initialization`; with ``orthogonal`` the forget gates' biases
            are spread evenly over 3 to 6, so that units forget within 20 to 400 steps.
        backend: ``reference`` is the loop over ``step``, ``auto`` on a CPU the layer that is derived from it: the same.
    """

    separable = False  # c and n are in units of exp m
    starts_anywhere = False  # h is divided by n, a sum of gates

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
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
            with torch.no_grad():
                self.bias[hidden_size : 2 * hidden_size] = torch.linspace(3, 6, hidden_size)

    def initial_state(self, batch_size: int) -> SLSTMState:
        zeros = self.weight_hh.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros, zeros, zeros

    def step(self, x: Step, state: SLSTMState) -> tuple[Hidden, SLSTMState]:
        _, c, n, _ = state
        let_in, kept, z, o, m = self._gates_and_candidate(x, state)
        c = kept * c + let_in * z.tanh()
        n = kept * n + let_in
        h = o.sigmoid() * c / n
        return h, (h, c, n, m)

    def _gates_and_candidate(self, x: Step, state: SLSTMState) -> tuple[Tensor, ...]:
        """The input and the forget gate, of which the larger is 1; candidate and output gate before their squashing;
        and the new stabiliser.
        """
        h, _, n, m = state
        i, f, z, o = (F.linear(x, self.weight_ih, self.bias) + F.linear(h, self.weight_hh)).chunk(4, -1)
        kept = F.logsigmoid(f) + m
        kept = kept.masked_fill((n == 0) & (kept - i > NEGLIGIBLE), -torch.inf)
        m = torch.maximum(kept, i)
        return (i - m).exp(), (kept - m).exp(), z, o, m

    def gates(self, x: Step, state: SLSTMState) -> dict[str, Tensor]:
        let_in, kept, _, o, _ = self._gates_and_candidate(x, state)
        return {"input": let_in, "forget": kept, "output": o.sigmoid()}

    def recurrent_weights(self) -> dict[str, Tensor]:
        return dict(zip(("input", "forget", "candidate", "output"), self.weight_hh.chunk(4), strict=True))
