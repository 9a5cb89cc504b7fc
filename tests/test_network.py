"""The laws of a whole network, for every model in ``conf/model``, one and two directions, every readout."""

import re
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

from rnnlab.cells.cell import Cell
from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.rnn import RNN
from rnnlab.errors import InputError
from rnnlab.network import Layer, Network
from rnnlab.shapes import State
from rnnlab.spec import InputSpec, TargetSpec

CONF = Path(__file__).parents[1] / "conf"
MODELS = sorted(path.stem for path in (CONF / "model").glob("[!_]*.yaml"))
FEATURES, TOKENS = InputSpec(features=3), InputSpec(vocabulary=11)
VALUES, CLASS, NEXT = TargetSpec("values", 2), TargetSpec("class", 5), TargetSpec("tokens", 11)
LENGTHS = torch.tensor([6, 8, 1, 4])
BATCH, TIME = 4, 8

every_model = pytest.mark.parametrize("model", MODELS)
both_directions = pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
# a prediction a step is "auto" for values, a prediction a sequence has several ways to come about
READOUTS = [
    (VALUES, "auto"),
    *((CLASS, readout) for readout in ("last", "mean", "max", "mean_max", "statistics", "vote")),
]


def _how_often(model: str, readout: str) -> Any:
    """What pools the steps knows nothing of the cell: every readout with one cell, every cell with two readouts, two
    cells more among the slow tests, and the rest of the product among the exhaustive ones.
    """
    if model == "gru" or readout in ("auto", "mean_max"):
        return ()
    return pytest.mark.slow if model in ("lstm", "lru") else pytest.mark.exhaustive


every_model_and_readout = pytest.mark.parametrize(
    ("model", "target", "readout"),
    [
        pytest.param(model, target, readout, marks=_how_often(model, readout))
        for model in MODELS
        for target, readout in READOUTS
    ],
)


