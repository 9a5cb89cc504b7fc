"""The cells with exponential gates: no gate is too large or too small for them, and both forms are one function."""

import pytest
import torch
from torch import Tensor

from rnnlab.cells.mlstm import MLSTM
from rnnlab.cells.slstm import SLSTM
from rnnlab.errors import InputError

LENGTHS = torch.tensor([7, 20, 1])


def x(time: int = 20) -> Tensor:
    return torch.randn(3, time, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def mlstm(**options: object) -> MLSTM:
    """With gates that see their input, in double precision."""
    torch.manual_seed(0)
    cell = MLSTM(4, 6, **options).double()  # type: ignore[arg-type]
    torch.nn.init.normal_(cell.weight_gates)
    torch.nn.init.normal_(cell.bias)
    return cell


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])
@pytest.mark.parametrize("forget_gate", ["sigmoid", "exponential"])
@pytest.mark.parametrize(("num_heads", "chunk_size"), [(1, 1), (2, 3), (3, 8), (6, 64)])
def test_chunks_are_the_steps(num_heads: int, chunk_size: int, forget_gate: str, lengths: Tensor | None) -> None:
    cell = mlstm(num_heads=num_heads, chunk_size=chunk_size, forget_gate=forget_gate)
    start = tuple(torch.randn_like(part) for part in cell.initial_state(3))
    results = []
    for run in (cell, cell.unroll):
        leaves = [x().requires_grad_(), *(part.clone().requires_grad_() for part in start)]
        output, state = run(leaves[0], tuple(leaves[1:]), lengths)
        loss = sum((part * part.detach().cos()).sum() for part in (output, *state))
        results.append((output, *state, *torch.autograd.grad(loss, [*leaves, *cell.parameters()])))
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exponential"])
def test_the_stabiliser_cancels(forget_gate: str) -> None:
    """The equations without it, 19 to 27 of the paper."""
    cell = mlstm(num_heads=2, forget_gate=forget_gate)
    q, k, v, o = cell._projections(x())
    log_i, log_f = cell._log_gates(x())
    matrix, n, outputs = torch.zeros(3, 2, 3, 3).double(), torch.zeros(3, 2, 3).double(), []
    for t in range(20):
        i, f = log_i[:, t].exp(), log_f[:, t].exp()
        matrix = f[..., None, None] * matrix + i[..., None, None] * torch.einsum("bhi,bhj->bhij", v[:, t], k[:, t])
        n = f[..., None] * n + i[..., None] * k[:, t]
        weight = torch.einsum("bhi,bhi->bh", n, q[:, t]).abs().clamp_min(1)
        outputs.append(o[:, t] * torch.einsum("bhij,bhj->bhi", matrix, q[:, t]) / weight[..., None])
    torch.testing.assert_close(cell(x())[0], torch.stack(outputs, 1).flatten(2), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("forget_bias", [-300.0, 0.0, 300.0])
@pytest.mark.parametrize("input_bias", [-300.0, 0.0, 300.0])
@pytest.mark.parametrize("kind", [SLSTM, MLSTM])
def test_no_gate_is_too_large_or_too_small(kind: type[SLSTM | MLSTM], input_bias: float, forget_bias: float) -> None:
    torch.manual_seed(0)
    cell = kind(4, 6)
    with torch.no_grad():
        bias, size = (cell.bias, 6) if isinstance(cell, SLSTM) else (cell.bias_gates, 1)
        bias[:size], bias[size : 2 * size] = input_bias, forget_bias
    for run in (cell, cell.unroll):
        cell.zero_grad()
        output, _ = run(x().float())
        output.square().sum().backward()
        assert output.isfinite().all()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in cell.parameters())


@pytest.mark.parametrize("shift", [-300.0, -80.0, -20.0, 20.0, 300.0])
def test_a_constant_that_all_input_gates_share_cancels_in_slstm(shift: float) -> None:
    """From an empty state c and n both grow by its exponential."""
    torch.manual_seed(0)
    cell = SLSTM(4, 6)
    expected = cell(x().float())[0]
    with torch.no_grad():
        cell.bias[:6] += shift
    torch.testing.assert_close(cell(x().float())[0], expected, rtol=1e-3, atol=1e-4)


def test_a_matrix_memory_answers_a_key_with_its_value() -> None:
    """Two orthogonal keys of √d: each brings back its own value alone."""
    cell = MLSTM(4, 2).double()
    keys, values = torch.eye(2).double() * 2**0.5, torch.tensor([[3.0, -1.0], [0.5, 2.0]]).double()
    matrix = torch.einsum("si,sj->ij", values, keys)[None, None] / 2**0.5
    n = keys.sum(0)[None, None] / 2**0.5
    for key, value in zip(keys, values, strict=True):
        weight = (n[0, 0] * key).sum().abs()
        torch.testing.assert_close(matrix[0, 0] @ key / weight, value)
    # and the mean of the keys with the mean of the values
    torch.testing.assert_close(cell.memory((matrix, n, torch.zeros(1, 1).double()))[0], values.mean(0))
    assert not cell.memory(cell.initial_state(1)).any()


def test_heads_share_out_the_units() -> None:
    assert MLSTM(4, 6, num_heads=3).initial_state(2)[0].shape == (2, 3, 2, 2)
    with pytest.raises(InputError, match=r"num_heads=4 must divide model\.hidden_size=6: .* nearest that does is 3"):
        MLSTM(4, 6, num_heads=4)
