"""Several jobs at a time on this machine, each in a fresh process."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from rnnlab.errors import InputError, Interrupted
from rnnlab.launch.launcher import Attempt, Findings, LaunchedJob, Launcher, Settings, Stop
from rnnlab.ranges import NonNegativeInt, PositiveInt
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.ending import End, of_exit
from rnnlab.signals import guard
from rnnlab.store.clock import now
from rnnlab.store.files import open_to_append

TICK = 0.25  # seconds between two looks at what was asked


@dataclass
class _Process:
    process: ForkServerProcess
    slot: int


class Local(Launcher):
    """Processes that are forked from one in which torch and Lightning are imported already.

    A job's memory goes back with its process, a job that is killed harms
    nobody, and where the process that leads the sweep is lost, its jobs
    write a checkpoint and stop.

    Args:
        n_jobs: jobs at a time; ``auto`` is one a core, or what the GPUs take.
        num_threads: of each job; ``auto`` divides the cores.
        gpus: numbers of the GPUs to use; ``auto`` is all, where the jobs train on GPUs.
        jobs_per_gpu: jobs that share a GPU.
    """

    def __init__(
        self,
        n_jobs: PositiveInt | Literal["auto"] = "auto",
        num_threads: PositiveInt | Literal["auto"] = "auto",
        gpus: list[NonNegativeInt] | Literal["auto"] = "auto",
        jobs_per_gpu: PositiveInt = 1,
    ) -> None:
        if gpus == []:
            raise InputError("hydra.launcher.gpus=[]: name at least one GPU, or auto")
        self.n_jobs, self.num_threads, self.gpus, self.jobs_per_gpu = n_jobs, num_threads, gpus, jobs_per_gpu
        self._context = multiprocessing.get_context("forkserver")
        self._slots: list[dict[str, str]] = []

    @property
    def room(self) -> int:
        return len(self._slots)

    def begin(self) -> None:
        self._context.set_forkserver_preload(["rnnlab.launch.preload", *self.preload])
        with without_main_module():
            forkserver.ensure_running()

    # ---- before the first job -----------------------------------------------------------------------

    def check(self, jobs: Sequence[LaunchedJob], settings: Settings) -> None:
        self._take(jobs, self._ask(_find, jobs, settings), settings)

    def _take(self, jobs: Sequence[LaunchedJob], findings: Findings, settings: Settings) -> None:
        """Divides this machine among the jobs.

        Raises:
            InputError: a job wants more of it than it gets.
        """
        self._slots = self._divide(findings, settings.total)
        for job in jobs:
            devices = job.config["trainer"].get("devices", 1)
            if "CUDA_VISIBLE_DEVICES" in self._slots[0] and devices not in (1, [0]):
                raise InputError(
                    f"trainer.devices={devices}: with hydra/launcher=local each job has one GPU; "
                    "hydra/launcher=basic and slurm give it several"
                )

    def _ask(self, look: "Look", jobs: Sequence[LaunchedJob], settings: Settings) -> Any:
        """What is found out about the jobs in a process that has torch.

        Raises:
            InputError: one of them cannot work.
        """
        ours, its = self._context.Pipe(duplex=False)
        named = [(job.name, dict(job.config)) for job in jobs]
        process = self._context.Process(target=_answer, args=(its, look, named, settings.path, settings.allow))
        start(process)
        its.close()
        try:
            kind, answer = ours.recv()
        except EOFError:
            process.join()
            kind, answer = "bug", f"the process that checks the jobs ended with status {process.exitcode}"
        process.join()
        if kind == "refused":
            raise InputError(answer)
        if kind == "bug":
            raise RuntimeError(answer)
        return answer

    def _divide(self, findings: Findings, total: int) -> list[dict[str, str]]:
        """What each place for a job sets in its environment."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        slots: list[dict[str, str]] = [{} for _ in range(cores if self.n_jobs == "auto" else self.n_jobs)]
        if self.gpus != "auto" or findings.on_gpu:
            gpus = list(range(findings.gpus)) if self.gpus == "auto" else self.gpus
            for gpu in gpus:
                if gpu >= findings.gpus:
                    there = f"this machine has {findings.gpus or 'none'}"
                    raise InputError(
                        f"hydra.launcher.gpus={self.gpus}: there is no GPU {gpu} ({there}, counted from 0)"
                    )
            visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
            slots = [
                {"CUDA_VISIBLE_DEVICES": visible[gpu] if visible else str(gpu)}
                for _ in range(self.jobs_per_gpu)
                for gpu in gpus
            ][: None if self.n_jobs == "auto" else self.n_jobs]
        # by all jobs of the sweep and not by those that are left, so that a resumed one computes as it would have
        slots = slots[: max(1, total)]
        threads = max(1, cores // len(slots)) if self.num_threads == "auto" else self.num_threads
        allowed = int(os.environ.get("OMP_NUM_THREADS") or threads)
        return [slot | {"OMP_NUM_THREADS": str(min(threads, allowed))} for slot in slots]

    # ---- the jobs -----------------------------------------------------------------------------------

    def adopt(self, jobs: Sequence[LaunchedJob], stop: Stop) -> list[Attempt]:
        self._free = list(range(len(self._slots)))
        return []

    def start(self, parts: Sequence[list[LaunchedJob]], settings: Settings) -> list[Attempt]:
        return [self._start(part, settings) for part in parts]

    def _start(self, jobs: list[LaunchedJob], settings: Settings) -> Attempt:
        slot = self._free.pop(0)
        paths = [job.directory.path for job in jobs]
        process = self._context.Process(
            target=_begin, args=(self._work(), paths, settings.allow, self._slots[slot]), name=jobs[0].name
        )
        start(process)
        return Attempt(jobs, _Process(process, slot))

    def _work(self) -> "Work":
        """What a process does with the directories of its jobs, to be sent there."""
        return _execute

    def poll(self, attempts: Sequence[Attempt]) -> dict[Attempt, End | None]:
        connection.wait([attempt.handle.process.sentinel for attempt in attempts], timeout=TICK)
        ended: dict[Attempt, End | None] = {}
        for attempt in attempts:
            process = attempt.handle.process
            if not process.is_alive():
                ended[attempt] = of_exit(process.exitcode)
                process.close()
                self._free.insert(0, attempt.handle.slot)
        return ended

    def stop(self, attempts: Sequence[Attempt], at_once: bool) -> None:
        for attempt in attempts:
            if at_once:
                attempt.handle.process.kill()
            elif not attempt.stop_requests:
                attempt.handle.process.terminate()  # it writes a checkpoint
                attempt.stop_requests = 1

    def close(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            attempt.handle.process.kill()


@contextlib.contextmanager
def without_main_module() -> Iterator[None]:
    """Keeps the processes that are started meanwhile from importing the script that called us.

    They need nothing of it, and a script that sweeps without ``if __name__ == "__main__"`` would sweep in each.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def start(process: ForkServerProcess) -> None:
    """Starts a process of ours; see :func:`without_main_module`."""
    with without_main_module():
        process.start()


# ---- in the processes ---------------------------------------------------------------------------------


Look = Callable[[list[tuple[str, dict[str, Any]]], Path, Sequence[str] | None], Any]
"""From names and configs of jobs, the sweep's directory and what may be built to whatever is found out about them."""
Work = Callable[[list[RunDirectory], Sequence[str] | None], None]
"""Executes jobs, given what may be built."""


def _find(jobs: list[tuple[str, dict[str, Any]]], path: Path, allow: Sequence[str] | None) -> Findings:
    from rnnlab.launch.check import check_jobs

    return check_jobs(jobs, path, allow)


def _answer(
    out: "connection.Connection",
    look: Look,
    jobs: list[tuple[str, dict[str, Any]]],
    path: Path,
    allow: Sequence[str] | None,
) -> None:
    try:
        out.send(("found", look(jobs, path, allow)))
    except InputError as error:
        out.send(("refused", str(error)))
    except Exception:  # noqa: BLE001 (sent to the process that asked, with its traceback)
        out.send(("bug", traceback.format_exc()))


def _execute(directories: list[RunDirectory], allow: Sequence[str] | None) -> None:
    from rnnlab.launch.job import execute_job

    for directory in directories:
        execute_job(directory, allow)


def _begin(work: Work, paths: list[Path], allow: Sequence[str] | None, environment: Mapping[str, str]) -> None:
    # a terminal sends Ctrl-C to all; the process that leads the sweep decides what it means
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    guard()
    os.environ.update(environment)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    directories = [RunDirectory(path) for path in paths]
    try:
        log = open_to_append(directories[0].log)
    except InputError as error:
        for directory in directories:
            with contextlib.suppress(InputError):
                directory.update_status("failed", reason=str(error), finished=now())
        return
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    with contextlib.suppress(Interrupted, KeyboardInterrupt):
        work(directories, allow)
    sys.stdout.flush()


def _stop_with_parent() -> None:
    """Where the process that leads the sweep is lost, a job stops with a checkpoint, to be resumed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
