"""Signals are obeyed at any moment.

Python runs what is to be done at a signal between two of its own operations.
While one of them is a long call of native code, nothing is done, and where
that code keeps the interpreter to itself, not by another thread either. So a
small process of its own hears of each signal by a pipe that the system's
handler writes to, and ends this one where it has not listened for a while.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from rnnlab.errors import Interrupted

SECONDS = 2.0
"""After which a process that has worked on and not listened to a signal is ended. On a busy machine, and where it waits
for a disk, it has more time: until it has worked so long, ten times as long at most."""
IN_A_STEP = 20.0
"""The same while a network trains: a step may take long, and the checkpoint after it is worth waiting for."""
SAME_SECONDS = 2.0


class _Watchdog:
    """The process that listens, and the pipe that it listens at."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.pipe: tuple[int, int] | None = None
        self.seconds = SECONDS
        self.hears = False


_watchdog = _Watchdog()
# A byte, then the time to be heard of; the end of this process is no byte. Where /proc does not tell how long a process
# has worked (utime and stime, in hundredths of a second) it counts as idle.
_SCRIPT = r"""
worked() {
  fields=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) || fields=
  set -- $fields
  echo $(( ${12:-0} + ${13:-0} ))
}
[ "$(head -c 1 | wc -c)" -eq 1 ] || exit
most=$(( $(worked "$3") + $2 )) rounds=0
while sleep "$1" && kill -0 "$3"; do
  rounds=$(( rounds + 1 ))
  if [ "$rounds" -ge 10 ] || [ "$(worked "$3")" -ge "$most" ]; then kill -9 "$3"; exit; fi
done
"""


def guard(seconds: float = SECONDS) -> None:
    """Has this process end so long after a signal that it did not listen to.

    Args:
        seconds: from the signal to the end. Whoever handles a signal calls :func:`heard`.
    """
    if threading.current_thread() is not threading.main_thread() or os.name != "posix" or _watchdog.pipe is not None:
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    _watchdog.seconds = seconds
    _watchdog.pipe = os.pipe()
    os.set_blocking(_watchdog.pipe[1], False)
    signal.set_wakeup_fd(_watchdog.pipe[1], warn_on_full_buffer=False)
    _listen()


def heard() -> None:
    """A signal has reached Python: it will be obeyed."""
    if _watchdog.process is None or _watchdog.pipe is None or _watchdog.hears:
        return  # a further one, while this is done for the one before
    _watchdog.hears = True
    try:
        _begin_anew(_watchdog.process, _watchdog.pipe)
    finally:
        _watchdog.hears = False


def set_patience(seconds: float) -> None:
    """From now on a signal is to be listened to within another time, where :func:`guard` was called."""
    if _watchdog.pipe is None or seconds == _watchdog.seconds:
        return
    if threading.current_thread() is threading.main_thread():
        _watchdog.seconds = seconds
        heard()


def _begin_anew(process: "subprocess.Popen[bytes]", pipe: tuple[int, int]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    os.set_blocking(pipe[0], False)
    with contextlib.suppress(BlockingIOError):  # what it had no time to read
        os.read(pipe[0], 1024)
    os.set_blocking(pipe[0], True)
    _listen()


@contextlib.contextmanager
def unmasked() -> Iterator[None]:
    """What a signal raises in this block leaves it, though a library that was interrupted has then failed of something
    else, as OmegaConf does in the middle of a long list, and that was taken for an error.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        seen: set[int] = set()
        while cause is not None and id(cause) not in seen:
            if isinstance(cause, (KeyboardInterrupt, Interrupted)):
                raise cause from None
            seen.add(id(cause))
            cause = cause.__cause__ or cause.__context__
        raise


def is_another(number: int, seconds: float) -> bool:
    """Whether a further signal, so long after the first, is meant as one: systems that stop a group of processes may
    send SIGTERM to each of them twice.
    """
    return number == signal.SIGINT or seconds > SAME_SECONDS


def _listen() -> None:
    assert _watchdog.pipe is not None
    _watchdog.process, seconds = None, _watchdog.seconds
    with contextlib.suppress(OSError):  # no shell here, or no memory: as it would be without
        _watchdog.process = subprocess.Popen(
            ["sh", "-c", _SCRIPT, "sh", str(seconds), str(int(90 * seconds)), str(os.getpid())],
            stdin=_watchdog.pipe[0],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # what a terminal sends to all, or kills with all, is not for it
            start_new_session=True,
        )


def _interrupt(number: int, frame: FrameType | None) -> Any:
    heard()
    return signal.default_int_handler(number, frame)


def _forget() -> None:
    """A forked process is another one, with no watchdog yet."""
    if _watchdog.pipe is not None:
        with contextlib.suppress(OSError, ValueError):
            signal.set_wakeup_fd(-1)
        for end in _watchdog.pipe:
            with contextlib.suppress(OSError):
                os.close(end)
        _watchdog.process = _watchdog.pipe = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
