"""Runs that say a sequence of its own length to each text."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch

from rnnlab.data.pair_reader import PairReader
from rnnlab.decoding import Search
from rnnlab.errors import InputError
from rnnlab.spec import IGNORED, Batch
from rnnlab.tasks.translation import Translation
from rnnlab.use.predictor import BATCH_SIZE
from rnnlab.use.sequences import SequenceRun
from rnnlab.use.streaming import first_row


class TranslationRun(SequenceRun):
    """What is said to each text, and the logarithm of its probability."""

    task: Translation
    reader: PairReader

    search = Search()

    def _columns_said(self) -> list[str]:
        several = ["rank"] if self.search.nbest > 1 else []
        return [*several, "prediction", "score", *(["alignment"] if self._attends else [])]

    @property
    def _attends(self) -> bool:
        return all(each.decoder is not None and each.decoder.attention is not None for each in self.networks)

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
        """What the run says to new texts, as a table of polars.

        Args:
            x: a text, a list of texts, a table, or a ``pathlib.Path`` of a file.
            horizon: of forecasts; nothing is forecast here.
            steps: of forecasts, too.
            batch_size: texts side by side.
            beam: sequences that a search keeps at each step; 1: the most probable token at each step.
            nbest: of those that it finds so many are told, the best first, with their ``rank``.
            length_penalty: above 0 longer ones are preferred (:class:`rnnlab.decoding.Search`).

        Returns:
            For each text ``prediction``, ``score``, the logarithm of its probability, and with attention ``alignment``:
            for each token that is said the number of the one that was read that has most of it.

        Raises:
            InputError: ``x`` is not what the run reads.
        """
        before = self.search
        self.searching(beam, nbest, length_penalty)
        try:
            return super().predict(x, horizon=horizon, steps=steps, batch_size=batch_size)
        finally:
            self.search = before

    @torch.inference_mode()
    def _columns(
        self, sequences: Sequence[np.ndarray], horizon: int | None, steps: bool
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if steps:
            raise InputError("--steps: this run says one sequence to a text, and nothing at its steps: leave it out")
        inputs, lengths = self._padded(sequences)
        nothing = torch.full((len(sequences), 1), IGNORED, device=inputs.device)
        found = self.task.searched(Batch(inputs, nothing, lengths), self.search)
        which = np.repeat(np.arange(len(found)), [len(own) for own in found])
        every = [each for own in found for each in own]
        columns: dict[str, Any] = {}
        if self.search.nbest > 1:
            columns["rank"] = np.concatenate([np.arange(1, len(own) + 1) for own in found])
        columns["prediction"] = self.task.texts([each.tokens for each in every])
        columns["score"] = np.array([each.score for each in every], np.float32)
        if self._attends:
            columns["alignment"] = [" ".join(map(str, each.alignment)) for each in every]
        return which, columns

    def stream(self, lines: Iterable[str], name: str = "standard input") -> Iterator[dict[str, Any]]:
        for text in self.reader.texts(iter(lines), name):
            which, columns = self._columns([text.inputs], horizon=None, steps=False)
            for row in range(len(which)):
                yield {"sequence": text.name, **first_row({name: each[row:] for name, each in columns.items()})}


class CaptionRun(TranslationRun):
    """What is said of each image."""

    def stream(self, lines: Iterable[str], name: str = "standard input") -> Iterator[dict[str, Any]]:
        raise InputError("--stream: this run reads images, and no lines: give --input FOLDER")
