"""Time series: forecasts from the end of each, at each step, or in a stream."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from rnnlab.anomalies.deviations import Detector, Deviations, check_length, of_history
from rnnlab.data.history import History
from rnnlab.data.reader import Arrival, Reader
from rnnlab.data.series_reader import SeriesReader
from rnnlab.files.clocks import in_zone
from rnnlab.files.panel import Columns
from rnnlab.files.written import Written
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.tasks.task import Task
from rnnlab.use.anomalies import table
from rnnlab.use.notes import Notes
from rnnlab.use.predictor import TrainedRun
from rnnlab.use.sequences import batches


class SeriesRun(TrainedRun):
    """Forecasts of the steps after each series, in its units."""

    task: Forecasting
    reader: SeriesReader
    forecasts = True

    def __init__(self, tasks: Sequence[Task], readers: Sequence[Reader], config: Mapping[str, Any]) -> None:
        super().__init__(tasks, readers, config)
        reader = self.reader
        if reader.direct and reader.horizon == 1 and reader.layout.feeds_back:
            # one step at once is one step: it may be fed back
            self.task.spec = replace(self.task.spec, horizon=1)

    def _tables(
        self, x: Any, horizon: int | None, steps: bool, batch_size: int, notes: Notes
    ) -> Iterator[pl.DataFrame]:
        reader = self.reader
        histories, names = reader.histories(x)
        ahead = reader.check_horizon(horizon)
        yield from self._forecasts(histories, names, ahead, steps, batch_size)
        read = max(reader.layout.length, reader.layout.before + 1)
        notes.series(((history.now, name) for history, name in zip(histories, names, strict=True)), read)
        for history in histories:
            if history.times is not None:
                notes.times(history.zone is not None, reader.of_utc)
        if not steps and self._tells_times(histories, ahead):
            for times, is_sure in (reader.later(history, ahead) for history in histories):
                if times is not None and not is_sure:
                    notes.clocks(times[-1])

    def _check(self, x: Any, horizon: int | None, steps: bool) -> list[str]:
        reader = self.reader
        histories, _ = reader.histories(x)
        ahead = 1 if steps else reader.check_horizon(horizon)
        for history in histories:
            reader.window(history, ahead, whole=steps)
        timed = histories[0].times is not None if steps else self._tells_times(histories, ahead)
        return _labels_of(reader.of, timed)

    def _forecasts(
        self, histories: Sequence[History], names: Sequence[str], ahead: int, steps: bool, batch_size: int
    ) -> Iterator[pl.DataFrame]:
        reader = self.reader
        if steps:
            for history, name in zip(histories, names, strict=True):
                yield self._each_step_of_series(history, name)
            return
        if ahead > reader.horizon and not reader.layout.feeds_back:
            for history, name in zip(histories, names, strict=True):
                yield self._step_by_step(history, name, ahead)
            return
        windows = [reader.window(history, ahead) for history in histories]
        lengths = [len(window.inputs) for window in windows]
        # neighbours of one length go side by side; their order is kept
        for batch in batches(range(len(windows)), lengths, batch_size, alike=True):
            some = [windows[i] for i in batch]
            inputs, following = (
                torch.from_numpy(np.stack(parts)).to(self.device)
                for parts in ([window.inputs for window in some], [window.ahead for window in some])
            )
            output = self._forecast(inputs, following, ahead)
            moments = [
                torch.from_numpy(np.stack([_first(part[-1], ahead) for part in parts])).to(self.device).flatten(0, 1)
                for parts in ([window.shift for window in some], [window.scale for window in some])
            ]
            columns = self.task.said(output.flatten(0, 1), (moments[0], moments[1]))
            yield pl.DataFrame(self._labels([(histories[i], names[i]) for i in batch], ahead) | columns)

    @torch.inference_mode()
    def _step_by_step(self, history: History, name: str, ahead: int) -> pl.DataFrame:
        """Forecasts further than the horizon: each is read, in units, as if it had come."""
        # the whole of what is known ahead must be there before anything is said
        self.reader.window(history, ahead)
        # one after the other it would be told only once whether the clock is changed
        now = history._replace(times=self.reader.later(history, ahead)[0])
        outputs, shifts, scales = [], [], []
        for _ in range(ahead):
            window = self.reader.window(now, 1)
            output = self.task.network(self._on_device(window.inputs[None]))[0][0, -1:]
            shift, scale = (
                torch.from_numpy(part[-1, :1].copy()).to(self.device) for part in (window.shift, window.scale)
            )
            forecast = self.task.distribution.split(output)
            units = self.task.distribution.in_units(forecast, shift, scale, self.spec.scaling.log)
            now = self.reader.continued(now, self.task.distribution.point(units)[0].cpu().double().numpy())
            outputs.append(output)
            shifts.append(shift)
            scales.append(scale)
        columns = self.task.said(torch.cat(outputs), (torch.cat(shifts), torch.cat(scales)))
        return pl.DataFrame(self._labels([(history, name)], ahead) | columns)

    @torch.inference_mode()
    def _forecast(self, inputs: Tensor, following: Tensor, ahead: int) -> Tensor:
        """``(batch, ahead, values × parameters)``."""
        if self.spec.horizon is not None:
            return self.task.alone(inputs, ahead - 1, following if following.shape[-1] else None)
        forecast = self.task.distribution.split(self.task.network(inputs)[0][:, -1])
        forecast = forecast.unflatten(1, (self.reader.horizon, -1))[:, :ahead]
        return forecast.transpose(-1, -2).flatten(-2)

    def _tells_times(self, histories: Sequence[History], ahead: int) -> bool:
        """Whether forecasts have times beside them."""
        return self.reader.of.time is not None and all(self.reader.knows_when(history, ahead) for history in histories)

    def _labels(self, histories: Sequence[tuple[History, str]], ahead: int) -> dict[str, Any]:
        """Columns that say of which series and time each row is."""
        columns = self.reader.of
        labels: dict[str, Any] = {}
        if columns.series:
            labels[columns.series] = [name for _, name in histories for _ in range(ahead)]
        if self._tells_times([history for history, _ in histories], ahead):
            times = [self.reader.later(history, ahead)[0] for history, _ in histories]
            coming = np.concatenate([each[-ahead:] for each in times if each is not None])
            labels |= shown_times(coming, columns, histories[0][0].zone, histories[0][0].written)
        labels["ahead"] = np.tile(np.arange(1, ahead + 1), len(histories))
        return labels

    @torch.inference_mode()
    def _each_step_of_series(self, history: History, name: str) -> pl.DataFrame:
        window = self.reader.window(history, 1, whole=True)
        output = self.task.network(self._on_device(window.inputs[None]))[0][0]
        said = self._said_at(window.shift, window.scale, output)
        columns = self.reader.of
        labels: dict[str, Any] = {}
        if columns.series:
            labels[columns.series] = [name] * len(output)
        if columns.time and history.times is not None:
            shown = history.times[history.now - len(output) : history.now]
            labels |= shown_times(shown, columns, history.zone, history.written)
        labels["step"] = np.arange(history.now - len(output), history.now)
        return pl.DataFrame(labels | said)

    def _check_anomalies(self, x: Any) -> list[str]:
        return check_steps(self.task, self.reader, x)

    def _anomalies(self, x: Any, detector: Detector, quantile: float) -> Iterator[pl.DataFrame]:
        for labels, names, deviations in steps_of_series(self.task, self.reader, x):
            yield table(labels, names, detector.score(deviations, quantile))

    def _said_at(self, shift: np.ndarray, scale: np.ndarray, output: Tensor) -> dict[str, Any]:
        """The columns of ``(n, size)`` outputs with the moments of each one's own steps ahead."""
        shift, scale = (np.array(self._put_out(each)) for each in (shift, scale))
        moments = [torch.from_numpy(each.reshape(len(output), -1)).to(self.device) for each in (shift, scale)]
        return self.task.said(output, (moments[0], moments[1]))

    def _put_out(self, moments: np.ndarray) -> np.ndarray:
        """``(n, horizon, values)``, or of the first step alone where the network puts out no more."""
        return moments if self.reader.direct else moments[:, :1]

    # ---- a stream ---------------------------------------------------------------------------------

    def _state_key(self, arrival: Arrival) -> Any:
        return arrival.name

    def _stream_labels(self, arrival: Arrival, number: int) -> dict[str, Any]:
        return {**arrival.labels, "step": number}

    def _said(self, arrival: Arrival, output: Tensor) -> dict[str, Any]:
        assert arrival.shift is not None and arrival.scale is not None
        return self._said_at(arrival.shift[None], arrival.scale[None], output)


