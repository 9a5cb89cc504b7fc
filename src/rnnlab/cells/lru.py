"""The linear recurrent unit.

    λ   = exp(-exp(nu) + i exp(theta))      complex, |λ| < 1 whatever nu is
    h_t = λ^τ ⊙ h_{t-1} + exp(gamma) ⊙ (B x_t)    complex; τ is the time since the step before, or 1
    y_t = φ(Re(C h_t) + D x_t)              φ = GELU or the identity

A. Orvieto et al., "Resurrecting recurrent neural networks for long sequences"
(2023), arXiv 2303.06349, section 3 and appendix A, whose layer has an input as
wide as its output and a diagonal D; where the two differ, D is a matrix. Its
network puts a gated layer, a skip connection and a norm around each of these;
here φ alone is in the cell, since stacked linear recurrences without it are
one linear map. The paper's steps are equally far apart; where they are not, λ^τ
is what a step of length 1 says of one of length τ.
"""

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.diagonal_recurrence import as_complex, diagonal_recurrence, wide
from rnnlab.errors import InputError
from rnnlab.kernels.layout import zero_padding
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, NonNegativeFloat, PositiveFloat, PositiveInt, Step

Units = Float[Tensor, "B N"]
ComplexState = tuple[Units, Units]
"""Real and imaginary part of h, each ``(batch, units)``."""


class LRU(Cell[ComplexState]):
    """Complex units behind real outputs; parameters are real, B and C as real and imaginary part.

    Args:
        input_size: features of a step.
        hidden_size: H, size of the output.
        state_size: N, complex units; by default as many as outputs. With half as many the state has as many numbers
            as a GRU's, and the layer takes half the time.
        radius_min: |λ| starts uniform on the ring from here …
        radius_max: … to here (uniform in area), below 1.
        max_phase: the argument of λ starts uniform in [0, max_phase); small for long sequences.
        activation: φ.
        backend: ``reference`` is the loop over ``step``, ``auto`` the parallel form.
        elapsed: the last feature is the time since the step before, in usual steps; the network says it of its data.

    Raises:
        InputError: the radii are no ring within the unit circle.
    """

    separable = False  # two tensors are one complex number
    uses_elapsed: ClassVar[bool] = True

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        state_size: PositiveInt | None = None,
        radius_min: NonNegativeFloat = 0.9,
        radius_max: PositiveFloat = 0.999,
        max_phase: PositiveFloat = 2 * math.pi,
        activation: Literal["gelu", "none"] = "gelu",
        backend: Literal["auto", "reference"] = "auto",
        elapsed: bool = False,
    ) -> None:
        if not radius_min < radius_max < 1:
            raise InputError(
                f"model.cell.radius_min={radius_min} and model.cell.radius_max={radius_max} "
                "must satisfy 0 ≤ radius_min < radius_max < 1"
            )
        super().__init__(input_size, hidden_size)
        self.activation, self.backend, self.elapsed = activation, backend, elapsed
        features = input_size - elapsed
        self.state_size = units = state_size or hidden_size
        radius = (torch.rand(units) * (radius_max**2 - radius_min**2) + radius_min**2).sqrt()
        self.nu = nn.Parameter((-radius.log()).log())
        self.theta = nn.Parameter((torch.rand(units) * max_phase).clamp_min(1e-6).log())
        # so that white noise gives states of variance 1
        self.gamma = nn.Parameter((1 - radius**2).sqrt().log())
        self.weight_ih = nn.Parameter(torch.randn(units, 2, features) / (2 * features) ** 0.5)
        self.weight_ho = nn.Parameter(torch.randn(hidden_size, units, 2) / units**0.5)
        self.weight_io = nn.Parameter(initial_feedthrough(features, hidden_size))

    def initial_state(self, batch_size: int) -> ComplexState:
        zeros = self.nu.new_zeros(batch_size, self.state_size)
        return zeros, zeros

    def step(self, x: Step, state: ComplexState) -> tuple[Hidden, ComplexState]:
        x, elapsed = self._since(x)
        real, imaginary = self.eigenvalues(elapsed)
        b = self._drive(x)
        re, im = state
        re, im = real * re - imaginary * im + b[..., 0], real * im + imaginary * re + b[..., 1]
        return self._output(torch.stack([re, im], -1), x), (re, im)

    def _forward(
        self, x: Features, state: ComplexState, lengths: Lengths | None
    ) -> tuple[HiddenSequence, ComplexState]:
        x, elapsed = self._since(x)
        a, drive = torch.complex(*map(wide, self.eigenvalues(elapsed))), as_complex(self._drive(x))
        h, last = diagonal_recurrence(a, drive, torch.complex(*map(wide, state)), lengths)
        output = self._output(torch.view_as_real(h).to(x.dtype), x)
        return zero_padding(output, lengths), (last.real.to(state[0]), last.imag.to(state[0]))

    def eigenvalues(self, elapsed: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """Real and imaginary part of λ^τ, each ``(units,)``, or ``(…, units)`` of ``(…, 1)`` times."""
        radius, phase = (-self.nu.exp() * elapsed).exp(), self.theta.exp() * elapsed
        return radius * phase.cos(), radius * phase.sin()

    def _drive(self, x: Tensor) -> Tensor:
        """exp(gamma) B x as ``(…, units, 2)``: real and imaginary part, as complex numbers lie in memory."""
        weight = self.gamma.exp()[:, None, None] * self.weight_ih
        return F.linear(x, weight.flatten(0, 1)).unflatten(-1, (self.state_size, 2))

    def _output(self, h: Tensor, x: Tensor) -> Tensor:
        # Re(C h) = Re C Re h - Im C Im h: weight_ho holds Re C and -Im C
        y = fed_through(F.linear(h.flatten(-2), self.weight_ho.flatten(1)), x, self.weight_io)
        return F.gelu(y) if self.activation == "gelu" else y


def initial_feedthrough(input_size: int, hidden_size: int) -> Tensor:
    """D as it starts: of one number for each feature where there are as many outputs, else ``(hidden, features)``."""
    if input_size == hidden_size:
        return torch.randn(hidden_size)
    return torch.randn(hidden_size, input_size) / input_size**0.5


def fed_through(y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """y + D x."""
    return torch.addcmul(y, x, weight) if weight.dim() == 1 else y + F.linear(x, weight)
