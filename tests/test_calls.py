"""How a layer may be called, for every model in ``conf/model`` and a cell of one's own: what doesn't fit is refused in
one line before any kernel runs; edge cases, transforms and half precision give what the loop over ``step`` gives.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.functional import jacobian
from torch.func import functional_call, grad, jvp, vmap

from rnnlab.cells.cell import Cell, map_state
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.recomputation import recomputed
from rnnlab.cells.torch_kernels import _packed
from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.shapes import Hidden, State, Step
from rnnlab.spec import InputSpec, TargetSpec

CONF = Path(__file__).parents[1] / "conf"
MODELS = sorted(path.stem for path in (CONF / "model").glob("[!_]*.yaml"))
BATCH, TIME, FEATURES, HIDDEN = 3, 6, 2, 4
LENGTHS = torch.tensor([4, 6, 1])

# the shape checks of the test run would refuse before the cells' own do, and forward-mode derivatives call what torch
# itself has deprecated
pytestmark = [pytest.mark.usefixtures("without_shape_checks"), pytest.mark.filterwarnings("ignore:.*torch.jit")]
every_cell = pytest.mark.parametrize("model", [*MODELS, "own"])


@pytest.fixture
def without_shape_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


class Own(Cell[Tensor]):
    """What a user writes: a start, a step, and nothing else."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.x, self.h = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def initial_state(self, batch_size: int) -> Hidden:
        return self.h.weight.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Step, state: Hidden) -> tuple[Hidden, Hidden]:
        h = torch.tanh(self.x(x) + self.h(state))
        return h, h


