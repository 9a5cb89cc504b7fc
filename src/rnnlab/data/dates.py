"""Dates as people write them, and as ISO 8601 does."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from rnnlab.data.rule_pairs import RulePairs

MONTHS = ("January February March April May June July August September October November December").split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
FIRST, LAST = date(1900, 1, 1), date(2099, 12, 31)
FORMATS = (
    "{d} {month} {y}",
    "{d} {mon} {y}",
    "{month} {d}, {y}",
    "{mon} {d}, {y}",
    "{day}, {d} {month} {y}",
    "{month} {d}{th} {y}",
    "the {d}{th} of {month}, {y}",
    "{d:02}.{m:02}.{y}",
    "{d}.{m}.{y}",
    "{y}/{m:02}/{d:02}",
)
"""Day before month where both are numbers: a person of the United States would read them otherwise."""


def written(day: date, form: str) -> str:
    """A date in one of ``FORMATS``."""
    ending = "th" if 10 < day.day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    month = MONTHS[day.month - 1]
    return form.format(
        d=day.day, m=day.month, y=day.year, month=month, mon=month[:3], day=DAYS[day.weekday()], th=ending
    )


@dataclass(kw_only=True, eq=False)
class Dates(RulePairs):
    """A date from 1900 to 2099 in one of ten formats, which is to be written as ISO 8601 has it.

    ::

        3 May 2009                  target (11,)   2 0 0 9 - 0 5 - 0 3 <end>
        the 21st of June, 1987      target (11,)   1 9 8 7 - 0 6 - 2 1 <end>

    Most of it is copied from another place, and the name of the month is
    learned: the classic of attention over characters.

    Attributes:
        num_samples: dates in the three splits together.
    """

    def pair(self, rng: np.random.Generator) -> tuple[str, str]:
        day = FIRST + timedelta(days=int(rng.integers((LAST - FIRST).days + 1)))
        return written(day, FORMATS[rng.integers(len(FORMATS))]), day.isoformat()

    @property
    def source_tokens(self) -> Sequence[str]:
        return sorted({letter for name in (*MONTHS, *DAYS, "the of st nd rd th , . / 0123456789") for letter in name})

    @property
    def target_tokens(self) -> Sequence[str]:
        return "-0123456789"
