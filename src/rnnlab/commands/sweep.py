"""Sweeps: ``rnnlab train -m …``, and ``rnnlab resume SWEEP``.

Hydra's sweeper says which jobs there are, a launcher executes them. Between
the two all jobs are composed, checked and written down, so that whatever
sweeper proposes them and whatever launcher executes them, the ledger, the
report and the resume are the same.
"""

import contextlib
import functools
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher as HydraLauncher
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from rnnlab.commands.composition import COMPOSITION_ERRORS, ROOT, create_hydra, explain, one_line
from rnnlab.commands.jobs import Composer
from rnnlab.commands.overrides import read
from rnnlab.commands.report import print_leaderboard
from rnnlab.commands.sweep_settings import MAX_JOBS, checked
from rnnlab.commands.trust import (
    PLUGINS,
    check_configs,
    check_options,
    check_overrides,
    check_targets,
    locate_option,
    to_resume,
)
from rnnlab.errors import InputError, Interrupted, RunFailed, visible
from rnnlab.instruments.console import console
from rnnlab.launch.basic import Basic
from rnnlab.launch.launcher import LaunchedJob, Launcher, Settings, Stop
from rnnlab.launch.plugin import Plugin
from rnnlab.launch.watch import Watch
from rnnlab.runs.build import TARGET, build, shown, to_allow
from rnnlab.runs.directory import provenance
from rnnlab.runs.records import read_run
from rnnlab.runs.slurm import forget, refuse_what_is_there, submission
from rnnlab.runs.sweep import Entry, Facts, Job, SweepDirectory, code_digests, differing, is_sweep
from rnnlab.shell import allowing, command_line, pasted, shown_path

if TYPE_CHECKING:  # what a search needs is imported for one
    from rnnlab.commands.search import Plan
    from rnnlab.search.searcher import Searcher

HYDRAS_BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
KEPT_FOR_RESUME = ("hydra/launcher", "hydra.launcher.", "hydra.sweep.subdir", "sweep.")
"""What a resumed sweep takes from the command that started it, of all that is not of its jobs: beginnings of keys."""
OF_SEARCH = ("hydra/sweeper", "hydra.sweeper.")
"""What a resumed search takes from it beside."""
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


SHOWN = 20
"""Jobs of a dry run that are listed one by one."""
SHOWN_VALUES = 8


class Stopped(Exception):
    """The sweep was asked to stop, or a job failed that was to be the last."""


# ---- a new sweep ----------------------------------------------------------------------------------------


