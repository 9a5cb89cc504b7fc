"""What a verdict is made from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnnlab.tasks.direction import direction

ROUNDING = 1e-7
"""An error that is so small a share of another is none: single precision tells no smaller one."""

Items = tuple[np.ndarray, np.ndarray]
"""A score of each test sequence, and of how many elements it is the mean; ``(sequences,)`` each."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a verdict is made from.

    Attributes:
        metrics: final scores, flat, as ``metrics.json`` has them: ``test/mae``, ``baseline/mae``,
            ``baseline/linear_ar/mae`` …
        score: by which the task is judged.
        baseline: name of the trivial predictor whose scores stand under ``baseline/``.
        rivals: names of predictors under ``baseline/`` that are told more than the network: they decide nothing.
        part: the predictor under ``baseline/`` to which the network adds, and which is a part of what is judged.
        higher: names of scores of one's own that are better the higher they are.
        items: of ``score``, of ``network`` and of each baseline by name, in the order of the test; empty where unknown.
        others: the same of other scores, by score.
        linear: scores of which these are what each sequence counts for (:class:`rnnlab.tasks.tally.Tally`).
        dependent: so many test sequences in a row depend on each other: 1 where each is drawn by itself.
        ordered: they come in the order of time, so that neighbours are alike.
        constant: the trivial predictor says the same whatever it sees: no better than it is chance.
        rows: of ``metrics.csv``, a mapping an epoch.
        monitor: the score that chose the weights.
        mode: ``min`` or ``max`` of it.
        steps: updates made.
        budget: updates that were to be made, unless it was stopped early.
        passes: over the training data, made in these updates.
        sequences: by split: ``train``, ``val`` and ``test``.
        thing: what a sequence is called.
        parameters: of the network.
        length: steps of the longest sequence.
        period: steps of a season; ``None`` where there is none.
        drift: of a series, how far its level moves within the training part: see :func:`drift`.
        base: of a series, the forecast from which the network forecasts the difference; ``none`` where there is none.
        config: of the run, flat: ``{"optimizer.lr": 0.003, …}``.
        choices: of config groups.
        overrides: of the command line.
        config_dirs: of one's own configs.
        models: that could be tried, the present one among them or not.
    """

    metrics: Mapping[str, float]
    score: str = "loss"
    baseline: str | None = None
    rivals: tuple[str, ...] = ()
    part: str = ""
    higher: tuple[str, ...] = ()
    items: Mapping[str, Items] = field(default_factory=dict)
    others: Mapping[str, Mapping[str, Items]] = field(default_factory=dict)
    linear: tuple[str, ...] = ()
    dependent: int = 1
    ordered: bool = False
    constant: bool = False
    rows: Sequence[Mapping[str, float]] = ()
    monitor: str = "val/loss"
    mode: str = "min"
    steps: int = 0
    budget: int = 0
    passes: float = math.inf
    sequences: Mapping[str, int] = field(default_factory=dict)
    thing: str = "sequence"
    parameters: int = 0
    length: int = 0
    period: int | None = None
    drift: float = 0.0
    base: str = "none"
    config: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    config_dirs: tuple[str, ...] = ()
    models: tuple[str, ...] = ("gru", "lstm", "lru")

    def of(self, score: str) -> Mapping[str, Items]:
        """What is known of a score of each test sequence, by predictor."""
        return self.items if score == self.score else self.others.get(score, {})

    def predictors(self, score: str) -> dict[str, float]:
        """All predictors under ``baseline/`` that have a score, by name."""
        found: dict[str, float] = {}
        for name, value in self.metrics.items():
            head, _, rest = name.partition("/")
            predictor, _, last = rest.rpartition("/")
            # baseline/rollout/mse is of the rollout, which the network has, too
            if head == "baseline" and last == score and f"{predictor}/{score}" not in self.metrics:
                found[predictor or self.baseline or "the trivial predictor"] = value
        return found

    def baselines(self, score: str) -> dict[str, float]:
        """Those of them that a network is held against."""
        aside = (*self.rivals, self.part)
        return {name: value for name, value in self.predictors(score).items() if name not in aside}

    def ahead(self, score: str, value: float) -> dict[str, float]:
        """All predictors that are better than a value, the best first; without the network's own part."""
        rises = self.rises(score)
        others = {name: each for name, each in self.predictors(score).items() if name != self.part}
        better = {name: each for name, each in others.items() if (each > value if rises else each < value)}
        return dict(sorted(better.items(), key=lambda item: item[1], reverse=rises))

    @property
    def adds_nothing(self) -> bool:
        """What the network learned is not used: it did not help on the validation part."""
        # of a linear part, or of the naive forecast that took its place, which the name ends with
        return any(value == 0 for name, value in self.metrics.items() if name.startswith("calibration/gain"))

    def is_exact(self, score: str, value: float) -> bool:
        """Whether there is no error in it but that of rounding, beside what the trivial predictor makes."""
        if self.rises(score):
            return False
        trivial = self.predictors(score).get(self.baseline or "", 0.0)
        return 0 <= value <= ROUNDING * (trivial if math.isfinite(trivial) else 0.0)

    def rises(self, score: str) -> bool:
        """Whether a score is better the higher it is."""
        return direction(score, self.higher) == "max"

    def column(self, name: str) -> np.ndarray:
        """``(epochs,)`` a score in the epochs that have it, as a finite number."""
        values = np.array([row.get(name, math.nan) for row in self.rows], float)
        return values[np.isfinite(values)]


def drift(values: np.ndarray) -> float:
    """How far the level of ``(time,)`` values moves: the difference of the means of its last and its first quarter, in
    standard deviations of what is left in a quarter. A level that stays has about 0; from 1 on the range of the one
    quarter hardly reaches that of the other.
    """
    values = values[np.isfinite(values)]
    quarter = len(values) // 4
    if quarter < 2:
        return 0.0
    first, last = values[:quarter], values[-quarter:]
    spread = math.sqrt((float(first.var()) + float(last.var())) / 2)
    moved = abs(float(last.mean() - first.mean()))
    return moved / spread if spread > 0 else (math.inf if moved > 0 else 0.0)
