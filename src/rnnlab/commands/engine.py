"""The engine that runs every sweep: a grid, a search, a benchmark, and each of them resumed.

Whoever proposes jobs and whatever launcher executes them: the :class:`Leader` composes, checks and writes them down
between the two, so that the ledger, the report and the resume are the same.
"""

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from hydra.core.override_parser.types import Override, RangeSweep
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher as HydraLauncher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from rnnlab.commands import hydra_internals
from rnnlab.commands.composition import Composer, one_line
from rnnlab.commands.hydra_internals import BASIC_LAUNCHER
from rnnlab.commands.report import print_leaderboard
from rnnlab.commands.sweep_settings import MAX_JOBS, checked
from rnnlab.commands.trust import PLUGINS, check_targets, locate_option
from rnnlab.errors import InputError
from rnnlab.launch.launcher import Basic, LaunchedJob, Launcher, Settings, Stop
from rnnlab.launch.watch import Watch
from rnnlab.runs.build import build, to_allow
from rnnlab.runs.records import read_run
from rnnlab.runs.schema import TARGET, shown
from rnnlab.runs.sweep import Job, SweepDirectory
from rnnlab.shell import allowing, command_line, pasted, shown_path
from rnnlab.store.open_directory import is_there
from rnnlab.store.status import STATUS

KEPT_FOR_RESUME = ("hydra/launcher", "hydra.launcher.", "hydra.sweep.subdir", "sweep.")
"""What a resumed sweep takes from the command that started it, of all that is not of its jobs: beginnings of keys."""
OF_SEARCH = ("hydra/sweeper", "hydra.sweeper.")
"""What a resumed search takes from it beside."""


class Stopped(Exception):
    """The sweep was asked to stop, or a job failed that was to be the last."""


