"""Pairs that somebody wrote down: what is read, and all that is right to say."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np

from rnnlab.data.corpus import check_vocabulary
from rnnlab.data.packed import PackedPairs
from rnnlab.data.pair_data import PairData
from rnnlab.data.split import SPLITS, Sample, Split, SplitName
from rnnlab.data.text_encoder import Normalization, PairUnit, TextEncoder, build_vocabulary, normalize, tokens
from rnnlab.errors import InputError
from rnnlab.shapes import PositiveInt


@dataclass(kw_only=True, eq=False)
class ListedPairs(PairData, ABC):
    """Pairs from a list, each text with all its answers.

    Where a text has several answers, training meets each of them, and
    validation and test ask for the text once, and take any of them for right.
    The splits have no text in common. Numbers of tokens come from the training
    split and are kept with the weights.

    Attributes:
        max_length: pairs with more tokens on a side are left out; ``None`` for none.
        num_samples: pairs in the three splits together, at most; ``None`` for all.
        vocabulary: what each token number that is read stands for, ``<unk>`` first; ``None`` for what the training
            split has. A trained run hands in its own.
        target_vocabulary: the same of what is said.

    Raises:
        InputError: validation or test has no share, or there are too few pairs.
    """

    max_length: PositiveInt | None = 100
    num_samples: PositiveInt | None = None
    vocabulary: Sequence[str] | None = None
    target_vocabulary: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("val_fraction", "test_fraction"):
            if not getattr(self, name):
                raise InputError(f"data.{name}=0 leaves no pair for {name.split('_')[0]}: give it a share")
        super().__post_init__()

    # ---- what a list says -------------------------------------------------------------------------

    @abstractmethod
    def listed(self) -> Iterable[tuple[str, str]]:
        """All pairs, in the order of the list.

        Raises:
            InputError: it cannot be read.
        """

    @property
    @abstractmethod
    def origin(self) -> str:
        """The list, in messages: ``data.path=FILE``."""

    @property
    @abstractmethod
    def unit(self) -> PairUnit:
        """Of a token that is read."""

    @property
    @abstractmethod
    def target_unit(self) -> PairUnit:
        """Of a token that is said."""

    @property
    def normalization(self) -> Normalization:
        """Of Unicode on both sides."""
        return "NFC"

    @property
    def lower(self) -> bool:
        """Whether capitals count as small letters."""
        return False

    @property
    def min_count(self) -> int:
        """A token that the training split has less often is ``<unk>``."""
        return 1

    @property
    def shared_vocabulary(self) -> bool:
        """Whether both sides have the tokens of both."""
        return False

    # ---- what is read -----------------------------------------------------------------------------

    @cached_property
    def _answers(self) -> dict[str, list[str]]:
        """Each text with its answers, in the order of the list; those that are too long are left out, and counted."""
        answers_of: dict[str, list[str]] = {}
        self._long = 0
        for pair in self.listed():
            source, target = (normalize(text, self.normalization, self.lower) for text in pair)
            if not source or not target:
                raise InputError(
                    f"{self.origin}: of '{pair[0][:40]}' and '{pair[1][:40]}' data.normalization={self.normalization} "
                    "leaves nothing on a side"
                )
            sides = (tokens(source, self.unit), tokens(target, self.target_unit))
            if self.max_length is not None and max(map(len, sides)) > self.max_length:
                self._long += 1
                continue
            answers = answers_of.setdefault(source, [])
            if target not in answers:
                answers.append(target)
        if not answers_of:
            long = f" of at most data.max_length={self.max_length} tokens a side" if self._long else ""
            raise InputError(f"{self.origin}: there is no pair{long} in it")
        return answers_of

    @cached_property
    def _parts(self) -> dict[SplitName, list[tuple[str, list[str]]]]:
        """The texts of each split with their answers; of the training split each answer by itself.

        They are dealt out in turn in an order that is drawn once, so that with more of ``num_samples`` each split has
        more, and keeps what it had.
        """
        rng = np.random.default_rng((self.seed, 4))  # 0 to 3 are those of samples and of the order of batches
        sources = list(self._answers)
        order = [sources[k] for k in rng.permutation(len(sources))]
        if self.num_samples is not None:
            counts = np.cumsum([len(self._answers[source]) for source in order])
            order = order[: max(1, int((counts <= self.num_samples).sum()))]
        if len(order) < len(SPLITS):
            raise InputError(
                f"{self.origin} has {len(order)} different text{'s' * (len(order) != 1)} to read, and train, "
                "validation and test need one each: give more"
            )
        test, rest = _dealt(order, self.test_fraction)
        val, train = _dealt(rest, self.val_fraction / (1 - self.test_fraction))
        if not train:
            raise InputError(f"{self.origin} has {len(order)} different texts: too few to train on")
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
        return self.numbering(given, units, self.sides() if None in given else [[], []])

    def sides(self) -> list[list[str]]:
        """Texts of both sides whose tokens get a number: those of the training split."""
        train = self._parts["train"]
        return [[source for source, _ in train], [answer for _, answers in train for answer in answers]]

    def numbering(
        self,
        given: tuple[Sequence[str] | None, Sequence[str] | None],
        units: tuple[PairUnit, PairUnit],
        sides: list[list[str]],
    ) -> tuple[TextEncoder, TextEncoder]:
        """What numbers both sides: by a vocabulary that is given, or else by that of some texts.

        Raises:
            InputError: it is no vocabulary.
        """
        if self.shared_vocabulary:
            sides = [[*sides[0], *sides[1]]] * 2
        made = [
            check_vocabulary(own, unit) if own is not None else build_vocabulary(texts, unit, self.min_count)
            for own, unit, texts in zip(given, units, sides, strict=True)
        ]
        ours, theirs = (
            TextEncoder(vocabulary, unit, self.normalization, self.lower)
            for vocabulary, unit in zip(made, units, strict=True)
        )
        return ours, theirs

    def state_dict(self) -> dict[str, Any]:
        """Arguments of the constructor: what the network's numbers stand for."""
        ours, theirs = self.encoders
        return {"vocabulary": list(ours.vocabulary), "target_vocabulary": list(theirs.vocabulary)}

    def size(self, split: SplitName) -> int:
        return len(self._parts[split])

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        source, answers = self._parts[split][index]
        return self.numbered(source, answers[0])

    def load(self, split: SplitName) -> Split:
        ours, theirs = self.encoders
        end = len(theirs.vocabulary)
        parts = self._parts[split]
        return PackedPairs(
            (ours.numbers(source) for source, _ in parts),
            ([np.append(theirs.numbers(answer), end) for answer in answers] for _, answers in parts),
        )

    @property
    def note(self) -> str:
        """What was done with the pairs, as far as anything was."""
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


def _dealt(order: Sequence[str], share: float) -> tuple[list[str], list[str]]:
    """A share of some texts, the first among them and then evenly spread; and the others."""
    # rounded, since 0.1 / 0.9 of 9 is a little more than 1
    before = [ceil(round(k * share, 9)) for k in range(len(order) + 1)]
    taken: list[str] = []
    left: list[str] = []
    for k, source in enumerate(order):
        (taken if before[k + 1] > before[k] else left).append(source)
    return taken, left
