"""Pairs of texts of one's own: what is read, and what is to be said."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnnlab.data.corpus import Unit, check_vocabulary
from rnnlab.data.dates import Dates
from rnnlab.data.pair_data import PairData
from rnnlab.data.pair_files import Header, read_pairs
from rnnlab.data.split import SPLITS, Sample, Split, SplitName
from rnnlab.data.text_encoder import Normalization, TextEncoder, build_vocabulary, normalize, tokens
from rnnlab.errors import InputError
from rnnlab.shapes import FilePath, PositiveInt
from rnnlab.spec import IGNORED

BUILT_IN = 5000
"""Pairs without a path, where nobody says how many."""


@dataclass(kw_only=True, eq=False)
class Pairs(PairData):
    """Two columns of a file, or the lines of two files.

    ::

        data.path=words.tsv                       hello    HH AH L OW
                                                  either   IY DH ER      <- two right answers
                                                  either   AY DH ER

        target_unit=word
        inputs  (6,)   e i t h e r      target  (4,)   IY DH ER <end>

    Without a path the pairs are those of ``data=dates``, drawn by rule.

    Where a text has several answers, training meets each of them, and
    validation and test ask for the text once, and take any of them for right.
    The splits have no text in common. Numbers of tokens come from the training
    split and are kept with the weights.

    Attributes:
        path: a table (``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``), lines with a tabulator in them, or lines beside
            those of ``target_path``; ``None`` for dates.
        target_path: what is to be said, a text a line.
        source_column: of a table; ``None`` for the first column.
        target_column: of a table; ``None`` for the second column.
        header: whether the first row of a CSV or TSV names the columns: ``yes``, ``no``; ``auto`` where a column is
            named, or the names are well known (source and target, input and output, question and answer …).
        unit: of a token that is read: ``character``, ``byte`` or ``word``.
        target_unit: of a token that is said.
        normalization: of Unicode on both sides, see :data:`rnnlab.data.text_encoder.Normalization`.
        lower: whether capitals count as small letters.
        min_count: a character or word that the training split has less often is ``<unk>``, which is never right.
        max_length: pairs with more tokens on a side are left out; ``None`` for none.
        shared_vocabulary: both sides have the tokens of both.
        num_samples: pairs in the three splits together, at most; ``None`` for all.
        vocabulary: what each token number that is read stands for, ``<unk>`` first; ``None`` for what the training
            split has. A trained run hands in its own.
        target_vocabulary: the same of what is said.

    Raises:
        InputError: the files cannot be read, or there are too few pairs.
    """

    path: FilePath | None = None
    target_path: FilePath | None = None
    source_column: str | None = None
    target_column: str | None = None
    header: Header = "auto"
    unit: Unit = "character"
    target_unit: Unit = "character"
    normalization: Normalization = "NFC"
    lower: bool = False
    min_count: PositiveInt = 1
    max_length: PositiveInt | None = 100
    shared_vocabulary: bool = False
    num_samples: PositiveInt | None = None  # type: ignore[assignment]
    vocabulary: Sequence[str] | None = None
    target_vocabulary: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("val_fraction", "test_fraction"):
            if not getattr(self, name):
                raise InputError(f"data.{name}=0 leaves no pair for {name.split('_')[0]}: give it a share")
        if self.shared_vocabulary and self.unit != self.target_unit:
            raise InputError(
                f"data.shared_vocabulary=true with data.unit={self.unit} and data.target_unit={self.target_unit}: "
                "tokens that both sides share are of one unit"
            )
        if self.path is None and self.target_path is not None:
            raise InputError(f"data.target_path={self.target_path}: give what is read as data.path=FILE")
        for name, unit in (("unit", self.unit), ("target_unit", self.target_unit)):
            if self.path is None and unit == "word":
                raise InputError(f"data.{name}=word: without data.path=FILE the pairs are dates, letter by letter")
        super().__post_init__()

    # ---- what is read -----------------------------------------------------------------------------

    @cached_property
    def _answers(self) -> dict[str, list[str]]:
        """Each text with its answers, in the order of the file; those that are too long are left out, and counted."""
        found: dict[str, list[str]] = {}
        self._long = 0
        assert self.path is not None
        target_path = None if self.target_path is None else Path(self.target_path).expanduser()
        path = Path(self.path).expanduser()
        for pair in read_pairs(path, target_path, self.source_column, self.target_column, self.header):
            source, target = (normalize(text, self.normalization, self.lower) for text in pair)
            if not source or not target:
                raise InputError(
                    f"data.path={self.path}: of '{pair[0][:40]}' and '{pair[1][:40]}' data.normalization="
                    f"{self.normalization} leaves nothing on a side"
                )
            sides = (tokens(source, self.unit), tokens(target, self.target_unit))
            if self.max_length is not None and max(map(len, sides)) > self.max_length:
                self._long += 1
                continue
            answers = found.setdefault(source, [])
            if target not in answers:
                answers.append(target)
        if not found:
            long = f" of at most data.max_length={self.max_length} tokens a side" if self._long else ""
            raise InputError(f"data.path={self.path}: there is no pair{long} in it")
        return found

    @cached_property
    def _rule(self) -> Dates:
        """What is drawn where there is no path."""
        return Dates(
            seed=self.seed,
            num_samples=self.num_samples or BUILT_IN,
            val_fraction=self.val_fraction,
            test_fraction=self.test_fraction,
        )

    @cached_property
    def _parts(self) -> dict[SplitName, list[tuple[str, list[str]]]]:
        """The texts of each split with their answers; of the training split each answer by itself."""
        rng = np.random.default_rng((self.seed, 4))  # 0 to 3 are those of samples and of the order of batches
        sources = list(self._answers)
        order = [sources[k] for k in rng.permutation(len(sources))]
        if self.num_samples is not None:
            counts = np.cumsum([len(self._answers[source]) for source in order])
            order = order[: max(1, int((counts <= self.num_samples).sum()))]
        if len(order) < len(SPLITS):
            raise InputError(
                f"data.path={self.path} has {len(order)} different text{'s' * (len(order) != 1)} to read, and train, "
                "validation and test need one each: give more"
            )
        held_out = {"test": max(1, round(len(order) * self.test_fraction))}
        held_out["val"] = max(1, round(len(order) * self.val_fraction))
        test, rest = order[: held_out["test"]], order[held_out["test"] :]
        val, train = rest[: held_out["val"]], rest[held_out["val"] :]
        if not train:
            raise InputError(f"data.path={self.path} has {len(order)} different texts: too few to train on")
        return {
            "train": [(source, [answer]) for source in train for answer in self._answers[source]],
            "val": [(source, self._answers[source]) for source in val],
            "test": [(source, self._answers[source]) for source in test],
        }

    # ---- what the network gets ----------------------------------------------------------------------

    @cached_property
    def encoders(self) -> tuple[TextEncoder, TextEncoder]:
        given = (self.vocabulary, self.target_vocabulary)
        units = (self.unit, self.target_unit)
        if self.path is None:
            sides: list[list[str]] = [list(self._rule.source_tokens), list(self._rule.target_tokens)]
        else:
            train = self._parts["train"]
            sides = [[source for source, _ in train], [answer for _, answers in train for answer in answers]]
        if self.shared_vocabulary:
            sides = [[*sides[0], *sides[1]]] * 2
        made = [
            check_vocabulary(own, unit) if own is not None else build_vocabulary(texts, unit, self._least)
            for own, unit, texts in zip(given, units, sides, strict=True)
        ]
        ours, theirs = (
            TextEncoder(vocabulary, unit, self.normalization, self.lower)
            for vocabulary, unit in zip(made, units, strict=True)
        )
        return ours, theirs

    @property
    def _least(self) -> int:
        return self.min_count if self.path is not None else 1

    def state_dict(self) -> dict[str, Any]:
        """Arguments of the constructor: what the network's numbers stand for."""
        ours, theirs = self.encoders
        return {
            "unit": self.unit,
            "target_unit": self.target_unit,
            "vocabulary": list(ours.vocabulary),
            "target_vocabulary": list(theirs.vocabulary),
        }

    def size(self, split: SplitName) -> int:
        return self._rule.size(split) if self.path is None else len(self._parts[split])

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        if self.path is None:
            return self.numbered(*self._rule.drawn(rng, split))
        source, answers = self._parts[split][index]
        return self.numbered(source, answers[0])

    def load(self, split: SplitName) -> Split:
        loaded = super().load(split)
        if self.path is None or split == "train":
            return loaded
        answers = [answers for _, answers in self._parts[split]]
        most = max(map(len, answers))
        if most == 1:
            return loaded
        _, theirs = self.encoders
        end = len(theirs.vocabulary)
        # the first one again, where there are fewer
        rows = [
            [np.append(theirs.numbers(answer), end) for answer in [*own[1:], *[own[0]] * (most - len(own))]]
            for own in answers
        ]
        longest = max(len(row) for own in rows for row in own)
        others = np.full((len(rows), most - 1, longest), IGNORED, np.int64)
        for place, own in zip(others, rows, strict=True):
            for line, row in zip(place, own, strict=True):
                line[: len(row)] = row
        return replace(loaded, others=torch.from_numpy(others))

    @property
    def note(self) -> str:
        """What was done with the pairs, as far as anything was."""
        if self.path is None:
            return self._rule.note
        parts = self._parts
        several = sum(len(answers) > 1 for answers in self._answers.values())
        ours, theirs = self.encoders
        held_out = [pair for split in ("val", "test") for pair in parts[split]]
        unknown: Counter[str] = Counter()
        for source, answers in held_out:
            unknown["read"] += int((ours.numbers(source) == 0).sum()) if ours.unit != "byte" else 0
            unknown["said"] += int((theirs.numbers(answers[0]) == 0).sum()) if theirs.unit != "byte" else 0
        facts = (
            (several, "texts have several right answers"),
            (self._long, f"pairs longer than data.max_length={self.max_length} left out"),
            (unknown["read"], f"held-out {self.unit}s to read are <unk>"),
            (unknown["said"], f"held-out {self.target_unit}s to say are <unk>, and never right"),
        )
        pairs = sum(len(answers) for part in parts.values() for _, answers in part)
        total = sum(map(len, self._answers.values()))
        chosen = f"{pairs:,} of {total:,} pairs" if pairs < total else f"{total:,} pairs"
        return "; ".join([chosen, *(f"{n:,} {what}" for n, what in facts if n)])
