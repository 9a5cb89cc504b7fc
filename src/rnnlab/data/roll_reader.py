"""How a run over piano rolls reads new music."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from rnnlab.data.feature_reader import FeatureReader
from rnnlab.data.reader import Given
from rnnlab.errors import InputError
from rnnlab.files.rolls import COLUMNS, of_table, pieces
from rnnlab.files.source import Format, Source, is_table, table_source


@dataclass(frozen=True, eq=False)
class RollReader(FeatureReader):
    """Music in the forms that training reads, or a column a key.

    Attributes:
        names: of the keys.
        steps_per_beat: of MIDI files: steps of a quarter note.
    """

    formats: ClassVar[tuple[Format, ...]] = ("csv", "tsv", "jsonl", "parquet", "mat", "midi")
    steps_per_beat: int = 2

    def describe(self) -> str:
        table, *others = super().describe().split("\n")
        return "\n".join([
            table,
            f"  MIDI: a file, {self.steps_per_beat} steps to a quarter note;  .mat: as the published sets have it",
            f"  CSV, Parquet: a row for each key that is down at a step, columns {','.join(COLUMNS)}, such as",
            f"      {','.join(COLUMNS)}",
            "      a,0,60",
            *others,
        ])  # fmt: skip

    @property
    def example(self) -> str:
        return f"a MIDI or .mat file, or a table with the columns {', '.join(COLUMNS)}"

    def read(self, source: Source) -> Iterator[Given]:
        if source.format != "mat" and source.format != "midi":
            yield from super().read(source)
            return
        if source.path is None:
            raise InputError(f"music as {source.format} is read from the disk: give --input FILE")
        for name, roll in pieces(source.path, source.format, self.steps_per_beat, source.name):
            yield Given(name, self.array(roll, f"{source.name}, piece {name}"))

    def _table(self, source: Source) -> Iterator[Given]:
        frame = source.frame(self.names, (*COLUMNS, *self.names))
        if not {"step", "note"} <= set(frame.columns):
            yield from super()._table(source)
            return
        for name, _, roll in of_table(frame, source.name):
            yield Given(name, self.array(roll, f"{source.name}, sequence {name}"))

    def take(self, x: Any) -> Iterator[Given]:
        if is_table(x):
            yield from self._table(table_source(x))
            return
        yield from super().take(x)
