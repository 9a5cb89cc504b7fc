"""What every trained run can do with new data, whatever its kind."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch
from torch import Tensor

from rnnlab.anomalies.deviations import Detector
from rnnlab.anomalies.errors import QUANTILE
from rnnlab.data.reader import Arrival, Reader
from rnnlab.errors import InputError
from rnnlab.files.source import Format
from rnnlab.network import Network
from rnnlab.runs.ensemble import Member, patch_of, together
from rnnlab.runs.keras_weights import keras_weights, write_keras
from rnnlab.runs.threads import choose_threads
from rnnlab.runs.transfer import torch_names
from rnnlab.spec import DataSpec
from rnnlab.tasks.task import Task
from rnnlab.use.anomalies import detector_of
from rnnlab.use.options import Sampling, check_positive, check_share
from rnnlab.use.stepper import Stepper, StepState

BATCH_SIZE = 256
LISTED = 12
"""Columns that a description names."""


class TrainedRun(ABC):
    """Networks with their weights, and how their data is read.

    Made by :func:`rnnlab.load`. Several runs predict together, as their task
    combines them (probabilities and values by their mean). What is done with
    new data depends on its kind, and each kind is a subclass.

    Attributes:
        task: the objective, of the first run.
        reader: what turns new data into the network's inputs.
        config: of the first run.
    """

    def __init__(self, tasks: Sequence[Task], readers: Sequence[Reader], config: Mapping[str, Any]) -> None:
        self.task, self.config = tasks[0], config
        self._patches = [patch_of(reader) for reader in readers]
        reader = readers[0]
        if len(set(self._patches)) > 1:  # steps come one by one, and each network puts its own number of them together
            reader = replace(reader, patch=1)  # type: ignore[call-arg]
        else:
            self._patches = []
        self.reader = reader
        self.networks: list[Network] = [task.network for task in tasks]
        self.device = next(self.task.network.parameters()).device
        combine = self.task.combine
        if len(tasks) > 1:
            self.task.network = together(self.networks, combine, self._patches)  # type: ignore[assignment]
        self._stepper: Stepper | None = None

    @property
    def spec(self) -> DataSpec:
        """What the training data said of itself."""
        return self.task.spec

    @property
    def stepper(self) -> Stepper:
        """The networks, one step at a time.

        Raises:
            InputError: they read in both directions, or each another number of steps at once.
        """
        if self._patches:
            raise InputError(
                f"these runs read {', '.join(map(str, self._patches))} steps at once (data.patch), and say nothing of "
                "a step by itself: predict whole sequences, without --stream and --steps"
            )
        if self._stepper is None:
            self._stepper = Stepper(self.networks, self.task.combine)
        return self._stepper

    def describe(self) -> str:
        """What the run reads, with an example, and the columns of its predictions."""
        return f"reads {self.reader.describe()}\nsays  {', '.join(self._columns_said())}"

    def _columns_said(self) -> list[str]:
        columns = list(self.task.said(torch.zeros(1, self.networks[0].readout.out_features)))
        return columns if len(columns) <= LISTED else [*columns[:LISTED], f"… ({len(columns)} columns)"]

    def searching(self, beam: int = 1, nbest: int = 1, length_penalty: float = 0.0) -> None:
        """From now on what is said is searched for so; see :class:`rnnlab.decoding.Search`.

        Raises:
            InputError: this run says nothing that could be searched for.
        """
        raise InputError("--beam, --nbest and --length-penalty are for runs that say sequences of their own length")

    def rescoring(self, language: "TrainedRun", weight: float) -> None:
        """From now on a language model has a say in what is said.

        Args:
            language: a run of ``task=language_modeling``.
            weight: of the logarithm of its probability.

        Raises:
            InputError: this run transcribes nothing.
        """
        raise InputError("--language-model is for runs of task=transcription")

    # ---- predicting -------------------------------------------------------------------------------

    def predict(
        self, x: Any, *, horizon: int | None = None, steps: bool = False, batch_size: int = BATCH_SIZE
    ) -> pl.DataFrame:
        """What the run says of new data, as a table of polars.

        Args:
            x: in the data's own units, one of

                - features: ``(time, features)``, ``(batch, time, features)``, a list of such sequences of any length,
                  or a table (polars, pandas) with a row a step and a column ``sequence``
                - tokens: ``(time,)``, ``(batch, time)``, or a list of sequences
                - texts: one, or a list of them
                - series: a table with the columns of the training data, or ``(time,)`` numbers where there is but one
                - a ``pathlib.Path`` of a file

            horizon: steps ahead of a forecast; ``None``: as trained.
            steps: one prediction for each step, as if it were the last one.
            batch_size: sequences side by side.

        Returns:
            A row for each sequence, step, or step ahead, in the order of ``x``. Classes have ``prediction`` and a
            column ``p(CLASS)`` each; values ``NAME predicted``, with ``NAME low80`` and ``NAME high80`` where the
            network says how sure it is.

        Raises:
            InputError: ``x`` is not what the run reads, or the run cannot say that.
        """
        given = self.reader.open(x) if isinstance(x, Path) else x
        tables = list(self.tables(given, horizon, steps, batch_size))
        if not tables:
            raise InputError("there is no sequence to predict")
        return pl.concat(tables)

    def predict_file(
        self,
        place: str,
        format: Format | None = None,
        horizon: int | None = None,
        steps: bool = False,
        batch_size: int = BATCH_SIZE,
    ) -> Iterator[pl.DataFrame]:
        """The same of a file, or of the standard input for ``-``, table by table.

        Raises:
            InputError: as :meth:`predict`.
        """
        return self.tables(self.reader.open(place, format), horizon, steps, batch_size)

    def tables(self, x: Any, horizon: int | None, steps: bool, batch_size: int) -> Iterator[pl.DataFrame]:
        """The same of what :meth:`predict` takes, or of a source, some sequences at a time."""
        check_positive("horizon", horizon)
        check_positive("batch-size", batch_size)
        if horizon is not None and steps:
            raise InputError("--horizon and --steps: a forecast goes on from the end, or there is one at each step")
        if steps and (self.forecasts or not self.spec.target.per_step):
            _ = self.stepper  # raises where nothing can be said before the end
        if horizon is not None and not self.forecasts:
            raise InputError(
                f"--horizon {horizon}: this run forecasts nothing that could be its next input{self.no_horizon}"
            )
        yield from self._tables(x, horizon, steps, batch_size)

    forecasts: ClassVar[bool] = False
    """Whether predictions go on beyond the end of what is given."""
    no_horizon: ClassVar[str] = ""
    """Where nothing is forecast, what to do instead."""

    @abstractmethod
    def _tables(self, x: Any, horizon: int | None, steps: bool, batch_size: int) -> Iterator[pl.DataFrame]:
        """As :meth:`tables`, of arguments that go together."""

    def _on_device(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def torch_weights(self) -> dict[str, Tensor]:
        """The weights of the recurrent layers by the names of ``torch.nn``, for its ``load_state_dict``.

        Raises:
            InputError: the cells are not those of ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``, or these are several runs.
        """
        if len(self.networks) > 1:
            raise InputError("these are several runs: load one of them")
        return torch_names(self.networks[0])

    def keras_weights(self) -> list[list[np.ndarray]]:
        """For each recurrent layer what ``set_weights`` of Keras' ``LSTM``, ``GRU`` or ``SimpleRNN`` takes, of a
        ``Bidirectional`` both directions.

        Raises:
            InputError: as :meth:`torch_weights`.
        """
        return keras_weights(self.torch_weights())

    def save_keras(self, path: str | Path) -> None:
        """Writes the weights for Keras' ``load_weights`` (``*.weights.h5``) or ``set_weights`` (``*.npz``).

        Raises:
            InputError: as :meth:`torch_weights`, or the file cannot be written.
        """
        write_keras(Path(path), self.torch_weights(), self.networks[0])

    def choose_threads(self, batch_size: int) -> None:
        """Has torch use as many threads as pay for networks of this size, in the whole process; programs call it."""
        sizes = [parameter.numel() for network in self.networks for parameter in network.parameters()]
        torch.set_num_threads(choose_threads("auto", batch_size, sizes))

    # ---- anomalies -----------------------------------------------------------------------------------

    members: Sequence[Member] = ()
    """Where it was loaded from."""
    allow: Sequence[str] = ()

    def anomalies(self, x: Any, *, quantile: float = QUANTILE) -> pl.DataFrame:
        """How far each step is from what the run expected, and whether that is out of the ordinary.

        A run that forecasts is asked what it forecast of the step, an autoencoder (``task=reconstruction``) how it
        rebuilds it. The error is told by those on the run's validation part
        (:mod:`rnnlab.anomalies.errors`), which is read again for that.

        Args:
            x: as :meth:`predict`.
            quantile: of the validation scores, above which a step is anomalous: of steps like those there a share of
                ``1 - quantile`` is, too.

        Returns:
            A row a step: which it is, each column and ``NAME expected``, the ``score`` (1 or less for a usual error),
            the ``threshold``, ``anomaly`` (yes or no) and, of several columns, ``NAME share``, what each has of the
            squared score. Empty where nothing can be expected yet.

        Raises:
            InputError: the run neither forecasts nor rebuilds, its data is not there any more, or ``x`` is not what it
                reads.
        """
        check_share("quantile", quantile)
        given = self.reader.open(x) if isinstance(x, Path) else x
        tables = list(self._anomalies(given, self.detector, quantile))
        if not tables:
            raise InputError("there is no sequence to look at")
        return pl.concat(tables)

    def anomalies_file(
        self, place: str, format: Format | None = None, quantile: float = QUANTILE
    ) -> Iterator[pl.DataFrame]:
        """The same of a file, or of the standard input for ``-``, table by table.

        Raises:
            InputError: as :meth:`anomalies`.
        """
        check_share("quantile", quantile)
        return self._anomalies(self.reader.open(place, format), self.detector, quantile)

    @cached_property
    def detector(self) -> Detector:
        """What is usual of the run's errors."""
        return detector_of(self.task, list(self.members), self.allow)

    def _anomalies(self, x: Any, detector: Detector, quantile: float) -> Iterator[pl.DataFrame]:
        raise InputError("--anomalies: this run reads no sequences of numbers")

    # ---- a stream -----------------------------------------------------------------------------------

    def stream(self, lines: Iterable[str], name: str = "standard input") -> Iterator[dict[str, Any]]:
        """A prediction for each line, as it comes; the state is carried from one to the next, in constant memory.

        A line is a step: a row of a CSV (the first line is its header) or of
        JSON; of running text, a line; of texts to be classified, a whole text.
        An empty line, or another ``sequence``, starts afresh.

        Raises:
            InputError: a line cannot be read, or the run reads in both directions.
        """
        stepper = self.stepper
        states: dict[Any, tuple[int, StepState]] = {}
        for arrival in self.reader.stream(iter(lines), name):
            if arrival is None:
                states = {}
                continue
            key = self._state_key(arrival)
            number, state = (0, stepper.initial()) if arrival.restart else states[key]
            with torch.inference_mode():
                x = torch.from_numpy(np.asarray(arrival.inputs)[None]).to(self.device)
                output, state = stepper(x, state)
            states[key] = number + 1, state
            if arrival.silent:
                continue
            with torch.inference_mode():
                said = first_row(self._said(arrival, output))
            yield {**self._stream_labels(arrival, number), **said}

    def stream_of(self, place: str) -> Iterator[dict[str, Any]] | None:
        """The rows of a stream that is no text, from a file or from the standard input for ``-``; ``None`` where the
        run reads lines.

        Raises:
            InputError: it cannot be read.
        """
        return None

    def _state_key(self, arrival: Arrival) -> Any:
        """Steps with the same key carry one state: of sequences the last one alone goes on."""
        return None

    def _stream_labels(self, arrival: Arrival, number: int) -> dict[str, Any]:
        if arrival.labels or arrival.name is None:
            return {**arrival.labels, "step": number}
        return {"sequence": arrival.name, "step": number}

    def _said(self, arrival: Arrival, output: Tensor) -> dict[str, Any]:
        return self.task.said(output)

    def step(self, x: Any, state: StepState | None = None) -> tuple[dict[str, Any], StepState]:
        """One step of a sequence, in the data's units.

        Args:
            x: ``(features,)`` numbers, a token's number, or a character or word.
            state: as it was returned for the step before; ``None`` for the first.

        Returns:
            What the run says after this step, by column, and the state.

        Raises:
            InputError: it is no such step, or the run reads in both directions.
        """
        stepper = self.stepper
        inputs = torch.from_numpy(np.asarray(self.reader.step(x))[None]).to(self.device)
        output, state = stepper(inputs, stepper.initial() if state is None else state)
        return first_row(self.task.said(output)), state

    # ---- generating ---------------------------------------------------------------------------------

    def generate(
        self,
        prompt: str = "",
        length: int = 500,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        samples: int = 1,
    ) -> list[str]:
        """What a language model writes after a prompt, without the prompt.

        Args:
            prompt: may be empty: then it begins as after the end of a line.
            length: characters, bytes or words.
            temperature: below 1 surer, above 1 more surprising; 0: always the most probable.
            top_k: only so many of the most probable at each step.
            top_p: only the most probable that together have this probability.
            seed: the same seed gives the same texts.
            samples: how many texts.

        Raises:
            InputError: the run is no language model, or the prompt has what it never saw.
        """
        texts = [""] * samples
        for pieces in self.writing(prompt, Sampling(length, temperature, top_k, top_p, seed, samples)):
            texts = [text + piece for text, piece in zip(texts, pieces, strict=True)]
        return texts

    def writing(self, prompt: str, sampling: Sampling) -> Iterator[list[str]]:
        """The same as it comes: what each step adds to each text.

        Raises:
            InputError: as :meth:`generate`.
        """
        what = "classes" if "accuracy" in self.task.training_scores else "values"
        does, hint = ("forecasts", " --horizon N") if self.forecasts else (f"predicts {what}", "")
        raise InputError(f"this run is no language model, it {does}: rnnlab predict RUN{hint}")


def first_row(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The first row as plain values."""
    firsts = {name: each[0] for name, each in columns.items()}
    return {name: _plain(first) for name, first in firsts.items()}


def _plain(value: Any) -> Any:
    """A number of NumPy's as one of Python's, with the digits that it has."""
    if isinstance(value, np.float32):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value
