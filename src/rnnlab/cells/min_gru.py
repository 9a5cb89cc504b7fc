"""The minimal GRU, which trains in parallel over time.

    z_t = σ(W_z x_t + b_z)                 update gate
    n_t = g(W_n x_t + b_n)                 candidate
    h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ n_t

L. Feng, F. Tung, M. O. Ahmed, Y. Bengio & H. Hajimirsadeghi, "Were RNNs all we
needed?" (2024), arXiv 2410.01201, section 3.1 and appendix B. The gate sees the
input alone, so that h_t is a linear recurrence; what the past has to say
about the gate it says through a second layer.

The paper makes candidates positive so that it can compute in log space. Here the
recurrence is computed as it stands, for candidates of either sign, and no
digits are lost to logarithms.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.diagonal_recurrence import leaky_recurrence
from rnnlab.cells.initialization import chrono
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, PositiveInt, Step


class MinGRU(Cell[Tensor]):
    """The state is h ``(batch, hidden)``; the rows of the weights are z, n.

    Args:
        input_size: features of a step.
        hidden_size: units.
        candidate: g. ``linear`` is the identity (section 3.1), ``positive`` is a + ½ for a ≥ 0
            and σ(a) below (appendix B, where the paper's experiments are).
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
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.bias = nn.Parameter(torch.cat([-chrono(hidden_size, time_steps), torch.zeros(hidden_size)]))
        for gate in self.weight_ih.split(hidden_size):
            nn.init.xavier_uniform_(gate)

    def initial_state(self, batch_size: int) -> Hidden:
        return self.weight_ih.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Step, state: Hidden) -> tuple[Hidden, Hidden]:
        z, n = self._gate_and_candidate(x)
        h = (1 - z) * state + z * n
        return h, h

    def _forward(self, x: Features, state: Hidden, lengths: Lengths | None) -> tuple[HiddenSequence, Hidden]:
        z, n = self._gate_and_candidate(x)
        return leaky_recurrence(1 - z, n, state, lengths)

    def gates(self, x: Step, state: Hidden) -> dict[str, Tensor]:
        return {"update": self._gate_and_candidate(x)[0]}

    def _gate_and_candidate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, n = F.linear(x, self.weight_ih, self.bias).chunk(2, -1)
        return z.sigmoid(), n if self.candidate == "linear" else positive(n)


def positive(a: Tensor) -> Tensor:
    """a + ½ where a ≥ 0 and σ(a) below: continuous and positive (appendix B)."""
    return torch.where(a >= 0, a + 0.5, a.sigmoid())
