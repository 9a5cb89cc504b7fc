"""A table: which of its columns are the time, the target and the name of the series, or a text and its class."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from rnnlab.errors import InputError, one_line
from rnnlab.files.frequency import clock_changes
from rnnlab.files.panel import Columns, Panel, arrange, show
from rnnlab.files.table import tabulate
from rnnlab.start.columns import Profile, numbers, profile, words_of
from rnnlab.start.description import Choice, Column, Description, Labelled, Series, Unclear
from rnnlab.start.rhythm import find_seasons, find_trend, neighbours_alike, periods_of
from rnnlab.start.sample import Sample

TIMES = (
    "date", "datetime", "timestamp", "time", "ds", "day", "month", "week", "quarter", "year", "period", "t", "step",
)  # fmt: skip
"""Names of a time, the likeliest first."""
COUNTED = (
    "t", "step", "time", "timestamp", "ts", "year", "period", "day", "week", "month", "hour", "minute", "second",
    "epoch", "seconds", "unix", "unix_time", "datetime", "date",
)  # fmt: skip
"""Names of a column of whole numbers that is one."""
HOURS = ("hr", "hour", "hours", "h")
"""Names of a column that is the hour of a date in another column."""
SINCE_1970 = 1e8
"""Whole numbers from which a column that rises by one step counts the seconds since 1970, or parts of them."""
UNNAMED = ("column 1", "index", "unnamed: 0")
"""Names of a column that a program wrote without being asked."""
NAMES = (
    "unique_id", "series", "series_id", "id", "store", "shop", "item", "product", "sku", "station", "sensor", "device",
    "country", "city", "region", "state", "site", "ticker", "symbol", "meter", "customer", "user", "household", "name",
)  # fmt: skip
"""Names of the column that tells series apart."""
TARGETS = (
    "target", "y", "value", "values", "ot", "sales", "units", "demand", "load", "consumption", "cnt", "count", "close",
    "adj close", "price", "revenue", "visitors", "passengers", "traffic", "quantity", "amount", "volume", "power",
    "usage", "orders", "turnover",
)  # fmt: skip
"""Names of what is forecast, the likeliest first."""
CLASSES = (
    "label", "labels", "class", "classes", "target", "category", "species", "sentiment", "intent", "topic", "language",
    "lang", "genre", "polarity", "activity", "y", "tag", "type", "spam", "emotion", "rating", "stars", "diagnosis",
)  # fmt: skip
"""Names of a class."""
TEXTS = (
    "text", "sentence", "review", "message", "content", "body", "utterance", "tweet", "comment", "document", "title",
    "headline", "description", "question", "name", "word", "sms", "input",
)  # fmt: skip
"""Names of a text."""
PARTS = {"year": 0, "quarter": 4, "month": 12, "week": 52, "day": 0, "weekday": 7, "hour": 24, "minute": 60}
"""Columns that together are a date, and the period of each where it turns over."""
KNOWN_AHEAD = ("holiday", "promo", "promotion", "price", "weekday", "weekend", "event", "open", "snap", "school")
"""Words in the names of columns that are known in advance."""
PLACES = ("lat", "lon", "lng", "latitude", "longitude")
ID = re.compile(r"(?:^|[^a-z])(?:id|no|nr|num|number|code|key)$|Id$|ID$|Nr$", re.IGNORECASE)
"""The end of the name of a column of numbers that are names."""
ROWS_OF_A_SERIES = 3.0
"""Rows that the names of series must have on average to be such."""
REPEATED = 0.1
"""Share of rows whose time is there already, from which there are several series."""
ALIKE = 5.0
"""Columns are alike in size where their mean sizes differ by no more than this factor."""
MOST_TARGETS = 50
HORIZONS = {"quarter": 4, "month": 12, "week": 4, "business day": 5, "day": 7, "hour": 24, "year": 3, "minute": 60}
"""Steps ahead that people ask for, by the name of a step."""
SHOWN_SERIES = 40
"""Series of a panel whose seasons are looked at, the longest."""
IN_ORDER = 0.5
"""The correlation of neighbours, of the middle column, from which rows are taken for steps where nothing says so."""
FEW_ROWS = 50
SAME = 0.99999
MOST_CLASSES = 200


def see(path: Path, sample: Sample) -> "Seen":
    """A table whose columns were looked at.

    Raises:
        InputError: it has no rows.
    """
    if not sample.head.height:
        raise InputError(f"{path} has a header and no rows")
    return Seen(path, sample, profile(sample.all, sample.separator))


def look_at_table(table: "Seen") -> Description:
    """What a table holds."""
    return table.labelled_texts() or table.unordered() or table.series()


class Times(NamedTuple):
    """What was taken for time and series.

    time
        Columns: one, a date and a time of the day, or none.
    series
        The column that tells series apart, or none.
    repeated
        Rows whose time is there already.
    """

    time: tuple[str, ...]
    series: tuple[str, ...]
    repeated: int = 0


@dataclass(frozen=True, eq=False)
class Seen:
    """A table that is looked at.

    Attributes:
        path: of the file.
        sample: of its rows.
        profile: of its columns.
        headed: whether the file names its columns.
        files: of which it consists.
    """

    path: Path
    sample: Sample
    profile: Profile
    headed: bool = True
    files: int = 1

    @property
    def frame(self) -> pl.DataFrame:
        return self.sample.all

    @property
    def form(self) -> str:
        suffix = self.path.suffix.lower()
        if not self.sample.separator:
            return "JSON lines" if suffix in (".jsonl", ".ndjson") else "Parquet"
        name = {"\t": "tab", ",": ""}.get(self.sample.separator, f"'{self.sample.separator}'")
        parts = [f"separated by {name}"] if name and len(self.frame.columns) > 1 else []
        if self.profile.dialect.decimal == ",":
            parts.append("decimal comma")
        if self.profile.dialect.thousands:
            parts.append(f"thousands grouped by '{self.profile.dialect.thousands}'")
        return "CSV" + (f" ({', '.join(parts)})" if parts else "")

    def column(self, name: str) -> Column:
        return self.profile.of(name)

    def numbers(self, name: str) -> np.ndarray:
        return numbers(self.frame, name, self.profile.dialect)

    # ---- texts with a class ----------------------------------------------------------------------------

    def labelled_texts(self) -> Labelled | Unclear | None:
        """Texts and their classes, where a column of text stands beside one of few words."""
        texts = self.profile.named("text") or [
            name
            for name in self.profile.named("name")
            if lower(name) in TEXTS and self.column(name).distinct > MOST_CLASSES
        ]
        if not texts:
            return None
        text = min(texts, key=lambda name: (rank(name, TEXTS), -self.column(name).words))
        if self.profile.dates and self.column(text).words < 3 and self.profile.named("number", "whole"):
            return None  # names of many series
        labels = [
            column for column in self.profile.columns
            if column.name != text and column.kind in ("name", "whole", "flag", "text")
            and 2 <= column.distinct <= min(MOST_CLASSES, max(2, self.frame.height // 3))
        ]  # fmt: skip
        labels = [column for column in labels if column.kind != "text" or column.words < 3]
        about: dict[str, Any] = {"path": self.path, "form": self.form, "extent": self.sample.extent}
        about["columns"] = self.profile.columns
        if not labels:
            if not self.profile.named("number", "whole", "flag"):
                return Unclear(
                    **about,
                    seen=f"texts in column '{text}', and no column of few values beside it",
                    questions=(
                        "which column says the class of a text? data=text_classification "
                        f"data.text_column={text} data.label_column=COLUMN",
                    ),
                )
            return None
        label = min(labels, key=lambda column: (rank(column.name, CLASSES), column.kind == "whole", column.distinct))
        kept = self.frame.select(known_text(text).alias("text"), known_text(label.name).alias("label"))
        pairs = kept.filter((pl.col("text") != "") & (pl.col("label") != ""))
        counts = dict(pairs["label"].value_counts(sort=True).iter_rows())
        keys = {
            key: value for key, value, usual in (
                ("data.text_column", text, "text"), ("data.label_column", label.name, "label"),
            ) if value != usual
        }  # fmt: skip
        many = words_of(pairs["text"])
        if many >= 8:
            keys["data.unit"] = "word"
        others = [name for name in texts if name != text]
        why = (
            f"the only column of text, {many:.0f} words each"
            if not others
            else ("its name" if lower(text) in TEXTS else f"the longest texts, {many:.0f} words each")
        )
        why_label = f"{label.distinct} different values" + (", and its name" if lower(label.name) in CLASSES else "")
        lengths = pairs["text"].str.len_chars()
        questions = []
        if lower(label.name) not in CLASSES and len(labels) > 1:
            rest = ", ".join(column.name for column in labels if column is not label)
            questions.append(f"is '{label.name}' the class? There are also {rest}: data.label_column=COLUMN")
        return Labelled(
            **about, data="text_classification", classes=counts, examples="texts", unit="characters",
            lengths=spread(lengths.to_numpy()), text=Choice((text,), why), label=Choice((label.name,), why_label),
            odd=odd_texts(pairs, self.frame.height - pairs.height), keys=keys, questions=tuple(questions),
        )  # fmt: skip

    # ---- rows without order ----------------------------------------------------------------------------

    def unordered(self) -> Unclear | None:
        """A table whose rows are no steps, as it seems."""
        if self.profile.dates or self.parts or self.ticks or self._counted_candidates():
            return None
        values = self.profile.named("number", "whole", "flag")
        classes = [
            column for column in self.profile.columns
            if lower(column.name) in CLASSES[:9] and column.kind in ("name", "whole", "flag")
            and column.distinct <= MOST_CLASSES
        ]  # fmt: skip
        about: dict[str, Any] = {
            "path": self.path, "form": self.form, "extent": self.sample.extent, "columns": self.profile.columns,
        }  # fmt: skip
        command = f"rnnlab train data=csv data.path={self.path} data.target="
        if classes and len(values) > 2:
            label = classes[0]
            first_value = next(name for name in values if name != label.name)
            return Unclear(
                **about,
                seen=f"rows of numbers with a class each ('{label.name}', {label.distinct} different values), and no "
                "column that tells their order",
                questions=(
                    "which rows make a sequence? A column that names it (sequence, step, … , class) is read by "
                    "rnnlab start; rows without an order are no sequences, and need no recurrent net",
                    f"are the rows steps in time? {command}{first_value}",
                ),
            )
        if not values:
            return Unclear(
                **about,
                seen="no column of numbers, and no texts with a class",
                questions=("which column is forecast? data=csv data.target=COLUMN needs one of numbers",),
            )
        targets = [name for name in values if not self._is_index(name)]
        if len(targets) < 2:
            return None
        alike = [neighbours_alike(values) for values in map(self.numbers, targets) if not _rises(values)]
        if alike and np.nanmedian(alike) >= IN_ORDER:
            return None
        return Unclear(
            **about,
            seen="rows of numbers; no column tells their order, nor do the numbers",
            questions=(
                f"are the rows steps in time? {command}{targets[0]} (and data.time=COLUMN where there is one); rows "
                "without an order are no sequences, and need no recurrent net",
            ),
        )

    # ---- series ----------------------------------------------------------------------------------------

    def series(self) -> Description:
        """One or several series."""
        times = self.times()
        if isinstance(times, Unclear):
            return times
        target, others = self._target(times)
        about: dict[str, Any] = {"path": self.path, "form": self.form, "extent": self.sample.extent}
        if not target.columns:
            return Unclear(
                **about,
                columns=self.profile.columns,
                seen="no column of numbers that could be forecast",
                questions=self._unread(),
            )
        columns = Columns(target.columns, time=first(times.time), clock=second(times.time), series=first(times.series))
        panel, keys, odd = self._arranged(columns)
        if panel is None:
            return Unclear(**about, columns=self.profile.columns, seen=odd[0], questions=tuple(odd[1:]))
        if not panel.columns.time:
            times = times._replace(time=())
        facts = self._facts(panel, times)
        seasons, period = facts.pop("seasons"), facts.pop("period")
        if period:
            keys["data.period"] = period
        if panel.note and "filled in" not in panel.note:  # which is said with the gaps
            odd.append(panel.note)
        odd += self._odd(target, others, times, facts)
        keys = {
            "data.target": target.columns[0] if len(target.columns) == 1 else list(target.columns),
            **({"data.time": times.time[0] if len(times.time) == 1 else list(times.time)} if times.time else {}),
            **({"data.series": times.series[0]} if times.series else {}),
            **keys,
        }
        return Series(
            **about, columns=self.profile.columns, target=target, time=Choice(times.time, self._why_time(times)),
            series=Choice(times.series, self._why_series(times)), others=tuple(others), seasons=seasons,
            keys=keys, odd=tuple(odd), questions=(*self._unread(), *self._order(times)), **facts,
        )  # fmt: skip

    # ---- which column is what --------------------------------------------------------------------------

    @property
    def parts(self) -> tuple[str, ...]:
        """Columns that are parts of a date where there is none: ``year`` and ``quarter``."""
        if self.profile.dates:
            return ()
        there = [
            column.name for column in self.profile.columns
            if lower(column.name) in PARTS and (column.is_number or np.isfinite(column.low))
        ]  # fmt: skip
        has_year = any(lower(name) == "year" for name in there)
        return tuple(there) if has_year and len(there) > 1 else ()

    @property
    def ticks(self) -> tuple[str, ...]:
        """Columns of times in fractions, which training does not read: their rows are steps."""
        found = []
        for column in self.profile.columns:
            if column.kind == "number" and lower(column.name) in (*COUNTED, *TIMES):
                steps = np.diff(numbers(self.sample.head, column.name, self.profile.dialect))
                if len(steps) > 2 and (steps > 0).all():
                    found.append(column.name)
        return tuple(found)

    def times(self) -> Times | Unclear:
        """The time and the series: what makes each row's time its own."""
        rows = self.frame.height
        candidates = sorted(self.profile.dates, key=lambda name: rank(name, TIMES))
        hours = [
            column.name for column in self.profile.columns
            if column.kind == "whole" and lower(column.name) in HOURS and column.low >= 0 and column.high <= 23
        ]  # fmt: skip
        clocks = [*self.profile.named("clock"), *hours]
        tried: list[Times] = []
        for date in candidates:
            for time in ((date,), *((date, clock) for clock in clocks)):
                alone = self._repeated(time, ())
                if alone <= REPEATED * rows:
                    tried.append(Times(time, (), alone))
                    continue
                for name in self._series_candidates(time):
                    repeated = self._repeated(time, (name,))
                    if repeated <= 0.01 * rows:
                        tried.append(Times(time, (name,), repeated))
                        break
        if tried:
            # the earlier date in the order of names, unless another one needs fewer columns and repeats less
            return min(
                tried,
                key=lambda times: (times.repeated > 0, len(times.series), len(times.time), rank(times.time[0], TIMES)),
            )
        if candidates:
            asked = (
                f"times of '{candidates[0]}' occur several times, and no column tells series apart: data.series=COLUMN "
                "names one; events that come at any time are summed up by the day or hour first",
            )
            return Unclear(
                path=self.path, form=self.form, extent=self.sample.extent, columns=self.profile.columns,
                seen=f"rows with dates ('{candidates[0]}'), several for each", questions=asked,
            )  # fmt: skip
        return self._counted()

    def _counted_candidates(self) -> list[str]:
        """Columns of whole numbers that rise from row to row by one step, alone or within the rows of a name."""
        found = []
        for column in self.profile.columns:
            if column.kind != "whole" or column.missing:
                continue
            name = column.name
            unnamed = column is self.profile.columns[0] and lower(name) in UNNAMED
            counted = lower(name) in COUNTED or unnamed or column.low >= SINCE_1970
            if not counted and not self._is_index(name):
                continue
            steps = np.diff(numbers(self.sample.head, name, self.profile.dialect))
            values, counts = np.unique(steps[steps > 0], return_counts=True)
            if len(values) and counts.max() >= 0.8 * len(steps) - self.frame.height / ROWS_OF_A_SERIES / 2:
                found.append(name)
        return found

    def _counted(self) -> Times:
        """Whole numbers as times, or no time at all."""
        for name in sorted(self._counted_candidates(), key=lambda name: rank(name, COUNTED)):
            if self._is_index(name) or name in self.parts:
                continue
            if not self._repeated((name,), ()):
                return Times((name,), ())
            for series in self._series_candidates((name,)):
                if not self._repeated((name,), (series,)):
                    return Times((name,), (series,))
        # rows of one name that follow each other are steps of a series
        for name in self._series_candidates(()):
            cells = self.sample.head[name]
            blocks = int((cells != cells.shift(1)).sum()) + 1
            if blocks <= cells.n_unique() + 1 and self.frame.height >= 8 * cells.n_unique():
                return Times((), (name,))
        return Times((), ())

    def _is_index(self, name: str) -> bool:
        """Whether a column numbers the rows."""
        if self.column(name).kind != "whole" or lower(name) in ("t", "step", "time"):
            return False
        values = numbers(self.sample.head, name, self.profile.dialect)
        return len(values) > 2 and values[0] in (0, 1) and bool((np.diff(values) == 1).all())

    def _series_candidates(self, time: Sequence[str]) -> list[str]:
        most = self.frame.height / ROWS_OF_A_SERIES
        found = [
            column.name for column in self.profile.columns
            if column.name not in time and 2 <= column.distinct <= most and not column.missing
            and (column.kind in ("name", "text") or (column.kind == "whole" and _is_id(column)))
            and column.name not in self.parts
        ]  # fmt: skip
        return sorted(
            found, key=lambda name: (rank(name, NAMES), self.column(name).kind != "name", self.column(name).distinct)
        )

    def _repeated(self, time: Sequence[str], others: Sequence[str]) -> int:
        """Rows whose time, beside the other columns, is there already."""
        return self.frame.height - self.frame.select(pl.struct([*time, *others]).n_unique()).item()

    def pair(self, date: str) -> tuple[str, str] | None:
        """Two columns that together give each row a time of its own."""
        names = self._series_candidates((date,))[:6]
        for number, name in enumerate(names):
            for other in names[number + 1 :]:
                if self._repeated((date,), (name, other)) <= 0.01 * self.frame.height:
                    return name, other
        return None

    def _target(self, times: Times) -> tuple[Choice, list[str]]:
        taken = {*times.time, *times.series, *self.parts, *self.ticks}
        numeric = [
            column.name for column in self.profile.columns
            if column.is_number and column.name not in taken and not self._is_index(column.name)
            and lower(column.name) not in (*PLACES, "id")
        ]  # fmt: skip
        values = [name for name in numeric if self.column(name).kind != "flag"] or numeric
        if not values:
            return Choice((), ""), []
        hinted = sorted(
            (name for name in values if rank(name, TARGETS) < len(TARGETS)), key=lambda name: rank(name, TARGETS)
        )
        if len(numeric) == 1:
            target = Choice((numeric[0],), "the only column of numbers")
        elif hinted:
            target = Choice((hinted[0],), "its name")
        elif len(values) == 1:
            target = Choice((values[0],), "the only column of numbers that are more than 0 and 1")
        elif self._are_alike(values):
            few = tuple(values[:MOST_TARGETS])
            why = f"{len(values)} columns alike in size: one series each, forecast together"
            target = Choice(few, why + (f"; the first {MOST_TARGETS} of them" if len(few) < len(values) else ""))
        else:
            target = Choice(
                (values[0],), f"the first of {len(values)} columns of numbers; another one: data.target=COLUMN"
            )
        return target, [name for name in numeric if name not in target.columns]

    def _are_alike(self, names: Sequence[str]) -> bool:
        stems = {re.sub(r"[\d ._-]+", "", name) for name in names}
        if len(stems) == 1 and len(names) > 1:
            return True
        if len(names) < 3:
            return False
        rest = [name for name in names if not any(word in lower(name) for word in KNOWN_AHEAD)]
        if len(rest) < len(names):
            return False
        values = [self.numbers(name) for name in names]
        sizes = [float(np.nanmean(np.abs(each))) for each in values]
        spreads = [float(np.nanstd(each)) for each in values]
        return (
            min(sizes) > 0 and max(sizes) <= ALIKE * min(sizes) and max(spreads) <= ALIKE**2 * max(min(spreads), 1e-12)
        )

    # ---- as training reads it --------------------------------------------------------------------------

    def _arranged(self, columns: Columns) -> tuple[Panel | None, dict[str, Any], list[str]]:
        """The series as training would have them, the keys that this needs, and what is odd."""
        dialect = self.profile.dialect
        keys: dict[str, Any] = {}
        odd: list[str] = []
        if dialect.decimal != ".":
            keys["data.decimal"] = dialect.decimal
        if dialect.thousands:
            keys["data.thousands"] = dialect.thousands
        sentinels = [number for number in self.profile.sentinels if self._has(columns.numbers, number)]
        words = [*dialect.missing_values, *(int(n) if n == int(n) else n for n in sentinels)]
        if words:
            dialect = replace(dialect, missing_values=tuple(words))
            keys["data.missing_values"] = words
        odd += [
            f"{number:g} occurs {self.profile.sentinels[number]:,} times, far from all else: taken for a missing value"
            for number in sentinels
        ]
        if columns.time is not None and columns.time in self.profile.formats:
            dialect = replace(dialect, time_format=self.profile.formats[columns.time])
            keys["data.time_format"] = dialect.time_format
            odd.append(
                f"'{columns.time}' is read as {dialect.time_format}: by day before month its steps would be irregular"
            )
        source = f"data.path={self.path}"
        attempts: list[dict[str, Any]] = [{}, {"data.sort": True}]
        fill, ignore = {"data.gaps": "fill", "data.missing": "forward"}, {"data.gaps": "ignore"}
        attempts += [fill, fill | {"data.sort": True}, ignore, ignore | {"data.sort": True}]
        complaint = ""
        for attempt in attempts if columns.time else attempts[:1]:
            try:
                table = tabulate(self.sample.head.lazy(), columns, source, dialect)
                panel = arrange(
                    table, columns, source, attempt.get("data.sort", False), attempt.get("data.gaps", "error")
                )
            except InputError as error:
                complaint = complaint or one_line(error).removeprefix(f"{source}, ")
                continue
            except pl.exceptions.PolarsError as error:
                complaint = complaint or one_line(error)[:200]
                continue
            if attempt.get("data.gaps") == "fill" and self._rather_ignored(panel, len(table.values)):
                continue
            keys |= attempt
            if attempt.get("data.sort"):
                odd.append("rows are not in the order of time (data.sort=true)")
            missing = int(np.isnan(table.values).sum())
            if missing:
                keys["data.missing"] = "forward"
                odd.append(f"{missing:,} values are missing: the last known one is carried on (data.missing=forward)")
            return panel, keys, odd
        if columns.time:
            return self._without_time(columns, keys, odd, complaint)
        return None, {}, [complaint or "it cannot be read as a series"]

    def _without_time(
        self, columns: Columns, keys: dict[str, Any], odd: list[str], complaint: str
    ) -> tuple[Panel | None, dict[str, Any], list[str]]:
        """Rows as steps, where the times cannot be used, such as for an hour that is there twice in autumn."""
        keys = {key: value for key, value in keys.items() if key != "data.time_format"}
        panel, more, _ = self._arranged(replace(columns, time=None, clock=None))
        if panel is None:
            return None, {}, [complaint]
        return panel, keys | more, [*odd, f"{complaint}: rows are taken as steps, without their times"]

    def _rather_ignored(self, panel: Panel, rows: int) -> bool:
        """Whether steps that are left out are rather holidays among trading days, or far too many."""
        return panel.frequency.unit == "business day" or len(panel.values) > 1.5 * rows + 10

    def _has(self, names: Sequence[str], number: float) -> bool:
        return any(bool((self.numbers(name) == number).any()) for name in names)

    # ---- what it is like -------------------------------------------------------------------------------

    def _facts(self, panel: Panel, times: Times) -> dict[str, Any]:
        sizes = np.diff(panel.starts)
        dated = panel.times.dtype.kind == "M" and bool(times.time)
        frequency = panel.frequency
        step = panel.step_unit
        microseconds = frequency.size if frequency.unit == "duration" else None
        candidates = periods_of(step, microseconds)
        part_period = self._period_of_parts()
        if part_period:
            candidates = (part_period,)
        elif not dated and times.time and lower(times.time[0]) in ("year", "quarter", "month", "week", "day", "hour"):
            step = lower(times.time[0]) if frequency.size == 1 else step
            candidates = periods_of(step, None)
        longest = np.argsort(-sizes, kind="stable")[:SHOWN_SERIES]
        values = [panel.values[panel.starts[k] : panel.starts[k + 1], 0] for k in longest]
        seasons = find_seasons(values, candidates)
        if not seasons and not candidates and step in ("step", "year"):
            seasons = find_seasons(values, ())
        period = None
        if seasons and not panel.seasons:  # which training would suggest by itself
            period = min(season.period for season in seasons)
            if int(np.median(sizes)) < 3 * period:
                period = None
        horizon = HORIZONS.get(step) or (seasons[0].period if seasons and seasons[0].period <= 60 else 10)
        if part_period and step == "step":
            horizon = part_period
        horizon = max(1, min(horizon, int(sizes.min()) // 12))
        gaps = 0
        if times.time:
            steps, _ = frequency.between(panel.times)
            steps = np.where(clock_changes(panel.times, frequency), 1, steps)
            steps = np.delete(steps, panel.starts[1:-1] - 1)
            gaps = int((steps[steps > 1] - 1).sum())
            if panel.rows is not None:
                gaps += int((panel.rows == 0).sum())
        return {
            "seasons": seasons,
            "period": period,
            "step": step,
            "step_size": step_size(panel, step, bool(times.time)),
            "first": show(panel.times.min()) if times.time else "",
            "last": show(self._last(panel, times)) if times.time else "",
            "lengths": spread(sizes),
            "number": len(panel.names),
            "gaps": gaps,
            "trend": find_trend(values, (seasons[0].period if seasons else 1)),
            "horizon": horizon,
            "folds": 5 if int(np.median(sizes)) >= max(120, 12 * horizon) else 0,
        }

    def _last(self, panel: Panel, times: Times) -> Any:
        if self.sample.extent.whole or times.time[0] not in self.profile.dates or len(times.time) > 1:
            return panel.times.max()
        return np.nanmax(self.profile.dates[times.time[0]])

    def _period_of_parts(self) -> int | None:
        turning = [PARTS[lower(name)] for name in self.parts if PARTS[lower(name)]]
        names = {lower(name) for name in self.parts}
        if "day" in names and "hour" not in names:
            return 7
        if "hour" in names:
            return 24
        return turning[-1] if turning else None

    def _why_time(self, times: Times) -> str:
        if self.parts and not times.time:
            return f"{', '.join(self.parts)} are parts of one, and rows stand in their order: each row is a step"
        if not times.time and self.ticks:
            return f"{self.ticks[0]} counts in fractions, which are not read: each row is a step"
        if not times.time:
            return "no column of times: each row is a step"
        if len(times.time) == 2:
            return "a date and a time of the day"
        others = [name for name in self.profile.dates if name not in times.time]
        if times.time[0] not in self.profile.dates:
            of = ", such as the seconds since 1970" if self.column(times.time[0]).low >= SINCE_1970 else ""
            return f"whole numbers that rise by the same step{of}"
        if not others:
            return "the only column of dates"
        unread = ", ".join(others)
        return f"of {len(others) + 1} columns of dates the one that gives each row its own time ({unread}: not read)"

    def _why_series(self, times: Times) -> str:
        if not times.series:
            return ""
        if not times.time:
            return "the rows of each of its names follow each other"
        return "with it, each time occurs once"

    def _order(self, times: Times) -> tuple[str, ...]:
        """A question, where only the rows themselves can tell their order."""
        several = len(self.profile.named("number", "whole", "flag")) > 1
        if (
            times.time
            or times.series
            or self.parts
            or self.ticks
            or not several
            or any(map(self._is_index, self.frame.columns))
        ):
            return ()
        return ("are the rows in the order of time? No column says so; data.time=COLUMN names one",)

    def _unread(self) -> tuple[str, ...]:
        odd = [
            f"'{column.name}' {'holds ' * (column.note[:5] != 'holds')}{column.note}: not read"
            for column in self.profile.columns
            if column.kind == "other"
        ]
        return tuple(odd[:2])

    def _odd(self, target: Choice, others: Sequence[str], times: Times, facts: Mapping[str, Any]) -> list[str]:
        odd = []
        constants = self.profile.named("constant")
        if constants:
            odd.append(f"{listed(constants)}: always the same value")
        empty = self.profile.named("empty")
        if empty:
            odd.append(f"{listed(empty)}: without any value")
        doubled = self.frame.height - self.frame.n_unique()
        if doubled and times.time:
            odd.append(f"{doubled:,} rows are there twice")
        usual = facts["lengths"][1]
        if usual < FEW_ROWS:
            odd.append(f"{usual:,} {facts['step']}s are few: expect no more than from a simple forecast")
        for name in target.columns[:1]:
            odd += self._tell_tales(name, others)
            values = self.numbers(name)
            finite = values[np.isfinite(values)]
            if len(finite) > 10 and (finite == 0).mean() > 0.5:
                odd.append(f"{(finite == 0).mean():.0%} of {name} is zero: an intermittent series")
        return odd

    def _tell_tales(self, target: str, others: Sequence[str]) -> list[str]:
        """Columns that say what is to be forecast."""
        y = numbers(self.sample.head, target, self.profile.dialect)
        found = []
        for name in others[:50]:
            x = numbers(self.sample.head, name, self.profile.dialect)
            there = np.isfinite(x) & np.isfinite(y)
            if there.sum() < 20:
                continue
            if _correlation(x[there], y[there]) > SAME:
                found.append(
                    f"{name} says the same as {target} in other numbers: as data.known it would give the answer away"
                )
            elif there.all() and _correlation(x[:-1], y[1:]) > SAME and _correlation(y[:-1], y[1:]) < SAME:
                found.append(f"{name} is {target} a step ahead: as an input it gives the answer away")
        return found[:2]


# ---- small things --------------------------------------------------------------------------------------


def known_text(name: str) -> pl.Expr:
    """A column as text without spaces around it, empty where there is none."""
    return pl.col(name).cast(pl.String).str.strip_chars().fill_null("")


def odd_texts(pairs: pl.DataFrame, empty: int) -> tuple[str, ...]:
    """What is odd about texts and their classes: repetitions, texts of two classes, classes that stand in the text."""
    odd = []
    if empty:
        odd.append(f"{empty:,} rows without a text or a class: left out")
    distinct = pairs.unique()
    if distinct.height < pairs.height:
        odd.append(f"{pairs.height - distinct.height:,} texts are there twice: each counts once (data.duplicates)")
    contradicting = distinct.height - distinct["text"].n_unique()
    if contradicting:
        odd.append(f"{contradicting:,} texts have two classes: nobody can tell which")
    letters = pairs.filter(pl.col("label").str.len_chars() >= 3)
    if letters.height:
        told = letters.select(
            pl.col("text").str.to_lowercase().str.contains(pl.col("label").str.to_lowercase(), literal=True).mean()
        ).item()
        if told and told > 0.5:
            odd.append(f"the class stands in {told:.0%} of the texts: that gives the answer away")
    counts = pairs["label"].value_counts()["count"]
    few = int((counts < 3).sum())
    if few:
        odd.append(f"{few} classes have fewer than 3 texts, and training needs 3: leave them out")
    return tuple(odd)


def spread(sizes: Any) -> tuple[int, int, int]:
    """The smallest, the median and the largest."""
    values = np.asarray(sizes)
    return (int(values.min()), int(np.median(values)), int(values.max())) if len(values) else (0, 0, 0)


def step_size(panel: Panel, step: str, timed: bool) -> str:
    """A step in words, such as ``15 minutes``."""
    frequency = panel.frequency
    if not timed:
        return "a row"
    if step != "step":
        return f"a {step}" if step != "hour" else "an hour"
    if frequency.unit == "duration":
        for name, size in (("week", 604800), ("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
            if frequency.size % (size * 10**6) == 0:
                return f"{frequency.size // (size * 10**6)} {name}s"
        return f"{frequency.size / 1e6:g} seconds"
    if frequency.unit in ("month", "business day"):
        return f"{frequency.size} {frequency.unit}s"
    return f"{frequency.size:g}" if frequency.size != 1 else "1, of whole numbers"


def first(names: Sequence[str]) -> str | None:
    """The first of them, if there is one."""
    return names[0] if names else None


def second(names: Sequence[str]) -> str | None:
    """The second of them, if there is one."""
    return names[1] if len(names) > 1 else None


def _rises(values: np.ndarray) -> bool:
    """Whether rows are sorted by a column, so that neighbours are alike in it for no other reason."""
    known_values = values[np.isfinite(values)]
    return bool((np.diff(known_values) >= 0).all() or (np.diff(known_values) <= 0).all())


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    if x.std() == 0 or y.std() == 0:
        return 0.0
    return abs(float(np.corrcoef(x, y)[0, 1]))


def lower(name: str) -> str:
    """A name without spaces around it and without capitals."""
    return name.strip().lower()


def rank(name: str, names: Sequence[str]) -> int:
    """The place of a name among those that are likely; one that only holds such a word comes after all of them."""
    small = lower(name)
    if small in names:
        return names.index(small)
    words = re.split(r"[^a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    inside = [number for number, known_name in enumerate(names) if len(known_name) > 1 and known_name in words]
    return len(names) - 1 if inside else len(names)


def _is_id(column: Column) -> bool:
    """Whether whole numbers may be names, by what they are called."""
    return column.low >= 0 and (rank(column.name, NAMES) < len(NAMES) or bool(ID.search(column.name)))


def listed(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