class RebuiltSeriesRun(TrainedRun):
    """Each step of a series, rebuilt by the window that ends with it."""

    reader: SeriesReader

    def _check(self, x: Any, horizon: int | None, steps: bool) -> list[str]:
        return check_steps(self.task, self.reader, x)

    def _columns_said(self) -> list[str]:
        return [f"{name} rebuilt" for name in self.spec.target.labels]

    def _tables(
        self, x: Any, horizon: int | None, steps: bool, batch_size: int, notes: Notes
    ) -> Iterator[pl.DataFrame]:
        for labels, names, deviations in steps_of_series(self.task, self.reader, x):
            rebuilt = {f"{name} rebuilt": part for name, part in zip(names, deviations.expected.T, strict=True)}
            yield pl.DataFrame({**labels, **rebuilt}).fill_nan(None)

    def _anomalies(self, x: Any, detector: Detector, quantile: float) -> Iterator[pl.DataFrame]:
        for labels, names, deviations in steps_of_series(self.task, self.reader, x):
            yield table(labels, names, detector.score(deviations, quantile))


def steps_of_series(task: Task, reader: SeriesReader, x: Any) -> Iterator[tuple[dict[str, Any], list[str], Deviations]]:
    """Of each series the columns that tell its steps, the names of what is expected, and how far each step is from it.

    Raises:
        InputError: as :meth:`rnnlab.data.series_reader.SeriesReader.histories`, or a series is too short.
    """
    of = reader.of
    names = list(of.numbers[: reader.measured] if task.rebuilds else of.target)
    histories, series = reader.histories(x)
    for history, name in zip(histories, series, strict=True):
        labels: dict[str, Any] = {of.series: [name] * history.now} if of.series else {}
        if of.time and history.times is not None:
            labels |= shown_times(history.times[: history.now], of, history.zone, history.written)
        # a time of that name is told already
        yield {"step": np.arange(history.now), **labels}, names, of_history(task, reader, history)


