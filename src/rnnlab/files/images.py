"""Images, folders of numbered frames, and video files."""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.errors import InputError
from rnnlab.extras import missing
from rnnlab.files.folders import is_hidden

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v")
WHITE = 255
LARGEST = 16_000
"""Pixels of a side of an image: of more it is none that a network reads."""


@dataclass(frozen=True)
class Clip:
    """What is read as one sequence of frames.

    Attributes:
        name: below the folder, as it was typed where it is no folder.
        paths: of a file a frame, in their order; or of one video.
        kind: the folder in which it lies, which may be a class.
    """

    name: str
    paths: tuple[Path, ...]
    kind: str = ""


@dataclass(frozen=True)
class Look:
    """How pixels become numbers.

    Attributes:
        color: three channels, red, green and blue; or one of greys.
        size: height and width to which images are brought; ``None`` for as they are.
        every: of the frames of a clip each so-manieth is read.
        longest: frames of a clip, its first; ``None`` for all.
    """

    color: bool = False
    size: tuple[int, int] | None = None
    every: int = 1
    longest: int | None = None

    @property
    def channels(self) -> int:
        return 3 if self.color else 1


def is_frames(path: Path) -> bool:
    """Whether it is a folder, an image or a video, by its name."""
    return path.is_dir() or path.suffix.lower() in (*IMAGES, *VIDEOS)


def in_order(path: Path) -> list[Any]:
    """By which names are sorted: numbers in them by their value, so that 10 comes after 9."""
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"(\d+)", path.name) if part]


