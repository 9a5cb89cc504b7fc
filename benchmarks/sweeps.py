"""What a sweep costs beside its jobs' own training, and whether kills lose anything.

Faults are run apart, since a hundred of them take half an hour:
``python -m benchmarks.sweeps --kills 100``.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.measurement import ONE_THREAD, RNNLAB, Result, Verdict, cores, run

SMALL = ["data.num_samples=200", "data.length=12", "data.future_length=5", "model.hidden_size=8", "instruments=none",
         "trainer.accelerator=cpu", "early_stopping.patience=null"]  # fmt: skip
LAUNCHERS = {
    "basic": ["hydra/launcher=basic"],
    "local": ["hydra/launcher=local", "hydra.launcher.n_jobs=1"],
}
PROMISED_SECONDS = {"basic": 0.2, "local": 1.0}
STARTED_WITHIN, SHARE_OF_TWO_CORES = 10.0, 0.55


def measure(quick: bool = False) -> Result:
    """The launchers in turn; then long jobs on two cores; then the start of a long sweep."""
    jobs, rounds = (5, 1) if quick else (21, 3)
    launchers = dict(LAUNCHERS)
    if find_spec("hydra_plugins") and find_spec("hydra_plugins.hydra_joblib_launcher"):
        launchers["joblib"] = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]
    costs: dict[str, list[float]] = {name: [] for name in launchers}
    for _ in range(rounds):
        for name, options in launchers.items():
            costs[name].append(_cost_per_job(options, jobs))
    rows = [[f"{name}: seconds a job beside its training", f"{median(each):.2f}"] for name, each in costs.items()]
    verdicts = [
        Verdict(
            f"`{name}` costs under {promised} s a job beside its training",
            f"{median(costs[name]):.2f} s",
            median(costs[name]) < promised,
        )
        for name, promised in PROMISED_SECONDS.items()
    ]
    starts = [_start_of_300("basic"), _start_of_300("local")]
    for name, seconds in zip(("basic", "local"), starts, strict=True):
        rows.append([f"{name}: seconds until the first of 300 jobs trains", f"{seconds:.1f}"])
        verdicts.append(
            Verdict(
                f"the first of 300 jobs trains within {STARTED_WITHIN:.0f} s under `{name}`",
                f"{seconds:.1f} s",
                seconds < STARTED_WITHIN,
            )
        )
    numbers: dict[str, Any] = {"cost per job": costs, "start of 300": starts}
    if cores() > 1:
        long = [*SMALL, f"trainer.max_epochs={20 if quick else 300}", f"seed=range({4 if quick else 8})"]
        one, seconds = _sweep([*long, "hydra/launcher=basic"])
        two, _ = _sweep([*long, "hydra/launcher=local", "hydra.launcher.n_jobs=2"])
        rows.append([f"jobs of {seconds:.1f} s: `local` on two cores over `basic`", f"{two / one:.2f}"])
        numbers["two cores"] = {"basic": one, "local": two, "seconds a job": seconds}
        promise = f"`local` on two cores takes at most {SHARE_OF_TWO_CORES} of `basic`"
        verdicts.append(Verdict(promise, f"{two / one:.2f}", two / one <= SHARE_OF_TWO_CORES))
    return Result(
        "sweeps",
        "What does a sweep cost beside its jobs' own training? One thread a job, wall seconds, medians.",
        ["what", "measured"],
        rows,
        verdicts,
        [
            f"Seconds a job: whole processes of {jobs} jobs and of one, the difference over the jobs between, less the "
            "mean of what the runs call their training (`seconds` in metrics.json). In it: building data and network, "
            "test, baselines, all files. One job at a time, one epoch each, no figures.",
        ],
        numbers,
    )


def _sweep(arguments: list[str]) -> tuple[float, float]:
    """Seconds of a whole sweep on the clock, and of its jobs' own training on average."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep"
        wall = run([RNNLAB, "train", "-m", *arguments, f"hydra.sweep.dir={path}"]).wall
        return wall, fmean(json.loads(file.read_text())["seconds"] for file in path.glob("*/metrics.json"))


