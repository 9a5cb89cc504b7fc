"""A layer run for all members of a stack together is each member's layer."""

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from conftest import choices, compose
from random_cells import RandomCell, seeds
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from rnnlab import kernels
from rnnlab.cells.cell import Cell
from rnnlab.cells.gru import GRU
from rnnlab.errors import InputError
from rnnlab.kernels.layer import Derived
from rnnlab.runs.build import build

MEMBERS, BATCH, TIME, FEATURES, HIDDEN = 3, 4, 37, 2, 6


class Pair(Cell[tuple[Tensor, Tensor]]):
    """A state of two parts, and a step over the whole batch, which no kernel is derived from."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.of_x = nn.Linear(input_size, hidden_size)
        self.register_buffer("speed", torch.rand(hidden_size))

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        zeros = self.of_x.weight.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros + 1

    def step(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h = (self.of_x(x) + self.speed * state[0]).tanh()
        return h - state[1].mean(0), (h, 0.5 * state[1] + h)


class Single(Cell[Tensor]):
    """The same with one part."""

    def __init__(self, input_size: int, hidden_size: int, whole_batch: bool = True) -> None:
        super().__init__(input_size, hidden_size)
        self.of_x = nn.Linear(input_size, hidden_size)
        self.whole_batch = whole_batch

    def initial_state(self, batch_size: int) -> Tensor:
        return self.of_x.weight.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h = (self.of_x(x) - 0.5 * state).tanh()
        return h, h - h.mean(0) if self.whole_batch else h


class Derivable(Single):
    """The same row by row."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, whole_batch=False)


def cells(name: str) -> list[Cell[Any]]:
    torch.manual_seed(0)
    factory = build(compose(f"model={name}")["model"]["cell"], "model.cell")
    made = [factory(FEATURES, HIDDEN).double() for _ in range(MEMBERS)]
    for cell in made:
        for parameter in cell.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return made


