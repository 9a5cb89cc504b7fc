"""Layers derived from ``step``: they are the loop, whatever the step does, or they leave it to the loop."""

import copy
import ctypes
import functools
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import CONF, choices, compose
from random_cells import RandomCell, seeds
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks
from torch.overrides import BaseTorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from rnnlab import kernels
from rnnlab.cells.cell import Cell, map_state
from rnnlab.cells.cfc import CfC
from rnnlab.cells.cornn import CoRNN
from rnnlab.cells.esn import ESN
from rnnlab.cells.gru import GRU
from rnnlab.cells.indrnn import IndRNN
from rnnlab.cells.layer_norm_lstm import LayerNormLSTM
from rnnlab.cells.lem import LEM
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.mogrifier_lstm import MogrifierLSTM
from rnnlab.cells.rnn import RNN
from rnnlab.cells.slstm import SLSTM
from rnnlab.cells.unicornn import UnICORNN
from rnnlab.commands.list import runs
from rnnlab.kernels import native, threads
from rnnlab.kernels.layer import Derived
from rnnlab.kernels.layout import dense, varying
from rnnlab.kernels.nodes import NotDerivable
from rnnlab.runs.build import build

BATCH, TIME, FEATURES, HIDDEN = 10, 9, 3, 6
LENGTHS = torch.tensor([9, 0, 3, 1, 5, 9, 2, 2, 8, 4])
KINDS = [CfC, CoRNN, ESN, GRU, IndRNN, LayerNormLSTM, LEM, LSTM, MogrifierLSTM, RNN, SLSTM, UnICORNN]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
with_and_without_lengths = pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])


class Own(Cell[Tensor]):
    """As somebody would write it."""

    def __init__(self, input_size: int = FEATURES, hidden_size: int = HIDDEN) -> None:
        super().__init__(input_size, hidden_size)
        self.of_x = nn.Linear(input_size, hidden_size)
        self.of_h = nn.Linear(hidden_size, hidden_size)
        self.speed = 0.5
        self.register_buffer("scale", torch.ones(hidden_size))

    def initial_state(self, batch_size: int) -> Tensor:
        return self.of_h.weight.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h = state + self.speed * self.scale * self.update(x, state)
        return h, h

    def update(self, x: Tensor, h: Tensor) -> Tensor:
        return (self.of_x(x) + self.of_h(h)).tanh() - h


def made(kind: Callable[..., Any], features: int = FEATURES, hidden: int = HIDDEN) -> Any:
    torch.manual_seed(0)
    cell = kind(features, hidden).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(0.5)  # or rounding errors grow with gradients through norms of so few units
    return cell


