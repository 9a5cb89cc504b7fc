"""Language models: how probable a text is, and what comes next."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from rnnlab.data.reader import Given
from rnnlab.data.text_reader import CorpusReader
from rnnlab.errors import InputError
from rnnlab.tasks.language_modeling import LanguageModeling
from rnnlab.use import sequences as reading
from rnnlab.use.generation import Writer, generate
from rnnlab.use.notes import Notes
from rnnlab.use.options import Sampling
from rnnlab.use.sequences import SequenceRun
from rnnlab.use.streaming import first_row


class LanguageRun(SequenceRun):
    """The probability of each text, or of each of its tokens; and texts of its own."""

    task: LanguageModeling
    reader: CorpusReader
    no_horizon = ": rnnlab generate RUN --length N"

    def _columns_said(self) -> list[str]:
        return ["log_probability", self.task.score, "prediction", "p(prediction)"]

    def _note_lengths(self, pool: Sequence[Given], steps: bool, notes: Notes) -> None:
        """A text is read on and on, as that of training was."""

    @torch.inference_mode()
    def _columns(
        self, sequences: Sequence[np.ndarray], horizon: int | None, steps: bool
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """How probable texts are, or each of their tokens, and what comes next."""
        inputs, lengths = self._padded(sequences)
        likelihoods, outputs = [], []
        output, state = inputs.new_zeros(0), None
        for start in range(0, inputs.shape[1], reading.CHUNK):
            # more than one chunk only where it is one text
            some = inputs[:, start : start + reading.CHUNK]
            output, state = self.task.network(some, state, lengths)
            following = inputs[:, start + 1 : start + reading.CHUNK + 1]
            said = output[:, : following.shape[1]].log_softmax(-1).gather(-1, following[..., None])[..., 0]
            likelihoods.append(said)
            if steps:
                outputs.append(self.task.said(output.flatten(0, 1)))
        found = torch.cat(likelihoods, 1).cpu().double().numpy()
        sizes = np.array([len(each) for each in sequences])
        if steps:
            time = inputs.shape[1]
            each = {name: np.concatenate([part[name] for part in outputs]) for name in outputs[0]}
            first = np.full((len(sequences), 1), np.nan)
            own = np.exp(np.concatenate([first, found], 1))
            valid = (np.arange(time) < sizes[:, None]).ravel()
            which, at = (axis.ravel()[valid] for axis in np.mgrid[: len(sequences), :time])
            tokens = [self.reader.token(int(number)) for number in inputs.cpu().numpy().ravel()[valid]]
            columns = {name: values[valid] for name, values in each.items()}
            said_before = pl.Series(own.ravel()[valid], nan_to_null=True)  # nobody foretells the first one
            return which, {"step": at, "token": tokens, "p(token)": said_before, **columns}
        sums = np.where(np.arange(found.shape[1]) < sizes[:, None] - 1, found, 0).sum(1)
        ends = -1 if lengths is None else lengths - 1
        last = output[torch.arange(len(output), device=self.device), ends]
        return np.arange(len(sequences)), self._text_columns(sizes, sums, np.maximum(sizes - 1, 0), last)

    def _text_columns(self, sizes: np.ndarray, sums: np.ndarray, predicted: np.ndarray, last: Tensor) -> dict[str, Any]:
        """The columns of texts: the sums of the logarithmic probabilities of their ``predicted`` tokens."""
        with np.errstate(invalid="ignore", divide="ignore"):
            nats = torch.from_numpy(-sums / predicted)
        columns = {
            f"{self.spec.step_unit}s": sizes,
            "log_probability": sums,
            self.task.score: self.task.read_loss(nats).numpy(),
        }
        return columns | self.task.said(last)

    def log_probabilities(self, texts: Sequence[str]) -> list[float]:
        """The logarithm of the probability of each text as a line by itself, its end included where the model has seen
        ends of lines.
        """
        start = self._beginning()
        end = self.reader.encoder.numbers("\n")
        end = end if end[0] == start[0] else end[:0]
        numbers = [np.concatenate([start, self.reader.encoder.numbers(text), end]) for text in texts]
        return [float(self._columns([each], None, False)[1]["log_probability"][0]) for each in numbers]

    def stream(self, lines: Iterable[str], name: str = "standard input") -> Iterator[dict[str, Any]]:
        before: Tensor | None = None
        state: Any = None
        for number, line in enumerate(lines):
            tokens = self.reader.encoder.numbers(line)
            if len(tokens):
                columns, before, state = self._line(tokens, before, state)
                yield {"line": number, **first_row(columns)}

    @torch.inference_mode()
    def _line(self, numbers: np.ndarray, before: Tensor | None, state: Any) -> tuple[dict[str, Any], Tensor, Any]:
        """What is said of a line of running text, and what is handed on to the next one.

        Args:
            numbers: ``(tokens,)`` of the line.
            before: ``(1, size)`` what the lines before said of its first token.
            state: in which they left the network.
        """
        tokens = torch.from_numpy(numbers)[None].to(self.device)
        output, state = self.task.network(tokens, state)
        sums = output[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None]).double().sum()
        if before is not None:
            sums += before.log_softmax(-1)[0, tokens[0, 0]].double()
        predicted = np.array([len(numbers) - (before is None)])
        last = output[:, -1]
        return self._text_columns(np.array([len(numbers)]), np.array([float(sums)]), predicted, last), last, state

    def writing(self, prompt: str, sampling: Sampling) -> Iterator[list[str]]:
        reader = self.reader
        unknown = reader.unknown(prompt)
        if unknown:
            what = ", ".join(map(repr, unknown[:10])) + (", …" if len(unknown) > 10 else "")
            raise InputError(f"--prompt: this run's text had no {what}, so that it cannot go on from there")
        numbers = reader.encoder.numbers(prompt)
        if not len(numbers):
            numbers = self._beginning()
        never = None if reader.unit == "byte" else 0  # <unk> stands for many, and is nothing to be said
        writers = [Writer(reader) for _ in range(sampling.samples)]
        for writer in writers:
            writer.write(numbers.tolist() if prompt else [])
        for chosen in generate(self.stepper, numbers, sampling, never):
            yield [writer.write([number]) for writer, number in zip(writers, chosen, strict=True)]
        yield [writer.end() for writer in writers]

    def _beginning(self) -> np.ndarray:
        """What stands for an empty prompt: the end of a line or, in a text of one line, its commonest token."""
        numbers = self.reader.encoder.numbers("\n")
        if numbers[0] or self.reader.unit == "byte":
            return numbers
        return np.array([1 + int(np.argmax(self.spec.token_frequencies[1:]))])
