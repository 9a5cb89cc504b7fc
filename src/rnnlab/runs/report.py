"""Runs compared: grouped by everything but the seed, ranked by the score that they were chosen by."""

import csv
import io
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnlab.errors import InputError
from rnnlab.runs.directory import STATUS, RunDirectory, replace

NOT_GROUPED_BY = ("seed=", "hydra.", "hydra/")


@dataclass
class RunRecord:
    """One run, as its directory tells it."""

    path: Path
    state: str
    reason: str
    overrides: tuple[str, ...]
    monitor: str
    mode: str
    metrics: dict[str, Any]


@dataclass
class Group:
    """Runs that differ in their seed alone."""

    name: str
    runs: list[RunRecord]

    def mean(self, score: str) -> float:
        values = self.values(score)
        return statistics.fmean(values) if values else math.nan

    def deviation(self, score: str) -> float:
        values = self.values(score)
        return statistics.stdev(values) if len(values) > 1 else math.nan

    def values(self, score: str) -> list[float]:
        return [run.metrics[score] for run in self.runs if score in run.metrics]


def find_runs(places: Iterable[str | Path]) -> list[RunRecord]:
    """All runs at or below some directories.

    Raises:
        InputError: a place is no directory, or there is no run at all.
    """
    records = []
    places = list(places)
    for place in places:
        if not Path(place).is_dir():
            raise InputError(f"{place}: there is no such directory")
        records += [read_run(status.parent) for status in sorted(Path(place).rglob(STATUS), key=_natural)]
    if not records:
        raise InputError(f"{', '.join(map(str, places))}: no runs there")
    return records


def read_run(path: Path) -> RunRecord:
    """What a run's files say; a run that is still running has no metrics yet."""
    directory = RunDirectory(path)
    status = directory.status
    config = directory.config if (path / "config.yaml").exists() else {}
    kept = [override for override in status.get("overrides", []) if not override.startswith(NOT_GROUPED_BY)]
    state = status["state"]
    if state in ("created", "running") and not directory.is_alive and status.get("pid"):
        state = "interrupted"  # its process is gone without a word
    return RunRecord(
        path,
        state,
        status.get("reason") or "",
        tuple(kept),
        config.get("monitor", "val/loss"),
        config.get("mode", "min"),
        directory.metrics,
    )


def rank(records: Sequence[RunRecord]) -> list[Group]:
    """Groups of finished runs, the best mean of the monitored (validation) score first."""
    shared = common_overrides(records)
    groups: dict[tuple[str, ...], Group] = {}
    for record in records:
        if record.state == "done":
            own = ", ".join(override for override in record.overrides if override not in shared)
            groups.setdefault(record.overrides, Group(own or "defaults", [])).runs.append(record)

    def key(group: Group) -> tuple[bool, float]:
        value = group.mean(group.runs[0].monitor)
        return (math.isnan(value), value if group.runs[0].mode == "min" else -value)

    return sorted(groups.values(), key=key)


def common_overrides(records: Sequence[RunRecord]) -> list[str]:
    """The overrides that every run has: they tell no group from another."""
    return [override for override in records[0].overrides if all(override in r.overrides for r in records)]


COLUMNS = ("rank", "group", "n", "monitor", "mean", "std", "test", "baseline", "parameters", "seconds", "best_run")


def rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """The leaderboard: a row a group."""
    table = []
    for number, group in enumerate(groups, 1):
        first = group.runs[0]
        sign = 1 if first.mode == "min" else -1
        best = min(group.runs, key=lambda run: sign * run.metrics.get(run.monitor, math.inf))
        test = first.monitor.replace("val/", "test/")
        table.append(
            {
                "rank": number,
                "group": group.name,
                "n": len(group.runs),
                "monitor": first.monitor,
                "mean": group.mean(first.monitor),
                "std": group.deviation(first.monitor),
                "test": group.mean(test),
                "baseline": group.mean(test.replace("test/", "baseline/")),
                "parameters": first.metrics.get("parameters"),
                "seconds": group.mean("seconds"),
                "best_run": str(best.path),
            }
        )
    return table


def write_leaderboard(path: Path, table: Sequence[dict[str, Any]]) -> None:
    """Writes ``leaderboard.csv`` whole."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    replace(path, text.getvalue())


def _natural(path: Path) -> tuple[Any, ...]:
    """Sorts ``10_…`` behind ``9_…``."""
    return tuple(
        (0, int(head), rest) if head.isdigit() else (1, 0, part)
        for part in path.parts
        for head, _, rest in [part.partition("_")]
    )
