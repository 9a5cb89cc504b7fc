"""Searches: ``rnnlab train -m hydra/sweeper=random|optuna …``.

A searcher proposes settings, and each becomes jobs of the sweep like any
other: written down, executed by whatever launcher, resumed. What a search may
set is said in Hydra's own notation, on the command line or in yaml::

    hydra:
      sweeper:
        params:
          model: choice(rnn, lstm)
          optimizer.lr: interval(1e-4, 1e-1)     # logarithmic, as its ends are far apart
        when:
          model=lstm:
            model.num_layers: range(1, 4)        # 1, 2, 3
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Sweep
from omegaconf import DictConfig, OmegaConf

from rnnlab.commands.composition import COMPOSITION_ERRORS, explain
from rnnlab.commands.sweep import Leader
from rnnlab.errors import InputError, nearest
from rnnlab.instruments.console import console
from rnnlab.launch.launcher import LaunchedJob
from rnnlab.launch.watch import Watch
from rnnlab.runs.build import TARGET, build
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.sweep import JOBS, Job, TrialEntry
from rnnlab.search.searcher import Ending, Objective, Searcher
from rnnlab.search.space import (
    SPAN_FOR_LOG,
    Choice,
    Condition,
    Distribution,
    Interval,
    Parameter,
    Range,
    Space,
    named,
    written,
)

OURS = "rnnlab.search."
SPACE_KEYS = ("params", "when")
TAGS = ("log", "linear")
SHOWN = 10  # trials of a dry run
Parse = Callable[[list[str]], list[Override]]


def our_searcher(node: DictConfig, allow: Sequence[str] | None = None) -> Searcher | None:
    """The searcher that a config names; ``None`` where it is a sweeper of Hydra's.

    Raises:
        InputError: its options cannot work, or what it needs is not installed.
    """
    values = OmegaConf.to_container(node, resolve=True)
    assert isinstance(values, dict)
    if not str(values.get(TARGET)).startswith(OURS):
        return None
    options = {str(name): value for name, value in values.items() if name not in SPACE_KEYS}
    made = build(options, "hydra.sweeper", allow)
    if not isinstance(made, Searcher):
        raise InputError(f"hydra.sweeper._target_={values[TARGET]}: it is no rnnlab.search.searcher.Searcher")
    return made


# ---- what may be set ------------------------------------------------------------------------------------


@dataclass
class Plan:
    """What a search is to do.

    Attributes:
        space: of the settings.
        common: overrides of every job.
        seeds: for each of which a trial is run; ``None`` where the config's own will do.
    """

    space: Space
    common: list[str]
    seeds: list[str | None]

    @property
    def varied(self) -> list[str]:
        """Keys in which jobs differ."""
        keys = dict.fromkeys(parameter.key for parameter in self.space.parameters)
        return [*keys, *(["seed"] if len(self.seeds) > 1 else [])]


def plan(parse: Parse, sweeper: Mapping[str, Any], typed: Sequence[Override]) -> Plan:
    """Reads a search from its config and the command line, whose keys replace the config's.

    Args:
        parse: Hydra's parser.
        sweeper: ``params`` and ``when`` of the config.
        typed: overrides of the jobs.

    Raises:
        InputError: a key has nothing to choose from, or a condition can never hold.
    """
    fixed = [each for each in typed if not each.is_sweep_override()]
    swept = {each.get_key_element(): each for each in typed if each.is_sweep_override()}
    replaced = {each.get_key_element().lstrip("+~") for each in typed}
    params = _mapping(sweeper.get("params"), "params")
    from_yaml = {each.get_key_element(): each for each in parse([_override(k, v) for k, v in params.items()])}
    from_yaml = {key: each for key, each in from_yaml.items() if key not in replaced or key in swept}
    ordered = {**from_yaml, **swept}
    parameters, seeds = [], list[str | None]([None])
    for key, override in ordered.items():
        if key == "seed":
            seeds = _options(override)
        elif override.is_sweep_override():
            parameters.append(Parameter(key, _distribution(override)))
        else:
            fixed.insert(0, override)
    for condition, keys in _mapping(sweeper.get("when"), "when").items():
        where = _conditions(parse, condition)
        for override in parse([_override(k, v) for k, v in _mapping(keys, f"when.{condition}").items()]):
            if override.get_key_element() == "seed":
                raise InputError(f"hydra.sweeper.when: {condition}: seed repeats a trial and is no part of it")
            if override.get_key_element() not in replaced:
                parameters.append(Parameter(override.get_key_element(), _distribution(override), where))
    known = {each.get_key_element(): str(each.get_value_element_as_str()) for each in fixed if each.value() is not None}
    common = [str(each.input_line) for each in fixed]
    if not parameters:
        raise InputError(
            "a search needs something to search: 'optimizer.lr=interval(1e-4,1e-1)' model=gru,lstm, "
            "or hydra.sweeper.params"
        )
    return Plan(Space(named(parameters), known), common, seeds)


def _mapping(node: Any, key: str) -> dict[str, Any]:
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        raise InputError(f"hydra.sweeper.{key}={node}: must be a mapping of keys to what they may be")
    return {str(name): value for name, value in node.items()}


def _override(key: str, value: Any) -> str:
    if isinstance(value, list):
        return f"{key}=choice({','.join(_text(each) for each in value)})"
    return f"{key}={_text(value)}"


def _text(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _conditions(parse: Parse, text: str) -> tuple[Condition, ...]:
    found = []
    for override in parse(text.split()):
        if override.is_sweep_override() and not override.is_choice_sweep():
            raise InputError(f"hydra.sweeper.when: {text}: write KEY=VALUE, or KEY=VALUE,VALUE for either")
        found.append(Condition(override.get_key_element(), tuple(str(each) for each in _options(override))))
    return tuple(found)


def _options(override: Override) -> list[str | None]:
    """All values of an override that counts them, or its one value, as written."""
    if override.is_interval_sweep():
        raise InputError(f"{override.input_line}: it has no end of values; write range(…) or choice(…)")
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    return list(dict.fromkeys(map(str, override.sweep_string_iterator())))


def _distribution(override: Override) -> Distribution:
    """What Hydra's notation says: ``choice``, ``a,b``, ``glob``, ``range``, ``interval``, with a ``tag``."""
    line, value = override.input_line, override.value()
    tags = value.tags if isinstance(value, Sweep) else set()
    for tag in sorted(tags):
        if tag not in TAGS:
            raise InputError(f"{line}: unknown tag '{tag}'{nearest(tag, TAGS)} (there are {', '.join(TAGS)})")
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None
        if not (math.isfinite(value.start) and math.isfinite(value.end)):
            raise InputError(f"{line}: its ends must be finite numbers")
        if not value.start < value.end:
            raise InputError(f"{line}: there is nothing in it: write interval(low,high)")
        if "log" in tags and value.start <= 0:
            raise InputError(f"{line}: a logarithm needs ends above 0")
        wide = value.start > 0 and value.end >= SPAN_FOR_LOG * value.start
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        return Interval(value.start, value.end, "log" in tags or (wide and "linear" not in tags), whole)
    options = [str(each) for each in _options(override)]
    if not options:
        raise InputError(f"{line}: there is nothing in it, so there is nothing to try")
    if isinstance(value, RangeSweep):
        numbers = sorted(int(each) if each.lstrip("-").isdigit() else float(each) for each in options)
        if "log" in tags and numbers[0] <= 0:
            raise InputError(f"{line}: a logarithm needs numbers above 0")
        return Range(tuple(numbers), "log" in tags)
    if "log" in tags:
        raise InputError(f"{line}: a choice has no logarithm: write interval(…) or range(…)")
    return Choice(tuple(options))


