"""What the paper says of its diagonal state space layer."""

import math

import pytest
import torch
import torch.nn.functional as F

from rnnlab.cells.s4d import S4D
from rnnlab.errors import InputError


@pytest.mark.parametrize("eigenvalues", ["lin", "inv"])
def test_it_is_the_convolution_with_the_papers_kernel(eigenvalues: str) -> None:
    """Listing 1: K = 2 Re Σ_n C_n (exp(Δλ_n) - 1)/λ_n exp(Δλ_n t)."""
    torch.manual_seed(0)
    time, hidden = 40, 5
    cell = S4D(3, hidden, state_size=8, eigenvalues=eigenvalues).double()
    x = torch.randn(2, time, 3, dtype=torch.float64)
    step = cell.log_step.exp()[:, None]
    values = torch.complex(-cell.log_decay.exp(), cell.phase)
    weight = torch.view_as_complex(cell.weight_ho.contiguous()) * ((step * values).exp() - 1) / values
    powers = (step * values)[..., None] * torch.arange(time)
    kernel = 2 * (weight[..., None] * powers.exp()).sum(1).real
    u = cell.encoder(x).transpose(1, 2)
    read = F.conv1d(F.pad(u, (time - 1, 0)), kernel.flip(1)[:, None], groups=hidden)
    y = F.gelu(read + cell.skip[:, None] * u).transpose(1, 2)
    expected, gate = cell.mix(y).chunk(2, -1)
    torch.testing.assert_close(cell(x)[0], expected * gate.sigmoid(), rtol=1e-10, atol=1e-12)


def test_eigenvalues_start_as_the_paper_has_them() -> None:
    lin, inv = S4D(1, 2, state_size=6), S4D(1, 2, state_size=6, eigenvalues="inv")
    torch.testing.assert_close(lin.phase[1], math.pi * torch.tensor([0.0, 1.0, 2.0]))
    torch.testing.assert_close(inv.phase[1], 6 / math.pi * torch.tensor([5.0, 1.0, 0.2]))
    for cell in (lin, inv):
        torch.testing.assert_close(-cell.log_decay.exp(), torch.full((2, 3), -0.5))


def test_a_step_of_constant_input_is_exact() -> None:
    """Zero-order hold: s follows ds/dt = λs + u without an error, however large Δ is."""
    torch.manual_seed(0)
    cell = S4D(1, 4, state_size=4, step_min=0.5, step_max=2.0).double()
    x = torch.ones(1, 3, 1, dtype=torch.float64)
    re, im = cell(x)[1]
    values = torch.complex(-cell.log_decay.exp(), cell.phase)
    u = cell.encoder(x)[0, 0][:, None]
    expected = ((3 * cell.log_step.exp()[:, None] * values).exp() - 1) / values * u
    torch.testing.assert_close(torch.complex(re, im)[0], expected)


def test_the_linear_mixing_has_no_gate() -> None:
    cell = S4D(3, 4, mixing="linear")
    assert cell.mix.out_features == 4
    x = torch.randn(2, 7, 3)
    torch.testing.assert_close(cell(x)[0], cell.unroll(x)[0])


def test_what_is_no_layer_is_refused() -> None:
    with pytest.raises(InputError, match=r"model\.cell\.state_size=7 must be even.*use 8"):
        S4D(1, 4, state_size=7)
    with pytest.raises(InputError, match=r"step_min=0\.2 must be at most model\.cell\.step_max=0\.1"):
        S4D(1, 4, step_min=0.2)
