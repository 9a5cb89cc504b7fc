"""Eigenvalues of matrices that may hold anything."""

import torch
from torch import Tensor


def eigenvalues(matrices: Tensor) -> Tensor:
    """Complex ``(…, n)`` of ``(…, n, n)`` in double precision: those of a matrix that is far from normal lose digits.

    A matrix with an entry that is no finite number has none (NaN): LAPACK may crash the process over it.
    """
    matrices = matrices.double()
    finite = matrices.isfinite().all(-1).all(-1)
    values = torch.linalg.eigvals(matrices.where(finite[..., None, None], 0.0))
    return values.where(finite[..., None], torch.nan)