def _cost_per_job(options: list[str], jobs: int) -> float:
    arguments = [*SMALL, "trainer.max_epochs=1", *options]
    one, _ = _sweep([*arguments, "seed=range(1)"])
    many, training = _sweep([*arguments, f"seed=range({jobs})"])
    return (many - one) / (jobs - 1) - training


def _start_of_300(launcher: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path, started = Path(folder) / "sweep", time.perf_counter()
        process = _begin(
            ["train", "-m", *SMALL, "model=rnn,gru,lstm", "optimizer.lr=1e-3,1e-2", "seed=range(50)",
             f"hydra/launcher={launcher}", f"hydra.sweep.dir={path}"]
        )  # fmt: skip
        while not any(file.stat().st_size for file in path.glob("*/metrics.csv")):
            if process.poll() is not None:
                raise RuntimeError("the sweep ended before its first job trained")
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        _kill(process)
    return seconds


def _begin(arguments: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [RNNLAB, *arguments],
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _kill(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# ---- faults ---------------------------------------------------------------------------------------------


def faults(kills: int, seed: int = 0) -> dict[str, int]:
    """Kills a sweep with all its processes at random moments, again and again, until as many kills were tried.

    Returns:
        ``kills`` tried, ``sweeps`` they were spread over, runs ``lost`` (not
        done in the end, or a file that cannot be read) and runs whose metrics
        ``differ`` from those of a sweep that nobody disturbed.
    """
    overrides = [*SMALL, "trainer.max_epochs=40", "trainer.checkpoint_seconds=0.0", "model.dropout=0.2",
                 "model.num_layers=2", "model=rnn,gru", "seed=0,1,2",
                 "hydra/launcher=local", "hydra.launcher.n_jobs=2"]  # fmt: skip
    found = {"kills": 0, "sweeps": 0, "resumes": 0, "lost": 0, "differ": 0}
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        began = time.perf_counter()
        run([RNNLAB, "train", "-m", *overrides, f"hydra.sweep.dir={whole}"])
        span = time.perf_counter() - began
        expected = _scores(whole)
        while found["kills"] < kills:
            path = Path(folder) / f"cut{found['sweeps']}"
            found["sweeps"] += 1
            arguments = ["train", "-m", *overrides, f"hydra.sweep.dir={path}"]
            while True:
                process = _begin(arguments)
                while not (path / "sweep.json").exists():
                    time.sleep(0.005)
                try:
                    status = process.wait(moments.uniform(0, span) if found["kills"] < kills else None)
                except subprocess.TimeoutExpired:
                    _kill(process)
                    found["kills"] += 1
                else:
                    if status:
                        found["lost"] += 1
                        print(f"resume {found['resumes']} ended with status {status}", flush=True)
                    break
                arguments = ["resume", str(path)]
                found["resumes"] += 1
            scores = _scores(path)
            found["lost"] += sum(name not in scores for name in expected)
            found["differ"] += sum(name in scores and scores[name] != expected[name] for name in expected)
            print(found, flush=True)
    return found


def _scores(path: Path) -> dict[str, dict[str, float]]:
    table = {}
    for entry in json.loads((path / "jobs.json").read_text()):
        place = path / entry["directory"]
        if json.loads((place / "status.json").read_text())["state"] == "done":
            metrics = json.loads((place / "metrics.json").read_text())
            table[entry["directory"]] = {k: v for k, v in metrics.items() if not k.startswith("seconds")}
    return table


if __name__ == "__main__":
    if sys.argv[1:2] == ["--kills"]:
        print(json.dumps(faults(int(sys.argv[2]))))
    else:
        from benchmarks.__main__ import main

        main(["sweeps", *sys.argv[1:]])
