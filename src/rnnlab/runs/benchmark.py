"""An experiment over several models and seeds, beside published numbers and the trivial baseline.

What is run and what it is held against stands in ``conf/benchmark/NAME.yaml``, read here; see :class:`Benchmark`.
"""

import csv
import io
import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.statistics import holm, paired
from rnnlab.shapes import PositiveInt
from rnnlab.store import json_text
from rnnlab.store.files import Damaged, replace
from rnnlab.store.status import Status
from rnnlab.student import LEVEL

Number = float | int | str
"""A place along a curve; a name, where what is gone along are names (of data sets)."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Published(_Strict):
    """A number that others give: whose, what, where it stands, and at which value of ``along``."""

    name: str
    value: float
    source: str
    at: Number | None = None


class PublishedTable(_Strict):
    """Several numbers from one place: of each method its value at each place of ``along``, in per cent where the
    benchmark's are.
    """

    source: str
    values: Mapping[str, Mapping[Number, float]]


class Along(_Strict):
    """What a curve goes along, and its name in table and plot. Where ``mean`` the table has a column with the mean over
    all places, of those rows that have all.

    Each row is run for every value of ``key``; without a key every run gives
    the whole curve, by scores that have the value in their name (``{at}``).
    """

    key: str | None = None
    values: tuple[Number, ...]
    label: str
    mean: bool = False


class Target(_Strict):
    """What is to be reached: by one row, or by the ``best`` one on validation; at one value of ``along``."""

    value: float
    row: str = "best"
    at: Number | None = None


class Benchmark(_Strict):
    """What ``conf/benchmark/NAME.yaml`` says.

    Attributes:
        experiment: that every run starts from; none where ``always`` says enough.
        always: overrides of every run, before its row's.
        score: a key of ``metrics.json``, of the test; nothing is chosen by it. ``{at}`` in it, and in those of
            ``baseline``, stands for the place on the curve.
        mode: whether a low (``min``) or a high (``max``) score is good.
        rows: by its name, what each row of the table adds to the experiment.
        along: a key that varies within each row, for a curve.
        seeds: runs of each row and value, seeds 0, 1, …
        baseline: keys of ``metrics.json`` by the name of a trivial predictor.
        published: what others have.
        tables: further numbers of others, a table each.
        ensembles: by their name, rows whose runs of one seed predict together (:mod:`rnnlab.runs.ensemble`); a row that
            is named several times takes part with as many seeds.
        rivals: by their name, what of other packages is run beside ours (:mod:`rnnlab.runs.rivals`).
        target: what is to be reached.
        percent: the score is a share, shown times 100.
        tuned: which settings were tried, and by what they were chosen.
    """

    experiment: str | None = None
    always: tuple[str, ...] = ()
    score: str
    mode: Literal["min", "max"]
    rows: Mapping[str, tuple[str, ...]]
    along: Along | None = None
    seeds: PositiveInt = 5
    baseline: Mapping[str, str] = {}
    published: tuple[Published, ...] = ()
    tables: tuple[PublishedTable, ...] = ()
    ensembles: Mapping[str, tuple[str, ...]] = {}
    rivals: Mapping[str, str] = {}
    target: Target | None = None
    percent: bool = False
    tuned: str

    @property
    def others(self) -> tuple[Published, ...]:
        """All that others have."""
        unit = 100.0 if self.percent else 1.0
        return (
            *self.published,
            *(
                Published(name=name, value=value / unit, source=table.source, at=at)
                for table in self.tables
                for name, values in table.values.items()
                for at, value in values.items()
            ),
        )

    def scores(self, at: Number | None) -> str:
        """The key of the score at a place on the curve."""
        return self.score.format(at=at)

    def shown(self, value: float) -> str:
        """A score as the table has it."""
        return f"{100 * value:.1f}" if self.percent else f"{value:.3g}"


def read_benchmark(path: Path) -> Benchmark:
    """Reads a benchmark's file.

    Raises:
        InputError: it is none.
    """
    try:
        benchmark = Benchmark.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no benchmark: {' '.join(str(error).split())}") from None
    for name, members in benchmark.ensembles.items():
        if name in benchmark.rows or len(members) < 2 or not set(members).issubset(benchmark.rows):
            raise InputError(f"{path}: ensembles.{name}: {list(members)} must be two rows at least, under another name")
    if benchmark.target is not None and benchmark.target.row not in ("best", *benchmark.rows, *benchmark.ensembles):
        raise InputError(f"{path}: target.row={benchmark.target.row}: no such row")
    return benchmark


@dataclass(frozen=True)
class BenchmarkRun:
    """One run of a benchmark: its row, its place along the curve, its seed, and what it adds to the defaults."""

    row: str
    at: Number | None
    seed: int
    overrides: tuple[str, ...]

    @property
    def place(self) -> str:
        """Of its directory, below the benchmark's."""
        name = re.sub(r"[^\w.+-]+", "-", self.row).strip("-")
        return "/".join([name, *([] if self.at is None else [str(self.at)]), f"seed{self.seed}"])


