"""The gated recurrent unit.

    r_t = σ(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)            reset gate
    z_t = σ(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)            update gate
    n_t = tanh(W_in x_t + b_in + r_t ⊙ (W_hn h_{t-1} + b_hn))  candidate
    h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

K. Cho et al., "Learning phrase representations using RNN encoder-decoder for
statistical machine translation" (2014), arXiv 1406.1078. As in torch and
cuDNN the reset gate acts after the recurrent product, not before it, so that
one product serves all three gates.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.initialization import initialize_
from rnnlab.cells.torch_kernels import Backend, Kernel, Weights
from rnnlab.shapes import Hidden, PositiveInt, Step


class GRU(Cell[Tensor]):
    """Parameters as ``torch.nn.GRUCell`` names and shapes them, the gates stacked in the order r, z, n.

    The state is h ``(batch, hidden)``.

    Args:
        input_size: features of a step.
        hidden_size: units.
        init: see :mod:`rnnlab.cells.initialization`.
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
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(3 * hidden_size))
        initialize_(init, *self.parameters())

    def initial_state(self, batch_size: int) -> Hidden:
        return self.weight_hh.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Step, state: Hidden) -> tuple[Hidden, Hidden]:
        r, z, x_n, h_n = self._gates_and_candidate(x, state)
        n = (x_n + r * h_n).tanh()
        h = (1 - z) * n + z * state
        return h, h

    def torch_kernel(self) -> tuple[Kernel, Weights]:
        return torch.gru, (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def _gates_and_candidate(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """r, z, and the candidate's two products, of the input and of the state."""
        x_r, x_z, x_n = F.linear(x, self.weight_ih, self.bias_ih).chunk(3, -1)
        h_r, h_z, h_n = F.linear(h, self.weight_hh, self.bias_hh).chunk(3, -1)
        return (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid(), x_n, h_n

    def gates(self, x: Step, state: Hidden) -> dict[str, Tensor]:
        r, z, _, _ = self._gates_and_candidate(x, state)
        return {"reset": r, "update": z}

    def recurrent_weights(self) -> dict[str, Tensor]:
        return dict(zip(("reset", "update", "candidate"), self.weight_hh.chunk(3), strict=True))
