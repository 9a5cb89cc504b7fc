"""What a sweep's plan and ledger say: its jobs, and the command that made them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import TypedDict  # that of Python 3.12, which pydantic needs

from rnnlab.errors import InputError


class TrialEntry(TypedDict):
    """Of a search: the trial that a job belongs to."""

    number: int
    settings: dict[str, str]
    seed: str | None


class Entry(TypedDict, total=False):
    """What ``jobs.json`` says of a job; ``trial`` is there in a search alone."""

    number: int
    directory: str
    overrides: list[str]
    digest: str
    trial: TrialEntry


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes:
        number: counted from 0, never given twice in a sweep.
        name: of its directory below the sweep's.
        overrides: as typed for this job alone.
        config: resolved, plain containers.
        choices: which config of each group.
        trial: of a search: the ``number`` of the trial that the job belongs to, and its ``settings``.
    """

    number: int
    name: str
    overrides: tuple[str, ...]
    config: Mapping[str, Any] = field(repr=False)
    choices: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    trial: TrialEntry | None = field(default=None, repr=False)

    @property
    def digest(self) -> str:
        """Equal for equal configs."""
        return hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def entry(self) -> Entry:
        """Its line of ``jobs.json``."""
        entry = Entry(number=self.number, directory=self.name, overrides=list(self.overrides), digest=self.digest)
        return Entry(**entry, trial=self.trial) if self.trial else entry


class Facts(TypedDict, total=False):
    """What ``sweep.json`` says of a sweep, as far as it is read again; there may be more."""

    command: list[str]
    created: str
    overrides: list[str]
    varied: list[str]
    config_name: str
    config_dirs: list[str]
    sweeper: str
    code: dict[str, str]
    versions: dict[str, str]
    search: dict[str, Any]
    extended: list[list[str]]
    forced: list[str]


def check_name(name: str, key: str) -> None:
    """Holds the name of a job's directory to be of one below the sweep's.

    Raises:
        InputError: naming ``key``.
    """
    if name.strip(". /") == "" or name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise InputError(f"{key}={name}: must be a directory below the sweep's own")
