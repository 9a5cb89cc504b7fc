"""Layers that run by hand: where the blocks' edges lie, who must not run so, and what they refuse."""

import random
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, vmap

from rnnlab.cells import torch_kernels
from rnnlab.cells.bptt import BLOCK, LONG_BLOCK, SMALL_STEP, block_size, by_hand, states_before
from rnnlab.cells.cell import map_state
from rnnlab.cells.cfc import CfC
from rnnlab.cells.cornn import CoRNN
from rnnlab.cells.gru import GRU
from rnnlab.cells.indrnn import IndRNN
from rnnlab.cells.layer_norm_lstm import LayerNormLSTM
from rnnlab.cells.lem import LEM
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.mogrifier_lstm import MogrifierLSTM
from rnnlab.cells.rnn import RNN
from rnnlab.cells.slstm import SLSTM
from rnnlab.cells.torch_kernels import worthwhile_blocks
from rnnlab.cells.unicornn import UnICORNN
from rnnlab.cells.varying_lengths import STEPS, Block, cut, pack, small_blocks
from rnnlab.shapes import State

BATCH, FEATURES, HIDDEN = 10, 3, 6
KINDS = [
    pytest.param(GRU, {}, id="gru"),
    pytest.param(RNN, {"nonlinearity": "tanh"}, id="rnn"),
    pytest.param(RNN, {"nonlinearity": "relu"}, id="rnn_relu"),
    pytest.param(IndRNN, {"nonlinearity": "relu"}, id="indrnn"),
    pytest.param(IndRNN, {"nonlinearity": "tanh"}, id="indrnn_tanh"),
    pytest.param(LayerNormLSTM, {}, id="layer_norm_lstm"),
    pytest.param(LEM, {}, id="lem"),
    pytest.param(LEM, {"dt": 0.3}, id="lem_short_steps"),
    pytest.param(CoRNN, {}, id="cornn"),
    pytest.param(UnICORNN, {}, id="unicornn"),
    pytest.param(SLSTM, {}, id="slstm"),
    pytest.param(MogrifierLSTM, {}, id="mogrifier_lstm"),
    pytest.param(MogrifierLSTM, {"rounds": 2}, id="mogrifier_lstm_2"),
    pytest.param(MogrifierLSTM, {"rounds": 0}, id="mogrifier_lstm_0"),
    pytest.param(CfC, {"time_step": 0.7}, id="cfc"),
    pytest.param(CfC, {"backbone_layers": 3, "backbone_units": 5}, id="cfc_deep"),
]
by_hand_kinds = pytest.mark.parametrize(("kind", "options"), KINDS)


