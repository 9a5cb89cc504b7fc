"""One run from its config to its pictures."""

import contextlib
import errno
import logging
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import Callback, Trainer
from torch import Tensor

from rnnlab.errors import InputError, Interrupted, RunFailed, of_the_disk, one_line
from rnnlab.instruments.console import printed_warnings
from rnnlab.instruments.printed_summary import print_summary
from rnnlab.instruments.progress import Progress
from rnnlab.instruments.tensorboard import TensorBoard
from rnnlab.kernels.memory import keep_memory
from rnnlab.runs.build import to_allow
from rnnlab.runs.checkpoint import load_weights, read_checkpoint, write_checkpoint
from rnnlab.runs.compiled import CompiledSteps
from rnnlab.runs.correction import calibrate
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.extensions import build_loggers
from rnnlab.runs.fleet import FleetRun
from rnnlab.runs.instrument_callback import InstrumentCallback, validation_batches
from rnnlab.runs.longer import EarlyStopping, lengthened, with_length
from rnnlab.runs.preparation import Run, prepare
from rnnlab.runs.provenance import is_first_process, provenance
from rnnlab.runs.pruning import Pruning
from rnnlab.runs.recorder import Recorder, StopSignals
from rnnlab.runs.threads import use_threads
from rnnlab.runs.trainer import build_trainer, device_name, quiet_lightning
from rnnlab.runs.verdict import judge, markdown, unfinished
from rnnlab.runs.verdict.evidence import Evidence
from rnnlab.runs.verdict.gathering import evidence
from rnnlab.shell import allowing, pasted
from rnnlab.signals import unmasked
from rnnlab.store.clock import now
from rnnlab.store.verdict import Advice, Verdict

log = logging.getLogger("rnnlab")
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS)
"""What the system says of a disk that takes nothing more."""


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
    with directory.locked(), contextlib.nullcontext() if quiet else printed_warnings():
        outcome = _execute_locked(directory, config, resume, allow, quiet, prune, fleet_run, figures, longer)
    log.info("done: %s", outcome.metrics)
    return outcome


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
        if resume and status.started is not None:
            log.info("resumed %s", _from_where(checkpoint, longer))
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


def _from_where(checkpoint: Mapping[str, Any], longer: Mapping[str, Any] | None) -> str:
    """At which step a run goes on, in words."""
    if not checkpoint:
        return "from the start: no checkpoint had been written"
    return f"at step {checkpoint.get('global_step', 0)}" + "".join(f", {key}={v}" for key, v in (longer or {}).items())


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Notes in the log how the run ends that is executed within, if not well; what ended it goes on."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt):
        log.warning("stopped by a signal")
        raise
    except (RunFailed, InputError) as error:
        log.error("%s", error)
        raise
    except Exception:
        log.exception("a bug, or a file that cannot be used")
        raise


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
    use_threads(options.get("num_threads", "auto"), data.batch_size, task.network)
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
    # TensorBoard names a run by the directory of its event files, and the run's own name tells most
    tensorboard = TensorBoard(directory.path, config, status.choices, status.overrides)
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
            # what nobody asked for in figures is no promise
            note = budget.note if config["trainer"].get("max_steps", "auto") != "auto" and trains else ""
            print_summary(task, data, device_name(trainer), torch.get_num_threads(), directory.path, begun, note)

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
        verdict = judge(evidence(config, data, task, metrics, status, recorder.rows, budget.steps))
        if not trains or config.get("ckpt_path"):
            verdict = replace(verdict, next=())  # other settings fit no weights
        rows, epoch = recorder.rows, recorder.best_epoch
        figures = drawing.draw(task, directory.figures, rows, baseline, tensorboard, epoch, verdict)
        whole = recorder.seconds_before + time.monotonic() - started
        metrics |= {"seconds": round(recorder.seconds_of_training, 3), "seconds_total": whole}
        tensorboard.say("verdict", markdown(verdict, directory.path, status.directory))
        tensorboard.finish(metrics, "done")
        directory.write_metrics(metrics)
        for logger in loggers:
            logger.finish(directory, metrics, figures)
        directory.update_status(
            "done",
            finished=now(),
            seconds=metrics["seconds"],
            figures=figures,
            verdict=verdict.plain(),
            kept=run.kept_in_words(recorder.rows) if trains else directory.status.kept,
        )
    if trainer.world_size > 1:
        # who left early, with threads of its own still at work, would be taken for crashed and end the others
        trainer.strategy.barrier()
        torch.distributed.destroy_process_group()
    return Outcome(directory, metrics, figures)


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
    use_threads(run.config["trainer"].get("num_threads", "auto"), run.data.batch_size, run.task.network)
    drawing = InstrumentCallback(run.instruments, run.data)
    drawing.load_state_dict(last.get("callbacks", {}).get(drawing.state_key, {}))
    # TensorBoard names a run by the directory of its event files, and the run's own name tells most
    tensorboard = TensorBoard(directory.path, run.config)
    baseline = run.task.measure_baseline(validation_batches(run.task, run.data))
    epoch, verdict = directory.best_epoch, directory.status.verdict
    figures = drawing.draw(run.task, directory.figures, directory.epochs, baseline, tensorboard, epoch, verdict)
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
