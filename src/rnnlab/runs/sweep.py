"""The directory of a sweep: the runs, the plan that names them, the command that made them, the table of them.

::

    sweep.json       command, overrides, versions, what the code was
    jobs.json        the plan: number, directory, overrides and a digest of the config of each job
    sweep.lock       held by the one process that leads the sweep
    0_model=rnn/     a run directory a job, made before the first job starts (state: queued)
    leaderboard.csv

What is known of a job stands in its own run directory, whoever runs it, so
that the process that leads the sweep can be lost at any moment.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory, missing, remove_empty
from rnnlab.runs.provenance import code_digests, provenance
from rnnlab.shell import pasted
from rnnlab.store import files, lock
from rnnlab.store.clock import now
from rnnlab.store.files import replace
from rnnlab.store.ledger import (
    COMMAND,
    JOBS,
    Entry,
    Facts,
    TrialEntry,
    dump_changed,
    dump_facts,
    dump_plan,
    read_facts,
    read_plan,
)
from rnnlab.store.status import STATUS

LOCK, MULTIRUN = "sweep.lock", "multirun.yaml"


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


class SweepDirectory:
    """Made once, for one sweep, which one process at a time may lead."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._made = missing(self.path)

    # ---- making and finding ---------------------------------------------------------------------

    @classmethod
    def claim(
        cls, path: str | Path, facts: Mapping[str, Any], chosen: bool, may_hold: Iterable[str] = ()
    ) -> "SweepDirectory":
        """Makes the directory of a new sweep.

        Args:
            path: of the directory.
            facts: what ``sweep.json`` shall say: the command that started the sweep and its overrides.
            chosen: by the user, so that it must be this one; a default name that is taken gets a number.
            may_hold: names of runs, of which it may hold some: a benchmark of before benchmarks had a ledger.

        Raises:
            InputError: it holds something already, or cannot be written, or the facts are too many to be read again.
        """
        content = dump_facts({**facts, "created": now(), **provenance(), "code": code_digests()})
        for attempt in range(1, 1000):
            directory = cls(path if attempt == 1 else f"{path}-{attempt}")
            try:
                directory.path.mkdir(parents=True, exist_ok=True)
                files.remove_unfinished(directory.path, (COMMAND,))  # of a claim that was killed
                is_known = any((directory.path / name / STATUS).exists() for name in may_hold)
                if is_known or next(directory.path.iterdir(), None) is None:
                    files.create(directory.path / COMMAND, content)
                    return directory
            except FileExistsError:
                pass
            except OSError as error:
                remove_empty(directory._made)
                raise InputError(f"{path} cannot be written: {error.strerror}") from None
            if chosen:
                break
        resume = f", or go on with it: {pasted('resume', Path(path))}" if (Path(path) / COMMAND).exists() else ""
        raise InputError(
            f"{path} is not empty, and nothing is overwritten or mixed into it: choose another hydra.sweep.dir{resume}"
        )

    @classmethod
    def open(cls, path: str | Path) -> "SweepDirectory":
        """The directory of a sweep that there is.

        Raises:
            InputError: it is none.
        """
        directory = cls(path)
        if not is_sweep(path):
            raise InputError(f"{path} is no sweep: it has no {COMMAND}")
        return directory

    def remove_if_unused(self) -> None:
        """Takes away the directory of a sweep that was refused before its first job."""
        if any(entry.is_dir() for entry in self.path.iterdir()):
            return
        for name in (COMMAND, MULTIRUN, LOCK):
            (self.path / name).unlink(missing_ok=True)
        remove_empty(self._made)  # a file that somebody else put there keeps them

    # ---- the command ------------------------------------------------------------------------------

    @property
    def recorded(self) -> Facts:
        """What ``sweep.json`` says, even if it is too little to go on with.

        Raises:
            InputError: the file is damaged.
        """
        return read_facts(self.path / COMMAND)

    @property
    def facts(self) -> Facts:
        """What ``sweep.json`` says of a sweep that can be gone on with.

        Raises:
            InputError: the file is damaged.
        """
        facts = self.recorded
        for key in ("overrides", "varied"):
            if key not in facts:
                raise InputError(f"{self.path / COMMAND} is damaged: it has no {key}")
        return facts

    def update_facts(self, **facts: Any) -> None:
        """Replaces some of them; what else the file says stays there.

        Raises:
            InputError: the file is damaged.
        """
        _ = self.facts  # it is one that can be gone on with
        replace(self.path / COMMAND, dump_changed(self.path / COMMAND, facts))

    # ---- the plan ---------------------------------------------------------------------------------

    @property
    def plan(self) -> list[Entry]:
        """The jobs written down so far.

        Raises:
            InputError: the file is damaged, or a job's directory is none below the sweep's.
        """
        return read_plan(self.path / JOBS) if (self.path / JOBS).exists() else []

    def add(self, jobs: Sequence[Job], command: Sequence[str], config_dirs: Sequence[str] = ()) -> None:
        """Makes the run directories of further jobs, state ``queued``, and then, at once, writes all jobs down.

        Jobs that were written down without their directories being there (a
        machine that lost its power) get them anew.

        Raises:
            InputError: two jobs would share a directory, the disk cannot be written, or the plan would be too large to
                be read again; nothing is left of them.
        """
        plan = self.plan
        taken = {each["directory"]: each["number"] for each in plan}
        for job in jobs:
            if taken.setdefault(job.name, job.number) != job.number:
                raise InputError(
                    f"hydra.sweep.subdir gives jobs {taken[job.name]} and {job.number} the same directory, {job.name}: "
                    "let it name all that they differ in"
                )
        known = {each["number"] for each in plan}
        for job in jobs:
            if job.number not in known:
                plan.append(job.entry)
        content = dump_plan(plan)
        made = []
        try:
            for job in jobs:
                directory = self.run(job.name)
                if not directory.path.exists():
                    made.append(directory.path)
                directory.path.mkdir(parents=True, exist_ok=True)
                # what the loss of power takes is written anew from the plan (see mend): no waiting for the disk here
                directory.write_config(job.config, durable=False)
                status = {
                    "state": "queued",
                    "created": now(),
                    "number": job.number,
                    "command": list(command),
                    "directory": os.getcwd(),
                    "overrides": list(job.overrides),
                    "choices": dict(job.choices),
                    "config_dirs": list(config_dirs),
                    **({"trial": job.trial} if job.trial else {}),
                }
                replace(directory.path / STATUS, json.dumps(status, indent=2) + "\n", durable=False)
            replace(self.path / JOBS, content)
        except (OSError, InputError) as error:
            for path in made:
                shutil.rmtree(path, ignore_errors=True)
            if isinstance(error, InputError):  # a config that is too large to be read again
                raise
            raise InputError(f"{self.path} cannot be written: {error.strerror}") from None

    def write_plan(self, plan: Sequence[Mapping[str, Any]]) -> None:
        """Replaces ``jobs.json``.

        Raises:
            InputError: it would be too large to be read again.
        """
        replace(self.path / JOBS, dump_plan(plan))

    def run(self, name: str) -> RunDirectory:
        """The run directory of a job.

        Raises:
            InputError: a link leads out of the sweep's directory.
        """
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise InputError(f"{path} is a link that leads out of {self.path}: nothing is written there")
        return RunDirectory(path)

    def mend(self, jobs: Iterable[Job], command: Sequence[str], config_dirs: Sequence[str] = ()) -> None:
        """Makes directories anew whose files were lost or cut short, and clears away what kills left."""
        lost = []
        for job in jobs:
            directory = self.run(job.name)
            for stale in directory.path.glob(".*.json.*"):
                stale.unlink(missing_ok=True)
            try:
                whole = bool(directory.status.state and directory.config)
            except InputError:
                whole = False
            if not whole:
                lost.append(job)
        if lost:
            self.add(lost, command, config_dirs)

    # ---- one leader -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lead(self) -> Iterator[None]:
        """Holds the sweep's lock, which the system takes back when this process ends, however it ends.

        Raises:
            InputError: somebody else holds it, or the directory cannot be written.
        """
        with lock.locked(self.path / LOCK):
            files.remove_unfinished(self.path, (COMMAND, JOBS, "leaderboard.csv", "report.html"))
            yield


def is_sweep(path: str | Path) -> bool:
    """Whether a directory holds a sweep."""
    return (Path(path) / COMMAND).is_file()
