"""What a trained run says of the test data, sequence by sequence."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import torch

from rnnlab.data.series import SeriesData
from rnnlab.errors import RunFailed
from rnnlab.runs.preparation import Run
from rnnlab.store.files import replacing
from rnnlab.use.series import shown_times


def predictions(run: Run) -> Iterator[pl.DataFrame]:
    """A table for each batch of the test data: the number of the ``sequence``, and what its task says of it; of time
    series the series and the time that is forecast, too.
    """
    run.data.setup("test")
    run.task.eval()
    loader = run.data.test_dataloader()
    for numbers, batch in zip(loader.order, loader, strict=True):
        with torch.inference_mode():
            rows, columns = run.task.predictions(batch)
        sequence = numbers[rows].numpy()
        named = {}
        if isinstance(run.data, SeriesData) and "ahead" in columns:
            named = _named(run.data, sequence, np.asarray(columns["ahead"]))
        yield pl.DataFrame({"sequence": sequence, **named, **columns})


def _named(data: SeriesData, windows: np.ndarray, ahead: np.ndarray) -> dict[str, pl.Series]:
    """Of which series and time each ``(rows,)`` forecast of the test part is."""
    series, origins = (each[windows] for each in data.places("test"))
    columns, named = data.panel.columns, {}
    if columns.series:
        named[columns.series] = pl.Series(np.array(data.panel.names)[series])
    if columns.time:
        named |= shown_times(data.panel.times[origins + ahead], columns, data.panel.zone, data.panel.written)
    return named


def out_of_fold(runs: Iterable[tuple[int, int, Run]]) -> Iterator[pl.DataFrame]:
    """The tables of several runs below each other, each of its own test data.

    Args:
        runs: the fold, the seed, and the run.

    Returns:
        A table a batch: the ``fold``, the ``seed``, and the columns of :func:`predictions`; ``sequence`` is its place
        in the whole data, from 0, where the data knows it.
    """
    for fold, seed, run in runs:
        places = run.data.numbers_in_whole("test")
        for said in predictions(run):
            table = said
            if places is not None:
                table = said.with_columns(sequence=pl.Series(places[said["sequence"].to_numpy()]))
            yield table.select(pl.lit(fold).alias("fold"), pl.lit(seed).alias("seed"), pl.all())


def write(tables: Iterator[pl.DataFrame], path: Path) -> int:
    """Writes all tables as one file, whole or not at all; returns the number of its rows.

    Raises:
        RunFailed: it cannot be written.
    """
    try:
        return _write(tables, path)
    except OSError as error:
        raise RunFailed(f"--output {path} cannot be written: {error.strerror or error}") from error
    except pl.exceptions.PolarsError as error:  # polars writes by itself, and has errors of its own for a full disk
        raise RunFailed(f"--output {path} cannot be written: {error}") from error


def _write(tables: Iterator[pl.DataFrame], path: Path) -> int:
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            whole = pl.concat(tables, how="vertical_relaxed")
            whole.write_parquet(temporary)
            return len(whole)
        rows = 0
        with open(temporary, "wb") as file:
            for table in map(_with_plain_times, tables):
                if path.suffix == ".jsonl":
                    table.write_ndjson(file)
                else:
                    table.write_csv(file, include_header=rows == 0)
                rows += len(table)
    return rows


def _with_plain_times(table: pl.DataFrame) -> pl.DataFrame:
    """With times in ISO 8601, without the zeros of the parts of a second."""
    plain = []
    for name, dtype in table.schema.items():
        if dtype == pl.Datetime:
            zone = "" if getattr(dtype, "time_zone", None) is None else "%:z"
            plain.append(pl.col(name).dt.strftime(f"%Y-%m-%dT%H:%M:%S%.f{zone}"))
        elif dtype == pl.Time:
            plain.append(pl.col(name).dt.strftime("%H:%M:%S%.f"))
    return table.with_columns(plain)


HEAD = 10
"""Rows that a terminal shows."""


def show(tables: Iterator[pl.DataFrame]) -> None:
    """Prints CSV batch by batch, so that whoever reads it need not wait; on a terminal the first rows alone."""
    if not sys.stdout.isatty():
        for number, table in enumerate(map(_with_plain_times, tables)):
            print(table.write_csv(include_header=number == 0), end="", flush=True)
        return
    rows = 0
    for number, table in enumerate(map(_with_plain_times, tables)):
        if rows < HEAD:
            print(table.head(HEAD - rows).write_csv(include_header=number == 0), end="", flush=True)
        rows += len(table)
    if rows > HEAD:
        print(f"… and {rows - HEAD:,} more rows: --output FILE.csv writes all {rows:,}", file=sys.stderr)
