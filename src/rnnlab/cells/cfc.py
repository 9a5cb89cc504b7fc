"""The closed-form continuous-time network.

    b_t = φ(backbone of [x_t, h_{t-1}])                    φ(a) = 1.7159 tanh(⅔ a)
    s_t = σ(f_a(b_t) τ_t + f_b(b_t))                       how far time has gone
    h_t = (1 - s_t) ⊙ tanh(g(b_t)) + s_t ⊙ tanh(h(b_t))

R. Hasani et al., "Closed-form continuous-time neural networks" (2021), arXiv
2106.13898, equation 10 and the authors' code, where the gate has this sign and
every head is one linear layer on a shared backbone. τ is the time since the step
before, 1 where steps are equally far apart.
"""

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from rnnlab.cells.cell import Cell
from rnnlab.shapes import Hidden, PositiveFloat, PositiveInt, Step

SCALE = 1.7159
"""Of φ, which is then about 1 at 1."""


class CfC(Cell[Tensor]):
    """The state is h ``(batch, hidden)``; the heads are stacked in the order g, h, f_a, f_b.

    All weights start Xavier-uniform with ``gain``, all biases at zero.

    Args:
        input_size: features of a step.
        hidden_size: units.
        backbone_units: of each layer of the backbone.
        backbone_layers: how many.
        time_step: τ of a usual step.
        gain: see above; the authors' search over 0.5 to 1.7.
        backend: ``reference`` is the loop over ``step``, ``auto`` on a CPU the layer that is derived from it: the same.
        elapsed: the last feature is the time since the step before, in usual steps; the network says it of its data.
    """

    uses_elapsed: ClassVar[bool] = True

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        backbone_units: PositiveInt = 64,
        backbone_layers: PositiveInt = 1,
        time_step: PositiveFloat = 1.0,
        gain: PositiveFloat = 1.0,
        backend: Literal["auto", "reference"] = "auto",
        elapsed: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.time_step, self.backend, self.elapsed = time_step, backend, elapsed
        sizes = [input_size - elapsed + hidden_size, *(backbone_layers * [backbone_units])]
        self.backbone = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.heads = nn.Linear(backbone_units, 4 * hidden_size)
        for parameter in self.parameters():
            if parameter.dim() == 1:
                nn.init.zeros_(parameter)
            else:
                for head in parameter.split(hidden_size) if parameter is self.heads.weight else (parameter,):
                    nn.init.xavier_uniform_(head, gain)

    def initial_state(self, batch_size: int) -> Hidden:
        return self.heads.weight.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Step, state: Hidden) -> tuple[Hidden, Hidden]:
        early, late, passed = self._heads(x, state)
        h = torch.lerp(early.tanh(), late.tanh(), passed)
        return h, h

    def _heads(self, x: Step, state: Hidden) -> tuple[Tensor, Tensor, Tensor]:
        """g and h before their tanh, and s."""
        x, elapsed = self._since(x)
        b = torch.cat([x, state], -1)
        for layer in self.backbone:
            b = SCALE * (2 / 3 * layer(b)).tanh()
        early, late, rate, shift = self.heads(b).chunk(4, -1)
        return early, late, (rate * (self.time_step * elapsed) + shift).sigmoid()

    def gates(self, x: Step, state: Hidden) -> dict[str, Tensor]:
        return {"time": self._heads(x, state)[2]}
