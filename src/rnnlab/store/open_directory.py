"""Files named by their name in an open directory (``openat``), so that no link put into their path leads elsewhere.

Whatever is written goes through :func:`placed`; :mod:`rnnlab.store.files` says how.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rnnlab.errors import InputError

# what a system does not have asks for nothing
SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def is_there(path: Path) -> bool:
    """Whether there is anything of this name, a link that leads nowhere included."""
    return os.path.lexists(path)


def kind(place: Path | int) -> str | None:
    """What something is that is no regular file."""
    try:
        return kind_of(os.fstat(place).st_mode if isinstance(place, int) else os.lstat(place).st_mode)
    except OSError:
        return None


def kind_of(mode: int) -> str | None:
    """The same by its mode."""
    if stat.S_ISREG(mode):
        return None
    kinds = ((stat.S_ISLNK, "a link"), (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"))
    return next((name for is_one, name in kinds if is_one(mode)), "a device or a socket")


DESCRIPTORS = {os.open, os.mkdir, os.rename, os.rmdir, os.unlink, os.stat} <= os.supports_dir_fd
"""Whether a file can be named by an open directory. Elsewhere (Windows) it is named by its path."""


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
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
        with naming(self.path):
            return os.open(self.name, flags | SAFELY, mode, dir_fd=self.directory)

    def kind(self) -> str | None:
        """What is there that is no regular file."""
        try:
            return kind_of(os.stat(self.name, dir_fd=self.directory, follow_symlinks=False).st_mode)
        except OSError:
            return None

    def is_there(self) -> bool:
        """Whether anything has this name."""
        try:
            os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def beside(self, name: str) -> "Place":
        return Place(self.path.with_name(name), self.directory)

    def move(self, to: "Place") -> None:
        """Takes the place of another in the same directory."""
        with naming(to.path):
            os.replace(self.name, to.name, src_dir_fd=self.directory, dst_dir_fd=to.directory)

    def link(self, to: "Place") -> None:
        """Gives the file a second name in the same directory, which must not be there yet."""
        with naming(to.path):
            os.link(self.name, to.name, src_dir_fd=self.directory, dst_dir_fd=to.directory)

    def remove(self) -> None:
        """Takes the name away, if it is there."""
        with contextlib.suppress(FileNotFoundError), naming(self.path):
            os.unlink(self.name, dir_fd=self.directory)

    def refused(self, what: str) -> InputError:
        return InputError(f"{self.path} is {what}, and nothing is written through it: move it away")


@contextlib.contextmanager
def placed(path: Path, inside: Path | None = None, make: bool = True) -> Iterator[Place]:
    """The place of a file, its directory held open.

    Args:
        path: of the file.
        inside: a directory above it, which may be reached by a link, and by default is the file's own. What lies
            between the two may be no link, not even one that was made a moment ago.
        make: whether what lies between is made where it is missing, and taken away again where the block fails.

    Raises:
        InputError: a directory between is a link, or no directory.
        OSError: the directory cannot be opened, or one between cannot be made.
    """
    root = path.parent if inside is None else inside
    if not DESCRIPTORS:
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
                with contextlib.suppress(FileExistsError), naming(root):
                    os.mkdir(part, dir_fd=directory)
                    made = True
            try:
                with naming(root):
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
        with contextlib.suppress(FileExistsError), naming(place.path):
            os.mkdir(place.name, dir_fd=place.directory)
        what = place.kind()
    if what != "a directory":
        raise InputError(f"{root / name} is {what or 'a file'}, and must be a directory: move it away")
    return root / name
