"""The diagonal state space layer, which trains in parallel over time.

    u_t  = V x_t + b_v                                        (hidden,)
    ā_hn = exp(Δ_h τ_t λ_hn),    b̄_hn = (ā_hn - 1)/λ_hn       zero-order hold
    s_t  = ā ⊙ s_{t-1} + b̄ ⊙ u_t                              complex (hidden, N/2): every u has states of its own
    y_t  = GELU(2 Re Σ_n C_hn s_thn + D ⊙ u_t)                (hidden,)
    out  = W_a y_t + b_a                                      or that ⊙ σ(W_g y_t + b_g), a gated linear unit

A. Gu, A. Gupta, K. Goel & C. Ré, "On the parameterization and initialization
of diagonal state space models" (2022), arXiv 2206.11893: section 3 and listing 1
the recurrence, section 4 the initial λ, of each conjugate pair one. B is 1, since
only its product with C counts. τ_t is the time since the step before, 1 where
steps are equally far apart, as in the paper. V stands for the encoder of the paper's
network, whose norm and skip connection around the layer are not in the cell. It is trained as a convolution
(section 2 there), in about a third of the time that all the states take; where τ_t
varies it is none, and all the states are computed.
"""

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.diagonal_recurrence import as_complex, diagonal_recurrence, wide
from rnnlab.cells.initialization import initial_log_steps
from rnnlab.errors import InputError
from rnnlab.kernels.layout import zero_padding
from rnnlab.kernels.members import is_stacked
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, PositiveFloat, PositiveInt, Step

Modes = Float[Tensor, "B H M"]
S4DState = tuple[Modes, Modes]
"""Real and imaginary part of s, each ``(batch, hidden, N/2)``."""