class Leader(HydraLauncher):
    """The engine of sweeps: composes jobs, has them checked, writes them down and hands them to a launcher.

    A grid, a search, a benchmark and a resumed sweep tell it which jobs there are. To a sweeper that is a plugin of
    Hydra's it is the launcher.

    Args:
        directory: of the sweep.
        composer: of its jobs.
        settings: of the sweep.
        launcher: that executes the jobs.
    """

    def __init__(
        self, directory: SweepDirectory, composer: Composer, settings: Settings, launcher: Launcher | None = None
    ) -> None:
        self.directory, self.composer, self.settings = directory, composer, settings
        settings.path = directory.path
        self.launcher: Launcher = launcher or Basic()
        self.stop = Stop()
        self.dry_run = self.refuses_identical = False
        self.looked_at: Sequence[Job] = ()
        self.studies: list[str] = []
        self.trusted: list[str] = []
        self._command = command_line()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """What Hydra tells a launcher; the leader knows it already."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Executes a batch of jobs of the sweeper.

        Returns:
            Their monitored scores.

        Raises:
            Stopped: no further batch may start; of a dry run ``looked_at`` has the first.
        """
        jobs = self.compose(job_overrides)
        self.check(jobs)
        if self.dry_run:
            self.looked_at = jobs
            raise Stopped
        self.write_down(jobs)
        returns = self.execute(jobs)
        if self.stop.asked:
            raise Stopped
        return returns

    def compose(self, job_overrides: Sequence[Sequence[str]]) -> list[Job]:
        """Further jobs, numbered behind those that there are.

        Raises:
            InputError: two jobs are one and the same.
            HydraException: a job cannot be composed.
        """
        plan = self.directory.plan
        if len(plan) + len(job_overrides) > self.settings.most:
            raise InputError(
                f"{len(plan) + len(job_overrides):,} jobs, and sweep.max_jobs={self.settings.most} is the most: "
                "give a larger one"
            )
        first = 1 + max((each["number"] for each in plan), default=-1)
        jobs = [self.composer.compose(number, overrides) for number, overrides in enumerate(job_overrides, first)]
        same: dict[str, Job] = {}
        for job in jobs if self.refuses_identical else ():
            other = same.setdefault(job.digest, job)
            if other is not job:
                raise InputError(
                    f"jobs {other.number} and {job.number} are one and the same "
                    f"({' '.join(other.overrides) or 'defaults'}): take out what is there twice"
                )
        return jobs

    def check(self, jobs: Sequence[Job]) -> None:
        """Holds jobs against what there is.

        Raises:
            InputError: one of them cannot work.
        """
        self.settings.total = len(self.directory.plan) + len(jobs)
        self.launcher.check(self.launched(jobs), self.settings)

    @property
    def resume(self) -> list[str]:
        """The words that go on with it, what the person at the keyboard trusts in it included."""
        return allowing(self.settings.allow if self.settings.allow is not None else self.trusted)

    def numbered(self, jobs: Sequence[Job]) -> list[Job]:
        """A fixed list of jobs, with the numbers that they have in the ledger or will get."""
        known = {entry["directory"]: entry["number"] for entry in self.directory.plan}
        fresh = itertools.count(1 + max(known.values(), default=-1))
        return [replace(job, number=known[job.name] if job.name in known else next(fresh)) for job in jobs]

    def add(self, jobs: Sequence[Job]) -> None:
        """Writes jobs down of which some have directories; what these hold stays as it is."""
        plan = self.directory.plan
        known = {entry["directory"] for entry in plan}
        there = [job for job in jobs if is_there(self.directory.run(job.name).path / STATUS)]
        if new := [job.entry for job in there if job.name not in known]:
            self.directory.write_plan([*plan, *new])
        self.write_down([job for job in jobs if job not in there])

    def write_down(self, jobs: Sequence[Job]) -> None:
        self.trusted += to_allow([job.config for job in jobs])
        self.directory.add(jobs, self._command, self.directory.facts.get("config_dirs", []))

    def execute(self, jobs: Sequence[Job], before: Sequence[str] = (), watch: Watch | None = None) -> list[JobReturn]:
        """Executes jobs that are written down.

        Args:
            jobs: that are to be executed.
            before: the names of those that are done.
            watch: tells how they go; by default their monitored scores.

        Returns:
            The monitored score of each.
        """
        self.settings.resume = self.resume
        done = [self.directory.run(name) for name in before]
        watch = watch or Watch(self.directory.path, len(jobs), done, self.launcher.is_heard)
        with self.stop.working(), watch:
            self.launcher.run(self.launched(jobs), self.settings, self.stop, watch)
        returns = []
        for job in jobs:
            score = float(self.directory.run(job.name).metrics.get(job.config["monitor"], float("nan")))
            ended = JobReturn(overrides=list(job.overrides), status=JobStatus.COMPLETED)
            ended.return_value = score
            returns.append(ended)
        return returns

    def found_nothing(self, reason: str) -> None:
        """There is no job for this sweep, as when others have spent the budget of a shared search: the ledger says so.

        Args:
            reason: in a line.
        """
        self.directory.write_plan([])
        self.directory.update_facts(search={**self.directory.facts.get("search", {}), "exhausted": reason})
        print(f"{shown_path(self.directory.path)}: no jobs: {reason}")

    def conclude(self) -> int:
        """The leaderboard, what is left to do, and the exit status."""
        path = self.directory.path
        if not self.directory.plan:
            if self.stop.asked:
                print(
                    f"stopped before the first job. Go on with: {pasted('resume', path, *self.resume)}", file=sys.stderr
                )
            return self.stop.status
        if self.launcher.leaves and not self.stop.asked:
            return 0
        try:
            again = f"make room, then: {pasted('report', path)}"
            failed = print_leaderboard([path], studies=self.studies, advice=again)
        except (OSError, InputError) as error:  # what became of the jobs is said all the same
            print(f"the leaderboard is not written: {one_line(error)}", file=sys.stderr)
            failed = 1
        states = [read_run(path / each["directory"]).state for each in self.directory.plan]
        left = [state for state in states if state not in ("done", "pruned")]
        if left or self.stop.signals:
            what = "stopped; what ran has its checkpoint. " if self.stop.signals else ""
            print(f"{what}Go on with: {pasted('resume', path, *self.resume)}", file=sys.stderr)
        return self.stop.status or (1 if left or failed else 0)

    def launched(self, jobs: Sequence[Job]) -> list[LaunchedJob]:
        return [LaunchedJob(self.directory.run(job.name), job.name, job.config) for job in jobs]


# ---- which jobs a grid has ------------------------------------------------------------------------------


def is_of_sweep(override: Override) -> bool:
    """Whether an override is of the whole sweep and of no job."""
    return override.key_or_group.startswith("sweep.")


def of_jobs(overrides: Sequence[Override]) -> list[Override]:
    """Those overrides that are of the jobs."""
    return [override for override in overrides if not override.is_hydra_override() and not is_of_sweep(override)]


def grid(overrides: Sequence[Override]) -> Iterator[list[str]]:
    """The overrides of each job: every combination of the values of all keys; the last override of a key counts."""
    values: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        several = override.is_sweep_override()
        texts = override.sweep_string_iterator() if several else [override.get_value_element_as_str()]
        values[key] = [f"{key}={text}" for text in texts]
    return map(list, itertools.product(*values.values()))


