"""What it saves to train the jobs of a sweep as one network."""

import csv
import json
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.end_to_end import PEERS, Job, describe
from benchmarks.measurement import ONE_THREAD, RNNLAB, Result, Verdict, cores, run

OVERRIDES = ("data=sine", "model=gru", "model.hidden_size=32", "trainer.accelerator=cpu")
EPOCHS = 5
JOB = [*OVERRIDES, f"trainer.max_epochs={EPOCHS}"]
WAYS = {
    "fleet": ["hydra/launcher=fleet"],
    "torch": ["model.cell.backend=torch"],
    "own": [],
}
KINDS = {"with figures": [], "instruments=none": ["instruments=none"]}
PROMISED = {"torch": 0.10, "own": 0.25}
"""Share of the time one by one, at 64 jobs on two cores."""
PROMISED_AT = 64
SIZES = (1, 4, 16, 64, 256)
MEASURED = 16
"""Of jobs one by one so many are measured; each further one takes as long as those beyond the first few."""


def measure(quick: bool = False) -> Result:
    """Fleets, the same jobs one by one, and a raw loop in as many processes as there are cores, in turn."""
    sizes, most = ((4,), 4) if quick else (SIZES, MEASURED)
    kinds = {"instruments=none": KINDS["instruments=none"]} if quick else KINDS
    rows: list[list[str]] = []
    verdicts: list[Verdict] = []
    numbers: list[dict[str, Any]] = []
    losses: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.npz"
        describe(Job("sine", "forecast", OVERRIDES, (EPOCHS, EPOCHS), 0.0), quick, file)
        for kind, options in kinds.items():
            seconds: dict[str, dict[int, float]] = {way: {} for way in (*WAYS, "raw")}
            for size in sizes:
                for way, overrides in WAYS.items():
                    if way == "fleet" or size <= most:
                        seconds[way][size], losses[way] = _sweep([*JOB, *options, *overrides, f"seed=range({size})"])
                if kind == "instruments=none":
                    seconds["raw"][size], losses["raw"] = _raw(file, size)
            for size in sizes:
                whole = {way: extrapolated(taken, size) for way, taken in seconds.items() if taken}
                case = {"kind": kind, "jobs": size, "seconds": whole,
                        "extrapolated": [way for way in whole if size not in seconds[way]]}  # fmt: skip
                numbers.append(case)
                rows.append(_row(case))
                if size == PROMISED_AT:
                    verdicts += [
                        Verdict(
                            f"{size} jobs as a fleet, {kind}, take at most {limit} of those of `{way}`",
                            f"{whole['fleet'] / whole[way]:.3f}",
                            whole["fleet"] <= limit * whole[way],
                        )
                        for way, limit in PROMISED.items()
                    ]
    return Result(
        "fleet",
        f"How long does a sweep over seeds take as a fleet, one job after another, and in a raw loop? Seconds on the "
        f"clock, {cores()} cores, whole process to whole process.",
        ["figures", "jobs", "fleet", "one by one, torch's GRU", "one by one, rnnlab's",
         f"raw loop, {cores()} processes", "fleet / torch", "fleet / own", "fleet / raw"],
        rows,
        verdicts,
        [
            f"Each job: `rnnlab train {' '.join(JOB)}`, 125 steps. One by one is `hydra/launcher=basic`, one process "
            "on one core, with torch's own GRU under Lightning (`model.cell.backend=torch`) or with rnnlab's. A fleet "
            "has one process a core.",
            f"**≈: not measured.** One by one {most} jobs were run; beyond them each job is taken to cost what it cost "
            "on average from the smaller sizes to this one, the start of the process not counted again.",
            f"The raw loop (`benchmarks/peers/raw_fleet.py`) is nn.GRU, a linear layer, Adam, clipping and validation "
            f"over the same data for as many updates, seeds shared by {cores()} processes; it keeps no checkpoints, "
            "metrics, logs or configs, makes no test and no figures.",
            "With figures: one by one every job draws its own, which takes longer than its training; of a fleet only "
            "the best job's are drawn (`hydra.launcher.figures=best`). Without, the difference is the training's and "
            "the files' alone.",
            "They learned alike: validation loss at the end, the mean of the largest size that was run: "
            + ", ".join(f"{way} {loss:.4f}" for way, loss in losses.items())
            + ".",
        ],
        {"cases": numbers, "losses": losses},
    )  # fmt: skip


def extrapolated(taken: dict[int, float], size: int) -> float:
    """Seconds of ``size`` jobs: as measured, else along the line through the smallest and the largest measured."""
    if size in taken:
        return taken[size]
    few, many = min(taken), max(taken)
    if few == many:
        return taken[many] * size / many
    return taken[many] + (size - many) * (taken[many] - taken[few]) / (many - few)


def _row(case: dict[str, Any]) -> list[str]:
    seconds, guessed = case["seconds"], case["extrapolated"]

    def shown(way: str) -> str:
        return f"{'≈ ' if way in guessed else ''}{seconds[way]:.1f}" if way in seconds else ""

    def ratio(way: str) -> str:
        return f"{'≈ ' if way in guessed else ''}{seconds['fleet'] / seconds[way]:.3f}" if way in seconds else ""

    ways = ("torch", "own", "raw")
    return [case["kind"], str(case["jobs"]), shown("fleet"), *map(shown, ways), *map(ratio, ways)]


def _sweep(arguments: list[str]) -> tuple[float, float]:
    """Seconds of a whole sweep on the clock, and the mean of its jobs' last validation losses."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep"
        wall = run([RNNLAB, "train", "-m", *arguments, f"hydra.sweep.dir={path}"], environment={}).wall
        lasts = [list(csv.DictReader(file.open()))[-1] for file in path.glob("*/metrics.csv")]
    return wall, fmean(float(row["val/loss"]) for row in lasts)


def _raw(file: Path, size: int) -> tuple[float, float]:
    """The same of the raw loop."""
    answer = file.with_name("losses.json")
    command = [sys.executable, str(PEERS / "raw_fleet.py"), str(file), str(answer), str(size), str(cores())]
    wall = run(command, environment=ONE_THREAD).wall
    return wall, fmean(json.loads(answer.read_text()))


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["fleet", *sys.argv[1:]])
