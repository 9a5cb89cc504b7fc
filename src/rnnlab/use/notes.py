"""What is said beside predictions of new data, once they are there: in a line each, of however many files they are."""

import logging
from collections.abc import Collection, Iterable

import numpy as np

from rnnlab.errors import few
from rnnlab.files.panel import show

log = logging.getLogger("rnnlab")

FAR = 2
"""A sequence is far longer than those of training if it is more than so many times as long as the longest of them, and
far shorter if it is less than that part of the shortest."""


class Notes:
    """Collects what there is to say; :meth:`say` says it."""

    def __init__(self) -> None:
        self.short, self.long, self.short_series = Odd(), Odd(), Odd()
        self.shortest: int | None = None
        self.longest: int | None = None
        self.reads = 0
        self.unknown: list[np.datetime64] = []
        self.of_utc: bool | None = None
        self.file = ""
        """Of the folder that is read, the one from which comes what is looked at."""
        self.of_other_clocks: dict[str, None] = {}

    def sequences(self, lengths: Iterable[tuple[int, str]], shortest: int | None, longest: int | None) -> None:
        """Looks at sequences.

        Args:
            lengths: the steps of each, and its name.
            shortest: steps of the shortest one that the run was trained on; ``None`` where that does not matter, or is
                not known.
            longest: of the longest one, alike.
        """
        self.shortest, self.longest = shortest, longest
        for steps, name in lengths:
            self.short.count(steps, name, self.file, shortest is not None and FAR * steps < shortest)
            self.long.count(-steps, name, self.file, longest is not None and steps > FAR * longest)

    def series(self, rows: Iterable[tuple[int, str]], reads: int) -> None:
        """Looks at the rows of series, and their names, of which a forecast reads so many."""
        self.reads = reads
        for steps, name in rows:
            self.short_series.count(steps, name, self.file, steps < reads)

    def clocks(self, time: np.datetime64) -> None:
        """Notes the time of a last step ahead, before which a clock may be changed, and nobody knows whether it is."""
        self.unknown.append(time)

    def times(self, of_utc: bool, trained: bool | None) -> None:
        """Looks at whether times are those of UTC, and whether those were that the run was trained on."""
        if trained is not None and of_utc != trained:
            self.of_utc = of_utc
            self.of_other_clocks[self.file] = None

    def say(self) -> None:
        """Says it."""
        if self.of_utc is not None:
            log.warning(
                "the times%s say how far they are from UTC, and those of training did not: they are read as UTC, whose "
                "hours are others than those of a clock" if self.of_utc else
                "the times%s do not say how far they are from UTC, and those of training did: they are taken for UTC",
                _in(self.of_other_clocks)
            )  # fmt: skip
        trained = (
            "%s far %s than any that the run was trained on, the %s of which has %s: its scores say nothing of such"
        )
        if self.short.odd:
            log.warning(trained, self.short.told("sequence"), "shorter", "shortest", _steps(self.shortest))
        if self.long.odd:
            log.warning(trained, self.long.told("sequence"), "longer", "longest", _steps(self.longest))
        if self.short_series.odd:
            log.warning(
                "%s shorter than the %s that a forecast reads: the first value stands for those that are missing, and "
                "the forecast is less sure than its scores say", self.short_series.told("series"), _steps(self.reads),
            )  # fmt: skip
        if self.unknown:
            log.warning(
                "clocks may be changed for daylight saving by %s, and the times so far do not tell whether: the steps "
                "ahead are told by one that is not changed; times that say how far they are from UTC (2024-03-31 "
                "03:00+02:00) leave no doubt", show(max(self.unknown)),
            )  # fmt: skip


class Odd:
    """How many of some are odd, and the oddest of them."""

    def __init__(self) -> None:
        self.number = self.odd = 0
        self.oddest: tuple[int, str, str] | None = None
        self.files: dict[str, None] = {}

    def count(self, size: int, name: str, file: str, is_odd: bool) -> None:
        """Counts one of a file of a folder; the smaller it is, the odder."""
        self.number += 1
        if is_odd:
            self.odd += 1
            self.files[file] = None
            if self.oddest is None or size < self.oddest[0]:
                self.oddest = size, name, file

    def told(self, what: str) -> str:
        """As the subject of a sentence, with the oddest of them."""
        assert self.oddest is not None
        size, name, file = self.oddest
        place = f"{name} of {file}" if name and file else name or file
        if self.number == 1:
            return f"the {what}{_in(self.files)} ({_steps(abs(size))}) is"
        several = what if what.endswith("s") else f"{what}s"
        verb = "is" if self.odd == 1 else "are"
        where = f"{place}: {_steps(abs(size))}"
        if len(self.files) > 1:
            where += f"; in {len(self.files):,} files: {few(tuple(self.files))}"
        return f"{self.odd:,} of {self.number:,} {several} ({where}) {verb}"


def _in(files: Collection[str]) -> str:
    """Where something is, if in files of a folder."""
    names = [name for name in files if name]
    if len(names) < 2:
        return f" in {names[0]}" if names else ""
    return f" in {len(names):,} files ({few(names)})"


def _steps(number: int | None) -> str:
    assert number is not None
    return f"{number:,} step{'s' * (number != 1)}"
