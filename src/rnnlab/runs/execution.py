"""One run from its config to its pictures."""

import contextlib
import errno
import inspect
import logging
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import lightning
import torch
from annotated_types import Lt
from lightning import Callback, Trainer
from torch import Tensor

from rnnlab.data.sequence import SequenceData
from rnnlab.errors import InputError, Interrupted, RunFailed, nearest, of_the_disk, one_line
from rnnlab.instruments.instrument import Instrument
from rnnlab.instruments.progress import Progress
from rnnlab.instruments.summary import print_summary
from rnnlab.instruments.tensorboard import TensorBoard
from rnnlab.network import Network
from rnnlab.runs.budget import Budget, plan
from rnnlab.runs.build import build, build_one, check_node, locate, to_allow, with_absolute_paths
from rnnlab.runs.checkpoint import fit_weights, load_weights, read_checkpoint, write_checkpoint
from rnnlab.runs.compiled import CompiledSteps
from rnnlab.runs.directory import RunDirectory, is_first_process, provenance
from rnnlab.runs.evidence import evidence
from rnnlab.runs.extensions import build_callbacks, build_loggers, check_loggers, check_tags
from rnnlab.runs.fleet import FleetRun
from rnnlab.runs.instrument_callback import InstrumentCallback, validation_batches
from rnnlab.runs.kept import Kept, which_weights
from rnnlab.runs.longer import EarlyStopping, lengthened, with_length
from rnnlab.runs.pruning import Pruning
from rnnlab.runs.recorder import Recorder, StopSignals
from rnnlab.runs.schema import check_arguments, shown, unknown_keys
from rnnlab.runs.threads import choose_threads, keep_memory, one_thread
from rnnlab.runs.trainer import build_trainer, check_batches, check_trainer, device_name, quiet_lightning
from rnnlab.runs.transfer import Transfer, freeze, rates, read_weights, take
from rnnlab.runs.verdict import judge, markdown, unfinished
from rnnlab.runs.verdict.evidence import Evidence
from rnnlab.shapes import NonNegativeFloat, NonNegativeInt, PositiveInt
from rnnlab.shell import allowing, pasted
from rnnlab.signals import unmasked
from rnnlab.spec import Batch, DataSpec
from rnnlab.store.times import now
from rnnlab.store.verdict import Advice, Verdict
from rnnlab.tasks.task import Task

log = logging.getLogger("rnnlab")
GIVEN_TO_TASK = ("network", "spec", "optimizer", "scheduler", "monitor")
PARTS = ("data", "model", "task", "optimizer", "scheduler", "trainer", "instruments", "callbacks", "logger")
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS)
"""What the system says of a disk that takes nothing more."""
OPTIONAL = ("scheduler", "instruments", "callbacks", "logger")
"""Parts that may be empty."""


@dataclass
class Run:
    """What a config describes, built and checked, nothing trained yet."""

    config: dict[str, Any]
    data: SequenceData
    task: Task
    instruments: list[Instrument[Any]] = field(default_factory=list)
    callbacks: list[Callback] = field(default_factory=list)
    transfer: Transfer | None = None

    @property
    def kept(self) -> Kept:
        """Which weights are kept."""
        config = self.config
        keep = config.get("keep", "best")  # which a run of before this key did
        closed_form = self.task.network.solver == "ridge"
        factory, refitted = self.task.scheduler_factory, not self.task.spec.target.per_step
        return which_weights(keep, config["monitor"], factory, self.data.size("val"), closed_form, refitted)

    @property
    def budget(self) -> Budget:
        """How long it trains."""
        return budget_of(self.config["trainer"], self.data, self.task)

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.task.network.parameters())


def budget_of(trainer: Mapping[str, Any], data: SequenceData, task: Task) -> Budget:
    """How long a task is trained on some data; a readout in closed form in one pass, whatever the trainer says."""
    batches = data.batches_per_pass
    if task.network.solver == "ridge":
        return Budget(1, None, batches, 1.0)
    return plan(trainer, batches, whole_passes=task.spec.streamed, residual=bool(task.spec.residual))


