"""Permutation importance: what matters has all of it, in all kinds of tasks."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnlab.cells.rnn import RNN
from rnnlab.data.remember_first import RememberFirst
from rnnlab.data.sequence import Sample, SequenceData, SplitName
from rnnlab.data.sine import Sine
from rnnlab.instruments.exchanges import columns_of, spans_of
from rnnlab.instruments.importance import Importances, PermutationImportance
from rnnlab.instruments.subject import Subject
from rnnlab.network import Network
from rnnlab.spec import DataSpec, InputSpec, TargetSpec
from rnnlab.tasks.classification import Classification
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.tasks.labelling import Labelling
from rnnlab.tasks.regression import Regression

CELL = partial(RNN, backend="reference")
SPAN = slice(4, 8)
"""Steps that matter."""


@dataclass(kw_only=True, eq=False)
class OneColumn(SequenceData):
    """Three columns of noise; the target is the mean of the second one over four steps, or its sign."""

    num_samples: int = 200
    test_fraction: float = 0.4
    length: int = 12
    classes: bool = False

    @property
    def spec(self) -> DataSpec:
        target = TargetSpec("class", 2, ("low", "high")) if self.classes else TargetSpec("value", 1, ("mean",))
        return DataSpec(InputSpec(features=3), target, self.length)

    def sample(self, rng: np.random.Generator, split: SplitName, index: int) -> Sample:
        inputs = rng.normal(size=(self.length, 3))
        mean = inputs[SPAN, 1].mean(keepdims=True)
        return Sample(inputs, int(mean[0] > 0) if self.classes else mean)


class Mean(Network):
    """It knows the rule, whatever its weights are."""

    def forward(self, inputs: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        mean = inputs[:, SPAN, 1].mean(1, keepdim=True)
        return (torch.cat([-mean, mean], 1) if self.readout.out_features == 2 else mean), ()


def measured(kind: Any, data: SequenceData) -> Importances:
    torch.manual_seed(0)
    network = (Mean if isinstance(data, OneColumn) else Network)(data.spec.input, data.spec.target, CELL, hidden_size=4)
    task = kind(network, data.spec).eval()
    subject = Subject("", task, data)
    instrument = PermutationImportance(repeats=4 if isinstance(data, OneColumn) else 1)
    found = instrument.measure(subject)
    if isinstance(data, OneColumn):
        assert instrument.draw(subject, found).table
        assert instrument.compare({"a": found, "b": found}).table
    return found


@pytest.mark.parametrize("classes", [False, True], ids=["regression", "classification"])
def test_what_the_target_is_made_of_has_all_of_the_importance(classes: bool) -> None:
    found = measured(Classification if classes else Regression, OneColumn(classes=classes))
    assert found.score == ("accuracy" if classes else "mse")
    assert found.before == pytest.approx(1.0 if classes else 0.0)
    columns, spans = found.columns, found.spans
    assert columns.mean[[0, 2]] == pytest.approx([0, 0], abs=1e-12)
    # two independent means of four values of variance 1: (x - y)² is 1/2 on average, and signs differ half of the time
    assert abs(columns.mean[1] - 0.5) < columns.half[1] < 0.2
    assert spans.at.tolist() == list(range(12))
    inside = spans.mean[SPAN]
    assert (inside > spans.half[SPAN]).all()
    np.testing.assert_allclose(np.delete(spans.mean, range(4, 8)), 0, atol=1e-12)
    np.testing.assert_allclose(columns.repeats.mean(0), columns.mean, atol=1e-9)


def test_lags_count_back_from_the_step_that_is_forecast() -> None:
    found = measured(Forecasting, Sine(num_samples=20, length=12, future_length=0))
    assert found.from_now and found.spans.at.tolist() == list(range(-11, 1))


def test_each_token_is_replaced_by_others() -> None:
    found = measured(Labelling if RememberFirst().spec.target.per_step else Classification,
                     RememberFirst(num_samples=40, length=6))  # fmt: skip
    assert found.kind == "token" and len(found.columns.names) > 1
    assert np.isfinite(found.columns.mean).all()


def test_a_column_is_all_of_its_features() -> None:
    data = OneColumn()
    subject = Subject(
        "",
        Regression(
            Network(data.spec.input, data.spec.target, partial(RNN, backend="reference"), hidden_size=2), data.spec
        ),
        data,
    )
    names: list[tuple[str, ...]] = [("age", "ward=A", "ward=B"), ("age +0", "age +1", "pulse is missing")]
    for given, expected in zip(names, [{"age": [0], "ward": [1, 2]}, {"age": [0, 1], "pulse": [2]}], strict=True):
        subject.__class__ = type("Named", (Subject,), {"feature_names": given})
        assert columns_of(subject) == expected


def test_spans_cover_all_steps() -> None:
    assert spans_of(5, 20) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    assert spans_of(7, 3) == [(0, 3), (3, 6), (6, 7)]
    assert spans_of(7, 3, from_end=True) == [(0, 1), (1, 4), (4, 7)]
