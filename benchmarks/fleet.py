"""What it saves to train the jobs of a sweep as one network."""

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measurement import RNNLAB, Result, Verdict, cores, run

JOB = ["data=sine", "model=gru", "model.hidden_size=32", "trainer.max_epochs=5", "trainer.accelerator=cpu"]
WAYS = {
    "fleet": ["hydra/launcher=fleet"],
    "torch": ["model.cell.backend=torch"],
    "own": [],
}
KINDS = {"with figures": [], "instruments=none": ["instruments=none"]}
PROMISED = {"torch": 0.10, "own": 0.20}
"""Share of the time one by one, at 64 jobs on two cores."""


def measure(quick: bool = False) -> Result:
    """Fleets and the same jobs one by one, in turn, whole process to whole process."""
    sizes, rounds = ((8,), 1) if quick else ((1, 4, 16, 64), 1)
    kinds = {"instruments=none": KINDS["instruments=none"]} if quick else KINDS
    rows, verdicts = [], []
    numbers: dict[str, Any] = {}
    for kind, options in kinds.items():
        for size in sizes:
            seconds: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(rounds):
                for way, overrides in WAYS.items():
                    seconds[way].append(_sweep([*JOB, *options, *overrides, f"seed=range({size})"]))
            fleet, torch, own = (median(seconds[way]) for way in ("fleet", "torch", "own"))
            rows.append(
                [kind, str(size), f"{fleet:.1f}", f"{torch:.1f}", f"{own:.1f}", f"{fleet / torch:.3f}",
                 f"{fleet / own:.3f}"]
            )  # fmt: skip
            numbers[f"{kind}, {size}"] = seconds
            if size == max(sizes) and not quick:
                for way, other in (("torch", torch), ("own", own)):
                    promise = f"{size} jobs as a fleet, {kind}, take at most {PROMISED[way]} of those of `{way}`"
                    verdicts.append(Verdict(promise, f"{fleet / other:.3f}", fleet / other <= PROMISED[way]))
    return Result(
        "fleet",
        f"How long does a sweep over seeds take as a fleet, and one job after another? Seconds on the clock, {cores()} "
        "cores, whole process to whole process.",
        ["figures", "jobs", "fleet", "one by one, torch's GRU", "one by one, rnnlab's", "fleet / torch", "fleet / own"],
        rows,
        verdicts,
        [
            f"Each job: `rnnlab train {' '.join(JOB)}`, 125 steps. One by one is `hydra/launcher=basic`, one process "
            "on one core, with torch's own GRU under Lightning (`model.cell.backend=torch`) or with rnnlab's. A fleet "
            "has one process a core.",
            "With figures: one by one every job draws its own, which takes longer than its training; of a fleet only "
            "the best job's are drawn (`hydra.launcher.figures=best`). Without, the difference is the training's and "
            "the files' alone.",
        ],
        numbers,
    )


def _sweep(arguments: list[str]) -> float:
    """Seconds of a whole sweep on the clock."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep"
        return run([RNNLAB, "train", "-m", *arguments, f"hydra.sweep.dir={path}"], environment={}).wall
