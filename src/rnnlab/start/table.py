"""A table: which of its columns are the time, the target and the name of the series, or a text and its class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from rnnlab.errors import InputError, few, one_line
from rnnlab.files.clocks import clock_changes
from rnnlab.files.dialect import Dialect
from rnnlab.files.epochs import IN_WORDS
from rnnlab.files.frequency import DAY, passed
from rnnlab.files.panel import FEW_REPEATED, Columns, Panel, arrange, show
from rnnlab.files.table import tabulate
from rnnlab.start.columns import numbers
from rnnlab.start.description import Choice, Description, Series, Unclear
from rnnlab.start.labelled import labelled_texts, spread, unordered
from rnnlab.start.names import (
    CLASSES,
    PARTS,
    first,
    lower,
    second,
)
from rnnlab.start.rhythm import find_seasons, find_trend, periods_of
from rnnlab.start.sample import Sample
from rnnlab.start.seen import Seen, Times
from rnnlab.start.sequences import classes_within
from rnnlab.start.wording import counted, missing_values

HORIZONS = {"quarter": 4, "month": 12, "week": 4, "business day": 5, "day": 7, "hour": 24, "year": 3, "minute": 60}
"""Steps ahead that people ask for, by the name of a step."""
SHOWN_SERIES = 40
"""Series of a panel whose seasons are looked at, the longest."""
FEW_ROWS = 50
SAME = 0.99999


def look_at_table(table: Seen) -> Description:
    """What a table holds."""
    return labelled_texts(table) or unordered(table) or SeriesTable(**vars(table)).series()


class SeriesTable(Seen):
    """A table of series, or of what may be some."""

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
                questions=self._unread() or self._no_target(),
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
        # which is said with the gaps, and with data.repeated
        if panel.note and "filled in" not in panel.note and "data.repeated" not in keys:
            odd.append(panel.note)
        odd += self._odd(target, others, times, facts, "data.repeated" in keys)
        keys = {
            "data.target": target.columns[0] if len(target.columns) == 1 else list(target.columns),
            **({"data.time": times.time[0] if len(times.time) == 1 else list(times.time)} if times.time else {}),
            **({"data.series": times.series[0]} if times.series else {}),
            **keys,
        }
        return Series(
            **about, columns=self.profile.columns, target=target, time=Choice(times.time, self._why_time(times)),
            series=Choice(times.series, self._why_series(times)), others=tuple(others), seasons=seasons,
            keys=keys, odd=tuple(odd), questions=(*self._unread(), *self._order(times), *self._class(times)), **facts,
        )  # fmt: skip

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
            f"'{word}' stands among numbers: taken for a missing value (data.missing_values)"
            for word in dialect.missing_values[: len(words) - len(sentinels)]
        ]
        odd += [
            f"{number:g} occurs {counted(self.profile.sentinels[number], 'times')}, far from all else: missing"
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
        # a time that is there again, such as a row that was entered twice
        attempts += [attempt | {"data.repeated": "last"} for attempt in attempts]
        complaint = ""
        for attempt in attempts if columns.time else attempts[:1]:
            try:
                table = tabulate(self.sample.head.lazy(), columns, source, dialect)
                panel = arrange(
                    table, columns, source, attempt.get("data.sort", False), attempt.get("data.gaps", "error"),
                    repeated=attempt.get("data.repeated", "error"),
                )  # fmt: skip
            except InputError as error:
                complaint = complaint or one_line(error).removeprefix(f"{source}, ")
                continue
            except pl.exceptions.PolarsError as error:
                complaint = complaint or one_line(error)[:200]
                continue
            if attempt.get("data.gaps") == "fill" and _rather_ignored(panel, len(table.values)):
                continue
            if "data.repeated" in attempt:
                read = len(panel.times) if panel.rows is None else int((panel.rows != 0).sum())
                repeated = len(table.values) - read
                if repeated > FEW_REPEATED * len(table.values):  # rather several series
                    continue
                there = counted(repeated, "rows", "are")
                odd.append(f"{there} of a time that is there already: the last is kept (data.repeated=last)")
            keys |= attempt
            if attempt.get("data.gaps") == "ignore" and _is_irregular(panel):
                keys["data.gaps"] = "elapsed"
            if attempt.get("data.sort"):
                odd.append("rows are not in the order of time (data.sort=true)")
            missing = int(np.isnan(table.values).sum())
            if missing:
                keys["data.missing"] = "forward"
                odd.append(missing_values(missing, "the last known one is carried on (data.missing=forward)"))
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

    def _has(self, names: Sequence[str], number: float) -> bool:
        return any(bool((self.numbers(name) == number).any()) for name in names)

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
        # a machine's cycle is none of the calendar's
        of_no_calendar = not seasons and (
            (not candidates and step in ("step", "year")) or 0 < (microseconds or 0) < DAY // 2
        )
        if of_no_calendar:
            seasons = find_seasons(values, ())
        period = None
        if seasons and (of_no_calendar or not panel.seasons):  # which training would suggest by itself
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
            return "whole numbers that rise by the same step"
        unit = self.profile.units.get(times.time[0])
        counts = f" (it counts {IN_WORDS[unit]} since 1970, of UTC)" if unit else ""
        if not others:
            return f"the only column of dates{counts}"
        unread = ", ".join(others)
        several = f"of {len(others) + 1} columns of dates the one that gives each row its own time ({unread}: not read)"
        return several + counts

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
            or any(map(self.is_index, self.frame.columns))
        ):
            return ()
        return ("are the rows in the order of time? No column says so; data.time=COLUMN names one",)

    def _class(self, times: Times) -> tuple[str, ...]:
        """A question, where each series has one of few values that may be what is to be told."""
        for series in times.series:
            for column in classes_within(self, self.column(series)):
                if column.kind == "flag" or column.distinct == 2 or lower(column.name) in CLASSES:
                    key = f"data=table data.target={column.name} data.sequence={series}"
                    return (f"is {column.name}, the same in all rows of each {series}, what is to be told? {key}",)
        return ()

    def _unread(self) -> tuple[str, ...]:
        odd = [
            f"'{column.name}' {'holds ' * (column.note[:5] != 'holds')}{column.note}: not read"
            for column in self.profile.columns
            if column.kind == "other"
        ]
        return tuple(odd[:2])

    def _no_target(self) -> tuple[str, ...]:
        """Why none of the columns is what is forecast."""
        about = [
            (self.profile.named("constant"), "always the same value"),
            (self.profile.named("empty"), "without any value"),
            ([name for name in self.frame.columns if self.is_index(name)], "the number of the row"),
            (self.profile.named("name", "text"), "words"),
        ]
        why = "; ".join(f"{few(names)}: {what}" for names, what in about if names)
        return (f"what is to be forecast? data.target=COLUMN names a column of numbers that change ({why})",)

    def _odd(
        self, target: Choice, others: Sequence[str], times: Times, facts: Mapping[str, Any], once: bool
    ) -> list[str]:
        odd = []
        constants = self.profile.named("constant")
        if constants:
            odd.append(f"{few(constants)}: always the same value")
        empty = self.profile.named("empty")
        if empty:
            odd.append(f"{few(empty)}: without any value")
        doubled = self.frame.height - self.frame.n_unique()
        if doubled and times.time and not once:
            odd.append(f"{counted(doubled, 'rows', 'repeat')} another")
        usual = facts["lengths"][1]
        if usual < FEW_ROWS:
            odd.append(f"{counted(usual, facts['step'] + 's', 'are')} few: expect no more than from a simple forecast")
        for name in target.columns[:1]:
            odd += _tell_tales(self.sample, self.profile.dialect, name, others)
            values = self.numbers(name)
            finite = values[np.isfinite(values)]
            if len(finite) > 10 and (finite == 0).mean() > 0.5:
                odd.append(f"{(finite == 0).mean():.0%} of {name} is zero: an intermittent series")
        return odd


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
                return counted(frequency.size // (size * 10**6), f"{name}s")
        return f"{frequency.size / 1e6:g} seconds"
    if frequency.unit in ("month", "business day"):
        return counted(frequency.size, f"{frequency.unit}s")
    return f"{frequency.size:g}" if frequency.size != 1 else "1, of whole numbers"


def _rather_ignored(panel: Panel, rows: int) -> bool:
    """Whether steps that are left out are rather holidays among trading days, or far too many."""
    return panel.frequency.unit == "business day" or len(panel.values) > 1.5 * rows + 10


def _is_irregular(panel: Panel) -> bool:
    """Whether rows come when they come: no step is the step of most of them, and times rise."""
    steps = np.delete(passed(panel.times), panel.starts[1:-1] - 1)
    _, counts = np.unique(steps, return_counts=True)
    regular = len(steps) == 0 or counts.max() >= len(steps) / 2
    return panel.frequency.unit in ("duration", "number") and not regular and bool(steps.min() > 0)


def _tell_tales(sample: Sample, dialect: Dialect, target: str, others: Sequence[str]) -> list[str]:
    """Columns that say what is to be forecast."""
    y = numbers(sample.head, target, dialect)
    found = []
    for name in others[:50]:
        x = numbers(sample.head, name, dialect)
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


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    if x.std() == 0 or y.std() == 0:
        return 0.0
    return abs(float(np.corrcoef(x, y)[0, 1]))
