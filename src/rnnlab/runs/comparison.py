"""Runs compared: grouped by all but seed and fold, ranked by the validation score that they were chosen by."""

import json
import math
import os
import re
import shlex
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rnnlab.runs.estimates import Estimate, Paired, estimate, holm, paired
from rnnlab.runs.records import FOLD, RunRecord
from rnnlab.store.verdict import Judgement
from rnnlab.student import LEVEL

NAMELESS = ("data", "task", "logger")
"""Choices that tell no configurations of a board apart."""
SUBJECT = (
    "path", "test_path", "target_path", "name", "target", "target_column", "label_column", "horizon", "test_start",
    "end",
)  # fmt: skip
"""Keys of data that say what is predicted of what: scores of different ones are of different questions."""
PATHS = frozenset({"path", "test_path", "target_path"})
OVERRIDE = re.compile(r"^(\+\+|\+|~)?(?P<key>[^=@~+]+)(@[^=]*)?=(?P<value>.*)$", re.DOTALL)


@dataclass
class Group:
    """Runs that differ in their seed alone, or in the fold of a backtest.

    Attributes:
        runs: all of them, in whatever state.
        parameters: what tells this group from others: ``{"model": "gru", "optimizer.lr": 0.01}``.
        rank: from 1 for the best; None as long as no run is done.
    """

    runs: list[RunRecord]
    parameters: dict[str, Any] = field(default_factory=dict)
    rank: int | None = None

    @property
    def monitor(self) -> str:
        return self.runs[0].monitor

    @property
    def mode(self) -> str:
        return self.runs[0].mode

    @cached_property
    def counted(self) -> list[RunRecord]:
        """The runs that are done, one a seed and fold: a second run of a seed repeats the first: no new evidence."""
        latest: dict[tuple[int, int], RunRecord] = {}
        for run in sorted(self.runs, key=lambda run: run.status.finished or ""):
            if run.score is not None:
                latest[run.replicate] = run
        return [latest[replicate] for replicate in sorted(latest)]

    @property
    def repeats(self) -> int:
        """Runs that are done and not counted."""
        return sum(run.score is not None for run in self.runs) - len(self.counted)

    @cached_property
    def states(self) -> Counter[str]:
        return Counter(run.state for run in self.runs)

    def values(self, score: str) -> list[float]:
        return [run.metrics[score] for run in self.counted if score in run.metrics]

    def estimate(self, score: str) -> Estimate:
        return estimate(self.values(score))

    @cached_property
    def score(self) -> Estimate:
        """Of the monitored score."""
        return self.estimate(self.monitor)

    @property
    def n(self) -> int:
        """Seeds that are done; of a backtest, seeds of folds."""
        return len(self.counted)

    @property
    def folds(self) -> list[int]:
        """That are done; empty where this is no backtest."""
        return sorted({run.fold for run in self.counted if run.fold is not None})

    def by_replicate(self) -> dict[Hashable, float]:
        return {run.replicate: run.metrics[self.monitor] for run in self.counted}

    @property
    def best_run(self) -> RunRecord | None:
        """Best on validation."""
        choose = min if self.mode == "min" else max
        return choose(self.counted, key=lambda run: run.metrics[self.monitor], default=None)

    @cached_property
    def verdicts(self) -> Counter[Judgement]:
        """Of the runs that are counted; none of runs that were made before there were verdicts."""
        return Counter(run.status.verdict.state for run in self.counted if run.status.verdict is not None)

    @property
    def verdict(self) -> str:
        """``better``, or of several runs ``better in 2 of 3``; empty where there is none."""
        if not self.verdicts:
            return ""
        state = Judgement.BETTER if Judgement.BETTER in self.verdicts else self.verdicts.most_common(1)[0][0]
        count, total = self.verdicts[state], self.verdicts.total()
        return state.words if count == total else f"{state.words} in {count} of {total}"

    @property
    def name(self) -> str:
        if self.parameters:
            return ", ".join(f"{key}={shown(value)}" for key, value in self.parameters.items())
        model = self.runs[0].choices.get("model")
        return f"model={model}" if model else "defaults"


