"""On a device that isn't the CPU no tensor is made on the CPU: fake tensors show that where there is no GPU."""

from typing import Any

import pytest
import torch
from conftest import choices, compose
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from rnnlab.cells.cell import Cell
from rnnlab.kernels.layer import UnrollModule
from rnnlab.runs.build import build

BATCH, TIME, FEATURES, HIDDEN = 4, 7, 3, 8
INDEXED = ("lru", "mlstm", "qrnn", "s4d", "s5")
"""Where there is no GPU, PyTorch can't index a fake tensor on one, as a step of these does."""


def on_gpu(value: Any) -> Any:
    """A fake tensor on a GPU of the same shape and type; nested."""
    if isinstance(value, Tensor):
        return torch.empty(value.shape, dtype=value.dtype, device="cuda")
    if isinstance(value, tuple):
        made = [on_gpu(part) for part in value]
        return type(value)(*made) if hasattr(value, "_fields") else tuple(made)
    return value


def placed(module: nn.Module, *arguments: Any) -> list[torch.device]:
    """Where what a module gives lies, when all it is given is on a GPU."""
    with torch.no_grad(), FakeTensorMode():
        named = {name: on_gpu(tensor) for name, tensor in (*module.named_parameters(), *module.named_buffers())}
        made: Any = functional_call(module, named, on_gpu(arguments))
    devices: list[torch.device] = []

    def gather(value: Any) -> None:
        if isinstance(value, Tensor):
            devices.append(value.device)
        elif isinstance(value, (tuple, list)):
            for part in value:
                gather(part)

    gather(made)
    return devices


@pytest.mark.parametrize("name", [name for name in choices("model") if name not in INDEXED])
def test_a_cell_makes_its_tensors_where_its_input_is(name: str) -> None:
    cell = build(compose(f"model={name}")["model"]["cell"], "model.cell")(FEATURES, HIDDEN)
    assert isinstance(cell, Cell)
    x = torch.zeros(BATCH, TIME, FEATURES)
    assert {device.type for device in placed(UnrollModule(cell), x, cell.initial_state(BATCH))} == {"cuda"}
    # fake tensors know no kernels of cuDNN, and parallel forms index
    if type(cell)._forward is Cell._forward:
        assert {device.type for device in placed(cell, x)} == {"cuda"}


def test_a_tensor_made_on_the_cpu_is_noticed() -> None:
    class Careless(Cell[Tensor]):
        def __init__(self) -> None:
            super().__init__(FEATURES, HIDDEN)
            self.map = nn.Linear(FEATURES, HIDDEN)

        def initial_state(self, batch_size: int) -> Tensor:
            return self.map.weight.new_zeros(batch_size, HIDDEN)

        def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            h = self.map(x) + state * torch.linspace(0, 1, HIDDEN)
            return h, h

    with pytest.raises(RuntimeError, match="device"):
        placed(Careless(), torch.zeros(BATCH, TIME, FEATURES))
