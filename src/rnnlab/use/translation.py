"""Runs that say a sequence of its own length to each text."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from rnnlab.data.pair_reader import PairReader
from rnnlab.errors import InputError
from rnnlab.spec import IGNORED, Batch
from rnnlab.tasks.translation import Translation
from rnnlab.use.predictor import first_row
from rnnlab.use.sequences import SequenceRun


class TranslationRun(SequenceRun):
    """What is said to each text, and the logarithm of its probability."""

    task: Translation
    reader: PairReader

    def _columns_said(self) -> list[str]:
        return ["prediction", "score"]

    @torch.inference_mode()
    def _columns(
        self, sequences: Sequence[np.ndarray], horizon: int | None, steps: bool
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if steps:
            raise InputError("--steps: this run says one sequence to a text, and nothing at its steps: leave it out")
        inputs, lengths = self._padded(sequences)
        nothing = torch.full((len(sequences), 1), IGNORED, device=inputs.device)
        said = self.task.say(Batch(inputs, nothing, lengths))
        return np.arange(len(sequences)), self.task.columns(said)

    def stream(self, lines: Iterable[str], name: str = "standard input") -> Iterator[dict[str, Any]]:
        for text in self.reader.texts(iter(lines), name):
            _, columns = self._columns([text.inputs], horizon=None, steps=False)
            yield {"sequence": text.name, **first_row(columns)}
