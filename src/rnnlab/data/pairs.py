"""Pairs of texts of one's own: what is read, and what is to be said."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.data.dates import Dates
from rnnlab.data.listed_pairs import ListedPairs
from rnnlab.data.pair_files import Header, read_pairs
from rnnlab.data.sequence import SequenceData
from rnnlab.data.split import Sample, Split, SplitName
from rnnlab.data.text_encoder import Normalization, PairUnit, TextEncoder
from rnnlab.errors import InputError
from rnnlab.shapes import FilePath, PositiveInt

BUILT_IN = 5000
"""Pairs without a path, where nobody says how many."""


@dataclass(kw_only=True, eq=False)
class Pairs(ListedPairs):
    """Two columns of a file, or the lines of two files.

    ::

        data.path=words.tsv                       hello    HH AH L OW
                                                  either   IY DH ER      <- two right answers
                                                  either   AY DH ER

        target_unit=word
        inputs  (6,)   e i t h e r      target  (4,)   IY DH ER <end>

    Without a path the pairs are those of ``data=dates``, drawn by rule.

    Attributes:
        path: a table (``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``), a catalogue of messages and their translations
            (``.po``, ``.mo``), lines with a tabulator in them, or lines beside those of ``target_path``; ``None`` for
            dates.
        target_path: what is to be said, a text a line.
        source_column: of a table; ``None`` for the first column.
        target_column: of a table; ``None`` for the second column.
        header: whether the first row of a CSV or TSV names the columns: ``yes``, ``no``; ``auto`` where a column is
            named, or the names are well known (source and target, input and output, question and answer …).
        unit: of a token that is read: ``character``, ``byte``, ``word``, or ``phoneme``: what spaces part.
        target_unit: of a token that is said.
        normalization: of Unicode on both sides, see :data:`rnnlab.data.text_encoder.Normalization`.
        lower: whether capitals count as small letters.
        min_count: a character or word that the training split has less often is ``<unk>``, which is never right.
        shared_vocabulary: both sides have the tokens of both.

    Raises:
        InputError: the files cannot be read, or there are too few pairs.
    """

    path: FilePath | None = None
    target_path: FilePath | None = None
    source_column: str | None = None
    target_column: str | None = None
    header: Header = "auto"
    unit: PairUnit = "character"
    target_unit: PairUnit = "character"
    normalization: Normalization = "NFC"
    lower: bool = False
    min_count: PositiveInt = 1
    shared_vocabulary: bool = False

    def __post_init__(self) -> None:
        if self.shared_vocabulary and self.unit != self.target_unit:
            raise InputError(
                f"data.shared_vocabulary=true with data.unit={self.unit} and data.target_unit={self.target_unit}: "
                "tokens that both sides share are of one unit"
            )
        if self.path is None and self.target_path is not None:
            raise InputError(f"data.target_path={self.target_path}: give what is read as data.path=FILE")
        for name, unit in (("unit", self.unit), ("target_unit", self.target_unit)):
            if self.path is None and unit in ("word", "phoneme"):
                raise InputError(f"data.{name}={unit}: without data.path=FILE the pairs are dates, letter by letter")
        super().__post_init__()

    # ---- what is read -----------------------------------------------------------------------------

    @property
    def origin(self) -> str:
        return f"data.path={self.path}"

    def listed(self) -> Iterator[tuple[str, str]]:
        assert self.path is not None
        target_path = None if self.target_path is None else Path(self.target_path).expanduser()
        path = Path(self.path).expanduser()
        return read_pairs(path, target_path, self.source_column, self.target_column, self.header)

    @cached_property
    def _rule(self) -> Dates:
        """What is drawn where there is no path."""
        return Dates(
            seed=self.seed,
            num_samples=self.num_samples or BUILT_IN,
            val_fraction=self.val_fraction,
            test_fraction=self.test_fraction,
        )

    # ---- what the network gets ----------------------------------------------------------------------

    @cached_property
    def encoders(self) -> tuple[TextEncoder, TextEncoder]:
        if self.path is not None:
            return super().encoders
        given = (self.vocabulary, self.target_vocabulary)
        # each of its characters is there, however few dates are drawn
        sides = [list(self._rule.source_tokens) * self.min_count, list(self._rule.target_tokens) * self.min_count]
        return self.numbering(given, (self.unit, self.target_unit), sides)

    def state_dict(self) -> dict[str, Any]:
        return {"unit": self.unit, "target_unit": self.target_unit, **super().state_dict()}

    def size(self, split: SplitName) -> int:
        return self._rule.size(split) if self.path is None else super().size(split)

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        if self.path is None:
            return self.numbered(*self._rule.drawn(rng, split))
        return super().sample(rng, split, index)

    def load(self, split: SplitName) -> Split:
        return SequenceData.load(self, split) if self.path is None else super().load(split)

    @property
    def note(self) -> str:
        return self._rule.note if self.path is None else super().note
