"""How a trained run reads new data: features and tokens as they are; see also text_reader and series_reader."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl

from rnnlab.data.ts_file import read_ts
from rnnlab.errors import InputError, nearest
from rnnlab.files.dialect import Dialect, LineByLine
from rnnlab.files.source import (
    Format,
    Source,
    as_numbers,
    brief,
    existing,
    grouped,
    is_table,
    listed,
    numbers,
    open_source,
    parse_json,
    table_source,
    value_of,
)

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
    unnamed: ClassVar[Format] = "csv"
    """What a source is taken for that neither its name nor its content tells."""

    @property
    def dialect(self) -> Dialect:
        """In which tables are written."""
        return Dialect()

    def plain(self) -> dict[str, Any]:
        """Its name and its arguments."""
        return {"reader": type(self).__name__, **asdict(self)}

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
    def features(self) -> tuple[str, ...]:
        """Names of the features that the network reads; empty where it reads tokens."""
        return ()

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


@dataclass(frozen=True, eq=False)
class FeatureReader(StepReader):
    """Real numbers, a row a step.

    Attributes:
        names: of the features.
        classes: see :class:`StepReader`.
        shift: what is subtracted from each feature; empty for nothing.
        scale: what it is then divided by.
        own_moments: each sequence by its own mean and standard deviation instead.
        fill: a missing value becomes the one before it, or else the first after it.
        patch: steps that the network reads at once, side by side.
    """

    formats: ClassVar[tuple[Format, ...]] = ("csv", "tsv", "jsonl", "parquet", "ts")
    shift: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    own_moments: bool = False
    fill: bool = False
    patch: int = 1

    @property
    def features(self) -> tuple[str, ...]:
        if self.patch == 1:
            return self.names
        return tuple(f"{name} +{step}" for step in range(self.patch) for name in self.names)

    def describe(self) -> str:
        short = "" if self.names[0] == "f0" else " (or f0, f1, …)"
        cells = ",".join(f"{0.1 * (k + 1):.1f}" for k in range(min(len(self.names), 4)))
        more = ",…" if len(self.names) > 4 else ""
        known = f"  (a key '{CLASS}' or a column '{CLASS}' may tell the true class)\n" if self.classes else ""
        known += "  a .ts file of the UCR and UEA archives\n" if self.classes else ""
        return (
            f"sequences of {self._step} a step, in the units of the training data\n"
            f"  CSV, Parquet: a row a step, columns {','.join(self.names[:12])}{', …' if len(self.names) > 12 else ''}"
            f"{short}, and '{SEQUENCE}' where there are several, such as\n"
            f"      {SEQUENCE},{','.join(self.names[:4])}{more}\n      a,{cells}{more}\n"
            f'  JSON lines: a line a sequence, {{"inputs": [[{cells}{more}], …]}} or [[{cells}{more}], …]\n'
            f"{known}  --stream: a line a step, CSV or JSON; an empty line, or another sequence, starts afresh"
        )

    @property
    def example(self) -> str:
        return f"a row a step with the columns {', '.join(self.names[:12])}{', …' if len(self.names) > 12 else ''}"

    def read(self, source: Source) -> Iterator[Given]:
        if source.format != "ts":
            yield from super().read(source)
            return
        if source.path is None:
            raise InputError("a .ts file is read from the disk: give --input FILE.ts")
        file = read_ts(source.path)
        for number, (values, label, line) in enumerate(zip(file.sequences, file.labels, file.lines, strict=True)):
            place = f"{source.path}, line {line}"
            truth = check_class(label, self.classes, place) if self.classes else None
            yield Given(number, self.array(values, place), truth)

    def array(self, x: Any, place: str) -> np.ndarray:
        return patched(self._scaled(x, place), self.patch)

    def row(self, x: np.ndarray, place: str) -> np.ndarray | np.generic:
        return self._scaled(x[None], place)[0]

    def step(self, x: Any) -> np.ndarray | np.generic:
        if self.patch > 1:
            raise InputError(
                f"this run reads {self.patch} steps at once (data.patch={self.patch}): give whole sequences, or train "
                "with data.patch=1"
            )
        return super().step(x)

    def _scaled(self, x: Any, place: str) -> np.ndarray:
        """``(time, features)`` in the network's units, step by step."""
        try:
            values = as_numbers(x)
        except (TypeError, ValueError, OverflowError):
            raise InputError(
                f"{place}: a sequence is a list of steps of {self._step}, all of numbers: {brief(x)}"
            ) from None
        if values.ndim == 1 and len(self.names) == 1:
            values = values[:, None]
        if values.ndim != 2 or values.shape[1] != len(self.names):
            shape = f"{values.shape[-1]} a step" if values.ndim == 2 else f"the shape {values.shape}"
            raise InputError(f"{place} has {shape}, and this run reads {self._step} a step")
        if not len(values):
            raise InputError(f"{place} has no step")
        values = self._filled(values, place)
        if self.own_moments:
            mean, deviation = moments_of(values)
            values = (values - mean) / deviation
        elif self.shift:
            values = (values - np.asarray(self.shift)) / np.asarray(self.scale)
        return values.astype(np.float32)

    def _filled(self, values: np.ndarray, place: str) -> np.ndarray:
        missing = ~np.isfinite(values)
        if not missing.any():
            return values
        step, feature = np.argwhere(missing)[0].tolist()
        if not self.fill or missing.all(0).any() or np.isinf(values).any():
            raise InputError(
                f"{place}, step {step}, {self.names[feature]}: {values[step, feature]} is no finite number"
            )
        steps = np.arange(len(values))[:, None]
        last = np.maximum.accumulate(np.where(missing, -1, steps), 0)
        return np.take_along_axis(values, np.where(last < 0, np.argmin(missing, 0), last), 0)

    def _is_several(self, x: np.ndarray) -> bool:
        return x.ndim == 3 or (x.ndim == 2 and x.shape[1] != len(self.names) and len(self.names) == 1)

    def take(self, x: Any) -> Iterator[Given]:
        together = self._together(x) if isinstance(x, np.ndarray) else None
        if together is None:
            yield from super().take(x)
            return
        for number, inputs in enumerate(together):
            yield Given(number, inputs)

    def _numbers(self, cells: Sequence[str]) -> np.ndarray | None:
        try:
            values = [float(cell) for cell in cells]
        except ValueError:
            return None
        if not all(map(math.isfinite, values)):
            return None
        step = np.array(values)
        if self.shift:
            step = (step - np.asarray(self.shift)) / np.asarray(self.scale)
        return step.astype(np.float32)

    def _together(self, x: np.ndarray) -> np.ndarray | None:
        """``(batch, time, features)`` of sequences alike in length, all at once; ``None`` where each is a case of its
        own: :meth:`array` says what is wrong with it.
        """
        if x.ndim != 3 or x.shape[2] != len(self.names) or not x.shape[1] or x.dtype.kind not in "fiu":
            return None
        if self.own_moments or not np.isfinite(x).all():
            return None
        if self.shift:
            x = (x.astype(np.float64) - np.asarray(self.shift)) / np.asarray(self.scale)
        return patched(x.astype(np.float32), self.patch)

    def stream(self, lines: Iterator[str], name: str) -> Iterator[Arrival | None]:
        if self.own_moments:
            raise InputError(
                "this run scales each sequence by its own mean (data.scaling=per_sequence), which is known at its end "
                "only: it cannot read a stream"
            )
        arrivals = super().stream(lines, name)
        return arrivals if self.patch == 1 else self._gathered(arrivals)

    def _gathered(self, arrivals: Iterator[Arrival | None]) -> Iterator[Arrival | None]:
        """A patch of steps each, the last one of a sequence filled up at its end."""
        steps: list[Arrival] = []
        for arrival in arrivals:
            if steps and (arrival is None or arrival.restart):
                yield self._patch(steps)
                steps.clear()
            if arrival is None:
                yield None
                continue
            steps.append(arrival)
            if len(steps) == self.patch:
                yield self._patch(steps)
                steps.clear()
        if steps:
            yield self._patch(steps)

    def _patch(self, steps: list[Arrival]) -> Arrival:
        inputs = np.stack([np.asarray(arrival.inputs) for arrival in steps])
        return steps[0]._replace(inputs=patched(inputs, self.patch)[0], labels=steps[-1].labels)


