"""What runs on a GPU, held against the loop on a CPU: the plan of a step in operations of PyTorch, and its graphs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import choices, compose
from elsewhere import DEVICE, Placement, elsewhere
from random_cells import RandomCell, seeds
from test_kernels import LENGTHS, TIME, Own, close, inputs, made, results, some_state
from torch import Tensor

from rnnlab import kernels
from rnnlab.cells.cell import map_state
from rnnlab.cells.gru import GRU
from rnnlab.cells.lem import LEM
from rnnlab.cells.slstm import SLSTM
from rnnlab.kernels.eager import GRAPHS, REPEATED, Eager
from rnnlab.runs.build import build

CPU = torch.device("cpu")


def layer(cell: Any, **options: Any) -> Any:
    found = Eager(cell, torch.float64, CPU, **options)
    return lambda x, state=None, lengths=None: found(cell, x, state, lengths)


# the step of a convolutional LSTM moves places into the batch, and is left to the loop
@pytest.mark.parametrize("name", [name for name in choices("model") if name != "conv_lstm"])
@pytest.mark.few("rnn", "gru", "layer_norm_lstm")
def test_it_is_the_loop(name: str) -> None:
    cell = made(build(compose(f"model={name}")["model"]["cell"], "model.cell"))
    x, state = inputs(), some_state(cell)
    for lengths in None, LENGTHS:
        close(results(layer(cell), cell, x, state, lengths), results(cell.unroll, cell, x, state, lengths))


@pytest.mark.parametrize("seed", seeds(3, 43, 100))
def test_a_random_step_is_the_loop(seed: int) -> None:
    cell = made(lambda features, hidden: RandomCell(features, hidden, seed))
    x, state, lengths = inputs(7, 5), some_state(cell, 5), torch.tensor([7, 0, 3, 1, 5])
    for given in None, lengths:
        close(results(layer(cell), cell, x, state, given), results(cell.unroll, cell, x, state, given), 1e-7)


def test_what_stands_in_the_padding_does_not_matter() -> None:
    cell, x = made(GRU), inputs()
    cell.backend = "eager"
    broken = x.masked_fill((torch.arange(TIME) >= LENGTHS[:, None])[..., None], float("nan"))
    state = some_state(cell)
    close(results(cell, cell, broken, state, LENGTHS), results(cell.unroll, cell, x, state, LENGTHS))


def test_dropout_inside_a_step_draws_what_the_loop_draws() -> None:
    class Dropping(Own):
        def update(self, x: Tensor, h: Tensor) -> Tensor:
            return F.dropout(super().update(F.dropout(x, 0.3), h), 0.4) + torch.rand_like(h)

    cell, x = made(Dropping), inputs()
    state, runs = some_state(cell), []
    for run in layer(cell), cell.unroll:
        torch.manual_seed(3)
        runs.append([*results(run, cell, x, state, LENGTHS), torch.rand(3, dtype=torch.float64)])
    close(*runs)


def test_second_derivatives_and_batches_of_gradients_go_through_the_loop() -> None:
    cell, x = made(LEM, hidden=2), inputs(3, 2).requires_grad_()
    run = layer(cell)
    assert torch.autograd.gradgradcheck(lambda x: run(x)[0], (x,))
    ours, expected = (
        torch.autograd.functional.jacobian(lambda x, way=way: way(x)[0], x.detach(), vectorize=True)
        for way in (run, cell.unroll)
    )
    torch.testing.assert_close(ours, expected)


def test_a_backend_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(Eager, "__call__", lambda self, cell, *given: seen.append(cell) or cell._unroll(*given[:3]))
    for kind in GRU, LEM, Own:
        cell = made(kind)
        cell(inputs())
        assert cell not in seen
        cell.backend = "eager"
        cell(inputs())
        assert cell in seen
        cell.backend = "auto"
        assert not isinstance(kernels.derived(cell, inputs()), Eager)


def test_a_step_that_mixes_the_rows_is_right_all_the_same() -> None:
    class Mixing(Own):
        def update(self, x: Tensor, h: Tensor) -> Tensor:
            return super().update(x, h) - h.square().mean(0)

    cell, x = made(Mixing), inputs()
    cell.backend = "eager"
    close(results(cell, cell, x, some_state(cell), None), results(cell.unroll, cell, x, some_state(cell), None))


@pytest.mark.parametrize("kind", [GRU, SLSTM])
def test_it_makes_its_tensors_where_its_input_is(kind: Any) -> None:
    cell = made(kind)
    x, lengths = inputs(), LENGTHS
    expected = results(cell.unroll, cell, x, some_state(cell), lengths)
    found = Eager(cell, torch.float64, DEVICE)
    state = map_state(elsewhere, some_state(cell))
    tensors = [
        elsewhere(dict(cell.named_parameters())[name.removeprefix("cell.")].detach()).requires_grad_()
        for name in found.trace.names
    ]
    with Placement(strict=True):
        inputs_there = elsewhere(x).requires_grad_()
        parts = state if isinstance(state, tuple) else (state,)
        output, *_ = found.apply(cell, elsewhere(lengths), inputs_there, parts, tensors)
        output.sum().backward()
        assert inputs_there.grad is not None and inputs_there.grad.device == DEVICE
        assert all(tensor.grad is not None and tensor.grad.device == DEVICE for tensor in tensors)
    torch.testing.assert_close(output.value.detach(), expected[0])


# ---- graphs ---------------------------------------------------------------------------------------------------------


class Captures:
    """Stands for the device's graphs: what a function gave is computed again in its place."""

    def __init__(self) -> None:
        self.replays = 0

    def __call__(self, function: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        given = function()

        def replay() -> None:
            self.replays += 1
            again = function()
            for old, new in zip(tensors_in(given), tensors_in(again), strict=True):
                if old.data_ptr() != new.data_ptr():  # a view of a parameter or of what was handed in
                    old.copy_(new)

        return replay, given


def tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return list(value.values())
    return [tensor for part in value for tensor in tensors_in(part)] if isinstance(value, (list, tuple)) else []


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])
def test_a_graph_is_the_loop_whenever_it_is_replayed(lengths: Tensor | None) -> None:
    captures, cell = Captures(), made(GRU)
    run = layer(cell, capture=captures)
    for number in range(REPEATED + 3):
        given = cell, inputs() * (1 + number), some_state(cell), lengths
        close(results(run, *given), results(cell.unroll, *given))
        with torch.no_grad():
            cell.weight_hh.mul_(0.9)  # as an optimizer does
    assert captures.replays == 2 * (3 + 1)  # each once when it is captured


