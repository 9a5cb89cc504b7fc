"""rnnlab as estimators of scikit-learn: in pipelines, ``cross_val_score`` and ``GridSearchCV``.

::

    from rnnlab.sklearn import SequenceClassifier

    SequenceClassifier(model="lstm", random_state=0).fit(X, y).predict_proba(X_new)

Each fit is a run as ``rnnlab train data=table`` makes it, in a temporary directory; of it the weights stay.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl

from rnnlab.extras import missing

try:
    from sklearn.base import ClassifierMixin, RegressorMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, column_or_1d
except ImportError as error:
    raise missing("sklearn", "sklearn", "rnnlab.sklearn") from error

from rnnlab.sklearn.estimator import TABLE_KEYS, BadSequences, SequenceEstimator


class SequenceClassifier(ClassifierMixin, SequenceEstimator):
    """A recurrent network that tells classes of sequences apart.

    Args:
        model: a name of ``rnnlab list models``.
        hidden_size: units of a layer; ``None``: as the model has them.
        num_layers: layers; ``None``: as the model has them.
        max_steps: updates; ``"auto"``: as many as ``rnnlab train`` makes, some 2,000.
        learning_rate: ``None``: as the optimizer has it.
        validation_fraction: share of each class by which the best weights are chosen; 0: those of the end are taken.
        class_weight: ``None``, ``"balanced"``, or a weight for each class, by class.
        overrides: any other keys, as on the command line: ``["model.dropout=0.2", "data.scaling=per_sequence"]``.
        random_state: the seed.
        verbose: print what the run prints.

    Attributes:
        classes_: in order.
        n_features_in_: columns of a table of sequences, else features of a step.
        n_iter_: updates that were made.
    """

    def __init__(
        self,
        model: str = "gru",
        hidden_size: int | None = None,
        num_layers: int | None = None,
        max_steps: int | Literal["auto"] = 300,
        learning_rate: float | None = None,
        validation_fraction: float = 0.1,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        overrides: Sequence[str] = (),
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.model, self.hidden_size, self.num_layers = model, hidden_size, num_layers
        self.max_steps, self.learning_rate, self.validation_fraction = max_steps, learning_rate, validation_fraction
        self.class_weight, self.overrides, self.random_state, self.verbose = (
            class_weight,
            overrides,
            random_state,
            verbose,
        )

    def fit(self, X: Any, y: Any) -> "SequenceClassifier":  # noqa: N803  (scikit-learn's name)
        """Trains on sequences and their classes.

        Args:
            X: ``(sequences, time)``, ``(sequences, time, features)``, or a list of arrays of any length.
            y: ``(sequences,)``.

        Raises:
            ValueError: they are no sequences, or one class is all there is.
            InputError: a key cannot work.
        """
        if y is None:
            raise BadSequences("requires y to be passed, but the target y is None")
        sequences = self._read(X, fitting=True)
        y = column_or_1d(y, warn=True)
        check_consistent_length(sequences, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise BadSequences(f"y has one class ({self.classes_[0]}), and a classifier tells at least two apart")
        # class 10 comes after 9, whatever the classes are called
        table = self._table(sequences, {"y": codes}, codes)
        weights: Any = self.class_weight
        if isinstance(weights, Mapping):
            unknown = [name for name in weights if name not in self.classes_]
            if unknown:
                raise BadSequences(
                    f"class_weight: {unknown[0]!r} is no class of y ({', '.join(map(str, self.classes_))})"
                )
            weights = f"[{','.join(str(float(weights.get(name, 1))) for name in self.classes_.tolist())}]"
        lines = ["data=table", "data.target=y", *TABLE_KEYS, self._inputs()]
        self._train(table, [*lines, f"task.class_weights={weights or 'none'}"])
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """``(sequences, classes)`` probabilities, in the order of ``classes_``."""
        check_is_fitted(self)
        said = self._run.predict(self._read(X, fitting=False))
        return said.select(f"p({number})" for number in range(len(self.classes_))).to_numpy().astype(np.float64)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """``(sequences,)`` classes."""
        probabilities = self.predict_proba(X)
        found: np.ndarray = self.classes_[probabilities.argmax(1)]
        return found


class SequenceForecaster(RegressorMixin, SequenceEstimator):
    """A recurrent network that says numbers of sequences: what follows each of them, or what ``y`` holds.

    Args:
        model: a name of ``rnnlab list models``.
        horizon: without ``y``, steps ahead.
        hidden_size: units of a layer; ``None``: as the model has them.
        num_layers: layers; ``None``: as the model has them.
        max_steps: updates; ``"auto"``: as many as ``rnnlab train`` makes.
        learning_rate: ``None``: as the optimizer has it.
        validation_fraction: share by which the best weights are chosen: of the sequences, without ``y`` of the steps.
        overrides: any other keys, as on the command line.
        random_state: the seed.
        verbose: print what the run prints.

    Attributes:
        n_features_in_: columns of a table of sequences, else features of a step.
        n_iter_: updates that were made.
    """

    def __init__(
        self,
        model: str = "gru",
        horizon: int = 1,
        hidden_size: int | None = None,
        num_layers: int | None = None,
        max_steps: int | Literal["auto"] = 300,
        learning_rate: float | None = None,
        validation_fraction: float = 0.1,
        overrides: Sequence[str] = (),
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.model, self.horizon, self.hidden_size, self.num_layers = model, horizon, hidden_size, num_layers
        self.max_steps, self.learning_rate, self.validation_fraction = max_steps, learning_rate, validation_fraction
        self.overrides, self.random_state, self.verbose = overrides, random_state, verbose

    def fit(self, X: Any, y: Any = None) -> "SequenceForecaster":  # noqa: N803
        """Trains on sequences.

        Args:
            X: ``(sequences, time)``, ``(sequences, time, features)``, or a list of arrays of any length.
            y: ``(sequences,)`` or ``(sequences, values)`` numbers; ``None``: each sequence is a series, and its
                windows are continued by ``horizon`` steps, as ``data=csv`` does.

        Raises:
            ValueError: they are no sequences, or no numbers.
            InputError: a key cannot work, or a series is too short.
        """
        sequences = self._read(X, fitting=True, of_any_length=y is None)
        if y is None:
            self._fit_series(sequences)
            return self
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self)
        check_consistent_length(sequences, y)
        self._shape = y.shape[1:]
        targets = {f"y{number}": column for number, column in enumerate(y.reshape(len(y), -1).T)}
        table = self._table(sequences, targets, np.zeros(len(y), np.int64))
        target = f"data.target=[{','.join(targets)}]"
        self._train(table, ["data=table", "task=regression", target, *TABLE_KEYS, self._inputs()])
        return self

    def _fit_series(self, sequences: Sequence[np.ndarray]) -> None:
        horizon: Any = self.horizon
        if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or horizon < 1:
            raise BadSequences(f"horizon={horizon!r}: a number of steps, at least 1")
        shortest = min(map(len, sequences))
        # a window for validation and one for the test, which scikit-learn makes by itself
        share = max(self.validation_fraction, (self.horizon + 1) / shortest)
        if shortest < 2 * self.horizon + 3 or share + (self.horizon + 1) / shortest >= 1:
            raise BadSequences(
                f"a series of {shortest} steps is too short for horizon={self.horizon}: give longer ones, or what "
                "follows each as y"
            )
        self._shape = None
        lines = [
            "data=csv", "data.series=series", f"data.target=[{','.join(self._channels)}]",
            f"data.horizon={self.horizon}",
            f"data.val_fraction={share:.6f}", f"data.test_fraction={(self.horizon + 1) / shortest:.6f}",
        ]  # fmt: skip
        self._train(self._series(sequences), lines)

    @property
    def _channels(self) -> list[str]:
        return [f"x{feature}" for feature in range(self._features)]

    def _series(self, sequences: Sequence[np.ndarray]) -> pl.DataFrame:
        values = np.concatenate(sequences)
        names = np.repeat([f"s{number}" for number in range(len(sequences))], list(map(len, sequences)))
        return pl.DataFrame({"series": names, **{name: values[:, k] for k, name in enumerate(self._channels)}})

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """What was learned of each sequence, in the shape of ``y``; without ``y``, what comes after its end:
        ``(sequences, horizon)``, of several features ``(sequences, horizon, features)``.
        """
        check_is_fitted(self)
        sequences = self._read(X, fitting=False)
        if self._shape is None:
            said = self._run.predict(self._series(sequences), horizon=self.horizon)
            found = said.select(f"{name} predicted" for name in self._channels).to_numpy().astype(np.float64)
            found = found.reshape(len(sequences), self.horizon, self._features)
            return found[..., 0] if self._features == 1 else found
        said = self._run.predict(sequences)
        columns = [name for name in said.columns if name.endswith(" predicted")]
        return said.select(columns).to_numpy().astype(np.float64).reshape(len(sequences), *self._shape)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:  # noqa: N803
        """R² of the predictions; without ``y``, of the last ``horizon`` steps of each sequence by those before."""
        if y is None:
            sequences = self._read(X, fitting=False)
            X = [sequence[: -self.horizon] for sequence in sequences]  # noqa: N806
            y = np.stack([sequence[-self.horizon :].ravel() for sequence in sequences])
            from sklearn.metrics import r2_score

            return float(r2_score(y, self.predict(X).reshape(y.shape), sample_weight=sample_weight))
        return float(super().score(X, y, sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags
