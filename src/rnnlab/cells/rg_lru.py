"""The real-gated linear recurrent unit, which trains in parallel over time.

    u_t = W_u x_t + b_u                       the input, as wide as the state
    r_t = σ(W_r u_t + b_r)                    recurrence gate
    i_t = σ(W_i u_t + b_i)                    input gate
    a_t = σ(Λ)^(c r_t),    c = 8
    h_t = a_t ⊙ h_{t-1} + √(1 - a_t²) ⊙ (i_t ⊙ u_t)

S. De et al., "Griffin: mixing gated linear recurrences with local attention for
efficient language models" (2024), arXiv 2402.19427, section 2.4 and appendix A.
The linear map to u_t stands in the paper's block around the unit, together
with a short convolution and a second, multiplied branch, which are not here.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.diagonal_recurrence import diagonal_recurrence
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, PositiveInt, Step

C = 8.0
"""By how much the gate can speed up forgetting (the paper's constant)."""


class RGLRU(Cell[Tensor]):
    """The state is h ``(batch, hidden)``.

    σ(Λ)^c starts uniform in [0.9, 0.999], the maps as LeCun has them (the paper's section 2.4 and appendix).

    Args:
        input_size: features of a step.
        hidden_size: units.
        backend: ``reference`` is the loop over ``step``, ``auto`` the parallel form.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        backend: Literal["auto", "reference"] = "auto",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.backend = backend
        self.weight_ih = nn.Parameter(torch.randn(hidden_size, input_size) / input_size**0.5)
        self.bias_ih = nn.Parameter(torch.zeros(hidden_size))
        self.weight_gates = nn.Parameter(torch.randn(2 * hidden_size, hidden_size) / hidden_size**0.5)
        self.bias_gates = nn.Parameter(torch.zeros(2 * hidden_size))
        self.decay = nn.Parameter(torch.logit(torch.empty(hidden_size).uniform_(0.9, 0.999) ** (1 / C)))

    def initial_state(self, batch_size: int) -> Hidden:
        return self.decay.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Step, state: Hidden) -> tuple[Hidden, Hidden]:
        a, b = self._factor_and_drive(x)
        h = a * state + b
        return h, h

    def _forward(self, x: Features, state: Hidden, lengths: Lengths | None) -> tuple[HiddenSequence, Hidden]:
        return diagonal_recurrence(*self._factor_and_drive(x), state, lengths)

    def _factor_and_drive(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u, r, i = self._input_and_gates(x)
        log_a = C * r * F.logsigmoid(self.decay)
        # expm1, since a is close to 1 and 1 - a² would have few digits left
        return log_a.exp(), (-torch.expm1(2 * log_a)).sqrt() * i * u

    def _input_and_gates(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u = F.linear(x, self.weight_ih, self.bias_ih)
        r, i = F.linear(u, self.weight_gates, self.bias_gates).sigmoid().chunk(2, -1)
        return u, r, i

    def gates(self, x: Step, state: Hidden) -> dict[str, Tensor]:
        _, r, i = self._input_and_gates(x)
        return {"recurrence": r, "input": i}
