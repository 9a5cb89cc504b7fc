"""What stands around a cell: blocks, a short convolution, widths and cells of each layer, both directions as one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from rnnlab.blocks import EXPANSION
from rnnlab.cells.cell import Cell
from rnnlab.cells.gru import GRU
from rnnlab.cells.lru import LRU
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.short_convolution import Convolved
from rnnlab.commands.train import Command
from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.runs.build import build
from rnnlab.spec import InputSpec, TargetSpec

FEATURES, VALUES, CLASS = InputSpec(features=3), TargetSpec("values", 2), TargetSpec("class", 5)
LENGTHS = torch.tensor([6, 8, 1, 4])
AROUND: list[dict[str, Any]] = [
    {"block": "residual", "hidden_size": [4, 6]},
    {"block": "prenorm", "short_conv": 4, "cells": [LSTM, LRU]},
    {"block": "glu", "cells": [LRU, GRU], "dropout": 0.3},
    {"block": "gated_mlp", "hidden_size": [4, 6], "short_conv": 2},
    {"block": "plain", "short_conv": 3, "cells": [LRU, LSTM], "hidden_size": [4, 3]},
]
every_way = pytest.mark.parametrize("around", AROUND, ids=[options["block"] for options in AROUND])


def network(target: TargetSpec = VALUES, input: InputSpec = FEATURES, **options: Any) -> Network:
    torch.manual_seed(0)
    return Network(input, target, GRU, **({"hidden_size": 5, "num_layers": 2} | options)).double()


def features() -> Tensor:
    return torch.randn(4, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def close(actual: Any, expected: Any, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


# ---- what each is ---------------------------------------------------------------------------------------


def test_each_block_is_what_it_says() -> None:
    x = features()
    for kind in ("residual", "prenorm", "glu", "gated_mlp"):
        net = network(CLASS, num_layers=1, block=kind, readout="mean")
        block, cell = net.blocks[0], net.cells()[0]
        wide = F.linear(x, block.input.weight, block.input.bias)
        read = wide if kind == "residual" else F.layer_norm(wide, (5,), block.norm.weight, block.norm.bias)
        h, _ = cell(read)
        if kind == "glu":
            left, right = block.gate(h).chunk(2, -1)
            h = left * right.sigmoid()
        y = wide + h
        if kind == "gated_mlp":
            gate, value = block.gate(block.second_norm(y)).split(EXPANSION * 5, -1)
            y = y + block.output(F.gelu(gate) * value)
        close(net.hidden(x)[0], y)


def test_an_input_as_wide_as_the_layer_is_added_as_it_is() -> None:
    net = network(block="residual", hidden_size=[3, 3])
    assert [block.input for block in net.blocks] == [None, None]
    first, second = net.cells()
    h = features() + first(features())[0]
    close(net.hidden(features())[0], h + second(h)[0])


def test_a_short_convolution_is_torchs_of_as_many_groups() -> None:
    torch.manual_seed(0)
    cell = Convolved(GRU(3, 5), 4).double()
    padded = F.pad(features().transpose(1, 2), (3, 0))
    u = F.conv1d(padded, cell.kernel.T[:, None], cell.kernel_bias, groups=3).transpose(1, 2)
    close(cell(features())[0], cell.cell(u)[0])


@pytest.mark.parametrize("kind", [GRU, LRU], ids=["gru", "lru"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])
def test_a_convolved_cell_is_a_cell(kind: type[Cell[Any]], lengths: Tensor | None) -> None:
    torch.manual_seed(0)
    cell, x = Convolved(kind(3, 5), 4).double(), features()
    padding = torch.arange(8)[:, None] >= LENGTHS.view(-1, 1, 1)
    given = x if lengths is None else x.masked_fill(padding, torch.nan)
    (output, state), (expected, last) = cell(given, None, lengths), cell.unroll(given, None, lengths)
    close((output, state), (expected, last))
    # and no gradient meets what padding holds
    output.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in cell.parameters())
    first, between = cell(x[:, :3])
    second, _ = cell(x[:, 3:], between)
    close(torch.cat([first, second], 1), cell(x)[0])
    assert cell.memory(between).shape == (4, 5)


def test_widths_and_cells_are_those_of_the_lists() -> None:
    net = network(hidden_size=[4, 6, 2], cells=[GRU, LRU, LSTM], num_layers=1)
    assert [type(cell) for cell in net.cells()] == [GRU, LRU, LSTM]
    assert [(cell.input_size, cell.hidden_size) for cell in net.cells()] == [(3, 4), (4, 6), (6, 2)]
    assert net.readout.in_features == net.units == 2 and net.num_layers == 3
    assert [row.shape[-1] for row in net.summary(8)] == [4, 6, 2, 2]


@pytest.mark.parametrize("merge", ["concat", "sum", "mean", "product"])
def test_directions_are_merged_as_asked(merge: str) -> None:
    net = network(bidirectional=True, merge=merge, num_layers=1)
    forward, backward = net.cells()
    left, right = forward(features())[0], backward(features().flip(1))[0].flip(1)
    expected = {
        "concat": torch.cat([left, right], -1),
        "sum": left + right,
        "mean": (left + right) / 2,
        "product": left * right,
    }
    close(net.hidden(features())[0], expected[merge])


def test_both_ends_are_read_out_where_directions_are_merged() -> None:
    net = network(CLASS, bidirectional=True, merge="sum")
    hidden = net.hidden(features(), lengths=LENGTHS)[0]
    expected = torch.cat([hidden[torch.arange(4), LENGTHS - 1], hidden[:, 0]], -1)
    close(net.pool(hidden, LENGTHS), expected)
    assert net.readout.in_features == 10


# ---- the laws of a network, with everything around its cells --------------------------------------------


@every_way
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
def test_padding_changes_nothing(around: dict[str, Any], bidirectional: bool) -> None:
    both = {"bidirectional": True, "merge": "mean"} if bidirectional else {}
    for target in (VALUES, CLASS):
        net = network(target, **around, **both).eval()
        x = features().masked_fill(torch.arange(8)[:, None] >= LENGTHS.view(-1, 1, 1), torch.nan)
        output, _ = net(x, lengths=LENGTHS)
        for row, length in enumerate(LENGTHS.tolist()):
            alone, _ = net(features()[row : row + 1, :length])
            close(output[row : row + 1, :length] if target.per_step else output[row : row + 1], alone)
        valid = torch.arange(8) < LENGTHS[:, None]
        (output[valid] if target.per_step else output).sum().backward()
        assert all(each.grad is not None and each.grad.isfinite().all() for each in net.parameters())


@every_way
def test_chunks_steps_traces_and_recomputation_give_the_whole(around: dict[str, Any]) -> None:
    net, x = network(**around, initial_state="learned").eval(), features()
    whole, final = net(x)
    first, state = net(x[:, :3])
    second, last = net(x[:, 3:], state)
    close((torch.cat([first, second], 1), last), (whole, final))
    outputs, state = [], tuple(net.initial_state(4))
    for step in x.split(1, 1):
        output, state = net.step(step, state)
        outputs.append(output)
    close((torch.cat(outputs, 1), state), (whole, final), 1e-10)
    close(net.trace(x).output, whole)
    net.recompute = True
    close(net(x)[0], whole)


@every_way
def test_a_fleet_equals_each_alone(around: dict[str, Any]) -> None:
    members = [network(**around).eval() for _ in range(2)]
    for parameter in members[1].parameters():
        parameter.data.add_(0.01)
    parameters, buffers = stack_module_state(members)  # type: ignore[arg-type]

    def one(parameters: Any, buffers: Any, x: Tensor) -> Tensor:
        return functional_call(members[0], (parameters, buffers), (x,))[0]

    together = vmap(one, in_dims=(0, 0, None))(parameters, buffers, features())
    close(together, torch.stack([member(features())[0] for member in members]), 1e-10)


def test_dropout_within_a_block_leaves_what_is_skipped_alone() -> None:
    net = network(block="residual", hidden_size=[3], num_layers=1, dropout=0.5)
    added = net.hidden(features())[0] - features()
    assert 0.3 < (added == 0).double().mean() < 0.7
    kept = network(block="residual", hidden_size=[3], num_layers=1).hidden(features())[0] - features()
    close(added[added != 0], 2 * kept[added != 0])


def test_zoneout_and_recurrent_dropout_reach_a_convolved_cell() -> None:
    net = network(short_conv=3, zoneout=0.4, recurrent_dropout=0.3, block="prenorm")
    x = features()[:, :2]  # so few steps that no kernel is derived
    torch.manual_seed(5)
    one = net(x)[0]
    torch.manual_seed(6)
    assert not torch.allclose(one, net(x)[0])
    assert net.eval().initial_state(4)[0][1].shape == (4, 2, 5)


# ---- names on the command line --------------------------------------------------------------------------


def composed(*overrides: str) -> dict[str, Any]:
    from rnnlab.commands.composition import plain

    return plain(Command.compose(["data=sine", *overrides]).config)


def test_layers_are_named_as_models() -> None:
    config = composed("model=lru", "model.cell.state_size=3", "model.layers=[gru,lru,min_lstm]", "model.hidden_size=6")
    net = build(config["model"], "model", input=FEATURES, target=VALUES)
    assert [cell.title for cell in net.cells()] == ["GRU", "LRU", "MinLSTM"]
    # the layer of the model that was chosen has its options
    assert net.cells()[1].state_size == 3
    assert build(config["model"], "model", [], input=FEATURES, target=VALUES).num_layers == 3


def test_a_layer_may_be_ones_own(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("cell:\n  _target_: rnnlab.cells.lstm.LSTM\n  _partial_: true\n")
    from rnnlab.commands.composition import plain

    config = plain(Command.compose(["data=sine", "model.layers=[mine,gru]"], str(tmp_path)).config)
    assert config["model"]["cells"][0] == {"_target_": "rnnlab.cells.lstm.LSTM", "_partial_": True}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.layers=[gru,lruu]"], r"model.layers=\[gru, lruu\]: no such model: lruu; did you mean 'lru'"),
        (["model.layers=[gru,lru]", "model.num_layers=3"], "different numbers of layers"),
        (["model.hidden_size=[4,3]", "model.num_layers=3"], "different numbers of layers"),
        (["model.hidden_size=[4,0]"], r"model.hidden_size=\[4, 0\]: must be"),
        (["model.hidden_size=[]"], r"model.hidden_size=\[\]: must be"),
        (["model.layers=gru"], "model.layers=gru: must be a list"),
        (["model.block=prenrom"], "did you mean 'prenorm'"),
        (["model.short_conv=1"], "model.short_conv=1: must be"),
        (["model.merge=sum"], "model.merge=sum is of both directions of a layer"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_in_one_line(overrides: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        build(composed(*overrides)["model"], "model", input=FEATURES, target=VALUES)
    assert "\n" not in str(refused.value)


def test_an_older_networks_weights_are_named_as_they_were() -> None:
    names = set(network(bidirectional=True).state_dict())
    assert {name.split(".")[0] for name in names} == {"layers", "readout"}
    assert "layers.1.1.weight_hh" in names and isinstance(network().layers, nn.ModuleList)
