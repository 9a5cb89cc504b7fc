"""New sweeps: ``rnnlab train -m …``, a grid, a search, or whatever a sweeper of Hydra's proposes."""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import islice

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, read_write

from rnnlab.commands import hydra_internals
from rnnlab.commands.composition import COMPOSITION_ERRORS, Composer
from rnnlab.commands.engine import (
    KEPT_FOR_RESUME,
    OF_SEARCH,
    Leader,
    Stopped,
    check_number,
    grid,
    is_of_sweep,
    of_jobs,
    our_launcher,
    settings_of,
    varied_keys,
)
from rnnlab.commands.hydra_internals import BASIC_SWEEPER, ROOT, Hydra
from rnnlab.commands.resumption import resume_sweep
from rnnlab.commands.search import Search, our_searcher
from rnnlab.commands.search_plan import SearchPlan, plan_of
from rnnlab.commands.sweep_settings import checked, place
from rnnlab.commands.trust import to_resume
from rnnlab.errors import InputError, Interrupted, RunFailed
from rnnlab.instruments.console import console
from rnnlab.launch.plugin import Plugin, execute_composed
from rnnlab.runs.sweep import MULTIRUN, Job, SweepDirectory, is_sweep
from rnnlab.search.searcher import Searcher
from rnnlab.shell import command_line
from rnnlab.store.ledger import Facts

SHOWN = 20
"""Jobs of a dry run that are listed one by one."""
SHOWN_VALUES = 8


def sweep(hydra: Hydra, config: DictConfig, overrides: Sequence[str]) -> int:
    """Many runs under one directory, and the table that compares them.

    Args:
        hydra: that composed the config.
        config: of the sweep.
        overrides: as typed.

    Returns:
        The exit status: 0, or 1 where a job failed, or 128 + the signal that stopped it.

    Raises:
        InputError: the sweep cannot work; nothing was started and nothing is left of it.
        HydraException: its configs cannot be composed; nothing was started either.
    """
    path = place(config, "hydra.sweep.dir")
    chosen = any(override.startswith("hydra.sweep.dir=") for override in overrides)
    directories = [source.path for source in config.hydra.runtime.config_sources if source.provider == "command-line"]
    searcher = our_searcher(config.hydra.sweeper)
    is_grid = str(config.hydra.sweeper.get("_target_")) == BASIC_SWEEPER
    params = config.hydra.sweeper.get("params") or {} if is_grid else {}
    of_sweeper = [f"{key}={value}" for key, value in params.items()]
    typed = [*of_sweeper, *overrides]
    parsed = hydra_internals.parse(hydra, typed)
    settings = settings_of(config)
    search_plan = None
    if searcher is not None:
        if chosen and is_sweep(path):
            before = SweepDirectory.open(path).facts
            its_own = (before["overrides"], before.get("config_dirs", []), before.get("config_name", ROOT))
            if its_own == (typed, directories, str(config.hydra.job.config_name)):
                return resume_sweep(path, [], None, force=False)  # the same command goes on with the same search
        search_plan = plan_of(hydra, config, parsed, settings.most)
        varied = search_plan.varied
    else:
        varied = varied_keys(parsed)
        check_number(parsed, settings.most)
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
    directory = SweepDirectory.claim(path, facts, chosen)
    with read_write(config.hydra):
        config.hydra.sweep.dir = str(directory.path)
        # each job composes its config anew from these overrides
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{directory.path}'")
    HydraConfig.instance().set_config(config)
    callbacks = hydra_internals.callbacks(config)
    try:
        with directory.lead():
            leader = Leader(directory, Composer(hydra.config_loader, config, varied), settings, launcher)
            leader.dry_run = bool(checked(config).get("dry_run", False))
            kept = (*KEPT_FOR_RESUME, *OF_SEARCH) if searcher is not None else KEPT_FOR_RESUME
            of_resume = [override for override in parsed if override.key_or_group.startswith(kept)]
            leader.trusted += to_resume(facts, of_resume, hydra_internals.without_interpolation(config.hydra))
            if launcher is None:
                with _refused_as("hydra.launcher"):
                    leader.launcher = Plugin(hydra_internals.make_launcher(hydra, config, execute_composed, callbacks))
            if searcher is not None and search_plan is not None:
                return _search(leader, searcher, search_plan, hydra)
            if not is_grid and leader.launcher.leaves:
                raise InputError("hydra.launcher.wait=false: this sweeper chooses jobs by the scores of those before")
            callbacks.on_multirun_start(config=config, config_name=ROOT)
            with leader.stop.installed(), contextlib.suppress(Stopped):
                if is_grid:
                    _grid(leader, grid(of_jobs(parsed)), config)
                else:
                    typed_for_jobs = [str(override.input_line) for override in parsed if not is_of_sweep(override)]
                    with _refused_as("hydra.sweeper"):
                        sweeper = hydra_internals.make_sweeper(hydra, config, execute_composed, leader, callbacks)
                    sweeper.sweep(arguments=typed_for_jobs)
            callbacks.on_multirun_end(config=config, config_name=ROOT)
            if not leader.dry_run:
                return leader.conclude()
            print_jobs(leader.looked_at)
    except (InputError, RunFailed, Interrupted, KeyboardInterrupt, *COMPOSITION_ERRORS):
        directory.remove_if_unused()
        raise
    directory.remove_if_unused()
    return 0


def _grid(leader: Leader, jobs: Iterator[list[str]], config: DictConfig) -> None:
    """A new grid: all its jobs at once, or so many at a time (``hydra.sweeper.max_batch_size``)."""
    OmegaConf.save(config, leader.directory.path / MULTIRUN)
    leader.refuses_identical = True
    while batch := list(islice(jobs, config.hydra.sweeper.get("max_batch_size"))):
        leader.launch(batch, initial_job_idx=0)


def _search(leader: Leader, searcher: Searcher, search_plan: SearchPlan, hydra: Hydra) -> int:
    """A new search, from its checks to its leaderboard."""
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


@contextlib.contextmanager
def _refused_as(key: str) -> Iterator[None]:
    """A plugin that Hydra can't make in the block is said in one line."""
    try:
        yield
    except (HydraException, RuntimeError, TypeError, ValueError, ImportError, AttributeError) as error:
        raise InputError(f"{key}: {error}") from error


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
