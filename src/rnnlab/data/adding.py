"""The adding problem."""

from dataclasses import dataclass

import numpy as np

from rnnlab.data.diagnostic import Diagnostic
from rnnlab.data.split import Sample
from rnnlab.shapes import PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec


@dataclass(kw_only=True, eq=False)
class Adding(Diagnostic):
    """The sum of the two numbers that are marked, anywhere in a sequence of random ones.

    ::

        length=7

        step             0     1     2     3     4     5     6
        inputs  number  0.42  0.17  0.93  0.08  0.66  0.51  0.29      target (1,)
        (7, 2)  mark    0     1     0     0     1     0     0         0.17 + 0.66 = 0.83

    Numbers are uniform between 0 and 1, and any two steps are as likely to be
    marked (Hochreiter & Schmidhuber 1997, experiment 4, in the form of Bai et
    al. 2018, arXiv 1803.01271).

    Baseline: who always says 1, the mean, has a mean squared error of
    2 · 1/12 = 1/6 and a mean absolute error of 1/3.

    Attributes:
        length: steps of the longest sequence.
    """

    length: PositiveInt = 50

    @property
    def shortest(self) -> int:
        return 2

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(features=2),
            target=TargetSpec("value", 1, ("sum",)),
            length=self.longest,
            target_mean=(1.0,),
        )

    def example(self, rng: np.random.Generator, length: int) -> Sample:
        numbers, marks = rng.random(length), np.zeros(length)
        first, second = rng.integers(length), rng.integers(length - 1)
        second += second >= first  # any other step, each as likely
        marks[[first, second]] = 1.0
        return Sample(np.stack([numbers, marks], 1), (numbers @ marks)[None])
