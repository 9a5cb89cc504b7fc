"""The time since the step before: the laws of every cell that uses it, and its way through a network."""

import re
from dataclasses import asdict
from importlib import import_module
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from test_cells import (
    BATCH,
    CONF,
    FEATURES,
    HIDDEN,
    LENGTHS,
    MODELS,
    TIME,
    close,
    config,
    gradients,
    inputs,
    parts,
    rows,
)
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from rnnlab.cells.cell import Cell, map_state
from rnnlab.cells.gru import GRU
from rnnlab.cells.gru_d import GRUD
from rnnlab.cells.lru import LRU
from rnnlab.data.irregular_sine import IrregularSine
from rnnlab.elapsed import declares, strided, to_the_next
from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.spec import InputSpec, TargetSpec
from rnnlab.stepping import NetworkStep
from rnnlab.summary import elapsed_in_words


def kind_of(model: str) -> type[Cell[Any]]:
    """The class of a model's cell, without composing its config."""
    (target, *_) = re.findall(r"_target_: (rnnlab\.cells\.\S+)", (CONF / f"model/{model}.yaml").read_text())
    module, _, name = target.rpartition(".")
    return getattr(import_module(module), name)


TIMED = [model for model in MODELS if declares(kind_of(model), "uses_elapsed")]
LINEAR = ["lru", "s5", "s4d"]

every_timed_model = pytest.mark.parametrize("model", TIMED)


def timed(model: str, **options: Any) -> Cell[Any]:
    """The model's cell in float64, told that the last feature is the time since the step before."""
    torch.manual_seed(0)
    return instantiate(config(model).cell, elapsed=True, **options)(FEATURES + 1, HIDDEN).double()


def steps(time: int = TIME) -> Tensor:
    """``(batch, time, 1)`` times, some of them short, some long."""
    rng = torch.Generator().manual_seed(7)
    return (2 * torch.randn(BATCH, time, 1, dtype=torch.float64, generator=rng) - 0.5).exp()


def some_state(cell: Cell[Any]) -> Any:
    rng = torch.Generator().manual_seed(2)
    return map_state(lambda zero: torch.rand(zero.shape, dtype=zero.dtype, generator=rng), cell.initial_state(BATCH))


def test_those_that_say_so() -> None:
    assert set(TIMED) >= {"cfc", "gru_d", "lem", "lru", "ltc", "s5", "s4d"}


# ---- cells -----------------------------------------------------------------------------------------------


@every_timed_model
def test_steps_of_length_1_are_steps(model: str) -> None:
    cell = timed(model)
    torch.manual_seed(0)
    plain = instantiate(config(model).cell)(FEATURES, HIDDEN).double()
    assert {name: p.shape for name, p in plain.named_parameters()} == {n: p.shape for n, p in cell.named_parameters()}
    cell.load_state_dict(plain.state_dict())  # an old checkpoint's
    ones = torch.cat([inputs(), torch.ones(BATCH, TIME, 1, dtype=torch.float64)], -1)
    for lengths in (None, LENGTHS):
        ours = cell.unroll(ones, some_state(cell), lengths)
        theirs = plain.unroll(inputs(), some_state(plain), lengths)
        close(ours[0], theirs[0])
        close(ours[1], theirs[1])


@every_timed_model
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])
def test_forward_is_unroll(model: str, lengths: Tensor | None) -> None:
    cell = timed(model)
    x = torch.cat([inputs(), steps()], -1).requires_grad_()
    start = map_state(Tensor.requires_grad_, some_state(cell))
    wanted = [x, *parts(start), *cell.parameters()]
    fast, reference = cell(x, start, lengths), cell.unroll(x, start, lengths)
    close(fast[0], reference[0])
    close(fast[1], reference[1])
    ours, theirs = gradients(*fast, wanted), gradients(*reference, wanted)
    close(ours, theirs, 1e-11)
    assert ours[0][..., -1].any()  # the times count


