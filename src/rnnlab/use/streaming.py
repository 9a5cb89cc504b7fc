"""New data step by step, the state carried from one to the next."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.reader import Arrival
from rnnlab.use.networks import TrainedNetworks
from rnnlab.use.stepper import StepState


class SteppedRun(TrainedNetworks):
    """Networks that read new data as it comes."""

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


def first_row(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The first row as plain values."""
    firsts = {name: each[0] for name, each in columns.items()}
    return {name: _plain(first) for name, first in firsts.items()}


def _plain(value: Any) -> Any:
    """A number of NumPy's as one of Python's, with the digits that it has."""
    if isinstance(value, np.float32):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value
