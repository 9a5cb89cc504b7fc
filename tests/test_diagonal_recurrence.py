"""h_t = a_t ⊙ h_{t-1} + b_t: three ways and a loop are one function, with one derivative."""

from itertools import product

import pytest
import torch
from torch import Tensor

from rnnlab.cells.diagonal_recurrence import MANY_STEPS, Way, diagonal_recurrence, fastest_way, leaky_recurrence

BATCH, HIDDEN = 3, 4
LENGTHS = torch.tensor([5, 0, 3])

every_way = pytest.mark.parametrize("way", ["step", "chunk", "scan"])
every_kind = pytest.mark.parametrize(
    ("dtype", "constant"), list(product([torch.float64, torch.complex128], [True, False])), ids=str
)


def loop(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """The equation, a step at a time."""
    states = []
    for t in range(b.shape[1]):
        h = (a if a.dim() == 1 else a[:, t]) * h + b[:, t]
        states.append(h)
    return torch.stack(states, 1)


def arguments(time: int, dtype: torch.dtype, constant: bool) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(time)
    shapes = [(HIDDEN,) if constant else (BATCH, time, HIDDEN), (BATCH, time, HIDDEN), (BATCH, HIDDEN)]
    a, b, start = (torch.randn(shape, dtype=dtype, generator=rng).requires_grad_() for shape in shapes)
    return a, b, start


@every_way
@every_kind
@pytest.mark.parametrize("time", [1, 2, 3, 5, 9, 12, 40])
def test_it_is_the_loop_in_value_and_gradient(way: Way, dtype: torch.dtype, constant: bool, time: int) -> None:
    inputs = arguments(time, dtype, constant)
    ours, expected = diagonal_recurrence(*inputs, way=way)[0], loop(*inputs)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn(expected.shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    gradients = [torch.autograd.grad((h * weight).sum().real, inputs) for h in (ours, expected)]
    for mine, theirs in zip(*gradients, strict=True):
        # relative to the largest, since what an unstable unit grows to is the scale of what is lost to rounding
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12 * float(theirs.abs().max().clamp_min(1)))


@every_way
@pytest.mark.parametrize("time", [1, 2, 3, 12, 40])
def test_a_leaky_one_is_its_equation_in_value_and_gradient(way: Way, time: int) -> None:
    a, n, start = inputs = arguments(time, torch.float64, constant=False)
    gate = a.sigmoid()
    ours, last = leaky_recurrence(gate, n, start, way=way)
    expected = loop(gate, (1 - gate) * n, start)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(last, expected[:, -1], rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(h.square().sum(), inputs, retain_graph=True) for h in (ours, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("way", ["step", "chunk"])
def test_a_leaky_one_has_second_derivatives(way: Way) -> None:
    inputs = arguments(4, torch.float64, constant=False)
    assert torch.autograd.gradgradcheck(
        lambda a, n, start: leaky_recurrence(a.sigmoid(), n, start, way=way)[0].square(), inputs
    )


@pytest.mark.slow
@every_way
@every_kind
def test_second_derivatives_agree_with_finite_differences(way: Way, dtype: torch.dtype, constant: bool) -> None:
    inputs = arguments(4, dtype, constant)

    def squares(*inputs: Tensor) -> Tensor:
        h = diagonal_recurrence(*inputs, way=way)[0]
        return (h * h.conj()).real

    assert torch.autograd.gradgradcheck(squares, inputs)


@every_way
def test_padding_is_zero_and_the_state_stays(way: Way) -> None:
    a, b, start = arguments(5, torch.float64, constant=False)
    h, last = diagonal_recurrence(a, b, start, LENGTHS, way)
    whole = loop(a, b, start)
    torch.testing.assert_close(last, torch.stack([whole[0, 4], start[1], whole[2, 2]]))
    assert not h[1].any() and not h[2, 3:].any() and h[2, :3].all()


def test_a_unit_that_forgets_within_a_step_and_one_that_never_does() -> None:
    """No logarithm and no quotient is taken of a: 0 and 1 are factors like others, and negative ones too."""
    a = torch.tensor([0.0, 1.0, -1.0, 1e-30], requires_grad=True)
    b = torch.ones(2, 100, 4)
    for way in ("step", "chunk", "scan"):
        h, last = diagonal_recurrence(a, b, torch.zeros(2, 4), way=way)
        assert last[0].tolist() == [1.0, 100.0, 0.0, 1.0]
        assert torch.autograd.grad(h.sum(), a)[0].isfinite().all()


def test_large_steps_are_taken_one_by_one_and_small_ones_in_chunks() -> None:
    assert fastest_way(torch.empty(32, 200, 256)) == "step"
    assert fastest_way(torch.empty(8, 200, 16)) == "chunk"
    assert fastest_way(torch.empty(8, MANY_STEPS - 1, 16)) == "step"
    assert fastest_way(torch.empty(8, 200, 256, dtype=torch.complex64)) == "step"
