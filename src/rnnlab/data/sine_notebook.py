"""The sine waves of the teaching notebooks, as they are."""

from dataclasses import dataclass

import numpy as np

from rnnlab.data.sequence import SequenceData
from rnnlab.data.split import SPLITS, Sample, SplitName
from rnnlab.shapes import NonNegativeInt, PositiveInt
from rnnlab.spec import DataSpec, InputSpec, TargetSpec


@dataclass(kw_only=True, eq=False)
class NotebookSine(SequenceData):
    """The waves ``sin(linspace(i·2π, (i+1)·2π, 51))`` for i = 0, 1, …, 999.

    ::

        i = 0   sin(0)   sin(0.13)   …  sin(6.16)   →  sin(0.13)   …  sin(6.16)   sin(6.28)
        i = 1   sin(6.28) sin(6.41)  …  sin(12.44)  →  sin(6.41)   …  sin(12.44)  sin(12.57)
                inputs (50, 1)                         target (50, 1)

    Each i is one period further along the same sine, so the thousand waves are
    one and the same, and what is held out for validation and test is what was
    trained on. It is here to compare with the notebooks; ``Sine`` is the data
    set to learn from. Nothing is drawn, so ``seed`` changes nothing.

    Attributes:
        length: steps of the window, and of the period; 50 in the notebooks.
        future_length: steps of the wave that follow the last target.
    """

    length: PositiveInt = 50
    future_length: NonNegativeInt = 50

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            input=InputSpec(features=1),
            target=TargetSpec("values", 1, ("wave",)),
            length=self.length,
            horizon=1,
            period=self.length,
            note=f"All {self.num_samples:,} waves are one and the same: validation and test hold nothing that "
            "training has not seen.",
        )

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        i = index + sum(self.size(earlier) for earlier in SPLITS[: SPLITS.index(split)])
        start, end = i * 2 * np.pi, (i + 1) * 2 * np.pi
        wave = np.sin(np.linspace(start, end, self.length + 1))[:, None]
        ahead = end + 2 * np.pi / self.length * np.arange(1, self.future_length + 1)
        return Sample(wave[:-1], wave[1:], np.sin(ahead)[:, None] if self.future_length else None)
