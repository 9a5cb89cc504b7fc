"""Autoencoders: what they rebuild, from what, and of which data."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, compose

import rnnlab
from rnnlab.cells.gru import GRU
from rnnlab.cells.slstm import SLSTM
from rnnlab.data.classification import Classification
from rnnlab.data.rebuilt import rebuilt
from rnnlab.data.sine import Sine
from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.runs.preparation import prepare
from rnnlab.runs.stacking import hindrance, try_together
from rnnlab.spec import InputSpec, TargetSpec

SMALL = (*TINY, "task=reconstruction", "instruments=none", "model.hidden_size=6")


def begun(*overrides: str) -> Any:
    return prepare(compose(*SMALL, *overrides))


def network(code: int = 3, features: int = 2, cell: Any = GRU, **options: Any) -> Network:
    torch.manual_seed(0)
    made = Network(InputSpec(features), TargetSpec("values", features, code=code), cell, 5, **options)
    return made.double().eval()


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "readout": "mean_max"}, {"cell": SLSTM}])
def test_padding_changes_nothing_whatever_it_holds(options: dict[str, Any]) -> None:
    net, x = network(**options), torch.randn(2, 7, 2, dtype=torch.float64)
    padded = torch.cat([x, torch.full((2, 3, 2), torch.nan)], 1)
    both = net(padded, lengths=torch.tensor([7, 4]))[0]
    torch.testing.assert_close(both[0, :7], net(x[:1])[0][0], rtol=0, atol=1e-12)
    torch.testing.assert_close(both[1, :4], net(x[1:, :4])[0][0], rtol=0, atol=1e-12)


def test_nothing_reaches_the_output_but_the_code() -> None:
    net, x = network(code=3), torch.randn(1, 6, 2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda each: net(each)[0], x).reshape(12, 12)
    assert torch.linalg.matrix_rank(jacobian) == 3, "of 12 numbers that a copy would need"


def test_it_carries_no_state() -> None:
    net, x = network(), torch.randn(1, 6, 2, dtype=torch.float64)
    assert not net.streams and net(x)[1] == ()
    with pytest.raises(InputError, match="reads a whole sequence before it rebuilds"):
        net(x, tuple(net.initial_state(1)))


def test_constants_are_rebuilt() -> None:
    net = network(code=1, features=1).float()
    optimizer = torch.optim.Adam(net.parameters(), 0.03)
    for _ in range(100):
        x = torch.rand(16, 1, 1).expand(-1, 8, 1)
        loss = (net(x)[0] - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.02 * 1 / 12, "of the variance of what is drawn"


# ---- the data ---------------------------------------------------------------------------------------


def test_the_target_is_the_input_and_the_labels_are_not_looked_at() -> None:
    data = rebuilt(Classification(num_samples=40))
    batch, given = data.split("val").batch(slice(0, 4)), Classification(num_samples=40).split("val").batch(slice(0, 4))
    assert torch.equal(batch.inputs, given.inputs) and torch.equal(batch.targets, batch.inputs)
    assert data.spec.horizon == 0 and not data.spec.class_frequencies and type(data).__name__ == "Classification"
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy.split("val").targets, batch.targets[:4]) and copy.spec == data.spec


def test_the_mean_of_the_training_part_is_what_the_trivial_predictor_says() -> None:
    run = begun("data=sine", "data.amplitude=[1,1]", "data.frequency=[0,0]", "data.phase=[1,1]", "data.noise=0")
    batch = run.data.split("test").batch(slice(0, 2))
    torch.testing.assert_close(run.task.baseline(batch), torch.full_like(batch.targets, torch.tensor(1.0).sin().item()))


def test_of_series_what_is_told_is_read_and_not_rebuilt() -> None:
    run = begun("data=csv", "data.linear=none", "data.log=false", "data.window_scaling=global")
    size, reader = run.data.spec.target.size, run.data.reader
    assert size == len(reader.of.target) + len(reader.of.past) < len(reader.features)
    assert run.data.spec.target.names == tuple(reader.of.numbers[:size])
    assert run.data.base == "none" and not run.data.spec.references


REFUSED = {
    "tokens": (("data=parity",), "rebuilds numbers, and data Parity is made of tokens"),
    "a copy": (("data=sine", "task.code_size=50"), "50 numbers in all, and as many could hold a copy: use 6"),
    "differences": (
        ("data=csv", "data.window_scaling=last", "data.linear=none", "data.log=false"),
        "use data.window_scaling=global",
    ),
    "linear": (
        ("data=csv", "data.linear=ridge", "data.log=false", "data.window_scaling=global"),
        "use data.linear=none",
    ),
    "readout": (("data=sine", "model.readout=vote"), "model.readout=vote: task=reconstruction makes a code"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_rebuilt_is_one_line(case: str) -> None:
    overrides, message = REFUSED[case]
    with pytest.raises(InputError) as caught:
        begun(*overrides)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_data_that_asks_for_something_else_is_refused_by_hand() -> None:
    from rnnlab.tasks.reconstruction import Reconstruction

    with pytest.raises(InputError, match="targets are its inputs"):
        Reconstruction(network(), Sine(num_samples=40).spec)


# ---- runs ------------------------------------------------------------------------------------------


def test_a_fleet_takes_it() -> None:
    run = begun("data=sine", "data.length=8", "data.future_length=1")
    assert hindrance(run) is None and try_together(run) is None


def test_a_run_is_scored_beside_the_mean_and_the_value_before(train: Any) -> None:
    metrics = train(*SMALL[-3:], "data=sine", "data.length=12").directory.metrics
    assert {"test/mse", "baseline/mse", "baseline/last_value/mse"} <= metrics.keys()
    # the step before, with the mean in front of the first
    assert metrics["baseline/last_value/mse"] < metrics["baseline/mse"]


def test_resumed_it_goes_on_as_if_nothing_had_been(train: Any) -> None:
    overrides = (*SMALL[-3:], "data=sine", "data.length=12", "data.future_length=1")
    whole = train(*overrides, "trainer.max_epochs=2").directory
    first = train(*overrides, "trainer.max_epochs=1").directory
    longer = train(*overrides, "trainer.max_epochs=2", f"ckpt_path={first.last_checkpoint}").directory
    assert longer.metrics["test/mse"] == whole.metrics["test/mse"]


@pytest.mark.parametrize("features", [1, 2])
def test_what_a_run_rebuilds_of_new_data_is_what_its_network_does(features: int, train: Any) -> None:
    overrides = ("data=sine",) if features == 1 else ("data=adding",)
    path = train(*SMALL[-3:], *overrides, "data.length=12").directory.path
    model, x = rnnlab.load(path), np.random.default_rng(0).standard_normal((12, features)).astype(np.float32)
    table = model.predict([x, x[:5]])
    with torch.no_grad():
        said = model.task.network(torch.from_numpy(x[None]))[0][0].numpy()
    names = [name for name in table.columns if name.endswith(" rebuilt")]
    assert len(table) == 17 and len(names) == features
    np.testing.assert_allclose(table[names][:12].to_numpy(), said, atol=1e-6)
