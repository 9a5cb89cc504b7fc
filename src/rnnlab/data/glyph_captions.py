"""Letters and what Unicode calls them."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.data.caption_data import CaptionData, Captioned
from rnnlab.files.images import WHITE
from rnnlab.ranges import PositiveInt

FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif-Bold")
"""That come with matplotlib."""
SCRIPTS = ("LATIN", "GREEK", "CYRILLIC")
BLOCKS = ((0x41, 0x250), (0x370, 0x530), (0x1E00, 0x2000))
"""Basic Latin to Latin Extended-B, Greek and Cyrillic; Latin Extended Additional and Greek Extended."""


@dataclass(kw_only=True, eq=False)
class GlyphCaptions(CaptionData):
    """The letters of three alphabets in the fonts that come with matplotlib, and their names in Unicode.

    ::

        inputs (1, 1024)  ώ, an image of 32 x 32 pixels     target (8,)  GREEK SMALL LETTER OMEGA WITH TONOS <end>

    A letter is in one split alone, in all its fonts, and together with those that look the same, such as the Greek
    capital alpha and the Latin A: each of their names counts as right. So no name of the test was ever seen as a whole;
    its words were, in other names.

    Attributes:
        frame_size: pixels of a side of the image.
        fonts: how many of the fonts, from the first.
        min_letters: letters whose name has a word that fewer letters have are left out.
    """

    frame_size: PositiveInt = 32
    fonts: PositiveInt = 4
    min_letters: PositiveInt = 5

    @cached_property
    def examples(self) -> list[Captioned]:
        from matplotlib import get_data_path
        from matplotlib.ft2font import FT2Font
        from PIL import ImageFont

        folder = Path(get_data_path()) / "fonts" / "ttf"
        pictures: list[tuple[str, np.ndarray]] = []
        for font in FONTS[: self.fonts]:
            file = str(folder / f"{font}.ttf")
            there, pen = set(FT2Font(file).get_charmap()), ImageFont.truetype(file, round(self.frame_size * 0.66))
            letters = [chr(code) for start, end in BLOCKS for code in range(start, end) if code in there]
            pictures += [(letter, drawn(letter, pen, self.frame_size)) for letter in usual(letters, self.min_letters)]
        alike: dict[bytes, set[str]] = defaultdict(set)
        for letter, picture in pictures:
            alike[picture.tobytes()].add(letter)
        group: dict[str, str] = {letter: letter for letter, _ in pictures}

        def root(letter: str) -> str:
            while group[letter] != letter:
                letter = group[letter]
            return letter

        for letters_alike in alike.values():
            first, *rest = sorted(letters_alike)
            for letter in rest:
                group[root(letter)] = root(first)
        found = []
        for letter, picture in pictures:
            others = sorted(alike[picture.tobytes()] - {letter})
            found.append(Captioned(picture[None], tuple(map(unicodedata.name, [letter, *others])), ord(root(letter))))
        return found

    @property
    def about(self) -> str:
        return f"{len({example.captions[0] for example in self.examples}):,} letters in {self.fonts} fonts"


def usual(letters: Sequence[str], least: int) -> list[str]:
    """The letters of the alphabets whose every word in their name at least so many letters have."""
    names = {letter: unicodedata.name(letter).split() for letter in letters if named(letter)}
    counts = Counter(word for words in names.values() for word in words)
    return [letter for letter, words in names.items() if min(counts[word] for word in words) >= least]


def named(letter: str) -> bool:
    """Whether it is a letter of one of the alphabets."""
    name = unicodedata.name(letter, "")
    return name.startswith(SCRIPTS) and unicodedata.category(letter)[0] == "L" and "DIGRAPH" not in name


def drawn(letter: str, pen: Any, size: int) -> np.ndarray:
    """``(size, size)`` bytes of a letter in white on black, in the middle of a line of one height for all."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (size, size))
    baseline = (size / 2, round(size * 0.72))
    ImageDraw.Draw(image).text(baseline, letter, fill=WHITE, font=pen, anchor="ms")
    return np.asarray(image, np.uint8)
