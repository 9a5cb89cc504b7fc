"""Reading and replacing files in a directory that somebody else may have made.

Nothing in such a directory is trusted to be what its name says: a link leads
elsewhere, a FIFO never answers, a device never ends. Only regular files that
are where they seem to be (:mod:`rnnlab.store.open_directory`) are read and written.
"""

import contextlib
import logging
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from rnnlab.errors import InputError, one_line
from rnnlab.store.open_directory import SAFELY, Place, is_there, kind, naming, placed

if sys.platform != "win32":
    import fcntl

UNFINISHED = re.compile(r"\.(.+)\.[a-z0-9_]{8}")
"""A temporary file of :func:`replacing`, and the name that it was to get."""


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
        descriptor = os.open(path, os.O_RDONLY | SAFELY)
    except FileNotFoundError:
        raise
    except OSError:
        if (what := kind(path)) is not None:
            raise Damaged(path, f"it is {what}, and must be a regular file") from None
        raise
    what = kind(descriptor)
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


def endless(path: Path | str) -> str | None:
    """What something is, links followed, that can be read only once or never ends; ``None`` for all else."""
    kinds = (
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return None
    return next((name for is_one, name in kinds if is_one(mode)), None)


# ---- writing --------------------------------------------------------------------------------------


def open_to_append(path: Path) -> int:
    """A descriptor of a file that is written at its end, made where there is none; links are not followed.

    Raises:
        InputError: it is a link, or no regular file.
        OSError: it cannot be written.
    """
    with placed(path) as place:
        try:
            descriptor = place.open(os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        except OSError:
            if (what := place.kind()) is not None:
                raise place.refused(what) from None
            raise
        if (what := kind(descriptor)) is not None:
            os.close(descriptor)
            raise place.refused(what)
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
    """Appends to a log, as :class:`logging.FileHandler`, but never through a link, and no more once it is closed: the
    one of Python opens its file again for a late record, and nobody closes it then.
    """

    def __init__(self, filename: str | Path, encoding: str = "utf-8") -> None:
        super().__init__(filename, mode="a", encoding=encoding)
        self._is_over = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self._is_over:
            super().emit(record)

    def close(self) -> None:
        self._is_over = True
        super().close()

    def _open(self) -> Any:
        return open(open_to_append(Path(self.baseFilename)), "a", encoding=self.encoding, errors="backslashreplace")


def replace(path: Path, content: str | bytes | memoryview, durable: bool = True, *, inside: Path | None = None) -> None:
    """Writes a file whole: what stood there before stays until the new one is on the disk.

    Args:
        path: of the file; a link of that name is replaced, not followed.
        content: all of it.
        durable: wait for the disk; not for what could be written anew if the power were lost.
        inside: see :func:`placed`.

    Raises:
        InputError: as :func:`placed`.
        OSError: it cannot be written.
    """
    replace_all({path: content}, durable, inside=inside)


def replace_all(
    contents: Mapping[Path, str | bytes | memoryview], durable: bool = True, *, inside: Path | None = None
) -> None:
    """The same of several files: none takes its place before all are on the disk."""
    with contextlib.ExitStack() as stack:
        for path, content in contents.items():
            _, descriptor = stack.enter_context(_replacing(path, durable, inside))
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                os.fsync(descriptor)


@contextlib.contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place when the block ends well, for whoever writes to a path.

    Those that killed processes have left of the same file are cleared away.
    """
    with _replacing(path, durable, None) as (temporary, _):
        yield temporary.path


@contextlib.contextmanager
def _replacing(
    path: Path, durable: bool, inside: Path | None, settle: Callable[[Place, Place], None] = Place.move
) -> Iterator[tuple[Place, int]]:
    """The place of a temporary file, and its descriptor; ``settle`` gives it its name in the end."""
    with placed(path, inside) as place:
        _remove_unfinished(place, {path.name})
        temporary, descriptor = _temporary(place)
        try:
            yield temporary, descriptor
            if durable:
                os.fsync(descriptor)
            settle(temporary, place)
        except BaseException as error:
            temporary.remove()
            if isinstance(error, OSError) and error.errno is not None and error.filename is None:
                error.filename = str(path)  # a full disk says which descriptor it refuses, and no name
            raise
        finally:
            os.close(descriptor)


def _temporary(place: Place) -> tuple[Place, int]:
    """A new file beside another, with the rights that the user's files have, and its descriptor.

    It is locked until it is closed, by the system at the latest: so whoever clears away sees that it is being written.
    One that was cleared away before it could be locked is left to that, and another made.
    """
    while True:
        temporary = place.beside(f".{place.path.name}.{secrets.token_hex(4)}")
        with contextlib.suppress(FileExistsError), naming(place.path):
            descriptor = temporary.open(os.O_RDWR | os.O_CREAT | os.O_EXCL)
            if take(descriptor) and temporary.is_there():
                return temporary, descriptor
            os.close(descriptor)


def create(path: Path, content: str) -> None:
    """Makes a file that must not be there yet, with all that belongs into it or not at all.

    What a killed process leaves of it is cleared away as that of :func:`replace` is.

    Raises:
        FileExistsError: it is there.
        OSError: it cannot be written.
    """

    def settle(temporary: Place, place: Place) -> None:
        try:
            temporary.link(place)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            with open(place.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w", encoding="utf-8") as file:
                file.write(content)
        temporary.remove()

    with _replacing(path, True, None, settle) as (_, descriptor), open(descriptor, "wb", closefd=False) as file:
        file.write(content.encode())


def remove(path: Path, inside: Path | None = None) -> None:
    """Takes a file away, if it is there.

    Raises:
        InputError: as :func:`placed`.
        OSError: it cannot be taken away.
    """
    with contextlib.suppress(FileNotFoundError), placed(path, inside, make=False) as place:
        place.remove()


def take(descriptor: int) -> bool:
    """Locks an open file, if nobody else has; where a file system has no locks, it is to be had."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_abandoned(place: Place) -> bool:
    """Whether the process that wrote a temporary file is gone."""
    try:
        descriptor = place.open(os.O_RDONLY)
    except OSError:
        return False
    try:
        return kind(descriptor) is None and take(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(directory: Path, names: Iterable[str]) -> None:
    """Clears away the temporary files of processes that were killed while they replaced one of these."""
    with contextlib.suppress(OSError), placed(directory / "any") as place:
        _remove_unfinished(place, set(names))


def _remove_unfinished(place: Place, names: Collection[str]) -> None:
    with contextlib.suppress(OSError):
        for name in os.listdir(place.path.parent if place.directory is None else place.directory):
            found = UNFINISHED.fullmatch(name)
            if found and found[1] in names and _is_abandoned(place.beside(name)):
                with contextlib.suppress(OSError):
                    place.beside(name).remove()


def refuse_unwritable(path: Path, shown: str, advice: str = "") -> None:
    """Refuses a file or directory that could not be made, before anything is computed that it is to hold.

    Args:
        path: of it; directories above it may still have to be made.
        shown: what the message calls it.
        advice: what to do instead.

    Raises:
        InputError: the nearest directory above it that there is takes nothing new.
    """
    above = next(parent for parent in path.absolute().parents if parent.is_dir())
    if not os.access(above, os.W_OK | os.X_OK):
        more = f": {advice}" if advice else ""
        raise InputError(f"{shown} cannot be written: {above} may not be written in{more}")


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
        if is_there(directory / name) and (what := kind(directory / name)) is not None:
            raise InputError(f"{directory / name} is {what}, and nothing is written through it: move it away")
    for name in folders:
        if not is_there(directory / name):
            continue
        what = kind(directory / name)
        if what != "a directory":
            raise InputError(f"{directory / name} is {what or 'a file'}, and must be a directory: move it away")
        with os.scandir(directory / name) as scan:
            entries = list(scan)
        for entry in entries:
            if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                raise InputError(f"{entry.path} is {kind(Path(entry.path))}, and nothing is written through it: "
                                 "move it away")  # fmt: skip
