"""The selective state space layer of Mamba, which trains in parallel over time.

    u_t = silu(W_u x_t + b_u),    z_t = W_z x_t + b_z           one of each a unit
    Δ_t = softplus(W_Δ V u_t + b_Δ)                             (units,), through a bottleneck of R numbers
    B_t = W_B u_t,    C_t = W_C u_t                             (N,) each, shared by all units
    h_t = exp(Δ_t A) ⊙ h_{t-1} + Δ_t u_t B_tᵀ                   (units, N); A real, negative, diagonal
    y_t = (h_t C_t + D ⊙ u_t) ⊙ silu(z_t)

A. Gu & T. Dao, "Mamba: linear-time sequence modeling with selective state spaces" (2023), arXiv 2312.00752: Algorithm
2 with Δ of section 3.6 and the two branches of figure 3; A is held over a step (zero order), and B is Δ B, as in the
authors' code. A bias stands where theirs has that of the convolution. What figure 3 has besides is around the cell: the
convolution (``model.short_conv=4``, there between W_u and its silu), the norm and the skip connection
(``model.block=prenorm``), and the projection back (whatever linear layer is behind). Mamba has twice as many units as
its stream is wide, and here both are ``hidden_size``.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.diagonal_recurrence import diagonal_recurrence
from rnnlab.cells.initialization import initial_log_steps
from rnnlab.kernels.layout import zero_padding
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, PositiveFloat, PositiveInt, Step

S6State = Float[Tensor, "B H N"]


class S6(Cell[S6State]):
    """A state of N numbers a unit, of which the input says how fast it is forgotten, what enters it and what is read.

    As in the paper A starts as -1 … -N in every unit (S4D-Real), softplus(b_Δ) log-uniform, D as ones; the weights of
    Δ uniform in ±1/√R, all others as those of ``nn.Linear``.

    Args:
        input_size: features of a step.
        hidden_size: units.
        state_size: N.
        rank: R, of what Δ is made of; by default a sixteenth of the units, rounded up.
        step_min: Δ without an input starts log-uniform from here …
        step_max: … to here.
        gate: whether what comes out is gated by silu(z).
        backend: ``reference`` is the loop over ``step``, ``auto`` the parallel form.

    Raises:
        InputError: the steps are no range.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        state_size: PositiveInt = 16,
        rank: PositiveInt | None = None,
        step_min: PositiveFloat = 0.001,
        step_max: PositiveFloat = 0.1,
        gate: bool = True,
        backend: Literal["auto", "reference"] = "auto",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.state_size, self.gate, self.backend = state_size, gate, backend
        self.rank = rank or -(-hidden_size // 16)
        self.input = nn.Linear(input_size, (2 if gate else 1) * hidden_size)
        self.selection = nn.Linear(hidden_size, self.rank + 2 * state_size, bias=False)
        self.weight_step = nn.Parameter(torch.empty(hidden_size, self.rank).uniform_(-1, 1) / self.rank**0.5)
        step = initial_log_steps(hidden_size, step_min, step_max).exp()
        self.bias_step = nn.Parameter(step + (-(-step).expm1()).log())  # of which softplus is the inverse
        self.log_decay = nn.Parameter(torch.arange(1.0, state_size + 1).log().repeat(hidden_size, 1))  # of -A
        self.skip = nn.Parameter(torch.ones(hidden_size))

    def initial_state(self, batch_size: int) -> S6State:
        return self.skip.new_zeros(batch_size, self.hidden_size, self.state_size)

    def step(self, x: Step, state: S6State) -> tuple[Hidden, S6State]:
        u, z = self._branches(x)
        step, enters, reads = self._selected(u)
        decay, drive = self._discretized(u, step, enters)
        state = decay * state + drive
        return self._output(state, reads, u, z), state

    def _forward(self, x: Features, state: S6State, lengths: Lengths | None) -> tuple[HiddenSequence, S6State]:
        u, z = self._branches(x)
        step, enters, reads = self._selected(u)
        decay, drive = (part.flatten(2) for part in self._discretized(u, step, enters))
        h, last = diagonal_recurrence(decay, drive, state.flatten(1), lengths)
        units = (self.hidden_size, self.state_size)
        output = self._output(h.unflatten(-1, units), reads, u, z)
        return zero_padding(output, lengths), last.unflatten(-1, units)

    def memory(self, state: S6State) -> Tensor:
        """The mean of each unit's numbers: what is read of them, the next input says."""
        return state.mean(-1)

    def gates(self, x: Step, state: S6State) -> dict[str, Tensor]:
        """What is left of each unit's slowest number after the step."""
        step, *_ = self._selected(self._branches(x)[0])
        return {"forget": (-step * self.log_decay.exp().amin(-1)).exp()}

    def _branches(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """u and z, each ``(…, units)``."""
        if not self.gate:
            return F.silu(self.input(x)), None
        u, z = self.input(x).chunk(2, -1)
        return F.silu(u), z

    def _selected(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Δ ``(…, units)``, B and C ``(…, N)``."""
        low, enters, reads = self.selection(u).split([self.rank, self.state_size, self.state_size], -1)
        return F.softplus(F.linear(low, self.weight_step, self.bias_step)), enters, reads

    def _discretized(self, u: Tensor, step: Tensor, enters: Tensor) -> tuple[Tensor, Tensor]:
        """exp(Δ A) and Δ u Bᵀ, each ``(…, units, N)``."""
        return (-step[..., None] * self.log_decay.exp()).exp(), (step * u)[..., None] * enters[..., None, :]

    def _output(self, h: Tensor, reads: Tensor, u: Tensor, z: Tensor | None) -> Tensor:
        y = (h.to(u.dtype) @ reads[..., None])[..., 0] + self.skip * u
        return y if z is None else y * F.silu(z)
