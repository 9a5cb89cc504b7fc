"""Words that several descriptions use."""

from collections.abc import Mapping, Sequence
from typing import Any

from rnnlab.errors import InputError
from rnnlab.files.lines import OtherEncoding
from rnnlab.start.description import Column, Extent

WIDE = 6
"""Columns that are shown by name."""


SINGULAR = {"are": "is", "have": "has", "were": "was", "say": "says", "repeat": "repeats"}
"""Verbs behind a number."""


def counted(number: int, noun: str, verb: str = "") -> str:
    """``1 row``, ``2,000 rows``, ``1 row is``: a number with its noun and its verb, which are given in the plural."""
    if number == 1:
        verb = SINGULAR.get(verb, verb)
        if noun.endswith("sses"):
            noun = noun.removesuffix("es")
        elif noun != "series":
            noun = noun.removesuffix("s")
    return f"{number:,} {noun}{f' {verb}' if verb else ''}"


def refused(error: InputError, what: str = "it") -> str:
    """What training says against a file; what no program could guess about, since it is no UTF-8, is raised.

    Raises:
        OtherEncoding: it was that.
    """
    if isinstance(error, OtherEncoding):
        raise error
    return f"training refuses {what}: {error}"


def missing_values(number: int, done: str) -> str:
    """What is odd about values that are missing, and what is done about it."""
    return f"{counted(number, 'values', 'are')} missing: {done}"


def lengths_in_words(lengths: tuple[int, int, int], unit: str, channels: int = 0) -> str:
    """The shortest, the median and the longest of sequences, and how many values a step has."""
    shortest, median, longest = lengths
    span = (
        f"{counted(shortest, unit)}, all alike"
        if shortest == longest
        else f"{shortest:,} to {longest:,} {unit}, {median:,} in the middle"
    )
    return span + (f", {counted(channels, 'channels')}" if channels else "")


def sampled(extent: Extent, number: int, of: str) -> str:
    """Of how many examples something is told, where a file was not read whole."""
    return "" if extent.whole else f"; of a sample of {counted(number, of)}"


def held_out(keys: Mapping[str, Any]) -> str:
    """Which sequences of a table are tested on."""
    group = keys.get("data.group")
    return f"15 % of the sequences are held out{f', no {group} torn apart (data.group)' if group else ''}"


def columns_in_words(columns: Sequence[Column]) -> str:
    """The first columns, and what each of them holds."""
    shown = ", ".join(f"{column.name} ({_kind(column)})" for column in columns[:WIDE])
    return f"{shown}{f' and {len(columns) - WIDE} more' if len(columns) > WIDE else ''}"


def _kind(column: Column) -> str:
    span = f"{number(column.low)} to {number(column.high)}"
    match column.kind:
        case "number":
            what = span
        case "whole":
            what = f"whole, {span}"
        case "flag":
            what = "0 or 1"
        case "date":
            what = "dates"
        case "clock":
            what = "times of the day"
        case "name":
            what = counted(column.distinct, "names")
        case "text":
            what = f"text, {counted(round(column.words), 'words')}"
        case "constant":
            what = "one value"
        case "empty":
            what = "empty"
        case "other":
            what = "not read"
    return f"{what}, {column.missing:,} missing" if column.missing and column.kind != "empty" else what


def number(value: float) -> str:
    """A number in four digits, without powers of ten where it is of everyday size."""
    size = abs(value)
    if size and not 1e-3 <= size < 1e7:
        return f"{value:.3g}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"