def inputs(time: int = TIME, batch: int = BATCH) -> Tensor:
    return torch.randn(batch, time, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def some_state(cell: Any, batch: int = BATCH) -> Any:
    with torch.no_grad():
        return map_state(Tensor.clone, cell.unroll(inputs(2, batch))[1])


def parts(state: Any) -> list[Tensor]:
    return list(state) if isinstance(state, tuple) else [state]


def results(run: Any, cell: Any, x: Tensor, state: Any, lengths: Tensor | None) -> list[Tensor]:
    """Output, last state, and the gradients of a loss of all of them."""
    x = x.detach().requires_grad_()
    state = map_state(lambda part: part.detach().clone().requires_grad_(), state)
    output, last = run(x, state, lengths)
    every = [output, *parts(last)]
    generator = torch.Generator().manual_seed(2)
    loss = sum((each * torch.randn(each.shape, dtype=each.dtype, generator=generator)).sum() for each in every)
    wanted = [x, *parts(state), *cell.parameters()]
    grads = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
    return [*(each.detach() for each in every), *grads]


def layer(cell: Any, x: Tensor | None = None) -> Any:
    """The derived layer, called as the cell."""
    found = kernels.derived(cell, inputs() if x is None else x)
    assert found is not None
    return lambda x, state=None, lengths=None: found(cell, x, state, lengths)


def attempt(cell: Any) -> Derived | NotDerivable:
    """The layer, or why there is none."""
    try:
        return Derived(cell, torch.float64)
    except NotDerivable as reason:
        return reason


def close(ours: list[Tensor], expected: list[Tensor], tolerance: float = 1e-12) -> None:
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


# ---- the law ------------------------------------------------------------------------------------------------------


@every_kind
@with_and_without_lengths
def test_it_is_the_loop(kind: Any, lengths: Tensor | None) -> None:
    cell, x = made(kind), inputs()
    state = some_state(cell)
    close(results(layer(cell), cell, x, state, lengths), results(cell.unroll, cell, x, state, lengths))


@pytest.mark.parametrize("blocks", [1, 16, 40])
@with_and_without_lengths
def test_it_is_the_loop_wherever_its_blocks_end(blocks: int, lengths: Tensor | None, monkeypatch: Any) -> None:
    monkeypatch.setattr("rnnlab.kernels.layer.BLOCK_ROWS", blocks)
    for kind in GRU, LayerNormLSTM:
        cell, x = made(kind), inputs()
        state = some_state(cell)
        close(results(layer(cell), cell, x, state, lengths), results(cell.unroll, cell, x, state, lengths))


@pytest.mark.parametrize("kind", [GRU, LSTM, LayerNormLSTM], ids=lambda kind: kind.__name__)
@with_and_without_lengths
def test_a_wide_layer_is_the_loop(kind: Any, lengths: Tensor | None) -> None:
    """Its weights are handed over in panels, its products go through the rows of a tile in parts."""
    cell, x = made(kind, hidden=64), inputs()
    state = some_state(cell)
    found = kernels.derived(cell, x)
    assert isinstance(found, Derived)
    assert found.plan.forward.panels
    close(results(layer(cell), cell, x, state, lengths), results(cell.unroll, cell, x, state, lengths))


@pytest.mark.parametrize("batch", [7, 8, 16])
@pytest.mark.parametrize("loss", [Tensor.sum, lambda output: output.mean((0, 1)).norm()], ids=["all", "units"])
def test_the_gradient_of_a_sum_is_one_number_for_many_rows(loss: Callable[[Tensor], Tensor], batch: int) -> None:
    """PyTorch hands such a gradient over as one number or row that stands for all."""
    cell, x = made(Own), inputs(batch=batch)
    ours, expected = (torch.autograd.grad(loss(run(x)[0]), [*cell.parameters()]) for run in (layer(cell), cell.unroll))
    close([*ours], [*expected])


@with_and_without_lengths
def test_matrices_and_numbers_are_parameters_without_a_module(lengths: Tensor | None, monkeypatch: Any) -> None:
    class Bare(Own):
        def __init__(self, features: int, hidden: int) -> None:
            super().__init__(features, hidden)
            self.w, self.u = nn.Parameter(torch.randn(features, hidden)), nn.Parameter(torch.randn(hidden, hidden))
            self.rate = nn.Parameter(torch.tensor(0.7))

        def update(self, x: Tensor, h: Tensor) -> Tensor:
            return (x @ self.w + h @ self.u + (h * h) @ self.u.t()).tanh() - self.rate * h

    monkeypatch.setattr("rnnlab.kernels.layer.BLOCK_ROWS", 40)
    cell, x = made(Bare), inputs()
    state = some_state(cell)
    close(results(layer(cell), cell, x, state, lengths), results(cell.unroll, cell, x, state, lengths))


def test_what_has_no_gradient_is_derived_in_double_precision_too() -> None:
    class Unused(Own):
        def update(self, x: Tensor, h: Tensor) -> Tensor:
            return self.of_x(x).tanh() - h

    cell, x = made(Unused), inputs()
    state = some_state(cell)
    close(results(layer(cell), cell, x, state, None), results(cell.unroll, cell, x, state, None))


@pytest.mark.parametrize("seed", seeds(12, 132, 300))
def test_a_random_step_is_the_loop(seed: int) -> None:
    cell = made(lambda features, hidden: RandomCell(features, hidden, seed), hidden=(4, 6, 7, 16, 17)[seed % 5])
    x, state, lengths = inputs(7, 5), some_state(cell, 5), torch.tensor([7, 0, 3, 1, 5])
    found = attempt(cell)
    if isinstance(found, NotDerivable):
        assert "too many pieces" in str(found)  # of a value that is turned around
        return
    for given in None, lengths:
        ours = results(lambda x, state, given: found(cell, x, state, given), cell, x, state, given)
        close(ours, results(cell.unroll, cell, x, state, given), 1e-7)


def test_a_layer_is_derived_in_inference_mode(caplog: pytest.LogCaptureFixture) -> None:
    """As a prediction may be the first that a process does."""
    cell = GRU(3, 5).double()
    with torch.inference_mode():
        x = inputs(7, 5)
        output, _ = kernels.run(cell, x, cell.initial_state(5), None)
    assert kernels.derived(cell, x.clone()) is not None
    assert not caplog.records
    torch.testing.assert_close(output.clone(), cell.unroll(x.clone())[0].detach())


def test_most_random_steps_are_derived() -> None:
    found = [attempt(RandomCell(FEATURES, 8, seed).double()) for seed in range(12)]
    assert sum(isinstance(each, Derived) for each in found) >= 11


@pytest.mark.parametrize("lengths", [torch.zeros(BATCH, dtype=torch.long), torch.full((BATCH,), TIME)])
def test_sequences_without_a_step_and_of_full_length(lengths: Tensor) -> None:
    cell, x = made(LSTM), inputs()
    state = some_state(cell)
    close(results(layer(cell), cell, x, state, lengths), results(cell.unroll, cell, x, state, lengths))


def test_what_stands_in_the_padding_does_not_matter() -> None:
    cell, x = made(GRU), inputs()
    state = some_state(cell)
    padding = torch.arange(TIME) >= LENGTHS[:, None]
    broken = x.masked_fill(padding[..., None], float("nan"))
    close(results(layer(cell), cell, broken, state, LENGTHS), results(layer(cell), cell, x, state, LENGTHS), 0)


@pytest.mark.parametrize("backend", ["auto", "reference", "eager"])
def test_what_stands_in_the_padding_does_not_matter_to_second_derivatives(backend: str) -> None:
    results = []
    padding = (torch.arange(TIME) >= LENGTHS[:, None])[..., None]
    for filling in 0.0, torch.nan:
        cell = made(GRU)
        cell.backend = backend
        x = inputs().masked_fill(padding, filling).requires_grad_()
        grads = torch.autograd.grad(cell(x, None, LENGTHS)[0].sin().sum(), [x, *cell.parameters()], create_graph=True)
        results.append(torch.autograd.grad(sum(grad.square().sum() for grad in grads), [x, *cell.parameters()]))
    close(*results, 0)
    assert not results[0][0].masked_fill(~padding, 0).any()


def test_a_faster_path_meets_zeros_on_padding_unless_its_class_says_otherwise() -> None:
    seen: list[Tensor] = []

    class Fast:
        def _forward(self: Any, x: Tensor, state: Any, lengths: Any) -> Any:
            seen.append(x)
            return self._unroll(x.nan_to_num(), state, lengths)

    class Mixed(Fast, Own):  # type: ignore[misc]
        pass

    class Faster(GRU):
        _forward = Fast._forward

    class Daring(GRU):
        takes_padding = True
        _forward = Fast._forward

    class Child(Daring):
        pass

    x = inputs().masked_fill((torch.arange(TIME) >= LENGTHS[:, None])[..., None], torch.nan)
    for kind, takes in ((Mixed, False), (Faster, False), (Daring, True), (Child, True), (Own, True), (GRU, True)):
        assert kind.takes_padding is takes, kind
        seen.clear()
        expected = made(kind).unroll(x, None, LENGTHS)[0]
        close([made(kind)(x, None, LENGTHS)[0]], [expected])
        assert not seen or bool(seen[0].isnan().any()) is takes


def test_what_is_no_number_stays_so() -> None:
    x = inputs()
    x[2, 4] = float("nan")
    x[3, 5] = float("inf")
    for kind in KINDS:
        cell = made(kind)
        ours, expected = layer(cell)(x)[0], cell.unroll(x)[0]
        assert torch.equal(ours.isnan(), expected.isnan()), kind


@pytest.mark.parametrize("kind", [GRU, SLSTM, CfC, LEM])
def test_single_precision_rounds_little_more_than_the_loop(kind: Any) -> None:
    ours, loop = 0.0, 0.0
    for seed in range(3):
        torch.manual_seed(seed)
        cell, x = kind(8, 32), torch.randn(8, 60, 8)
        with torch.no_grad():
            found = kernels.derived(cell, x)
            assert found is not None
            rounded = found(cell, x, None, None)[0], cell.unroll(x)[0]
            exact = cell.double().unroll(x.double())[0]
        ours, loop = ours + float((rounded[0] - exact).abs().max()), loop + float((rounded[1] - exact).abs().max())
    assert ours < 2.5 * loop


def test_dropout_inside_a_step_draws_what_the_loop_draws() -> None:
    class Dropping(Own):
        def update(self, x: Tensor, h: Tensor) -> Tensor:
            return F.dropout(super().update(F.dropout(x, 0.3), h), 0.4) + torch.rand_like(h)

    cell, x = made(Dropping), inputs()
    state = some_state(cell)
    for lengths in None, LENGTHS:
        runs = []
        for run in layer(cell), cell.unroll:
            torch.manual_seed(3)
            runs.append([*results(run, cell, x, state, lengths), torch.rand(3, dtype=torch.float64)])
        close(*runs)


@pytest.mark.parametrize("by_python", [False, True], ids=["by PyTorch's threads", "by Python's"])
@pytest.mark.parametrize("members", [1, 3])
def test_threads_change_no_bit(by_python: bool, members: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(threads, "SHARE", 1)
    if by_python:
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    cell, x = made(LEM), inputs(20, 40)
    state, lengths, before = some_state(cell, 40), torch.arange(40) % 21, torch.get_num_threads()
    named = {name: torch.stack(members * [p.detach()]).requires_grad_() for name, p in cell.named_parameters()}

    def trained(given: Any) -> list[Tensor]:
        if members == 1:
            output = layer(cell)(x, state, given)[0]
            return [output, *torch.autograd.grad(output.square().sum(), list(cell.parameters()))]
        parts = tuple(torch.stack(members * [part]) for part in cell.initial_state(40))
        output = kernels.run_stacked(cell, torch.stack(members * [x]), parts, None, named, single=False)[0]
        return [output, *torch.autograd.grad(output.square().sum(), list(named.values()))]

    try:
        for given in (None, lengths) if members == 1 else (None,):
            found = []
            for number in 1, 2, 3:
                torch.set_num_threads(number)
                found.append(trained(given))
            for more in found[1:]:
                assert all(torch.equal(*pair) for pair in zip(found[0], more, strict=True))
    finally:
        torch.set_num_threads(before)


def test_without_gradients_it_gives_the_same() -> None:
    cell, x = made(SLSTM), inputs(200)
    with_gradients = layer(cell)(x)[0]
    with torch.no_grad():
        assert torch.equal(layer(cell)(x)[0], with_gradients)
    with torch.inference_mode():
        assert torch.equal(layer(cell)(x)[0], with_gradients)


def test_without_gradients_no_more_than_a_block_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnlab.kernels.layer.BLOCK_ROWS", 2 * 16)
    inner, rows = Derived.run, []
    monkeypatch.setattr(Derived, "run", lambda self, *given: rows.append(len(given[4]["saved"])) or inner(self, *given))
    cell, x = made(GRU), inputs(40)
    run = layer(cell)
    for within in torch.no_grad(), torch.inference_mode(), torch.enable_grad():
        rows.clear()
        with within:
            run(x)
        assert max(rows) == (40 * 16 if isinstance(within, torch.enable_grad) else 2 * 16)


def test_gradients_are_the_same_twice_and_where_only_some_are_wanted() -> None:
    cell, x = made(GRU), inputs().requires_grad_()
    loss = layer(cell)(x)[0].sin().sum()
    first, second = (torch.autograd.grad(loss, list(cell.parameters()), retain_graph=True) for _ in range(2))
    assert all(map(torch.equal, first, second))
    wanted, *others = cell.parameters()
    for parameter in others:
        parameter.requires_grad_(False)
    assert torch.equal(torch.autograd.grad(layer(cell)(x.detach())[0].sin().sum(), wanted)[0], first[0])


def test_gradients_agree_with_finite_differences_twice() -> None:
    cell = made(RNN, hidden=2)
    x = inputs(3, 2).requires_grad_()
    run = layer(cell, x)
    assert torch.autograd.gradcheck(lambda x: run(x)[0], (x,))
    assert torch.autograd.gradgradcheck(lambda x: run(x)[0], (x,))


@pytest.mark.parametrize("lengths", [None, torch.arange(BATCH)], ids=["full", "padded"])
def test_the_first_stabiliser_of_an_slstm(lengths: Tensor | None) -> None:
    cell = made(SLSTM)
    with torch.no_grad():
        cell.bias[:HIDDEN] = -40.0  # far below log σ(f): only the mask keeps n from being 0
    start = cell.initial_state(BATCH)
    ours, expected = (results(run, cell, inputs(), start, lengths) for run in (layer(cell), cell.unroll))
    assert all(each.isfinite().all() for each in expected)
    close(ours, expected)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_loop_whatever_the_lengths(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 70 // (seed + 1), (40,), generator=generator)
    cell, x = made(GRU), inputs(72, 40)
    state = some_state(cell, 40)
    close(results(layer(cell), cell, x, state, lengths), results(cell.unroll, cell, x, state, lengths), 1e-11)


def test_the_backend_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    x, seen = inputs(), []
    monkeypatch.setattr(Derived, "__call__", lambda self, cell, *given: seen.append(cell) or cell._unroll(*given[:3]))
    for kind in GRU, RNN, LSTM:
        for backend in "auto", "derived", "torch", "reference":
            cell = made(kind)
            cell.backend = backend
            cell(x)
            assert (cell in seen) is (backend in ("auto", "derived"))
    # oneDNN's is faster for large ones, but runs over padding
    large, x = LSTM(FEATURES, 129), x.float()
    large(x)
    assert large not in seen
    large(x, None, LENGTHS)
    assert large in seen


# the yaml of a cell of one's own need not say it
@pytest.mark.parametrize("name", [name for name in choices("model") if runs(CONF / "model" / f"{name}.yaml")])
@pytest.mark.few("gru", "lstm", "lru", "cfc")
def test_what_the_list_says_of_how_a_model_runs_is_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(Derived, "__call__", lambda self, cell, *given: seen.append(cell) or cell._unroll(*given[:3]))
    build(compose(f"model={name}")["model"]["cell"], "model.cell")(FEATURES, HIDDEN)(inputs().float())
    assert bool(seen) is ("derived" in runs(CONF / "model" / f"{name}.yaml"))


# ---- what it must not get wrong -------------------------------------------------------------------------------------


def test_a_changed_attribute_mode_or_buffer_is_followed() -> None:
    cell, x = made(Own), inputs()
    for change in (
        lambda: None,
        lambda: None,
        lambda: setattr(cell, "speed", 0.25),
        lambda: setattr(cell.of_h, "bias", nn.Parameter(torch.ones(HIDDEN, dtype=torch.float64))),
        lambda: setattr(cell.of_h.weight, "data", torch.eye(HIDDEN, dtype=torch.float64)),
        lambda: cell.scale.mul_(2),
        lambda: setattr(cell, "update", lambda x, h: cell.of_x(x) - h),
    ):
        change()
        close([layer(cell)(x)[0]], [cell.unroll(x)[0]])


class Settings:
    """Somebody's object, of which nobody is told that it changes."""

    __slots__ = ("speed",)

    def __init__(self) -> None:
        self.speed = 0.5


SETTINGS, FACTORS, ARRAY = Settings(), [1.0], np.ones(1)


def squashed(h: Tensor) -> Tensor:
    """A function that a step calls."""
    return (h * FACTORS[0]).tanh()


def test_what_a_step_reads_from_elsewhere_is_followed(caplog: pytest.LogCaptureFixture) -> None:
    speed = 1.0

    class Reading(Own):
        def __init__(self, features: int, hidden: int) -> None:
            super().__init__(features, hidden)
            self.array, self.slots = np.ones(1), Settings()

        @property
        def factor(self) -> float:
            return float(ARRAY[0])

        def update(self, x: Tensor, h: Tensor) -> Tensor:
            inner = lambda: SETTINGS.speed  # noqa: E731
            h = self.of_x(x) + self.slots.speed * squashed(self.of_h(h)) * float(self.array[0])
            return h.sin() * speed + inner() + self.factor

    def change(name: str, value: Any) -> None:
        nonlocal speed
        if name == "closure":
            speed = value
        elif name == "slots":
            cell.slots.speed = value
        elif name == "settings":
            SETTINGS.speed = value
        else:
            {"list": FACTORS, "array": ARRAY, "own array": cell.array}[name][0] = value

    cell, x = made(Reading), inputs()
    before = layer(cell)(x)[0]
    for name in "closure", "slots", "settings", "list", "array", "own array":
        for value in 0.25, 1.0:
            change(name, value)
            output = layer(cell)(x)[0]
            close([output], [cell.unroll(x)[0]])
            assert not torch.equal(output, before), name
            before = output
    assert not caplog.records


def test_what_a_class_or_a_function_in_an_attribute_reads_is_followed(caplog: pytest.LogCaptureFixture) -> None:
    factors, inner = [1.0], [1.0]

    def scaled(h: Tensor, by: Any = factors) -> Tensor:
        return h.tanh() * by[0]

    def called(h: Tensor) -> Tensor:
        return h.sin() * inner[0]

    class Scale:
        def __init__(self) -> None:
            self.factor = 1.0

        def of(self, h: Tensor) -> Tensor:
            return h.tanh() * self.factor

    class Reading(Own):
        gain: Any = 1.0
        shifts: Any = [0.0]  # noqa: RUF012 (which somebody changes in place)

        def update(self, x: Tensor, h: Tensor) -> Tensor:
            return self.activation(self.of_x(x) + self.of_h(h)) * self.gain + self.shifts[0]

    cell, x, scale, given = made(Reading), inputs(), Scale(), [1.0]
    changes: list[tuple[Any, Callable[[float], None]]] = [
        (scaled, lambda value: factors.__setitem__(0, value)),
        (lambda h: called(h * 1.5), lambda value: inner.__setitem__(0, value)),
        (functools.partial(scaled, by=given), lambda value: given.__setitem__(0, value)),
        (scale.of, lambda value: setattr(scale, "factor", value)),
        (torch.tanh, lambda value: setattr(Reading, "gain", value)),
        (torch.tanh, lambda value: Reading.shifts.__setitem__(0, value)),
    ]
    for activation, change in changes:
        cell.activation = activation
        before = layer(cell)(x)[0]
        for value in 0.25, 0.5:
            change(value)
            output = layer(cell)(x)[0]
            close([output], [cell.unroll(x)[0]])
            assert not torch.equal(output, before)
            before = output
    assert not caplog.records


def test_a_module_under_two_names_keeps_its_parameters() -> None:
    class Twice(Own):
        def __init__(self, features: int, hidden: int) -> None:
            super().__init__(features, hidden)
            self.again, self.shift = self.of_h, self.of_h.bias

        def update(self, x: Tensor, h: Tensor) -> Tensor:
            return (self.of_x(x) + self.of_h(h) + self.again(h * h) + self.shift).tanh() - h

    cell, x = made(Twice), inputs()
    before = [*cell.parameters()]
    state = some_state(cell)
    expected = results(cell.unroll, cell, x, state, LENGTHS)
    close(results(layer(cell), cell, x, state, LENGTHS), expected)
    for one, other in zip(cell.parameters(), before, strict=True):
        assert one is other


def test_training_and_evaluation_are_told_apart() -> None:
    class Moody(Own):
        def update(self, x: Tensor, h: Tensor) -> Tensor:
            return super().update(x, h) * (2 if self.training else 1) + F.dropout(h, 0.5, self.of_h.training)

    cell, x = made(Moody), inputs()
    for mode in True, False, True, False:
        cell.train(mode)
        runs = []
        for run in layer(cell), cell.unroll:
            torch.manual_seed(0)
            runs.append(results(run, cell, x, some_state(cell), LENGTHS))
        close(*runs)
    cell.of_h.train()  # a module inside alone
    outputs = []
    for run in layer(cell), cell.unroll:
        torch.manual_seed(0)
        outputs.append(run(x)[0])
    close(outputs[:1], outputs[1:])


def test_weights_that_are_computed_from_others() -> None:
    cell, x = made(Own), inputs()
    nn.utils.parametrizations.weight_norm(cell.of_h)
    close(results(cell, cell, x, some_state(cell), LENGTHS), results(cell.unroll, cell, x, some_state(cell), LENGTHS))
    cell = made(Own)
    nn.utils.parametrizations.spectral_norm(cell.of_h)  # which changes its buffers at each step
    outputs = []
    for backend in "auto", "reference":
        twin = copy.deepcopy(cell)
        twin.backend = backend
        outputs.append(twin(x)[0])
    close(outputs[:1], outputs[1:])


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_gradients_asked_for_under_autocast_are_those_outside(backend: str) -> None:
    cell, x = GRU(FEATURES, HIDDEN), inputs().float()
    cell.backend = backend
    found = []
    for enabled in False, True:
        loss = cell(x, None, LENGTHS)[0].square().sum()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(torch.autograd.grad(loss, list(cell.parameters())))
    assert all(map(torch.equal, *found))


class Watched(Tensor):
    """Of another class, which may want to see every operation."""


class Watcher(TorchDispatchMode):
    """Sees every operation."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


def test_it_leaves_alone_what_has_to_be_seen_step_by_step() -> None:
    cell, x = made(Own), inputs()

    def is_derived(x: Tensor = x, state: Any = None, lengths: Tensor | None = None) -> bool:
        return kernels.derived(cell, x, state, lengths) is not None

    assert is_derived()
    assert is_derived(lengths=LENGTHS)
    assert is_derived(state=some_state(cell))
    assert is_derived(x[:, :3])
    assert not is_derived(x[:, :2])  # preparing it would take longer
    assert not is_derived(x[0])
    assert not is_derived(x.half())
    assert not is_derived(x.float())
    assert not is_derived(state=some_state(cell).float())
    assert not is_derived(x.as_subclass(Watched))
    assert not is_derived(state=some_state(cell).as_subclass(Watched))
    assert not is_derived(state=(some_state(cell), some_state(cell).as_subclass(Watched)))
    assert not is_derived(lengths=LENGTHS.as_subclass(Watched))
    assert not is_derived(x.to("meta"))
    assert not is_derived(lengths=LENGTHS.to("meta"))
    assert not is_derived(x.to_sparse())
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_derived()
    with Watcher():
        assert not is_derived()
    with BaseTorchFunctionMode():
        assert not is_derived()
    torch.func.grad(lambda x: x.sum() if not is_derived(x) else 0 / 0)(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        torch.jit.trace(lambda x: x.sum() if not is_derived() else 0 / 0, x, check_trace=False)
    assert is_derived()


def test_it_leaves_alone_a_cell_that_wants_to_be_asked_at_each_step() -> None:
    cell, x = made(Own), inputs()
    assert kernels.derived(cell, x) is not None
    cell.step = cell.step  # somebody's own, in place of the class's
    assert kernels.derived(cell, x) is None
    del cell.step
    cell.scale.requires_grad_()  # a buffer that is learned
    assert kernels.derived(cell, x) is None
    cell.scale.requires_grad_(False)
    for register in (
        cell.of_h.register_forward_hook,
        cell.of_h.register_forward_pre_hook,
        cell.of_h.register_full_backward_hook,
        cell.of_h.register_full_backward_pre_hook,
        global_hooks.register_module_forward_hook,
        global_hooks.register_module_full_backward_hook,
    ):
        handle = register(lambda *_: None)
        assert kernels.derived(cell, x) is None
        handle.remove()
        assert kernels.derived(cell, x) is not None
    # one on the cell as a whole is called once, and not at each step
    handle = cell.register_forward_hook(lambda *_: None)
    assert kernels.derived(cell, x) is not None
    handle.remove()


def variant(update: Callable[[Any, Tensor, Tensor], Tensor]) -> Any:
    """A cell with another update."""
    return made(type("Variant", (Own,), {"update": update}))


OTHER = nn.Parameter(torch.ones(HIDDEN, dtype=torch.float64))


def counting(self: Any, x: Tensor, h: Tensor) -> Tensor:
    self.calls = getattr(self, "calls", 0) + 1
    return h / self.calls


def accumulating(self: Any, x: Tensor, h: Tensor) -> Tensor:
    return x.detach().cumsum(0).sum(-1, keepdim=True) - h


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (lambda self, x, h: h if h.sum() > 0 else -h, "torch.where"),
        (lambda self, x, h: h - h.mean(0), "rows of a batch"),
        (lambda self, x, h: h - x.mean(0, keepdim=True).sum(), "rows of a batch"),
        (lambda self, x, h: h.cumsum(-1), "cumsum"),
        (lambda self, x, h: h.sort(-1).values, r"no kernel for torch\.sort .*there are for products"),
        (lambda self, x, h: h * OTHER, "none of the cell's own"),
        (lambda self, x, h: h.mul_(0.5), "in place"),
        (lambda self, x, h: self.scale.mul_(0.9) * h, "in place"),
        (lambda self, x, h: h.float().double(), "float32"),
        (counting, "attributes|something else"),
        (accumulating, "something else"),
    ],
)
def test_one_line_says_why_a_step_is_left_to_the_loop(
    update: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    cell = variant(update)
    kernels._TOLD.clear()
    with caplog.at_level(logging.WARNING, "rnnlab.kernels"):
        assert kernels.derived(cell, inputs()) is None
        kernels.derived(cell, inputs())
    (record,) = caplog.records
    assert "Variant runs as a loop over its step" in record.message
    assert re.search(reason, record.message), record.message


def test_without_llvmlite_the_loop_runs_and_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    native.llvm.cache_clear()
    native.machine.cache_clear()
    try:
        assert kernels.derived(variant(lambda self, x, h: x.sum(-1, keepdim=True) - h), inputs()) is None
    finally:
        monkeypatch.undo()
        native.llvm.cache_clear()
        native.machine.cache_clear()
    assert "pip install llvmlite" in caplog.text


# ---- the cache on disk ----------------------------------------------------------------------------------------------


TEXT = "define i64 @answer() { ret i64 42 }"


def answer() -> int:
    native._LOADED.clear()
    return ctypes.CFUNCTYPE(ctypes.c_int64)(native.load(TEXT, "answer"))()


def test_object_code_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert answer() == 42
    (entry,) = (tmp_path / "rnnlab" / "kernels").iterdir()
    monkeypatch.setattr(native, "compile_text", lambda text: 0 / 0)
    assert answer() == 42
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # a damaged entry is made anew
    whole = entry.read_bytes()
    for damaged in (b"", whole[:-1], b"x" + whole[1:], whole[:40] + b"?" + whole[41:]):
        entry.write_bytes(damaged)
        assert answer() == 42
        assert entry.read_bytes() == whole


def test_code_that_others_could_have_written_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert answer() == 42
    (entry,) = (tmp_path / "rnnlab" / "kernels").iterdir()
    if hasattr(os, "getuid"):
        (tmp_path / "rnnlab" / "kernels").chmod(0o777)
        assert native.read(entry.name) is None
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert answer() == 42


# ---- the layout ----------------------------------------------------------------------------------------------------


def test_sequences_of_different_lengths_share_lanes() -> None:
    lengths = torch.tensor([1, 5, 0, 2, 5, 1, 1, 1, 1, 3, 1])
    found = varying(lengths, 6)
    assert (found.lanes, found.steps) == (8, 5)
    assert found.ends.tolist() == [5, 5, 3, 2, 3, 3, 1, 1]
    # a step, its lane, the sequence after it (11 for none) and the one before it
    assert found.events[:4].tolist() == [[3, 2, 11, 9], [2, 3, 11, 3], [1, 4, 8, 0], [3, 4, 11, 8]]
    assert found.row_of is not None and found.places is not None and found.idle is not None
    valid = torch.arange(6) < lengths[:, None]
    assert (found.row_of.view(11, 6) < found.total).equal(valid)
    steps = valid.flatten().nonzero()[:, 0]
    assert found.places[found.row_of[steps]].equal(steps)
    assert len(found.idle) + len(steps) == found.total


@pytest.mark.parametrize("seed", range(4))
def test_lanes_end_at_about_the_same_step(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(10, 201, (64,), generator=generator)
    assert varying(lengths, 200).total < 1.07 * int(lengths.sum())


def test_one_long_sequence_makes_no_rows_for_the_short_ones() -> None:
    lengths = torch.full((256,), 10)
    lengths[7] = 1000
    assert varying(lengths, 1000).total == 8 * 1000


def test_a_full_batch_is_taken_as_it_stands() -> None:
    assert dense(3, 4).places is not None and dense(8, 4).places is None
    assert varying(torch.full((8,), 4), 4).places is None
    assert [block[:2] for block in dense(8, 40).blocks(80)] == [(0, 10), (10, 20), (20, 30), (30, 40)]
