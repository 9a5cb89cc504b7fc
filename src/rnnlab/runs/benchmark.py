"""An experiment over several models and seeds, beside published numbers and the trivial baseline.

What is run and what it is held against stands in ``conf/benchmark/NAME.yaml``, read here; see :class:`Benchmark`.
"""

import csv
import io
import math
import statistics
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnlab.runs.benchmark_file import Benchmark, BenchmarkRun, Number, Target
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.estimates import holm, paired
from rnnlab.store import json_text
from rnnlab.store.files import Damaged, replace
from rnnlab.store.status import Status
from rnnlab.student import LEVEL


@dataclass(frozen=True)
class Cell:
    """The runs of one row at one value of ``along``, and the seed of each."""

    row: str
    at: Number | None
    metrics: tuple[Mapping[str, Any], ...]
    seeds: tuple[int, ...] = ()

    def values(self, score: str) -> list[float]:
        return [metrics[score] for metrics in self.metrics if score in metrics]

    def mean(self, score: str) -> float:
        values = self.values(score)
        return statistics.fmean(values) if values else math.nan

    def deviation(self, score: str) -> float:
        values = self.values(score)
        return statistics.stdev(values) if len(values) > 1 else math.nan


@dataclass(frozen=True)
class Result:
    """A benchmark and what its runs gave."""

    benchmark: Benchmark
    cells: tuple[Cell, ...]
    monitor: str
    mode: str
    rivals: tuple[Cell, ...] = ()

    def mean(self, row: str) -> float:
        """Over all places along the curve of a row's means; not a number where it lacks one."""
        assert self.benchmark.along is not None
        there = {cell.at: cell.mean(self.benchmark.scores(cell.at)) for cell in self.cells if cell.row == row}
        return statistics.fmean(there.get(at, math.nan) for at in self.benchmark.along.values)

    def cell(self, row: str, at: Number | None) -> Cell:
        return next(cell for cell in self.cells if (cell.row, cell.at) == (row, at))

    @property
    def rows(self) -> list[str]:
        return list(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def places(self) -> list[Number | None]:
        """The values of ``along``; one ``None`` where there is no curve."""
        return list(dict.fromkeys(cell.at for cell in self.cells))

    def baselines(self, at: Number | None) -> dict[str, float]:
        """Of the trivial predictors, over all runs at a place: they do not depend on the model."""
        found = {}
        for name, key in self.benchmark.baseline.items():
            values = [value for cell in self.cells if cell.at == at for value in cell.values(key.format(at=at))]
            if values:
                found[name] = statistics.fmean(values)
        return found

    def best_row(self, at: Number | None) -> str:
        """By the mean of the monitored validation score, and never by the test."""
        sign = 1 if self.mode == "min" else -1
        cells = [cell for cell in self.cells if cell.at == at and cell.values(self.monitor)]
        return min(cells, key=lambda cell: sign * cell.mean(self.monitor)).row

    def verdict(self) -> str:
        """Whether the target was reached, in one line; empty where there is none or nobody has run there."""
        target, benchmark = self.benchmark.target, self.benchmark
        if target is not None and target.at == MEAN:
            return self._verdict_of_means(target)
        if target is None or target.at not in self.places:
            return ""
        row = self.best_row(target.at) if target.row == "best" else target.row
        if row not in self.rows:
            return ""
        value = self.cell(row, target.at).mean(benchmark.scores(target.at))
        reached = value <= target.value if benchmark.mode == "min" else value >= target.value
        sign = "≤" if benchmark.mode == "min" else "≥"
        where = "" if target.at is None or benchmark.along is None else f" at {benchmark.along.label}={target.at}"
        which = f"{row}, the best on validation," if target.row == "best" and len(self.rows) > 1 else row
        missed = "reached" if reached else f"missed by {benchmark.shown(abs(value - target.value))}"
        return (
            f"to reach{where}: {sign} {benchmark.shown(target.value)}; {which} has {benchmark.shown(value)}: {missed}"
        )

    def by_seed(self, row: str) -> dict[Hashable, float]:
        """A row's score by seed, where the target is, or its mean over all places of those seeds that have all."""
        benchmark = self.benchmark
        averaged = benchmark.along is not None and benchmark.along.mean
        places: Sequence[Number | None] = [self._at]
        if averaged and benchmark.along is not None:
            places = benchmark.along.values
        scores: dict[Hashable, list[float]] = {}
        for cell in (*self.cells, *self.rivals):
            if cell.row == row and cell.at in places:
                for seed, metrics in zip(cell.seeds, cell.metrics, strict=False):
                    if benchmark.scores(cell.at) in metrics:
                        scores.setdefault(seed, []).append(metrics[benchmark.scores(cell.at)])
        return {seed: statistics.fmean(values) for seed, values in scores.items() if len(values) == len(places)}

    @property
    def _at(self) -> Number | None:
        """The place that rows are compared at, where there is no mean."""
        target = self.benchmark.target
        return None if target is None or target.at == MEAN else target.at

    def order(self) -> str:
        """Which rows the best one is better than, as far as the paired test by seed tells, in one line.

        Rows that it does not tell apart are said to be so: the order in which their means stand is no order. Empty
        where there is nothing to compare.
        """
        mode = self.benchmark.mode
        scores = {row: found for row in self.rows if (found := self.by_seed(row))}
        if len(scores) < 2:
            return ""
        sign = 1 if mode == "min" else -1
        first, *others = sorted(scores, key=lambda row: sign * statistics.fmean(scores[row].values()))
        all_compared = {other: paired(scores[first], scores[other], mode) for other in others}
        compared = [comparison for comparison in all_compared.values() if comparison.n > 1]
        if not compared:
            return "no order: one seed tells none"
        others = [other for other, comparison in all_compared.items() if comparison.n > 1]
        single = [other for other, comparison in all_compared.items() if comparison.n < 2]
        better: list[str] = []
        alike: list[str] = []
        chances = holm([comparison.p for comparison in compared])
        for other, comparison, p in zip(others, compared, chances, strict=True):
            # by how much the first is ahead, whichever way is better
            ends = sorted(sign * end for end in (comparison.low, comparison.high))
            low, high = map(self.benchmark.shown, ends)
            ahead = self.benchmark.shown(abs(comparison.difference))
            by = f"{other} ({ahead}, 95 % interval {low} to {high}, p={p:.2g})"
            (better if p < 1 - LEVEL else alike).append(by if not math.isnan(p) else other)
        fewest, most = (which(comparison.n for comparison in compared) for which in (min, max))
        seeds = f"{most}" if fewest == most else f"{fewest} to {most}"
        said = [f"{first} is better than {', '.join(better)}"] if better else []
        said += [f"{first} and {', '.join(alike)} are not told apart"] if alike else []
        said += [f"with {', '.join(single)} it shares one seed, which tells nothing"] if single else []
        return f"order by the paired t test over {seeds} seeds, Holm's correction: {'; '.join(said)}"

    def best_on_average(self) -> str | None:
        """The row with the best mean over all places; none where no row has all."""
        means = {row: mean for row in self.rows if not math.isnan(mean := self.mean(row))}
        best = max if self.benchmark.mode == "max" else min
        return best(means, key=means.__getitem__) if means else None

    def rank(self) -> str:
        """The mean rank of our best row among all that others have, in one line; empty where there is no mean.

        At each place the row is ranked among the numbers that there are for it; equal ones share their rank.
        """
        benchmark = self.benchmark
        if benchmark.along is None or not benchmark.along.mean or (row := self.best_on_average()) is None:
            return ""
        sign = -1 if benchmark.mode == "max" else 1
        ranks, numbers = [], []
        for at in benchmark.along.values:
            own = sign * self.cell(row, at).mean(benchmark.scores(at))
            # what two tables say of one method counts once, by the better
            published: dict[str, float] = {}
            for other in benchmark.others:
                if other.at == at:
                    published[other.name] = min(sign * other.value, published.get(other.name, math.inf))
            theirs = list(published.values())
            theirs += [sign * cell.mean(benchmark.scores(at)) for cell in self.rivals if cell.at == at]
            ranks.append(1 + sum(value < own for value in theirs) + sum(value == own for value in theirs) / 2)
            numbers.append(1 + len(theirs))
        each = ", ".join(
            f"{at} {rank:g} of {n}" for at, rank, n in zip(benchmark.along.values, ranks, numbers, strict=True)
        )
        return f"mean rank of {row}: {statistics.fmean(ranks):.1f} ({each})"

    def _verdict_of_means(self, target: Target) -> str:
        benchmark = self.benchmark
        row = self.best_on_average() if target.row == "best" else target.row
        if row is None or row not in self.rows or math.isnan(value := self.mean(row)):
            return ""
        reached = value <= target.value if benchmark.mode == "min" else value >= target.value
        missed = "reached" if reached else f"missed by {benchmark.shown(abs(value - target.value))}"
        sign = "≤" if benchmark.mode == "min" else "≥"
        return (
            f"to reach on average: {sign} {benchmark.shown(target.value)}; {row} has {benchmark.shown(value)}: {missed}"
        )


MEAN = "mean"
"""The place of a target that is the mean over all places."""


def collect(
    benchmark: Benchmark,
    done: Sequence[tuple[BenchmarkRun, RunDirectory]],
    rivals: Sequence[Cell] = (),
    ensembles: Sequence[Cell] = (),
) -> Result:
    """The result of the runs that are done."""
    cells: dict[tuple[str, Number | None], list[tuple[int, Mapping[str, Any]]]] = {}
    along = benchmark.along
    for job, directory in done:
        for at in along.values if along is not None and along.key is None else [job.at]:
            cells.setdefault((job.row, at), []).append((job.seed, directory.metrics))
    config = done[0][1].config
    return Result(benchmark, (*gather(cells), *ensembles), config["monitor"], config["mode"], tuple(rivals))


def gather(found: Mapping[tuple[str, Number | None], Sequence[tuple[int, Mapping[str, Any]]]]) -> tuple[Cell, ...]:
    """Cells of what was found, by row and place: a seed and its metrics each."""
    return tuple(
        Cell(row, at, tuple(metrics for _, metrics in runs), tuple(seed for seed, _ in runs))
        for (row, at), runs in found.items()
    )


def run_ensembles(
    benchmark: Benchmark, done: Sequence[tuple[BenchmarkRun, RunDirectory]], kept: Path, report: Callable[[str], None]
) -> tuple[Cell, ...]:
    """What the runs of several rows reach together, seed by seed, where all of them have run.

    Args:
        benchmark: with the ensembles.
        done: the runs.
        kept: a file with what was tested before, and is not tested again.
        report: is told of each that was.
    """
    from rnnlab.runs.ensemble import Member, evaluate_together  # imports torch

    runs = {(job.row, job.at, job.seed): directory for job, directory in done}
    known = read_scores(kept) if benchmark.ensembles else {}
    cells: dict[tuple[str, Number | None], list[tuple[int, Mapping[str, Any]]]] = {}
    for name, rows in benchmark.ensembles.items():
        counts = Counter(rows)
        size = max(counts.values())
        for at, seed in dict.fromkeys((job.at, job.seed // size) for job, _ in done):
            wanted = [(row, at, size * seed + k) for row, count in counts.items() for k in range(count)]
            members = [runs[which] for which in wanted if which in runs]
            if len(members) < len(wanted):
                continue
            key = f"{name} {at} {seed}"
            if key not in known:
                scores = evaluate_together([Member(member, member.config) for member in members]).ensemble
                sums = {of: sum(member.metrics.get(of, 0) for member in members) for of in ("parameters", "seconds")}
                known[key] = {**scores, **sums}
                replace(kept, json_text.dump(known, indent=2) + "\n")
                report(
                    f"{name}{'' if at is None else f' {at}'} seed {seed}: "
                    f"{benchmark.shown(known[key][benchmark.scores(at)])}"
                )
            cells.setdefault((name, at), []).append((seed, known[key]))
    return gather(cells)


def read_scores(path: Path) -> dict[str, dict[str, float]]:
    """Scores that were kept before; nothing where the file is none of that kind."""
    try:
        content = json_text.read(path, 2**20)
    except (OSError, Damaged):
        return {}
    if not isinstance(content, dict):
        return {}
    return {
        str(key): {str(name): float(value) for name, value in scores.items()}
        for key, scores in content.items()
        if isinstance(scores, dict) and all(isinstance(value, int | float) for value in scores.values())
    }


def write_scores(path: Path, done: Sequence[tuple[BenchmarkRun, RunDirectory]]) -> None:
    """Every run's final metrics, a line each, as CSV."""
    rows = [
        {"row": job.row, "at": "" if job.at is None else job.at, "seed": job.seed, **directory.metrics}
        for job, directory in done
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace(path, text.getvalue())


def made_otherwise(runs: Sequence[Status], now: Mapping[str, Any]) -> str:
    """How many of some runs were made by another commit or with other versions than now, in one line; empty for none.

    Args:
        runs: their statuses.
        now: see :func:`rnnlab.runs.provenance.provenance`.
    """
    commit, versions = now["git"].get("commit"), now["versions"]
    old = [run for run in runs if run.git.get("commit") != commit or dict(run.versions) != versions]
    if not old:
        return ""
    differ = []
    commits = sorted({str(run.git.get("commit"))[:9] for run in old if run.git.get("commit") != commit})
    if commits:
        differ.append(f"commit {', '.join(commits)}, now {str(commit)[:9]}")
    for package in sorted({name for run in old for name in (*run.versions, *versions)}):
        before = sorted({run.versions.get(package, "none") for run in old} - {versions.get(package, "none")})
        if before:
            differ.append(f"{package} {', '.join(before)}, now {versions.get(package, 'none')}")
    return (
        f"stale: {len(old)} of {len(runs)} runs were made otherwise ({'; '.join(differ)}); another --dir measures again"
    )
