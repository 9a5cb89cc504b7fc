"""How a job ended that could not say so itself."""

import contextlib
import signal
from dataclasses import dataclass
from typing import Any

from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory
from rnnlab.store.clock import now
from rnnlab.store.status import State, Status


@dataclass(frozen=True)
class End:
    """What whoever started a job knows of its end.

    Attributes:
        reason: in a line.
        state: of a job that did not note its own.
        retriable: it died of a lack of memory.
        signals: that reached this process while the job ran in it.
    """

    reason: str
    state: State = State.FAILED
    retriable: bool = False
    signals: tuple[int, ...] = ()


def of_exit(code: int | None, what: str = "its process") -> End:
    """The end of a process by its exit code, which is negative where a signal killed it."""
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            return End(f"killed by {name}" + (": by somebody, or for lack of memory" if name == "SIGKILL" else ""))
    return End(f"{what} ended with status {code}")


def status_of(directory: RunDirectory) -> Status:
    """The status of a job; of one whose file cannot be read all that is known is that it began."""
    with contextlib.suppress(InputError):
        return directory.status
    return Status(state=State.RUNNING)


def note(directory: RunDirectory, end: End) -> Status:
    """Writes an end down where the job has not; returns the status then.

    Where it cannot be written (a full disk, somebody else's sweep) the file goes on to say what it said.
    """
    status = status_of(directory)
    if status.state.is_over:
        return status
    facts: dict[str, Any] = {"reason": end.reason, "finished": now(), "retriable": end.retriable}
    with contextlib.suppress(OSError, InputError):
        directory.update_status(end.state, **facts)
    return status.with_facts(state=str(end.state), **facts)
