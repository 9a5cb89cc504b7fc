"""Ridge regression in closed form, with the penalty chosen by its exact leave-one-out error.

    min over W, b of  Σ_i |y_i - W x_i - b|² + λ |W|²

The intercept b belongs to the system and is not penalised: with centred rows
x̃_i = x_i - x̄ the leverage of row i is

    h_i = 1/n + x̃_iᵀ (X̃ᵀX̃ + λI)⁻¹ x̃_i

and its error without itself e_i / (1 - h_i), where e_i is its residual (D. M. Allen, "The relationship between variable
selection and data augmentation and a method for prediction" (1974), Technometrics 16(1); T. Hastie, R. Tibshirani &
J. Friedman, "The elements of statistical learning" (2009), equation 7.64). Without 1/n the rows would have been centred
by a mean that knows the row left out, and where there are more features than rows the error would be an illusion.

All of it is in double precision. Rows come in batches, so that they need not fit in memory: where there are more rows
than features the sums of products are kept, and otherwise the rows themselves.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Rows = Iterable[tuple[Any, Any]]
"""Batches of ``(rows, features)`` and ``(rows, targets)``, tensors or arrays."""

PENALTIES = tuple(10.0 ** (k / 2) for k in range(-12, 9))
"""λ, in units of the mean squared singular value of the centred rows: from almost none to almost the mean alone."""


@dataclass(frozen=True, eq=False)
class Ridge:
    """A linear map with an intercept: ``x @ weight.T + bias``.

    Attributes:
        weight: ``(targets, features)``, float64.
        bias: ``(targets,)``.
        penalty: λ that was chosen, in the units of ``penalties``.
        penalties: those that there were to choose from.
        errors: of each its mean squared error on rows left out, a sum over the targets.
        rows: that it was fitted on.
        left_out: ``(rows, targets)`` what is predicted for each row by the others.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    penalties: tuple[float, ...]
    errors: tuple[float, ...]
    rows: int
    left_out: Tensor

    def __call__(self, features: Any) -> Tensor:
        """``(…, features)`` to ``(…, targets)`` in float64."""
        return double(features) @ self.weight.T + self.bias


def fit_ridge(batches: Callable[[], Rows], penalties: Sequence[float] = PENALTIES, standardize: bool = False) -> Ridge:
    """The ridge regression with the least leave-one-out error, the largest penalty where several have it.

    Args:
        batches: gives the rows, the same at each call: they are read four times at most.
        penalties: λ to choose from, in units of the mean squared singular value of the centred (and scaled) rows; one
            is taken as it is.
        standardize: divide each feature by its standard deviation first, so that its unit does not matter. The scale is
            that of all rows, also where one is left out.

    Returns:
        The map, for features as they came.

    Raises:
        ValueError: there are fewer than two rows, no penalty, or one that is not above zero.
    """
    if not penalties or min(penalties) <= 0:
        raise ValueError(f"penalties must be above zero: {list(penalties)}")
    moments = _Moments()
    for x, y in batches():
        moments.add(double(x), double(y))
    if moments.rows < 2:
        raise ValueError(f"ridge regression needs two rows at least, and there are {moments.rows}")
    scale = moments.deviation if standardize else torch.ones_like(moments.mean_x)
    few = moments.rows <= len(moments.mean_x)
    system: _FewRows | _ManyRows = (_FewRows if few else _ManyRows)(moments, scale, batches)
    unit = float(system.values.sum()) / min(moments.rows - 1, len(moments.mean_x)) or 1.0
    found = sorted(penalties)
    errors = system.errors([penalty * unit for penalty in found])
    # the largest of equals: where nothing can be told, the mean of the targets
    best = min(range(len(found)), key=lambda k: (errors[k], -k))
    weight = system.weight(found[best] * unit) / scale
    bias = moments.mean_y - weight @ moments.mean_x
    left_out = moments.mean_y + system.left_out(found[best] * unit)
    return Ridge(weight, bias, found[best], tuple(found), tuple(errors), moments.rows, left_out)


def double(values: Any) -> Tensor:
    """As a tensor in double precision."""
    return torch.as_tensor(values).detach().double()


