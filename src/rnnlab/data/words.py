"""Text cut at the word boundaries of Unicode."""

import re
import unicodedata
from functools import lru_cache

SINGLE = (
    "\u3005-\u3007\u3041-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese, Hiragana
    "\u0e01-\u0e30\u0e32-\u0e33\u0e40-\u0e46\u0e81-\u0eb0\u0eb2-\u0eb3\u0ec0-\u0ec6"  # Thai, Lao
    "\u1000-\u103f\u104e-\u109f\u1780-\u17d3\u1950-\u19df"  # Burmese, Khmer, Tai Le
)
"""Signs of scripts that write no spaces: without a dictionary each is a word, as in Annex 29."""
AMID_LETTERS = "'\u2019\u2018\u00b7\u0387\u05f4\u2027:.\u2024\ufe52\uff0e"
AMID_DIGITS = "'\u2019\u2018,;.\u066c\ufe10\ufe14\uff0c\uff1b\u2024\uff0e"
"""Signs that part no word where letters, or digits, stand on both sides: can't, 3.14, 1,000."""
FLAG = "[\U0001f1e6-\U0001f1ff]"
ZERO_WIDTH_SPACE = "\u200b"


def words(text: str) -> list[str]:
    """The words, signs and ends of lines of a text; other spaces only part them.

    The rules of Unicode's Standard Annex 29 (word boundaries): a combining mark
    stays with what it is written on, a letter with its neighbours, an
    apostrophe or a point with letters on both sides, and the parts of an emoji
    with each other.
    """
    return _pattern().findall(text)


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    marks = f"[{_marks()}]*"
    letter, digit = rf"[^\W\d_{SINGLE}]", r"\d"
    letters = rf"{letter}+{marks}(?:[{AMID_LETTERS}]{marks}(?={letter}))?"
    digits = rf"{digit}+{marks}(?:[{AMID_DIGITS}]{marks}(?={digit}))?"
    word = rf"(?:{letters}|{digits}|_+{marks})+"
    sign = rf"[^\w\s{ZERO_WIDTH_SPACE}]{marks}(?:(?<=\u200d)[^\w\s]{marks})*"
    return re.compile(rf"\n|{word}|\w{marks}|{FLAG}{{2}}{marks}|{sign}")


def _marks() -> str:
    """The combining marks, joiners and format signs, which never begin a word, as ranges of a regular expression."""
    codes = [*range(0x20000), *range(0xE0000, 0xE0200)]
    # the modifiers of an emoji's skin are written on it too
    known = [
        code
        for code in codes
        if 0x1F3FB <= code <= 0x1F3FF
        or (unicodedata.category(chr(code)) in ("Mn", "Mc", "Me", "Cf") and chr(code) != ZERO_WIDTH_SPACE)
    ]
    ranges: list[list[int]] = []
    for code in known:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in ranges)
