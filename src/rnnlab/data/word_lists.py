"""Word lists that come with the operating system: a class a language."""

from collections.abc import Iterator
from pathlib import Path

from rnnlab.data.corpus import read_text
from rnnlab.errors import InputError

DICT = Path("/usr/share/dict")
HUNSPELL = (Path("/usr/share/hunspell"), Path("/usr/share/myspell"), Path("/usr/share/myspell/dicts"))
# By file, as Debian names them; where a language has several, the first counts.
NAMES = {
    "american-english": "English",
    "british-english": "English",
    "canadian-english": "English",
    "ngerman": "German",
    "ogerman": "German",
    "swiss": "German",
    "brazilian": "Portuguese",
}
PACKAGES = "wamerican wdutch wfrench witalian wngerman wspanish"


def find_word_lists() -> dict[str, Path]:
    """A file for each language: those of ``/usr/share/dict``, or where these are not two, those of spelling checkers.

    Raises:
        InputError: there are not two.
    """
    found: dict[str, Path] = {}
    files = [file for file in sorted(DICT.glob("*")) if file.is_file() and not file.is_symlink() and not file.suffix]
    for file in sorted(files, key=lambda file: [*NAMES, file.name].index(file.name)):
        found.setdefault(NAMES.get(file.name, file.name.title()), file)
    if len(found) > 1:
        return found
    # regional variants (de_DE, de_AT) share most of their words: the largest stands for the language
    spelling = [file for folder in HUNSPELL for file in folder.glob("*.dic") if not file.name.startswith("hyph")]
    by_language = {file.stem.split("_")[0]: file for file in sorted(spelling, key=lambda file: file.stat().st_size)}
    if len(by_language) > 1:
        return by_language
    raise InputError(
        f"data.built_in=word_lists needs lists of two languages in {DICT} or {HUNSPELL[0]}, and this machine has "
        f"{'one' if found or by_language else 'none'}: apt install {PACKAGES} (Debian, Ubuntu), "
        "or give texts of yours, data.path=FOLDER"
    )


def read_word_lists() -> Iterator[tuple[str, str]]:
    """Each word and its language.

    Raises:
        InputError: there are not two lists, or one cannot be read.
    """
    for language, file in sorted(find_word_lists().items()):
        for word in _spelled(file) if file.suffix == ".dic" else _listed(file):
            yield word.strip(), language


def _listed(file: Path) -> list[str]:
    return "".join(read_text([file])).removesuffix("\n").split("\n")


def _spelled(file: Path) -> Iterator[str]:
    """The words of a Hunspell dictionary: their number, then one a line, ``/`` and its flags, a tab and what it is."""
    affixes = file.with_suffix(".aff")
    head = affixes.read_bytes() if affixes.exists() else b""
    encoding = next((line.split()[1].decode() for line in head.splitlines() if line.startswith(b"SET ")), "iso8859-1")
    try:
        lines = file.read_text(encoding).removesuffix("\n").split("\n")
    except (UnicodeDecodeError, LookupError) as error:
        raise InputError(f"{file} cannot be read as {encoding}, which {affixes.name} states: {error}") from None
    for line in lines[1:]:
        yield line.split("\t")[0].split("/")[0]
