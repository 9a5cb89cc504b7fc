"""The Lightning trainer of a run, and what this machine can do for it."""

import inspect
import logging
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from lightning import Callback, Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import Profiler, SimpleProfiler
from lightning.pytorch.strategies import StrategyRegistry

from rnnlab.errors import InputError, nearest
from rnnlab.runs.build import locate
from rnnlab.runs.checkpoint import AtomicCheckpointIO
from rnnlab.runs.compiled import check_compiler
from rnnlab.runs.epoch_loop import EpochLoop
from rnnlab.runs.schema import TARGET, check_arguments, shown
from rnnlab.shapes import NonNegativeFloat, PositiveFloat, PositiveInt

Precision = Literal[
    "64-true", "32-true", "16-mixed", "bf16-mixed", "bf16-true", "16-true", "transformer-engine", 16, 32, 64
]


def build_trainer(
    directory: Path,
    callbacks: Sequence[Callback],
    logger: Sequence[Logger],
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto",
    devices: PositiveInt | Literal["auto"] | list[int] = 1,
    strategy: str = "auto",
    num_nodes: PositiveInt = 1,
    max_epochs: PositiveInt | None = None,
    max_steps: PositiveInt | Literal["auto"] = "auto",
    steps_per_epoch: PositiveInt | Literal["auto"] = "auto",
    precision: Precision = "32-true",
    gradient_clip_val: PositiveFloat | None = 1.0,
    gradient_clip_algorithm: Literal["norm", "value"] = "norm",
    accumulate_grad_batches: PositiveInt = 1,
    deterministic: bool | Literal["warn"] = False,
    detect_anomaly: bool = False,
    profiler: Literal["simple"] | None = None,
    num_threads: PositiveInt | Literal["auto"] = "auto",
    checkpoint_seconds: NonNegativeFloat = 10.0,
    progress: Literal["auto", "bar", "lines", "none"] = "auto",
    compile: bool = False,
    **lightning: Any,
) -> Trainer:
    """Builds the trainer; ``+trainer.NAME=…`` reaches every other argument of :class:`lightning.Trainer`.

    ``steps_per_epoch`` (:mod:`rnnlab.runs.budget`), ``num_threads``,
    ``checkpoint_seconds`` (between two checkpoints on the disk), ``progress``
    and ``compile`` (:mod:`rnnlab.runs.compiled`) are for the run around it,
    which reads them itself.

    Raises:
        InputError: the device is not there, or Lightning knows no such argument, or refuses its value.
    """
    check_machine(accelerator, devices, strategy, num_nodes, precision, compile)
    check_lightning(lightning)
    arguments: dict[str, Any] = {
        "default_root_dir": directory,
        "callbacks": list(callbacks),
        "logger": list(logger) or False,
        "accelerator": accelerator,
        "devices": devices,
        "strategy": strategy,
        "num_nodes": num_nodes,
        "max_epochs": max_epochs or -1,
        "max_steps": -1 if max_steps == "auto" else max_steps,
        "precision": precision,
        "gradient_clip_val": gradient_clip_val,
        "gradient_clip_algorithm": gradient_clip_algorithm,
        "accumulate_grad_batches": accumulate_grad_batches,
        "deterministic": deterministic,
        "detect_anomaly": detect_anomaly,
        "profiler": SimpleProfiler(dirpath=directory, filename="profile") if profiler else NoProfiler(),
        # Slurm's jobs queue again by rnnlab's own word, with rnnlab's own checkpoint
        "plugins": [AtomicCheckpointIO(), *([SLURMEnvironment(auto_requeue=False)] if _under_srun() else [])],
        # the recorder, the progress callback and the model summary of rnnlab stand in for these
        "enable_checkpointing": True,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        # a monitor that does not exist is found before training; data in memory needs no rehearsal
        "num_sanity_val_steps": 0,
        # batches are shared among processes by the data itself
        "use_distributed_sampler": False,
    }
    try:
        trainer = Trainer(**(arguments | lightning))
    except (*REFUSALS, MisconfigurationException) as error:
        # what only Lightning knows of its arguments and of how they go together
        raise InputError(f"trainer: {' '.join(str(error).split())}") from error
    if not profiler:
        EpochLoop.install(trainer)
    return trainer


REFUSALS = (TypeError, ValueError, RuntimeError, LookupError, AttributeError, ImportError, AssertionError)

OURS = {
    "callbacks": "they are a group of their own: callbacks=ema, or +callbacks.NAME._target_=CLASS",
    "logger": "they are a group of their own beside TensorBoard: logger=csv, or +logger.NAME._target_=CLASS",
    "directory": "a run's directory is hydra.run.dir=DIR",
    "default_root_dir": "a run's directory is hydra.run.dir=DIR",
    "enable_progress_bar": "write trainer.progress=bar, lines or none",
    "enable_model_summary": "the summary is printed with the rest; trainer.progress=none leaves out the progress alone",
    "enable_checkpointing": "a run is tested with its best checkpoint and resumed from its last; "
    "trainer.checkpoint_seconds=3600 writes them seldom",
    "num_sanity_val_steps": "the monitor and the data are checked before training, and no rehearsal is needed",
    "use_distributed_sampler": "the data shares its batches among processes itself",
    "plugins": "rnnlab chooses them",
    "barebones": "write instruments=none trainer.progress=none",
    "enable_autolog_hparams": "the config of a run is in its config.yaml and in TensorBoard",
    "model_registry": "checkpoints stand in the run's directory",
}
"""Arguments of Lightning's that rnnlab gives itself, and what there is instead."""