def sweep(hydra: Hydra, config: DictConfig, overrides: Sequence[str], task_function: TaskFunction) -> int:
    """Many runs under one directory, and the table that compares them.

    Args:
        hydra: that composed the config.
        config: of the sweep.
        overrides: as typed.
        task_function: a job, for launchers that are Hydra's and not ours.

    Returns:
        The exit status: 0, or 1 where a job failed, or 128 + the signal that stopped it.

    Raises:
        InputError: the sweep cannot work; nothing was started and nothing is left of it.
        HydraException: its configs cannot be composed; likewise.
    """
    chosen = any(override.startswith("hydra.sweep.dir=") for override in overrides)
    directories = [source.path for source in config.hydra.runtime.config_sources if source.provider == "command-line"]
    searcher = _searcher(config, None)
    basic = str(config.hydra.sweeper.get("_target_")) == BASIC_SWEEPER
    params = config.hydra.sweeper.get("params") or {} if basic else {}
    of_sweeper = [f"{key}={value}" for key, value in params.items()]
    typed = [*of_sweeper, *overrides]
    parse = OverridesParser.create(hydra.config_loader).parse_overrides
    parsed = parse(typed)
    settings = settings_of(config)
    search_plan = None
    if searcher is not None:
        path = str(config.hydra.sweep.dir)
        if chosen and is_sweep(path):
            told = SweepDirectory.open(path).facts
            its_own = (told["overrides"], told.get("config_dirs", []), told.get("config_name", ROOT))
            if its_own == (typed, directories, str(config.hydra.job.config_name)):
                return resume_sweep(path, [], None, force=False)  # the same command goes on with the same search
        search_plan = _plan_of_search(parse, config, parsed, settings.most)
        varied = search_plan.varied
    else:
        varied = varied_keys(parsed)
        check_number(parsed, settings.most)
    for_jobs = [str(each.input_line) for each in parsed[len(of_sweeper) :] if not _is_of_sweep(each)]
    launcher = our_launcher(config.hydra.launcher, None)
    if launcher is not None:
        launcher.preload = searcher.preload if searcher is not None else ()
        launcher.begin()
    facts: Facts = {
        "command": command_line(),
        "overrides": typed,
        "varied": varied,
        "config_name": str(config.hydra.job.config_name),
        "config_dirs": directories,
        "sweeper": str(config.hydra.sweeper.get("_target_")),
    }
    directory = SweepDirectory.claim(str(config.hydra.sweep.dir), facts, chosen)
    with read_write(config.hydra):
        config.hydra.sweep.dir = str(directory.path)
        # each job composes its config anew from these overrides
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{directory.path}'")
    HydraConfig.instance().set_config(config)
    callbacks = Callbacks(config)
    context = HydraContext(config_loader=hydra.config_loader, callbacks=callbacks)
    try:
        with directory.lead():
            leader = Leader(directory, Composer(hydra.config_loader, config, varied), settings)
            leader.dry_run = bool(checked(config).get("dry_run", False))
            node = OmegaConf.to_container(config.hydra, resolve=False)
            assert isinstance(node, dict)
            kept = (*KEPT_FOR_RESUME, *OF_SEARCH) if searcher is not None else KEPT_FOR_RESUME
            of_resume = [each for each in parsed if each.key_or_group.startswith(kept)]
            leader.trusted += to_resume(facts, of_resume, {str(name): value for name, value in node.items()})
            with _refused_as("hydra.launcher"):
                leader.launcher = launcher or Plugin(
                    Plugins.instance().instantiate_launcher(
                        hydra_context=context, task_function=task_function, config=config
                    )
                )
            if searcher is not None and search_plan is not None:
                return _search(leader, searcher, search_plan, hydra)
            with _in_place_of_the_launcher(leader), _refused_as("hydra.sweeper"):
                sweeper = Plugins.instance().instantiate_sweeper(
                    config=config, hydra_context=context, task_function=task_function
                )
            # the leader composes all jobs itself
            sweeper.validate_batch_is_legal = lambda batch: None  # type: ignore[method-assign]
            leader.refuses_identical = basic
            if launcher is not None and launcher.leaves and not basic:
                raise InputError("hydra.launcher.wait=false: this sweeper chooses jobs by the scores of those before")
            callbacks.on_multirun_start(config=config, config_name=ROOT)
            with leader.stop.installed(), contextlib.suppress(Stopped):
                sweeper.sweep(arguments=for_jobs)
            callbacks.on_multirun_end(config=config, config_name=ROOT)
            if not leader.dry_run:
                return leader.conclude()
    except (InputError, RunFailed, Interrupted, KeyboardInterrupt, *COMPOSITION_ERRORS):
        directory.remove_if_unused()
        raise
    directory.remove_if_unused()
    return 0


def _searcher(config: DictConfig, allow: Sequence[str] | None) -> "Searcher | None":
    """The searcher of ours that a config names, if it is one."""
    from rnnlab.commands.search import our_searcher

    _check_chosen(config.hydra.sweeper, "sweeper", "random", "n_trials=20")
    return our_searcher(config.hydra.sweeper, allow)


def _check_chosen(node: Any, kind: str, choice: str, key: str) -> None:
    if not isinstance(node, DictConfig):
        raise InputError(
            f"hydra.{kind}={shown(node)}: choose one (hydra/{kind}={choice}) or set its keys (hydra.{kind}.{key})"
        )


def _plan_of_search(
    parse: Callable[[list[str]], list[Override]], config: DictConfig, parsed: Sequence[Override], most: int
) -> "Plan":
    from rnnlab.commands.search import plan

    for override in parsed:
        if override.is_sweep_override() and _is_of_sweep(override):
            raise InputError(f"{override.input_line}: it is of the whole sweep and has one value")
    node = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    assert isinstance(node, dict)
    of_jobs = [each for each in parsed if not each.is_hydra_override() and not _is_of_sweep(each)]
    check_number(of_jobs, most, searched=True)
    return plan(parse, {str(name): value for name, value in node.items()}, of_jobs)


