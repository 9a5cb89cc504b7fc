"""One job of a sweep, in whatever process it is."""

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from rnnlab.errors import InputError, Interrupted, RunFailed
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import execute, noted
from rnnlab.runs.fleet import FleetRun
from rnnlab.store.clock import now
from rnnlab.store.files import LogFile, open_to_append
from rnnlab.store.lock import Busy
from rnnlab.store.status import Status


def execute_job(
    directory: RunDirectory,
    allow: Sequence[str] | None = None,
    log: bool = True,
    fleet_run: FleetRun | None = None,
    figures: bool = True,
) -> None:
    """Executes a planned run, or goes on with it, from the config in its directory.

    Whatever happens stands in the directory: the state and its reason, the
    metrics, a traceback of what was a bug. Beside what every run notes there,
    ``attempts`` counts the starts, ``wall_seconds`` all of them together, and
    ``retriable`` says that it died of lack of memory.

    Args:
        directory: with a config and a status.
        allow: see :func:`rnnlab.runs.build.build`.
        log: write ``train.log``; not where somebody else does.
        fleet_run: see :func:`rnnlab.runs.execution.execute`.
        figures: see :func:`rnnlab.runs.execution.execute`.

    Where another process is at work in it, nothing happens: the run is that
    one's.

    Raises:
        Interrupted: a signal asked to stop; a checkpoint is on the disk.
        KeyboardInterrupt: a second one, at once.
    """
    try:
        with directory.locked():
            _execute_job(directory, allow, log, fleet_run, figures)
    except Busy as error:
        logging.getLogger("rnnlab").warning("%s", error)
    except InputError as error:
        with contextlib.suppress(OSError, InputError):
            directory.update_status("failed", reason=str(error), finished=now())


def _execute_job(
    directory: RunDirectory, allow: Sequence[str] | None, log: bool, fleet_run: FleetRun | None, figures: bool
) -> None:
    started = time.monotonic()
    begin_anew(directory)
    status = directory.status
    # what the loss of power takes of this is made anew from the sweep's plan: no waiting for the disk
    directory.update_status(durable=False, attempts=status.attempts + 1, retriable=False)
    facts: dict[str, Any] = {}
    logger = logging.getLogger("rnnlab")
    with logged([directory]) if log else contextlib.nullcontext():
        logger.info("overrides: %s", " ".join(status.overrides) or "none")
        try:
            config = directory.config
            with noted(), _data_parallel(directory, config, allow):
                execute(
                    directory,
                    config,
                    resume=True,
                    allow=allow,
                    quiet=True,
                    fleet_run=fleet_run,
                    figures=figures,
                    **_pruning(status, directory),
                )
        except (Interrupted, KeyboardInterrupt):
            raise
        except RunFailed as error:
            facts["anew"] = not isinstance(error.__cause__, OSError)
        except InputError:
            pass
        except Exception as error:  # noqa: BLE001 (its traceback is in the log)
            facts["retriable"] = is_lack_of_memory(error)
        except SystemExit as error:
            logger.error("it asked to exit with status %s", error.code)
        finally:
            before = float(status.wall_seconds or 0)
            with contextlib.suppress(OSError, InputError):  # a full disk
                seconds = round(before + time.monotonic() - started, 3)
                directory.update_status(durable=False, wall_seconds=seconds, **facts)


def _pruning(status: Status, directory: RunDirectory) -> dict[str, Any]:
    """What ends a run of a search, wherever it runs, that is not worth going on."""
    if not status.pruning:
        return {}
    try:
        from rnnlab.search.study import Report

        return {"prune": Report(status.pruning, directory.path)}
    except Exception as error:  # noqa: BLE001 (Optuna is not here, or the study is not: the run needs neither)
        logging.getLogger("rnnlab").warning("the study cannot be asked, so that nothing is pruned: %s", error)
        return {}


def begin_anew(directory: RunDirectory) -> None:
    """Takes the checkpoints of a run that failed of its own computation: none is known to precede that."""
    if directory.status.anew:
        for checkpoint in (directory.best_checkpoint, directory.last_checkpoint):
            checkpoint.unlink(missing_ok=True)
        directory.update_status(anew=False)


def execute_further_process(directory: RunDirectory, allow: Sequence[str] | None = None) -> None:
    """Executes what a further process of a data-parallel run does; the first one writes all that there is to write."""
    with contextlib.suppress(Interrupted, KeyboardInterrupt):
        execute(directory, directory.config, resume=True, allow=allow, quiet=True)


@contextlib.contextmanager
def _data_parallel(directory: RunDirectory, config: Mapping[str, Any], allow: Sequence[str] | None) -> Iterator[None]:
    """The further processes of a data-parallel job, where nobody else starts them.

    Lightning would start the command of the whole sweep again for each.
    """
    devices = config["trainer"].get("devices", 1)
    processes = len(devices) if isinstance(devices, list) else devices if isinstance(devices, int) else 1
    try:
        if processes == 1 or int(os.environ.get("SLURM_NTASKS", "1")) > 1:
            yield
            return
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        ours = {"LOCAL_RANK": "0", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        before = {name: os.environ.get(name) for name in ours}
        os.environ |= ours
        further = []
        try:
            for rank in range(1, processes):
                with open(open_to_append(directory.log), "ab") as output:
                    further.append(
                        subprocess.Popen(
                            [sys.executable, "-m", "rnnlab.launch.process", str(directory.path), json.dumps(allow)],
                            stdin=subprocess.PIPE,  # closed where this process is lost
                            stdout=output,
                            stderr=output,
                            env={**os.environ, "LOCAL_RANK": str(rank)},
                        )
                    )
            yield
        finally:
            for process in further:
                assert process.stdin is not None
                process.stdin.close()  # who has not ended by now waits for a process that is gone
                try:
                    process.wait(timeout=5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # of a job that was stopped: the next one makes its own


def score(directory: RunDirectory, monitor: str) -> float:
    """The monitored score of a job, for sweepers that optimize it; not a number where there is none."""
    return float(directory.metrics.get(monitor, float("nan")))


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether a job died because there was no memory left just then."""
    said = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)
    )


Filter = Callable[[logging.LogRecord], bool]


@contextlib.contextmanager
def logged(directories: Sequence[RunDirectory], of: Callable[[int], Filter | None] = lambda _: None) -> Iterator[None]:
    """What is logged meanwhile goes to the runs' own logs: what a person should read stands in the sweep's table.

    Args:
        directories: of the runs.
        of: what is let through to the log of each, by its number; ``None`` for everything.
    """
    handlers: list[logging.Handler] = []
    for number, directory in enumerate(directories):
        handler = LogFile(directory.log)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        chosen = of(number)
        if chosen is not None:
            handler.addFilter(chosen)
        handlers.append(handler)
    root = logging.getLogger()
    level, before = root.level, root.handlers
    root.handlers = handlers
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(level)
        root.handlers = before
        for one in handlers:
            one.close()
