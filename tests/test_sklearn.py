"""``rnnlab.sklearn``: the estimators are scikit-learn's as far as sequences allow."""

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import rnnlab
from rnnlab.errors import InputError

pytestmark = pytest.mark.needs("sklearn")
SMALL: dict[str, Any] = {"hidden_size": 4, "max_steps": 2, "random_state": 0}


@pytest.fixture(scope="module")
def waves() -> tuple[np.ndarray, np.ndarray]:
    """40 sequences of 12 steps, and which of them are high at step 3."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    x = rng.normal(size=(40, 12))
    x[:, 3] += 4 * y
    return x, np.array(["low", "high"])[y]


def test_sequences_of_any_length_and_what_a_fit_leaves_alone(waves: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = waves
    shorter = [sequence[: 6 + number % 5] for number, sequence in enumerate(x)]
    model = rnnlab.sklearn.SequenceClassifier("lstm", **{**SMALL, "max_steps": 20, "learning_rate": 0.02})
    # Python's own random numbers are drawn by whoever checks the types of these tests
    before = np.random.get_state()[1].copy(), torch.get_rng_state(), torch.get_num_threads()  # noqa: NPY002
    assert model.fit(shorter, y) is model
    assert list(model.classes_) == ["high", "low"] and model.n_iter_ == 20 and model.n_features_in_ == 1
    after = np.random.get_state()[1], torch.get_rng_state(), torch.get_num_threads()  # noqa: NPY002
    assert np.array_equal(before[0], after[0]) and torch.equal(before[1], after[1]) and before[2] == after[2]
    told = model.predict_proba(shorter)
    assert told.shape == (40, 2) and np.allclose(told.sum(1), 1)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(shorter), told)
    # one by one, in any order, and as steps of one feature
    assert np.allclose(model.predict_proba([shorter[3][:, None], shorter[1]]), told[[3, 1]], atol=1e-6)
    assert model.score(shorter, y) > 0.8


def test_what_follows_sequences_and_what_continues_them() -> None:
    waves = np.sin(np.arange(60) / 4 + np.arange(6)[:, None])
    model = rnnlab.sklearn.SequenceForecaster(horizon=3, **SMALL).fit(waves)
    assert model.predict(waves[:2, :40]).shape == (2, 3)
    assert model.score(waves) <= 1
    model = rnnlab.sklearn.SequenceForecaster(**SMALL).fit(np.stack([waves, -waves], 2), waves[:, :2])
    assert model.n_features_in_ == 2
    assert model.predict(np.stack([waves, -waves], 2)[:, 5:]).shape == (6, 2)


@pytest.mark.parametrize(
    ("fit", "line"),
    [
        (lambda c, x, y: c(model="grru").fit(x, y), "model=grru: no such model; did you mean 'gru'"),
        (lambda c, x, y: c(max_steps=0).fit(x, y), "trainer.max_steps=0"),
        (lambda c, x, y: c(validation_fraction=1).fit(x, y), "validation_fraction=1: at least 0 and below 1"),
        (lambda c, x, y: c(overrides="model.dropout=0.2").fit(x, y), "give a list of overrides"),
        (lambda c, x, y: c(overrides=["model.dropot=0.2"]).fit(x, y), "model.dropot=0.2: unknown key"),
        (lambda c, x, y: c().fit([x[0], np.ones((5, 2))], y[:2]), "sequence 1 has 2 features a step, and 1 are"),
        (lambda c, x, y: c().fit([x[0], [1, np.nan]], y[:2]), "sequence 1, step 1: NaN"),
        (lambda c, x, y: c().fit([x[0], []], y[:2]), "sequence 1 has the shape (0,)"),
        (lambda c, x, y: c().fit(x[::2], y[::2]), "y has one class (low)"),
        (lambda c, x, y: c(class_weight={"hihg": 2}).fit(x, y), "class_weight: 'hihg' is no class of y (high, low)"),
        (lambda c, x, y: rnnlab.sklearn.SequenceForecaster(horizon=0).fit(x), "horizon=0: a number of steps"),
        (lambda c, x, y: rnnlab.sklearn.SequenceForecaster(horizon=6).fit(x), "a series of 12 steps is too short"),
    ],
)
def test_bad_input_is_one_line(fit: Any, line: str, waves: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(InputError) as refused:
        fit(rnnlab.sklearn.SequenceClassifier, *waves)
    assert line in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.slow
def test_in_a_pipeline_and_a_search(waves: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = waves
    model = rnnlab.sklearn.SequenceClassifier(**SMALL)
    assert cross_val_score(make_pipeline(StandardScaler(), model), x, y, cv=2).shape == (2,)
    assert cross_val_score(model, list(x), y, cv=2).shape == (2,)
    search = GridSearchCV(model, {"model": ["rnn", "gru"], "overrides": [(), ("model.dropout=0.1",)]}, cv=2).fit(x, y)
    assert search.best_estimator_.n_iter_ == 2 and len(search.cv_results_["params"]) == 4


EXCEPTIONS = {
    "check_methods_subset_invariance": "single precision: batches of other sizes differ by some 1e-7 of a prediction",
}
"""What a check wants that networks do not give, by check."""


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["SequenceClassifier", "SequenceForecaster"])
def test_scikit_learns_own_checks(name: str) -> None:
    from sklearn.utils.estimator_checks import check_estimator

    estimator = getattr(rnnlab.sklearn, name)(hidden_size=8, max_steps=30, learning_rate=0.01, random_state=0)
    results = check_estimator(estimator, on_fail=None, on_skip=None, expected_failed_checks=EXCEPTIONS)
    failed = {row["check_name"]: repr(row["exception"]) for row in results if row["status"] == "failed"}
    assert not failed and len(results) > 40


def test_without_scikit_learn_it_is_one_line() -> None:
    code = "import sys; sys.modules['sklearn'] = None\nimport rnnlab\nrnnlab.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("rnnlab.errors.InputError: rnnlab.sklearn needs the package")
