"""The ledger of a sweep, two files: ``sweep.json``, the command that made it, and ``jobs.json``, the plan of its jobs.

Anybody may have written them: what is read is held against the types here.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict  # that of Python 3.12, which pydantic needs

from rnnlab.errors import InputError
from rnnlab.store import json_text
from rnnlab.store.files import Damaged

COMMAND, JOBS = "sweep.json", "jobs.json"
BYTES = 2**26
"""Of each of the two: what is larger is neither written nor read. It is room for some 200,000 jobs."""


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


def read_facts(path: Path) -> Facts:
    """What ``sweep.json`` says, even if it is too little to go on with.

    Raises:
        InputError: the file is damaged, or cannot be read.
    """
    facts: Facts = _read(path, Facts)
    return facts


def read_plan(path: Path) -> list[Entry]:
    """The jobs that ``jobs.json`` says.

    Raises:
        InputError: the file is damaged, or a job's directory is none below the sweep's.
    """
    plan: list[Entry] = _read(path, list[Entry])
    numbers, names = set(), set()
    for entry in plan:
        if missing := [key for key in ("number", "directory", "overrides", "digest") if key not in entry]:
            raise InputError(f"{path} is damaged: a job has no {missing[0]}")
        check_name(entry["directory"], f"{path}: directory")
        if entry["number"] < 0 or entry["number"] in numbers or entry["directory"] in names:
            raise InputError(f"{path} is damaged: job {entry['number']} is there twice, or no job")
        numbers.add(entry["number"])
        names.add(entry["directory"])
    return plan


def dump_facts(facts: Mapping[str, Any]) -> str:
    """The text of ``sweep.json``.

    Raises:
        InputError: it would be too large to be read again.
    """
    return _readable(json.dumps(facts, indent=1) + "\n", COMMAND)


def dump_changed(path: Path, facts: Mapping[str, Any]) -> str:
    """The text of a ``sweep.json`` with some facts in place of its own; what else it says stays there.

    Raises:
        InputError: the file is damaged, or would be too large to be read again.
    """
    return dump_facts({**json_text.read(path, BYTES), **facts})


def dump_plan(plan: Sequence[Mapping[str, Any]]) -> str:
    """The text of ``jobs.json``: a job a line, as easy to read as to parse.

    Raises:
        InputError: it would be too large to be read again.
    """
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in plan)
    return _readable(f"[\n{lines}\n]\n" if plan else "[]\n", JOBS)


def check_name(name: str, key: str) -> None:
    """Holds the name of a job's directory to be of one below the sweep's.

    Raises:
        InputError: naming ``key``.
    """
    if name.strip(". /") == "" or name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise InputError(f"{key}={name}: must be a directory below the sweep's own")


def _readable(text: str, name: str) -> str:
    """What can be read again; more than :data:`BYTES` are not written in the first place."""
    if len(text) > BYTES or len(text.encode()) > BYTES:
        raise InputError(f"{name} would have more than {BYTES:,} bytes: take fewer jobs, or shorter overrides")
    return text


@functools.cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter  # here, since one run needs nothing of it

    return TypeAdapter(kind)


def _read(path: Path, kind: Any) -> Any:
    """A JSON file, held against what it must be.

    Raises:
        InputError: it is something else, or cannot be read.
    """
    from pydantic import ValidationError

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
