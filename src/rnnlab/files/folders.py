"""Which files of a folder are data, and not what programs and people put beside it."""

import logging
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from rnnlab.errors import few
from rnnlab.files.lines import BINARY, is_binary, wide_encoding

log = logging.getLogger("rnnlab")

LEFT_BY_PROGRAMS = ("thumbs.db", "desktop.ini", "__macosx", "icon\r", "lost+found")
"""Names of what file managers and archivers leave behind, besides what begins with a point or with ``~$``."""
COMPANION = re.compile(r"(?:readme|licen[cs]e|copying|changelog|contributing|citation)(?:[-_. ].*)?")
"""Names of files about data."""
PROSE = ("", ".md", ".markdown", ".rst", ".txt", ".html", ".pdf", ".cff", ".bib")


def is_hidden(name: str) -> bool:
    """Whether a file or a folder of that name is none that people see or made."""
    return name.startswith((".", "~$")) or name.lower() in LEFT_BY_PROGRAMS


def is_companion(file: Path) -> bool:
    """Whether a file says something about data, by its name: ``README.md``, ``LICENSE``."""
    return file.suffix.lower() in PROSE and COMPANION.fullmatch(file.name.lower()) is not None


def is_text(file: Path) -> bool:
    """Whether a file is a text, in whatever encoding, as far as its first bytes tell."""
    try:
        with open(file, "rb") as stream:
            start = stream.read(BINARY)
    except OSError:
        return True  # whoever reads it says more
    return not is_binary(start) or wide_encoding(start) is not None


def visible(folder: Path, pattern: str = "*") -> list[Path]:
    """The files of a folder and of those in it, by name, without hidden ones."""
    return [
        file
        for file in sorted(folder.rglob(pattern))
        if not any(map(is_hidden, file.relative_to(folder).parts)) and file.is_file()
    ]


def files_below(
    folder: Path,
    pattern: str = "*",
    of_a_kind: Callable[[list[Path]], list[Path]] | None = None,
    remedy: str = "",
) -> list[Path]:
    """The files of a folder and of those in it that are data, by name; which visible ones are not is said, once.

    Args:
        folder: whose files are looked at.
        pattern: which of them; where it is not ``*``, all that match are data.
        of_a_kind: those among some files that are of a kind that is read; where there are none, all are data.
        remedy: what to do where those that are passed over are data.
    """
    files = visible(folder, pattern)
    if pattern != "*":
        return files
    kept = without_companions(files)
    if of_a_kind is not None:
        kept = of_a_kind(kept) or kept
    say_passed_over(folder, files, kept, remedy)
    return kept


def without_companions(files: list[Path]) -> list[Path]:
    """Those that are data, by their names; all where none is."""
    return [file for file in files if not is_companion(file)] or files


def say_passed_over(folder: Path, files: Iterable[Path], kept: Iterable[Path], remedy: str = "") -> None:
    """Says, once, which files of a folder are none of those that are kept."""
    among = set(kept)
    names = tuple(file.relative_to(folder).as_posix() for file in files if file not in among)
    if names:
        _say(folder, names, remedy)


@lru_cache(maxsize=256)
def _say(folder: Path, names: tuple[str, ...], remedy: str) -> None:
    verb = "is" if len(names) == 1 else "are"
    why = "passed over, by name or by kind"
    log.warning("%s: %s %s %s%s", folder, few(names), verb, why, f" ({remedy})" if remedy else "")


def texts_among(files: list[Path]) -> list[Path]:
    """Files of kinds, by their endings, that have texts among them: another file of such a kind is a damaged text."""
    kinds = {file.suffix.lower() for file in files}
    texts = {kind for kind in kinds if any(is_text(file) for file in files if file.suffix.lower() == kind)}
    return [file for file in files if file.suffix.lower() in texts]
