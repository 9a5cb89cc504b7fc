"""Opening files in a directory that somebody else may have made.

Nothing in such a directory is trusted to be what its name says: a link leads
elsewhere, a FIFO never answers, a device never ends. Files are read and
written here, and only regular files that are where they seem to be.
"""

import contextlib
import logging
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from rnnlab.errors import InputError, one_line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

UNFINISHED = re.compile(r"\.(.+)\.[a-z0-9_]{8}")
"""A temporary file of :func:`replacing`, and the name that it was to get."""


# what a system does not have asks for nothing
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class Damaged(InputError):
    """A file of a run that cannot be used: the message names it and says in a line what is wrong with it."""

    def __init__(self, path: str | Path, what: str) -> None:
        super().__init__(f"{path} is damaged: {one_line(what)}")


# ---- reading --------------------------------------------------------------------------------------


def open_regular(path: Path) -> IO[bytes]:
    """Opens a regular file for reading, without following a link and without waiting for anybody.

    Raises:
        FileNotFoundError: there is none.
        Damaged: it is a link, a directory, a FIFO, a socket or a device.
        OSError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _SAFELY)
    except FileNotFoundError:
        raise
    except OSError:
        if (what := _kind(path)) is not None:
            raise Damaged(path, f"it is {what}, and must be a regular file") from None
        raise
    what = _kind(descriptor)
    if what is not None:
        os.close(descriptor)
        raise Damaged(path, f"it is {what}, and must be a regular file")
    return open(descriptor, "rb")


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file.

    Args:
        path: of the file.
        limit: bytes that such a file can sensibly have.

    Raises:
        FileNotFoundError: there is none.
        Damaged: it is no regular file, or larger.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise Damaged(path, f"it has more than {limit:,} bytes")
    return content


def read_text(path: Path, limit: int) -> str:
    """The same of a text in UTF-8.

    Raises:
        FileNotFoundError: there is none.
        Damaged: it is no regular file, larger, or no UTF-8.
        OSError: it cannot be read.
    """
    try:
        return read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Damaged(path, f"it is no UTF-8 at byte {error.start}") from None


def is_there(path: Path) -> bool:
    """Whether there is anything of this name, a link that leads nowhere included."""
    return os.path.lexists(path)


def _kind(place: Path | int) -> str | None:
    """What something is that is no regular file."""
    try:
        mode = os.fstat(place).st_mode if isinstance(place, int) else os.lstat(place).st_mode
    except OSError:
        return None
    if stat.S_ISREG(mode):
        return None
    kinds = ((stat.S_ISLNK, "a link"), (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"))
    return next((name for is_one, name in kinds if is_one(mode)), "a device or a socket")


# ---- writing --------------------------------------------------------------------------------------


def folder(root: Path, name: str) -> Path:
    """A directory inside another, made where there is none.

    Raises:
        InputError: it is a link, or no directory: what is written there would land elsewhere.
        OSError: it cannot be made.
    """
    path = root / name
    with contextlib.suppress(FileExistsError):
        path.mkdir()
    what = _kind(path)
    if what != "a directory":
        raise InputError(f"{path} is {what or 'a file'}, and must be a directory: move it away")
    return path


def open_to_append(path: Path) -> int:
    """A descriptor of a file that is written at its end, made where there is none; links are not followed.

    Raises:
        InputError: it is a link, or no regular file.
        OSError: it cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _SAFELY
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError:
        if (what := _kind(path)) is not None:
            raise InputError(f"{path} is {what}, and nothing is written through it: move it away") from None
        raise
    if (what := _kind(descriptor)) is not None:
        os.close(descriptor)
        raise InputError(f"{path} is {what}, and nothing is written through it: move it away")
    return descriptor


def append(path: Path, content: bytes) -> None:
    """Adds to a file in one write, so that a kill leaves all of it or nothing.

    Raises:
        InputError: it is a link, or no regular file.
        OSError: it cannot be written.
    """
    with open(open_to_append(path), "ab", buffering=0) as file:
        written = file.write(content)
        if written != len(content):  # the disk is full: the second write says so
            file.write(content[written:])


class LogFile(logging.FileHandler):
    """Appends to a log, as :class:`logging.FileHandler`, but never through a link."""

    def __init__(self, filename: str | Path, encoding: str = "utf-8") -> None:
        super().__init__(filename, mode="a", encoding=encoding)

    def _open(self) -> Any:
        return open(open_to_append(Path(self.baseFilename)), "a", encoding=self.encoding, errors="backslashreplace")


def replace(path: Path, content: str | bytes | memoryview, durable: bool = True) -> None:
    """Writes a file whole: what stood there before stays until the new one is on the disk.

    Args:
        path: of the file; a link of that name is replaced, not followed.
        content: all of it.
        durable: wait for the disk; not for what could be written anew if the power were lost.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(path, durable) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place when the block ends well.

    Those that killed processes have left of the same file are cleared away.
    """
    remove_unfinished(path.parent, [path.name])
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    take(handle)  # until the handle is closed, be it by the system
    try:
        yield temporary
        if durable:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def take(descriptor: int) -> bool:
    """Locks an open file, if nobody else has; where a file system has no locks, it is to be had."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_abandoned(path: str) -> bool:
    """Whether the process that wrote a temporary file is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return take(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(directory: Path, names: Iterable[str]) -> None:
    """Clears away the temporary files of processes that were killed while they replaced one of these."""
    wanted = set(names)
    with contextlib.suppress(OSError):
        with os.scandir(directory) as scan:
            entries = list(scan)
        for entry in entries:
            found = UNFINISHED.fullmatch(entry.name)
            if found and found[1] in wanted and entry.is_file(follow_symlinks=False) and _is_abandoned(entry.path):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def refuse_links(directory: Path, files: Iterable[str], folders: Iterable[str]) -> None:
    """Refuses a directory in which what is going to be written would land elsewhere.

    Other libraries write there, too, and follow links.

    Args:
        directory: that will be written in.
        files: names of files in it; those that are not there are fine.
        folders: names of directories in it, with whatever they hold.

    Raises:
        InputError: something of these names is a link, or not what it must be.
    """
    for name in files:
        if is_there(directory / name) and (what := _kind(directory / name)) is not None:
            raise InputError(f"{directory / name} is {what}, and nothing is written through it: move it away")
    for name in folders:
        if not is_there(directory / name):
            continue
        what = _kind(directory / name)
        if what != "a directory":
            raise InputError(f"{directory / name} is {what or 'a file'}, and must be a directory: move it away")
        with os.scandir(directory / name) as scan:
            entries = list(scan)
        for entry in entries:
            if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                raise InputError(f"{entry.path} is {_kind(Path(entry.path))}, and nothing is written through it: "
                                 "move it away")  # fmt: skip
