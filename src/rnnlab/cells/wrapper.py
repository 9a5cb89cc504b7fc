"""A cell around another one: what it says of itself is what that one says."""

from typing import Any

from torch import Tensor

from rnnlab.cells.cell import Cell
from rnnlab.shapes import State


class WrappedCell(Cell[Any]):
    """A cell that changes what another one reads, or what it remembers.

    Args:
        cell: the other one.
        more: features that are read beside those of the cell.
    """

    def __init__(self, cell: Cell[Any], more: int = 0) -> None:
        super().__init__(cell.input_size + more, cell.hidden_size)
        self.cell, self.separable, self.elapsed, self.masks = cell, cell.separable, cell.elapsed, cell.masks

    @property
    def backend(self) -> str:
        return self.cell.backend

    @backend.setter
    def backend(self, backend: str) -> None:
        self.cell.backend = backend

    @property
    def title(self) -> str:
        return self.cell.title

    def inner(self, state: Any) -> Any:
        """The cell's part of the state."""
        return state

    def initial_state(self, batch_size: int) -> State:
        return self.cell.initial_state(batch_size)

    def memory(self, state: State) -> Tensor:
        return self.cell.memory(self.inner(state))

    def recurrent_weights(self) -> dict[str, Tensor]:
        return self.cell.recurrent_weights()