def layer(kind: Any, options: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    cell = kind(FEATURES, HIDDEN, **options).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            # or gradients through norms of so few units explode, and rounding errors with them
            parameter.mul_(0.5)
    return cell


def some_state(cell: Any) -> Any:
    """One that the cell can be in."""
    with torch.no_grad():
        return map_state(Tensor.clone, cell.unroll(2 * torch.randn(BATCH, 3, FEATURES, dtype=torch.float64))[1])


def parts(state: State) -> list[Tensor]:
    return list(state) if isinstance(state, tuple) else [state]


@by_hand_kinds
@pytest.mark.parametrize("time", [1, STEPS, *(LONG_BLOCK + more for more in (-1, 0, 1, 2 * STEPS + 2))])
@pytest.mark.parametrize("varying", [False, True])
def test_it_is_the_loop_wherever_the_blocks_end(kind: Any, options: Any, time: int, varying: bool) -> None:
    cell = layer(kind, options)
    x = torch.randn(BATCH, time, FEATURES, dtype=torch.float64, requires_grad=True)
    start = map_state(Tensor.requires_grad_, some_state(cell))
    lengths = torch.tensor([time // 2, time, 0, 1, max(time - LONG_BLOCK, 0)] + 5 * [1]) if varying else None
    wanted = [x, *parts(start), *cell.parameters()]
    results = []
    for run in (cell, cell.unroll):
        output, last = run(x, start, lengths)
        loss = (output * torch.arange(output.numel()).view_as(output).sin()).sum()
        loss = loss + sum(part.square().sum() for part in parts(last))
        results.append((output, *parts(last), *torch.autograd.grad(loss, wanted)))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("varying", [False, True])
def test_the_first_stabiliser_of_an_slstm_and_its_ties(varying: bool) -> None:
    cell = layer(SLSTM, {})
    with torch.no_grad():
        cell.bias[:HIDDEN] = -40.0  # far below log σ(f): only the mask keeps n from being 0
        cell.weight_ih[1].zero_()
        cell.weight_hh[[1, HIDDEN + 1]] = 0.0
        # of unit 1 both gates are equal at the first step, and the stabiliser is either
        cell.bias[1] = F.logsigmoid(cell.bias[HIDDEN + 1])
        cell.weight_ih[HIDDEN + 1].zero_()
    x = torch.randn(BATCH, LONG_BLOCK + 3, FEATURES, dtype=torch.float64, requires_grad=True)
    lengths = torch.arange(BATCH) * 3 if varying else None
    results = []
    for run in (cell, cell.unroll):
        output, last = run(x, None, lengths)
        loss = output.sin().sum() + sum((part * (number + 1)).sum() for number, part in enumerate(last))
        results.append((output, *last, *torch.autograd.grad(loss, [x, *cell.parameters()])))
    for ours, expected in zip(*results, strict=True):
        assert expected.isfinite().all()
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "hidden"), [(GRU, 256), (RNN, 256), (CfC, 32), (LEM, 32), (SLSTM, 32), (MogrifierLSTM, 32)]
)
def test_single_precision_rounds_little_more_than_the_loop(kind: Any, hidden: int) -> None:
    errors = []
    for seed in range(5):
        torch.manual_seed(seed)
        cell, x = kind(8, hidden), torch.randn(8, 100, 8)
        with torch.no_grad():
            rounded = cell(x)[0], cell.unroll(x)[0]
            exact = cell.double().unroll(x.double())[0]
        errors.append([float((each - exact).abs().max()) for each in rounded])
    by_hand_errors, loop_errors = zip(*errors, strict=True)
    assert sum(by_hand_errors) < 2.5 * sum(loop_errors)


@by_hand_kinds
def test_a_loss_of_the_output_alone_has_the_loops_gradients(kind: Any, options: Any) -> None:
    cell = layer(kind, options)
    x = torch.randn(BATCH, LONG_BLOCK + 3, FEATURES, dtype=torch.float64, requires_grad=True)
    ours, expected = (
        torch.autograd.grad(run(x)[0].sin().sum(), [x, *cell.parameters()]) for run in (cell, cell.unroll)
    )
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@by_hand_kinds
def test_sequences_without_a_step(kind: Any, options: Any) -> None:
    cell = layer(kind, options)
    start = some_state(cell)
    x, lengths = torch.randn(BATCH, 3, FEATURES, dtype=torch.float64), torch.zeros(BATCH, dtype=torch.long)
    output, last = cell(x, start, lengths)
    assert not output.any()
    torch.testing.assert_close(parts(last), parts(start))


def test_each_block_has_the_rows_that_reach_it_and_some_to_round_them_up() -> None:
    lengths = torch.ones(20, dtype=torch.long)
    lengths[3], lengths[5:14] = BLOCK + 3 * STEPS + 3, STEPS + 1
    blocks, _, order, places, beyond, row_of = cut(100, lengths, partial(small_blocks, BLOCK))
    # 20, 10 and 1 sequences reach them
    assert blocks == [Block(STEPS, 20), Block(STEPS, 12), Block(BLOCK, 4), Block(STEPS + 3, 4)]
    assert order.tolist() == [3, *range(5, 14), 0, 1, 2, 4, *range(14, 20)]
    assert places[:3].tolist() == [300, 500, 600]
    # the last step of the last block
    last = BLOCK + 3 * STEPS + 2
    assert places[-4:].tolist() == [100 * row + last for row in order[:4].tolist()]
    # of each step there is one row, and each row is that of a step or beyond the end of its sequence
    steps = [(row, step) for row, length in enumerate(lengths.tolist()) for step in range(length)]
    rows = [int(row_of[100 * row + step]) for row, step in steps]
    assert sorted(rows + beyond.tolist()) == list(range(len(places)))
    assert places[rows].tolist() == [100 * row + step for row, step in steps]
    assert (row_of == len(places)).sum() == 20 * 100 - lengths.sum()


@pytest.mark.parametrize("seed", range(5))
def test_short_sequences_stand_one_behind_the_other(seed: int) -> None:
    lengths = sorted(random.Random(seed).choices(range(1, 40), k=30), reverse=True)
    rows, begins, ends = pack(lengths)
    assert ends == sorted(ends, reverse=True)
    assert ends[0] == lengths[0]
    assert ends[-1] + 1 + ends[-2] > ends[0]  # no two of them would fit into one
    for row, end in enumerate(ends):
        there = sorted((begin, length) for begin, length, r in zip(begins, lengths, rows, strict=True) if r == row)
        # one step lies between two of them
        afterwards = [begin + length + 1 for begin, length in there]
        assert [begin for begin, _ in there] == [0, *afterwards[:-1]]
        assert end == afterwards[-1] - 1


def test_a_row_is_taken_over_at_the_step_between_two_sequences() -> None:
    lengths = torch.tensor([2, 0, 9, 3, 3, 2, 9])
    found = cut(9, lengths, partial(small_blocks, 4), packed=True)
    # rows of 9, of 9, of 3 and 3, of 2 and 2
    assert found.blocks == [Block(4, 4), Block(4, 4), Block(1, 4)]
    assert found.order.tolist() == [2, 6, 3, 0, 5, 4]
    assert found.takeovers is not None
    first, *others = found.takeovers
    assert first is not None
    told = [takeover and (takeover.rows.tolist(), takeover.starts) for takeover in first]
    assert told == [None, None, ([3], slice(4, 5)), ([2], slice(5, 6))]
    assert others == [None, None]
    # of the third row, between its sequences and beyond them padding, which nobody looks at
    places = found.places.view(9, 4)
    assert places[:, 2].tolist() == [27, 28, 29, 30, 36, 37, 38, 39, 40]
    assert set(range(2, 36, 4)) & set(found.beyond.tolist()) == {14, 30, 34}


@pytest.mark.parametrize(("kind", "options"), KINDS[:5])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_loop_whoever_takes_over(kind: Any, options: Any, seed: int) -> None:
    cell, longest, batch = layer(kind, options), LONG_BLOCK + 30, 40
    lengths = torch.tensor([*random.Random(seed).choices(range(longest // (seed + 1)), k=batch - 1), longest])
    x = torch.randn(batch, longest + 2, FEATURES, dtype=torch.float64, requires_grad=True)
    start = torch.randn(batch, HIDDEN, dtype=torch.float64, requires_grad=True)
    weighing, results = torch.randn(batch, longest + 2, HIDDEN, dtype=torch.float64), []
    for run in (cell, cell.unroll):
        output, last = run(x, start, lengths)
        loss = (output * weighing).sum() + last.square().sum()
        results.append((output, last, *torch.autograd.grad(loss, [x, start, *cell.parameters()])))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("seed", range(3))
def test_an_lstm_without_its_state_is_the_loop(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, longest, batch = layer(LSTM, {}), 45, 20
    lengths = torch.tensor([*random.Random(seed).choices(range(longest // (seed + 1)), k=batch - 1), longest])
    x = torch.randn(batch, longest + 2, FEATURES, dtype=torch.float64, requires_grad=True)
    weighing, calls = torch.randn(batch, longest + 2, HIDDEN, dtype=torch.float64), []
    kernel = torch.lstm
    monkeypatch.setattr(torch, "lstm", lambda rows, *rest: calls.append(rows.shape[:2]) or kernel(rows, *rest))
    ours, expected = (
        (output, *torch.autograd.grad((output * weighing).sum(), [x, *cell.parameters()]))
        for output in (cell.outputs(x, None, lengths), cell.unroll(x, None, lengths)[0])
    )
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-11)
    # as many rows as half the sequences fill, and once for all steps
    ((steps, rows),) = calls
    assert steps == 48
    assert rows < batch
    # a state to begin with, and one that is learned, go through blocks
    for start in some_state(cell), tuple(p.zero_().requires_grad_() for p in some_state(cell)):
        given = map_state(lambda part: part.repeat(2, 1), start)
        torch.testing.assert_close(cell.outputs(x, given, lengths), cell.unroll(x, given, lengths)[0])


def test_an_lstm_runs_in_blocks_where_nothing_fits_behind_another() -> None:
    cell, lengths = layer(LSTM, {}), torch.arange(60, 100)
    x = torch.randn(40, 100, FEATURES, dtype=torch.float64)
    expected = cell.unroll(x, None, lengths)[0]
    torch.testing.assert_close(cell.outputs(x, None, lengths), expected, rtol=1e-12, atol=1e-12)
    for others in (lengths, torch.zeros_like(lengths), torch.full_like(lengths, 100)):
        assert torch_kernels.packed_lstm(tuple(cell.parameters()), x, others) is None


def test_a_small_step_makes_long_blocks() -> None:
    assert block_size(SMALL_STEP) == LONG_BLOCK
    assert block_size(SMALL_STEP + 1) == BLOCK


def test_a_block_goes_on_while_few_of_its_sequences_end() -> None:
    ends = [2 * BLOCK] * 60 + [1] * 4
    assert small_blocks(BLOCK, ends) == [Block(BLOCK, 64), Block(BLOCK, 60)]
    ends[56:] = [1] * 8
    assert small_blocks(BLOCK, ends) == [Block(STEPS, 64), Block(BLOCK, 56), Block(BLOCK - STEPS, 56)]


def test_the_states_before_a_block_are_those_of_the_block_before_it() -> None:
    blocks = [Block(2, 3), Block(2, 2), Block(1, 2)]
    states, start = torch.arange(12)[:, None], -torch.arange(1, 4)[:, None]
    expected = [[[-1, -2, -3], [0, 1, 2]], [[3, 4], [6, 7]], [[8, 9]]]
    for number, (steps, rows) in enumerate(blocks):
        out = torch.empty(steps, rows, 1, dtype=torch.long)
        states_before(out, states, start, blocks, number)
        assert out[..., 0].tolist() == expected[number]


@by_hand_kinds
def test_gradients_are_the_same_twice_and_where_only_some_are_wanted(kind: Any, options: Any) -> None:
    cell = layer(kind, options)
    x = torch.randn(BATCH, 20, FEATURES, dtype=torch.float64, requires_grad=True)
    loss = cell(x)[0].sin().sum()
    first, second = (torch.autograd.grad(loss, list(cell.parameters()), retain_graph=True) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    wanted, *others = cell.parameters()
    for parameter in others:
        parameter.requires_grad_(False)
    assert torch.equal(torch.autograd.grad(cell(x.detach())[0].sin().sum(), wanted)[0], first[0])


@by_hand_kinds
def test_a_second_derivative_is_refused_and_the_loop_has_it(kind: Any, options: Any) -> None:
    x = torch.randn(BATCH, 4, FEATURES, dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"model\.cell\.backend=reference"):
        torch.autograd.grad(layer(kind, options)(x)[0].square().sum(), x, create_graph=True)
    output = layer(kind, {**options, "backend": "reference"})(x)[0]
    (first,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
    assert torch.autograd.grad(first.square().sum(), x)[0].any()


@by_hand_kinds
def test_transforms_get_what_they_can_look_into(kind: Any, options: Any) -> None:
    cell = layer(kind, options)
    x = torch.randn(3, BATCH, 4, FEATURES, dtype=torch.float64)
    torch.testing.assert_close(vmap(lambda x: cell.unroll(x)[0])(x)[1], cell(x[1])[0])

    def allowed(x: Tensor) -> Tensor:
        assert not by_hand(x)
        return x.sum()

    grad(allowed)(x)
    assert by_hand(x) and not by_hand(x.half())
    with torch.autocast("cpu", torch.bfloat16):
        assert not by_hand(x)


@by_hand_kinds
def test_without_gradients_it_keeps_nothing_and_gives_the_same(kind: Any, options: Any) -> None:
    cell = layer(kind, options)
    x = torch.randn(BATCH, 20, FEATURES, dtype=torch.float64)
    with torch.no_grad():
        alone = cell(x)[0]
    assert alone.grad_fn is None and torch.equal(alone, cell(x)[0])
    with torch.inference_mode():
        assert torch.equal(cell(x)[0], alone)


def test_torchs_kernel_runs_in_blocks_of_the_sequences_that_reach_them() -> None:
    lengths = [40, 40, 40, 40, 40, 8, 8, 8, 8, 0]
    assert worthwhile_blocks(lengths, 63) == [Block(8, 10), Block(32, 8)]
    # to leave out two sequences saves 64 steps
    assert worthwhile_blocks(lengths, 64) == [Block(40, 10)]
    assert worthwhile_blocks([0, 0], 1) == []


@pytest.mark.parametrize("lengths", [[3, 21, 0, 9, 8, 1, 2, 17, 2, 2], 10 * [0], 10 * [5]])
def test_cut_as_finely_as_can_be_torchs_kernel_is_the_loop(lengths: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_kernels, "COST_OF_A_CALL", 0)
    cell = layer(LSTM, {})
    x = torch.randn(BATCH, 21, FEATURES, dtype=torch.float64, requires_grad=True)
    start = map_state(Tensor.requires_grad_, some_state(cell))
    results = []
    for run in (cell, cell.unroll):
        output, last = run(x, start, torch.tensor(lengths))
        loss = output.sin().sum() + sum(part.square().sum() for part in last)
        results.append((output, *last, *torch.autograd.grad(loss, [x, *start, *cell.parameters()], allow_unused=True)))
    for ours, expected in zip(*results, strict=True):
        if ours is not None:
            torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