def planned_runs(
    benchmark: Benchmark, rows: Iterable[str], seeds: int, overrides: Sequence[str] = ()
) -> list[BenchmarkRun]:
    """All runs, seed by seed, so that whoever stops early has some of everything.

    Args:
        benchmark: what to run.
        rows: their names.
        seeds: how many.
        overrides: for every run, after the row's own.
    """
    along = benchmark.along
    return [
        BenchmarkRun(
            row,
            at,
            seed,
            (
                *([f"experiment={benchmark.experiment}"] if benchmark.experiment else []),
                *benchmark.always,
                *benchmark.rows[row],
                *([] if at is None or along is None else [f"{along.key}={at}"]),
                *overrides,
                f"seed={seed}",
            ),
        )
        for seed in range(seeds)
        for row in rows
        for at in ([None] if along is None or along.key is None else along.values)
    ]


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
        compared = [paired(scores[first], scores[other], mode) for other in others]
        if max(comparison.n for comparison in compared) < 2:
            return "no order: one seed tells none"
        better: list[str] = []
        alike: list[str] = []
        chances = holm([comparison.p for comparison in compared])
        for other, comparison, p in zip(others, compared, chances, strict=True):
            by = f"{other} ({self.benchmark.shown(abs(comparison.difference))}, p={p:.2g})"
            (better if p < 1 - LEVEL else alike).append(by if not math.isnan(p) else other)
        seeds = compared[0].n
        said = [f"{first} is better than {', '.join(better)}"] if better else []
        said += [f"{first} and {', '.join(alike)} are not told apart"] if alike else []
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
            theirs = [sign * other.value for other in benchmark.others if other.at == at]
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
                scores = evaluate_together([Member(each, each.config) for each in members]).ensemble
                sums = {of: sum(each.metrics.get(of, 0) for each in members) for of in ("parameters", "seconds")}
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


def table(result: Result) -> tuple[list[str], list[list[str]]]:
    """The comparison as text: a heading, and rows of ours, of trivial predictors and of others."""
    benchmark, places = result.benchmark, result.places
    unit = " (%)" if benchmark.percent else ""
    columns = [
        f"{benchmark.score}{unit}" if place is None or benchmark.along is None else f"{benchmark.along.label}={place}"
        for place in places
    ]
    along = benchmark.along
    averaged = along is not None and along.mean and set(places) == set(along.values)
    heading = ["", *columns, *(["mean"] if averaged else []), "n", "parameters", "seconds a run", "source"]
    rows = []
    for row in result.rows:
        cells = [next((c for c in result.cells if (c.row, c.at) == (row, place)), None) for place in places]
        there = [cell for cell in cells if cell is not None]
        counts = sorted({len(cell.values(benchmark.scores(cell.at))) for cell in there})
        rows.append(
            [
                row,
                *("" if cell is None else _spread(benchmark, cell) for cell in cells),
                *([_shown(benchmark, result.mean(row))] if averaged else []),
                "–".join(map(str, counts)),
                f"{int(there[0].metrics[0].get('parameters', 0)):,}",
                f"{statistics.fmean(cell.mean('seconds') for cell in there):.0f}",
                "ours, averaged" if row in benchmark.ensembles else "ours",
            ]
        )
    trivial = [result.baselines(place) for place in places]
    for name in benchmark.baseline:
        if any(name in each for each in trivial):
            of_places = [each.get(name) for each in trivial]
            rows += [_other(benchmark, name, of_places, averaged, "trivial")]
    for name in dict.fromkeys(cell.row for cell in result.rivals):
        found = {cell.at: cell.mean(benchmark.scores(cell.at)) for cell in result.rivals if cell.row == name}
        number = max(len(cell.metrics) for cell in result.rivals if cell.row == name)
        rows.append(_other(benchmark, name, [found.get(place) for place in places], averaged, "run here", str(number)))
    for published in benchmark.published:
        values: list[float | None] = [None for _ in places]
        name = published.name
        if published.at in places:
            values[places.index(published.at)] = published.value
        else:
            if benchmark.along is not None:
                name = f"{name}, {benchmark.along.label}={published.at}"
            values[-1] = published.value
        rows.append(_other(benchmark, name, values, averaged, published.source))
    unit_of = 100.0 if benchmark.percent else 1.0
    for published_table in benchmark.tables:
        for name, numbers in published_table.values.items():
            values = [numbers[place] / unit_of if place in numbers else None for place in places if place is not None]
            if any(value is not None for value in values):
                rows.append(_other(benchmark, name, values, averaged, published_table.source))
    return heading, rows


def _other(
    benchmark: Benchmark,
    name: str,
    values: Sequence[float | None],
    averaged: bool,
    source: str,
    number: str = "",
) -> list[str]:
    """A row of somebody else's numbers, one a place."""
    known = [value for value in values if value is not None]
    mean = statistics.fmean(known) if known and len(known) == len(values) else math.nan
    shown = ["" if value is None else benchmark.shown(value) for value in values]
    return [name, *shown, *([_shown(benchmark, mean)] if averaged else []), number, "", "", source]


def _shown(benchmark: Benchmark, value: float) -> str:
    return "" if math.isnan(value) else benchmark.shown(value)


def _spread(benchmark: Benchmark, cell: Cell) -> str:
    score = benchmark.scores(cell.at)
    mean, deviation = cell.mean(score), cell.deviation(score)
    if math.isnan(deviation):
        return benchmark.shown(mean)
    return f"{benchmark.shown(mean)} ± {benchmark.shown(deviation) if benchmark.percent else f'{deviation:.2g}'}"


def markdown(result: Result, description: str, command: str, machine: str) -> str:
    """The table as a document that says what it is."""
    heading, rows = table(result)
    lines = [
        f"# {description}",
        "",
        f"`{command}`: test score `{result.benchmark.score}`, mean ± standard deviation over n seeds.",
        "",
        "| " + " | ".join(heading) + " |",
        "|" + " --- |" * len(heading),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]
    if result.verdict():
        lines += [f"Target: {result.verdict()}.", ""]
    for line in (result.rank(), result.order()):
        lines += [f"{line[:1].upper()}{line[1:]}.", ""] if line else []
    lines += [f"Tuned: {result.benchmark.tuned}", "", machine, ""]
    return "\n".join(lines)


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
        now: see :func:`rnnlab.runs.directory.provenance`.
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
