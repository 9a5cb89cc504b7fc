"""Which runs can be trained as one: those that differ in numbers only."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import nn

from rnnlab.data.sequence import SequenceData
from rnnlab.ngrams import NGramRegression
from rnnlab.runs.preparation import Run
from rnnlab.runs.recorder import random_state
from rnnlab.runs.stack import ELEMENTWISE, check_together
from rnnlab.runs.stacked_members import Member, Unstackable
from rnnlab.tasks.task import Task

OF_A_STEP = (
    "training_step", "configure_gradient_clipping", "configure_optimizers", "forward", "backward", "optimizer_step",
    "optimizer_zero_grad", "lr_scheduler_step", "on_train_batch_start", "on_train_batch_end", "on_before_zero_grad",
    "on_before_backward", "on_after_backward", "on_before_optimizer_step", "on_before_batch_transfer",
    "on_after_batch_transfer", "transfer_batch_to_device",
)  # fmt: skip
"""Methods of a task that a fleet does in its own way."""
PLAIN_TRAINER = {
    "accumulate_grad_batches": 1, "compile": False, "detect_anomaly": False, "profiler": None, "devices": 1,
    "num_nodes": 1, "strategy": "auto",
}  # fmt: skip
"""Trainer options that a fleet has no other value of."""
KNOWN_TRAINER = {
    *PLAIN_TRAINER, "_target_", "accelerator", "max_epochs", "max_steps", "steps_per_epoch", "precision",
    "gradient_clip_val", "gradient_clip_algorithm", "deterministic", "num_threads", "checkpoint_seconds", "progress",
}  # fmt: skip
PRECISIONS = ("32-true", 32, "32", "64-true", 64, "64")


def hindrance(run: Run) -> str | None:
    """Why a run cannot be trained with others; ``None`` where nothing is known against it."""
    trainer, task, data = run.config["trainer"], run.task, run.data
    for name, value in trainer.items():
        if name not in KNOWN_TRAINER or (name in PLAIN_TRAINER and value != PLAIN_TRAINER[name]):
            return f"trainer.{name}={value}"
    if trainer.get("precision", "32-true") not in PRECISIONS:
        return f"trainer.precision={trainer['precision']}"
    for part in ("callbacks", "logger"):
        if run.config.get(part):
            return f"{part}={','.join(run.config[part])}: it watches one training"
    for part in ("freeze", "lr_factors"):
        if run.config.get(part):
            return f"{part}: the steps of all parameters of a fleet are alike"
    if task.no_fleet:
        return f"task {task.title}: {task.no_fleet}"
    for name in OF_A_STEP:
        if getattr(type(task), name) is not getattr(Task, name):
            return f"task {task.title} has a {name} of its own"
    for name in ("train_dataloader", "_batches", "transfer_batch_to_device"):
        if getattr(type(data), name) is not getattr(SequenceData, name):
            return f"data {type(data).__name__} serves its batches in its own way"
    if any(isinstance(module, nn.BatchNorm1d) for module in task.network.modules()):
        return "batch normalisation (model.beside=fcn) keeps means of the batches that one network has seen"
    if isinstance(task.network.beside, NGramRegression):
        return "model.beside=ngram_regression: each run fits it by itself"
    if any(getattr(cell, "backend", None) == "torch" for cell in task.network.cells()):
        return "model.cell.backend=torch: torch's own kernels run one network at a time"
    optimizer = task.optimizer_factory(list(task.network.parameters()))
    if not isinstance(optimizer, ELEMENTWISE):
        return f"optimizer {type(optimizer).__name__} looks at all numbers of a network together"
    if len({parameter.dtype for parameter in task.network.parameters()}) > 1:
        return "its parameters are not all of one type"
    return None


def signature(run: Run) -> str:
    """Equal for runs that differ in numbers only."""
    task, data, trainer = run.task, run.data, run.config["trainer"]
    spec = asdict(task.spec)
    for name in ("scaling", "class_frequencies", "token_frequencies", "target_mean", "references", "note", "unit"):
        spec.pop(name)
    optimizer = task.optimizer_factory(list(task.network.parameters()))
    # members of a stack have epochs of as many batches
    kept = ("accelerator", "precision", "deterministic", "max_steps", "steps_per_epoch")
    return json.dumps(
        [
            {name: _structure(module) for name, module in task.network.named_modules()},
            [(name, list(p.shape)) for name, p in task.network.named_parameters()],
            [type(task).__name__, _plain(vars(task)), repr(getattr(task, "loss_function", None))],
            type(data).__name__,
            [data.batch_size, *(data.size(split) for split in ("train", "val"))],
            run.config["data"].get("augmentation"),
            spec,
            type(optimizer).__name__,
            {name: trainer.get(name) for name in kept},
            trainer.get("max_epochs") is None,
        ],
        default=str,
        sort_keys=True,
    )


def _structure(module: nn.Module) -> Any:
    own = _plain(vars(module))
    own |= {name: value.__qualname__ for name, value in vars(module).items() if hasattr(value, "__qualname__")}
    if isinstance(module, nn.Dropout):
        own.pop("p")
    return [type(module).__module__, type(module).__qualname__, own]


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in attributes.items()
        if not name.startswith("_") and name not in ("training", "monitor", "scheduler_factory")
        and isinstance(value, bool | int | float | str | tuple | list | type(None))
    }  # fmt: skip


def try_together(run: Run) -> str | None:
    """Why two runs like this one cannot be trained together, found out by a first step; ``None`` where they can."""
    data, task = run.data, run.task
    loader = data.train_dataloader()
    order = loader.rest()

    def member(shift: int) -> Member:
        return Member(
            task=task,
            optimizer=task.optimizer_factory(task.network.parameters()),
            batches=loader,
            indices=order[shift : shift + 1],
            first=0,
            epoch=0,
            clip=1.0,
            by_value=False,
            scheduled=False,
            stepped=lambda: None,
            random=random_state(),
        )

    task.train()
    shift = min(1, len(order) - 1)
    if len(order[shift]) != len(order[0]):
        shift = 0
    try:
        check_together([member(0), member(shift)])
    except Unstackable as error:
        return str(error)
    return None


FREE_TRAINER = ("max_epochs", "gradient_clip_val", "gradient_clip_algorithm", "checkpoint_seconds", "num_threads")
"""Trainer options that may differ within a stack."""


def unlike(config: Mapping[str, Any]) -> str:
    """The part of a config that decides with what it can be stacked: where it is equal, one look is enough."""
    own = {part: _unseeded(config[part]) for part in ("data", "model", "task")}
    own["optimizer"] = {k: v for k, v in config["optimizer"].items() if not isinstance(v, float)}
    own["trainer"] = {k: v for k, v in config["trainer"].items() if k not in FREE_TRAINER}
    own["by_steps"] = config["trainer"].get("max_epochs") is None
    return json.dumps(own, sort_keys=True)


def _unseeded(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {k: _unseeded(v) for k, v in node.items() if k not in ("seed", "shuffle_seed")}
    return node


def title(run: Run) -> str:
    """What a run is, for a person."""
    cells = dict.fromkeys(cell.title for cell in run.task.network.cells())
    return f"{', '.join(cells)} on {type(run.data).__name__}"
