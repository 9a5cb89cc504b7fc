"""Folders that hold files of several kinds: which of them are the data, and what is passed over."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rnnlab.files.folders import is_text
from rnnlab.files.images import IMAGES, VIDEOS
from rnnlab.files.sound import SUFFIXES as SOUNDS
from rnnlab.files.table import PARQUET
from rnnlab.shell import shown_path
from rnnlab.start.advice import override
from rnnlab.start.description import Extent, Unclear
from rnnlab.start.sample import JSON_LINES
from rnnlab.start.wording import counted

TABLES = (".csv", ".tsv", ".tab", *PARQUET, *JSON_LINES)
OTHERS = "other files"


def kind_of(file: Path) -> str:
    """What a file is, in the plural."""
    suffix = file.suffix.lower()
    kinds = {"tables": TABLES, "images": IMAGES, "videos": VIDEOS, "sounds": SOUNDS}
    named = next((kind for kind, suffixes in kinds.items() if suffix in suffixes), None)
    return named or ("texts" if is_text(file) else OTHERS)


def kinds_in_words(files: Sequence[Path]) -> str:
    """How many files of which kind there are, the commonest first."""
    return ", ".join(counted(number, kind) for kind, number in Counter(map(kind_of, files)).most_common())


def which(folder: Path, files: Sequence[Path]) -> Unclear | None:
    """The question which files of a folder are the data, where most are no texts; ``None`` where they are."""
    kinds = Counter(kind for kind in map(kind_of, files) if kind != OTHERS)
    if len(kinds) < 2 or 2 * kinds["texts"] > kinds.total():
        return None
    size = sum(file.stat().st_size for file in files)
    return Unclear(
        path=folder, form="a folder", extent=Extent(size, len(files), unit="files"),
        seen=f"files of several kinds ({kinds_in_words(files)})", questions=(_ways(folder, files, kinds),),
    )  # fmt: skip


def passed_over(files: Sequence[Path], kept: Sequence[Path], remedy: str = "") -> tuple[str, ...]:
    """A line on those of some files that are none of those that are kept, and what to do about them."""
    passed = [file for file in files if file not in set(kept)]
    return (f"passed over: {kinds_in_words(passed)}{f' ({remedy})' if remedy else ''}",) if passed else ()


def _ways(folder: Path, files: Sequence[Path], kinds: Counter[str]) -> str:
    ways = []
    if kinds["texts"]:
        ending = Counter(file.suffix for file in files if kind_of(file) == "texts").most_common(1)[0][0]
        chosen = (
            override("data.path", shown_path(folder)),
            override("data.pattern", f"*{ending}" if ending else "PATTERN"),
        )
        ways.append(f"rnnlab train data=text {shlex.join(chosen)} reads texts")
    if kinds["tables"]:
        table = next(file for file in files if kind_of(file) == "tables")
        ways.append(f"rnnlab start {shlex.quote(shown_path(table))} looks at a table")
    if further := [kind for kind in ("images", "videos", "sounds") if kinds[kind]]:
        ways.append(f"{' and '.join(further)} need a folder of their own")
    return f"which of them are the data? {'; '.join(ways)}"
