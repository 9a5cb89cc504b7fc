"""The laws of a recurrence, for every model in ``conf/model``: a new file there is tested by being there."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnlab.cells.cell import Cell, detach_state, map_state, reverse_valid
from rnnlab.cells.gru import GRU
from rnnlab.cells.indrnn import IndRNN
from rnnlab.cells.layer_norm_lstm import LayerNormLSTM
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.rnn import RNN
from rnnlab.errors import InputError
from rnnlab.shapes import State

CONF = Path(__file__).parents[1] / "conf"
MODELS = sorted(path.stem for path in (CONF / "model").glob("[!_]*.yaml"))
BATCH, TIME, FEATURES, HIDDEN = 4, 9, 3, 5
LENGTHS = torch.tensor([6, 9, 1, 4])

every_model = pytest.mark.parametrize("model", MODELS)
with_and_without_lengths = pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])


@cache
def config(model: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(overrides=[f"+model={model}"]).model


def build(model: str, input_size: int = FEATURES, hidden_size: int = HIDDEN, **options: Any) -> Cell[Any]:
    """The model's cell in float64."""
    torch.manual_seed(0)
    return instantiate(config(model).cell, **options)(input_size, hidden_size).double()


def inputs(time: int = TIME) -> Tensor:
    return torch.randn(BATCH, time, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def some_state(cell: Cell[Any]) -> State:
    rng = torch.Generator().manual_seed(2)
    return map_state(
        lambda zero: 0.5 * torch.randn(zero.shape, dtype=zero.dtype, generator=rng), cell.initial_state(BATCH)
    )


def parts(state: State) -> list[Tensor]:
    return list(state) if isinstance(state, tuple) else [state]


def rows(state: State, index: Any) -> State:
    return map_state(lambda part: part[index], state)


def close(actual: State, expected: State, tolerance: float = 1e-12) -> None:
    for ours, theirs in zip(parts(actual), parts(expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def gradients(output: Tensor, state: State, wanted: list[Tensor]) -> tuple[Tensor, ...]:
    """Of a scalar that weighs every element of the output and of the final state differently."""
    rng = torch.Generator().manual_seed(3)
    loss = sum(
        (part * torch.randn(part.shape, dtype=part.dtype, generator=rng)).sum() for part in [output, *parts(state)]
    )
    return torch.autograd.grad(loss, wanted)


# ---- the laws -------------------------------------------------------------------------------------------


@every_model
@with_and_without_lengths
@pytest.mark.few("gru", "lstm", "rnn", "lru", "s6", "delta_net", "mlstm", "qrnn", "conv_lstm")
def test_forward_is_unroll(model: str, lengths: Tensor | None) -> None:
    cell = build(model)
    x = inputs().requires_grad_()
    start = map_state(Tensor.requires_grad_, some_state(cell))
    wanted = [x, *parts(start), *cell.parameters()]
    reference = cell.unroll(x, start, lengths)
    fast = cell(x, start, lengths)
    close(fast[0], reference[0])
    close(fast[1], reference[1])
    close(gradients(*fast, wanted), gradients(*reference, wanted))


@every_model
def test_forward_starts_where_unroll_starts(model: str) -> None:
    cell = build(model)
    output, state = cell(inputs())
    reference, reference_state = cell.unroll(inputs())
    close(output, reference)
    close(state, reference_state)


@every_model
def test_backends_are_one_function(model: str) -> None:
    cell, reference = build(model, backend="auto"), build(model, backend="reference")
    close(cell(inputs(), None, LENGTHS)[0], reference(inputs(), None, LENGTHS)[0])


@every_model
@pytest.mark.parametrize("cut", [1, 4])
def test_two_chunks_with_the_state_carried_are_the_whole(model: str, cut: int) -> None:
    cell = build(model)
    whole, final = cell(inputs(), some_state(cell))
    first, state = cell(inputs()[:, :cut], some_state(cell))
    second, last = cell(inputs()[:, cut:], state)
    close(torch.cat([first, second], 1), whole)
    close(last, final)


@every_model
def test_a_detached_state_carries_values_and_no_history(model: str) -> None:
    cell = build(model)
    x = inputs().requires_grad_()
    _, state = cell(x[:, :4])
    detached = detach_state(state)
    close(detached, state)
    output, _ = cell(x[:, 4:], detached)
    (gradient,) = torch.autograd.grad(output.sum(), x)
    assert not gradient[:, :4].any() and gradient[:, 4:].any()


@every_model
def test_padding_changes_nothing(model: str) -> None:
    cell = build(model)
    x = inputs().requires_grad_()
    output, final = cell(x, some_state(cell), LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, state = cell(x[row : row + 1, :length], rows(some_state(cell), slice(row, row + 1)))
        close(output[row : row + 1, :length], alone)
        close(rows(final, slice(row, row + 1)), state)
        assert not output[row, length:].any()
    (gradient,) = gradients(output, final, [x])
    padding = torch.arange(TIME) >= LENGTHS[:, None]
    assert not gradient[padding].any()
    assert gradient[~padding].any()


@every_model
def test_a_later_input_changes_no_earlier_output(model: str) -> None:
    cell = build(model)
    changed = inputs()
    changed[:, 5:] += 1
    before, after = cell(inputs())[0], cell(changed)[0]
    close(after[:, :5], before[:, :5])
    assert not torch.allclose(after[:, 5:], before[:, 5:])


@every_model
@with_and_without_lengths
def test_the_order_of_the_batch_does_not_matter(model: str, lengths: Tensor | None) -> None:
    cell = build(model)
    order = torch.tensor([2, 0, 3, 1])
    output, final = cell(inputs(), some_state(cell), lengths)
    shuffled, last = cell(inputs()[order], rows(some_state(cell), order), None if lengths is None else lengths[order])
    close(shuffled, output[order])
    close(last, rows(final, order))


FEWER_WEIGHTS = {"cfc": {"backbone_units": 3}}
"""Each of them is nudged by itself."""


@every_model
@pytest.mark.parametrize("path", ["forward", "unroll"])
@pytest.mark.few("rnn", "min_gru", "lru")
def test_gradients_agree_with_finite_differences(model: str, path: str) -> None:
    cell = build(model, 2, 2, **FEWER_WEIGHTS.get(model, {}))
    layer = cell if path == "forward" else _Unroll(cell)
    weights = dict(layer.named_parameters())
    start = rows(some_state(cell), slice(0, 2))

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        handed, values = rest[: len(parts(start))], rest[len(parts(start)) :]
        state = handed if isinstance(start, tuple) else handed[0]
        arguments = (x, state, torch.tensor([3, 2]))
        output, final = functional_call(layer, dict(zip(weights, values, strict=True)), arguments)
        return output, *parts(final)

    arguments = [inputs(3)[:2, :, :2], *parts(start), *weights.values()]
    assert torch.autograd.gradcheck(run, [argument.detach().clone().requires_grad_() for argument in arguments])


@every_model
def test_gradients_are_finite_over_many_steps(model: str) -> None:
    cell = build(model, 3, 16).float()
    x = inputs(200).float()
    x[0] = 0  # nothing to normalise
    x.requires_grad_()
    output, _ = cell(x)
    output.square().mean().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    for name, parameter in cell.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@every_model
def test_members_of_a_fleet_equal_single_cells(model: str) -> None:
    """The reference runs under ``torch.func``, so that several cells can be trained as one."""
    members = [build(model) for _ in range(3)]
    for scale, member in enumerate(members, 1):
        for parameter in member.parameters():
            parameter.data.mul_(scale / 3)
    stacked, _ = stack_module_state([_Unroll(member) for member in members])
    x = torch.stack([inputs(), 2 * inputs(), 3 * inputs()])

    def one(parameters: dict[str, Tensor], x: Tensor) -> tuple[Tensor, State]:
        return functional_call(_Unroll(members[0]), parameters, (x, None, LENGTHS))

    outputs, states = vmap(one)(stacked, x)
    for number, member in enumerate(members):
        output, state = member.unroll(x[number], None, LENGTHS)
        close(outputs[number], output)
        close(rows(states, number), state)


class _Unroll(nn.Module):
    """A cell's reference as a module's call, which is what ``functional_call`` calls."""

    def __init__(self, cell: Cell[Any]) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, *arguments: Any) -> tuple[Tensor, State]:
        return self.cell.unroll(*arguments)


# ---- what it learns -------------------------------------------------------------------------------------

# Steps over which a cell of 32 units learns, within 150 updates, to keep one bit; 10 for a cell not named here.
# A gate that sees the input alone opens for one sign of it, and closes for the other, so that one layer remembers less.
SPAN = {
    "rnn": 50,
    "rnn_relu": 10,
    "irnn": 30,
    "indrnn": 20,
    "lstm": 50,
    "gru": 20,
    "layer_norm_lstm": 30,
    "lru": 30,
    "s5": 50,
    "rg_lru": 10,
    "gilr": 5,
    "qrnn": 8,
    "min_lstm": 8,
    "lem": 20,
    "ltc": 20,
    "cornn": 100,
    "unicornn": 20,
    "s4d": 50,
    # nothing but the readout learns: 32 random units echo as much of it as they happen to
    "esn": 5,
}


# slow and barely driven units are for long sequences
REMEMBERING: dict[str, dict[str, Any]] = {"esn": {"leak_rate": 1.0, "input_scaling": 1.0}}


@every_model
@pytest.mark.few("gru", "lru")
def test_it_remembers_the_first_input(model: str) -> None:
    """The class is the sign of the first step; noise a tenth its size follows."""
    span, hidden = SPAN.get(model, 10), 32
    cell = build(model, 2, hidden, **REMEMBERING.get(model, {})).float()
    readout = nn.Linear(hidden, 1)
    optimizer = torch.optim.Adam([*cell.parameters(), *readout.parameters()], lr=3e-3)
    rng = torch.Generator().manual_seed(4)
    right_in_a_row = 0
    for _ in range(150):
        x = 0.1 * torch.randn(32, span, 2, generator=rng)
        bit = torch.randint(2, (32,), generator=rng)
        x[:, 0, 0] += 2.0 * bit - 1
        score = readout(cell(x)[0][:, -1])[:, 0]
        right_in_a_row = right_in_a_row + 1 if torch.equal(score > 0, bit.bool()) else 0
        if right_in_a_row == 10:  # 320 new sequences without an error
            return
        loss = nn.functional.binary_cross_entropy_with_logits(score, bit.float())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(list(cell.parameters()), 1.0)
        optimizer.step()
    pytest.fail(f"150 updates did not teach it to remember over {span} steps")


# ---- torch's own layers ---------------------------------------------------------------------------------

TORCH_LAYERS = {
    "rnn": (nn.RNN, {"nonlinearity": "tanh"}),
    "rnn_relu": (nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
}


@pytest.mark.parametrize("backend", ["auto", "torch", "reference"])
@with_and_without_lengths
@pytest.mark.parametrize("model", TORCH_LAYERS)
def test_it_equals_torch(model: str, lengths: Tensor | None, backend: str) -> None:
    kind, options = TORCH_LAYERS[model]
    cell = build(model, backend=backend)
    layer = kind(FEATURES, HIDDEN, batch_first=True, **options).double()
    layer.load_state_dict({f"{name}_l0": weight for name, weight in cell.state_dict().items()})
    x, x_torch = inputs().requires_grad_(), inputs().requires_grad_()

    start = some_state(cell)
    packed = x_torch if lengths is None else pack_padded_sequence(x_torch, lengths, True, enforce_sorted=False)
    expected, final = layer(packed, map_state(lambda part: part[None], start))
    if lengths is not None:
        expected, _ = pad_packed_sequence(expected, batch_first=True)
    final = rows(final, 0)
    output, state = cell(x, start, lengths)
    close(output, expected)
    close(state, final)
    close(
        gradients(output, state, [x, *cell.parameters()]),
        gradients(expected, final, [x_torch, *layer.parameters()]),
    )


@pytest.mark.parametrize("model", TORCH_LAYERS)
def test_weights_come_from_torch(model: str) -> None:
    kind, options = TORCH_LAYERS[model]
    layer = kind(FEATURES, HIDDEN, batch_first=True, **options).double()
    cell = build(model)
    cell.load_state_dict({name.removesuffix("_l0"): weight for name, weight in layer.state_dict().items()})
    close(cell(inputs())[0], layer(inputs())[0])
    single = {nn.RNN: nn.RNNCell, nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell}[kind](FEATURES, HIDDEN, **options).double()
    single.load_state_dict(cell.state_dict())
    close(single(inputs()[:, 0]), cell.step(inputs()[:, 0], cell.initial_state(BATCH))[1])


def test_the_torch_backend_calls_torchs_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    for model, kernel in {"rnn": "rnn_tanh", "rnn_relu": "rnn_relu", "lstm": "lstm", "gru": "gru"}.items():
        calls, original = [], getattr(torch, kernel)
        spy = lambda *arguments, calls=calls, original=original: calls.append(1) or original(*arguments)  # noqa: E731
        monkeypatch.setattr(torch, kernel, spy)
        for backend in ("reference", "torch", "auto"):
            calls.clear()
            build(model, backend=backend)(inputs())
            assert len(calls) == (backend == "torch"), (model, backend)
        calls.clear()
        # on a CPU only the kernel of large LSTMs is faster than the derived one
        build(model, hidden_size=256)(inputs())
        assert len(calls) == (model == "lstm"), model


# ---- how it starts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "gates"), [(RNN, 1), (LSTM, 4), (GRU, 3), (LayerNormLSTM, 4)])
def test_each_gates_recurrent_matrix_starts_orthogonal(kind: type[Cell[Any]], gates: int) -> None:
    cell = kind(FEATURES, 8)
    matrices = cell.recurrent_weights()
    assert len(matrices) == gates
    assert torch.equal(torch.cat(list(matrices.values())), cell.weight_hh)
    for matrix in matrices.values():
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(8), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU, LayerNormLSTM, IndRNN])
def test_input_weights_start_xavier_uniform_within_each_gate(kind: type[Cell[Any]]) -> None:
    weight = kind(40, 60).weight_ih
    bound = (6 / (40 + 60)) ** 0.5
    assert 0.98 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_the_forget_gate_starts_open() -> None:
    expected = torch.tensor([0.0] * 5 + [1.0] * 5 + [0.0] * 10)
    lstm = LSTM(FEATURES, 5)
    assert torch.equal(lstm.bias_ih + lstm.bias_hh, expected)
    assert torch.equal(LayerNormLSTM(FEATURES, 5).bias, expected)


def test_irnn_starts_as_the_identity() -> None:
    cell = build("irnn", 50, 40)
    assert torch.equal(cell.weight_hh, torch.eye(40, dtype=torch.float64))
    assert cell.weight_ih.std().item() == pytest.approx(0.001, rel=0.1)
    # with no input it keeps any state that a ReLU can have
    state = torch.rand(BATCH, 40, dtype=torch.float64)
    assert torch.equal(cell(torch.zeros(BATCH, TIME, 50, dtype=torch.float64), state)[1], state)


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU, LayerNormLSTM, IndRNN])
def test_torchs_own_start(kind: Any) -> None:
    cell = kind(FEATURES, 100, init="torch")
    for name, parameter in cell.named_parameters():
        if not name.startswith("norm"):
            assert 0.09 < parameter.abs().max() <= 0.1, name


