"""The minimal LSTM, which trains in parallel over time.

    f_t = σ(W_f x_t + b_f)                    forget gate
    i_t = σ(W_i x_t + b_i)                    input gate
    n_t = g(W_n x_t + b_n)                    candidate
    h_t = f_t/(f_t + i_t) ⊙ h_{t-1} + i_t/(f_t + i_t) ⊙ n_t

L. Feng, F. Tung, M. O. Ahmed, Y. Bengio & H. Hajimirsadeghi, "Were RNNs all we
needed?" (2024), arXiv 2410.01201, section 3.2 and appendix B. The two gates
are scaled to a sum of 1, so that the state's size does not depend on time.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.diagonal_recurrence import leaky_recurrence
from rnnlab.cells.initialization import chrono
from rnnlab.cells.min_gru import positive
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, PositiveInt, Step


class MinLSTM(Cell[Tensor]):
    """The state is h ``(batch, hidden)``; the rows of the weights are f, i, n.

    Args:
        input_size: features of a step.
        hidden_size: units.
        candidate: g, see :class:`rnnlab.cells.min_gru.MinGRU`.
        time_steps: T of :func:`rnnlab.cells.initialization.chrono`, the span of the longest memory at the start.
            The paper names no initialisation.
        backend: ``reference`` is the loop over ``step``, ``auto`` the parallel form.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        candidate: Literal["linear", "positive"] = "linear",
        time_steps: PositiveInt = 100,
        backend: Literal["auto", "reference"] = "auto",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.candidate, self.backend = candidate, backend
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        kept = chrono(hidden_size, time_steps)
        self.bias = nn.Parameter(torch.cat([kept, -kept, torch.zeros(hidden_size)]))
        for gate in self.weight_ih.split(hidden_size):
            nn.init.xavier_uniform_(gate)

    def initial_state(self, batch_size: int) -> Hidden:
        return self.weight_ih.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Step, state: Hidden) -> tuple[Hidden, Hidden]:
        f, i, n = self._gates_and_candidate(x)
        total = f + i
        h = f / total * state + i / total * n
        return h, h

    def _forward(self, x: Features, state: Hidden, lengths: Lengths | None) -> tuple[HiddenSequence, Hidden]:
        f, i, n = self._gates_and_candidate(x)
        return leaky_recurrence(f / (f + i), n, state, lengths)

    def gates(self, x: Step, state: Hidden) -> dict[str, Tensor]:
        f, i, _ = self._gates_and_candidate(x)
        return {"forget": f, "input": i}

    def _gates_and_candidate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f, i, n = F.linear(x, self.weight_ih, self.bias).chunk(3, -1)
        return f.sigmoid(), i.sigmoid(), n if self.candidate == "linear" else positive(n)