@cache
def config(model: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(overrides=[f"+model={model}"]).model


def build(model: str, units: int = HIDDEN) -> Cell[Any]:
    """The model's cell in float64."""
    torch.manual_seed(0)
    cell: Cell[Any] = (Own if model == "own" else instantiate(config(model).cell))(FEATURES, units)
    return cell.double()


def inputs(batch: int = BATCH, time: int = TIME) -> Tensor:
    return torch.randn(batch, time, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def some_state(cell: Cell[Any]) -> State:
    return map_state(lambda zero: torch.full_like(zero, 0.3), cell.initial_state(BATCH))


def parts(state: State) -> list[Tensor]:
    return list(state) if isinstance(state, tuple) else [state]


def close(actual: Any, expected: Any, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def total(output: Tensor, state: State) -> Tensor:
    return output.square().sum() + sum(part.square().sum() for part in parts(state))


# ---- what doesn't fit -----------------------------------------------------------------------------------


@every_cell
def test_sizes_types_and_devices_that_do_not_fit_are_refused(model: str) -> None:
    cell, x = build(model), inputs()
    state = some_state(cell)
    wrong_inputs = {
        r"shape \(batch, time, 2\), and has \(3, 6, 1\)": x[..., :1],
        r"shape \(batch, time, 2\), and has \(6, 2\)": x[0],
        "has no time step": x[:, :0],
        "torch.float64 of the weights, and has torch.float32": x.float(),
        "is on meta, and the weights are on cpu": x.to("meta"),
    }
    wrong_states: dict[str, Any] = {
        r"must have the shape \(3, .*, and has \(2,": map_state(lambda part: part[:2], state),
        r"must have the shape \(3, .*, and has \(6,": map_state(lambda part: torch.cat([part, part]), state),
        r"must have the shape .*, 4.?\), and has": map_state(lambda part: part[..., :1], state),
        "of the weights, and has torch.float32": map_state(Tensor.float, state),
        "was given as": (*parts(state), x),
    }
    lengths = {
        "from 0 to 6, the steps of the input, and one of them is 7": torch.tensor([7, 6, 1]),
        "and one of them is -1": torch.tensor([-1, 6, 1]),
        r"shape \(3,\), and are torch.int64 of shape \(2,\)": torch.tensor([6, 6]),
        r"shape \(3,\), and are torch.float32": torch.tensor([6.0, 6.0, 6.0]),
        "and are a list": [6, 6, 1],
    }
    for run in (cell, cell.unroll, lambda *arguments: recomputed(cell, *arguments)):
        for said, wrong in wrong_inputs.items():
            with pytest.raises(InputError, match=said):
                run(wrong, None, None)
        for said, wrong in wrong_states.items():
            if "4.?" not in said or model not in (
                "lru",
                "s5",
                "s4d",
                "mlstm",
                "qrnn",
                "s6",
                "delta_net",
                "conv_lstm",
            ):  # of other sizes
                with pytest.raises(InputError, match=said):
                    run(x, wrong, None)
        for said, wrong in lengths.items():
            with pytest.raises(InputError, match=said):
                run(x, None, wrong)
    for said, wrong in wrong_states.items():
        if "4.?" in said and model == "conv_lstm":
            continue  # the last axis is a place's: it has one here
        with pytest.raises(InputError):
            cell(x, wrong)


def test_a_network_refuses_what_does_not_fit() -> None:
    value = TargetSpec("value", 1)
    network = Network(InputSpec(features=2), value, LSTM, hidden_size=4, num_layers=2)
    wide = Network(InputSpec(features=2), value, LSTM, hidden_size=4, embedding_size=3)
    tokens = Network(InputSpec(vocabulary=5), value, LSTM, hidden_size=4)
    x = inputs().float()
    state = network(x)[1]
    wrong: list[tuple[str, Callable[[], Any]]] = [
        (r"\(batch, time, 2\), and has \(3, 6, 1\)", lambda: network(x[..., :1])),
        (r"\(batch, time, 2\), and has \(3, 6, 1\)", lambda: wide(x[..., :1])),
        ("torch.float32 of the weights, and has torch.float64", lambda: wide(x.double())),
        ("token numbers", lambda: tokens(x)),
        (r"\(batch, time\)", lambda: tokens(torch.zeros(3, dtype=torch.long))),
        ("one cell state a layer, 2 of them; it has 1 parts", lambda: network(x, state[:1])),
        ("one cell state a layer, 2 of them; it has a Tensor", lambda: network(x, state[0][0])),
        ("is a tuple of 2 tensors, and was given as a Tensor", lambda: network(x, state[0])),
        (r"must have the shape \(2, 4\), and has \(3, 4\)", lambda: network(x[:2], state)),
        (r"must have the shape \(2, 4\), and has \(3, 4\)", lambda: network.step(x[:2, :1], state)),
        (r"must have the shape \(2, 4\), and has \(3, 4\)", lambda: network.trace(x[:2], state)),
        ("from 1 to 6, the steps of the input, and one of them is 0", lambda: network(x, None, LENGTHS - 1)),
        ("and one of them is 9", lambda: network(x, None, LENGTHS + 3)),
    ]  # fmt: skip
    for said, call in wrong:
        with pytest.raises(InputError, match=said):
            call()


@pytest.mark.slow
def test_a_state_of_other_sizes_does_not_reach_native_code() -> None:
    """In a process of its own, which it once ended by a signal."""
    program = """
import torch
from rnnlab.cells.lstm import LSTM
from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.spec import InputSpec, TargetSpec
net = Network(InputSpec(features=3), TargetSpec("value", 1), LSTM, hidden_size=8)
calls = [
    lambda: net(torch.randn(32, 5, 3), ((torch.zeros(20, 8), torch.zeros(20, 8)),)),
    lambda: net(torch.randn(32, 5, 3), ((torch.zeros(32, 4), torch.zeros(32, 4)),)),
    lambda: LSTM(64, 8)(torch.randn(4, 5, 1)),
]
refused = 0
for call in 20 * calls:
    try:
        call()
    except InputError:
        refused += 1
print(refused)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "60\n"), done.stderr


def test_a_faster_path_has_its_own_name() -> None:
    with pytest.raises(InputError, match="named _forward"):

        class Faster(Own):
            def forward(self, *arguments: Any) -> Any:  # type: ignore[misc]
                return super().forward(*arguments)


# ---- edge cases -----------------------------------------------------------------------------------------


@every_cell
def test_a_batch_of_none_and_sequences_without_a_step(model: str) -> None:
    cell = build(model)
    for x, lengths in [
        (inputs(0), None),
        (inputs(0), torch.zeros(0, dtype=torch.long)),
        (inputs(), torch.zeros(BATCH, dtype=torch.long)),
    ]:
        for run in (cell, lambda *arguments: recomputed(cell, *arguments)):
            x.requires_grad_()
            start = map_state(partial(torch.narrow, dim=0, start=0, length=len(x)), some_state(cell))
            output, state = run(x, start, lengths)
            assert output.shape == (len(x), TIME, HIDDEN) and not output.any()
            if len(x):
                close(state, start)
            wanted = [x, *cell.parameters()]
            assert not any(part.any() for part in torch.autograd.grad(total(output, state), wanted))


@every_cell
def test_what_padding_holds_is_harmless(model: str) -> None:
    cell = build(model)
    padding = torch.arange(TIME) >= LENGTHS[:, None]
    results = []
    for filling in (0.0, torch.nan, torch.inf):
        for run in (cell, cell.unroll, lambda *arguments: recomputed(cell, *arguments)):
            x = inputs().masked_fill(padding[..., None], filling).requires_grad_()
            output, state = run(x, some_state(cell), LENGTHS)
            gradients = torch.autograd.grad(total(output, state), [x, *cell.parameters()])
            results.append((output, state, gradients))
    for result in results[1:]:
        close(result, results[0])


def test_what_padding_holds_is_harmless_to_an_input_layer() -> None:
    network = Network(InputSpec(features=2), TargetSpec("value", 1), LSTM, hidden_size=4, embedding_size=3)
    x = inputs().float().masked_fill((torch.arange(TIME) >= LENGTHS[:, None])[..., None], torch.nan)
    network(x, lengths=LENGTHS)[0].sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_a_recomputed_step_draws_what_it_drew(backend: str) -> None:
    class Dropping(Own):
        def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            return super().step(nn.functional.dropout(x, 0.5), state)

    cell, found = Dropping(FEATURES, HIDDEN).double(), []
    cell.backend = backend
    for run in (cell, lambda x: recomputed(cell, x)):
        torch.manual_seed(0)
        output = run(inputs(time=9))[0]
        after = torch.rand(3)
        torch.manual_seed(1)
        gradients = torch.autograd.grad(output.square().sum(), list(cell.parameters()))
        found.append((output, after, gradients, torch.rand(3)))
    close(*found)


def test_a_recomputed_step_computes_in_the_precision_of_before() -> None:
    seen = []

    class Asking(Own):
        def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            seen.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
            return super().step(x, state)

    cell, x = Asking(FEATURES, HIDDEN), inputs(time=9).float()
    with torch.autocast("cpu", torch.bfloat16):
        output = recomputed(cell, x)[0]
    before = set(seen)
    seen.clear()
    output.float().sum().backward()
    assert before == set(seen) == {(True, torch.bfloat16)}


def test_a_piece_of_padding_alone_is_recomputed() -> None:
    network = Network(InputSpec(features=2), TargetSpec("value", 1), LSTM, hidden_size=4, recompute=True).double()
    x = inputs(time=9).requires_grad_()
    lengths = torch.tensor([2, 1, 3])  # pieces of three steps
    (gradient,) = torch.autograd.grad(network(x, lengths=lengths)[0].sum(), x)
    network.recompute = False
    close(gradient, torch.autograd.grad(network(x, lengths=lengths)[0].sum(), x)[0])


@every_cell
@pytest.mark.parametrize("precision", ["mixed", "true"])
def test_half_precision(model: str, precision: str) -> None:
    cell, x = build(model).float(), inputs().float()
    expected, _ = cell(x, None, LENGTHS)
    if precision == "true":
        cell, x = cell.bfloat16(), x.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "mixed"):
        output, state = cell(x, None, LENGTHS)
        again, _ = cell(x, state)  # what was handed out can be handed in
    torch.testing.assert_close(output.float(), expected, rtol=0.1, atol=0.1)
    if any(parameter.requires_grad for parameter in cell.parameters()):
        (output.float().square().sum() + again.float().square().sum()).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in cell.parameters())


def test_packing_takes_sequences_without_a_step() -> None:
    """As on a GPU, where torch packs."""
    lengths = torch.tensor([3, 0, 6])
    for model, kernel in (("lstm", torch.lstm), ("gru", torch.gru)):
        cell, x = build(model), inputs()
        start = some_state(cell)
        weights: Any = (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
        output, ended = _packed(kernel, weights, x, map_state(lambda part: part[None], start), lengths)
        expected, last = cell.unroll(x, start, lengths)
        close([output, *(part[0] for part in ended)], [expected, *parts(last)])


@pytest.mark.slow
@every_cell
def test_it_learns_one_batch_by_heart(model: str) -> None:
    units = 32 if model == "esn" else 8  # those of a reservoir learn nothing: only the readout does
    cell, readout = build(model, units).float(), nn.Linear(units, 2)
    x, labels = inputs(6, 4).float(), torch.tensor([0, 1, 1, 0, 1, 0])
    optimizer = torch.optim.Adam([*cell.parameters(), *readout.parameters()], lr=0.05)
    for _ in range(150):
        scores = readout(cell(x)[0][:, -1])
        loss = nn.functional.cross_entropy(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if torch.equal(scores.argmax(-1), labels) and loss < 0.35:
            return
    pytest.fail(f"150 updates leave a loss of {loss:.3f}")


# ---- transforms -----------------------------------------------------------------------------------------


@every_cell
def test_vmap(model: str) -> None:
    cell = build(model)
    x = torch.stack([inputs(), 2 * inputs()])
    for lengths in (None, LENGTHS):
        outputs = vmap(lambda x, lengths=lengths: cell(x, None, lengths)[0])(x)
        close(outputs[1], cell.unroll(x[1], None, lengths)[0])


@every_cell
def test_gradients_of_each_sample(model: str) -> None:
    cell = build(model)
    parameters = dict(cell.named_parameters())

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(cell, parameters, (x[None],))[0].square().sum()

    found = vmap(grad(loss), (None, 0))(parameters, inputs())
    if parameters:
        expected = torch.autograd.grad(cell.unroll(inputs()[1:2])[0].square().sum(), list(parameters.values()))
        close([gradient[1] for gradient in found.values()], list(expected))


@every_cell
def test_forward_mode_derivatives(model: str) -> None:
    cell, x = build(model), inputs()
    direction = torch.ones_like(x)
    _, expected = jvp(lambda x: cell.unroll(x)[0], (x,), (direction,))
    close(jvp(lambda x: cell(x)[0], (x,), (direction,))[1], expected)
    with forward_ad.dual_level():
        output, _ = cell(forward_ad.make_dual(x, direction))
        close(forward_ad.unpack_dual(output).tangent, expected)


@every_cell
def test_many_gradients_at_once_are_right_or_refused(model: str) -> None:
    cell, x = build(model), inputs(1, 3)

    def last(x: Tensor) -> Tensor:
        return cell(x)[0][0, -1]

    expected = jacobian(last, x)
    close(jacobian(last, x, vectorize=True, strategy="forward-mode"), expected)
    right_or_refused(cell, lambda: close(jacobian(last, x, vectorize=True), expected))


@every_cell
def test_second_derivatives_are_right_or_refused(model: str) -> None:
    cell, x = build(model), inputs(2, 3).requires_grad_()

    def second(run: Callable[..., Any]) -> Tensor:
        (gradient,) = torch.autograd.grad(run(x)[0].square().sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), x)[0]

    expected = second(cell.unroll)
    right_or_refused(cell, lambda: close(second(cell), expected))


def right_or_refused(cell: Cell[Any], check: Callable[[], None]) -> None:
    """What is refused names the way out."""
    try:
        check()
    except RuntimeError as refusal:
        if "set model.cell.backend=reference" not in str(refusal):
            raise
        cell.backend = "reference"
        check()


class _Padded(nn.Module):
    def __init__(self, cell: Cell[Any]) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.cell(x, None, lengths)[0]


@every_cell
@pytest.mark.filterwarnings("ignore")
@pytest.mark.few("gru", "lstm", "lru", "conv_lstm")
def test_tracing(model: str) -> None:
    cell = build(model)
    traced = torch.jit.trace(_Padded(cell), (inputs(), LENGTHS))
    x, lengths = 2 * inputs(), LENGTHS.flip(0)
    close(traced(x, lengths), cell.unroll(x, None, lengths)[0])


@pytest.mark.filterwarnings("ignore")
def test_tracing_a_function_that_uses_a_module() -> None:
    cell = build("gru")
    network = Network(InputSpec(features=3), TargetSpec("value", 1), LSTM, hidden_size=4)
    for module, x in ((cell, inputs()), (network, torch.randn(2, 5, 3))):
        with pytest.raises(InputError, match=r"^torch\.jit\.trace of a function .*: trace the module itself"):
            torch.jit.trace(lambda x: module(x)[0], (x,))  # noqa: B023
        module.requires_grad_(False)
        traced = torch.jit.trace(lambda x: module(x)[0], (x,))  # noqa: B023
        close(traced(2 * x), module(2 * x)[0], 1e-5)


@pytest.mark.slow
def test_compilation() -> None:
    """Each kind of path once, in a process of its own: a compiler can't look into the test run's shape checks."""
    program = """
import torch
from rnnlab.cells.gru import GRU
from rnnlab.cells.lru import LRU
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.mlstm import MLSTM
from rnnlab.network import Network
from rnnlab.spec import InputSpec, TargetSpec
lengths = torch.tensor([4, 6, 1])
for cell in (LSTM, GRU, LRU, MLSTM):
    network = Network(InputSpec(features=2), TargetSpec("value", 1), cell, hidden_size=4, num_layers=2)
    compiled = torch.compile(network, backend="aot_eager")
    x = torch.randn(3, 6, 2, requires_grad=True)
    results = [(y, *torch.autograd.grad(y.sum(), x)) for y in (run(x, None, lengths)[0] for run in (network, compiled))]
    torch.testing.assert_close(results[1], results[0])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