def stacked(made: list[Cell[Any]], x: Tensor, lengths: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor, Any]:
    named = [dict(cell.named_parameters()) for cell in made]
    weights = {name: torch.stack([each[name].detach() for each in named]).requires_grad_() for name in named[0]}
    fixed = {
        name: torch.stack([dict(cell.named_buffers())[name] for cell in made]) for name, _ in made[0].named_buffers()
    }
    output, state = vmap(
        lambda weights, x, lengths: functional_call(made[0], weights, (x, None, lengths)),
        in_dims=(0, 0, None if lengths is None else 0),
    )({**weights, **fixed}, x, lengths)
    return weights, output, state


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("name", choices("model"))
@pytest.mark.few("gru", "lstm", "rnn", "cfc", "lru")
def test_all_members_together_are_each_of_them(name: str, with_lengths: bool) -> None:
    made = cells(name)
    torch.manual_seed(1)
    x = torch.randn(MEMBERS, BATCH, TIME, FEATURES, dtype=torch.float64, requires_grad=True)
    lengths = torch.randint(1, TIME + 1, (MEMBERS, BATCH)) if with_lengths else None
    weights, output, state = stacked(made, x, lengths)
    toward = torch.randn_like(output)
    parts = state if isinstance(state, tuple) else (state,)
    # through the outputs and through what would be carried on
    loss = (output * toward).sum() + sum(part.abs().square().sum() for part in parts)
    gradients = torch.autograd.grad(loss, [x, *weights.values()])
    for k, cell in enumerate(made):
        own_x = x[k].detach().requires_grad_()
        own, own_state = cell(own_x, None, None if lengths is None else lengths[k])
        own_parts = own_state if isinstance(own_state, tuple) else (own_state,)
        torch.testing.assert_close(output[k], own, rtol=1e-12, atol=1e-12)
        for part, own_part in zip(parts, own_parts, strict=True):
            torch.testing.assert_close(part[k], own_part, rtol=1e-12, atol=1e-12)
        own_loss = (own * toward[k]).sum() + sum(part.abs().square().sum() for part in own_parts)
        expected = torch.autograd.grad(own_loss, [own_x, *cell.parameters()])
        for found, right in zip(gradients, expected, strict=True):
            torch.testing.assert_close(found[k], right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", seeds(4, 44, 60))
def test_members_of_a_random_step_are_each_of_them(seed: int) -> None:
    made = members_of(lambda: RandomCell(FEATURES, HIDDEN, seed))
    for cell in made:
        for parameter in cell.parameters():
            parameter.data.mul_(0.5)
    x = torch.randn(MEMBERS, BATCH, 7, FEATURES, dtype=torch.float64, requires_grad=True)
    toward = torch.randn(MEMBERS, BATCH, 7, HIDDEN, dtype=torch.float64)
    weights, output, _ = stacked(made, x)
    inputs = [x, *weights.values()]
    loss = (output * toward).sum() + 0 * x.sum()
    gradients = torch.autograd.grad(loss, inputs, materialize_grads=True, allow_unused=True)
    for k, cell in enumerate(made):
        own_x = x[k].detach().requires_grad_()
        own = cell.unroll(own_x)[0] + 0 * own_x.sum()  # a random step may put out what depends on nothing
        wanted = [own_x, *cell.parameters()]
        expected = torch.autograd.grad((own * toward[k]).sum(), wanted, materialize_grads=True, allow_unused=True)
        torch.testing.assert_close(output[k], own, rtol=1e-7, atol=1e-7)
        for found, right in zip(gradients, expected, strict=True):
            torch.testing.assert_close(found[k], right, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", [GRU, Single, Derivable], ids=lambda kind: kind.__name__)
def test_what_stands_in_the_padding_of_members_does_not_matter(kind: Any) -> None:
    made = members_of(lambda: kind(FEATURES, HIDDEN))
    lengths = torch.randint(0, TIME + 1, (MEMBERS, BATCH))
    padding = (torch.arange(TIME) >= lengths[..., None])[..., None]
    toward = torch.randn(MEMBERS, BATCH, TIME, HIDDEN, dtype=torch.float64)
    results = []
    for filling in 0.0, torch.nan:
        x = torch.linspace(-1, 1, padding.numel(), dtype=torch.float64).view(padding.shape).expand(-1, -1, -1, FEATURES)
        x = x.masked_fill(padding, filling).requires_grad_()
        weights, output, state = stacked(made, x, lengths)
        grads = torch.autograd.grad((output * toward).sum() + state.sum(), [x, *weights.values()], create_graph=True)
        again = torch.autograd.grad(sum(grad.square().sum() for grad in grads), [x, *weights.values()])
        results.append([output, state, *grads, *again])
    for one, other in zip(*results, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_member_that_is_no_number_leaves_the_others_alone() -> None:
    made = cells("gru")
    with torch.no_grad():
        made[1].get_parameter("weight_hh").fill_(float("nan"))
    x = torch.randn(MEMBERS, BATCH, TIME, FEATURES, dtype=torch.float64)
    weights, output, _ = stacked(made, x)
    gradients = torch.autograd.grad(output.sum(), list(weights.values()))
    for k, finite in enumerate((True, False, True)):
        assert bool(output[k].isfinite().all()) is finite
        assert all(bool(gradient[k].isfinite().all()) for gradient in gradients) is finite


@pytest.mark.parametrize("name", ["gru", "rnn", "lstm"])
def test_in_single_precision_a_member_rounds_as_it_would_alone(name: str) -> None:
    """Forth and back, over many steps of large states: sums around anything but 0 lose digits."""
    made = cells(name)
    torch.manual_seed(2)
    x = 0.1 * torch.randn(MEMBERS, BATCH, 200, FEATURES, dtype=torch.float64)
    exact = [_pass(cell, x[k]) for k, cell in enumerate(made)]
    singles = [cell.float() for cell in made]
    weights, output, _ = stacked(singles, x.float())
    found = [output, *torch.autograd.grad(output.square().sum(), list(weights.values()))]
    ratios = []
    for k, cell in enumerate(singles):
        alone = _pass(cell, x[k].float())
        for member, own, right in zip([part[k].detach() for part in found], alone, exact[k], strict=True):
            ratios.append(float((member.double() - right).norm() / (own.double() - right).norm()))
    assert torch.tensor(ratios).log().mean().exp() < 1.5, ratios


def _pass(cell: Cell[Any], x: Tensor) -> list[Tensor]:
    output, _ = cell(x)
    return [output.detach(), *torch.autograd.grad(output.square().sum(), list(cell.parameters()))]


def members_of(make: Callable[[], Cell[Any]]) -> list[Any]:
    torch.manual_seed(3)
    return [make().double() for _ in range(MEMBERS)]


def run_all(made: list[Any], x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
    """All members at once, from their first states."""
    named = [dict(cell.named_parameters()) | dict(cell.named_buffers()) for cell in made]
    tensors = {name: torch.stack([each[name].detach() for each in named]) for name in named[0]}
    states = [cell.initial_state(x.shape[1]) for cell in made]
    states = [state if isinstance(state, tuple) else (state,) for state in states]
    single = isinstance(made[0].initial_state(1), Tensor)
    starts = [torch.stack(each) for each in zip(*states, strict=True)]
    return kernels.run_stacked(made[0], x, starts, lengths, tensors, single)


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("kind", [Pair, Single])
def test_what_no_kernel_is_derived_from_runs_member_by_member_as_the_loop(kind: Any, with_lengths: bool) -> None:
    made = members_of(lambda: kind(FEATURES, HIDDEN))
    x = torch.randn(MEMBERS, BATCH, 7, FEATURES, dtype=torch.float64)
    lengths = torch.tensor([[7, 3, 1, 2], [4, 7, 2, 7], [1, 1, 6, 5]]) if with_lengths else None
    output, *last = run_all(made, x, lengths)
    for k, cell in enumerate(made):
        own, state = cell.unroll(x[k], None, None if lengths is None else lengths[k])
        torch.testing.assert_close(output[k], own, rtol=1e-12, atol=1e-12)
        for part, right in zip(last, state if isinstance(state, tuple) else (state,), strict=True):
            torch.testing.assert_close(part[k], right, rtol=1e-12, atol=1e-12)


class Watched(Tensor):
    """Of another class, which may want to see every operation."""


def test_all_members_run_in_one_kernel_but_where_a_step_has_to_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    inner, calls = Derived.stacked, []
    monkeypatch.setattr(Derived, "stacked", lambda *given: calls.append(given) or inner(*given))
    made = members_of(lambda: Single(FEATURES, HIDDEN, whole_batch=False))
    x = torch.randn(MEMBERS, BATCH, 7, FEATURES, dtype=torch.float64)
    right = torch.stack([cell._unroll(x[k], cell.initial_state(BATCH), None)[0] for k, cell in enumerate(made)])

    def in_a_kernel(x: Tensor = x, within: AbstractContextManager[Any] | None = None) -> bool:
        calls.clear()
        if within is None:
            found = run_all(made, x)[0]
            torch.testing.assert_close(found, right[:, :, : x.shape[2]].to(found.dtype), rtol=1e-12, atol=1e-12)
        else:
            with within:
                run_all(made, x)
        return bool(calls)

    assert in_a_kernel()
    assert in_a_kernel(x[:, :, :3])
    assert not in_a_kernel(x[:, :, :2])  # preparing it would take longer
    assert not in_a_kernel(x.as_subclass(Watched))
    assert not in_a_kernel(within=torch.autocast("cpu", torch.bfloat16))
    assert in_a_kernel()
    handle = made[0].of_x.register_forward_hook(lambda *_: None)
    assert not in_a_kernel()
    handle.remove()
    made[0].step = made[0].step  # somebody's own, in place of the class's
    assert not in_a_kernel()
    del made[0].step
    assert in_a_kernel()


def test_members_follow_what_a_step_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scaled(Single):
        rate = 0.5
        speed = 0.5

        def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            h = self.rate * (self.of_x(x) - self.speed * state).tanh()
            return h, h

    made = members_of(lambda: Scaled(FEATURES, HIDDEN))
    x = torch.randn(MEMBERS, BATCH, 7, FEATURES, dtype=torch.float64)
    seen = []

    def again() -> None:
        expected = torch.stack([cell.unroll(x[k])[0] for k, cell in enumerate(made)])
        torch.testing.assert_close(run_all(made, x)[0], expected, rtol=1e-12, atol=1e-12)
        seen.append(expected)

    again()
    again()
    for cell in made:
        cell.speed = 0.9
    again()
    Scaled.rate = 0.3
    again()
    step = Scaled.step
    monkeypatch.setattr(Scaled, "step", lambda self, x, state: tuple(2 * each for each in step(self, x, state)))
    again()
    for cell in made:
        cell.of_x = nn.Linear(FEATURES, HIDDEN, bias=False).double()  # other shapes, and fewer
    again()
    assert all(not torch.equal(one, other) for one, other in itertools.pairwise(seen[1:]))


def test_a_kernel_is_derived_from_members_that_nobody_has_run_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inner, calls = Derived.stacked, []
    monkeypatch.setattr(Derived, "stacked", lambda *given: calls.append(given) or inner(*given))
    monkeypatch.setattr(kernels, "_DERIVED", type(kernels._DERIVED)())
    monkeypatch.setattr(kernels, "_TOLD", set())
    made = members_of(lambda: Single(FEATURES, HIDDEN, whole_batch=False))
    stacked(made, torch.randn(MEMBERS, BATCH, 7, FEATURES, dtype=torch.float64))
    assert calls and not caplog.records


# ---- one level of vmap is members, anything else is the loop -------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows where a layer runs in a kernel for all members."""
    inner, made = Derived.stacked, list[Any]()
    monkeypatch.setattr(Derived, "stacked", lambda *given: made.append(given) or inner(*given))
    return made


@pytest.mark.parametrize("backend", ["auto", "derived", "torch"])
def test_one_level_of_vmap_runs_all_members_in_a_kernel(backend: str, calls: list[Any]) -> None:
    made = cells("gru")
    made[0].backend = backend
    x = torch.randn(MEMBERS, BATCH, 7, FEATURES, dtype=torch.float64)
    first = x[0]
    # one network on many inputs, many networks on one input, and what is no member's own
    for given, expected in (
        (lambda x: made[0](x)[0], [made[0].unroll(each)[0] for each in x]),
        (lambda x: made[0](x[:1])[0], [made[0].unroll(each[:1])[0] for each in x]),
        (lambda x: 0 * x.sum() + made[0](first)[0], [made[0].unroll(x[0])[0]] * MEMBERS),
    ):
        torch.testing.assert_close(vmap(given)(x), torch.stack(expected), rtol=1e-12, atol=1e-12)
    assert len(calls) == 3


def test_other_transforms_than_one_vmap_run_the_loop(calls: list[Any]) -> None:
    cell = cells("gru")[0]
    x = torch.randn(2, MEMBERS, BATCH, 4, FEATURES, dtype=torch.float64)
    found = vmap(vmap(lambda x: cell(x)[0]))(x)
    torch.testing.assert_close(found[1, 2], cell.unroll(x[1, 2])[0], rtol=1e-12, atol=1e-12)
    torch.func.jacrev(lambda x: cell(x)[0][:, -1])(x[0, 0])
    vmap(torch.func.grad(lambda x: cell(x)[0].sum()))(x[0])
    assert not calls


def test_members_have_second_derivatives() -> None:
    for name in "gru", "min_gru":
        made = cells(name)
        x = torch.randn(MEMBERS, BATCH, 5, FEATURES, dtype=torch.float64)
        weights, output, _ = stacked(made, x)

        def curvature(output: Tensor, parameters: list[Tensor]) -> list[Tensor]:
            first = torch.autograd.grad(output.square().sum(), parameters, create_graph=True)
            return list(torch.autograd.grad(sum(each.square().sum() for each in first), parameters))

        found = curvature(output, list(weights.values()))
        for k, cell in enumerate(made):
            for ours, right in zip(found, curvature(cell.unroll(x[k])[0], list(cell.parameters())), strict=True):
                torch.testing.assert_close(ours[k], right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("wrong", [-1, 8])
def test_lengths_of_members_are_checked(wrong: int) -> None:
    cell = cells("gru")[0]
    lengths = torch.full((MEMBERS, BATCH), 7)
    lengths[2, 1] = wrong
    x = torch.randn(MEMBERS, BATCH, 7, FEATURES, dtype=torch.float64)
    with pytest.raises(InputError, match=f"from 0 to 7.*{wrong}"):
        vmap(lambda x, lengths: cell(x, None, lengths)[0])(x, lengths)


def test_random_numbers_of_members_are_as_vmap_is_told() -> None:
    class Dropping(Single):
        def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            return super().step(F.dropout(x, 0.5), state)

    cell = Dropping(FEATURES, HIDDEN)
    x = torch.ones(MEMBERS, BATCH, 7, FEATURES)
    same, different = (vmap(lambda x: cell(x)[0], randomness=how)(x) for how in ("same", "different"))
    assert torch.equal(same[0], same[1]) and not torch.equal(different[0], different[1])
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(lambda x: cell(x)[0])(x)
