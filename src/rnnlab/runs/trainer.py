"""The Lightning trainer of a run, and what this machine can do for it."""

import ctypes
import functools
import inspect
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from lightning import Callback, Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities import registry
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import Profiler, SimpleProfiler

from rnnlab.errors import InputError, nearest
from rnnlab.runs.checkpoint import AtomicCheckpointIO
from rnnlab.runs.compiled import check_compiler
from rnnlab.runs.epoch_loop import EpochLoop
from rnnlab.shapes import NonNegativeFloat, PositiveFloat, PositiveInt

Precision = Literal[
    "64-true", "32-true", "16-mixed", "bf16-mixed", "bf16-true", "16-true", "transformer-engine", 16, 32, 64
]

# Every trainer asks all packages that are installed for callbacks of theirs, which takes as long as an epoch of a small
# network. What is installed stays the same while a process lives: it is looked up once.
registry.entry_points = functools.cache(registry.entry_points)  # type: ignore[assignment, attr-defined]


def build_trainer(
    directory: Path,
    callbacks: Sequence[Callback],
    logger: Logger | None,
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
        InputError: the device is not there, or Lightning knows no such argument.
    """
    check_trainer(accelerator, devices, precision, compile, lightning)
    trainer = Trainer(
        default_root_dir=directory,
        callbacks=list(callbacks),
        logger=logger or False,
        accelerator=accelerator,
        devices=devices,
        strategy=strategy,
        num_nodes=num_nodes,
        max_epochs=max_epochs or -1,
        max_steps=-1 if max_steps == "auto" else max_steps,
        precision=precision,
        gradient_clip_val=gradient_clip_val,
        gradient_clip_algorithm=gradient_clip_algorithm,
        accumulate_grad_batches=accumulate_grad_batches,
        deterministic=deterministic,
        detect_anomaly=detect_anomaly,
        profiler=SimpleProfiler(dirpath=directory, filename="profile") if profiler else NoProfiler(),
        # Slurm's jobs queue again by rnnlab's own word, with rnnlab's own checkpoint
        plugins=[AtomicCheckpointIO(), *([SLURMEnvironment(auto_requeue=False)] if _under_srun() else [])],
        # the recorder, the progress callback and the model summary of rnnlab stand in for these
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        # a monitor that does not exist is found before training; data in memory needs no rehearsal
        num_sanity_val_steps=0,
        # batches are shared among processes by the data itself
        use_distributed_sampler=False,
        **lightning,
    )
    if not profiler:
        EpochLoop.install(trainer)
    return trainer


def check_trainer(
    accelerator: str = "auto",
    devices: int | str | list[int] = 1,
    precision: Precision = "32-true",
    compile: bool = False,
    lightning: Mapping[str, Any] | None = None,
) -> None:
    """Holds a trainer's options against what this machine and Lightning can do.

    Raises:
        InputError: the device is not there, or Lightning knows no such argument.
    """
    known = inspect.signature(Trainer).parameters
    for name, value in (lightning or {}).items():
        if name not in known:
            raise InputError(f"trainer.{name}={value}: unknown key{nearest(name, [*known, 'num_threads'])}")
    check_device(accelerator, devices)
    if precision in ("16-mixed", "16-true", 16) and not (accelerator != "cpu" and torch.cuda.is_available()):
        raise InputError(f"trainer.precision={precision} needs a GPU; on a CPU use 32-true, bf16-mixed or 64-true")
    if compile:
        check_compiler(accelerator != "cpu" and torch.cuda.is_available())


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

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
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
    wanted = devices if isinstance(devices, list) else range(devices) if isinstance(devices, int) else []
    if any(not 0 <= device < there for device in wanted):
        raise InputError(f"trainer.devices={devices}: {here}; type trainer.devices=1")


def device_name(trainer: Trainer) -> str:
    """What a run trains on, in words."""
    kind = trainer.strategy.root_device.type
    name = torch.cuda.get_device_name(trainer.strategy.root_device) if kind == "cuda" else kind.upper()
    return name if trainer.world_size == 1 else f"{trainer.world_size} × {name}"


# The product of batch and largest weight matrix from which a second thread makes a layer at least 1.3 times as fast
# (benchmarks/threads.py). It pays a little from 2**20 on, but where a neighbour takes the other core, two threads
# are four times slower than one: too much to risk for a little.
WORTH_MORE_THREADS = 2**22


def choose_threads(num_threads: int | Literal["auto"], batch_size: int, parameters: Sequence[int]) -> int:
    """How many threads torch should use: for a small net one, since every step waits for the slowest thread.

    Args:
        num_threads: the user's choice, or ``auto``.
        batch_size: sequences a batch.
        parameters: sizes of the net's parameters, in elements.
    """
    if num_threads != "auto":
        return num_threads
    cores = (
        int(os.environ.get("OMP_NUM_THREADS", "0")) or len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )
    return cores if batch_size * max(parameters, default=0) >= WORTH_MORE_THREADS else 1


def keep_memory() -> None:
    """Asks glibc to keep large pieces of memory that are given back: a training takes the same ones at every step.

    By default it returns them to the system, which hands them out anew page by page: part of a small layer's time.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            libc.mallopt(option, 2**30)


@contextmanager
def one_thread() -> Iterator[None]:
    """For numbers that must be the same on any machine: how a matrix is factorised rounds by the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
        ".*Checkpoint directory .* exists and is not empty.*",
        # on a cluster's login node, where a small run may well be tried first
        ".*`srun` command is available on your system but is not used.*",
    ):
        warnings.filterwarnings("ignore", message=message)
