"""A benchmark as its file describes it, and the runs that it plans."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from rnnlab.errors import InputError
from rnnlab.shapes import PositiveInt

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
