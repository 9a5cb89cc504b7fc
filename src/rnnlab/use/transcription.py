"""Runs that say what stands somewhere in a long input."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnlab import ctc
from rnnlab.data.audio_reader import AudioReader
from rnnlab.data.reader import refuse_own_moments
from rnnlab.errors import InputError
from rnnlab.files.sound import blocks, check_rate
from rnnlab.spec import IGNORED
from rnnlab.tasks.transcription import Transcription
from rnnlab.use.language import LanguageRun
from rnnlab.use.predictor import TrainedRun
from rnnlab.use.sequences import SearchedRun

BLOCK = 1600
"""Samples of a sound that are read at a time while it streams."""
LOUDEST = 2**15
"""Of samples of 16 bits."""
FEWEST = 8
"""Sequences among which a language model chooses, where nobody says how many."""


class TranscriptionRun(SearchedRun):
    """The text in each input, and the logarithm of its probability."""

    task: Transcription

    language: LanguageRun | None = None
    language_weight = 0.0

    def _columns_said(self) -> list[str]:
        several = ["rank"] if self.nbest > 1 else []
        beside = ["language"] if self.language is not None else []
        return [*several, "prediction", "score", *beside, *(["alignment"] if self._is_greedy else [])]

    @property
    def beam(self) -> int:
        """Prefixes that a search keeps at each step; 1 where nothing is searched for."""
        if self.search is None:
            return 1 if self.language is None else FEWEST
        return self.search.beam

    @property
    def _is_greedy(self) -> bool:
        return self.beam == 1

    def searching(self, beam: int = 1, nbest: int = 1, length_penalty: float = 0.0) -> None:
        if length_penalty:
            raise InputError(
                f"--length-penalty {length_penalty}: what stands in an input is as long as it is; leave it out"
            )
        super().searching(beam, nbest)

    def rescoring(self, language: TrainedRun, weight: float) -> None:
        if not isinstance(language, LanguageRun):
            raise InputError("--language-model: that run is no language model: train one by data=text data.path=FILE")
        if not 0 <= weight < float("inf"):
            raise InputError(f"--language-weight {weight} must be at least 0, and finite")
        if self.search is not None and self.beam == 1:
            raise InputError("--beam 1 and --language-model: it chooses among what a search finds; leave --beam out")
        self.language, self.language_weight = language, weight

    @torch.inference_mode()
    def _columns(
        self, sequences: Sequence[np.ndarray], horizon: int | None, steps: bool
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if steps:
            raise InputError("--steps: this run says one text of an input, and nothing at its steps: leave it out")
        inputs, lengths = self._padded(sequences)
        scores = self.task.network(inputs, lengths=lengths)[0]
        valid = torch.tensor([len(each) for each in sequences], device=scores.device)
        valid = self.task.read_lengths(valid)
        if self._is_greedy:
            return np.arange(len(sequences)), self._greedy(scores, valid)
        found = self.task.searched(scores, valid, self.beam, self.beam)
        language: list[list[float]] | None = None
        if self.language is not None:
            found, language = self._rescored(found, self.language)
        found = [own[: self.nbest] for own in found]
        which, columns = self._ranked(found)
        columns["prediction"] = self.task.texts([tokens for own in found for tokens, _ in own])
        columns["score"] = np.array([score for own in found for _, score in own], np.float32)
        if language is not None:
            columns["language"] = np.array([score for own in language for score in own[: self.nbest]], np.float32)
        return which, columns

    def _greedy(self, scores: Tensor, lengths: Tensor) -> dict[str, Any]:
        path = ctc.best_path(scores, lengths, self.task.blank)
        probability = self.task.log_probability(scores, lengths, path.tokens)
        steps = [" ".join(str(step) for step in row if step != IGNORED) for row in path.steps.tolist()]
        return {
            "prediction": self.task.written(path.tokens),
            "score": probability.numpy(force=True),
            "alignment": steps,
        }

    def _rescored(self, found: Any, model: LanguageRun) -> tuple[Any, list[list[float]]]:
        """What the search found, ordered by the sum of its score and the weighted one of the language model."""
        ordered, language = [], []
        for own in found:
            texts = self.task.texts([tokens for tokens, _ in own])
            rated = model.log_probabilities(texts)
            best = sorted(range(len(own)), key=lambda k: -(own[k][1] + self.language_weight * rated[k]))
            ordered.append([own[k] for k in best])
            language.append([rated[k] for k in best])
        return ordered, language

    # ---- a stream -------------------------------------------------------------------------------------

    def stream(self, lines: Iterable[str], name: str = "standard input") -> Iterator[dict[str, Any]]:
        """A row for each token, as soon as the step is read at which it begins: as without a search, in constant
        memory.
        """
        self._refuse_search()
        stepper = self.stepper
        state, greedy, number = stepper.initial(), ctc.Greedy(self.task.blank), 0
        for arrival in self.reader.stream(iter(lines), name):
            if arrival is None:
                continue
            if arrival.restart:
                state, greedy, number = stepper.initial(), ctc.Greedy(self.task.blank), 0
            best, state = self._heard(np.asarray(arrival.inputs), state)
            token = greedy(best)
            if token is not None:
                label = {} if arrival.name is None else {"sequence": arrival.name}
                yield {**label, "step": number, "prediction": self.task.spec.target.labels[token]}
            number += 1

    def stream_of(self, place: str) -> Iterator[dict[str, Any]] | None:
        """Of a run that hears: a file of sound, or for ``-`` raw samples of 16 bits from the standard input, as they
        come.

        Raises:
            InputError: it scales a sound by the whole of it, or the file has another rate.
        """
        self._refuse_search()
        return self._stream_sound(self.reader, place) if isinstance(self.reader, AudioReader) else None

    def _refuse_search(self) -> None:
        if self.beam > 1:
            raise InputError(
                "--stream with --beam or --nbest: a token is said as soon as it is heard, and nothing is searched for; "
                "leave one out"
            )

    def _stream_sound(self, reader: AudioReader, place: str) -> Iterator[dict[str, Any]]:
        refuse_own_moments(reader.own_moments, "sound")
        stepper = self.stepper
        state, greedy = stepper.initial(), ctc.Greedy(self.task.blank)
        for number, features in enumerate(self._frames(reader, place)):
            best, state = self._heard(features, state)
            token = greedy(best)
            if token is not None:
                seconds = number * reader.ear.step / reader.rate
                yield {"seconds": round(seconds, 3), "prediction": self.task.spec.target.labels[token]}

    def _heard(self, x: np.ndarray, state: Any) -> tuple[int, Any]:
        with torch.inference_mode():
            output, state = self.stepper(torch.from_numpy(x[None]).to(self.device), state)
            return int(output.argmax(-1)), state

    def _frames(self, reader: AudioReader, place: str) -> Iterator[np.ndarray]:
        """``(bands,)`` frame by frame; no more than a block of sound is kept."""
        ear = reader.ear
        if place == "-":
            parts = _raw(self.reader.example)
        else:
            rate, parts = blocks(Path(place).expanduser(), f"--input {place}", BLOCK)
            check_rate(rate, reader.rate, f"--input {place}")
        kept, heard = np.zeros(0), False
        for part in parts:
            kept = np.concatenate([kept, part])
            frames = ear.frames(len(kept))
            if frames:
                heard = True
                yield from reader.scaled(ear(kept))
                kept = kept[frames * ear.step :]
        if not heard and len(kept):
            yield from reader.scaled(ear(kept))


def _raw(example: str) -> Iterator[np.ndarray]:
    """Samples from the standard input: whole numbers of 16 bits, the lower byte first."""
    rest = b""
    first = True
    while part := sys.stdin.buffer.read(2 * BLOCK):
        if first and part[:4] in (b"RIFF", b"fLaC", b"OggS"):
            raise InputError(
                "standard input: a stream is raw samples of 16 bits (ffmpeg -i FILE -f s16le -ac 1 -ar RATE -), and "
                f"this is a file: give --input FILE, {example}"
            )
        first = False
        part = rest + part
        whole = len(part) // 2 * 2
        rest = part[whole:]
        yield np.frombuffer(part[:whole], "<i2") / LOUDEST
    if first:
        raise InputError("standard input is empty")
