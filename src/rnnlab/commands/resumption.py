"""A sweep goes on: ``rnnlab resume SWEEP``, with what is left of its jobs and with those that overrides add."""

import contextlib
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict, read_write

from rnnlab.commands import hydra_internals
from rnnlab.commands.composition import COMPOSITION_ERRORS, Composer, create_hydra, explain, one_line
from rnnlab.commands.engine import (
    KEPT_FOR_RESUME,
    OF_SEARCH,
    Leader,
    check_number,
    grid,
    is_of_sweep,
    of_jobs,
    our_launcher,
    settings_of,
    varied_keys,
)
from rnnlab.commands.hydra_internals import BASIC_SWEEPER, Hydra
from rnnlab.commands.overrides import read
from rnnlab.commands.search import OURS, Search, our_searcher
from rnnlab.commands.search_plan import plan_of
from rnnlab.commands.trust import check_configs, check_options, check_overrides, to_resume
from rnnlab.errors import InputError, visible
from rnnlab.launch.plugin import Plugin, execute_composed
from rnnlab.runs.budget import KEYS
from rnnlab.runs.provenance import code_digests, provenance
from rnnlab.runs.slurm import forget, refuse_what_is_there, submission
from rnnlab.runs.sweep import Job, SweepDirectory
from rnnlab.search.searcher import Searcher
from rnnlab.shell import command_line, pasted, shown_path
from rnnlab.store.ledger import Entry, Facts


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
        The exit status, as of :func:`rnnlab.commands.sweep.sweep`.

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
    before, new = (hydra_internals.parse(hydra, read(hydra, typed)) for typed in (facts["overrides"], overrides))
    target = str(facts.get("sweeper", BASIC_SWEEPER))
    is_search = "search" in facts or target.startswith(OURS)
    kept = (*KEPT_FOR_RESUME, *OF_SEARCH) if is_search else KEPT_FOR_RESUME
    replaced = {each.key_or_group for each in new}
    of_ledger = [each for each in before if each.key_or_group.startswith(kept)]
    if is_search:  # a choice such as sweep=NAME says what is searched
        of_ledger += [override for override in of_jobs(before) if not override.is_sweep_override()]
    of_ledger = [  # a resume waits
        each for each in of_ledger if each.key_or_group not in (*replaced, "hydra.launcher.wait")
    ]
    check_overrides(of_ledger, hydra.config_loader, allow)
    around = [str(each.input_line) for each in of_ledger]
    around += [str(each.input_line) for each in new if each.is_hydra_override() or is_of_sweep(each)]
    extension = of_jobs(new)
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
    node = hydra_internals.without_interpolation(config.hydra)
    check_options(of_ledger, node, allow)
    settings = settings_of(config)
    settings.allow = None if allow is None else list(allow)
    searcher = our_searcher(config.hydra.sweeper, allow) if is_search else None
    launcher = our_launcher(config.hydra.launcher, allow)
    if launcher is not None:
        launcher.preload = searcher.preload if searcher is not None else ()
        launcher.begin()
    launcher = launcher or _plugin(hydra, config, settings.allow)
    leader = Leader(directory, Composer(hydra.config_loader, config, varied), settings, launcher)
    if allow is None:
        leader.trusted += to_resume(facts, of_ledger, node)
    if searcher is not None:
        return _resume_search(leader, searcher, hydra, config, before, new, force)
    if target != BASIC_SWEEPER and (extension or not directory.plan):
        raise InputError(
            f"{shown_path(directory.path)}: only its sweeper, {target}, knows further jobs: resume completes those "
            f"that are planned ({len(directory.plan)}), and more take a new sweep"
        )

    typed = of_jobs(before)
    if not directory.plan:  # it was killed before its jobs were written down
        check_number(typed, settings.most)
        jobs = leader.compose(list(grid(typed)))
        leader.check(jobs)
        leader.write_down(jobs)
    left, changed = _left(leader)
    added: list[Job] = []
    if extension:
        typed += extension
        check_number(typed, settings.most)
        further = leader.compose(list(grid(typed)))
        added = _renumbered(further, directory.plan, leader.composer)
    if not left and not added:
        print(f"{shown_path(directory.path)} is done, all {len(directory.plan)} jobs: there is nothing to go on with")
        return 0
    _refuse_another_sweep(directory, facts, changed, force)
    if launcher.adopts != "slurm":
        for job in left:
            refuse_what_is_there(directory.run(job.name))
    leader.check([*left, *added])
    if launcher.adopts != "slurm":
        for job in left:
            forget(directory.run(job.name))
    if added:
        leader.write_down(added)
        extended = [*facts.get("extended", []), [str(each.input_line) for each in extension]]
        directory.update_facts(varied=varied, extended=extended)
    names = {job.name for job in (*left, *added)}
    done = [each["directory"] for each in directory.plan if each["directory"] not in names]
    print(f"{shown_path(directory.path)}: {len(done)} done, {len(left)} to go on with, {len(added)} added")
    lengths = [
        str(each.input_line) for each in extension if each.get_key_element() in KEYS and not each.is_sweep_override()
    ]
    if added and lengths:
        longer = pasted("resume", directory.path / directory.plan[0]["directory"], *lengths)
        print(f"{' '.join(lengths)}: the jobs that are added train from the start; a run goes on by {longer}")
    with leader.stop.installed():
        _wait_for_the_orphaned(leader, left)
        leader.execute([*left, *added], done)
    return leader.conclude()


def _resume_search(
    leader: Leader,
    searcher: Searcher,
    hydra: Hydra,
    config: DictConfig,
    before: Sequence[Override],
    new: Sequence[Override],
    force: bool,
) -> int:
    """Goes on with a search until its budget is spent, interrupted and failed trials first."""
    directory = leader.directory
    search_plan = plan_of(hydra, config, before, leader.settings.most)
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
    task = functools.partial(execute_composed, allow=allow)
    return Plugin(hydra_internals.make_launcher(hydra, config, task, hydra_internals.callbacks(config)))


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


def differing(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Where two nested mappings differ, a phrase each: ``optimizer.lr was 0.01 and is 0.1``."""
    phrases = []
    for name in dict.fromkeys((*old, *new)):
        key = f"{prefix}.{name}" if prefix else str(name)
        if name not in old:
            phrases.append(f"{key} was not there and is {new[name]}")
        elif name not in new:
            phrases.append(f"{key} was {old[name]} and is gone")
        elif isinstance(old[name], Mapping) and isinstance(new[name], Mapping):
            phrases += differing(old[name], new[name], key)
        elif old[name] != new[name]:
            phrases.append(f"{key} was {old[name]} and is {new[name]}")
    return phrases


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