def test_what_a_graph_gave_stays_what_it_was() -> None:
    captures, cell = Captures(), made(GRU)
    run = layer(cell, capture=captures)
    given = [inputs() * (1 + number) for number in range(REPEATED + 3)]
    with torch.no_grad():
        outputs = [run(x)[0] for x in given]
    assert captures.replays == 3 + 1
    close(outputs, [cell.unroll(x)[0].detach() for x in given])
    # forward passes whose backward passes come later, and in another order
    captures.replays = 0
    losses = [run(x)[0].square().sum() for x in given]
    for x, loss in zip(given, losses, strict=True):
        for _ in range(2):
            found = torch.autograd.grad(loss, list(cell.parameters()), retain_graph=True)
            close(list(found), list(torch.autograd.grad(cell.unroll(x)[0].square().sum(), list(cell.parameters()))))
    assert captures.replays == 3 + 2 + 2  # when it is captured; the last forward pass's own, twice


def test_shapes_that_change_are_not_captured_and_graphs_are_few() -> None:
    captures, cell = Captures(), made(GRU)
    run = layer(cell, capture=captures)
    for _ in range(REPEATED + 1):
        for batch in range(1, GRAPHS + 4):
            run(inputs(batch=batch))
    assert captures.replays == 3 * GRAPHS


def test_where_no_graph_can_be_captured_one_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def failing(function: Callable[[], Any]) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    cell = made(GRU)
    run = layer(cell, capture=failing)
    for _ in range(REPEATED + 3):
        close([run(inputs())[0]], [cell.unroll(inputs())[0]])
    assert len(caplog.records) == 1 and "not permitted" in caplog.text
