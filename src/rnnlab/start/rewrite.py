"""Tables that training does not read as they are, in the form in which it does.

Rows that are series or sequences, columns that are months, two names of a series, a header that is missing.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from rnnlab.errors import InputError, few
from rnnlab.files import times
from rnnlab.files.dialect import Dialect
from rnnlab.files.lines import OtherEncoding
from rnnlab.start.columns import WITH_A_UNIT, known, without_date
from rnnlab.start.description import Extent
from rnnlab.start.headers import SIDE_BY_SIDE, header_that_is_missing, named
from rnnlab.start.labelled import known_text, labelled_texts
from rnnlab.start.names import NAMES, lower, rank
from rnnlab.start.sample import WHOLE, Sample, sample_table
from rnnlab.start.seen import Seen, Times, see
from rnnlab.start.sequences import at_end, is_stamped, rows_with_a_class, stem_of, steps_with_a_class
from rnnlab.start.wording import counted

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ROUNDS = 3


@dataclass(frozen=True, eq=False)
class Rewritten:
    """A table in another form.

    Attributes:
        why: it is needed, in half a line.
        name: of the new file.
        content: of a CSV, or the text of a ``.ts`` file.
    """

    why: str
    name: str
    content: pl.DataFrame | str

    def write(self, path: Path) -> None:
        """Into a file, as its form says."""
        if isinstance(self.content, str):
            path.write_text(self.content, encoding="utf-8")
        else:
            self.content.write_csv(path)


class Step(NamedTuple):
    """A change of form: why, and what comes of it."""

    why: str
    content: pl.DataFrame | str


def open_table(path: Path) -> Seen:
    """A table, with names for its columns where it has no header.

    Raises:
        InputError: it cannot be read.
    """
    names = header_that_is_missing(path) if path.stat().st_size <= WHOLE else []
    sample = sample_table(path, names=names)
    if not names:
        return see(path, sample)
    frame = named(sample)
    return replace(see(path, Sample([frame], Extent(sample.extent.bytes, frame.height), ",")), headed=False)


def open_tables(folder: Path, files: Sequence[Path]) -> Seen:
    """The tables of a folder one below the other, with the name of its file beside each row.

    Where they lie in folders of several tables each, the folder's name is their class.

    Args:
        folder: as the person gave it.
        files: its tables.

    Raises:
        InputError: they have other columns, or are too large together.
    """
    size = sum(file.stat().st_size for file in files)
    several = f"{folder} holds {len(files)} tables ({few([file.name for file in files])})"
    if size > WHOLE:
        raise InputError(f"{several} of {size / 1e6:.0f} MB: give one of them, such as rnnlab start {files[0]}")
    frames = [_frame_among(file, several) for file in files]
    shared = frames[0].columns
    for file, frame in zip(files, frames, strict=True):
        if frame.columns != shared:
            raise InputError(
                f"{several}, and {file.name} has other columns than {files[0].name}: give one of them, such as "
                f"rnnlab start {files[0]}"
            )
    places = [file.relative_to(folder) for file in files]
    beside = {"file": [str(place.with_suffix("")) for place in places]}
    kinds = [str(place.parent) for place in places]
    if len(set(kinds)) > 1 and min(Counter(kinds).values()) > 1:
        beside["class"] = kinds
    named = [
        frame.cast(pl.String).with_columns(
            pl.lit(names[number]).alias(f"{what} of the file" if what in shared else what)
            for what, names in beside.items()
        )
        for number, frame in enumerate(frames)
    ]
    whole = pl.concat(named)
    return replace(
        see(folder, Sample([whole], Extent(size, whole.height), ",")), files=len(files), by_folder="class" in beside
    )


def _frame_among(file: Path, several: str) -> pl.DataFrame:
    """The rows of one of several tables, which these are in words.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return open_table(file).frame
    except OtherEncoding:
        raise
    except InputError as error:
        raise InputError(f"{several}, and one of them cannot be read ({error}): take it out, or give one") from None


def rewritten(table: Seen) -> Rewritten | None:
    """A table in the form in which training reads it; ``None`` where it has that, or is too large to be read whole."""
    if not table.sample.extent.whole:
        return None
    path, reasons = table.path, []
    content: pl.DataFrame | str = table.frame
    if not table.headed:
        reasons.append(f"its first line is a row and no header: its columns are called {few(table.frame.columns)}")
    if table.files > 1:
        and_class = " and its folder's as the class" if table.by_folder else ""
        reasons.append(
            f"{table.files} tables of the same columns: written below each other, with the file's name{and_class}"
        )
    for _ in range(ROUNDS):
        step = next(filter(None, (rule(table) for rule in RULES)), None)
        if step is None:
            break
        reasons.append(step.why)
        content = step.content
        if isinstance(content, str):
            break
        table = see(path, Sample([content], Extent(table.sample.extent.bytes, content.height), ","))
    if not reasons:
        return None
    ending = ".ts" if isinstance(content, str) else ".csv"
    stem = re.sub(r"[^\w.-]+", "_", path.stem) or "data"
    if not (ending == ".ts" and stem.endswith(("_TRAIN", "_TEST"))):  # which belong together by their names
        stem += "_for_rnnlab"
    return Rewritten("; ".join(reasons), f"{stem}{ending}", content)