def _search(leader: "Leader", searcher: "Searcher", search_plan: "Plan", hydra: Hydra) -> int:
    """A new search, from its checks to its leaderboard."""
    from rnnlab.commands.search import Search

    search = Search(leader, searcher, search_plan, hydra)
    search.check()
    if leader.dry_run:
        search.print_trials()
        leader.directory.remove_if_unused()
        return 0
    search.describe()
    search.open()
    leader.directory.update_facts(search=search.facts())
    with leader.stop.installed():
        search.go()
    return leader.conclude()


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


def settings_of(config: DictConfig) -> Settings:
    """What the keys under ``sweep`` ask for.

    Raises:
        InputError: naming the key.
    """
    named = checked(config)
    return Settings(
        retries=named.get("retries", 0), fail_fast=named.get("fail_fast", False), most=named.get("max_jobs", MAX_JOBS)
    )


def our_launcher(node: Any, allow: Sequence[str] | None) -> Launcher | None:
    """The launcher that a config names; ``None`` where it is a plugin of Hydra's, which Hydra makes.

    Raises:
        InputError: its options cannot work.
    """
    _check_chosen(node, "launcher", "local", "n_jobs=2")
    values = OmegaConf.to_container(node, resolve=True)
    assert isinstance(values, dict)
    target = str(values.get("_target_"))
    if target == HYDRAS_BASIC:
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


def _is_of_sweep(override: Override) -> bool:
    return override.key_or_group.startswith("sweep.")


@contextlib.contextmanager
def _refused_as(key: str) -> Iterator[None]:
    """A plugin that Hydra can't make in the block is said in one line."""
    try:
        yield
    except (HydraException, RuntimeError, TypeError, ValueError, ImportError, AttributeError) as error:
        raise InputError(f"{key}: {error}") from error


@contextlib.contextmanager
def _in_place_of_the_launcher(leader: "Leader") -> Iterator[None]:
    """Whatever sweeper is made in the block gets the leader for its launcher."""
    plugins = Plugins.instance()
    plugins.instantiate_launcher = lambda *_, **__: leader  # type: ignore[method-assign]
    try:
        yield
    finally:
        del plugins.instantiate_launcher


# ---- who leads it ---------------------------------------------------------------------------------------


