"""What holds of a network whose recurrent weights are not trained."""

from collections.abc import Callable

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from rnnlab.cells.eigenvalues import eigenvalues
from rnnlab.cells.esn import ESN, reservoir
from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.runs.checkpoint import read_checkpoint
from rnnlab.runs.evaluation import evaluate
from rnnlab.runs.execution import Outcome
from rnnlab.runs.preparation import prepare
from rnnlab.spec import InputSpec, TargetSpec


@pytest.mark.parametrize("connections", [1, 5, 40])
def test_a_reservoir_has_its_radius_and_its_connections(connections: int) -> None:
    torch.manual_seed(0)
    weight = reservoir(40, connections, 0.8)
    assert torch.linalg.eigvals(weight.double()).abs().max().item() == pytest.approx(0.8, rel=1e-4)
    assert (weight.count_nonzero(1) == connections).all()


def test_below_radius_1_the_start_is_forgotten_and_far_above_it_is_not() -> None:
    """The echo state property."""

    def distance(spectral_radius: float) -> float:
        torch.manual_seed(0)
        cell = ESN(2, 50, spectral_radius=spectral_radius, input_scaling=0.1).double()
        x = 0.1 * torch.randn(1, 300, 2, dtype=torch.float64)
        ends = [cell(x, sign * torch.ones(1, 50, dtype=torch.float64))[1] for sign in (-1, 1)]
        return float((ends[0] - ends[1]).norm())

    assert distance(0.8) < 1e-9
    assert distance(3.0) > 0.1


def test_a_slower_unit_is_a_running_mean_of_what_a_faster_one_would_be() -> None:
    torch.manual_seed(0)
    cell = ESN(1, 6, spectral_radius=0.0, leak_rate=0.25)
    h = cell(torch.ones(1, 4, 1))[0][0]
    target = (cell.weight_ih[:, 0] + cell.bias).tanh()
    torch.testing.assert_close(h, target * (1 - 0.75 ** torch.arange(1, 5))[:, None])


def test_the_leak_is_at_most_1() -> None:
    with pytest.raises(InputError, match=r"model\.cell\.leak_rate=1\.5 must be above 0 and at most 1"):
        ESN(1, 4, leak_rate=1.5)


def test_units_draw_their_leaks_and_reservoirs_do_not_hear_each_other() -> None:
    torch.manual_seed(0)
    cell = ESN(2, 90, input_scaling=[0.1, 1.0, 10.0], leak_rate=[0.01, 1.0], spectral_radius=0.7)
    assert isinstance(cell.leak_rate, torch.Tensor)
    assert 0.01 <= cell.leak_rate.min() < 0.03 and 0.5 < cell.leak_rate.max() <= 1.0
    assert 0.05 < float(cell.leak_rate.log().mean().exp()) < 0.2  # evenly on a logarithmic scale
    blocks = cell.weight_hh.unflatten(0, (3, 30)).unflatten(2, (3, 30))
    for one in range(3):
        assert torch.linalg.eigvals(blocks[one, :, one].double()).abs().max().item() == pytest.approx(0.7, rel=1e-4)
        assert not any(blocks[one, :, other].any() for other in range(3) if other != one)
    largest = cell.weight_ih.abs().unflatten(0, (3, 30)).amax((1, 2))
    torch.testing.assert_close(largest, torch.tensor([0.1, 1.0, 10.0]), rtol=0.1, atol=0)
    assert ESN(2, 2, input_scaling=[0.1, 1.0, 10.0]).weight_hh.shape == (2, 2)


def test_nothing_is_kept_for_gradients_that_nobody_wants() -> None:
    network = Network(InputSpec(features=2), TargetSpec("class", 3), ESN, hidden_size=8, num_layers=2)
    hidden, _ = network.hidden(torch.randn(2, 5, 2))
    assert not hidden.requires_grad
    # an embedding learns through the reservoir
    network = Network(InputSpec(vocabulary=7), TargetSpec("class", 3), ESN, hidden_size=8)
    network(torch.randint(7, (2, 5)))[0].square().sum().backward()
    assert network.encoder.weight.grad.any()


def test_a_fleet_of_reservoirs_equals_each_alone() -> None:
    torch.manual_seed(0)
    members = [Network(InputSpec(features=2), TargetSpec("class", 3), ESN, hidden_size=8).double() for _ in range(3)]
    weights, buffers = stack_module_state(members)
    x = torch.randn(4, 6, 2, dtype=torch.float64)
    outputs = vmap(lambda *state: functional_call(members[0], state, (x,))[0])(weights, buffers)
    for member, output in zip(members, outputs, strict=True):
        torch.testing.assert_close(output, member(x)[0])
    assert not torch.allclose(outputs[0], outputs[1])


def test_a_reservoir_is_kept_with_the_run_and_belongs_to_its_seed(train: Callable[..., Outcome]) -> None:
    choice = ("model=esn", "model.hidden_size=8", "instruments=none", "trainer.max_epochs=2")
    outcome = train(*choice, "seed=3")
    weights = read_checkpoint(outcome.directory.best_checkpoint)["state_dict"]
    (name,) = (name for name in weights if name.endswith("weight_hh"))
    again, other = (prepare(outcome.directory.config | {"seed": seed}) for seed in (3, 4))
    found, another = (run.task.network.cells()[0].weight_hh for run in (again, other))
    assert torch.equal(weights[name], found)
    assert not torch.equal(weights[name], another)
    # what is trained, and counted, is the readout
    size = again.task.network.readout
    assert again.parameters == sum(p.numel() for p in size.parameters())
    # the reservoir comes from the checkpoint, and not from the generator
    config = outcome.directory.config | {"seed": 4}
    assert evaluate(config, outcome.directory)["test/loss"] == pytest.approx(outcome.metrics["test/loss"], rel=1e-6)


def test_a_matrix_that_is_not_finite_has_no_eigenvalues_and_harms_no_other() -> None:
    matrices = torch.diag_embed(torch.tensor([[3.0, -2.0], [1.0, 1.0], [1.0, 1.0], [0.5, 0.25]]))
    matrices[1, 0, 1], matrices[2, 1, 1] = float("nan"), float("inf")
    found = eigenvalues(matrices)
    assert found.dtype == torch.complex128
    assert found[0].real.tolist() == [3, -2] and found[3].real.tolist() == [0.5, 0.25]
    assert found[1:3].isnan().all()
    assert eigenvalues(matrices[0]).real.tolist() == [3, -2]