def test_indrnn_starts_within_the_papers_range() -> None:
    bound = 2 ** (1 / 20)
    uniform = IndRNN(FEATURES, 2000, time_steps=20).weight_hh
    assert 0 <= uniform.min() < 0.01 and bound - 0.01 < uniform.max() <= bound
    long = IndRNN(FEATURES, 2000, time_steps=20, init="long_memory").weight_hh
    assert 1 / bound <= long.min() < 1 / bound + 0.01 and bound - 0.01 < long.max() <= bound
    # what the range is for: over T steps no unit's gradient more than doubles
    assert uniform.max() ** 20 <= 2.001


# ---- what an observer asks ------------------------------------------------------------------------------


@every_model
def test_recurrent_weights_are_square_matrices_of_the_parameters(model: str) -> None:
    cell = build(model)
    for buffer in cell.buffers():
        buffer.requires_grad_()  # of weights that are not trained
    for gate, matrix in cell.recurrent_weights().items():
        assert matrix.shape == (HIDDEN, HIDDEN), gate
        gradients = torch.autograd.grad(matrix.sum(), [*cell.parameters(), *cell.buffers()], allow_unused=True)
        assert any(gradient is not None and gradient.any() for gradient in gradients), gate


def test_recurrent_weights_of_indrnn_are_its_state_jacobian() -> None:
    cell = build("indrnn", nonlinearity="tanh")
    zero = torch.zeros(1, HIDDEN, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda h: cell.step(torch.zeros(1, FEATURES).double(), h)[1], zero)
    close(jacobian[0, :, 0], cell.recurrent_weights()["hidden"])


