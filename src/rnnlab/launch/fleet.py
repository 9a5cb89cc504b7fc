"""Jobs that differ in numbers only, trained together: a sweep as one network."""

import dataclasses
import functools
import itertools
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rnnlab.launch.launcher import Findings, LaunchedJob, Settings, Stop
from rnnlab.launch.local import Local, start
from rnnlab.launch.watch import Watch
from rnnlab.ranges import NonNegativeInt, PositiveInt
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.ending import status_of
from rnnlab.store.files import open_to_append

MEMBERS_ON_CPU = 16
"""The most jobs that are trained together on a core: more gain nothing and leave the cache (benchmarks/fleet.py)."""
MEMBERS_ON_GPU = 256


@dataclass
class Stacks:
    """Which jobs can be trained together.

    Attributes:
        findings: what the jobs need.
        groups: names of jobs that can be trained together, by what they are.
        alone: why a job cannot be trained with others, by its name.
    """

    findings: Findings
    groups: list[tuple[str, list[str]]]
    alone: dict[str, str]


class Fleets(Local):
    """Stacks jobs that differ in numbers only and trains each stack as one network.

    Seeds, learning rates, weight decays, dropout, initial scales, noise levels
    and the like may differ; the model, the data's form and the optimizer's
    kind may not. A core takes a stack at a time, a GPU all it can. Jobs that
    fit to no other are executed as by :class:`rnnlab.launch.local.Local`.

    Each job keeps its own run directory, early stopping and checkpoints, and its
    numbers are those that it would have alone, to rounding.

    Args:
        members: the most jobs in a stack; ``auto`` is what is fastest.
        figures: ``best`` draws them for the sweep's best job alone, since they take longer than a small job's
            training; ``all`` for every job; ``none``.
        n_jobs: stacks at a time; ``auto`` is one a core, or one a GPU.
        gpus: see :class:`rnnlab.launch.local.Local`.
    """

    def __init__(
        self,
        members: PositiveInt | Literal["auto"] = "auto",
        figures: Literal["best", "all", "none"] = "best",
        n_jobs: PositiveInt | Literal["auto"] = "auto",
        gpus: list[NonNegativeInt] | Literal["auto"] = "auto",
    ) -> None:
        super().__init__(n_jobs, 1, gpus)
        self.members, self.figures = members, figures
        self._stacks: Stacks | None = None
        self._looked_at: dict[str, Mapping[str, Any]] = {}

    @property
    def parallel(self) -> int:
        return len(self._slots) * self._most

    @property
    def _most(self) -> int:
        """Jobs in a stack."""
        if self.members != "auto":
            return self.members
        return MEMBERS_ON_GPU if self._stacks is not None and self._stacks.findings.on_gpu else MEMBERS_ON_CPU

    def check(self, jobs: Sequence[LaunchedJob], settings: Settings) -> None:
        self._take(jobs, self._find(jobs, settings).findings, settings)

    def _find(self, jobs: Sequence[LaunchedJob], settings: Settings) -> Stacks:
        """Finds out which of the jobs can be trained together."""
        self._stacks = self._ask(_find_fleets, jobs, settings)
        self._looked_at = {job.name: job.config for job in jobs}
        return self._stacks

    def run(self, jobs: Sequence[LaunchedJob], settings: Settings, stop: Stop, watch: Watch) -> None:
        # a search checks a few settings beforehand, and its jobs are others
        if any(self._looked_at.get(job.name) != job.config for job in jobs):
            self._find(jobs, settings)
        # it is asked for more when these have ended: one that came alone would be trained alone
        settings = dataclasses.replace(settings, further=lambda room: ())
        for line in self._grouping(jobs):
            watch.say(line)
        self._note(jobs)
        super().run(jobs, settings, stop, watch)
        fallen = Counter(reason for job in jobs if (reason := status_of(job.directory).fleet_alone))
        for reason, number in fallen.items():
            watch.say(f"fleet: {_jobs(number)} were trained one by one after all: {reason}")
        if self.figures == "best" and not stop.asked:
            for name, _ in watch.bests.values():
                self._draw(RunDirectory(watch.path / name), settings, watch)

    def _grouping(self, jobs: Sequence[LaunchedJob]) -> Iterator[str]:
        """How the jobs are stacked, and what could not be and why, a line each."""
        assert self._stacks is not None
        parts = self.parts(jobs)
        of = {job.name: len(part) for part in parts for job in part}
        for what, names in self._stacks.groups:
            sizes = Counter(of[name] for name in names if of.get(name, 1) > 1)
            if sizes:
                stacks = " and ".join(f"{number // size} of {size}" for size, number in sorted(sizes.items())[::-1])
                yield f"fleet: {_jobs(sizes.total())} ({what}) in stacks: {stacks}"
        reasons: dict[str, list[str]] = {}
        for job in jobs:
            if of[job.name] == 1 and status_of(job.directory).stack is None:
                reasons.setdefault(self._stacks.alone.get(job.name, "left over, stacks are full"), []).append(job.name)
        for reason, names in reasons.items():
            which = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
            yield f"fleet: {_jobs(len(names))} alone ({which}): {reason}"

    def _draw(self, directory: RunDirectory, settings: Settings, watch: Watch) -> None:
        if status_of(directory).figures or not directory.config.get("instruments"):
            return
        watch.say(f"drawing the figures of the best, {directory.path.name}")
        process = self._context.Process(target=_draw, args=(directory.path, settings.allow, self._slots[0]))
        start(process)
        process.join()

    def parts(self, jobs: Sequence[LaunchedJob]) -> list[list[LaunchedJob]]:
        assert self._stacks is not None
        # a run that began with others goes on with them, and where it stood among them: that decides about last digits
        begun: dict[str, list[tuple[int, LaunchedJob]]] = {}
        for job in jobs:
            place = status_of(job.directory).stack
            if place is not None:
                begun.setdefault(place[0], []).append((place[1], job))
        resumed = [[job for _, job in sorted(part, key=lambda each: each[0])] for part in begun.values()]
        taken = {job.name for part in resumed for job in part}
        jobs = [job for job in jobs if job.name not in taken]
        by_name = {job.name: job for job in jobs}
        stacks: list[list[LaunchedJob]] = []
        alone: list[LaunchedJob] = []
        for _, names in self._stacks.groups:
            group = [by_name[name] for name in names if name in by_name]
            parts = divided(group, self._most, len(self._slots))
            stacks += [part for part in parts if len(part) > 1]
            alone += [part[0] for part in parts if len(part) == 1]
        named = {job.name for part in (*stacks, alone) for job in part}
        alone += [job for job in jobs if job.name not in named]
        return [*resumed, *sorted(stacks, key=len, reverse=True), *([job] for job in alone)]

    def _note(self, jobs: Sequence[LaunchedJob]) -> None:
        """Writes down which jobs are trained together, before the first of them begins."""
        for part in self.parts(jobs):
            for place, job in enumerate(part if len(part) > 1 else ()):
                if status_of(job.directory).stack is None:
                    job.directory.update_status(durable=False, stack={"of": part[0].name, "place": place})

    def _work(self) -> Any:
        return functools.partial(_train_fleet, every_figure=self.figures == "all", figures=self.figures != "none")