def check_trainer(node: Any, allow: Iterable[str] | None = None, machine: bool = True) -> None:
    """Holds a trainer's config against its signature, Lightning's, and what this machine can do.

    Args:
        node: the config's part ``trainer``.
        allow: see :func:`rnnlab.runs.build.build`.
        machine: look for the devices; not where the run is for another machine.

    Raises:
        InputError: naming the key, the value and what is allowed.
    """
    if locate(node, "trainer", allow) is not build_trainer:
        raise InputError(f"trainer.{TARGET}={node[TARGET]}: a run is trained by rnnlab.runs.trainer.build_trainer")
    options = {name: value for name, value in node.items() if name != TARGET}
    for name in options:
        if name in OURS:
            raise InputError(f"trainer.{name}={shown(options[name])}: {OURS[name]}: leave it out")
    own = inspect.signature(build_trainer).parameters
    check_arguments(
        build_trainer,
        {name: value for name, value in options.items() if name in own},
        "trainer",
        given={"directory": None, "callbacks": None, "logger": None},
    )
    check_lightning({name: value for name, value in options.items() if name not in own})
    if machine:
        named = ("accelerator", "devices", "strategy", "num_nodes", "precision", "compile")
        check_machine(**{name: options[name] for name in named if name in options})


def check_lightning(options: Mapping[Any, Any]) -> None:
    """Holds what goes to Lightning as it is against Lightning's own signature.

    Raises:
        InputError: there is no such argument, or its value is none that it takes.
    """
    known = [name for name in inspect.signature(Trainer).parameters if name not in OURS]
    for name, value in options.items():
        if name not in known:
            raise InputError(f"trainer.{name}={shown(value)}: unknown key{nearest(name, [*known, 'num_threads'])}")
    check_arguments(Trainer, options, "trainer")
    if options.get("limit_train_batches") == 0:
        raise InputError("trainer.limit_train_batches=0: nothing would be trained: it must be above 0")
    for name in ("min_steps", "min_epochs", "limit_train_batches", "limit_val_batches",
                 "limit_test_batches", "limit_predict_batches", "overfit_batches", "log_every_n_steps",
                 "check_val_every_n_epoch", "reload_dataloaders_every_n_epochs", "val_check_interval"):  # fmt: skip
        value = options.get(name)
        if isinstance(value, (int, float)) and value < 0:
            raise InputError(f"trainer.{name}={value}: must be at least 0")
        if isinstance(value, float) and value > 1:
            raise InputError(f"trainer.{name}={value}: must be a whole number of batches, or a share up to 1.0")


def check_machine(
    accelerator: str = "auto",
    devices: int | str | list[int] = 1,
    strategy: str = "auto",
    num_nodes: int = 1,
    precision: Precision = "32-true",
    compile: bool = False,
) -> None:
    """Holds devices, and what needs them, against what this machine has.

    Raises:
        InputError: in one line, with what there is.
    """
    strategies = [name for name in STRATEGIES if name in ("auto", *StrategyRegistry.available_strategies())]
    if strategy not in strategies:
        raise InputError(
            f"trainer.strategy={strategy}: no such strategy{nearest(strategy, strategies)} (there are "
            f"{', '.join(strategies)})"
        )
    if num_nodes > 1 and not _under_srun() and not {"NODE_RANK", "GROUP_RANK"} & set(os.environ):
        raise InputError(
            f"trainer.num_nodes={num_nodes}: nothing has started this run on several machines (srun, torchrun, or "
            "a sweep with hydra/launcher=slurm), and it would wait for the others for ever"
        )
    check_device(accelerator, devices)
    on_gpu = accelerator != "cpu" and torch.cuda.is_available()
    if precision in ("16-mixed", "16-true", 16, "transformer-engine") and not on_gpu:
        raise InputError(f"trainer.precision={precision} needs a GPU; on a CPU use 32-true, bf16-mixed or 64-true")
    if compile:
        check_compiler(on_gpu)


STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")
"""How several devices share a run: each process has all weights. The networks here are small enough for that."""


