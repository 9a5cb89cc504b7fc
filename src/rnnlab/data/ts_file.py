"""The text format ``.ts`` of the UCR and UEA archives of time series."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rnnlab.errors import InputError, nearest
from rnnlab.files.lines import check_text, decode


@dataclass(frozen=True, eq=False)
class TsFile:
    """Labelled sequences, as they stand in their file.

    Attributes:
        path: of the file.
        sequences: each ``(time, channels)``, ``nan`` where a value is missing.
        labels: the name of each one's class.
        lines: where each one stands, counted from 1.
        classes: as the head of the file lists them; empty where it lists none.
    """

    path: Path
    sequences: list[np.ndarray] = field(repr=False)
    labels: list[str] = field(repr=False)
    lines: list[int] = field(repr=False)
    classes: tuple[str, ...] = ()


def read_ts(path: Path) -> TsFile:
    """Reads a file of class-labelled sequences.

    ::

        # a comment
        @problemName Vowels
        @classLabel true ae oe
        @data
        1.2,0.9,?:0.3,0.3,0.2:ae         two channels of three steps, one value missing, then the class
        0.7,0.1:0.5,0.6:oe               another length

    The head may say more than is needed; what it says and the data does not
    keep is refused. Time stamps and real targets are not read.

    Source of the format: A. Bagnall et al., "The UEA multivariate time series
    classification archive, 2018", arXiv 1811.00075, and the package aeon.

    Raises:
        InputError: with the number of the line that cannot be read.
    """
    lines = _lines(path)
    head = _head(path, lines)
    classes = head.classes
    # capitals matter where two classes differ in nothing else
    lower = [name.lower() for name in classes]
    spellings = {small: name for small, name in zip(lower, classes, strict=True) if lower.count(small) == 1}
    spellings |= {name: name for name in classes}
    file = TsFile(path, [], [], [], classes)
    channels = head.dimensions
    for number, line in lines:
        place = f"{path}, line {number}"
        *parts, label = line.split(":")
        label = label.strip()
        if not parts:
            raise InputError(f"{place}: no class behind the values: a line is CHANNEL:CHANNEL:…:CLASS")
        if not label:
            raise InputError(f"{place}: nothing behind the last ':', where the class should be")
        if classes:
            known = spellings.get(label, spellings.get(label.lower()))
            if known is None:
                raise InputError(
                    f"{place}: class '{label}' is not in @classLabel{nearest(label, classes)} "
                    f"(known: {', '.join(classes)})"
                )
            label = known
        if channels is None:
            channels = len(parts)
        if len(parts) != channels:
            raise InputError(f"{place}: {_count(len(parts), 'channel')}, where there should be {channels}")
        values = [_channel(part, f"{place}, channel {k}") for k, part in enumerate(parts, 1)]
        for k, other in enumerate(values, 1):
            if len(other) != len(values[0]):
                raise InputError(
                    f"{place}: channel {k} has {_count(len(other), 'step')}, channel 1 has {len(values[0])}; "
                    "the channels of a sequence are equally long"
                )
        file.sequences.append(np.stack(values, 1))
        file.labels.append(label)
        file.lines.append(number)
    if not file.labels:
        raise InputError(f"{path}: no sequences after @data")
    return file


@dataclass
class Head:
    """What the lines before ``@data`` say that matters."""

    classes: tuple[str, ...] = ()
    dimensions: int | None = None


def has_classes(path: Path) -> bool:
    """Whether a file's sequences belong to classes, and are not labelled with real numbers; reads its head alone.

    Raises:
        InputError: the head cannot be read.
    """
    with path.open("rb") as file:
        for line in file:
            words = line.decode("utf-8", "replace").lower().split()
            if words[:1] == ["@data"]:
                return True
            if words[:1] in (["@targetlabel"], ["@timestamps"]) and words[1:2] == ["true"]:
                return False
    return False


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that say something."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if not content.strip():
        raise InputError(f"{path} is empty")
    check_text(content, str(path))
    for number, raw in enumerate(content.splitlines(), 1):
        line = decode(raw, f"{path}, line {number}", number == 1).strip()
        if line and not line.startswith(("#", "%")):  # comments
            yield number, line


def _head(path: Path, lines: Iterator[tuple[int, str]]) -> Head:
    head = Head()
    for number, line in lines:
        place = f"{path}, line {number}"
        if not line.startswith("@"):
            raise InputError(f"{place}: values before a line @data: is it a .ts file?")
        tag, *words = line.split()
        said = " ".join(words[:1]).lower()
        match tag[1:].lower():
            case "data":
                return head
            case "timestamps" if said == "true":
                raise InputError(f"{place}: time stamps are not read: write the values alone, and @timeStamps false")
            case "targetlabel" if said == "true":
                raise InputError(f"{place}: {path.name} has real targets and no classes (@targetLabel true)")
            case "classlabel":
                if said != "true":
                    raise InputError(f"{place}: {path.name} has no classes (@classLabel {said or 'without a value'})")
                head.classes = tuple(words[1:])
            case "dimensions" | "dimension":
                if not said.isdigit():
                    raise InputError(f"{place}: @dimensions {said or 'without a number'}: must be a whole number")
                head.dimensions = int(said)
    raise InputError(f"{path}: no line @data: is it a .ts file?")


def _channel(text: str, place: str) -> np.ndarray:
    cells = text.replace("?", "nan").split(",")
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        values = np.array([_number(cell, f"{place}, step {k}") for k, cell in enumerate(cells, 1)])
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        step = int(infinite[0])
        raise InputError(f"{place}, step {step + 1}: '{cells[step].strip()}' is infinite")
    return values


def _number(cell: str, place: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise InputError(f"{place}: '{cell.strip()}' is no number (a missing value is written ?)") from None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