class S4D(Cell[S4DState]):
    """One state space of N dimensions for each unit; what the units have to say to each other the mixing says.

    Args:
        input_size: features of a step.
        hidden_size: units, and size of the output.
        state_size: N, even: two to a complex number. The paper's is 64; time and memory go with it.
        eigenvalues: λ_n at the start, n from 0. ``lin`` is -½ + iπn (S4D-Lin),
            ``inv`` is -½ + i N/π (N/(2n + 1) - 1) (S4D-Inv).
        step_min: Δ starts log-uniform from here …
        step_max: … to here: a unit remembers about 2/Δ steps.
        mixing: ``glu``, or ``linear`` without the gate.
        backend: ``reference`` is the loop over ``step``, ``auto`` the parallel form.
        elapsed: the last feature is the time since the step before, in usual steps; the network says it of its data.

    Raises:
        InputError: N is odd, or the steps are no range.
    """

    separable = False  # two tensors are one complex number
    uses_elapsed: ClassVar[bool] = True

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        state_size: PositiveInt = 16,
        eigenvalues: Literal["lin", "inv"] = "lin",
        step_min: PositiveFloat = 0.001,
        step_max: PositiveFloat = 0.1,
        mixing: Literal["glu", "linear"] = "glu",
        backend: Literal["auto", "reference"] = "auto",
        elapsed: bool = False,
    ) -> None:
        check_pairs(state_size)
        super().__init__(input_size, hidden_size)
        self.mixing, self.backend, self.elapsed = mixing, backend, elapsed
        shape = hidden_size, state_size // 2
        n = torch.arange(state_size // 2)
        phase = math.pi * n if eigenvalues == "lin" else state_size / math.pi * (state_size / (2 * n + 1) - 1)
        self.log_decay = nn.Parameter(torch.full(shape, math.log(0.5)))  # of -Re λ, positive whatever it is
        self.phase = nn.Parameter(phase.expand(shape).clone())
        self.log_step = nn.Parameter(initial_log_steps(hidden_size, step_min, step_max))
        self.weight_ho = nn.Parameter(torch.randn(*shape, 2) / 2**0.5)  # C
        self.skip = nn.Parameter(torch.randn(hidden_size))  # D
        self.encoder = nn.Linear(input_size - elapsed, hidden_size)
        self.mix = nn.Linear(hidden_size, 2 * hidden_size if mixing == "glu" else hidden_size)

    def initial_state(self, batch_size: int) -> S4DState:
        zeros = self.phase.new_zeros(batch_size, *self.phase.shape)
        return zeros, zeros

    def step(self, x: Step, state: S4DState) -> tuple[Hidden, S4DState]:
        x, elapsed = self._since(x)
        u = self.encoder(x)
        factors = self._discretized(elapsed)
        (a_re, a_im), (s_re, s_im) = (torch.view_as_real(factor).to(u.dtype).unbind(-1) for factor in factors)
        re, im = state
        re, im = (
            a_re * re - a_im * im + s_re * u[..., None],
            a_re * im + a_im * re + s_im * u[..., None],
        )
        return self._output(self._read(re, im), u), (re, im)

    def _forward(self, x: Features, state: S4DState, lengths: Lengths | None) -> tuple[HiddenSequence, S4DState]:
        x, elapsed = self._since(x)
        u, start = self.encoder(x), (wide(state[0]), wide(state[1]))
        if self.elapsed or is_stacked():
            read, (re, im) = self._recurrence(wide(u), elapsed, start, lengths)
        else:
            read, (re, im) = self._convolution(wide(u), start, lengths)
        return zero_padding(self._output(read.to(u.dtype), u), lengths), (re.to(state[0]), im.to(state[1]))

    def _recurrence(
        self, u: Tensor, elapsed: Tensor | float, start: S4DState, lengths: Tensor | None
    ) -> tuple[Tensor, S4DState]:
        """What is read of all states, and the last state: where steps vary, and in a stack of members, where nobody can
        look at lengths.
        """
        a, scale = self._discretized(elapsed)
        drive = (scale * u[..., None]).flatten(2)
        s, last = diagonal_recurrence(a.flatten(-2), drive, torch.complex(*start).flatten(1), lengths)
        s, last = s.unflatten(-1, a.shape[-2:]), last.unflatten(-1, a.shape[-2:])
        return self._read(s.real, s.imag), (last.real, last.imag)

    def _convolution(self, u: Tensor, start: S4DState, lengths: Tensor | None) -> tuple[Tensor, S4DState]:
        """The same, and no state in between is ever computed: a unit's response to an impulse is convolved with u.

        It is the paper's way to train (section 2), by two Fourier transforms of twice the length.
        """
        time = u.shape[1]
        _, scale = self._discretized()
        steps = torch.arange(time + 1, device=u.device, dtype=wide(self.phase).dtype)
        powers = (self._exponent()[..., None] * steps).exp()  # ā^t (hidden, N/2, time + 1)
        c, s = 2 * as_complex(self.weight_ho), torch.complex(*start)
        response = ((c * scale)[..., None] * powers[..., :-1]).sum(1).real  # (hidden, time)
        u = zero_padding(u, lengths).to(response.dtype)  # which a transform would carry everywhere
        size = fast_size(2 * time)
        spectrum = torch.fft.rfft(u, size, 1) * torch.fft.rfft(response.t(), size, 0)
        read = torch.fft.irfft(spectrum, size, 1)[:, :time]
        read = read + torch.einsum("bhm,hmt->bth", c * s, powers[..., 1:]).real
        # the last state sees each sequence's end at the same place
        decay = powers[..., -1]
        if lengths is not None:
            shifted = steps[:-1].long() - (time - lengths)[:, None]
            u = u.gather(1, shifted.clamp_min(0)[..., None].expand_as(u)).masked_fill((shifted < 0)[..., None], 0.0)
            decay = powers[..., lengths].movedim(-1, 0)
        back = torch.view_as_real(powers[..., :-1].flip(-1).resolve_conj())
        last = torch.view_as_complex(torch.einsum("hmtc,bth->bhmc", back, u).contiguous()) * scale + decay * s
        return read, (last.real, last.imag)

    def memory(self, state: S4DState) -> Tensor:
        """2 Re Σ_n C s: what each unit's states have to say, before the skip and the mixing."""
        return self._read(*state)

    def _discretized(self, elapsed: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """ā and b̄, each complex ``(hidden, N/2)``, or ``(…, hidden, N/2)`` of ``(…, 1)`` times."""
        elapsed = elapsed[..., None] if isinstance(elapsed, Tensor) else elapsed
        a = (self._exponent() * elapsed).exp()
        return a, (a - 1) / self._eigenvalue()

    def _eigenvalue(self) -> Tensor:
        return torch.complex(-wide(self.log_decay).exp(), wide(self.phase))

    def _exponent(self) -> Tensor:
        """Δ λ, complex ``(hidden, N/2)``."""
        return self._eigenvalue() * self.log_step.exp()[:, None]

    def _read(self, re: Tensor, im: Tensor) -> Tensor:
        """2 Re Σ_n C s of ``(…, hidden, N/2)``."""
        return 2 * (self.weight_ho[..., 0] * re - self.weight_ho[..., 1] * im).sum(-1)

    def _output(self, read: Tensor, u: Tensor) -> Tensor:
        y = self.mix(F.gelu(read + self.skip * u))
        return F.glu(y, -1) if self.mixing == "glu" else y


def fast_size(least: int) -> int:
    """The smallest of 2ᵏ and 3 · 2ᵏ that is not below: a transform of such a length is fast."""
    power = 1 << (least - 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= least else power


def check_pairs(state_size: int) -> None:
    """Raises InputError where complex numbers of which two are a state of this size cannot be."""
    if state_size % 2:
        raise InputError(
            f"model.cell.state_size={state_size} must be even, since eigenvalues come in conjugate pairs: "
            f"use {state_size + 1}"
        )
