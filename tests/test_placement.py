"""On a device that isn't the CPU no tensor is made on the CPU: that shows where there is no GPU, too."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from conftest import choices, compose
from elsewhere import DEVICE, Misplaced, Placement, elsewhere
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from rnnlab.cells.cell import Cell
from rnnlab.kernels.loop import UnrollModule
from rnnlab.runs.build import build
from rnnlab.runs.preparation import prepare

BATCH, TIME, FEATURES, HIDDEN = 4, 7, 3, 8
INDEXED = ("lru", "mlstm", "qrnn", "s4d", "s5", "s6", "delta_net", "conv_lstm")
"""Where there is no GPU, PyTorch can't index a fake tensor on one, nor convolve it, as a step of these does: see below
for these."""


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
    if type(cell)._forward is Cell._forward and cell.torch_kernel() is None:
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


# ---- with values, whatever is indexed and looked at ----------------------------------------------------------------

QUICK = ("adding", "airline", "copy_memory", "digits", "sine", "text")
"""A data set for each task and for each way of reading."""


@pytest.fixture(autouse=True)
def parameters_may_change_their_class() -> Iterator[None]:
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    yield
    torch.__future__.set_overwrite_module_params_on_conversion(before)


@pytest.mark.parametrize("name", choices("model"))
@pytest.mark.few("gru", "lstm", "lru", "mlstm")
def test_a_cell_is_elsewhere_what_it_is_on_the_cpu(name: str) -> None:
    cell = build(compose(f"model={name}")["model"]["cell"], "model.cell")(FEATURES, HIDDEN)
    x, lengths = torch.randn(BATCH, TIME, FEATURES), torch.tensor([7, 1, 0, 4])
    for given in None, lengths:
        expected = cell.unroll(x, None, given)[0].detach()
        moved = copy.deepcopy(cell)._apply(elsewhere)
        with Placement(strict=True):
            for run in moved, moved.unroll:
                inputs = elsewhere(x).requires_grad_()
                output, _ = run(inputs, None, elsewhere(given))
                output.sum().backward()
                assert inputs.grad is not None and inputs.grad.device == DEVICE
                torch.testing.assert_close(output.value.detach(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in choices("data")]
)
def test_a_task_makes_its_tensors_where_its_batch_is(name: str) -> None:
    run = prepare(compose(f"data={name}", "model.hidden_size=8", "data.num_samples=50"))
    splits = [run.data.split(split) for split in ("train", "val", "test")]
    batches = [elsewhere(split.batch(torch.arange(min(3, len(split))))) for split in splits]
    task = run.task._apply(elsewhere)
    with Placement(strict=True):
        task.training_step(batches[0], 1).backward()
        for parameter in task.parameters():
            assert parameter.grad is None or parameter.grad.device == DEVICE
        task.eval()
        with torch.no_grad():
            task.validation_step(batches[1], 0)
            task.test_step(batches[2], 0)
            assert task.predict_step(batches[2], 0).device == DEVICE


def test_tensors_of_two_devices_side_by_side_are_noticed() -> None:
    there = elsewhere(torch.ones(2))
    with Placement(strict=True):
        assert float((there + 1).sum()) == 4
        with pytest.raises(Misplaced, match="on the CPU and elsewhere"):
            there + torch.ones(2, device=DEVICE).value
        with pytest.raises(Misplaced, match="on the CPU"):
            torch.ones(2)