# ---- a header ------------------------------------------------------------------------------------------


# ---- labelled sequences --------------------------------------------------------------------------------


def _belongs_to_an_archive(table: Seen) -> bool:
    """Whether it has no header, or its name says that there are a training file and a test file."""
    return not table.headed or table.path.stem.endswith(("_TRAIN", "_TEST"))


def _rows_with_a_class(table: Seen) -> Step | None:
    """A row a sequence, its steps in numbered columns, its class in another one."""
    found = rows_with_a_class(table) if _belongs_to_an_archive(table) else None
    if found is None:
        return None
    values = np.stack([table.numbers(name) for name in found.features], 1)
    labels = table.frame.select(known_text(found.label)).to_series().to_list()
    sequences = [row[: len(row) - at_end(np.isnan(row))][:, None] for row in values]
    kept = [(sequence, name) for sequence, name in zip(sequences, labels, strict=True) if len(sequence) and name]
    return Step(f"{found.described}: as a .ts file", _ts(kept, table.path.stem))


def _steps_with_a_class(table: Seen) -> Step | None:
    """A row a step, its sequence and the sequence's class in columns."""
    found = steps_with_a_class(table) if _belongs_to_an_archive(table) else None
    if found is None or not found.features:
        return None
    values = np.stack([table.numbers(name) for name in found.features], 1)
    order = table.numbers(found.step) if found.step else np.zeros(len(values))
    classes = table.frame.select(known_text(found.label)).to_series().to_list()
    kept = []
    for rows in found.groups(table):
        sorted_rows = np.array(rows)[np.argsort(order[rows], kind="stable")]
        kept.append((values[sorted_rows], classes[rows[0]]))
    return Step(f"{found.described}: as a .ts file", _ts(kept, table.path.stem))


def _ts(sequences: Sequence[tuple[np.ndarray, str]], name: str) -> str:
    """Sequences ``(time, channels)`` and their classes in the format of the UCR archive."""
    written = {label: re.sub(r"[\s:]+", "_", label) for _, label in sequences}
    classes = sorted(set(written.values()))
    head = [
        f"@problemName {re.sub(r'[^A-Za-z0-9_-]+', '_', name) or 'data'}", "@timeStamps false",
        f"@dimensions {sequences[0][0].shape[1]}", f"@classLabel true {' '.join(classes)}", "@data",
    ]  # fmt: skip
    body = [
        ":".join([*(",".join(map(_number, channel)) for channel in values.T), written[label]])
        for values, label in sequences
    ]
    return "\n".join([*head, *body]) + "\n"


def _number(value: float) -> str:
    return "?" if not np.isfinite(value) else f"{value:.9g}"


# ---- series that stand in rows -------------------------------------------------------------------------


def _months_in_columns(table: Seen) -> Step | None:
    """A year a row, a column a month."""
    names = {lower(column.name)[:3]: column.name for column in table.profile.columns if column.is_number}
    years = [column.name for column in table.profile.columns if lower(column.name) == "year"]
    if not years or not set(MONTHS) <= names.keys():
        return None
    months = [names[month] for month in MONTHS]
    if table.frame.select(pl.col(years[0]).n_unique()).item() != table.frame.height:
        return None
    frame = _numbers_of(table, [years[0], *months])
    long = frame.unpivot(months, index=years[0], variable_name="month", value_name="value").with_columns(
        pl.date(
            pl.col(years[0]).cast(pl.Int32),
            pl.col("month").replace_strict(months, list(range(1, 13)), return_dtype=pl.Int8),
            1,
        ).alias("date")
    )
    return Step(
        "a row is a year and its columns are months: written below each other",
        long.sort("date").select("date", "value"),
    )


