"""How a trained run reads new data: features and tokens as they are; see also text_reader and series_reader."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl

from rnnlab.errors import InputError, nearest
from rnnlab.files.dialect import Dialect, LineByLine
from rnnlab.files.folders import files_below, texts_among
from rnnlab.files.source import (
    SUFFIXES,
    Format,
    Source,
    as_numbers,
    brief,
    existing,
    find,
    grouped,
    is_table,
    listed,
    numbers,
    open_source,
    parse_json,
    table_source,
    value_of,
)
from rnnlab.spec import Scaling

SEQUENCE, INPUTS, CLASS = "sequence", "inputs", "class"
"""The columns, or the keys of an object, that name a sequence, hold its steps, and tell its class where it is known."""


class Given(NamedTuple):
    """A new sequence: its name, ``(time, features)`` or ``(time,)`` inputs, and its class where that is known."""

    name: Any
    inputs: np.ndarray
    truth: str | None = None


class Arrival(NamedTuple):
    """A step of a stream.

    inputs
        ``(features,)``, or a token's number.
    name
        Of the sequence.
    restart
        A new sequence begins with it.
    labels
        Columns that say in the output which step it is.
    shift
        ``(horizon, values)`` and ``scale`` alike: what brings a forecast to units; ``None`` where the data's spec says.
    silent
        It only moves the state on: it was left out and is filled in, and nothing is said of it.
    """

    inputs: np.ndarray | np.generic
    name: Any = None
    restart: bool = False
    labels: Mapping[str, Any] = {}
    shift: np.ndarray | None = None
    scale: np.ndarray | None = None
    silent: bool = False


@dataclass(frozen=True, eq=False)
class Reader(ABC):
    """New data as the network was trained to read it: in the data's own units, names and scaling.

    A reader is made of plain values, so that it stands in the checkpoint beside
    the weights, and the training data is not needed any more.
    """

    formats: ClassVar[tuple[Format, ...]] = ("csv", "tsv", "jsonl", "parquet")
    reads_folders: ClassVar[bool] = False
    """Whether a folder is one source; otherwise each of its files is."""
    unnamed: ClassVar[Format] = "csv"
    """What a source is taken for that neither its name nor its content tells."""

    @property
    def dialect(self) -> Dialect:
        """In which tables are written."""
        return Dialect()

    def plain(self) -> dict[str, Any]:
        """Its name and its arguments."""
        return {"reader": type(self).__name__, **asdict(self)}

    def files(self, place: str | Path, format: Format | None = None) -> list[tuple[str, str | Path]]:
        """A file or ``-`` under no name, or each file of a folder under its own, relative to the folder; there, files
        whose names do not say a format that this reads are passed over, where there is one that does.

        Args:
            place: of the file or the folder.
            format: of all files, whatever their names say.

        Raises:
            InputError: there is no such file, or the folder has none.
        """
        path = find(place)
        if path is None or not path.is_dir() or self.reads_folders:
            return [("", place)]
        files = files_below(path, of_a_kind=None if format else self._readable)
        if not files:
            raise InputError(f"--input {place}: there is no file in this folder")
        return [(str(file.relative_to(path)), file) for file in files]

    def _readable(self, files: list[Path]) -> list[Path]:
        known = {file for file in files if SUFFIXES.get(file.suffix.lower()) in self.formats}
        if self.unnamed == "text":  # whose names end in many ways
            known.update(file for file in texts_among(files) if file.suffix.lower() not in SUFFIXES)
        return [file for file in files if file in known]

    def open(self, place: Any, format: Format | None = None) -> Source:
        """A file or ``-``, in a format that this reads.

        Raises:
            InputError: as :func:`rnnlab.files.source.open_source`, or it is of another format.
        """
        source = open_source(place, format, self.unnamed, self.dialect)
        if source.format not in self.formats:
            raise InputError(
                f"{source.name}: this run does not read {source.format}, but {', '.join(self.formats)}: {self.example}"
            )
        return source

    @property
    def in_single_steps(self) -> "Reader":
        """The same, of which the network reads one step at once, whatever it read in training."""
        return self

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that the network reads; empty where it reads tokens."""
        return ()

    @property
    def measured(self) -> int:
        """Features that are measured, the first ones; those behind them are told (a calendar, marks of what is
        missing).
        """
        return len(self.features)

    @property
    def input_scaling(self) -> Scaling:
        """What brings the measured features back to units; none where that hangs on the sequence."""
        return Scaling()

    @abstractmethod
    def describe(self) -> str:
        """In a few lines, what is read, with an example of each format."""

    @property
    @abstractmethod
    def example(self) -> str:
        """What is read, in half a line."""

    @abstractmethod
    def read(self, source: Source) -> Iterator[Given]:
        """The sequences of a file.

        Raises:
            InputError: a column is missing, a cell cannot be read, a class is unknown: named with its line or row.
        """

    @abstractmethod
    def take(self, x: Any) -> Iterator[Given]:
        """The sequences of arrays, lists, texts or tables in memory.

        Raises:
            InputError: they have another shape.
        """

    def stream(self, lines: Iterator[str], name: str) -> Iterator[Arrival | None]:
        """Steps, a line each; ``None`` for a line that only ends a sequence.

        Raises:
            InputError: a line cannot be read.
        """
        raise InputError("this run cannot read a stream")

    @abstractmethod
    def step(self, x: Any) -> np.ndarray | np.generic:
        """``(features,)`` of one step, or a token's number.

        Raises:
            InputError: it is neither.
        """


