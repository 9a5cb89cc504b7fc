"""The contract of a launcher (start jobs, say which have ended, stop them), and the pool that decides about the jobs.

A job of a sweep is a directory with a config in it and a status that says
``queued``. A launcher sees to it that :func:`rnnlab.launch.job.execute_job` is
called on each, in whatever process on whatever machine. How a job ended, and
whether it is tried again, is decided by the :class:`Pool` from the job's
directory, for all launchers alike; so any of them can go on where another
stopped.
"""

import signal
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from rnnlab.errors import InputError, Interrupted
from rnnlab.launch.watch import Watch
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.ending import End, note, status_of
from rnnlab.signals import heard, is_another
from rnnlab.store.status import State

TICK = 0.25
"""Seconds between two looks at a process that outlives the one that was started."""


@dataclass
class LaunchedJob:
    """A run directory that waits to be executed, its name in the sweep, and its config."""

    directory: RunDirectory
    name: str
    config: Mapping[str, Any] = field(repr=False)


class Stop:
    """Ctrl-C or SIGTERM asks a sweep to stop with checkpoints written; a second one stops it at once.

    Attributes:
        signals: that came.
        failure: a job failed that was to be the last.
        at_once: a second one came.
        at_work: jobs run. Where none does, a signal ends the sweep at once.
    """

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.failure = self.at_work = self.at_once = False
        self._first_at = 0.0
        self.failure = False

    @property
    def asked(self) -> bool:
        """Whether no further job may start."""
        return bool(self.signals) or self.failure

    @property
    def status(self) -> int:
        """The exit status of a sweep that was stopped; 0 where no signal came."""
        return 128 + self.signals[0] if self.signals else 0

    def handle(self, number: int, frame: Any) -> None:
        heard()
        now = time.monotonic()
        self.at_once |= bool(self.signals) and is_another(number, now - self._first_at)
        self._first_at = self._first_at if self.signals else now
        self.signals.append(number)
        if not self.at_work:
            raise Interrupted(number)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Jobs run in this block: they are asked to stop, and waited for."""
        before, self.at_work = self.at_work, True
        try:
            yield
        finally:
            self.at_work = before

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Takes the signals over until the block ends."""
        before = {number: signal.signal(number, self.handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass
class Settings:
    """What a sweep wants of any launcher.

    Attributes:
        retries: how often a job is tried again that died of a signal or lack of memory.
        fail_fast: stop everything at the first failure.
        allow: see :func:`rnnlab.runs.build.build`.
        path: of the sweep.
        resume: what a command that goes on with the sweep needs beside its directory.
        total: jobs in the whole sweep, also those that are done.
        most: jobs that a sweep may have.
        further: gives more jobs that may begin now, at most so many; it is asked again when one has ended. A launcher
            with a queue of its own is called again with more instead.
    """

    retries: int = 0
    fail_fast: bool = False
    allow: Sequence[str] | None = None
    path: Path = Path()
    resume: Sequence[str] = ()
    total: int = 1
    most: int = 10_000
    further: Callable[[int], Sequence["LaunchedJob"]] = lambda room: ()


@dataclass
class Findings:
    """What the jobs of a sweep will need.

    Attributes:
        bytes: on the disk, all together.
        gpus: that this machine has.
        on_gpu: whether a job would train on one.
    """

    bytes: int
    gpus: int
    on_gpu: bool


@dataclass(eq=False)
class Attempt:
    """Jobs that were started together, from their start to their end.

    Attributes:
        jobs: one, or all of a stack.
        handle: by which the launcher knows them: a process, a task, a place in a queue.
        refused: why they were not started after all, in a line.
        stop_requests: how often they were asked to stop.
    """

    jobs: list[LaunchedJob]
    handle: Any = None
    refused: str = ""
    stop_requests: int = 0


class Launcher(ABC):
    """Starts, polls and stops jobs; its options are the keys of ``hydra.launcher``.

    What is not overridden executes one job after another in this process.

    Attributes:
        preload: modules that every job will need, for launchers that can import them once.
        adopts: the cluster whose queue may hold jobs of a sweep that this launcher goes on with.
        leaves: the command ends while the jobs still wait or run.
        is_heard: the jobs themselves print how they went.
    """

    preload: Sequence[str] = ()
    adopts: ClassVar[str] = ""
    leaves: bool = False
    is_heard: ClassVar[bool] = False

    @property
    def room(self) -> int | None:
        """Attempts at a time, once the jobs are checked; ``None`` where a queue of its own decides."""
        return 1

    @property
    def parallel(self) -> int:
        """Jobs at a time, as far as it is known."""
        return self.room or 1

    def begin(self) -> None:
        """Called first, while the jobs are still being composed: what takes its time may start."""

    @abstractmethod
    def check(self, jobs: Sequence[LaunchedJob], settings: Settings) -> None:
        """Holds the jobs against what there is, before any of them starts.

        Raises:
            InputError: one of them cannot work, or the launcher cannot.
        """

    def run(self, jobs: Sequence[LaunchedJob], settings: Settings, stop: Stop, watch: Watch) -> None:
        """Executes the jobs; returns when all have ended or ``stop`` was asked and everything rests."""
        Pool(self, settings, stop, watch).run(jobs)

    def adopt(self, jobs: Sequence[LaunchedJob], stop: Stop) -> list[Attempt]:
        """Those of the jobs that an earlier command has started and that are still there; called first."""
        return []

    def parts(self, jobs: Sequence[LaunchedJob]) -> list[list[LaunchedJob]]:
        """The jobs of each attempt."""
        return [[job] for job in jobs]

    def start(self, parts: Sequence[list[LaunchedJob]], settings: Settings) -> list[Attempt]:
        """Starts the jobs of each part."""
        self._allow = settings.allow
        return [Attempt(part) for part in parts]

    def poll(self, attempts: Sequence[Attempt]) -> dict[Attempt, End | None]:
        """Waits a moment at most for one to end.

        Returns:
            Those that have ended, each with what is to be noted of a job that has not noted its own end; ``None``: it
            is out of reach, and its directory stays as it is.
        """
        from rnnlab.launch.job import execute_job

        signals: tuple[int, ...] = ()
        try:
            execute_job(attempts[0].jobs[0].directory, self._allow)
        except Interrupted as interrupted:
            signals = (interrupted.signal_number,)
        except KeyboardInterrupt:
            signals = (signal.SIGINT, signal.SIGINT)
        return {attempts[0]: End("it ended without a word", signals=signals)}

    def stop(self, attempts: Sequence[Attempt], at_once: bool) -> None:
        """Asks all for a checkpoint and their end, or ends them at once; called again as long as any is left.

        What runs in this process has heard the signal itself.
        """

    def leave(self, attempts: Sequence[Attempt], settings: Settings) -> None:
        """Says where the jobs are, before the command ends."""

    def close(self, attempts: Sequence[Attempt]) -> None:
        """Gives back what was taken, and ends the attempts that are left; called at last, whatever happened."""


class Basic(Launcher):
    """What Hydra's own launcher does, but that a job's failure leaves the rest alone.

    Nothing is imported twice, so that it has the least cost a job; whatever
    kills one job kills the sweep, which then resumes.
    """

    def check(self, jobs: Sequence[LaunchedJob], settings: Settings) -> None:
        from rnnlab.launch import preload  # noqa: F401 (torch, fast)
        from rnnlab.launch.check import check_jobs

        check_jobs([(job.name, job.config) for job in jobs], settings.path, settings.allow)


class Pool:
    """The jobs of one launcher, from the first start to the last end.

    A job that is started says ``queued`` until its process says otherwise. How it ended is what its status says, or
    where that says nothing, what its launcher knows:

    ========================================== ======================== ===========
    the job                                    its state                tried again
    ========================================== ======================== ===========
    is done                                    done
    failed of itself                           failed, its own reason   no
    failed for lack of memory                  failed, its own reason   yes
    stopped with a checkpoint                  interrupted              yes
    was killed, or ended without a word        failed, how it died      yes
    was refused by a queue                     failed, why              no
    has not begun when the sweep stops         queued
    was killed because the sweep stops at once interrupted
    ========================================== ======================== ===========

    ``sweep.retries`` says how often; nothing is tried again in a sweep that stops.

    Args:
        launcher: that starts, polls and stops the jobs.
        settings: of the sweep.
        stop: whether the sweep is to stop.
        watch: shows each start and end.
    """

    def __init__(self, launcher: Launcher, settings: Settings, stop: Stop, watch: Watch) -> None:
        self.launcher, self.settings, self.stop, self.watch = launcher, settings, stop, watch
        self.waiting: deque[list[LaunchedJob]] = deque()
        self.running: list[Attempt] = []
        self.tries: Counter[str] = Counter()
        self._begun: set[str] = set()

    def run(self, jobs: Sequence[LaunchedJob]) -> None:
        """Executes the jobs; returns when all have ended, or when the sweep stops and everything rests."""
        launcher = self.launcher
        self.running = launcher.adopt(jobs, self.stop)
        adopted = {job.name for attempt in self.running for job in attempt.jobs}
        self.waiting.extend(launcher.parts([job for job in jobs if job.name not in adopted]))
        try:
            while self._fill():
                if launcher.leaves:
                    launcher.leave(self.running, self.settings)
                    return
                for attempt, end in launcher.poll(self.running).items():
                    self.running.remove(attempt)
                    self._settle(attempt, end)
                self._look()
                if self.stop.asked and self.running:
                    launcher.stop(self.running, self.stop.at_once)
                self.watch.tick()
        finally:
            launcher.close(self.running)

    def _fill(self) -> bool:
        """Starts what there is room for; returns whether anything is at work."""
        room = self.launcher.room
        if not self.stop.asked:
            if room is not None and (free := room - len(self.running) - len(self.waiting)) > 0:
                self.waiting.extend([job] for job in self.settings.further(free))
            number = len(self.waiting) if room is None else min(room - len(self.running), len(self.waiting))
            if parts := [self.waiting.popleft() for _ in range(number)]:
                self._start(parts)
        return bool(self.running)

    def _start(self, parts: Sequence[list[LaunchedJob]]) -> None:
        for job in (job for part in parts for job in part):
            with suppress(InputError):  # its own process says what is wrong with it
                if job.directory.status.state != State.QUEUED:
                    job.directory.update_status(State.QUEUED, durable=False, reason=None)
            if self.launcher.room is not None:
                self._begin(job)
        for attempt in self.launcher.start(parts, self.settings):
            if not attempt.refused:
                self.running.append(attempt)
                continue
            for job in attempt.jobs:
                note(job.directory, End(attempt.refused))
                self._end(job, State.FAILED)

    def _look(self) -> None:
        """Sees which jobs have begun that wait in a queue of the launcher's."""
        for job in (job for attempt in self.running for job in attempt.jobs):
            if job.name not in self._begun and status_of(job.directory).state == State.RUNNING:
                self._begin(job)

    def _begin(self, job: LaunchedJob) -> None:
        self._begun.add(job.name)
        self.watch.started(job.name, job.directory, job.config)

    def _settle(self, attempt: Attempt, end: End | None) -> None:
        if end is None:
            return
        self.stop.signals += end.signals
        again = [job for job in attempt.jobs if self._is_tried_again(job, end)]
        if again:
            self.waiting.appendleft(again)

    def _is_tried_again(self, job: LaunchedJob, end: End) -> bool:
        with suppress(InputError):
            while job.directory.is_alive:  # a process that outlives the one that was started, or another sweep's
                time.sleep(TICK)
        before = status_of(job.directory).state
        if before == State.QUEUED and self.stop.asked:
            if job.name in self._begun:
                self._begun.discard(job.name)
                self.watch.forget(job.name)
            return False
        if self.stop.signals and before != State.QUEUED and end.state == State.FAILED:
            end = replace(end, state=State.INTERRUPTED, reason="stopped at once")
        status = note(job.directory, end)
        may_help = not before.is_over or status.retriable or status.state == State.INTERRUPTED
        tries = self.tries[job.name]
        if status.state != State.DONE and may_help and not self.stop.asked and tries < self.settings.retries:
            self.tries[job.name] += 1
            self._begun.discard(job.name)
            self.watch.tried_again(job.name, status.reason or "", tries + 1)
            return True
        self._end(job, status.state)
        return False

    def _end(self, job: LaunchedJob, state: State) -> None:
        if job.name not in self._begun:
            self._begin(job)
        self.watch.ended(job.name)
        if self.settings.fail_fast and state == State.FAILED:
            self.stop.failure = True
