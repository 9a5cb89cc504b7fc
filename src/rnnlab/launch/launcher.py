"""The contract of a launcher: execute these run directories.

A job of a sweep is a directory with a config in it and a status that says
``queued``. To launch is to see to it that :func:`rnnlab.launch.job.execute_job`
is called on each, in whatever process on whatever machine. How it went stands
in the directory itself, so that a launcher gives nothing back, and any other
launcher can go on where it left.
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
from rnnlab.signals import heard, is_another
from rnnlab.store.status import State
from rnnlab.store.times import now


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
        further: a launcher that could do so many more jobs at once may ask for them here, while it runs; it gets those
            that there are just now, and asks again when one has ended. Who does not ask is called again with more.
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


class Launcher(ABC):
    """Executes run directories; its options are the keys of ``hydra.launcher``.

    Attributes:
        preload: modules that every job will need, for launchers that can import them once.
        adopts: the cluster whose queue may hold jobs of a sweep that this launcher goes on with.
        leaves: :meth:`run` returns while the jobs still wait or run.
    """

    preload: Sequence[str] = ()
    adopts: ClassVar[str] = ""
    leaves: bool = False

    @property
    def parallel(self) -> int:
        """Jobs at a time, as far as it is known once they are checked."""
        return 1

    def begin(self) -> None:
        """Called first, while the jobs are still being composed: what takes its time may start."""

    @abstractmethod
    def check(self, jobs: Sequence[LaunchedJob], settings: Settings) -> None:
        """Holds the jobs against what there is, before any of them starts.

        Raises:
            InputError: one of them cannot work, or the launcher cannot.
        """

    @abstractmethod
    def run(self, jobs: Sequence[LaunchedJob], settings: Settings, stop: Stop, watch: Watch) -> None:
        """Executes the jobs; returns when all have ended or ``stop`` was asked and everything rests."""


def lost(job: LaunchedJob, how: str, stop: Stop) -> State:
    """Notes the end of a job that could not note it itself; returns its state."""
    stopped = bool(stop.signals)
    state = State.INTERRUPTED if stopped else State.FAILED
    try:
        job.directory.update_status(state, reason="stopped at once" if stopped else how, finished=now())
    except Exception:  # noqa: BLE001 (a full disk: it stays "running" with a process that is gone)
        return state
    return state