@dataclass
class Board:
    """Groups whose scores can be compared: the same data, task and monitored score.

    Attributes:
        data: the choice of the data group, and where there are others of it, what is its own: ``csv (horizon=6)``.
        task: the choice of the task group.
        monitor: the score that ranks.
        mode: ``min`` or ``max`` of it.
        groups: the ranked ones first, the best first of all; then those that have no finished run yet.
        parameters: keys that vary over the groups.
        comparisons: best against each other ranked group, in their order.
        adjusted: Holm's p-value of each.
    """

    data: str
    task: str
    monitor: str
    mode: str
    groups: list[Group]
    parameters: list[str]
    comparisons: list[Paired]
    adjusted: list[float]

    @property
    def ranked(self) -> list[Group]:
        return [group for group in self.groups if group.rank is not None]

    @property
    def test(self) -> str:
        """The monitored score's counterpart on the test split."""
        return self.monitor.replace("val/", "test/", 1)

    @property
    def baseline(self) -> str:
        """The trivial predictor's, on the same test split."""
        return self.monitor.replace("val/", "baseline/", 1)

    @property
    def baseline_name(self) -> str:
        """What that predictor is called; several names where runs have several, and none where nobody tells."""
        return ", ".join(dict.fromkeys(run.status.baseline for run in self.records if run.status.baseline))

    @property
    def records(self) -> Iterator[RunRecord]:
        return (run for group in self.groups for run in group.runs)

    @property
    def warning(self) -> str:
        """That not one of several runs is worth anything, in a sentence; empty where one is, or there is no verdict."""
        states = Counter[Judgement]()
        for group in self.groups:
            states += group.verdicts
        runs = states.total()
        if runs < 2 or runs < sum(group.n for group in self.groups):
            return ""
        if states[Judgement.AT_CHANCE] == runs:
            return f"All {runs} runs are at chance: none learned anything that {self._named} does not know."
        if not states[Judgement.BETTER] and not states[Judgement.NONE]:
            return f"None of the {runs} runs is clearly better than its best baseline."
        return ""

    @property
    def _named(self) -> str:
        names = {run.status.verdict.baseline for run in self.records if run.status.verdict is not None}
        name = names.pop() if len(names) == 1 else None
        return name.replace("_", "-") if name else "a trivial predictor"

    @property
    def undecided(self) -> int:
        """Groups that cannot be distinguished from the best one: Holm's p is above 5 %, or there is nothing to test."""
        return sum(not p < 1 - LEVEL for p in self.adjusted)


def compare(records: Sequence[RunRecord]) -> list[Board]:
    """Boards of comparable runs, the largest first. Runs that never had a config join a group of their overrides."""
    boards: dict[tuple[str, str, str, str, str], list[RunRecord]] = {}
    for record in records:
        if record.config:
            of = (_choice(record, "data"), json.dumps(_subject(record)), _choice(record, "task"))
            boards.setdefault((*of, record.monitor, record.mode), []).append(record)
    homeless = [record for record in records if not record.config]
    named = _data_names({(data, subject) for data, subject, *_ in boards})
    made = [
        _board((named[data, subject], *others), runs, homeless) for (data, subject, *others), runs in boards.items()
    ]
    return sorted(made, key=lambda board: -sum(len(group.runs) for group in board.groups))


def _subject(record: RunRecord) -> dict[str, Any]:
    """What is predicted of what, by the keys :data:`SUBJECT`."""
    found = {name: _compared(record, f"data.{name}") for name in SUBJECT}
    return {name: value for name, value in found.items() if value is not None}


