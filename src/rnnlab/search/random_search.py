"""Random search: settings drawn independently, whatever the scores are.

J. Bergstra & Y. Bengio, "Random search for hyper-parameter optimization",
JMLR 13 (2012): where few of many keys matter, it beats a grid of the same
number of runs, since each run tries a value of its own of every key.
"""

import contextlib
import random
from collections.abc import Iterator, Mapping
from itertools import count, islice
from pathlib import Path

from rnnlab.errors import InputError
from rnnlab.search.searcher import Objective, Searcher, Trial
from rnnlab.search.space import TRIES, Space

COUNTED = 100_000
"""Settings of a space that are counted before a search; one with more is as good as endless."""


class RandomSearch(Searcher):
    """The n-th trial is a function of seed and n alone: on any launcher, however often the search was stopped.

    A setting is never drawn twice: a space of twelve settings has twelve
    trials, whatever the budget.
    """

    def check(self, space: Space) -> None:
        # what has an end is counted no further than the budget
        with contextlib.suppress(InputError):
            size = sum(1 for _ in islice(space.grid(), min(self.n_trials or 0, COUNTED)))
            self.n_trials = size if 0 < size < COUNTED else self.n_trials

    def open(self, space: Space, objective: Objective, sweep: Path, known: Mapping[int, Mapping[str, str]]) -> None:
        self._known, self._numbers = known, count()
        self._drawn = self.draws(space)

    def draws(self, space: Space) -> Iterator[dict[str, str]]:
        rng = random.Random(f"rnnlab {self.seed}")
        seen: set[str] = set()
        misses = 0
        while misses < TRIES:
            settings = space.draw(rng)
            if str(settings) in seen:
                misses += 1
                continue
            seen.add(str(settings))
            misses = 0
            yield settings

    def ask(self) -> Trial | None:
        for number in self._numbers:
            if self.is_late or (self.n_trials is not None and number >= self.n_trials):
                return None
            settings = next(self._drawn, None)
            if settings is None:
                return None
            if number not in self._known:
                return Trial(number, settings)
        return None
