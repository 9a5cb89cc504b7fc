"""What every trained run can do with new data, whatever its kind."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import torch

from rnnlab.anomalies.deviations import Detector
from rnnlab.anomalies.errors import QUANTILE
from rnnlab.errors import InputError
from rnnlab.files.source import Format, Source
from rnnlab.runs.ensemble import Member
from rnnlab.use.anomalies import detector_of
from rnnlab.use.notes import Notes
from rnnlab.use.options import Sampling, check_positive, check_share
from rnnlab.use.streaming import SteppedRun

BATCH_SIZE = 256
FILE = "file"
"""The column that names the file, where a folder is read."""
Lengths = tuple[int | None, int]
"""Steps of the shortest of some sequences, ``None`` where that is not known, and of the longest."""
LISTED = 12
"""Columns that a description names, and files that are refused."""
log = logging.getLogger("rnnlab")


class TrainedRun(SteppedRun, ABC):
    """Networks with their weights, and how their data is read.

    Made by :func:`rnnlab.load`. Several runs predict together, as their task
    combines them (probabilities and values by their mean). What is done with
    new data depends on its kind, and each kind is a subclass.

    A run is read in three files: its networks (:mod:`rnnlab.use.networks`), what they say step by step
    (:mod:`rnnlab.use.streaming`), and here what they say of whole sequences.

    Attributes:
        task: the objective, of the first run.
        reader: what turns new data into the network's inputs.
        config: of the first run.
    """

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
                - a ``pathlib.Path`` of a file, or of a folder of files: then a column ``file`` tells them apart

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
        tables = list(
            self.predict_file(x, None, horizon, steps, batch_size)
            if isinstance(x, Path)
            else self.tables(x, horizon, steps, batch_size)
        )
        if not tables:
            raise InputError("there is no sequence to predict")
        return pl.concat(tables, how="vertical_relaxed")

    def predict_file(
        self,
        place: str | Path,
        format: Format | None = None,
        horizon: int | None = None,
        steps: bool = False,
        batch_size: int = BATCH_SIZE,
    ) -> Iterator[pl.DataFrame]:
        """The same of a file, of the files of a folder, or of the standard input for ``-``, table by table.

        Raises:
            InputError: as :meth:`predict`; of a folder it names all files that cannot be read, before any is predicted.
        """
        self._check_options(horizon, steps, batch_size)
        notes = Notes()
        yield from self._of_files(
            place,
            format,
            lambda x: self._check(x, horizon, steps),
            lambda x: self._tables(x, horizon, steps, batch_size, notes),
            notes,
        )
        notes.say()

    def _of_files(
        self,
        place: str | Path,
        format: Format | None,
        check: Callable[[Source], list[str]],
        tables: Callable[[Source], Iterator[pl.DataFrame]],
        notes: Notes | None = None,
    ) -> Iterator[pl.DataFrame]:
        """The tables of a file, or of those of a folder, each under its name and all with the same columns.

        Args:
            place: of the file or the folder.
            format: of the content, where its name does not say it.
            check: reads all of a source, and returns the columns that say which sequence or step a row of it is.
            tables: of a source.
            notes: which are told the file that is read.
        """
        files = self.reader.files(place, format)
        if not files[0][0]:
            yield from tables(self.reader.open(place, format))
            return
        labels: list[str] = []
        refused: list[str] = []
        for name, file in files:
            with _refused_into(refused, f"--input {file}", name):
                labels = max(labels, check(self.reader.open(file, format)), key=len)
        if refused:
            more = f"; and {len(refused) - LISTED} more" if len(refused) > LISTED else ""
            raise InputError(
                f"--input {place}: {len(refused)} of {len(files)} files cannot be read, and none is predicted: "
                f"{'; '.join(refused[:LISTED])}{more}"
            )
        for name, file in files:
            if notes is not None:
                notes.file = name
            for table in tables(self.reader.open(file, format)):
                column = FILE if FILE not in table.columns else f"{FILE} read"
                told = [pl.col(each) if each in table.columns else pl.lit(None).alias(each) for each in labels]
                yield table.select(pl.lit(name).alias(column), *told, pl.exclude(labels) if labels else pl.all())

    def tables(self, x: Any, horizon: int | None, steps: bool, batch_size: int) -> Iterator[pl.DataFrame]:
        """The same of what :meth:`predict` takes, or of a source, some sequences at a time."""
        self._check_options(horizon, steps, batch_size)
        notes = Notes()
        yield from self._tables(x, horizon, steps, batch_size, notes)
        notes.say()

    def _check_options(self, horizon: int | None, steps: bool, batch_size: int) -> None:
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

    forecasts: ClassVar[bool] = False
    """Whether predictions go on beyond the end of what is given."""
    no_horizon: ClassVar[str] = ""
    """Where nothing is forecast, what to do instead."""

    @abstractmethod
    def _tables(
        self, x: Any, horizon: int | None, steps: bool, batch_size: int, notes: Notes
    ) -> Iterator[pl.DataFrame]:
        """As :meth:`tables`, of arguments that go together; what there is to say of them goes to the notes."""

    @abstractmethod
    def _check(self, x: Any, horizon: int | None, steps: bool) -> list[str]:
        """Reads all of what :meth:`_tables` would predict; the first columns of those, which say what each row is of.

        Raises:
            InputError: it cannot be read, or predicted.
        """

    # ---- anomalies -----------------------------------------------------------------------------------

    members: Sequence[Member] = ()
    """Where it was loaded from."""
    lengths: Lengths | None = None
    """Of the sequences that it was trained on."""
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
        tables = list(
            self.anomalies_file(x, None, quantile)
            if isinstance(x, Path)
            else self._anomalies(x, self.detector, quantile)
        )
        if not tables:
            raise InputError("there is no sequence to look at")
        return pl.concat(tables, how="vertical_relaxed")

    def anomalies_file(
        self, place: str | Path, format: Format | None = None, quantile: float = QUANTILE
    ) -> Iterator[pl.DataFrame]:
        """The same of a file, of the files of a folder, or of the standard input for ``-``, table by table.

        Raises:
            InputError: as :meth:`anomalies`.
        """
        check_share("quantile", quantile)
        detector = self.detector
        return self._of_files(place, format, self._check_anomalies, lambda x: self._anomalies(x, detector, quantile))

    @cached_property
    def detector(self) -> Detector:
        """What is usual of the run's errors."""
        return detector_of(self.task, list(self.members), self.allow)

    def _check_anomalies(self, x: Any) -> list[str]:
        """As :meth:`_check`, for :meth:`_anomalies`."""
        return self._check(x, None, True)

    def _anomalies(self, x: Any, detector: Detector, quantile: float) -> Iterator[pl.DataFrame]:
        raise InputError("--anomalies: this run reads no sequences of numbers")

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


@contextmanager
def _refused_into(refused: list[str], place: str, name: str) -> Iterator[None]:
    """Keeps the message of what is refused, with a name in place of the place; notes are left to be said later."""

    def none(record: logging.LogRecord) -> bool:
        return False

    log.addFilter(none)
    try:
        yield
    except InputError as error:
        refused.append(str(error).replace(place, name))
    finally:
        log.removeFilter(none)
