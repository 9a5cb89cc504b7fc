"""Images of one's own, and what is to be said of them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rnnlab.data.caption_data import CaptionData, Captioned
from rnnlab.data.glyph_captions import GlyphCaptions
from rnnlab.data.text_encoder import normalize, tokens
from rnnlab.errors import InputError
from rnnlab.files.folders import is_hidden
from rnnlab.files.images import Clip, Look, read_clip
from rnnlab.files.memory import gigabytes, machine_memory
from rnnlab.files.source import SUFFIXES, Source, existing
from rnnlab.shapes import FilePath, PositiveInt

TABLES = (".csv", ".tsv", ".tab", ".jsonl", ".parquet")


@dataclass(kw_only=True, eq=False)
class Captions(CaptionData):
    """A folder of images with a table that says what is to be said of each.

    ::

        data.path=FOLDER     FOLDER/captions.csv     image,caption
                                                     cats/1.png,a cat on a table
                                                     cats/1.png,a table with a cat      <- two right answers
                             FOLDER/cats/1.png

    Each caption is learned by itself; in validation and test each of an image's counts as right. Without a path the
    images are those of ``data=glyph_captions``.

    Attributes:
        path: the folder; ``None`` for the glyphs.
        table: the file in it; ``None`` for the only table there.
        image_column: of the table, names of files below the folder.
        caption_column: of the table.
        frame_size: pixels of a side to which images are brought.
        color: three channels; or one, of greys.
        lower: capitals count as small letters.
        max_words: captions that are longer are left out.

    Raises:
        InputError: the table or an image is missing or broken, a row lacks a side, or there are too few images.
    """

    path: FilePath | None = None
    table: str | None = None
    image_column: str = "image"
    caption_column: str = "caption"
    frame_size: PositiveInt = 32
    color: bool = True
    lower: bool = True
    max_words: PositiveInt = 50
    every_caption = True

    @cached_property
    def _rule(self) -> GlyphCaptions:
        return GlyphCaptions(frame_size=self.frame_size, fonts=1)

    @property
    def _key(self) -> str:
        return f"data.path={self.path}"

    @cached_property
    def _file(self) -> Path:
        """The table."""
        assert self.path is not None
        folder = Path(self.path).expanduser()
        if not folder.is_dir():
            raise InputError(f"{self._key}: there is no such folder")
        there = sorted(
            file.name for file in folder.iterdir() if file.suffix.lower() in TABLES and not is_hidden(file.name)
        )
        if self.table is None and len(there) != 1:
            listed = f"{len(there)}: {', '.join(there[:5])}" if there else "none"
            raise InputError(
                f"{self._key}: one table ({', '.join(TABLES)}) says the captions, and there is {listed}: give "
                "data.table=NAME"
            )
        name = there[0] if self.table is None else self.table
        if name not in there:
            raise InputError(
                f"data.table={name}: there is no such table in {folder} (there is {', '.join(there) or 'none'})"
            )
        return folder / name

    @cached_property
    def _captions(self) -> dict[str, list[str]]:
        """Of each image, in the order of the table."""
        file = self._file
        source = Source(str(file), SUFFIXES[file.suffix.lower()], file.read_bytes(), file)
        columns = (self.image_column, self.caption_column)
        frame = source.frame(wanted=columns)
        images, captions = (existing(frame, column, str(file)) for column in columns)
        found: dict[str, list[str]] = {}
        for row, (name, caption) in enumerate(zip(images, captions, strict=True), 1):
            image, text = str(name or "").strip(), normalize(str(caption or ""), "NFC", self.lower)
            if not image or not tokens(text, "word"):
                raise InputError(f"{file}, row {row}: it has no {columns[0] if not image else columns[1]}")
            if len(tokens(text, "word")) <= self.max_words and text not in found.setdefault(image, []):
                found[image].append(text)
        return {image: texts for image, texts in found.items() if texts}

    @cached_property
    def examples(self) -> list[Captioned]:
        if self.path is None:
            return self._rule.examples
        folder, look = self._file.parent.resolve(), Look(self.color, (self.frame_size, self.frame_size))
        needed = 8 * look.channels * self.frame_size**2 * sum(map(len, self._captions.values()))
        if needed > machine_memory():
            raise InputError(
                f"{self._key}: its images need about {gigabytes(needed)} of memory, and this machine has "
                f"{gigabytes(machine_memory())}: give a smaller data.frame_size"
            )
        found = []
        for number, (name, texts) in enumerate(self._captions.items()):
            file = folder / name
            if not file.resolve().is_relative_to(folder) or not file.is_file():
                raise InputError(f"{self._file} names the image {name}, and there is none below {folder}")
            pixels = read_clip(Clip(name, (file,)), look)[0]
            found.append(Captioned(pixels, tuple(texts), number))
        return found

    @property
    def about(self) -> str:
        if self.path is None:
            return self._rule.about
        return f"{len(self._captions):,} images with {sum(map(len, self._captions.values())):,} captions"

    @property
    def reading(self) -> dict[str, Any]:
        return {**super().reading, "resize": self.path is not None}
