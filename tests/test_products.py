"""Products in code of our own are those of PyTorch."""

import itertools
from typing import Any

import pytest
import torch

from rnnlab.kernels.products import _shape, rows_times, sum_of_products

SIZES = [(64, 4, 4), (65, 33, 5), (600, 7, 50), (300, 24, 64), (129, 100, 17)]


def matrices(dtype: torch.dtype, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(itertools.chain(*shapes)))
    return [torch.randn(*shape, dtype=dtype, generator=generator) for shape in shapes]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-12)])
@pytest.mark.parametrize(("rows", "m", "n"), SIZES)
def test_products_are_those_of_pytorch(rows: int, m: int, n: int, dtype: torch.dtype, tolerance: float) -> None:
    a, b, w, bias = matrices(dtype, (rows, m), (rows, n), (n, m), (n,))
    found = sum_of_products(a, b)
    assert found is not None
    torch.testing.assert_close(found, a.t() @ b, rtol=tolerance, atol=tolerance)
    for given, right in (None, a @ w.t()), (bias, torch.addmm(bias, a, w.t())):
        found = rows_times(a, w.t(), given)
        assert found is not None
        torch.testing.assert_close(found, right, rtol=tolerance, atol=tolerance)


def test_few_rows_strided_operands_and_other_types_are_left_to_pytorch() -> None:
    a, b = matrices(torch.float32, (63, 8), (63, 8))
    assert sum_of_products(a, b) is None and rows_times(a, b.t()[:, :8].contiguous()) is None
    a, b = matrices(torch.float32, (128, 8), (128, 8))
    assert sum_of_products(a[:, ::2], b) is None and sum_of_products(a.half(), b.half()) is None
    assert rows_times(a[:, ::2], b[:4]) is None and rows_times(a, b[:8], b[:4]) is None


def test_products_are_the_same_to_the_bit_with_any_number_of_threads(monkeypatch: Any) -> None:
    monkeypatch.setattr("rnnlab.kernels.threads.SHARE", 1)
    a, b = matrices(torch.float32, (700, 50), (700, 40))
    before, found = torch.get_num_threads(), []
    try:
        for threads in 1, 2, 5:
            torch.set_num_threads(threads)
            found.append((sum_of_products(a, b), rows_times(a, b[:50])))
    finally:
        torch.set_num_threads(before)
    for one, other in found[1:]:
        assert torch.equal(one, found[0][0]) and torch.equal(other, found[0][1])


@pytest.mark.parametrize(("lanes", "accumulators", "registers"), [(8, 12, 16), (16, 24, 32), (4, 24, 32)])
def test_a_tile_takes_no_more_registers_than_there_are(lanes: int, accumulators: int, registers: int) -> None:
    for m, n in itertools.product((4, 8, 20, 32, 64, 96, 128, 384), repeat=2):
        height, vectors = _shape(m, n, lanes, accumulators)
        assert height * vectors + vectors + 1 <= registers  # of the sum, of a row of b, and one factor
