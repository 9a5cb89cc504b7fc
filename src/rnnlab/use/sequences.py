"""Runs that read sequences of features, tokens or texts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from rnnlab.anomalies.deviations import Detector, of_sequences
from rnnlab.data.reader import Given
from rnnlab.data.text_reader import TextReader
from rnnlab.decoding import Search
from rnnlab.errors import InputError
from rnnlab.files.source import Source
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.use.anomalies import table
from rnnlab.use.notes import Notes
from rnnlab.use.predictor import BATCH_SIZE, TrainedRun
from rnnlab.use.stepper import each_step
from rnnlab.use.streaming import first_row

POOL = 32
"""Batches that are sorted by length together: sequences of like length are read side by side, little is padded."""
CHUNK = 4096
"""Steps beyond which a sequence is read by itself; of a text as many at once, the state carried."""


class SequenceRun(TrainedRun):
    """A prediction for each sequence, or for each of its steps."""

    def _read(self, x: Any, horizon: int | None, steps: bool) -> Iterator[Given]:
        """The sequences of a source, or of what is in memory.

        Raises:
            InputError: they cannot be read, or nothing can be said of one.
        """
        return self.reader.read(x) if isinstance(x, Source) else self.reader.take(x)

    def _check(self, x: Any, horizon: int | None, steps: bool) -> list[str]:
        told = {each.truth is not None for each in self._read(x, horizon, steps)}
        return ["sequence", *(["truth"] if True in told else [])]

    def _tables(
        self, x: Any, horizon: int | None, steps: bool, batch_size: int, notes: Notes
    ) -> Iterator[pl.DataFrame]:
        sequences = self._read(x, horizon, steps)
        while pool := list(islice(sequences, POOL * batch_size)):
            yield self._pool(pool, horizon, steps, batch_size)
            self._note_lengths(pool, steps, notes)

    def _note_lengths(self, pool: Sequence[Given], steps: bool, notes: Notes) -> None:
        """Looks for sequences far shorter or longer than those of training. At each step as much has been read in
        training, too, so that what is said of a step needs no long sequence.
        """
        target = self.spec.target
        # where networks read steps together, each other ones, these are no lengths of theirs
        shortest, longest = (None, None) if self.lengths is None or self._patches else self.lengths
        if steps or (target.per_step and not target.of_own_length):
            shortest = None
        notes.sequences(((len(given.inputs), str(given.name)) for given in pool), shortest, longest)

    def _pool(self, pool: list[Given], horizon: int | None, steps: bool, batch_size: int) -> pl.DataFrame:
        """The table of some sequences, in their order, which are read sorted by length."""
        lengths = [len(each.inputs) for each in pool]
        order = sorted(range(len(pool)), key=lengths.__getitem__)
        rows: list[np.ndarray] = []
        parts: list[dict[str, Any]] = []
        for batch in batches(order, lengths, batch_size, alike=self.forecasts and not steps):
            which, columns = self._columns([pool[i].inputs for i in batch], horizon, steps)
            rows.append(np.asarray(batch)[which])
            parts.append(columns)
        table, which = _table(parts), np.concatenate(rows)
        back = np.argsort(which, kind="stable")
        names = pl.Series("sequence", [each.name for each in pool], strict=False)[which]
        labels = [names]
        if any(each.truth is not None for each in pool):
            labels.append(pl.Series("truth", [each.truth for each in pool])[which])
        return pl.DataFrame([*labels, *table.get_columns()])[back]

    def _padded(self, sequences: Sequence[np.ndarray]) -> tuple[Tensor, Tensor | None]:
        """``(batch, time, …)``, and the lengths where they are not alike."""
        lengths = [len(each) for each in sequences]
        if min(lengths) == max(lengths):
            whole = np.concatenate(sequences)  # np.stack would make a view of each first
            return torch.from_numpy(whole.reshape(len(sequences), lengths[0], *whole.shape[1:])).to(self.device), None
        padded = np.zeros((len(sequences), max(lengths), *sequences[0].shape[1:]), sequences[0].dtype)
        for row, each in zip(padded, sequences, strict=True):
            row[: len(each)] = each
        return torch.from_numpy(padded).to(self.device), torch.tensor(lengths, device=self.device)

    @torch.inference_mode()
    def _columns(
        self, sequences: Sequence[np.ndarray], horizon: int | None, steps: bool
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A row for each sequence, or for each of its steps; which sequence each row is of, and its columns."""
        inputs, lengths = self._padded(sequences)
        if not (steps or self.spec.target.per_step):
            return np.arange(len(sequences)), self.task.said(self.task.network(inputs, lengths=lengths)[0])
        if self.spec.target.per_step:
            output = self.task.network(inputs, lengths=lengths)[0]
        else:
            outputs = [each_step(network, inputs, lengths) for network in self.networks]
            output = outputs[0] if len(outputs) == 1 else self.task.combine(torch.stack(outputs))
        which = np.repeat(np.arange(len(sequences)), [len(each) for each in sequences])
        at = np.concatenate([np.arange(len(each)) for each in sequences])
        return which, {"step": at, **self.task.said(output[which, at])}

    def _check_anomalies(self, x: Any) -> list[str]:
        return self._check(x, None, True)[:1]

    def _anomalies(self, x: Any, detector: Detector, quantile: float) -> Iterator[pl.DataFrame]:
        sequences = self._read(x, None, steps=True)
        names = list(self.spec.target.labels)
        while pool := list(islice(sequences, POOL)):
            for given, deviations in zip(pool, of_sequences(self.task, [each.inputs for each in pool]), strict=True):
                time = len(deviations.at)
                labels = {
                    "sequence": pl.Series([given.name] * time, strict=False),
                    "step": np.arange(time),
                }
                yield table(labels, names, detector.score(deviations, quantile))