@every_timed_model
def test_padding_changes_nothing_and_chunks_are_the_whole(model: str) -> None:
    cell = timed(model)
    x = torch.cat([inputs(), steps()], -1)
    padded = x.clone()
    padded[torch.arange(TIME) >= LENGTHS[:, None]] = torch.nan
    output, final = cell(padded, some_state(cell), LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, state = cell(x[row : row + 1, :length], rows(some_state(cell), slice(row, row + 1)))
        close(output[row : row + 1, :length], alone)
        close(rows(final, slice(row, row + 1)), state)
    first, state = cell(x[:, :4], some_state(cell))
    second, _ = cell(x[:, 4:], state)
    close(torch.cat([first, second], 1), cell(x, some_state(cell))[0])


@every_timed_model
def test_no_time_and_much_time_are_finite(model: str) -> None:
    cell = timed(model)
    x = torch.cat([inputs(), steps()], -1)
    x[:, 2, -1], x[:, 5, -1], x[:, 7, :-1] = 0, 1e6, 50
    x.requires_grad_()
    output, final = cell(x)
    found = torch.autograd.grad(output.sum() + sum(part.sum() for part in parts(final)), [x, *cell.parameters()])
    assert output.isfinite().all() and all(grad.isfinite().all() for grad in found)


@pytest.mark.parametrize("model", LINEAR)
def test_two_steps_without_input_are_one_of_their_sum(model: str) -> None:
    cell = timed(model)
    start = some_state(cell)
    if model == "s4d":  # the bias of what stands in front of the recurrence is an input
        cell.encoder.bias.data.zero_()
    nothing = torch.zeros(BATCH, FEATURES, dtype=torch.float64)
    a, b = steps()[:, 0], steps()[:, 1]
    _, between = cell.step(torch.cat([nothing, a], -1), start)
    _, after = cell.step(torch.cat([nothing, b], -1), between)
    _, once = cell.step(torch.cat([nothing, a + b], -1), start)
    close(after, once)


@every_timed_model
def test_members_are_single_cells(model: str) -> None:
    members = [timed(model) for _ in range(2)]
    for parameter in members[1].parameters():
        parameter.data.mul_(0.5)
    stacked, _ = stack_module_state(members)
    x = torch.cat([inputs(), steps()], -1)
    both = torch.stack([x, x.flip(0)])

    def one(parameters: dict[str, Tensor], x: Tensor) -> Any:
        return functional_call(members[0], parameters, (x, None, LENGTHS))

    outputs, _ = vmap(one)(stacked, both)
    for number, member in enumerate(members):
        close(outputs[number], member(both[number], None, LENGTHS)[0])


def test_a_liquid_unit_stays_between_0_and_what_it_goes_to() -> None:
    cell = timed("ltc")
    x = torch.cat([20 * inputs(40), 30 * steps(40)], -1)
    h, _ = cell(x)
    assert (h * cell.target >= 0).all() and (h.abs() <= cell.target.abs()).all()
    late = h[:, -1]
    for _ in range(5):
        late, _ = cell.step(torch.cat([inputs()[:, 0], torch.full((BATCH, 1), 1e9, dtype=torch.float64)], -1), late)
    f = cell.gates(torch.cat([inputs()[:, 0], steps()[:, 0]], -1), late)["conductance"]
    close(late, f * cell.target / ((-cell.log_time).exp() + f), 1e-6)  # where the equation stands still


# ---- values that are missing ---------------------------------------------------------------------------------


def gru_d(masks: tuple[tuple[int, int], ...] = ((0, 2),), elapsed: bool = True) -> GRUD:
    torch.manual_seed(0)
    return GRUD(FEATURES + elapsed, HIDDEN, elapsed=elapsed, masks=masks).double()


def missing(elapsed: bool = True) -> Tensor:
    """``(batch, time, features)``: two values, whether the first one is missing, and the time."""
    rng = torch.Generator().manual_seed(5)
    x = torch.randn(BATCH, TIME, 2, dtype=torch.float64, generator=rng)
    mask = (torch.rand(BATCH, TIME, 1, dtype=torch.float64, generator=rng) < 0.6).double()
    for t in range(1, TIME):  # the last known one stands there
        x[:, t, 0] = torch.where(mask[:, t, 0] > 0, x[:, t - 1, 0], x[:, t, 0])
    return torch.cat([x, mask, steps()] if elapsed else [x, mask], -1)


@pytest.mark.parametrize("elapsed", [True, False])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])
def test_gru_d_with_masks_is_its_unroll(lengths: Tensor | None, elapsed: bool) -> None:
    cell, x = gru_d(elapsed=elapsed), missing(elapsed).requires_grad_()
    start = map_state(Tensor.requires_grad_, some_state(cell))
    wanted = [x, *parts(start), *cell.parameters()]
    fast, reference = cell(x, start, lengths), cell.unroll(x, start, lengths)
    close(fast[0], reference[0])
    close(fast[1], reference[1])
    close(gradients(*fast, wanted), gradients(*reference, wanted), 1e-11)