def check_steps(task: Task, reader: SeriesReader, x: Any) -> list[str]:
    """The names of those columns of :func:`steps_of_series`, which needs not look at the steps for that.

    Raises:
        InputError: as that.
    """
    histories, _ = reader.histories(x)
    for history in histories:
        check_length(task, reader, history)
    return list(dict.fromkeys(["step", *_labels_of(reader.of, histories[0].times is not None)]))


def _labels_of(columns: Columns, timed: bool) -> list[str]:
    """The columns that say of which series and time a row is."""
    names = (columns.series, *((columns.time, columns.clock) if timed else ()))
    return [name for name in names if name is not None]


def shown_times(
    times: np.ndarray, columns: Columns, zone: str | None = None, written: Written | None = None
) -> dict[str, pl.Series]:
    """Times as a column, or as two where they were, in the form in which they were read.

    Where that was none of a text they are dates, without a time of the day where none has one; those of a zone say how
    far they are from UTC.

    Args:
        times: ``(n,)``.
        columns: of the table.
        zone: of the times, as :class:`rnnlab.files.panel.Table` has it.
        written: how those of the table are.
    """
    assert columns.time is not None
    if written is not None and (again := written.write(times, zone)) is not None:
        return dict(zip(filter(None, (columns.time, columns.clock)), again, strict=True))
    found = pl.Series(times) if zone is None else in_zone(times, zone)
    if zone is not None:
        if columns.clock is not None:
            return {columns.time: found.dt.date(), columns.clock: found.dt.strftime("%H:%M:%S%.f%:z")}
        return {columns.time: found}
    if columns.clock is not None:
        return {columns.time: found.dt.date(), columns.clock: found.dt.time()}
    if times.dtype.kind == "M" and (times == times.astype("M8[D]")).all():
        found = found.cast(pl.Date)
    return {columns.time: found}


def _first(moments: np.ndarray, ahead: int) -> np.ndarray:
    """``(ahead, values)`` of ``(horizon, values)``; fed back, every step is scaled as the first one."""
    return moments[:ahead] if ahead <= len(moments) else np.broadcast_to(moments[:1], (ahead, moments.shape[1]))