def listing(folder: Path, key: str) -> list[Path]:
    """What lies in a folder, hidden files left out, in order.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return sorted((path for path in folder.iterdir() if not is_hidden(path.name)), key=in_order)
    except OSError as error:
        raise InputError(f"{key}: {folder} cannot be read: {error.strerror}") from None


def clips_of(path: Path, key: str, moving: bool) -> list[Clip]:
    """The clips of a folder and of those in it; each video is one, too.

    Args:
        path: a folder, an image or a video.
        key: what to name in a message.
        moving: images that lie side by side are the frames of one clip, and not clips of one frame.

    Raises:
        InputError: there are none.
    """
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"{key}: there is no such file")
        return [Clip(path.name, (path,), path.parent.name)]
    found = list(_clips(path, path, key, moving))
    if not found:
        raise InputError(f"{key}: there is no image in it ({', '.join(IMAGES[:3])} …), and no video ({VIDEOS[0]} …)")
    return found


def _clips(folder: Path, root: Path, key: str, moving: bool) -> Iterator[Clip]:
    entries = listing(folder, key)
    images = tuple(filter(_is_image, entries))

    def named(path: Path) -> str:
        return path.relative_to(root).as_posix() if path != root else root.name

    if moving and images:
        yield Clip(named(folder), images, folder.parent.name if folder != root else "")
    for path in entries:
        if path in images and not moving:
            yield Clip(named(path), (path,), folder.name)
        elif path.is_dir() and not path.is_symlink():  # which may lead around in a circle
            yield from _clips(path, root, key, moving)
        elif _is_video(path):
            yield Clip(named(path), (path,), folder.name)


def labelled_clips(folder: Path, key: str) -> tuple[list[Clip], bool]:
    """The clips of a folder that has a folder for each class, and whether they have more than one frame.

    An image that lies in the folder of a class is a clip of one frame; a folder of numbered frames in it is one, and so
    is a video.

    Raises:
        InputError: there are no classes, one has nothing in it, or it has images beside folders of frames or videos.
    """
    if not folder.is_dir():
        raise InputError(f"{key}: give a folder that has a folder for each class")
    classes = [path for path in listing(folder, key) if path.is_dir()]
    if len(classes) < 2:
        raise InputError(
            f"{key} has {len(classes)} folder{'s' * (len(classes) != 1)} in it, and a folder for each class is needed, "
            "two or more: data.predict=next_frames needs no classes"
        )
    found: list[Clip] = []
    for path in classes:
        single = [
            Clip(f"{path.name}/{each.name}", (each,), path.name) for each in listing(path, key) if _is_image(each)
        ]
        moving = [
            clip for clip in _clips(path, folder, key, True) if clip.paths[0].parent != path or _is_video(clip.paths[0])
        ]
        if single and moving:
            raise InputError(f"{key}: {path.name} has images beside {moving[0].name}: give either images or clips")
        if not single and not moving:
            raise InputError(f"{key}: the folder {path.name} has no image in it, and no video")
        found += single or [Clip(clip.name, clip.paths, path.name) for clip in moving]
    lone = {
        clip.kind: len(clip.paths) == 1 and _is_image(clip.paths[0]) and clip.name.count("/") == 1 for clip in found
    }
    if len(set(lone.values())) > 1:
        raise InputError(
            f"{key}: {next(k for k, v in lone.items() if v)} has images, and "
            f"{next(k for k, v in lone.items() if not v)} clips of several frames: give either"
        )
    return found, not next(iter(lone.values()))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGES and path.is_file()


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS and path.is_file()


def read_clip(clip: Clip, look: Look, frame: Sequence[int] | None = None) -> np.ndarray:
    """``(time, channels, height, width)`` of bytes.

    Args:
        clip: whose frames are read.
        look: how.
        frame: channels, height and width that the images must have; by default those of its first.

    Raises:
        InputError: a file is none, is broken, or is of another size than the first.
    """
    frames: list[np.ndarray] = []
    video = clip.paths[0].suffix.lower() in VIDEOS
    images = _video(clip.paths[0], look) if video else ((_image(path), path) for path in clip.paths)
    for image, place in islice(images, 0, None if look.longest is None else look.longest * look.every, look.every):
        found = as_array(image, look, str(place))
        expected = tuple(frame) if frame is not None else frames[0].shape if frames else found.shape
        if found.shape != expected:
            raise InputError(
                f"{place} is {found.shape[2]} x {found.shape[1]} pixels, and the others are {expected[2]} x "
                f"{expected[1]}: give images of one size, or train with data.frame_size=[{expected[1]},{expected[2]}], "
                "which brings all to it"
            )
        frames.append(found)
    if not frames:
        raise InputError(f"{clip.paths[0]} has no frame")
    return np.stack(frames)


def as_array(image: Any, look: Look, place: str) -> np.ndarray:
    """``(channels, height, width)`` of the bytes of an image of Pillow's.

    Raises:
        InputError: it is broken.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = _eight_bits(image)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:  # on black
                rgba = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, WHITE)), rgba)
            image = image.convert("RGB" if look.color else "L")
        if look.size is not None and image.size != look.size[::-1]:
            image = image.resize(look.size[::-1], Image.Resampling.BILINEAR, reducing_gap=3.0)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{place} is broken: {_brief(error)}") from None
    pixels = np.asarray(image, np.uint8)
    return pixels.transpose(2, 0, 1) if look.color else pixels[None]


def _eight_bits(image: Any) -> Any:
    """Greys of 16 bits as those of 8, which Pillow would cut off at white."""
    if not image.mode.startswith("I"):
        return image
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    return Image.fromarray((values / 65535 * WHITE).clip(0, WHITE).astype(np.uint8))


def _image(path: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(file)
            if max(image.size) > LARGEST:
                width, height = image.size
                raise InputError(f"{path} is {width} x {height} pixels, and at most {LARGEST} a side are read")
            image.load()
    except UnidentifiedImageError:
        raise InputError(f"{path} is no image, whatever its name says") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is broken: {_brief(error)}") from None
    return image


def _video(path: Path, look: Look) -> Iterator[tuple[Any, Path]]:
    try:
        import av
    except ImportError:
        raise missing("video", "av", f"the video {path}", "folders of numbered images work without it") from None
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path} has no picture")
            for frame in container.decode(video=0):
                yield frame.to_image(), path
    except av.FFmpegError as error:
        raise InputError(f"{path} is broken, or no video: {_brief(error)}") from None


def _brief(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]