def settings(
    seed: Annotated[NonNegativeInt, Lt(2**32)] = 0,
    monitor: str = "val/loss",
    mode: Literal["min", "max"] = "min",
    keep: Literal["auto", "best", "last"] = "best",
    early_stopping: Mapping[str, Any] | None = None,
    tags: list[str] | None = None,
    train: bool = True,
    ckpt_path: str | None = None,
    init_from: str | None = None,
    init_parts: list[str] | None = None,
    freeze: list[str] | None = None,
    lr_factors: Mapping[str, NonNegativeFloat] | None = None,
) -> None:
    """The keys at the top of a config, beside its parts."""


def early_stopping(patience: PositiveInt | None = None, min_delta: NonNegativeFloat = 0.0) -> None:
    """The keys under ``early_stopping``."""


def check_settings(config: Mapping[str, Any]) -> None:
    """Checks the keys at the top of a config.

    Raises:
        InputError: in one line, naming the key.
    """
    unknown_keys(config, (*PARTS, *inspect.signature(settings).parameters))
    for name in ("seed", "monitor", "mode"):
        if name not in config:
            raise InputError(f"{name} is missing: give {name}=…")
    for part in PARTS:
        if config.get(part) or part not in OPTIONAL:
            check_node(config.get(part), part)
    check_arguments(settings, {name: value for name, value in config.items() if name not in PARTS}, "")
    check_arguments(early_stopping, config.get("early_stopping") or {}, "early_stopping")
    check_tags(config.get("tags"))
    if config.get("init_from") and config.get("ckpt_path"):
        raise InputError(
            f"init_from={config['init_from']} and ckpt_path={config['ckpt_path']}: the first begins a training with "
            "weights, the second goes on with one: give one of them"
        )
    if config.get("init_parts") is not None and not config.get("init_from"):
        raise InputError(f"init_parts={shown(config['init_parts'])} is of init_from=RUN, which is not given")


def prepare(
    config: Mapping[str, Any],
    allow: Iterable[str] | None = None,
    trained: Mapping[str, Any] | None = None,
    base: str | None = None,
    machine: bool = True,
) -> Run:
    """Builds a run's data, network and task, and checks all that can be checked before training.

    Args:
        config: the resolved config, plain containers.
        allow: see :func:`rnnlab.runs.build.build`.
        trained: the checkpoint whose weights will be used, by which the data numbers its tokens and classes.
        base: the directory from which relative paths lead; ``None`` is the current one.
        machine: whether it is to be trained here, and so on the devices of this machine.

    Raises:
        InputError: in one line, naming the key.
    """
    config = dict(config)
    check_settings(config)
    check_trainer(config["trainer"], allow, machine)
    lightning.seed_everything(config["seed"], verbose=False)
    config["data"] = with_absolute_paths(config["data"], "data", allow, base)
    if config.get("ckpt_path"):
        given = config["ckpt_path"]
        config["ckpt_path"] = str((Path(base or "") / Path(config["ckpt_path"]).expanduser()).absolute())
        if not trained and not Path(config["ckpt_path"]).is_file():
            raise InputError(f"ckpt_path={given}: there is no checkpoint {config['ckpt_path']}")
    origin = trained or (read_checkpoint(Path(config["ckpt_path"])) if config.get("ckpt_path") else {})
    data = build_one(SequenceData, numbered_as(config["data"], origin), "data", allow)
    if origin:
        say_what_is_learned_anew(data, origin)
    spec = as_learned(data.spec, origin)
    if config["model"].get("linear") == "ridge" and not hasattr(data, "ridge"):
        raise InputError("model.linear=ridge is for time series (data=csv, airline, sunspots): use model.linear=null")
    if data.augmentation is not None:
        data.augmentation.check(spec)
    network = build_network(config, spec, allow)
    optimizer = build(config["optimizer"], "optimizer", allow)
    scheduler = build(config["scheduler"], "scheduler", allow) if config.get("scheduler") else None
    monitor = config["monitor"]
    task: Task = build_one(
        Task,
        config["task"],
        "task",
        allow,
        network=network,
        spec=spec,
        optimizer=optimizer,
        scheduler=scheduler,
        monitor=monitor,
    )
    transfer = _begin_with(config, task, data, trained, base)
    if monitor not in task.monitorable():
        known = task.monitorable()
        raise InputError(f"monitor={monitor}: no such score{nearest(monitor, known)} (there are {', '.join(known)})")
    if not trained:
        check_mode(config["mode"], monitor, task)
        budget = budget_of(config["trainer"], data, task)
        batches = {"train": budget.batches or data.batches_per_pass, "val": data.batches_of_validation}
        check_batches(config["trainer"], batches, budget.epochs, monitor)
        if origin:
            _check_origin(config, task, origin, budget.epochs)
    part = "optimizer"
    try:
        built = task.build_optimizer()
        part = "scheduler"
        if scheduler is not None:
            task.build_schedule(built, total_steps=1000)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise InputError(f"{part}: {' '.join(str(error).split())}") from error
    instruments = [
        build_one(Instrument, node, f"instruments.{name}", allow)
        for name, node in (config.get("instruments") or {}).items()
        if node not in (None, False)
    ]
    check_loggers(config, allow)
    return Run(config, data, task, instruments, build_callbacks(config, allow), transfer)


