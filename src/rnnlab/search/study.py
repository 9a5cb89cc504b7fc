"""A study of Optuna, opened by the sweep that asks it and by the runs that tell it how they are doing."""

import contextlib
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnlab.errors import InputError
from rnnlab.extras import need
from rnnlab.search.space import Choice, Interval, Parameter, Value

if TYPE_CHECKING:
    import optuna

HEARTBEAT = 60
"""Seconds; a trial without one for three times as long is given to another process of the same study."""
OURS = "rnnlab"
"""Note on a study: what it searches."""
JOURNALS = (".log", ".journal")
AGAIN = (0.05, 0.2, 0.8)
"""Seconds: Optuna's making of a database fails for the later one of two that do it at once, who then finds it made."""


def need_optuna(package: str = "optuna") -> None:
    """Raises InputError where Optuna, or a package that one of its samplers uses, is not installed."""
    need("optuna", package, "hydra/sweeper=optuna", "hydra/sweeper=random needs nothing more")


def absolute(place: str) -> str:
    """The place of a study as it is seen from any directory: a file's whole path, a URL as it is."""
    return place if "://" in place else str(Path(place).expanduser().absolute())


@contextlib.contextmanager
def alone(place: str) -> Iterator[None]:
    """Others on this machine that open a study in the same file wait, so that each finds it whole or not at all.

    Not so where it is a database's URL, nor where a file system has no locks.

    Raises:
        InputError: there can be no folder for it.
    """
    if "://" in place:
        yield
        return
    parent = Path(place).parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"hydra.sweeper.storage={place} cannot be made: {one_line_of(error)}") from None
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            # the directory, since SQLite loses its own locks where somebody else closes its file
            descriptor = os.open(parent, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def storage_at(place: str) -> Any:
    """Optuna's storage at a path or URL; a trial whose process is gone is queued again by whoever asks next.

    Raises:
        InputError: there is none, and none can be made.
    """
    from optuna.storages import JournalStorage, RDBStorage, RetryFailedTrialCallback
    from optuna.storages.journal import JournalFileBackend

    if place.endswith(JOURNALS):
        try:
            return JournalStorage(JournalFileBackend(place))
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"hydra.sweeper.storage={place}: {one_line_of(error)}") from None
    is_file = "://" not in place
    make = partial(
        RDBStorage,
        f"sqlite:///{place}" if is_file else place,
        # others write too: wait for them rather than give up
        engine_kwargs={"connect_args": {"timeout": 60}} if is_file or place.startswith("sqlite") else {},
        heartbeat_interval=HEARTBEAT,
        grace_period=3 * HEARTBEAT,
        failed_trial_callback=RetryFailedTrialCallback(),
    )
    # SQLAlchemy's errors, the driver's, Optuna's: each has its own
    for seconds in AGAIN:
        with contextlib.suppress(Exception):
            return make()
        time.sleep(seconds)
    try:
        return make()
    except Exception as error:  # noqa: BLE001
        raise InputError(f"hydra.sweeper.storage={place} cannot be used: {one_line_of(error)}") from None


def make_pruner(facts: Mapping[str, Any]) -> "optuna.pruners.BasePruner":
    """The pruner that a sweep chose, in whatever process."""
    from optuna import pruners

    name, at_least = facts["name"], int(facts["min_epochs"])
    if name == "hyperband":
        most = max(at_least, int(facts["max_epochs"]))
        return pruners.HyperbandPruner(min_resource=at_least, max_resource=most)
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=int(facts["startup_trials"]), n_warmup_steps=at_least)
    if name == "successive_halving":
        return pruners.SuccessiveHalvingPruner(min_resource=at_least)
    return pruners.NopPruner()


def make_sampler(name: str, seed: int, startup_trials: int) -> "optuna.samplers.BaseSampler":
    """The sampler that a sweep chose; a grid is enqueued, and asks none."""
    from optuna import samplers

    if name == "tpe":
        # a trial at work counts as a bad one meanwhile, so that several at a time do not all go to one place
        return samplers.TPESampler(seed=seed, n_startup_trials=startup_trials, constant_liar=True)
    if name == "cmaes":
        return samplers.CmaEsSampler(seed=seed, n_startup_trials=startup_trials, warn_independent_sampling=False)
    return samplers.RandomSampler(seed=seed)


