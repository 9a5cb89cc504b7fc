"""Ten cells that nobody here tuned, as their papers have them: what a cell of one's own may expect."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell

Pair = tuple[Tensor, Tensor]


class Gated(Cell[Tensor]):
    """So many gates and candidates, each of x and of h; the state is h."""

    gates_of_x, gates_of_h = 2, 2

    def __init__(self, input_size: int, hidden_size: int, backend: str = "auto") -> None:
        super().__init__(input_size, hidden_size)
        self.backend = backend
        self.of_x = nn.Linear(input_size, self.gates_of_x * hidden_size)
        self.of_h = nn.Linear(hidden_size, self.gates_of_h * hidden_size, bias=False)
        self.extra = nn.Parameter(torch.full((3, hidden_size), 0.1))

    def initial_state(self, batch_size: int) -> Tensor:
        return self.extra.new_zeros(batch_size, self.hidden_size)

    def parts(self, x: Tensor, h: Tensor) -> list[Tensor]:
        """What each gate gets of both."""
        return list((self.of_x(x) + self.of_h(h)).chunk(self.gates_of_x, -1))


class TwoStates(Gated):
    """The state is (h, c)."""

    def initial_state(self, batch_size: int) -> Pair:  # type: ignore[override]
        zeros = super().initial_state(batch_size)
        return zeros, zeros


class JANET(Gated):
    """van der Westhuizen & Lasenby, "The unreasonable effectiveness of the forget gate" (2018)."""

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        s, c = self.parts(x, state)
        h = s.sigmoid() * state + (1 - (s - 1).sigmoid()) * c.tanh()
        return h, h


class MGU(Gated):
    """Zhou et al., "Minimal gated unit for recurrent neural networks" (2016)."""

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        x_f, x_n = self.of_x(x).chunk(2, -1)
        u_f, u_n = self.of_h.weight.chunk(2)
        f = (x_f + F.linear(state, u_f)).sigmoid()
        h = (1 - f) * state + f * (x_n + F.linear(f * state, u_n)).tanh()
        return h, h


class PeepholeLSTM(TwoStates):
    """Gers & Schmidhuber, "Recurrent nets that time and count" (2000)."""

    gates_of_x = gates_of_h = 4

    def step(self, x: Tensor, state: Pair) -> tuple[Tensor, Pair]:  # type: ignore[override]
        h, c = state
        i, f, g, o = self.parts(x, h)
        p_i, p_f, p_o = self.extra
        c = (f + p_f * c).sigmoid() * c + (i + p_i * c).sigmoid() * g.tanh()
        h = (o + p_o * c).sigmoid() * c.tanh()
        return h, (h, c)


class LiGRU(Gated):
    """Ravanelli et al., "Light gated recurrent units for speech recognition" (2018), without batch norm."""

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        z, n = self.parts(x, state)
        z = z.sigmoid()
        h = z * state + (1 - z) * n.relu()
        return h, h


class SRU(TwoStates):
    """Lei et al., "Simple recurrent units for highly parallelizable recurrence" (2018)."""

    gates_of_x, gates_of_h = 4, 1

    def step(self, x: Tensor, state: Pair) -> tuple[Tensor, Pair]:  # type: ignore[override]
        _, c = state
        u, f, r, skip = self.of_x(x).chunk(4, -1)
        v_f, v_r, _ = self.extra
        f = (f + v_f * c).sigmoid()
        r = (r + v_r * c).sigmoid()
        c = f * c + (1 - f) * u
        h = r * c + (1 - r) * skip
        return h, (h, c)


class RAN(TwoStates):
    """Lee et al., "Recurrent additive networks" (2017)."""

    gates_of_x, gates_of_h = 3, 2

    def step(self, x: Tensor, state: Pair) -> tuple[Tensor, Pair]:  # type: ignore[override]
        h, c = state
        content, x_i, x_f = self.of_x(x).chunk(3, -1)
        h_i, h_f = self.of_h(h).chunk(2, -1)
        c = (x_i + h_i).sigmoid() * content + (x_f + h_f).sigmoid() * c
        h = c.tanh()
        return h, (h, c)


class FastGRNN(Gated):
    """Kusupati et al., "FastGRNN: a fast, accurate, stable and tiny kilobyte sized gated recurrent network" (2018)."""

    gates_of_x = gates_of_h = 1

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        both = self.of_x(x) + self.of_h(state)
        b_z, zeta, nu = self.extra
        z = (both + b_z).sigmoid()
        h = (zeta.sigmoid() * (1 - z) + nu.sigmoid()) * both.tanh() + z * state
        return h, h


class STAR(Gated):
    """Turkoglu et al., "Gating revisited: deep multi-layer RNNs that can be trained" (2019)."""

    gates_of_x, gates_of_h = 2, 1

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        z, k = self.of_x(x).chunk(2, -1)
        k = (k + self.of_h(state)).sigmoid()
        h = ((1 - k) * state + k * z.tanh()).tanh()
        return h, h


class AntisymmetricRNN(Gated):
    """Chang et al., "AntisymmetricRNN: a dynamical system view on recurrent neural networks" (2019), with its gate."""

    gates_of_x, gates_of_h = 2, 1

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        weight = self.of_h.weight
        turned = F.linear(
            state, weight - weight.t() - 0.01 * torch.eye(self.hidden_size, device=x.device, dtype=x.dtype)
        )
        v, z = self.of_x(x).chunk(2, -1)
        h = state + 0.1 * (z + turned).sigmoid() * (v + turned).tanh()
        return h, h


class MultiplicativeLSTM(TwoStates):
    """Krause et al., "Multiplicative LSTM for sequence modelling" (2016)."""

    gates_of_x, gates_of_h = 5, 5

    def step(self, x: Tensor, state: Pair) -> tuple[Tensor, Pair]:  # type: ignore[override]
        h, c = state
        size = self.hidden_size
        x_m, x_gates = self.of_x(x).split([size, 4 * size], -1)
        w_m, w_gates = self.of_h.weight.split([size, 4 * size])
        m = x_m * F.linear(h, w_m)
        i, f, o, g = (x_gates + F.linear(m, w_gates)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g
        h = (c * o.sigmoid()).tanh()
        return h, (h, c)


STRANGERS: list[Any] = [JANET, MGU, PeepholeLSTM, LiGRU, SRU, RAN, FastGRNN, STAR, AntisymmetricRNN, MultiplicativeLSTM]
