"""Units that no recurrent product reads for a while.

A mask m is drawn over the units, and U h becomes U (m ⊙ h) in every gate and at
every step: Y. Gal & Z. Ghahramani, "A theoretically grounded application of
dropout in recurrent neural networks" (2016), arXiv 1512.05287, with the same
mask for all gates ("tied weights"). U (m ⊙ h) is (U diag m) h, so that it is
whole columns of the weights that are dropped; what a gate carries on without a
product, such as z ⊙ h in a GRU or the cell of an LSTM, is left alone.

One deviation from the paper: the mask is drawn once for a batch and not for each
of its sequences, as S. Merity, N. Shirish Keskar & R. Socher, "Regularizing and
optimizing LSTM language models" (2018), arXiv 1708.02182, draw theirs of single
weights. A layer is then the same layer with other weights, which every kernel
runs, those of cuDNN included.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from rnnlab.cells.cell import Cell
from rnnlab.cells.zoneout import zoned_parts
from rnnlab.errors import InputError
from rnnlab.kernels.calling import functional_call


class RecurrentDropout:
    """Runs one cell with some columns of its recurrent matrices set to zero.

    Args:
        cell: whose :meth:`~rnnlab.cells.cell.Cell.recurrent_weights` are parameters, or views of them.
        share: of the units, for the error.

    Raises:
        InputError: it has no such matrices, or they are no parameters.
    """

    def __init__(self, cell: Cell[Any], share: float) -> None:
        self.columns: dict[str, Tensor] = {}
        """Of the parameters that hold recurrent matrices: which unit each weight reads, ``hidden_size`` for none."""
        self.hidden_size = cell.hidden_size
        matrices = cell.recurrent_weights()
        if not matrices:
            raise _refusal(share, cell, f"no matrix of weights leads from one state of {cell.title} to the next")
        for matrix in matrices.values():
            name = _holder(matrix, cell.named_parameters())
            if name is None:
                raise _refusal(share, cell, _why_not(matrix, cell))
            parameter = cell.get_parameter(name)
            columns = self.columns.setdefault(name, torch.full(parameter.shape, cell.hidden_size))
            start = matrix.storage_offset() - parameter.storage_offset()
            columns.as_strided(matrix.shape, matrix.stride(), start).copy_(torch.arange(cell.hidden_size))

    def __call__(self, run: Callable[..., Any], cell: Cell[Any], kept: Tensor, *arguments: Any) -> Any:
        """``run(cell, *arguments)`` with other weights.

        Args:
            run: takes the cell over time.
            cell: the one of the constructor, or a copy of it.
            kept: ``(hidden,)`` factor of each unit, 0 where it is dropped.
            arguments: of ``run``, beside the cell.
        """
        factors = torch.cat([kept, torch.ones_like(kept[:1])])
        weights, given = {}, dict(cell.named_parameters())  # which may be others in the parameters' place
        for name in self.columns:
            self.columns[name] = self.columns[name].to(kept.device)
            weights[f"cell.{name}"] = given[name] * factors[self.columns[name]]
        return functional_call(_Run(cell), weights, (run, *arguments))


class _Run(nn.Module):
    """A function of a cell as a module, for ``torch.func.functional_call``."""

    def __init__(self, cell: Cell[Any]) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, run: Callable[..., Any], *arguments: Any) -> Any:
        return run(self.cell, *arguments)


def _holder(matrix: Tensor, among: Iterable[tuple[str, Tensor]]) -> str | None:
    """The name of the tensor of which a matrix is a view."""
    where = matrix.untyped_storage().data_ptr()
    return next((name for name, each in among if each.untyped_storage().data_ptr() == where), None)


def _why_not(matrix: Tensor, cell: Cell[Any]) -> str:
    """Why no columns are dropped of a recurrent matrix that is not made of parameters."""
    if _holder(matrix, cell.named_buffers()):
        return f"what leads from one state of {cell.title} to the next is drawn once and never trained"
    if torch.equal(matrix, matrix.diag().diag()):
        return f"each unit of {cell.title} reads no other one's last state, and would lose its own"
    return f"the matrix from one state of {cell.title} to the next is none of its parameters"


def _refusal(share: float, cell: Cell[Any], why: str) -> InputError:
    instead = "model.zoneout or model.readout_dropout" if any(zoned_parts(cell)) else "model.readout_dropout"
    return InputError(f"model.recurrent_dropout={share}: {why}: use {instead}")
