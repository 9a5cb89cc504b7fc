"""How a trained run reads new texts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import polars as pl

from rnnlab.data.corpus import UNKNOWN
from rnnlab.data.reader import Given, Reader, check_class
from rnnlab.data.text_encoder import Normalization, PairUnit, TextEncoder, tokens
from rnnlab.errors import InputError
from rnnlab.files.source import (
    Format,
    Source,
    as_numbers,
    brief,
    existing,
    is_table,
    listed,
    parse_json,
    table_source,
    value_of,
)


@dataclass(frozen=True, eq=False)
class TextReader(Reader):
    """Texts, one a line or a row.

    Attributes:
        vocabulary: what each token number stands for.
        unit: of a token.
        normalization: see :class:`rnnlab.data.text_encoder.TextEncoder`, as all below.
        lower: capitals count as small letters.
        max_length: tokens after which a text is cut.
        text_column: of a table, and the key of an object.
        label_column: where the true class may stand.
        classes: of the run.
    """

    formats: ClassVar[tuple[Format, ...]] = ("text", "csv", "tsv", "jsonl", "parquet")
    unnamed: ClassVar[Format] = "text"
    vocabulary: tuple[str, ...]
    unit: PairUnit = "character"
    normalization: Normalization = "none"
    lower: bool = False
    max_length: int | None = None
    text_column: str = "text"
    label_column: str = "label"
    classes: tuple[str, ...] = ()

    @cached_property
    def encoder(self) -> TextEncoder:
        """As in training."""
        return TextEncoder(self.vocabulary, self.unit, self.normalization, self.lower, self.max_length)

    def describe(self) -> str:
        return (
            f"texts, read by {self.unit}\n"
            f"  text: a line a text; empty lines are left out\n"
            f"  CSV, Parquet: a row a text, column '{self.text_column}'; the true class may stand in "
            f"'{self.label_column}'\n"
            f'  JSON lines: {{"{self.text_column}": "…"}} or "…"\n'
            "  --stream: a line a text"
        )

    @property
    def example(self) -> str:
        return f"a line a text, or a column '{self.text_column}'"

    def numbers(self, text: Any, place: str) -> np.ndarray:
        """``(time,)`` token numbers of a text.

        Raises:
            InputError: it is none, or has nothing in it.
        """
        if not isinstance(text, str):
            raise InputError(f"{place}: a text is a string, not {brief(text)}")
        try:
            return self.encoder.encode(text)
        except InputError as error:
            raise InputError(f"{place}: {error}") from None

    def read(self, source: Source) -> Iterator[Given]:
        if source.format == "text":
            for line, text in source.lines():
                yield Given(line - 1, self.numbers(text, f"{source.name}, line {line}"))
        elif source.format == "jsonl":
            for line, row in source.objects():
                yield self._row(row, line - 1, f"{source.name}, line {line}")
        else:
            yield from self._table(source)

    def _table(self, source: Source) -> Iterator[Given]:
        frame = source.frame(wanted=[self.text_column])
        cells = existing(frame, self.text_column, source.name).cast(pl.String)
        labels = frame[self.label_column] if self.classes and self.label_column in frame.columns else None
        for number, text in enumerate(cells):
            place = f"{source.name}, row {number + 1}"
            truth = None if labels is None else check_class(labels[number], self.classes, place)
            yield Given(number, self.numbers(text or "", place), truth)

    def _row(self, row: Any, number: int, place: str) -> Given:
        truth = None
        if isinstance(row, Mapping) and self.classes:
            truth = check_class(row.get(self.label_column), self.classes, place)
        return Given(number, self.numbers(value_of(row, self.text_column, place), place), truth)

    def take(self, x: Any) -> Iterator[Given]:
        if is_table(x):
            yield from self._table(table_source(x))
            return
        for number, text in enumerate([x] if isinstance(x, str) else listed(x, "a text, or a list of texts")):
            yield Given(number, self.numbers(text, f"text {number}"))

    def texts(self, lines: Iterator[str], name: str) -> Iterator[Given]:
        """A stream's texts, a line each: as they are, or in JSON where the first line is."""
        as_json: bool | None = None
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            place = f"{name}, line {number + 1}"
            if as_json is None:
                as_json = line.lstrip()[0] == "{"
            row = parse_json(line, place) if as_json else line.rstrip("\r\n")
            yield self._row(row, number, place)

    def step(self, x: Any) -> np.generic:
        try:
            numbers = self.encoder.numbers(x) if isinstance(x, str) else as_numbers(x).reshape(-1)
        except (TypeError, ValueError):
            numbers = np.empty(0)
        if len(numbers) != 1 or not 0 <= numbers[0] < len(self.vocabulary) or numbers[0] != int(numbers[0]):
            raise InputError(f"a step is one {self.unit}, not {brief(x)}")
        return np.int64(numbers[0])


@dataclass(frozen=True, eq=False)
class CorpusReader(TextReader):
    """Running text, for a language model: a text file is one text."""

    def describe(self) -> str:
        return (
            f"running text, read by {self.unit}; how probable it is, and what comes next\n"
            "  text: the whole file is one text\n"
            f"  CSV, Parquet: a row a text, column '{self.text_column}'\n"
            f'  JSON lines: {{"{self.text_column}": "…"}} or "…"\n'
            "  --steps: each token with its probability\n"
            "  --stream: a line in, how probable it is after all lines before it\n"
            "  to let it go on: rnnlab generate RUN --prompt TEXT"
        )

    @property
    def example(self) -> str:
        return "a text file"

    def read(self, source: Source) -> Iterator[Given]:
        if source.format == "text" and self.unit == "byte":  # as in training, of any file
            yield Given(0, np.frombuffer(source.raw, np.uint8).astype(np.int64))
        elif source.format == "text":
            yield Given(0, self.numbers(source.text(), source.name))
        else:
            yield from super().read(source)

    def numbers(self, text: Any, place: str) -> np.ndarray:
        if not isinstance(text, str):
            raise InputError(f"{place}: a text is a string, not {brief(text)}")
        # as it stands: in a running text spaces and ends of lines are tokens
        found = self.encoder.numbers(text)
        if not len(found):
            raise InputError(f"{place} has no {self.unit}s")
        return found

    def unknown(self, text: str) -> list[str]:
        """The tokens of a text that the run has no number for, each once."""
        if self.unit == "byte":
            return []
        known = set(self.vocabulary[1:])
        return list(dict.fromkeys(token for token in tokens(text, self.unit) if token not in known))

    def token(self, number: int) -> str:
        """What a token's number stands for."""
        return self.vocabulary[number] if number or self.unit == "byte" else UNKNOWN
