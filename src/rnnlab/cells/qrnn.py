"""The quasi-recurrent network, which trains in parallel over time.

    z_t = tanh(Σ_j W_z^j x_{t-j} + b_z)          candidate, j = 0 … k - 1
    f_t = σ(Σ_j W_f^j x_{t-j} + b_f)             forget gate
    o_t = σ(Σ_j W_o^j x_{t-j} + b_o)             output gate
    c_t = f_t ⊙ c_{t-1} + (1 - f_t) ⊙ z_t
    h_t = o_t ⊙ c_t

J. Bradbury, S. Merity, C. Xiong & R. Socher, "Quasi-recurrent neural networks"
(2016), arXiv 1611.01576, section 2: fo-pooling over a causal convolution.
The inputs of the last k - 1 steps belong to the state.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.diagonal_recurrence import leaky_recurrence
from rnnlab.cells.initialization import chrono
from rnnlab.kernels.layout import zero_padding
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, PositiveInt, Step

QRNNState = tuple[Hidden, Tensor]
"""c ``(batch, hidden)`` and the last inputs, the oldest first, ``(batch, kernel_size - 1, features)``."""


class QRNN(Cell[QRNNState]):
    """The rows of the weights are z, f, o; their columns the inputs of the last steps, the oldest first.

    Args:
        input_size: features of a step.
        hidden_size: units.
        kernel_size: k, steps that the gates see.
        time_steps: T of :func:`rnnlab.cells.initialization.chrono`, the span of the longest memory at the start.
        backend: ``reference`` is the loop over ``step``, ``auto`` the parallel form.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        kernel_size: PositiveInt = 2,
        time_steps: PositiveInt = 100,
        backend: Literal["auto", "reference"] = "auto",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.kernel_size, self.backend = kernel_size, backend
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, kernel_size * input_size))
        zeros = torch.zeros(hidden_size)
        self.bias = nn.Parameter(torch.cat([zeros, chrono(hidden_size, time_steps), zeros]))
        for gate in self.weight_ih.split(hidden_size):
            nn.init.xavier_uniform_(gate)

    def initial_state(self, batch_size: int) -> QRNNState:
        zeros = self.weight_ih.new_zeros
        return zeros(batch_size, self.hidden_size), zeros(batch_size, self.kernel_size - 1, self.input_size)

    def step(self, x: Step, state: QRNNState) -> tuple[Hidden, QRNNState]:
        c, past = state
        window = torch.cat([past, x[:, None]], 1)
        z, f, o = self._gates(window.flatten(1))
        c = f * c + (1 - f) * z
        return o * c, (c, window[:, 1:])

    def _forward(self, x: Features, state: QRNNState, lengths: Lengths | None) -> tuple[HiddenSequence, QRNNState]:
        start, past = state
        time, seen = x.shape[1], torch.cat([past, x], 1)
        z, f, o = self._gates(torch.cat([seen[:, j : j + time] for j in range(self.kernel_size)], -1))
        c, last = leaky_recurrence(f, z, start, lengths)
        if lengths is None:
            past = seen[:, time:]
        else:
            steps = lengths[:, None] + torch.arange(self.kernel_size - 1, device=x.device)
            past = seen.gather(1, steps[..., None].expand(-1, -1, self.input_size))
        return zero_padding(o * c, lengths), (last, past)

    def gates(self, x: Step, state: QRNNState) -> dict[str, Tensor]:
        _, f, o = self._gates(torch.cat([state[1], x[:, None]], 1).flatten(1))
        return {"forget": f, "output": o}

    def _gates(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, f, o = F.linear(window, self.weight_ih, self.bias).chunk(3, -1)
        return z.tanh(), f.sigmoid(), o.sigmoid()