class Leader(HydraLauncher):
    """To the sweeper a launcher; plans its jobs, has them checked, and hands their directories to the real one."""

    def __init__(self, directory: SweepDirectory, composer: Composer, settings: Settings) -> None:
        self.directory, self.composer, self.settings = directory, composer, settings
        self.launcher: Launcher = Basic()
        self.stop = Stop()
        self.dry_run = self.refuses_identical = False
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
            Stopped: no further batch may start.
        """
        jobs = self.compose(job_overrides)
        self.check(jobs)
        if self.dry_run:
            print_jobs(jobs)
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

    def write_down(self, jobs: Sequence[Job]) -> None:
        self.trusted += to_allow([job.config for job in jobs])
        self.directory.add(jobs, self._command, self.directory.facts.get("config_dirs", []))

    def execute(self, jobs: Sequence[Job], before: Sequence[str] = ()) -> list[JobReturn]:
        """Executes jobs that are written down.

        Args:
            jobs: that are to be executed.
            before: the names of those that are done.

        Returns:
            The monitored score of each.
        """
        self.settings.resume = self.resume
        done = [self.directory.run(name) for name in before]
        with self.stop.working(), Watch(self.directory.path, len(jobs), done, self.launcher.is_heard) as watch:
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


def print_jobs(jobs: Sequence[Job]) -> None:
    """The jobs of a sweep that is only looked at: the first and the last, where there are many."""
    out = console()
    number = f"{len(jobs):,} jobs" if len(jobs) > 1 else "1 job"
    out.print(f"{number}, checked; none is started (sweep.dry_run=true):", markup=False)
    first = jobs if len(jobs) <= SHOWN else jobs[: SHOWN - 3]
    for job in first:
        out.print(f"  {job.name}", markup=False)
    if len(jobs) > SHOWN:
        out.print(f"  … {len(jobs) - len(first) - 2:,} more …", markup=False)
        for job in jobs[-2:]:
            out.print(f"  {job.name}", markup=False)
        for key, values in _varied(jobs).items():
            shown = values if len(values) <= SHOWN_VALUES else [*values[: SHOWN_VALUES - 2], "…", values[-1]]
            count = f" ({len(values):,} values)" if len(values) > SHOWN_VALUES else ""
            out.print(f"{key}: {', '.join(shown)}{count}", markup=False, soft_wrap=True)


def _varied(jobs: Sequence[Job]) -> dict[str, list[str]]:
    """The keys in which jobs differ, and the values that each takes."""
    values: dict[str, dict[str, None]] = {}
    for job in jobs:
        for override in job.overrides:
            key, _, value = override.partition("=")
            values.setdefault(key, {})[value] = None
    return {key: list(each) for key, each in values.items() if len(each) > 1}


# ---- a sweep that there is ------------------------------------------------------------------------------


def resume_sweep(path: str, overrides: Sequence[str], allow: Sequence[str] | None, force: bool) -> int:
    """Does what is left to do in a sweep, and the jobs that further overrides add to it.

    Args:
        path: of the sweep.
        overrides: ``seed=range(5,10)`` adds what the sweep's own overrides say
            with this in place of theirs; ``hydra/launcher=…`` and ``sweep.…``
            are of how it goes on.
        allow: see :func:`rnnlab.runs.build.build`, and :mod:`rnnlab.commands.trust` for what else of the sweep's files
            can be trusted; ``None`` where its command was typed just now.
        force: go on though code or configs are others than at the start.

    Returns:
        The exit status, as of :func:`sweep`.

    Raises:
        InputError: it is no sweep, somebody works at it, it is another one by now, or an override cannot work.
    """
    directory = SweepDirectory.open(path)
    facts = directory.facts
    hydra: Hydra | None = None
    try:
        config_dir, _ = check_configs(facts, allow, directory.path)
        with directory.lead():
            hydra = create_hydra(config_dir)
            return _resume(directory, hydra, facts, list(overrides), allow, force)
    except COMPOSITION_ERRORS as error:
        raise explain(error, hydra, overrides) from None


def _resume(
    directory: SweepDirectory,
    hydra: Hydra,
    facts: Facts,
    overrides: list[str],
    allow: Sequence[str] | None,
    force: bool,
) -> int:
    parse = OverridesParser.create(hydra.config_loader).parse_overrides
    before, new = (parse(read(hydra, each)) for each in (facts["overrides"], overrides))
    target = str(facts.get("sweeper", BASIC_SWEEPER))
    is_search = "search" in facts or target.startswith("rnnlab.search.")
    kept = (*KEPT_FOR_RESUME, *OF_SEARCH) if is_search else KEPT_FOR_RESUME
    replaced = {each.key_or_group for each in new}
    of_ledger = [each for each in before if each.key_or_group.startswith(kept)]
    if is_search:  # a choice such as sweep=NAME says what is searched
        of_ledger += [e for e in before if not e.is_hydra_override() and not _is_of_sweep(e)
                      and not e.is_sweep_override()]  # fmt: skip
    of_ledger = [  # a resume waits
        each for each in of_ledger if each.key_or_group not in (*replaced, "hydra.launcher.wait")
    ]
    check_overrides(of_ledger, hydra.config_loader, allow)
    around = [str(each.input_line) for each in of_ledger]
    around += [str(each.input_line) for each in new if each.is_hydra_override() or _is_of_sweep(each)]
    extension = [each for each in new if not each.is_hydra_override() and not _is_of_sweep(each)]
    if is_search and extension:
        raise InputError(
            f"{extension[0].input_line}: a search goes on over the space that it began with; "
            "hydra.sweeper.n_trials=… gives it a larger budget, another space takes another search"
        )
    varied = list(dict.fromkeys([*facts["varied"], *varied_keys(new), *(e.get_key_element() for e in extension)]))
    _, name = check_configs(facts, allow, directory.path)
    around.append(f"hydra.sweep.dir='{directory.path}'")
    config = hydra.compose_config(name, around, RunMode.MULTIRUN, with_log_configuration=True)
    with read_write(config), open_dict(config):
        config.hydra.mode = RunMode.MULTIRUN
    HydraConfig.instance().set_config(config)
    node = OmegaConf.to_container(config.hydra, resolve=False)
    assert isinstance(node, dict)
    check_options(of_ledger, {str(name): value for name, value in node.items()}, allow)
    settings = settings_of(config)
    settings.allow = None if allow is None else list(allow)
    searcher = _searcher(config, allow) if is_search else None
    launcher = our_launcher(config.hydra.launcher, allow)
    if launcher is not None:
        launcher.preload = searcher.preload if searcher is not None else ()
        launcher.begin()
    leader = Leader(directory, Composer(hydra.config_loader, config, varied), settings)
    leader.launcher = launcher or _plugin(hydra, config, settings.allow)
    if allow is None:
        leader.trusted += to_resume(facts, of_ledger, {str(name): value for name, value in node.items()})
    if searcher is not None:
        return _resume_search(leader, searcher, hydra, config, parse, before, new, force)
    if target != BASIC_SWEEPER and (extension or not directory.plan):
        raise InputError(
            f"{shown_path(directory.path)}: only its sweeper, {target}, knows further jobs: resume completes those "
            f"that are planned ({len(directory.plan)}), and more take a new sweep"
        )

    typed = {each.get_key_element(): each for each in before if not each.is_hydra_override() and not _is_of_sweep(each)}
    if not directory.plan:  # it was killed before its jobs were written down
        check_number(list(typed.values()), settings.most)
        jobs = leader.compose(BasicSweeper.split_arguments(list(typed.values()), None)[0])
        leader.check(jobs)
        leader.write_down(jobs)
    left, changed = _left(leader)
    added: list[Job] = []
    if extension:
        typed |= {each.get_key_element(): each for each in extension}
        check_number(list(typed.values()), settings.most)
        further = leader.compose(BasicSweeper.split_arguments(list(typed.values()), None)[0])
        added = _renumbered(further, directory.plan, leader.composer)
    if not left and not added:
        print(f"{shown_path(directory.path)} is done, all {len(directory.plan)} jobs: there is nothing to go on with")
        return 0
    _refuse_another_sweep(directory, facts, changed, force)
    if launcher is None or launcher.adopts != "slurm":
        for job in left:
            refuse_what_is_there(directory.run(job.name))
    leader.check([*left, *added])
    if launcher is None or launcher.adopts != "slurm":
        for job in left:
            forget(directory.run(job.name))
    if added:
        leader.write_down(added)
        extended = [*facts.get("extended", []), [str(each.input_line) for each in extension]]
        directory.update_facts(varied=varied, extended=extended)
    names = {job.name for job in (*left, *added)}
    done = [each["directory"] for each in directory.plan if each["directory"] not in names]
    print(f"{shown_path(directory.path)}: {len(done)} done, {len(left)} to go on with, {len(added)} added")
    with leader.stop.installed():
        _wait_for_the_orphaned(leader, left)
        leader.execute([*left, *added], done)
    return leader.conclude()


def _resume_search(
    leader: Leader,
    searcher: "Searcher",
    hydra: Hydra,
    config: DictConfig,
    parse: Callable[[list[str]], list[Override]],
    before: Sequence[Override],
    new: Sequence[Override],
    force: bool,
) -> int:
    """Goes on with a search until its budget is spent, interrupted and failed trials first."""
    from rnnlab.commands.search import Search

    directory = leader.directory
    search_plan = _plan_of_search(parse, config, before, leader.settings.most)
    leader.composer.varied = search_plan.varied
    search = Search(leader, searcher, search_plan, hydra)
    search.check()
    left, changed = _left(leader)
    _refuse_another_sweep(directory, directory.facts, changed, force)
    names = {job.name for job in left}
    done = [each["directory"] for each in directory.plan if each["directory"] not in names]
    print(f"{shown_path(directory.path)}: {len(done)} done, {len(left)} to go on with")
    search.describe()
    with leader.stop.installed():
        _wait_for_the_orphaned(leader, left)
        search.open(left)
        of_search = [each for each in new if each.key_or_group.startswith(OF_SEARCH)]
        if of_search:  # a larger budget is the search's from now on
            keys = {each.get_key_element() for each in of_search}
            others = [str(each.input_line) for each in before if each.get_key_element() not in keys]
            directory.update_facts(overrides=[*others, *(str(each.input_line) for each in of_search)])
        directory.update_facts(search=search.facts())
        search.go(done)
    return leader.conclude()


def _plugin(hydra: Hydra, config: DictConfig, allow: Sequence[str] | None) -> Plugin:
    from rnnlab.commands.train import job

    context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
    task = functools.partial(job, allow=allow)
    return Plugin(Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config))


def _left(leader: Leader) -> tuple[list[Job], list[str]]:
    """The jobs that are not done, and what in their configs is not as it was."""
    directory = leader.directory
    left, changed = [], []
    for entry in directory.plan:
        run = directory.run(entry["directory"])
        stored: dict[str, Any] | None = None
        choices: dict[str, Any] = {}
        with contextlib.suppress(InputError, OSError, KeyError):
            status = run.status
            if status.state == "done" and run.metrics:
                continue
            choices = dict(status.choices)
            stored = run.config
            if status.pruning and "trial" not in entry:
                run.update_status(pruning=None)  # nobody knows whose study this is
        try:
            parsed = [leader.composer.parse(each) for each in entry["overrides"]]
            check_overrides(parsed, leader.composer.loader, leader.settings.allow)
            # how it is launched is the sweep's, and what else is Hydra's nobody asks a job
            overrides = tuple(str(each.input_line) for each in parsed if not each.is_hydra_override())
            job = leader.composer.compose(entry["number"], overrides)
        except COMPOSITION_ERRORS as error:
            if stored is None:
                raise
            changed.append(f"{entry['directory']} cannot be composed any more ({one_line(error)})")
            job = Job(entry["number"], entry["directory"], (), stored)
        trial = entry.get("trial")
        if stored is not None:
            changed += differing(stored, job.config)
        elif job.digest != entry["digest"]:
            changed.append(f"the config of {entry['directory']}")
        # what it was started with is what it goes on with
        config = job.config if stored is None else stored
        left.append(Job(job.number, entry["directory"], job.overrides, config, choices or job.choices, trial))
    directory.mend(left, command_line(), directory.facts.get("config_dirs", []))
    return left, changed


def _renumbered(jobs: Sequence[Job], plan: Sequence[Entry], composer: Composer) -> list[Job]:
    """The jobs that the sweep does not have yet, numbered without gaps."""
    known = {each["digest"] for each in plan}
    first = 1 + max(each["number"] for each in plan)
    new = [job for job in jobs if job.digest not in known]
    return [composer.compose(number, job.overrides) for number, job in enumerate(new, first)]


def _refuse_another_sweep(directory: SweepDirectory, facts: Facts, changed: Sequence[str], force: bool) -> None:
    """Raises InputError where code, versions or configs are others than when the sweep started, and says which."""
    code, versions = code_digests(), provenance()["versions"]
    before = facts.get("code", {})
    files = [name for name in dict.fromkeys((*code, *before)) if code.get(name) != before.get(name)]
    what = [
        *dict.fromkeys(changed),
        *(f"rnnlab/{name} is another" for name in files),
        *differing(facts.get("versions", {}), versions),
    ]
    if not what:
        return
    said = "; ".join(what[:3]) + (f"; and {len(what) - 3} more" if len(what) > 3 else "")
    if not force:
        raise InputError(
            f"{shown_path(directory.path)} is not the same sweep any more: {said}; "
            "with --force it goes on all the same, its jobs with the configs that they were planned with"
        )
    print(f"forced: {said}")
    directory.update_facts(code=code, versions=versions, forced=[*facts.get("forced", []), *what])


def _wait_for_the_orphaned(leader: Leader, jobs: Sequence[Job]) -> None:
    """Jobs outlive a leader that was killed for the moment in which they write their checkpoints."""
    for job in jobs:
        run = leader.directory.run(job.name)
        if submission(run.status) is not None:
            continue  # its launcher waits for it
        if run.is_alive:
            print(f"waiting for {visible(job.name)} (process {run.status.pid}) to write its checkpoint")
        while run.is_alive and not leader.stop.asked:
            time.sleep(0.1)
