"""The texts that rows of tokens stand for."""

from collections.abc import Sequence
from typing import NamedTuple

from rnnlab.spec import IGNORED, TargetSpec

NO_TOKEN = "\ufffd"
"""In place of a token that has no number of its own."""


class Writer(NamedTuple):
    """Writes tokens down.

    names
        Of the tokens; empty where they have none, and are written as numbers.
    unit
        Of a token: character, byte, word, phoneme …
    end
        Which of them ends a sequence, and is not written.
    """

    names: tuple[str, ...]
    unit: str
    end: int | None

    @classmethod
    def of(cls, target: TargetSpec) -> "Writer":
        """That of a target."""
        return cls(target.names, target.unit, target.end)

    @property
    def prose(self) -> bool:
        """Whether texts are made of words with spaces between."""
        return self.unit == "word" or (self.unit in ("character", "byte") and " " in self.names)

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """A text for each row of tokens; what is behind the last and the end are left out."""
        kept = [[number for number in row if number not in (IGNORED, self.end)] for row in rows]
        if self.unit == "byte":
            return [bytes(max(0, number) for number in row).decode(errors="replace") for row in kept]
        joint = " " if self.unit in ("word", "phoneme") or not self.names else ""
        return [joint.join(map(self.name, row)) for row in kept]

    def name(self, number: int) -> str:
        """Of one token."""
        if number < 0:
            return NO_TOKEN
        return self.names[number] if self.names else str(number)