class ContinuationRun(SequenceRun):
    """Forecasts of what comes after the end of each sequence, which are the network's own next inputs."""

    task: Forecasting
    forecasts = True

    def _read(self, x: Any, horizon: int | None, steps: bool) -> Iterator[Given]:
        needed = 1 if steps else self.spec.horizon or 1
        for given in super()._read(x, horizon, steps):
            if len(given.inputs) < needed:
                where = f"{x.name}: " if isinstance(x, Source) else ""
                raise InputError(
                    f"{where}a sequence of {len(given.inputs)} steps is too short: this run forecasts {needed} steps "
                    f"ahead, and needs {needed} to say all that comes after"
                )
            yield given

    @torch.inference_mode()
    def _columns(
        self, sequences: Sequence[np.ndarray], horizon: int | None, steps: bool
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A row for each step after the end of each sequence."""
        if steps:
            return super()._columns(sequences, horizon, steps)
        trained = self.spec.horizon or 1
        number = horizon or trained
        inputs, _ = self._padded(sequences)
        output = self.task.alone(inputs, max(0, number - trained), None)[:, :number]
        which = np.repeat(np.arange(len(sequences)), number)
        ahead = np.tile(np.arange(1, number + 1), len(sequences))
        return which, {"ahead": ahead, **self.task.said(output.flatten(0, 1))}


class RebuiltRun(SequenceRun):
    """Each step of a sequence as it is rebuilt; longer sequences than those of training in pieces of their length."""

    def _note_lengths(self, pool: Sequence[Given], steps: bool, notes: Notes) -> None:
        """No piece is longer than those of training."""

    def _columns(
        self, sequences: Sequence[np.ndarray], horizon: int | None, steps: bool
    ) -> tuple[np.ndarray, dict[str, Any]]:
        found = of_sequences(self.task, sequences)
        which = np.repeat(np.arange(len(sequences)), [len(each) for each in sequences])
        at = np.concatenate([np.arange(len(each)) for each in sequences])
        rebuilt = np.concatenate([each.expected for each in found])
        names = self.spec.target.labels
        return which, {"step": at, **{f"{name} rebuilt": part for name, part in zip(names, rebuilt.T, strict=True)}}


class SearchedRun(SequenceRun):
    """To each sequence another one of its own length, which may be searched for."""

    search: Search | None = None
    """What was asked for; ``None`` where nothing was."""

    def searching(self, beam: int = 1, nbest: int = 1, length_penalty: float = 0.0) -> None:
        self.search = Search(beam if beam > 1 else nbest, nbest, length_penalty)

    def predict(
        self,
        x: Any,
        *,
        horizon: int | None = None,
        steps: bool = False,
        batch_size: int = BATCH_SIZE,
        beam: int = 1,
        nbest: int = 1,
        length_penalty: float = 0.0,
    ) -> pl.DataFrame:
        """What the run says to new data, as a table of polars.

        Args:
            x: what the run reads: texts, sequences of features or images, as :meth:`TrainedRun.predict`; sounds are
                ``(samples,)`` numbers, a list of such, or a ``pathlib.Path`` of a file or a folder.
            horizon: of forecasts; nothing is forecast here.
            steps: one prediction for each step; there is none here.
            batch_size: sequences side by side.
            beam: sequences that a search keeps at each step; 1: what :meth:`searching` has asked for, and else the most
                probable token at each step.
            nbest: of those that it finds so many are told, the best first, with their ``rank``.
            length_penalty: above 0 longer ones are preferred (:class:`rnnlab.decoding.Search`).

        Returns:
            For each sequence ``prediction``, and ``score``, the logarithm of its probability. ``alignment`` says of
            each token where in the input it is: with attention the number of the token that has most of it; of a
            transcription, where nothing was searched for, the step at which it begins.

        Raises:
            InputError: ``x`` is not what the run reads.
        """
        before = self.search
        if (beam, nbest, length_penalty) != (1, 1, 0.0):
            self.searching(beam, nbest, length_penalty)
        try:
            return super().predict(x, horizon=horizon, steps=steps, batch_size=batch_size)
        finally:
            self.search = before

    @property
    def nbest(self) -> int:
        """How many answers to a sequence are told."""
        return 1 if self.search is None else self.search.nbest

    def _ranked(self, found: Sequence[Sequence[Any]]) -> tuple[np.ndarray, dict[str, Any]]:
        """Of answers to each sequence, the best first: which sequence each answers, and their ranks if several are
        told.
        """
        which = np.repeat(np.arange(len(found)), [len(answers) for answers in found])
        if self.nbest == 1:
            return which, {}
        return which, {"rank": np.concatenate([np.arange(1, len(answers) + 1) for answers in found])}


class LabelledTextRun(SequenceRun):
    """A class of each text."""

    reader: TextReader

    def stream(self, lines: Iterable[str], name: str = "standard input") -> Iterator[dict[str, Any]]:
        for text in self.reader.texts(iter(lines), name):
            _, columns = self._columns([text.inputs], horizon=None, steps=False)
            truth = {} if text.truth is None else {"truth": text.truth}
            yield {"sequence": text.name, **truth, **first_row(columns)}


def batches(order: Sequence[int], lengths: Sequence[int], batch_size: int, alike: bool) -> Iterator[Sequence[int]]:
    """Sequences side by side: of one length, where they must be alike."""
    start = 0
    for end in range(1, len(order) + 1):
        full = end - start == batch_size or (end < len(order) and lengths[order[end]] > CHUNK)
        if full or end == len(order) or (alike and lengths[order[end]] != lengths[order[start]]):
            yield order[start:end]
            start = end


def _table(parts: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """One table of the columns of many batches: made once, since a table of each would cost more than its numbers."""
    whole: dict[str, Any] = {}
    for name, first in parts[0].items():
        columns = [part[name] for part in parts]
        if isinstance(first, np.ndarray):
            whole[name] = np.concatenate(columns)
        elif isinstance(first, pl.Series):
            whole[name] = pl.concat(columns)
        else:
            whole[name] = list(chain.from_iterable(columns))
    return pl.DataFrame(whole)