def check_batches(node: Mapping[str, Any], batches: Mapping[str, int], epochs: int, monitor: str) -> None:
    """Holds limits of a trainer against the number of batches that there are, and against what is monitored.

    Args:
        node: the config's part ``trainer``.
        batches: of an epoch of the splits ``train`` and ``val``.
        epochs: that the run has at most.
        monitor: the score that decides about the best checkpoint.

    Raises:
        InputError: a share of the batches is less than one, or the monitored score would never be measured.
    """
    overfit = node.get("overfit_batches", 0)
    for split, number in batches.items():
        key = "overfit_batches" if overfit else f"limit_{split}_batches"
        share = node.get(key)
        if isinstance(share, float) and 0 < share * number < 1:
            raise InputError(
                f"trainer.{key}={share}: {split} has {number} {'batch' if number == 1 else 'batches'}, and this share "
                f"of them is less than one: give a number of batches (trainer.{key}=1), or a smaller data.batch_size"
            )
    if not monitor.startswith("val/"):
        return
    if node.get("limit_val_batches") == 0 and not overfit:
        raise InputError(
            f"trainer.limit_val_batches=0: then nothing measures monitor={monitor}: add monitor=train/loss"
        )
    every = node.get("check_val_every_n_epoch", 1)
    if every is not None and every > epochs:
        raise InputError(
            f"trainer.check_val_every_n_epoch={every}: the training ends after {epochs} epoch{'s' * (epochs > 1)}, so "
            f"that nothing measures monitor={monitor}"
        )
    interval = node.get("val_check_interval")
    steps = batches["train"] * (epochs if every is None else 1)
    if isinstance(interval, int) and interval > steps:
        raise InputError(
            f"trainer.val_check_interval={interval}: there are {steps} batches "
            f"{'in all epochs' if every is None else 'in an epoch'}, so that nothing measures monitor={monitor}"
        )


def _under_srun() -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a machine that has srun and does not use it just now
        return SLURMEnvironment.detect()


class NoProfiler(Profiler):
    """Measures nothing and costs nothing: Lightning's own opens a generator for each of eighty actions a step."""

    _nothing: ClassVar[AbstractContextManager[Any]] = nullcontext()

    def start(self, action_name: str) -> None:
        return

    def stop(self, action_name: str) -> None:
        return

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]  # Lightning's is a generator's
        return self._nothing


def find_device(name: str) -> torch.device:
    """The device that a trained network is used on.

    Args:
        name: ``auto`` (a GPU where there is one), ``cpu``, or torch's name of another, such as ``cuda`` or ``cuda:1``.

    Raises:
        InputError: it is not there: in one line, with what there is.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    there = ["auto", "cpu", *(["cuda"] if gpus else []), *(f"cuda:{number}" for number in range(gpus))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    if name not in there:
        hint = "" if name.startswith(("cuda", "gpu", "mps")) else nearest(name, there)
        raise InputError(f"--device {name}: there is no such device here{hint} ({', '.join(there)})")
    return torch.device(name)


def check_device(accelerator: str, devices: int | str | list[int]) -> None:
    """Refuses a device that is not there.

    Raises:
        InputError: in one line, with what there is and what to type.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    here = f"{gpus} GPU{'s' if gpus != 1 else ''}" if gpus else "an Apple GPU (mps)" if mps else "no GPU"
    here = f"this machine has {here} and {os.cpu_count()} CPU cores"
    if accelerator in ("gpu", "cuda") and not gpus and not (mps and accelerator == "gpu"):
        raise InputError(f"trainer.accelerator={accelerator}: {here}; type trainer=cpu or trainer=auto")
    if accelerator == "mps" and not mps:
        raise InputError(f"trainer.accelerator=mps: {here}; type trainer=cpu or trainer=auto")
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and bool(gpus))
    # two processes on one core are slow, but they show how data-parallel training works
    there = gpus if on_gpu else max(2, os.cpu_count() or 1)
    if isinstance(devices, list) and not on_gpu:
        raise InputError(
            f"trainer.devices={devices}: processes on a CPU have no numbers: give how many, trainer.devices=2"
        )
    if isinstance(devices, list) and (not devices or len(set(devices)) < len(devices)):
        raise InputError(f"trainer.devices={devices}: give the numbers of the GPUs, each once; {here}")
    numbers = devices if isinstance(devices, list) else [devices - 1] if isinstance(devices, int) else []
    if any(not 0 <= number < there for number in numbers):
        raise InputError(f"trainer.devices={devices}: {here}; type trainer.devices=1")


def device_name(trainer: Trainer) -> str:
    """What a run trains on, in words."""
    kind = trainer.strategy.root_device.type
    name = torch.cuda.get_device_name(trainer.strategy.root_device) if kind == "cuda" else kind.upper()
    return name if trainer.world_size == 1 else f"{trainer.world_size} × {name}"


def quiet_lightning() -> None:
    """Takes out Lightning's chatter: rnnlab says once what matters of it."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()  # they would print every line twice under Hydra
        logger.setLevel(logging.WARNING)
    for message in (
        # torchmetrics has already brought the processes together
        ".*It is recommended to use `self.log.*sync_dist=True.*",
        ".*The number of training batches .* is smaller than the logging interval.*",
        ".*does not have many workers.*",
        ".*The `srun` command is available on your system but is not used.*",
        ".*`isinstance.treespec, LeafSpec.`.*",
        ".*You are using a CUDA device.*",
        # in an epoch whose end nothing validates
        ".*ReduceLROnPlateau conditioned on metric .* is not available but strict is set to `False`.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        # on a cluster's login node, where a small run may well be tried first
        ".*`srun` command is available on your system but is not used.*",
    ):
        warnings.filterwarnings("ignore", message=message)
