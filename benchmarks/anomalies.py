"""How many injected faults are found at which false-alarm rate: by a forecaster, an autoencoder and trivial rivals."""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import polars as pl

import rnnlab
from benchmarks.measurement import Result
from rnnlab.anomalies.errors import QUANTILE, Errors, Usual

SEASON, TRAINED, NEW = 24, 2400, 2400
"""Steps of a season, of the series that is trained on, and of the new one."""
NOISE = 0.1
"""Standard deviation; the waves that it is on have amplitudes of 1 and 0.3."""
SPAN = 24
"""Steps of a level shift and of a sensor that stands still."""
SIZE = {"spike": 0.5, "level shift": 0.4}
"""In the unit of the wave: what is added."""
KINDS = ("spike", "level shift", "flat line")
EACH = 10
"""Faults of each kind."""
SEEDS = (0, 1, 2)
COMMON = (
    "data=csv", "data.time=t", "data.target=x", f"data.period={SEASON}", "data.length=48", "optimizer.lr=0.003",
    "trainer.max_steps=500", "trainer.accelerator=cpu", "trainer.num_threads=1", "trainer.progress=none",
    "instruments=none", "logger=none",
)  # fmt: skip
RUNS = {"forecaster": ("data.horizon=6",), "autoencoder": ("task=reconstruction",)}
CURVES = {"the same every day": 0.0, "its pace wanders": 0.2}
"""Of which the seasonal-naive forecast knows one."""
RIVALS = ("z-score of the value", "seasonal-naive residual")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a span of the series."""

    kind: str
    start: int
    end: int


def wave(rng: np.random.Generator, steps: int, wandering: float) -> np.ndarray:
    """``(steps,)`` of a noisy daily curve; its pace wanders about a day by such a share."""
    pace = np.zeros(steps)
    for step in range(1, steps):
        pace[step] = 0.98 * pace[step - 1] + 0.2 * rng.standard_normal()
    phase = 2 * np.pi / SEASON * np.cumsum(1 + wandering * pace)
    curve = np.sin(phase) + 0.3 * np.sin(2 * phase + 1)
    return np.asarray(curve + NOISE * rng.standard_normal(steps))


def broken(rng: np.random.Generator, x: np.ndarray) -> tuple[np.ndarray, list[Fault]]:
    """The series with faults in it, evenly apart, of each kind as many."""
    x, faults = x.copy(), []
    kinds = rng.permutation(np.repeat(KINDS, EACH))
    gap = (len(x) - 4 * SEASON) // len(kinds)
    for number, kind in enumerate(kinds):
        start = 3 * SEASON + number * gap + int(rng.integers(0, SEASON))
        end = start + (1 if kind == "spike" else SPAN)
        if kind == "flat line":
            x[start:end] = x[start]
        else:
            x[start:end] += SIZE[kind] * rng.choice([-1, 1])
        faults.append(Fault(str(kind), start, end))
    return x, faults


def scores_of_rivals(trained: np.ndarray, x: np.ndarray) -> dict[str, tuple[np.ndarray, float]]:
    """The score of each step of ``x`` and the threshold, by the same quantile of the same validation part."""
    train, val = int(0.8 * len(trained)), slice(int(0.8 * len(trained)), int(0.9 * len(trained)))
    found = {}
    lagged = np.concatenate([np.full(SEASON, np.nan), trained[SEASON:] - trained[:-SEASON]])
    new_lagged = np.concatenate([np.full(SEASON, np.nan), x[SEASON:] - x[:-SEASON]])
    sides = {
        RIVALS[0]: (trained - trained[:train].mean(), x - trained[:train].mean()),
        RIVALS[1]: (lagged, new_lagged),
    }
    for name, (known, new) in sides.items():
        usual = Usual.of([Errors(known[val, None], np.zeros(val.stop - val.start, np.int64))])
        found[name] = usual.normal.scores(Errors(new[:, None], np.zeros(len(new), np.int64))), usual.threshold(QUANTILE)
    return found


def outcome(score: np.ndarray, threshold: float, clean: np.ndarray, faults: list[Fault]) -> dict[str, float]:
    """The share of the faults of each kind with a step above the threshold, and the share of steps of the same series
    without faults that are.
    """
    above = np.nan_to_num(score) > threshold
    found = {kind: fmean(above[f.start : f.end].any() for f in faults if f.kind == kind) for kind in KINDS}
    known = np.isfinite(clean)
    return {**found, "false alarms": float((clean[known] > threshold).mean())}


def of_seed(folder: Path, seed: int, wandering: float, steps: int | None = None) -> dict[str, dict[str, float]]:
    """All four on a series of their own."""
    rng = np.random.default_rng(seed)
    trained, clean = np.split(wave(rng, TRAINED + NEW, wandering), [TRAINED])
    x, faults = broken(rng, clean)
    folder.mkdir(exist_ok=True)
    file = folder / f"trained{seed}.csv"
    pl.DataFrame({"t": np.arange(TRAINED), "x": trained}).write_csv(file)
    new = np.arange(TRAINED, TRAINED + NEW)
    found = {}
    for name, overrides in RUNS.items():
        short = () if steps is None else (f"trainer.max_steps={steps}",)
        run = rnnlab.train(*COMMON, *overrides, f"data.path={file}", f"seed={seed}", *short,
                           f"hydra.run.dir={folder}/{name}{seed}")  # fmt: skip
        model = rnnlab.load(run.path)
        tables = [model.anomalies(pl.DataFrame({"t": new, "x": each})) for each in (x, clean)]
        score, without = (table["score"].fill_null(np.nan).to_numpy() for table in tables)
        found[name] = outcome(score, tables[0]["threshold"][0], without, faults)
    rivals, unbroken = scores_of_rivals(trained, x), scores_of_rivals(trained, clean)
    for name, (score, threshold) in rivals.items():
        found[name] = outcome(score, threshold, unbroken[name][0], faults)
    return found


def measure(quick: bool = False) -> Result:
    """Three series, or one after a short training."""
    seeds, steps = (SEEDS[:1], 300) if quick else (SEEDS, None)
    found: dict[str, list[dict[str, dict[str, float]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (curve, wandering) in enumerate(CURVES.items()):
            found[curve] = [of_seed(Path(folder) / str(number), seed, wandering, steps) for seed in seeds]
    rows = []
    for curve, of_curve in found.items():
        for name in of_curve[0]:
            cells = []
            for column in (*KINDS, "false alarms"):
                values = [100 * each[name][column] for each in of_curve]
                cells.append(f"{fmean(values):.1f} ({min(values):.1f} to {max(values):.1f})")
            rows.append([curve, name, *cells])
    return Result(
        "anomalies",
        f"How many injected faults are found, of {EACH} of each kind in a noisy daily curve, by a threshold that "
        f"{QUANTILE:.0%} of the validation part do not exceed? A spike is of one step, the others last a season. "
        "False alarms: the share of steps of the same curve without faults that are above it. All of it in %.",
        ["the curve", "by", *(f"{kind}s found" for kind in KINDS), "false alarms"],
        rows,
        notes=[
            f"A mean over {len(seeds)} series with a run each (seeds {', '.join(map(str, seeds))}), the least and the "
            f"most in brackets. The noise has a standard deviation of {NOISE}, the curve goes from -1.2 to 1.2; a "
            f"spike is {SIZE['spike']} and a shift {SIZE['level shift']} high, within the curve's range.",
        ],
        numbers={"curves": found},
    )


if __name__ == "__main__":
    sys.exit("python -m benchmarks anomalies")