def _begin_with(
    config: dict[str, Any], task: Task, data: SequenceData, trained: Mapping[str, Any] | None, base: str | None
) -> Transfer | None:
    """Puts weights from elsewhere into a network that is not trained yet, and says which parts of it learn how.

    Raises:
        InputError: naming the key.
    """
    transfer = None
    if config.get("init_from"):
        place = (Path(base or "") / Path(config["init_from"]).expanduser()).absolute()
        config["init_from"] = str(place)
        if not trained:
            transfer = take(task, data, read_weights(place), config.get("init_parts"))
    parts, factors = config.get("freeze") or [], config.get("lr_factors") or {}
    if (parts or factors) and task.network.solver == "ridge":
        raise InputError(
            f"{'freeze' if parts else 'lr_factors'}: a readout in closed form (model.solver=ridge) is all that learns"
        )
    if parts:
        freeze(task.network, parts)
    if factors:
        task.rate_factors = rates(task.network, factors)
    return transfer


def _check_origin(config: Mapping[str, Any], task: Task, origin: Mapping[str, Any], epochs: int) -> None:
    """Refuses a checkpoint to go on from whose weights don't fit, or whose training was as long as this one is to be.

    Raises:
        InputError: naming the key.
    """
    path, before = config["ckpt_path"], origin.get("epoch", 0)
    fit_weights(task, origin, Path(path))
    if config.get("train", True) and "optimizer_states" not in origin:
        raise InputError(f"ckpt_path={path}: it holds weights alone; a training goes on from a run's last.ckpt")
    if config.get("train", True) and before >= epochs:
        raise InputError(
            f"ckpt_path={path}: that training had {before} epochs, and this one is to have {epochs} in all: give "
            f"trainer.max_epochs={2 * before}, say"
        )


def build_data(config: Mapping[str, Any]) -> SequenceData:
    """The data of a config alone.

    Raises:
        InputError: in one line, naming the key.
    """
    node = with_absolute_paths(config["data"], "data")
    return build_one(SequenceData, node, "data", None)


def check_mode(mode: str, monitor: str, task: Task) -> None:
    """Refuses to keep the worst epoch.

    Raises:
        InputError: the monitored score gets better the other way.
    """
    right = task.direction(monitor)
    if right not in (None, mode):
        way = "higher" if right == "max" else "lower"
        raise InputError(f"mode={mode}: {monitor} is better the {way} it is: mode={right}")


