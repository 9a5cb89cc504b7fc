"""Search by Optuna, asked and told; the study lies in a file, or a database, that several processes share.

T. Akiba, S. Sano, T. Yanase, T. Ohta & M. Koyama, "Optuna: a next-generation
hyperparameter optimization framework", KDD (2019).

The study knows each trial from the moment in which it is asked for; the
sweep's ledger knows the runs. Whoever is killed between the two, or between a
run's end and its telling, finds what is missing when the sweep is resumed.
"""

import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rnnlab.errors import InputError
from rnnlab.ranges import Name, PositiveFloat, PositiveInt
from rnnlab.search.searcher import Ending, Objective, Searcher, Seed, Trial
from rnnlab.search.space import Space
from rnnlab.search.study import (
    Heartbeat,
    absolute,
    alone,
    hold_against,
    make_pruner,
    make_sampler,
    need_optuna,
    quiet,
    storage_at,
    suggest,
    trial_id,
)

if TYPE_CHECKING:
    import optuna

FILE = "search.db"
SWEEP = "sweep"
"""Note on a trial: whose it is."""
RETRIED = "failed_trial"
"""Optuna's own note on a trial that repeats another one."""
BEYOND = "beyond"
"""Note on a trial that was asked for when the budget was spent, and never run."""
UNOWNED_SECONDS = 60.0
ALL = 2**31 - 1
MOST_IN_A_GRID = 10_000


