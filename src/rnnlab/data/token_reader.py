"""New sequences of token numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rnnlab.data.reader import SEQUENCE, Given, StepReader
from rnnlab.errors import InputError
from rnnlab.files.source import (
    Format,
    Source,
    as_numbers,
    brief,
)


@dataclass(frozen=True, eq=False)
class TokenReader(StepReader):
    """Tokens that are numbers.

    Attributes:
        names: of the one column.
        classes: see :class:`StepReader`.
        vocabulary: how many tokens there are, from 0.
    """

    formats: ClassVar[tuple[Format, ...]] = ("csv", "tsv", "jsonl", "parquet", "text")
    unnamed: ClassVar[Format] = "text"
    names: tuple[str, ...] = ("token",)
    vocabulary: int = 1

    def describe(self) -> str:
        some = [k % self.vocabulary for k in (1, 0, 1, 1)]
        spaced = " ".join(map(str, some))
        together = f", or {''.join(map(str, some))}" if self.vocabulary <= 10 else ""
        return (
            f"sequences of tokens, which are numbers from 0 to {self.vocabulary - 1}\n"
            f"  text: a line a sequence, such as {spaced}{together}\n"
            f'  JSON lines: {some} or {{"inputs": {some}}}\n'
            f"  CSV, Parquet: a row a step, column {self.names[0]}, and '{SEQUENCE}' where there are several\n"
            "  --stream: a line a token; an empty line starts afresh"
        )

    @property
    def example(self) -> str:
        return f"a line of tokens from 0 to {self.vocabulary - 1}, such as 0 {min(1, self.vocabulary - 1)} 0"

    def read(self, source: Source) -> Iterator[Given]:
        if source.format != "text":
            yield from super().read(source)
            return
        for number, (line, text) in enumerate(source.lines()):
            yield Given(number, self.array(text, f"{source.name}, line {line}"))

    def array(self, x: Any, place: str) -> np.ndarray:
        if isinstance(x, str):
            words = x.replace(",", " ").split()
            if len(words) == 1 and self.vocabulary <= 10:
                words = list(words[0])
            wrong = next((word for word in words if not word.isdecimal()), None)
            if wrong is not None:
                raise InputError(f"{place}: '{wrong}' is no token: {self.example}")
            x = [int(word) for word in words]
        try:
            values = as_numbers(x)
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"{place}: a sequence is a list of tokens, not {brief(x)}") from None
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1:
            raise InputError(f"{place} has the shape {values.shape}: a sequence is a list of tokens")
        if not len(values):
            raise InputError(f"{place} has no token")
        odd = np.flatnonzero(~((values >= 0) & (values < self.vocabulary) & (values == np.round(values))))
        if len(odd):
            step = int(odd[0])
            raise InputError(
                f"{place}, step {step}: {values[step]:g} is no token of this run's: numbers from 0 to "
                f"{self.vocabulary - 1}"
            )
        return values.astype(np.int64)

    def take(self, x: Any) -> Iterator[Given]:
        if isinstance(x, str):
            x = [x]
        if isinstance(x, list | tuple) and x and isinstance(x[0], str):
            for number, text in enumerate(x):
                yield Given(number, self.array(text, f"sequence {number}"))
            return
        yield from super().take(x)

    def _is_several(self, x: np.ndarray) -> bool:
        return x.ndim == 2
