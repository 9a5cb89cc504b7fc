"""How the linear part of a forecast (:mod:`rnnlab.data.linear`) is fitted, and what it is made of.

Its constants are chosen by a rule that looks at the training part alone. A candidate is a number of lags, with or
without the level, the calendar and the logarithm, and an amount of shrinkage. Each is fitted on what comes before the
last block of the training part, and scored there, then before the last but one, and so on (``BLOCKS`` blocks of a
``SHARE`` of it each: a rolling origin, S. Bergmeir & J. M. Benítez, Information Sciences 191, 2012). The score is the
mean absolute error relative to persistence in that block. The weights that are used are the mean of those of the
``AVERAGED`` best candidates, each refitted on the whole training part: a mean of forecasts is safer than the best of
many that are nearly alike (J. M. Bates & C. W. J. Granger, "The combination of forecasts", 1969), and a mean of linear
maps is one. What comes after the validation part is forecast by the same candidates, fitted once more on the training
and the validation part together. The level is a candidate only where the series kept it: else it would be read where
it never was.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from rnnlab.data.calendar import Calendar
from rnnlab.data.linear import HARMONICS, Linear, other_features
from rnnlab.files.panel import Columns

BLOCKS, SHARE = 3, 0.12
AVERAGED = 10
SHRINKAGE = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Candidates of what is added to the diagonal, where each feature has the variance 1."""
LAGS = (1, 3, 5, 9, 13, 25)
"""Candidates where no season is known."""
LONG_SEASON, LONGEST_SEASON = 60, 200
"""Steps of a season of which no more than one fits among the lags, and of one that is left to the calendar."""
CHOOSING, FITTING = 6_000, 30_000
"""At most so many origins are looked at, evenly spaced."""
FEWEST = 12
"""Origins that a fit needs."""
NEGLIGIBLE = 1e-3
"""Share of the deviation of what is forecast, below which a feature is taken for constant."""
IMPUTATIONS = 8
"""Rounds in which unknown targets are replaced by their own forecasts."""


@dataclass(frozen=True, eq=False)
class Training:
    """The training parts of some series.

    Attributes:
        values: ``(rows, columns)`` in units, what is missing carried forward.
        unknown: ``(rows, targets)`` true where a target was missing; ``None`` where none was.
        times: ``(rows,)``.
        parts: the first row and the end of the training part of each series.
        columns: the names.
        moments: the shift and the scale, each ``(series, columns)``, with or without the logarithm.
    """

    values: np.ndarray
    unknown: np.ndarray | None
    times: np.ndarray
    parts: Sequence[tuple[int, int]]
    columns: Columns
    moments: Callable[[bool], tuple[np.ndarray, np.ndarray]]

    @property
    def targets(self) -> int:
        return len(self.columns.target)

    def scaled(self, log: bool) -> np.ndarray:
        """``(rows, columns)``, 0 where nothing is known, and outside the training parts."""
        found = np.zeros(self.values.shape)
        shift, scale = self.moments(log)
        for number, (start, end) in enumerate(self.parts):
            x = self.values[start:end].copy()
            if log:
                x[:, : self.targets] = np.log(x[:, : self.targets])
            found[start:end] = np.nan_to_num((x - shift[number]) / scale[number])
        return found


@dataclass(frozen=True)
class Candidate:
    """What a linear part may be made of."""

    log: bool
    order: int
    level: bool
    calendar: tuple[Calendar, ...]
    covariates: bool


class Choice(NamedTuple):
    """What the linear part is made of: whether it is of logarithms, and the candidates that are averaged, each with
    its shrinkage.
    """

    log: bool
    best: tuple[tuple[Candidate, float], ...]

    def fit(self, training: Training, horizon: int) -> Linear:
        """The mean of the candidates, fitted on some parts."""
        scaled = training.scaled(self.log)
        fitted = [fit(training, scaled, candidate, horizon, alpha) for candidate, alpha in self.best]
        return _mean([part for part in fitted if part is not None], self.best)


def choose(
    training: Training, horizon: int, seasons: Sequence[int], logs: Sequence[bool], calendar: tuple[Calendar, ...]
) -> Choice | None:
    """Whether logarithms are taken, and the linear part, by the rule above.

    Args:
        training: the training parts.
        horizon: steps ahead.
        seasons: steps of each season; empty where none is known.
        logs: what may be tried.
        calendar: what may be read of the times.

    Returns:
        ``None`` where there is too little to fit anything.
    """
    scored: list[tuple[float, Candidate, float]] = []
    shortest = min(end - start for start, end in training.parts)
    orders = [order for order in candidate_orders(seasons, horizon) if order + horizon < shortest / 2]
    covariates = bool(training.columns.past or training.columns.known)
    for log in logs:
        scaled = training.scaled(log)
        levels = (False, True) if keeps_level(training, scaled) else (False,)
        for order, level, cycles, others in product(
            orders, levels, {(), calendar}, (False, True) if covariates else (False,)
        ):
            candidate = Candidate(log, order, level, cycles, others)
            scored += [(score, candidate, alpha) for alpha, score in _scores(training, scaled, candidate, horizon)]
    if not scored:
        return None
    scored.sort(key=lambda each: (each[0], each[1].order, each[2]))
    log = scored[0][1].log
    best = tuple((candidate, alpha) for _, candidate, alpha in scored if candidate.log == log)[:AVERAGED]
    return Choice(log, best)