class _Moments:
    """Means, and the sums of squares about them, of rows that come in batches.

    T. F. Chan, G. H. Golub & R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances"
    (1979): the sums of two parts and what the distance of their means adds.
    """

    def __init__(self) -> None:
        self.rows = 0

    def add(self, x: Tensor, y: Tensor) -> None:
        if not len(x):
            return
        if not self.rows:
            self.mean_x, self.mean_y = x.new_zeros(x.shape[1]), y.new_zeros(y.shape[1])
            self.squares = x.new_zeros(x.shape[1])
        rows = self.rows + len(x)
        shift = x.mean(0) - self.mean_x
        self.squares += (x - x.mean(0)).square().sum(0) + shift.square() * (self.rows * len(x) / rows)
        self.mean_x += shift * (len(x) / rows)
        self.mean_y += (y.mean(0) - self.mean_y) * (len(x) / rows)
        self.rows = rows

    @property
    def deviation(self) -> Tensor:
        """Of each feature; 1 where it stands still."""
        deviation = (self.squares / self.rows).sqrt()
        # what rounding leaves of a constant is no spread
        still = deviation <= 1e-7 * self.mean_x.abs()
        return deviation.masked_fill(still | (deviation == 0), 1.0)


class _FewRows:
    """No more rows than features: by the eigenvectors of the rows' products with each other."""

    def __init__(self, moments: _Moments, scale: Tensor, batches: Callable[[], Rows]) -> None:
        kept = [(double(x), double(y)) for x, y in batches()]
        self.x = (torch.cat([x for x, _ in kept]) - moments.mean_x) / scale
        self.y = torch.cat([y for _, y in kept]) - moments.mean_y
        products = self.x @ self.x.T
        # The rows sum to zero, so that the vector of ones has the eigenvalue 0: it stands for the intercept. Raised
        # above all others it is the last of them, and not mixed with those that have the eigenvalue 0, too.
        above = 2 * float(products.trace()) or 1.0
        values, vectors = torch.linalg.eigh(products + above / len(products))
        self.values, self.vectors = values[:-1].clamp_min(0), vectors[:, :-1]
        self.coordinates = self.vectors.T @ self.y

    def errors(self, penalties: Sequence[float]) -> list[float]:
        """Of each penalty the mean squared leave-one-out error."""
        return [self._error(penalty) for penalty in penalties]

    def _error(self, penalty: float) -> float:
        return float((self.y - self.left_out(penalty)).square().sum(1).mean())

    def left_out(self, penalty: float) -> Tensor:
        """What is predicted for each row by the others, less the mean of the targets."""
        left = penalty / (self.values + penalty)
        # 1 - h_i and e_i without a difference of numbers that are almost equal
        residual = self.vectors @ (left[:, None] * self.coordinates)
        rest = self.vectors.square() @ left
        return self.y - residual / rest[:, None]

    def weight(self, penalty: float) -> Tensor:
        dual = self.vectors @ (self.coordinates / (self.values + penalty)[:, None])
        return dual.T @ self.x


class _ManyRows:
    """More rows than features: by the eigenvectors of the features' products, summed over the rows."""

    def __init__(self, moments: _Moments, scale: Tensor, batches: Callable[[], Rows]) -> None:
        self.moments, self.scale, self.batches = moments, scale, batches
        products: Any = 0.0
        self.cross: Any = 0.0
        for x, y in self._centred():
            products = products + x.T @ x
            self.cross = self.cross + x.T @ y
        values, self.vectors = torch.linalg.eigh(products)
        self.values = values.clamp_min(0)
        self.coordinates = self.vectors.T @ self.cross

    def _centred(self) -> Iterable[tuple[Tensor, Tensor]]:
        for x, y in self.batches():
            yield (double(x) - self.moments.mean_x) / self.scale, double(y) - self.moments.mean_y

    def errors(self, penalties: Sequence[float]) -> list[float]:
        """Of each penalty the mean squared leave-one-out error."""
        totals = [0.0] * len(penalties)
        for x, y in self._centred():
            turned = x @ self.vectors
            for k, penalty in enumerate(penalties):
                totals[k] += float((y - self._left_out(turned, y, penalty)).square().sum())
        return [total / self.moments.rows for total in totals]

    def left_out(self, penalty: float) -> Tensor:
        """What is predicted for each row by the others, less the mean of the targets."""
        return torch.cat([self._left_out(x @ self.vectors, y, penalty) for x, y in self._centred()])

    def _left_out(self, turned: Tensor, y: Tensor, penalty: float) -> Tensor:
        inverse = 1 / (self.values + penalty)
        leverage = 1 / self.moments.rows + turned.square() @ inverse
        residual = y - turned @ (inverse[:, None] * self.coordinates)
        return y - residual / (1 - leverage).clamp_min(1e-12)[:, None]

    def weight(self, penalty: float) -> Tensor:
        return (self.vectors @ (self.coordinates / (self.values + penalty)[:, None])).T
