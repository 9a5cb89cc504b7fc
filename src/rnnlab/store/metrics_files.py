"""``metrics.json``, the final scores of a run, and ``metrics.csv``, a row of scores an epoch."""

import contextlib
import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnlab.store import json_text
from rnnlab.store.files import Damaged, read_bytes

METRICS, EPOCHS = "metrics.json", "metrics.csv"
METRICS_BYTES, EPOCHS_BYTES = 4 * 2**20, 256 * 2**20
COLUMNS = 10_000
LARGEST = 1e100
"""A score beyond is none that can be averaged: its square may be no number any more."""


def read_metrics(path: Path) -> dict[str, float]:
    """The final scores, flat; one that is no finite number (``null`` in the file) is NaN.

    Raises:
        FileNotFoundError: there are none.
        Damaged: it is no mapping of names to numbers.
        OSError: it cannot be read.
    """
    content = json_text.read(path, METRICS_BYTES)
    if not isinstance(content, dict):
        raise Damaged(path, "it is no mapping")
    metrics: dict[str, float] = {}
    for name, value in content.items():
        if value is None:
            metrics[name] = math.nan
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Damaged(path, f"{name} must be a number, and is {str(value)[:60]!r}")
        else:
            metrics[name] = value if abs(value) <= LARGEST else math.nan
    return metrics


@dataclass(frozen=True)
class Epochs:
    """What ``metrics.csv`` says.

    Attributes:
        names: of the columns, ``epoch`` among them.
        cells: a list an epoch of as many numbers, ``None`` where an epoch has none.
    """

    names: tuple[str, ...] = ()
    cells: tuple[tuple[float | None, ...], ...] = ()

    @property
    def rows(self) -> list[dict[str, float]]:
        """A mapping an epoch, of what it has."""
        return [
            {name: cell for name, cell in zip(self.names, row, strict=True) if cell is not None} for row in self.cells
        ]

    @property
    def columns(self) -> dict[str, Any]:
        """An array a score, ``(epochs,)``, with NaN where an epoch has none; empty as long as there are no epochs."""
        import numpy as np  # a tenth of the time that a command needs to show its help

        if not self.cells:
            return {}
        return {
            name: np.array([math.nan if cell is None else cell for cell in column], dtype=float)
            for name, column in zip(self.names, zip(*self.cells, strict=True), strict=True)
        }


def read_epochs(path: Path) -> Epochs:
    """The rows of ``metrics.csv``; a last line that a kill cut short is left out.

    Raises:
        FileNotFoundError: there are none.
        Damaged: it is no table of numbers, or a row has no epoch.
        OSError: it cannot be read.
    """
    content = read_bytes(path, EPOCHS_BYTES)
    try:
        text = content[: content.rfind(b"\n") + 1].decode("utf-8")
        lines = list(csv.reader(io.StringIO(text, newline="")))
    except (csv.Error, UnicodeDecodeError) as error:
        raise Damaged(path, str(error)) from None
    if not any(lines):  # killed before the first epoch
        return Epochs()
    names = lines[0]
    if len(set(names)) != len(names) or "epoch" not in names or len(names) > COLUMNS:
        raise Damaged(path, "its first line does not name its columns, epoch among them, each once")
    place = names.index("epoch")
    cells = []
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(names):
            raise Damaged(path, f"line {number} has {len(line)} cells, and the first line {len(names)}")
        try:
            row = tuple(_number(cell) if cell else None for cell in line)
        except ValueError as error:
            raise Damaged(path, f"line {number}: {str(error)[:100]}") from None
        epoch = row[place]
        if epoch is None or not 0 <= epoch < 2**53 or epoch != int(epoch):
            raise Damaged(path, f"line {number}: {str(epoch)[:40]} is no number of an epoch")
        cells.append(row)
    return Epochs(tuple(names), tuple(cells))


def table(names: Sequence[str], rows: Sequence[Mapping[str, float]], header: bool = True) -> str:
    """Rows as text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _number(text: str) -> float:
    if len(text) < 20:
        with contextlib.suppress(ValueError):
            return int(text)
    return float(text)
