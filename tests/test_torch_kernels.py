"""Torch's own kernels: which sequences go into one call, and that they are the loop then."""

import random
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnlab.cells import torch_kernels
from rnnlab.cells.cell import map_state
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.torch_kernels import worthwhile_blocks
from rnnlab.cells.varying_lengths import Block, pack
from rnnlab.shapes import State

BATCH, FEATURES, HIDDEN = 10, 3, 6


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
