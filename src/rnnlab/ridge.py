"""Ridge regression in closed form, with the penalty chosen by its exact leave-one-out error, or by folds.

    min over W, b of  Σ_i |y_i - W x_i - b|² + λ |W|²

The intercept b belongs to the system and is not penalised: with centred rows
x̃_i = x_i - x̄ the leverage of row i is

    h_i = 1/n + x̃_iᵀ (X̃ᵀX̃ + λI)⁻¹ x̃_i

and its error without itself e_i / (1 - h_i), where e_i is its residual (D. M. Allen, "The relationship between variable
selection and data augmentation and a method for prediction" (1974), Technometrics 16(1); T. Hastie, R. Tibshirani &
J. Friedman, "The elements of statistical learning" (2009), equation 7.64). Without 1/n the rows would have been centred
by a mean that knows the row left out, and where there are more features than rows the error would be an illusion.

Where rows hang together, as windows of one series that overlap, a row left out is known from its neighbours: the error
says nothing of what is new, and the penalty comes out far too small. For these there are folds (:class:`Folds`): some
rows are fitted, others scored, and those too near to either are neither (P. Burman, E. Chow & D. Nolan, "A
cross-validatory method for dependent data" (1994), Biometrika 81(2)).

All of it is in double precision. Rows come in batches, so that they need not fit in memory: where there are more rows
than features the sums of products are kept, and otherwise the rows themselves.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

Rows = Iterable[tuple[Any, ...]]
"""Batches of ``(rows, features)`` and ``(rows, targets)``, tensors or arrays, and perhaps the tensor ``(rows, folds)``
of what each row is for in each fold: ``FITTED``, ``SCORED`` or 0."""

FITTED, SCORED = 1, 2


class Folds(NamedTuple):
    """Which sequences are fitted and which are scored, to choose a penalty.

    roles
        ``(sequences, folds)`` of ``FITTED``, ``SCORED`` or 0.
    last
        Whether only the last step of a sequence is scored, as that of a window from which a forecast is made.
    """

    roles: Tensor
    last: bool = False


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
        left_out: ``(rows, targets)`` what is predicted for each row by the others; not a number where no fold scores
            it.
        folds: so many of them gave penalty, errors and what is left out; 0 where each row was left out by itself.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    penalties: tuple[float, ...]
    errors: tuple[float, ...]
    rows: int
    left_out: Tensor
    folds: int = 0

    def __call__(self, features: Any) -> Tensor:
        """``(…, features)`` to ``(…, targets)`` in float64."""
        return double(features) @ self.weight.T + self.bias


def fit_ridge(batches: Callable[[], Rows], penalties: Sequence[float] = PENALTIES, standardize: bool = False) -> Ridge:
    """The ridge regression with the least error on rows left out, the largest penalty where several have it.

    Args:
        batches: gives the rows, the same at each call: they are read five times at most. Without folds, or where none
            has two rows to fit and one to score, each row is left out by itself.
        penalties: λ to choose from, in units of the mean squared singular value of the centred (and scaled) rows; one
            is taken as it is.
        standardize: divide each feature by its standard deviation first, so that its unit does not matter. The scale is
            that of all rows, also where some are left out.

    Returns:
        The map, for features as they came.

    Raises:
        ValueError: there are fewer than two rows, no penalty, or one that is not above zero.
    """
    if not penalties or min(penalties) <= 0:
        raise ValueError(f"penalties must be above zero: {list(penalties)}")
    moments = _Moments()
    folded = False
    for x, y, *roles in batches():
        moments.add(double(x), double(y))
        folded = bool(roles)
    if moments.rows < 2:
        raise ValueError(f"ridge regression needs two rows at least, and there are {moments.rows}")
    scale = moments.deviation if standardize else torch.ones_like(moments.mean_x)
    few = moments.rows <= len(moments.mean_x)
    system: _FewRows | _ManyRows = (_FewRows if few else _ManyRows)(moments, scale, batches)
    unit = float(system.values.sum()) / min(moments.rows - 1, len(moments.mean_x)) or 1.0
    found = sorted(penalties)
    folds = _FoldedRows(moments, scale, batches) if folded else None
    if folds is not None and not folds.folds:
        folds = None
    errors = system.errors([penalty * unit for penalty in found]) if folds is None else folds.errors(found)
    # the largest of equals: where nothing can be told, the mean of the targets
    best = min(range(len(found)), key=lambda k: (errors[k], -k))
    weight = system.weight(found[best] * unit) / scale
    bias = moments.mean_y - weight @ moments.mean_x
    left_out = system.left_out(found[best] * unit) if folds is None else folds.left_out(found[best])
    return Ridge(
        weight,
        bias,
        found[best],
        tuple(found),
        tuple(errors),
        moments.rows,
        moments.mean_y + left_out,
        0 if folds is None else len(folds.folds),
    )


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
        kept = [(double(x), double(y)) for x, y, *_ in batches()]
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
        for x, y, *_ in self.batches():
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


class _Fold:
    """What one fold fits: sums, and then the eigenvectors of the features' products about its own means."""

    def __init__(self, features: int, targets: int) -> None:
        self.rows, self.scored = 0, 0
        self.sum_x, self.sum_y = torch.zeros(features).double(), torch.zeros(targets).double()
        self.products = torch.zeros(features, features).double()
        self.cross = torch.zeros(features, targets).double()

    def add(self, x: Tensor, y: Tensor, role: Tensor) -> None:
        """Rows that are less the means of all rows, so that these sums are as exact as those about their own means."""
        self.scored += int((role == SCORED).sum())
        x, y = x[role == FITTED], y[role == FITTED]
        self.rows += len(x)
        self.sum_x += x.sum(0)
        self.sum_y += y.sum(0)
        self.products += x.T @ x
        self.cross += x.T @ y

    def settle(self) -> "_Fold":
        """All rows have come."""
        self.mean_x, self.mean_y = self.sum_x / self.rows, self.sum_y / self.rows
        values, self.vectors = torch.linalg.eigh(self.products - self.rows * torch.outer(self.mean_x, self.mean_x))
        self.values = values.clamp_min(0)
        self.coordinates = self.vectors.T @ (self.cross - self.rows * torch.outer(self.mean_x, self.mean_y))
        self.unit = float(self.values.sum()) / min(self.rows - 1, len(self.mean_x)) or 1.0
        del self.products, self.cross
        return self

    def predict(self, x: Tensor, penalties: Sequence[float]) -> Iterable[Tensor]:
        """``(rows, targets)`` for each penalty, less the mean of all targets."""
        turned = (x - self.mean_x) @ self.vectors
        for penalty in penalties:
            yield self.mean_y + turned @ (self.coordinates / (self.values + penalty * self.unit)[:, None])