def test_what_is_missing_decays_by_the_time_since_it_was_seen() -> None:
    """The equations of Che et al. (2018), written out."""
    cell, x = gru_d(), missing()
    w, v = cell.input_decay.data = torch.tensor([[0.3], [0.1]], dtype=torch.float64)
    h, since = torch.zeros(BATCH, HIDDEN, dtype=torch.float64), torch.zeros(BATCH, dtype=torch.float64)
    u_r, u_z, u_n = cell.weight_hh.chunk(3)
    for t in range(TIME):
        value, other, mask, time = x[:, t].unbind(-1)
        unseen = x[:, t - 1, 2] if t else torch.zeros_like(since)
        since = torch.where(unseen > 0, since + time, time)
        read = torch.where(mask > 0, value * (-(w * since + v).clamp_min(0)).exp(), value)
        rate = torch.stack([time, since], -1) @ cell.weight_decay.T + cell.bias_decay
        h = h * (-rate.clamp_min(0)).exp()
        x_r, x_z, x_n = (torch.stack([read, other, mask], -1) @ cell.weight_ih.T + cell.bias).chunk(3, -1)
        r, z = (x_r + h @ u_r.T).sigmoid(), (x_z + h @ u_z.T).sigmoid()
        h = (1 - z) * h + z * (x_n + (r * h) @ u_n.T).tanh()
    close(cell(x)[0][:, -1], h)


def test_a_network_tells_which_features_are_missing() -> None:
    spec = InputSpec(features=5, elapsed=1, masks=[[0, 3], [2, 4]])
    assert InputSpec(**asdict(spec)) == spec
    make = instantiate(config("gru_d").cell)
    net = Network(spec, TargetSpec("values", 1), make, 4, num_layers=2)
    first, second = net.cells()
    assert (first.elapsed, first.masks, second.masks) == (True, ((0, 2), (1, 3)), ())
    assert elapsed_in_words(net) == "GRUD knows how far apart steps are, and which values are missing"
    for options in ({"short_conv": 2}, {"block": "prenorm"}, {"embedding_size": 3}):
        net = Network(spec, TargetSpec("values", 1), make, 4, **options)
        assert not any(cell.masks for cell in net.cells())
        assert "cannot tell which values are missing behind" in elapsed_in_words(net)
    net = Network(InputSpec(features=3, masks=[[0, 2]]), TargetSpec("values", 1), make, 4)
    assert net.cells()[0].masks == ((0, 2),)
    assert elapsed_in_words(net) == "GRUD knows which values are missing"
    x = torch.rand(2, 6, 3)
    step, state = NetworkStep(net), (net.initial_state(2), None)
    for x_t in x.unbind(1):
        output, state = step(x_t, state)
    torch.testing.assert_close(output, net(x)[0][:, -1])


# ---- networks ----------------------------------------------------------------------------------------------

AT = 1
"""The feature that is the time."""


def network(model: str = "lru", target: TargetSpec | None = None, **options: Any) -> Network:
    torch.manual_seed(0)
    spec = InputSpec(features=FEATURES + 1, elapsed=AT)
    kind = instantiate(config(model).cell)
    return Network(spec, target or TargetSpec("values", 2), kind, HIDDEN, **options).double().eval()


def given(time: int = TIME) -> Tensor:
    x = inputs(time)
    return torch.cat([x[..., :AT], steps(time), x[..., AT:]], -1)


SHAPES: list[dict[str, Any]] = [
    {},
    {"num_layers": 2},
    {"short_conv": 3},
    {"zoneout": 0.1, "model": "cfc"},
    {"block": "gated_mlp", "num_layers": 2},
    {"embedding_size": 6},
    {"model": "gru"},
    {"cells": [GRU, LRU]},
]


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_a_network_goes_step_by_step(options: dict[str, Any]) -> None:
    net = network(**options)
    x = given()
    whole, _ = net(x)
    step, state = NetworkStep(net), (net.initial_state(BATCH), None)
    outputs = []
    for x_t in x.unbind(1):
        output, state = step(x_t, state)
        outputs.append(output)
    close(torch.stack(outputs, 1), whole)
    assert sum(parameter.numel() for parameter in net.parameters()) == sum(row.parameters for row in net.summary(TIME))
    x[:, 3, AT] += 1
    changed, _ = net(x)
    close(changed[:, :3], whole[:, :3])
    assert (changed[:, 3:] != whole[:, 3:]).any()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.few("gru", "gru_d", "ltc", "s4d")
def test_every_model_reads_irregular_steps_with_missing_values(model: str) -> None:
    torch.manual_seed(0)
    spec = InputSpec(features=5, elapsed=4, masks=((0, 2), (1, 3)))
    net = Network(spec, TargetSpec("class", 2), instantiate(config(model).cell), 4, bidirectional=True)
    x = torch.rand(3, 6, 5)
    x[..., 2:4] = x[..., 2:4].round()
    with torch.no_grad():
        output, _ = net(x, lengths=torch.tensor([6, 1, 4]))
    assert output.isfinite().all()
    assert elapsed_in_words(net)


def test_every_layer_is_told() -> None:
    net = network(num_layers=2, bidirectional=True)
    assert all(cell.elapsed for cell in net.cells())
    assert [cell.input_size for cell in net.cells()] == [FEATURES + 1] * 2 + [2 * HIDDEN + 1] * 2
    assert elapsed_in_words(net) == "LRU knows how far apart steps are"
    mixed = network(cells=[GRU, LRU])
    assert [cell.elapsed for cell in mixed.cells()] == [False, True]
    assert "a feature for GRU" in elapsed_in_words(mixed)
    assert elapsed_in_words(Network(InputSpec(features=3), TargetSpec("values", 1), GRU, 4)) == ""


