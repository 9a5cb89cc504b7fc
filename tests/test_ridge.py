"""Ridge regression in closed form: against solving the system, and against leaving each row out for real."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnlab.ridge import FITTED, SCORED, fit_ridge

SIZES = [(9, 30), (12, 11), (40, 6), (300, 20)]


def data(rows: int, features: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, features, generator=generator, dtype=torch.float64) + 3
    y = x[:, :2] @ torch.tensor([[1.0, -2.0], [0.5, 0.0]], dtype=torch.float64) - 7
    return x, y + torch.randn(rows, 2, generator=generator, dtype=torch.float64)


def solved(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """By the normal equations with a column of ones that is not penalised."""
    ones = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    diagonal = torch.full((ones.shape[1],), penalty, dtype=x.dtype)
    diagonal[-1] = 0
    found = torch.linalg.solve(ones.T @ ones + diagonal.diag(), ones.T @ y)
    return found[:-1].T, found[-1]


def unit(x: Tensor) -> float:
    return float((x - x.mean(0)).square().sum()) / min(len(x) - 1, x.shape[1])


@pytest.mark.parametrize(("rows", "features"), SIZES)
@pytest.mark.parametrize("standardize", [False, True])
def test_it_solves_the_system(rows: int, features: int, standardize: bool) -> None:
    x, y = data(rows, features)
    x[:, 0] *= 100
    ridge = fit_ridge(lambda: [(x, y)], penalties=[0.1], standardize=standardize)
    scale = x.std(0, correction=0) if standardize else torch.ones(features, dtype=torch.float64)
    weight, bias = solved(x / scale, y, 0.1 * unit(x / scale))
    torch.testing.assert_close(ridge.weight, weight / scale, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(ridge.bias, bias, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(ridge(x), (x / scale) @ weight.T + bias, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("rows", "features"), SIZES[:3])
@pytest.mark.parametrize("penalty", [1e-4, 1.0, 100.0])
def test_its_errors_are_those_of_leaving_each_row_out(rows: int, features: int, penalty: float) -> None:
    x, y = data(rows, features)
    ridge = fit_ridge(lambda: [(x, y)], penalties=[penalty])
    squares = []
    for left_out in range(rows):
        others = torch.arange(rows) != left_out
        weight, bias = solved(x[others], y[others], penalty * unit(x))
        squares.append((weight @ x[left_out] + bias - y[left_out]).square().sum())
    assert ridge.errors[0] == pytest.approx(float(torch.stack(squares).mean()), rel=1e-6)


def test_noise_with_more_features_than_rows_is_no_better_than_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 400, generator=generator)
    y = torch.randn(30, 1, generator=generator)
    ridge = fit_ridge(lambda: [(x, y)])
    mean_alone = float((y - y.mean()).square().mean()) * (30 / 29) ** 2
    assert min(ridge.errors) > 0.9 * mean_alone
    assert ridge.errors[0] > mean_alone  # almost without a penalty


@pytest.mark.parametrize(("rows", "features"), SIZES)
def test_batches_and_arrays_change_nothing(rows: int, features: int) -> None:
    x, y = data(rows, features)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, rows, 7):
            yield x[start : start + 7].numpy(), y[start : start + 7].numpy()

    whole, parts = fit_ridge(lambda: [(x, y)]), fit_ridge(batches)
    assert whole.penalty == parts.penalty
    torch.testing.assert_close(whole.weight, parts.weight, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(whole.errors, parts.errors, rtol=1e-7)


def test_it_chooses_what_generalises() -> None:
    x, y = data(150, 60)
    ridge = fit_ridge(lambda: [(x, y)])
    new_x, new_y = data(2000, 60, seed=1)
    scores = {
        penalty: float((fit_ridge(lambda: [(x, y)], [penalty])(new_x) - new_y).square().sum(1).mean())
        for penalty in ridge.penalties
    }
    assert scores[ridge.penalty] < 1.05 * min(scores.values())
    assert scores[ridge.penalty] < 0.95 * min(scores[ridge.penalties[0]], scores[ridge.penalties[-1]])


@pytest.mark.parametrize(("rows", "features"), SIZES[1:])
def test_the_errors_of_folds_are_those_of_fits_on_what_they_fit(rows: int, features: int) -> None:
    x, y = data(rows, features)
    roles = torch.randint(3, (rows, 2), generator=torch.Generator().manual_seed(1))
    ridge = fit_ridge(lambda: [(x[:5], y[:5], roles[:5]), (x[5:], y[5:], roles[5:])], penalties=[0.1])
    squares, expected = [], torch.full_like(y, float("nan"))
    for role in roles.T:
        fitted, scored = role == FITTED, role == SCORED
        weight, bias = solved(x[fitted], y[fitted], 0.1 * unit(x[fitted]))
        said = x[scored] @ weight.T + bias
        squares += (y[scored] - said).square().sum(1).tolist()
        expected[scored] = said
    assert ridge.folds == 2
    assert ridge.errors[0] == pytest.approx(float(np.mean(squares)), rel=1e-6)
    torch.testing.assert_close(ridge.left_out, expected, rtol=1e-6, atol=1e-8, equal_nan=True)
    # what is fitted in the end are all rows
    torch.testing.assert_close(ridge.weight, fit_ridge(lambda: [(x, y)], penalties=[0.1]).weight)


def test_folds_without_enough_rows_leave_out_each_row() -> None:
    x, y = data(12, 3)
    nothing = fit_ridge(lambda: [(x, y, torch.zeros(12, 2))])
    assert not nothing.folds and nothing.errors == fit_ridge(lambda: [(x, y)]).errors


def test_steps_of_a_sequence_that_are_alike_tell_nothing_of_another() -> None:
    """Noise, each row three times: a row left out is known from the others, a sequence isn't."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 200, generator=generator).repeat_interleave(3, 0)
    y = torch.randn(40, 1, generator=generator).repeat_interleave(3, 0)
    fold = torch.arange(40)[:, None] % 5 == torch.arange(5)
    roles = torch.where(fold, SCORED, FITTED).repeat_interleave(3, 0)
    alone, together = fit_ridge(lambda: [(x, y)]), fit_ridge(lambda: [(x, y, roles)])
    assert min(alone.errors) < 0.01 < 0.8 * float(y.var()) < min(together.errors)
    assert together.penalty > 1000 * alone.penalty


def test_constant_features_and_targets() -> None:
    x, y = torch.ones(10, 3), torch.full((10, 2), 4.0)
    ridge = fit_ridge(lambda: [(x, y)], standardize=True)
    torch.testing.assert_close(ridge(x), y.double())
    assert ridge.penalty == max(ridge.penalties)


@pytest.mark.parametrize(("rows", "penalties"), [(1, [1.0]), (5, []), (5, [0.0])])
def test_what_cannot_be_solved(rows: int, penalties: list[float]) -> None:
    with pytest.raises(ValueError, match=r"rows|penalties"):
        fit_ridge(lambda: [(torch.ones(rows, 2), torch.ones(rows, 1))], penalties)
