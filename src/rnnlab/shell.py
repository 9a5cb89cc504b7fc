"""Commands and paths as a person can paste them into the shell where they were printed."""

import codecs
import contextlib
import io
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

from rnnlab.errors import visible

CALLED_FROM = "RNNLAB_CALLED_FROM"
"""Set by the Makefile: the directory of the shell that called make, which ``make -C`` leaves for another."""

ASCII = {
    "…": "...", "→": "->", "←": "<-", "×": "x", "±": "+-", "–": "-", "—": "-", "≤": "<=", "≥": ">=", "·": ".",
    "█": "#", "━": "-", "╸": "-", "╺": "-", "│": "|", "┃": "|", "─": "-", "═": "=",
    "√": "sqrt", "∞": "inf", "−": "-", "²": "^2", "•": "*", "✓": "v",
}  # fmt: skip
"""Signs that rnnlab itself prints, for terminals and logs that have fewer."""


def readable_streams() -> None:
    """Lets standard output and error take any text, whatever their encoding.

    A terminal of cp1252 or ASCII shows a sign that it does not have in ASCII, or as Python escapes it.
    """

    def spell(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeEncodeError)
        signs = error.object[error.start : error.end]
        spelt = "".join(ASCII.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in signs)
        return spelt, error.end

    codecs.register_error("rnnlab.spelt", spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="rnnlab.spelt")


LONGEST_FOR_SOCKETS = 60
"""Letters of a directory in which sockets can be made: the system takes 107, and their own names are long."""


def short_temporary_directory() -> None:
    """Where processes meet in a socket, its path must be short: with a long ``TMPDIR`` a shorter directory is taken."""
    if len(tempfile.gettempdir()) <= LONGEST_FOR_SOCKETS:
        return
    shorter = next((place for place in ("/tmp", "/var/tmp", "/dev/shm") if os.access(place, os.W_OK | os.X_OK)), None)
    if shorter is not None:
        tempfile.tempdir = os.environ["TMPDIR"] = shorter


_standing_for: ContextVar[tuple[str, ...] | None] = ContextVar("standing_for", default=None)


def command_line() -> list[str]:
    """The command that this process executes, or that a call from Python is equal to; run and sweep note it."""
    return list(_standing_for.get() or ("rnnlab", *sys.argv[1:]))


@contextlib.contextmanager
def standing_for(command: Sequence[str]) -> Iterator[None]:
    """Until the block ends, :func:`command_line` is this one."""
    token = _standing_for.set(tuple(command))
    try:
        yield
    finally:
        _standing_for.reset(token)


MODULES = {"tensorboard": "tensorboard.main"}


def shown_path(path: str | Path) -> str:
    """A path relative to the directory of the person's shell if it lies below it, else absolute."""
    absolute, here = Path(path).absolute(), _shell()
    return visible(str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute))


def pasted(*words: str | Path, program: str = "rnnlab", directory: str | None = None) -> str:
    """A command line, quoted for the shell, that runs the program of this Python environment.

    Args:
        words: its arguments; a :class:`Path` is shown as by :func:`shown_path`.
        program: ``rnnlab`` or ``tensorboard``.
        directory: where it was run first, which relative paths and modules among its arguments mean.

    Returns:
        ``rnnlab resume outputs/first`` where that is the ``rnnlab`` that the shell finds; with the path of the program
        where the environment is not activated.
    """
    arguments = [shown_path(word) if isinstance(word, Path) else word for word in words]
    elsewhere = directory is not None and os.path.isdir(directory) and not os.path.samefile(directory, _shell())
    start = _start(program, relative=not elsewhere)
    return f"{f'cd {shlex.quote(str(directory))} && ' if elsewhere else ''}{start} {shlex.join(arguments)}"


def allowing(names: Iterable[str]) -> list[str]:
    """The words of a command that trust these."""
    return [word for name in dict.fromkeys(names) for word in ("--allow", name)]


def _shell() -> Path:
    """The directory of the person's shell."""
    caller = os.environ.get(CALLED_FROM, "")
    return Path(caller) if os.path.isdir(caller) else Path.cwd()


def _start(program: str, relative: bool) -> str:
    ours, found = Path(sys.executable).with_name(program), shutil.which(program)
    if not ours.exists():
        # installed for the user, or elsewhere: whatever the shell finds, or the module
        return program if found else f"{shlex.quote(sys.executable)} -m {MODULES.get(program, program)}"
    if found and os.path.samefile(found, ours):
        return program
    return shlex.quote(shown_path(ours) if relative else str(ours))
