"""Folders of images and videos: classes, captions, frames."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from rnnlab.errors import InputError
from rnnlab.files.folders import is_hidden, visible
from rnnlab.files.images import IMAGES, VIDEOS, Clip, clips_of, labelled_clips
from rnnlab.files.source import SUFFIXES, Source
from rnnlab.start.description import Examples, Extent, Unclear
from rnnlab.start.sample import mentions
from rnnlab.start.wording import counted, refused

TABLES = (".csv", ".tsv", ".tab", ".jsonl", ".parquet")
LOOKED_AT = 300
"""Images of which the size is read."""
SIDE = 32
"""Pixels of a side to which larger images are brought for a first look."""
CAPTION = "caption"


def is_image(file: Path) -> bool:
    """Whether a file is an image or a video, by its name."""
    return file.suffix.lower() in (*IMAGES, *VIDEOS)


def look_at_images(path: Path, files: Sequence[Path]) -> Examples | Unclear | None:
    """Images and what is to be learned of them; ``None`` where there are none.

    Args:
        path: as the person gave it: a folder, a video, or a table of captions.
        files: below a folder, by name.

    Raises:
        InputError: it is one image by itself.
    """
    if not path.is_dir():
        if path.suffix.lower() in IMAGES:
            raise InputError(
                f"{path} is one image: a trained run takes it (rnnlab predict RUN --input {path}); training takes a "
                "folder of them: docs/pages/pictures.md"
            )
        if path.suffix.lower() in VIDEOS:
            return _frames(path, [path])
        columns = _caption_columns(path)
        if columns is None:
            return None
        return _captions(path.parent, path, columns, [file for file in visible(path.parent) if is_image(file)])
    images = [file for file in files if is_image(file)]
    if not images or 2 * len(images) < len(files):
        return None
    for table in (file for file in files if file.parent == path and file.suffix.lower() in TABLES):
        columns = _caption_columns(table)
        if columns is not None:
            return _captions(path, table, columns, images)
    try:
        clips, _ = labelled_clips(path, f"data.path={path}")
    except InputError:
        return _frames(path, images)
    kinds = Counter(clip.kind for clip in clips)
    if max(kinds.values()) == 1 or _are_numbered(kinds, images):  # a clip a folder, and no class
        return _frames(path, images)
    return _classes(path, clips, images)


# ---- captions --------------------------------------------------------------------------------------------


def _caption_columns(table: Path) -> tuple[str, str] | None:
    """The columns of a table that name an image and say what is to be said of it."""
    suffix = table.suffix.lower()
    if suffix not in TABLES or not mentions(table, IMAGES):
        return None
    try:
        frame = Source(str(table), SUFFIXES[suffix], table.read_bytes(), table).frame()
    except InputError:
        return None
    columns = {
        name: [str(cell).strip() for cell in frame[name].head(200) if cell is not None]
        for name in frame.columns
        if frame[name].dtype == pl.String
    }
    names = [name for name, cells in columns.items() if cells and all(cell.lower().endswith(IMAGES) for cell in cells)]
    texts = {
        name: sum(cell.count(" ") for cell in cells) / len(cells)
        for name, cells in columns.items()
        if cells and name not in names
    }
    if not names or not texts:
        return None
    return names[0], CAPTION if CAPTION in texts else max(texts, key=lambda name: texts[name])


def _captions(folder: Path, table: Path, columns: tuple[str, str], images: Sequence[Path]) -> Examples | Unclear:
    from rnnlab.data.captions import Captions

    image, caption = columns
    keys: dict[str, Any] = {
        key: value
        for key, value, usual in (("data.image_column", image, "image"), ("data.caption_column", caption, CAPTION))
        if value != usual
    }
    if sum(file.suffix.lower() in TABLES and not is_hidden(file.name) for file in folder.iterdir()) > 1:
        keys["data.table"] = table.name
    about = _about(folder, images)
    frame = Source(str(table), SUFFIXES[table.suffix.lower()], table.read_bytes(), table).frame()
    rows = [(str(a), str(b)) for a, b in zip(frame[image], frame[caption], strict=True) if a is not None]
    named = {name for name, _ in rows}
    words = Counter(word for _, text in rows for word in text.lower().split())
    there = {file.relative_to(folder).as_posix() for file in images}
    odd = []
    if missing := sorted(named - there):
        odd.append(f"of the table {counted(len(missing), 'images', 'are')} not there, such as {missing[0]}")
    if more := len(there - named):
        odd.append(f"{counted(more, 'images', 'have')} no caption: not read")
    if len(named) < 500:
        odd.append(f"{counted(len(named), 'images', 'are')} few: a network will learn them by heart")
    once = sum(count == 1 for count in words.values())
    lengths = [len(text.split()) for _, text in rows]
    return Examples(
        **about, data="captions", seen=f"{counted(len(named), 'images')} and what is to be said of each",
        keys=keys, odd=tuple(odd),
        facts=(
            ("table", f"{table.name}: images in '{image}', captions in '{caption}'"),
            ("captions", f"{len(rows):,} of {min(lengths):,} to {max(lengths):,} words; {len(words):,} different, "
             f"{once:,} of them once"),
            ("images", f"{_sizes(images)[0]}; brought to {Captions.frame_size} x {Captions.frame_size} "
                       "(data.frame_size)"),
        ),
        asks="how much of what is to be said of images that it never saw does it get right?",
        more=(({"model.attention": "none"}, "what is the attention over places worth?"),),
    )  # fmt: skip


# ---- classes and frames ----------------------------------------------------------------------------------


def _classes(path: Path, clips: Sequence[Clip], images: Sequence[Path]) -> Examples | Unclear:
    counts = Counter(clip.kind for clip in clips)
    frames = [len(clip.paths) for clip in clips]
    shown, keys = _sizes(images)
    what = "images" if max(frames) == 1 else "clips"
    odd = []
    if max(counts.values()) > 5 * min(counts.values()):
        odd.append(f"{max(counts.values()):,} of the largest class, {min(counts.values()):,} of the smallest")
    facts = [("classes", f"{len(counts)}: {', '.join(list(counts)[:5])}{', …' if len(counts) > 5 else ''}")]
    if max(frames) > 1:
        facts.append(("frames", f"{min(frames):,} to {max(frames):,} a clip"))
    return Examples(
        **_about(path, images), data="frames", seen=f"{len(clips):,} {what} with a class each", keys=keys,
        odd=tuple(odd),
        facts=(*facts, ("images", shown)), asks=f"how many {what} that it never saw get their class?",
    )  # fmt: skip


def _are_numbered(kinds: Iterable[str], images: Sequence[Path]) -> bool:
    """Whether folders have one name and a number each, and images have numbers: then they are frames of clips."""
    stems = {kind.rstrip("0123456789") for kind in kinds}
    return len(stems) == 1 and stems.isdisjoint(kinds) and all(re.search(r"\d$", file.stem) for file in images)


def _frames(path: Path, images: Sequence[Path]) -> Examples | Unclear:
    """Clips without classes: what comes next in them can be learned."""
    about = _about(path, images)
    try:
        clips = clips_of(path, f"data.path={path}", moving=True)
    except InputError as error:
        return Unclear(**about, seen="images", questions=(refused(error, "them"),))
    frames = [len(clip.paths) for clip in clips]
    video = any(file.suffix.lower() in VIDEOS for file in images)
    numbered = all(any(letter.isdigit() for letter in file.stem) for file in images)
    if not video and (max(frames) < 3 or not numbered):
        return Unclear(**about, seen="images without a class or a caption", questions=(
            "what is to be learned of them? A folder for each class (data=frames); a table of image,caption in the "
            "folder (data=captions); numbered frames of clips, a folder each (data=video)",
        ))  # fmt: skip
    shown, keys = _sizes(images)
    facts = [("clips", f"{len(clips):,}{'' if video else f' of {min(frames):,} to {max(frames):,} frames'}")]
    return Examples(
        **about, data="video", seen=f"{counted(len(clips), 'clips')} of frames, without a class",
        facts=(*facts, ("images", shown)),
        keys=keys, odd=("one or two clips: the test is their end",) if len(clips) < 3 else (),
        asks="how well is the next frame foretold, beside the last one?",
        more=(({"model": "conv_lstm"}, "and by a cell that convolves?"),),
    )  # fmt: skip


def _about(path: Path, images: Sequence[Path]) -> dict[str, Any]:
    form = "a folder" if path.is_dir() else "a video"
    return {
        "path": path,
        "form": form,
        "extent": Extent(sum(file.stat().st_size for file in images), len(images), unit="files"),
    }


def _sizes(images: Sequence[Path]) -> tuple[str, dict[str, Any]]:
    """The sizes and colours of images in words, and overrides that they need."""
    from PIL import Image

    found: Counter[tuple[int, int]] = Counter()
    colors = 0
    still = [file for file in images if file.suffix.lower() in IMAGES]
    for file in still[:: max(1, len(still) // LOOKED_AT)]:
        # what is broken training names
        with suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError), Image.open(file) as image:
            found[image.size] += 1
            colors += image.mode not in ("L", "1", "I", "I;16", "LA")
    if not found:
        return "frames of videos", {"data.frame_size": SIDE}
    keys: dict[str, Any] = {}
    largest = max(max(size) for size in found)
    if len(found) > 1 or largest > 2 * SIDE:
        keys["data.frame_size"] = SIDE
    if colors > sum(found.values()) / 2:
        keys["data.color"] = True
    (width, height), _ = found.most_common(1)[0]
    sizes = (
        f"{width} x {height} pixels" if len(found) == 1 else f"{len(found):,} sizes, mostly {width} x {height} pixels"
    )
    brought = f", brought to {SIDE} x {SIDE} (data.frame_size)" if "data.frame_size" in keys else ""
    return f"{sizes}, {'in colour' if colors else 'grey'}{brought}", keys
