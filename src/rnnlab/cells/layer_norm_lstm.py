"""Layer-normalised long short-term memory.

    (i, f, g, o)_t = LN(W_ih x_t; α_x) + LN(W_hh h_{t-1}; α_h) + b
    c_t = σ(f_t) ⊙ c_{t-1} + σ(i_t) ⊙ tanh(g_t)
    h_t = σ(o_t) ⊙ tanh(LN(c_t; α_c, β_c))

    LN(a; α, β) = α ⊙ (a - mean(a)) / √(var(a) + ε) + β

J. L. Ba, J. R. Kiros & G. E. Hinton, "Layer normalization" (2016), arXiv
1607.06450, supplementary material: mean and variance run over all four gates
together. The paper adds a β to the first two norms as well; only their sum
with b acts, so one bias stands for the three.

LN(w x) of a single feature x keeps its sign and loses its size, which is why
``conf/model/layer_norm_lstm.yaml`` puts a linear input layer before it.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.initialization import initialize_
from rnnlab.shapes import Hidden, PositiveInt, Step

LSTMState = tuple[Hidden, Hidden]
"""h and c, each ``(batch, hidden)``."""


class LayerNormLSTM(Cell[LSTMState]):
    """The gates are stacked in the order i, f, g, o.

    Args:
        input_size: features of a step.
        hidden_size: units.
        init: see :mod:`rnnlab.cells.initialization`; the gains α start at 1, and
            with ``orthogonal`` so does the forget gate's bias.
        backend: ``reference`` is the loop over ``step``, ``auto`` on a CPU the layer that is derived from it: the same.
    """

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
            nn.init.ones_(self.bias[hidden_size : 2 * hidden_size])
        self.norm_x = nn.LayerNorm(4 * hidden_size, bias=False)
        self.norm_h = nn.LayerNorm(4 * hidden_size, bias=False)
        self.norm_c = nn.LayerNorm(hidden_size)

    def initial_state(self, batch_size: int) -> LSTMState:
        zeros = self.weight_hh.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def step(self, x: Step, state: LSTMState) -> tuple[Hidden, LSTMState]:
        h, c = state
        i, f, g, o = self._gates_and_candidate(x, h)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * self.norm_c(c).tanh()
        return h, (h, c)

    def _gates_and_candidate(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """i, f, g, o before they are squashed."""
        gates = self.norm_x(F.linear(x, self.weight_ih)) + self.norm_h(F.linear(h, self.weight_hh)) + self.bias
        return gates.chunk(4, -1)

    def gates(self, x: Step, state: LSTMState) -> dict[str, Tensor]:
        i, f, _, o = self._gates_and_candidate(x, state[0])
        return {"input": i.sigmoid(), "forget": f.sigmoid(), "output": o.sigmoid()}

    def recurrent_weights(self) -> dict[str, Tensor]:
        return dict(zip(("input", "forget", "candidate", "output"), self.weight_hh.chunk(4), strict=True))