def varied_keys(parsed: Sequence[Override]) -> list[str]:
    """The keys that a sweep goes over.

    Raises:
        InputError: a range without values, or a key that can have only one for the whole sweep.
    """
    varied = []
    for override in parsed:
        if not override.is_sweep_override():
            continue
        if override.is_interval_sweep():
            raise InputError(
                f"{override.input_line}: an interval has no end of values: search it (hydra/sweeper=random), or write "
                "range(start,stop,step)"
            )
        if override.is_discrete_sweep() and not count(override):
            raise InputError(f"{override.input_line}: there is nothing in it, so there are no jobs")
        if override.key_or_group.startswith("sweep."):
            raise InputError(f"{override.input_line}: it is of the whole sweep and has one value")
        varied.append(override.get_key_element())
    return varied


def count(override: Override) -> float:
    """How many values an override goes over, by arithmetic; infinitely many of an interval.

    Raises:
        InputError: a range that leads nowhere.
    """
    value = override.value()
    if isinstance(value, RangeSweep):
        start, stop, step = (float(each if each is not None else 0) for each in (value.start, value.stop, value.step))
        if math.isnan(start + stop + step) or step == 0 or math.isinf(start):
            raise InputError(f"{override.input_line}: write range(start,stop) or range(start,stop,step), of numbers")
        return max(0.0, math.ceil((stop - start) / step) if math.isfinite((stop - start) / step) else math.inf)
    if override.is_discrete_sweep():
        return sum(1 for _ in override.sweep_string_iterator())
    return math.inf if override.is_sweep_override() else 1


def check_number(parsed: Sequence[Override], most: int, searched: bool = False) -> None:
    """Holds the number of jobs of a grid against what a sweep may have, before they are made.

    Args:
        parsed: all overrides, of which the last of a key counts.
        most: ``sweep.max_jobs``.
        searched: these are a search's, whose jobs are not all that there are: each key alone is bounded.

    Raises:
        InputError: naming the override with the most values.
    """
    counts = {each.get_key_element(): (count(each), each) for each in parsed if each.is_discrete_sweep()}
    number = max((n for n, _ in counts.values()), default=1) if searched else math.prod(n for n, _ in counts.values())
    if number > most:
        _, largest = max(counts.values(), key=lambda each: each[0])
        what = "values" if searched else "jobs"
        shown = f"{number:,.0f}" if math.isfinite(number) else "infinitely many"
        raise InputError(
            f"{largest.input_line}: {shown} {what}, and sweep.max_jobs={most} is the most: "
            + ("write interval(low,high), or give a larger sweep.max_jobs" if searched
               else "take fewer values, or give a larger sweep.max_jobs")
        )  # fmt: skip


# ---- what a sweep is told -------------------------------------------------------------------------------


def settings_of(config: DictConfig) -> Settings:
    """What the keys under ``sweep`` ask for.

    Raises:
        InputError: naming the key.
    """
    named = checked(config)
    return Settings(
        retries=named.get("retries", 0), fail_fast=named.get("fail_fast", False), most=named.get("max_jobs", MAX_JOBS)
    )


def check_chosen(node: Any, kind: str, choice: str, key: str) -> None:
    """Refuses ``hydra.launcher=local``: a launcher or a sweeper is chosen, or its keys are set.

    Raises:
        InputError: it is no node of a config.
    """
    if not isinstance(node, DictConfig):
        raise InputError(
            f"hydra.{kind}={shown(node)}: choose one (hydra/{kind}={choice}) or set its keys (hydra.{kind}.{key})"
        )


def our_launcher(node: Any, allow: Sequence[str] | None) -> Launcher | None:
    """The launcher that a config names; ``None`` where it is a plugin of Hydra's, which Hydra makes.

    Raises:
        InputError: its options cannot work.
    """
    check_chosen(node, "launcher", "local", "n_jobs=2")
    values = hydra_internals.mapping(node)
    target = str(values.get("_target_"))
    if target == BASIC_LAUNCHER:
        return Basic()
    named = {str(name): value for name, value in values.items()}
    if target.startswith(PLUGINS):
        if allow is not None:
            locate_option(named, "hydra.launcher", allow)
            check_targets({name: value for name, value in named.items() if name != TARGET}, "hydra.launcher", allow)
        return None
    made = build(named, "hydra.launcher", allow)
    if not isinstance(made, Launcher):
        raise InputError(f"hydra.launcher._target_={target}: it is no rnnlab.launch.launcher.Launcher")
    return made
