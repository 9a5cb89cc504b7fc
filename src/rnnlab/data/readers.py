"""The reader that a checkpoint describes."""

from collections.abc import Mapping
from typing import Any

from rnnlab.data.reader import FeatureReader, Reader, TokenReader
from rnnlab.data.series_reader import SeriesReader
from rnnlab.data.text_reader import CorpusReader, TextReader


def reader_from_plain(values: Mapping[str, Any]) -> Reader:
    """What :meth:`rnnlab.data.reader.Reader.plain` gave.

    Raises:
        TypeError: or KeyError, where it never gave that.
    """
    kinds = {kind.__name__: kind for kind in (FeatureReader, TokenReader, TextReader, CorpusReader, SeriesReader)}
    arguments = dict(values)
    return kinds[arguments.pop("reader")](**arguments)
