"""Names of places in another script, by the catalogues of the package pycountry."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from rnnlab.data.listed_pairs import ListedPairs
from rnnlab.data.pair_files import read_pairs
from rnnlab.data.text_encoder import PairUnit
from rnnlab.errors import InputError, nearest
from rnnlab.extras import need
from rnnlab.shapes import PositiveInt

CATALOGUES = ("iso3166-1", "iso3166-2")
"""Of countries, and of their parts: provinces, regions, districts."""


@dataclass(kw_only=True, eq=False)
class PlaceNames(ListedPairs):
    """Names of countries, provinces and regions, letter by letter, as another language writes them.

    ::

        language=ja     Ararat      target (5,)   ア ラ ラ ト <end>
        language=ka     Artvin      target (9,)   ა რ თ ვ ი ნ ი <end>

    The package ``pycountry`` has the translations of ISO 3166 that Debian's iso-codes gathers: of regions 4,900 names
    in Ukrainian, Lao and Hindi, 1,900 to 3,800 in Belarusian, Serbian, Chinese, Japanese, Georgian and Russian. Some
    are translated, and not spelt by their sound: no letter tells that.

    Attributes:
        language: a code of pycountry: uk, hi, be, sr, ja, ka, ru, el, ar …
        max_length: names with more letters on a side are left out; ``None`` for none.

    Raises:
        InputError: the package is not installed, or has no such language.
    """

    language: str = "uk"
    max_length: PositiveInt | None = 40

    @property
    def unit(self) -> PairUnit:
        return "character"

    @property
    def target_unit(self) -> PairUnit:
        return "character"

    @property
    def origin(self) -> str:
        return f"data.language={self.language}"

    def sides(self) -> list[list[str]]:
        """Those of all names: which letters a script has is no secret of the test."""
        return [list(self._answers), [name for names in self._answers.values() for name in names]]

    def listed(self) -> Iterator[tuple[str, str]]:
        need("pairs", "pycountry", "data=place_names")
        need("pairs", "polib", "data=place_names")
        folder = Path(str(files("pycountry"))) / "locales"
        known = sorted(each.name for each in folder.iterdir() if (each / "LC_MESSAGES").is_dir())
        if self.language not in known:
            raise InputError(
                f"data.language={self.language}: pycountry has no such language{nearest(self.language, known)} (it has "
                f"{', '.join(known)})"
            )
        yield from catalogued(folder / self.language / "LC_MESSAGES")


@lru_cache(maxsize=4)
def catalogued(folder: Path) -> tuple[tuple[str, str], ...]:
    """The names of a language's catalogues that it writes otherwise, read once in a process."""
    paths = [folder / f"{name}.mo" for name in CATALOGUES]
    pairs = [pair for path in paths if path.is_file() for pair in read_pairs(path, None, None, None, "auto")]
    return tuple((name, written) for name, written in pairs if name != written)
