"""Labelled texts as they were read, and how they are shared out among the splits."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from rnnlab.data.corpus import Unit
from rnnlab.data.split import SPLITS, SplitName
from rnnlab.data.splitting import cut
from rnnlab.data.strata import quotas, rarest_class, share_out
from rnnlab.data.text_encoder import Normalization, normalize, tokens
from rnnlab.errors import InputError

OUT = "its rows, or its file by data.pattern"
"""What to leave out of a table, or of a folder."""


class Texts(NamedTuple):
    """Texts and the numbers ``(texts,)`` of their classes."""

    texts: list[str]
    labels: np.ndarray

    def take(self, index: np.ndarray) -> "Texts":
        return Texts([self.texts[i] for i in index], self.labels[index])


@dataclass(frozen=True)
class LabelledTexts:
    """What was read.

    Attributes:
        source: where, for messages: ``data.path=names``.
        counts: how often each text was read of each class, by both.
        empty: lines that had no text.
    """

    source: str
    counts: Counter[tuple[str, str]]
    empty: int

    @classmethod
    def read(
        cls, rows: Iterable[tuple[str, str]], source: str, normalization: Normalization, lower: bool, every_class: bool
    ) -> "LabelledTexts":
        """Counts the texts of rows.

        Args:
            rows: texts and the names of their classes.
            source: see :class:`LabelledTexts`.
            normalization: of Unicode.
            lower: whether capitals count as small letters.
            every_class: whether each class must have a text.

        Raises:
            InputError: there are none, or a class has none.
        """
        counts: Counter[tuple[str, str]] = Counter()
        empty = 0
        names: set[str] = set()
        for line, name in rows:
            names.add(name)
            text = normalize(line, normalization, lower)
            if text:
                counts[text, name] += 1
            else:
                empty += 1
        form = f"(data.normalization={normalization})"
        if not counts:
            raise InputError(f"{source} has no text in it {form}")
        nothing = sorted(names.difference(name for _, name in counts))
        if nothing and every_class:
            raise InputError(
                f"{source}: class '{nothing[0]}' has no text in it {form}: give it some, or leave it out ({OUT})"
            )
        return cls(source, counts, empty)

    @property
    def names(self) -> set[str]:
        """Of the classes that have a text."""
        return {name for _, name in self.counts}

    @property
    def several(self) -> int:
        """Texts of more than one class."""
        return sum(n > 1 for n in Counter(text for text, _ in self.counts).values())

    @property
    def repeated(self) -> int:
        """How many more lines there were than texts, each counted once a class."""
        return sum(self.counts.values()) - len(self.counts)


@dataclass(frozen=True)
class TextSplitter:
    """Shares texts out: all examples with one text are in one split, that of its rarest class.

    Attributes:
        read: the texts.
        names: of the classes, by number.
        may_miss: whether a class may have too few texts, or none to train on.
        stratify: each class has its share of each split.
        once: a text that a class has several times is taken once.
        num_samples: texts at most.
        val_fraction: share of the validation.
        test_fraction: share of the test, where there are no folds.
        folds: parts of which one is the test.
        fold: which of them.
        seed: of the order.

    Raises:
        InputError: there are too few texts, of a class or of all.
    """

    read: LabelledTexts
    names: Sequence[str]
    may_miss: bool
    stratify: bool
    once: bool
    num_samples: int | None
    val_fraction: float
    test_fraction: float
    folds: int | None
    fold: int
    seed: int

    @cached_property
    def _times(self) -> list[int]:
        """How often each text of a class is taken."""
        return [1 if self.once else count for count in self.read.counts.values()]

    @cached_property
    def texts(self) -> Texts:
        """All that may be taken, in the order in which they were read."""
        number = {name: k for k, name in enumerate(self.names)}
        labels = np.repeat([number[name] for _, name in self.read.counts], self._times)
        return Texts(
            [text for (text, _), n in zip(self.read.counts, self._times, strict=True) for _ in range(n)], labels
        )

    @cached_property
    def places(self) -> Mapping[SplitName, np.ndarray]:
        """Where the texts of each split stand among :attr:`texts`, in order."""
        labels = self.texts.labels
        distinct: dict[str, int] = {}
        groups = np.repeat([distinct.setdefault(text, len(distinct)) for text, _ in self.read.counts], self._times)
        entries = np.bincount(groups)
        homes = rarest_class(groups, labels) if self.stratify else np.zeros(len(entries), np.int64)
        strata = [np.flatnonzero(homes == k) for k in range(homes.max() + 1)]
        self._check_sizes([len(stratum) for stratum in strata])
        if self.folds is not None:
            seed, classes = (self.seed, len(SPLITS)), labels if self.stratify else None
            pieces = cut(len(labels), (self.val_fraction, 0), seed, classes, groups, self.folds, self.fold)
            places = {split: np.sort(piece) for split, piece in zip(SPLITS, pieces, strict=True)}
        else:
            split_of = self._deal(strata, entries)
            places = {split: np.flatnonzero(split_of[groups] == n) for n, split in enumerate(SPLITS)}
        self._check_places(places)
        return places

    def _deal(self, strata: Sequence[np.ndarray], entries: np.ndarray) -> np.ndarray:
        """The number of each text's split, -1 where it is left out, of the texts of each stratum."""
        sizes = [int(entries[stratum].sum()) for stratum in strata]
        shares = sizes if self.num_samples is None else quotas(sizes, self.num_samples, len(SPLITS))
        # 0, 1 and 2 are the generators of samples, 3 that of the order of batches
        split_of, rng = np.full(len(entries), -1), np.random.default_rng((self.seed, 4))
        fractions = (self.test_fraction, self.val_fraction)
        for stratum, share in zip(strata, shares, strict=True):
            dealt = share_out(stratum, entries[stratum], share, fractions, rng)
            for part, members in zip((0, 2, 1), dealt, strict=True):
                split_of[members] = part
        return split_of

    def _check_sizes(self, sizes: list[int]) -> None:
        """Of each class, by number; one that may be missed has none of its own."""
        few = min(range(len(sizes)), key=sizes.__getitem__)
        if self.stratify and not self.may_miss and sizes[few] < len(SPLITS):
            raise InputError(
                f"{self.read.source}: class '{self.names[few]}' has {sizes[few]} text{'s' * (sizes[few] != 1)}, and "
                f"train, validation and test need one each: give more of it, leave it out ({OUT}), or leave it to "
                "chance (data.stratify=false)"
            )
        least = sum(min(size, len(SPLITS)) for size in sizes)
        if self.num_samples is not None and self.num_samples < least:
            raise InputError(
                f"data.num_samples={self.num_samples} is too few: train, validation and test need one text of each "
                f"of {len(sizes)} classes, {least} in all"
            )

    def _check_places(self, places: Mapping[SplitName, np.ndarray]) -> None:
        for split, where in places.items():
            if not len(where):
                raise InputError(
                    f"{self.read.source} has {sum(self.read.counts.values()):,} texts, of which data.val_fraction="
                    f"{self.val_fraction} and data.test_fraction={self.test_fraction} leave none for {split}"
                )
        missing = set(range(len(self.names))).difference(self.texts.labels[places["train"]].tolist())
        if missing and not self.may_miss:
            raise InputError(
                f"{self.read.source}: class '{self.names[min(missing)]}' has no text to train on: give more of it, "
                f"lower data.val_fraction={self.val_fraction} or data.test_fraction={self.test_fraction}, or leave it "
                f"out ({OUT})"
            )


def too_long(parts: Mapping[SplitName, Texts], unit: Unit, most: int | None) -> int:
    """How many texts have more tokens than that."""
    return sum(len(tokens(text, unit)) > most for part in parts.values() for text in part.texts) if most else 0
