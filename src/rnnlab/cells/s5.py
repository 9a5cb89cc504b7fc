"""The simplified state space layer, which trains in parallel over time.

    ā   = exp(λ Δ τ_t),    b̄ = (ā - 1)/λ             zero-order hold
    h_t = ā ⊙ h_{t-1} + b̄ ⊙ (B x_t)                 complex
    y_t = φ(2 Re(C h_t) + D x_t)                    φ = GELU or the identity

J. T. H. Smith, A. Warrington & S. W. Linderman, "Simplified state space layers
for sequence modeling" (2022), arXiv 2208.04933, section 3 and appendix B. λ
starts as the eigenvalues of HiPPO-LegS's normal part, of each conjugate pair
one; B and C start in its eigenvectors' basis. D is a diagonal, or where input
and output differ in size a matrix. τ_t is the time since the step before (section
6.3), 1 where steps are equally far apart. The paper's norm, gate and skip connection
around the layer are not in the cell; φ is, as in :mod:`rnnlab.cells.lru`.
"""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.diagonal_recurrence import as_complex, diagonal_recurrence, wide
from rnnlab.cells.initialization import initial_log_steps
from rnnlab.cells.lru import ComplexState, fed_through, initial_feedthrough
from rnnlab.cells.s4d import check_pairs
from rnnlab.kernels.layout import zero_padding
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, PositiveFloat, PositiveInt, Step


class S5(Cell[ComplexState]):
    """Complex units, one of each conjugate pair, behind real outputs; B and C as real and imaginary part.

    Args:
        input_size: features of a step.
        hidden_size: H, size of the output.
        state_size: P, even: two to a complex unit. By default twice as many as outputs.
        step_min: Δ starts log-uniform from here …
        step_max: … to here: a unit remembers about 2/Δ steps.
        activation: φ.
        backend: ``reference`` is the loop over ``step``, ``auto`` the parallel form.
        elapsed: the last feature is the time since the step before, in usual steps; the network says it of its data.

    Raises:
        InputError: the steps are no range, or the state's size is odd.
    """

    separable = False  # two tensors are one complex number
    uses_elapsed: ClassVar[bool] = True

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        state_size: PositiveInt | None = None,
        step_min: PositiveFloat = 0.001,
        step_max: PositiveFloat = 0.1,
        activation: Literal["gelu", "none"] = "gelu",
        backend: Literal["auto", "reference"] = "auto",
        elapsed: bool = False,
    ) -> None:
        if state_size is not None:
            check_pairs(state_size)
        super().__init__(input_size, hidden_size)
        self.activation, self.backend, self.elapsed = activation, backend, elapsed
        features = input_size - elapsed
        self.units = units = hidden_size if state_size is None else state_size // 2
        phase, vectors = hippo(units)
        self.log_decay = nn.Parameter(torch.full((units,), math.log(0.5)))  # of -Re λ, positive whatever it is
        self.phase = nn.Parameter(phase)
        self.log_step = nn.Parameter(initial_log_steps(units, step_min, step_max))
        b = vectors.conj().T @ torch.randn(2 * units, features).to(vectors) / features**0.5
        c = torch.randn(hidden_size, 2 * units).to(vectors) @ vectors / (2 * units) ** 0.5
        self.weight_ih = nn.Parameter(torch.view_as_real(b).transpose(1, 2).contiguous())
        self.weight_ho = nn.Parameter(torch.view_as_real(c.conj().resolve_conj()).contiguous())
        self.weight_io = nn.Parameter(initial_feedthrough(features, hidden_size))

    def initial_state(self, batch_size: int) -> ComplexState:
        zeros = self.phase.new_zeros(batch_size, self.units)
        return zeros, zeros

    def step(self, x: Step, state: ComplexState) -> tuple[Hidden, ComplexState]:
        x, elapsed = self._since(x)
        a, scale = self._discretized(elapsed)
        (a_re, a_im), (b_re, b_im) = torch.view_as_real(a).to(x.dtype).unbind(-1), self._drive(x, scale).unbind(-1)
        re, im = state
        re, im = a_re * re - a_im * im + b_re, a_re * im + a_im * re + b_im
        return self._output(torch.stack([re, im], -1), x), (re, im)

    def _forward(
        self, x: Features, state: ComplexState, lengths: Lengths | None
    ) -> tuple[HiddenSequence, ComplexState]:
        x, elapsed = self._since(x)
        a, scale = self._discretized(elapsed)
        drive = as_complex(self._drive(x, scale))
        h, last = diagonal_recurrence(a, drive, torch.complex(*map(wide, state)), lengths)
        output = self._output(torch.view_as_real(h).to(x.dtype), x)
        return zero_padding(output, lengths), (last.real.to(state[0]), last.imag.to(state[0]))

    def _discretized(self, elapsed: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """ā and b̄, each complex ``(units,)``, or ``(…, units)`` of ``(…, 1)`` times."""
        eigenvalue = torch.complex(-wide(self.log_decay).exp(), wide(self.phase))
        a = (eigenvalue * (self.log_step.exp() * elapsed)).exp()
        return a, (a - 1) / eigenvalue

    def _drive(self, x: Tensor, scale: Tensor) -> Tensor:
        """b̄ ⊙ (B x) as ``(…, units, 2)``: real and imaginary part, as complex numbers lie in memory."""
        weight = torch.complex(*wide(self.weight_ih).unbind(1))
        held = scale.dim() > 1  # of each step
        weight = weight if held else scale[:, None] * weight
        weight = torch.stack([weight.real, weight.imag], 1).flatten(0, 1).to(self.weight_ih.dtype)
        drive = F.linear(x, weight).unflatten(-1, (self.units, 2))
        return torch.view_as_real(scale * as_complex(drive)).to(x.dtype) if held else drive

    def _output(self, h: Tensor, x: Tensor) -> Tensor:
        # Re(C h) = Re C Re h - Im C Im h: weight_ho holds Re C and -Im C
        y = fed_through(F.linear(h.flatten(-2), 2 * self.weight_ho.flatten(1)), x, self.weight_io)
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
