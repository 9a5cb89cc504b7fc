"""Steps as strangers write them: values with other axes than (batch, width), bare parameters, cells of torch.nn inside;
each runs in a derived layer, on a CPU and by the plan of a GPU, and is the loop.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from test_kernels import LENGTHS, TIME, close, inputs, parts, results, some_state
from torch import Tensor, nn

from rnnlab import kernels
from rnnlab.cells.cell import Cell
from rnnlab.cells.layer_norm_lstm import LayerNormLSTM

FEATURES, HIDDEN = 3, 6
Step = Callable[[Any, Tensor, Any], tuple[Tensor, Any]]


class Bare(Cell[Any]):
    """Has parameters of many shapes, and no modules."""

    start: tuple[tuple[int, ...], ...] = ((HIDDEN,),)

    def __init__(self, input_size: int = FEATURES, hidden_size: int = HIDDEN) -> None:
        super().__init__(input_size, hidden_size)

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(0.4 * torch.randn(shape))

        self.w, self.u, self.b = parameter(input_size, hidden_size), parameter(hidden_size, hidden_size), parameter(6)
        self.row, self.column, self.one, self.number = parameter(1, 6), parameter(6, 1), parameter(1), parameter()
        self.heads = parameter(2, 3, 3)
        self.register_buffer("mask", torch.arange(hidden_size) % 2 == 0)
        self.register_buffer("links", torch.ones(hidden_size, hidden_size).tril())

    def initial_state(self, batch_size: int) -> Any:
        made = tuple(self.b.new_zeros(batch_size, *shape) for shape in self.start)
        return made if len(made) > 1 else made[0]

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        raise NotImplementedError

    def candidate(self, x: Tensor, h: Tensor) -> Tensor:
        return (x @ self.w + h @ self.u + self.b).tanh()


STEPS: dict[str, type[Bare]] = {}


def cell_of(*start: tuple[int, ...]) -> Callable[[Step], Step]:
    def add(step: Step) -> Step:
        STEPS[step.__name__] = type(step.__name__, (Bare,), {"step": step, "start": start or ((HIDDEN,),)})
        return step

    return add


@cell_of()
def matrices(self: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    h = self.candidate(x, h)
    return h, h


@cell_of()
def one_number(self: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    h = self.number * h + (1 - self.number.sigmoid()) * self.candidate(x, h)
    return h * self.one, h


@cell_of()
def rows_and_columns(self: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    h = (x @ self.w + (h @ self.column) * self.row).tanh()
    return h, h


@cell_of()
def both_ways(self: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    h = (x @ self.w + h @ self.u + h @ self.u.t()).tanh()
    return h @ self.u, h


@cell_of()
def made_of_parameters(self: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    links = torch.matrix_exp(self.u - self.u.t()) * self.links + torch.block_diag(*self.heads)
    h = (x @ self.w + h @ (links / links.norm())).tanh()
    return h, h


@cell_of()
def chosen_by_a_mask(self: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    h = torch.where(self.mask, h, self.candidate(x, h)).masked_fill(~self.mask & (self.b > 0.3), 0.1)
    return h, h


@cell_of()
def a_power_that_is_learned(self: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    h = 0.1 * (h.abs() + 0.1).pow(self.number.sigmoid()) + self.candidate(x, h)
    return h, h


@cell_of()
def one_number_of_the_input(self: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    h = self.candidate(x, h) * x.mean(-1)[:, None] + x.sum(-1).unsqueeze(-1)
    return h, h


@cell_of((2, 3))
def two_axes(self: Any, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    state = self.candidate(x, state.flatten(1)).view(len(x), 2, 3) * x.mean(-1)[:, None, None]
    return state.flatten(1), state


@cell_of((1, 2, 3))
def three_axes(self: Any, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    state = state / 2 + self.candidate(x, state.flatten(1)).view(len(x), 1, 2, 3) * x[:, 0, None, None, None]
    return state.flatten(1), state


@cell_of((HIDDEN,), (2, 3))
def of_both_kinds(self: Any, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    h, matrix = state
    matrix = matrix / 2 + h.view(len(x), 2, 3) * x.mean(-1)[:, None, None]
    h = self.candidate(x, matrix.flatten(1))
    return h, (h, matrix)


@cell_of((HIDDEN, HIDDEN))
def fast_weights(self: Any, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    key = self.candidate(x, state.mean(-1))
    state = 0.9 * state + key[:, :, None] * (key * self.b)[:, None, :]
    return (state * key[:, None, :]).sum(-1), state


@cell_of()
def halves_in_place(self: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    first, second = torch.unsafe_chunk(x @ self.w + h @ self.u, 2, -1)  # as cells of torch.nn do
    first.mul_(0.5).sigmoid_()
    h = torch.cat([first, second * first], -1)
    return h, h


@cell_of()
def products_with_factors(self: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    h = torch.addmm(x @ self.w, h, self.u, beta=0.5, alpha=0.7).tanh() + torch.addmm(self.b, h, self.u, alpha=0.1)
    h = torch.addmm(torch.full_like(h, torch.nan), h, self.u, beta=0) / 3
    return h, h


class Inner(Bare):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.inner = kind(FEATURES, HIDDEN)
        self.start = ((HIDDEN,), (HIDDEN,)) if kind is nn.LSTMCell else ((HIDDEN,),)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        after = self.inner(x, state)
        return parts(after)[0], after


KINDS: dict[str, Callable[[], Any]] = {**STEPS}
KINDS |= {kind.__name__: partial(Inner, kind) for kind in (nn.RNNCell, nn.GRUCell, nn.LSTMCell)}


@pytest.mark.parametrize("backend", ["derived", "eager"])
@pytest.mark.parametrize("name", KINDS)
def test_it_is_the_loop(name: str, backend: str) -> None:
    torch.manual_seed(0)
    cell = KINDS[name]().double()
    cell.backend = backend
    assert kernels.derived(cell, inputs()) is not None
    for batch, lengths in (10, None), (10, LENGTHS), (8, None):
        x, state = inputs(TIME, batch), some_state(cell, batch)
        close(results(cell, cell, x, state, lengths), results(cell.unroll, cell, x, state, lengths), 1e-11)


@pytest.mark.parametrize("frozen", [("w",), ("u", "number")])
@pytest.mark.parametrize("backend", ["derived", "eager"])
def test_it_is_the_loop_where_some_parameters_have_no_gradient(frozen: tuple[str, ...], backend: str) -> None:
    for name in "matrices", "one_number", "both_ways":
        torch.manual_seed(0)
        cell = STEPS[name]().double()
        cell.backend = backend
        for parameter in frozen:
            getattr(cell, parameter).requires_grad_(False)
        found = []
        for run in cell, cell.unroll:
            cell.zero_grad()
            run(inputs(), some_state(cell), None)[0].square().sum().backward()
            grads = [each.grad for each in cell.parameters() if each.requires_grad]
            found.append([torch.zeros(()).double() if grad is None else grad.clone() for grad in grads])
        close(found[0], found[1])


class ALayerInside(Bare):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.GRU(FEATURES, HIDDEN, batch_first=True)

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        output, _ = self.inner(x[:, None], h[None])
        return output[:, 0], output[:, 0]


class AWeightForEachHead(Bare):
    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.einsum("bnd,nde->bne", h.view(len(h), 2, 3), self.heads).flatten(1) + x @ self.w
        return h, h


@pytest.mark.parametrize(("kind", "way_out"), [(ALayerInside, "nn.GRUCell"), (AWeightForEachHead, "torch.block_diag")])
def test_the_line_for_a_step_that_runs_as_a_loop_names_a_way_out(
    kind: Any, way_out: str, caplog: pytest.LogCaptureFixture
) -> None:
    kernels._TOLD.clear()
    assert kernels.derived(kind().double(), inputs()) is None
    (record,) = caplog.records
    assert way_out in record.message


@pytest.mark.parametrize("backend", ["derived", "eager"])
def test_what_magnifies_rounding_is_derived_in_single_precision(backend: str) -> None:
    for seed in range(4):
        torch.manual_seed(seed)
        cell = LayerNormLSTM(FEATURES, 1)  # a norm of one number: what is left of it is the rounding of a difference
        cell.backend = backend
        assert kernels.derived(cell, inputs().float()) is not None


def test_a_mistake_in_single_precision_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from rnnlab.kernels.layer import Derived

    inner = Derived.apply
    monkeypatch.setattr(Derived, "apply", lambda *given: [each * 1.01 for each in inner(*given)])
    for hidden in 1, 6:
        assert kernels.derived(LayerNormLSTM(FEATURES, hidden), inputs().float()) is None