def hold_against(study: "optuna.Study", place: str, wanted: Mapping[str, Any]) -> None:
    """Refuses a study of something else; one without trials becomes ours.

    Args:
        study: that was opened.
        place: where it lies, for the message.
        wanted: what the search is of, which is noted in the study.

    Raises:
        InputError: saying what differs.
    """
    there = study.user_attrs.get(OURS)
    if there is None:
        if study.get_trials(deepcopy=False):
            raise InputError(
                f"hydra.sweeper.storage: the study '{study.study_name}' in {place} is none of rnnlab's: "
                "choose another hydra.sweeper.study_name"
            )
        study.set_user_attr(OURS, dict(wanted))
        return
    for what, ours in wanted.items():
        theirs = there.get(what)
        if theirs == ours:
            continue
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            key = next(key for key in (*theirs, *ours) if theirs.get(key) != ours.get(key))
            said = f"{key} is {theirs.get(key, 'not set')} there and {ours.get(key, 'not set')} here"
        else:
            said = f"{what} is {theirs} there and {ours} here"
        raise InputError(
            f"hydra.sweeper.storage: the study '{study.study_name}' in {place} is of another search: {said}; "
            "choose another hydra.sweeper.study_name"
        )


def trial_id(trial: "optuna.Trial | optuna.trial.FrozenTrial") -> int:
    """By which a storage knows a trial: Optuna has no public name for it."""
    return trial._trial_id


class Heartbeat:
    """Signs of life of the trials that this process runs, without which another one takes them over.

    Args:
        study: of the trials.
        storage: of the study, which may know no heartbeats.
        mine: the numbers of the trials.
    """

    def __init__(self, study: "optuna.Study", storage: Any, mine: Callable[[], set[int]]) -> None:
        self.study, self.storage, self.mine = study, storage, mine
        self._stopped = threading.Event()

    def record(self, trial: int) -> None:
        """One of the trial that has this id."""
        with contextlib.suppress(AttributeError, NotImplementedError):
            self.storage.record_heartbeat(trial)

    def start(self) -> None:
        """Gives them from a thread, until :meth:`stop`."""
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._stopped.wait(HEARTBEAT):
            with contextlib.suppress(Exception):  # a busy database: the next one will do
                mine = self.mine()
                for trial in self.study.get_trials(deepcopy=False):
                    if trial.number in mine and trial.state.name == "RUNNING":
                        self.record(trial_id(trial))

    def stop(self) -> None:
        self._stopped.set()


def suggest(trial: "optuna.Trial", parameter: Parameter) -> Value:
    """A parameter's value, by Optuna's own means."""
    name, values = parameter.name, parameter.values
    if isinstance(values, Choice):
        return trial.suggest_categorical(name, values.options)
    if isinstance(values, Interval):
        if values.whole:
            return trial.suggest_int(name, int(values.low), int(values.high), log=values.log)
        return values.within(trial.suggest_float(name, values.low, values.high, log=values.log))
    low, high, step = values.values[0], values.values[-1], values.step
    if isinstance(low, int) and isinstance(step, int):
        if values.log:  # Optuna has no steps on a logarithm: the nearest value stands for it
            near = trial.suggest_int(name, low, int(high), log=True)
            return min(values.values, key=lambda value: abs(value - near))
        return trial.suggest_int(name, low, int(high), step=step)
    drawn = trial.suggest_float(name, low, high, log=values.log, step=None if values.log else step)
    return min(values.values, key=lambda value: abs(value - drawn))


class Report:
    """Tells a study how a run is doing, epoch by epoch, and asks whether it is worth going on.

    Args:
        facts: of the run's ``status.json``, as :meth:`OptunaSearch.pruning` gave them.
        run: directory of the run.

    Raises:
        InputError: there is no such study.
    """

    def __init__(self, facts: Mapping[str, Any], run: Path) -> None:
        import optuna

        place = str(facts["storage"])
        if "://" not in place:
            place = os.path.normpath(run / place)
            if not Path(place).exists():  # SQLite would make an empty one
                raise InputError(f"{place} is not there")
        with quiet():
            self._storage = storage_at(place)
            study = optuna.load_study(
                study_name=facts["study"], storage=self._storage, pruner=make_pruner(facts["pruner"])
            )
            self._id = trial_id(study.get_trials(deepcopy=False)[int(facts["number"])])
            self._trial = optuna.trial.Trial(study, self._id)

    def __call__(self, epoch: int, score: float) -> bool:
        """Whether the run should end after this epoch.

        A study that cannot be reached ends no run: then it goes on.
        """
        try:
            with quiet():
                # a resumed run comes by epochs that it told of before
                if epoch not in self._storage.get_trial(self._id).intermediate_values:
                    self._trial.report(score, epoch)
                return bool(self._trial.should_prune())
        except Exception as error:  # noqa: BLE001 (of the database, its driver, the file system)
            logging.getLogger("rnnlab").warning("the study cannot be asked: %s", one_line_of(error))
            return False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's own lines, and its word that parts of it are experimental."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def one_line_of(error: BaseException) -> str:
    """What an error says, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 300 else f"{text[:300]}…"
