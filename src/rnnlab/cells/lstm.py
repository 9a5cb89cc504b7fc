"""Long short-term memory.

    i_t = σ(W_ii x_t + b_ii + W_hi h_{t-1} + b_hi)        input gate
    f_t = σ(W_if x_t + b_if + W_hf h_{t-1} + b_hf)        forget gate
    g_t = tanh(W_ig x_t + b_ig + W_hg h_{t-1} + b_hg)     candidate
    o_t = σ(W_io x_t + b_io + W_ho h_{t-1} + b_ho)        output gate
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
    h_t = o_t ⊙ tanh(c_t)

S. Hochreiter & J. Schmidhuber, "Long short-term memory", Neural Computation 9
(1997); the forget gate is from F. Gers, J. Schmidhuber & F. Cummins,
"Learning to forget", Neural Computation 12 (2000).
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.initialization import initialize_
from rnnlab.cells.torch_kernels import Backend, Kernel, Weights
from rnnlab.shapes import Hidden, Lengths, PositiveInt, Step

LSTMState = tuple[Hidden, Hidden]
"""h and c, each ``(batch, hidden)``."""


class LSTM(Cell[LSTMState]):
    """Parameters as ``torch.nn.LSTMCell`` names and shapes them, the gates stacked in the order i, f, g, o.

    Args:
        input_size: features of a step.
        hidden_size: units.
        init: see :mod:`rnnlab.cells.initialization`; with ``orthogonal`` the
            forget gate's bias starts at 1, so that memory is kept before it is
            learned what to forget (Jozefowicz, Zaremba & Sutskever, "An
            empirical exploration of recurrent network architectures", 2015).
        backend: see :data:`rnnlab.cells.torch_kernels.Backend`.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        init: Literal["orthogonal", "torch"] = "orthogonal",
        backend: Backend = "auto",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.backend = backend
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(4 * hidden_size))
        initialize_(init, *self.parameters())
        if init == "orthogonal":
            # in one of the two biases, since it is their sum that acts
            nn.init.ones_(self.bias_ih[hidden_size : 2 * hidden_size])

    def initial_state(self, batch_size: int) -> LSTMState:
        zeros = self.weight_hh.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def step(self, x: Step, state: LSTMState) -> tuple[Hidden, LSTMState]:
        h, c = state
        i, f, g, o = self._gates_and_candidate(x, h)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h, (h, c)

    def torch_kernel(self) -> tuple[Kernel, Weights]:
        return torch.lstm, (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def prefers_torch(self, lengths: Lengths | None) -> bool:
        # oneDNN's is faster where the weights no longer fit the cache, but runs over padding
        return lengths is None and self.hidden_size > 128

    def _gates_and_candidate(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """i, f, g, o before they are squashed."""
        return (F.linear(x, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)).chunk(4, -1)

    def gates(self, x: Step, state: LSTMState) -> dict[str, Tensor]:
        i, f, _, o = self._gates_and_candidate(x, state[0])
        return {"input": i.sigmoid(), "forget": f.sigmoid(), "output": o.sigmoid()}

    def recurrent_weights(self) -> dict[str, Tensor]:
        return dict(zip(("input", "forget", "candidate", "output"), self.weight_hh.chunk(4), strict=True))
