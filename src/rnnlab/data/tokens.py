"""Token sequences whose topic must be found."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from rnnlab.data.sequence import SequenceData, check_lengths
from rnnlab.data.split import Sample, SplitName
from rnnlab.errors import InputError
from rnnlab.shapes import Fraction, PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec


@dataclass(kw_only=True, eq=False)
class Tokens(SequenceData):
    """Each token belongs to a topic, and the class is the topic that occurs most.

    ::

        vocabulary=9 num_classes=3: tokens 0 3 6 are of topic 0, 1 4 7 of topic 1, 2 5 8 of topic 2

        inputs (7,)   4 0 1 8 7 3 1      topics  1 0 1 2 1 0 1      target  1
        inputs (5,)   6 5 0 7 3          topics  0 2 0 1 0          target  0

    Token k is of topic ``k % num_classes``, which a network is not told. The
    winning topic holds at least ``share`` of a sequence, strictly more than
    any other, so there are no ties; its tokens stand anywhere. No position
    gives it away: one has to go through the sequence and remember.

    Attributes:
        vocabulary: how many tokens there are, numbered from 0.
        num_classes: topics.
        min_length: steps of the shortest sequence.
        length: steps of the longest sequence; all lengths between are as likely.
        share: of a sequence that is of the winning topic. At 0 the winner leads by as little as one token.

    Raises:
        InputError: the lengths are upside down, or there are more topics than tokens.
    """

    num_samples: PositiveInt = 2000
    vocabulary: PositiveInt = 50
    num_classes: Annotated[int, Ge(2)] = 5
    min_length: PositiveInt = 10
    length: PositiveInt = 40
    share: Fraction = 0.4

    def __post_init__(self) -> None:
        check_lengths(self.min_length, self.length)
        if self.num_classes > self.vocabulary:
            raise InputError(
                f"data.num_classes={self.num_classes} may not be above data.vocabulary={self.vocabulary}: "
                "each topic needs a token"
            )
        super().__post_init__()

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(vocabulary=self.vocabulary),
            target=TargetSpec("class", self.num_classes, tuple(f"topic {k}" for k in range(self.num_classes))),
            length=self.length,
            class_frequencies=self.class_frequencies(self.num_classes),
        )

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        steps = int(rng.integers(self.min_length, self.length + 1))
        label = int(rng.integers(self.num_classes))
        # The rest is dealt from a deck that holds every other topic once less than the winner: enough cards, no tie.
        winning = max(round(self.share * steps), (steps - 1 + self.num_classes - 1) // self.num_classes + 1)
        others = np.delete(np.arange(self.num_classes), label)
        rest = rng.permutation(np.repeat(others, winning - 1))[: steps - winning]
        topics = rng.permutation(np.concatenate([np.full(winning, label), rest]))
        # tokens of each topic: label, label + num_classes, label + 2 num_classes, …
        tokens_of = (self.vocabulary - 1 - topics) // self.num_classes + 1
        return Sample(topics + self.num_classes * rng.integers(tokens_of), label)
