"""The simple recurrent network.

    h_t = φ(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh),    φ = tanh or ReLU

J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990). With
ReLU and ``init=identity`` it is the IRNN of Le, Jaitly & Hinton,
"A simple way to initialize recurrent networks of rectified linear units"
(2015), arXiv 1504.00941.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.initialization import initialize_
from rnnlab.cells.torch_kernels import Backend, Kernel, Weights
from rnnlab.shapes import Hidden, PositiveInt, Step


class RNN(Cell[Tensor]):
    """Parameters as ``torch.nn.RNNCell`` names and shapes them; the state is h ``(batch, hidden)``.

    Args:
        input_size: features of a step.
        hidden_size: units.
        nonlinearity: φ.
        init: see :mod:`rnnlab.cells.initialization`.
        backend: see :data:`rnnlab.cells.torch_kernels.Backend`.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        init: Literal["orthogonal", "identity", "torch"] = "orthogonal",
        backend: Backend = "auto",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.nonlinearity, self.backend = nonlinearity, backend
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(hidden_size))
        initialize_(init, *self.parameters())

    def initial_state(self, batch_size: int) -> Hidden:
        return self.weight_hh.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Step, state: Hidden) -> tuple[Hidden, Hidden]:
        total = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(state, self.weight_hh, self.bias_hh)
        h = total.tanh() if self.nonlinearity == "tanh" else total.relu()
        return h, h

    def torch_kernel(self) -> tuple[Kernel, Weights]:
        kernel = torch.rnn_tanh if self.nonlinearity == "tanh" else torch.rnn_relu
        return kernel, (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def recurrent_weights(self) -> dict[str, Tensor]:
        return {"hidden": self.weight_hh}