@every_model
def test_memory_is_what_the_output_shows(model: str) -> None:
    cell = build(model)
    output, state = cell(inputs())
    assert cell.memory(state).shape == (BATCH, HIDDEN)
    if model in TORCH_LAYERS:
        close(cell.memory(state), output[:, -1])


def test_record_keeps_the_tensors_that_step_returned() -> None:
    cell = build("lstm")
    record: list[State] = []
    output, _ = cell.unroll(inputs(), None, LENGTHS, record)
    assert len(record) == TIME
    gradient = torch.autograd.grad(output[:, 5].sum(), [parts(state)[0] for state in record], allow_unused=True)
    # step 5 reaches every state up to it, and beyond a sequence's end nothing counts
    reached = torch.stack([torch.zeros(BATCH) if g is None else g.abs().sum(-1) for g in gradient], 1) > 0
    expected = (torch.arange(TIME) <= 5) & (LENGTHS[:, None] > 5)
    assert torch.equal(reached, expected)


def test_reverse_valid_turns_each_sequence_within_its_length() -> None:
    x = torch.arange(10).reshape(2, 5)
    assert reverse_valid(x).tolist() == [[4, 3, 2, 1, 0], [9, 8, 7, 6, 5]]
    assert reverse_valid(x, torch.tensor([3, 1])).tolist() == [[2, 1, 0, 3, 4], [5, 6, 7, 8, 9]]
    lengths = torch.tensor([6, 9, 1, 4])
    assert torch.equal(reverse_valid(reverse_valid(inputs(), lengths), lengths), inputs())