def test_who_knows_no_times_reads_their_logarithm_as_a_feature() -> None:
    net = network("gru")
    torch.manual_seed(0)
    plain = Network(InputSpec(features=FEATURES + 1), TargetSpec("values", 2), GRU, HIDDEN).double().eval()
    x = given()
    x[..., AT] = x[..., AT].log1p()
    close(net(given())[0], plain(x)[0])


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])
def test_who_reads_from_the_end_is_told_the_gap_to_the_next_step(lengths: Tensor | None) -> None:
    """A sequence and its times turned around, and both directions exchanged: the same, turned around."""
    net = network(bidirectional=True)
    forward, backward = net.cells()
    net.readout.weight.data[:, HIDDEN:] = net.readout.weight[:, :HIDDEN]
    backward.load_state_dict(forward.state_dict())
    x = given()
    for row, length in enumerate([TIME] * BATCH if lengths is None else lengths.tolist()):
        times = x[row, :length, AT]
        times[0] = 1  # of the first step nobody knows
        alone = net(x[row : row + 1, :length])[0]
        turned = x[row : row + 1, :length].flip(1)
        turned[0, :, AT] = torch.cat([times.new_ones(1), times[1:].flip(0)])
        close(net(turned)[0].flip(1), alone)
        close(net(x, lengths=lengths)[0][row, :length], alone[0])


def test_the_gap_to_the_next_step() -> None:
    times = torch.tensor([[1.0, 2, 3, 4], [1, 5, 9, 9]])[..., None]
    assert to_the_next(times, torch.tensor([4, 2]))[..., 0].tolist()[0] == [2, 3, 4, 1]
    assert to_the_next(times, torch.tensor([4, 2]))[1, :2, 0].tolist() == [5, 1]


def test_convolutions_leave_out_steps_and_no_time() -> None:
    times = torch.tensor([[1.0, 2, 3, 4, 5, 6, 7]])[..., None]
    assert strided(times, None, 3)[0, :, 0].tolist() == [1, 3, 6]  # 2 + 3 + 4 and 5 + 6 + 7, in thirds
    one = TargetSpec("class", 2)
    net = network(target=one, encoder="conv", encoder_stride=3, bidirectional=True)
    x, lengths = given(12), torch.tensor([12, 5, 9, 1])
    together = net(x, lengths=lengths)[0]
    for row, length in enumerate(lengths.tolist()):
        close(net(x[row : row + 1, :length])[0][0], together[row])


def test_times_below_0_are_none() -> None:
    net, x = network(), given()
    x[:, 4, AT] = -3
    assert net(x)[0].isfinite().all()
    later = x.clone()
    later[:, 4, AT] = 0
    close(net(x)[0], net(later)[0])


@pytest.mark.parametrize("format", ["pt2", pytest.param("onnx", marks=pytest.mark.needs("export"))])
@pytest.mark.slow
def test_it_is_exported(format: Any) -> None:
    from rnnlab.use.export.check import Steps, check
    from rnnlab.use.export.formats import convert, serve

    net = network().float()
    _, content = convert(net, torch.ones(3, 5, FEATURES + 1), format)
    check(serve(content, format), net, Steps(torch.rand(101, FEATURES + 1)), 6)


# ---- data --------------------------------------------------------------------------------------------------


def test_neither_values_nor_times_alone_tell_slow_from_fast() -> None:
    batch = IrregularSine(num_samples=2500).split("train").batch(slice(None))
    fast, values, times = batch.targets == 1, batch.inputs[..., 0], batch.inputs[..., 1]
    changes = values.diff(dim=1).abs().mean(1)
    # what values change from step to step is the same of both, and does not tell them apart
    assert abs(((changes > changes.median()) == fast).double().mean() - 0.5) < 0.04
    lasts = times[:, 1:].sum(1)
    assert 0.6 < ((lasts < lasts.median()) == fast).double().mean() < 0.7
    # together they do: how much a value changes in a short time
    speed = (values.diff(dim=1).abs() / times[:, 1:]).median(1).values
    assert ((speed > speed.median()) == fast).double().mean() > 0.9
    assert times[:, 1:].median() == pytest.approx(1, rel=0.1)
    assert IrregularSine(num_samples=40, elapsed=False).spec.input.elapsed is None


def test_waves_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match=r"data.ratio=0.5 must be above 1"):
        IrregularSine(ratio=0.5)
    with pytest.raises(InputError, match=r"data.cycles=\[0, 1\] must be above 0"):
        IrregularSine(cycles=[0, 1])