def _times_in_columns(table: Seen) -> Step | None:
    """A series a row, a column a time: years, dates, or numbers of steps."""
    if rows_with_a_class(table) is not None:
        return None
    columns = table.profile.columns
    numeric = [column.name for column in columns if column.is_number or column.kind in ("constant", "empty")]
    stamped = [name for name in numeric if is_stamped(name)]
    if len(stamped) < SIDE_BY_SIDE:
        stamped = [name for name in numeric if re.fullmatch(r"[A-Za-z]{1,4}[_ ]?\d+", name)]
        if len({stem_of(name) for name in stamped}) != 1:
            return None
    if len(stamped) < SIDE_BY_SIDE or table.frame.height > 5000:
        return None
    names = [
        column.name for column in columns if column.name not in stamped and column.kind in ("name", "text", "whole")
    ]
    own = [name for name in names if table.frame[name].n_unique() == table.frame.height]
    if not own:
        return None
    series = min(own, key=lambda name: rank(name, NAMES))
    dated = all(times.forms_of(name.strip(), Dialect()) for name in stamped)
    frame = _numbers_of(table, stamped).with_columns(table.frame[series].cast(pl.String).alias("series"))
    long = frame.unpivot(stamped, index="series", variable_name="time", value_name="value")
    if not dated:
        long = long.with_columns(pl.col("time").str.extract(r"(\d+)").cast(pl.Int64))
    order = pl.int_range(pl.len()).over("series")
    long = (
        long.with_columns(order.alias("order"))
        .filter(pl.col("value").is_not_null())
        .sort("series", "order", maintain_order=True)
    )
    why = f"a row is a series, '{series}' its name, and {len(stamped)} columns are its times: written below each other"
    left_out = [column.name for column in columns if column.name not in (series, *stamped)]
    why += f", without {few(left_out)}" if left_out else ""
    return Step(why, long.select("series", "time", "value"))


def _two_keys(table: Seen) -> Step | None:
    """Two columns that together tell series apart."""
    if not table.profile.dates or labelled_texts(table) is not None:
        return None
    date = min(table.profile.dates, key=lambda name: rank(name, ("date", "ds", "timestamp")))
    if isinstance(table.times(), Times):
        return None
    pair = table.pair(date)
    if pair is None:
        return None
    joined = pl.concat_str([pl.col(name).cast(pl.String) for name in pair], separator=" ")
    name = "series" if "series" not in table.frame.columns else "_".join(pair)
    why = f"'{pair[0]}' and '{pair[1]}' together tell the series apart: joined in one column"
    return Step(why, table.frame.with_columns(joined.alias(name)).drop(pair))


def _doubled_rows(table: Seen) -> Step | None:
    """Rows that are there twice, so that their times are."""
    doubled = table.frame.height - table.frame.n_unique()
    if doubled <= 2 or not table.profile.dates:
        return None
    found = table.times()
    if isinstance(found, Times) and (not found.time or not found.repeated):
        return None
    return Step(f"{doubled:,} rows are there twice or more: kept once", table.frame.unique(maintain_order=True))


def _units(table: Seen) -> Step | None:
    """Numbers with a sign or a unit, the same in every row."""
    odd = [column.name for column in table.profile.columns if column.kind == "other" and "unit" in column.note]
    changed, units = {}, []
    for name in odd:
        cells = known(table.frame[name])
        unit = cells.str.replace_all(r"[\d.,+-]", "").str.strip_chars().unique().to_list()
        if len(unit) == 1 and cells.str.contains(WITH_A_UNIT).all():
            changed[name] = pl.col(name).str.replace_all(re.escape(unit[0]), "").str.strip_chars().alias(name)
            units.append(f"'{unit[0]}'")
    if not changed:
        return None
    why = f"{few(list(changed))}: numbers with {', '.join(units)} behind or before them, taken off"
    return Step(why, table.frame.with_columns(*changed.values()))


def _another_format(table: Seen) -> Step | None:
    """Series in JSON lines, texts in Parquet: training reads a CSV."""
    if table.sample.separator:
        return None
    texts = labelled_texts(table) is not None
    if table.form == "JSON lines" and not texts:
        plain = [column.name for column in table.profile.columns if not table.frame[column.name].dtype.is_nested()]
        within = [name for name in plain if "." in name]
        why = f", what is within an object by both names ({few(within)})" if within else ""
        return Step(f"series are read from CSV or Parquet{why}", table.frame.select(plain))
    if table.form == "Parquet" and texts:
        plain = [column.name for column in table.profile.columns if not table.frame[column.name].dtype.is_nested()]
        return Step("texts with classes are read from CSV or JSON lines", table.frame.select(plain))
    return None


def _rows_without_a_time(table: Seen) -> Step | None:
    """A line of totals, or a header that comes again, in a column of dates; not a date that is wrong."""
    for column in table.profile.columns:
        cells = table.frame[column.name]
        wrong = without_date(cells, column.name)
        if wrong is None:
            continue
        words = cells.filter(wrong).cast(pl.String)
        if words.str.contains(r"\d").any():
            continue
        number, said = len(words), few([f"'{word.strip()[:20]}'" for word in words.unique(maintain_order=True)])
        rows = counted(number, "rows", "have")
        return Step(f"{rows} no time in '{column.name}' but {said}: left out", table.frame.filter(~wrong))
    return None


RULES: tuple[Callable[[Seen], Step | None], ...] = (
    _rows_without_a_time, _rows_with_a_class, _steps_with_a_class, _months_in_columns, _times_in_columns, _units,
    _doubled_rows, _two_keys, _another_format,
)  # fmt: skip


# ---- small things --------------------------------------------------------------------------------------


def _numbers_of(table: Seen, names: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame({name: pl.Series(name, table.numbers(name)).fill_nan(None) for name in names})
