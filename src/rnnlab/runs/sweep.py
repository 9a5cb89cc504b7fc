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
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory, missing_parents, remove_empty
from rnnlab.runs.provenance import provenance
from rnnlab.runs.sweep_plan import Entry, Facts, Job, check_name
from rnnlab.shell import pasted
from rnnlab.store import files, json_text, lock
from rnnlab.store.clock import now
from rnnlab.store.files import Damaged, replace
from rnnlab.store.status import STATUS

COMMAND, JOBS, LOCK, MULTIRUN = "sweep.json", "jobs.json", "sweep.lock", "multirun.yaml"
BYTES = 2**26
"""Of each of the two: what is larger is neither written nor read. It is room for some 200,000 jobs."""
PARTS_THAT_TRAIN = ("callbacks", "cells", "data", "files", "kernels", "runs", "tasks")
"""Folders of rnnlab that decide about a run's scores: a change in them makes a resumed sweep another one."""
BESIDE = ("__init__", "__main__", "api", "configs", "errors", "extras", "results", "shell", "signals")
"""Of the files beside them, of which a network is made, those that do not."""


class SweepDirectory:
    """Made once, for one sweep, which one process at a time may lead."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._made = missing_parents(self.path)

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
        content = _text({**facts, "created": now(), **provenance(), "code": code_digests()}, COMMAND)
        for attempt in range(1, 1000):
            directory = cls(path if attempt == 1 else f"{path}-{attempt}")
            try:
                directory.path.mkdir(parents=True, exist_ok=True)
                is_known = any((directory.path / name / STATUS).exists() for name in may_hold)
                if is_known or next(directory.path.iterdir(), None) is None:
                    _create(directory.path / COMMAND, content)
                    return directory
            except FileExistsError:
                pass
            except OSError as error:
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
        with contextlib.suppress(OSError):  # a file that somebody else put there keeps it
            self.path.rmdir()
        remove_empty(self._made)

    # ---- the command ------------------------------------------------------------------------------

    @property
    def told(self) -> Facts:
        """What ``sweep.json`` says, even if it is too little to go on with.

        Raises:
            InputError: the file is damaged.
        """
        facts: Facts = _read(self.path / COMMAND, Facts)
        return facts

    @property
    def facts(self) -> Facts:
        """What ``sweep.json`` says of a sweep that can be gone on with.

        Raises:
            InputError: the file is damaged.
        """
        facts = self.told
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
        before = json_text.read(self.path / COMMAND, BYTES)
        replace(self.path / COMMAND, _text({**before, **facts}, COMMAND))

    # ---- the plan ---------------------------------------------------------------------------------

    @property
    def plan(self) -> list[Entry]:
        """The jobs written down so far.

        Raises:
            InputError: the file is damaged, or a job's directory is none below the sweep's.
        """
        if not (self.path / JOBS).exists():
            return []
        plan: list[Entry] = _read(self.path / JOBS, list[Entry])
        numbers, names = set(), set()
        for entry in plan:
            if missing := [key for key in ("number", "directory", "overrides", "digest") if key not in entry]:
                raise InputError(f"{self.path / JOBS} is damaged: a job has no {missing[0]}")
            check_name(entry["directory"], f"{self.path / JOBS}: directory")
            if entry["number"] < 0 or entry["number"] in numbers or entry["directory"] in names:
                raise InputError(f"{self.path / JOBS} is damaged: job {entry['number']} is there twice, or no job")
            numbers.add(entry["number"])
            names.add(entry["directory"])
        return plan

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
        content = _plan_text(plan)
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
        replace(self.path / JOBS, _plan_text(plan))

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


def code_digests() -> dict[str, str]:
    """A short digest of each file of rnnlab that decides about scores, by its path in the package."""
    package = Path(__file__).parents[1]
    files = [file for part in PARTS_THAT_TRAIN for file in sorted((package / part).glob("*.py"))]
    files += [file for file in sorted(package.glob("*.py")) if file.stem not in BESIDE]
    return {file.relative_to(package).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in files}


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


def _text(facts: Mapping[str, Any], name: str) -> str:
    return _readable(json.dumps(facts, indent=1) + "\n", name)


def _plan_text(plan: Sequence[Mapping[str, Any]]) -> str:
    """A job a line, as easy to read as to parse."""
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in plan)
    return _readable(f"[\n{lines}\n]\n" if plan else "[]\n", JOBS)


def _readable(text: str, name: str) -> str:
    """What can be read again; more than :data:`BYTES` are not written in the first place."""
    if len(text) > BYTES or len(text.encode()) > BYTES:
        raise InputError(f"{name} would have more than {BYTES:,} bytes: take fewer jobs, or shorter overrides")
    return text


def _create(path: Path, content: str) -> None:
    """Makes a file that must not be there yet, with all that belongs into it or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            with open(path, "x", encoding="utf-8") as file:
                file.write(content)
    finally:
        temporary.unlink(missing_ok=True)


@functools.cache
def _adapter(kind: Any) -> Any:
    return TypeAdapter(kind)


def _read(path: Path, kind: Any) -> Any:
    """A JSON file, held against what it must be.

    Raises:
        InputError: it is something else, or cannot be read.
    """
    try:
        return _adapter(kind).validate_python(json_text.read(path, BYTES), strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise Damaged(path, f"{f'{where}: ' if where else ''}{problem['msg']}") from None
    except FileNotFoundError:
        raise Damaged(path, "it is not there") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
