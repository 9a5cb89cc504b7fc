"""Fixed points of networks whose fixed points are known."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.rnn import RNN
from rnnlab.data.flip_flop import FlipFlop
from rnnlab.instruments import fixed_point_search
from rnnlab.instruments.fixed_points import FixedPoints, FixedPointSearch
from rnnlab.instruments.subject import Subject
from rnnlab.network import Network
from rnnlab.tasks.forecasting import Forecasting


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Newton's method does the rest."""
    monkeypatch.setattr(fixed_point_search, "STEPS", 40)


def subject_of(cell: Any, data: FlipFlop, **options: Any) -> Subject:
    torch.manual_seed(0)
    made = partial(cell, backend="reference")
    network = Network(data.spec.input, data.spec.target, made, hidden_size=data.bits, **options)
    return Subject("", Forecasting(network, data.spec).eval(), data)


def bistable(factor: float) -> Subject:
    """Units that don't know of each other, h ← tanh(factor h + 3 x), each of which a pulse sets."""
    subject = subject_of(RNN, FlipFlop(num_samples=50, length=30, bits=2))
    (cell,) = subject.network.cells()
    weights = dict(cell.named_parameters())
    with torch.no_grad():
        for name, parameter in weights.items():
            scale = {"weight_hh": factor, "weight_ih": 3.0}.get(name)
            parameter.copy_(scale * torch.eye(2)) if scale else parameter.zero_()
        subject.network.readout.weight.copy_(torch.eye(2))
        subject.network.readout.bias.zero_()
    return subject


def test_two_bistable_units_have_four_stable_points_four_saddles_and_one_that_is_left_both_ways() -> None:
    subject = bistable(2.0)
    measured = FixedPointSearch(starts=192).measure(subject)
    assert measured.unstable.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    # h = tanh(2 h) beside 0, found by iterating it
    h = 1.0
    for _ in range(200):
        h = float(np.tanh(2 * h))
    expected = {(a, b) for a in (-h, 0.0, h) for b in (-h, 0.0, h)}
    for point in measured.points:
        nearest = min(expected, key=lambda one, point=point: float(np.abs(np.subtract(one, point)).max()))
        np.testing.assert_allclose(point, nearest, atol=1e-9)
        expected.remove(nearest)
    # the derivative is 2 (1 - h²) of each unit by itself
    slopes = np.sort(2 * (1 - measured.points**2), 1)[:, ::-1]
    np.testing.assert_allclose(measured.eigenvalues, slopes, atol=1e-9)
    np.testing.assert_allclose(measured.outputs, measured.points, atol=1e-9)
    # where one unit stands at 0, the state leaves along it
    for point, modes in zip(measured.points[4:8], measured.modes[4:8], strict=True):
        np.testing.assert_allclose(np.abs(modes[:, 0]), np.abs(point) < 1e-6, atol=1e-6)
    picture = FixedPointSearch().draw(subject, measured)
    assert picture.facts == {"fixed points": "4 stable, 5 unstable"}
    assert FixedPointSearch().compare({"it": measured}).table is not None


def test_a_contraction_has_one_point() -> None:
    measured = FixedPointSearch(starts=24).measure(bistable(0.5))
    assert measured.unstable.tolist() == [0] and measured.still == 24
    np.testing.assert_allclose(measured.points, 0, atol=1e-9)


@pytest.mark.parametrize("cell", [GRU, LSTM])
def test_points_of_stacked_layers_stand_still_and_leave_no_trace(cell: Any) -> None:
    subject = subject_of(cell, FlipFlop(num_samples=30, length=10, bits=2), num_layers=2)
    before = {name: value.clone() for name, value in subject.task.state_dict().items()}
    random = torch.get_rng_state()
    measured = FixedPointSearch(starts=12).measure(subject)
    assert isinstance(measured, FixedPoints) and len(measured.points)
    assert measured.points.shape[1] == (8 if cell is LSTM else 4)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in subject.task.state_dict().items())
    assert all(parameter.grad is None for parameter in subject.task.parameters())
    network = subject.network.double()
    point = torch.from_numpy(measured.points[:1])
    parts = iter(point.split(2, 1))
    state = tuple(tuple(next(parts) for _ in range(2)) if cell is LSTM else next(parts) for _ in range(2))
    with torch.no_grad():
        _, after = network(torch.zeros(1, 1, 2, dtype=torch.float64), state)
    whole = torch.cat([part for each in after for part in (each if isinstance(each, tuple) else (each,))], 1)
    torch.testing.assert_close(whole, point, rtol=0, atol=1e-8)


def test_what_carries_no_state_says_so() -> None:
    subject = subject_of(RNN, FlipFlop(num_samples=30, length=10), bidirectional=True)
    assert "both directions" in (FixedPointSearch().left_out(subject) or "")
