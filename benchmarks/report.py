"""What it costs to report on thousands of runs: seconds, memory, and the size of the page."""

import csv
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measurement import ONE_THREAD, RNNLAB, Result, Verdict, run

RUNS, QUICK = 2000, 200
SECONDS, MEMORY, PAGE = 10.0, 1e9, 10e6
REPETITIONS = 3
EPOCHS = 100
MODELS = ("rnn", "rnn_relu", "lstm", "gru", "indrnn")
SIZES = (8, 16, 32, 64)
SEEDS = range(5)


def measure(quick: bool = False) -> Result:
    """The whole command, as a person types it, over a sweep of five seeds a configuration."""
    number = QUICK if quick else RUNS
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder) / "sweep"
        fabricate(sweep, number)
        command = [RNNLAB, "report", str(sweep)]
        costs = [run(command) for _ in range(1 if quick else REPETITIONS)]
        best = min(costs)  # the first of them reads a cold disk; a neighbour can only make it slower
        highest = _memory(command)
        page = (sweep / "report.html").stat().st_size
        files = sum(file.stat().st_size for file in sweep.rglob("*.*") if file.parent != sweep)
    return Result(
        "report",
        "What does `rnnlab report` cost over a large sweep? The whole process, from its start to the last file.",
        ["runs", "epochs each", "MB read", "seconds", "of computing", "slowest", "MB of memory", "MB of report.html"],
        [
            [
                f"{number:,}",
                str(EPOCHS),
                f"{files / 1e6:.0f}",
                f"{best.wall:.1f}",
                f"{best.cpu:.1f}",
                f"{max(costs).wall:.1f}",
                f"{highest / 1e6:.0f}",
                f"{page / 1e6:.1f}",
            ]
        ],
        [
            Verdict(f"within {SECONDS:g} s", f"{best.wall:.1f} s", best.wall <= SECONDS),
            Verdict(f"within {MEMORY / 1e9:g} GB", f"{highest / 1e9:.2f} GB", highest <= MEMORY),
            Verdict(f"a page below {PAGE / 1e6:g} MB", f"{page / 1e6:.1f} MB", page <= PAGE),
        ],
        [
            "The runs are fabricated: the files that a run of the default job leaves, but for checkpoints and figures, "
            f"with random curves. Every 50th failed, every 97th is cut short. The fastest of {len(costs)}; memory is "
            "the highest mark of the process."
        ],
        {"seconds": [cost.wall for cost in costs], "memory": highest, "page": page, "runs": number},
    )


def fabricate(sweep: Path, number: int) -> None:
    """A sweep's directory with as many runs, the same ones every time."""
    rng = random.Random(0)
    base = _default_config()
    sweep.mkdir()
    command = ["rnnlab", "train", "-m", "model=…"]
    (sweep / "sweep.json").write_text(json.dumps({"command": command, "created": "2026-01-01T00:00:00.000+00:00"}))
    rates = [
        f"{10 ** rng.uniform(-4, -1):.3g}" for _ in range(max(1, number // (len(MODELS) * len(SIZES) * len(SEEDS))))
    ]
    for index in range(number):
        rest, seed = divmod(index, len(SEEDS))
        rest, model = divmod(rest, len(MODELS))
        rest, size = divmod(rest, len(SIZES))
        _run(sweep, index, rng, base, MODELS[model], SIZES[size], rates[rest % len(rates)], SEEDS[seed])


def _run(
    sweep: Path, index: int, rng: random.Random, base: dict[str, Any], model: str, size: int, rate: str, seed: int
) -> None:
    overrides = [f"model={model}", f"model.hidden_size={size}", f"optimizer.lr={rate}", f"seed={seed}"]
    path = sweep / f"{index}_{','.join(overrides)}"
    for inside in ("checkpoints", "figures", "tensorboard", ".hydra"):
        (path / inside).mkdir(parents=True)
    config = {
        **base,
        "seed": seed,
        "model": {**base["model"], "hidden_size": size, "cell": {"_target_": f"rnnlab.cells.{model}"}},
        "data": {**base["data"], "shuffle_seed": seed},
        "optimizer": {**base["optimizer"], "lr": float(rate)},
    }
    (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    failed = index % 50 == 49
    state = "failed" if failed else "interrupted" if index % 97 == 96 else "done"
    status = {
        "state": state,
        "reason": f"the loss became inf at step {index} with learning rate {rate}" if failed else None,
        "created": f"2026-01-01T00:00:00.{index % 1000:03}+00:00",
        "started": f"2026-01-01T00:00:00.{index % 1000:03}+00:00",
        "finished": f"2026-01-01T01:00:00.{index % 1000:03}+00:00",
        "host": "somewhere",
        "pid": 1,
        "command": ["rnnlab", "train", "-m", *overrides],
        "overrides": overrides,
        "choices": {"model": model, "data": "sine", "task": "forecasting", "optimizer": "adam", "scheduler": "none"},
        "config_dirs": [],
        "versions": {"rnnlab": "0.1.0", "python": "3.11.7", "torch": "2.13.0"},
        "git": {"commit": "0" * 40, "dirty": False},
        "device": "CPU",
        "figures": ["figures/loss_curves.png"],
    }
    (path / "status.json").write_text(json.dumps(status, indent=2))
    floor = 0.02 + 0.3 / size + 0.01 * abs(math.log10(float(rate)) + 2) + rng.gauss(0, 0.002)
    names = ("loss", "mae", "mse", "r2")
    rows = []
    for epoch in range(1, 10 if failed else EPOCHS + 1):
        values = [floor + 0.5 * math.exp(-epoch / 15) + abs(rng.gauss(0, 0.003)) for _ in range(len(names) + 1)]
        scores = [f"{value:.8g}" for value in values]
        rows.append([epoch, 24 * epoch, *scores, f"{rng.random():.8g}", f"{rng.random():.8g}", rate])
    with open(path / "metrics.csv", "w", newline="") as file:
        header = ["epoch", "step", *(f"val/{name}" for name in names), "train/loss"]
        csv.writer(file, lineterminator="\n").writerows([[*header, "gradient/norm", "gradient/clipped", "lr"], *rows])
    if state == "done":
        kinds = ("val", "test", "baseline", "rollout", "baseline/rollout")
        metrics = {f"{kind}/{name}": floor * rng.uniform(0.9, 1.1) for kind in kinds for name in names}
        extra = {"best_epoch": 90, "epochs": EPOCHS, "steps": 2400, "parameters": 3 * size * (size + 3)}
        metrics |= {**extra, "seconds": rng.uniform(1, 9), "seconds_total": 10.0}
        (path / "metrics.json").write_text(json.dumps(metrics, indent=2))


def _default_config() -> dict[str, Any]:
    show = [RNNLAB, "train", "--cfg", "job", "--resolve"]
    shown = subprocess.run(show, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=True)
    return yaml.safe_load(shown.stdout)


def _memory(command: list[str]) -> int:
    """The highest mark of a process's memory, in bytes."""
    inside = "import os,resource,sys; import subprocess as s; s.run(sys.argv[1:], stdout=s.DEVNULL, check=True); " + (
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    ended = subprocess.run([sys.executable, "-c", inside, *command], capture_output=True, text=True, check=True)
    return int(ended.stdout) * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["report", *sys.argv[1:]])
