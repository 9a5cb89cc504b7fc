"""Languages that nobody speaks: words by rule, told apart by the order of their sounds.

A word is a few syllables, and a syllable an onset, a vowel and a coda. The
languages share five vowels and twelve consonants. They come in pairs that use
the same letters as often and differ in where these stand, so that whoever
counts letters can tell the pair at best, and whoever reads from left to right
can tell the language. Some words belong to several of them.

The rules are those that phonology describes in spoken languages (M. Kenstowicz,
"Phonology in Generative Grammar", 1994): open and closed syllables, clusters of
rising and falling sonority, vowel harmony, voicing between vowels, doubled
consonants and vowels, stress.
"""

import unicodedata
from dataclasses import dataclass
from typing import Literal

import numpy as np

FRONT, BACK = "ei", "aou"
ACUTE = "\u0301"
FEWEST, MOST = 2, 4
"""Syllables of a word."""


@dataclass(frozen=True)
class Language:
    """What a word is made of; each choice is as likely as the others.

    Attributes:
        onsets: of syllables, parted by spaces; ``-`` for none.
        codas: the same.
        inner: onsets of all syllables but the first, where they are others.
        vowels: ``free``; ``harmony``, all of a word front (e i) or all back (a o u); ``disharmony``, in turns.
        double: what is written twice in the second syllable: its onset, its vowel, or nothing.
        stress: which vowel has an accent, counted as Python counts; ``None`` for none.
    """

    onsets: str
    codas: str = "-"
    inner: str | None = None
    vowels: Literal["free", "harmony", "disharmony"] = "free"
    double: Literal["onset", "vowel"] | None = None
    stress: int | None = None

    def word(self, rng: np.random.Generator) -> str:
        """One word, drawn from ``rng`` alone."""
        syllables = int(rng.integers(FEWEST, MOST + 1))
        written, back = "", bool(rng.random() < len(BACK) / len(FRONT + BACK))
        for number in range(syllables):
            onset = _draw(rng, self.onsets if number == 0 or self.inner is None else self.inner)
            known = FRONT + BACK if self.vowels == "free" else BACK if back else FRONT
            vowel = known[rng.integers(len(known))]
            coda = _draw(rng, self.codas)
            if number == 1 and self.double == "onset":
                onset += onset
            if number == 1 and self.double == "vowel":
                vowel += vowel
            if self.stress is not None and number == self.stress % syllables:
                vowel += ACUTE
            written += onset + vowel + coda
            back ^= self.vowels == "disharmony"
        return unicodedata.normalize("NFC", written)


def _draw(rng: np.random.Generator, choices: str) -> str:
    several = choices.split(" ")
    return several[rng.integers(len(several))].strip("-")


PLAIN, VOICELESS, VOICED = "p t k b d g m n l r s v", "p t k s", "b d g v"
LANGUAGES: dict[str, Language] = {
    # syllables that end in a vowel, and such that begin with one
    "Patolu": Language(PLAIN),
    "Ulotap": Language("-", PLAIN),
    # vowels that keep to one half of the mouth, and such that go to and fro
    "Rumonal": Language(PLAIN, "- - n l r", vowels="harmony"),
    "Rumenal": Language(PLAIN, "- - n l r", vowels="disharmony"),
    # rising and falling clusters
    "Krupla": Language("pl kl pr kr tr bl gr m n s", "- - n s"),
    "Lpurka": Language("lp lk rp rk rt lb rg m n s", "- - n s"),
    # voiceless at first and voiced inside, and the other way round
    "Padigo": Language(VOICELESS, inner=VOICED + " l r"),
    "Bapito": Language(VOICED + " l r", inner=VOICELESS),
    # one sound held twice as long
    "Kattoma": Language("t k m n p s", double="onset"),
    "Kataama": Language("t k m n p s", double="vowel"),
    # an accent on the first vowel, and on the last
    "Mávola": Language("m v l s d n", stress=0),
    "Lavomá": Language("m v l s d n", stress=-1),
}
ALPHABET = "".join(sorted({*PLAIN.replace(" ", ""), *FRONT, *BACK, *"áéíóú"}))
"""Every letter of every word."""