def _compared(record: RunRecord, name: str) -> Any:
    """A value of a run's config as it is compared with another's: 1 and 1.0 are one, and so are the ways to a file."""
    value = record.config.get(name)
    if type(value) is int:
        return float(value)
    if name.removeprefix("data.") in PATHS and isinstance(value, str):
        return os.path.normpath(os.path.join(record.status.directory or "", os.path.expanduser(value)))
    return value


def _data_names(kinds: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """What each choice of data with its subject is called: by what tells it from others of the same choice."""
    named = {}
    for data, subject in kinds:
        own = json.loads(subject)
        others = [json.loads(other) for choice, other in kinds if choice == data and other != subject]
        parts = []
        for name in SUBJECT:
            value, values = own.get(name), [other.get(name) for other in others]
            if all(value == other for other in values):
                continue
            if name in PATHS and isinstance(value, str):
                base = os.path.basename(value)
                if all(not isinstance(each, str) or each == value or os.path.basename(each) != base for each in values):
                    value = base
            parts.append(f"{name}={shown(value)}")
        named[data, subject] = f"{data} ({', '.join(parts)})" if parts else data
    return named


def _choice(record: RunRecord, part: str) -> str:
    """``sine`` of data, also where the status does not tell."""
    target = str(record.config.get(f"{part}._target_", "unknown"))
    return record.choices.get(part) or target.rsplit(".", 1)[-1]


def _board(key: Sequence[str], records: Sequence[RunRecord], homeless: Sequence[RunRecord]) -> Board:
    bound = seed_keys(records)
    groups: dict[str, Group] = {}
    by_overrides: dict[tuple[str, ...], Group] = {}
    for record in records:
        items = {
            name: _compared(record, name)
            for name in record.config
            if name not in bound
            and not _follows_seed(record, name)
            and not (name == FOLD and record.fold is not None)
            and not name.startswith("logger.")  # where a run is logged changes nothing in it
        }
        group = groups.setdefault(json.dumps(items, sort_keys=True, default=str), Group([]))
        group.runs.append(record)
        by_overrides.setdefault(deciding(record.overrides), group)
    for record in homeless:
        if (own := by_overrides.get(deciding(record.overrides))) is not None:
            own.runs.append(record)
    found = list(groups.values())
    parameters = _name(found, bound)
    data, task, monitor, mode = key
    sign = 1 if mode == "min" else -1
    ranked = sorted((group for group in found if group.counted), key=lambda group: sign * group.score.mean)
    for rank, group in enumerate(ranked, 1):
        group.rank = rank
    waiting = [group for group in found if group.rank is None]
    comparisons = [paired(ranked[0].by_replicate(), other.by_replicate(), mode) for other in ranked[1:]]
    adjusted = holm([comparison.p for comparison in comparisons])
    return Board(data, task, monitor, mode, [*ranked, *waiting], parameters, comparisons, adjusted)


def parse(override: str) -> tuple[str, str]:
    """Key and value of an override, without the signs that Hydra allows in front."""
    found = OVERRIDE.match(override)
    return (found["key"], found["value"]) if found else (override, "")


def deciding(overrides: Iterable[str]) -> tuple[str, ...]:
    """The overrides that say what a run is: neither its seed nor its fold nor where Hydra puts it."""
    return tuple(
        override
        for override in overrides
        if not override.startswith("hydra") and parse(override)[0] not in ("seed", FOLD)
    )


def _overridden(record: RunRecord) -> dict[str, str]:
    return dict(map(parse, record.overrides))


def seed_keys(records: Sequence[RunRecord]) -> set[str]:
    """``seed`` and the keys that follow it in every run that does not set them itself, as data.shuffle_seed does."""
    followers = {name for record in records for name in record.config if name.endswith("seed")}
    for record in records:
        own = _overridden(record)
        followers -= {
            name
            for name in followers
            if name in record.config and name not in own and record.config[name] != record.seed
        }
    # one that a person sets is a choice, and tells groups apart wherever it is set
    chosen = {name for record in records for name, value in _overridden(record).items() if "${seed}" not in value}
    return (followers - chosen) | {"seed"}


def _follows_seed(record: RunRecord, name: str) -> bool:
    """Whether it is ``data.seed='${seed}'`` on the command line; or a seed's follower that others have set."""
    if not name.endswith("seed"):
        return False
    value = _overridden(record).get(name)
    return "${seed}" in value if value is not None else name == "data.shuffle_seed"


def _name(groups: Sequence[Group], bound: set[str]) -> list[str]:
    """Gives each group the values of what varies; returns the keys.

    These are the choices (``model``) and the overridden keys that differ
    between groups. Where they don't tell all groups apart, as with two versions
    of the code, the other keys of the config that differ are added.
    """
    firsts = [group.runs[0] for group in groups]
    same = {f"data.{name}" for name in SUBJECT}  # in all of a board, however its paths are written
    choices = list(dict.fromkeys(group for run in firsts for group in run.choices if group not in NAMELESS))
    overridden = dict.fromkeys(key for group in groups for run in group.runs for key in _overridden(run))
    keys: dict[str, list[Any]] = {}
    for choice in choices:
        keys[choice] = [run.choices.get(choice) for run in firsts]
    for key in overridden:
        if (
            key in (*choices, *bound, *same)
            or key.startswith("logger.")
            or not any(key in run.config for run in firsts)
        ):
            continue
        keys[key] = [run.config.get(key) for run in firsts]
    keys = {key: values for key, values in keys.items() if len(set(map(_identity, values))) > 1}
    seen = Counter(tuple(map(_identity, column)) for column in zip(*keys.values(), strict=True)) if keys else Counter()
    alike = [
        index
        for index in range(len(groups))
        if len(groups) > 1 and (not keys or seen[tuple(_identity(values[index]) for values in keys.values())] > 1)
    ]
    if alike:
        for key in dict.fromkeys(key for index in alike for key in firsts[index].config):
            if key in keys or key in bound or key in same:
                continue
            values = [run.config.get(key) for run in firsts]
            if len({_identity(values[index]) for index in alike}) > 1:
                keys[key] = values
    for index, group in enumerate(groups):
        group.parameters = {key: values[index] for key, values in keys.items()}
    return list(keys)


def _identity(value: Any) -> str:
    return json.dumps(float(value) if type(value) is int else value, sort_keys=True, default=str)


def common_overrides(records: Sequence[RunRecord]) -> list[str]:
    """The overrides that every run has: they tell no group from another."""
    others = [set(record.overrides) for record in records[1:]]
    return [each for each in deciding(records[0].overrides) if all(each in other for other in others)]


def command(record: RunRecord, seeds: Sequence[int] = (), folds: Sequence[int] = ()) -> str:
    """The command that makes the run again; with seeds or folds, the sweep over them."""
    return shlex.join(["rnnlab", *arguments(record, seeds, folds)])


def arguments(record: RunRecord, seeds: Sequence[int] = (), folds: Sequence[int] = ()) -> list[str]:
    """The arguments of :func:`command`."""
    parts = ["train", *(["-m"] if len(seeds) > 1 or len(folds) > 1 else [])]
    for directory in record.status.config_dirs:
        parts += ["--config-dir", str(directory)]
    parts += deciding(record.overrides)
    if record.fold is not None:
        parts.append(f"{FOLD}={','.join(map(str, folds or [record.fold]))}")
    parts.append(f"seed={','.join(map(str, seeds or [record.seed]))}")
    return parts


def shown(value: Any) -> str:
    """A parameter's value as a person writes it on the command line."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float) and math.isfinite(value):
        return re.sub(r"e([+-])0*", lambda sign: "e" + sign[1].strip("+"), f"{value:.4g}")
    if isinstance(value, (list, dict)):
        return json.dumps(value, separators=(",", ":"), default=str)
    return str(value)
