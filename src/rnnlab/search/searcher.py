"""The contract of a searcher: propose settings, be told how they did.

A trial is one setting; it is run once, or once for each of several seeds. The
searcher sees trials alone: which runs they became, on which machine, and what
became of those, is the business of who asked.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt

from rnnlab.errors import InputError
from rnnlab.ranges import PositiveFloat, PositiveInt
from rnnlab.search.space import Space

Seed = Annotated[int, Ge(0), Lt(2**32)]

Ending = Literal["done", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """A setting to be tried.

    Attributes:
        number: never given twice in a search.
        settings: values by key, as they stand behind the ``=`` of an override.
    """

    number: int
    settings: Mapping[str, str]


@dataclass
class Objective:
    """What a search is after.

    Attributes:
        monitor: the score, on validation.
        mode: ``min`` or ``max`` of it.
        max_epochs: of a run that nobody stops.
        common: what all trials share, by key: a study of something else is another one.
    """

    monitor: str
    mode: str
    max_epochs: int
    common: Mapping[str, str] = field(default_factory=dict)


class Searcher(ABC):
    """Proposes settings; its options are the keys of ``hydra.sweeper``.

    Args:
        n_trials: the budget in trials, those of all processes that share the search.
        timeout: the budget in seconds, from the start of this command: no trial begins after it.
        n_jobs: runs at a time; ``auto`` is as many as the launcher executes at once.
        seed: of the proposals.
    """

    def __init__(
        self,
        n_trials: PositiveInt | None = 20,
        timeout: PositiveFloat | None = None,
        n_jobs: PositiveInt | Literal["auto"] = "auto",
        seed: Seed = 0,
    ) -> None:
        if n_trials is None and timeout is None:
            raise InputError("hydra.sweeper.n_trials=null: a search without hydra.sweeper.timeout needs a number")
        self.n_trials, self.timeout, self.n_jobs, self.seed = n_trials, timeout, n_jobs, seed
        self._began = time.monotonic()

    @property
    def is_late(self) -> bool:
        """Whether the time is over."""
        return self.timeout is not None and time.monotonic() - self._began > self.timeout

    def exhausted(self) -> str:
        """Why there is no further trial, and what would make one, in a line."""
        if self.is_late:
            return f"hydra.sweeper.timeout={self.timeout:g} s are over; a longer hydra.sweeper.timeout goes on"
        return f"hydra.sweeper.n_trials={self.n_trials} are begun; a larger hydra.sweeper.n_trials adds more"

    sampler: str = "random"
    """What proposes settings."""
    pruner: str = "none"
    """What ends runs before their time."""

    @property
    def prunes(self) -> bool:
        """Whether a run may be told that it is not worth going on."""
        return self.pruner != "none"

    def draws(self, space: Space) -> Iterator[dict[str, str]]:
        """The settings of all trials, as far as they can be told before the search begins."""
        return iter(())

    def facts(self) -> dict[str, str | None]:
        """What ``sweep.json`` says of a study that several processes may share, its ``storage`` by an absolute path."""
        return {}

    @property
    def preload(self) -> tuple[str, ...]:
        """Modules that each run will import."""
        return ()

    def check(self, space: Space) -> None:
        """Holds a space against what this searcher can do.

        Raises:
            InputError: it cannot search there.
        """

    @abstractmethod
    def open(self, space: Space, objective: Objective, sweep: Path, known: Mapping[int, Mapping[str, str]]) -> None:
        """Begins, or goes on with, the search of a sweep.

        Args:
            space: of the settings.
            objective: what they are judged by.
            sweep: directory of the sweep.
            known: settings of the trials that stand in the sweep's ledger, by their numbers.

        Raises:
            InputError: its file holds another search, or cannot be used.
        """

    @abstractmethod
    def ask(self) -> Trial | None:
        """A trial, or None where the budget or the space is exhausted."""

    def tell(self, number: int, ending: Ending, score: float | None = None) -> None:
        """What became of a trial; the score is the mean over its seeds. Telling twice changes nothing."""

    def again(self, number: int) -> None:
        """A trial that was told failed is tried once more."""

    def pruning(self, number: int, run: Path) -> dict[str, Any]:
        """What the run of a trial must know to ask, wherever it runs, whether it is worth going on; else nothing."""
        return {}

    def close(self) -> None:
        """Nothing will be asked or told any more."""