def build_network(config: Mapping[str, Any], spec: DataSpec, allow: Iterable[str] | None = None) -> Network:
    """The network of a config, of the size that its objective needs for this data.

    Raises:
        InputError: in one line, naming the key.
    """
    objective = locate(config["task"], "task", allow)
    target = spec.target
    if isinstance(objective, type) and issubclass(objective, Task):
        options = {name: value for name, value in config["task"].items() if name != "_target_"}
        check_arguments(objective, options, "task", dict.fromkeys(GIVEN_TO_TASK))
        if objective.fits(spec.target):  # else the task itself says why they don't fit
            target = objective.output(spec, **options)
    with one_thread():
        shape = replace(spec.input, length=spec.length)
        network: Network = build_one(Network, config["model"], "model", allow, input=shape, target=target)
    if spec.residual:
        # what a fitted forecast leaves over is nothing until something is learned of it
        for parameter in network.readout.parameters():
            torch.nn.init.zeros_(parameter)
    return network


def numbered_as(node: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a data set, with what its ``state_dict`` said when the checkpoint was written.

    Raises:
        InputError: the config says something else, and so would number the network's inputs or classes differently.
    """
    name = str(node["_target_"]).rpartition(".")[2]
    state = checkpoint.get(name, {})
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise InputError(f"the checkpoint is damaged: what it says of {name} is no state of a data set")
    for name, value in state.items():
        if node.get(name) not in (None, "auto", value):
            many = isinstance(value, Mapping | list)
            was = f"{len(value)} others" if many else f"data.{name}={shown(value)}"
            raise InputError(
                f"data.{name}={shown(node[name])}: this run was trained with {was}, and its weights know nothing else"
            )
    return {**node, **state}


def say_what_is_learned_anew(data: SequenceData, checkpoint: Mapping[str, Any]) -> None:
    """Warns where a checkpoint does not hold what the network's numbers stand for, as earlier ones do not: with other
    data than the run's own they would stand for something else.
    """
    state = checkpoint.get(type(data).__name__, {})
    missing = [name for name in data.state_dict() if name not in state]
    if missing:
        log.warning(
            "this checkpoint is of an earlier rnnlab and does not hold what was learned from the training part (%s): "
            "it is learned anew from this data, which is right for the run's own data alone",
            ", ".join("scaling and errors of simple predictors" if name == "trained" else name for name in missing),
        )


LEARNED = ("class_frequencies", "token_frequencies", "target_mean")


def as_learned(spec: DataSpec, checkpoint: Mapping[str, Any]) -> DataSpec:
    """What data says of itself, with what the training split of a trained run told: its frequencies and means are
    those of the class weights and of the baselines, whatever the weights are tested on.
    """
    data = checkpoint.get("data")
    said = data.get("spec") if isinstance(data, Mapping) else None
    if not isinstance(said, Mapping):
        return spec
    kept = {name: said.get(name) or () for name in LEARNED}
    same: dict[str, Any] = {
        name: tuple(value) for name, value in kept.items() if len(value) == len(getattr(spec, name))
    }
    return replace(spec, **same)


@dataclass
class Outcome:
    """How a run ended."""

    directory: RunDirectory
    metrics: dict[str, Any]
    figures: list[str]


def execute(
    directory: RunDirectory,
    config: Mapping[str, Any],
    resume: bool = False,
    allow: Iterable[str] | None = None,
    quiet: bool = False,
    prune: Callable[[int, float], bool] | None = None,
    fleet_run: FleetRun | None = None,
    figures: bool = True,
    longer: Mapping[str, Any] | None = None,
) -> Outcome:
    """Trains, tests and draws one run in its directory, whose status tells how it went.

    Args:
        directory: claimed for a new run, opened for one to resume.
        config: the resolved config, plain containers.
        resume: go on from the last checkpoint, or from the start where there is none yet.
        allow: see :func:`rnnlab.runs.build.build`.
        quiet: print nothing: one of many, and whoever runs them says how they go.
        prune: told each epoch and its monitored score; true ends the run as not worth going on, untested.
        fleet_run: in the fleet that makes the training steps; ``None`` where the run makes them itself.
        figures: let the instruments watch, and draw what they saw.
        longer: of a run to resume, what its config is to say from now on of how long it trains: dotted keys, of
            :data:`rnnlab.runs.budget.KEYS`.

    Raises:
        InputError: something in the config cannot work, or another process is at work; nothing was trained.
        RunFailed: the training could not go on.
        Interrupted: a signal asked to stop; a checkpoint is on the disk.
    """
    with directory.locked():
        return _execute_locked(directory, config, resume, allow, quiet, prune, fleet_run, figures, longer)


def _execute_locked(
    directory: RunDirectory,
    config: Mapping[str, Any],
    resume: bool,
    allow: Iterable[str] | None,
    quiet: bool,
    prune: Callable[[int, float], bool] | None,
    fleet_run: FleetRun | None,
    figures: bool,
    longer: Mapping[str, Any] | None,
) -> Outcome:
    stop = fleet_run.stop if fleet_run else StopSignals()
    stop.install()
    # what is to train longer stays as it is, done, unless all of it fits
    refused = bool(longer)
    try:
        status = directory.status
        checkpoint = read_checkpoint(directory.last_checkpoint) if resume and directory.last_checkpoint.exists() else {}
        base = status.directory if resume else None
        if longer:
            run = lengthened(
                _prepare(with_length(config, longer), allow, trained=checkpoint, base=base), config, checkpoint
            )
            directory.write_config(run.config)
            refused = False
        else:
            run = _prepare(config, allow, trained=checkpoint, base=base)
        if not figures:
            run.instruments.clear()
        # a run that was stopped before it began has the config of its command, whose paths lead from where that was
        # typed; the config of a sweep's job stays what the sweep's plan says
        if is_first_process() and (not resume or (status.number is None and run.config != config)):
            directory.write_config(run.config)
        return _execute(directory, run, resume, stop, quiet, prune, fleet_run, allow)
    except (Interrupted, KeyboardInterrupt):
        if not refused:
            go_on = Advice(words=("resume",), answers="How good does it become?")
            _end(directory, "interrupted", "stopped by a signal", _untested(directory, "it was stopped", go_on))
        raise
    except (InputError, RunFailed) as error:
        if refused:
            raise
        _end(directory, "failed", str(error))
        raise
    except OSError as error:
        if error.errno in FULL:
            reason = f"the disk refuses to be written ({error.strerror}): {error.filename or directory.path}"
            _end(directory, "failed", reason)
            trusted = to_allow(dict(config)) if allow is None else allow
            again = pasted("resume", directory.path, *allowing(trusted))
            raise RunFailed(f"{reason}; what was written before can be read; make room, then: {again}") from error
        _end(directory, "failed", f"{type(error).__name__}: {error}")
        raise
    except BaseException as error:
        _end(directory, "failed", f"{type(error).__name__}: {' '.join(str(error).split())}")
        raise
    finally:
        if fleet_run is None:
            stop.restore()


def _prepare(config: Mapping[str, Any], *args: Any, **options: Any) -> Run:
    """The run, where whatever file it cannot be read from is bad input.

    Raises:
        InputError: as :func:`prepare`, or the system refuses a file.
    """
    try:
        with unmasked():
            return prepare(config, *args, **options)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise InputError(of_the_disk(error)) from error


def _end(
    directory: RunDirectory, state: Literal["failed", "interrupted"], reason: str, verdict: Verdict | None = None
) -> None:
    if not is_first_process():
        return
    # where even the status cannot be written, the old one stays readable
    with contextlib.suppress(OSError, InputError):
        directory.update_status(state, reason=reason, finished=now(), verdict=verdict and verdict.plain())


def _untested(directory: RunDirectory, why: str, *advice: Advice) -> Verdict | None:
    """The verdict on a run that ended before its test; ``None`` where its files don't tell how far it came."""
    try:
        rows, config = directory.epochs, directory.config
    except (OSError, InputError):
        return None
    seen = Evidence(metrics={}, rows=rows, monitor=str(config["monitor"]), mode=str(config["mode"]))
    return unfinished(seen, why, advice)


def _execute(
    directory: RunDirectory,
    run: Run,
    resume: bool,
    stop: StopSignals,
    quiet: bool,
    prune: Callable[[int, float], bool] | None,
    fleet_run: FleetRun | None,
    allow: Iterable[str] | None,
) -> Outcome:
    quiet_lightning()
    keep_memory()
    config, data, task = run.config, run.data, run.task
    started = time.monotonic()
    options = {name: value for name, value in config["trainer"].items() if name != "_target_"}
    torch.set_num_threads(
        choose_threads(
            options.get("num_threads", "auto"), data.batch_size, [p.numel() for p in task.network.parameters()]
        )
    )
    kept = run.kept
    trains = config.get("train", True)
    recorder = Recorder(
        directory,
        config["monitor"],
        config["mode"],
        config["seed"],
        options.get("checkpoint_seconds", 10.0),
        stop,
        fleet_run,
        kept.which,
    )
    drawing = InstrumentCallback(run.instruments, data)
    status = directory.status
    tensorboard = TensorBoard(directory.tensorboard, config, status.choices, status.overrides)
    patience = (config.get("early_stopping") or {}).get("patience")
    callbacks: list[Callback] = [
        drawing,
        tensorboard,
        Progress(config["monitor"], "none" if quiet else options.get("progress", "auto")),
    ]
    if patience and kept.which == "best":  # else the schedule ends the training
        delta = config["early_stopping"].get("min_delta", 0.0)
        callbacks.append(
            EarlyStopping(config["monitor"], mode=config["mode"], patience=patience, min_delta=delta, strict=True)
        )
    callbacks += run.callbacks
    if options.get("compile"):
        callbacks.append(CompiledSteps())
    pruning = Pruning(config["monitor"], prune) if prune is not None else None
    if pruning is not None:
        callbacks.append(pruning)
    budget = run.budget
    data.batches_per_epoch = budget.batches
    options |= {"max_epochs": budget.epochs, "max_steps": "auto"}
    if not task.automatic_optimization:  # there are no gradients to clip and to add up
        options |= {"gradient_clip_val": None, "accumulate_grad_batches": 1}
    loggers = build_loggers(config, directory, allow) if is_first_process() else []
    trainer: Trainer = build_trainer(directory.path, [*callbacks, recorder], [tensorboard.logger, *loggers], **options)
    if trainer.is_global_zero:
        directory.update_status(
            "running",
            **provenance(),
            started=status.started or now(),
            baseline=task.baseline_name,
            kept=kept.why if trains else f"those of {config.get('ckpt_path') or 'a network as it is initialised'}",
            tags=config.get("tags") or None,
            init=dict(status.init) or None if run.transfer is None else run.transfer.plain(),
            device=device_name(trainer),
            threads=torch.get_num_threads(),
            finished=None,
            reason=None,
            verdict=None,
        )
        if not quiet:
            begun = run.transfer.lines() if run.transfer is not None else []
            print_summary(task, data, device_name(trainer), torch.get_num_threads(), directory.path, begun)

    checkpoint = Path(config["ckpt_path"]) if config.get("ckpt_path") else None
    if resume and directory.last_checkpoint.exists():
        checkpoint = directory.last_checkpoint
    if checkpoint is not None:
        load_weights(task, checkpoint)  # says in one line what does not fit, before anything starts
    if not trains:
        write_checkpoint(recorder.untrained(task, data), directory.best_checkpoint)
    elif fleet_run is not None:
        fleet_run.take_part(trainer, config, data)
    try:
        if trains:
            trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except Exception as error:
        if checkpoint is None or isinstance(error, InputError) or not _is_of_restoring(error):
            raise
        raise InputError(
            f"checkpoint {checkpoint} is damaged: {type(error).__name__} while it was restored ({one_line(error)})"
        ) from error
    stop.check()
    if pruning is not None and pruning.pruned:
        return _pruned(directory, trainer, recorder, tensorboard, run.parameters)
    if trains and recorder.best_score is None:
        raise RunFailed(f"the training ended before {config['monitor']} was measured for the first time")

    corrected = calibrate(task, data, directory, trainer.is_global_zero)
    with torch.random.fork_rng(devices=[]):
        trainer.test(task, datamodule=data, verbose=False)
    stop.check()
    metrics = _metrics(recorder, trainer.callback_metrics, run.parameters, trainer.global_step) | corrected
    baseline = task.measure_baseline(validation_batches(task, data)) if run.instruments else {}
    figures: list[str] = []
    if trainer.is_global_zero:
        figures = drawing.draw(task, directory.figures, recorder.rows, baseline, tensorboard, recorder.best_epoch)
        metrics |= {"seconds": round(recorder.seconds_of_training, 3), "seconds_total": time.monotonic() - started}
        verdict = judge(evidence(config, data, task, metrics, status, recorder.rows, budget.steps))
        if not trains or config.get("ckpt_path"):
            verdict = replace(verdict, next=())  # other settings fit no weights
        tensorboard.say("verdict", markdown(verdict, directory.path, status.directory))
        tensorboard.finish(metrics, "done")
        directory.write_metrics(metrics)
        for logger in loggers:
            logger.finish(directory, metrics, figures)
        directory.update_status(
            "done", finished=now(), seconds=metrics["seconds"], figures=figures, verdict=verdict.plain()
        )
    if trainer.world_size > 1:
        # who left early, with threads of its own still at work, would be taken for crashed and end the others
        trainer.strategy.barrier()
        torch.distributed.destroy_process_group()
    return Outcome(directory, metrics, figures)


def calibrate(task: Task, data: SequenceData, directory: RunDirectory, writes: bool) -> dict[str, float]:
    """Loads the best weights and corrects them by the validation part, where the task has something to correct.

    Returns:
        What was corrected, and the validation scores after it, by name as in ``metrics.json``.
    """
    checkpoint = load_weights(task, directory.best_checkpoint)
    if "calibrated" in checkpoint:  # of a run that was stopped behind it
        return {name: float(value) for name, value in checkpoint["calibrated"].items()}
    training = task.training
    task.eval()
    corrected = task.calibrate(validation_batches(task, data))
    task.train(training)
    if not corrected:
        return {}
    found = {f"calibration/{name}": value for name, value in corrected.items()}
    scores = task.measure(_answers(task, validation_batches(task, data)))
    found |= {f"val/{name}": value for name, value in scores.items()}
    if writes:
        state = {name: part.detach().cpu().clone() for name, part in task.state_dict().items()}
        write_checkpoint({**checkpoint, "state_dict": state, "calibrated": found}, directory.best_checkpoint)
    return found


def _answers(task: Task, batches: Iterable[Batch]) -> Iterator[tuple[Any, Batch]]:
    for batch in batches:
        yield task.answer(batch), batch


def _is_of_restoring(error: BaseException) -> bool:
    """Whether Lightning raised it while it took a checkpoint's state."""
    names = (frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(code.co_filename.endswith("checkpoint_connector.py") and "dump" not in code.co_name for code in names)


def _pruned(
    directory: RunDirectory, trainer: Trainer, recorder: Recorder, tensorboard: TensorBoard, parameters: int
) -> Outcome:
    """Ends a run that was not worth going on: nobody will look at its test score, so that it has none."""
    metrics = _metrics(recorder, {}, parameters, trainer.global_step)
    if trainer.is_global_zero:
        metrics |= {"seconds": round(recorder.seconds_of_training, 3), "seconds_total": recorder.seconds_of_training}
        tensorboard.finish(metrics, "done")
        directory.write_metrics(metrics)
        reason = f"pruned after epoch {metrics['epochs']}"
        verdict = _untested(directory, f"its search ended it after epoch {metrics['epochs']}")
        directory.update_status(
            "done",
            finished=now(),
            seconds=metrics["seconds"],
            figures=[],
            pruned=metrics["epochs"],
            reason=reason,
            verdict=verdict and verdict.plain(),
        )
    if trainer.world_size > 1:
        trainer.strategy.barrier()
        torch.distributed.destroy_process_group()
    return Outcome(directory, metrics, [])


def draw(directory: RunDirectory, allow: Iterable[str] | None = None) -> list[str]:
    """Draws the figures of a run that is done and was trained without.

    Returns:
        Their paths, relative to the run directory.

    Raises:
        InputError: there is no checkpoint, the config cannot work, or another process is at work in it.
    """
    with directory.locked():
        return _draw(directory, allow)


def _draw(directory: RunDirectory, allow: Iterable[str] | None) -> list[str]:
    last = read_checkpoint(directory.last_checkpoint)
    run = prepare(directory.config, allow, trained=last)
    load_weights(run.task, directory.best_checkpoint)
    sizes = [parameter.numel() for parameter in run.task.network.parameters()]
    torch.set_num_threads(choose_threads(run.config["trainer"].get("num_threads", "auto"), run.data.batch_size, sizes))
    drawing = InstrumentCallback(run.instruments, run.data)
    drawing.load_state_dict(last.get("callbacks", {}).get(drawing.state_key, {}))
    tensorboard = TensorBoard(directory.tensorboard, run.config)
    baseline = run.task.measure_baseline(validation_batches(run.task, run.data))
    epoch = directory.best_epoch
    figures = drawing.draw(run.task, directory.figures, directory.epochs, baseline, tensorboard, epoch)
    tensorboard.writer.close()
    directory.update_status(figures=figures)
    return figures


def _metrics(recorder: Recorder, tested: Mapping[str, Tensor], parameters: int, steps: int) -> dict[str, Any]:
    """The final, flat scores: those of the epoch whose weights were kept, and those of the test."""
    best = next((row for row in recorder.rows if row["epoch"] == recorder.best_epoch), {})
    kept = {name: value for name, value in best.items() if name.startswith(("train/", "val/"))}
    return {
        **kept,
        **{name: float(value) for name, value in tested.items()},
        "best_epoch": recorder.best_epoch,
        "epochs": int(recorder.rows[-1]["epoch"]) if recorder.rows else 0,
        "steps": steps,
        "parameters": parameters,
    }


def evaluate(config: Mapping[str, Any], directory: RunDirectory, allow: Sequence[str] = ()) -> dict[str, float]:
    """Tests a run's best weights on the data that a config describes.

    Raises:
        InputError: there is no checkpoint, it does not fit, or the config cannot work.
    """
    return evaluate_and_judge(config, directory, allow)[0]


def evaluate_and_judge(
    config: Mapping[str, Any], directory: RunDirectory, allow: Sequence[str] = ()
) -> tuple[dict[str, float], Verdict]:
    """As :func:`evaluate`, and what these scores are worth: the verdict does not look at how the run was trained.

    Raises:
        InputError: there is no checkpoint, it does not fit, or the config cannot work.
    """
    run = prepare(config, allow, trained=read_checkpoint(directory.best_checkpoint))
    load_weights(run.task, directory.best_checkpoint)
    scores = test(run, directory)
    return scores, replace(judge(evidence(run.config, run.data, run.task, scores, directory.status)), seen=(), next=())


def test(run: Run, directory: RunDirectory) -> dict[str, float]:
    """Scores of a run's task, as it is, on the test split of its data."""
    quiet_lightning()
    trainer = untrained(run, directory)
    trainer.test(run.task, datamodule=run.data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def untrained(run: Run, directory: RunDirectory) -> Trainer:
    """A trainer for a run's weights as they are: it logs nothing and keeps nothing."""
    options = {name: value for name, value in run.config["trainer"].items() if name not in ("_target_", "devices")}
    trainer = build_trainer(directory.path, [], [], **options)
    sizes = [parameter.numel() for parameter in run.task.network.parameters()]
    torch.set_num_threads(choose_threads(options.get("num_threads", "auto"), run.data.batch_size, sizes))
    return trainer
