"""Torch's own kernels are the loop, over padding too."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rnnlab.cells.cell import map_state
from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.rnn import RNN

BATCH, FEATURES, HIDDEN = 10, 3, 6


def parts(state: Any) -> list[Tensor]:
    return list(state) if isinstance(state, tuple) else [state]


@pytest.mark.parametrize("kind", [GRU, LSTM, RNN])
@pytest.mark.parametrize("lengths", [None, [3, 21, 0, 9, 8, 1, 2, 17, 2, 2], 10 * [0], 10 * [5]])
def test_torchs_kernel_is_the_loop(kind: Any, lengths: list[int] | None) -> None:
    torch.manual_seed(0)
    cell = kind(FEATURES, HIDDEN, backend="torch").double()
    x = torch.randn(BATCH, 21, FEATURES, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        before = cell.unroll(torch.randn(BATCH, 3, FEATURES, dtype=torch.float64))[1]
    start = map_state(lambda part: part.clone().requires_grad_(), before)
    results = []
    for run in (cell, cell.unroll):
        output, last = run(x, start, None if lengths is None else torch.tensor(lengths))
        loss = output.sin().sum() + sum(part.square().sum() for part in parts(last))
        wanted = [x, *parts(start), *cell.parameters()]
        grads = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
        results.append((output, *parts(last), *grads))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
