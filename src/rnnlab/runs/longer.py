"""More epochs for a run: its config with a larger budget, as if it had had it from the start."""

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning.pytorch import callbacks
from torch.optim.lr_scheduler import OneCycleLR

from rnnlab.errors import InputError
from rnnlab.instruments.console import console
from rnnlab.runs.budget import KEYS, plan

if TYPE_CHECKING:
    from rnnlab.runs.preparation import Run


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's, with the patience of the config, and not the one of when the checkpoint was written."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        patience = self.patience
        super().load_state_dict(state_dict)
        self.patience = patience


def with_length(config: Mapping[str, Any], longer: Mapping[str, Any]) -> dict[str, Any]:
    """A run's config with some of :data:`rnnlab.runs.budget.KEYS` changed."""
    changed = dict(config)
    for key, value in longer.items():
        part, _, name = key.partition(".")
        changed[part] = {**(changed.get(part) or {}), name: value}
    return changed


def lengthened(run: "Run", before: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> "Run":
    """A run that trains longer than it was to.

    Its epochs stay as long as they were, so that the rows that there are go on.

    Args:
        run: of the new config.
        before: the config that it had.
        checkpoint: its last one.

    Raises:
        InputError: it would train no longer, or its schedule has an end that cannot be moved.
    """
    data, trainer = run.data, run.config["trainer"]
    if run.task.network.solver == "ridge":
        raise InputError(
            "this run's readout was solved in closed form (model.solver=ridge): there is no longer training"
        )
    whole, residual = run.task.spec.streamed, bool(run.task.spec.residual)
    old = plan(before["trainer"], data.batches_per_pass, whole_passes=whole, residual=residual)
    new = plan(trainer, data.batches_per_pass, whole_passes=whole, residual=residual)
    each = old.steps // old.epochs
    if new.steps // new.epochs != each:
        run.config["trainer"] = trainer = {**trainer, "steps_per_epoch": each}
        new = plan(trainer, data.batches_per_pass, whole_passes=whole, residual=residual)
    done = int(checkpoint.get("global_step", 0))
    given = {key: run.config[part].get(name) for key in KEYS for part, _, name in [key.partition(".")]
             if run.config.get(part) and run.config[part].get(name) not in (None, "auto")}  # fmt: skip
    said = " ".join(f"{key}={value}" for key, value in given.items() if key.startswith("trainer."))
    if new.steps < done or (new.steps <= done and new.steps <= old.steps):
        more = f", and goes on in epochs of {each:,}: give it {done + each:,} or more" if "max_steps" in said else ""
        more = more or ": give it more"
        raise InputError(f"{said}: this run has trained for {_length(done, each)} already{more}")
    stopping: Mapping[str, Any] = next((state for name, state in checkpoint.get("callbacks", {}).items()
                     if name.startswith("EarlyStopping")), {})  # fmt: skip
    patience = (run.config.get("early_stopping") or {}).get("patience")
    if patience is not None and done and stopping.get("wait_count", 0) >= patience:
        raise InputError(
            f"early_stopping.patience={patience}: this run was stopped after {_length(done, each)}, since "
            f"{run.config['monitor']} had not become better in {stopping['wait_count']} epochs: it would stop at once; "
            "give it a larger early_stopping.patience, or null"
        )
    if done and new.steps != old.steps and run.task.scheduler_factory is not None:
        _check_schedule(run, new.steps)
    return run


def _check_schedule(run: "Run", steps: int) -> None:
    """A schedule that is spread over all steps is another one for more of them."""
    factory = run.task.scheduler_factory
    assert factory is not None
    if "total_steps" not in inspect.signature(factory).parameters:
        return
    optimizer = run.task.build_optimizer()
    schedule = run.task.build_schedule(optimizer, steps)["scheduler"]
    name = str(run.config["scheduler"]["_target_"]).rpartition(".")[2]
    if isinstance(schedule, OneCycleLR):
        raise InputError(f"scheduler={name} ends where the training was to end, and this run cannot train longer")
    console().print(
        f"scheduler={name} is spread over all {steps:,} steps from here on: another course than from the start",
        markup=False,
    )


def _length(steps: int, each: int) -> str:
    epochs = steps // each
    return f"{steps:,} steps ({epochs} epoch{'s' if epochs != 1 else ''})"
