"""What rnnlab takes from Lightning's private names, in one file, and that it is as Lightning 2.6 has it."""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loops import fetchers
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.trainer import call
from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector
from torch.utils.data import DataLoader

import rnnlab
from rnnlab.runs import lightning_internals
from rnnlab.runs.trainer import quiet_lightning
from rnnlab.tasks import scored, task

PACKAGE = Path(rnnlab.__file__).parent


def test_private_names_are_imported_in_one_file() -> None:
    def imports(path: Path) -> list[str]:
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        return [name.name for node in nodes if "lightning" in (node.module or "") for name in node.names]

    files = {path for path in PACKAGE.rglob("*.py") if any(name.startswith("_") for name in imports(path))}
    assert files == {Path(lightning_internals.__file__)}


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (_TrainingEpochLoop.__init__, ["self", "trainer", "min_steps", "max_steps"]),
        (_TrainingEpochLoop.advance, ["self", "data_fetcher"]),
        (_TrainingEpochLoop.on_run_start, ["self", "data_fetcher"]),
        (_TrainingEpochLoop.update_lr_schedulers, ["self", "interval", "update_plateau_schedulers"]),
        (_TrainingEpochLoop._num_ready_batches_reached, ["self"]),
        (_TrainingEpochLoop._should_check_val_fx, ["self", "data_fetcher"]),
        (call._call_callback_hooks, ["trainer", "hook_name", "args", "monitoring_callbacks", "kwargs"]),
        (_CheckpointConnector.dump_checkpoint, ["self", "weights_only"]),
    ],
)
def test_they_are_called_as_they_were(function: Any, parameters: list[str]) -> None:
    assert list(inspect.signature(function).parameters) == parameters


def test_a_loop_counts_a_step_and_a_batch_as_lightning_does(tmp_path: Path) -> None:
    """One step of a module of Lightning's own kind, and one that is counted by hand, leave equal counters."""

    class One(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: torch.Tensor) -> torch.Tensor:
            loss: torch.Tensor = self.layer(batch).sum()
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accelerator="cpu", default_root_dir=tmp_path,
        )  # fmt: skip

    quiet_lightning()
    by_lightning = trainer()
    by_lightning.fit(One(), DataLoader(torch.ones(1, 1)))
    theirs = by_lightning.fit_loop.epoch_loop
    ours = lightning_internals.LightningsLoop(trainer())
    ours.batch_progress.increment_ready()
    ours.batch_progress.increment_started()
    ours.batch_progress.increment_processed()
    ours.count_step()
    ours.end_the_batch_before()
    assert ours.batch_progress.total == theirs.batch_progress.total
    counted, expected = (loop.automatic_optimization.optim_progress.state_dict() for loop in (ours, theirs))
    assert counted["optimizer"]["step"] == expected["optimizer"]["step"]
    assert counted["optimizer"]["zero_grad"]["total"] == expected["optimizer"]["zero_grad"]["total"]
    assert ours._batches_that_stepped == theirs._batches_that_stepped == 1


def test_a_fetcher_that_leaves_the_batches_to_the_task_is_another_one() -> None:
    assert lightning_internals.fetches_by_itself(fetchers._DataLoaderIterDataFetcher())
    assert not lightning_internals.fetches_by_itself(fetchers._PrefetchDataFetcher())


def test_a_scheduler_does_not_warn_of_an_optimizer_that_steps_elsewhere() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    lightning_internals.note_that_it_steps(optimizer)
    scheduler.step()  # a warning is an error in tests


def test_lightning_notes_the_hook_that_runs_where_a_task_expects_it() -> None:
    module = LightningModule()
    assert "_current_fx_name" in vars(module) and "_trainer" in vars(module)
    assert "_current_fx_name" in inspect.getsource(task) and "self._trainer" in inspect.getsource(scored)
