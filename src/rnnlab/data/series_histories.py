"""The past of each series in a table of new data."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from rnnlab.data.history import History, listed, shown_names
from rnnlab.data.history_reader import HistoryReader
from rnnlab.errors import InputError
from rnnlab.files.panel import Panel, arrange, carry_forward
from rnnlab.files.source import Source, as_numbers, brief, existing
from rnnlab.files.table import tabulate

log = logging.getLogger("rnnlab")


def read_histories(reader: HistoryReader, source: Source) -> tuple[list[History], list[str]]:
    """The series of a table, and their names; see :meth:`rnnlab.data.series_reader.SeriesReader.histories`."""
    columns = reader.of
    frame = source.frame(wanted=columns.all, quoted=True)
    if columns.time and columns.time not in frame.columns and not reader.layout.needs_times:
        columns = replace(columns, time=None, clock=None)
    if columns.series and columns.series not in frame.columns and len(reader.names) == 1:
        columns = replace(columns, series=None)
    for name in columns.all:
        existing(frame, name, source.name)
    table = tabulate(frame.lazy(), columns, source.name, reader.dialect, reader.frequency.numbers_are_dates)
    if table.times is not None and (table.times.dtype.kind == "M") != reader.frequency.dated:
        kinds = ("numbers", "dates")
        dated = reader.frequency.dated
        raise InputError(
            f"{source.name}, column '{columns.time}': these are {kinds[not dated]}, and the run was trained on "
            f"{kinds[dated]}"
        )
    panel = arrange(
        table, columns, source.name, reader.sort, reader.gaps, reader.frequency, reader.repeated, reader.clocks
    )
    histories: list[History] = []
    names: list[str] = []
    short: list[str] = []
    # training has left out those that were too short there, and does not know them
    unknown = [name for name in panel.names if not reader.knows(name)]
    drops = reader.short_series == "drop" and 1 < len(panel.names) > len(unknown)
    for number, name in enumerate(panel.names):
        if drops and name in unknown:
            continue
        history = _history(reader, panel, number, source.name)
        if drops and not _is_enough(reader, history):
            short.append(name)
            continue
        if history is None:
            which = f" of series '{name}'" if name else ""
            raise InputError(
                f"{source.name}{which}: there is no value of {listed(panel.columns.target)}, and so no past"
            )
        histories.append(history)
        names.append(name)
    if drops and unknown:
        said = "%s: %d series left out, on which this run was not trained, so that their scale is unknown: %s"
        log.warning(said, source.name, len(unknown), shown_names(unknown))
    if short:
        log.warning("%s: %d series are too short and left out: %s", source.name, len(short), shown_names(short))
    if not histories:
        raise InputError(f"{source.name}: all series are too short")
    return histories, names


def _history(reader: HistoryReader, panel: Panel, number: int, source: str) -> History | None:
    """A series of a panel; ``None`` where none of its targets is known."""
    rows = slice(panel.starts[number], panel.starts[number + 1])
    values, k = panel.values[rows].copy(), len(panel.columns.target)
    known = np.flatnonzero(np.isfinite(values[:, :k]).any(1))
    if not len(known):
        return None
    now = int(known[-1]) + 1
    unknown = np.isnan(values[:now])
    if unknown.any() and reader.layout.missing == "error":
        row, column = np.argwhere(unknown)[0].tolist()
        raise InputError(
            f"{source}, {panel.place(int(panel.starts[number]) + row)}, column '{panel.columns.numbers[column]}': "
            "there is no value, and the run was trained on series without gaps (data.missing=error)"
        )
    carry_forward(values[:now], [0, now])
    if reader.layout.log and (values[:now, :k] <= 0).any():
        row = int((values[:now, :k] <= 0).any(1).argmax())
        raise InputError(
            f"{source}, {panel.place(int(panel.starts[number]) + row)}: only a value above 0 has a logarithm"
        )
    times = None if panel.columns.time is None else panel.times[rows]
    series = reader.series_number(panel.names[number], source)
    return History(series, now, values, unknown, times, panel.zone, panel.clocks, panel.written)


def _is_enough(reader: HistoryReader, history: History | None) -> bool:
    return history is not None and history.now > reader.layout.reach


def table_of(reader: HistoryReader, x: Any) -> pl.DataFrame:
    """``(time,)`` or ``(time, columns)`` numbers as a table.

    Raises:
        InputError: they are no such numbers, or a table is needed.
    """
    columns = reader.of
    numbers = "numbers, one a step" if len(columns.numbers) == 1 else f"rows of {len(columns.numbers)} numbers"
    needs_table = bool(reader.layout.needs_times or columns.series)
    what = f"give {'' if needs_table else f'{numbers}, or '}a table with the {reader.example}"
    try:
        values = as_numbers(x)
    except (TypeError, ValueError):
        raise InputError(f"{brief(x)} is not what this run reads: {what}") from None
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] != len(columns.numbers) or needs_table:
        shape = np.shape(x) if hasattr(x, "shape") else values.shape
        raise InputError(f"an array of the shape {shape} is not what this run reads: {what}")
    return pl.DataFrame({name: values[:, k] for k, name in enumerate(columns.numbers)})
