"""What the estimators have in common: how sequences are read and checked, and how a run is made of them."""

import contextlib
import copy
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_random_state, validate_data

from rnnlab import api
from rnnlab.errors import InputError, Interrupted


class BadSequences(InputError, ValueError):
    """What is no sequences; a ValueError, as scikit-learn expects it."""


class SequenceEstimator(BaseEstimator):
    """What both have in common: how sequences are read, and how a run is made of them."""

    model: str
    hidden_size: int | None
    num_layers: int | None
    max_steps: int | Literal["auto"]
    learning_rate: float | None
    validation_fraction: float
    overrides: Sequence[str]
    random_state: Any
    verbose: bool
    _features: int
    _steps: int

    def _read(self, x: Any, fitting: bool, of_any_length: bool = False) -> list[np.ndarray]:
        """``(time, features)`` of each sequence.

        Raises:
            BadSequences: they have no steps, differ in their features, or hold what is no finite number.
            ValueError: scikit-learn's own, of arrays.
        """
        if isinstance(x, list | tuple) and len(x) and isinstance(x[0], list | tuple):
            with contextlib.suppress(ValueError):  # of lists of different lengths
                x = np.asarray(x)
        dimensions = 1 if isinstance(x, list | tuple) else np.asarray(x).ndim
        if dimensions == 1 and isinstance(x, list | tuple | np.ndarray) and len(x) and np.ndim(x[0]):
            sequences = [_sequence(number, one) for number, one in enumerate(x)]
        elif dimensions == 3:
            array = check_array(x, allow_nd=True, dtype=np.float64, input_name="X", estimator=self)
            sequences = list(array)
        else:
            # in an array of two dimensions a column is a step, whose number is the same at fit and predict
            if fitting or hasattr(self, "_steps"):
                array = validate_data(self, X=x, dtype=np.float64, reset=fitting)
            else:
                array = check_array(x, dtype=np.float64, input_name="X", estimator=self)
            sequences = list(array[:, :, None])
        features = sequences[0].shape[1]
        expected = features if fitting else self._features
        for number, sequence in enumerate(sequences):
            if sequence.shape[1] != expected:
                raise BadSequences(
                    f"sequence {number} has {sequence.shape[1]} features a step, and {expected} are expected"
                )
        if fitting:
            self._features = features
            self.__dict__.pop("_steps", None)
            if dimensions == 2 and not of_any_length:
                self._steps = sequences[0].shape[0]
            else:
                self.n_features_in_ = features
                self.__dict__.pop("feature_names_in_", None)
        return sequences

    def _train(self, table: pl.DataFrame, lines: Sequence[str]) -> None:
        """Trains a run on a table and keeps what it learned.

        Raises:
            InputError: in one line, naming the key.
            RunFailed: the training could not go on.
        """
        seed = self.random_state
        if not isinstance(seed, int | np.integer) or isinstance(seed, bool):
            seed = check_random_state(seed).randint(2**31)
        keys = {
            "model": self.model, "model.hidden_size": self.hidden_size, "model.num_layers": self.num_layers,
            "optimizer.lr": self.learning_rate, "trainer.max_steps": self.max_steps, "seed": int(seed),
        }  # fmt: skip
        typed = api.as_overrides([], {name: value for name, value in keys.items() if value is not None})
        if isinstance(self.overrides, str):
            raise BadSequences(f"overrides={self.overrides!r}: give a list of overrides, such as ['model.dropout=0.2']")
        with TemporaryDirectory(prefix="rnnlab-") as home, _alone(self.verbose):
            from rnnlab.runs.build import to_allow
            from rnnlab.runs.directory import RunDirectory
            from rnnlab.runs.ensemble import Member
            from rnnlab.runs.execution import execute
            from rnnlab.use.trained import open_runs

            config = copy.deepcopy(_composed((*DEFAULTS, *lines, *typed, *self.overrides)))
            config["data"]["path"] = str(Path(home) / TABLE)
            table.write_parquet(config["data"]["path"])
            directory = RunDirectory.claim(Path(home) / "run", config)
            outcome = execute(directory, config, quiet=not self.verbose)
            self.n_iter_ = int(outcome.metrics["steps"])
            self._run = open_runs([Member(directory, directory.config)], to_allow(config))

    def _held_out(self, codes: np.ndarray) -> np.ndarray:
        """Which sequences a fit validates on: the same share of each class; none where there are too few."""
        if not 0 <= self.validation_fraction < 1:
            raise BadSequences(f"validation_fraction={self.validation_fraction}: at least 0 and below 1")
        rng = np.random.default_rng(0)
        order = rng.permutation(len(codes))
        order = order[np.argsort(codes[order], kind="stable")]
        _, firsts, sizes = np.unique(codes[order], return_index=True, return_counts=True)
        shares = [
            first + np.arange(int(size * self.validation_fraction)) for first, size in zip(firsts, sizes, strict=True)
        ]
        return order[np.concatenate(shares)]

    def _table(
        self, sequences: Sequence[np.ndarray], targets: Mapping[str, np.ndarray], strata: np.ndarray
    ) -> pl.DataFrame:
        """A row a step, with the targets of its sequence and the split that it is in.

        A run has a test, and here scikit-learn tests: what it validates on stands there again.
        """
        every = np.arange(len(sequences))
        held = self._held_out(strata)
        trained = np.setdiff1d(every, held)
        if not len(held):
            held = trained
        which = np.concatenate([trained, held, held])
        parts = np.repeat(["train", "val", "test"], [len(trained), len(held), len(held)])
        lengths = [len(sequences[number]) for number in which]
        steps = np.concatenate([sequences[number] for number in which])
        return pl.DataFrame({
            "sequence": np.repeat(np.arange(len(which)), lengths),
            "part": np.repeat(parts, lengths),
            **{f"x{feature}": steps[:, feature] for feature in range(steps.shape[1])},
            **{name: np.repeat(values[which], lengths) for name, values in targets.items()},
        })  # fmt: skip

    def _inputs(self) -> str:
        return f"data.features=[{','.join(f'x{feature}' for feature in range(self._features))}]"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_run")


