"""Images that are read, and sentences that are to be said of them: what all such data sets have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from rnnlab.data.answers import ended, further
from rnnlab.data.corpus import check_vocabulary
from rnnlab.data.labelled_frames import LabelledFrames
from rnnlab.data.said_targets import of_targets
from rnnlab.data.split import SPLITS, Sample, Split, SplitName
from rnnlab.data.splitting import cut
from rnnlab.data.text_encoder import TextEncoder, build_vocabulary, tokens
from rnnlab.errors import InputError
from rnnlab.files.images import WHITE
from rnnlab.shapes import PositiveInt
from rnnlab.spec import DataSpec, InputSpec


class Captioned(NamedTuple):
    """An image with all that may be said of it.

    image
        ``(channels, height, width)`` of bytes.
    captions
        That are right, the usual one first.
    group
        Images of one group are in one split.
    """

    image: np.ndarray
    captions: tuple[str, ...]
    group: int


@dataclass(kw_only=True, eq=False)
class CaptionData(LabelledFrames, ABC):
    """An image is a sequence of one frame, its pixels between 0 and 1; what is said of it are words.

    Attributes:
        num_samples: in the three splits together, at most; ``None`` for all.
        vocabulary: what each token number stands for, ``<unk>`` first; ``None`` for what the training split has. A
            trained run hands in its own.
        scaling: of the images, as :class:`rnnlab.data.labelled_frames.LabelledFrames` has it.
        moments: see :class:`rnnlab.data.labelled.LabelledFeatures`.
    """

    num_samples: PositiveInt | None = None
    vocabulary: Sequence[str] | None = None
    every_caption: ClassVar[bool] = False
    """Whether an image is trained on once for each of its captions, or for the first alone."""

    @property
    @abstractmethod
    def examples(self) -> Sequence[Captioned]:
        """All images; computed once."""

    @property
    @abstractmethod
    def about(self) -> str:
        """What the images are, for the note."""

    @cached_property
    def _parts(self) -> dict[SplitName, list[tuple[np.ndarray, tuple[str, ...]]]]:
        """The images of each split with their captions; of the training split with one each."""
        groups = np.unique([example.group for example in self.examples], return_inverse=True)[1]
        fractions = (self.val_fraction, self.test_fraction)
        parts = cut(len(groups), fractions, (self.seed, len(SPLITS)), groups=groups)
        if min(map(len, parts)) == 0:
            raise InputError(
                f"{self.about}: these are too few, since train, validation and test need one image each: give more"
            )
        rng = np.random.default_rng((self.seed, len(SPLITS) + 2))
        shared: dict[SplitName, list[tuple[np.ndarray, tuple[str, ...]]]] = {}
        for split, part in zip(SPLITS, parts, strict=True):
            chosen = [self.examples[number] for number in rng.permutation(part)]
            if split == "train":
                last = None if self.every_caption else 1
                shared[split] = [(each.image, (caption,)) for each in chosen for caption in each.captions[:last]]
            else:
                shared[split] = [(each.image, each.captions) for each in chosen]
        return shared

    @cached_property
    def encoder(self) -> TextEncoder:
        """What numbers words."""
        if self.vocabulary is not None:
            return TextEncoder(check_vocabulary(self.vocabulary, "word"), "word")
        return TextEncoder(build_vocabulary((text for _, (text,) in self._parts["train"]), "word"), "word")

    def size(self, split: SplitName) -> int:
        there = len(self._parts[split])
        return there if self.num_samples is None else min(there, max(1, super().size(split)))

    def unscaled(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        image, captions = self._parts[split][index]
        return Sample(image.reshape(1, -1).astype(np.float32) / WHITE, ended(self.encoder, captions[0]))

    def load(self, split: SplitName) -> Split:
        loaded = super().load(split)
        others = further(self.encoder, [captions for _, captions in self._parts[split][: self.size(split)]])
        return loaded if others is None else replace(loaded, others=others)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return self.examples[0].image.shape

    @cached_property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(features=int(np.prod(self.frame_shape)), frame=self.frame_shape),
            length=1,
            step_unit="frame",
            note=self.note,
            **of_targets(self.split("train").targets, self.encoder.vocabulary, "word", 0),
        )

    @property
    def note(self) -> str:
        """What the images are, and how new what is asked of the test is."""
        known, test = set(self.encoder.vocabulary), self._parts["test"]
        trained = {captions for _, captions in self._parts["train"]}
        parts = sum(any(known >= set(tokens(caption, "word")) for caption in captions) for _, captions in test)
        whole = sum(any((caption,) in trained for caption in captions) for _, captions in test)
        return (
            f"{self.about}; of {len(test):,} test images {parts:,} have a caption whose words were all in training, "
            f"and {whole:,} one that was there as a whole"
        )

    def state_dict(self) -> dict[str, Any]:
        """Arguments of the constructor: what the network's numbers stand for, and how pixels are scaled."""
        return {**super().state_dict(), "vocabulary": list(self.encoder.vocabulary)}

    @property
    def reading(self) -> dict[str, Any]:
        return {"longest": 1, "moving": False}
