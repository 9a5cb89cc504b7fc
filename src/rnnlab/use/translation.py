"""Runs that say a sequence of its own length to each text."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from rnnlab.data.pair_reader import PairReader
from rnnlab.decoding import Search
from rnnlab.errors import InputError
from rnnlab.spec import IGNORED, Batch
from rnnlab.tasks.translation import Translation
from rnnlab.use.sequences import SearchedRun
from rnnlab.use.streaming import first_row


class TranslationRun(SearchedRun):
    """What is said to each text, and the logarithm of its probability."""

    task: Translation
    reader: PairReader

    def _columns_said(self) -> list[str]:
        several = ["rank"] if self.nbest > 1 else []
        return [*several, "prediction", "score", *(["alignment"] if self._attends else [])]

    @property
    def _attends(self) -> bool:
        return all(each.decoder is not None and each.decoder.attention is not None for each in self.networks)

    @torch.inference_mode()
    def _columns(
        self, sequences: Sequence[np.ndarray], horizon: int | None, steps: bool
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if steps:
            raise InputError("--steps: this run says one sequence to a text, and nothing at its steps: leave it out")
        inputs, lengths = self._padded(sequences)
        nothing = torch.full((len(sequences), 1), IGNORED, device=inputs.device)
        found = self.task.searched(Batch(inputs, nothing, lengths), self.search or Search())
        which, columns = self._ranked(found)
        every = [each for own in found for each in own]
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
