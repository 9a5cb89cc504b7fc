"""Sequences that are to be rebuilt: any data of numbers, whose targets are its own inputs."""

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from rnnlab.data.batches import ceil
from rnnlab.data.sequence import ENOUGH_TO_MEASURE, Sample, SequenceData
from rnnlab.data.split import CutOnDemand, Split, SplitName
from rnnlab.errors import InputError
from rnnlab.spec import Batch, DataSpec, TargetSpec, valid_steps


def rebuilt(data: SequenceData) -> SequenceData:
    """The same sequences, in the same splits, with themselves as the target; their labels are not looked at.

    ::

        data=classification      inputs (28, 1)   target: a class     →   inputs (28, 1)   target (28, 1): the inputs

    What is told rather than measured (known columns, the calendar, marks of missing values) is read and not rebuilt.

    Raises:
        InputError: it has no numbers, or is read so that a value does not stand for itself.
    """
    if isinstance(data, Rebuilt):
        return data
    if data.spec.input.vocabulary is not None:
        raise InputError(
            f"task=reconstruction rebuilds numbers, and data {type(data).__name__} is made of tokens: leave task= to "
            "the data"
        )
    data = data.as_measured()
    kind = type(data)
    view = copy(data)
    view.__dict__ = {name: value for name, value in data.__dict__.items() if name not in ("spec", "loaded")}
    # a data set of the same name, whose state a checkpoint keeps under that
    view.__class__ = type(
        kind.__name__, (Rebuilt, kind), {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    )
    view.loaded = {}
    view.__dict__["as_given"] = data
    return view


def _remade(data: SequenceData, state: Mapping[str, Any]) -> SequenceData:
    view = rebuilt(data)
    view.__dict__.update(state)
    return view


class Rebuilt(SequenceData):
    """A mixin that changes what a data set asks for: made by :func:`rebuilt`.

    Attributes:
        as_given: the data as it was.
    """

    as_given: SequenceData
    rivals: ClassVar[tuple[str, ...]] = ("last_value",)

    def __reduce__(self) -> Any:
        state = {name: value for name, value in self.__dict__.items() if name not in ("as_given", "_rebuilt_spec")}
        return _remade, (self.as_given, state)

    @property
    def size_of_target(self) -> int:
        """Features that are rebuilt, the first ones."""
        return self.as_given.reader.measured

    @property
    def spec(self) -> DataSpec:
        return self._rebuilt_spec

    @cached_property
    def _rebuilt_spec(self) -> DataSpec:
        spec, size = self.as_given.spec, self.size_of_target
        names, frame = self.as_given.reader.features, spec.input.frame
        split = self.as_given.split("train")
        some = split.batch(torch.arange(0, len(split), ceil(len(split), ENOUGH_TO_MEASURE)))
        mean = some.inputs[valid_steps(some.inputs, some.lengths)][:, :size].double().mean(0)
        return replace(
            spec,
            target=TargetSpec("values", size, names[:size] if len(names) >= size else (), frame=frame),
            horizon=0, steps_ahead=None, references=(), gaps=False, scaling=self.as_given.reader.input_scaling,
            class_frequencies=(), token_frequencies=(), common_target=(), dictionary=(),
            target_mean=tuple(mean.tolist()), residual="", clean_future=False,
        )  # fmt: skip

    def load(self, split: SplitName) -> Split:
        given, size = self.as_given.split(split), self.size_of_target
        if isinstance(given, CutOnDemand):
            return RebuiltOnDemand(given, size)
        return Split(given.inputs, given.inputs[..., :size], given.lengths)

    def sample(self, rng: Any, split: SplitName, index: int) -> Sample:
        inputs = self.as_given.sample(rng, split, index).inputs
        return Sample(inputs, inputs[:, : self.size_of_target])

    def baselines(self) -> dict[str, float]:
        return {}

    def predictors(self) -> dict[str, Tensor]:
        return {}


class RebuiltOnDemand(CutOnDemand):
    """The same of a split that is cut when it is asked for."""

    def __init__(self, given: CutOnDemand, size: int) -> None:
        super().__init__(given=given, size=size, lengths=given.lengths)

    given: CutOnDemand
    size: int

    def __len__(self) -> int:
        return len(self.given)

    def batch(self, index: slice | Tensor) -> Batch:
        batch = self.given.batch(index)
        return Batch(batch.inputs, batch.inputs[..., : self.size], batch.lengths)
