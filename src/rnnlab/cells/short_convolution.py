"""A short causal convolution in front of a cell.

    u_t = Σ_j w_j ⊙ x_{t-j} + b,    j = 0 … k - 1         each feature by itself (depthwise)
    the cell reads u_t in place of x_t

It stands in front of the recurrence in S. De et al., "Griffin: mixing gated linear recurrences with local attention"
(2024), arXiv 2402.19427, section 2.4 (k = 4, no nonlinearity behind it, as here), in A. Gu & T. Dao, "Mamba" (2023),
arXiv 2312.00752, figure 3, and in M. Beck et al., "xLSTM" (2024), arXiv 2405.04517, figures 10 and 11 (both with a
SiLU). The k - 1 inputs before a step belong to the state, zero before the first one.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rnnlab.cells.cell import Cell
from rnnlab.cells.wrapper import WrappedCell
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, State, Step


class Convolved(WrappedCell):
    """A cell that reads a convolution of its input; the state is the cell's, and behind it the last inputs.

    Weights and biases start uniform in ±1/√k, as those of ``nn.Conv1d`` with as many groups as features.

    Args:
        cell: that reads it.
        steps: k, of the window, the step itself among them.
    """

    def __init__(self, cell: Cell[Any], steps: int) -> None:
        super().__init__(cell)
        self.steps = steps
        features = self.features = cell.input_size - cell.elapsed
        self.several = isinstance(cell.initial_state(1), tuple)
        """Whether the cell's state is a tuple."""
        self.kernel = nn.Parameter(torch.empty(steps, features).uniform_(-(steps**-0.5), steps**-0.5))
        self.kernel_bias = nn.Parameter(torch.empty(features).uniform_(-(steps**-0.5), steps**-0.5))

    def inner(self, state: Any) -> Any:
        return state[:-1] if self.several else state[0]

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        window = self.kernel.new_zeros(batch_size, self.steps - 1, self.features)
        return self._with_window(self.cell.initial_state(batch_size), window)

    def step(self, x: Step, state: tuple[Tensor, ...]) -> tuple[Hidden, tuple[Tensor, ...]]:
        x, elapsed = self._since(x)
        seen = torch.cat([state[-1], x[:, None]], 1)
        output, new = self.cell.step(self._read(self._convolved(seen.unbind(1)), elapsed), self.inner(state))
        return output, self._with_window(new, seen[:, 1:])

    def _forward(
        self, x: Features, state: tuple[Tensor, ...], lengths: Lengths | None
    ) -> tuple[HiddenSequence, tuple[Tensor, ...]]:
        x, elapsed = self._since(x)
        time, seen = x.shape[1], torch.cat([state[-1], x], 1)
        u = self._convolved([seen[:, j : j + time] for j in range(self.steps)])
        output, new = self.cell(self._read(u, elapsed), self.inner(state), lengths)
        if lengths is None:
            window = seen[:, time:]
        else:
            steps = lengths[:, None] + torch.arange(self.steps - 1, device=x.device)
            window = seen.gather(1, steps[..., None].expand(-1, -1, self.features))
        return output, self._with_window(new, window)

    def gates(self, x: Step, state: tuple[Tensor, ...]) -> dict[str, Tensor]:
        x, elapsed = self._since(x)
        seen = torch.cat([state[-1], x[:, None]], 1)
        return self.cell.gates(self._read(self._convolved(seen.unbind(1)), elapsed), self.inner(state))

    def _convolved(self, seen: Sequence[Tensor]) -> Tensor:
        """Of the window's inputs ``(…, features)``, the oldest first."""
        u: Tensor = self.kernel_bias
        for weight, x in zip(self.kernel.unbind(0), seen, strict=True):
            u = torch.addcmul(u, x, weight)
        return u

    @staticmethod
    def _read(u: Tensor, elapsed: Tensor | float) -> Tensor:
        """What the cell reads: the time since the step before as it is."""
        return torch.cat([u, elapsed], -1) if isinstance(elapsed, Tensor) else u

    @staticmethod
    def _with_window(state: State, window: Tensor) -> tuple[Tensor, ...]:
        return (*state, window) if isinstance(state, tuple) else (state, window)
