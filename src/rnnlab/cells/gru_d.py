"""The gated recurrent unit with decay, for values that are missing and steps that are not equally far apart.

    δ_t = time since a feature was last seen                     of each feature that may be missing
    x̂_t = x_t where it is seen, γ_x ⊙ the last one that was seen where it is not,    γ_x = exp(-max(0, w ⊙ δ_t + v))
    ĥ   = γ_h ⊙ h_{t-1},    γ_h = exp(-max(0, W_γ [τ_t, δ_t] + b_γ))
    r_t = σ(W_r [x̂_t, m_t] + U_r ĥ + b_r)                        m: 1 where a value is missing
    z_t = σ(W_z [x̂_t, m_t] + U_z ĥ + b_z)
    n_t = tanh(W_n [x̂_t, m_t] + U_n (r_t ⊙ ĥ) + b_n)
    h_t = (1 - z_t) ⊙ ĥ + z_t ⊙ n_t

Z. Che, S. Purushotham, K. Cho, D. Sontag & Y. Liu, "Recurrent neural networks for multivariate time series with
missing values" (2018), arXiv 1606.01865, section 2.3: decay of inputs towards their mean, which is 0 for features that
were scaled, and of the hidden state. τ_t is the time since the step before, 1 where steps are equally far apart; it is
the δ of whatever is never missing. That the last known value stands where one is missing is the data's to do.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.initialization import initialize_
from rnnlab.shapes import Hidden, PositiveInt, State, Step

DECAY = 0.1
"""Rates of decay start uniform from 0 to this, a step."""


class GRUD(Cell[Any]):
    """The state is h ``(batch, hidden)``; where features may be missing also, for each of them, the time for which it
    has not been seen, ``(batch, masks, 1)``.

    Args:
        input_size: features of a step.
        hidden_size: units.
        init: see :mod:`rnnlab.cells.initialization`.
        backend: ``reference`` is the loop over ``step``, ``auto`` on a CPU the layer that is derived from it: the same.
        elapsed: the last feature is the time since the step before, in usual steps; the network says it of its data.
        masks: pairs of features, a value and what is 1 where it is missing, and the last known value stands there; the
            network says it of its data, too.
    """

    uses_elapsed: ClassVar[bool] = True
    uses_masks: ClassVar[bool] = True
    value: Tensor
    mask: Tensor

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        init: Literal["orthogonal", "torch"] = "orthogonal",
        backend: Literal["auto", "reference"] = "auto",
        elapsed: bool = False,
        masks: Sequence[Sequence[int]] = (),
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.backend, self.elapsed, self.masks = backend, elapsed, tuple(tuple(pair) for pair in masks)
        features = input_size - elapsed
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, features))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size))
        initialize_(init, self.weight_ih, self.weight_hh, self.bias)
        inputs = 1 + len(self.masks)
        self.weight_decay = nn.Parameter(torch.empty(hidden_size, inputs).uniform_(0, DECAY / inputs))
        self.bias_decay = nn.Parameter(torch.zeros(hidden_size))
        if self.masks:
            self.input_decay = nn.Parameter(torch.empty(2, len(self.masks)).uniform_(0, DECAY))
            # which of the decays a feature has, and which mask
            value, mask = torch.tensor(self.masks).T
            self.register_buffer("value", F.one_hot(value, features).float(), persistent=False)
            self.register_buffer("mask", F.one_hot(mask, features).float(), persistent=False)

    def initial_state(self, batch_size: int) -> State:
        h = self.weight_hh.new_zeros(batch_size, self.hidden_size)
        return (h, h.new_zeros(batch_size, len(self.masks), 1)) if self.masks else h

    def step(self, x: Step, state: State) -> tuple[Hidden, State]:
        x, h, unseen = self._decayed(x, state)
        x_r, x_z, x_n = F.linear(x, self.weight_ih, self.bias).chunk(3, -1)
        u_gates, u_n = self.weight_hh.split([2 * self.hidden_size, self.hidden_size])
        h_r, h_z = F.linear(h, u_gates).chunk(2, -1)
        r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
        n = (x_n + F.linear(r * h, u_n)).tanh()
        h = (1 - z) * h + z * n
        return h, h if unseen is None else (h, unseen)

    def _decayed(self, x: Step, state: State) -> tuple[Tensor, Tensor, Tensor | None]:
        """What is read, the hidden state as time has left it, and for how long each feature has not been seen since."""
        x, elapsed = self._since(x)
        if not self.masks:
            assert isinstance(state, Tensor)
            rate = self.weight_decay.squeeze(1) * elapsed + self.bias_decay
            return x, (-rate.relu()).exp() * state, None
        h, unseen = state
        since = unseen.squeeze(-1) + elapsed
        missing = F.linear(x, self.mask)
        rate, shift = self.input_decay
        left = (-(rate * since + shift).relu()).exp()
        # the last known value stands where one is missing
        x = x * (1 - (missing * (1 - left)) @ self.value)
        step = since.new_full((len(x), 1), 1.0) if isinstance(elapsed, float) else elapsed
        times = torch.cat([step, since], -1)
        h = (-F.linear(times, self.weight_decay, self.bias_decay).relu()).exp() * h
        return x, h, (missing * since).unsqueeze(-1)

    def gates(self, x: Step, state: State) -> dict[str, Tensor]:
        x, h, _ = self._decayed(x, state)
        x_r, x_z, _ = F.linear(x, self.weight_ih, self.bias).chunk(3, -1)
        h_r, h_z = F.linear(h, self.weight_hh[: 2 * self.hidden_size]).chunk(2, -1)
        return {"reset": (x_r + h_r).sigmoid(), "update": (x_z + h_z).sigmoid()}

    def recurrent_weights(self) -> dict[str, Tensor]:
        return dict(zip(("reset", "update", "candidate"), self.weight_hh.chunk(3), strict=True))
