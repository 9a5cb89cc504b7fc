"""LRU and S5 against the powers of their eigenvalues, with as many complex units as one asks for."""

import pytest
import torch

from rnnlab.cells.lru import LRU
from rnnlab.cells.s5 import S5
from rnnlab.errors import InputError

UNITS = {LRU: 1, S5: 2}  # of the state's size for each complex one
KINDS = pytest.mark.parametrize("kind", UNITS, ids=lambda kind: kind.__name__)


@KINDS
@pytest.mark.parametrize("features", [3, 5])
@pytest.mark.parametrize("units", [None, 2, 8])
def test_an_impulse_decays_by_the_powers_of_the_eigenvalues(kind: type, features: int, units: int | None) -> None:
    torch.manual_seed(0)
    hidden, time = 5, 20
    cell = kind(features, hidden, units and units * UNITS[kind], activation="none").double()
    x = torch.zeros(1, time, features, dtype=torch.float64)
    x[0, 0] = torch.randn(features)
    b, c = torch.complex(*cell.weight_ih.unbind(1)), torch.complex(*cell.weight_ho.unbind(-1)).conj()
    if kind is LRU:
        a, scale = torch.complex(*cell.eigenvalues()), cell.gamma.exp()
    else:
        a, scale = cell._discretized()
        c = 2 * c  # the other one of each pair
    state = (units or hidden,)
    assert a.shape == state
    powers = a[:, None] ** torch.arange(time)
    expected = torch.einsum("hn,nt,n->th", c, powers, scale * (b @ x[0, 0].to(b))).real
    d = cell.weight_io
    expected[0] += d * x[0, 0] if features == hidden else d @ x[0, 0]
    assert d.shape == ((hidden,) if features == hidden else (hidden, features))
    output, (re, im) = cell(x)
    torch.testing.assert_close(output[0], expected, rtol=0, atol=1e-12)
    assert re.shape == im.shape == (1, *state)


@KINDS
@pytest.mark.parametrize("units", [2, 8])
def test_in_parallel_as_step_by_step(kind: type, units: int) -> None:
    torch.manual_seed(1)
    cell = kind(3, 5, units * UNITS[kind]).double()
    x = torch.randn(4, 30, 3, dtype=torch.float64)
    lengths = torch.tensor([30, 1, 17, 8])
    state = torch.randn(2, 4, units, dtype=torch.float64).unbind()
    outputs, ends, gradients = [], [], []
    for way in (cell, cell.unroll):
        output, end = way(x, state, lengths)
        outputs.append(output)
        ends.append(torch.cat(end))
        loss = output.square().sum() + ends[-1].square().sum()
        gradients.append(torch.autograd.grad(loss, [*cell.parameters()]))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-12)
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-11)


def test_an_s5_of_odd_state_is_refused() -> None:
    with pytest.raises(InputError, match=r"model\.cell\.state_size=7 must be even.*use 8"):
        S5(1, 4, state_size=7)
