"""A text, read from its start to its end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rnnlab.data import documentation
from rnnlab.data.batches import Batches, StreamOrder
from rnnlab.data.corpus import (
    NGRAM_BUCKETS,
    Corpus,
    Unit,
    check_vocabulary,
    find_files,
    read,
    read_bytes,
    read_text,
)
from rnnlab.data.entropy import COMPRESSED, MEASURED, bigram_nats, compressed_nats, compressors, unigram
from rnnlab.data.sequence import SequenceData
from rnnlab.data.split import SPLITS, CutOnDemand, Sample, Split, SplitName
from rnnlab.data.text_reader import CorpusReader
from rnnlab.errors import InputError
from rnnlab.files.memory import gigabytes, machine_memory
from rnnlab.shapes import FilePath, NGrams, PositiveInt
from rnnlab.spec import IGNORED, Batch, DataSpec, InputSpec, TargetSpec


@dataclass(kw_only=True, eq=False)
class Text(SequenceData):
    """At every step the next character, byte or word of a text.

    ::

        length=8, batch_size=2: two streams of three sequences, the state is carried along each

        inputs   |The cat |sat on t|he mat. |         targets  |he cat s|at on th|e mat. T|
                 |The dog |sat on t|he cat. |                  |he dog s|at on th|e cat.··|
        batch     0        1        2                 batch     0        1        2

    Training, validation and test are the first, the next and the last part of
    the text. Each is cut into sequences of ``length`` steps, and these are
    shared out among ``batch_size`` streams, so that row i of a batch goes on
    where row i of the batch before it ended. The last sequence of a part is
    shorter (its end is padded, and the targets there are ``IGNORED``), and
    every token but the first of a part is predicted once an epoch.

    The vocabulary is that of the training part; what else comes later is
    ``<unk>``. The text is held in memory, in one byte a token for up to 256 of
    them; a file of which reading would take more memory than there is, is
    refused.

    Attributes:
        path: a UTF-8 file, or a folder, of which all files are read one after
            the other; ``None`` for a text that every Python carries.
        pattern: which files of the folder, at any depth.
        built_in: what is read where there is no path: Python's language
            ``reference`` (0.46 million characters of English), or its
            ``documentation`` (the reference and the docstrings of the standard
            library, 2 million).
        unit: of a token: ``character`` (a Unicode code point), ``byte``, or
            ``word`` (by Unicode's word boundaries; a sign or the end of a line is one too).
        min_count: a character or word that the training part has less often is ``<unk>``.
        ngrams: n-grams of tokens that the network reads beside each token, those that end there: the fewest and the
            most tokens, such as ``(2, 5)`` (:mod:`rnnlab.ngrams`); ``None`` for none.
        ngram_buckets: rows of the table that the n-grams share by a hash.
        num_samples: sequences in the three splits together, the first of each; ``None`` for the whole text.
        length: steps of a sequence: how far the gradient reaches back.
        batch_size: streams side by side.
        vocabulary: what each token number stands for, ``<unk>`` first; ``None`` for what the training part has.
            A trained run hands in its own, so that another text is read as the training was.

    Raises:
        InputError: the text cannot be read, is too short, or has more words than memory allows.
    """

    path: FilePath | None = None
    pattern: str = "*"
    built_in: Literal["reference", "documentation"] = "reference"
    unit: Unit = "character"
    min_count: PositiveInt = 1
    ngrams: NGrams | None = None
    ngram_buckets: PositiveInt = NGRAM_BUCKETS
    num_samples: PositiveInt | None = None
    length: PositiveInt = 64
    vocabulary: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.val_fraction + self.test_fraction < 1:
            self._check_length()
        super().__post_init__()
        self._check_vocabulary()

    @cached_property
    def corpus(self) -> Corpus:
        """The text, read at the first call and kept."""
        given = None if self.vocabulary is None else check_vocabulary(self.vocabulary, self.unit)
        return read(self._blocks(), self.unit, self._training_share, self.min_count, given)

    def state_dict(self) -> dict[str, Any]:
        """Arguments of the constructor: what the network's numbers stand for."""
        return {"unit": self.unit, "vocabulary": list(self.corpus.vocabulary)}

    @property
    def reader(self) -> CorpusReader:
        return CorpusReader(self.corpus.vocabulary, self.unit)

    def _blocks(self) -> Iterable[bytes] | Iterable[str]:
        if self.path is None:
            text = documentation.reference() if self.built_in == "reference" else documentation.documentation()
            return [text.encode()] if self.unit == "byte" else [text]
        path = Path(self.path).expanduser()
        files = find_files(path, self.pattern)
        if self.unit == "byte":
            return read_bytes(files)
        return read_text(files, path.is_dir(), "or read bytes with data.unit=byte")

    def part(self, split: SplitName) -> Tensor:
        """``(tokens,)`` numbers of a split's tokens, the first of which is only an input."""
        ids = self._parts[split]
        return ids if self.num_samples is None else ids[: self.size(split) * self.length + 1]

    @cached_property
    def _parts(self) -> dict[SplitName, Tensor]:
        ids = self.corpus.ids
        ends = [round(share * len(ids)) for share in (self._training_share, 1 - self.test_fraction)]
        return dict(zip(SPLITS, ids.tensor_split(ends), strict=True))

    @property
    def _training_share(self) -> float:
        return 1 - self.val_fraction - self.test_fraction

    def size(self, split: SplitName) -> int:
        if self.num_samples is not None:
            return super().size(split)
        return _sequences(self._parts[split], self.length)

    def load(self, split: SplitName) -> Split:
        return Passages(self.part(split), self.length)

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        batch = self.split(split).batch(torch.tensor([index]))
        return Sample(batch.inputs[0].numpy(), batch.targets[0].numpy())

    @cached_property
    def spec(self) -> DataSpec:
        vocabulary = self.corpus.vocabulary
        return DataSpec(
            input=InputSpec(
                vocabulary=len(vocabulary),
                unknown=None if self.unit == "byte" else 0,
                ngrams=self.ngrams,
                buckets=self.ngram_buckets,
            ),
            target=TargetSpec("tokens", len(vocabulary), vocabulary),
            length=self.length,
            streamed=True,
            token_frequencies=tuple(unigram(self.part("train"), len(vocabulary)).tolist()),
            step_unit=self.unit,
            note=self._note(),
        )

    def _note(self) -> str:
        sizes = " / ".join(f"{len(self.part(split)):,}" for split in SPLITS)
        note = f"{self.unit}s of one text in its order, nothing drawn: {sizes}"
        unknown = sum(int((self.part(split) == 0).sum()) for split in ("val", "test"))
        if self.unit != "byte" and unknown:
            note += f"; {unknown:,} of those held out are <unk>"
        return note

    def baselines(self) -> dict[str, float]:
        """By counts of pairs (``bigram``), and by ``gzip -9`` and ``xz -9`` that have read the training text first."""
        train, test = self.part("train"), self.part("test")
        losses = {"bigram": bigram_nats(train, test, len(self.corpus.vocabulary))}
        some = test[:MEASURED]
        before, text = self.corpus.encoded(train[-COMPRESSED:]), self.corpus.encoded(some)
        return losses | {name: compressed_nats(before, text, len(some), c) for name, c in compressors().items()}

    def _batches(self, name: SplitName, batch_size: int, shuffle: bool) -> Batches:
        split = self.split(name)
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        # always as many streams: more of them would be shorter, and each begins without knowing what was before it
        order = StreamOrder(len(split), self.batch_size, rank, world, alike=name == "train")
        return Batches(split, order, self.num_workers)

    # ---- what cannot work -----------------------------------------------------------------------

    def _check_length(self) -> None:
        source = f"data.path={self.path}" if self.path else f"data.built_in={self.built_in}"
        tokens = len(self.corpus.ids)
        if not tokens:
            raise InputError(f"{source} has no {self.unit}s")
        streams, length = f"data.batch_size={self.batch_size} streams", f"data.length={self.length} steps"
        train = self.batch_size * self.length + 1
        if len(self._parts["train"]) < train:
            needed = ceil(train / self._training_share)
            raise InputError(
                f"{source} has {tokens:,} {self.unit}s; {streams} with a sequence of {length} each need {train:,} to "
                f"train on, and so {needed:,} in all: make one of them smaller"
            )
        for split in SPLITS:
            there = _sequences(self._parts[split], self.length)
            if not there:
                raise InputError(f"{source} has {tokens:,} {self.unit}s, which leave none to predict for {split}")
            if self.size(split) > there:
                raise InputError(
                    f"data.num_samples={self.num_samples} takes {self.size(split):,} sequences of {length} for {split} "
                    f"and {source} has {there:,}: give fewer, or null for the whole text"
                )
        if self.size("train") < self.batch_size:
            raise InputError(
                f"data.num_samples={self.num_samples} leaves {self.size('train')} sequences to train on for {streams}: "
                "give more sequences or fewer streams"
            )

    def _check_vocabulary(self) -> None:
        vocabulary, memory = len(self.corpus.vocabulary), machine_memory()
        # a step holds the scores of all tokens, their logarithmic probabilities and the gradient, 4 bytes each
        needed = 3 * 4 * self.batch_size * self.length * vocabulary
        if needed > memory:
            raise InputError(
                f"a vocabulary of {vocabulary:,} {self.unit}s needs {gigabytes(needed)} for the scores of one batch, "
                f"and this machine has {gigabytes(memory)}: raise data.min_count={self.min_count}, "
                f"or lower data.batch_size={self.batch_size} or data.length={self.length}"
            )


class Passages(CutOnDemand):
    """A part of a text in sequences of ``length`` steps, cut from ``ids`` as they are asked for.

    They overlap in memory: a token takes no more than its place in ``ids``.
    """

    def __init__(self, ids: Tensor, length: int) -> None:
        super().__init__(ids=ids, length=length)

    ids: Tensor
    length: int

    def __len__(self) -> int:
        return _sequences(self.ids, self.length)

    def batch(self, index: slice | Tensor) -> Batch:
        rows = torch.from_numpy(self.numbers(index))
        last = len(self.ids) - 1
        lengths = (last - rows * self.length).clamp(max=self.length)
        longest = int(lengths.max())
        position = rows[:, None] * self.length + torch.arange(longest + 1)
        tokens = self.ids[position.clamp(max=last)].long()
        inputs, targets = tokens[:, :-1], tokens[:, 1:]
        if int(lengths.min()) == longest:
            return Batch(inputs, targets)
        return Batch(inputs, targets.masked_fill(position[:, 1:] > last, IGNORED), lengths)


def _sequences(ids: Tensor, length: int) -> int:
    return max(0, -(-(len(ids) - 1) // length))
