"""Short texts, and the class of each."""

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

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
from rnnlab.data.splitting import check_folds, cut
from rnnlab.data.strata import Balance, balanced, quotas, rarest_class, share_out
from rnnlab.data.text_encoder import (
    Normalization,
    TextEncoder,
    build_vocabulary,
    normalize,
    tokens,
)
from rnnlab.data.text_reader import TextReader
from rnnlab.data.word_lists import read_word_lists
from rnnlab.errors import InputError, nearest
from rnnlab.shapes import FilePath, NGrams, NonNegativeInt, PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec

INVENTED = 6000
"""Words of the invented languages where nobody says how many."""


class Texts(NamedTuple):
    """Texts and the numbers ``(texts,)`` of their classes."""

    texts: list[str]
    labels: np.ndarray

    def take(self, index: np.ndarray) -> "Texts":
        return Texts([self.texts[i] for i in index], self.labels[index])


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

    rivals = ("ngram_regression",)

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
    num_samples: PositiveInt | None = None  # type: ignore[assignment]
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
        return read_labelled(Path(self.path).expanduser(), self.pattern, self.text_column, self.label_column)

    @cached_property
    def _read(self) -> tuple[Counter[tuple[str, str]], int]:
        """How often each text was read of each class, and how many lines had none."""
        seen: Counter[tuple[str, str]] = Counter()
        empty = 0
        names: set[str] = set()
        for line, name in self._rows():
            names.add(name)
            text = normalize(line, self.normalization, self.lower)
            if text:
                seen[text, name] += 1
            else:
                empty += 1
        form = f"(data.normalization={self.normalization})"
        if not seen:
            raise InputError(f"{self._source} has no text in it {form}")
        nothing = sorted(names.difference(name for _, name in seen))
        if nothing and self.classes is None:
            raise InputError(
                f"{self._source}: class '{nothing[0]}' has no text in it {form}: give it some, or leave its file out "
                "(data.pattern)"
            )
        return seen, empty

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """By number."""
        if self._is_invented:
            there = set(LANGUAGES)
            names = tuple(self.classes or LANGUAGES)
        else:
            there = {name for _, name in self._read[0]}
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
        chosen = balanced(parts["train"].labels, self.balance, self._rng("balance"))
        return parts | {"train": parts["train"].take(chosen)}

    @cached_property
    def _shared(self) -> dict[SplitName, Texts]:
        """What was read, shared out: all examples with one text are in one split, that of its rarest class."""
        counts = self._read[0]
        times = [1 if self.duplicates == "drop" else count for count in counts.values()]
        number = {name: k for k, name in enumerate(self.class_names)}
        labels = np.repeat([number[name] for _, name in counts], times)
        distinct: dict[str, int] = {}
        groups = np.repeat([distinct.setdefault(text, len(distinct)) for text, _ in counts], times)
        entries = np.bincount(groups)
        homes = rarest_class(groups, labels) if self.stratify else np.zeros(len(entries), np.int64)
        strata = [np.flatnonzero(homes == k) for k in range(homes.max() + 1)]
        sizes = [int(entries[stratum].sum()) for stratum in strata]
        self._check_sizes([len(stratum) for stratum in strata])
        whole = Texts([text for (text, _), n in zip(counts, times, strict=True) for _ in range(n)], labels)
        if self.folds is not None:
            seed, classes = (self.seed, len(SPLITS)), labels if self.stratify else None
            pieces = cut(len(labels), (self.val_fraction, 0), seed, classes, groups, self.folds, self.fold)
            self._places = {split: np.sort(piece) for split, piece in zip(SPLITS, pieces, strict=True)}
            parts = {split: whole.take(places) for split, places in self._places.items()}
            self._check_parts(parts)
            return parts
        shares = sizes if self.num_samples is None else quotas(sizes, self.num_samples, len(SPLITS))
        split_of, rng = np.full(len(entries), -1), self._rng("split")
        for stratum, share in zip(strata, shares, strict=True):
            fractions = (self.test_fraction, self.val_fraction)
            for part, members in zip(
                (0, 2, 1), share_out(stratum, entries[stratum], share, fractions, rng), strict=True
            ):
                split_of[members] = part
        self._places = {split: np.flatnonzero(split_of[groups] == n) for n, split in enumerate(SPLITS)}
        parts = {split: whole.take(places) for split, places in self._places.items()}
        self._check_parts(parts)
        return parts

    def numbers_in_whole(self, split: SplitName) -> np.ndarray | None:
        """Among the texts as they were read, class by class, each once (``duplicates=drop``)."""
        if self._is_invented or (split == "train" and self.balance != "none"):
            return None
        _ = self._shared
        return self._places[split]

    def _rng(self, purpose: Literal["split", "balance"]) -> np.random.Generator:
        # 0, 1 and 2 are those of samples, 3 that of the order of batches
        return np.random.default_rng((self.seed, {"split": 4, "balance": 5}[purpose]))

    def _check_sizes(self, sizes: list[int]) -> None:
        """Of each class; one that a trained run has handed in may be missing here."""
        few = min(range(len(sizes)), key=sizes.__getitem__)
        if self.stratify and self.classes is None and sizes[few] < len(SPLITS):
            raise InputError(
                f"{self._source}: class '{self.class_names[few]}' has {sizes[few]} text{'s' * (sizes[few] != 1)}, and "
                "train, validation and test need one each: give more of it, leave its file out (data.pattern), or "
                "leave it to chance (data.stratify=false)"
            )
        least = sum(min(size, len(SPLITS)) for size in sizes)
        if self.num_samples is not None and self.num_samples < least:
            raise InputError(
                f"data.num_samples={self.num_samples} is too few: train, validation and test need one text of each "
                f"of {len(sizes)} classes, {least} in all"
            )

    def _check_parts(self, parts: dict[SplitName, Texts]) -> None:
        for split, part in parts.items():
            if not part.texts:
                raise InputError(
                    f"{self._source} has {sum(self._read[0].values()):,} texts, of which data.val_fraction="
                    f"{self.val_fraction} and data.test_fraction={self.test_fraction} leave none for {split}"
                )
        missing = set(range(len(self.class_names))).difference(parts["train"].labels.tolist())
        if missing and self.classes is None:
            raise InputError(
                f"{self._source}: class '{self.class_names[min(missing)]}' has no text to train on: give more of it, "
                f"lower data.val_fraction={self.val_fraction} or data.test_fraction={self.test_fraction}, or leave its "
                "file out (data.pattern)"
            )

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
        counts, empty = self._read
        texts = [text for part in self._parts.values() for text in part.texts]
        several = sum(n > 1 for n in Counter(text for text, _ in counts).values())
        repeated = sum(counts.values()) - len(counts) if self.duplicates == "drop" else 0
        cut = sum(len(tokens(text, self.unit)) > self.max_length for text in texts) if self.max_length else 0
        held_out = [int((self._packed(split).ids == 0).sum()) for split in ("val", "test")]
        unknown = sum(held_out) if self.unit != "byte" else 0
        facts = (
            (repeated, "repetitions dropped"),
            (several, "in more than one class (each in one split)"),
            (empty, "empty lines skipped"),
            (cut, f"cut after {self.max_length} {self.unit}s"),
            (unknown, f"held-out {self.unit}s are <unk>"),
        )
        chosen = f"{sum(len(part.texts) for part in self._shared.values()):,} of " if self.num_samples else ""
        return "; ".join([f"{chosen}{len(counts):,} texts", *(f"{n:,} {what}" for n, what in facts if n)])

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