# ---- the search -----------------------------------------------------------------------------------------


@dataclass
class Begun:
    """A trial that has jobs.

    Attributes:
        number: of the trial.
        settings: of it.
        planned: the seeds that have a job.
        ended: how those ended that have.
    """

    number: int
    settings: Mapping[str, str]
    planned: list[str | None] = field(default_factory=list)
    ended: dict[str | None, tuple[Ending, float | None]] = field(default_factory=dict)


class Search:
    """Turns trials into jobs and tells the searcher what became of them, as long as there is a budget.

    Where runs may be pruned, the first seed of a trial goes ahead, and decides whether the others follow.

    Args:
        leader: of the sweep.
        searcher: that proposes.
        plan: what it may propose.
        hydra: that composed the sweep's config, for what it says of mistakes.
    """

    def __init__(self, leader: Leader, searcher: Searcher, plan: Plan, hydra: Hydra) -> None:
        self.leader, self.searcher, self.plan, self.hydra = leader, searcher, plan, hydra
        self.begun: dict[int, Begun] = {}
        self.waiting: deque[Job] = deque()
        self.flying: dict[str, Job] = {}
        self.watch: Watch | None = None

    # ---- before the first job -------------------------------------------------------------------

    def check(self) -> None:
        """Composes and checks settings in which every choice and every end of a range occurs.

        Raises:
            InputError: one of them cannot work, or the searcher cannot search this space.
        """
        leader, seeds = self.leader, self.plan.seeds
        self.searcher.check(self.plan.space)
        probes = self.plan.space.probes()
        jobs, refused = [], list[tuple[dict[str, str], Exception]]()
        for number, settings in enumerate(probes):
            overrides = self.overrides(settings, seeds[number % len(seeds)])
            try:
                jobs.append(leader.composer.compose(number, overrides))
            except COMPOSITION_ERRORS as error:
                refused.append((settings, error))
        if refused:
            settings, first = refused[0]
            said = explain(first, self.hydra, self.overrides(settings, None))
            if not jobs:
                raise said
            those = " ".join(f"{key}={value}" for key, value in settings.items())
            raise InputError(f"{said}; it fits other jobs, but not {those}: hydra.sweeper.when can tell them apart")
        wanted = (self.searcher.n_trials or len(jobs)) * len(seeds)
        if wanted > leader.settings.most:
            each = f" with {len(seeds)} seeds each" if len(seeds) > 1 else ""
            raise InputError(
                f"hydra.sweeper.n_trials={self.searcher.n_trials}{each}: {wanted:,} jobs, and "
                f"sweep.max_jobs={leader.settings.most} is the most: give a larger one"
            )
        leader.settings.total = wanted
        try:
            leader.launcher.check(leader.launched(jobs), leader.settings)
        except InputError as error:
            for parameter in self.plan.space.parameters:
                values = parameter.values
                if isinstance(values, Interval) and not values.whole and f"{parameter.key}=" in str(error):
                    typed = f"interval({written(values.low)},{written(values.high)})"
                    raise InputError(
                        f"{error}; {parameter.key}={typed} draws fractions: int({typed}) whole numbers"
                    ) from None
            raise
        self.monitor = str(jobs[0].config["monitor"])
        common = {key: value for key, value in self.plan.space.fixed.items() if key != "seed"}
        self.objective = Objective(
            self.monitor, str(jobs[0].config["mode"]), int(jobs[0].config["trainer"].get("max_epochs") or 1), common
        )

    def overrides(self, settings: Mapping[str, str], seed: str | None) -> list[str]:
        """All overrides of a job."""
        own = [f"{key}={value}" for key, value in settings.items()]
        return [*self.plan.common, *own, *([] if seed is None else [f"seed={seed}"])]

    def describe(self) -> None:
        """Says what is searched, and how."""
        out, searcher = console(), self.searcher
        how = getattr(searcher, "sampler", "random")
        budget = [] if searcher.n_trials is None else [f"{searcher.n_trials} trials"]
        budget += [] if searcher.timeout is None else [f"{searcher.timeout:g} s"]
        seeds = f", {len(self.plan.seeds)} seeds each" if len(self.plan.seeds) > 1 else ""
        pruner = f", pruned by {searcher.pruner}" if searcher.prunes else ""  # type: ignore[attr-defined]
        out.print(f"search ({how}): {' or '.join(budget)}{seeds}{pruner}, over", markup=False)
        for line in self.plan.space.description():
            out.print(f"  {line}", markup=False, soft_wrap=True)

    # ---- the trials -----------------------------------------------------------------------------

    def open(self, left: Sequence[Job] = ()) -> None:
        """Begins the search, or goes on with it.

        Args:
            left: jobs of the ledger that are not done.

        Raises:
            InputError: its study is of another search.
        """
        directory = self.leader.directory
        entries = [entry for entry in directory.plan if "trial" in entry]
        for entry in entries:
            trial = entry["trial"]
            begun = self.begun.setdefault(trial["number"], Begun(trial["number"], trial["settings"]))
            begun.planned.append(trial["seed"])
        if len(entries) < len(directory.plan):
            raise InputError(f"{directory.path / JOBS} is damaged: a job of a search belongs to no trial")
        self.searcher.open(
            self.plan.space, self.objective, directory.path, {n: begun.settings for n, begun in self.begun.items()}
        )
        names = {job.name for job in left}
        for entry in entries:
            run, trial = directory.run(entry["directory"]), entry["trial"]
            if entry["directory"] not in names:
                self.begun[trial["number"]].ended[trial["seed"]] = self._ending(run)
            else:
                self.searcher.again(trial["number"])
        for begun in self.begun.values():
            self._settle(begun)
        self.waiting.extendleft(reversed(left))

    def go(self, before: Sequence[str] = ()) -> None:
        """Tries settings until the budget is spent or somebody stops it.

        Args:
            before: names of the jobs that are done.
        """
        leader, launcher = self.leader, self.leader.launcher
        done = [leader.directory.run(name) for name in before]
        total = (self.searcher.n_trials or 0) * len(self.plan.seeds)
        try:
            leader.settings.further = self.further
            left = max(total - len(done), 0)
            with leader.stop.working(), _Watch(self, leader.directory.path, left, done, launcher.is_heard) as watch:
                self.watch = watch
                while not leader.stop.asked and (more := self.further(self._most(launcher.parallel))):
                    launcher.run(more, leader.settings, leader.stop, watch)
            if not leader.directory.plan and not leader.stop.asked:
                leader.found_nothing(self.searcher.exhausted())
        finally:
            self.searcher.close()

    def _most(self, parallel: int) -> int:
        return parallel if self.searcher.n_jobs == "auto" else self.searcher.n_jobs

    def further(self, room: int) -> list[LaunchedJob]:
        """Jobs that may begin now, at most so many."""
        if self.searcher.n_jobs != "auto":
            room = min(room, self.searcher.n_jobs - len(self.flying))
        return self.leader.launched(self._take(max(0, room)))

    def _take(self, room: int) -> list[Job]:
        jobs: list[Job] = []
        while len(jobs) < room:
            if not self.waiting and not self._propose():
                break
            job = self.waiting.popleft()
            run, trial = self.leader.directory.run(job.name), job.trial
            assert trial is not None
            # the first seed decides for the others, which are not asked any more
            first = trial["seed"] == self.plan.seeds[0]
            facts = self.searcher.pruning(trial["number"], run.path) if first else {}
            if facts or run.status.pruning:
                run.update_status(pruning=facts)
            self.flying[job.name] = job
            jobs.append(job)
        if self.watch is not None:
            done = self.watch.states.total()
            self.watch.total = max(self.watch.total, done + len(self.flying))
        return jobs

    def _propose(self) -> bool:
        """Writes the jobs of a further trial down; false where there is none."""
        trial = self.searcher.ask()
        if trial is None:
            return False
        begun = self.begun[trial.number] = Begun(trial.number, trial.settings)
        self._write_down(begun, self.plan.seeds[:1] if self.searcher.prunes else self.plan.seeds)
        return True

    def _write_down(self, begun: Begun, seeds: Sequence[str | None]) -> None:
        composed = self.leader.compose([self.overrides(begun.settings, seed) for seed in seeds])
        jobs = [
            replace(job, trial=TrialEntry(number=begun.number, settings=dict(begun.settings), seed=seed))
            for job, seed in zip(composed, seeds, strict=True)
        ]
        self.leader.write_down(jobs)
        begun.planned.extend(seeds)
        self.waiting.extend(jobs)

    def ended(self, name: str) -> None:
        """A job has ended, and its directory says how."""
        job = self.flying.pop(name)
        run = self.leader.directory.run(name)
        if run.status.state not in ("done", "failed"):
            return  # it was stopped, and goes on when the search does
        assert job.trial is not None
        begun = self.begun[job.trial["number"]]
        begun.ended[job.trial["seed"]] = self._ending(run)
        self._settle(begun)

    def _ending(self, run: RunDirectory) -> tuple[Ending, float | None]:
        status = run.status
        if status.state != "done":
            return "failed", None
        if status.pruned:
            return "pruned", None
        score = float(run.metrics.get(self.monitor, math.nan))
        return ("done", score) if math.isfinite(score) else ("failed", None)

    def _settle(self, begun: Begun) -> None:
        """Tells how a trial ended, once all its seeds have, or lets its other seeds follow."""
        if any(seed not in begun.ended for seed in begun.planned):
            return
        endings = [ending for ending, _ in begun.ended.values()]
        missing = [seed for seed in self.plan.seeds if seed not in begun.planned]
        if missing and set(endings) == {"done"}:
            self._write_down(begun, missing)
            return
        if missing and self.watch is not None:
            self.watch.total -= len(missing)
        worst: Ending = "failed" if "failed" in endings else "pruned" if "pruned" in endings else "done"
        scores = [score for _, score in begun.ended.values() if score is not None]
        self.searcher.tell(begun.number, worst, sum(scores) / len(scores) if worst == "done" else None)

    # ---- for the report -------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """What ``sweep.json`` says of the search."""
        place = getattr(self.searcher, "storage", None)
        if place is not None:
            self.leader.studies.append(str(_absolute(place)))
        return {
            "searcher": type(self.searcher).__name__,
            "space": self.plan.space.signature(),
            "seeds": self.plan.seeds,
            **({"study": self.searcher.study_name, "storage": _absolute(place)} if hasattr(self.searcher, "study_name")
               else {}),
        }  # fmt: skip

    def print_trials(self) -> None:
        """The search, only looked at."""
        from rnnlab.search.random_search import RandomSearch

        out = console()
        self.describe()
        if isinstance(self.searcher, RandomSearch):
            drawn = self.searcher.draws(self.plan.space)
            trials = [each for _, each in zip(range(self.searcher.n_trials or SHOWN), drawn, strict=False)]
            for number, settings in enumerate(trials[:SHOWN]):
                out.print(f"  trial {number}: {' '.join(f'{k}={v}' for k, v in settings.items())}", markup=False)
            if len(trials) > SHOWN:
                out.print(f"  … and {len(trials) - SHOWN} more")
        out.print("checked; nothing is started (sweep.dry_run=true)")


def _absolute(place: str | None) -> str | None:
    return place if place is None or "://" in place else str(Path(place).expanduser().absolute())


class _Watch(Watch):
    """Tells the search what has ended, too."""

    def __init__(self, search: Search, path: Path, total: int, before: Sequence[RunDirectory], quiet: bool) -> None:
        super().__init__(path, total, before, quiet)
        self.search = search

    def ended(self, name: str) -> None:
        super().ended(name)
        self.search.ended(name)
