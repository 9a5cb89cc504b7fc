"""A text as a sequence of token numbers, the same in training and in use."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from rnnlab.data.corpus import UNKNOWN
from rnnlab.data.words import words
from rnnlab.errors import InputError

Normalization = Literal["none", "NFC", "NFKC", "ascii"]
"""Forms of Unicode (Standard Annex 15), or ``ascii``: NFD, of which only ASCII is kept, so that ``é`` is ``e``, and a
letter without an ASCII letter in it is gone."""


PairUnit = Literal["character", "byte", "word", "phoneme"]
"""As :data:`rnnlab.data.corpus.Unit`, or ``phoneme``: whatever stands between spaces."""


def normalize(text: str, form: Normalization, lower: bool = False) -> str:
    """A text in a normalization form, without spaces around it, in small letters if so wished."""
    if form == "ascii":
        text = unicodedata.normalize("NFD", text).encode("ascii", "ignore").decode()
    elif form != "none":
        text = unicodedata.normalize(form, text)
    return (text.lower() if lower else text).strip()


def tokens(text: str, unit: PairUnit) -> Sequence[str]:
    """A text's characters, words or phonemes; its bytes, as Latin-1 shows them."""
    if unit == "phoneme":
        return text.split()
    if unit == "word":
        return words(text)
    return encoded(text).decode("latin-1") if unit == "byte" else text


def encoded(text: str) -> bytes:
    """A text in UTF-8.

    Raises:
        InputError: half of a surrogate pair stands in it, which is no Unicode.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"character {error.start + 1} is {text[error.start]!r}, half of a surrogate pair: it has no bytes in UTF-8"
        ) from None


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """Numbers texts as they were numbered in training.

    Attributes:
        vocabulary: what each number stands for. All but bytes have ``<unk>`` as number 0, bytes are all 256.
        unit: of a token.
        normalization: see :data:`Normalization`.
        lower: whether capitals count as small letters.
        max_length: tokens after which a text is cut; ``None`` for never.
    """

    vocabulary: tuple[str, ...]
    unit: PairUnit
    normalization: Normalization = "NFC"
    lower: bool = False
    max_length: int | None = None

    def encode(self, text: str) -> np.ndarray:
        """``(time,)`` numbers of a text's tokens, ``<unk>`` where training has seen none like it.

        Raises:
            InputError: there is nothing in it.
        """
        numbers = self.numbers(normalize(text, self.normalization, self.lower))
        if not len(numbers):
            raise InputError(f"'{text}' has no {self.unit}s (data.normalization={self.normalization}): nothing to read")
        return numbers

    def numbers(self, text: str) -> np.ndarray:
        """The same of a text that is normalized already, and may be empty."""
        if self.unit == "byte":
            return np.frombuffer(encoded(text)[: self.max_length], np.uint8).astype(np.int64)
        known = self._number
        return np.array([known.get(token, 0) for token in tokens(text, self.unit)][: self.max_length], np.int64)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.vocabulary)}


def build_vocabulary(texts: Iterable[str], unit: PairUnit, min_count: int = 1) -> tuple[str, ...]:
    """``<unk>``, then by name each character or word that is in the texts so often; or all 256 bytes."""
    if unit == "byte":
        return tuple(map(chr, range(256)))
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokens(text, unit))
    return (UNKNOWN, *sorted(token for token, count in counts.items() if count >= min_count))
