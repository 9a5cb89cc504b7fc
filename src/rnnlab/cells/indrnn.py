"""The independently recurrent network.

    h_t = φ(W x_t + u ⊙ h_{t-1} + b),    φ = ReLU or tanh

S. Li, W. Li, C. Cook, C. Zhu & Y. Gao, "Independently recurrent neural network
(IndRNN): building a longer and deeper RNN" (2018), arXiv 1803.04831. Each unit
sees only its own past, so that its gradient through n steps is at most |u|ⁿ;
units meet in the next layer, and it takes at least two layers to mix them.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.initialization import torch_uniform_
from rnnlab.shapes import Hidden, PositiveInt, Step


class IndRNN(Cell[Tensor]):
    """The state is h ``(batch, hidden)``.

    Args:
        input_size: features of a step.
        hidden_size: units.
        nonlinearity: φ.
        init: of u, with T = ``time_steps``. ``uniform``: within [0, 2^(1/T)],
            so that memories of all spans are there and no gradient more than
            doubles over T steps; ``long_memory``: within [2^(-1/T), 2^(1/T)], the
            paper's choice for a last layer that must reach back over the whole
            sequence; both with Xavier-uniform W and zero b. ``torch``:
            everything in ±1/√hidden. The paper also clips u to this range
            after each update, which is the trainer's matter, not a cell's.
        time_steps: T, of the longest sequence.
        backend: ``reference`` is the loop over ``step``, ``auto`` on a CPU the layer that is derived from it: the same.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        nonlinearity: Literal["relu", "tanh"] = "relu",
        init: Literal["uniform", "long_memory", "torch"] = "uniform",
        time_steps: PositiveInt = 1000,
        backend: Literal["auto", "reference"] = "auto",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.nonlinearity, self.backend = nonlinearity, backend
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        if init == "torch":
            torch_uniform_(hidden_size, *self.parameters())
        else:
            nn.init.xavier_uniform_(self.weight_ih)
            nn.init.zeros_(self.bias)
            bound = 2 ** (1 / time_steps)
            nn.init.uniform_(self.weight_hh, 0 if init == "uniform" else 1 / bound, bound)

    def initial_state(self, batch_size: int) -> Hidden:
        return self.weight_hh.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Step, state: Hidden) -> tuple[Hidden, Hidden]:
        total = F.linear(x, self.weight_ih, self.bias) + self.weight_hh * state
        h = total.relu() if self.nonlinearity == "relu" else total.tanh()
        return h, h

    def recurrent_weights(self) -> dict[str, Tensor]:
        return {"hidden": self.weight_hh.diag()}
