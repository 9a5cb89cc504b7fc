"""What a layer gives is the caller's own: it may be changed in place, as what torch.nn gives may be."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_kernels import LENGTHS, Own, close, inputs, made, some_state
from torch import Tensor, nn

from rnnlab import kernels
from rnnlab.cells.cell import Cell, map_state
from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.slstm import SLSTM
from rnnlab.kernels.memory import apart


class Shown(Own):
    """Its output is no part of its state."""

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        _, h = super().step(x, state)
        return h.sin(), h


class Dropping(Own):
    def update(self, x: Tensor, h: Tensor) -> Tensor:
        return F.dropout(super().update(x, h), 0.4)


def gradients(run: Any, cell: Any, batch: int, lengths: Tensor | None, change: Callable[[Tensor], Tensor]) -> Any:
    x = inputs(batch=batch).requires_grad_()
    torch.manual_seed(4)
    state = map_state(lambda part: part.clone().requires_grad_(), some_state(cell, batch))
    first = [state] if isinstance(state, Tensor) else list(state)
    output, last = run(x, state, lengths)
    every = [output, *([last] if isinstance(last, Tensor) else last)]
    given = [each.detach().clone() for each in every]
    loss = torch.stack([change(each).sum() for each in every]).sum()
    wanted = [x, *first, *cell.parameters()]
    return [*given, *torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)]


@pytest.mark.parametrize("backend", ["derived", "eager"])
@pytest.mark.parametrize("kind", [GRU, LSTM, SLSTM, Shown, Dropping], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(("batch", "lengths"), [(10, None), (8, None), (10, LENGTHS), (1, None)])
def test_results_may_be_changed_in_place(kind: Any, batch: int, lengths: Tensor | None, backend: str) -> None:
    cell = made(kind)
    cell.backend = backend
    assert kernels.derived(cell, inputs()) is not None
    close(
        gradients(cell, cell, batch, lengths, lambda each: F.relu(each, inplace=True).square()),
        gradients(cell.unroll, cell, batch, lengths, lambda each: each.relu().square()),
    )


@pytest.mark.parametrize("backend", ["derived", "eager"])
def test_what_is_changed_behind_autograds_back_changes_no_gradient(backend: str) -> None:
    cell, x = made(GRU), inputs(batch=8)
    cell.backend = backend
    expected = torch.autograd.grad(cell(x)[0].sum(), list(cell.parameters()))
    output, last = cell(x)
    loss = output.sum()
    with torch.no_grad():
        output.zero_()
        last.zero_()
    close(list(torch.autograd.grad(loss, list(cell.parameters()))), list(expected))


class Twice(Cell[Tensor]):
    """The gradients of its two biases are the same numbers, in two shapes."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.linear = nn.Linear(input_size + hidden_size, hidden_size)
        self.row, self.same = nn.Parameter(torch.zeros(1, hidden_size)), nn.Parameter(torch.zeros(hidden_size))

    def initial_state(self, batch_size: int) -> Tensor:
        return self.row.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h = (self.linear(torch.cat([x, state], -1)) + self.row + self.same.unsqueeze(0)).tanh()
        return h, h


@pytest.mark.parametrize("backend", ["derived", "eager"])
def test_no_two_gradients_lie_in_the_same_memory(backend: str) -> None:
    cell = made(Twice)
    cell.backend = backend
    assert kernels.derived(cell, inputs()) is not None
    cell(inputs())[0].sum().backward()
    before = [parameter.grad.clone() for parameter in cell.parameters()]
    for parameter in cell.parameters():
        parameter.grad.mul_(0.5)
    close([parameter.grad for parameter in cell.parameters()], [grad / 2 for grad in before])


def test_gradients_that_lie_in_the_same_memory_are_set_apart() -> None:
    one = torch.ones(6)
    found = apart([one, None, one.view(1, 6), one], [torch.ones(6), torch.ones(2), torch.ones(1, 6), torch.ones(2, 3)])
    assert [None if each is None else tuple(each.shape) for each in found] == [(6,), None, (1, 6), (2, 3)]
    one.zero_()
    assert found[2].sum() == found[3].sum() == 6