def candidate_orders(seasons: Sequence[int], horizon: int) -> list[int]:
    """Numbers of lags that are tried: a season and one step, as that is what a seasonal difference needs, two or three
    seasons, and a season before the last step ahead.
    """
    seasons = [season for season in seasons if season <= LONGEST_SEASON]
    if not seasons:
        return list(LAGS)
    longest = max(seasons)
    found = {season + 1 for season in seasons} | {longest + horizon + 1}
    if longest < LONG_SEASON:  # a long one takes more time, and what is shorter than it tells less
        found |= {order for order in LAGS if order < seasons[0]} | {2 * longest + 1, 3 * longest + 1}
    return sorted(found)


def keeps_level(training: Training, scaled: np.ndarray) -> bool:
    """Whether the last third of most series has a mean within a deviation of that before."""
    kept = []
    for start, end in training.parts:
        cut = start + 2 * (end - start) // 3
        before, after = scaled[start:cut, : training.targets], scaled[cut:end, : training.targets]
        if not len(before):  # a series too short to tell
            continue
        kept.append((np.abs(after.mean(0) - before.mean(0)) < before.std(0)).mean() > 0.5)
    return bool(kept) and bool(np.mean(kept) > 0.5)


def _origins(parts: Sequence[tuple[int, int]], order: int, horizon: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The series and the row of origins whose lags and forecasts lie within the training parts."""
    rows = [np.arange(start + order - 1, max(end - horizon, start + order - 1)) for start, end in parts]
    every, series = np.concatenate(rows), np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    if len(every) > most:
        some = np.linspace(0, len(every) - 1, most).round().astype(np.int64)
        every, series = every[some], series[some]
    return series, every


def _design(
    training: Training, scaled: np.ndarray, candidate: Candidate, horizon: int, rows: np.ndarray, target: int
) -> np.ndarray:
    """``(origins, features)`` of a target."""
    now = scaled[rows, target]
    lags = scaled[rows[:, None] - np.arange(1, candidate.order), target] - now[:, None]
    cycles = training.times[None, rows + 1] if candidate.calendar else None
    others = other_features(
        scaled[None], rows, cycles, training.columns, horizon, candidate.calendar, candidate.covariates
    )[0]
    return np.concatenate([lags, *([now[:, None]] if candidate.level else []), others], 1)


def _truth(
    training: Training, scaled: np.ndarray, rows: np.ndarray, horizon: int, target: int
) -> tuple[np.ndarray, np.ndarray]:
    """``(origins, horizon)`` differences from the value of now, and true where they are known."""
    ahead = rows[:, None] + np.arange(1, horizon + 1)
    known = np.ones(ahead.shape, bool) if training.unknown is None else ~training.unknown[ahead, target]
    return scaled[ahead, target] - scaled[rows, target][:, None], known


class _Normal:
    """The normal equations of some origins, solved for any shrinkage.

    Where there are more features than origins they are solved in the space of the origins, with the same weights
    (Saunders, Gammerman and Vovk 1998, section 2): a step of the eigenvalues is the cube of the smaller of the two.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, known: np.ndarray) -> None:
        self.x, self.y, self.known = x, np.where(known, y, 0.0), known
        self.center, self.deviation = x.mean(0), x.std(0)
        # what never changes says nothing; nor does what changes by rounding alone, of which a fit would make much
        self.deviation[self.deviation < max(1e-9, NEGLIGIBLE * self.y.std(0).max())] = np.inf
        self.z = (x - self.center) / self.deviation
        self.dual = self.z.shape[0] < self.z.shape[1]
        values, self.vectors = np.linalg.eigh(self.z @ self.z.T if self.dual else self.z.T @ self.z)
        self.values = np.maximum(values, 0.0)

    def solve(self, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """``(features, horizon)`` weights of the features as they are, and the ``(horizon,)`` constant."""
        y = self.y
        for _ in range(1 if self.known.all() else IMPUTATIONS):
            mean = y.mean(0)
            told = y - mean if self.dual else self.z.T @ (y - mean)
            solved = self.vectors @ ((self.vectors.T @ told) / (self.values + alpha)[:, None])
            weights = self.z.T @ solved if self.dual else solved
            # with their own forecasts in their place, unknown targets move the weights no more
            y = np.where(self.known, self.y, self.z @ weights + mean)
        weights = weights / self.deviation[:, None]
        return weights, mean - self.center @ weights


def _scores(
    training: Training, scaled: np.ndarray, candidate: Candidate, horizon: int
) -> Iterable[tuple[float, float]]:
    """The score of each shrinkage, over the blocks and the targets; nothing where no block can be scored."""
    series, rows = _origins(training.parts, candidate.order, horizon, CHOOSING)
    shift, scale = training.moments(candidate.log)
    _, plain_scale = training.moments(False)
    starts, ends = (np.array(each)[series] for each in zip(*training.parts, strict=True))
    block = np.maximum(1, (SHARE * (ends - starts)).astype(np.int64))
    found: dict[float, list[float]] = {alpha: [] for alpha in SHRINKAGE}
    for target in range(training.targets):
        x = _design(training, scaled, candidate, horizon, rows, target)
        y, known = _truth(training, scaled, rows, horizon, target)
        to_units = scale[series, target][:, None], shift[series, target][:, None]
        unit = plain_scale[series, target][:, None]

        def units(values: np.ndarray, some: np.ndarray, to_units: Any = to_units, unit: Any = unit) -> np.ndarray:
            """On the scale of the series as they are, whether logarithms were taken or not."""
            values = values * to_units[0][some] + to_units[1][some]
            return (np.exp(np.clip(values, -700, 700)) if candidate.log else values) / unit[some]

        for number in range(BLOCKS):
            high = ends - number * block
            low = high - block
            fits = rows + horizon < low
            scores = (rows + horizon < high) & np.where(block > horizon, rows + 1 >= low, rows + horizon >= low)
            scores &= known.any(1)
            if fits.sum() < FEWEST or not scores.any():
                continue
            now = scaled[rows[scores], target][:, None]
            there = known[scores]
            truth = units(y[scores] + now, scores)
            naive = np.abs(truth - units(now, scores))[there].mean()
            normal = _Normal(x[fits], y[fits], known[fits])
            for alpha in SHRINKAGE:
                weights, constant = normal.solve(alpha)
                said = units(x[scores] @ weights + constant + now, scores)
                found[alpha].append(float(np.abs(said - truth)[there].mean() / max(naive, 1e-12)))
    return [(alpha, float(np.mean(errors))) for alpha, errors in found.items() if errors]


def fit(training: Training, scaled: np.ndarray, candidate: Candidate, horizon: int, alpha: float) -> Linear | None:
    """A candidate fitted on all of the training parts."""
    _, rows = _origins(training.parts, candidate.order, horizon, FITTING)
    if len(rows) < FEWEST:
        return None
    constants, lags, others = [], [], []
    for target in range(training.targets):
        x = _design(training, scaled, candidate, horizon, rows, target)
        normal = _Normal(x, *_truth(training, scaled, rows, horizon, target))
        weights, constant = normal.solve(alpha)
        back = candidate.order - 1
        own = weights[:back]
        now = 1.0 - own.sum(0) + (weights[back] if candidate.level else 0.0)
        constants.append(constant)
        lags.append(np.concatenate([now[None], own]).T)
        others.append(weights[back + candidate.level :].T)
    return Linear(
        np.stack(constants, -1), np.stack(lags, -1), np.stack(others, -1), candidate.calendar, candidate.covariates
    )


def _mean(parts: Sequence[Linear], best: Sequence[tuple[Candidate, float]]) -> Linear:
    """One linear part whose forecast is the mean of those of several."""
    order = max(part.order for part in parts)
    calendar = max((part.calendar for part in parts), key=len)
    cycles = 2 * HARMONICS * len(calendar)
    columns = max(part.others.shape[1] - 2 * HARMONICS * len(part.calendar) for part in parts)
    weights, others = [], []
    for part in parts:
        own = 2 * HARMONICS * len(part.calendar)
        spread = np.zeros((part.others.shape[0], cycles + columns, part.others.shape[2]))
        spread[:, :own] = part.others[:, :own]
        spread[:, cycles : cycles + part.others.shape[1] - own] = part.others[:, own:]
        others.append(spread)
        weights.append(np.pad(part.weights, ((0, 0), (0, order - part.order), (0, 0))))
    return Linear(
        np.mean([part.constant for part in parts], 0),
        np.mean(weights, 0),
        np.mean(others, 0),
        calendar,
        columns > 0,
        _words([candidate for candidate, _ in best]),
    )


def _words(candidates: Sequence[Candidate]) -> str:
    """What those that are averaged read: ``ridge regressions on 13, 14 or 25 lags, the month (of logarithms)``."""
    *orders, most = map(str, sorted({candidate.order for candidate in candidates}))
    words = [f"ridge regressions on {', '.join(orders)}{' or ' * bool(orders)}{most} lag{'s' * (most != '1')}"]
    if any(candidate.level for candidate in candidates):
        words.append("the level")
    cycles = dict.fromkeys(cycle for candidate in candidates for cycle in candidate.calendar)
    words += [f"the {cycle}" for cycle in cycles]
    if any(candidate.covariates for candidate in candidates):
        words.append("other columns")
    return ", ".join(words) + (" (of logarithms)" if candidates[0].log else "")