class Wrong(Cell[Any]):
    """Its step returns what it is told to."""

    def __init__(self, made: Callable[[Tensor, Any], Any], single: bool = True) -> None:
        super().__init__(3, 4)
        self.made, self.single = made, single
        self.weight = nn.Parameter(torch.zeros(4))

    def initial_state(self, batch_size: int) -> Any:
        h = self.weight.new_zeros(batch_size, 4)
        return h if self.single else (h, h)

    def step(self, x: Tensor, state: Any) -> Any:
        h = state + self.weight if self.single else state[0] + self.weight
        return self.made(h, state)


@pytest.mark.parametrize(
    ("made", "single", "message"),
    [
        (lambda h, _: h, True, "step must return the output and the next state, and returned a Tensor"),
        (lambda h, s: (h, h, s), True, "must return the output and the next state, and returned a tuple of 3"),
        (lambda h, s: (torch.cat([h, h], -1), s), True, r"output of the shape \(batch, hidden_size\), here \(2, 4\), "
                                                        r"and returned \(2, 8\)"),
        (lambda h, s: (h[:, None], s), True, r"here \(2, 4\), and returned \(2, 1, 4\)"),
        (lambda h, _: (h, h[:, :2]), True, r"state like the one that it was given, \(2, 4\), and returned \(2, 2\)"),
        (lambda h, s: (h, (s, s)), True, r"it was given, \(2, 4\), and returned \(2, 4\), \(2, 4\)"),
        (lambda h, _: (h, (h,)), False, r"it was given, \(2, 4\), \(2, 4\), and returned \(2, 4\)$"),
        (lambda h, _: (h, None), True, r"it was given, \(2, 4\), and returned NoneType"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_step_that_returns_something_else_is_told_what_it_must_return(
    made: Callable[[Tensor, Any], Any], single: bool, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Wrong(made, single)(torch.ones(2, 5, 3))
    with pytest.raises(InputError, match=message):  # where sizes are tensors
        torch.jit.trace(Wrong(made, single).requires_grad_(False), torch.ones(2, 5, 3))


@pytest.mark.parametrize("name", ["gates", "memory", "title", "recurrent_weights", "forward", "unroll"])
@pytest.mark.parametrize("value", [nn.Linear(3, 4), nn.Parameter(torch.zeros(3))], ids=["module", "parameter"])
def test_a_cell_may_not_hide_a_method_behind_a_module(name: str, value: Any) -> None:
    cell = Wrong(lambda h, s: (h, s))
    with pytest.raises(InputError, match=f"Wrong.{name}: every cell has a method of this name"):
        setattr(cell, name, value)
    setattr(cell, f"own_{name}", value)
