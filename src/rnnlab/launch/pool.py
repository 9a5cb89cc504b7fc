"""How the jobs of a sweep are executed by any launcher: what starts when, how each ended, what is tried again."""

import contextlib
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace

from rnnlab.errors import InputError
from rnnlab.launch.launcher import Attempt, LaunchedJob, Launcher, Settings, Stop
from rnnlab.launch.watch import Watch
from rnnlab.runs.ending import End, note, status_of
from rnnlab.store.status import State

TICK = 0.25
"""Seconds between two looks at a process that outlives the one that was started."""


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
        watch: is told of each start and end.
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
            with contextlib.suppress(InputError):  # its own process says what is wrong with it
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
        with contextlib.suppress(InputError):
            while job.directory.is_alive:  # a process that outlives the one that was started, or another sweep's
                time.sleep(TICK)
        before = status_of(job.directory).state
        if before == State.QUEUED and self.stop.asked:
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