def moments_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel of ``(steps, channels)``; 1 for a channel that stands still."""
    deviation = values.std(0)
    # what rounding leaves of a constant is no spread
    still = deviation <= 1e-7 * np.abs(values).max(0)
    return values.mean(0), np.where(still, 1.0, deviation)


def patched(values: np.ndarray, patch: int) -> np.ndarray:
    """Puts steps side by side, the last one repeated where they don't come out even: ``(…, time, features)`` to
    ``(…, ⌈time / patch⌉, patch * features)``.
    """
    if patch == 1:
        return values
    *rest, time, features = values.shape
    missing = -time % patch
    if missing:
        values = np.concatenate([values, np.repeat(values[..., -1:, :], missing, -2)], -2)
    return values.reshape(*rest, (time + missing) // patch, patch * features)


@dataclass(frozen=True, eq=False)
class TokenReader(StepReader):
    """Tokens that are numbers.

    Attributes:
        names: of the one column.
        classes: see :class:`StepReader`.
        vocabulary: how many tokens there are, from 0.
    """

    formats: ClassVar[tuple[Format, ...]] = ("csv", "tsv", "jsonl", "parquet", "text")
    unnamed: ClassVar[Format] = "text"
    names: tuple[str, ...] = ("token",)
    vocabulary: int = 1

    def describe(self) -> str:
        some = [k % self.vocabulary for k in (1, 0, 1, 1)]
        spaced = " ".join(map(str, some))
        together = f", or {''.join(map(str, some))}" if self.vocabulary <= 10 else ""
        return (
            f"sequences of tokens, which are numbers from 0 to {self.vocabulary - 1}\n"
            f"  text: a line a sequence, such as {spaced}{together}\n"
            f'  JSON lines: {some} or {{"inputs": {some}}}\n'
            f"  CSV, Parquet: a row a step, column {self.names[0]}, and '{SEQUENCE}' where there are several\n"
            "  --stream: a line a token; an empty line starts afresh"
        )

    @property
    def example(self) -> str:
        return f"a line of tokens from 0 to {self.vocabulary - 1}, such as 0 {min(1, self.vocabulary - 1)} 0"

    def read(self, source: Source) -> Iterator[Given]:
        if source.format != "text":
            yield from super().read(source)
            return
        for number, (line, text) in enumerate(source.lines()):
            yield Given(number, self.array(text, f"{source.name}, line {line}"))

    def array(self, x: Any, place: str) -> np.ndarray:
        if isinstance(x, str):
            words = x.replace(",", " ").split()
            if len(words) == 1 and self.vocabulary <= 10:
                words = list(words[0])
            wrong = next((word for word in words if not word.isdecimal()), None)
            if wrong is not None:
                raise InputError(f"{place}: '{wrong}' is no token: {self.example}")
            x = [int(word) for word in words]
        try:
            values = as_numbers(x)
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"{place}: a sequence is a list of tokens, not {brief(x)}") from None
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1:
            raise InputError(f"{place} has the shape {values.shape}: a sequence is a list of tokens")
        if not len(values):
            raise InputError(f"{place} has no token")
        odd = np.flatnonzero(~((values >= 0) & (values < self.vocabulary) & (values == np.round(values))))
        if len(odd):
            step = int(odd[0])
            raise InputError(
                f"{place}, step {step}: {values[step]:g} is no token of this run's: numbers from 0 to "
                f"{self.vocabulary - 1}"
            )
        return values.astype(np.int64)

    def take(self, x: Any) -> Iterator[Given]:
        if isinstance(x, str):
            x = [x]
        if isinstance(x, list | tuple) and x and isinstance(x[0], str):
            for number, text in enumerate(x):
                yield Given(number, self.array(text, f"sequence {number}"))
            return
        yield from super().take(x)

    def _is_several(self, x: np.ndarray) -> bool:
        return x.ndim == 2
