"""The contract of a launcher: start jobs, say which have ended, stop them.

A job of a sweep is a directory with a config in it and a status that says
``queued``. A launcher sees to it that :func:`rnnlab.launch.job.execute_job` is
called on each, in whatever process on whatever machine. How a job ended, and
whether it is tried again, is decided by :mod:`rnnlab.launch.pool` from the
job's directory, for all launchers alike; so any of them can go on where another
stopped.
"""

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rnnlab.errors import Interrupted
from rnnlab.launch.watch import Watch
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.ending import End
from rnnlab.signals import heard, is_another


@dataclass
class LaunchedJob:
    """A run directory that waits to be executed, and what is told about it."""

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
        """Jobs run in this block: they are told to stop, and waited for."""
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
        resume: what a command that goes on with the sweep needs beside its directory.
        total: jobs in the whole sweep, also those that are done.
        most: jobs that a sweep may have.
        further: gives more jobs that may begin now, at most so many; it is asked again when one has ended. A launcher
            with a queue of its own is called again with more instead.
    """

    retries: int = 0
    fail_fast: bool = False
    allow: Sequence[str] | None = None
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
        told: how often they were told to stop.
    """

    jobs: list[LaunchedJob]
    handle: Any = None
    refused: str = ""
    told: int = 0


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
        from rnnlab.launch.pool import Pool  # it knows this contract

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
