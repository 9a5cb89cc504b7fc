"""A study of Optuna, opened by the sweep that asks it and by the runs that tell it how they are doing."""

import contextlib
import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
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
JOURNALS = (".log", ".journal")
AGAIN = (0.05, 0.2, 0.8)
"""Seconds: Optuna's making of a database fails for the later one of two that do it at once, who then finds it made."""


def need_optuna(package: str = "optuna") -> None:
    """Raises InputError where Optuna, or a package that one of its samplers uses, is not installed."""
    need("optuna", package, "hydra/sweeper=optuna", "hydra/sweeper=random needs nothing more")


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
            study = optuna.load_study(
                study_name=facts["study"], storage=storage_at(place), pruner=make_pruner(facts["pruner"])
            )
            self._id = study.get_trials(deepcopy=False)[int(facts["number"])]._trial_id
            self._trial = optuna.trial.Trial(study, self._id)

    def __call__(self, epoch: int, score: float) -> bool:
        """Whether the run should end after this epoch.

        A study that cannot be reached ends no run: then it goes on.
        """
        try:
            with quiet():
                # a resumed run comes by epochs that it told of before
                if epoch not in self._trial.study._storage.get_trial(self._id).intermediate_values:
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