def divided(jobs: Sequence[LaunchedJob], most: int, slots: int) -> list[list[LaunchedJob]]:
    """The jobs in parts of almost equal size, at most ``most`` in each, so that no slot waits for another."""
    if not jobs:
        return []
    number = -(-len(jobs) // most)
    if number % slots and len(jobs) >= 2 * slots:
        number = -(-number // slots) * slots
    size, longer = divmod(len(jobs), number)
    bounds = [i * size + min(i, longer) for i in range(number + 1)]
    return [list(jobs[begin:end]) for begin, end in itertools.pairwise(bounds)]


def _jobs(number: int) -> str:
    return f"{number} job{'s' if number > 1 else ''}"


# ---- in the processes ---------------------------------------------------------------------------------


def _find_fleets(jobs: list[tuple[str, dict[str, Any]]], path: Path, allow: Sequence[str] | None) -> Stacks:
    from rnnlab.launch.check import check_jobs
    from rnnlab.runs.preparation import prepare
    from rnnlab.runs.stacking import hindrance, signature, title, try_together, unlike

    findings = check_jobs(jobs, path, allow)
    looked_at: dict[str, tuple[str, str, str | None]] = {}  # signature, what it is, what is against it
    tried: dict[str, str | None] = {}
    groups: dict[str, list[str]] = {}
    titles: dict[str, str] = {}
    alone: dict[str, str] = {}
    for name, config in jobs:
        kind = unlike(config)
        if kind not in looked_at:
            run = prepare(config, allow)
            against, sign = hindrance(run), signature(run)
            if against is None:
                if sign not in tried:
                    tried[sign] = try_together(run)
                against = tried[sign]
            looked_at[kind] = sign, title(run), against
        sign, what, against = looked_at[kind]
        if against is not None:
            alone[name] = against
        else:
            groups.setdefault(sign, []).append(name)
            titles[sign] = what
    for sign, members in list(groups.items()):
        if len(members) == 1:
            alone[members[0]] = "no other job is of its shape"
            del groups[sign]
    return Stacks(findings, [(titles[sign], members) for sign, members in groups.items()], alone)


def _train_fleet(
    directories: list[RunDirectory], allow: Sequence[str] | None, every_figure: bool, figures: bool
) -> None:
    import torch

    from rnnlab.launch.job import execute_job, logged
    from rnnlab.runs.fleet import Fleet, FleetRun, settle
    from rnnlab.runs.recorder import StopSignals

    # the last one that is left of a stack goes on as a stack of one
    if len(directories) == 1 and not directories[0].status.stack:
        execute_job(directories[0], allow, figures=figures)
        return
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    stop = StopSignals()
    stop.trains = True  # one of them does, at any moment
    stop.install()

    def report(fleet_run: FleetRun, reason: str) -> None:
        directories[fleet_run.number].update_status(fleet_alone=reason)

    def execute(fleet_run: FleetRun) -> None:
        directory = directories[fleet_run.number]
        directory.update_status(
            durable=False, fleet=max(len(directories), directory.status.fleet or 1), fleet_alone=None
        )
        with suppress(BaseException):  # what it was stands in the directory
            execute_job(directory, allow, log=False, fleet_run=fleet_run, figures=every_figure)

    # what a run's thread logs goes to the run's own log
    with logged(directories, lambda number: functools.partial(_is_of, f"member {number}")):
        Fleet(stop, report, settle(directories)).run([execute] * len(directories))


def _is_of(thread: str, record: logging.LogRecord) -> bool:
    return threading.current_thread().name == thread or (
        threading.current_thread() is threading.main_thread() and thread == "member 0"
    )


def _draw(path: Path, allow: Sequence[str] | None, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    from rnnlab.runs.execution import draw

    log = open_to_append(RunDirectory(path).log)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    draw(RunDirectory(path), allow)
