"""ROC, precision and recall, and thresholds: they are those of scikit-learn's definition, and of the right answers."""

from functools import partial

import numpy as np
import pytest
import torch

from rnnlab.cells.rnn import RNN
from rnnlab.data.classification import Classification as Waveforms
from rnnlab.data.parity import Parity
from rnnlab.data.piano_roll import PianoRoll
from rnnlab.data.sequence import SequenceData
from rnnlab.data.sine import Sine
from rnnlab.instruments.calibration import Calibration
from rnnlab.instruments.subject import Subject
from rnnlab.instruments.threshold_curves import ThresholdCurves, curve
from rnnlab.network import Network
from rnnlab.tasks.classification import Classification
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.tasks.multilabel import MultiLabel
from rnnlab.tasks.task import Task


def subject_of(kind: type[Task], data: SequenceData) -> Subject:
    torch.manual_seed(0)
    network = Network(data.spec.input, data.spec.target, partial(RNN, backend="reference"), hidden_size=4)
    return Subject("", kind(network, data.spec).eval(), data)


def test_a_curve_of_known_scores() -> None:
    claimed = torch.tensor([0.1, 0.4, 0.35, 0.8])
    made = curve("it", claimed, torch.tensor([False, False, True, True]))
    # of the four pairs of one that is there and one that is not, three are in the right order
    assert made.auroc == pytest.approx(0.75)
    # at recall 1/2 the precision is 1, at recall 1 it is 2/3
    assert made.precision_score == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    np.testing.assert_allclose(made.roc, [[0, 0, 0.5, 0.5, 1], [0, 0.5, 0.5, 1, 1]])
    assert made.best == (pytest.approx(0.35), pytest.approx(0.8))
    assert made.positives == 2


@pytest.mark.parametrize(
    ("kind", "data", "curves"),
    [
        (Classification, Parity(num_samples=60, test_length=None), 1),
        (Classification, Waveforms(num_samples=300, segments=1), 4),
        (MultiLabel, PianoRoll(num_samples=20), None),
    ],
    ids=["two classes", "four", "labels"],
)
def test_each_class_against_the_rest(kind: type[Task], data: SequenceData, curves: int | None) -> None:
    subject, instrument = subject_of(kind, data), ThresholdCurves()
    measured = instrument.measure(subject)
    assert measured is not None
    assert len(measured.each) == (curves or len(measured.each)) and len(measured.each) >= (curves or 7)
    if curves == 1:
        batches = list(subject.predicted())
        claimed = torch.cat([output.softmax(-1)[:, 1] for _, output in batches])
        there = torch.cat([batch.targets for batch, _ in batches]) == 1
        pairs = claimed[there][:, None] - claimed[~there]
        assert measured.each[0].auroc == pytest.approx(float(((pairs > 0) + 0.5 * (pairs == 0)).mean()), abs=1e-6)
        assert measured.each[0].chosen == 0.5
    picture = instrument.draw(subject, measured)
    assert picture.table is not None and len(picture.table.rows) == len(measured.each)
    assert instrument.compare({"a": measured, "b": measured, "c": None}).table is not None
    if kind is MultiLabel:  # each label is claimed with a probability
        assert Calibration().left_out(subject) is None
        assert 0 <= Calibration().measure(subject).error <= 1


def test_what_claims_nothing_is_drawn_as_that() -> None:
    subject = subject_of(Classification, Waveforms(num_samples=60, segments=1))
    with torch.no_grad():
        subject.network.readout.weight.fill_(float("nan"))
    assert ThresholdCurves().measure(subject) is None
    assert ThresholdCurves().draw(subject, None).figure
    values = subject_of(Forecasting, Sine(num_samples=30, length=10))
    assert ThresholdCurves().left_out(values)
