"""Noise with labels drawn by lot."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from rnnlab.data.labelled import LabelledFeatures
from rnnlab.data.split import Sample, SplitName
from rnnlab.shapes import PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec


@dataclass(kw_only=True, eq=False)
class Random(LabelledFeatures):
    """Random numbers, each sequence with a random class: nothing to learn, only to memorise.

    ::

        inputs (15, 10)                              target
         0.13 -0.13  0.64  0.10 …  -1.27    step 0     3
        -0.62  0.04 -2.33 -0.22 …   1.04    step 1
          …

    The inputs are independent and normally distributed (mean 0, standard
    deviation 1), and the class is drawn without a look at them. It shows what a
    network can store: training accuracy rises, held-out accuracy stays at
    1 / ``num_classes``.

    Attributes:
        length: steps of every sequence.
        features: numbers a step.
        num_classes: classes, all as likely.
        scaling: see :class:`rnnlab.data.labelled.LabelledFeatures`.
        moments: see :class:`rnnlab.data.labelled.LabelledFeatures`.
    """

    length: PositiveInt = 15
    features: PositiveInt = 10
    num_classes: Annotated[int, Ge(2)] = 5

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(features=self.features),
            target=TargetSpec("class", self.num_classes, tuple(f"class {k}" for k in range(self.num_classes))),
            length=self.length,
            class_frequencies=self.class_frequencies(self.num_classes),
            note="Labels are drawn by lot: there is no rule to learn, training memorises, and held-out accuracy "
            f"stays at chance, {1 / self.num_classes:.0%}.",
        )

    def unscaled(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        return Sample(rng.standard_normal((self.length, self.features)), int(rng.integers(self.num_classes)))
