"""Short texts, and the class of each."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from rnnlab.data import ngram_regression
from rnnlab.data.corpus import NGRAM_BUCKETS, Unit, check_vocabulary
from rnnlab.data.invented_languages import ALPHABET, LANGUAGES
from rnnlab.data.labelled_text import read_labelled
from rnnlab.data.naive_bayes import naive_bayes
from rnnlab.data.packed import Packed
from rnnlab.data.sequence import SequenceData
from rnnlab.data.split import SPLITS, Sample, Split, SplitName
from rnnlab.data.splitting import check_folds
from rnnlab.data.strata import Balance, balanced
from rnnlab.data.text_encoder import (
    Normalization,
    TextEncoder,
    build_vocabulary,
    normalize,
)
from rnnlab.data.text_reader import TextReader
from rnnlab.data.text_splits import LabelledTexts, Texts, TextSplitter, too_long
from rnnlab.data.word_lists import read_word_lists
from rnnlab.errors import InputError, nearest
from rnnlab.shapes import FilePath, NGrams, NonNegativeInt, PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

INVENTED = 6000
"""Words of the invented languages where nobody says how many."""


@dataclass(kw_only=True, eq=False)
class TextClassification(SequenceData):
    """Texts, letter by letter or word by word, and the class of each.

    ::

        data.path=names, a folder             Italian.txt    Rossi   <- a text a line
                                              Polish.txt     Jasiński

        unit=character                        inputs (5,)    R o s s i          target  0 Italian
                                              inputs (8,)    J a s i ń s k i    target  1 Polish

    Without a path the texts are words of invented languages, drawn by rule
    (:mod:`rnnlab.data.invented_languages`)::

        Krupla   griskra   inputs (7,)        Lpurka   rgiskar   the same letters, other places

    Each text counts once a class. The splits have no text in common: one that
    has several classes is with all of them in one split, and what can be known
    of it is how often it is the one or the other. Each class is split by itself
    (``stratify``), so that each has its share of validation and test. Numbers
    of tokens and classes come from the training split and are kept with the
    weights, so that another file is read as the training was.

    Attributes:
        path: a folder with one file a class, named after it, and a text a line; or with one folder a class, whose
            files are a text each; or a table (``.csv`` and ``.tsv`` with a header, ``.jsonl``); ``None`` for
            ``built_in``.
        pattern: which files of the folder, at any depth.
        text_column: of a table.
        label_column: of a table.
        built_in: what is read where there is no path: ``invented_languages``, or the ``word_lists`` that this machine
            has, a class a language.
        unit: of a token: ``character`` (a Unicode code point), ``byte``, or ``word``.
        normalization: of Unicode, see :data:`rnnlab.data.text_encoder.Normalization`.
        lower: whether capitals count as small letters.
        min_count: a character or word that the training split has less often is ``<unk>``. At 1 training meets no
            ``<unk>``, and the network learns nothing of it.
        max_length: tokens after which a text is cut; ``None`` for never.
        ngrams: n-grams of tokens that the network reads beside each token, those that end there: the fewest and the
            most tokens, such as ``(2, 5)`` (:mod:`rnnlab.ngrams`); ``None`` for none.
        ngram_buckets: rows of the table that the n-grams share by a hash.
        stratify: each class has its share of each split; otherwise chance decides.
        balance: of the classes in training: ``none``; ``oversample``, texts of rarer classes several times;
            ``undersample``, as many of each class as of the rarest. (``task.class_weights=balanced`` weighs the loss
            instead; both together would count twice.)
        duplicates: a text that a class has several times is taken once (``drop``) or as often (``keep``).
        num_samples: texts in the three splits together, at most; ``None`` for all (6,000 invented words).
        vocabulary: what each token number stands for, ``<unk>`` first; ``None`` for what the training split has.
            A trained run hands in its own.
        classes: what each class number stands for; ``None`` for what there is. A trained run hands in its own.
        folds: parts of which one is the test, for cross-validation; ``None``: the test is a share.
        fold: which of them is tested, from 0.

    Raises:
        InputError: the texts cannot be read, or there are too few of a class.
    """

    # longer than 250 lines, 70 of which describe its options
    path: FilePath | None = None
    pattern: str = "*"
    text_column: str = "text"
    label_column: str = "label"
    built_in: Literal["invented_languages", "word_lists"] = "invented_languages"
    unit: Unit = "character"
    normalization: Normalization = "NFC"
    lower: bool = False
    min_count: PositiveInt = 1
    max_length: PositiveInt | None = 200
    ngrams: NGrams | None = None
    ngram_buckets: PositiveInt = NGRAM_BUCKETS
    stratify: bool = True
    balance: Balance = "none"
    duplicates: Literal["drop", "keep"] = "drop"
    num_samples: PositiveInt | None = None
    vocabulary: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    folds: PositiveInt | None = None
    fold: NonNegativeInt = 0

    def __post_init__(self) -> None:
        check_folds(self.folds, self.fold)
        if self.folds is not None and self._is_invented:
            raise InputError(
                f"data.folds={self.folds}: the invented languages are drawn by rule, and another data.seed draws "
                "others; give texts of yours, data.path=FOLDER"
            )
        if self.folds is not None and self.num_samples is not None:
            raise InputError(f"data.folds={self.folds} are of all texts: leave data.num_samples={self.num_samples} out")
        for name in ("val_fraction", "test_fraction"):
            if not getattr(self, name):
                raise InputError(f"data.{name}=0 leaves no text for {name.split('_')[0]}: give it a share")
        if self._is_invented and self.unit == "word":
            raise InputError(
                "data.unit=word: the invented languages have no word twice, and so none that was learned: "
                "read characters, or give texts of yours, data.path=FOLDER"
            )
        super().__post_init__()

    # ---- what is read -----------------------------------------------------------------------------

    @property
    def _is_invented(self) -> bool:
        return self.path is None and self.built_in == "invented_languages"

    @property
    def _source(self) -> str:
        return f"data.path={self.path}" if self.path else f"data.built_in={self.built_in}"

    def _rows(self) -> Iterator[tuple[str, str]]:
        if self.path is None:
            return read_word_lists()
        if self.text_column == self.label_column:
            raise InputError(
                f"data.label_column={self.label_column} is data.text_column, too: give the classes' column"
            )
        return read_labelled(Path(self.path).expanduser(), self.pattern, self.text_column, self.label_column)

    @cached_property
    def _read(self) -> LabelledTexts:
        return LabelledTexts.read(
            self._rows(), self._source, self.normalization, self.lower, every_class=self.classes is None
        )

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """By number."""
        if self._is_invented:
            there = set(LANGUAGES)
            names = tuple(self.classes or LANGUAGES)
        else:
            there = self._read.names
            names = tuple(self.classes or sorted(there))
        for name in sorted(there.difference(names)):
            raise InputError(
                f"{self._source}: class '{name}' is none of data.classes{nearest(name, names)} ({', '.join(names)})"
            )
        if len(names) < 2:
            raise InputError(f"{self._source} has one class, {names[0]}: there is nothing to tell apart")
        return names

    # ---- splits -----------------------------------------------------------------------------------

    @cached_property
    def _parts(self) -> dict[SplitName, Texts]:
        """The texts of each split, balanced those of training."""
        if self._is_invented:
            return {split: self._invented(split) for split in SPLITS}
        parts = self._shared
        # 0, 1 and 2 are the generators of samples, 3 that of the order of batches, 4 that of the splits
        chosen = balanced(parts["train"].labels, self.balance, np.random.default_rng((self.seed, 5)))
        return parts | {"train": parts["train"].take(chosen)}

    @cached_property
    def _splitter(self) -> TextSplitter:
        return TextSplitter(
            self._read, self.class_names, self.classes is not None, self.stratify, self.duplicates == "drop",
            self.num_samples, self.val_fraction, self.test_fraction, self.folds, self.fold, self.seed,
        )  # fmt: skip

    @cached_property
    def _shared(self) -> dict[SplitName, Texts]:
        """What was read, shared out."""
        return {split: self._splitter.texts.take(places) for split, places in self._splitter.places.items()}

    def numbers_in_whole(self, split: SplitName) -> np.ndarray | None:
        """Among the texts as they were read, class by class, each once (``duplicates=drop``)."""
        if self._is_invented or (split == "train" and self.balance != "none"):
            return None
        return self._splitter.places[split]

    # ---- the invented languages ---------------------------------------------------------------------

    def _invented(self, split: SplitName) -> Texts:
        number = SPLITS.index(split)
        texts = [self._word(np.random.default_rng((self.seed, number, i)), split, i) for i in range(self.size(split))]
        return Texts(texts, np.arange(len(texts)) % len(LANGUAGES))

    def _word(self, rng: np.random.Generator, split: SplitName, index: int) -> str:
        """A word of the language whose turn it is; each word is of one split, whenever it is drawn."""
        language = list(LANGUAGES.values())[index % len(LANGUAGES)]
        while True:
            word = language.word(rng)
            place = zlib.crc32(word.encode()) / 2**32
            owner = "val" if place < self.val_fraction else "test" if place >= 1 - self.test_fraction else "train"
            if owner == split:
                return normalize(word, self.normalization, self.lower)

    # ---- what the network gets ----------------------------------------------------------------------

    @cached_property
    def encoder(self) -> TextEncoder:
        """What turns a text into token numbers."""
        if self.vocabulary is not None:
            vocabulary = check_vocabulary(self.vocabulary, self.unit)
        elif self._is_invented:
            # by the rule, so that a number does not depend on how many words are drawn
            letters = [normalize(letter, self.normalization, self.lower) for letter in ALPHABET]
            vocabulary = build_vocabulary(letters, self.unit)
        else:
            vocabulary = build_vocabulary(self._shared["train"].texts, self.unit, self.min_count)
        return TextEncoder(vocabulary, self.unit, self.normalization, self.lower, self.max_length)

    def encode(self, text: str) -> np.ndarray:
        """``(time,)`` token numbers of any text, ``<unk>`` where training has seen none like it.

        Raises:
            InputError: there is nothing in it.
        """
        return self.encoder.encode(text)

    def state_dict(self) -> dict[str, Any]:
        """Arguments of the constructor: what the network's numbers stand for."""
        return {"unit": self.unit, "vocabulary": list(self.encoder.vocabulary), "classes": list(self.class_names)}

    @property
    def reader(self) -> TextReader:
        encoder = self.encoder
        return TextReader(
            encoder.vocabulary, encoder.unit, encoder.normalization, encoder.lower, encoder.max_length,
            self.text_column, self.label_column, self.class_names,
        )  # fmt: skip

    def size(self, split: SplitName) -> int:
        if not self._is_invented:
            return len(self._parts[split].texts)
        total = self.num_samples or INVENTED
        held_out = {"val": round(total * self.val_fraction), "test": round(total * self.test_fraction)}
        return held_out.get(split, total - sum(held_out.values()))

    def load(self, split: SplitName) -> Split:
        texts, labels = self._parts[split]
        return Packed(map(self.encoder.numbers, texts), torch.from_numpy(labels.astype(np.int64)))

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        if self._is_invented:
            return Sample(self.encoder.numbers(self._word(rng, split, index)), index % len(LANGUAGES))
        texts, labels = self._parts[split]
        return Sample(self.encoder.numbers(texts[index]), int(labels[index]))

    @cached_property
    def spec(self) -> DataSpec:
        names = self.class_names
        # before they are balanced: the majority is to be the real one
        labels = (self._parts if self._is_invented else self._shared)["train"].labels
        return DataSpec(
            input=InputSpec(
                vocabulary=len(self.encoder.vocabulary),
                ngrams=self.ngrams,
                buckets=self.ngram_buckets,
            ),
            target=TargetSpec("class", len(names), names),
            length=max(int(self._packed(split).lengths.max()) for split in SPLITS),
            class_frequencies=tuple((np.bincount(labels, minlength=len(names)) / len(labels)).tolist()),
            step_unit=self.unit,
            note=self._note(),
        )

    def _packed(self, split: SplitName) -> Packed:
        part = self.split(split)
        assert isinstance(part, Packed)
        return part

    def _note(self) -> str:
        """What was done with the texts, as far as anything was."""
        if self._is_invented:
            return "words of invented languages, drawn by rule; no two splits share a word, some languages do"
        held_out = [int((self._packed(split).ids == 0).sum()) for split in ("val", "test")]
        facts = (
            (self._read.repeated if self.duplicates == "drop" else 0, "repetitions dropped"),
            (self._read.several, "in more than one class (each in one split)"),
            (self._read.empty, "empty lines skipped"),
            (too_long(self._parts, self.unit, self.max_length), f"cut after {self.max_length} {self.unit}s"),
            (sum(held_out) if self.unit != "byte" else 0, f"held-out {self.unit}s are <unk>"),
        )
        chosen = f"{sum(len(part.texts) for part in self._shared.values()):,} of " if self.num_samples else ""
        return "; ".join([f"{chosen}{len(self._read.counts):,} texts", *(f"{n:,} {what}" for n, what in facts if n)])

    def predictors(self) -> dict[str, torch.Tensor]:
        """Naive Bayes: the tokens of a text counted and their order ignored, each class by its counts in training.
        And, where scikit-learn is installed, a regression on n-grams (:mod:`rnnlab.data.ngram_regression`).
        """
        train, test = self._packed("train"), self._packed("test")
        found = {"naive_bayes": naive_bayes(train, test, len(self.class_names), len(self.encoder.vocabulary))}
        texts, labels = self._parts["train"]
        if ngram_regression.is_there() and len(set(labels.tolist())) > 1:
            given = tuple(texts), tuple(labels.tolist()), tuple(self._parts["test"].texts)
            said = ngram_regression.ngram_regression(*given, self.unit, self.max_length)
            found["ngram_regression"] = F.pad(said, (0, len(self.class_names) - said.shape[1]), value=-100.0)
        return found