TABLE = "table.parquet"
DEFAULTS = (
    "trainer=cpu", "trainer.progress=none", "instruments=none", "trainer.checkpoint_seconds=600", f"data.path={TABLE}",
)  # fmt: skip
"""Nobody looks at the directory of such a run."""
TABLE_KEYS = ("data.sequence=sequence", "data.split_column=part")


@lru_cache(maxsize=64)
def _composed(lines: tuple[str, ...]) -> dict[str, Any]:
    """The config of a fit, which a search makes again and again."""
    return api.compose(*lines)


def _sequence(number: int, values: Any) -> np.ndarray:
    """``(time, features)`` of one sequence of a list."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise BadSequences(f"sequence {number} is no array of numbers ({error})") from None
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or not array.size:
        raise BadSequences(f"sequence {number} has the shape {np.shape(values)}: (time,) or (time, features) is needed")
    if not np.isfinite(array).all():
        step = int(np.argwhere(~np.isfinite(array))[0][0])
        raise BadSequences(f"sequence {number}, step {step}: NaN or inf is no number that a network can read")
    return array


@contextlib.contextmanager
def _alone(verbose: bool) -> Iterator[None]:
    """One fit at a time in a process, whose random numbers, threads and log are as before when it is over."""
    before = random.getstate()
    try:
        import torch  # imports may change it, too
        from lightning.pytorch.utilities.seed import isolate_rng

        log = logging.getLogger("rnnlab")
        with api.one_at_a_time, isolate_rng():
            level, threads = log.level, torch.get_num_threads()
            if not verbose:
                log.setLevel(logging.ERROR)
            try:
                yield
            finally:
                log.setLevel(level)
                torch.set_num_threads(threads)
    except Interrupted:
        raise KeyboardInterrupt from None
    finally:
        random.setstate(before)
