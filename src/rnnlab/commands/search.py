"""Searches: ``rnnlab train -m hydra/sweeper=random|optuna …``.

A searcher proposes settings, and each becomes jobs of the sweep like any
other: written down, executed by whatever launcher, resumed.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from rnnlab.commands import hydra_internals
from rnnlab.commands.composition import COMPOSITION_ERRORS, explain
from rnnlab.commands.engine import Leader, check_chosen
from rnnlab.commands.hydra_internals import Hydra
from rnnlab.commands.search_plan import SearchPlan
from rnnlab.errors import InputError
from rnnlab.instruments.console import console
from rnnlab.launch.launcher import LaunchedJob
from rnnlab.launch.watch import Watch
from rnnlab.runs.build import build
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.schema import TARGET
from rnnlab.runs.sweep import Job
from rnnlab.search.searcher import Ending, Objective, Searcher
from rnnlab.search.space import Interval, written
from rnnlab.store.ledger import JOBS, TrialEntry

OURS = "rnnlab.search."
SPACE_KEYS = ("params", "when")
SHOWN = 10  # trials of a dry run


def our_searcher(node: Any, allow: Sequence[str] | None = None) -> Searcher | None:
    """The searcher that a config names; ``None`` where it is a sweeper of Hydra's.

    Raises:
        InputError: its options cannot work, or what it needs is not installed.
    """
    check_chosen(node, "sweeper", "random", "n_trials=20")
    values = hydra_internals.mapping(node)
    if not str(values.get(TARGET)).startswith(OURS):
        return None
    options = {str(name): value for name, value in values.items() if name not in SPACE_KEYS}
    made = build(options, "hydra.sweeper", allow)
    if not isinstance(made, Searcher):
        raise InputError(f"hydra.sweeper._target_={values[TARGET]}: it is no rnnlab.search.searcher.Searcher")
    return made


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

    def __init__(self, leader: Leader, searcher: Searcher, plan: SearchPlan, hydra: Hydra) -> None:
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
        budget = [] if searcher.n_trials is None else [f"{searcher.n_trials} trials"]
        budget += [] if searcher.timeout is None else [f"{searcher.timeout:g} s"]
        seeds = f", {len(self.plan.seeds)} seeds each" if len(self.plan.seeds) > 1 else ""
        pruner = f", pruned by {searcher.pruner}" if searcher.prunes else ""
        out.print(f"search ({searcher.sampler}): {' or '.join(budget)}{seeds}{pruner}, over", markup=False)
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
        study = self.searcher.facts()
        if study.get("storage"):
            self.leader.studies.append(str(study["storage"]))
        return {
            "searcher": type(self.searcher).__name__,
            "space": self.plan.space.signature(),
            "seeds": self.plan.seeds,
            **study,
        }

    def print_trials(self) -> None:
        """The search, only looked at."""
        out = console()
        self.describe()
        trials = list(islice(self.searcher.draws(self.plan.space), self.searcher.n_trials or SHOWN))
        for number, settings in enumerate(trials[:SHOWN]):
            out.print(f"  trial {number}: {' '.join(f'{k}={v}' for k, v in settings.items())}", markup=False)
        if len(trials) > SHOWN:
            out.print(f"  … and {len(trials) - SHOWN} more")
        out.print("checked; nothing is started (sweep.dry_run=true)")


class _Watch(Watch):
    """Tells the search what has ended, too."""

    def __init__(self, search: Search, path: Path, total: int, before: Sequence[RunDirectory], quiet: bool) -> None:
        super().__init__(path, total, before, quiet)
        self.search = search

    def ended(self, name: str) -> None:
        super().ended(name)
        self.search.ended(name)
