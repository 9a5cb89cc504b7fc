"""Several jobs at a time on this machine, each in a fresh process."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from rnnlab.errors import InputError, Interrupted
from rnnlab.launch.launcher import Findings, LaunchedJob, Launcher, Settings, Stop, lost
from rnnlab.launch.watch import Watch
from rnnlab.ranges import NonNegativeInt, PositiveInt
from rnnlab.runs.directory import RunDirectory
from rnnlab.signals import guard
from rnnlab.store.files import open_to_append
from rnnlab.store.status import State, Status
from rnnlab.store.times import now

TICK = 0.25  # seconds between two looks at what was asked


@dataclass
class _Running:
    jobs: list[LaunchedJob]
    process: ForkServerProcess
    slot: int
    told: bool = False


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
    def parallel(self) -> int:
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
        path = jobs[0].directory.path.parent
        named = [(job.name, dict(job.config)) for job in jobs]
        process = self._context.Process(target=_answer, args=(its, look, named, path, settings.allow))
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

    def run(self, jobs: Sequence[LaunchedJob], settings: Settings, stop: Stop, watch: Watch) -> None:
        waiting, running = deque(self._parts(jobs)), list[_Running]()
        free = list(range(len(self._slots)))
        attempts: dict[str, int] = {}
        watch.parallel = len(self._slots)
        try:
            while True:
                if not stop.asked and len(free) > len(waiting):
                    waiting.extend([job] for job in settings.further(len(free) - len(waiting)))
                if not running and (stop.asked or not waiting):
                    break
                while waiting and free and not stop.asked:
                    running.append(self._start(waiting.popleft(), free.pop(0), settings, watch))
                connection.wait([each.process.sentinel for each in running], timeout=TICK)
                for each in [each for each in running if not each.process.is_alive()]:
                    running.remove(each)
                    free.insert(0, each.slot)
                    self._settle(each, settings, stop, watch, waiting, attempts)
                self._stop(running, stop)
                watch.tick()
        finally:
            for each in running:
                each.process.kill()

    def _parts(self, jobs: Sequence[LaunchedJob]) -> list[list[LaunchedJob]]:
        """The jobs of each process."""
        return [[job] for job in jobs]

    def _work(self) -> "Work":
        """What a process does with the directories of its jobs, to be sent there."""
        return _execute

    def _start(self, jobs: list[LaunchedJob], slot: int, settings: Settings, watch: Watch) -> _Running:
        for job in jobs:
            watch.started(job.name, job.directory, job.config)
        paths = [job.directory.path for job in jobs]
        process = self._context.Process(
            target=_begin, args=(self._work(), paths, settings.allow, self._slots[slot]), name=jobs[0].name
        )
        start(process)
        return _Running(jobs, process, slot)

    def _settle(
        self,
        each: _Running,
        settings: Settings,
        stop: Stop,
        watch: Watch,
        waiting: "deque[list[LaunchedJob]]",
        attempts: dict[str, int],
    ) -> None:
        """Reads how the jobs of a process ended, or notes it where they could not."""
        code = each.process.exitcode
        each.process.close()
        again = [job for job in each.jobs if self._is_tried_again(job, code, settings, stop, watch, attempts)]
        if again:
            waiting.appendleft(again)

    def _is_tried_again(
        self,
        job: LaunchedJob,
        code: int | None,
        settings: Settings,
        stop: Stop,
        watch: Watch,
        attempts: dict[str, int],
    ) -> bool:
        with contextlib.suppress(InputError):
            while job.directory.is_alive:  # the process that it was forked from is gone, and it is not
                time.sleep(TICK)
        try:
            status = job.directory.status
        except InputError:
            status = Status(state=State.RUNNING)
        state, reason = status.state, status.reason or ""
        died = state not in ("done", "failed", "interrupted")
        if died:
            reason = how_it_died(code)
            state = lost(job, reason, stop)
        again = died or status.retriable or state == "interrupted"
        tried = attempts.get(job.name, 0)
        if state != "done" and again and not stop.asked and tried < settings.retries:
            attempts[job.name] = tried + 1
            watch.tried_again(job.name, reason, tried + 1)
            return True
        watch.ended(job.name)
        if settings.fail_fast and state == "failed":
            stop.failure = True
        return False

    def _stop(self, running: Sequence[_Running], stop: Stop) -> None:
        for each in running:
            if stop.at_once:
                each.process.kill()
            elif stop.asked and not each.told:
                each.process.terminate()  # it writes a checkpoint
                each.told = True


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


def how_it_died(code: int | None) -> str:
    """In words, from the exit code of its process."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = ": by somebody, or for lack of memory" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"
    return f"its process ended with status {code}"


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
    except Exception:  # noqa: BLE001 (told to whoever asked, with its traceback)
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
    """Nobody is left to wait for this job: it stops with a checkpoint, for whoever resumes the sweep."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
