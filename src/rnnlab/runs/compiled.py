"""``trainer.compile=true``: the step of a cell that runs step by step, as one compiled function.

A whole layer is no use to a compiler: it would write the loop out, step for
step, which takes minutes. Cells with a kernel, a pass by hand or a parallel
form have nothing to gain; those that are a loop over ``step``, one's own
above all, start a handful of small operations a step, which become one or two.
"""

import os
import shutil
from importlib.util import find_spec

import torch
from lightning import Callback, LightningModule, Trainer

from rnnlab.errors import InputError
from rnnlab.tasks.task import task_of


def check_compiler(on_gpu: bool) -> None:
    """Looks for what torch compiles with.

    Raises:
        InputError: it is not there, in one line with what to do.
    """
    if on_gpu:
        if find_spec("triton") is None:
            raise InputError(
                "trainer.compile=true needs triton for a GPU: pip install triton, or trainer.compile=false"
            )
        return
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler) is None:
        raise InputError(
            f"trainer.compile=true needs a C++ compiler, and there is no {compiler} here: install one (Debian, Ubuntu: "
            "apt install g++), name it by CXX=…, or use trainer.compile=false"
        )


class CompiledSteps(Callback):
    """Every cell's ``step`` is compiled while the network trains; who calls it sees no difference but rounding."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # not before: TensorBoard's graph is traced at the start of the fit, and what is compiled cannot be traced
        for cell in task_of(pl_module).network.cells():
            cell.__dict__["step"] = torch.compile(cell.step)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for cell in task_of(pl_module).network.cells():
            cell.__dict__.pop("step", None)
