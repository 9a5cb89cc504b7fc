"""What a network expected at each step, beside what came."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnlab.anomalies.errors import QUANTILE, Errors, Usual, total
from rnnlab.data.history import History
from rnnlab.data.sequence import SequenceData
from rnnlab.data.series import SeriesData
from rnnlab.data.series_reader import SeriesReader
from rnnlab.errors import InputError
from rnnlab.spec import valid_steps
from rnnlab.tasks.task import Task

SIDE_BY_SIDE = 256
"""Sequences, or windows, that are read at once."""


@dataclass(frozen=True)
class Deviations(Errors):
    """The steps of one sequence.

    Attributes:
        value: ``(time, columns)`` what came, in the data's own units; not a number where nobody knows.
        expected: ``(time, columns)`` alike; not a number where nothing was expected.
    """

    value: np.ndarray
    expected: np.ndarray


@dataclass(frozen=True)
class Scored:
    """The scores of the steps of one sequence.

    Attributes:
        deviations: of its steps.
        score: ``(time,)``; not a number where nothing was expected.
        shares: ``(time, columns)`` what each column adds to the squared score; their sum is 1. A column may take away:
            where its error is what those of the others would make one expect.
        threshold: above which a step is anomalous.
    """

    deviations: Deviations
    score: np.ndarray
    shares: np.ndarray
    threshold: float

    @property
    def anomalous(self) -> np.ndarray:
        """``(time,)`` whether each step is; never where there is no score."""
        return np.asarray(np.nan_to_num(self.score) > self.threshold)


@dataclass(frozen=True)
class Detector:
    """A trained network, and what is usual of its errors on its own validation part."""

    task: Task
    usual: Usual

    @classmethod
    def of(cls, task: Task, data: SequenceData) -> "Detector":
        """By the validation part of the data that the network was trained on.

        Raises:
            InputError: the objective expects no values, or the validation part is too short.
        """
        if task.no_anomalies:
            raise InputError(f"--anomalies: {task.no_anomalies}")
        return cls(task, Usual.of(of_split(task, data, "val")))

    def score(self, deviations: Deviations, quantile: float = QUANTILE) -> Scored:
        """The steps of one sequence, new or of the test part."""
        parts = self.usual.normal.parts(deviations)
        columns = deviations.value.shape[1]
        by_column = np.nansum(parts.reshape(len(parts), -1, columns), 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = by_column / by_column.sum(1, keepdims=True)
        return Scored(deviations, total(parts), shares, self.usual.threshold(quantile))


def of_split(task: Task, data: SequenceData, split: Any) -> list[Deviations]:
    """Of each sequence of a split; of time series the steps of that part, the past before it being known."""
    if isinstance(data, SeriesData):
        return _of_parts(task, data, split)
    found: list[np.ndarray] = []
    for batch in data.in_order(split):
        valid = valid_steps(batch.inputs, batch.lengths).sum(1).tolist()
        found += [sequence[:length].numpy() for sequence, length in zip(batch.inputs, valid, strict=True)]
    return of_sequences(task, found)


# ---- sequences ---------------------------------------------------------------------------------------


def of_sequences(task: Task, sequences: Sequence[np.ndarray]) -> list[Deviations]:
    """Of sequences ``(time, features)`` on the network's scale.

    An autoencoder reads a longer sequence than those it was trained on in pieces of their length, one after the other;
    the last one ends with it. A forecaster reads on.
    """
    length, ahead, size = task.spec.length, task.spec.horizon or 0, task.spec.target.size
    cut = [_pieces(len(sequence), length if task.rebuilds else len(sequence)) for sequence in sequences]
    pieces = [each[start:end] for each, parts in zip(sequences, cut, strict=True) for start, end in parts]
    said = iter(_outputs(task, pieces))
    found = []
    # the steps that the last piece of an autoencoder has in common with the one before are by the last one
    for each, parts in zip(sequences, cut, strict=True):
        time = len(each)
        truth = torch.from_numpy(np.ascontiguousarray(each[:, :size]))
        error, expected = (np.full((time, size), np.nan) for _ in range(2))
        at = np.arange(time)
        for start, end in parts:
            output = next(said)[: end - start - ahead]
            rows = slice(start + ahead, end)
            error[rows] = task.deviation(output, truth[rows]).double().numpy()
            expected[rows] = task.spec.scaling.to_units(task.point(output)).double().numpy()
            at[start:end] = np.arange(end - start)
        value = task.spec.scaling.to_units(truth).double().numpy()
        found.append(Deviations(error, at, value, expected))
    return found


def _pieces(time: int, length: int) -> list[tuple[int, int]]:
    if time <= length:
        return [(0, time)]
    starts = [*range(0, time - length, length), time - length]
    return [(start, start + length) for start in starts]


@torch.inference_mode()
def _outputs(task: Task, sequences: Sequence[np.ndarray]) -> list[Tensor]:
    """``(time, size)`` what the network puts out for each, read sorted by length."""
    like = next(task.network.parameters())
    found: list[Tensor] = [like.new_empty(0)] * len(sequences)
    order = sorted(range(len(sequences)), key=lambda number: len(sequences[number]))
    for first in range(0, len(order), SIDE_BY_SIDE):
        some = order[first : first + SIDE_BY_SIDE]
        lengths = [len(sequences[number]) for number in some]
        padded = np.zeros((len(some), max(lengths), sequences[some[0]].shape[1]), np.float32)
        for row, number in zip(padded, some, strict=True):
            row[: len(sequences[number])] = sequences[number]
        alike = min(lengths) == max(lengths)
        output, _ = task.network(
            torch.from_numpy(padded).to(like), lengths=None if alike else torch.tensor(lengths, device=like.device)
        )
        for number, said, length in zip(some, output.cpu(), lengths, strict=True):
            found[number] = said[:length]
    return found


# ---- time series -------------------------------------------------------------------------------------


def _of_parts(task: Task, data: SeriesData, split: Any) -> list[Deviations]:
    """The steps of a part, series by series."""
    panel, reader = data.panel, data.reader
    if split == "val":  # the linear part of the test has seen the validation part
        reader = replace(reader, layout=data.layout)
    found = []
    for number, (first, end) in enumerate(data.steps_of(split)):
        start = int(panel.starts[number])
        rows = slice(start, int(panel.starts[number + 1]))
        unknown = np.zeros(panel.values[rows].shape, bool) if data.unknown is None else data.unknown[rows]
        history = History(
            number, end - start, panel.values[rows], unknown[: end - start], panel.times[rows], panel.zone, panel.clocks
        )
        if end - start >= fewest(task, reader, history) and first < end:
            whole = of_history(task, reader, history)
            part = slice(first - start, end - start)
            found.append(Deviations(whole.error[part], whole.at[part], whole.value[part], whole.expected[part]))
    return found


def fewest(task: Task, reader: SeriesReader, history: History) -> int:
    """Steps that a series must have for the first score."""
    return reader.layout.reach + reader.layout.length + history.now - _last(task, reader, history)


def _last(task: Task, reader: SeriesReader, history: History) -> int:
    """Steps that the last window may end with: all, of a forecaster all but the last; and after it must come what is
    known of as many steps as are forecast.
    """
    last = history.now - (0 if task.rebuilds else 1)
    return min(last, len(history.values) - reader.layout.said) if reader.of.known else last


def check_length(task: Task, reader: SeriesReader, history: History) -> None:
    """Refuses a series of which no step can be looked at.

    Raises:
        InputError: naming how many it needs.
    """
    if history.now < (needed := fewest(task, reader, history)):
        raise InputError(
            f"--anomalies: a series of {history.now} steps is too short: the first score needs {needed}, a window of "
            f"{reader.layout.length} among them"
        )


def of_history(task: Task, reader: SeriesReader, history: History) -> Deviations:
    """Of each step of a series, on its own scale.

    A forecaster's errors of a step are those of all forecasts that were made of it, from the step before to as many
    steps before as the network forecasts at once, each by the window that ends there, as in training (Malhotra et al.
    2015). An autoencoder's are those of the last step of the window that ends with it: what comes later changes no
    score.

    Raises:
        InputError: it is shorter than a window.
    """
    check_length(task, reader, history)
    layout, now = reader.layout, history.now
    columns = reader.measured if task.rebuilds else len(reader.of.target)
    last = _last(task, reader, history)
    window = reader.window(history._replace(now=last, unknown=history.unknown[:last]), layout.said, whole=True)
    first = last - len(window.inputs)
    output = _window_ends(task, window.inputs, layout.length)
    # the steps at which the windows end
    ends = first + layout.length - 1 + np.arange(len(output))
    value = np.where(history.unknown[:now, :columns], np.nan, history.values[:now, :columns])
    at = np.zeros(now, np.int64)
    if task.rebuilds:
        error, expected = (np.full((now, columns), np.nan) for _ in range(2))
        truth = torch.from_numpy(np.ascontiguousarray(window.inputs[ends - first, :columns]))
        shift, scale = (part[history.number][:columns] for part in reader.moments)
        error[ends] = task.deviation(output, truth).double().numpy()
        error[np.isnan(value)] = np.nan
        expected[ends] = output.double().numpy() * scale + shift
        return Deviations(error, at, value, expected)
    said = layout.said
    error, expected = np.full((now, said, columns), np.nan), np.full((now, columns), np.nan)
    shift, scale = (part[ends - first, :said].astype(np.float64) for part in (window.shift, window.scale))
    seen = np.log(value) if layout.log else value
    for step in reversed(range(said)):
        ahead = ends + 1 + step
        there = ahead < now
        ahead, of_step = ahead[there], slice(step * columns, (step + 1) * columns)
        by = (shift[there, step], scale[there, step])
        truth = torch.from_numpy((seen[ahead] - by[0]) / by[1]).float()
        output_of_step = _of_values(output[torch.from_numpy(there)], of_step, said * columns)
        error[ahead, step] = task.deviation(output_of_step, truth).double().numpy()
        point = task.point(output_of_step).double().numpy() * by[1] + by[0]
        expected[ahead] = np.exp(point) if layout.log else point
    return Deviations(error.reshape(now, -1), at, value, expected)


def _of_values(output: Tensor, which: slice, size: int) -> Tensor:
    """``(n, parameters × some)`` what is said of some of ``size`` values, of ``(n, parameters × size)``."""
    return output.unflatten(-1, (-1, size))[..., which].flatten(-2)


@torch.inference_mode()
def _window_ends(task: Task, inputs: np.ndarray, length: int) -> Tensor:
    """``(windows, size)`` what is put out at the last step of each window of ``(time, features)`` inputs."""
    like = next(task.network.parameters())
    windows = np.lib.stride_tricks.sliding_window_view(inputs, length, axis=0).transpose(0, 2, 1)
    found = []
    for start in range(0, len(windows), SIDE_BY_SIDE):
        some = torch.from_numpy(np.ascontiguousarray(windows[start : start + SIDE_BY_SIDE])).to(like)
        found.append(task.network(some)[0][:, -1].cpu())
    return torch.cat(found)