class _FoldedRows:
    """Rows of which each fold fits some and scores others.

    Penalties are in units of the mean squared singular value of the rows that a fold fits, as they are in the end in
    that of all, so that one of them shrinks as much with fewer rows.
    """

    def __init__(self, moments: _Moments, scale: Tensor, batches: Callable[[], Rows]) -> None:
        self.moments, self.scale, self.batches = moments, scale, batches
        folds: dict[int, _Fold] = {}
        for x, y, role in self._centred():
            for number in range(role.shape[1]):
                folds.setdefault(number, _Fold(x.shape[1], y.shape[1])).add(x, y, role[:, number])
        self.folds = {number: fold.settle() for number, fold in folds.items() if fold.rows > 1 and fold.scored}

    def _centred(self) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        for x, y, role in self.batches():
            yield (double(x) - self.moments.mean_x) / self.scale, double(y) - self.moments.mean_y, role

    def errors(self, penalties: Sequence[float]) -> list[float]:
        """Of each penalty the mean squared error of the rows that are scored."""
        totals, rows = [0.0] * len(penalties), 0
        for x, y, role in self._centred():
            for number, fold in self.folds.items():
                scored = role[:, number] == SCORED
                rows += int(scored.sum())
                for k, said in enumerate(fold.predict(x[scored], penalties)):
                    totals[k] += float((y[scored] - said).square().sum())
        return [total / rows for total in totals]

    def left_out(self, penalty: float) -> Tensor:
        """``(rows, targets)`` as the fold says that scores a row, less the mean of all targets."""
        found = []
        for x, y, role in self._centred():
            said = torch.full_like(y, float("nan"))
            for number, fold in self.folds.items():
                scored = role[:, number] == SCORED
                (said[scored],) = fold.predict(x[scored], [penalty])
            found.append(said)
        return torch.cat(found)
