"""Opening files in a directory that somebody else may have made.

Nothing in such a directory is trusted to be what its name says: a link leads
elsewhere, a FIFO never answers, a device never ends. Files are read and
written here, and only regular files that are where they seem to be: both in one
file, since what is looked at before a file is read is looked at before it is
replaced.
"""

import contextlib
import logging
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
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
        return _kind_of(os.fstat(place).st_mode if isinstance(place, int) else os.lstat(place).st_mode)
    except OSError:
        return None


def _kind_of(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    kinds = ((stat.S_ISLNK, "a link"), (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"))
    return next((name for is_one, name in kinds if is_one(mode)), "a device or a socket")


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

_DESCRIPTORS = {os.open, os.mkdir, os.rename, os.rmdir, os.unlink, os.stat} <= os.supports_dir_fd
"""Whether a file can be named by an open directory. Elsewhere (Windows) it is named by its path."""


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """What the system refuses in the block is told by its whole path, not by its name in an open directory."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


class Place:
    """A name in an open directory: whatever takes the place of that directory's path meanwhile, this one is meant."""

    def __init__(self, path: Path, directory: int | None) -> None:
        self.path, self.directory = path, directory

    @property
    def name(self) -> Path | str:
        return self.path if self.directory is None else self.path.name

    def open(self, flags: int, mode: int = 0o666) -> int:
        """A descriptor; links are not followed."""
        with _naming(self.path):
            return os.open(self.name, flags | _SAFELY, mode, dir_fd=self.directory)

    def kind(self) -> str | None:
        """What is there that is no regular file."""
        try:
            return _kind_of(os.stat(self.name, dir_fd=self.directory, follow_symlinks=False).st_mode)
        except OSError:
            return None

    def beside(self, name: str) -> "Place":
        return Place(self.path.with_name(name), self.directory)

    def move(self, to: "Place") -> None:
        """Takes the place of another in the same directory."""
        with _naming(to.path):
            os.replace(self.name, to.name, src_dir_fd=self.directory, dst_dir_fd=to.directory)

    def remove(self) -> None:
        """Takes the name away, if it is there."""
        with contextlib.suppress(FileNotFoundError), _naming(self.path):
            os.unlink(self.name, dir_fd=self.directory)

    def refused(self, what: str) -> InputError:
        return InputError(f"{self.path} is {what}, and nothing is written through it: move it away")


@contextlib.contextmanager
def placed(path: Path, inside: Path | None = None, make: bool = True) -> Iterator[Place]:
    """The place of a file, its directory held open.

    Args:
        path: of the file.
        inside: a directory above it, which may be reached by a link, and by default is the file's own. What lies
            between the two may be no link, be it that it became one a moment ago.
        make: whether what lies between is made where it is missing, and taken away again where the block fails.

    Raises:
        InputError: a directory between is a link, or no directory.
        OSError: the directory cannot be opened, or one between cannot be made.
    """
    root = path.parent if inside is None else inside
    if not _DESCRIPTORS:
        for part in path.parent.relative_to(root).parts:
            root = folder(root, part) if make else root / part
        yield Place(path, None)
        return
    with contextlib.ExitStack() as stack:
        directory = _directory(root)
        stack.callback(os.close, directory)
        for part in path.parent.relative_to(root).parts:
            root = root / part
            made = False
            if make:
                with contextlib.suppress(FileExistsError), _naming(root):
                    os.mkdir(part, dir_fd=directory)
                    made = True
            try:
                with _naming(root):
                    below = _directory(part, os.O_NOFOLLOW, directory)
            except OSError:
                what = Place(root, directory).kind()
                if what == "a directory" or not is_there(root):
                    raise
                raise InputError(f"{root} is {what or 'a file'}, and must be a directory: move it away") from None
            if made:
                stack.push(partial(_take_back, part, directory))
            stack.callback(os.close, below)
            directory = below
        yield Place(path, directory)


def _directory(path: Path | str, flags: int = 0, inside: int | None = None) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | flags, dir_fd=inside)


def _take_back(name: str, directory: int, failed: type[BaseException] | None, *_: object) -> None:
    """Removes a directory that was made for a file which could not be written, unless something else is in it."""
    if failed is not None:
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=directory)


def folder(root: Path, name: str) -> Path:
    """A directory inside another, made where there is none.

    Raises:
        InputError: it is a link, or no directory: what is written there would land elsewhere.
        OSError: it cannot be made.
    """
    with placed(root / name) as place:
        with contextlib.suppress(FileExistsError), _naming(place.path):
            os.mkdir(place.name, dir_fd=place.directory)
        what = place.kind()
    if what != "a directory":
        raise InputError(f"{root / name} is {what or 'a file'}, and must be a directory: move it away")
    return root / name


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
        if (what := _kind(descriptor)) is not None:
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
    """Appends to a log, as :class:`logging.FileHandler`, but never through a link."""

    def __init__(self, filename: str | Path, encoding: str = "utf-8") -> None:
        super().__init__(filename, mode="a", encoding=encoding)

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
def _replacing(path: Path, durable: bool, inside: Path | None) -> Iterator[tuple[Place, int]]:
    """The place of a temporary file, and its descriptor."""
    with placed(path, inside) as place:
        _remove_unfinished(place, {path.name})
        temporary, descriptor = _temporary(place)
        take(descriptor)  # until it is closed, be it by the system
        try:
            yield temporary, descriptor
            if durable:
                os.fsync(descriptor)
            temporary.move(place)
        except BaseException as error:
            temporary.remove()
            if isinstance(error, OSError) and error.errno is not None and error.filename is None:
                error.filename = str(path)  # a full disk says which descriptor it refuses, and no name
            raise
        finally:
            os.close(descriptor)


def _temporary(place: Place) -> tuple[Place, int]:
    """A new file beside another, with the rights that the user's files have, and its descriptor."""
    while True:
        temporary = place.beside(f".{place.path.name}.{secrets.token_hex(4)}")
        with contextlib.suppress(FileExistsError), _naming(place.path):
            return temporary, temporary.open(os.O_RDWR | os.O_CREAT | os.O_EXCL)


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
    if fcntl is None:
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
        return _kind(descriptor) is None and take(descriptor)
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