def refuse_own_moments(own_moments: bool, what: str = "sequence") -> None:
    """Refuses to read step by step what is scaled by its own mean and standard deviation.

    Raises:
        InputError: it is.
    """
    if own_moments:
        raise InputError(
            f"this run scales each {what} by its own mean, which is known at its end only: it cannot read a stream, or "
            f"a step by itself (data.scaling=standard can); give whole {what}s"
        )


def check_class(name: Any, classes: Sequence[str], place: str) -> str | None:
    """The name of a class of the run, or ``None`` where none is given.

    Raises:
        InputError: the run knows no such class.
    """
    if name is None or name == "":
        return None
    if str(name) not in classes:
        raise InputError(
            f"{place}: class '{name}' is none of this run's{nearest(str(name), classes)} ({', '.join(classes[:30])}"
            f"{', …' if len(classes) > 30 else ''})"
        )
    return str(name)


@dataclass(frozen=True, eq=False)
class StepReader(Reader):
    """Steps in rows, sequences in groups of rows or in a line of JSON.

    Attributes:
        names: of the columns.
        classes: of the run, by name, where it tells classes apart; a truth that stands beside the inputs must be one.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...] = ()

    @abstractmethod
    def array(self, x: Any, place: str) -> np.ndarray:
        """``(time, features)`` or ``(time,)``, as the network reads it.

        Raises:
            InputError: it has another shape, or holds what is no number.
        """

    def read(self, source: Source) -> Iterator[Given]:
        if source.format in ("csv", "tsv", "parquet"):
            yield from self._table(source)
            return
        for number, (line, row) in enumerate(source.objects()):
            place = f"{source.name}, line {line}"
            inputs = self.array(value_of(row, INPUTS, place), place)
            labels = row if isinstance(row, Mapping) else {}
            truth = check_class(labels.get(CLASS), self.classes, place) if self.classes else None
            yield Given(labels.get(SEQUENCE, number), inputs, truth)

    def _table(self, source: Source) -> Iterator[Given]:
        frame = source.frame(self.names)
        values = np.stack([numbers(frame, self._column(frame, k), source.name) for k in range(len(self.names))], 1)
        for name, rows in grouped(frame, SEQUENCE):
            truth = None
            if self.classes and CLASS in frame.columns:
                truth = check_class(frame[CLASS][int(rows[0])], self.classes, f"{source.name}, row {rows[0] + 1}")
            try:
                inputs = self.array(values[rows], source.name)
            except InputError as error:
                raise InputError(f"{error} (rows {rows[0] + 1} to {rows[-1] + 1})") from None
            yield Given(name, inputs, truth)

    def _column(self, frame: pl.DataFrame, number: int) -> str:
        """A feature's column: by its name, or ``f0``, ``f1`` …"""
        name, short = self.names[number], f"f{number}"
        return short if name not in frame.columns and short in frame.columns else name

    def take(self, x: Any) -> Iterator[Given]:
        if is_table(x):
            yield from self._table(table_source(x))
            return
        for number, sequence in enumerate(self._separate(x)):
            yield Given(number, self.array(sequence, f"sequence {number}"))

    def _separate(self, x: Any) -> list[Any]:
        """The sequences of what may be one or several."""
        try:
            array = as_numbers(x)
        except ValueError:  # sequences of different length
            return listed(x, f"sequences of {self._step}")
        except TypeError:
            raise InputError(f"give sequences of {self._step}, not {brief(x)}") from None
        if not array.ndim:
            raise InputError(f"give sequences of {self._step}, not {brief(x)}")
        return list(array) if self._is_several(array) else [array]

    @abstractmethod
    def _is_several(self, x: np.ndarray) -> bool: ...

    def stream(self, lines: Iterator[str], name: str) -> Iterator[Arrival | None]:
        rows = LineByLine(self.dialect, (*self.names, SEQUENCE), self.names)
        at: list[int] = []
        named: int | None = None
        as_json: bool | None = None
        last: Any = None
        began = False
        for number, text in enumerate(lines, 1):
            line = text.strip()
            place = f"{name}, line {number}"
            if not line:
                if began:
                    yield None
                began, last = False, None
                continue
            if as_json is None:
                as_json = line[0] in "{["
            row: Any
            if as_json:
                row = parse_json(line, place)
                sequence = row.get(SEQUENCE) if isinstance(row, Mapping) else None
            else:
                cells = rows.cells(line, place)
                if not at:
                    at = self._places(rows.header, name)
                    named = rows.header.index(SEQUENCE) if SEQUENCE in rows.header else None
                if cells is None:
                    continue
                row = [cells[k] for k in at]
                sequence = None if named is None else cells[named]
            quick = None if as_json else self._numbers(row)
            inputs = self._row(row, place) if quick is None else quick
            arrival = Arrival(inputs, sequence, restart=not began or sequence != last)
            began, last = True, sequence
            yield arrival

    def _places(self, header: list[str], name: str) -> list[int]:
        """Where in a row of cells each feature stands.

        Raises:
            InputError: a column is missing, or there twice.
        """
        twice = next((column for column in header if header.count(column) > 1), None)
        if twice is not None:
            raise InputError(f"{name}: two columns are named '{twice}'")
        frame = pl.DataFrame({column: [] for column in header})
        return [header.index(existing(frame, self._column(frame, k), name).name) for k in range(len(self.names))]

    def _numbers(self, cells: Sequence[str]) -> np.ndarray | None:
        """``(features,)`` of cells that are plain numbers; ``None`` where :meth:`_row` must look closer."""
        return None

    def _row(self, row: Any, place: str) -> np.ndarray | np.generic:
        if isinstance(row, Mapping):
            if INPUTS in row:
                row = row[INPUTS]
            else:
                cells = []
                for k, name in enumerate(self.names):
                    short = f"f{k}"
                    cells.append(value_of(row, short if name not in row and short in row else name, place))
                row = cells
        try:
            array = as_numbers(row).reshape(-1)
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"{place}: {brief(row)} is no step of {self._step}") from None
        return self.row(array, place)

    def row(self, x: np.ndarray, place: str) -> np.ndarray | np.generic:
        """One step as the network reads it, of its numbers ``(features,)``."""
        return self.array(x[None], place)[0]

    def step(self, x: Any) -> np.ndarray | np.generic:
        return self._row(x.tolist() if hasattr(x, "tolist") else x, "the step")

    @property
    def _step(self) -> str:
        return f"{len(self.names)} number{'s' * (len(self.names) > 1)} ({', '.join(self.names[:12])})"
