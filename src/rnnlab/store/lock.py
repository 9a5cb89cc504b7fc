"""One process at a time works in the directory of a run or of a sweep.

The lock is the system's own (``flock``) on a file in the directory, which says
who holds it; the system takes it back when the process ends, however it ends.
A process may lock what it holds already. Where a file system has no locks, all
are to be had. (filelock raises there, and its file does not say who holds it.)
"""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rnnlab.errors import InputError, one_line
from rnnlab.store.clock import now
from rnnlab.store.files import open_regular, open_to_append, take


class Busy(InputError):
    """Another process is at work there."""


@dataclass
class _Held:
    descriptor: int
    depth: int = 0


class _Locks:
    """What this process holds."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Holds nothing any more, under a new guard: another thread of a parent may have had the old one."""
        self.held: dict[str, _Held] = {}
        self.guard = threading.RLock()


_mine = _Locks()


def hold(path: Path) -> None:
    """Takes a lock for this process, until :func:`release` or its end.

    Args:
        path: of the lock's file.

    Raises:
        Busy: another process holds it.
        InputError: the directory cannot be written.
    """
    with _mine.guard:
        if _key(path) in _mine.held:
            return
        try:
            descriptor = open_to_append(path)
        except OSError as error:
            raise InputError(f"{path.parent} cannot be written: {error.strerror}") from None
        try:
            if not take(descriptor):
                raise Busy(f"{path.parent} is being worked on by {_holder(path)}: wait for it or stop it")
            with contextlib.suppress(OSError):  # a full disk: who it is stays unsaid
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {now()}\n".encode())
        except BaseException:
            os.close(descriptor)
            raise
        _mine.held[_key(path)] = _Held(descriptor)


def release(path: Path) -> None:
    """Gives a lock back that this process holds, if it does."""
    with _mine.guard:
        held = _mine.held.pop(_key(path), None)
        if held is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(held.descriptor, 0)
            os.close(held.descriptor)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock until the block ends, or the outermost block of this process.

    Raises:
        Busy: another process holds it.
        InputError: the directory cannot be written.
    """
    with _mine.guard:
        hold(path)
        _mine.held[_key(path)].depth += 1
    try:
        yield
    finally:
        with _mine.guard:
            held = _mine.held.get(_key(path))
            if held is not None:
                held.depth -= 1
                if held.depth <= 0:
                    release(path)


def _key(path: Path) -> str:
    return os.path.realpath(path)


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError, InputError), open_regular(path) as file:
        return one_line(file.read(200).decode("utf-8", "replace")) or "another process"
    return "another process"


def _forget() -> None:
    """A forked process is another one: it holds nothing, and must not hold on to what its parent holds."""
    for held in _mine.held.values():
        with contextlib.suppress(OSError):
            os.close(held.descriptor)
    _mine.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