@cache
def config(model: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(overrides=[f"+model={model}"]).model


def build(model: str, input: InputSpec = FEATURES, target: TargetSpec = CLASS, **options: Any) -> Network:
    """The model in float64, small unless ``options`` say otherwise."""
    torch.manual_seed(0)
    options = {"hidden_size": 5, "num_layers": 2} | options
    return instantiate(config(model), _partial_=True, **options)(input=input, target=target).double()


def features() -> Tensor:
    return torch.randn(BATCH, TIME, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def close(actual: Any, expected: Any, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def tensors(state: State) -> list[Tensor]:
    return list(state) if isinstance(state, tuple) else [state]


# ---- the laws -------------------------------------------------------------------------------------------


@every_model_and_readout
@both_directions
def test_padding_changes_nothing(model: str, bidirectional: bool, target: TargetSpec, readout: str) -> None:
    network = build(model, target=target, readout=readout, bidirectional=bidirectional)
    output, _ = network(features(), lengths=LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, _ = network(features()[row : row + 1, :length])
        close(output[row : row + 1, :length] if target.per_step else output[row : row + 1], alone)


@every_model_and_readout
@both_directions
def test_no_gradient_comes_from_padding(model: str, bidirectional: bool, target: TargetSpec, readout: str) -> None:
    network = build(model, target=target, readout=readout, bidirectional=bidirectional)
    x = features().requires_grad_()
    output, _ = network(x, lengths=LENGTHS)
    valid = torch.arange(TIME) < LENGTHS[:, None]
    (gradient,) = torch.autograd.grad((output[valid] if target.per_step else output).square().sum(), x)
    assert not gradient[~valid].any() and gradient[valid].any()


@every_model
def test_two_chunks_with_the_state_carried_are_the_whole(model: str) -> None:
    network = build(model, target=VALUES, initial_state="learned")
    nn.init.normal_(network.initial[0])
    whole, final = network(features())
    first, state = network(features()[:, :3])
    second, last = network(features()[:, 3:], state)
    close(torch.cat([first, second], 1), whole)
    close(last, final)


@every_model
def test_step_by_step_it_predicts_what_it_predicts_at_once(model: str) -> None:
    network, inputs = build(model, target=VALUES).eval(), features()
    whole, final = network(inputs)
    outputs, state = [], tuple(network.initial_state(BATCH))
    for x in inputs.split(1, 1):
        output, state = network.step(x, state)
        outputs.append(output)
    close(torch.cat(outputs, 1), whole, 1e-10)
    close(state, final, 1e-10)


@every_model
@both_directions
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])
@pytest.mark.few("rnn", "gru", "lru", "mogrifier_lstm")
def test_recomputation_changes_no_value_and_no_gradient(
    model: str, bidirectional: bool, lengths: Tensor | None
) -> None:
    results = []
    for recompute in (False, True):
        network = build(model, bidirectional=bidirectional, recompute=recompute, initial_state="learned")
        x = features().requires_grad_()
        output, state = network(x, lengths=lengths)
        final = [part for each in state for part in tensors(each)]
        loss = output.square().sum() + sum(part.square().sum() for part in final)
        results.append((output, *final, *torch.autograd.grad(loss, [x, *network.parameters()])))
    close(results[1], results[0])


def test_recomputation_keeps_the_states_of_few_steps() -> None:
    """Numbers that the graph of 400 steps holds on to."""

    def kept(recompute: bool) -> int:
        held: list[Tensor] = []
        network = build("gru", recompute=recompute, num_layers=1)
        for cell in network.cells():
            cell.backend = "reference"  # what a kernel keeps for its backward pass, these hooks don't see
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: held.append(tensor) or tensor, lambda x: x):
            network(torch.randn(4, 400, 3, dtype=torch.float64))
        return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() // 8 for t in held}.values())

    output, size_of_input = 4 * 400 * 5, 4 * 400 * 3
    assert kept(True) < 1.2 * (output + size_of_input)
    assert kept(False) > 5 * kept(True)


def test_recomputation_refuses_a_second_derivative() -> None:
    network = build("layer_norm_lstm", recompute=True)
    x = features().requires_grad_()
    with pytest.raises(RuntimeError, match="second derivatives"):
        torch.autograd.grad(network(x)[0].square().sum(), x, create_graph=True)


@every_model
def test_bidirectional_refuses_a_state(model: str) -> None:
    network = build(model, bidirectional=True)
    _, state = build(model)(features())
    assert network(features())[1] == ()
    with pytest.raises(InputError, match=r"model\.bidirectional=true .* cannot carry a state"):
        network(features(), state)


@every_model
def test_each_direction_sees_its_own_side(model: str) -> None:
    network = build(model, target=VALUES, bidirectional=True, num_layers=1)
    changed = features()
    changed[:, 4] += 1
    before, after = network.hidden(features())[0], network.hidden(changed)[0]
    moved = (before != after).any(-1).any(0)
    assert moved[0] and moved[-1]
    close(after[:, :4, :5], before[:, :4, :5])  # the forward half, before the change
    close(after[:, 5:, 5:], before[:, 5:, 5:])  # the backward half, after it


@every_model
@both_directions
def test_the_order_of_the_batch_does_not_matter(model: str, bidirectional: bool) -> None:
    network = build(model, bidirectional=bidirectional)
    order = torch.tensor([2, 0, 3, 1])
    close(network(features()[order], lengths=LENGTHS[order])[0], network(features(), lengths=LENGTHS)[0][order])


# What makes a cell learn from sequences as short as these, of 1 to 8 steps.
FOR_SHORT_SEQUENCES: dict[str, dict[str, Any]] = {
    # in so few of its default time steps of 0.1 an oscillator hardly moves
    "cornn": {"dt": 0.3},
    # nor does one that is pulled back as strongly as 784 steps of this Δ want it
    "unicornn": {"dt": 0.5, "alpha": 1.0},
    # slow and barely driven units are for long sequences
    "esn": {"leak_rate": 1.0, "input_scaling": 1.0},
}


@pytest.mark.parametrize(
    "model",
    [pytest.param(model, marks=() if model in ("rnn", "gru", "lstm") else pytest.mark.slow) for model in MODELS],
)
def test_it_overfits_one_batch(model: str) -> None:
    options = {**config(model).cell, **FOR_SHORT_SEQUENCES.get(model, {})}
    network = build(model, hidden_size=24, cell=options).float()
    x, labels = features().float(), torch.tensor([4, 0, 2, 1])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(200):
        loss = nn.functional.cross_entropy(network(x, lengths=LENGTHS)[0], labels)
        if loss < 0.05:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pytest.fail(f"the loss is still {loss:.3f} after 200 updates")


@every_model
@both_directions
@pytest.mark.few("gru", "lstm", "lru", "cfc")
def test_a_fleet_of_networks_equals_each_alone(model: str, bidirectional: bool) -> None:
    options = {"bidirectional": bidirectional, "initial_state": "learned", "cell": {"backend": "reference"}}
    members = [build(model, **options) for _ in range(2)]
    for parameter in members[1].parameters():
        parameter.data.mul_(0.5)
    stacked, _ = stack_module_state(members)
    x = features()
    outputs, _ = vmap(lambda weights: functional_call(members[0], weights, (x, None, LENGTHS)))(stacked)
    for output, network in zip(outputs, members, strict=True):
        close(output, network(x, lengths=LENGTHS)[0])


# ---- torch's own stack ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "kind"), [("rnn", nn.RNN), ("lstm", nn.LSTM), ("gru", nn.GRU)])
@pytest.mark.parametrize("padded", [False, True])
def test_a_deep_bidirectional_network_equals_torch(model: str, kind: Any, padded: bool) -> None:
    network = build(model, target=VALUES, bidirectional=True, num_layers=3)
    layer = kind(3, 5, num_layers=3, bidirectional=True, batch_first=True).double()
    for number, directions in enumerate(network.layers):
        for cell, suffix in zip(directions, ("", "_reverse"), strict=True):
            for name, weight in cell.named_parameters():
                getattr(layer, f"{name}_l{number}{suffix}").data.copy_(weight)
    if not padded:
        close(network.hidden(features())[0], layer(features())[0])
        return
    packed = pack_padded_sequence(features(), LENGTHS, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(layer(packed)[0], batch_first=True)
    close(network.hidden(features(), lengths=LENGTHS)[0], expected)


# ---- its parts ------------------------------------------------------------------------------------------


@both_directions
def test_readouts_are_what_they_say(bidirectional: bool) -> None:
    def pooled(readout: str) -> Tensor:
        return network(readout).pool(hidden, LENGTHS)

    def network(readout: str) -> Network:
        return build("gru", readout=readout, bidirectional=bidirectional)

    hidden, _ = network("last").hidden(features(), lengths=LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        valid = hidden[row, :length]
        close(pooled("mean")[row], valid.mean(0))
        close(pooled("max")[row], valid.amax(0))
        end = torch.cat([valid[-1, :5], valid[0, 5:]])
        close(pooled("last")[row], end)
        close(pooled("auto")[row], end)


def test_a_prediction_a_step_takes_no_readout() -> None:
    with pytest.raises(InputError, match=r"model\.readout=mean .* use model\.readout=auto"):
        build("gru", target=VALUES, readout="mean")


@pytest.mark.parametrize(
    ("input", "embedding_size", "kind", "width"),
    [
        (FEATURES, None, nn.Identity, 3),
        (FEATURES, 7, nn.Linear, 7),
        (TOKENS, None, nn.Embedding, 5),
        (TOKENS, 7, nn.Embedding, 7),
    ],
)
def test_the_encoder_fits_the_data(input: InputSpec, embedding_size: int | None, kind: type, width: int) -> None:
    network = build("gru", input=input, embedding_size=embedding_size)
    assert isinstance(network.encoder, kind)
    x = features() if input.features else torch.randint(11, (BATCH, TIME))
    assert network.encoder(x).shape == (BATCH, TIME, width)
    assert network.cells()[0].input_size == width
    assert network(x)[0].shape == (BATCH, 5)


def test_dropout_stands_between_layers_only() -> None:
    one = build("gru", num_layers=1, dropout=0.5)
    close(one.train()(features())[0], one.eval()(features())[0])
    two = build("gru", num_layers=2, dropout=0.9)
    assert not torch.allclose(two.train()(features())[0], two.eval()(features())[0])
    # with biases no unit of a GRU is ever exactly zero, unless it was dropped
    for parameter in two.parameters():
        nn.init.normal_(parameter)
    assert two.train().hidden(features())[0].all()


def test_embeddings_are_dropped_by_channel_for_all_steps_and_tokens_by_step() -> None:
    tokens = torch.randint(11, (BATCH, TIME))
    read: list[Tensor] = []

    def keep(network: Network) -> Tensor:
        nn.init.constant_(network.encoder.weight, 1.0)
        network.cells()[0].register_forward_pre_hook(lambda cell, arguments: read.append(arguments[0]))
        network(tokens)
        return read.pop()

    input = InputSpec(vocabulary=11)
    channels = keep(build("gru", input=input, embedding_size=50, embedding_dropout=0.4).train())
    assert torch.equal(channels, channels[:, :1].expand_as(channels))
    close(channels.unique(), torch.tensor([0.0, 1 / 0.6], dtype=torch.float64))
    assert not torch.equal(channels[0], channels[1])
    steps = keep(build("gru", input=input, embedding_size=50, token_dropout=0.4).train())
    assert torch.equal(steps, steps[..., :1].expand_as(steps))
    assert 0 < (steps == 0).float().mean() < 1
    whole = keep(build("gru", input=input, embedding_size=50, token_dropout=0.4, embedding_dropout=0.4).eval())
    assert (whole == 1).all()


@pytest.mark.parametrize("target", [CLASS, TargetSpec("values", 5, tuple("abcde"))])
def test_the_readout_drops_units_the_same_at_all_steps(target: TargetSpec) -> None:
    network = build("gru", target=target, readout_dropout=0.5)
    hidden = torch.ones(BATCH, TIME, network.hidden_size, dtype=torch.float64)
    with torch.no_grad():
        network.readout.weight.copy_(torch.randn_like(network.readout.weight))
        plain, dropped = network.eval().read(hidden), network.train().read(hidden)
    assert not torch.allclose(plain, dropped)
    if network.readout_kind == "every":
        close(dropped, dropped[:, :1].expand_as(dropped))


def test_dropout_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"model\.token_dropout=0\.1 drops tokens"):
        build("gru", token_dropout=0.1)
    with pytest.raises(InputError, match=r"model\.readout_dropout=0\.2: nothing is dropped"):
        build("gru", readout_dropout=0.2, solver="ridge")


PARALLEL = {"gilr", "lru", "min_gru", "min_lstm", "mlstm", "qrnn", "rg_lru", "s4d", "s5", "s6", "delta_net"}
REFUSED = {
    "recurrent_dropout": PARALLEL | {"esn", "cfc", "indrnn", "unicornn"},  # no matrix from one state to the next
    "zoneout": {"conv_lstm", "esn", "lru", "mlstm", "s4d", "s5", "s6", "slstm", "delta_net"},
}
"""Models that can't be regularized so."""


@every_model
@pytest.mark.parametrize("key", REFUSED)
@pytest.mark.few("gru", "lstm", "qrnn", "lru")
def test_what_is_dropped_in_a_recurrence_is_the_same_on_every_path_or_refused(model: str, key: str) -> None:
    options: dict[str, Any] = {"bidirectional": True, "num_layers": 1}
    if model in REFUSED[key]:
        with pytest.raises(InputError, match=rf"model\.{key}=0\.4: "):
            build(model, **options, **{key: 0.4})
        return
    network = build(model, **options, **{key: 0.4})
    results = []
    for backend in ("auto", "reference"):
        for cell in network.cells():
            cell.backend = backend
        torch.manual_seed(1)
        output, _ = network.train()(features(), lengths=LENGTHS)
        results.append((output, *torch.autograd.grad(output.square().sum(), list(network.parameters()))))
    close(results[1], results[0], 1e-10)
    first, second = (network.eval()(features(), lengths=LENGTHS)[0] for _ in range(2))
    assert torch.equal(first, second) and not torch.allclose(first, results[0][0])
    if key == "recurrent_dropout":
        close(first, build(model, **options).eval()(features(), lengths=LENGTHS)[0])


@pytest.mark.parametrize("key", REFUSED)
def test_the_page_names_the_models_that_refuse_a_dropout(key: str) -> None:
    page = (CONF.parent / "docs" / "pages" / "recurrence.md").read_text(encoding="utf-8")
    named = page.partition(f"- no `model.{key}`: ")[2].partition("\n\n")[0]
    assert re.findall(r"`(\w+)`", named) == sorted(REFUSED[key])


@pytest.mark.parametrize("model", sorted(REFUSED["recurrent_dropout"]))
def test_what_a_refused_dropout_is_to_be_replaced_by_is_taken(model: str) -> None:
    options: dict[str, Any] = {"num_layers": 1, "solver": "gradient"}
    with pytest.raises(InputError) as refused:
        build(model, recurrent_dropout=0.4, **options)
    advised = re.findall(r"model\.(\w+)", str(refused.value).partition(": use ")[2])
    assert advised
    for key in advised:
        build(model, **options, **{key: 0.4})


def test_why_no_unit_of_a_recurrence_is_dropped() -> None:
    for model, why in (
        ("esn", "what leads from one state of ESN to the next is drawn once and never trained"),
        ("indrnn", "each unit of IndRNN reads no other one's last state"),
        ("lru", "no matrix of weights leads from one state of LRU to the next"),
    ):
        with pytest.raises(InputError, match=rf"model\.recurrent_dropout=0\.4: {why}"):
            build(model, recurrent_dropout=0.4, num_layers=1, solver="gradient")


@pytest.mark.parametrize("key", REFUSED)
def test_recomputation_meets_the_masks_of_the_first_time(key: str) -> None:
    results = []
    for recompute in (False, True):
        network = build("gru", recompute=recompute, num_layers=1, **{key: 0.4}).train()
        torch.manual_seed(1)
        output, _ = network(features(), lengths=LENGTHS)
        results.append((output, *torch.autograd.grad(output.square().sum(), list(network.parameters()))))
    close(results[1], results[0])


@pytest.mark.parametrize("model", ["gru", "lstm", "qrnn"])
def test_a_zoned_out_network_carries_its_state_and_predicts_step_by_step(model: str) -> None:
    network, inputs = build(model, target=VALUES, zoneout=0.3).eval(), features()
    whole, final = network(inputs)
    first, state = network(inputs[:, :3])
    second, last = network(inputs[:, 3:], state)
    close(torch.cat([first, second], 1), whole)
    close(last, final)
    outputs, state = [], tuple(network.initial_state(BATCH))
    for x in inputs.split(1, 1):
        output, state = network.step(x, state)
        outputs.append(output)
    close(torch.cat(outputs, 1), whole)
    close(network.trace(inputs).output, whole)


def test_recurrent_dropout_hides_the_same_units_from_every_gate_at_every_step() -> None:
    network = build("gru", target=VALUES, num_layers=1, recurrent_dropout=0.5).train()
    (cell,) = network.cells()
    torch.manual_seed(2)
    hidden, _ = network.hidden(features())
    torch.manual_seed(2)
    kept = nn.functional.dropout(torch.ones(5, dtype=torch.float64), 0.5)
    assert 0 < kept.count_nonzero() < 5
    h = torch.zeros(BATCH, 5, dtype=torch.float64)
    for t, x in enumerate(features().unbind(1)):
        x_r, x_z, x_n = nn.functional.linear(x, cell.weight_ih, cell.bias_ih).chunk(3, -1)
        h_r, h_z, h_n = nn.functional.linear(h * kept, cell.weight_hh, cell.bias_hh).chunk(3, -1)
        r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
        h = (1 - z) * (x_n + r * h_n).tanh() + z * h  # what the gate carries on is all there
        close(hidden[:, t], h)


def test_zoneout_keeps_a_share_of_the_units_at_each_step() -> None:
    network = build("lstm", target=VALUES, num_layers=1, hidden_size=40, zoneout=0.25).train()
    trace = network.trace(features())
    (cell,) = network.cells()
    before, stayed = network.initial_state(BATCH)[0], []
    for state, x in zip(trace.states[0], features().unbind(1), strict=True):
        plain = cell.cell.step(x, before)[1]
        kept = [(now == then) for now, then in zip(state, before, strict=True)]
        for now, moved, still in zip(state, plain, kept, strict=True):
            close(now[~still], moved[~still])
        stayed.append(torch.stack(kept))
        before = state
    share = torch.stack(stayed).double()
    assert abs(share.mean() - 0.25) < 0.05
    assert not torch.equal(share[:, 0], share[:, 1])  # the hidden state and the cell have masks of their own


class Leaky(Cell[Tensor]):
    """A stranger's cell."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.inward = nn.Linear(input_size, hidden_size)
        self.weights = nn.Parameter(torch.randn(2, hidden_size, hidden_size) / 4)

    def initial_state(self, batch_size: int) -> Tensor:
        return self.weights.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h = state / 2 + (self.inward(x) + nn.functional.linear(state, self.weights[1])).tanh() / 2
        return h, h

    def recurrent_weights(self) -> dict[str, Tensor]:
        return {"second": self.weights[1]}


def test_a_strangers_cell_is_regularized_too() -> None:
    torch.manual_seed(0)
    network = Network(FEATURES, VALUES, Leaky, hidden_size=6, recurrent_dropout=0.5, zoneout=0.2).double().train()
    outputs = []
    for backend in ("auto", "reference"):
        for cell in network.cells():
            cell.backend = backend
        torch.manual_seed(5)
        outputs.append(network(features())[0])
    close(outputs[0], outputs[1])
    (gradient,) = torch.autograd.grad(outputs[0].square().sum(), [network.cells()[0].get_parameter("cell.weights")])
    assert not gradient[0].any()
    assert 0 < (gradient[1] == 0).all(0).sum() < 6  # whole columns: what nothing reads


@every_model
@both_directions
def test_a_learned_initial_state_learns(model: str, bidirectional: bool) -> None:
    network = build(model, initial_state="learned", bidirectional=bidirectional)
    before, _ = network(features())
    close(before, build(model, initial_state="zero", bidirectional=bidirectional)(features())[0])
    before.square().sum().backward()
    assert len(network.initial) == sum(len(tensors(cell.initial_state(1))) for cell in network.cells())
    assert all(part.grad is not None for part in network.initial)
    assert any(part.grad.any() for part in network.initial)
    torch.optim.SGD(network.initial.parameters(), lr=1e-7).step()
    after, _ = network(features())
    assert after.square().sum() < before.square().sum()


def test_a_zero_initial_state_has_no_parameters() -> None:
    assert len(build("lstm").initial) == 0


# ---- the trace ------------------------------------------------------------------------------------------


@every_model_and_readout
@both_directions
def test_a_trace_predicts_what_forward_predicts(
    model: str, bidirectional: bool, target: TargetSpec, readout: str
) -> None:
    network = build(model, target=target, readout=readout, bidirectional=bidirectional)
    trace = network.trace(features(), lengths=LENGTHS)
    close(trace.output, network(features(), lengths=LENGTHS)[0])
    assert [len(states) for states in trace.states] == [TIME] * len(network.cells())


def puts_out_its_memory(model: str) -> bool:
    """Whether the output is the hidden state itself, so that a push on it from outside passes into the next step."""
    (cell, *_) = build(model, num_layers=1).cells()
    output, state = cell.step(torch.zeros(1, cell.input_size, dtype=torch.float64), cell.initial_state(1))
    return output is cell.memory(state)


@pytest.mark.parametrize("model", list(filter(puts_out_its_memory, MODELS)))
@both_directions
@pytest.mark.few("rnn", "gru")
def test_gradients_of_traced_states_agree_with_finite_differences(
    model: str, bidirectional: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build(model, target=VALUES, bidirectional=bidirectional)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)  # away from the kink of a ReLU
    for buffer in network.buffers():
        buffer.requires_grad_()  # a reservoir's states have a gradient, though its weights want none
    weights = torch.randn(BATCH, TIME, 2, dtype=torch.float64)
    valid = (torch.arange(TIME) < LENGTHS[:, None])[..., None]

    def loss(output: Tensor) -> Tensor:
        return (weights * valid * output).sum()

    trace = network.trace(features(), lengths=LENGTHS)
    memories = [
        [cell.memory(state) for state in states] for cell, states in zip(network.cells(), trace.states, strict=True)
    ]
    gradients = torch.autograd.grad(
        loss(trace.output), [memory for states in memories for memory in states], materialize_grads=True
    )
    direction = torch.randn(BATCH, 5, dtype=torch.float64)
    for number, cell in enumerate(network.cells()):
        for at in (0, 3, TIME - 1):
            slopes = []
            for size in (1e-6, -1e-6):
                with monkeypatch.context() as patch:
                    patch.setattr(cell, "step", _nudged(cell, at, size * direction))
                    slopes.append(loss(network.trace(features(), lengths=LENGTHS).output))
            expected = (slopes[0] - slopes[1]) / 2e-6
            actual = (gradients[number * TIME + at] * direction).sum()
            torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-7)


def _nudged(cell: Any, at: int, nudge: Tensor) -> Any:
    """The cell's step, whose hidden state after step ``at`` is pushed: in what is put out and in what goes on."""
    step, calls = cell.step, iter(range(TIME))

    def pushed(x: Tensor, state: State) -> tuple[Tensor, State]:
        output, new = step(x, state)
        if next(calls) != at:
            return output, new
        h = output + nudge
        return h, ((h, *new[1:]) if isinstance(new, tuple) else h)

    return pushed


@both_directions
def test_traced_states_get_no_gradient_from_padding(bidirectional: bool) -> None:
    network = build("lstm", bidirectional=bidirectional)
    trace = network.trace(features(), lengths=LENGTHS)
    every = [part for states in trace.states for state in states for part in tensors(state)]
    gradients = torch.autograd.grad(trace.output.sum(), every, materialize_grads=True)
    per_step = torch.stack(gradients).unflatten(0, (len(network.cells()), TIME, 2))
    beyond = torch.arange(TIME)[:, None] >= LENGTHS
    assert not per_step[:, beyond.nonzero()[:, 0], :, beyond.nonzero()[:, 1]].any()
    # in the first layer each valid step counts
    assert per_step[0, :, 0].any(-1)[~beyond].all()


# ---- the summary ----------------------------------------------------------------------------------------


def _stack(cell: Any, input: InputSpec, hidden: int, classes: int, **options: Any) -> Network:
    return Network(input, TargetSpec("class", classes), cell, hidden_size=hidden, **options)


def test_embedding_lstm_dense_has_the_parameters_that_keras_users_know() -> None:
    """Keras counts 4 · (64 + 128 + 1) · 128 in its LSTM; torch's second bias adds 4 · 128."""
    network = _stack(LSTM, InputSpec(vocabulary=1000), 128, 10, embedding_size=64)
    lstm = 4 * 128 * (64 + 128 + 1)
    assert lstm == 98_816
    assert network.summary(30) == [
        Layer("Embedding", (None, 30, 64), 1000 * 64),
        Layer("LSTM", (None, 30, 128), lstm + 4 * 128),
        Layer("Last valid step", (None, 128), 0),
        Layer("Linear", (None, 10), 128 * 10 + 10),
    ]


def test_embedding_rnn_dense_has_the_parameters_that_keras_users_know() -> None:
    """Keras counts (64 + 128 + 1) · 128 in its SimpleRNN; torch's second bias adds 128."""
    network = _stack(
        lambda *sizes: RNN(*sizes, nonlinearity="relu"), InputSpec(vocabulary=1000), 128, 10, embedding_size=64
    )
    assert [row.parameters for row in network.summary()] == [64_000, 24_704 + 128, 0, 1290]
    assert network.summary()[1].shape == (None, None, 128)


def test_simple_rnn_on_ten_steps_of_twenty_has_the_parameters_that_keras_users_know() -> None:
    """Keras counts (20 + 50 + 1) · 50 in its SimpleRNN; torch's second bias adds 50."""
    network = _stack(RNN, InputSpec(features=20), 50, 5)
    assert network.summary(10) == [
        Layer("RNN", (None, 10, 50), 3550 + 50),
        Layer("Last valid step", (None, 50), 0),
        Layer("Linear", (None, 5), 50 * 5 + 5),
    ]


@every_model
@both_directions
@pytest.mark.parametrize("input", [FEATURES, TOKENS], ids=["features", "tokens"])
def test_the_summary_is_of_the_network_that_runs(model: str, bidirectional: bool, input: InputSpec) -> None:
    network = build(model, input, num_layers=3, bidirectional=bidirectional, dropout=0.1, initial_state="learned")
    rows = network.summary(TIME)
    assert sum(row.parameters for row in rows) == sum(parameter.numel() for parameter in network.parameters())
    x = features() if input.features else torch.randint(11, (BATCH, TIME))
    hidden, _ = network.hidden(x)
    output, _ = network(x)
    recurrent = [row for row in rows if type(network.cells()[0]).__name__ in row.name]
    assert len(recurrent) == 3 and all(row.shape == (None, *hidden.shape[1:]) for row in recurrent)
    assert rows[-1].shape == (None, *output.shape[1:])
    assert [row.name for row in rows].count("Dropout") == 2


def test_the_summary_of_a_prediction_a_step_keeps_the_time() -> None:
    rows = build("gru", TOKENS, NEXT, bidirectional=True, num_layers=1).summary(TIME)
    assert [(row.name, row.shape) for row in rows] == [
        ("Embedding", (None, TIME, 5)),
        ("Bidirectional GRU", (None, TIME, 10)),
        ("Linear", (None, TIME, 11)),
    ]
    assert rows[1].parameters == 2 * sum(parameter.numel() for parameter in GRU(5, 5).parameters())
