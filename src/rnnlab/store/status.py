"""``status.json``: where a run comes from, what it is doing and how it ended."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from rnnlab.store import json_text
from rnnlab.store.facts import Word, checked, line, number, one_of, text, texts, truth
from rnnlab.store.files import Damaged
from rnnlab.store.verdict import Verdict

STATUS = "status.json"
BYTES = 4 * 2**20


class State(Word):
    """What a run is doing."""

    CREATED = "created"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_over(self) -> bool:
        """Whether nobody works at it any more."""
        return self in (State.DONE, State.FAILED, State.INTERRUPTED)


@dataclass(frozen=True, kw_only=True)
class Status:
    """What ``status.json`` says, checked.

    Attributes:
        state: what the run is doing.
        reason: why it failed or stopped, in a line.
        created: when its directory was made; as all times ISO 8601 in UTC.
        submitted: when it was handed to a queue.
        started: when its training began for the first time.
        finished: when it ended.
        host: the machine of the process that works at it, or did.
        pid: of that process.
        process_started: when that process started, in clock ticks since the machine did.
        command: that was typed.
        overrides: of that command, which are the run's.
        choices: of config groups: ``{"model": "gru", …}``.
        config_dirs: of one's own configs.
        directory: that the command was typed in, from which relative paths of its config lead.
        baseline: what the trivial predictor is called whose scores stand beside the network's.
        kept: which of its weights are kept, in words.
        init: what of its first weights came from another run or file (``init_from``).
        tags: words of a person's own, by which runs are found.
        device: it trains on.
        threads: it trains with.
        platform: the operating system.
        versions: of what it was made with, by package.
        git: ``commit``, and whether the checkout is ``dirty``.
        seconds: of training.
        wall_seconds: of all attempts together.
        figures: paths of what was drawn, relative to the run's directory.
        verdict: whether it is better than its trivial predictors, and what to try next.
        pruned: the epoch after which a search ended it.
        number: of a job in its sweep.
        trial: of a search that the job belongs to.
        pruning: how the study of its search is asked whether it is worth going on.
        attempts: how often it was started.
        retriable: it died of a lack of memory.
        anew: it failed of its own computation, so that its checkpoints are not gone on with.
        stack: that the job was put into, by the name of its first job, and where it stands there.
        fleet: how many jobs were trained with it.
        fleet_alone: why it was trained alone all the same.
        slurm: its submission to a Slurm cluster.
        facts: all that the file holds, also what has no attribute.
    """

    state: State
    reason: str | None = None
    created: str | None = None
    submitted: str | None = None
    started: str | None = None
    finished: str | None = None
    host: str | None = None
    pid: int | None = None
    process_started: int | None = None
    command: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    config_dirs: tuple[str, ...] = ()
    directory: str | None = None
    baseline: str | None = None
    kept: str | None = None
    init: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    device: str | None = None
    threads: int | None = None
    platform: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    git: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    wall_seconds: float | None = None
    figures: tuple[str, ...] = ()
    verdict: Verdict | None = None
    pruned: int | None = None
    number: int | None = None
    trial: Mapping[str, Any] = field(default_factory=dict)
    pruning: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 0
    retriable: bool = False
    anew: bool = False
    stack: tuple[str, int] | None = None
    fleet: int | None = None
    fleet_alone: str | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Status":
        """The status that a mapping says.

        Raises:
            ValueError: it says no state, or a fact is of a wrong type.
        """
        values = checked(facts, _CHECKS, "{name} {error}, and is {value}")
        if "state" not in values:
            raise ValueError("it names no state")
        return cls(**values, facts=dict(facts))

    def with_facts(self, **facts: Any) -> "Status":
        """The same with other facts.

        Raises:
            ValueError: one is of a wrong type.
        """
        return Status.of({**self.facts, **facts})


def read(path: Path) -> Status:
    """The status in a file.

    Raises:
        FileNotFoundError: there is none.
        Damaged: it is none.
        OSError: it cannot be read.
    """
    content = json_text.read(path, BYTES)
    if not isinstance(content, dict):
        raise Damaged(path, "it is no mapping")
    try:
        return Status.of(content)
    except ValueError as error:
        raise Damaged(path, str(error)) from None


def dump(status: Status) -> str:
    """The text of a status."""
    return json_text.dump(status.facts, indent=2) + "\n"


# ---- what each fact must be ------------------------------------------------------------------------


def _choices(value: Any) -> dict[str, str]:
    kept = {name: choice for name, choice in _mapping(value).items() if choice is not None}
    return {name: choice if isinstance(choice, str) else _join(choice) for name, choice in kept.items()}


def _join(choice: Any) -> str:
    try:
        return ",".join(texts(choice))  # Hydra's: several configs of one group
    except ValueError:
        raise ValueError("must be a mapping of texts") from None


def _names(value: Any) -> dict[str, str]:
    if not all(isinstance(item, str) for item in _mapping(value).values()):
        raise ValueError("must be a mapping of texts")
    return dict(value)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("must be a mapping")
    return dict(value)


def _submission(value: Any) -> dict[str, Any]:
    mapping = _mapping(value)
    if mapping:
        text(mapping.get("name"))
        _count(mapping.get("index"))
    return mapping


def _stack(value: Any) -> tuple[str, int]:
    mapping = _mapping(value)
    return text(mapping.get("of")), _count(mapping.get("place"))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("must be a whole number")
    return value


def _ticks(value: Any) -> int:
    return -1 if value == -1 else _count(value)  # of a system that doesn't say


def _figures(value: Any) -> tuple[str, ...]:
    for name in texts(value):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError("must be a list of paths below the run")
    return tuple(value)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "state": partial(one_of, State),
    **dict.fromkeys(("reason", "baseline", "kept", "device", "platform", "host", "fleet_alone"), line),
    **dict.fromkeys(("created", "submitted", "started", "finished"), line),
    **dict.fromkeys(("command", "overrides", "config_dirs", "tags"), texts),
    **dict.fromkeys(("pid", "threads", "pruned", "number", "attempts", "fleet"), _count),
    "process_started": _ticks,
    **dict.fromkeys(("seconds", "wall_seconds"), number),
    **dict.fromkeys(("retriable", "anew"), truth),
    **dict.fromkeys(("git", "trial", "pruning", "init"), _mapping),
    "directory": text,
    "choices": _choices,
    "versions": _names,
    "figures": _figures,
    "verdict": Verdict.of,
    "slurm": _submission,
    "stack": _stack,
}
assert set(_CHECKS) == {each.name for each in fields(Status)} - {"facts"}
