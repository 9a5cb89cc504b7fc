"""The simplified state space layer, which trains in parallel over time.

    ā   = exp(λ Δ),    b̄ = (ā - 1)/λ                 zero-order hold
    h_t = ā ⊙ h_{t-1} + b̄ ⊙ (B x_t)                 complex
    y_t = φ(2 Re(C h_t) + D x_t)                    φ = GELU or the identity

J. T. H. Smith, A. Warrington & S. W. Linderman, "Simplified state space layers
for sequence modeling" (2022), arXiv 2208.04933, section 3 and appendix B. λ
starts as the eigenvalues of HiPPO-LegS's normal part, of each conjugate pair
one; B and C start in its eigenvectors' basis. The paper's norm, gate and skip
connection around the layer are not in the cell; φ is, as in :mod:`rnnlab.cells.lru`.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell, zero_padding
from rnnlab.cells.diagonal_recurrence import diagonal_recurrence
from rnnlab.errors import InputError
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, PositiveFloat, PositiveInt, Step

ComplexState = tuple[Hidden, Hidden]
"""Real and imaginary part of h, each ``(batch, hidden)``."""


class S5(Cell[ComplexState]):
    """As many complex units, one of each conjugate pair, as real outputs; B and C as real and imaginary part.

    Args:
        input_size: features of a step.
        hidden_size: units, and size of the output.
        step_min: Δ starts log-uniform from here …
        step_max: … to here: a unit remembers about 2/Δ steps.
        activation: φ.
        backend: ``reference`` is the loop over ``step``, ``auto`` the parallel form.

    Raises:
        InputError: the steps are no range.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        step_min: PositiveFloat = 0.001,
        step_max: PositiveFloat = 0.1,
        activation: Literal["gelu", "none"] = "gelu",
        backend: Literal["auto", "reference"] = "auto",
    ) -> None:
        if step_min > step_max:
            raise InputError(f"model.cell.step_min={step_min} must be at most model.cell.step_max={step_max}")
        super().__init__(input_size, hidden_size)
        self.activation, self.backend = activation, backend
        phase, vectors = hippo(hidden_size)
        self.log_decay = nn.Parameter(torch.full((hidden_size,), math.log(0.5)))  # of -Re λ, positive whatever it is
        self.phase = nn.Parameter(phase)
        span = math.log(step_max) - math.log(step_min)
        self.log_step = nn.Parameter(math.log(step_min) + span * torch.rand(hidden_size))
        b = vectors.conj().T @ torch.randn(2 * hidden_size, input_size).to(vectors) / input_size**0.5
        c = torch.randn(hidden_size, 2 * hidden_size).to(vectors) @ vectors / (2 * hidden_size) ** 0.5
        self.weight_ih = nn.Parameter(torch.view_as_real(b).transpose(1, 2).contiguous())
        self.weight_ho = nn.Parameter(torch.view_as_real(c.conj().resolve_conj()).contiguous())
        self.weight_io = nn.Parameter(torch.randn(hidden_size, input_size) / input_size**0.5)

    def initial_state(self, batch_size: int) -> ComplexState:
        zeros = self.phase.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def step(self, x: Step, state: ComplexState) -> tuple[Hidden, ComplexState]:
        a, scale = self._discretized()
        (a_re, a_im), (s_re, s_im) = (torch.view_as_real(each).unbind(-1) for each in (a, scale))
        b_re, b_im = self._drive(x).unbind(-1)
        re, im = state
        re, im = (
            a_re * re - a_im * im + s_re * b_re - s_im * b_im,
            a_re * im + a_im * re + s_re * b_im + s_im * b_re,
        )
        return self._output(torch.stack([re, im], -1), x), (re, im)

    def forward(
        self, x: Features, state: ComplexState | None = None, lengths: Lengths | None = None
    ) -> tuple[HiddenSequence, ComplexState]:
        if self.backend == "reference":
            return self.unroll(x, state, lengths)
        start = self.initial_state(len(x)) if state is None else state
        a, scale = self._discretized()
        drive = scale * torch.view_as_complex(self._drive(x))
        h, last = diagonal_recurrence(a, drive, torch.complex(*start), lengths)
        output = self._output(torch.view_as_real(h), x)
        return zero_padding(output, lengths), (last.real, last.imag)

    def _discretized(self) -> tuple[Tensor, Tensor]:
        """ā and b̄, each complex ``(hidden,)``."""
        eigenvalue = torch.complex(-self.log_decay.exp(), self.phase)
        a = (eigenvalue * self.log_step.exp()).exp()
        return a, (a - 1) / eigenvalue

    def _drive(self, x: Tensor) -> Tensor:
        """B x as ``(…, hidden, 2)``: real and imaginary part, as complex numbers lie in memory."""
        return F.linear(x, self.weight_ih.flatten(0, 1)).unflatten(-1, (self.hidden_size, 2))

    def _output(self, h: Tensor, x: Tensor) -> Tensor:
        # Re(C h) = Re C Re h - Im C Im h: weight_ho holds Re C and -Im C
        y = 2 * F.linear(h.flatten(-2), self.weight_ho.flatten(1)) + F.linear(x, self.weight_io)
        return F.gelu(y) if self.activation == "gelu" else y


def hippo(units: int) -> tuple[Tensor, Tensor]:
    """Imaginary parts ``(units,)`` and eigenvectors ``(2 units, units)`` of HiPPO-LegS's normal part.

    A_nk = -√((2n+1)(2k+1))/2 for n > k, its negative for n < k, and -½ on the
    diagonal, of size 2 units: all real parts are -½.
    """
    root = (2 * torch.arange(2 * units, dtype=torch.float64) + 1).sqrt()
    below = torch.tril(root[:, None] * root / 2, -1)
    values, vectors = torch.linalg.eigh(1j * (below - below.T))
    # of -i times the skew part S = belowᵀ - below: S v = iw v
    positive = values > 0
    return values[positive].float(), vectors[:, positive].to(torch.complex64)
