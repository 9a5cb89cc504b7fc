"""The reader that a checkpoint describes."""

from collections.abc import Mapping
from typing import Any

from rnnlab.data.audio_reader import AudioReader
from rnnlab.data.feature_reader import FeatureReader
from rnnlab.data.frame_reader import FrameReader
from rnnlab.data.layout import Layout
from rnnlab.data.pair_reader import PairReader
from rnnlab.data.reader import Reader
from rnnlab.data.roll_reader import RollReader
from rnnlab.data.series_reader import SeriesReader
from rnnlab.data.table_columns import TableColumns
from rnnlab.data.table_reader import TableReader
from rnnlab.data.text_reader import CorpusReader, TextReader
from rnnlab.data.token_reader import TokenReader
from rnnlab.files.dialect import Dialect
from rnnlab.files.frequency import Frequency

READERS = (
    FeatureReader, FrameReader, RollReader, TableReader, TokenReader, TextReader, CorpusReader, PairReader,
    SeriesReader, AudioReader,
)  # fmt: skip


def reader_from_plain(values: Mapping[str, Any]) -> Reader:
    """What :meth:`rnnlab.data.reader.Reader.plain` gave.

    Raises:
        TypeError: or KeyError, where it never gave that.
    """
    kinds = {kind.__name__: kind for kind in READERS}
    arguments = dict(values)
    if "tick" in arguments:
        arguments = _of_before(arguments)
    if "lag" in arguments:
        arguments = _without_layout(arguments)
    if "layout" in arguments:
        arguments["layout"] = Layout(**arguments["layout"])
    if arguments["reader"] == TableReader.__name__:
        arguments["columns"] = TableColumns(**arguments["columns"])
    return kinds[arguments.pop("reader")](**arguments)


def _without_layout(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a reader of series whose checkpoint knew of no layout."""
    names = ("columns", "length", "horizon", "direct", "log", "calendar", "missing", "divisor")
    layout = {name: arguments.pop(name) for name in names}
    lag = arguments.pop("lag")
    base = {0: "none", 1: "persistence"}.get(lag, "seasonal_naive")
    return {**arguments, "layout": {**layout, "season": max(1, lag), "base": base, "reach": max(0, lag - 1)}}


def _of_before(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a reader of series whose checkpoint said its step in other words."""
    dated, tick, months = (arguments.pop(name) for name in ("dated", "tick", "months"))
    if months:
        step = Frequency("month", months, 30 if tick < 0 else None)
    else:
        step = Frequency("duration" if dated else "number", tick)
    written = Dialect(arguments.pop("separator"), time_format=arguments.pop("time_format"), long_numbers=False)
    return {**arguments, "steps": step.plain(), "written": written.plain()}