class OptunaSearch(Searcher):
    """Trials that Optuna proposes, and perhaps ends before their time.

    Args:
        n_trials: see :class:`Searcher`.
        timeout: see :class:`Searcher`.
        n_jobs: see :class:`Searcher`.
        seed: of the sampler.
        sampler: ``tpe`` (Bergstra et al. 2011), ``cmaes`` (Hansen & Ostermeier 2001: numbers only, choices are
            drawn at random), ``random``, or ``grid``: every setting of a space without intervals, once.
        pruner: ``hyperband`` (Li et al. 2018), ``median`` (worse than the median of the others at the same epoch),
            ``successive_halving`` (Li et al. 2020), or ``none``.
        min_epochs: no run is pruned before.
        startup_trials: drawn at random before ``tpe`` and ``cmaes`` begin to learn, and before ``median`` prunes.
        storage: a file (``.db``: SQLite; ``.log`` or ``.journal``: a journal, for network file systems) or the URL
            of a database; by default ``search.db`` in the sweep's directory.
        study_name: of the study in the storage.
    """

    def __init__(
        self,
        n_trials: PositiveInt | None = 20,
        timeout: PositiveFloat | None = None,
        n_jobs: PositiveInt | Literal["auto"] = "auto",
        seed: Seed = 0,
        sampler: Literal["tpe", "cmaes", "random", "grid"] = "tpe",
        pruner: Literal["none", "median", "hyperband", "successive_halving"] = "none",
        min_epochs: PositiveInt = 1,
        startup_trials: PositiveInt = 10,
        storage: str | None = None,
        study_name: Name = "rnnlab",
    ) -> None:
        # a grid has an end of its own
        super().__init__(ALL if sampler == "grid" and n_trials is None else n_trials, timeout, n_jobs, seed)
        need_optuna()
        if sampler == "cmaes":
            need_optuna("cmaes")
        self.sampler, self.pruner, self.min_epochs = sampler, pruner, min_epochs
        self.startup_trials, self.storage, self.study_name = startup_trials, storage, study_name
        self._numbers: dict[int, int | None] = {}  # of the ledger's trials in the study

    def facts(self) -> dict[str, str | None]:
        return {"study": self.study_name, "storage": None if self.storage is None else absolute(self.storage)}

    @property
    def preload(self) -> tuple[str, ...]:
        modules = ("optuna", "optuna.storages._rdb.storage", "optuna.storages.journal", "alembic.command")
        return modules if self.prunes else ()

    def check(self, space: Space) -> None:
        if self.sampler != "grid":
            return
        size = _grid_size(space)
        if self.n_trials is not None and self.n_trials < size:
            raise InputError(
                f"hydra.sweeper.n_trials={self.n_trials}: the grid has {size} settings; n_trials=null tries them all"
            )
        self.n_trials = size

    # ---- the study --------------------------------------------------------------------------------

    def open(self, space: Space, objective: Objective, sweep: Path, known: Mapping[int, Mapping[str, str]]) -> None:
        import optuna

        self.space, self.sweep = space, f"{socket.gethostname()}:{sweep}"
        self._max_epochs = objective.max_epochs
        self._place = absolute(self.storage or str(sweep / FILE))
        self._is_own = self.storage is None
        if self._is_own and Path(self._place).is_symlink():
            raise InputError(f"{self._place} is a link: nothing is written where it leads; give hydra.sweeper.storage")
        self._pruner = {"name": self.pruner, "min_epochs": self.min_epochs, "max_epochs": objective.max_epochs,
                        "startup_trials": self.startup_trials}  # fmt: skip
        direction: Literal["minimize", "maximize"] = "minimize" if objective.mode == "min" else "maximize"
        with quiet(), alone(self._place):
            self._storage = storage_at(self._place)
            self.study = optuna.create_study(
                storage=self._storage, study_name=self.study_name, direction=direction, load_if_exists=True,
                pruner=make_pruner(self._pruner),
            )  # fmt: skip
            self._heartbeat = Heartbeat(self.study, self._storage, self._mine)
            wanted = {"space": space.signature(), "monitor": objective.monitor, "mode": objective.mode,
                      "common": dict(objective.common)}  # fmt: skip
            hold_against(self.study, self._place, wanted)
            if self.sampler == "grid":
                self._enqueue_grid()
            for number in known:
                self._take_up(number)
            self._adopted = self._orphans(set(known))
        self._heartbeat.start()

    def _enqueue_grid(self) -> None:
        settings = list(self.space.grid())
        if len(self.study.get_trials(deepcopy=False)) < len(settings):
            for setting in settings:
                self.study.enqueue_trial(setting, skip_if_exists=True)

    def _sampler(self) -> "optuna.samplers.BaseSampler":
        """A new one for each trial, seeded by how many there are, so that a resumed search goes on as it would have."""
        seed = (self.seed * 1_000_003 + len(self.study.get_trials(deepcopy=False))) % 2**32
        return make_sampler(self.sampler, seed, self.startup_trials)

    # ---- asking -----------------------------------------------------------------------------------

    def ask(self) -> Trial | None:
        import optuna

        with quiet():
            if self._adopted:
                return self._adopted.pop(0)
            if self.is_late:
                return None
            with contextlib.suppress(NotImplementedError):
                optuna.storages.fail_stale_trials(self.study)
            trials = self.study.get_trials(deepcopy=False)
            waiting = any(trial.state.name == "WAITING" for trial in trials)
            begun = _begun(trials)
            retries = any(trial.state.name == "WAITING" and not _counts(trial) for trial in trials)
            if not retries and self.n_trials is not None and begun >= self.n_trials:
                return None
            if self.sampler == "grid" and not waiting:
                return None
            self.study.sampler = self._sampler()
            trial = self.study.ask()
            trial.set_user_attr(SWEEP, self.sweep)
            if self._is_beyond(trial.number):
                # two processes asked for the last one at once
                trial.set_user_attr(BEYOND, True)
                self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
                return None
            self._numbers[trial.number] = trial.number
            self._heartbeat.record(trial_id(trial))
            return Trial(trial.number, self.space.settings(partial(suggest, trial)))

    def exhausted(self) -> str:
        if self.is_late:
            return super().exhausted()
        with quiet():
            trials = [trial for trial in self.study.get_trials(deepcopy=False) if _counts(trial)]
        states = Counter(trial.state.name.lower() for trial in trials)
        said = f"the study '{self.study_name}' in {self._place} has its {len(trials)} trials"
        said += f" ({', '.join(f'{n} {state}' for state, n in states.items())})"
        if self.sampler == "grid":
            return f"{said}, all settings of the grid"
        return f"{said} and hydra.sweeper.n_trials={self.n_trials}; a larger hydra.sweeper.n_trials adds more"

    def _is_beyond(self, number: int) -> bool:
        trials = self.study.get_trials(deepcopy=False)
        if self.n_trials is None or not _counts(trials[number]):
            return False
        return _begun(trials[:number]) >= self.n_trials

    def _orphans(self, known: set[int]) -> list[Trial]:
        """Trials that were asked for and never written down, since who asked was killed."""
        import optuna

        found = []
        for frozen in self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            owner = frozen.user_attrs.get(SWEEP)
            begun = frozen.datetime_start.timestamp() if frozen.datetime_start else 0.0
            ours = owner == self.sweep or (
                owner is None and (self._is_own or time.time() - begun > UNOWNED_SECONDS)
            )  # fmt: skip
            if frozen.number in known or frozen.number in self._numbers.values() or not ours:
                continue
            trial = optuna.trial.Trial(self.study, trial_id(frozen))
            trial.set_user_attr(SWEEP, self.sweep)
            self.study.sampler = self._sampler()
            self._numbers[frozen.number] = frozen.number
            found.append(Trial(frozen.number, self.space.settings(partial(suggest, trial))))
        return found

    # ---- telling ----------------------------------------------------------------------------------

    def tell(self, number: int, ending: Ending, score: float | None = None) -> None:
        from optuna.trial import TrialState

        there = self._numbers.get(number)
        if there is None:
            return
        with quiet():
            if self.study.get_trials(deepcopy=False)[there].state != TrialState.RUNNING:
                return
            states = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
            # another process may have taken it over just now
            with contextlib.suppress(ValueError, RuntimeError):
                self.study.tell(there, score if ending == "done" else None, state=states[ending])

    def _take_up(self, number: int) -> None:
        """Finds the trial of the study that stands for one of the ledger.

        That may be a later one, which repeats it. Where another process of the study has it by now, none does.
        """
        from optuna.trial import TrialState

        with quiet():
            trials = self.study.get_trials(deepcopy=False)
            if number >= len(trials):  # the study's file was taken away: the ledger still has its runs
                return
            chain = [trials[number], *(trial for trial in trials if trial.system_attrs.get(RETRIED) == number)]
            last = chain[-1]
            self._numbers[number] = last.number
            if last.state == TrialState.WAITING:
                if not self._storage.set_trial_state_values(trial_id(last), TrialState.RUNNING):
                    self._numbers[number] = None
                    return
                self._storage.set_trial_user_attr(trial_id(last), SWEEP, self.sweep)
            elif last.user_attrs.get(SWEEP) != self.sweep:
                self._numbers[number] = None
                return
            if last.state in (TrialState.RUNNING, TrialState.WAITING):
                self._heartbeat.record(trial_id(last))

    def again(self, number: int) -> None:
        """A trial that was told failed is tried once more: the study gets another one for it."""
        import optuna
        from optuna.trial import TrialState

        there = self._numbers.get(number)
        if there is None:
            return
        with quiet():
            last = self.study.get_trials(deepcopy=False)[there]
            if last.state != TrialState.FAIL:
                return
            self.study.add_trial(
                optuna.trial.create_trial(
                    state=TrialState.RUNNING, params=last.params, distributions=last.distributions,
                    user_attrs={SWEEP: self.sweep, "repeats": number}, system_attrs={RETRIED: number},
                )
            )  # fmt: skip
            mine = [t for t in self.study.get_trials(deepcopy=False) if t.user_attrs.get("repeats") == number]
            self._numbers[number] = mine[-1].number
            self._heartbeat.record(trial_id(mine[-1]))

    # ---- what a run must know ---------------------------------------------------------------------

    def pruning(self, number: int, run: Path) -> dict[str, Any]:
        there = self._numbers.get(number)
        if not self.prunes or there is None:
            return {}
        # a sweep that is moved, or seen under another path from another machine, takes its file along
        place = os.path.relpath(self._place, run) if self._is_own else self._place
        return {"storage": place, "study": self.study_name, "number": there, "pruner": self._pruner}

    def _mine(self) -> set[int]:
        return {number for number in self._numbers.values() if number is not None}

    def close(self) -> None:
        self._heartbeat.stop()


def _counts(trial: "optuna.trial.FrozenTrial") -> bool:
    """Whether it uses up the budget: a repeated one has done so already, and one beyond it never ran."""
    return RETRIED not in trial.system_attrs and BEYOND not in trial.user_attrs


def _begun(trials: "Sequence[optuna.trial.FrozenTrial]") -> int:
    """How much of the budget is used up."""
    return sum(_counts(trial) and trial.state.name != "WAITING" for trial in trials)


def _grid_size(space: Space) -> int:
    """How many settings a space without intervals has.

    Raises:
        InputError: it has intervals, or too many settings.
    """
    try:
        size = sum(1 for _ in islice(space.grid(), MOST_IN_A_GRID + 1))
    except InputError as error:
        raise InputError(f"hydra.sweeper.sampler=grid: {error}") from None
    if size > MOST_IN_A_GRID:
        raise InputError(
            f"hydra.sweeper.sampler=grid: more than {MOST_IN_A_GRID:,} settings; sampler=random tries some"
        )
    return size
